//! What a graph stores beside its nodes: initializers, dense and sparse, and its ports' types.

use tqz_onnx::model::{SparseTensorProto, ValueInfoProto, tensor_shape_proto, type_proto};

use crate::constant;
use crate::device::EngineDevice;
use crate::error::{EngineError, Fault, OpResult, invalid};
use crate::ints::ElementType;
use crate::limits::{MAX_CONSTANT_ELEMENTS, element_count};
use crate::port::{Dim, Port};
use crate::real::Real;
use crate::value::Value;

/// The fault as an error of a named tensor.
pub(super) fn tensor_error(name: &str) -> impl FnOnce(Fault) -> EngineError + use<> {
    let name = name.to_owned();
    |fault| EngineError::Tensor {
        name,
        message: fault.message,
    }
}

/// A sparse tensor of floats with its zeros written out.
pub(super) fn dense(sparse: &SparseTensorProto, device: &EngineDevice) -> OpResult<Value> {
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
        return Err(invalid("a sparse tensor needs values and indices"));
    };
    if constant::element_type(values.data_type.unwrap_or(0))? != ElementType::Float {
        return Err(invalid("sparse tensors of floats are legal here"));
    }
    let dims = sparse
        .dims
        .iter()
        .map(|&dim| {
            usize::try_from(dim).map_err(|_| invalid(format!("dimension {dim} is negative")))
        })
        .collect::<OpResult<Vec<_>>>()?;
    let mut data = vec![0.0; element_count(&dims, MAX_CONSTANT_ELEMENTS)?];
    let numbers = values.to_f32().map_err(constant::unreadable)?;
    let places = indices.to_i64().map_err(constant::unreadable)?;
    // Indices are [values] of flat places or [values, rank] of coordinates.
    let width = match indices.dims.len() {
        1 => 1,
        2 => dims.len(),
        _ => return Err(invalid("the indices of a sparse tensor have rank 1 or 2")),
    };
    if places.len() != numbers.len() * width {
        return Err(invalid("a sparse tensor's indices do not match its values"));
    }
    for (&number, place) in numbers.iter().zip(places.chunks(width.max(1))) {
        let flat = if indices.dims.len() == 1 {
            Some(place[0])
        } else {
            flat_index(place, &dims)
        };
        let target = flat
            .and_then(|flat| usize::try_from(flat).ok())
            .and_then(|flat| data.get_mut(flat));
        *target
            .ok_or_else(|| invalid(format!("sparse index {place:?} lies outside of {dims:?}")))? =
            number;
    }
    Ok(Real::from_host(data, &dims, device)?.into())
}

fn flat_index(place: &[i64], dims: &[usize]) -> Option<i64> {
    place
        .iter()
        .zip(dims)
        .try_fold(0i64, |flat, (&index, &dim)| {
            let dim = i64::try_from(dim).ok()?;
            (0..dim).contains(&index).then(|| flat * dim + index)
        })
}

/// A graph's input or output as the caller sees it. Where `typed`, its element type must be given.
pub(super) fn port(info: &ValueInfoProto, typed: bool) -> Result<Port, EngineError> {
    let name = info.name.clone().unwrap_or_default();
    let value = info.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let error = tensor_error(&name);
    let tensor = match value {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
        None if !typed => None,
        None => return Err(error(invalid("the graph gives this input no type"))),
        Some(_) => {
            return Err(error(invalid(
                "its type is a sequence, a map, optional or sparse; tensors are legal here",
            )));
        }
    };
    let dtype = match tensor.and_then(|tensor| tensor.elem_type) {
        None | Some(0) if !typed => ElementType::Float,
        code => constant::element_type(code.unwrap_or(0)).map_err(error)?,
    };
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dims = shape.map(|shape| {
        let dim = |dim: &tensor_shape_proto::Dimension| match &dim.value {
            Some(tensor_shape_proto::dimension::Value::DimValue(size)) => {
                match usize::try_from(*size) {
                    Ok(size) => Dim::Fixed(size),
                    Err(_) => Dim::Dynamic(String::new()),
                }
            }
            Some(tensor_shape_proto::dimension::Value::DimParam(name)) => {
                Dim::Dynamic(name.clone())
            }
            None => Dim::Dynamic(String::new()),
        };
        shape.dim.iter().map(dim).collect::<Vec<_>>()
    });
    Ok(Port {
        name,
        dtype,
        has_shape: dims.is_some(),
        dims: dims.unwrap_or_default(),
    })
}
