//! Scores of a network's outputs: top-1 and top-5 or PSNR against the truth; agreement, KL divergence
//! and mean squared error against a reference network. All sums are of f64 in the order of the images.

use crate::dataset::Batch;
use crate::error::DataError;
use crate::task::{Task, Truth};
use ndarray::{ArrayView3, ArrayViewD, Axis, Ix3};
use psnr::{input_psnr, psnr_of};
use serde::Serialize;

mod psnr;

/// Scores of a data set. Fields that the task or the data do not give are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Number of images scored.
    pub images: usize,
    /// Share of images whose label has the largest output, of those with labels, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1_percent: Option<f64>,
    /// Share of images whose label is among the five largest outputs; only with more than five classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5_percent: Option<f64>,
    /// Mean over the images of the PSNR in dB; infinite if an image is met exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr_db: Option<f64>,
    /// The same of the input: the noisy image, or the small one enlarged by a bicubic filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_psnr_db: Option<f64>,
    /// Comparison with the reference network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceScores>,
}

/// How far a network's outputs are from a reference network's on the same inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReferenceScores {
    /// Share of images with the same largest output, in percent; classification only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement_percent: Option<f64>,
    /// Mean over the images of KL(reference || network) in nats between the softmax of the outputs;
    /// classification only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_nats: Option<f64>,
    /// Mean over the images of the mean squared difference of the raw outputs' elements.
    pub mse: f64,
    /// The reference's own [`Scores::top1_percent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1_percent: Option<f64>,
    /// The reference's own [`Scores::top5_percent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5_percent: Option<f64>,
    /// The reference's own [`Scores::psnr_db`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr_db: Option<f64>,
}

/// Collects outputs image by image.
#[derive(Clone, Debug)]
pub struct Scorer {
    task: Task,
    images: usize,
    labelled: usize,
    /// Images whose classes are more than five, all or none of them.
    many_classes: bool,
    own: Tally,
    theirs: Tally,
    input_psnr: f64,
    compared: usize,
    agreeing: usize,
    kl: f64,
    mse: f64,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    top1: usize,
    top5: usize,
    psnr: f64,
}

impl Scorer {
    /// An empty scorer for a task.
    pub fn new(task: &Task) -> Self {
        Self {
            task: task.clone(),
            images: 0,
            labelled: 0,
            many_classes: true,
            own: Tally::default(),
            theirs: Tally::default(),
            input_psnr: 0.0,
            compared: 0,
            agreeing: 0,
            kl: 0.0,
            mse: 0.0,
        }
    }

    /// Adds a batch: outputs with the images along the first axis, as many as the batch has.
    ///
    /// # Errors
    /// [`DataError::Output`] as for [`Scorer::add`], or when the number of images differs.
    pub fn add_batch(
        &mut self,
        batch: &Batch,
        output: ArrayViewD<'_, f32>,
        reference: Option<ArrayViewD<'_, f32>>,
    ) -> Result<(), DataError> {
        let count = batch.truths.len();
        for array in [Some(&output), reference.as_ref()].into_iter().flatten() {
            if array.ndim() == 0 || array.len_of(Axis(0)) != count {
                return Err(self.fail(format!(
                    "the output's shape is {:?}; the batch has {count} images along the first axis",
                    array.shape()
                )));
            }
        }
        for (i, truth) in batch.truths.iter().enumerate() {
            self.add(
                truth,
                batch.input.index_axis(Axis(0), i),
                output.index_axis(Axis(0), i),
                reference.as_ref().map(|r| r.index_axis(Axis(0), i)),
            )?;
        }
        Ok(())
    }

    /// Adds one image: what is right, the network's input, its output without the batch axis and, if
    /// there is one, the reference network's output.
    ///
    /// # Errors
    /// [`DataError::Output`] when the output has another shape than the task needs, holds values that
    /// are not finite, or has fewer classes than the label needs.
    pub fn add(
        &mut self,
        truth: &Truth,
        input: ArrayView3<'_, f32>,
        output: ArrayViewD<'_, f32>,
        reference: Option<ArrayViewD<'_, f32>>,
    ) -> Result<(), DataError> {
        for array in [Some(&output), reference.as_ref()].into_iter().flatten() {
            if array.is_empty() || array.iter().any(|v| !v.is_finite()) {
                return Err(self.fail(
                    "it is empty or holds values that are not finite; the network is damaged or \
                     does not fit the preprocessing"
                        .to_string(),
                ));
            }
            if array.shape() != output.shape() {
                return Err(self.fail(format!(
                    "its shape is {:?} and the reference's {:?}",
                    output.shape(),
                    array.shape()
                )));
            }
        }
        match self.task.clone() {
            Task::Classify => self.add_classes(truth, &output, reference.as_ref())?,
            task => self.add_image((&task, truth), input, &output, reference.as_ref())?,
        }
        if let Some(reference) = &reference {
            self.compared += 1;
            let sum = output.iter().zip(reference).fold(0.0, |sum, (&a, &b)| {
                let difference = f64::from(a) - f64::from(b);
                sum + difference * difference
            });
            self.mse += sum / output.len() as f64;
        }
        self.images += 1;
        Ok(())
    }

    fn add_classes(
        &mut self,
        truth: &Truth,
        output: &ArrayViewD<'_, f32>,
        reference: Option<&ArrayViewD<'_, f32>>,
    ) -> Result<(), DataError> {
        let own: Vec<f32> = output.iter().copied().collect();
        let theirs: Option<Vec<f32>> = reference.map(|r| r.iter().copied().collect());
        match *truth {
            Truth::Label(label) if label >= own.len() => {
                return Err(self.fail(format!(
                    "it has {} classes, but the label is {label}: another set of classes, or labels \
                     that count from 1",
                    own.len()
                )));
            }
            Truth::Label(label) => {
                self.labelled += 1;
                self.many_classes &= own.len() > 5;
                self.own.note_rank(rank(&own, label));
                if let Some(theirs) = &theirs {
                    self.theirs.note_rank(rank(theirs, label));
                }
            }
            Truth::None => {}
            Truth::Image(_) => {
                return Err(self.fail("the sample belongs to a task on images".to_string()));
            }
        }
        if let Some(theirs) = &theirs {
            self.agreeing += usize::from(largest(&own) == largest(theirs));
            self.kl += kl_nats(theirs, &own);
        }
        Ok(())
    }

    fn add_image(
        &mut self,
        (task, truth): (&Task, &Truth),
        input: ArrayView3<'_, f32>,
        output: &ArrayViewD<'_, f32>,
        reference: Option<&ArrayViewD<'_, f32>>,
    ) -> Result<(), DataError> {
        let Truth::Image(truth) = truth else {
            return Err(self.fail("the sample belongs to classification".to_string()));
        };
        let as_image = |array: &ArrayViewD<'_, f32>| {
            array.to_owned().into_dimensionality::<Ix3>().map_err(|_| {
                format!(
                    "its shape is {:?} without the batch axis; this task needs [C, H, W]",
                    array.shape()
                )
            })
        };
        let score = |array: &ArrayViewD<'_, f32>| {
            let image = as_image(array)?;
            psnr_of(task, truth, input, &image)
        };
        let own = score(output).map_err(|reason| self.fail(reason))?;
        let theirs = reference.map(score).transpose();
        let theirs = theirs.map_err(|reason| self.fail(reason))?;
        let before = input_psnr(task, truth, input).map_err(|reason| self.fail(reason))?;
        self.own.psnr += own;
        self.theirs.psnr += theirs.unwrap_or(0.0);
        self.input_psnr += before;
        Ok(())
    }

    /// The scores of what was added.
    pub fn finish(self) -> Scores {
        let classify = matches!(self.task, Task::Classify);
        let images = self.images as f64;
        let psnr = |sum: f64| (!classify && self.images > 0).then(|| sum / images);
        let share = |hits: usize, shown: bool| {
            (classify && shown && self.labelled > 0)
                .then(|| 100.0 * hits as f64 / self.labelled as f64)
        };
        let reference = (self.compared > 0).then(|| {
            let compared = self.compared as f64;
            ReferenceScores {
                agreement_percent: classify.then(|| 100.0 * self.agreeing as f64 / compared),
                kl_nats: classify.then(|| self.kl / compared),
                mse: self.mse / compared,
                top1_percent: share(self.theirs.top1, true),
                top5_percent: share(self.theirs.top5, self.many_classes),
                psnr_db: psnr(self.theirs.psnr),
            }
        });
        Scores {
            images: self.images,
            top1_percent: share(self.own.top1, true),
            top5_percent: share(self.own.top5, self.many_classes),
            psnr_db: psnr(self.own.psnr),
            input_psnr_db: psnr(self.input_psnr),
            reference,
        }
    }

    fn fail(&self, reason: String) -> DataError {
        DataError::Output {
            image: self.images,
            reason,
        }
    }
}

impl Tally {
    fn note_rank(&mut self, rank: usize) {
        self.top1 += usize::from(rank < 1);
        self.top5 += usize::from(rank < 5);
    }
}

/// How many classes come before `label`; of equal outputs the first comes first.
fn rank(outputs: &[f32], label: usize) -> usize {
    let own = outputs[label];
    let before = |(i, &v): (usize, &f32)| v > own || (v == own && i < label);
    outputs.iter().enumerate().filter(|&p| before(p)).count()
}

/// The first of the largest outputs.
fn largest(outputs: &[f32]) -> usize {
    (0..outputs.len()).fold(
        0,
        |best, i| if outputs[i] > outputs[best] { i } else { best },
    )
}

fn log_softmax(outputs: &[f32]) -> Vec<f64> {
    let top = f64::from(outputs[largest(outputs)]);
    let shifted: Vec<f64> = outputs.iter().map(|&v| f64::from(v) - top).collect();
    let log_sum = shifted.iter().fold(0.0, |sum, v| sum + v.exp()).ln();
    shifted.into_iter().map(|v| v - log_sum).collect()
}

/// KL divergence from the softmax of `reference` to that of `outputs`, in nats.
fn kl_nats(reference: &[f32], outputs: &[f32]) -> f64 {
    let (p, q) = (log_softmax(reference), log_softmax(outputs));
    p.iter()
        .zip(&q)
        .fold(0.0, |sum, (p, q)| sum + p.exp() * (p - q))
}

#[cfg(test)]
mod tests;
