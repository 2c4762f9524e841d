//! Convolution in two dimensions on the host, forward and backward, by copying patches into columns and multiplying matrices
//! (im2col): on small images two to three times as fast as the tensor library's kernels, whose gradient at the weights
//! is a convolution with kernels as large as the image. A few images at a time, so that their columns stay in the cache.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::ops::spatial::Window;

/// Columns of one product: enough to be worth a product, few enough for the cache.
const COLUMNS: usize = 512;

/// Sizes of a convolution without groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patches {
    images: usize,
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 2],
    out: [usize; 2],
}

/// Gradients of a convolution.
#[derive(Debug, Default)]
pub(crate) struct PatchGradients {
    /// At the input, if wanted.
    pub(crate) x: Option<Vec<f32>>,
    /// At the weights, if wanted.
    pub(crate) w: Option<Vec<f32>>,
}

impl Patches {
    /// Sizes of x [n, c, h, w] and weights [o, c, kernel…] under a window; none for other ranks.
    pub(crate) fn new(x: &[usize], w: &[usize], window: &Window) -> Option<Self> {
        let (&[images, inputs, height, width], &[outputs, channels, kh, kw]) = (x, w) else {
            return None;
        };
        let out = window.output(&[height, width]).ok()?;
        let pair = |list: &[usize]| list.try_into().ok();
        let sizes = Self {
            images,
            inputs,
            outputs,
            size: [height, width],
            kernel: [kh, kw],
            strides: pair(&window.strides)?,
            dilations: pair(&window.dilations)?,
            pads: pair(&window.pads_begin)?,
            out: pair(&out)?,
        };
        (channels == inputs).then_some(sizes)
    }

    /// Shape of the output.
    pub(crate) fn output(&self) -> [usize; 4] {
        [self.images, self.outputs, self.out[0], self.out[1]]
    }

    fn area(&self) -> usize {
        self.out[0] * self.out[1]
    }

    fn rows(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Images of one product.
    fn chunk(&self) -> usize {
        COLUMNS
            .div_ceil(self.area().max(1))
            .clamp(1, self.images.max(1))
    }

    /// The convolution.
    pub(crate) fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let (area, rows) = (self.area(), self.rows());
        let mut y = vec![0.0; self.images * self.outputs * area];
        let w = matrix(w, self.outputs, rows);
        let chunk = self.chunk();
        let (mut columns, mut product) = (
            vec![0.0; rows * chunk * area],
            vec![0.0; self.outputs * chunk * area],
        );
        for first in (0..self.images).step_by(chunk) {
            let count = chunk.min(self.images - first);
            let width = count * area;
            let (columns, product) = (
                &mut columns[..rows * width],
                &mut product[..self.outputs * width],
            );
            self.gather(x, (first, count), columns);
            multiply(w, matrix(columns, rows, width), 0.0, product);
            self.spread(product, (first, count), &mut y);
        }
        if let Some(bias) = bias {
            for (plane, b) in y.chunks_mut(area.max(1)).zip(bias.iter().cycle()) {
                plane.iter_mut().for_each(|v| *v += b);
            }
        }
        y
    }

    /// Gradients from that at the output.
    pub(crate) fn backward(
        &self,
        (x, w): (&[f32], &[f32]),
        g: &[f32],
        (at_x, at_w): (bool, bool),
    ) -> PatchGradients {
        let (area, rows) = (self.area(), self.rows());
        let weights = matrix(w, self.outputs, rows);
        let mut found = PatchGradients {
            x: at_x.then(|| vec![0.0; x.len()]),
            w: at_w.then(|| vec![0.0; w.len()]),
        };
        let chunk = self.chunk();
        let (mut columns, mut slopes) = (
            vec![0.0; rows * chunk * area],
            vec![0.0; self.outputs * chunk * area],
        );
        for first in (0..self.images).step_by(chunk) {
            let count = chunk.min(self.images - first);
            let width = count * area;
            let (columns, slopes) = (
                &mut columns[..rows * width],
                &mut slopes[..self.outputs * width],
            );
            self.collect(g, (first, count), slopes);
            if let Some(dw) = &mut found.w {
                self.gather(x, (first, count), columns);
                let slopes = matrix(slopes, self.outputs, width);
                multiply(
                    slopes,
                    matrix(columns, rows, width).reversed_axes(),
                    1.0,
                    dw,
                );
            }
            if let Some(dx) = &mut found.x {
                let slopes = matrix(slopes, self.outputs, width);
                multiply(weights.reversed_axes(), slopes, 0.0, columns);
                self.scatter(columns, (first, count), dx);
            }
        }
        found
    }

    /// Product's layout [o, image, area] → [image, o, area].
    fn spread(&self, product: &[f32], (first, count): (usize, usize), y: &mut [f32]) {
        let area = self.area();
        for (o, planes) in product.chunks(count * area).enumerate() {
            for (image, plane) in planes.chunks(area).enumerate() {
                let start = ((first + image) * self.outputs + o) * area;
                y[start..start + area].copy_from_slice(plane);
            }
        }
    }

    /// The inverse of [`Self::spread`].
    fn collect(&self, g: &[f32], (first, count): (usize, usize), slopes: &mut [f32]) {
        let area = self.area();
        for (o, planes) in slopes.chunks_mut(count * area).enumerate() {
            for (image, plane) in planes.chunks_mut(area).enumerate() {
                let start = ((first + image) * self.outputs + o) * area;
                plane.copy_from_slice(&g[start..start + area]);
            }
        }
    }

    /// Output positions along an axis whose input position lies inside, for one kernel element.
    fn inside(&self, axis: usize, element: usize) -> (usize, usize) {
        let shift = element * self.dilations[axis];
        let (stride, pad) = (self.strides[axis], self.pads[axis]);
        let start = pad.saturating_sub(shift).div_ceil(stride);
        let end = (self.size[axis] + pad)
            .saturating_sub(shift)
            .div_ceil(stride);
        let end = end.min(self.out[axis]);
        (start.min(end), end)
    }

    /// Calls `act` with every run of a row of columns that lies inside the image: its channel and image, where it begins in
    /// the columns, where in the image, and its length.
    fn runs(&self, (first, count): (usize, usize), mut act: impl FnMut(usize, usize, usize)) {
        let area = self.area();
        let [height, width] = self.size;
        let (mut row, plane) = (0, height * width);
        for channel in 0..self.inputs {
            for i in 0..self.kernel[0] {
                let (top, bottom) = self.inside(0, i);
                for j in 0..self.kernel[1] {
                    let (left, right) = self.inside(1, j);
                    for image in 0..count {
                        let from = ((first + image) * self.inputs + channel) * plane;
                        let to = row * count * area + image * area;
                        for y in top..bottom {
                            let source = y * self.strides[0] + i * self.dilations[0] - self.pads[0];
                            let across = (left * self.strides[1] + j * self.dilations[1])
                                .saturating_sub(self.pads[1]);
                            if right > left {
                                act(
                                    to + y * self.out[1] + left,
                                    from + source * width + across,
                                    right - left,
                                );
                            }
                        }
                    }
                    row += 1;
                }
            }
        }
    }

    /// Patches of some images as columns.
    fn gather(&self, x: &[f32], images: (usize, usize), columns: &mut [f32]) {
        columns.fill(0.0);
        let stride = self.strides[1];
        self.runs(images, |to, from, length| {
            let to = &mut columns[to..to + length];
            if stride == 1 {
                to.copy_from_slice(&x[from..from + length]);
            } else {
                let taken = x[from..].iter().step_by(stride);
                to.iter_mut().zip(taken).for_each(|(to, v)| *to = *v);
            }
        });
    }

    /// Adds columns back to where their numbers were taken.
    fn scatter(&self, columns: &[f32], images: (usize, usize), dx: &mut [f32]) {
        let stride = self.strides[1];
        self.runs(images, |to, from, length| {
            let values = &columns[to..to + length];
            if stride == 1 {
                let places = &mut dx[from..from + length];
                places.iter_mut().zip(values).for_each(|(d, v)| *d += v);
            } else {
                let places = dx[from..].iter_mut().step_by(stride);
                places.zip(values).for_each(|(d, v)| *d += v);
            }
        });
    }
}

fn matrix(values: &[f32], rows: usize, cols: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, cols), values)
        .unwrap_or_else(|_| unreachable!("buffers have the sizes they were made with"))
}

/// `to = a·b + keep·to`.
fn multiply(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, keep: f32, to: &mut [f32]) {
    let mut to = ArrayViewMut2::from_shape((a.nrows(), b.ncols()), to)
        .unwrap_or_else(|_| unreachable!("buffers have the sizes they were made with"));
    general_mat_mul(1.0, &a, &b, keep, &mut to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convolve;
    use crate::device::EngineDevice;
    use crate::real::Real;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 32768.0 - 1.0
        };
        (0..count).map(next).collect()
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 2e-4, "{a} {b}");
        }
    }

    /// Strides, dilations, uneven padding, kernels larger than the image: values and gradients of the tensor library.
    #[test]
    fn columns_give_what_the_tensor_library_gives() {
        let device = EngineDevice::cpu();
        for (size, kernel, stride, dilation, pads) in [
            ([8, 8], [3, 3], [1, 1], 1, [1, 1, 1, 1]),
            ([9, 7], [3, 2], [2, 1], 2, [2, 0, 1, 3]),
            ([5, 6], [1, 1], [1, 1], 1, [0, 0, 0, 0]),
            ([4, 4], [5, 5], [3, 2], 1, [2, 2, 2, 2]),
            ([30, 30], [3, 3], [2, 2], 1, [0, 0, 1, 1]),
        ] {
            let window = Window {
                kernel: kernel.to_vec(),
                strides: stride.to_vec(),
                dilations: vec![dilation; 2],
                pads_begin: pads[..2].to_vec(),
                pads_end: pads[2..].to_vec(),
            };
            let (xd, wd) = ([5, 3, size[0], size[1]], [4, 3, kernel[0], kernel[1]]);
            let (x, w) = (
                numbers(xd.iter().product(), 1),
                numbers(wd.iter().product(), 2),
            );
            let bias = numbers(4, 3);
            let sizes = Patches::new(&xd, &wd, &window).unwrap();
            let y = sizes.forward(&x, &w, Some(&bias));
            let g = numbers(y.len(), 4);
            let found = sizes.backward((&x, &w), &g, (true, true));
            let real =
                |v: &[f32], dims: &[usize]| Real::from_host(v.to_vec(), dims, &device).unwrap();
            let leaf = |r: Real| r.into_rank::<4>().unwrap().autodiff().require_grad();
            let (xl, wl) = (leaf(real(&x, &xd)), leaf(real(&w, &wd)));
            let reals = (Real::from_tensor(xl.clone()), Real::from_tensor(wl.clone()));
            let plain = convolve::forward(reals.0, reals.1, Some(real(&bias, &[4])), (&window, 1));
            let plain = plain.unwrap();
            assert_eq!(plain.dims(), sizes.output());
            close(&y, &plain.to_host().unwrap());
            let slope = real(&g, &sizes.output()).into_rank::<4>().unwrap();
            let grads = (plain.into_rank::<4>().unwrap() * slope).sum().backward();
            let host = |t: burn::tensor::Tensor<4>| t.try_to_vec_as::<f32>().unwrap();
            close(&found.x.unwrap(), &host(xl.grad(&grads).unwrap()));
            close(&found.w.unwrap(), &host(wl.grad(&grads).unwrap()));
        }
        assert!(
            Patches::new(
                &[1, 2, 4, 4],
                &[1, 3, 1, 1],
                &Window {
                    kernel: vec![1, 1],
                    strides: vec![1, 1],
                    dilations: vec![1, 1],
                    pads_begin: vec![0, 0],
                    pads_end: vec![0, 0],
                }
            )
            .is_none()
        );
    }
}
