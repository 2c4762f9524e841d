//! Convolution in two dimensions on the host, forward and backward, by copying patches into columns and multiplying matrices
//! (im2col): faster than the tensor library's kernels, whose gradient at the weights is a convolution with kernels as large as
//! the image. A few images, or a few rows of one, at a time, so that their columns stay in the cache.

mod columns;

use std::ops::Range;

use crate::ops::spatial::Window;
use crate::product::{Matrix, Old, multiply};

/// Numbers in the columns of one product, about, and the least and most columns that it has: enough to be worth a product, few
/// enough for the cache.
const ELEMENTS: usize = 1 << 18;
const COLUMNS: (usize, usize) = (256, 1024);

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

/// What one product computes: rows of the outputs of some images, all of them where these are several.
#[derive(Debug, Clone)]
struct Piece {
    first: usize,
    count: usize,
    rows: Range<usize>,
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
        let empty = [images, inputs, outputs, out[0], out[1]].contains(&0);
        (channels == inputs && !empty).then_some(sizes)
    }

    /// Shape of the input.
    pub(crate) fn input(&self) -> [usize; 4] {
        [self.images, self.inputs, self.size[0], self.size[1]]
    }

    /// Shape of the weights.
    pub(crate) fn weights(&self) -> [usize; 4] {
        [self.outputs, self.inputs, self.kernel[0], self.kernel[1]]
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

    /// Whether an image is its own columns.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.strides == [1, 1] && self.out == self.size
    }

    /// The products, and the most columns that one has.
    fn pieces(&self) -> (Vec<Piece>, usize) {
        let wanted = (ELEMENTS / self.rows()).clamp(COLUMNS.0, COLUMNS.1);
        let count = (wanted / self.area()).clamp(1, self.images);
        let rows = match count {
            1 => (wanted / self.out[1]).clamp(1, self.out[0]),
            _ => self.out[0],
        };
        let mut pieces = Vec::new();
        for first in (0..self.images).step_by(count) {
            let count = count.min(self.images - first);
            for begin in (0..self.out[0]).step_by(rows) {
                let rows = begin..(begin + rows).min(self.out[0]);
                pieces.push(Piece { first, count, rows });
            }
        }
        (pieces, count * rows * self.out[1])
    }

    fn width(&self, piece: &Piece) -> usize {
        piece.count * piece.rows.len() * self.out[1]
    }

    /// Where one image's part of [image, channel, area] is, and where in it the piece begins.
    fn of_image(&self, piece: &Piece, channels: usize) -> Range<usize> {
        let all = channels * self.area();
        piece.first * all + piece.rows.start * self.out[1]..(piece.first + 1) * all
    }

    /// The convolution.
    pub(crate) fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let (area, rows) = (self.area(), self.rows());
        let mut y = vec![0.0; self.images * self.outputs * area];
        let w = Matrix::whole(w, [self.outputs, rows]);
        let (pieces, most) = self.pieces();
        let (mut columns, mut product) = (Vec::new(), Vec::new());
        for piece in &pieces {
            let width = self.width(piece);
            let columns = self.columns(x, piece, (&mut columns, most));
            if piece.count == 1 {
                let y = &mut y[self.of_image(piece, self.outputs)];
                multiply((y, area), Old::Replaced, (w, columns));
            } else {
                product.resize(self.outputs * most, 0.0);
                let product = &mut product[..self.outputs * width];
                multiply((product, width), Old::Replaced, (w, columns));
                self.spread(product, piece, &mut y);
            }
        }
        if let Some(bias) = bias {
            for (plane, b) in y.chunks_mut(area).zip(bias.iter().cycle()) {
                plane.iter_mut().for_each(|v| *v += b);
            }
        }
        y
    }

    /// Gradients from that at the output: at the weights if x is given, at x if the weights are.
    pub(crate) fn backward(
        &self,
        g: &[f32],
        (x, w): (Option<&[f32]>, Option<&[f32]>),
    ) -> PatchGradients {
        let (area, rows) = (self.area(), self.rows());
        let count = |dims: [usize; 4]| dims.iter().product::<usize>();
        let mut found = PatchGradients {
            x: w.map(|_| vec![0.0; count(self.input())]),
            w: x.map(|_| vec![0.0; count(self.weights())]),
        };
        let (pieces, most) = self.pieces();
        let (mut buffer, mut slopes) = (Vec::new(), Vec::new());
        for piece in &pieces {
            let width = self.width(piece);
            let slopes = if piece.count == 1 {
                let g = &g[self.of_image(piece, self.outputs)];
                Matrix::new(g, [self.outputs, width], area)
            } else {
                slopes.resize(self.outputs * most, 0.0);
                self.collect(g, piece, &mut slopes[..self.outputs * width]);
                Matrix::whole(&slopes[..self.outputs * width], [self.outputs, width])
            };
            if let (Some(dw), Some(x)) = (&mut found.w, x) {
                let columns = self.columns(x, piece, (&mut buffer, most));
                multiply((dw, rows), Old::AddedTo, (slopes, columns.transposed()));
            }
            if let (Some(dx), Some(w)) = (&mut found.x, w) {
                let w = Matrix::whole(w, [self.outputs, rows]).transposed();
                if self.is_pointwise() && piece.count == 1 {
                    let dx = &mut dx[self.of_image(piece, self.inputs)];
                    multiply((dx, area), Old::Replaced, (w, slopes));
                } else {
                    buffer.resize(rows * most, 0.0);
                    let columns = &mut buffer[..rows * width];
                    multiply((columns, width), Old::Replaced, (w, slopes));
                    self.scatter(columns, piece, dx);
                }
            }
        }
        found
    }

    /// Product's layout [o, image, area] → [image, o, area].
    fn spread(&self, product: &[f32], piece: &Piece, y: &mut [f32]) {
        let area = self.area();
        for (o, planes) in product.chunks(piece.count * area).enumerate() {
            for (image, plane) in planes.chunks(area).enumerate() {
                let start = ((piece.first + image) * self.outputs + o) * area;
                y[start..start + area].copy_from_slice(plane);
            }
        }
    }

    /// The inverse of [`Self::spread`].
    fn collect(&self, g: &[f32], piece: &Piece, slopes: &mut [f32]) {
        let area = self.area();
        for (o, planes) in slopes.chunks_mut(piece.count * area).enumerate() {
            for (image, plane) in planes.chunks_mut(area).enumerate() {
                let start = ((piece.first + image) * self.outputs + o) * area;
                plane.copy_from_slice(&g[start..start + area]);
            }
        }
    }

    /// Patches of a piece as columns: made in the buffer, of `most` columns, or the image itself.
    fn columns<'a>(
        &self,
        x: &'a [f32],
        piece: &Piece,
        (buffer, most): (&'a mut Vec<f32>, usize),
    ) -> Matrix<'a> {
        let (rows, width) = (self.rows(), self.width(piece));
        if self.is_pointwise() && piece.count == 1 {
            let x = &x[self.of_image(piece, self.inputs)];
            return Matrix::new(x, [rows, width], self.area());
        }
        buffer.resize(rows * most, 0.0);
        let columns = &mut buffer[..rows * width];
        self.gather(x, piece, columns);
        Matrix::whole(columns, [rows, width])
    }
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
        for ([images, channels], size, kernel, stride, dilation, pads) in [
            ([5, 3], [8, 8], [3, 3], [1, 1], 1, [1, 1, 1, 1]),
            ([5, 3], [9, 7], [3, 2], [2, 1], 2, [2, 0, 1, 3]),
            ([5, 3], [5, 6], [1, 1], [1, 1], 1, [0, 0, 0, 0]),
            ([5, 3], [4, 4], [5, 5], [3, 2], 1, [2, 2, 2, 2]),
            ([5, 3], [30, 30], [3, 3], [2, 2], 1, [0, 0, 1, 1]),
            ([5, 3], [60, 50], [1, 1], [1, 1], 1, [0, 0, 0, 0]),
            ([5, 3], [60, 50], [3, 3], [1, 1], 1, [1, 1, 1, 1]),
            // More rows than a product of the usual size has, several images in each.
            ([70, 130], [2, 2], [3, 3], [1, 1], 1, [1, 1, 1, 1]),
        ] {
            let window = Window {
                kernel: kernel.to_vec(),
                strides: stride.to_vec(),
                dilations: vec![dilation; 2],
                pads_begin: pads[..2].to_vec(),
                pads_end: pads[2..].to_vec(),
            };
            let xd = [images, channels, size[0], size[1]];
            let wd = [4, channels, kernel[0], kernel[1]];
            let (x, w) = (
                numbers(xd.iter().product(), 1),
                numbers(wd.iter().product(), 2),
            );
            let bias = numbers(4, 3);
            let sizes = Patches::new(&xd, &wd, &window).unwrap();
            let y = sizes.forward(&x, &w, Some(&bias));
            let g = numbers(y.len(), 4);
            let found = sizes.backward(&g, (Some(&x), Some(&w)));
            let real =
                |v: &[f32], dims: &[usize]| Real::from_host(v.to_vec(), dims, &device).unwrap();
            let leaf = |r: Real| r.into_rank::<4>().unwrap().autodiff().require_grad();
            let (xl, wl) = (leaf(real(&x, &xd)), leaf(real(&w, &wd)));
            let reals = (Real::from_tensor(xl.clone()), Real::from_tensor(wl.clone()));
            let plain = convolve::forward(
                reals.0,
                reals.1,
                Some(real(&bias, &[4])),
                (&window, 1, &device),
            );
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
