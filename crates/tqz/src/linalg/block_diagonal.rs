//! Block-diagonal symmetric matrices: products, damping and the cost of an error.

use ndarray::Array2;

use super::{Block, product};

/// A symmetric block-diagonal matrix: the second moment of patches, whole or cut into blocks of columns.
#[derive(Debug, Clone)]
pub(crate) struct BlockDiagonal<T> {
    /// Square blocks, in order.
    pub(crate) blocks: Vec<Array2<T>>,
}

impl<T: faer::traits::ComplexField + num_traits::Float> BlockDiagonal<T> {
    /// `x · A` for a matrix x whose columns the blocks cover.
    pub(crate) fn times(&self, x: &Array2<T>) -> Array2<T> {
        if let [whole] = &self.blocks[..] {
            return product(Block::whole(x), Block::whole(whole));
        }
        let mut out = Array2::from_elem(x.dim(), T::zero());
        let mut begin = 0;
        for block in &self.blocks {
            let end = begin + block.nrows();
            let part = product(
                Block::part(x, 0..x.nrows(), begin..end),
                Block::whole(block),
            );
            out.slice_mut(ndarray::s![.., begin..end]).assign(&part);
            begin = end;
        }
        out
    }

    /// The diagonal of all blocks.
    pub(crate) fn diagonal(&self) -> Vec<T> {
        let diagonals = self.blocks.iter().map(|block| block.diag().to_vec());
        diagonals.flatten().collect()
    }
}

impl BlockDiagonal<f64> {
    /// With a number added to the diagonal.
    pub(crate) fn plus(mut self, number: f64) -> Self {
        for block in &mut self.blocks {
            block.diag_mut().mapv_inplace(|v| v + number);
        }
        self
    }

    /// With every element multiplied by a number.
    pub(crate) fn times_number(mut self, number: f64) -> Self {
        for block in &mut self.blocks {
            block.mapv_inplace(|v| v * number);
        }
        self
    }

    /// The same in single precision.
    pub(crate) fn to_single(&self) -> BlockDiagonal<f32> {
        let single = |block: &Array2<f64>| block.mapv(|v| v as f32);
        BlockDiagonal {
            blocks: self.blocks.iter().map(single).collect(),
        }
    }
}

/// `tr(EᵗGE·A)`: the cost of an error E of the weights (n × K).
pub(crate) fn quadratic_cost(error: &Array2<f32>, a: &BlockDiagonal<f32>, g: &Array2<f32>) -> f64 {
    let ea = a.times(error);
    let ge = product(Block::whole(g), Block::whole(error));
    let cells = ea.iter().zip(&ge);
    cells.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// Mean diagonal of a block-diagonal matrix.
pub(crate) fn mean_diagonal_of_blocks(blocks: &[Array2<f32>]) -> f64 {
    let order: usize = blocks.iter().map(Array2::nrows).sum();
    let diagonals = blocks.iter().flat_map(|b| b.diag().to_vec());
    diagonals.map(f64::from).sum::<f64>() / order.max(1) as f64
}

/// [`super::damped`] for a block-diagonal matrix: one mean diagonal for all blocks.
pub(crate) fn damped_blocks(
    blocks: &[Array2<f32>],
    fraction: f64,
    empty: f64,
) -> BlockDiagonal<f64> {
    let mean = mean_diagonal_of_blocks(blocks);
    let add = if mean > 0.0 { fraction * mean } else { empty };
    let damp = |block: &Array2<f32>| {
        let mut out = block.mapv(f64::from);
        out.diag_mut().mapv_inplace(|v| v + add);
        out
    };
    BlockDiagonal {
        blocks: blocks.iter().map(damp).collect(),
    }
}
