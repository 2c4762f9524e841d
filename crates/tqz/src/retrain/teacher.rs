//! The teacher: what the original says of an image, as it is or as the mean of it and its mirror image.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ndarray::{Array1, ArrayD, ArrayView1, Axis};
use rayon::prelude::*;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::outputs::{OutputKind, rows};
use crate::retrain::asked::Outputs;
use crate::retrain::data::{Draw, TrainingSet};
use crate::retrain::shard::{first_output, shard_size};
use crate::retrain::spec::{Augment, Loss, RetrainSpec, TeacherView};

/// Outputs are kept where all of them take at most so many numbers.
const KEPT_NUMBERS: usize = 1 << 24;
/// Part of their spread by which doubts may be greater on mirror images, one standard error counted in. DenseNet-40, 4 to 5 points worse on
/// them, .11; networks that know them up to .03, with an error of .03 on a thousand images.
const DOUBT: f64 = 0.1;
/// Images by which that is told, at least; at so few the error alone is a tenth, and only who is no less sure at all passes.
const LEAST_IMAGES: usize = 100;

/// The original network as a teacher.
pub(crate) struct Teacher<'a> {
    original: &'a Network,
    /// Plain or mirrored.
    view: TeacherView,
    /// Axis of a batch along which mirror images are turned around.
    across: Axis,
    /// Outputs by image and whether it is turned around, where they can come again.
    kept: Mutex<BTreeMap<(usize, bool), Array1<f32>>>,
    keeps: bool,
}

impl<'a> Teacher<'a> {
    /// A teacher by what the specification asks for; its outputs are these.
    ///
    /// # Errors
    /// A network that does not run.
    pub(crate) fn new(
        original: &'a Network,
        set: &TrainingSet,
        spec: &RetrainSpec,
        outputs: Outputs,
    ) -> Result<Self, TqzError> {
        let numbers = set
            .len()
            .saturating_mul(2)
            .saturating_mul(outputs.per_image);
        let still = spec.augment.shift == 0 && spec.augment.patch.is_none();
        let mut teacher = Self {
            original,
            view: TeacherView::Plain,
            across: Axis(if spec.augment.channels_last { 2 } else { 3 }),
            kept: Mutex::new(BTreeMap::new()),
            keeps: still && numbers <= KEPT_NUMBERS,
        };
        let wants = spec.augment.flip && spec.loss != Loss::Labels;
        match spec.teacher {
            TeacherView::Auto if wants && outputs.can_be_mirrored(set) => {
                teacher.choose((set, spec.augment), outputs.kind)?;
            }
            TeacherView::Mirrored => teacher.view = TeacherView::Mirrored,
            _ => {}
        }
        Ok(teacher)
    }

    /// What it sees of an image: plain or mirrored.
    pub(crate) fn view(&self) -> TeacherView {
        self.view
    }

    /// What it says of the images drawn, which are this batch.
    ///
    /// # Errors
    /// A network that does not run.
    pub(crate) fn outputs(
        &self,
        draws: &[Draw],
        batch: &ArrayD<f32>,
    ) -> Result<Vec<Array1<f32>>, TqzError> {
        if self.keeps
            && let Ok(kept) = self.kept.lock()
        {
            let known: Option<Vec<_>> = draws
                .iter()
                .map(|d| kept.get(&self.key(d)).cloned())
                .collect();
            if let Some(known) = known {
                return Ok(known);
            }
        }
        let output = match self.view {
            TeacherView::Mirrored => mean(self.both(batch)?),
            _ => first_output(self.original, batch)?,
        };
        self.keep(draws, &output);
        Ok(rows(&output)
            .take(draws.len())
            .map(|row| row.to_owned())
            .collect())
    }

    /// By what an output is kept: an image and its mirror image have the same mean.
    fn key(&self, draw: &Draw) -> (usize, bool) {
        (draw.number, draw.flip && self.view != TeacherView::Mirrored)
    }

    fn keep(&self, draws: &[Draw], output: &ArrayD<f32>) {
        if self.keeps
            && let Ok(mut kept) = self.kept.lock()
        {
            let keys = draws.iter().map(|draw| self.key(draw));
            kept.extend(keys.zip(rows(output).map(|row| row.to_owned())));
        }
    }

    /// Outputs on a batch and on its mirror image.
    fn both(&self, batch: &ArrayD<f32>) -> Result<[ArrayD<f32>; 2], TqzError> {
        let mirror = turned(batch, self.across);
        Ok([
            first_output(self.original, batch)?,
            first_output(self.original, &mirror)?,
        ])
    }

    /// Sees mirror images, too, where the original is as sure of them as of the images kept back, by the entropy of its predictions: one that
    /// never saw any is not, as a rule, nor one of things whose sides matter.
    fn choose(
        &mut self,
        (set, augment): (&TrainingSet, Augment),
        kind: OutputKind,
    ) -> Result<(), TqzError> {
        let draws: Vec<Draw> = set.held().into_iter().map(Draw::plain).collect();
        if draws.len() < LEAST_IMAGES {
            return Ok(());
        }
        let shards: Vec<&[Draw]> = draws.chunks(shard_size(self.original)).collect();
        let said = shards.par_iter().map(|shard| {
            let (batch, _) = set.batch(shard, augment)?;
            self.both(&batch)
        });
        let said: Vec<[ArrayD<f32>; 2]> = said.collect::<Result<_, TqzError>>()?;
        let mut doubts = Vec::with_capacity(draws.len());
        for (shard, [plain, mirror]) in shards.iter().zip(&said) {
            let pairs = rows(plain).zip(rows(mirror)).take(shard.len());
            doubts.extend(pairs.map(|(p, m)| entropy(m, kind) - entropy(p, kind)));
        }
        if is_small(&doubts) {
            self.view = TeacherView::Mirrored;
        }
        for (shard, both) in shards.into_iter().zip(said) {
            let output = match self.view {
                TeacherView::Mirrored => mean(both),
                _ => {
                    let [plain, _] = both;
                    plain
                }
            };
            self.keep(shard, &output);
        }
        Ok(())
    }
}

/// Whether the mean of these is at most a small part of their spread, by all that so many tell.
fn is_small(doubts: &[f64]) -> bool {
    let count = doubts.len().max(1) as f64;
    let mean = doubts.iter().sum::<f64>() / count;
    let variance = doubts.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / count;
    mean + (variance / count).sqrt() <= DOUBT * variance.sqrt()
}

/// The mean of two outputs.
fn mean([one, other]: [ArrayD<f32>; 2]) -> ArrayD<f32> {
    (one + other) * 0.5
}

/// A batch with every image turned around from left to right.
fn turned(batch: &ArrayD<f32>, across: Axis) -> ArrayD<f32> {
    let mut view = batch.view();
    view.invert_axis(across);
    view.as_standard_layout().into_owned()
}

/// How unsure a prediction is, nats.
fn entropy(output: ArrayView1<'_, f32>, kind: OutputKind) -> f64 {
    let p = kind.probabilities(output);
    p.iter().map(|p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing::demo;
    use crate::source::Source;
    use ndarray::{IxDyn, concatenate};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    const ACROSS: Axis = Axis(3);

    fn noise(count: usize) -> ArrayD<f32> {
        let mut rng = Pcg64::seed_from_u64(4);
        ArrayD::from_shape_fn(IxDyn(&[count, 3, 32, 32]), |_| rng.random::<f32>() - 0.5)
    }

    fn set(batch: &ArrayD<f32>) -> TrainingSet {
        let mut set = TrainingSet::new();
        set.add(batch, Vec::new());
        set
    }

    fn spec(teacher: TeacherView) -> RetrainSpec {
        RetrainSpec {
            teacher,
            augment: Augment {
                flip: true,
                ..Augment::default()
            },
            ..RetrainSpec::default()
        }
    }

    fn teacher<'a>(source: &'a Source, set: &TrainingSet, spec: &RetrainSpec) -> Teacher<'a> {
        let outputs = Outputs {
            kind: OutputKind::Logits,
            per_image: 10,
        };
        Teacher::new(source.network(), set, spec, outputs).expect("runs")
    }

    #[test]
    fn a_mirrored_teacher_says_the_mean_whichever_way_an_image_is_turned() {
        let (source, batch) = (demo(), noise(4));
        let run = |batch: &ArrayD<f32>| first_output(source.network(), batch).expect("runs");
        let wanted = mean([run(&batch), run(&turned(&batch, ACROSS))]);
        let (set, spec) = (set(&batch), spec(TeacherView::Mirrored));
        let mut draws: Vec<Draw> = (0..4).map(Draw::plain).collect();
        let said = teacher(&source, &set, &spec).outputs(&draws, &batch);
        let said = said.expect("runs");
        assert!(
            rows(&wanted)
                .zip(&said)
                .all(|(wanted, said)| wanted == said)
        );
        draws.iter_mut().for_each(|draw| draw.flip = true);
        // Another teacher has kept nothing.
        let another = teacher(&source, &set, &spec);
        let of_turned = another.outputs(&draws, &turned(&batch, ACROSS));
        assert!(of_turned.expect("runs") == said);
        // What is kept is given without a look at the batch.
        let kept = another.outputs(&draws, &noise(1));
        assert!(kept.expect("kept") == said);
    }

    #[test]
    fn mirror_images_are_seen_where_the_original_is_as_sure_of_them() {
        let (source, batch) = (demo(), noise(1200));
        let mirror = turned(&batch, ACROSS);
        let run = |batch: &ArrayD<f32>| first_output(source.network(), batch).expect("runs");
        let (plain, turned) = (run(&batch), run(&mirror));
        let doubt = rows(&plain).zip(rows(&turned));
        let doubt = doubt.map(|(p, t)| [t, p].map(|o| entropy(o, OutputKind::Logits)));
        let doubt: Vec<f64> = doubt.map(|[t, p]| t - p).collect();
        // Those whose mirror images leave the network in doubt, and as many of each kind.
        let sided: Vec<usize> = (0..1200).filter(|&n| doubt[n] > 0.0).collect();
        let sided = set(&batch.select(Axis(0), &sided));
        let half = |batch: &ArrayD<f32>| batch.select(Axis(0), &(0..300).collect::<Vec<_>>());
        let even = concatenate(Axis(0), &[half(&batch).view(), half(&mirror).view()]);
        let (few, even) = (set(&noise(20)), set(&even.expect("of one shape")));
        assert!(sided.held().len() >= LEAST_IMAGES);
        let auto = spec(TeacherView::Auto);
        let sees = |set: &TrainingSet, spec: &RetrainSpec| teacher(&source, set, spec).view();
        assert_eq!(sees(&even, &auto), TeacherView::Mirrored);
        assert_eq!(sees(&sided, &auto), TeacherView::Plain);
        assert_eq!(sees(&few, &auto), TeacherView::Plain);
        let still = RetrainSpec {
            augment: Augment::default(),
            ..auto
        };
        assert_eq!(sees(&even, &still), TeacherView::Plain);
        let labels = RetrainSpec {
            loss: Loss::Labels,
            ..auto
        };
        assert_eq!(sees(&even, &labels), TeacherView::Plain);
        assert_eq!(sees(&even, &spec(TeacherView::Plain)), TeacherView::Plain);
        // What told is kept.
        let draws: Vec<Draw> = even.held().into_iter().map(Draw::plain).collect();
        let kept = teacher(&source, &even, &auto);
        assert_eq!(kept.kept.lock().expect("whole").len(), draws.len());
        let anew = teacher(&source, &even, &spec(TeacherView::Mirrored));
        for shard in draws.chunks(shard_size(source.network())) {
            let (batch, _) = even.batch(shard, auto.augment).expect("of one shape");
            let said = [&kept, &anew].map(|t| t.outputs(shard, &batch).expect("runs"));
            assert!(said[0] == said[1]);
        }
    }

    #[test]
    fn samples_with_channels_last_are_turned_across_too() {
        let batch = ArrayD::from_shape_fn(IxDyn(&[1, 2, 3, 1]), |i| (i[1] * 3 + i[2]) as f32);
        let mirror = turned(&batch, Axis(2));
        assert_eq!(mirror.as_slice(), Some(&[2.0, 1.0, 0.0, 5.0, 4.0, 3.0][..]));
    }
}
