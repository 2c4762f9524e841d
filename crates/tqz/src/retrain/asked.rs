//! What is asked of retraining, held against the network and the images: everything that can be refused before a start is compressed.

use tqz_engine::Network;

use crate::error::TqzError;
use crate::outputs::OutputKind;
use crate::retrain::data::{Draw, Target, TrainingSet};
use crate::retrain::shard::first_output;
use crate::retrain::spec::{Loss, RetrainSpec, TeacherView};
use crate::source::Source;

/// Images that the network is tried on, where it takes so many.
const TRIED: usize = 4;

/// Refuses what `retrain` would refuse before its first step, whatever the file that it begins from.
///
/// # Errors
/// Numbers outside their range, no images, images that the network does not run on or without what is right for them, options that are
/// of no effect on such a network.
pub fn check_retraining(
    source: &Source,
    set: &TrainingSet,
    spec: &RetrainSpec,
) -> Result<(), TqzError> {
    Outputs::of(source.network(), set, spec).map(drop)
}

/// What a network says of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outputs {
    /// What it is.
    pub(super) kind: OutputKind,
    /// How many numbers.
    pub(super) per_image: usize,
}

impl Outputs {
    /// Those of a network of which so much is asked on these images.
    ///
    /// # Errors
    /// As [`check_retraining`].
    pub(super) fn of(
        original: &Network,
        set: &TrainingSet,
        spec: &RetrainSpec,
    ) -> Result<Self, TqzError> {
        spec.check()?;
        if set.is_empty() {
            return Err(TqzError::Request("there are no training images".to_owned()));
        }
        if spec.loss != Loss::Distill && !set.is_labelled() {
            return Err(TqzError::Request(
                "some training images have no label; give --loss distill, which needs none"
                    .to_owned(),
            ));
        }
        // No more than the network takes at once.
        let tried = original.fixed_batch().unwrap_or(TRIED).clamp(1, TRIED);
        let first = set.held().into_iter().take(tried).map(Draw::plain);
        let (batch, targets) = set.batch(&first.collect::<Vec<_>>(), spec.augment)?;
        let output = first_output(original, &batch)?;
        let found = Self {
            kind: OutputKind::of(&output),
            per_image: output.len() / output.shape().first().copied().unwrap_or(1).max(1),
        };
        check_targets(
            &targets,
            set.most_classes().max(1),
            (found.per_image, spec.loss),
        )?;
        found.check_options(set, spec)?;
        Ok(found)
    }

    /// Whether they are predictions of samples that have a width to be turned around.
    pub(super) fn can_be_mirrored(self, set: &TrainingSet) -> bool {
        self.kind != OutputKind::Values && set.images().sample(0).ndim() == 3
    }

    /// What is of no effect on such outputs.
    fn check_options(self, set: &TrainingSet, spec: &RetrainSpec) -> Result<(), TqzError> {
        let predicts = self.kind != OutputKind::Values;
        let fault = match (predicts, spec.augment.shift, spec.temperature) {
            (false, 1.., _) => {
                "images of a network whose output is an image cannot be moved; use --patch"
            }
            (false, _, Some(_)) => "a temperature is for classifiers: leave it out",
            _ if spec.teacher == TeacherView::Mirrored && !self.can_be_mirrored(set) => {
                "a mirrored teacher is for classifiers of pictures: give the plain one"
            }
            _ => return Ok(()),
        };
        Err(TqzError::Request(fault.to_owned()))
    }
}

fn check_targets(
    targets: &[Target],
    classes: usize,
    (per_image, loss): (usize, Loss),
) -> Result<(), TqzError> {
    if loss == Loss::Distill {
        return Ok(());
    }
    let fits = |target: &Target| match target {
        Target::Label(class) => *class < per_image,
        Target::Output(output) => output.len() == per_image,
        Target::Unknown => false,
    };
    if classes <= per_image && targets.iter().all(fits) {
        return Ok(());
    }
    Err(TqzError::Request(format!(
        "the network gives {per_image} numbers an image; labels or wanted images of the set do not fit"
    )))
}
