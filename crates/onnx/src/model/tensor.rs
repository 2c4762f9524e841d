//! Tensors: dense with their three ways of holding numbers, sparse, and notes about quantization.

use super::graph::StringStringEntryProto;

/// A dense tensor: dims, element type, and the elements in `raw_data`, a typed list or another file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// Lengths of the axes, outermost first; none for a scalar.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// Element type, a [`tensor_proto::DataType`].
    #[prost(int32, optional, tag = "2")]
    pub data_type: Option<i32>,
    /// Which part of a large tensor this is.
    #[prost(message, optional, tag = "3")]
    pub segment: Option<tensor_proto::Segment>,
    /// Elements of float32, and complex64 as real, imaginary, …
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Elements of the integer types up to 32 bits and of bool, and bits of the floats below 32 bits;
    /// of the 2- and 4-bit types, each number is one byte of the packed form in `raw_data`.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Elements of string tensors.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_data: Vec<Vec<u8>>,
    /// Elements of int64.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// The tensor's name.
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    /// Text for people.
    #[prost(string, optional, tag = "12")]
    pub doc_string: Option<String>,
    /// Elements as little-endian bytes; types below 8 bits packed, first element in the lowest bits.
    #[prost(bytes = "vec", optional, tag = "9")]
    pub raw_data: Option<Vec<u8>>,
    /// Where the elements lie outside this file: `location`, `offset`, `length`, `checksum`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// Whether the elements lie outside this file (a [`tensor_proto::DataLocation`]).
    #[prost(enumeration = "tensor_proto::DataLocation", optional, tag = "14")]
    pub data_location: Option<i32>,
    /// Elements of float64, and complex128 as real, imaginary, …
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Elements of uint32 and uint64.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Free key–value pairs.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Types nested in [`TensorProto`].
pub mod tensor_proto {
    /// A part of a large tensor, in elements.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Segment {
        /// First element.
        #[prost(int64, optional, tag = "1")]
        pub begin: Option<i64>,
        /// One past the last element.
        #[prost(int64, optional, tag = "2")]
        pub end: Option<i64>,
        /// Fields of a newer IR, kept as they came.
        #[prost(
            oneof = "crate::model::Unknown",
            tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
        )]
        pub unknown: Option<crate::model::Unknown>,
    }

    /// Types of a tensor's elements.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
    #[repr(i32)]
    pub enum DataType {
        /// Not said.
        Undefined = 0,
        /// IEEE 754, 32 bits.
        Float = 1,
        /// Unsigned, 8 bits.
        Uint8 = 2,
        /// Signed, 8 bits.
        Int8 = 3,
        /// Unsigned, 16 bits.
        Uint16 = 4,
        /// Signed, 16 bits.
        Int16 = 5,
        /// Signed, 32 bits.
        Int32 = 6,
        /// Signed, 64 bits.
        Int64 = 7,
        /// Byte strings.
        String = 8,
        /// One byte, 0 or 1.
        Bool = 9,
        /// IEEE 754, 16 bits.
        Float16 = 10,
        /// IEEE 754, 64 bits.
        Double = 11,
        /// Unsigned, 32 bits.
        Uint32 = 12,
        /// Unsigned, 64 bits.
        Uint64 = 13,
        /// Two float32: real, imaginary.
        Complex64 = 14,
        /// Two float64: real, imaginary.
        Complex128 = 15,
        /// The upper half of a float32.
        Bfloat16 = 16,
        /// 4 exponent bits, 3 mantissa bits, NaN but no infinity.
        Float8e4m3fn = 17,
        /// As E4M3FN with bias 8, one NaN and no negative zero.
        Float8e4m3fnuz = 18,
        /// 5 exponent bits, 2 mantissa bits, infinities and NaN.
        Float8e5m2 = 19,
        /// As E5M2 with bias 16, one NaN, no infinity and no negative zero.
        Float8e5m2fnuz = 20,
        /// Unsigned, 4 bits.
        Uint4 = 21,
        /// Signed, 4 bits.
        Int4 = 22,
        /// 4 bits: 2 of exponent, 1 of mantissa.
        Float4e2m1 = 23,
        /// 8 bits of exponent: powers of two.
        Float8e8m0 = 24,
        /// Unsigned, 2 bits.
        Uint2 = 25,
        /// Signed, 2 bits.
        Int2 = 26,
        /// 6 bits: 2 of exponent, 3 of mantissa.
        Float6e2m3 = 27,
        /// 6 bits: 3 of exponent, 2 of mantissa.
        Float6e3m2 = 28,
    }

    /// Where a tensor's elements lie.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
    #[repr(i32)]
    pub enum DataLocation {
        /// In this message.
        Default = 0,
        /// In another file, which `external_data` names.
        External = 1,
    }
}

/// A sparse tensor in coordinate form.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SparseTensorProto {
    /// The nonzero values, one axis; its name is the sparse tensor's name.
    #[prost(message, optional, tag = "1")]
    pub values: Option<TensorProto>,
    /// Where they stand: int64, either linear `[nnz]` or by axis `[nnz, rank]`.
    #[prost(message, optional, tag = "2")]
    pub indices: Option<TensorProto>,
    /// Lengths of the axes of the dense tensor it stands for.
    #[prost(int64, repeated, packed = "false", tag = "3")]
    pub dims: Vec<i64>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Names the tensors that hold another tensor's quantization parameters.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorAnnotation {
    /// The tensor described.
    #[prost(string, optional, tag = "1")]
    pub tensor_name: Option<String>,
    /// Kind of parameter (key, such as `SCALE_TENSOR`) and the tensor that holds it (value).
    #[prost(message, repeated, tag = "2")]
    pub quant_parameter_tensor_names: Vec<StringStringEntryProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}
