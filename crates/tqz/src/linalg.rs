//! The only room that imports the linear algebra crate. Everything here runs on one thread and returns the same bits on
//! every call: order and signs of eigenvectors are fixed, products are summed in one order.

use std::ops::Range;

use faer::linalg::matmul::{matmul, triangular};
use faer::linalg::solvers::Solve;
use faer::{Accum, MatMut, MatRef, Par, Side};
use ndarray::Array2;

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

fn to_array(view: MatRef<'_, f64>) -> Array2<f64> {
    Array2::from_shape_fn((view.nrows(), view.ncols()), |(r, c)| view[(r, c)])
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

/// [`damped`] for a block-diagonal matrix: one mean diagonal for all blocks.
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

/// What pushes errors along the columns: the factors of the blocks of A, in order.
#[derive(Debug, Clone)]
pub(crate) struct ColumnFactor {
    /// One per block.
    pub(crate) blocks: Vec<UnitUpper>,
}

impl ColumnFactor {
    /// Factors every block.
    ///
    /// # Errors
    /// A block that is not positive definite.
    pub(crate) fn new(a: &BlockDiagonal<f64>) -> Result<Self, NumericalFailure> {
        let blocks = a.blocks.iter().map(unit_upper).collect::<Result<_, _>>()?;
        Ok(Self { blocks })
    }

    /// Conditional sensitivities of all columns.
    pub(crate) fn d(&self) -> Vec<f64> {
        self.blocks.iter().flat_map(|b| b.d.clone()).collect()
    }

    /// The columns of each block.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let mut begin = 0;
        let range = |block: &UnitUpper| {
            let start = begin;
            begin += block.d.len();
            start..begin
        };
        self.blocks.iter().map(range).collect()
    }
}

/// The factors of `A = M·diag(d)·Mᵗ` with M unit upper triangular: what successive quantization from the first column
/// to the last needs. `d[j]` is the conditional sensitivity of column j given the columns after it.
#[derive(Debug, Clone)]
pub(crate) struct UnitUpper {
    /// Unit upper triangular, order K.
    pub(crate) m: Array2<f32>,
    /// Conditional sensitivities, all positive.
    pub(crate) d: Vec<f64>,
}

/// Factors a symmetric positive definite matrix as `M·diag(d)·Mᵗ` (a Cholesky factorisation from the last row up).
pub(crate) fn unit_upper(a: &Array2<f64>) -> Result<UnitUpper, NumericalFailure> {
    let n = a.nrows();
    let reversed = Array2::from_shape_fn((n, n), |(r, c)| a[(n - 1 - r, n - 1 - c)]);
    let llt = whole(&reversed)
        .llt(Side::Lower)
        .map_err(|_| NumericalFailure)?;
    let l = llt.L();
    let diagonal: Vec<f64> = (0..n).map(|j| l[(n - 1 - j, n - 1 - j)]).collect();
    if diagonal.iter().any(|v| !v.is_finite() || *v <= 0.0) {
        return Err(NumericalFailure);
    }
    let m = Array2::from_shape_fn((n, n), |(r, c)| {
        if r > c {
            0.0
        } else {
            (l[(n - 1 - r, n - 1 - c)] / diagonal[c]) as f32
        }
    });
    let d = diagonal.iter().map(|v| v * v).collect();
    Ok(UnitUpper { m, d })
}

/// The lower Cholesky factor of a symmetric positive definite matrix.
pub(crate) fn cholesky_lower(a: &Array2<f64>) -> Result<Array2<f64>, NumericalFailure> {
    let llt = whole(a).llt(Side::Lower).map_err(|_| NumericalFailure)?;
    let n = a.nrows();
    let l = llt.L();
    let out = Array2::from_shape_fn((n, n), |(r, c)| if c > r { 0.0 } else { l[(r, c)] });
    if out.diag().iter().all(|v| v.is_finite() && *v > 0.0) {
        Ok(out)
    } else {
        Err(NumericalFailure)
    }
}

/// Eigenvalues in falling order and the eigenvectors as columns; of each vector the component of largest magnitude (the
/// first of them) is positive.
pub(crate) fn symmetric_eigen(
    a: &Array2<f64>,
) -> Result<(Vec<f64>, Array2<f64>), NumericalFailure> {
    if a.iter().any(|v| !v.is_finite()) {
        return Err(NumericalFailure);
    }
    let n = a.nrows();
    let eigen = whole(a)
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| NumericalFailure)?;
    let rising: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let vectors = eigen.U();
    let mut out = Array2::zeros((n, n));
    for c in 0..n {
        let source = vectors.col(n - 1 - c);
        let mut peak = 0.0_f64;
        for r in 0..n {
            if source[r].abs() > peak.abs() * (1.0 + 1e-9) {
                peak = source[r];
            }
        }
        let sign = if peak < 0.0 { -1.0 } else { 1.0 };
        for r in 0..n {
            out[(r, c)] = sign * source[r];
        }
    }
    Ok((rising.into_iter().rev().collect(), out))
}

/// Solves `p · x = b` for a symmetric positive definite `p`.
pub(crate) fn solve_positive(
    p: &Array2<f64>,
    b: &Array2<f64>,
) -> Result<Array2<f64>, NumericalFailure> {
    let llt = whole(p).llt(Side::Lower).map_err(|_| NumericalFailure)?;
    let x = llt.solve(whole(b));
    let out = to_array(x.as_ref());
    if out.iter().all(|v| v.is_finite()) {
        Ok(out)
    } else {
        Err(NumericalFailure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spd(n: usize) -> Array2<f64> {
        let x = Array2::from_shape_fn((n, n + 3), |(r, c)| {
            ((r * 7 + c * 13 + r * c * 5) % 17) as f64 / 17.0 - 0.4
        });
        let mut a = x.dot(&x.t());
        a.diag_mut().mapv_inplace(|v| v + 0.05);
        a
    }

    fn assert_close(a: &Array2<f64>, b: &Array2<f64>, bound: f64) {
        let worst = (a - b).iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        assert!(worst < bound, "largest difference {worst}");
    }

    #[test]
    fn unit_upper_factors_multiply_back() {
        let a = spd(12);
        let f = unit_upper(&a).expect("positive definite");
        let m = f.m.mapv(f64::from);
        let d = Array2::from_diag(&ndarray::Array1::from(f.d.clone()));
        assert_close(&m.dot(&d).dot(&m.t()), &a, 1e-5);
        assert!((0..12).all(|i| f.m[(i, i)] == 1.0));
    }

    #[test]
    fn last_conditional_sensitivity_is_the_diagonal_entry() {
        let a = spd(6);
        let f = unit_upper(&a).expect("positive definite");
        assert!((f.d[5] - a[(5, 5)]).abs() < 1e-12);
    }

    #[test]
    fn eigenvectors_are_sorted_signed_and_orthonormal() {
        let a = spd(9);
        let (values, v) = symmetric_eigen(&a).expect("symmetric");
        assert!(values.windows(2).all(|w| w[0] >= w[1]));
        let lambda = Array2::from_diag(&ndarray::Array1::from(values));
        assert_close(&v.dot(&lambda).dot(&v.t()), &a, 1e-9);
        for column in v.columns() {
            let peak = column.iter().fold(
                0.0_f64,
                |m, &x| if x.abs() > m.abs() + 1e-9 { x } else { m },
            );
            assert!(peak > 0.0);
        }
    }

    #[test]
    fn solving_undoes_multiplying() {
        let a = spd(8);
        let b = Array2::from_shape_fn((8, 3), |(r, c)| r as f64 - 2.0 * c as f64);
        let x = solve_positive(&a, &b).expect("positive definite");
        assert_close(&a.dot(&x), &b, 1e-9);
        let l = cholesky_lower(&a).expect("positive definite");
        assert_close(&l.dot(&l.t()), &a, 1e-10);
    }

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

    #[test]
    fn indefinite_matrices_are_refused() {
        let mut a = spd(4);
        a[(2, 2)] = -1.0;
        assert!(unit_upper(&a).is_err());
        assert!(cholesky_lower(&a).is_err());
        a[(0, 0)] = f64::NAN;
        assert!(symmetric_eigen(&a).is_err());
    }
}
