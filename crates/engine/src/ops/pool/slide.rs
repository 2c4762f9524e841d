//! The sums and maxima under a pool's windows.

use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

use super::super::spatial::{Window, extent};
use crate::error::{OpResult, invalid};
use crate::real::{Real, SliceRange};

/// Maximum or mean over windows of a padded input. Both are separable: the last two axes go at
/// once, the others one by one.
pub(super) fn slide(x: Real, window: &Window, max: bool) -> OpResult<Real> {
    let mut dims = x.dims().to_vec();
    let rank = window.kernel.len();
    let mut x = x;
    let mut left = rank;
    if rank >= 2 && (max || window.dilations[rank - 2..] == [1, 1]) {
        let [rows, columns] = [dims[rank], dims[rank + 1]];
        let outer = dims[..rank].iter().product();
        let pooled = plane(
            x.into_shape([1, outer, rows, columns])?,
            window,
            [rank - 2, rank - 1],
            max,
        );
        dims[rank..].copy_from_slice(&pooled.dims()[2..]);
        x = Real::from_tensor(pooled);
        left = rank - 2;
    }
    for axis in (0..left).rev() {
        let outer = dims[..axis + 2].iter().product();
        let inner: usize = dims[axis + 3..].iter().product();
        let rows = x.into_shape([1, outer, dims[axis + 2], inner])?;
        let pooled = if max || window.dilations[axis] == 1 {
            Real::from_tensor(plane(rows, window, [axis, usize::MAX], max))
        } else {
            dilated_mean(Real::from_tensor(rows), window, axis)?
        };
        dims[axis + 2] = pooled.dims()[2];
        x = pooled;
    }
    x.reshape(&dims)
}

/// burn's pool over two axes of the window; an axis that the window does not have is left alone.
fn plane(x: Tensor<4>, window: &Window, axes: [usize; 2], max: bool) -> Tensor<4> {
    let pick = |list: &[usize]| axes.map(|axis| list.get(axis).copied().unwrap_or(1));
    let (kernel, strides) = (pick(&window.kernel), pick(&window.strides));
    if max {
        let options = MaxPoolOptions::new(kernel).with_stride(strides);
        max_pool2d(x, options.with_dilation(pick(&window.dilations)))
    } else {
        avg_pool2d(x, AvgPoolOptions::new(kernel).with_stride(strides))
    }
}

/// Mean over the dilated window of one axis, which is axis 2 of `x`.
fn dilated_mean(x: Real, window: &Window, axis: usize) -> OpResult<Real> {
    let (kernel, stride) = (window.kernel[axis], window.strides[axis]);
    let reach = extent(kernel, window.dilations[axis]);
    let last = (x.dims()[2] - reach) / stride * stride;
    let mut sum: Option<Tensor<4>> = None;
    for step in 0..kernel {
        let start = step * window.dilations[axis];
        let mut ranges: Vec<SliceRange> = x.dims().iter().map(|&end| whole(end)).collect();
        ranges[2] = SliceRange {
            start,
            end: start + last + 1,
            step: stride as isize,
        };
        let part = x.clone().slice(&ranges)?.into_rank::<4>()?;
        sum = Some(match sum {
            Some(sum) => sum + part,
            None => part,
        });
    }
    let sum = sum.ok_or_else(|| invalid("an empty window"))?;
    Ok(Real::from_tensor(sum / kernel as f32))
}

fn whole(end: usize) -> SliceRange {
    SliceRange {
        start: 0,
        end,
        step: 1,
    }
}

/// |x|^p.
pub(super) fn power(x: Real, p: f32) -> OpResult<Real> {
    x.map(|x| {
        if p == 1.0 {
            x.abs()
        } else if p == 2.0 {
            x.clone() * x
        } else {
            x.abs().powf_scalar(p)
        }
    })
}

pub(super) fn root(sum: Tensor<1>, p: f32) -> Tensor<1> {
    if p == 1.0 {
        sum
    } else if p == 2.0 {
        sum.sqrt()
    } else {
        sum.powf_scalar(1.0 / p)
    }
}
