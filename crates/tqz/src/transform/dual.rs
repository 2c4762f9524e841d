//! A basis and its dual for vectors of weights with given second-order statistics: KLT, ELT and fixed cosine transforms, and
//! the coding gain that each brings (paper Eqs. 9 to 12, Theorems 1 to 3).

use ndarray::Array2;

use crate::linalg::{
    Block, NumericalFailure, cholesky_lower, product, solve_positive, symmetric_eigen,
};

/// Covariances of vectors of weights: of their values and of the output's derivatives by them.
#[derive(Debug, Clone)]
pub(crate) struct Covariances {
    /// Cθθ, d × d.
    pub(crate) weights: Array2<f64>,
    /// Cγγ, d × d, positive definite.
    pub(crate) gradients: Array2<f64>,
}

/// Analysis `t = Uᵗw` and synthesis `w = V·t` with `VᵗU = I`; columns in falling order of energy.
#[derive(Debug, Clone)]
pub(crate) struct Dual {
    /// U, d × d.
    pub(crate) analysis: Array2<f64>,
    /// V = U⁻ᵗ, d × d.
    pub(crate) synthesis: Array2<f64>,
}

/// Coding gain of a transform over none (Eq. 11), as the ratio of distortions at one rate, split into its two factors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CodingGain {
    /// From decorrelating the weights.
    pub(crate) weights: f64,
    /// From decorrelating the gradients.
    pub(crate) gradients: f64,
}

impl Dual {
    /// Orthonormal eigenvectors of Cθθ (paper 3.2).
    ///
    /// # Errors
    /// No convergence.
    pub(crate) fn klt(of: &Covariances) -> Result<Self, NumericalFailure> {
        Ok(Self::orthonormal(symmetric_eigen(&of.weights)?.1))
    }

    /// `Cγγ = LLᵗ`, `LᵗCθθL = QΛQᵗ`: `U = LQ`, `V = L⁻ᵗQ = Cγγ⁻¹U` (Theorem 3, Eq. 12). Every coefficient has sensitivity 1.
    ///
    /// # Errors
    /// Cγγ not positive definite or no convergence.
    pub(crate) fn elt(of: &Covariances) -> Result<Self, NumericalFailure> {
        let l = cholesky_lower(&of.gradients)?;
        let cl = product(Block::whole(&of.weights), Block::whole(&l));
        let (_, q) = symmetric_eigen(&product(Block::whole(&l).t(), Block::whole(&cl)))?;
        let u = product(Block::whole(&l), Block::whole(&q));
        Ok(Self {
            synthesis: solve_positive(&of.gradients, &u)?,
            analysis: u,
        })
    }

    /// Any orthonormal basis, given by its vectors as columns.
    pub(crate) fn orthonormal(u: Array2<f64>) -> Self {
        Self {
            synthesis: u.clone(),
            analysis: u,
        }
    }

    /// Sensitivity of each coefficient: the diagonal of `VᵗCγγV`.
    pub(crate) fn sensitivities(&self, of: &Covariances) -> Vec<f64> {
        quadratic_diagonal(&self.synthesis, &of.gradients)
    }

    /// Coding gain (Eq. 11), its factors for basis vectors of length 1 in U: only their product depends on no scale.
    pub(crate) fn gain(&self, of: &Covariances) -> CodingGain {
        let lengths: Vec<f64> = self
            .analysis
            .columns()
            .into_iter()
            .map(|u| u.dot(&u))
            .collect();
        let scaled = |values: Vec<f64>, by: &dyn Fn(f64) -> f64| {
            let pairs = values.iter().zip(&lengths);
            pairs.map(|(v, &length)| v * by(length)).collect()
        };
        let ratio =
            |before: Vec<f64>, after: Vec<f64>| (log_mean(&before) - log_mean(&after)).exp();
        CodingGain {
            weights: ratio(
                of.weights.diag().to_vec(),
                scaled(quadratic_diagonal(&self.analysis, &of.weights), &f64::recip),
            ),
            gradients: ratio(
                of.gradients.diag().to_vec(),
                scaled(self.sensitivities(of), &|length| length),
            ),
        }
    }
}

impl CodingGain {
    /// The whole gain in decibel.
    pub(crate) fn decibel(self) -> f64 {
        10.0 * (self.weights * self.gradients).log10()
    }

    /// Bits per weight that it saves: `½·log2 G`.
    pub(crate) fn bits(self) -> f64 {
        0.5 * (self.weights * self.gradients).log2()
    }
}

/// Part of the largest variance below which there is none.
const DEAD: f64 = 1e-12;

/// Diagonal of `XᵗCX`.
pub(crate) fn quadratic_diagonal(x: &Array2<f64>, c: &Array2<f64>) -> Vec<f64> {
    let cx = product(Block::whole(c), Block::whole(x));
    let columns = x.columns().into_iter().zip(cx.columns());
    columns.map(|(x, cx)| x.dot(&cx)).collect()
}

/// Mean logarithm; numbers that rounding cannot tell from zero, as of dead channels, count as just that small.
pub(super) fn log_mean(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let logs = values.iter().map(|v| v.max(DEAD * largest).ln());
    logs.sum::<f64>() / values.len().max(1) as f64
}

/// Orthonormal cosine transform of the given kind over the positions of a kernel with these extents, separable; one basis
/// vector a column, lowest frequencies first along each axis.
pub(crate) fn cosine(kind: Cosine, extents: &[usize]) -> Array2<f64> {
    extents.iter().fold(Array2::ones((1, 1)), |all, &n| {
        ndarray::linalg::kron(&all, &kind.basis(n))
    })
}

/// Kinds of cosine transform (paper 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cosine {
    /// DCT-I: symmetric about the first and last element, made orthonormal.
    One,
    /// DCT-II.
    Two,
}

impl Cosine {
    /// Basis vectors as columns.
    fn basis(self, n: usize) -> Array2<f64> {
        use std::f64::consts::PI;
        if n < 2 {
            return Array2::ones((n, n));
        }
        match self {
            Self::Two => Array2::from_shape_fn((n, n), |(i, k)| {
                let scale = if k == 0 { 1.0 } else { 2.0_f64 };
                let angle = PI * (i as f64 + 0.5) * k as f64 / n as f64;
                (scale / n as f64).sqrt() * angle.cos()
            }),
            Self::One => Array2::from_shape_fn((n, n), |(i, k)| {
                let end = |x: usize| {
                    if x == 0 || x == n - 1 {
                        0.5_f64.sqrt()
                    } else {
                        1.0
                    }
                };
                let angle = PI * (i * k) as f64 / (n - 1) as f64;
                (2.0 / (n - 1) as f64).sqrt() * end(i) * end(k) * angle.cos()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_bases_are_orthonormal_and_begin_with_the_smoothest_vector() {
        for kind in [Cosine::One, Cosine::Two] {
            for extents in [&[1][..], &[3, 3], &[5, 5], &[2, 7], &[11, 11]] {
                let u = cosine(kind, extents);
                let gram = u.t().dot(&u) - Array2::<f64>::eye(u.nrows());
                assert!(gram.iter().all(|v| v.abs() < 1e-12), "{kind:?} {extents:?}");
                assert!(u.column(0).iter().all(|v| *v > 0.0));
            }
        }
    }
}
