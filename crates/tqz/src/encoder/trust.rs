//! How far the closed form is trusted: damping, and how much more or less than it predicts each layer's errors do, measured with that
//! layer alone quantized on images kept back (theory §9). Median ratios of networks differ little from 1, those of layers by a factor of
//! ten: as much as two bits a weight.

use tqz_engine::Network;

use crate::encoder::{Job, spread};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::Images;

/// A layer's ratio and its inverse at most: beyond, something else is measured than the layer's own errors.
const MOST: f64 = 20.0;

/// How far a network's statistics are trusted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trust {
    /// Factor of all damping.
    pub(crate) damping_factor: f64,
    /// Measured over predicted distortion of each layer; empty where that was not measured.
    pub(crate) ratios: Vec<f64>,
}

/// How far one layer's statistics are trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LayerTrust {
    /// Factor of its damping.
    pub(crate) damping_factor: f64,
    /// Factor of what its errors do by the closed form.
    pub(crate) ratio: f64,
}

impl Trust {
    /// The standard damping, distortion as predicted.
    pub(crate) fn standard() -> Self {
        Self {
            damping_factor: 1.0,
            ratios: Vec::new(),
        }
    }

    /// Of the layer of this number.
    pub(crate) fn of(&self, index: usize) -> LayerTrust {
        LayerTrust {
            damping_factor: self.damping_factor,
            ratio: self.ratios.get(index).copied().unwrap_or(1.0),
        }
    }

    /// The same with another factor of damping.
    pub(crate) fn with_damping(&self, damping_factor: f64) -> Self {
        Self {
            damping_factor,
            ratios: self.ratios.clone(),
        }
    }

    /// The same with ratios that were measured where `self` was trusted.
    pub(crate) fn times(&self, ratios: &[f64]) -> Self {
        let ratios = ratios.iter().enumerate();
        Self {
            damping_factor: self.damping_factor,
            ratios: ratios.map(|(i, ratio)| ratio * self.of(i).ratio).collect(),
        }
    }
}

/// Measured over predicted distortion of every layer, each alone with its weights from `quantized` in the original network; 1 where
/// either is nothing.
///
/// # Errors
/// A network that does not run on the images.
pub(crate) fn measured_ratios(
    job: Job<'_>,
    (quantized, predicted): (&Network, &[f64]),
    images: &Images,
) -> Result<Vec<f64>, TqzError> {
    let numbers = spread(images.held(), job.budget.alone_images);
    let original = job.source.network();
    let yardstick = Yardstick::new(original, images, &numbers)?;
    let layers = job.source.layers();
    job.progress
        .begin("measuring layers alone", layers.len() as u64);
    let mut ratios = Vec::with_capacity(layers.len());
    for (layer, &predicted) in layers.iter().zip(predicted) {
        let weights = quantized.weight(&layer.name).into_iter();
        let alone = weights.map(|w| (layer.name.clone(), w)).collect();
        let measured = yardstick.measure(&original.with_weights(&alone)?)?;
        let ratio = measured / predicted;
        let told = ratio.is_finite() && ratio > 0.0;
        ratios.push(if told {
            ratio.clamp(1.0 / MOST, MOST)
        } else {
            1.0
        });
        job.progress.advance(1);
    }
    job.progress.finish();
    Ok(ratios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocate::Hint;
    use crate::calibrate::CalibrationSpec;
    use crate::config::{Effort, EncoderConfig, Metric, RateTarget};
    use crate::encoder::Budget;
    use crate::encoder::pass::{Pass, quantized_network};
    use crate::progress::Silent;
    use crate::source::Source;
    use crate::statistics::{Moment, Statistics};
    use ndarray::{ArrayD, IxDyn};
    use rand::{RngExt, SeedableRng};
    use tqz_engine::EngineDevice;

    /// The demo network, what it was calibrated on, and its statistics.
    fn subject() -> (Source, Images, Statistics) {
        let model = tqz_onnx::decode_model(include_bytes!("../../../../assets/demo.onnx"));
        let device = EngineDevice::cpu();
        let source = Source::new(model.expect("valid"), &device).expect("supported");
        let mut rng = rand_pcg::Pcg64::seed_from_u64(3);
        let batch = ArrayD::from_shape_fn(IxDyn(&[60, 3, 32, 32]), |_| rng.random::<f32>() - 0.5);
        let spec = CalibrationSpec {
            metric: Metric::Fisher,
            seed: 0,
            images: 60,
        };
        let mut calibration = source.calibration(spec);
        let numbers: Vec<usize> = (0..60).collect();
        let added = calibration.add(&batch, &numbers, &Silent);
        added.expect("the demo network runs");
        let mut images = Images::new();
        images.add(&batch);
        let statistics = calibration.finish();
        (source, images, statistics)
    }

    /// The ratios of a coding by these statistics, trusted so far.
    fn ratios(
        source: &Source,
        images: &Images,
        statistics: &Statistics,
        trust: &Trust,
    ) -> Vec<f64> {
        let job = Job {
            source,
            statistics,
            config: &EncoderConfig::new(RateTarget::BitsPerWeight(2.5)),
            budget: Budget::new(source, images, Effort::Balanced).expect("runs"),
            progress: &Silent,
        };
        let pass = Pass::new(job, trust).expect("factored");
        let coded = pass.search(Hint::default()).expect("reachable");
        let network = quantized_network(job, &coded.layers).expect("decodes");
        let predicted: Vec<f64> = coded.layers.iter().map(|l| l.distortion).collect();
        measured_ratios(job, (&network, &predicted), images).expect("runs")
    }

    /// G of one layer a hundredth of what it is: that layer alone does far more than predicted, and no longer once it is weighted by that.
    #[test]
    fn a_layer_that_does_more_than_predicted_is_found_and_weighted() {
        let (source, images, mut statistics) = subject();
        let true_ratios = ratios(&source, &images, &statistics, &Trust::standard());
        let wrong = 2;
        let name = &source.layers()[wrong].name;
        let group = &mut statistics.layers.get_mut(name).expect("measured").groups[0];
        let g = &group.output;
        let sum = g.sum().iter().map(|v| v / 100.0).collect();
        let scatter = g.scatter();
        group.output =
            Moment::from_parts(g.order(), sum, (g.count(), scatter)).expect("its length");
        let found = ratios(&source, &images, &statistics, &Trust::standard());
        assert!(
            found[wrong] > 5.0 * true_ratios[wrong],
            "{found:?} {true_ratios:?}"
        );
        let weighted = Trust::standard().times(&found);
        let again = ratios(&source, &images, &statistics, &weighted);
        assert!((0.3..3.0).contains(&again[wrong]), "{again:?}");
    }

    #[test]
    fn ratios_multiply_and_layers_without_one_are_trusted() {
        let trust = Trust::standard().with_damping(3.0).times(&[2.0, 0.5]);
        let trust = trust.times(&[2.0, 2.0]);
        assert_eq!(trust.ratios, [4.0, 1.0]);
        assert_eq!(trust.of(5).ratio, 1.0);
        assert_eq!(trust.of(0).damping_factor, 3.0);
    }
}
