//! One layer's share of one shard: its input's patches and its output's gradients, added to the layer's sums.

use std::ops::Range;

use ndarray::{Array2, ArrayD, s};
use tqz_engine::{Layer, LayerOp, Side};

use crate::calibrate::image_number;
use crate::layout::WeightLayer;
use crate::statistics::PartialGroup;
use crate::unfold::{Plane, Window, spread, unfold, unfold_all};

/// Patches wanted per patch element over the whole set; positions beyond that are subsampled.
const PATCHES_PER_ELEMENT: usize = 16;
/// Positions per image below which nothing is subsampled.
const LEAST_POSITIONS: usize = 32;
/// Positions per image kept for the output gradients' second moment.
const GRADIENT_POSITIONS: usize = 4096;
/// Columns of one product.
const COLUMNS: usize = 256;

/// What one use of a weight tensor saw in one shard.
pub(crate) struct LayerTaps<'a> {
    /// The weight tensor.
    pub(crate) layer: &'a WeightLayer,
    /// The node that used it.
    pub(crate) node: &'a Layer,
    /// Input of the node.
    pub(crate) input: &'a ArrayD<f32>,
    /// Gradient at its output.
    pub(crate) gradient: &'a ArrayD<f32>,
    /// Numbers of the shard's images in the whole set.
    pub(crate) numbers: &'a [usize],
    /// Whether it is the tensor's first use: what an error does is the sum over all uses, and each image counts once.
    pub(crate) is_first: bool,
    /// Images expected in the whole set, to decide how many positions of each are enough.
    pub(crate) expected: usize,
}

/// An array with the batch axis in front, seen as images of channels × positions.
struct Images<'a> {
    values: &'a [f32],
    count: usize,
    channels: usize,
    extents: Vec<usize>,
}

impl<'a> Images<'a> {
    fn new(array: &'a ArrayD<f32>) -> Option<Self> {
        let shape = array.shape();
        Some(Self {
            values: array.as_slice()?,
            count: *shape.first()?,
            channels: *shape.get(1)?,
            extents: shape[2..].to_vec(),
        })
    }

    fn area(&self) -> usize {
        self.extents.iter().product()
    }

    /// The values of one image, channels × positions.
    fn image(&self, index: usize) -> &'a [f32] {
        let size = self.channels * self.area();
        &self.values[index * size..(index + 1) * size]
    }
}

impl LayerTaps<'_> {
    /// Adds this shard's products to the sums.
    pub(crate) fn add_to(&self, sums: &mut [PartialGroup]) {
        if self.is_first {
            let groups = sums.iter_mut();
            groups.for_each(|group| group.add_images(self.numbers.len()));
        }
        match &self.node.op {
            LayerOp::Conv { .. } | LayerOp::ConvTranspose { .. } if self.layer.is_depthwise() => {
                self.add_depthwise(sums);
            }
            LayerOp::Conv { .. } | LayerOp::ConvTranspose { .. } => self.add_convolution(sums),
            LayerOp::Gemm { trans_a, .. } => self.add_dense(sums, Along::last_unless(*trans_a)),
            LayerOp::MatMul { side } => {
                self.add_dense(sums, Along::last_unless(*side == Side::Left))
            }
        }
    }

    /// How many positions of an image to look at, of `available` ones.
    fn position_budget(&self, patch: usize) -> usize {
        (PATCHES_PER_ELEMENT * patch / self.expected.max(1)).max(LEAST_POSITIONS)
    }

    /// Where subsampled positions begin, different for each image.
    fn phase(&self, image: usize) -> f64 {
        (image_number(self.numbers, image) as f64 * 0.618_033_988_749_895).fract()
    }

    fn add_convolution(&self, sums: &mut [PartialGroup]) {
        let (Some(x), Some(g)) = (Images::new(self.input), Images::new(self.gradient)) else {
            return;
        };
        let Some(window) = window(self.node, &x.extents, &g.extents) else {
            return;
        };
        let inputs = self.layer.cols / self.layer.period;
        let each = g.area().min(self.position_budget(self.layer.cols));
        for images in together(x.count, each) {
            for (index, group) in sums.iter_mut().enumerate() {
                let channels = index * inputs..(index + 1) * inputs;
                let of = (channels, images.clone());
                group.add_patches(&self.patches((&x, &window), of, &g.extents));
            }
        }
        self.add_gradients(&g, sums);
    }

    /// Patches of some channels and images, side by side; `extents` are those of the output.
    fn patches(
        &self,
        (x, window): (&Images<'_>, &Window),
        (channels, images): (Range<usize>, Range<usize>),
        extents: &[usize],
    ) -> Array2<f32> {
        let area: usize = extents.iter().product();
        let budget = self.position_budget(self.layer.cols);
        let each = area.min(budget);
        let mut patches = Array2::zeros((self.layer.cols, images.len() * each));
        for (index, image) in images.enumerate() {
            let positions = spread(area, budget, self.phase(image));
            let plane = Plane {
                values: x.image(image),
                extents: &x.extents,
            };
            let to = patches.slice_mut(s![.., index * each..(index + 1) * each]);
            unfold(plane, window, channels.clone(), (&positions, extents), to);
        }
        patches
    }

    /// The patches of an ungrouped convolution.
    fn convolution_patches(&self, output: &[usize]) -> Option<Array2<f32>> {
        let x = Images::new(self.input)?;
        let extents = output.get(2..)?;
        let window = window(self.node, &x.extents, extents)?;
        Some(self.patches((&x, &window), (0..x.channels, 0..x.count), extents))
    }

    /// Adds Σ_p g·gᵗ of all images.
    fn add_gradients(&self, g: &Images<'_>, sums: &mut [PartialGroup]) {
        let (rows, area) = (self.layer.rows / self.layer.groups, g.area());
        let each = area.min(GRADIENT_POSITIONS);
        let weight = area as f32 / each.max(1) as f32;
        for images in together(g.count, each) {
            let places = images.clone().map(|image| {
                let positions = spread(area, GRADIENT_POSITIONS, self.phase(image));
                (g.image(image), positions)
            });
            let places: Vec<(&[f32], Vec<usize>)> = places.collect();
            for (index, group) in sums.iter_mut().enumerate() {
                let mut part = Array2::zeros((rows, images.len() * each));
                for (r, mut row) in part.rows_mut().into_iter().enumerate() {
                    let from = (index * rows + r) * area;
                    let values = places
                        .iter()
                        .flat_map(|(image, at)| at.iter().map(move |p| image[from + p]));
                    row.iter_mut().zip(values).for_each(|(to, v)| *to = v);
                }
                group.add_gradients(&part, weight);
            }
        }
    }

    /// Exact Fisher block of each channel: the outer product of its weight gradient, image by image. G is 1.
    fn add_depthwise(&self, sums: &mut [PartialGroup]) {
        let (Some(x), Some(g)) = (Images::new(self.input), Images::new(self.gradient)) else {
            return;
        };
        let Some(window) = window(self.node, &x.extents, &g.extents) else {
            return;
        };
        let inputs = self.layer.cols / self.layer.period.max(1);
        let mut patches = Array2::zeros((self.layer.cols, g.area()));
        for image in 0..x.count {
            let plane = Plane {
                values: x.image(image),
                extents: &x.extents,
            };
            for (channel, group) in sums.iter_mut().enumerate() {
                let own = channel * inputs..(channel + 1) * inputs;
                unfold_all(plane, &window, own, &g.extents, &mut patches);
                let gradient = &g.image(image)[channel * g.area()..(channel + 1) * g.area()];
                let by_weight = Array2::from_shape_fn((self.layer.cols, 1), |(k, _)| {
                    dot(patches.row(k).as_slice().unwrap_or(&[]), gradient)
                });
                group.add_weight_gradient(by_weight.view());
            }
        }
    }

    /// Dense layers: vectors along the last axis or, with the weights on the left or a transposed input, the one before.
    fn add_dense(&self, sums: &mut [PartialGroup], along: Along) {
        let Some(group) = sums.first_mut() else {
            return;
        };
        let gradient_along = match &self.node.op {
            LayerOp::MatMul { .. } => along,
            _ => Along::Last,
        };
        let x = samples(self.input, self.layer.cols, along);
        let g = samples(self.gradient, self.layer.rows, gradient_along);
        group.add_patches(&x);
        // What weights do is multiplied by alpha on its way to the output.
        group.add_gradients(&g, self.node.op.alpha().powi(2));
    }
}

/// Patches (K × positions of all images) of an ungrouped layer's input; `output` is the shape of its output, and `numbers` are those of
/// the images among `expected` ones. None where the layer's geometry is not known.
pub(crate) fn patches_of(
    (layer, node): (&WeightLayer, &Layer),
    input: &ArrayD<f32>,
    output: &[usize],
    (numbers, expected): (&[usize], usize),
) -> Option<Array2<f32>> {
    let taps = LayerTaps {
        layer,
        node,
        input,
        gradient: input,
        numbers,
        is_first: true,
        expected,
    };
    let along = match &node.op {
        LayerOp::Gemm { trans_a, .. } => Along::last_unless(*trans_a),
        LayerOp::MatMul { side } => Along::last_unless(*side == Side::Left),
        _ => return taps.convolution_patches(output),
    };
    Some(samples(input, layer.cols, along))
}

/// Images whose columns, `each` of one, are multiplied together: few make a product that only moves its result about, and how many
/// depends on the layer alone.
fn together(images: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    let size = (COLUMNS / each.max(1)).max(1);
    let starts = (0..images).step_by(size);
    starts.map(move |first| first..(first + size).min(images))
}

/// The axis along which a dense layer's vectors lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Along {
    Last,
    BeforeLast,
}

impl Along {
    fn last_unless(before: bool) -> Self {
        if before { Self::BeforeLast } else { Self::Last }
    }
}

/// An array as length × samples.
fn samples(array: &ArrayD<f32>, length: usize, along: Along) -> Array2<f32> {
    let values = array.as_slice().unwrap_or(&[]);
    let count = values.len() / length.max(1);
    let inner = match along {
        Along::Last => 1,
        Along::BeforeLast => array.shape().last().copied().unwrap_or(1).max(1),
    };
    Array2::from_shape_fn((length, count), |(k, s)| {
        values[(s / inner) * length * inner + k * inner + s % inner]
    })
}

/// The kernel's geometry on an input of these extents; automatic padding follows from the sizes, the odd zero at the end
/// (SAME_UPPER, by far the common one).
fn window(node: &Layer, extents: &[usize], positions: &[usize]) -> Option<Window> {
    let (kernel, strides, pads, dilations, transposed) = match &node.op {
        LayerOp::Conv {
            kernel,
            strides,
            pads,
            dilations,
            ..
        } => (kernel, strides, pads, dilations, false),
        LayerOp::ConvTranspose {
            kernel,
            strides,
            pads,
            dilations,
            ..
        } => (kernel, strides, pads, dilations, true),
        LayerOp::Gemm { .. } | LayerOp::MatMul { .. } => return None,
    };
    let (wide, narrow) = if transposed {
        (positions, extents)
    } else {
        (extents, positions)
    };
    let begins = (0..kernel.len()).map(|axis| match pads {
        Some(pads) => pads[axis],
        None => {
            let steps = (narrow[axis].max(1) - 1) * strides[axis];
            let covered = steps + (kernel[axis].max(1) - 1) * dilations[axis] + 1;
            covered.saturating_sub(wide[axis]) / 2
        }
    });
    Some(Window {
        kernel: kernel.clone(),
        strides: strides.clone(),
        dilations: dilations.clone(),
        pads_begin: begins.collect(),
        transposed,
    })
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a8
        .remainder()
        .iter()
        .zip(b8.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a8.zip(b8) {
        for k in 0..8 {
            lanes[k] += x[k] * y[k];
        }
    }
    lanes.iter().sum::<f32>() + tail
}
