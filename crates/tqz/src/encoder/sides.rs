//! How precise side values are in the file: normalisations' scales, and biases and offsets, have the significant bits that are worth their bytes.

use std::f64::consts::LN_2;

use ndarray::ArrayD;
use tqz_engine::Network;
use tqz_format::{TqzFile, Vector};

use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::repair::SideValues;
use crate::side::{PEAK_BITS, quantize_vector};
use crate::source::Source;

/// Significant bits, falling.
const TRIED: [i32; 7] = [PEAK_BITS, 12, 10, 9, 8, 7, 6];
/// Natural logarithm of the distance that a bit for every weight saves, where errors are small: the square of one halved.
const LN_PER_BIT: f64 = 2.0 * LN_2;

/// Cost of a bit by itself: of two that are as good the coarser is taken, as where scales are one until they are tuned.
const TIE: f64 = 1e-9;

/// Significant bits of the largest value of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SideBits {
    /// Of what normalisations multiply by.
    scales: i32,
    /// Of what is added.
    offsets: i32,
}

impl SideBits {
    /// As precise as where nothing was measured.
    const FULL: Self = Self {
        scales: PEAK_BITS,
        offsets: PEAK_BITS,
    };

    fn of(self, source: &Source, name: &str) -> i32 {
        let mut scales = source.knobs().iter().filter_map(|k| k.scale.as_deref());
        match scales.any(|scale| scale == name) {
            true => self.scales,
            false => self.offsets,
        }
    }

    /// The coarsest precision of which each step down was worth it.
    ///
    /// # Errors
    /// As [`Weighed::cost`].
    pub(crate) fn coarsest(of: &Weighed<'_>) -> Result<Self, TqzError> {
        Self::FULL.moved(of, |bits| TRIED.iter().copied().find(|&tried| tried < bits))
    }

    /// A finer precision as long as each step up is worth it.
    ///
    /// # Errors
    /// As [`Weighed::cost`].
    pub(crate) fn finer(self, of: &Weighed<'_>) -> Result<Self, TqzError> {
        self.moved(of, |bits| {
            TRIED.iter().rev().copied().find(|&tried| tried > bits)
        })
    }

    /// Moved from step to step as long as that costs less, first offsets, then scales.
    fn moved(self, of: &Weighed<'_>, step: impl Fn(i32) -> Option<i32>) -> Result<Self, TqzError> {
        let (mut chosen, mut least) = (self, of.cost(self)?);
        let parts: [fn(&mut Self) -> &mut i32; 2] = [|of| &mut of.offsets, |of| &mut of.scales];
        for part in parts {
            while let Some(bits) = step(*part(&mut chosen)) {
                let mut next = chosen;
                *part(&mut next) = bits;
                let cost = of.cost(next)?;
                if cost >= least {
                    break;
                }
                (chosen, least) = (next, cost);
            }
        }
        Ok(chosen)
    }

    /// Side values as the file stores them.
    pub(crate) fn vectors(self, source: &Source, values: &SideValues) -> Vec<Vector> {
        let vector = |(name, value): (&String, &ArrayD<f32>)| {
            let (log2_step, levels) = quantize_vector(value.as_slice()?, self.of(source, name))?;
            Some(Vector {
                site: source.site(name)? as u32,
                log2_step,
                levels,
            })
        };
        values.iter().filter_map(vector).collect()
    }

    /// Side values as a decoder gives them back.
    ///
    /// # Errors
    /// Values that the format cannot hold.
    pub(crate) fn rounded(
        self,
        source: &Source,
        values: &SideValues,
    ) -> Result<SideValues, TqzError> {
        decoded(&self.vectors(source, values), source, values)
    }
}

/// What side values and their precision are judged by.
pub(crate) struct Weighed<'a> {
    pub(crate) source: &'a Source,
    /// The quantized network.
    pub(crate) network: &'a Network,
    /// Side values as they would be best.
    pub(crate) sides: &'a SideValues,
    pub(crate) yardstick: &'a Yardstick<'a>,
}

impl Weighed<'_> {
    /// Logarithm of the distance and the bytes together: what bytes would take from the distance, spent on weights.
    ///
    /// # Errors
    /// A network that does not run; values that the format cannot hold.
    fn cost(&self, bits: SideBits) -> Result<f64, TqzError> {
        let vectors = bits.vectors(self.source, self.sides);
        let rounded = decoded(&vectors, self.source, self.sides)?;
        let network = self.network.with_weights(&rounded)?;
        let distance = self.yardstick.measure(&network)?;
        let file = TqzFile {
            vectors,
            ..TqzFile::default()
        };
        let weights = self.source.weight_count().max(1) as f64;
        let rate_bpw = 8.0 * file.encode()?.len() as f64 / weights;
        let tie = TIE * f64::from(bits.scales + bits.offsets);
        Ok(distance.max(f64::MIN_POSITIVE).ln() + LN_PER_BIT * rate_bpw + tie)
    }
}

/// Values that are stored as these vectors; those that are not stay as they are.
fn decoded(
    vectors: &[Vector],
    source: &Source,
    values: &SideValues,
) -> Result<SideValues, TqzError> {
    let mut rounded = values.clone();
    for (name, value) in &mut rounded {
        let site = source.site(name);
        let Some(vector) = vectors.iter().find(|v| Some(v.site as usize) == site) else {
            continue;
        };
        let decoded = source.typed(vector.site as usize, vector.reconstruct()?)?;
        value.iter_mut().zip(decoded).for_each(|(to, v)| *to = v);
    }
    Ok(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::candidate::candidate;
    use crate::encoder::testing::{Calibrated, demo};
    use crate::encoder::trust::Trust;
    use crate::repair::side_values;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Largest difference beside the largest value.
    fn error(rounded: &ArrayD<f32>, value: &ArrayD<f32>) -> f32 {
        let largest = |values: &ArrayD<f32>| values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        largest(&(rounded - value)) / largest(value)
    }

    #[test]
    fn scales_and_offsets_have_bits_of_their_own() {
        let source = demo();
        let mut rng = Pcg64::seed_from_u64(2);
        let mut sides = side_values(source.network(), source.knobs());
        let values = sides.values_mut().flat_map(|value| value.iter_mut());
        values.for_each(|v| *v = 1.0 + rng.random::<f32>());
        let bits = SideBits {
            scales: 6,
            offsets: 12,
        };
        let rounded = bits.rounded(&source, &sides).expect("fits");
        let error = |name: &String| error(&rounded[name], &sides[name]);
        let scales: Vec<&String> = source
            .knobs()
            .iter()
            .filter_map(|k| k.scale.as_ref())
            .collect();
        assert!(!scales.is_empty());
        for scale in scales {
            assert!((0.001..0.016).contains(&error(scale)), "{}", error(scale));
        }
        for knob in source.knobs() {
            assert!(error(&knob.offset) < 0.0003, "{}", error(&knob.offset));
        }
    }

    /// The demo network's side values are a good part of so small a file.
    #[test]
    fn bits_that_are_not_worth_their_bytes_are_left_out() {
        let calibrated = Calibrated::on_noise(48);
        let (source, images) = (&calibrated.source, &calibrated.images);
        let job = calibrated.job();
        let yardstick = Yardstick::new(source.network(), images, &images.held()).expect("runs");
        let judged = (images, &yardstick);
        let best = candidate(job, judged, (&Trust::standard(), None)).expect("reached");
        let weighed = Weighed {
            source,
            network: &best.network,
            sides: &best.sides,
            yardstick: &yardstick,
        };
        let bits = SideBits::coarsest(&weighed).expect("runs");
        assert!(bits.offsets < PEAK_BITS, "{bits:?}");
        // Scales that are one have no need of any.
        let untouched = side_values(source.network(), source.knobs());
        let of_ones = SideBits::coarsest(&Weighed {
            sides: &untouched,
            ..weighed
        });
        assert_eq!(Some(&of_ones.expect("runs").scales), TRIED.last());
        let distance = |bits: SideBits| {
            let rounded = bits.rounded(source, &best.sides).expect("fits");
            let network = best.network.with_weights(&rounded).expect("fits");
            yardstick.measure(&network).expect("runs")
        };
        let ratio = distance(bits) / distance(SideBits::FULL);
        assert!(ratio < 1.5, "{ratio}");
        assert_eq!(bits.finer(&weighed).expect("runs"), bits);
        let ruinous = SideBits {
            scales: 1,
            offsets: 1,
        };
        let finer = ruinous.finer(&weighed).expect("runs");
        assert!(
            finer.offsets > 6
                && weighed.cost(finer).expect("runs") < weighed.cost(ruinous).expect("runs")
        );
    }
}
