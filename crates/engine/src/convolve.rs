//! The sums of convolutions, for one, two and three spatial axes, by whatever is faster: our own columns (`patches`), or
//! one of burn's kernels: a convolution of stride 1 is also a transposed convolution with the kernel turned around.
//!
//! Measured on one core (AVX-512, burn-flex 0.22, GFlop/s): 3x3, 450 to 12 channels, 8x8: 33 by the
//! convolution, 73 by the transposed one; 16 to 16, 32x32: 15 and 33; 64 to 3, 64x64: 3 and 70; 64
//! to 64 in 4 groups, 64x64: 7 and 32; but 64 to 128, 16x16: 70 and 34. With a gradient the other
//! kernel runs backward, and only few outputs per input channel still gain.

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, PadMode};

use crate::device::EngineDevice;
use crate::error::{OpResult, unsupported};
use crate::ops::spatial::{Window, extent};
use crate::patches::Patches;
use crate::real::{Real, SliceRange};

/// Convolution of x [n, c, spatial…] with w [o, c / groups, kernel…]; operands and sizes are checked.
pub(crate) fn forward(
    x: Real,
    w: Real,
    bias: Option<Real>,
    (window, groups, device): (&Window, usize, &EngineDevice),
) -> OpResult<Real> {
    if let Some(sizes) = by_columns((&x, &w, bias.as_ref()), (window, groups, device)) {
        let bias = bias.map(Real::into_host).transpose()?;
        let y = sizes.forward(&x.into_host()?, &w.to_host()?, bias.as_deref());
        return Real::from_host(y, &sizes.output(), device);
    }
    if turned_is_faster(&x, &w, window, groups) {
        return turned(x, w, bias, (window, groups));
    }
    plain(x, w, bias, (window, groups))
}

/// The sizes of a convolution that `patches` does faster than either kernel: on the CPU, in two dimensions, without groups and gradients (ResNet-20: 1.9
/// times as fast, ResNet-18 1.4 times, DnCNN 1.2 times; of one image of ResNet-18 1.1 times, of AlexNet 1.8 times).
fn by_columns(
    (x, w, bias): (&Real, &Real, Option<&Real>),
    (window, groups, device): (&Window, usize, &EngineDevice),
) -> Option<Patches> {
    let tracked = x.is_tracked() || w.is_tracked() || bias.is_some_and(Real::is_tracked);
    if !device.is_cpu() || groups > 1 || tracked {
        return None;
    }
    Patches::new(x.dims(), w.dims(), window)
}

/// Convolution by burn's convolution.
fn plain(
    x: Real,
    w: Real,
    bias: Option<Real>,
    (window, groups): (&Window, usize),
) -> OpResult<Real> {
    let bias = bias.map(Real::into_rank::<1>).transpose()?;
    match window.kernel.len() {
        1 => {
            let (x, w) = (x.into_rank::<3>()?, w.into_rank::<3>()?);
            Ok(Real::from_tensor(module::conv1d(
                x,
                w,
                bias,
                options::<1>(window, groups),
            )))
        }
        2 => {
            let (x, w) = (x.into_rank::<4>()?, w.into_rank::<4>()?);
            Ok(Real::from_tensor(module::conv2d(
                x,
                w,
                bias,
                options::<2>(window, groups),
            )))
        }
        3 => {
            let (mut x, w) = (x.into_rank::<5>()?, w.into_rank::<5>()?);
            let mut options = options::<3>(window, groups);
            if options.is_asymmetric() {
                // burn has no uneven padding in three dimensions.
                x = x.pad(options.padding, PadMode::Constant(0.0));
                options.padding = [(0, 0); 3];
            }
            Ok(Real::from_tensor(module::conv3d(x, w, bias, options)))
        }
        axes => Err(axes_fault(axes)),
    }
}

fn axes_fault(axes: usize) -> crate::error::Fault {
    unsupported(format!("{axes} spatial axes; 1 to 3 are supported"))
}

fn options<const N: usize>(window: &Window, groups: usize) -> ConvOptions<N> {
    let pads = |axis: usize| (window.pads_begin[axis], window.pads_end[axis]);
    ConvOptions::new_with_padding(
        array(&window.strides),
        std::array::from_fn(pads),
        array(&window.dilations),
        groups,
    )
}

fn array<const N: usize>(list: &[usize]) -> [usize; N] {
    std::array::from_fn(|axis| list[axis])
}

/// Whether [`turned`] is legal and, by the measurements above, faster. Nothing here depends on
/// the batch: how a batch is cut never changes a result.
fn turned_is_faster(x: &Real, w: &Real, window: &Window, groups: usize) -> bool {
    let spatial: usize = x.dims()[2..].iter().product();
    let kernel: usize = window.kernel.iter().product();
    let (outputs, inputs) = (w.dims()[0] / groups, w.dims()[1]);
    let covered = |axis: usize| {
        let reach = extent(window.kernel[axis], window.dilations[axis]) - 1;
        window.pads_begin[axis] <= reach && window.pads_end[axis] <= reach
    };
    let legal =
        window.strides.iter().all(|&stride| stride == 1) && (0..window.kernel.len()).all(covered);
    let depthwise = inputs == 1 && outputs == 1;
    if !legal || kernel == 1 || depthwise || spatial < 64 {
        return false;
    }
    let tracked = x.is_tracked() || w.is_tracked();
    match (groups > 1, tracked) {
        (true, false) => true,
        (true, true) => inputs >= 8,
        (false, true) => inputs >= 8 && 2 * outputs <= inputs,
        (false, false) => {
            inputs >= 8 && outputs <= inputs && (outputs <= 16 || outputs <= 64 && spatial >= 1024)
        }
    }
}

/// Convolution of stride 1 as a transposed convolution: out(o) = Σ x(o + k - pad)·w(k) is what a
/// transposed one with w(K - 1 - k) gives at position o + K - 1 - pad, K the kernel's extent.
fn turned(
    x: Real,
    w: Real,
    bias: Option<Real>,
    (window, groups): (&Window, usize),
) -> OpResult<Real> {
    let output = window.output(&x.dims()[2..])?;
    let kernel: usize = window.kernel.iter().product();
    let (outputs, inputs) = (w.dims()[0] / groups, w.dims()[1]);
    let flat = w.into_shape([groups, outputs, inputs, kernel])?;
    let turned = Real::from_tensor(flat.swap_dims(1, 2).flip([3]));
    let shape = [&[groups * inputs, outputs], &window.kernel[..]].concat();
    let starts = (0..output.len()).map(|axis| {
        extent(window.kernel[axis], window.dilations[axis]) - 1 - window.pads_begin[axis]
    });
    let part = Part {
        starts: starts.collect(),
        lengths: output,
    };
    transposed(x, turned.reshape(&shape)?, bias, (window, groups, &part))
}

/// The part of a transposed convolution's full result that is wanted.
#[derive(Debug)]
pub(crate) struct Part {
    /// First position of each spatial axis.
    pub(crate) starts: Vec<usize>,
    /// Number of positions; those beyond the full result hold the bias alone.
    pub(crate) lengths: Vec<usize>,
}

/// A part of the transposed convolution of x [n, c, spatial…] with w [c, o / groups, kernel…]; of the
/// window the pads are not used.
pub(crate) fn transposed(
    x: Real,
    w: Real,
    bias: Option<Real>,
    (window, groups, part): (&Window, usize, &Part),
) -> OpResult<Real> {
    let (mut pads, mut extra) = (Vec::new(), Vec::new());
    let whole = |end: usize| SliceRange {
        start: 0,
        end,
        step: 1,
    };
    let mut ranges = vec![whole(x.dims()[0]), whole(w.dims()[1] * groups)];
    for axis in 0..window.kernel.len() {
        let full = (x.dims()[2 + axis] - 1) * window.strides[axis]
            + extent(window.kernel[axis], window.dilations[axis]);
        // The kernels cut the same length off both ends; what differs is cut off or added here.
        let start = part.starts[axis];
        let pad = if 2 * start < full { start } else { 0 };
        let end = start - pad + part.lengths[axis];
        pads.push(pad);
        extra.push(end.saturating_sub(full - 2 * pad));
        ranges.push(SliceRange {
            start: start - pad,
            end,
            step: 1,
        });
    }
    let bias = bias.map(Real::into_rank::<1>).transpose()?;
    let y = match window.kernel.len() {
        1 => {
            let (x, w) = (x.into_rank::<3>()?, w.into_rank::<3>()?);
            let options = transposed_options::<1>(window, groups, (&pads, &extra));
            Real::from_tensor(module::conv_transpose1d(x, w, bias, options))
        }
        2 => {
            let (x, w) = (x.into_rank::<4>()?, w.into_rank::<4>()?);
            let options = transposed_options::<2>(window, groups, (&pads, &extra));
            Real::from_tensor(module::conv_transpose2d(x, w, bias, options))
        }
        3 => {
            let (x, w): (Tensor<5>, Tensor<5>) = (x.into_rank()?, w.into_rank()?);
            let options = transposed_options::<3>(window, groups, (&pads, &extra));
            Real::from_tensor(module::conv_transpose3d(x, w, bias, options))
        }
        axes => return Err(axes_fault(axes)),
    };
    y.slice(&ranges)
}

fn transposed_options<const N: usize>(
    window: &Window,
    groups: usize,
    (pads, extra): (&[usize], &[usize]),
) -> ConvTransposeOptions<N> {
    ConvTransposeOptions::new(
        array(&window.strides),
        array(pads),
        array(extra),
        array(&window.dilations),
        groups,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::EngineDevice;

    fn real(dims: &[usize], seed: u32) -> Real {
        let mut state = seed;
        let numbers = (0..dims.iter().product()).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 32768.0 - 1.0
        });
        Real::from_host(numbers.collect(), dims, &EngineDevice::cpu()).unwrap()
    }

    /// The definition, sum by sum.
    fn by_definition(x: &Real, w: &Real, window: &Window, groups: usize) -> Vec<f32> {
        let (xd, wd) = (x.dims(), w.dims());
        let (xs, ws) = (x.to_host().unwrap(), w.to_host().unwrap());
        let out = window.output(&xd[2..]).unwrap();
        let (outputs, inputs) = (wd[0] / groups, wd[1]);
        let mut result = Vec::new();
        for n in 0..xd[0] {
            for o in 0..wd[0] {
                for (y, z) in (0..out[0]).flat_map(|y| (0..out[1]).map(move |z| (y, z))) {
                    let mut sum = 0.0;
                    for c in 0..inputs {
                        let channel = o / outputs * inputs + c;
                        for (i, j) in (0..wd[2]).flat_map(|i| (0..wd[3]).map(move |j| (i, j))) {
                            let row = (y * window.strides[0] + i * window.dilations[0])
                                .checked_sub(window.pads_begin[0]);
                            let column = (z * window.strides[1] + j * window.dilations[1])
                                .checked_sub(window.pads_begin[1]);
                            let (Some(row), Some(column)) = (row, column) else {
                                continue;
                            };
                            if row < xd[2] && column < xd[3] {
                                let place = ((n * xd[1] + channel) * xd[2] + row) * xd[3] + column;
                                sum += xs[place] * ws[((o * inputs + c) * wd[2] + i) * wd[3] + j];
                            }
                        }
                    }
                    result.push(sum);
                }
            }
        }
        result
    }

    #[test]
    fn both_ways_give_what_the_definition_says() {
        for (groups, dilation, pads) in [
            (1, 1, [1, 1, 1, 1]),
            (2, 2, [0, 3, 2, 4]),
            (4, 1, [2, 0, 1, 0]),
        ] {
            let window = Window {
                kernel: vec![3, 3],
                strides: vec![1, 1],
                dilations: vec![dilation, dilation],
                pads_begin: pads[..2].to_vec(),
                pads_end: pads[2..].to_vec(),
            };
            let (x, w) = (real(&[2, 8, 9, 10], 1), real(&[12, 8 / groups, 3, 3], 2));
            let want = by_definition(&x, &w, &window, groups);
            for way in [plain, turned] {
                let got = way(x.clone(), w.clone(), None, (&window, groups)).unwrap();
                let got = got.to_host().unwrap();
                assert_eq!(got.len(), want.len());
                let worst = got
                    .iter()
                    .zip(&want)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(worst < 1e-4, "groups {groups}: {worst}");
            }
        }
    }

    #[test]
    fn the_gradients_of_both_ways_agree() {
        let window = Window {
            kernel: vec![3, 3],
            strides: vec![1, 1],
            dilations: vec![1, 1],
            pads_begin: vec![1, 0],
            pads_end: vec![0, 2],
        };
        let (x, w, v) = (
            real(&[2, 6, 8, 8], 1),
            real(&[4, 3, 3, 3], 2),
            real(&[2, 4, 7, 8], 3),
        );
        let mut found = Vec::new();
        for way in [plain, turned] {
            let leaf = x
                .clone()
                .into_rank::<4>()
                .unwrap()
                .autodiff()
                .require_grad();
            let filter = w
                .clone()
                .into_rank::<4>()
                .unwrap()
                .autodiff()
                .require_grad();
            let y = way(
                Real::from_tensor(leaf.clone()),
                Real::from_tensor(filter.clone()),
                None,
                (&window, 2),
            );
            let y = y.unwrap().into_rank::<4>().unwrap();
            let grads = (y * v.clone().into_rank::<4>().unwrap()).sum().backward();
            let both = [leaf.grad(&grads).unwrap(), filter.grad(&grads).unwrap()];
            found.push(both.map(|grad| grad.try_to_vec_as::<f32>().unwrap()));
        }
        for (a, b) in found[0].iter().flatten().zip(found[1].iter().flatten()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
