//! What layers were measured to do over what was predicted, freed of the chance of few images: each layer's ratio is drawn toward the
//! typical one as far as its own images disagree (empirical Bayes), and only what sets layers apart is kept.

use crate::encoder::trust::MOST;
use crate::fidelity::mean;

/// One layer quantized, alone in the original.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Distortion by the closed form.
    pub(super) predicted: f64,
    /// Distortion image by image.
    pub(super) each: Vec<f64>,
}

impl Measured {
    /// Logarithm of measured over predicted distortion and the variance of it by chance of the images; none where either is nothing.
    fn log_ratio(&self) -> Option<(f64, f64)> {
        let measured = mean(&self.each);
        let log = (measured / self.predicted).ln();
        let variance = (standard_error(&self.each) / measured).powi(2);
        let is_known = log.is_finite() && variance.is_finite() && measured > 0.0;
        is_known.then_some((log, variance))
    }
}

/// What each layer does over what is predicted, beside the typical layer, which is the median one; 1 where nothing is known. What varies
/// more than chance says belongs to the layers.
pub(super) fn ratios(measured: &[Measured]) -> Vec<f64> {
    let logs: Vec<Option<(f64, f64)>> = measured.iter().map(Measured::log_ratio).collect();
    let known: Vec<(f64, f64)> = logs.iter().flatten().copied().collect();
    let typical = median(known.iter().map(|(log, _)| *log).collect());
    // One broken layer does not say how much the others differ.
    let apart = |log: f64| (log - typical).clamp(-MOST.ln(), MOST.ln());
    let surplus = |(log, variance): &(f64, f64)| apart(*log).powi(2) - variance;
    let spread = mean(&known.iter().map(surplus).collect::<Vec<_>>()).max(0.0);
    let own = |log: &Option<(f64, f64)>| match log {
        Some((log, variance)) if spread > 0.0 => (apart(*log) * spread / (spread + variance)).exp(),
        _ => 1.0,
    };
    logs.iter().map(own).collect()
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

    fn measured(predicted: f64, each: &[f64]) -> Measured {
        Measured {
            predicted,
            each: each.to_vec(),
        }
    }

    /// All layers twice as bad as predicted: none stands out.
    #[test]
    fn what_all_layers_share_is_no_layers_own() {
        let layers = [1.0, 3.0, 5.0].map(|p| measured(p, &[1.9 * p, 2.1 * p]));
        let found = ratios(&layers);
        assert!(found.iter().all(|r| (r - 1.0).abs() < 1e-12), "{found:?}");
    }

    /// Two layers eight times as bad as the others: the one whose images agree keeps that, the other is drawn to the rest.
    #[test]
    fn a_ratio_counts_as_far_as_images_agree() {
        let sure = measured(1.0, &[7.9, 8.0, 8.0, 8.1]);
        let unsure = measured(1.0, &[0.0, 0.0, 0.0, 32.0]);
        let usual = measured(1.0, &[1.0, 0.9, 1.1, 1.0]);
        let found = ratios(&[sure, unsure, usual.clone(), usual.clone(), usual]);
        assert!(found[0] > 7.5, "{found:?}");
        assert!(found[1] > 1.5 && found[1] < 6.0, "{found:?}");
    }

    /// A layer whose outputs are no numbers leaves what is said of the others as it is.
    #[test]
    fn a_broken_layer_says_nothing_of_others() {
        let usual = [1.0, 1.2, 0.8].map(|m| measured(1.0, &[0.5 * m, 1.5 * m, m]));
        let broken = measured(1.0, &[f64::MAX.sqrt(), f64::MAX.sqrt(), 1.0]);
        let found = ratios(&[usual.to_vec(), vec![broken.clone(), broken]].concat());
        assert!(found.iter().all(|r| r.is_finite()), "{found:?}");
        assert!(
            found[..3].iter().all(|r| (0.5..2.0).contains(r)),
            "{found:?}"
        );
    }

    /// A layer that does nothing, or of which nothing is predicted, says nothing.
    #[test]
    fn layers_that_do_nothing_are_left_alone() {
        let layers = [
            measured(1.0, &[0.0, 0.0]),
            measured(0.0, &[1.0, 1.1]),
            measured(1.0, &[3.0, 3.1]),
        ];
        assert_eq!(ratios(&layers), [1.0, 1.0, 1.0]);
        assert!(ratios(&[]).is_empty());
    }
}
