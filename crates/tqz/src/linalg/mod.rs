//! The only room that imports the linear algebra crate. Everything here runs on one thread and returns the same bits on
//! every call: order and signs of eigenvectors are fixed, products are summed in one order.

mod block_diagonal;
mod factor;

use std::ops::Range;

use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::Array2;

pub(crate) use block_diagonal::{
    BlockDiagonal, damped_blocks, mean_diagonal_of_blocks, quadratic_cost,
};
pub(crate) use factor::{
    ColumnFactor, UnitUpper, cholesky_lower, solve_positive, symmetric_eigen, unit_upper,
};

/// A matrix was not positive definite or an iteration did not converge; the caller knows which layer it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumericalFailure;

/// Whether a product replaces the destination or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accumulate {
    /// `dst = alpha·a·b`
    Replace,
    /// `dst += alpha·a·b`
    Add,
}

/// A rectangular part of a row-major matrix, possibly transposed, as an operand of [`multiply`].
#[derive(Debug, Clone)]
pub(crate) struct Block<'a, T> {
    matrix: &'a Array2<T>,
    rows: Range<usize>,
    cols: Range<usize>,
    transposed: bool,
}

impl<'a, T: faer::traits::ComplexField> Block<'a, T> {
    /// The whole matrix.
    pub(crate) fn whole(matrix: &'a Array2<T>) -> Self {
        let (rows, cols) = matrix.dim();
        Self::part(matrix, 0..rows, 0..cols)
    }

    /// The rows and columns given.
    pub(crate) fn part(matrix: &'a Array2<T>, rows: Range<usize>, cols: Range<usize>) -> Self {
        Self {
            matrix,
            rows,
            cols,
            transposed: false,
        }
    }

    /// The transpose of this part.
    pub(crate) fn t(mut self) -> Self {
        self.transposed = !self.transposed;
        self
    }

    fn view(&self) -> MatRef<'_, T> {
        let part = whole(self.matrix).submatrix(
            self.rows.start,
            self.cols.start,
            self.rows.len(),
            self.cols.len(),
        );
        if self.transposed {
            part.transpose()
        } else {
            part
        }
    }
}

/// A row-major matrix as the library sees it.
fn whole<T: faer::traits::ComplexField>(matrix: &Array2<T>) -> MatRef<'_, T> {
    let (rows, cols) = matrix.dim();
    let values = matrix
        .as_slice()
        .unwrap_or_else(|| unreachable!("matrices of this crate are contiguous and row-major"));
    MatRef::from_row_major_slice(values, rows, cols)
}

fn whole_mut<T: faer::traits::ComplexField>(matrix: &mut Array2<T>) -> MatMut<'_, T> {
    let (rows, cols) = matrix.dim();
    let values = matrix
        .as_slice_mut()
        .unwrap_or_else(|| unreachable!("matrices of this crate are contiguous and row-major"));
    MatMut::from_row_major_slice_mut(values, rows, cols)
}

/// `dst[rows] (+)= alpha · a · b`, where `rows` are whole rows of the destination.
pub(crate) fn multiply<T: faer::traits::ComplexField>(
    dst: &mut Array2<T>,
    rows: Range<usize>,
    accumulate: Accumulate,
    (a, b): (Block<'_, T>, Block<'_, T>),
    alpha: T,
) {
    let beta = match accumulate {
        Accumulate::Replace => Accum::Replace,
        Accumulate::Add => Accum::Add,
    };
    let cols = dst.ncols();
    let dst = whole_mut(dst).submatrix_mut(rows.start, 0, rows.len(), cols);
    matmul(dst, beta, a.view(), b.view(), alpha, Par::Seq);
}

/// `a · b` as a new matrix.
pub(crate) fn product<T>(a: Block<'_, T>, b: Block<'_, T>) -> Array2<T>
where
    T: faer::traits::ComplexField + num_traits::Float,
{
    let shape = (a.view().nrows(), b.view().ncols());
    let mut out = Array2::from_elem(shape, T::zero());
    multiply(&mut out, 0..shape.0, Accumulate::Replace, (a, b), T::one());
    out
}

/// Adds `alpha · x·xᵗ` to the lower triangle of `gram`; `x` is length × samples. The upper triangle is left alone.
pub(crate) fn add_gram_lower(gram: &mut Array2<f32>, x: &Block<'_, f32>, alpha: f32) {
    let x = x.view();
    triangular::matmul(
        whole_mut(gram),
        triangular::BlockStructure::TriangularLower,
        Accum::Add,
        x,
        triangular::BlockStructure::Rectangular,
        x.transpose(),
        triangular::BlockStructure::Rectangular,
        alpha,
        Par::Seq,
    );
}

/// Trace divided by the order: the mean of the diagonal (0 for an empty matrix).
pub(crate) fn mean_diagonal<T: Copy + Into<f64>>(matrix: &Array2<T>) -> f64 {
    let n = matrix.nrows().max(1) as f64;
    matrix.diag().iter().map(|&v| v.into()).sum::<f64>() / n
}

/// `matrix + fraction · (mean diagonal) · I` in double precision; `empty · I` for a zero matrix.
pub(crate) fn damped(matrix: &Array2<f32>, fraction: f64, empty: f64) -> Array2<f64> {
    let mean = mean_diagonal(matrix);
    let add = if mean > 0.0 { fraction * mean } else { empty };
    let mut out = matrix.mapv(f64::from);
    out.diag_mut().mapv_inplace(|v| v + add);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_blocks_match_the_plain_definition() {
        let a = Array2::from_shape_fn((5, 7), |(r, c)| (r * 3 + c) as f32 * 0.25 - 2.0);
        let b = Array2::from_shape_fn((5, 4), |(r, c)| (r + 2 * c) as f32 * 0.5 - 1.0);
        let mut dst = Array2::from_elem((6, 4), 1.0_f32);
        let operands = (Block::part(&a, 1..4, 2..6).t(), Block::part(&b, 1..4, 0..4));
        multiply(&mut dst, 1..5, Accumulate::Add, operands, 2.0);
        for r in 0..6 {
            for c in 0..4 {
                let expected = if (1..5).contains(&r) {
                    1.0 + 2.0 * (1..4).map(|k| a[(k, r + 1)] * b[(k, c)]).sum::<f32>()
                } else {
                    1.0
                };
                assert!((dst[(r, c)] - expected).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn gram_adds_the_lower_triangle_only() {
        let x = Array2::from_shape_fn((4, 9), |(r, c)| (r as f32 - c as f32 * 1.5) * 0.3);
        let mut gram = Array2::zeros((4, 4));
        add_gram_lower(&mut gram, &Block::whole(&x), 0.5);
        let expected = x.dot(&x.t()) * 0.5;
        for ((r, c), value) in gram.indexed_iter() {
            let expected = if c <= r { expected[(r, c)] } else { 0.0 };
            assert!((value - expected).abs() < 1e-4);
        }
    }
}
