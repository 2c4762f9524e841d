//! The loss of a batch and its gradients at the weights: shards in parallel, summed in their order.

use std::ops::AddAssign;
use std::sync::Mutex;

use ndarray::{Array1, ArrayD, ArrayView1};
use rayon::prelude::*;
use serde::Serialize;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::outputs::{Comparison, OutputKind, rows};
use crate::retrain::asked::Outputs;
use crate::retrain::compare::{comparison, distance, gradient, kind_of_truth, of_class, unit};
use crate::retrain::data::{Draw, Target, TrainingSet};
use crate::retrain::shard::{first_output, shard_size};
use crate::retrain::spec::{Augment, Loss, RetrainSpec, TeacherView};
use crate::retrain::teacher::Teacher;
use crate::sum::{Gradients, sum_in_order};

/// The loss of a training run.
pub(crate) struct Judge<'a> {
    teacher: Teacher<'a>,
    set: &'a TrainingSet,
    loss: Loss,
    /// What the network's output is.
    own: OutputKind,
    /// How it is compared with the original's.
    how: Comparison,
    augment: Augment,
}

/// What a network does on some images, mean over them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Score {
    /// The loss.
    pub loss: f64,
    /// Share of the images, in percent, whose class is right; where labels are unknown, whose class is the teacher's.
    /// None for other networks than classifiers.
    pub accuracy_percent: Option<f64>,
}

impl<'a> Judge<'a> {
    /// A judge by what the specification asks for.
    ///
    /// # Errors
    /// What does not fit the network or the images.
    pub(crate) fn new(
        original: &'a Network,
        set: &'a TrainingSet,
        spec: &RetrainSpec,
    ) -> Result<Self, TqzError> {
        let outputs = Outputs::of(original, set, spec)?;
        Ok(Self {
            teacher: Teacher::new(original, set, spec, outputs)?,
            set,
            loss: spec.loss,
            own: outputs.kind,
            how: comparison(outputs.kind, outputs.per_image, spec),
            augment: spec.augment,
        })
    }

    /// What the original sees of an image: plain or mirrored.
    pub(crate) fn view(&self) -> TeacherView {
        self.teacher.view()
    }

    /// Loss, and gradients at the tensors `names`, on the images drawn.
    ///
    /// # Errors
    /// A network that does not run or has no gradient.
    pub(crate) fn gradients(
        &self,
        network: &Network,
        names: &[&str],
        draws: &[Draw],
    ) -> Result<(Score, Gradients), TqzError> {
        let size = shard_size(network);
        let (tally, gradients) = sum_in_order(draws.chunks(size), |shard| {
            self.shard_gradients(network, names, (shard, draws.len()))
        })?;
        Ok((tally.score(), gradients))
    }

    fn shard_gradients(
        &self,
        network: &Network,
        names: &[&str],
        (shard, images): (&[Draw], usize),
    ) -> Result<(Tally, Gradients), TqzError> {
        let (batch, targets) = self.set.batch(shard, self.augment)?;
        let wanted = self.wanted(shard, &batch)?;
        let tally = Mutex::new(Tally::default());
        let cotangent = |outputs: &[ArrayD<f32>]| {
            let mut all: Vec<ArrayD<f32>> =
                outputs.iter().map(|o| ArrayD::zeros(o.raw_dim())).collect();
            let mut slopes = Vec::new();
            let mut found = Tally::default();
            for ((target, wanted), output) in targets.iter().zip(&wanted).zip(rows(&outputs[0])) {
                let (part, slope) = self.image((target, wanted.as_ref()), output, images);
                found += part;
                slopes.extend(slope);
            }
            all[0].iter_mut().zip(slopes).for_each(|(to, g)| *to = g);
            if let Ok(mut tally) = tally.lock() {
                *tally = found;
            }
            all
        };
        let filled = network.fill_batch(batch.view())?;
        let gradients = network.weight_gradients(&[filled], names, &cotangent)?;
        let tally = tally.into_inner().unwrap_or_default();
        Ok((tally, gradients.gradients))
    }

    /// The teacher's outputs on a shard; none where labels alone count.
    fn wanted(
        &self,
        shard: &[Draw],
        batch: &ArrayD<f32>,
    ) -> Result<Vec<Option<Array1<f32>>>, TqzError> {
        if self.loss == Loss::Labels {
            return Ok(vec![None; shard.len()]);
        }
        let outputs = self.teacher.outputs(shard, batch)?;
        Ok(outputs.into_iter().map(Some).collect())
    }

    /// Loss of one image and its gradient at the output, for a mean over `images`.
    fn image(
        &self,
        (target, original): (&Target, Option<&Array1<f32>>),
        output: ArrayView1<'_, f32>,
        images: usize,
    ) -> (Tally, Vec<f32>) {
        let truth = match (target, self.loss) {
            (_, Loss::Distill) => None,
            (Target::Label(class), _) => Some(of_class(*class, output.len())),
            (Target::Output(wanted), _) => Some(wanted.iter().copied().collect()),
            (Target::Unknown, _) => None,
        };
        let references: Vec<(ArrayView1<'_, f32>, Comparison)> = truth
            .iter()
            .map(|t: &Array1<f32>| (t.view(), Comparison::plain(kind_of_truth(target))))
            .chain(original.map(|o| (o.view(), self.how)))
            .collect();
        let share = 1.0 / references.len().max(1) as f64;
        let mut tally = Tally::default();
        let mut slope = vec![0.0_f32; output.len()];
        for (reference, how) in references {
            let unit = share * unit(how.kind, output.len());
            tally.loss += unit * distance(self.own, how, reference, output);
            let gradient = gradient(self.own, how, (reference, output), unit / images as f64);
            slope.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
        }
        tally.images = 1;
        tally.right = self.is_right(target, original.map(|o| o.view()), output);
        (tally, slope)
    }

    fn is_right(
        &self,
        target: &Target,
        original: Option<ArrayView1<'_, f32>>,
        output: ArrayView1<'_, f32>,
    ) -> Option<bool> {
        match (target, original) {
            (Target::Label(class), _) => Some(largest(output) == *class),
            (Target::Output(_), _) => None,
            (Target::Unknown, Some(original)) if self.own != OutputKind::Values => {
                Some(largest(output) == largest(original))
            }
            _ => None,
        }
    }

    /// How a network does on the images kept back.
    ///
    /// # Errors
    /// A network that does not run.
    pub(crate) fn held(&self, network: &Network) -> Result<Score, TqzError> {
        let draws: Vec<Draw> = self.set.held().into_iter().map(Draw::plain).collect();
        let size = shard_size(network);
        let parts: Vec<Tally> = draws
            .chunks(size)
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|shard| {
                let (batch, targets) = self.set.batch(shard, self.augment)?;
                let wanted = self.wanted(shard, &batch)?;
                let output = first_output(network, &batch)?;
                let mut tally = Tally::default();
                for ((target, wanted), output) in targets.iter().zip(&wanted).zip(rows(&output)) {
                    tally += self.image((target, wanted.as_ref()), output, 1).0;
                }
                Ok(tally)
            })
            .collect::<Result<_, TqzError>>()?;
        let mut tally = Tally::default();
        parts.into_iter().for_each(|part| tally += part);
        Ok(tally.score())
    }
}

fn largest(scores: ArrayView1<'_, f32>) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

/// Sums over images.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    images: usize,
    loss: f64,
    right: Option<bool>,
    rights: usize,
    judged: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, part: Self) {
        self.images += part.images;
        self.loss += part.loss;
        self.rights += part.rights + usize::from(part.right == Some(true));
        self.judged += part.judged + usize::from(part.right.is_some());
    }
}

impl Tally {
    fn score(self) -> Score {
        Score {
            loss: self.loss / self.images.max(1) as f64,
            accuracy_percent: (self.judged > 0)
                .then(|| 100.0 * self.rights as f64 / self.judged as f64),
        }
    }
}
