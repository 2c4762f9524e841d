//! Each layer alone: quantized in the otherwise original network and run on images kept back, which tells how much more or less than
//! predicted its errors do, and with which damping it is cheapest (theory §9). Median ratios of networks differ little from 1, those of
//! layers by a factor of ten and more: as much as two bits a weight.

use crate::alone::distances_alone;
use crate::encoder::pass::{Pass, decoded};
use crate::encoder::ratios::{Measured, Ratios};
use crate::encoder::trust::{LayerTrust, Trust};
use crate::encoder::{CodedLayer, Job};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::Images;

/// Factors of a layer's damping that are tried beside what it has: less is what all together may want, rarely one alone.
const FACTORS: [f64; 2] = [4.0, 16.0];
/// Part of all bits and of all distortion below which a layer's damping is not worth the trying.
const WORTH_TRYING: f64 = 0.005;

/// What layers are measured by.
pub(crate) struct Alone<'a> {
    job: Job<'a>,
    yardstick: Yardstick<'a>,
}

impl<'a> Alone<'a> {
    /// Runs the original on images of these numbers.
    ///
    /// # Errors
    /// The network does not run on them.
    pub(crate) fn new(
        job: Job<'a>,
        images: &'a Images,
        numbers: &[usize],
    ) -> Result<Self, TqzError> {
        let yardstick = Yardstick::new(job.source.network(), images, numbers)?;
        Ok(Self { job, yardstick })
    }

    /// What each of these layers does beside the typical one, and how it is to be trusted so that the closed form says the same.
    ///
    /// # Errors
    /// A network that does not run on the images.
    pub(crate) fn ratios(&self, coded: &[CodedLayer]) -> Result<Vec<LayerTrust>, TqzError> {
        Ok(trusted(&self.measure((coded, &self.every()), 1.0)?))
    }

    /// The damping at which each layer is cheapest, among a few factors of what it has, and what it then does beside what is predicted:
    /// factors of `trust`, with which the layers of `coded` were coded at `step`. A bit costs what it saved there by what was measured.
    ///
    /// # Errors
    /// As coding and running the network.
    pub(crate) fn cheapest(
        &self,
        (trust, coded): (&Trust, &[CodedLayer]),
        step: f64,
    ) -> Result<Vec<LayerTrust>, TqzError> {
        let mut best = self.measure((coded, &self.every()), 1.0)?;
        let ratios = Ratios::of(&best);
        let price = self.job.config.quantizer.slope() * step * step * ratios.common;
        let chosen = worth_trying(&best);
        for factor in FACTORS {
            let damped = trust.with_damping(factor * trust.damping_factor);
            let tried = Pass::new(self.job, &damped)?.layers_at(step)?;
            let tried = self.measure((&tried, &chosen), factor)?;
            for (&index, tried) in chosen.iter().zip(tried) {
                if tried.is_cheaper(&best[index], price * ratios.own[index]) {
                    best[index] = tried;
                }
            }
        }
        Ok(trusted(&best))
    }

    /// Numbers of all layers.
    fn every(&self) -> Vec<usize> {
        (0..self.job.source.layers().len()).collect()
    }

    /// The chosen ones of these layers.
    fn measure(
        &self,
        (coded, chosen): (&[CodedLayer], &[usize]),
        damping_factor: f64,
    ) -> Result<Vec<Measured>, TqzError> {
        let job = self.job;
        let layers = job.source.layers();
        let weights = chosen.iter().map(|&index| {
            let layer = &layers[index];
            Ok((layer.name.clone(), decoded(layer, &coded[index])?))
        });
        let distances = distances_alone(job.source, weights, &self.yardstick, job.progress)?;
        let measured = |(&index, each): (&usize, Vec<f64>)| {
            Ok(Measured {
                damping_factor,
                predicted: coded[index].distortion,
                each,
                size_bits: 8.0 * coded[index].record.encode()?.len() as f64,
            })
        };
        chosen.iter().zip(distances).map(measured).collect()
    }
}

/// Numbers of the layers that do something and have a noticeable part of the bits or of the distortion.
fn worth_trying(measured: &[Measured]) -> Vec<usize> {
    let sum = |of: &dyn Fn(&Measured) -> f64| measured.iter().map(of).sum::<f64>();
    let least_bits = WORTH_TRYING * sum(&|m| m.size_bits);
    let least_distortion = WORTH_TRYING * sum(&Measured::distortion);
    let is_worth = |m: &Measured| {
        let noticeable = m.size_bits >= least_bits || m.distortion() >= least_distortion;
        noticeable && m.log_ratio().is_some()
    };
    let numbers = measured.iter().enumerate();
    numbers
        .filter(|(_, m)| is_worth(m))
        .map(|(i, _)| i)
        .collect()
}

/// How layers are to be trusted that were coded so and did this.
fn trusted(measured: &[Measured]) -> Vec<LayerTrust> {
    let own = Ratios::of(measured).own;
    let trust = |(measured, ratio): (&Measured, f64)| LayerTrust {
        damping_factor: measured.damping_factor,
        ratio,
    };
    measured.iter().zip(own).map(trust).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocate::Hint;
    use crate::calibrate::CalibrationSpec;
    use crate::config::{Effort, EncoderConfig, Metric, RateTarget};
    use crate::encoder::Budget;
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

    /// A coding by these statistics, trusted so far, and what it is measured by.
    fn with_coding<T>(
        (source, images, statistics): (&Source, &Images, &Statistics),
        trust: &Trust,
        then: impl Fn(&Alone<'_>, &[CodedLayer], f64) -> T,
    ) -> T {
        let job = Job {
            source,
            statistics,
            config: &EncoderConfig::new(RateTarget::BitsPerWeight(2.5)),
            budget: Budget::new(source, images, Effort::Balanced).expect("runs"),
            progress: &Silent,
        };
        let pass = Pass::new(job, trust).expect("factored");
        let coded = pass.search(Hint::default()).expect("reachable");
        let alone = Alone::new(job, images, &images.held()).expect("runs");
        then(&alone, &coded.layers, coded.step)
    }

    /// G of one layer a hundredth of what it is: that layer alone does far more than predicted, and no longer once it is weighted by that.
    #[test]
    fn a_layer_that_does_more_than_predicted_is_found_and_weighted() {
        let (source, images, mut statistics) = subject();
        let ratios = |statistics: &Statistics, trust: &Trust| {
            with_coding((&source, &images, statistics), trust, |alone, coded, _| {
                alone.ratios(coded).expect("runs")
            })
        };
        let sound = ratios(&statistics, &Trust::standard());
        let wrong = 2;
        let name = &source.layers()[wrong].name;
        let group = &mut statistics.layers.get_mut(name).expect("measured").groups[0];
        let g = &group.output;
        let sum = g.sum().iter().map(|v| v / 100.0).collect();
        let mut scatter = g.scatter();
        scatter.squares /= 1e4;
        group.output =
            Moment::from_parts(g.order(), sum, (g.count(), scatter)).expect("its length");
        let found = ratios(&statistics, &Trust::standard());
        assert!(
            found[wrong].ratio > 5.0 * sound[wrong].ratio,
            "{found:?} {sound:?}"
        );
        let again = ratios(&statistics, &Trust::standard().times(&found));
        assert!((0.3..3.0).contains(&again[wrong].ratio), "{again:?}");
    }

    /// Damped far too little, layers are cheaper with more of it; far too much, hardly any is.
    #[test]
    fn damping_goes_where_layers_are_cheaper() {
        let (source, images, statistics) = subject();
        let factors = |damping_factor: f64| {
            let trust = Trust::standard().with_damping(damping_factor);
            with_coding(
                (&source, &images, &statistics),
                &trust,
                |alone, coded, step| {
                    let found = alone.cheapest((&trust, coded), step).expect("runs");
                    let logs = found.iter().map(|f| f.damping_factor.ln());
                    logs.sum::<f64>() / found.len() as f64
                },
            )
        };
        let (little, much) = (factors(1e-3), factors(1e2));
        assert!(little > 0.6 && much < 0.7 * little, "{little} {much}");
    }
}
