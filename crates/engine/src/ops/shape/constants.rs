//! Constant, ConstantOfShape and Range.

use super::super::slice::pick;
use super::super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::constant;
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::Ints;
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |inputs, since, build| Entry {
        inputs,
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    };
    registry.add("Constant", entry((0, 0), 1, constant_node));
    registry.add("ConstantOfShape", entry((1, 1), 9, constant_of_shape));
    registry.add("Range", entry((3, 3), 11, range));
}

/// A stored value.
#[derive(Debug)]
struct Constant(Value);

fn constant_node(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let (attributes, device) = (&spec.attributes, &spec.device);
    for name in ["sparse_value", "value_string", "value_strings"] {
        if attributes.has(name) {
            return Err(unsupported(format!(
                "attribute `{name}`; dense tensors of numbers are supported"
            )));
        }
    }
    let mut found: Vec<Value> = Vec::new();
    if let Some(tensor) = attributes.optional_tensor("value")? {
        found.push(constant::value(tensor, device)?);
    }
    if let Some(number) = attributes.optional_float("value_float")? {
        found.push(Real::from_host(vec![number], &[], device)?.into());
    }
    if let Some(numbers) = attributes.optional_floats("value_floats")? {
        let count = numbers.len();
        found.push(Real::from_host(numbers, &[count], device)?.into());
    }
    if let Some(number) = attributes.optional_int("value_int")? {
        found.push(Ints::scalar(number).into());
    }
    if let Some(numbers) = attributes.optional_ints("value_ints")? {
        found.push(Ints::vector(numbers).into());
    }
    match (found.pop(), found.is_empty()) {
        (Some(value), true) => Ok(Box::new(Constant(value))),
        _ => Err(invalid(
            "exactly one of `value`, `value_float`, `value_floats`, `value_int`, `value_ints` is needed",
        )),
    }
}

impl Operator for Constant {
    fn run(&self, _inputs: Inputs) -> OpResult<Vec<Value>> {
        Ok(vec![self.0.clone()])
    }
}

/// One number repeated.
#[derive(Debug)]
struct ConstantOfShape {
    value: Value,
}

fn constant_of_shape(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let value = match spec.attributes.optional_tensor("value")? {
        Some(tensor) => constant::value(tensor, &spec.device)?,
        None => Real::from_host(vec![0.0], &[1], &spec.device)?.into(),
    };
    if value.len() != 1 {
        return Err(invalid(format!(
            "attribute `value` has shape {:?}, one number is legal",
            value.dims()
        )));
    }
    Ok(Box::new(ConstantOfShape { value }))
}

impl Operator for ConstantOfShape {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let dims = inputs.ints(0)?.sizes()?;
        inputs.check_elements(&dims)?;
        Ok(vec![match &self.value {
            Value::Real(real) => {
                let number = real.to_host()?.first().copied().unwrap_or_default();
                Real::full(number, &dims, inputs.device())?.into()
            }
            Value::Ints(ints) => {
                let count = pick::check_ints(&dims, 0)?;
                Ints::new(ints.kind(), &dims, vec![ints.single()?; count])?.into()
            }
        }])
    }
}

#[derive(Debug)]
struct Range;

fn range(_spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Range))
}

impl Operator for Range {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        match inputs.value(0)? {
            Value::Ints(start) => {
                let kind = start.kind();
                let (start, limit, delta) = (
                    start.single()?,
                    inputs.ints(1)?.single()?,
                    inputs.ints(2)?.single()?,
                );
                if delta == 0 {
                    return Err(zero_delta());
                }
                // 128 bits hold every difference of 64-bit numbers.
                let (start, limit, delta) =
                    (i128::from(start), i128::from(limit), i128::from(delta));
                let rounded_up = (limit - start + delta - delta.signum()) / delta;
                let count = usize::try_from(rounded_up.max(0)).unwrap_or(usize::MAX);
                pick::check_ints(&[count], 0)?;
                let data = (0..count as i128)
                    .map(|i| (start + i * delta) as i64)
                    .collect();
                Ok(vec![Ints::new(kind, &[count], data)?.into()])
            }
            Value::Real(start) => {
                let limit = inputs.real(1)?;
                let delta = inputs.real(2)?;
                let [start, limit, delta] = [single(&start)?, single(&limit)?, single(&delta)?];
                let steps = ((f64::from(limit) - f64::from(start)) / f64::from(delta)).ceil();
                if delta == 0.0 || !steps.is_finite() {
                    return Err(zero_delta());
                }
                let count = steps.max(0.0) as usize;
                inputs.check_elements(&[count])?;
                let data = (0..count).map(|i| start + i as f32 * delta).collect();
                Ok(vec![
                    Real::from_host(data, &[count], inputs.device())?.into(),
                ])
            }
        }
    }
}

fn zero_delta() -> crate::error::Fault {
    invalid("`delta` is 0 or a bound is not finite; finite bounds and any other step are legal")
}

fn single(real: &Real) -> OpResult<f32> {
    match real.to_host()?.as_slice() {
        [number] => Ok(*number),
        _ => Err(invalid(format!(
            "one number is expected, the tensor has shape {:?}",
            real.dims()
        ))),
    }
}
