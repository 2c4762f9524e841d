//! Bounds on loss that a user can name – points of top-1 or decibel, agreement with the original – judged on calibration images
//! that no weight is learnt from. The encoder's other choices are made on the same images, so the loss found is a little too low;
//! how fine it is told depends on their number.

use std::ops::Range;

use anyhow::{anyhow, bail};
use ndarray::{ArrayD, Axis};
use tqz::{Images, Judge, Progress};
use tqz_data::{Batch, DataSet, Scorer, Scores, Task};
use tqz_engine::Network;

use crate::commands::eval::{BATCH, first_output};

/// What must not get worse by how much.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Points of top-1, or decibel of PSNR, lost at most.
    Drop(f64),
    /// Per cent of images with the original's first class at least.
    Agreement(f64),
}

/// Judges networks on the images kept back.
pub(crate) struct HeldBack {
    bound: Bound,
    task: Task,
    /// Images with the original's outputs.
    batches: Vec<(Batch, ArrayD<f32>)>,
    /// The original's top-1 in per cent, or PSNR in decibel.
    original: Option<f64>,
}

impl HeldBack {
    /// Takes the images kept back of a set whose first ones are `images`, and runs the original on them.
    pub(crate) fn new(
        bound: Bound,
        original: &Network,
        (data, images): (&DataSet, &Images),
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        if matches!(bound, Bound::Drop(_)) && !data.has_truth() {
            bail!(
                "--max-drop needs calibration images with labels (or, for image tasks, with clean images); \
                 --min-agreement needs none"
            );
        }
        let batches = held_batches(data, images)?;
        progress.begin("running the original", batches.len() as u64);
        let with_output = |batch: Batch| {
            let output = first_output(original, &batch.input.clone().into_dyn())?;
            progress.advance(1);
            Ok((batch, output))
        };
        let batches = batches.into_iter().map(with_output);
        let mut judge = Self {
            bound,
            task: data.task().clone(),
            batches: batches.collect::<anyhow::Result<_>>()?,
            original: None,
        };
        progress.finish();
        let own = judge.scores(|index| Ok(judge.batches[index].1.clone()))?;
        judge.original = own.top1_percent.or(own.psnr_db);
        judge.lost(&own)?;
        Ok(judge)
    }

    /// How many images judge.
    pub(crate) fn images(&self) -> usize {
        self.batches
            .iter()
            .map(|(batch, _)| batch.truths.len())
            .sum()
    }

    /// What the bound is, and what a loss is of.
    pub(crate) fn described(&self, loss: f64) -> String {
        match self.bound {
            Bound::Agreement(least) => format!(
                "agreement {:.2} % (at least {least} % was asked for)",
                100.0 - loss
            ),
            Bound::Drop(most) => {
                let unit = if matches!(self.task, Task::Classify) {
                    "points of top-1"
                } else {
                    "dB"
                };
                format!("{loss:.2} {unit} lost (at most {most} was asked for)")
            }
        }
    }

    fn scores(
        &self,
        output: impl Fn(usize) -> anyhow::Result<ArrayD<f32>>,
    ) -> anyhow::Result<Scores> {
        let mut scorer = Scorer::new(&self.task);
        for (index, (batch, wanted)) in self.batches.iter().enumerate() {
            let output = output(index)?;
            scorer.add_batch(batch, output.view(), Some(wanted.view()))?;
        }
        Ok(scorer.finish())
    }

    fn lost(&self, scores: &Scores) -> anyhow::Result<f64> {
        let reference = scores.reference.as_ref();
        match self.bound {
            Bound::Agreement(_) => reference
                .and_then(|r| r.agreement_percent)
                .map(|agreement| 100.0 - agreement)
                .ok_or_else(|| {
                    anyhow!("--min-agreement is for classifiers; use --max-drop with dB")
                }),
            Bound::Drop(_) => self
                .original
                .zip(scores.top1_percent.or(scores.psnr_db))
                .map(|(original, score)| original - score)
                .ok_or_else(|| anyhow!("the calibration images have nothing to score against")),
        }
    }
}

impl Judge for HeldBack {
    fn loss(&self, network: &Network) -> Result<f64, String> {
        let run = |index: usize| {
            let input = &self.batches[index].0.input;
            first_output(network, &input.clone().into_dyn())
        };
        let outputs = (0..self.batches.len()).map(run);
        let outputs = outputs.collect::<anyhow::Result<Vec<_>>>();
        let outputs = outputs.map_err(|error| format!("{error:#}"))?;
        // A network that computes no numbers has lost everything.
        if outputs.iter().flatten().any(|value| !value.is_finite()) {
            return Ok(f64::INFINITY);
        }
        let loss = self
            .scores(|index| Ok(outputs[index].clone()))
            .and_then(|scores| self.lost(&scores));
        loss.map_err(|error| format!("{error:#}"))
    }

    fn bound(&self) -> f64 {
        match self.bound {
            Bound::Drop(most) => most,
            Bound::Agreement(least) => 100.0 - least,
        }
    }
}

/// The images kept back, in batches.
fn held_batches(data: &DataSet, images: &Images) -> anyhow::Result<Vec<Batch>> {
    let whole: Range<usize> = 0..images.len();
    let mut batches = Vec::new();
    // A fifth of every read batch is kept back.
    for batch in data.batches_of(whole, 5 * BATCH) {
        let batch = batch?;
        let kept = |row: &usize| images.is_held(batch.first + row);
        let rows: Vec<usize> = (0..batch.truths.len()).filter(kept).collect();
        if !rows.is_empty() {
            batches.push(Batch {
                first: batch.first,
                input: batch.input.select(Axis(0), &rows),
                truths: rows.iter().map(|&r| batch.truths[r].clone()).collect(),
            });
        }
    }
    if batches.is_empty() {
        bail!("a bound on loss is judged on every fifth calibration image: at least 5 are needed");
    }
    Ok(batches)
}
