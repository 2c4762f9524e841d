//! What a few images add to a layer's statistics: single-precision sums that fast products are accumulated in, before they
//! go into the double-precision ones.

use ndarray::{Array2, ArrayView2};

use crate::linalg::{Block, add_gram_lower};
use crate::statistics::{GroupStatistics, LayerStatistics};

/// Partial sums of one group; lower triangles.
#[derive(Debug, Clone)]
pub(crate) struct PartialGroup {
    input: Vec<Array2<f32>>,
    patches: f64,
    output: Array2<f32>,
    images: f64,
}

impl PartialGroup {
    /// Empty sums of the same shape as `group`.
    fn like(group: &GroupStatistics) -> Self {
        let square = |order: usize| Array2::zeros((order, order));
        Self {
            input: group.input.iter().map(|m| square(m.order())).collect(),
            patches: 0.0,
            output: square(group.output.order()),
            images: 0.0,
        }
    }

    /// Adds x·xᵗ of the columns of `patches` (K × patches), block by block.
    pub(crate) fn add_patches(&mut self, patches: &Array2<f32>) {
        let mut begin = 0;
        for sum in &mut self.input {
            let end = begin + sum.nrows();
            let rows = Block::part(patches, begin..end, 0..patches.ncols());
            add_gram_lower(sum, &rows, 1.0);
            begin = end;
        }
        self.patches += patches.ncols() as f64;
    }

    /// Adds `weight · g·gᵗ` of the columns of `gradients` (n × positions).
    pub(crate) fn add_gradients(&mut self, gradients: &Array2<f32>, weight: f32) {
        add_gram_lower(&mut self.output, &Block::whole(gradients), weight);
    }

    /// Counts images, whatever they added.
    pub(crate) fn add_images(&mut self, images: usize) {
        self.images += images as f64;
    }

    /// One image's exact Fisher block of a channel: the outer product of the gradient of its weights. Its G is 1.
    pub(crate) fn add_weight_gradient(&mut self, gradient: ArrayView2<'_, f32>) {
        self.add_patches(&gradient.as_standard_layout().into_owned());
        self.output[(0, 0)] += 1.0;
    }
}

/// Empty partial sums for every group of a layer.
pub(crate) fn partial_sums(layer: &LayerStatistics) -> Vec<PartialGroup> {
    layer.groups.iter().map(PartialGroup::like).collect()
}

impl LayerStatistics {
    /// Takes partial sums in.
    pub(crate) fn absorb(&mut self, partial: &[PartialGroup]) {
        for (group, part) in self.groups.iter_mut().zip(partial) {
            for (sum, block) in group.input.iter_mut().zip(&part.input) {
                sum.add_lower(block, part.patches);
            }
            group.output.add_lower(&part.output, part.images);
        }
    }
}
