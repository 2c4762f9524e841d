//! Models, graphs, nodes, attributes and functions: the part of the ONNX IR that says what is computed.

use super::devices::{DeviceConfigurationProto, NodeDeviceConfigurationProto};
use super::tensor::{SparseTensorProto, TensorAnnotation, TensorProto};
use super::types::{TypeProto, ValueInfoProto};

/// A whole ONNX file: one main graph, what it needs to be understood, and who wrote it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelProto {
    /// Version of the IR the file is written in (see [`Version`]).
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    /// Operator sets the graph's operators come from.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Name of the program that wrote the file.
    #[prost(string, optional, tag = "2")]
    pub producer_name: Option<String>,
    /// Version of the program that wrote the file.
    #[prost(string, optional, tag = "3")]
    pub producer_version: Option<String>,
    /// Reverse-DNS name space of the model.
    #[prost(string, optional, tag = "4")]
    pub domain: Option<String>,
    /// The author's version of the graph.
    #[prost(int64, optional, tag = "5")]
    pub model_version: Option<i64>,
    /// Text for people.
    #[prost(string, optional, tag = "6")]
    pub doc_string: Option<String>,
    /// The main graph.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Free key–value pairs.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Graphs that initialize and train the model.
    #[prost(message, repeated, tag = "20")]
    pub training_info: Vec<TrainingInfoProto>,
    /// Functions that nodes of this file may call.
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
    /// Sets of devices the model was prepared for.
    #[prost(message, repeated, tag = "26")]
    pub configuration: Vec<DeviceConfigurationProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 24, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// A graph: nodes in topological order, with the constants and the names at its border.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GraphProto {
    /// Nodes, in an order in which they can run.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// The graph's name.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    /// Named constants; one with an input's name is that input's default.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Named constants in sparse form.
    #[prost(message, repeated, tag = "15")]
    pub sparse_initializer: Vec<SparseTensorProto>,
    /// Text for people.
    #[prost(string, optional, tag = "10")]
    pub doc_string: Option<String>,
    /// The graph's inputs.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// The graph's outputs.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types and shapes known of values inside the graph.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
    /// Which tensors hold the scale and zero point of which.
    #[prost(message, repeated, tag = "14")]
    pub quantization_annotation: Vec<TensorAnnotation>,
    /// Free key–value pairs.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "3, 4, 6, 7, 8, 9, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// One call of an operator or function.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeProto {
    /// Names of the values read; an empty name is an omitted optional input.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values made; an empty name is an output not wanted.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// The node's name, which may be absent.
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    /// The operator's name.
    #[prost(string, optional, tag = "4")]
    pub op_type: Option<String>,
    /// The operator's domain; empty or absent means `ai.onnx`.
    #[prost(string, optional, tag = "7")]
    pub domain: Option<String>,
    /// Which overload of a function is called.
    #[prost(string, optional, tag = "8")]
    pub overload: Option<String>,
    /// Named attributes.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// Text for people.
    #[prost(string, optional, tag = "6")]
    pub doc_string: Option<String>,
    /// Free key–value pairs.
    #[prost(message, repeated, tag = "9")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Where and how the node runs in each device configuration.
    #[prost(message, repeated, tag = "10")]
    pub device_configurations: Vec<NodeDeviceConfigurationProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// A named attribute of a node: one value or one list, of the kind that `type` tells.
///
/// The message-typed single values are boxed: most attributes are one integer or a short list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttributeProto {
    /// The attribute's name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// In a function's body: the attribute of the calling node whose value is taken.
    #[prost(string, optional, tag = "21")]
    pub ref_attr_name: Option<String>,
    /// Text for people.
    #[prost(string, optional, tag = "13")]
    pub doc_string: Option<String>,
    /// Which of the fields below holds the value (an [`attribute_proto::AttributeType`]).
    #[prost(enumeration = "attribute_proto::AttributeType", optional, tag = "20")]
    pub r#type: Option<i32>,
    /// A float.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// An integer.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// A byte string, UTF-8 by custom.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    /// A tensor.
    #[prost(message, optional, boxed, tag = "5")]
    pub t: Option<Box<TensorProto>>,
    /// A graph, run by control-flow operators.
    #[prost(message, optional, boxed, tag = "6")]
    pub g: Option<Box<GraphProto>>,
    /// A sparse tensor.
    #[prost(message, optional, boxed, tag = "22")]
    pub sparse_tensor: Option<Box<SparseTensorProto>>,
    /// A type.
    #[prost(message, optional, boxed, tag = "14")]
    pub tp: Option<Box<TypeProto>>,
    /// A list of floats.
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    /// A list of integers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// A list of byte strings.
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    /// A list of tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// A list of graphs.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// A list of sparse tensors.
    #[prost(message, repeated, tag = "23")]
    pub sparse_tensors: Vec<SparseTensorProto>,
    /// A list of types.
    #[prost(message, repeated, tag = "15")]
    pub type_protos: Vec<TypeProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "12, 16, 17, 18, 19, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Types nested in [`AttributeProto`].
pub mod attribute_proto {
    /// Which field of an attribute holds its value.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
    #[repr(i32)]
    pub enum AttributeType {
        /// Not said; files before IR 2 leave it out.
        Undefined = 0,
        /// `f`
        Float = 1,
        /// `i`
        Int = 2,
        /// `s`
        String = 3,
        /// `t`
        Tensor = 4,
        /// `g`
        Graph = 5,
        /// `floats`
        Floats = 6,
        /// `ints`
        Ints = 7,
        /// `strings`
        Strings = 8,
        /// `tensors`
        Tensors = 9,
        /// `graphs`
        Graphs = 10,
        /// `sparse_tensor`
        SparseTensor = 11,
        /// `sparse_tensors`
        SparseTensors = 12,
        /// `tp`
        TypeProto = 13,
        /// `type_protos`
        TypeProtos = 14,
    }
}

/// A function: an operator defined by a body of nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FunctionProto {
    /// The function's name, used as `op_type` by callers.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Names of the parameters.
    #[prost(string, repeated, tag = "4")]
    pub input: Vec<String>,
    /// Names of the results.
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    /// Names of attributes without a default.
    #[prost(string, repeated, tag = "6")]
    pub attribute: Vec<String>,
    /// Attributes with their defaults.
    #[prost(message, repeated, tag = "11")]
    pub attribute_proto: Vec<AttributeProto>,
    /// The body, in an order in which it can run.
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<NodeProto>,
    /// Text for people.
    #[prost(string, optional, tag = "8")]
    pub doc_string: Option<String>,
    /// Operator sets the body's operators come from.
    #[prost(message, repeated, tag = "9")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// The function's domain.
    #[prost(string, optional, tag = "10")]
    pub domain: Option<String>,
    /// Tells functions of one domain and name apart.
    #[prost(string, optional, tag = "13")]
    pub overload: Option<String>,
    /// Types and shapes known of values inside the body.
    #[prost(message, repeated, tag = "12")]
    pub value_info: Vec<ValueInfoProto>,
    /// Free key–value pairs.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "2, 3, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Graphs that give a model's state its first values and take training steps.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TrainingInfoProto {
    /// Makes the first values.
    #[prost(message, optional, tag = "1")]
    pub initialization: Option<GraphProto>,
    /// One training step.
    #[prost(message, optional, tag = "2")]
    pub algorithm: Option<GraphProto>,
    /// Which state (key) takes which output (value) of `initialization`.
    #[prost(message, repeated, tag = "3")]
    pub initialization_binding: Vec<StringStringEntryProto>,
    /// Which state (key) takes which output (value) of `algorithm`.
    #[prost(message, repeated, tag = "4")]
    pub update_binding: Vec<StringStringEntryProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// A domain and the version of its operator set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorSetIdProto {
    /// The domain; empty or absent means `ai.onnx`.
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    /// The operator set's version.
    #[prost(int64, optional, tag = "2")]
    pub version: Option<i64>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// A key and a value, both text.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StringStringEntryProto {
    /// The key.
    #[prost(string, optional, tag = "1")]
    pub key: Option<String>,
    /// The value.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Versions of the IR, as `ir_version` holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Version {
    /// Not a version; files hold 1 or more.
    StartVersion = 0,
    /// 1: first release.
    IrVersion20171010 = 1,
    /// 2: attributes carry their type.
    IrVersion20171030 = 2,
    /// 3: operator sets are versioned.
    IrVersion2017113 = 3,
    /// 4: initializers need not be inputs.
    IrVersion2019122 = 4,
    /// 5: quantization annotations.
    IrVersion2019318 = 5,
    /// 6: sparse tensors and sequences.
    IrVersion2019919 = 6,
    /// 7: training information.
    IrVersion202058 = 7,
    /// 8: functions, optional types.
    IrVersion2021730 = 8,
    /// 9: float8 types.
    IrVersion202355 = 9,
    /// 10: int4 types, overloads, metadata on nodes and values.
    IrVersion2024325 = 10,
    /// 11: float4, device configurations.
    IrVersion20250512 = 11,
    /// 12: float8 exponents.
    IrVersion20250826 = 12,
    /// 13: int2 types.
    IrVersion20251106 = 13,
    /// 14: float6 types; the newest version known here.
    IrVersion = 14,
}

/// Whether an operator is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum OperatorStatus {
    /// May change.
    Experimental = 0,
    /// Will not change.
    Stable = 1,
}
