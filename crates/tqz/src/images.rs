//! Calibration images in memory, for everything that runs the network more than once: measuring, repairing, tuning.

use ndarray::{ArrayD, ArrayViewD, Axis, stack};

use crate::calibrate::{Calibration, CalibrationSpec};
use crate::config::Metric;
use crate::error::TqzError;
use crate::progress::Progress;
use crate::source::Source;
use crate::statistics::Statistics;

/// One in this many images is kept back from learning and used to judge.
const HELD_EVERY: usize = 5;

/// Images kept back that say how far statistics of others are to be damped, at most and at least.
const VALIDATING: usize = 64;
const LEAST_VALIDATING: usize = 8;

/// Preprocessed images, each C × H × W.
#[derive(Debug, Clone, Default)]
pub struct Images {
    samples: Vec<ArrayD<f32>>,
    /// Images of the set that these are the first of, where that is more.
    set: usize,
}

impl Images {
    /// No images yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a batch in (N × C × H × W).
    pub fn add(&mut self, batch: &ArrayD<f32>) {
        let images = batch.axis_iter(Axis(0));
        self.samples.extend(images.map(|image| image.to_owned()));
    }

    /// The image of this number, C × H × W.
    pub(crate) fn sample(&self, number: usize) -> &ArrayD<f32> {
        &self.samples[number]
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Says of how many images these are the first.
    pub fn set_size(&mut self, images: usize) {
        self.set = images;
    }

    /// Number of images in the set that these are the first of.
    pub(crate) fn of_set(&self) -> usize {
        self.set.max(self.len())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.samples.iter().map(|sample| 4 * sample.len()).sum()
    }

    /// Whether the image of this number is kept back to judge by; none is where there are too few.
    pub fn is_held(&self, number: usize) -> bool {
        self.len() >= HELD_EVERY && number < self.len() && number % HELD_EVERY == HELD_EVERY - 1
    }

    /// Numbers of the images that things are learnt from; all of them where there are too few to keep some back.
    pub(crate) fn learnt(&self) -> Vec<usize> {
        (0..self.len()).filter(|&i| !self.is_held(i)).collect()
    }

    /// Numbers of the images that decisions are judged by: every fifth, all where there are too few.
    pub(crate) fn held(&self) -> Vec<usize> {
        let all = self.len() < HELD_EVERY;
        (0..self.len())
            .filter(|&i| all || self.is_held(i))
            .collect()
    }

    /// Images by number as one batch.
    ///
    /// # Errors
    /// Images of different shapes.
    pub(crate) fn batch(&self, numbers: &[usize]) -> Result<ArrayD<f32>, TqzError> {
        let views: Vec<ArrayViewD<'_, f32>> =
            numbers.iter().map(|&n| self.samples[n].view()).collect();
        stack(Axis(0), &views).map_err(|_| {
            TqzError::Request("the calibration images have different shapes".to_owned())
        })
    }

    /// Statistics of the network on those images that are not kept back, so that these can judge what is decided by them.
    ///
    /// # Errors
    /// As [`Calibration::add`].
    pub fn calibrate(
        &self,
        source: &Source,
        (metric, seed): (Metric, u64),
        progress: &dyn Progress,
    ) -> Result<Statistics, TqzError> {
        let spec = CalibrationSpec {
            metric,
            seed,
            images: self.len(),
        };
        let calibration = || source.calibration(spec);
        self.measured(
            ("calibrating", &calibration),
            &self.learnt(),
            (source, progress),
        )
    }

    /// Statistics on the images of these numbers, none of them kept back, validated by those; `stage` is what the progress says, and `source` has
    /// the weights that the network had before it was quantized.
    ///
    /// # Errors
    /// As [`Calibration::add`].
    pub(crate) fn measured<'a>(
        &self,
        (stage, calibration): (&str, &dyn Fn() -> Calibration<'a>),
        numbers: &[usize],
        (source, progress): (&Source, &dyn Progress),
    ) -> Result<Statistics, TqzError> {
        progress.begin(stage, numbers.len() as u64);
        let mut statistics = self.sum_up(calibration(), numbers, progress)?;
        progress.finish();
        self.validate((source, calibration()), &mut statistics, progress)?;
        Ok(statistics)
    }

    /// Damps statistics as serves the images kept back best, and draws A to WᵗW of a layer's weights where that serves them better. These are
    /// measured with a calibration of the same network that has seen nothing yet: a quarter as many as the statistics are of, at least 8 and
    /// at most 64. Leaves statistics as they are where fewer are kept back, or some were seen.
    ///
    /// # Errors
    /// As [`Calibration::add`]; statistics of another network.
    pub fn validate(
        &self,
        (source, calibration): (&Source, Calibration<'_>),
        statistics: &mut Statistics,
        progress: &dyn Progress,
    ) -> Result<(), TqzError> {
        let quarter = usize::try_from(statistics.images() / 4).unwrap_or(usize::MAX);
        let most = quarter.clamp(LEAST_VALIDATING, VALIDATING);
        let numbers = spread(self.held(), most);
        if numbers.len() < LEAST_VALIDATING || statistics.has_seen(&numbers) {
            return Ok(());
        }
        progress.begin("validating damping", numbers.len() as u64);
        let calibration = calibration.expecting(numbers.len());
        let held = self.sum_up(calibration, &numbers, progress)?;
        let weights = |name: &str| {
            let layer = source.layers().iter().find(|layer| layer.name == name)?;
            source.matrix(layer).ok()
        };
        statistics.validate(&held, &weights)?;
        progress.finish();
        Ok(())
    }

    /// Adds the images of these numbers to a calibration and ends it.
    fn sum_up(
        &self,
        mut calibration: Calibration<'_>,
        numbers: &[usize],
        progress: &dyn Progress,
    ) -> Result<Statistics, TqzError> {
        for batch in self.batches(numbers, calibration.unit()) {
            calibration.add(&self.batch(&batch)?, &batch, progress)?;
        }
        Ok(calibration.finish())
    }

    /// Cuts numbers into batches of at most `size` images of one shape, in order.
    pub(crate) fn batches(&self, numbers: &[usize], size: usize) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = Vec::new();
        for &number in numbers {
            let shape = self.samples[number].shape();
            match batches.last_mut() {
                Some(batch) if batch.len() < size && self.samples[batch[0]].shape() == shape => {
                    batch.push(number);
                }
                _ => batches.push(vec![number]),
            }
        }
        batches
    }
}

/// At most so many of these numbers, evenly spread: sets are often sorted by class.
pub(crate) fn spread(numbers: Vec<usize>, most: usize) -> Vec<usize> {
    let (count, most) = (numbers.len(), most.max(1));
    if count <= most {
        return numbers;
    }
    (0..most).map(|i| numbers[i * count / most]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use ndarray::{Array2, IxDyn};
    use rand::{RngExt, SeedableRng};
    use tqz_engine::EngineDevice;
    use tqz_onnx::model::{ModelProto, NodeProto, TensorProto};

    /// How many layers of the demo network are damped more, A or G, by so many images than without what those kept back say.
    fn damped_more(count: usize) -> usize {
        let model = tqz_onnx::decode_model(include_bytes!("../../../assets/demo.onnx"));
        let source = Source::new(model.expect("valid"), &EngineDevice::cpu()).expect("supported");
        let mut rng = rand_pcg::Pcg64::seed_from_u64(3);
        let shape = IxDyn(&[count, 3, 32, 32]);
        let mut images = Images::new();
        images.add(&ArrayD::from_shape_fn(shape, |_| rng.random::<f32>() - 0.5));
        let statistics = images.calibrate(&source, (Metric::Auto, 0), &Silent);
        let statistics = statistics.expect("the demo network runs");
        let read = Statistics::decode(&statistics.encode().expect("finite")).expect("its own");
        let of = |statistics: &Statistics| -> Vec<(f64, f64)> {
            let layers = statistics.layers.values();
            layers.map(|l| l.groups[0].shrinkage()).collect()
        };
        let pairs: Vec<_> = of(&statistics).into_iter().zip(of(&read)).collect();
        let is_no_less =
            |(own, read): &((f64, f64), (f64, f64))| own.0 >= read.0 && own.1 >= read.1;
        assert!(pairs.iter().all(is_no_less), "{pairs:?}");
        pairs.iter().filter(|(own, read)| own != read).count()
    }

    /// Forty images keep eight back, which say how far layers are to be damped; of fewer none are asked. Files do not hold what they say.
    #[test]
    fn images_kept_back_say_how_far_layers_are_damped() {
        assert!(damped_more(40) > 0);
        assert_eq!(damped_more(35), 0);
    }

    const CLASSES: usize = 40;
    const FEATURES: usize = 48;

    /// The demo network's input, means of its squares of 8 × 8, and one dense layer of these weights (features × classes).
    fn classifier(weights: &[f32]) -> ModelProto {
        let model = tqz_onnx::decode_model(include_bytes!("../../../assets/demo.onnx"));
        let mut model = model.expect("valid");
        let graph = model.graph.as_mut().expect("a graph");
        let [input, output] = [&graph.input[0], &graph.output[0]].map(|v| v.name().to_owned());
        let shape = [FEATURES, CLASSES];
        graph.initializer = vec![TensorProto::from_f32("w", &shape, weights).expect("fits")];
        let mut pool = NodeProto::new("AveragePool", &[&input], "pooled");
        for name in ["kernel_shape", "strides"] {
            pool.set(name, [8, 8]);
        }
        graph.node = vec![
            pool,
            NodeProto::new("Flatten", &["pooled"], "flat"),
            NodeProto::new("Gemm", &["flat", "w"], &output),
        ];
        graph.value_info.clear();
        graph.output[0].r#type = None;
        model
    }

    /// Each image is of a class of its own, and looks as the weights of that class: A is drawn to these, in memory alone.
    #[test]
    fn a_classifier_of_which_images_tell_little_is_drawn_to_its_weights() {
        let mut rng = rand_pcg::Pcg64::seed_from_u64(3);
        let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
        let weights: Vec<f32> = (0..FEATURES * CLASSES).map(|_| normal()).collect();
        let mut batch = ArrayD::zeros(IxDyn(&[40, 3, 32, 32]));
        for (class, mut image) in batch.outer_iter_mut().enumerate() {
            let features: Vec<f32> = weights
                .chunks(CLASSES)
                .map(|row| row[class] + 0.3 * normal())
                .collect();
            let at = |at: usize| at / 1024 * 16 + at % 1024 / 256 * 4 + at % 32 / 8;
            let values = image.iter_mut().enumerate();
            values.for_each(|(n, value)| *value = features[at(n)]);
        }
        let mut images = Images::new();
        images.add(&batch);
        let source = Source::new(classifier(&weights), &EngineDevice::cpu()).expect("supported");
        let statistics = images.calibrate(&source, (Metric::Auto, 0), &Silent);
        let statistics = statistics.expect("runs");
        let read = Statistics::decode(&statistics.encode().expect("finite")).expect("its own");
        let [drawn, own] = [&statistics, &read].map(|s| s.layers["w"].groups[0].input().remove(0));
        let w = Array2::from_shape_vec((FEATURES, CLASSES), weights).expect("fits");
        let prior = w.dot(&w.t());
        let wanted = (&own + &prior * (own.diag().sum() / prior.diag().sum())) / 2.0;
        let furthest = (&drawn - &wanted).fold(0.0_f32, |most, v| most.max(v.abs()));
        assert!(furthest < 1e-4 * wanted[(0, 0)], "{furthest}");
    }

    #[test]
    fn spread_gives_as_many_as_wanted_in_order() {
        assert_eq!(spread(vec![3, 5, 8], 8), [3, 5, 8]);
        let some = spread((0..9).collect(), 8);
        assert!(
            some.len() == 8 && some.is_sorted() && some[7] == 7,
            "{some:?}"
        );
        assert_eq!(spread((0..100).collect(), 4), [0, 25, 50, 75]);
        assert_eq!(spread((0..3).collect(), 0), [0]);
    }
}
