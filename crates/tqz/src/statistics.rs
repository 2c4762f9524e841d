//! Second-order statistics of a network on calibration images (theory §7): the encoder's knowledge of what an error in a
//! weight does to the output. Sums and counts, so that parts add up.

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::config::Metric;
use crate::linalg::mirror_lower;

/// Statistics of one weight tensor: one entry per group, or per channel for a depthwise layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerStatistics {
    /// One for an ungrouped layer; one per group, or per row of a depthwise layer.
    pub groups: Vec<GroupStatistics>,
}

/// Sums of second moments of one group of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatistics {
    /// Σ x·xᵗ over patches x of the layer's input, K × K, lower triangle.
    input_sum: Array2<f32>,
    /// Number of patches in the sum.
    input_count: f64,
    /// Σ g·gᵗ over output positions and images, n × n, lower triangle.
    output_sum: Array2<f32>,
    /// Number of images in the sum.
    output_count: f64,
}

impl GroupStatistics {
    /// Empty sums for patches of length `cols` and `rows` output channels.
    pub(crate) fn new(rows: usize, cols: usize) -> Self {
        Self {
            input_sum: Array2::zeros((cols, cols)),
            input_count: 0.0,
            output_sum: Array2::zeros((rows, rows)),
            output_count: 0.0,
        }
    }

    /// Where patches' products are added (lower triangle); count them with [`Self::count_input`].
    pub(crate) fn input_sum_mut(&mut self) -> &mut Array2<f32> {
        &mut self.input_sum
    }

    /// So many patches were added.
    pub(crate) fn count_input(&mut self, patches: f64) {
        self.input_count += patches;
    }

    /// Where gradients' products are added (lower triangle); count the images with [`Self::count_output`].
    pub(crate) fn output_sum_mut(&mut self) -> &mut Array2<f32> {
        &mut self.output_sum
    }

    /// So many images were added.
    pub(crate) fn count_output(&mut self, images: f64) {
        self.output_count += images;
    }

    /// A = E[x·xᵗ]: mean over images and positions, K × K.
    pub fn input(&self) -> Array2<f32> {
        normalised(&self.input_sum, self.input_count)
    }

    /// G = E[Σ_p J_pᵗJ_p]: summed over positions, mean over images, n × n.
    pub fn output(&self) -> Array2<f32> {
        normalised(&self.output_sum, self.output_count)
    }

    /// Number of patches seen.
    pub fn patches(&self) -> f64 {
        self.input_count
    }
}

fn normalised(sum: &Array2<f32>, count: f64) -> Array2<f32> {
    let mut out = if count > 0.0 {
        sum.mapv(|v| (f64::from(v) / count) as f32)
    } else {
        sum.clone()
    };
    mirror_lower(&mut out);
    out
}

/// Statistics of all weight tensors of a network, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// By name of the weight tensor.
    pub layers: BTreeMap<String, LayerStatistics>,
    /// Number of images seen.
    pub images: u64,
    /// Which distortion G measures; never `Auto`.
    pub metric: Metric,
}
