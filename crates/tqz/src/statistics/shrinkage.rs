//! How far a second moment from few samples is to be trusted: the oracle approximating shrinkage of Chen, Wiesel, Eldar and
//! Hero (2010), which needs nothing but the estimate and the number of samples.

use ndarray::Array2;

/// Largest share of the identity.
const MOST: f64 = 0.9;

/// Damping that shrinks a mean of `samples` outer products towards a multiple of the identity as much as its errors ask for:
/// a fraction of its mean diagonal, to be added to the diagonal. Blocks of a block-diagonal matrix count as one. 0 for a
/// zero matrix and for a single number, which has no direction.
pub(crate) fn shrinkage(blocks: &[Array2<f32>], samples: f64) -> f64 {
    let order: f64 = blocks.iter().map(|b| b.nrows() as f64).sum();
    let trace: f64 = blocks
        .iter()
        .flat_map(|b| b.diag().to_vec())
        .map(f64::from)
        .sum();
    let square = |v: &f32| f64::from(*v) * f64::from(*v);
    let of_square: f64 = blocks.iter().flatten().map(square).sum();
    if order < 2.0 || trace <= 0.0 || !of_square.is_finite() {
        return 0.0;
    }
    let scatter = of_square - trace * trace / order;
    let noise = (1.0 - 2.0 / order) * of_square + trace * trace;
    let share = noise / ((samples + 1.0 - 2.0 / order) * scatter);
    let share = if share >= 0.0 { share.min(MOST) } else { MOST };
    share / (1.0 - share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Mean of the outer products of `samples` vectors whose element k has standard deviation `spread(k)`.
    fn estimate(samples: usize, spread: impl Fn(usize) -> f32, rng: &mut Pcg64) -> Array2<f32> {
        let x = Array2::from_shape_fn((24, samples), |(k, _)| {
            // Nearly Gaussian, of variance 1.
            spread(k) * ((0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0)
        });
        x.dot(&x.t()) / samples as f32
    }

    #[test]
    fn few_samples_are_trusted_less_and_shrinking_brings_them_nearer_to_the_truth() {
        let spread = |k: usize| 1.0 / (1.0 + k as f32 * 0.5);
        let truth = Array2::from_diag(&ndarray::Array1::from_shape_fn(24, |k| spread(k).powi(2)));
        let far = |m: &Array2<f32>| (m - &truth).mapv(|v| v * v).sum();
        let mut rng = Pcg64::seed_from_u64(7);
        let mut last = f64::INFINITY;
        for samples in [12, 48, 400, 10_000] {
            let (mut plain, mut better, mut mean_damping) = (0.0, 0.0, 0.0);
            for _ in 0..40 {
                let found = estimate(samples, spread, &mut rng);
                let damping = shrinkage(std::slice::from_ref(&found), samples as f64);
                let mean = found.diag().sum() / 24.0;
                let share = (damping / (1.0 + damping)) as f32;
                let shrunk = &found * (1.0 - share) + Array2::<f32>::eye(24) * (mean * share);
                plain += far(&found);
                better += far(&shrunk);
                mean_damping += damping / 40.0;
            }
            // Where samples abound it is a tie.
            let bound = if samples < 100 { 0.98 } else { 1.05 };
            assert!(
                better < bound * plain,
                "{samples} samples: {better} of {plain}"
            );
            assert!(mean_damping < last / 2.0, "{samples}: {mean_damping}");
            last = mean_damping;
        }
        assert!(last < 2e-3, "{last} with ten thousand samples");
    }

    #[test]
    fn what_has_no_direction_is_shrunk_all_the_way() {
        assert!(shrinkage(&[Array2::eye(8)], 100.0) > 8.0);
        assert_eq!(shrinkage(&[Array2::zeros((8, 8))], 100.0), 0.0);
        assert_eq!(shrinkage(&[Array2::ones((1, 1))], 100.0), 0.0);
    }
}
