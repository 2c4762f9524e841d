//! Two operands with broadcasting: floats on the device (differentiable), integers on the host.

use burn::tensor::Tensor;

use crate::error::{OpResult, invalid, unsupported};
use crate::ints::{ElementType, Ints, strides};
use crate::limits::{MAX_ELEMENTS, MAX_RANK, element_count};
use crate::ops::axes::{broadcast, padded};
use crate::real::Real;

/// A function of two floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
}

impl Binary {
    fn apply<const D: usize>(self, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            Self::Min => {
                let mask = b.clone().lower(a.clone());
                a.mask_where(mask, b)
            }
            Self::Max => {
                let mask = b.clone().greater(a.clone());
                a.mask_where(mask, b)
            }
        }
    }

    /// With one number on the right.
    fn scalar(self, a: Tensor<1>, b: f32) -> Tensor<1> {
        match self {
            Self::Add => a.add_scalar(b),
            Self::Sub => a.sub_scalar(b),
            Self::Mul => a.mul_scalar(b),
            Self::Div => a.div_scalar(b),
            Self::Pow if b == 1.0 => a,
            Self::Pow if b == 2.0 => a.clone() * a,
            Self::Pow if b == 0.5 => a.sqrt(),
            Self::Pow => a.powf_scalar(b),
            Self::Min => a.clamp_max(b),
            Self::Max => a.clamp_min(b),
        }
    }

    /// Whether a tensor must have the full shape before burn's kernel sees it.
    fn needs_equal_shapes(self) -> bool {
        matches!(self, Self::Min | Self::Max | Self::Pow)
    }
}

/// `a op b` with broadcasting.
pub(crate) fn binary(op: Binary, a: Real, b: Real) -> OpResult<Real> {
    let dims = broadcast(a.dims(), b.dims())?;
    element_count(&dims, MAX_ELEMENTS)?;
    if b.len() == 1
        && a.dims() == dims
        && !b.is_tracked()
        && let Some(number) = b.host_scalar()
    {
        return a.map(|a| op.scalar(a, number));
    }
    if a.dims() == b.dims() {
        let flat = op.apply(a.into_flat()?, b.into_flat()?);
        return Real::from_tensor(flat).reshape(&dims);
    }
    let (mut a, mut b) = (a, b);
    if op.needs_equal_shapes() {
        a = expanded(a, &dims)?;
        b = expanded(b, &dims)?;
    }
    let merged = merge_axes(&padded(a.dims(), dims.len()), &padded(b.dims(), dims.len()));
    let (left, right): (Vec<usize>, Vec<usize>) = merged.into_iter().unzip();
    let (a, b) = (a.reshape(&left)?, b.reshape(&right)?);
    let result = match left.len() {
        0 | 1 => at_rank::<1>(op, a, b),
        2 => at_rank::<2>(op, a, b),
        3 => at_rank::<3>(op, a, b),
        4 => at_rank::<4>(op, a, b),
        5 => at_rank::<5>(op, a, b),
        6 => at_rank::<6>(op, a, b),
        rank => Err(unsupported(format!(
            "broadcasting over {rank} axes; {MAX_RANK} are supported"
        ))),
    };
    result?.reshape(&dims)
}

fn at_rank<const D: usize>(op: Binary, a: Real, b: Real) -> OpResult<Real> {
    Ok(Real::from_tensor(
        op.apply(a.into_rank::<D>()?, b.into_rank::<D>()?),
    ))
}

/// A tensor repeated to a shape that it broadcasts to.
pub(crate) fn expanded(real: Real, dims: &[usize]) -> OpResult<Real> {
    let full = padded(real.dims(), dims.len());
    real.reshape(&full)?.expand(dims)
}

/// Joins neighbouring axes that broadcast in the same way, so that few are left: burn's kernels
/// are fastest, and its ranks sufficient, for short shapes.
fn merge_axes(a: &[usize], b: &[usize]) -> Vec<(usize, usize)> {
    let mut merged: Vec<(usize, usize)> = Vec::new();
    let kind = |(x, y): (usize, usize)| x.cmp(&y);
    for pair in a
        .iter()
        .copied()
        .zip(b.iter().copied())
        .filter(|&pair| pair != (1, 1))
    {
        match merged.last_mut() {
            Some(last) if kind(*last) == kind(pair) => {
                last.0 *= pair.0;
                last.1 *= pair.1;
            }
            _ => merged.push(pair),
        }
    }
    if merged.is_empty() {
        merged.push((1, 1));
    }
    merged
}

/// A function of two integers element by element, with broadcasting.
pub(crate) fn ints(
    kind: ElementType,
    (a, b): (&Ints, &Ints),
    f: impl Fn(i64, i64) -> OpResult<i64>,
) -> OpResult<Ints> {
    let dims = broadcast(a.dims(), b.dims())?;
    let count = element_count(&dims, MAX_ELEMENTS)?;
    let (left, right) = (Walk::new(a.dims(), &dims), Walk::new(b.dims(), &dims));
    let data = (0..count)
        .map(|index| f(a.data()[left.place(index)], b.data()[right.place(index)]))
        .collect::<OpResult<Vec<_>>>()?;
    Ints::new(kind, &dims, data)
}

/// Integers repeated to a shape that theirs broadcasts to.
pub(crate) fn ints_expanded(ints: &Ints, dims: &[usize]) -> OpResult<Ints> {
    if broadcast(ints.dims(), dims)? != dims {
        return Err(invalid(format!(
            "shape {:?} does not expand to {dims:?}",
            ints.dims()
        )));
    }
    let count = element_count(dims, MAX_ELEMENTS)?;
    let walk = Walk::new(ints.dims(), dims);
    let data = (0..count)
        .map(|index| ints.data()[walk.place(index)])
        .collect();
    Ints::new(ints.kind(), dims, data)
}

/// Where an element of a broadcast result comes from in an operand.
struct Walk {
    /// For each axis of the result: its stride, its length, and the operand's stride (0 where it repeats).
    axes: Vec<(usize, usize, usize)>,
    same: bool,
}

impl Walk {
    fn new(own: &[usize], result: &[usize]) -> Self {
        let full = padded(own, result.len());
        let own_strides = strides(&full);
        let axes = strides(result)
            .into_iter()
            .zip(result)
            .zip(full.iter().zip(own_strides))
            .map(|((stride, &dim), (&own, own_stride))| {
                (
                    stride.max(1),
                    dim.max(1),
                    if own == 1 { 0 } else { own_stride },
                )
            })
            .collect();
        Self {
            axes,
            same: full == result,
        }
    }

    fn place(&self, index: usize) -> usize {
        if self.same {
            return index;
        }
        self.axes
            .iter()
            .map(|&(stride, dim, own)| (index / stride) % dim * own)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::EngineDevice;

    fn real(data: &[f32], dims: &[usize]) -> Real {
        Real::from_host(data.to_vec(), dims, &EngineDevice::cpu()).unwrap()
    }

    #[test]
    fn axes_that_broadcast_alike_are_joined() {
        assert_eq!(
            merge_axes(&[2, 3, 4, 5], &[1, 3, 1, 1]),
            [(2, 1), (3, 3), (20, 1)]
        );
        assert_eq!(merge_axes(&[2, 3], &[2, 3]), [(6, 6)]);
        assert_eq!(merge_axes(&[1, 1], &[1, 1]), [(1, 1)]);
    }

    #[test]
    fn floats_broadcast_both_ways() {
        let sum = binary(
            Binary::Sub,
            real(&[1.0, 2.0], &[2, 1]),
            real(&[10.0, 20.0, 30.0], &[3]),
        );
        let sum = sum.unwrap();
        assert_eq!(sum.dims(), [2, 3]);
        assert_eq!(
            sum.to_host().unwrap(),
            [-9.0, -19.0, -29.0, -8.0, -18.0, -28.0]
        );
        let smaller = binary(
            Binary::Min,
            real(&[1.0, 25.0], &[2, 1]),
            real(&[10.0, 20.0], &[2]),
        );
        assert_eq!(smaller.unwrap().to_host().unwrap(), [1.0, 1.0, 10.0, 20.0]);
        assert!(binary(Binary::Add, real(&[1.0; 2], &[2]), real(&[1.0; 3], &[3])).is_err());
    }

    #[test]
    fn integers_broadcast_both_ways() {
        let (a, b) = (
            Ints::vector(vec![1, 2]).reshape(&[2, 1]).unwrap(),
            Ints::vector(vec![10, 20, 30]),
        );
        let product = ints(ElementType::I64, (&a, &b), |x, y| Ok(x * y)).unwrap();
        assert_eq!(
            (product.dims(), product.data()),
            (&[2, 3][..], &[10, 20, 30, 20, 40, 60][..])
        );
        assert_eq!(
            ints_expanded(&b, &[2, 3]).unwrap().data(),
            [10, 20, 30, 10, 20, 30]
        );
        assert!(ints_expanded(&b, &[3, 1]).is_err());
    }
}
