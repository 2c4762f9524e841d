//! Pad: constant, reflect, edge and wrap; negative pads cut.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use super::super::axes::{axes, axis};
use super::super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use super::pick;
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::Ints;
use crate::limits::MAX_RANK;
use crate::real::{Real, SliceRange};
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add(
        "Pad",
        Entry {
            inputs: (1, 4),
            outputs: 1,
            opsets: (2, NEWEST_OPSET),
            build: pad,
        },
    );
}

/// What new elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constant,
    /// Mirrored at the border element, which is not repeated.
    Reflect,
    /// The border element.
    Edge,
    /// The other end.
    Wrap,
}

#[derive(Debug)]
struct Pad {
    mode: Mode,
    /// Before opset 11: `pads` and `value`.
    attributes: Option<(Vec<i64>, f32)>,
}

fn pad(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    // ONNX has `wrap` since opset 19; exporters write it, and ONNX Runtime takes it, in opset 18 already.
    let words: &[&str] = match spec.opset {
        18.. => &["constant", "reflect", "edge", "wrap"],
        _ => &["constant", "reflect", "edge"],
    };
    let mode = match spec.attributes.choice("mode", "constant", words)? {
        0 => Mode::Constant,
        1 => Mode::Reflect,
        2 => Mode::Edge,
        _ => Mode::Wrap,
    };
    if spec.opset >= 11 {
        if !spec.has_input(1) {
            return Err(invalid("the input `pads` is missing"));
        }
        if spec.opset < 18 && spec.has_input(3) {
            return Err(invalid("the input `axes` exists since opset 18"));
        }
        return Ok(Box::new(Pad {
            mode,
            attributes: None,
        }));
    }
    let pads = spec
        .attributes
        .optional_ints("pads")?
        .ok_or_else(|| invalid("attribute `pads` is missing"))?;
    let value = spec.attributes.float("value", 0.0)?;
    Ok(Box::new(Pad {
        mode,
        attributes: Some((pads, value)),
    }))
}

/// One number to fill with, as either kind of tensor needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Filler {
    Real(f32),
    Int(i64),
}

impl Operator for Pad {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let (pads, filler) = match &self.attributes {
            Some((pads, value)) => (pads.clone(), Some(Filler::Real(*value))),
            None => (inputs.ints(1)?.into_data(), filler(inputs.optional(2))?),
        };
        let axes = inputs.optional_ints(3)?.map(Ints::into_data);
        let pairs = pairs(&pads, axes.as_deref(), x.dims().len())?;
        let grown = pairs.iter().zip(x.dims()).map(|(&(begin, end), &dim)| {
            let grow = |by: i64| usize::try_from(by).unwrap_or(0);
            dim.saturating_add(grow(begin)).saturating_add(grow(end))
        });
        let grown: Vec<usize> = grown.collect();
        inputs.check_elements(&grown)?;
        if let Value::Ints(ints) = &x {
            pick::check_ints(&grown, ints.data().len())?;
        }
        let x = cropped(x, &pairs)?;
        let grow = |&(begin, end): &(i64, i64)| (begin.max(0) as usize, end.max(0) as usize);
        let pads: Vec<(usize, usize)> = pairs.iter().map(grow).collect();
        if self.mode == Mode::Constant {
            return filled(x, &pads, filler, &inputs).map(|value| vec![value]);
        }
        copied(x, &pads, self.mode, &inputs).map(|value| vec![value])
    }
}

/// The optional input `constant_value`: one number, or an empty tensor for none.
fn filler(value: Option<Value>) -> OpResult<Option<Filler>> {
    match value {
        None => Ok(None),
        Some(value) if value.len() == 0 => Ok(None),
        Some(Value::Ints(ints)) => ints.single().map(|number| Some(Filler::Int(number))),
        Some(Value::Real(real)) => match real.to_host()?.as_slice() {
            [number] => Ok(Some(Filler::Real(*number))),
            _ => Err(invalid(format!(
                "input 2 has shape {:?}, one number is legal",
                real.dims()
            ))),
        },
    }
}

/// (before, after) for every axis; `pads` holds all befores, then all afters, of the listed axes.
fn pairs(pads: &[i64], listed: Option<&[i64]>, rank: usize) -> OpResult<Vec<(i64, i64)>> {
    let chosen = match listed {
        None => (0..rank).collect(),
        Some(list) => {
            axes(list, rank)?;
            list.iter()
                .map(|&name| axis(name, rank))
                .collect::<OpResult<Vec<_>>>()?
        }
    };
    if pads.len() != 2 * chosen.len() {
        return Err(invalid(format!(
            "`pads` has {} numbers, two for each of {} axes are needed",
            pads.len(),
            chosen.len()
        )));
    }
    let mut pairs = vec![(0, 0); rank];
    for (index, &axis) in chosen.iter().enumerate() {
        pairs[axis] = (pads[index], pads[index + chosen.len()]);
    }
    Ok(pairs)
}

/// Without what negative pads cut.
fn cropped(x: Value, pairs: &[(i64, i64)]) -> OpResult<Value> {
    if pairs.iter().all(|&(begin, end)| begin >= 0 && end >= 0) {
        return Ok(x);
    }
    let cut = |by: i64| usize::try_from(by.min(0).unsigned_abs()).unwrap_or(usize::MAX);
    let ranges = x.dims().iter().zip(pairs).map(|(&dim, &(begin, end))| {
        let range = SliceRange {
            start: cut(begin),
            end: dim.saturating_sub(cut(end)),
            step: 1,
        };
        (range.start <= range.end).then_some(range).ok_or_else(|| {
            invalid(format!(
                "`pads` {begin} and {end} cut more than the {dim} elements of an axis"
            ))
        })
    });
    let ranges = ranges.collect::<OpResult<Vec<_>>>()?;
    super::cut(x, &ranges)
}

fn filled(
    x: Value,
    pads: &[(usize, usize)],
    filler: Option<Filler>,
    inputs: &Inputs,
) -> OpResult<Value> {
    match x {
        Value::Real(real) => {
            let number = match filler {
                None => 0.0,
                Some(Filler::Real(number)) => number,
                Some(Filler::Int(_)) => {
                    return Err(invalid("input 2 holds integers, input 0 floats"));
                }
            };
            Ok(constant(real, pads, number, inputs)?.into())
        }
        Value::Ints(ints) => {
            let number = match filler {
                None => 0,
                Some(Filler::Int(number)) => number,
                // Before opset 11 the value is a float attribute whatever the tensor holds.
                Some(Filler::Real(number)) => number as i64,
            };
            Ok(surrounded(&ints, pads, number)?.into())
        }
    }
}

/// Floats with `value` around them: (before, after) for every axis.
pub(in crate::ops) fn constant(
    x: Real,
    pads: &[(usize, usize)],
    value: f32,
    inputs: &Inputs,
) -> OpResult<Real> {
    if pads.iter().all(|&pair| pair == (0, 0)) {
        return Ok(x);
    }
    let sizes = x.dims().iter().zip(pads);
    let dims: Vec<usize> = sizes
        .map(|(&dim, &(begin, end))| dim.saturating_add(begin).saturating_add(end))
        .collect();
    inputs.check_elements(&dims)?;
    if x.len() == 0 {
        return Real::full(value, &dims, inputs.device());
    }
    match x.rank() {
        1 => padded::<1>(x, pads, value),
        2 => padded::<2>(x, pads, value),
        3 => padded::<3>(x, pads, value),
        4 => padded::<4>(x, pads, value),
        5 => padded::<5>(x, pads, value),
        6 => padded::<6>(x, pads, value),
        rank => Err(unsupported(format!(
            "padding a tensor of rank {rank}; 1 to {MAX_RANK} is supported"
        ))),
    }
}

fn padded<const D: usize>(x: Real, pads: &[(usize, usize)], value: f32) -> OpResult<Real> {
    let tensor: Tensor<D> = x.into_rank()?;
    let pairs: [(usize, usize); D] = std::array::from_fn(|axis| pads[axis]);
    Ok(Real::from_tensor(
        tensor.pad(pairs, PadMode::Constant(value)),
    ))
}

/// Integers with `number` around them.
fn surrounded(ints: &Ints, pads: &[(usize, usize)], number: i64) -> OpResult<Ints> {
    let mut data = ints.data().to_vec();
    let mut dims = ints.dims().to_vec();
    for (axis, &(begin, end)) in pads.iter().enumerate().rev() {
        let width: usize = dims[axis..].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        let outer: usize = dims[..axis].iter().product();
        let mut next = Vec::with_capacity(data.len() + outer * inner * (begin + end));
        for row in 0..outer {
            next.extend(std::iter::repeat_n(number, begin * inner));
            next.extend_from_slice(&data[row * width..(row + 1) * width]);
            next.extend(std::iter::repeat_n(number, end * inner));
        }
        dims[axis] += begin + end;
        data = next;
    }
    Ints::new(ints.kind(), &dims, data)
}

/// With copies of its own elements around it.
fn copied(x: Value, pads: &[(usize, usize)], mode: Mode, inputs: &Inputs) -> OpResult<Value> {
    let pairs = x.dims().iter().zip(pads);
    let lists = pairs
        .map(|(&dim, &pair)| sources(dim, pair, mode))
        .collect::<OpResult<Vec<_>>>()?;
    match x {
        Value::Ints(ints) => Ok(pick::ints(&ints, &lists)?.into()),
        Value::Real(real) => {
            let mut real = real;
            for (axis, list) in lists.iter().enumerate() {
                real = pick::along(real, axis, list, inputs.device())?;
            }
            Ok(real.into())
        }
    }
}

/// Most copies of elements before or after an axis.
const MAX_COPIES: usize = 1 << 20;

/// For each position of a padded axis the element it copies.
fn sources(dim: usize, (begin, end): (usize, usize), mode: Mode) -> OpResult<Vec<usize>> {
    if (begin, end) == (0, 0) {
        return Ok((0..dim).collect());
    }
    let most = match mode {
        Mode::Reflect => dim.saturating_sub(1),
        _ if dim == 0 => 0,
        _ => MAX_COPIES,
    };
    if begin > most || end > most {
        return Err(invalid(format!(
            "`pads` {begin} and {end} of an axis of {dim} in mode {}; at most {most} is legal",
            if mode == Mode::Reflect {
                "reflect"
            } else {
                "edge or wrap"
            }
        )));
    }
    let source = |position: usize| match mode {
        Mode::Edge | Mode::Constant => position.saturating_sub(begin).min(dim - 1),
        Mode::Wrap => (position + dim - begin % dim) % dim,
        Mode::Reflect if position < begin => begin - position,
        Mode::Reflect if position - begin < dim => position - begin,
        Mode::Reflect => 2 * (dim - 1) - (position - begin),
    };
    Ok((0..begin + dim + end).map(source).collect())
}
