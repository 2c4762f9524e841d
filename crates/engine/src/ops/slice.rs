//! Cutting and joining: Slice, Split, Concat, Tile; Gather, Pad and picking by index in files of
//! their own.

mod gather;
pub(super) mod pad;
pub(super) mod pick;

use super::axes::{axes, axis};
use super::{ANY, Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::error::{OpResult, invalid};
use crate::ints::Ints;
use crate::real::{Real, SliceRange};
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |inputs, since, build| Entry {
        inputs,
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    };
    registry.add("Slice", entry((1, 5), 1, slice));
    registry.add("Concat", entry((1, ANY), 4, concat));
    registry.add("Tile", entry((2, 2), 6, tile));
    registry.add(
        "Split",
        Entry {
            outputs: ANY,
            ..entry((1, 2), 2, split)
        },
    );
    gather::register(registry);
    pad::register(registry);
}

/// Parts of a value along its axes; bounds lie within it.
pub(super) fn cut(value: Value, ranges: &[SliceRange]) -> OpResult<Value> {
    match value {
        Value::Real(real) => Ok(real.slice(ranges)?.into()),
        Value::Ints(ints) => {
            Ok(pick::ints(&ints, &ranges.iter().map(places).collect::<Vec<_>>())?.into())
        }
    }
}

/// The indices that a range visits, in order.
fn places(range: &SliceRange) -> Vec<usize> {
    let step = range.step.unsigned_abs();
    if range.step > 0 {
        (range.start..range.end).step_by(step).collect()
    } else {
        (range.start..range.end).rev().step_by(step).collect()
    }
}

fn whole(dims: &[usize]) -> Vec<SliceRange> {
    let range = |&end| SliceRange {
        start: 0,
        end,
        step: 1,
    };
    dims.iter().map(range).collect()
}

/// The bounds: in attributes before opset 10, inputs since.
#[derive(Debug)]
struct Slice {
    attributes: Option<Bounds>,
}

#[derive(Debug, Clone)]
struct Bounds {
    starts: Vec<i64>,
    ends: Vec<i64>,
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
}

fn slice(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    if spec.opset >= 10 {
        if !spec.has_input(1) || !spec.has_input(2) {
            return Err(invalid("the inputs `starts` and `ends` are needed"));
        }
        return Ok(Box::new(Slice { attributes: None }));
    }
    let needed = |name: &str| {
        let values = spec.attributes.optional_ints(name)?;
        values.ok_or_else(|| invalid(format!("attribute `{name}` is missing")))
    };
    Ok(Box::new(Slice {
        attributes: Some(Bounds {
            starts: needed("starts")?,
            ends: needed("ends")?,
            axes: spec.attributes.optional_ints("axes")?,
            steps: None,
        }),
    }))
}

impl Operator for Slice {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let bounds = match &self.attributes {
            Some(bounds) => bounds.clone(),
            None => Bounds {
                starts: inputs.ints(1)?.into_data(),
                ends: inputs.ints(2)?.into_data(),
                axes: inputs.optional_ints(3)?.map(Ints::into_data),
                steps: inputs.optional_ints(4)?.map(Ints::into_data),
            },
        };
        let ranges = bounds.ranges(x.dims())?;
        Ok(vec![cut(x, &ranges)?])
    }
}

impl Bounds {
    fn ranges(&self, dims: &[usize]) -> OpResult<Vec<SliceRange>> {
        let count = self.starts.len();
        let default: Vec<i64> = (0i64..).take(count).collect();
        let listed = self.axes.as_ref().unwrap_or(&default);
        let ones = vec![1; count];
        let steps = self.steps.as_ref().unwrap_or(&ones);
        if self.ends.len() != count || listed.len() != count || steps.len() != count {
            return Err(invalid(format!(
                "`starts`, `ends`, `axes` and `steps` have {count}, {}, {} and {} numbers; as many each are needed",
                self.ends.len(),
                listed.len(),
                steps.len()
            )));
        }
        axes(listed, dims.len())?;
        let mut ranges = whole(dims);
        for (index, &name) in listed.iter().enumerate() {
            let axis = axis(name, dims.len())?;
            ranges[axis] = range(
                self.starts[index],
                self.ends[index],
                steps[index],
                dims[axis],
            )?;
        }
        Ok(ranges)
    }
}

/// ONNX's range over an axis of length `dim`: bounds count from the end if negative, and are
/// clamped.
fn range(start: i64, end: i64, step: i64, dim: usize) -> OpResult<SliceRange> {
    let length = i64::try_from(dim).map_err(|_| invalid("an axis is too long"))?;
    let from_start = |bound: i64| {
        if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        }
    };
    let (start, end) = (from_start(start), from_start(end));
    let (low, high) = match step {
        0 => return Err(invalid("a step is 0; any other number is legal")),
        1.. => (start.clamp(0, length), end.clamp(0, length)),
        // A negative step visits `start` first and stops before `end`.
        _ => (
            end.clamp(-1, length - 1) + 1,
            start.clamp(-1, length - 1) + 1,
        ),
    };
    let longest = length.max(1);
    Ok(SliceRange {
        start: low as usize,
        end: high.max(low) as usize,
        // A step beyond the axis visits one element, as any such step does.
        step: step.clamp(-longest, longest) as isize,
    })
}

#[derive(Debug)]
struct Split {
    axis: i64,
    sizes: Option<Vec<usize>>,
    /// Number of outputs.
    parts: usize,
    /// Since opset 18 the last of equal parts may be smaller.
    uneven: bool,
}

fn split(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let parts = spec.outputs.len();
    let sizes = if spec.opset < 13 {
        spec.attributes.optional_sizes("split")?
    } else {
        None
    };
    if spec.opset < 13 && spec.has_input(1) {
        return Err(invalid("the input `split` exists since opset 13"));
    }
    if spec.opset >= 18
        && let Some(number) = spec.attributes.optional_int("num_outputs")?
        && usize::try_from(number) != Ok(parts)
    {
        return Err(invalid(format!(
            "attribute `num_outputs` is {number}, the node has {parts} outputs"
        )));
    }
    Ok(Box::new(Split {
        axis: spec.attributes.int("axis", 0)?,
        sizes,
        parts,
        uneven: spec.opset >= 18,
    }))
}

impl Operator for Split {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let axis = axis(self.axis, x.dims().len())?;
        let given = match inputs.optional_ints(1)? {
            Some(sizes) => Some(sizes.sizes()?),
            None => self.sizes.clone(),
        };
        let length = x.dims()[axis];
        let sizes = match given {
            Some(sizes) => sizes,
            None => self.equal(length)?,
        };
        let total = sizes
            .iter()
            .try_fold(0usize, |sum, &size| sum.checked_add(size));
        if sizes.len() != self.parts || total != Some(length) {
            return Err(invalid(format!(
                "`split` is {sizes:?} for {} outputs and an axis of {length}; one size for each output, {length} in all, is legal",
                self.parts
            )));
        }
        let mut ranges = whole(x.dims());
        let mut start = 0;
        let mut part = |size: usize| {
            ranges[axis].start = start;
            start += size;
            ranges[axis].end = start;
            cut(x.clone(), &ranges)
        };
        sizes.iter().map(|&size| part(size)).collect()
    }
}

impl Split {
    fn equal(&self, length: usize) -> OpResult<Vec<usize>> {
        let size = length.div_ceil(self.parts);
        let rest = length.checked_sub(size * (self.parts - 1));
        match rest {
            Some(last) if last == size || (self.uneven && last > 0) => {
                let mut sizes = vec![size; self.parts];
                sizes[self.parts - 1] = last;
                Ok(sizes)
            }
            _ => Err(invalid(format!(
                "an axis of {length} does not split into {} equal parts; give the sizes in `split`",
                self.parts
            ))),
        }
    }
}

#[derive(Debug)]
struct Concat {
    axis: i64,
}

fn concat(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let axis = spec
        .attributes
        .optional_int("axis")?
        .ok_or_else(|| invalid("attribute `axis` is missing"))?;
    Ok(Box::new(Concat { axis }))
}

impl Operator for Concat {
    fn run(&self, inputs: Inputs) -> OpResult<Vec<Value>> {
        let parts = inputs.rest();
        let rank = parts.first().map_or(0, |part| part.dims().len());
        let axis = axis(self.axis, rank)?;
        if let Some(Value::Real(_)) = parts.first() {
            let reals = parts
                .into_iter()
                .map(Value::into_real)
                .collect::<OpResult<Vec<_>>>()?;
            return Ok(vec![Real::concat(reals, axis)?.into()]);
        }
        let ints = parts
            .into_iter()
            .map(Value::into_ints)
            .collect::<OpResult<Vec<_>>>()?;
        Ok(vec![joined(&ints, axis)?.into()])
    }
}

/// Integers joined along an axis: in row-major order they are rows of `outer` blocks.
fn joined(parts: &[Ints], axis: usize) -> OpResult<Ints> {
    let Some(first) = parts.first() else {
        return Err(invalid("nothing to join"));
    };
    let mut dims = first.dims().to_vec();
    for part in &parts[1..] {
        let same = part.rank() == dims.len()
            && part.kind() == first.kind()
            && (0..dims.len()).all(|i| i == axis || part.dims()[i] == dims[i]);
        if !same {
            return Err(invalid(format!(
                "{:?} of shape {:?} and {:?} of shape {:?} cannot be joined along axis {axis}",
                first.kind(),
                first.dims(),
                part.kind(),
                part.dims()
            )));
        }
        dims[axis] = dims[axis].saturating_add(part.dims()[axis]);
    }
    let outer: usize = dims[..axis].iter().product();
    let mut data = Vec::new();
    for row in 0..outer {
        for part in parts {
            let width = part.data().len() / outer.max(1);
            data.extend_from_slice(&part.data()[row * width..(row + 1) * width]);
        }
    }
    Ints::new(first.kind(), &dims, data)
}

#[derive(Debug)]
struct Tile;

fn tile(_spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Tile))
}

impl Operator for Tile {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let repeats = inputs.ints(1)?.sizes()?;
        if repeats.len() != x.dims().len() {
            return Err(invalid(format!(
                "`repeats` is {repeats:?}, one number for each axis of {:?} is needed",
                x.dims()
            )));
        }
        let pairs = x.dims().iter().zip(&repeats);
        let dims: Vec<usize> = pairs
            .map(|(&dim, &count)| dim.saturating_mul(count))
            .collect();
        inputs.check_elements(&dims)?;
        match x {
            Value::Ints(ints) => {
                pick::check_ints(&dims, ints.data().len())?;
                let lists = ints.dims().iter().zip(&dims);
                let lists: Vec<Vec<usize>> = lists
                    .map(|(&dim, &size)| (0..size).map(|i| i % dim).collect())
                    .collect();
                Ok(vec![pick::ints(&ints, &lists)?.into()])
            }
            Value::Real(_) if dims.contains(&0) => {
                Ok(vec![Real::full(0.0, &dims, inputs.device())?.into()])
            }
            Value::Real(real) => Ok(vec![tiled(real, &repeats)?.into()]),
        }
    }
}

/// Every axis repeated as often as `repeats` says, none of them 0.
fn tiled(mut real: Real, repeats: &[usize]) -> OpResult<Real> {
    for (axis, &count) in repeats.iter().enumerate().filter(|&(_, &count)| count > 1) {
        let mut next = real.dims().to_vec();
        let outer: usize = next[..axis].iter().product();
        let inner: usize = next[axis..].iter().product();
        next[axis] *= count;
        real = real
            .reshape(&[outer, 1, inner])?
            .expand(&[outer, count, inner])?
            .reshape(&next)?;
    }
    Ok(real)
}
