//! Multi-device annotations (IR 11): which devices exist and how tensors are sharded over them.

/// A named set of devices.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeviceConfigurationProto {
    /// The configuration's name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// How many devices it has.
    #[prost(int32, optional, tag = "2")]
    pub num_devices: Option<i32>,
    /// The devices' names.
    #[prost(string, repeated, tag = "3")]
    pub device: Vec<String>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// How one node runs in one device configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeDeviceConfigurationProto {
    /// Name of the [`DeviceConfigurationProto`].
    #[prost(string, optional, tag = "1")]
    pub configuration_id: Option<String>,
    /// How the node's inputs and outputs are sharded.
    #[prost(message, repeated, tag = "2")]
    pub sharding_spec: Vec<ShardingSpecProto>,
    /// Stage of a pipeline the node belongs to.
    #[prost(int32, optional, tag = "3")]
    pub pipeline_stage: Option<i32>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// How one tensor is sharded.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ShardingSpecProto {
    /// The tensor's name, an input or output of the node.
    #[prost(string, optional, tag = "1")]
    pub tensor_name: Option<String>,
    /// Indices of devices or, if negative, of groups of devices.
    #[prost(int64, repeated, packed = "false", tag = "2")]
    pub device: Vec<i64>,
    /// The devices of each group.
    #[prost(message, repeated, tag = "3")]
    pub index_to_device_group_map: Vec<IntIntListEntryProto>,
    /// The axes that are cut.
    #[prost(message, repeated, tag = "4")]
    pub sharded_dim: Vec<ShardedDimProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// How one axis is cut.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ShardedDimProto {
    /// The axis; negative counts from the last.
    #[prost(int64, optional, tag = "1")]
    pub axis: Option<i64>,
    /// The cuts; more than one when the axis stands for several.
    #[prost(message, repeated, tag = "2")]
    pub simple_sharding: Vec<SimpleShardedDimProto>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// One cut of one axis into equal parts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SimpleShardedDimProto {
    /// Length that is cut.
    #[prost(oneof = "simple_sharded_dim_proto::Dim", tags = "1, 2")]
    pub dim: Option<simple_sharded_dim_proto::Dim>,
    /// Number of parts.
    #[prost(int64, optional, tag = "3")]
    pub num_shards: Option<i64>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}

/// Types nested in [`SimpleShardedDimProto`].
pub mod simple_sharded_dim_proto {
    /// Length of the axis that is cut.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Dim {
        /// A number.
        #[prost(int64, tag = "1")]
        DimValue(i64),
        /// A name for a length that is known only when the model runs.
        #[prost(string, tag = "2")]
        DimParam(String),
    }
}

/// An integer key with a list of integers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IntIntListEntryProto {
    /// The key.
    #[prost(int64, optional, tag = "1")]
    pub key: Option<i64>,
    /// The list.
    #[prost(int64, repeated, packed = "false", tag = "2")]
    pub value: Vec<i64>,
    /// Fields of a newer IR, kept as they came.
    #[prost(
        oneof = "crate::model::Unknown",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40"
    )]
    pub unknown: Option<crate::model::Unknown>,
}
