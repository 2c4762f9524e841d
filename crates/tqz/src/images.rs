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
        progress.begin("calibrating", self.learnt().len() as u64);
        let statistics = self.sum_up(source.calibration(spec), &self.learnt(), progress)?;
        progress.finish();
        Ok(statistics)
    }

    /// Adds the images of these numbers to a calibration and ends it.
    pub(crate) fn sum_up(
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
