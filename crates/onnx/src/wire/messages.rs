//! Which field of which message has which number, name and form: the map that the scan walks by.
//!
//! The tests compare every entry with what prost derives from the messages themselves.

use super::schema::{Kind, Schema, boxed, leaf, many, one};
use crate::model::{
    AttributeProto, DeviceConfigurationProto, FunctionProto, GraphProto, IntIntListEntryProto,
    ModelProto, NodeDeviceConfigurationProto, NodeProto, OperatorSetIdProto, ShardedDimProto,
    ShardingSpecProto, SimpleShardedDimProto, SparseTensorProto, StringStringEntryProto,
    TensorAnnotation, TensorProto, TensorShapeProto, TrainingInfoProto, TypeProto, ValueInfoProto,
    tensor_proto, tensor_shape_proto, type_proto,
};

pub(crate) static MODEL: Schema = Schema {
    name: "ModelProto",
    size: size_of::<ModelProto>(),
    fields: &[
        leaf(1, "ir_version", Kind::Varint),
        leaf(2, "producer_name", Kind::Text),
        leaf(3, "producer_version", Kind::Text),
        leaf(4, "domain", Kind::Text),
        leaf(5, "model_version", Kind::Varint),
        leaf(6, "doc_string", Kind::Text),
        one(7, "graph", &GRAPH),
        many(8, "opset_import", &OPERATOR_SET_ID),
        many(14, "metadata_props", &STRING_STRING_ENTRY),
        many(20, "training_info", &TRAINING_INFO),
        many(25, "functions", &FUNCTION),
        many(26, "configuration", &DEVICE_CONFIGURATION),
    ],
};

static GRAPH: Schema = Schema {
    name: "GraphProto",
    size: size_of::<GraphProto>(),
    fields: &[
        many(1, "node", &NODE),
        leaf(2, "name", Kind::Text),
        many(5, "initializer", &TENSOR),
        leaf(10, "doc_string", Kind::Text),
        many(11, "input", &VALUE_INFO),
        many(12, "output", &VALUE_INFO),
        many(13, "value_info", &VALUE_INFO),
        many(14, "quantization_annotation", &TENSOR_ANNOTATION),
        many(15, "sparse_initializer", &SPARSE_TENSOR),
        many(16, "metadata_props", &STRING_STRING_ENTRY),
    ],
};

static NODE: Schema = Schema {
    name: "NodeProto",
    size: size_of::<NodeProto>(),
    fields: &[
        leaf(1, "input", Kind::Texts),
        leaf(2, "output", Kind::Texts),
        leaf(3, "name", Kind::Text),
        leaf(4, "op_type", Kind::Text),
        many(5, "attribute", &ATTRIBUTE),
        leaf(6, "doc_string", Kind::Text),
        leaf(7, "domain", Kind::Text),
        leaf(8, "overload", Kind::Text),
        many(9, "metadata_props", &STRING_STRING_ENTRY),
        many(10, "device_configurations", &NODE_DEVICE_CONFIGURATION),
    ],
};

static ATTRIBUTE: Schema = Schema {
    name: "AttributeProto",
    size: size_of::<AttributeProto>(),
    fields: &[
        leaf(1, "name", Kind::Text),
        leaf(2, "f", Kind::Fixed4),
        leaf(3, "i", Kind::Varint),
        leaf(4, "s", Kind::Bytes),
        boxed(5, "t", &TENSOR),
        boxed(6, "g", &GRAPH),
        leaf(7, "floats", Kind::Fixed4s),
        leaf(8, "ints", Kind::Varints),
        leaf(9, "strings", Kind::BytesList),
        many(10, "tensors", &TENSOR),
        many(11, "graphs", &GRAPH),
        leaf(13, "doc_string", Kind::Text),
        boxed(14, "tp", &TYPE),
        many(15, "type_protos", &TYPE),
        leaf(20, "type", Kind::Varint),
        leaf(21, "ref_attr_name", Kind::Text),
        boxed(22, "sparse_tensor", &SPARSE_TENSOR),
        many(23, "sparse_tensors", &SPARSE_TENSOR),
    ],
};

static FUNCTION: Schema = Schema {
    name: "FunctionProto",
    size: size_of::<FunctionProto>(),
    fields: &[
        leaf(1, "name", Kind::Text),
        leaf(4, "input", Kind::Texts),
        leaf(5, "output", Kind::Texts),
        leaf(6, "attribute", Kind::Texts),
        many(7, "node", &NODE),
        leaf(8, "doc_string", Kind::Text),
        many(9, "opset_import", &OPERATOR_SET_ID),
        leaf(10, "domain", Kind::Text),
        many(11, "attribute_proto", &ATTRIBUTE),
        many(12, "value_info", &VALUE_INFO),
        leaf(13, "overload", Kind::Text),
        many(14, "metadata_props", &STRING_STRING_ENTRY),
    ],
};

static TRAINING_INFO: Schema = Schema {
    name: "TrainingInfoProto",
    size: size_of::<TrainingInfoProto>(),
    fields: &[
        one(1, "initialization", &GRAPH),
        one(2, "algorithm", &GRAPH),
        many(3, "initialization_binding", &STRING_STRING_ENTRY),
        many(4, "update_binding", &STRING_STRING_ENTRY),
    ],
};

static OPERATOR_SET_ID: Schema = Schema {
    name: "OperatorSetIdProto",
    size: size_of::<OperatorSetIdProto>(),
    fields: &[
        leaf(1, "domain", Kind::Text),
        leaf(2, "version", Kind::Varint),
    ],
};

static STRING_STRING_ENTRY: Schema = Schema {
    name: "StringStringEntryProto",
    size: size_of::<StringStringEntryProto>(),
    fields: &[leaf(1, "key", Kind::Text), leaf(2, "value", Kind::Text)],
};

static TENSOR: Schema = Schema {
    name: "TensorProto",
    size: size_of::<TensorProto>(),
    fields: &[
        leaf(1, "dims", Kind::Varints),
        leaf(2, "data_type", Kind::Varint),
        one(3, "segment", &TENSOR_SEGMENT),
        leaf(4, "float_data", Kind::Fixed4s),
        leaf(5, "int32_data", Kind::Varints),
        leaf(6, "string_data", Kind::BytesList),
        leaf(7, "int64_data", Kind::Varints),
        leaf(8, "name", Kind::Text),
        leaf(9, "raw_data", Kind::Bytes),
        leaf(10, "double_data", Kind::Fixed8s),
        leaf(11, "uint64_data", Kind::Varints),
        leaf(12, "doc_string", Kind::Text),
        many(13, "external_data", &STRING_STRING_ENTRY),
        leaf(14, "data_location", Kind::Varint),
        many(16, "metadata_props", &STRING_STRING_ENTRY),
    ],
};

static TENSOR_SEGMENT: Schema = Schema {
    name: "Segment",
    size: size_of::<tensor_proto::Segment>(),
    fields: &[leaf(1, "begin", Kind::Varint), leaf(2, "end", Kind::Varint)],
};

static SPARSE_TENSOR: Schema = Schema {
    name: "SparseTensorProto",
    size: size_of::<SparseTensorProto>(),
    fields: &[
        one(1, "values", &TENSOR),
        one(2, "indices", &TENSOR),
        leaf(3, "dims", Kind::Varints),
    ],
};

static TENSOR_ANNOTATION: Schema = Schema {
    name: "TensorAnnotation",
    size: size_of::<TensorAnnotation>(),
    fields: &[
        leaf(1, "tensor_name", Kind::Text),
        many(2, "quant_parameter_tensor_names", &STRING_STRING_ENTRY),
    ],
};

static VALUE_INFO: Schema = Schema {
    name: "ValueInfoProto",
    size: size_of::<ValueInfoProto>(),
    fields: &[
        leaf(1, "name", Kind::Text),
        one(2, "type", &TYPE),
        leaf(3, "doc_string", Kind::Text),
        many(4, "metadata_props", &STRING_STRING_ENTRY),
    ],
};

static TYPE: Schema = Schema {
    name: "TypeProto",
    size: size_of::<TypeProto>(),
    fields: &[
        one(1, "tensor_type", &TYPE_TENSOR),
        boxed(4, "sequence_type", &TYPE_SEQUENCE),
        boxed(5, "map_type", &TYPE_MAP),
        leaf(6, "denotation", Kind::Text),
        one(7, "opaque_type", &TYPE_OPAQUE),
        one(8, "sparse_tensor_type", &TYPE_SPARSE_TENSOR),
        boxed(9, "optional_type", &TYPE_OPTIONAL),
    ],
};

static TYPE_TENSOR: Schema = Schema {
    name: "Tensor",
    size: size_of::<type_proto::Tensor>(),
    fields: &[
        leaf(1, "elem_type", Kind::Varint),
        one(2, "shape", &TENSOR_SHAPE),
    ],
};

static TYPE_SEQUENCE: Schema = Schema {
    name: "Sequence",
    size: size_of::<type_proto::Sequence>(),
    fields: &[boxed(1, "elem_type", &TYPE)],
};

static TYPE_MAP: Schema = Schema {
    name: "Map",
    size: size_of::<type_proto::Map>(),
    fields: &[
        leaf(1, "key_type", Kind::Varint),
        boxed(2, "value_type", &TYPE),
    ],
};

static TYPE_OPTIONAL: Schema = Schema {
    name: "Optional",
    size: size_of::<type_proto::Optional>(),
    fields: &[boxed(1, "elem_type", &TYPE)],
};

static TYPE_SPARSE_TENSOR: Schema = Schema {
    name: "SparseTensor",
    size: size_of::<type_proto::SparseTensor>(),
    fields: &[
        leaf(1, "elem_type", Kind::Varint),
        one(2, "shape", &TENSOR_SHAPE),
    ],
};

static TYPE_OPAQUE: Schema = Schema {
    name: "Opaque",
    size: size_of::<type_proto::Opaque>(),
    fields: &[leaf(1, "domain", Kind::Text), leaf(2, "name", Kind::Text)],
};

static TENSOR_SHAPE: Schema = Schema {
    name: "TensorShapeProto",
    size: size_of::<TensorShapeProto>(),
    fields: &[many(1, "dim", &TENSOR_SHAPE_DIMENSION)],
};

static TENSOR_SHAPE_DIMENSION: Schema = Schema {
    name: "Dimension",
    size: size_of::<tensor_shape_proto::Dimension>(),
    fields: &[
        leaf(1, "dim_value", Kind::Varint),
        leaf(2, "dim_param", Kind::Text),
        leaf(3, "denotation", Kind::Text),
    ],
};

static DEVICE_CONFIGURATION: Schema = Schema {
    name: "DeviceConfigurationProto",
    size: size_of::<DeviceConfigurationProto>(),
    fields: &[
        leaf(1, "name", Kind::Text),
        leaf(2, "num_devices", Kind::Varint),
        leaf(3, "device", Kind::Texts),
    ],
};

static NODE_DEVICE_CONFIGURATION: Schema = Schema {
    name: "NodeDeviceConfigurationProto",
    size: size_of::<NodeDeviceConfigurationProto>(),
    fields: &[
        leaf(1, "configuration_id", Kind::Text),
        many(2, "sharding_spec", &SHARDING_SPEC),
        leaf(3, "pipeline_stage", Kind::Varint),
    ],
};

static SHARDING_SPEC: Schema = Schema {
    name: "ShardingSpecProto",
    size: size_of::<ShardingSpecProto>(),
    fields: &[
        leaf(1, "tensor_name", Kind::Text),
        leaf(2, "device", Kind::Varints),
        many(3, "index_to_device_group_map", &INT_INT_LIST_ENTRY),
        many(4, "sharded_dim", &SHARDED_DIM),
    ],
};

static SHARDED_DIM: Schema = Schema {
    name: "ShardedDimProto",
    size: size_of::<ShardedDimProto>(),
    fields: &[
        leaf(1, "axis", Kind::Varint),
        many(2, "simple_sharding", &SIMPLE_SHARDED_DIM),
    ],
};

static SIMPLE_SHARDED_DIM: Schema = Schema {
    name: "SimpleShardedDimProto",
    size: size_of::<SimpleShardedDimProto>(),
    fields: &[
        leaf(1, "dim_value", Kind::Varint),
        leaf(2, "dim_param", Kind::Text),
        leaf(3, "num_shards", Kind::Varint),
    ],
};

static INT_INT_LIST_ENTRY: Schema = Schema {
    name: "IntIntListEntryProto",
    size: size_of::<IntIntListEntryProto>(),
    fields: &[
        leaf(1, "key", Kind::Varint),
        leaf(2, "value", Kind::Varints),
    ],
};
