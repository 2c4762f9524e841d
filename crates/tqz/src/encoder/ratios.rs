//! What layers were measured to do over what was predicted, freed of the chance of few images: each layer's ratio is drawn toward the
//! typical one as far as its own images disagree (empirical Bayes), and only what sets layers apart is kept.

use crate::fidelity::mean;

/// One layer coded in some way, alone in the original.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Factor of the damping that it has.
    pub(super) damping_factor: f64,
    /// Distortion by the closed form.
    pub(super) predicted: f64,
    /// Distortion image by image.
    pub(super) each: Vec<f64>,
    /// Size of its record.
    pub(super) size_bits: f64,
}

impl Measured {
    /// Distortion, mean over the images.
    pub(super) fn distortion(&self) -> f64 {
        mean(&self.each)
    }

    /// Logarithm of measured over predicted distortion and the variance of it by chance of the images; none where either is nothing.
    pub(super) fn log_ratio(&self) -> Option<(f64, f64)> {
        let measured = self.distortion();
        let log = (measured / self.predicted).ln();
        (log.is_finite() && measured > 0.0)
            .then(|| (log, (standard_error(&self.each) / measured).powi(2)))
    }

    /// Whether this way is cheaper than another by more than chance, at a price of a bit: the same images judge both.
    pub(super) fn is_cheaper(&self, other: &Self, price: f64) -> bool {
        let pairs = self.each.iter().zip(&other.each);
        let differences: Vec<f64> = pairs.map(|(own, others)| own - others).collect();
        let difference = mean(&differences) + price * (self.size_bits - other.size_bits);
        difference < -standard_error(&differences)
    }
}

/// Ratios of layers, apart in what is common to all and what is each one's own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ratios {
    /// Of the typical layer.
    pub(super) common: f64,
    /// Of each layer beside that; 1 where nothing was measured.
    pub(super) own: Vec<f64>,
}

impl Ratios {
    /// From what was measured: the typical layer is the median one; what varies more than chance says belongs to the layers.
    pub(super) fn of(measured: &[Measured]) -> Self {
        let logs: Vec<Option<(f64, f64)>> = measured.iter().map(Measured::log_ratio).collect();
        let known: Vec<(f64, f64)> = logs.iter().flatten().copied().collect();
        let common = median(known.iter().map(|(log, _)| *log).collect());
        let surplus = |(log, variance): &(f64, f64)| (log - common).powi(2) - variance;
        let spread = mean(&known.iter().map(surplus).collect::<Vec<_>>()).max(0.0);
        let own = |log: &Option<(f64, f64)>| match log {
            Some((log, variance)) if spread > 0.0 => {
                ((log - common) * spread / (spread + variance)).exp()
            }
            _ => 1.0,
        };
        Self {
            common: common.exp(),
            own: logs.iter().map(own).collect(),
        }
    }
}

/// Standard error of the mean.
fn standard_error(values: &[f64]) -> f64 {
    let (count, mean) = (values.len() as f64, mean(values));
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / (count * (count - 1.0)).max(1.0)).sqrt()
}

/// The middle one; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(predicted: f64, each: &[f64], size_bits: f64) -> Measured {
        Measured {
            damping_factor: 1.0,
            predicted,
            each: each.to_vec(),
            size_bits,
        }
    }

    /// All layers twice as bad as predicted: that is common, and none stands out.
    #[test]
    fn what_all_layers_share_is_no_layers_own() {
        let layers = [1.0, 3.0, 5.0].map(|p| measured(p, &[1.9 * p, 2.1 * p], 1.0));
        let ratios = Ratios::of(&layers);
        assert!((ratios.common - 2.0).abs() < 1e-12, "{ratios:?}");
        assert!(
            ratios.own.iter().all(|r| (r - 1.0).abs() < 1e-12),
            "{ratios:?}"
        );
    }

    /// Two layers eight times as bad as the others: the one whose images agree keeps that, the other is drawn to the rest.
    #[test]
    fn a_ratio_counts_as_far_as_images_agree() {
        let sure = measured(1.0, &[7.9, 8.0, 8.0, 8.1], 1.0);
        let unsure = measured(1.0, &[0.0, 0.0, 0.0, 32.0], 1.0);
        let usual = measured(1.0, &[1.0, 0.9, 1.1, 1.0], 1.0);
        let ratios = Ratios::of(&[sure, unsure, usual.clone(), usual.clone(), usual]);
        assert!((ratios.common - 1.0).abs() < 1e-9, "{ratios:?}");
        assert!(ratios.own[0] > 7.5, "{ratios:?}");
        assert!(ratios.own[1] > 1.5 && ratios.own[1] < 6.0, "{ratios:?}");
    }

    /// A layer that does nothing, or of which nothing is predicted, says nothing.
    #[test]
    fn layers_that_do_nothing_are_left_alone() {
        let layers = [
            measured(1.0, &[0.0, 0.0], 1.0),
            measured(0.0, &[1.0, 1.1], 1.0),
            measured(1.0, &[3.0, 3.1], 1.0),
        ];
        assert_eq!(Ratios::of(&layers).own, [1.0, 1.0, 1.0]);
        assert_eq!(Ratios::of(&[]).own, [0.0; 0]);
    }

    /// Cheaper in sum, by the images' agreement and by the price of a bit.
    #[test]
    fn cheaper_is_more_than_chance() {
        let old = measured(1.0, &[1.0, 2.0, 3.0, 4.0], 100.0);
        let better = measured(1.0, &[0.9, 1.9, 2.9, 3.9], 100.0);
        assert!(better.is_cheaper(&old, 1.0) && !old.is_cheaper(&better, 1.0));
        let chance = measured(1.0, &[0.0, 2.5, 3.5, 3.6], 100.0);
        assert!(chance.distortion() < old.distortion());
        assert!(!chance.is_cheaper(&old, 1.0));
        let larger = measured(1.0, &[0.9, 1.9, 2.9, 3.9], 102.0);
        assert!(larger.is_cheaper(&old, 0.01) && !larger.is_cheaper(&old, 0.1));
    }
}
