//! Each layer alone: quantized in the otherwise original network and run on images kept back, which tells how much more or less than
//! predicted its errors do (theory §9). Median ratios of networks differ little from 1, those of layers by a factor of ten and more: as
//! much as two bits a weight.

use crate::alone::distances_alone;
use crate::encoder::ratios::{Measured, ratios};
use crate::encoder::{CodedLayer, Job};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::Images;

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

    /// What each of these layers does over what is predicted, beside the typical one.
    ///
    /// # Errors
    /// A network that does not run on the images.
    pub(crate) fn ratios(&self, coded: &[CodedLayer]) -> Result<Vec<f64>, TqzError> {
        let job = self.job;
        let layers = job.source.layers().iter().zip(coded);
        let weights = layers.map(|(layer, coded)| job.source.decoded_by_name(layer, &coded.record));
        let distances = distances_alone(job.source, weights, &self.yardstick, job.progress)?;
        let measured = coded.iter().zip(distances).map(|(coded, each)| Measured {
            predicted: coded.distortion,
            each,
        });
        Ok(ratios(&measured.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocate::Hint;
    use crate::calibrate::CalibrationSpec;
    use crate::config::{Effort, EncoderConfig, Metric, RateTarget};
    use crate::encoder::Budget;
    use crate::encoder::pass::Pass;
    use crate::encoder::trust::Trust;
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
    fn found(
        (source, images, statistics): (&Source, &Images, &Statistics),
        trust: &Trust,
    ) -> Vec<f64> {
        let job = Job {
            source,
            statistics,
            config: &EncoderConfig::new(RateTarget::BitsPerWeight(2.5)),
            budget: Budget::new(source, images, Effort::Balanced).expect("runs"),
            image: None,
            progress: &Silent,
        };
        let pass = Pass::new(job, trust).expect("factored");
        let coded = pass.search(Hint::default()).expect("reachable");
        let alone = Alone::new(job, images, &images.held()).expect("runs");
        alone.ratios(&coded.layers).expect("runs")
    }

    /// G of one layer a sixteenth of what it is (trust goes up to twenty): that layer alone does far more than predicted, and no longer once it is weighted by that.
    #[test]
    fn a_layer_that_does_more_than_predicted_is_found_and_weighted() {
        let (source, images, mut statistics) = subject();
        let ratios =
            |statistics: &Statistics, trust: &Trust| found((&source, &images, statistics), trust);
        let sound = ratios(&statistics, &Trust::standard());
        let wrong = 2;
        let name = &source.layers()[wrong].name;
        let group = &mut statistics.layers.get_mut(name).expect("measured").groups[0];
        let g = &group.output;
        let sum = g.sum().iter().map(|v| v / 16.0).collect();
        let mut scatter = g.scatter();
        scatter.squares /= 256.0;
        group.output =
            Moment::from_parts(g.order(), sum, (g.count(), scatter)).expect("its length");
        let found = ratios(&statistics, &Trust::standard());
        assert!(found[wrong] > 5.0 * sound[wrong], "{found:?} {sound:?}");
        let again = ratios(&statistics, &Trust::standard().times(&found));
        assert!((0.3..3.0).contains(&again[wrong]), "{again:?}");
    }
}
