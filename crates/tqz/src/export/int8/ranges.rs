//! How large values between nodes are on calibration images, and the eight-bit scale that fits them best.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use rayon::prelude::*;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::images::Images;
use crate::progress::Progress;

/// Images run at once by one thread.
const SHARD: usize = 4;
/// Bins between the least and the largest value seen.
const BINS: usize = 2048;
/// Least part of the range that clipping leaves, in hundredths.
const LEAST_PART: u32 = 20;

/// How ranges are clipped.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Clipping {
    /// To the least squared error of the values.
    #[default]
    SquaredError,
    /// To the values without the largest: so many per cent stay inside.
    Percentile(f64),
    /// Not at all.
    None,
}

/// Element type of quantized values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// Unsigned, with a zero point: what ONNX Runtime and OpenVINO compute fastest on a CPU.
    #[default]
    Unsigned,
    /// Signed, symmetric: what TensorRT takes.
    Symmetric,
}

/// A scale and a zero point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) step: f32,
    pub(super) zero: i32,
}

/// What was seen of one value.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) low: f32,
    pub(super) high: f32,
    counts: Vec<u64>,
}

impl Seen {
    /// Of values none of which is known.
    pub(super) fn between(low: f32, high: f32) -> Self {
        Self {
            low,
            high,
            ..Self::default()
        }
    }

    fn widen(&mut self, value: &ArrayD<f32>) {
        for &v in value {
            self.low = self.low.min(v);
            self.high = self.high.max(v);
        }
    }

    fn count(&mut self, value: &ArrayD<f32>) {
        self.counts.resize(BINS, 0);
        let factor = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for &v in value {
            let bin = ((v - self.low) * factor) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// The range that is represented: zero always is.
    fn clipped(&self, clipping: Clipping, activations: Activations) -> (f64, f64) {
        let (mut low, mut high) = (f64::from(self.low.min(0.0)), f64::from(self.high.max(0.0)));
        if activations == Activations::Symmetric {
            // Steps are those of the larger side, and both are represented.
            high = high.max(-low);
            low = -high;
        }
        match clipping {
            Clipping::None => (low, high),
            Clipping::Percentile(percent) => self.percentile(percent, (low, high)),
            Clipping::SquaredError => {
                let parts = (LEAST_PART..=100).rev().map(|p| f64::from(p) / 100.0);
                let error = |part: &f64| self.squared_error(low * part, high * part);
                let best = parts.min_by(|a, b| error(a).total_cmp(&error(b)));
                let part = best.unwrap_or(1.0);
                (low * part, high * part)
            }
        }
    }

    /// Middles of the bins and how many values they hold.
    fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> {
        let width = f64::from(self.high - self.low) / BINS as f64;
        let low = f64::from(self.low);
        let middle =
            move |(bin, &count): (usize, &u64)| (low + (bin as f64 + 0.5) * width, count as f64);
        self.counts.iter().enumerate().map(middle)
    }

    /// Squared error of rounding inside a range and clipping outside of it; zeros are exact.
    fn squared_error(&self, low: f64, high: f64) -> f64 {
        let step = (high - low) / 255.0;
        let width = f64::from(self.high - self.low) / BINS as f64;
        let of = |(value, count): (f64, f64)| {
            let beyond = (value - high).max(low - value).max(0.0);
            let holds_zero = value.abs() <= width / 2.0;
            let rounding = if holds_zero { 0.0 } else { step * step / 12.0 };
            count
                * if beyond > 0.0 {
                    beyond * beyond
                } else {
                    rounding
                }
        };
        self.bins().map(of).sum()
    }

    fn percentile(&self, percent: f64, (low, high): (f64, f64)) -> (f64, f64) {
        let all: f64 = self.counts.iter().map(|&c| c as f64).sum();
        let outside = all * (1.0 - percent / 100.0);
        let end = |mut bins: Box<dyn Iterator<Item = (f64, f64)> + '_>| {
            let mut passed = 0.0;
            let found = bins.find(|(_, count)| {
                passed += count;
                passed > outside
            });
            found.map(|(value, _)| value)
        };
        let top = end(Box::new(self.bins().rev())).unwrap_or(high);
        let bottom = end(Box::new(self.bins())).unwrap_or(low);
        (bottom.min(0.0).max(low), top.max(0.0).min(high))
    }

    /// Scale and zero point.
    pub(super) fn scale(&self, clipping: Clipping, activations: Activations) -> Scale {
        let (low, high) = self.clipped(clipping, activations);
        let step = |range: f64, steps: f64| match (range / steps) as f32 {
            step if step > f32::MIN_POSITIVE && step.is_finite() => step,
            _ => 1.0,
        };
        match activations {
            Activations::Symmetric => Scale {
                step: step(high.max(-low), 127.0),
                zero: 0,
            },
            Activations::Unsigned => {
                let step = step(high - low, 255.0);
                let zero = (-low / f64::from(step)).round().clamp(0.0, 255.0);
                Scale {
                    step,
                    zero: zero as i32,
                }
            }
        }
    }

    /// Both ranges and counts of two values that are to share a scale: counts are taken in the wider range.
    pub(super) fn joined(parts: &[&Self]) -> Self {
        let fold = |f: fn(f32, f32) -> f32, of: fn(&Self) -> f32| {
            parts.iter().map(|part| of(part)).reduce(f).unwrap_or(0.0)
        };
        let mut all = Self::between(fold(f32::min, |s| s.low), fold(f32::max, |s| s.high));
        all.counts = vec![0; BINS];
        let factor = BINS as f64 / f64::from(all.high - all.low).max(f64::MIN_POSITIVE);
        for (value, count) in parts.iter().flat_map(|part| part.bins()) {
            let bin = ((value - f64::from(all.low)) * factor) as usize;
            all.counts[bin.min(BINS - 1)] += count as u64;
        }
        all
    }
}

/// Runs the network twice on images: first how far values reach, then how they are spread.
///
/// # Errors
/// A network that does not run on the images.
pub(super) fn observe(
    network: &Network,
    (images, numbers): (&Images, &[usize]),
    names: &[&str],
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Seen>, TqzError> {
    let shards = images.batches(numbers, network.fixed_batch().unwrap_or(SHARD));
    progress.begin("measuring activations", 2 * shards.len() as u64);
    let mut all = pass(
        network,
        (images, &shards),
        names,
        progress,
        |_, value, seen| {
            seen.widen(value);
        },
    )?;
    let ranges = &all;
    let second = pass(
        network,
        (images, &shards),
        names,
        progress,
        |name, value, seen| {
            (seen.low, seen.high) = (ranges[name].low, ranges[name].high);
            seen.count(value);
        },
    )?;
    progress.finish();
    for (name, seen) in second {
        if let Some(known) = all.get_mut(&name) {
            known.counts = seen.counts;
        }
    }
    Ok(all)
}

/// One run over all shards; what each saw is put together in their order.
fn pass(
    network: &Network,
    (images, shards): (&Images, &[Vec<usize>]),
    names: &[&str],
    progress: &dyn Progress,
    look: impl Fn(&str, &ArrayD<f32>, &mut Seen) + Sync,
) -> Result<BTreeMap<String, Seen>, TqzError> {
    let run = |numbers: &Vec<usize>| -> Result<BTreeMap<String, Seen>, TqzError> {
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        let batch = network.fill_batch(images.batch(numbers)?.view())?;
        network.run_adjusting(&[batch], names, &mut |name, value| {
            look(name, &value, seen.entry(name.to_owned()).or_default());
            value
        })?;
        progress.advance(1);
        Ok(seen)
    };
    let found: Vec<BTreeMap<String, Seen>> =
        shards.par_iter().map(run).collect::<Result<_, _>>()?;
    let mut all: BTreeMap<String, Seen> = BTreeMap::new();
    for (name, seen) in found.into_iter().flatten() {
        match all.get_mut(&name) {
            Some(sum) => merge(sum, &seen),
            None => {
                all.insert(name, seen);
            }
        }
    }
    Ok(all)
}

fn merge(sum: &mut Seen, part: &Seen) {
    sum.low = sum.low.min(part.low);
    sum.high = sum.high.max(part.high);
    sum.counts.resize(part.counts.len(), 0);
    sum.counts
        .iter_mut()
        .zip(&part.counts)
        .for_each(|(a, b)| *a += b);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    fn seen(values: Vec<f32>) -> Seen {
        let array = ArrayD::from_shape_vec(IxDyn(&[values.len()]), values).expect("shape");
        let mut seen = Seen::default();
        seen.widen(&array);
        seen.count(&array);
        seen
    }

    #[test]
    fn an_outlier_is_clipped_for_the_sake_of_the_others() {
        let mut values: Vec<f32> = (0..400_000).map(|i| (i % 100) as f32 / 100.0).collect();
        values.push(2.0);
        let seen = seen(values);
        let (_, high) = seen.clipped(Clipping::SquaredError, Activations::Unsigned);
        assert!(high < 1.6 && high > 0.9, "{high}");
        let whole = seen.clipped(Clipping::None, Activations::Unsigned);
        assert_eq!(whole, (0.0, 2.0));
        let (_, high) = seen.clipped(Clipping::Percentile(99.9), Activations::Unsigned);
        assert!((high - 0.99).abs() < 0.01, "{high}");
    }

    #[test]
    fn symmetric_ranges_are_clipped_by_the_steps_that_they_have() {
        // Of one-sided values a symmetric range wastes half its steps: clipping is worth more than for an unsigned one.
        let mut values: Vec<f32> = (0..100_000).map(|i| (i % 100) as f32 / 100.0).collect();
        values.extend([2.0; 2]);
        let seen = seen(values);
        let end = |activations| seen.clipped(Clipping::SquaredError, activations);
        let (unsigned, symmetric) = (end(Activations::Unsigned), end(Activations::Symmetric));
        assert!(symmetric.1 < unsigned.1, "{symmetric:?} {unsigned:?}");
        assert_eq!(symmetric.0, -symmetric.1);
    }

    #[test]
    fn zero_is_represented_exactly() {
        let signed = seen(vec![-0.3, 0.9, 0.1]).scale(Clipping::None, Activations::Unsigned);
        assert_eq!(signed.zero, 64);
        let positive = seen(vec![0.3, 0.9]).scale(Clipping::None, Activations::Unsigned);
        assert_eq!(positive.zero, 0);
        let symmetric = seen(vec![-0.3, 0.9]).scale(Clipping::None, Activations::Symmetric);
        assert!((symmetric.step - 0.9 / 127.0).abs() < 1e-9 && symmetric.zero == 0);
    }
}
