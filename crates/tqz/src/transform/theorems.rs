//! The paper's theorems as tests, on synthetic sources of known covariances: Theorems 1 to 3 (Eqs. 9 to 12) and Appendix B.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::dual::{CodingGain, Covariances, Dual, log_mean, quadratic_diagonal};
use crate::cotangent::normal;
use crate::linalg::{cholesky_lower, solve_positive, symmetric_eigen};

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
        assert_diagonal(&energy);
        assert!(energy.diag().windows(2).into_iter().all(|w| w[0] >= w[1]));
        let (values_c, _) = symmetric_eigen(&of.weights).expect("symmetric");
        let (values_g, _) = symmetric_eigen(&of.gradients).expect("symmetric");
        let bound = log_mean(&of.weights.diag().to_vec()) + log_mean(&of.gradients.diag().to_vec())
            - log_mean(&values_c)
            - log_mean(&values_g);
        assert!((total(elt.gain(&of)).ln() - bound).abs() < 1e-6);
    }
}

/// Of all transforms `U` (with `V = U⁻ᵗ`): that of these analysis vectors, if they are independent.
fn with_analysis(u: Array2<f64>) -> Option<Dual> {
    let gram = u.dot(&u.t());
    let synthesis = solve_positive(&gram, &u).ok()?;
    Some(Dual {
        analysis: u,
        synthesis,
    })
}

/// No transform gains more than the ELT (Theorem 3): not the KLT, not none, not any of a thousand far from it nor of a thousand near it.
/// The KLT gains at least nothing in its own factor, and what its basis does to gradients may cost more than that.
#[test]
fn elt_gains_at_least_as_much_as_klt_identity_and_a_thousand_random_transforms() {
    let mut rng = Pcg64::seed_from_u64(5);
    let (mut far, mut near) = (0, 0);
    for of in problems() {
        let best = Dual::elt(&of).expect("regular");
        let elt = total(best.gain(&of));
        let klt = Dual::klt(&of).expect("symmetric");
        assert!(klt.gain(&of).weights >= 1.0 - 1e-9);
        assert!(elt >= total(klt.gain(&of)) && elt >= 1.0);
        let mut noise =
            |size: f64| Array2::from_shape_fn((12, 12), |_| size * (rng.random::<f64>() - 0.5));
        for trial in 0..200 {
            if let Some(any) = with_analysis(noise(1.0)) {
                assert!(total(any.gain(&of)) <= elt * (1.0 + 1e-9));
                far += 1;
            }
            // From a thousandth of it to all of it away.
            let size = 10_f64.powf(-3.0 + 3.0 * f64::from(trial) / 200.0);
            let moved = best.analysis.dot(&(Array2::eye(12) + noise(size)));
            if let Some(any) = with_analysis(moved) {
                assert!(total(any.gain(&of)) <= elt * (1.0 + 1e-9));
                near += 1;
            }
        }
    }
    assert!(far >= 1000 && near >= 1000, "{far} {near}");
}

/// A case of Theorem 3: where gradients are white, no transform gains more than the KLT, which gains at least nothing: it is the ELT.
#[test]
fn klt_is_the_best_transform_where_gradients_are_white() {
    for of in problems() {
        let of = Covariances {
            gradients: Array2::eye(12) * 0.3,
            ..of
        };
        let klt = total(Dual::klt(&of).expect("symmetric").gain(&of));
        let elt = total(Dual::elt(&of).expect("regular").gain(&of));
        assert!(klt >= 1.0 && (klt / elt - 1.0).abs() < 1e-6, "{klt} {elt}");
    }
}

/// Singular values by one-sided Jacobi rotations, falling: no product of the matrix with itself is formed.
fn singular_values(matrix: &Array2<f64>) -> Vec<f64> {
    let mut rows = matrix.clone();
    for _ in 0..60 {
        for p in 0..rows.nrows() {
            for q in p + 1..rows.nrows() {
                let (x, y) = (rows.row(p).to_owned(), rows.row(q).to_owned());
                let (xx, yy, xy) = (x.dot(&x), y.dot(&y), x.dot(&y));
                if xy.abs() > 1e-15 * (xx * yy).sqrt() {
                    let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
                    let (sin, cos) = angle.sin_cos();
                    rows.row_mut(p).assign(&(cos * &x + sin * &y));
                    rows.row_mut(q).assign(&(cos * &y - sin * &x));
                }
            }
        }
    }
    let mut lengths = lengths(&rows);
    lengths.sort_by(|a, b| b.total_cmp(a));
    lengths
}

fn lengths(rows: &Array2<f64>) -> Vec<f64> {
    let lengths = rows.rows().into_iter().map(|row| row.dot(&row).sqrt());
    lengths.collect()
}

fn assert_orthogonal_rows(rows: &Array2<f64>) {
    assert_diagonal(&rows.dot(&rows.t()));
}

fn assert_diagonal(matrix: &Array2<f64>) {
    let peak = matrix.diag().iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut cells = matrix.indexed_iter();
    assert!(cells.all(|((r, c), v)| r == c || v.abs() < 1e-9 * peak));
}

fn assert_close(a: &[f64], b: &[f64]) {
    let mut pairs = a.iter().zip(b);
    assert_eq!(a.len(), b.len());
    assert!(
        pairs.all(|(a, b)| (a - b).abs() < 1e-7 * b.abs().max(1e-3)),
        "{a:?} {b:?}"
    );
}

/// Appendix B, KLT: `W = U·T` is the singular value decomposition of W.
#[test]
fn klt_of_a_matrix_is_its_singular_value_decomposition() {
    let mut rng = Pcg64::seed_from_u64(9);
    let w = Array2::from_shape_fn((12, 40), |_| rng.random::<f64>() - 0.5);
    let klt = Dual::klt(&Covariances {
        weights: w.dot(&w.t()) / 40.0,
        gradients: random(12, 2.0, &mut rng),
    });
    let u = klt.expect("symmetric").analysis;
    let t = u.t().dot(&w);
    assert_orthogonal_rows(&t);
    assert_orthogonal_rows(&u);
    assert_close(&lengths(&t), &singular_values(&w));
    assert!((u.dot(&t) - &w).iter().all(|v| v.abs() < 1e-9));
}

/// Appendix B, ELT: `W = V·T` and `Γ = U·P` is a generalised decomposition of the weights and the gradients Γ that Cγγ is made of: T and P
/// have orthogonal rows, those of P of one length, U and V are dual, and T's lengths are the singular values of `LᵗW`, `Cγγ = LLᵗ`.
#[test]
fn elt_of_a_matrix_is_a_generalised_singular_value_decomposition() {
    let mut rng = Pcg64::seed_from_u64(9);
    let mut noise = |n: usize| Array2::from_shape_fn((12, n), |_| rng.random::<f64>() - 0.5);
    let (w, mix, free) = (noise(40), noise(12), noise(60));
    let gradients = mix.dot(&free);
    let of = Covariances {
        weights: w.dot(&w.t()) / 40.0,
        gradients: gradients.dot(&gradients.t()) / 60.0,
    };
    let elt = Dual::elt(&of).expect("regular");
    let (t, p) = (elt.analysis.t().dot(&w), elt.synthesis.t().dot(&gradients));
    assert_orthogonal_rows(&t);
    assert_orthogonal_rows(&p);
    assert_close(&lengths(&p), &[60_f64.sqrt(); 12]);
    let l = cholesky_lower(&of.gradients).expect("regular");
    assert_close(&lengths(&t), &singular_values(&l.t().dot(&w)));
    assert!((elt.synthesis.dot(&t) - &w).iter().all(|v| v.abs() < 1e-7));
    assert!(
        (elt.analysis.dot(&p) - &gradients)
            .iter()
            .all(|v| v.abs() < 1e-7)
    );
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
        let white = Array2::from_shape_fn((12, samples), |_| f64::from(normal(&mut rng)));
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
            for ((row, mut e), s) in t.rows().into_iter().zip(error.rows_mut()).zip(&sensitivity) {
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
