//! The teacher: what the original says of an image, as it is or as the mean of it and its mirror image.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ndarray::{Array1, ArrayD, Axis};
use rayon::prelude::*;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::outputs::{OutputKind, rows};
use crate::retrain::data::{Draw, TrainingSet};
use crate::retrain::loss::{SHARD, first_output};
use crate::retrain::spec::{Augment, Loss, RetrainSpec, TeacherView};

/// Outputs are kept where all of them take at most so many numbers.
const KEPT_NUMBERS: usize = 1 << 24;
/// Standard errors by which the original may be less sure of mirror images and still count as knowing them as well.
const DOUBT: f64 = 1.5;
/// Images by which that is told, at least.
const LEAST_IMAGES: usize = 100;

/// The original network as a teacher.
pub(crate) struct Teacher<'a> {
    original: &'a Network,
    /// Axis of a batch along which images are turned around, where their mirror images are seen, too.
    mirrored: Option<Axis>,
    /// Outputs by image and whether it is turned around, where they can come again.
    kept: Mutex<BTreeMap<(usize, bool), Array1<f32>>>,
    keeps: bool,
}

impl<'a> Teacher<'a> {
    /// A teacher by what the specification asks for; its outputs are of this kind and so many numbers an image.
    ///
    /// # Errors
    /// Mirror images asked for where an output is no prediction; a network that does not run.
    pub(crate) fn new(
        original: &'a Network,
        set: &TrainingSet,
        spec: &RetrainSpec,
        (kind, per_image): (OutputKind, usize),
    ) -> Result<Self, TqzError> {
        let numbers = set.len().saturating_mul(2).saturating_mul(per_image);
        let still = spec.augment.shift == 0 && spec.augment.patch.is_none();
        let mut teacher = Self {
            original,
            mirrored: None,
            kept: Mutex::new(BTreeMap::new()),
            keeps: still && numbers <= KEPT_NUMBERS,
        };
        teacher.mirrored = teacher.view(set, spec, kind)?;
        Ok(teacher)
    }

    /// Whether it sees mirror images, too.
    pub(crate) fn is_mirrored(&self) -> bool {
        self.mirrored.is_some()
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
        // An image and its mirror image have the same mean.
        let key = |draw: &Draw| (draw.number, draw.flip && !self.is_mirrored());
        if self.keeps
            && let Ok(kept) = self.kept.lock()
        {
            let known: Option<Vec<_>> = draws.iter().map(|d| kept.get(&key(d)).cloned()).collect();
            if let Some(known) = known {
                return Ok(known);
            }
        }
        let mut output = first_output(self.original, batch)?;
        if let Some(across) = self.mirrored {
            output += &first_output(self.original, &turned(batch, across))?;
            output *= 0.5;
        }
        let found: Vec<Array1<f32>> = rows(&output).map(|row| row.to_owned()).collect();
        if self.keeps
            && let Ok(mut kept) = self.kept.lock()
        {
            kept.extend(draws.iter().map(key).zip(found.iter().cloned()));
        }
        Ok(found)
    }

    /// The axis along which images are turned around to be seen a second time.
    fn view(
        &self,
        set: &TrainingSet,
        spec: &RetrainSpec,
        kind: OutputKind,
    ) -> Result<Option<Axis>, TqzError> {
        let across = Axis(if spec.augment.channels_last { 2 } else { 3 });
        let pictures = set.images().sample(0).ndim() == 3;
        let predicts = kind != OutputKind::Values && pictures;
        let mirrored = match spec.teacher {
            TeacherView::Plain => false,
            TeacherView::Mirrored if !predicts => {
                return Err(TqzError::Request(
                    "a mirrored teacher is for classifiers of pictures: give the plain one"
                        .to_owned(),
                ));
            }
            TeacherView::Mirrored => true,
            TeacherView::Auto => {
                predicts
                    && spec.augment.flip
                    && spec.loss != Loss::Labels
                    && self.is_as_sure((set, spec.augment), kind, across)?
            }
        };
        Ok(mirrored.then_some(across))
    }

    /// Whether the original is as sure of mirror images as of the images kept back, by the entropy of its predictions: one that never saw
    /// any, or of things whose sides matter, is not.
    fn is_as_sure(
        &self,
        (set, augment): (&TrainingSet, Augment),
        kind: OutputKind,
        across: Axis,
    ) -> Result<bool, TqzError> {
        let draws: Vec<Draw> = set.held().into_iter().map(Draw::plain).collect();
        if draws.len() < LEAST_IMAGES {
            return Ok(false);
        }
        let size = self.original.fixed_batch().unwrap_or(SHARD).max(1);
        let shards: Vec<&[Draw]> = draws.chunks(size).collect();
        let doubts = shards.into_par_iter().map(|shard| {
            let (batch, _) = set.batch(shard, augment)?;
            let plain = entropies(&first_output(self.original, &batch)?, kind);
            let mirror = entropies(&first_output(self.original, &turned(&batch, across))?, kind);
            Ok(plain.iter().zip(mirror).map(|(p, m)| m - p).collect())
        });
        let doubts: Vec<f64> = doubts
            .collect::<Result<Vec<Vec<f64>>, TqzError>>()?
            .concat();
        let count = doubts.len() as f64;
        let mean = doubts.iter().sum::<f64>() / count;
        let variance = doubts.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / count;
        Ok(mean <= DOUBT * (variance / count).sqrt())
    }
}

/// A batch with every image turned around from left to right.
fn turned(batch: &ArrayD<f32>, across: Axis) -> ArrayD<f32> {
    let mut view = batch.view();
    view.invert_axis(across);
    view.as_standard_layout().into_owned()
}

/// How unsure each prediction of a batch is, nats.
fn entropies(output: &ArrayD<f32>, kind: OutputKind) -> Vec<f64> {
    let of = |p: Vec<f64>| p.iter().map(|p| -p * p.ln()).sum();
    rows(output)
        .map(|row| of(kind.probabilities(row)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use ndarray::IxDyn;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;
    use tqz_engine::EngineDevice;

    const DEMO: &[u8] = include_bytes!("../../../../assets/demo.onnx");
    const ACROSS: Axis = Axis(3);

    fn source() -> Source {
        let model = tqz_onnx::decode_model(DEMO).expect("valid");
        Source::new(model, &EngineDevice::cpu()).expect("supported")
    }

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

    fn teacher<'a>(
        source: &'a Source,
        set: &TrainingSet,
        spec: &RetrainSpec,
    ) -> Result<Teacher<'a>, TqzError> {
        Teacher::new(source.network(), set, spec, (OutputKind::Logits, 10))
    }

    #[test]
    fn a_mirrored_teacher_says_the_mean_whichever_way_an_image_is_turned() {
        let (source, batch) = (source(), noise(4));
        let run = |batch: &ArrayD<f32>| first_output(source.network(), batch).expect("runs");
        let mean = (run(&batch) + run(&turned(&batch, ACROSS))) * 0.5;
        let set = set(&batch);
        let teacher = teacher(&source, &set, &spec(TeacherView::Mirrored)).expect("a classifier");
        assert!(teacher.is_mirrored());
        let draws: Vec<Draw> = (0..4).map(Draw::plain).collect();
        let said = teacher.outputs(&draws, &batch).expect("runs");
        assert!(rows(&mean).zip(&said).all(|(mean, said)| mean == said));
        let mut back = draws;
        back.iter_mut().for_each(|draw| draw.flip = true);
        let of_turned = teacher.outputs(&back, &turned(&batch, ACROSS));
        assert_eq!(of_turned.expect("runs"), said);
    }

    #[test]
    fn mirror_images_are_seen_where_the_original_is_as_sure_of_them() {
        let (source, batch) = (source(), noise(600));
        let run = |batch: &ArrayD<f32>| {
            let output = first_output(source.network(), batch).expect("runs");
            entropies(&output, OutputKind::Logits)
        };
        let (plain, mirror) = (run(&batch), run(&turned(&batch, ACROSS)));
        // Those whose mirror images leave the network in doubt.
        let sided: Vec<usize> = (0..600).filter(|&n| plain[n] < mirror[n]).collect();
        let sided = set(&batch.select(Axis(0), &sided));
        let (few, even) = (set(&noise(20)), set(&batch));
        let auto = spec(TeacherView::Auto);
        let sees = |set: &TrainingSet, spec: &RetrainSpec| {
            teacher(&source, set, spec)
                .expect("a classifier")
                .is_mirrored()
        };
        assert!(sees(&even, &auto));
        assert!(!sees(&sided, &auto));
        assert!(!sees(&few, &auto));
        let still = RetrainSpec {
            augment: Augment::default(),
            ..auto
        };
        assert!(!sees(&even, &still));
        let labels = RetrainSpec {
            loss: Loss::Labels,
            ..auto
        };
        assert!(!sees(&even, &labels));
        assert!(!sees(&even, &spec(TeacherView::Plain)));
    }

    #[test]
    fn mirror_images_are_for_classifiers() {
        let (source, set) = (source(), set(&noise(4)));
        let spec = spec(TeacherView::Mirrored);
        let told = Teacher::new(source.network(), &set, &spec, (OutputKind::Values, 10));
        let told = told.err().expect("no prediction").to_string();
        assert!(told.contains("classifiers"), "{told}");
    }
}
