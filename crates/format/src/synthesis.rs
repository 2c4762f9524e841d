//! From blocks to the tensor: `W = S·T` in f64, terms added in the order of `l`, no fused operations, one
//! rounding to f32, elements put where the layout says.

use crate::error::FormatError;
use crate::level_matrix::LevelMatrix;
use crate::record::{Block, BlockCoding, LayerRecord, Layout, MatrixShape};

/// Columns of a tile of the result: with the rows of T that feed it, it stays in the first-level cache.
const TILE: usize = 256;

impl LayerRecord {
    /// The tensor's values in its original layout, row-major over `dims`.
    ///
    /// # Errors
    /// If the record contradicts itself, a value is too large for f32, or memory runs out.
    pub fn reconstruct(&self) -> Result<Vec<f32>, FormatError> {
        self.validate()?;
        let shape = self.shape()?;
        let mut tensor = Vec::new();
        let elements = shape.rows * shape.cols;
        tensor
            .try_reserve_exact(elements)
            .map_err(|_| FormatError::Memory {
                what: "weights",
                bytes: 4 * elements as u64,
            })?;
        tensor.resize(elements, 0.0f32);
        let mut first = 0;
        for block in &self.blocks {
            let placement = Placement {
                layout: self.layout,
                shape,
                first,
            };
            block.synthesize(&placement, &mut tensor);
            first += block.rows;
        }
        match tensor.iter().position(|w| !w.is_finite()) {
            Some(index) => Err(FormatError::NotFinite {
                index: index as u64,
            }),
            None => Ok(tensor),
        }
    }
}

/// Where a block's rows go in the tensor.
struct Placement {
    layout: Layout,
    shape: MatrixShape,
    /// First row of the block.
    first: usize,
}

impl Placement {
    /// Writes columns `start..start + values.len()` of the block's row `row`.
    fn put(&self, tensor: &mut [f32], row: usize, start: usize, values: &[f64]) {
        let row = self.first + row;
        let (rows, cols, period) = (self.shape.rows, self.shape.cols, self.shape.period);
        match self.layout {
            Layout::RowsFirst => {
                let to = &mut tensor[row * cols + start..][..values.len()];
                for (to, &value) in to.iter_mut().zip(values) {
                    *to = value as f32;
                }
            }
            Layout::ColumnsFirst => {
                for (j, &value) in (start..).zip(values) {
                    tensor[j * rows + row] = value as f32;
                }
            }
            Layout::Transposed { groups } => {
                let per_group = rows / groups as usize;
                let (group, output) = (row / per_group, row % per_group);
                let inputs = cols / period;
                for (j, &value) in (start..).zip(values) {
                    let input = group * inputs + j / period;
                    tensor[(input * per_group + output) * period + j % period] = value as f32;
                }
            }
        }
    }
}

impl Block {
    fn synthesize(&self, placement: &Placement, tensor: &mut [f32]) {
        match &self.coding {
            BlockCoding::Identity { weights } => {
                let values = weights.active_values();
                let cols = weights.spec.cols.max(1);
                for (&r, row) in weights.active.iter().zip(values.chunks_exact(cols)) {
                    placement.put(tensor, r as usize, 0, row);
                }
            }
            BlockCoding::Column { t, s } => column(t, s, placement, tensor),
            BlockCoding::Row { t, s } => {
                let (values, basis) = (t.active_values(), s.active_values());
                let rows = t.active.iter().zip(values.chunks_exact(t.spec.cols.max(1)));
                rows.for_each(|(&r, row)| {
                    let row = inputs(row, t.spec.period, (s, &basis));
                    placement.put(tensor, r as usize, 0, &row);
                });
            }
            BlockCoding::Kernel { t, s } => kernel(t, s, placement, tensor),
            BlockCoding::Both { t, s, v } => both(t, (s, v), placement, tensor),
        }
    }
}

/// Adds `factor · from` to `to`, element by element.
#[inline]
fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// `W[r,j] = sum over l of S[r,l]·T[l,j]`, tile of columns after tile; within a tile, four rows of W share
/// each row of T that is read. Rows of T and S without levels add nothing and are skipped: the sums start at
/// +0 and adding a zero of either sign then changes no bit.
fn column(t: &LevelMatrix, s: &LevelMatrix, placement: &Placement, tensor: &mut [f32]) {
    let (coefficients, basis) = (t.active_values(), s.active_values());
    let (cols, inner) = (t.spec.cols, s.spec.cols);
    let mut sums = vec![0.0; TILE];
    for start in (0..cols).step_by(TILE) {
        let width = TILE.min(cols - start);
        for (index, &r) in s.active.iter().enumerate() {
            let factors = &basis[index * inner..(index + 1) * inner];
            let sums = &mut sums[..width];
            sums.fill(0.0);
            for (at, &l) in t.active.iter().enumerate() {
                let factor = factors[l as usize];
                if factor != 0.0 {
                    add_scaled(sums, factor, &coefficients[at * cols + start..][..width]);
                }
            }
            placement.put(tensor, r as usize, start, sums);
        }
    }
}

/// `W[i·kk + p] = sum over l of T[l·kk + p]·S[l,i]` of one row; `basis` holds the values of S.
fn inputs(factors: &[f64], period: usize, (s, basis): (&LevelMatrix, &[f64])) -> Vec<f64> {
    let channels = s.spec.cols;
    let mut sums = vec![0.0; channels];
    let mut values = vec![0.0; channels * period];
    for p in 0..period {
        sums.fill(0.0);
        for (at, &l) in s.active.iter().enumerate() {
            let factor = factors[l as usize * period + p];
            if factor != 0.0 {
                add_scaled(&mut sums, factor, &basis[at * channels..][..channels]);
            }
        }
        for (i, &sum) in sums.iter().enumerate() {
            values[i * period + p] = sum;
        }
    }
    values
}

/// `W[r, i·kk + p] = sum over l of T[r, i·k + l]·S[l,p]`, row after row.
fn kernel(t: &LevelMatrix, s: &LevelMatrix, placement: &Placement, tensor: &mut [f32]) {
    let (coefficients, basis) = (t.active_values(), s.active_values());
    let (inner, positions) = (s.spec.rows.max(1), s.spec.cols);
    let mut values = vec![0.0; placement.shape.cols];
    let rows = coefficients.chunks_exact(t.spec.cols.max(1));
    for (&r, row) in t.active.iter().zip(rows) {
        values.fill(0.0);
        let kernels = values.chunks_exact_mut(positions);
        for (sums, factors) in kernels.zip(row.chunks_exact(inner)) {
            for (at, &l) in s.active.iter().enumerate() {
                let factor = factors[l as usize];
                if factor != 0.0 {
                    add_scaled(sums, factor, &basis[at * positions..][..positions]);
                }
            }
        }
        placement.put(tensor, r as usize, 0, &values);
    }
}

/// First the rows `X[r,j] = sum over l of S[r,l]·T[l,j]`, then the inputs of each.
fn both(
    t: &LevelMatrix,
    (s, v): (&LevelMatrix, &LevelMatrix),
    placement: &Placement,
    tensor: &mut [f32],
) {
    let (coefficients, basis) = (t.active_values(), s.active_values());
    let (cols, inner, of_inputs) = (t.spec.cols, s.spec.cols, v.active_values());
    for (index, &r) in s.active.iter().enumerate() {
        let mut sums = vec![0.0; cols];
        for (at, &l) in t.active.iter().enumerate() {
            let factor = basis[index * inner + l as usize];
            if factor != 0.0 {
                add_scaled(&mut sums, factor, &coefficients[at * cols..][..cols]);
            }
        }
        placement.put(
            tensor,
            r as usize,
            0,
            &inputs(&sums, t.spec.period, (v, &of_inputs)),
        );
    }
}
