//! How far a second moment from few samples is to be trusted: by how much its parts differ, or else the oracle approximating
//! shrinkage of Chen, Wiesel, Eldar and Hero (2010), which needs nothing but the estimate and the number of samples.

use crate::statistics::Moment;

/// Largest share of the identity.
const MOST: f64 = 0.9;

/// Damping that shrinks a mean of outer products towards a multiple of the identity as much as its errors ask for: a fraction of
/// its mean diagonal, to be added to the diagonal. Blocks of a block-diagonal matrix count as one.
/// 0 for a zero matrix and for a single number, which has no direction.
///
/// Its errors are measured by how much the parts differ (Ledoit and Wolf 2004, whose samples are parts here): positions of
/// one image are far from independent samples. Of a single part they are what as many independent samples would have.
pub(crate) fn shrinkage(blocks: &[Moment]) -> f64 {
    let sum = |of: &dyn Fn(&Moment) -> f64| -> f64 { blocks.iter().map(of).sum() };
    let order = sum(&|m| m.order() as f64);
    let trace = sum(&|m| m.mean_diagonal().map(f64::from).sum());
    let of_square = sum(&Moment::mean_square);
    let count = blocks.first().map_or(0.0, Moment::count);
    let parts = blocks.first().map_or(0.0, |m| m.scatter().parts);
    if order < 2.0 || trace <= 0.0 || !of_square.is_finite() {
        return 0.0;
    }
    let scatter = of_square - trace * trace / order;
    let errors = if parts < 2.0 {
        let noise = (1.0 - 2.0 / order) * of_square + trace * trace;
        noise / (count + 1.0 - 2.0 / order)
    } else {
        let between = sum(&|m| m.scatter().squares) - count * of_square;
        between / ((parts - 1.0) * count)
    };
    let share = errors / scatter;
    let share = if scatter > 0.0 && share.is_finite() {
        share.clamp(0.0, MOST)
    } else {
        MOST
    };
    share / (1.0 - share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Outer products of `samples` vectors whose element k has standard deviation `spread(k)`, in parts of so many; each vector
    /// comes `again` times.
    fn estimate(
        (samples, part, again): (usize, usize, usize),
        spread: impl Fn(usize) -> f32,
        rng: &mut Pcg64,
    ) -> Moment {
        let mut moment = Moment::new(24);
        for start in (0..samples).step_by(part) {
            let count = part.min(samples - start);
            let x = Array2::from_shape_fn((24, count), |(k, _)| {
                // Nearly Gaussian, of variance 1.
                spread(k) * ((0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0)
            });
            let again = again as f32;
            moment.add_lower(&(x.dot(&x.t()) * again), (count as f32 * again).into());
        }
        moment
    }

    /// Squared distances from the truth of the estimate and of what it is shrunk to, and the damping, averaged over a few draws.
    fn mean_errors(samples: (usize, usize, usize)) -> (f32, f32, f64) {
        const DRAWS: u64 = 40;
        let spread = |k: usize| 1.0 / (1.0 + k as f32 * 0.5);
        let truth = Array2::from_diag(&ndarray::Array1::from_shape_fn(24, |k| spread(k).powi(2)));
        let far = |m: &Array2<f32>| (m - &truth).mapv(|v| v * v).sum();
        let (mut plain, mut better, mut mean_damping) = (0.0, 0.0, 0.0);
        for draw in 0..DRAWS {
            let mut rng = Pcg64::seed_from_u64(draw);
            let found = estimate(samples, spread, &mut rng);
            let damping = shrinkage(std::slice::from_ref(&found));
            let found = found.mean();
            let mean = found.diag().sum() / 24.0;
            let share = (damping / (1.0 + damping)) as f32;
            let shrunk = &found * (1.0 - share) + Array2::<f32>::eye(24) * (mean * share);
            plain += far(&found);
            better += far(&shrunk);
            mean_damping += damping / DRAWS as f64;
        }
        (plain, better, mean_damping)
    }

    #[test]
    fn few_samples_are_trusted_less_and_shrinking_brings_them_nearer_to_the_truth() {
        for part in [4, 20_000] {
            let mut last = f64::INFINITY;
            for samples in [12, 48, 400, 10_000] {
                let (plain, better, damping) = mean_errors((samples, part, 1));
                // Where samples abound it is a tie.
                let bound = if samples < 100 { 0.98 } else { 1.05 };
                assert!(
                    better < bound * plain,
                    "{samples} samples: {better} of {plain}"
                );
                assert!(damping < last / 2.0, "{samples}: {damping}");
                last = damping;
            }
            assert!(last < 2e-3, "{last} with ten thousand samples");
        }
    }

    #[test]
    fn samples_that_are_alike_count_as_one() {
        let (_, _, one) = mean_errors((100, 5, 1));
        let (_, _, many) = mean_errors((100, 5, 50));
        assert!((one - many).abs() < 1e-3 * one, "{one} and {many}");
        let (_, _, taken_for_independent) = mean_errors((100, 200, 50));
        assert!(taken_for_independent < many / 10.0);
    }

    #[test]
    fn the_last_part_may_be_smaller_and_blocks_count_as_one() {
        let (_, _, equal) = mean_errors((100, 10, 1));
        let (_, _, unequal) = mean_errors((100, 9, 1));
        assert!((unequal / equal - 1.0).abs() < 0.1, "{unequal} and {equal}");
        let mut rng = Pcg64::seed_from_u64(1);
        let mut draw = || estimate((40, 5, 1), |k| 1.0 / (1.0 + k as f32), &mut rng);
        let (a, b) = (draw(), draw());
        let alone = shrinkage(std::slice::from_ref(&a)) + shrinkage(std::slice::from_ref(&b));
        let together = shrinkage(&[a, b]);
        // Twice the errors against twice the distance from the identity.
        assert!(
            (together / (0.5 * alone) - 1.0).abs() < 0.2,
            "{together} and {alone}"
        );
    }

    #[test]
    fn what_has_no_direction_is_shrunk_all_the_way() {
        let of = |m: Array2<f32>| {
            let mut moment = Moment::new(m.nrows());
            moment.add_lower(&(m * 100.0), 100.0);
            shrinkage(&[moment])
        };
        assert!(of(Array2::eye(8)) > 8.0);
        assert_eq!(of(Array2::zeros((8, 8))), 0.0);
        assert_eq!(of(Array2::ones((1, 1))), 0.0);
    }
}
