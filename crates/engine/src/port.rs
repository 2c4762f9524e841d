//! A network's inputs and outputs as the caller sees them: what the model declares of each; arrays to values and back.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::device::EngineDevice;
use crate::error::{EngineError, Fault, OpResult, invalid};
use crate::ints::{ElementType, Ints};
use crate::limits::MAX_ELEMENTS;
use crate::real::Real;
use crate::value::Value;

/// A dimension of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Always this size.
    Fixed(usize),
    /// Any size; the model's name for it, empty if it has none.
    Dynamic(String),
}

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name of the value.
    pub name: String,
    /// Element type; floats are f32 here whatever the model says.
    pub dtype: ElementType,
    /// Shape as the model declares it; empty for a scalar or where there is none.
    pub dims: Vec<Dim>,
    /// Whether the model declares a shape at all.
    pub has_shape: bool,
}

/// Checks an input's shape against what the model declares.
pub(crate) fn check_port(port: &Port, dims: &[usize]) -> OpResult<()> {
    let fits = dims.len() == port.dims.len()
        && dims.iter().zip(&port.dims).all(|(&have, dim)| match dim {
            Dim::Fixed(size) => have == *size,
            Dim::Dynamic(_) => true,
        });
    if port.has_shape && !fits || dims.contains(&0) {
        let declared: Vec<String> = port
            .dims
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(size) => size.to_string(),
                Dim::Dynamic(name) if name.is_empty() => "?".to_owned(),
                Dim::Dynamic(name) => name.clone(),
            })
            .collect();
        return Err(invalid(format!(
            "shape {dims:?} is given, the network takes [{}], none of them 0",
            declared.join(", ")
        )));
    }
    crate::limits::element_count(dims, MAX_ELEMENTS).map(|_| ())
}

/// The caller's array as a value of the port's type; whole numbers where that holds integers.
pub(crate) fn input_value(
    port: &Port,
    input: ArrayViewD<f32>,
    device: &EngineDevice,
) -> OpResult<Value> {
    let Some((low, high)) = port.dtype.range() else {
        return Ok(real(input, device)?.into());
    };
    let whole = |&value: &f32| -> OpResult<i64> {
        let number = value as i64;
        let exact = value.fract() == 0.0 && (low..=high).contains(&number);
        exact.then_some(number).ok_or_else(|| {
            invalid(format!(
                "{value} is given, whole numbers from {low} to {high} are legal"
            ))
        })
    };
    let data = input.iter().map(whole).collect::<OpResult<Vec<_>>>()?;
    Ok(Ints::new(port.dtype, input.shape(), data)?.into())
}

/// An array on the device.
pub(crate) fn real(array: ArrayViewD<f32>, device: &EngineDevice) -> OpResult<Real> {
    let data = match array.as_slice() {
        Some(slice) => slice.to_vec(),
        None => array.iter().copied().collect(),
    };
    Real::from_host(data, array.shape(), device)
}

/// What is wrong with an input, with its name.
pub(crate) fn input_error(port: &Port, fault: Fault) -> EngineError {
    EngineError::Argument(format!("input `{}`: {}", port.name, fault.message))
}

/// A value's numbers on the host, integers as floats; not copied if nobody else holds them.
pub(crate) fn array(value: Value) -> OpResult<ArrayD<f32>> {
    let dims = value.dims().to_vec();
    let data = match value {
        Value::Real(real) => real.into_host()?,
        Value::Ints(ints) => ints.data().iter().map(|&number| number as f32).collect(),
    };
    ArrayD::from_shape_vec(IxDyn(&dims), data)
        .map_err(|error| invalid(format!("shape {dims:?}: {error}")))
}
