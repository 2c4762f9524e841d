//! Reductions over axes, ArgMax and ArgMin.

use burn::tensor::Tensor;

use super::axes::{axes, axis};
use super::shape::permuted;
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::Ints;
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |most, build| Entry {
        inputs: (1, most),
        outputs: 1,
        opsets: (1, NEWEST_OPSET),
        build,
    };
    for (name, _) in KINDS {
        registry.add(name, entry(2, reduce));
    }
    registry.add("ArgMax", entry(1, arg));
    registry.add("ArgMin", entry(1, arg));
}

const KINDS: [(&str, Kind); 10] = [
    ("ReduceSum", Kind::Sum),
    ("ReduceMean", Kind::Mean),
    ("ReduceMax", Kind::Max),
    ("ReduceMin", Kind::Min),
    ("ReduceProd", Kind::Prod),
    ("ReduceL1", Kind::L1),
    ("ReduceL2", Kind::L2),
    ("ReduceSumSquare", Kind::SumSquare),
    ("ReduceLogSum", Kind::LogSum),
    ("ReduceLogSumExp", Kind::LogSumExp),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    /// Sum of absolute values.
    L1,
    /// Root of the sum of squares.
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

#[derive(Debug)]
struct Reduce {
    kind: Kind,
    /// Axes as attribute: before opset 18, ReduceSum before 13.
    axes: Option<Vec<i64>>,
    keep: bool,
    /// Whether no axes mean none rather than all.
    none_if_empty: bool,
}

fn reduce(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let kind = KINDS
        .iter()
        .find(|(name, _)| *name == spec.op)
        .map(|&(_, kind)| kind)
        .ok_or_else(|| unsupported("no such reduction"))?;
    let input_since = if kind == Kind::Sum { 13 } else { 18 };
    let as_input = spec.opset >= input_since;
    if !as_input && spec.has_input(1) {
        return Err(invalid(format!(
            "the input `axes` exists since opset {input_since}"
        )));
    }
    Ok(Box::new(Reduce {
        kind,
        axes: if as_input {
            None
        } else {
            spec.attributes.optional_ints("axes")?
        },
        keep: spec.attributes.flag("keepdims", true)?,
        none_if_empty: as_input && spec.attributes.flag("noop_with_empty_axes", false)?,
    }))
}

impl Operator for Reduce {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let rank = x.dims().len();
        let listed = match inputs.optional_ints(1)? {
            Some(axes) => axes.into_data(),
            None => self.axes.clone().unwrap_or_default(),
        };
        let chosen = match (listed.is_empty(), self.none_if_empty) {
            // Each element is reduced alone: ReduceL1 still takes its absolute value.
            (true, true) => Vec::new(),
            (true, false) => (0..rank).collect(),
            _ => axes(&listed, rank)?,
        };
        let count: usize = chosen.iter().map(|&axis| x.dims()[axis]).product();
        if count == 0 {
            return Err(unsupported(format!(
                "input 0 has shape {:?}: reducing no elements",
                x.dims()
            )));
        }
        let (dims, kept) = shapes(x.dims(), &chosen, self.keep);
        // The reduced axes go to one block; nothing moves where they already are neighbours.
        let (x, outer) = if neighbours(&chosen) {
            let first = chosen.first().copied().unwrap_or(rank);
            let outer: usize = x.dims()[..first].iter().product();
            (x, outer)
        } else {
            (permuted(x, &order(rank, &chosen))?, kept.iter().product())
        };
        let inner = x.len() / (outer * count).max(1);
        Ok(vec![match x {
            Value::Real(real) if real.len() == 0 => Real::full(0.0, &dims, inputs.device())?.into(),
            Value::Real(real) => {
                let block = real.into_shape([outer, count, inner])?;
                Real::from_tensor(self.kind.reduce(block))
                    .reshape(&dims)?
                    .into()
            }
            Value::Ints(ints) => self
                .kind
                .reduce_block(&ints, [outer, count, inner], &dims)?
                .into(),
        }])
    }
}

/// The result's shape, and the sizes of the axes that stay.
fn shapes(dims: &[usize], chosen: &[usize], keep: bool) -> (Vec<usize>, Vec<usize>) {
    let kept: Vec<usize> = (0..dims.len())
        .filter(|axis| !chosen.contains(axis))
        .map(|axis| dims[axis])
        .collect();
    if !keep {
        return (kept.clone(), kept);
    }
    let mut result = dims.to_vec();
    for &axis in chosen {
        result[axis] = 1;
    }
    (result, kept)
}

/// Whether ascending axes have no gap.
fn neighbours(chosen: &[usize]) -> bool {
    chosen.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

/// The axes that stay, then the chosen ones.
fn order(rank: usize, chosen: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).filter(|axis| !chosen.contains(axis)).collect();
    order.extend_from_slice(chosen);
    order
}

impl Kind {
    /// Over axis 1.
    fn reduce(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Sum => x.sum_dim(1),
            Self::Mean => x.mean_dim(1),
            Self::Max => x.max_dim(1),
            Self::Min => x.min_dim(1),
            Self::Prod => x.prod_dim(1),
            Self::L1 => x.abs().sum_dim(1),
            Self::L2 => (x.clone() * x).sum_dim(1).sqrt(),
            Self::SumSquare => (x.clone() * x).sum_dim(1),
            Self::LogSum => x.sum_dim(1).log(),
            Self::LogSumExp => {
                // Shifted so that the largest exponent is 0; the shift's gradient cancels.
                let top = x.clone().detach().max_dim(1);
                (x - top.clone()).exp().sum_dim(1).log() + top
            }
        }
    }

    /// Over the middle axis of integers seen as a block.
    fn reduce_block(
        self,
        ints: &Ints,
        [outer, count, inner]: [usize; 3],
        dims: &[usize],
    ) -> OpResult<Ints> {
        let data = (0..outer * inner).map(|place| {
            let start = place / inner * count * inner + place % inner;
            let column = (0..count).map(|step| ints.data()[start + step * inner]);
            self.reduce_ints(column, count)
        });
        Ints::new(ints.kind(), dims, data.collect::<OpResult<Vec<_>>>()?)
    }

    fn reduce_ints(self, mut column: impl Iterator<Item = i64>, count: usize) -> OpResult<i64> {
        let overflow = || invalid("the result does not fit into 64 bits");
        let mut checked = |start: i64, step: fn(i64, i64) -> Option<i64>| {
            column.try_fold(start, step).ok_or_else(overflow)
        };
        match self {
            Self::Sum => checked(0, i64::checked_add),
            Self::Mean => Ok(checked(0, i64::checked_add)? / count as i64),
            Self::Max => checked(i64::MIN, |a, b| Some(a.max(b))),
            Self::Min => checked(i64::MAX, |a, b| Some(a.min(b))),
            Self::Prod => checked(1, i64::checked_mul),
            Self::L1 => checked(0, |sum, x| sum.checked_add(x.checked_abs()?)),
            Self::SumSquare => checked(0, |sum, x| sum.checked_add(x.checked_mul(x)?)),
            Self::L2 | Self::LogSum | Self::LogSumExp => Err(unsupported(
                "roots and logarithms of integers; cast to float first",
            )),
        }
    }
}

/// Position of the largest or smallest element along an axis.
#[derive(Debug)]
struct Arg {
    largest: bool,
    axis: i64,
    keep: bool,
    /// Whether the last of equal elements counts rather than the first.
    last: bool,
}

fn arg(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Arg {
        largest: spec.op == "ArgMax",
        axis: spec.attributes.int("axis", 0)?,
        keep: spec.attributes.flag("keepdims", true)?,
        last: spec.opset >= 12 && spec.attributes.flag("select_last_index", false)?,
    }))
}

impl Operator for Arg {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let axis = axis(self.axis, x.dims().len())?;
        let length = x.dims()[axis];
        if length == 0 {
            return Err(invalid(format!("axis {axis} has no elements")));
        }
        let (dims, _) = shapes(x.dims(), &[axis], self.keep);
        let inner: usize = x.dims()[axis + 1..].iter().product();
        let outer = x.len() / (length * inner).max(1);
        // Positions are integers: no gradient flows through them.
        let places = match x {
            Value::Real(real) => self.places(&real.to_host()?, (outer, length, inner)),
            Value::Ints(ints) => self.places(ints.data(), (outer, length, inner)),
        };
        Ok(vec![Ints::vector(places).reshape(&dims)?.into()])
    }
}

impl Arg {
    fn places<T: PartialOrd>(
        &self,
        data: &[T],
        (outer, length, inner): (usize, usize, usize),
    ) -> Vec<i64> {
        let best = |place: usize| {
            let at = |step: usize| &data[(place / inner * length + step) * inner + place % inner];
            let mut best = 0;
            for step in 1..length {
                let (new, old) = (at(step), at(best));
                let wins = if self.largest { new > old } else { new < old };
                if wins || (self.last && new == old) {
                    best = step;
                }
            }
            best as i64
        };
        (0..outer * inner).map(best).collect()
    }
}
