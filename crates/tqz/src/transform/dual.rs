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
fn log_mean(values: &[f64]) -> f64 {
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
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// A random positive definite matrix of condition around 10^`decades`.
    fn random(d: usize, decades: f64, rng: &mut Pcg64) -> Array2<f64> {
        let x = Array2::from_shape_fn((d, 2 * d), |(r, _)| {
            (rng.random::<f64>() - 0.5) * 10f64.powf(-decades * r as f64 / (2.0 * d as f64))
        });
        let mix = Array2::from_shape_fn((d, d), |_| rng.random::<f64>() - 0.5);
        let y = mix.dot(&x);
        y.dot(&y.t()) + Array2::<f64>::eye(d) * 1e-4
    }

    fn problems() -> Vec<Covariances> {
        let mut rng = Pcg64::seed_from_u64(3);
        (0..6)
            .map(|k| Covariances {
                weights: random(12, 1.0 + k as f64 / 2.0, &mut rng),
                gradients: random(12, 2.0, &mut rng),
            })
            .collect()
    }

    fn total(gain: CodingGain) -> f64 {
        gain.weights * gain.gradients
    }

    /// Theorem 3 and Appendix B: `VᵗU = I`, `UᵗCθθU` diagonal, `VᵗCγγV = I`; the gain reaches Hadamard's bound.
    #[test]
    fn elt_diagonalises_both_covariances_and_reaches_the_bound() {
        for of in problems() {
            let elt = Dual::elt(&of).expect("regular");
            let identity = elt.synthesis.t().dot(&elt.analysis);
            let gradients = elt.synthesis.t().dot(&of.gradients).dot(&elt.synthesis);
            for matrix in [identity, gradients] {
                let off = &matrix - &Array2::<f64>::eye(12);
                assert!(off.iter().all(|v| v.abs() < 1e-6), "{off:?}");
            }
            let energy = elt.analysis.t().dot(&of.weights).dot(&elt.analysis);
            let peak = energy[(0, 0)];
            assert!(
                energy
                    .indexed_iter()
                    .all(|((r, c), v)| r == c || v.abs() < 1e-9 * peak)
            );
            assert!(energy.diag().windows(2).into_iter().all(|w| w[0] >= w[1]));
            let (values_c, _) = symmetric_eigen(&of.weights).expect("symmetric");
            let (values_g, _) = symmetric_eigen(&of.gradients).expect("symmetric");
            let bound = log_mean(&of.weights.diag().to_vec())
                + log_mean(&of.gradients.diag().to_vec())
                - log_mean(&values_c)
                - log_mean(&values_g);
            assert!((total(elt.gain(&of)).ln() - bound).abs() < 1e-6);
        }
    }

    /// No transform gains more than the ELT; the KLT gains at least nothing in its own factor.
    #[test]
    fn elt_gains_at_least_as_much_as_klt_identity_and_a_thousand_random_transforms() {
        let mut rng = Pcg64::seed_from_u64(5);
        for of in problems() {
            let elt = total(Dual::elt(&of).expect("regular").gain(&of));
            let klt = Dual::klt(&of).expect("symmetric");
            assert!(klt.gain(&of).weights >= 1.0 - 1e-9);
            assert!(elt >= total(klt.gain(&of)) && elt >= 1.0);
            for _ in 0..1000 / 6 + 1 {
                let u = Array2::from_shape_fn((12, 12), |_| rng.random::<f64>() - 0.5);
                let gram = u.dot(&u.t());
                let Ok(synthesis) = solve_positive(&gram, &u) else {
                    continue;
                };
                let any = Dual {
                    analysis: u,
                    synthesis,
                };
                assert!(total(any.gain(&of)) <= elt * (1.0 + 1e-9));
            }
        }
    }

    /// Appendix B: for one dense layer the KLT is the left singular basis of W; the ELT is a generalised one: `T = UᵗW` has
    /// orthogonal rows, and `V` is orthonormal in the metric of Cγγ.
    #[test]
    fn transforms_of_a_matrix_are_its_singular_and_generalised_singular_bases() {
        let mut rng = Pcg64::seed_from_u64(9);
        let w = Array2::from_shape_fn((12, 40), |_| rng.random::<f64>() - 0.5);
        let of = Covariances {
            weights: w.dot(&w.t()) / 40.0,
            gradients: random(12, 2.0, &mut rng),
        };
        let singular = symmetric_eigen(&w.dot(&w.t())).expect("symmetric").0;
        for dual in [
            Dual::klt(&of).expect("symmetric"),
            Dual::elt(&of).expect("regular"),
        ] {
            let t = dual.analysis.t().dot(&w);
            let gram = t.dot(&t.t());
            let peak = gram.diag().iter().fold(0.0_f64, |m, v| m.max(*v));
            assert!(
                gram.indexed_iter()
                    .all(|((r, c), v)| r == c || v.abs() < 1e-9 * peak)
            );
            let back = dual.synthesis.dot(&t) - &w;
            assert!(back.iter().all(|v| v.abs() < 1e-8));
        }
        let t = Dual::klt(&of).expect("symmetric").analysis.t().dot(&w);
        for (row, value) in t.rows().into_iter().zip(singular) {
            assert!((row.dot(&row) - value).abs() < 1e-9);
        }
    }

    /// Theorems 1 and 2 (Eqs. 9, 10): with steps of equal weighted size, the distortion measured at the measured rate is the closed
    /// form's, with the constant πe/6 of an entropy-coded uniform quantizer.
    #[test]
    fn closed_forms_predict_the_distortion_of_gaussian_sources_at_high_rate() {
        let mut rng = Pcg64::seed_from_u64(11);
        let samples = 30_000;
        for _ in 0..3 {
            // Of moderate spread: the entropy of thousands of levels could not be measured on so few samples.
            let [weights, gradients] = [(); 2].map(|()| {
                let all = random(12, 0.5, &mut rng);
                let part = all.diag().sum() / 12.0;
                all + Array2::<f64>::eye(12) * part * 0.2
            });
            let of = Covariances { weights, gradients };
            let l = cholesky_lower(&of.weights).expect("regular");
            let white = Array2::from_shape_fn((12, samples), |_| {
                (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
            });
            let w = l.dot(&white);
            let none = Dual::orthonormal(Array2::eye(12));
            let klt = Dual::klt(&of).expect("symmetric");
            let elt = Dual::elt(&of).expect("regular");
            for dual in [none, klt, elt] {
                let t = dual.analysis.t().dot(&w);
                let sensitivity = dual.sensitivities(&of);
                let variance = quadratic_diagonal(&dual.analysis, &of.weights);
                // Fine enough that the flattest coefficient has a dozen levels within its spread.
                let flattest = variance.iter().zip(&sensitivity).map(|(v, s)| v * s);
                let c = flattest.fold(f64::INFINITY, f64::min).sqrt() / 3.0;
                let (mut rate_bits, mut error) = (0.0, t.clone());
                for ((row, mut e), s) in
                    t.rows().into_iter().zip(error.rows_mut()).zip(&sensitivity)
                {
                    let step = c / s.sqrt();
                    let levels: Vec<i64> = row.iter().map(|v| (v / step).round() as i64).collect();
                    e.iter_mut()
                        .zip(&levels)
                        .for_each(|(e, &q)| *e -= q as f64 * step);
                    rate_bits += entropy_bits(&levels) / 12.0;
                }
                let back = dual.synthesis.dot(&error);
                let through = of.gradients.dot(&back);
                let measured = (&back * &through).sum() / (samples as f64 * 12.0);
                let geometric = (log_mean(&variance) + log_mean(&sensitivity)).exp();
                let constant = std::f64::consts::PI * std::f64::consts::E / 6.0;
                let predicted = geometric * constant * (-2.0 * rate_bits).exp2();
                assert!(
                    (measured / predicted - 1.0).abs() < 0.05,
                    "{measured} {predicted}"
                );
            }
        }
    }

    fn entropy_bits(levels: &[i64]) -> f64 {
        let mut counts = std::collections::BTreeMap::new();
        levels
            .iter()
            .for_each(|q| *counts.entry(*q).or_insert(0.0) += 1.0);
        let shares = counts.values().map(|count| count / levels.len() as f64);
        // Miller and Madow's correction of the bias of few samples.
        let bias = (counts.len() - 1) as f64 / (2.0 * levels.len() as f64 * std::f64::consts::LN_2);
        shares.map(|p: f64| -p * p.log2()).sum::<f64>() + bias
    }

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
