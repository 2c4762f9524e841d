//! Column transforms `T = UᵗW`, `W = S·T`: the KLT of the layer's output energy and the End-to-end Learned Transform,
//! which diagonalises the output energy and the output-gradient covariance together (paper Eq. 12, Theorem 3).

use ndarray::{Array2, Axis};

use crate::config::Basis;
use crate::linalg::{
    Block, BlockDiagonal, NumericalFailure, cholesky_lower, product, symmetric_eigen,
};

/// A column transform of one layer, rows of T in falling order of energy.
#[derive(Debug, Clone)]
pub(crate) struct ColumnBasis {
    /// Transform-domain kernels, n × K.
    pub(crate) t: Array2<f32>,
    /// Sensitivity of each row of T: the second derivative of the distortion along it (1 for the ELT).
    pub(crate) row_sensitivity: Vec<f64>,
    /// Distortion that leaving out each row alone causes.
    pub(crate) energy: Vec<f64>,
}

/// Builds the transform from weights W (n × K), the damped input second moment A (K × K) and the damped output-gradient
/// second moment G (n × n). The covariance that is diagonalised is `W·A·Wᵗ`, the weights' covariance as the inputs see it.
///
/// # Errors
/// G not positive definite or no convergence.
pub(crate) fn column_basis(
    basis: Basis,
    weights: &Array2<f32>,
    a: &BlockDiagonal<f64>,
    g: &Array2<f64>,
) -> Result<ColumnBasis, NumericalFailure> {
    let w = weights.mapv(f64::from);
    let wa = a.times(&w);
    let c = product(Block::whole(&wa), Block::whole(&w).t());
    match basis {
        Basis::Klt => klt(&w, &c, g),
        Basis::Elt => elt(&w, &c, g),
    }
}

/// Orthonormal eigenvectors U of C, in falling order of what their rows of T do to the output: `T = UᵗW`, `S = U`; row k has sensitivity `(UᵗGU)_kk`.
fn klt(w: &Array2<f64>, c: &Array2<f64>, g: &Array2<f64>) -> Result<ColumnBasis, NumericalFailure> {
    let (values, u) = symmetric_eigen(c)?;
    let t = product(Block::whole(&u).t(), Block::whole(w));
    let gu = product(Block::whole(g), Block::whole(&u));
    let sensitivity = |k: usize| u.column(k).dot(&gu.column(k));
    let mut rows: Vec<(usize, f64)> = (0..u.ncols()).map(|k| (k, sensitivity(k))).collect();
    let energy = |&(k, s): &(usize, f64)| values[k] * s;
    rows.sort_by(|a, b| energy(b).total_cmp(&energy(a)));
    let numbers: Vec<usize> = rows.iter().map(|(k, _)| *k).collect();
    Ok(ColumnBasis {
        t: t.select(Axis(0), &numbers).mapv(|v| v as f32),
        energy: rows.iter().map(energy).collect(),
        row_sensitivity: rows.into_iter().map(|(_, s)| s).collect(),
    })
}

/// `G = LLᵗ`, eigenvectors V of `LᵗCL`: `T = VᵗLᵗW`, `S = L⁻ᵗV`; every row of T has sensitivity 1.
fn elt(w: &Array2<f64>, c: &Array2<f64>, g: &Array2<f64>) -> Result<ColumnBasis, NumericalFailure> {
    let l = cholesky_lower(g)?;
    let cl = product(Block::whole(c), Block::whole(&l));
    let (values, v) = symmetric_eigen(&product(Block::whole(&l).t(), Block::whole(&cl)))?;
    let u = product(Block::whole(&l), Block::whole(&v));
    let t = product(Block::whole(&u).t(), Block::whole(w));
    Ok(ColumnBasis {
        t: t.mapv(|x| x as f32),
        row_sensitivity: vec![1.0; g.nrows()],
        energy: values.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, cols: usize, seed: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, cols), |(r, c)| {
            ((r * 31 + c * 17 + r * c * 7 + seed * 13) % 23) as f64 / 23.0 - 0.45
        })
    }

    fn whole(a: &Array2<f64>) -> BlockDiagonal<f64> {
        BlockDiagonal {
            blocks: vec![a.clone()],
        }
    }

    fn gram(rows: usize, cols: usize, seed: usize) -> Array2<f64> {
        let x = matrix(rows, cols, seed);
        let mut out = x.dot(&x.t());
        out.diag_mut().mapv_inplace(|v| v + 0.1);
        out
    }

    #[test]
    fn elt_rows_are_uncorrelated_with_unit_sensitivity() {
        let (w, a, g) = (
            matrix(6, 10, 1).mapv(|v| v as f32),
            gram(10, 14, 2),
            gram(6, 9, 3),
        );
        let basis = column_basis(Basis::Elt, &w, &whole(&a), &g).expect("definite");
        let t = basis.t.mapv(f64::from);
        let energy = t.dot(&a).dot(&t.t());
        for r in 0..6 {
            for c in 0..6 {
                if r != c {
                    assert!(
                        energy[(r, c)].abs() < 1e-5,
                        "rows {r} and {c} are correlated"
                    );
                }
            }
        }
        assert!((1..6).all(|r| energy[(r, r)] <= energy[(r - 1, r - 1)] + 1e-9));
        // W = S·T with S = W·Tᵗ·(T·Tᵗ)⁻¹; the sensitivity of row k of T is (SᵗGS)_kk.
        let tt = t.dot(&t.t());
        let wt = w.mapv(f64::from).dot(&t.t());
        let s = crate::linalg::solve_positive(&tt, &wt.t().as_standard_layout().into_owned())
            .expect("solvable");
        let sensitivity = s.dot(&g).dot(&s.t());
        assert!(
            (0..6).all(|k| (sensitivity[(k, k)] - 1.0).abs() < 1e-3),
            "{:?}",
            sensitivity.diag()
        );
    }

    #[test]
    fn klt_is_orthonormal_and_keeps_the_energy() {
        let (w, a, g) = (
            matrix(5, 8, 4).mapv(|v| v as f32),
            Array2::eye(8),
            gram(5, 9, 5),
        );
        let basis = column_basis(Basis::Klt, &w, &whole(&a), &g).expect("definite");
        let energy = |m: &Array2<f32>| m.iter().map(|v| f64::from(v * v)).sum::<f64>();
        assert!((energy(&w) - energy(&basis.t)).abs() < 1e-4);
        let total: f64 = basis.row_sensitivity.iter().sum();
        assert!((total - g.diag().sum()).abs() < 1e-6);
    }
}
