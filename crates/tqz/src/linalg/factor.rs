//! Factorisations of symmetric matrices: what successive quantization needs, Cholesky's, eigenproblems, equations solved.

use std::ops::Range;

use faer::linalg::solvers::Solve;
use faer::{MatRef, Side};
use ndarray::Array2;

use super::{BlockDiagonal, NumericalFailure, whole};

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

impl UnitUpper {
    /// Row `index` of M beyond the diagonal: what an error there pushes into each that comes after it.
    pub(crate) fn beyond(&self, index: usize) -> &[f32] {
        let row = self.m.row(index).to_slice();
        debug_assert!(row.is_some(), "made row by row");
        row.map_or(&[], |row| &row[index + 1..])
    }
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

fn to_array(view: MatRef<'_, f64>) -> Array2<f64> {
    Array2::from_shape_fn((view.nrows(), view.ncols()), |(r, c)| view[(r, c)])
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
    fn indefinite_matrices_are_refused() {
        let mut a = spd(4);
        a[(2, 2)] = -1.0;
        assert!(unit_upper(&a).is_err());
        assert!(cholesky_lower(&a).is_err());
        a[(0, 0)] = f64::NAN;
        assert!(symmetric_eigen(&a).is_err());
    }
}
