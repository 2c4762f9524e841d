//! Types and shapes of values.

use super::graph::StringStringEntryProto;

/// A value's name and what is known of its type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfoProto {
    /// The value's name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
    /// Text for people.
    #[prost(string, optional, tag = "3")]
    pub doc_string: Option<String>,
    /// Free key–value pairs.
    #[prost(message, repeated, tag = "4")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// A type: a tensor's, or one built from others.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TypeProto {
    /// What the type is.
    #[prost(oneof = "type_proto::Value", tags = "1, 4, 5, 7, 8, 9")]
    pub value: Option<type_proto::Value>,
    /// What values of this type mean, as a standard name.
    #[prost(string, optional, tag = "6")]
    pub denotation: Option<String>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Types nested in [`TypeProto`].
pub mod type_proto {
    use super::{TensorShapeProto, TypeProto};

    /// What a type is.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// A dense tensor.
        #[prost(message, tag = "1")]
        TensorType(Tensor),
        /// A sequence of values of one type.
        #[prost(message, tag = "4")]
        SequenceType(Box<Sequence>),
        /// A map from keys to values.
        #[prost(message, tag = "5")]
        MapType(Box<Map>),
        /// A type opaque to ONNX.
        #[prost(message, tag = "7")]
        OpaqueType(Opaque),
        /// A sparse tensor.
        #[prost(message, tag = "8")]
        SparseTensorType(SparseTensor),
        /// A value that may be absent.
        #[prost(message, tag = "9")]
        OptionalType(Box<Optional>),
    }

    /// A dense tensor's type.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Tensor {
        /// Element type, a [`DataType`](crate::model::tensor_proto::DataType).
        #[prost(int32, optional, tag = "1")]
        pub elem_type: Option<i32>,
        /// The shape; absent when not even the rank is known.
        #[prost(message, optional, tag = "2")]
        pub shape: Option<TensorShapeProto>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }

    /// A sequence's type.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sequence {
        /// Type of its values.
        #[prost(message, optional, boxed, tag = "1")]
        pub elem_type: Option<Box<TypeProto>>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }

    /// A map's type.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Map {
        /// Type of the keys, a [`DataType`](crate::model::tensor_proto::DataType): integer or string.
        #[prost(int32, optional, tag = "1")]
        pub key_type: Option<i32>,
        /// Type of the values.
        #[prost(message, optional, boxed, tag = "2")]
        pub value_type: Option<Box<TypeProto>>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }

    /// The type of a value that may be absent.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Optional {
        /// Type of the value when present.
        #[prost(message, optional, boxed, tag = "1")]
        pub elem_type: Option<Box<TypeProto>>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }

    /// A sparse tensor's type.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct SparseTensor {
        /// Element type, a [`DataType`](crate::model::tensor_proto::DataType).
        #[prost(int32, optional, tag = "1")]
        pub elem_type: Option<i32>,
        /// The shape of the dense tensor it stands for.
        #[prost(message, optional, tag = "2")]
        pub shape: Option<TensorShapeProto>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }

    /// A type known only by its name.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Opaque {
        /// The name's domain.
        #[prost(string, optional, tag = "1")]
        pub domain: Option<String>,
        /// The name.
        #[prost(string, optional, tag = "2")]
        pub name: Option<String>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }
}

/// A shape, axis by axis.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// The axes, outermost first.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<tensor_shape_proto::Dimension>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Types nested in [`TensorShapeProto`].
pub mod tensor_shape_proto {
    /// One axis.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Dimension {
        /// Its length; absent when not known.
        #[prost(oneof = "dimension::Value", tags = "1, 2")]
        pub value: Option<dimension::Value>,
        /// What the axis means, as a standard name.
        #[prost(string, optional, tag = "3")]
        pub denotation: Option<String>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }

    /// Types nested in [`Dimension`].
    pub mod dimension {
        /// An axis's length.
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub enum Value {
            /// A number.
            #[prost(int64, tag = "1")]
            DimValue(i64),
            /// A name for a length that is known only when the model runs.
            #[prost(string, tag = "2")]
            DimParam(String),
        }
    }
}
