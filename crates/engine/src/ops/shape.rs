//! Shapes: Reshape, Flatten, Transpose, Squeeze, Unsqueeze, Expand, Shape, Size. Casting, constants
//! and what passes values on in files of their own.

mod constants;
mod convert;
mod pass;

use super::axes::{axes, axis, broadcast, padded};
use super::slice::pick;
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::error::{OpResult, invalid};
use crate::ints::{Ints, strides};
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |most, since, build| Entry {
        inputs: (1, most),
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    };
    registry.add("Reshape", entry(2, 1, reshape));
    registry.add("Flatten", entry(1, 1, flatten));
    registry.add("Transpose", entry(1, 1, transpose));
    registry.add("Squeeze", entry(2, 1, squeeze));
    registry.add("Unsqueeze", entry(2, 1, unsqueeze));
    registry.add("Expand", entry(2, 8, expand));
    registry.add("Shape", entry(1, 1, shape));
    registry.add("Size", entry(1, 1, shape));
    constants::register(registry);
    convert::register(registry);
    pass::register(registry);
}

/// The same elements in another shape of as many.
pub(super) fn reshaped(value: Value, dims: &[usize]) -> OpResult<Value> {
    match value {
        Value::Real(real) => Ok(real.reshape(dims)?.into()),
        Value::Ints(ints) => Ok(ints.reshape(dims)?.into()),
    }
}

/// Axes in another order.
pub(super) fn permuted(value: Value, order: &[usize]) -> OpResult<Value> {
    let ints = match value {
        Value::Real(real) => return Ok(real.permute(order)?.into()),
        Value::Ints(ints) => ints,
    };
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..ints.rank()) {
        return Err(invalid(format!(
            "{order:?} is no permutation of the {} axes",
            ints.rank()
        )));
    }
    let dims: Vec<usize> = order.iter().map(|&axis| ints.dims()[axis]).collect();
    let from = strides(ints.dims());
    let to = strides(&dims);
    let element = |flat: usize| {
        let own = order
            .iter()
            .enumerate()
            .map(|(new, &old)| flat / to[new] % dims[new] * from[old]);
        ints.data()[own.sum::<usize>()]
    };
    let data = (0..ints.data().len()).map(element).collect();
    Ok(Ints::new(ints.kind(), &dims, data)?.into())
}

#[derive(Debug)]
struct Reshape {
    /// Opset 1: the shape as attribute.
    target: Option<Vec<i64>>,
    /// Whether 0 means 0 rather than "as the input".
    allow_zero: bool,
}

fn reshape(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let target = if spec.opset < 5 {
        spec.attributes.optional_ints("shape")?
    } else {
        None
    };
    if target.is_none() && !spec.has_input(1) {
        return Err(invalid("the target shape is missing"));
    }
    if spec.opset < 5 {
        // Opset 1 hinted at in-place computation.
        spec.attributes.ignore("consumed_inputs");
    }
    Ok(Box::new(Reshape {
        target,
        allow_zero: spec.opset >= 14 && spec.attributes.flag("allowzero", false)?,
    }))
}

impl Operator for Reshape {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let target = match &self.target {
            Some(target) => target.clone(),
            None => inputs.ints(1)?.into_data(),
        };
        let dims = self.dims(&target, x.dims(), x.len())?;
        Ok(vec![reshaped(x, &dims)?])
    }
}

impl Reshape {
    fn dims(&self, target: &[i64], have: &[usize], count: usize) -> OpResult<Vec<usize>> {
        let mut dims = Vec::with_capacity(target.len());
        let mut open = None;
        for (axis, &size) in target.iter().enumerate() {
            dims.push(match size {
                -1 if open.is_some() => {
                    return Err(invalid(format!("target shape {target:?}: one -1 is legal")));
                }
                -1 => {
                    open = Some(axis);
                    1
                }
                0 if !self.allow_zero => *have.get(axis).ok_or_else(|| {
                    invalid(format!(
                        "target shape {target:?}: the 0 at axis {axis} copies a size that {have:?} does not have"
                    ))
                })?,
                size => usize::try_from(size).map_err(|_| {
                    invalid(format!("target shape {target:?}: {size}; -1 or more is legal"))
                })?,
            });
        }
        let Some(axis) = open else {
            return Ok(dims);
        };
        let known = dims
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim));
        match known {
            Some(known) if known > 0 && count.is_multiple_of(known) => {
                dims[axis] = count / known;
                Ok(dims)
            }
            _ => Err(invalid(format!(
                "target shape {target:?}: no size for -1 makes it hold the {count} elements of {have:?}"
            ))),
        }
    }
}

#[derive(Debug)]
struct Flatten {
    axis: i64,
}

fn flatten(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Flatten {
        axis: spec.attributes.int("axis", 1)?,
    }))
}

impl Operator for Flatten {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let rank = x.dims().len();
        // The axis may also be the one behind the last.
        let split = if usize::try_from(self.axis) == Ok(rank) {
            rank
        } else {
            axis(self.axis, rank)?
        };
        let (rows, columns) = x.dims().split_at(split);
        let dims = [rows.iter().product(), columns.iter().product()];
        Ok(vec![reshaped(x, &dims)?])
    }
}

#[derive(Debug)]
struct Transpose {
    order: Option<Vec<usize>>,
}

fn transpose(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Transpose {
        order: spec.attributes.optional_sizes("perm")?,
    }))
}

impl Operator for Transpose {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let reversed = (0..x.dims().len()).rev().collect();
        let order = self.order.as_ref().unwrap_or(&reversed);
        Ok(vec![permuted(x, order)?])
    }
}

/// Squeeze and Unsqueeze: axes as attribute before opset 13, as input since.
#[derive(Debug)]
struct OneAxes {
    axes: Option<Vec<i64>>,
    insert: bool,
}

fn squeeze(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    one_axes(spec, false)
}

fn unsqueeze(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    one_axes(spec, true)
}

fn one_axes(spec: &NodeSpec, insert: bool) -> OpResult<Box<dyn Operator>> {
    let axes = if spec.opset < 13 {
        spec.attributes.optional_ints("axes")?
    } else {
        None
    };
    if spec.opset < 13 && spec.has_input(1) {
        return Err(invalid("the input `axes` exists since opset 13"));
    }
    if insert && axes.is_none() && !spec.has_input(1) {
        return Err(invalid("`axes` are missing"));
    }
    Ok(Box::new(OneAxes { axes, insert }))
}

impl Operator for OneAxes {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let listed = match inputs.optional_ints(1)? {
            Some(axes) => Some(axes.into_data()),
            None => self.axes.clone(),
        };
        let dims = if self.insert {
            inserted(x.dims(), &listed.unwrap_or_default())?
        } else {
            removed(x.dims(), listed.as_deref())?
        };
        Ok(vec![reshaped(x, &dims)?])
    }
}

/// `dims` with ones at the listed axes of the result.
fn inserted(dims: &[usize], listed: &[i64]) -> OpResult<Vec<usize>> {
    let chosen = axes(listed, dims.len() + listed.len())?;
    let mut result = dims.to_vec();
    for axis in chosen {
        result.insert(axis, 1);
    }
    Ok(result)
}

/// `dims` without the listed axes, or without all ones.
fn removed(dims: &[usize], listed: Option<&[i64]>) -> OpResult<Vec<usize>> {
    let Some(listed) = listed else {
        return Ok(dims.iter().copied().filter(|&dim| dim != 1).collect());
    };
    let chosen = axes(listed, dims.len())?;
    if let Some(&axis) = chosen.iter().find(|&&axis| dims[axis] != 1) {
        return Err(invalid(format!(
            "axis {axis} of {dims:?} cannot be removed; a size of 1 is needed"
        )));
    }
    let kept = dims
        .iter()
        .enumerate()
        .filter(|(axis, _)| !chosen.contains(axis));
    Ok(kept.map(|(_, &dim)| dim).collect())
}

#[derive(Debug)]
struct Expand;

fn expand(_spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Expand))
}

impl Operator for Expand {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let dims = broadcast(x.dims(), &inputs.ints(1)?.sizes()?)?;
        inputs.check_elements(&dims)?;
        let full = padded(x.dims(), dims.len());
        match reshaped(x, &full)? {
            Value::Real(real) => Ok(vec![real.expand(&dims)?.into()]),
            Value::Ints(ints) => {
                pick::check_ints(&dims, ints.data().len())?;
                let lists = full.iter().zip(&dims);
                let lists: Vec<Vec<usize>> = lists
                    .map(|(&have, &want)| {
                        (0..want).map(|i| i.min(have.saturating_sub(1))).collect()
                    })
                    .collect();
                Ok(vec![pick::ints(&ints, &lists)?.into()])
            }
        }
    }
}

/// Shape, of a range of axes since opset 15, and Size.
#[derive(Debug)]
enum Shape {
    Range { start: i64, end: Option<i64> },
    Size,
}

fn shape(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    if spec.op == "Size" {
        return Ok(Box::new(Shape::Size));
    }
    let (start, end) = match spec.opset {
        15.. => (
            spec.attributes.int("start", 0)?,
            spec.attributes.optional_int("end")?,
        ),
        _ => (0, None),
    };
    Ok(Box::new(Shape::Range { start, end }))
}

impl Operator for Shape {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let sizes: Vec<i64> = x.dims().iter().map(|&dim| dim as i64).collect();
        let rank = sizes.len() as i64;
        Ok(vec![match *self {
            Shape::Size => Ints::scalar(x.len() as i64).into(),
            Shape::Range { start, end } => {
                let bound = |at: i64| {
                    let from_start = if at < 0 { at.saturating_add(rank) } else { at };
                    from_start.clamp(0, rank) as usize
                };
                let (start, end) = (bound(start), end.map_or(sizes.len(), bound));
                Ints::vector(sizes[start.min(end)..end].to_vec()).into()
            }
        }])
    }
}
