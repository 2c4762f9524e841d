//! The messages of the ONNX IR (version 14 and all before it), every field, as prost types.
//!
//! Names follow the IR; presence is kept (`Option` for every optional scalar), so that what is written
//! equals what was read. Field numbers are those of the ONNX project's `onnx.proto`. Fields with
//! numbers that no IR up to 14 uses are kept as bytes in each message's `unknown`.

mod devices;
mod graph;
mod tensor;
mod types;
mod unknown;

pub use attribute_proto::AttributeType;
pub use devices::{
    DeviceConfigurationProto, IntIntListEntryProto, NodeDeviceConfigurationProto, ShardedDimProto,
    ShardingSpecProto, SimpleShardedDimProto, simple_sharded_dim_proto,
};
pub use graph::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    OperatorStatus, StringStringEntryProto, TrainingInfoProto, Version, attribute_proto,
};
pub use tensor::{SparseTensorProto, TensorAnnotation, TensorProto, tensor_proto};
pub use tensor_proto::{DataLocation, DataType};
pub use types::{TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto};
pub use unknown::{LAST_KEPT_FIELD, Unknown};
