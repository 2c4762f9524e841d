//! Finds the largest step constant whose loss stays within a bound. A loss is dear (the network is run, perhaps tuned) and noisy
//! (points of accuracy on a few hundred images), so the search asks few times and expects it to grow with c.

/// One step constant that was tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// log2 of the step constant.
    pub(crate) log2_step: f64,
    /// What was lost, in the judge's unit; may be negative by chance.
    pub(crate) loss: f64,
}

/// The search so far.
#[derive(Debug, Clone)]
pub(crate) struct LossSearch {
    bound: f64,
    /// Largest step known to be within the bound.
    inside: Option<Sample>,
    /// Smallest step above that known to be beyond it.
    outside: Option<Sample>,
    /// Tries since the first one within the bound.
    tries: u32,
    most: u32,
    /// Tries before that.
    misses: u32,
}

/// Octaves moved at most while there is no bracket.
const FAR: f64 = 2.0;
/// Octaves moved at least.
const NEAR: f64 = 0.12;
/// Brackets narrower than this, in octaves, are not split: a tenth of an octave is a few per cent of a file.
const CLOSE: f64 = 0.1;
/// Octaves below the first guess at which the search gives up: loss that does not vanish by then never will.
const DEEPEST: f64 = 14.0;

impl LossSearch {
    /// A search with at most so many tries beyond the first one that is within the bound.
    pub(crate) fn new(bound: f64, most: u32) -> Self {
        Self {
            bound,
            inside: None,
            outside: None,
            tries: 0,
            most,
            misses: 0,
        }
    }

    /// Takes a sample in; says whether it is the best so far.
    pub(crate) fn add(&mut self, sample: Sample) -> bool {
        let at = sample.log2_step;
        let within = sample.loss <= self.bound;
        if self.inside.is_some() {
            self.tries += 1;
        } else if !within {
            self.misses += 1;
        }
        if within {
            let better = self.inside.is_none_or(|inside| at > inside.log2_step);
            if better {
                self.inside = Some(sample);
            }
            return better;
        }
        if self.outside.is_none_or(|outside| at < outside.log2_step) {
            self.outside = Some(sample);
        }
        false
    }

    /// log2 of the step constant to try next; nothing when the best is found, or none is within reach of `first`.
    pub(crate) fn next(&self, first: f64) -> Option<f64> {
        let done = self.tries >= self.most;
        match (self.inside, self.outside) {
            (Some(_), _) if done => None,
            (Some(inside), Some(outside)) => {
                let width = outside.log2_step - inside.log2_step;
                if width < CLOSE {
                    return None;
                }
                let (low, high) = (self.octaves(inside.loss), self.octaves(outside.loss));
                let along = (-low / (high - low).max(1e-9)).clamp(0.2, 0.8);
                Some(inside.log2_step + along * width)
            }
            (Some(inside), None) => {
                let reach = (-self.octaves(inside.loss)).clamp(NEAR, FAR);
                Some(inside.log2_step + reach)
            }
            (None, Some(outside)) => {
                // A loss that hardly falls is left behind in ever longer moves.
                let patience = NEAR * f64::from(self.misses).exp2();
                let reach = self
                    .octaves(outside.loss)
                    .clamp(NEAR, FAR)
                    .max(patience.min(FAR));
                let next = outside.log2_step - reach;
                (next > first - DEEPEST).then_some(next)
            }
            (None, None) => Some(first),
        }
    }

    /// How far a loss is beyond the bound, in octaves of c: losses in points grow about as c, errors being independent.
    fn octaves(&self, loss: f64) -> f64 {
        let least = self.bound.max(1e-6) / 4.0;
        (loss.max(least) / self.bound.max(1e-6)).log2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the search on a loss; returns the step found and the tries it took.
    fn search(bound: f64, loss: impl Fn(f64) -> f64) -> (Option<f64>, u32) {
        let first = -3.0;
        let mut search = LossSearch::new(bound, 8);
        let mut best = None;
        while let Some(at) = search.next(first) {
            let sample = Sample {
                log2_step: at,
                loss: loss(at),
            };
            if search.add(sample) {
                best = Some(at);
            }
        }
        (best, search.tries)
    }

    #[test]
    fn the_step_found_is_just_within_the_bound() {
        for (bound, slope, knee) in [
            (0.5, 1.0, 0.0),
            (3.0, 2.0, -2.0),
            (1.0, 0.7, 4.0),
            (0.5, 3.0, -9.0),
        ] {
            let loss = |at: f64| (slope * (at - knee)).exp2();
            let (found, tries) = search(bound, loss);
            let found = found.expect("within reach");
            let exact = knee + f64::log2(bound) / slope;
            assert!(found <= exact && found > exact - 0.4, "{found} of {exact}");
            assert!(tries <= 8, "{tries}");
        }
    }

    #[test]
    fn noise_below_zero_is_within_and_a_loss_that_stays_is_given_up() {
        let (found, _) = search(0.5, |at| if at < 2.0 { -0.1 } else { 5.0 });
        assert!(found.is_some_and(|at| at < 2.0 && at > 1.0), "{found:?}");
        assert_eq!(search(0.5, |_| 1.0).0, None);
    }
}
