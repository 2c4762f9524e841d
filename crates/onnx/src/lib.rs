//! ONNX files as they are: read and write, names kept, nothing lost. Knows nothing of execution.
//!
//! [`read_model`] and [`write_model`] work on files, [`decode_model`] and [`encode_model`] on bytes,
//! [`model`] holds the messages, and [`visit`] walks over a model's tensors, whose numbers
//! [`TensorProto`](model::TensorProto) gives in any type.
//!
//! ```
//! use tqz_onnx::model::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto};
//!
//! let weight = TensorProto::from_f32("conv1.weight", &[2], &[0.5, -1.0])?;
//! let model = ModelProto {
//!     ir_version: Some(8),
//!     opset_import: vec![OperatorSetIdProto { version: Some(17), ..Default::default() }],
//!     graph: Some(GraphProto { initializer: vec![weight], ..Default::default() }),
//!     ..Default::default()
//! };
//! let mut again = tqz_onnx::decode_model(&tqz_onnx::encode_model(&model))?;
//! assert_eq!(again, model);
//! tqz_onnx::visit::tensors_mut(&mut again, |site, tensor| {
//!     assert_eq!(site.place, "graph.initializer[0]");
//!     tensor.set_f32(&[1.0, 2.0]).expect("two values for two elements");
//! });
//! # Ok::<(), tqz_onnx::OnnxError>(())
//! ```

mod data_type;
mod error;
mod external;
mod make;
pub mod model;
mod read;
mod tensor_data;
pub mod visit;
mod wire;
mod write;

pub use error::OnnxError;
pub use make::AttributeValue;
pub use read::{decode_model, read_model, read_model_keep_external};
pub use write::{
    Existing, ExternalData, WriteOptions, encode_model, write_model, write_model_with,
};

#[cfg(test)]
mod test_support;
