//! Which step to try next for a size: a line through all sizes seen over the logarithm of the step, with the usual slope as a prior. Runs of
//! nearly the same step differ by a hundredth and more in size, so that no two of them are to be trusted.

/// Part of the bytes allowed that is aimed at.
const AIM: f64 = 0.996;
/// Part of the bytes allowed that is near enough.
const CLOSE: f64 = 0.99;
/// Octaves of spread from which on steps seen say more of the slope than what is usual.
const SPREAD: f64 = 0.03;
/// Part of the usual slope that the line has at least.
const LEAST: f64 = 0.3;
/// Part of a size off by which a run counts half in the line: sizes far away lie on a curve.
const NEAR: f64 = 0.05;
/// Octaves within which a step would give the size that it gave before, and those by which one tried before is passed.
const SAME: f64 = 5e-4;
const ASIDE: f64 = 1e-3;

/// Sizes seen so far.
#[derive(Debug)]
pub(super) struct Sizes {
    limit: f64,
    weights: f64,
    /// log2 of the step and the size in bytes.
    seen: Vec<(f64, f64)>,
}

impl Sizes {
    /// Of files of at most so many bytes.
    pub(super) fn new(limit_bytes: u64, weights: u64) -> Self {
        Self {
            limit: limit_bytes as f64,
            weights: weights as f64,
            seen: Vec::new(),
        }
    }

    /// Notes the size at a step; the step to try next, none where that size is near enough.
    pub(super) fn next(&mut self, step: f64, size_bytes: usize) -> Option<f64> {
        let size = size_bytes as f64;
        self.seen.push((step.log2(), size));
        if size <= self.limit && size >= CLOSE * self.limit {
            return None;
        }
        let aim = AIM * self.limit;
        let line = self.on_line(aim);
        let known = |step: f64| self.seen.iter().any(|(at, _)| (at - step).abs() < SAME);
        // Where it was tried before: a little less, a little more, ever farther.
        let aside = (0..).map(|n: i32| ASIDE * f64::from((n + 1) / 2) * f64::from(1 - 2 * (n % 2)));
        let next = aside.map(|aside| line + aside).find(|&step| !known(step));
        next.map(f64::exp2)
            .filter(|step| step.is_normal() && *step > 0.0)
    }

    /// log2 of the step at which the line gives this size: weighted least squares, its slope drawn to the usual one.
    fn on_line(&self, aim: f64) -> f64 {
        let weight = |size: f64| 1.0 / (1.0 + ((size - aim) / (NEAR * aim)).powi(2));
        let weights: f64 = self.seen.iter().map(|&(_, size)| weight(size)).sum();
        let mean = |of: &dyn Fn(f64, f64) -> f64| {
            let parts = self.seen.iter().map(|&(x, y)| weight(y) * of(x, y));
            parts.sum::<f64>() / weights
        };
        let (step, size) = (mean(&|x, _| x), mean(&|_, y| y));
        let spread = mean(&|x, _| (x - step).powi(2));
        let fall = mean(&|x, y| (step - x) * (y - size));
        let (usual, prior) = (self.usual(size), SPREAD * SPREAD / weights);
        let bytes_per_octave = (fall + usual * prior) / (spread + prior);
        // Where larger steps seem to make larger files, that is chance.
        step + (size - aim) / bytes_per_octave.max(LEAST * usual)
    }

    /// Bytes by which a file of this size shrinks when steps double: most weights lose a bit.
    fn usual(&self, size: f64) -> f64 {
        (self.weights / 8.0).min(0.7 * size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    const LIMIT: u64 = 4000;
    /// So many that a file of the limit's size shrinks by .7 of it an octave, as files do.
    const WEIGHTS: u64 = 40_000;

    /// Runs until a size is near enough, of a network of so many weights: how many were needed, of at most twenty.
    fn runs(weights: u64, mut size: impl FnMut(f64) -> f64) -> usize {
        let mut sizes = Sizes::new(LIMIT, weights);
        let mut step = 1.0;
        for run in 1..20 {
            match sizes.next(step, size(step.log2()) as usize) {
                Some(next) => step = next,
                None => return run,
            }
        }
        20
    }

    #[test]
    fn a_size_off_by_a_sixth_is_met_in_four_runs_whatever_the_slope() {
        let slopes = [
            (1000, [60.0, 125.0, 240.0]),
            (WEIGHTS, [1700.0, 2800.0, 4500.0]),
        ];
        for (weights, slopes) in slopes {
            for (bytes_per_octave, start) in slopes
                .map(|slope| [(slope, 3300.0), (slope, 4700.0)])
                .concat()
            {
                let runs = runs(weights, |octaves| start - bytes_per_octave * octaves);
                assert!(runs <= 4, "{bytes_per_octave}, {start}: {runs} runs");
            }
        }
    }

    #[test]
    fn a_size_that_jumps_about_is_met() {
        let jump = |octaves: f64| 60.0 * (octaves * 1000.0).sin();
        let runs = runs(1000, |octaves| 3400.0 - 125.0 * octaves + jump(octaves));
        assert!(runs <= 8, "{runs}");
    }

    /// Sizes that are off by 1.5 % at random; secants between two runs met three of four.
    #[test]
    fn sizes_that_jump_about_are_met_in_eight_runs_mostly() {
        let met = |seed: &u64| {
            let mut rng = Pcg64::seed_from_u64(*seed);
            let (start, slope) = (
                LIMIT as f64 * rng.random_range(0.9..1.1),
                rng.random_range(1900.0..4200.0),
            );
            // The sum of twelve numbers from 0 to 1, less 6, has a deviation of 1.
            let mut noise = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            runs(WEIGHTS, |octaves| {
                start - slope * octaves + 0.015 * LIMIT as f64 * noise()
            }) <= 8
        };
        let met = (0..400).filter(met).count();
        assert!(met >= 312, "{met} of 400");
    }

    /// Of the three sizes the line leads to within [`SAME`] of the second step again.
    #[test]
    fn no_step_is_tried_twice() {
        let runs: [(u64, &[usize]); 2] = [
            (1000, &[4171, 4041, 3952, 3941, 3942, 3943]),
            (WEIGHTS, &[3930, 3940, 4060]),
        ];
        for (weights, seen) in runs {
            let mut sizes = Sizes::new(LIMIT, weights);
            let mut steps = vec![1.0];
            for &size in seen {
                let last = steps[steps.len() - 1];
                steps.extend(sizes.next(last, size));
            }
            assert_eq!(steps.len(), seen.len() + 1);
            steps.sort_by(f64::total_cmp);
            let apart = |pair: &[f64]| (pair[1] / pair[0]).log2() > SAME;
            assert!(steps.windows(2).all(apart), "{steps:?}");
        }
    }

    #[test]
    fn a_size_that_does_not_change_ends_nothing_and_panics_not() {
        let mut sizes = Sizes::new(LIMIT, WEIGHTS);
        let first = sizes.next(1.0, 5000);
        assert!(first.is_some_and(|step| step > 1.0));
        let second = sizes.next(first.unwrap_or(1.0), 5000);
        assert!(second > first);
        assert!(sizes.next(1.0, 5000).is_some_and(f64::is_finite));
        assert_eq!(Sizes::new(0, WEIGHTS).next(1.0, 5000), None);
    }
}
