//! Tensors stored in a model as values of the engine.

use tqz_onnx::OnnxError;
use tqz_onnx::model::TensorProto;

use crate::device::EngineDevice;
use crate::error::{Fault, OpResult, invalid, unsupported};
use crate::ints::{ElementType, Ints};
use crate::real::Real;
use crate::value::Value;

/// Element type of a stored tensor.
pub(crate) fn element_type(code: i32) -> OpResult<ElementType> {
    ElementType::from_onnx(code).ok_or_else(|| {
        unsupported(format!(
            "element type {code}: floats, integers and truth values can be computed with"
        ))
    })
}

/// What keeps a tensor from being read; its name is added by the caller.
pub(crate) fn unreadable(error: OnnxError) -> Fault {
    match error {
        OnnxError::Tensor { reason, .. } => invalid(reason),
        other => invalid(other.to_string()),
    }
}

/// The numbers of a stored tensor: floats of any width as f32 on the device, integers on the host.
pub(crate) fn value(tensor: &TensorProto, device: &EngineDevice) -> OpResult<Value> {
    let kind = element_type(tensor.data_type.unwrap_or(0))?;
    let dims = tensor.dims_usize().map_err(unreadable)?;
    Ok(match kind {
        ElementType::Float => {
            Real::from_host(tensor.to_f32().map_err(unreadable)?, &dims, device)?.into()
        }
        _ => Ints::new(kind, &dims, tensor.to_i64().map_err(unreadable)?)?.into(),
    })
}
