//! What the caller asks of retraining.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::config::RateTarget;
use crate::error::TqzError;

/// What the network is trained toward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The outputs of the original network; labels are not looked at.
    #[default]
    Distill,
    /// What is right: cross-entropy for classes, squared error for images.
    Labels,
    /// The mean of both.
    Both,
}

/// What the original sees of an image where its outputs are trained toward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum TeacherView {
    /// Mirrored where images are turned around at random, it is a classifier, and it is as sure of mirror images as of the images; otherwise
    /// plain.
    #[default]
    Auto,
    /// The image.
    Plain,
    /// The image and its mirror image; the mean of both outputs counts. For classifiers.
    Mirrored,
}

/// How far two outputs are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OutputDistance {
    /// Divergence for classifiers, squared error for other networks.
    #[default]
    Auto,
    /// Squared error of the outputs as they are, mean over their elements.
    SquaredError,
}

/// Rule by which gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam (means .9 and .99).
    #[default]
    Adam,
    /// Gradient descent with momentum .9; gradients are divided by their root mean square over the matrix.
    Sgd,
}

/// Random changes of the images that are learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Augment {
    /// Turn every second image around from left to right.
    pub flip: bool,
    /// Move images by up to so many pixels, edges repeated; not for networks whose output is an image.
    pub shift: usize,
    /// Cut a random square of this side from every image.
    pub patch: Option<usize>,
    /// Samples are H × W × C rather than C × H × W.
    pub channels_last: bool,
}

/// Everything retraining is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetrainSpec {
    /// Size of the file in the end; none keeps the size of the start.
    pub target: Option<RateTarget>,
    /// What is trained toward.
    pub loss: Loss,
    /// How outputs are compared.
    pub distance: OutputDistance,
    /// What a classifier's scores are divided by before they are compared with the original's; the divergence counts times its square.
    /// None: 2 up to 100 classes, otherwise 1. Legal: .1 to 100.
    pub temperature: Option<f64>,
    /// What the original sees of an image.
    pub teacher: TeacherView,
    /// How gradients become steps.
    pub optimizer: Optimizer,
    /// Gradient steps. Legal: 1 to 10⁷.
    pub steps: usize,
    /// Images per step. Legal: 1 to 65536.
    pub batch: usize,
    /// Greatest change of a latent level in one step, in steps of the quantizer; .4 of it where levels depend on each other; falls to 0 along
    /// a cosine. Legal: 0 to 1.
    pub level_rate: f32,
    /// The same for the levels of synthesis bases.
    pub basis_rate: f32,
    /// The same for side values, in units of their vector's root mean square.
    pub side_rate: f32,
    /// The same for the logarithm (base 2) of each matrix' step; 0 keeps the steps. Legal: 0 to 1.
    pub step_rate: f32,
    /// Least λ of the choice of levels in training, squared steps of the quantizer per bit; 0: the nearest level or path while the size
    /// allows. Legal: 0 to 1.
    pub lambda: f32,
    /// Judge on images kept back after so many steps. Legal: at least 1.
    pub check_every: usize,
    /// Stop after so many judgements without a better one; 0 never.
    pub patience: usize,
    /// Make a checkpoint after so many steps; 0 only when stopped.
    pub checkpoint_every: usize,
    /// Changes of the images.
    pub augment: Augment,
    /// Seed of the order of images and their changes.
    pub seed: u64,
}

impl Default for RetrainSpec {
    fn default() -> Self {
        Self {
            target: None,
            loss: Loss::default(),
            distance: OutputDistance::default(),
            temperature: None,
            teacher: TeacherView::default(),
            optimizer: Optimizer::default(),
            steps: 700,
            batch: 64,
            level_rate: 0.02,
            basis_rate: 0.02,
            side_rate: 2e-3,
            step_rate: 0.0,
            lambda: 0.0,
            check_every: 100,
            patience: 0,
            checkpoint_every: 0,
            augment: Augment::default(),
            seed: 0,
        }
    }
}

impl RetrainSpec {
    /// Checks every number against its legal range.
    ///
    /// # Errors
    /// Names the first one outside.
    pub fn check(&self) -> Result<(), TqzError> {
        check("steps", self.steps as f64, 1.0..=1e7)?;
        check("images per step", self.batch as f64, 1.0..=65536.0)?;
        check(
            "the temperature",
            self.temperature.unwrap_or(1.0),
            0.1..=100.0,
        )?;
        self.check_teacher()?;
        check("the rate of levels", self.level_rate.into(), 0.0..=1.0)?;
        check("the rate of bases", self.basis_rate.into(), 0.0..=1.0)?;
        check("the rate of side values", self.side_rate.into(), 0.0..=1.0)?;
        check("the rate of steps", self.step_rate.into(), 0.0..=1.0)?;
        check("lambda", self.lambda.into(), 0.0..=1.0)?;
        check(
            "steps between judgements",
            self.check_every as f64,
            1.0..=1e7,
        )?;
        if let Some(patch) = self.augment.patch {
            check("the side of a patch", patch as f64, 1.0..=65536.0)?;
        }
        check("pixels of a shift", self.augment.shift as f64, 0.0..=64.0)?;
        match self.target {
            Some(RateTarget::Step(_)) => Err(TqzError::Request(
                "retraining keeps a size, not a step: give bits per weight or bytes".to_owned(),
            )),
            Some(RateTarget::BitsPerWeight(bits)) => check("bits per weight", bits, 0.01..=64.0),
            _ => Ok(()),
        }
    }

    /// Checks that what is said of the original's predictions is of effect.
    fn check_teacher(&self) -> Result<(), TqzError> {
        let untempered = self.loss == Loss::Labels || self.distance == OutputDistance::SquaredError;
        let fault = if untempered && self.temperature.is_some() {
            "a temperature is of no effect on labels and squared errors: leave it out"
        } else if self.loss == Loss::Labels && self.teacher == TeacherView::Mirrored {
            "a mirrored teacher is of no effect on labels: leave it out"
        } else {
            return Ok(());
        };
        Err(TqzError::Request(fault.to_owned()))
    }
}

fn check(what: &str, value: f64, legal: RangeInclusive<f64>) -> Result<(), TqzError> {
    if legal.contains(&value) {
        return Ok(());
    }
    let (low, high) = (legal.start(), legal.end());
    Err(TqzError::Request(format!(
        "{what}: {value}; it must lie between {low} and {high}"
    )))
}
