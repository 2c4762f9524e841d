//! Which step to try next for a size: after one run by how fast sizes usually fall with the step, after more by what was seen. Runs
//! of nearly the same step differ by a hundredth and more in size, so that neither is to be trusted far.

/// Part of the bytes allowed that is aimed at.
const AIM: f64 = 0.996;
/// Part of the bytes allowed that is near enough.
const CLOSE: f64 = 0.99;
/// How many times the usual slope one that was seen may be, either way.
const TRUSTED: f64 = 2.0;
/// Octaves within which a step would give the size that it gave before.
const SAME: f64 = 1e-4;

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
        // The nearest on either side; where there is none, the two nearest on the other.
        let far = |(_, size): &(f64, f64)| (size - aim).abs();
        let (mut large, mut small): (Vec<_>, Vec<_>) =
            self.seen.iter().copied().partition(|&(_, size)| size > aim);
        large.sort_by(|a, b| far(a).total_cmp(&far(b)));
        small.sort_by(|a, b| far(a).total_cmp(&far(b)));
        let (one, other) = match (&large[..], &small[..]) {
            ([over, ..], [under, ..]) if far(over) < far(under) => (*over, Some(*under)),
            ([over, ..], [under, ..]) => (*under, Some(*over)),
            (side, []) | ([], side) => (side[0], side.get(1).copied()),
        };
        let bytes_per_octave = other.map_or_else(|| self.usual(one.1), |o| self.slope(one, o));
        let between = one.0 + (one.1 - aim) / bytes_per_octave;
        let known = self.seen.iter().any(|(at, _)| (at - between).abs() < SAME);
        let next = match known {
            false => between,
            true => step.log2() + (size - aim) / self.usual(size),
        };
        Some(next.exp2())
    }

    /// Bytes by which a file of this size shrinks when steps double: most weights lose a bit.
    fn usual(&self, size: f64) -> f64 {
        (self.weights / 8.0).min(0.7 * size)
    }

    /// The same as two runs say.
    fn slope(&self, a: (f64, f64), b: (f64, f64)) -> f64 {
        let usual = self.usual(0.5 * (a.1 + b.1));
        let seen = (a.1 - b.1) / (b.0 - a.0);
        if seen.is_finite() {
            seen.clamp(usual / TRUSTED, usual * TRUSTED)
        } else {
            usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs until a size is near enough: how many were needed.
    fn runs(limit: u64, size: impl Fn(f64) -> f64) -> usize {
        let mut sizes = Sizes::new(limit, 1000);
        let mut step = 1.0;
        let mut runs = 1;
        while let Some(next) = sizes.next(step, size(step) as usize) {
            step = next;
            runs += 1;
            assert!(runs < 20, "never near");
        }
        runs
    }

    #[test]
    fn a_size_off_by_a_sixth_is_met_in_four_runs_whatever_the_slope() {
        for bytes_per_octave in [60.0, 125.0, 240.0] {
            for start in [3300.0, 4700.0] {
                let runs = runs(4000, |step: f64| start - bytes_per_octave * step.log2());
                assert!(runs <= 4, "{bytes_per_octave}, {start}: {runs} runs");
            }
        }
    }

    #[test]
    fn a_size_that_jumps_about_is_met() {
        let jump = |step: f64| 60.0 * (step.log2() * 1000.0).sin();
        let runs = runs(4000, |step: f64| 3400.0 - 125.0 * step.log2() + jump(step));
        assert!(runs <= 8, "{runs}");
    }

    /// A run between two others that comes out farther off than both: the same two would lead to the same step again.
    #[test]
    fn no_step_is_tried_twice() {
        let mut sizes = Sizes::new(4000, 1000);
        let mut steps = vec![1.0];
        for size in [4171, 4041, 3952, 3941, 3942, 3943] {
            let last = steps[steps.len() - 1];
            steps.extend(sizes.next(last, size));
        }
        assert_eq!(steps.len(), 7);
        steps.sort_by(f64::total_cmp);
        let apart = |pair: &[f64]| (pair[1] / pair[0]).log2() > SAME;
        assert!(steps.windows(2).all(apart), "{steps:?}");
    }

    #[test]
    fn a_size_that_does_not_change_ends_nothing_and_panics_not() {
        let mut sizes = Sizes::new(4000, 1000);
        let first = sizes.next(1.0, 5000);
        assert!(first.is_some_and(|step| step > 1.0));
        let second = sizes.next(first.unwrap_or(1.0), 5000);
        assert!(second > first);
        assert!(sizes.next(1.0, 5000).is_some_and(f64::is_finite));
    }
}
