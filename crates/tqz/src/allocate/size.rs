//! The step constant at which a file has the size asked for.

use crate::config::RateTarget;
use crate::error::TqzError;

/// One encoding of everything at some step.
pub(crate) struct Trial<T> {
    /// Size of the whole file.
    pub(crate) size_bytes: u64,
    /// Whether levels were cut at the largest that the format has: the step is finer than is of use.
    pub(crate) cut: bool,
    /// What was encoded.
    pub(crate) outcome: T,
}

/// The encoding chosen.
pub(crate) struct Found<T> {
    /// Its step constant.
    pub(crate) step: f64,
    /// How many encodings were made.
    pub(crate) trials: u32,
    /// What was encoded.
    pub(crate) outcome: T,
}

/// log2 c where the search begins if nothing better is known.
const START: f64 = -10.0;
/// What is known before a search.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hint {
    /// A step near which the target was met before.
    pub(crate) step: Option<f64>,
    /// Bytes to leave free for what changes after the search.
    pub(crate) reserve_bytes: u64,
}

/// Octaves of c searched on either side of 1.
const OCTAVES: f64 = 60.0;
/// A file this close below its target is good enough.
const CLOSE: f64 = 0.004;
/// Encodings made at most.
const TRIALS: u32 = 24;

/// Finds the smallest step whose file is not larger than the target, looking first where the hint points.
///
/// # Errors
/// No step gives a file so small: the message states the smallest file found.
pub(crate) fn search_step<T>(
    target: RateTarget,
    weights: u64,
    hint: Hint,
    mut encode: impl FnMut(f64) -> Result<Trial<T>, TqzError>,
) -> Result<Found<T>, TqzError> {
    if let RateTarget::Step(step) = target {
        let outcome = encode(step)?.outcome;
        return Ok(Found {
            step,
            trials: 1,
            outcome,
        });
    }
    let limit = target.limit(weights).unwrap_or(u64::MAX);
    let limit = limit.saturating_sub(hint.reserve_bytes);
    let start = hint.step.map_or(START, f64::log2);
    Search::new(limit).run(&mut encode, weights, start)
}

/// A bracketing search on log2 c: sizes fall with c, at high rate by one bit per weight and octave.
struct Search<T> {
    limit: u64,
    /// Largest log2 c known to be too large a file, with its size.
    above: Option<(f64, u64)>,
    /// Smallest log2 c known to fit, with its size and encoding.
    below: Option<(f64, u64, T)>,
    trials: u32,
}

impl<T> Search<T> {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            above: None,
            below: None,
            trials: 0,
        }
    }

    fn run(
        mut self,
        encode: &mut impl FnMut(f64) -> Result<Trial<T>, TqzError>,
        weights: u64,
        start: f64,
    ) -> Result<Found<T>, TqzError> {
        let mut at = start;
        let mut smallest = u64::MAX;
        while self.trials < TRIALS {
            let trial = encode(at.exp2())?;
            self.trials += 1;
            smallest = smallest.min(trial.size_bytes);
            if trial.cut {
                self.above = Some((at, u64::MAX));
            } else if trial.size_bytes <= self.limit {
                self.below = Some((at, trial.size_bytes, trial.outcome));
            } else {
                self.above = Some((at, trial.size_bytes));
            }
            match self.next(weights) {
                Some(next) => at = next,
                None => break,
            }
        }
        match self.below {
            Some((at, _, outcome)) => Ok(Found {
                step: at.exp2(),
                trials: self.trials,
                outcome,
            }),
            None => Err(TqzError::Unreachable {
                limit_bytes: self.limit,
                smallest_bytes: smallest,
            }),
        }
    }

    /// How far, in octaves of c, a file of this size is from the limit, somewhat overrated: a bit per weight and octave at high
    /// rates, a factor of about 1.5 per octave at low ones.
    fn reach(&self, size: u64, weights: u64) -> f64 {
        let (size, limit) = (size as f64, self.limit.max(1) as f64);
        let bits = 8.0 * (size - limit).abs() / weights.max(1) as f64;
        let factors = (size / limit).ln().abs() / 0.4;
        (1.1 * bits.max(factors)).clamp(0.02, 4.0)
    }

    /// Where to look next; nothing when the file is close enough or cannot get smaller.
    fn next(&self, weights: u64) -> Option<f64> {
        let full = |size: u64| size as f64 / self.limit.max(1) as f64;
        match (&self.above, &self.below) {
            (_, Some((_, size, _))) if full(*size) > 1.0 - CLOSE => None,
            (Some((low, _)), Some((high, _, _))) if high - low < 1e-3 => None,
            (Some((low, large)), Some((high, small, _))) => {
                let wanted = (self.limit as f64 * (1.0 - CLOSE / 2.0)).ln();
                let (large, small) = ((*large as f64).ln(), (*small as f64).ln());
                let along = ((large - wanted) / (large - small).max(1e-9)).clamp(0.08, 0.92);
                Some(low + along * (high - low))
            }
            (Some((low, large)), None) => {
                let reach = self.reach(*large, weights);
                (*low < OCTAVES).then(|| (low + reach).min(OCTAVES))
            }
            (None, Some((high, small, _))) => {
                let reach = self.reach(*small, weights);
                (*high > -OCTAVES).then(|| (high - reach).max(-OCTAVES))
            }
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A coder of 1000 weights whose rate falls by a bit per octave down to a floor of 50 bytes.
    fn model(c: f64) -> Result<Trial<f64>, TqzError> {
        let bits = (4.0 - c.log2()).max(0.0) * 1000.0;
        Ok(Trial {
            size_bytes: 50 + (bits / 8.0) as u64,
            cut: c < 2.0_f64.powi(-16),
            outcome: c,
        })
    }

    #[test]
    fn the_file_found_is_just_below_the_target() {
        for bits in [0.6, 2.0, 7.5] {
            let target = RateTarget::BitsPerWeight(bits);
            let found = search_step(target, 1000, Hint::default(), model).expect("reachable");
            let size = model(found.outcome).expect("model").size_bytes as f64;
            let limit = bits * 125.0;
            assert!(
                size <= limit && size > limit * 0.98,
                "{bits}: {size} of {limit}"
            );
            assert!(found.trials <= 12, "{} trials", found.trials);
        }
    }

    #[test]
    fn a_size_beyond_the_finest_step_gives_the_finest_that_is_of_use() {
        let found = search_step(RateTarget::Bytes(1 << 40), 1000, Hint::default(), model)
            .expect("reachable");
        assert!(found.step >= 2.0_f64.powi(-16) && found.step < 2.0_f64.powi(-14));
    }

    #[test]
    fn an_unreachable_target_says_what_is_possible() {
        let error = search_step(RateTarget::Bytes(20), 1000, Hint::default(), model)
            .map(|f| f.step)
            .expect_err("too small");
        assert!(error.to_string().contains("50 bytes"), "{error}");
    }

    #[test]
    fn a_given_step_is_used_as_it_is() {
        let found =
            search_step(RateTarget::Step(0.25), 1000, Hint::default(), model).expect("any step");
        assert_eq!((found.outcome, found.trials), (0.25, 1));
    }
}
