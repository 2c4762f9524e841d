//! Axes reordered, parts cut out, parts joined, axes repeated.

use burn::tensor::Tensor;

use super::{Raw, Real, SliceRange};
use crate::error::{OpResult, invalid};
use crate::limits::{MAX_ELEMENTS, element_count};

impl Real {
    /// Axes in a new order: `axes` is a permutation of `0..rank`.
    pub(crate) fn permute(self, axes: &[usize]) -> OpResult<Self> {
        let mut seen = vec![false; self.rank()];
        let fresh = |&axis: &usize| {
            seen.get_mut(axis)
                .is_some_and(|s| !std::mem::replace(s, true))
        };
        if axes.len() != self.rank() || !axes.iter().all(fresh) {
            return Err(invalid(format!(
                "{axes:?} is no permutation of the {} axes",
                self.rank()
            )));
        }
        if axes.iter().copied().eq(0..self.rank()) {
            return Ok(self);
        }
        let dims: Vec<usize> = axes.iter().map(|&axis| self.dims[axis]).collect();
        let order: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
        match self.raw {
            Raw::Empty => Ok(Self::empty(&dims)),
            raw => Ok(
                each_rank!(raw, tensor => Self::from_tensor(permuted(tensor, &order)),
                empty => return Err(invalid("empty tensor"))),
            ),
        }
    }

    /// The part `starts[i] .. ends[i]` in steps of `steps[i]` (not zero) of every axis; a negative
    /// step walks the same half-open range from its end. Bounds lie within the tensor.
    pub(crate) fn slice(self, ranges: &[SliceRange]) -> OpResult<Self> {
        if ranges.len() != self.rank() {
            return Err(invalid("a slice needs a range for each axis"));
        }
        for (range, &dim) in ranges.iter().zip(&self.dims) {
            if range.start > range.end || range.end > dim || range.step == 0 {
                return Err(invalid(format!("slice {range:?} lies outside of 0..{dim}")));
            }
        }
        let dims: Vec<usize> = ranges.iter().map(SliceRange::len).collect();
        if dims.contains(&0) {
            return Ok(Self::empty(&dims));
        }
        if dims == self.dims && ranges.iter().all(|range| range.step > 0) || self.rank() == 0 {
            return Ok(self);
        }
        let slices: Vec<burn::tensor::Slice> = ranges.iter().map(SliceRange::burn).collect();
        Ok(
            each_rank!(self.raw, tensor => Self::from_tensor(tensor.slice(slices.as_slice())),
                empty => Self::empty(&dims)),
        )
    }

    /// Repeats axes of length 1 to the length in `dims` (same rank).
    pub(crate) fn expand(self, dims: &[usize]) -> OpResult<Self> {
        if self.dims == dims {
            return Ok(self);
        }
        let fits = |(&have, &want): (&usize, &usize)| have == want || have == 1;
        if dims.len() != self.rank() || !self.dims.iter().zip(dims).all(fits) {
            return Err(invalid(format!(
                "shape {:?} does not expand to {dims:?}",
                self.dims
            )));
        }
        if element_count(dims, MAX_ELEMENTS)? == 0 {
            return Ok(Self::empty(dims));
        }
        Ok(
            each_rank!(self.raw, tensor => Self::from_tensor(expanded(tensor, dims)),
            empty => return Err(invalid("empty tensor"))),
        )
    }

    /// Joins tensors of equal rank along `axis`; the other dimensions agree.
    pub(crate) fn concat(parts: Vec<Self>, axis: usize) -> OpResult<Self> {
        let Some(first) = parts.first() else {
            return Err(invalid("nothing to join"));
        };
        let mut dims = first.dims.clone();
        if axis >= dims.len() {
            return Err(invalid(format!(
                "axis {axis} of a tensor of rank {}",
                dims.len()
            )));
        }
        for part in &parts[1..] {
            let same = part.rank() == dims.len()
                && (0..dims.len()).all(|i| i == axis || part.dims[i] == dims[i]);
            if !same {
                return Err(invalid(format!(
                    "shapes {:?} and {:?} cannot be joined along axis {axis}",
                    parts[0].dims, part.dims
                )));
            }
            dims[axis] = dims[axis].saturating_add(part.dims[axis]);
        }
        element_count(&dims, MAX_ELEMENTS)?;
        let mut parts: Vec<Self> = parts.into_iter().filter(|part| part.len() > 0).collect();
        match (parts.len(), dims.len()) {
            (0, _) => Ok(Self::empty(&dims)),
            (1, _) => Ok(parts.remove(0)),
            (_, 1) => joined::<1>(parts, axis),
            (_, 2) => joined::<2>(parts, axis),
            (_, 3) => joined::<3>(parts, axis),
            (_, 4) => joined::<4>(parts, axis),
            (_, 5) => joined::<5>(parts, axis),
            _ => joined::<6>(parts, axis),
        }
    }
}

fn permuted<const D: usize>(tensor: Tensor<D>, order: &[isize]) -> Tensor<D> {
    tensor.permute(std::array::from_fn::<isize, D, _>(|axis| order[axis]))
}

fn expanded<const D: usize>(tensor: Tensor<D>, dims: &[usize]) -> Tensor<D> {
    tensor.expand::<D, [usize; D]>(std::array::from_fn(|axis| dims[axis]))
}

fn joined<const D: usize>(parts: Vec<Real>, axis: usize) -> OpResult<Real> {
    let tensors = parts
        .into_iter()
        .map(Real::into_rank::<D>)
        .collect::<OpResult<Vec<_>>>()?;
    Ok(Real::from_tensor(Tensor::cat(tensors, axis)))
}
