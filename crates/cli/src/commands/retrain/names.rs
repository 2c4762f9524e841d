//! What `tqz retrain` is asked for by name.

use clap::ValueEnum;
use tqz::{Loss, Optimizer, OutputDistance, TeacherView};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LossName {
    /// The outputs of the full-precision network; labels are not looked at
    Distill,
    /// Labels (clean images for denoising and super-resolution)
    Labels,
    /// The mean of both
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DistanceName {
    /// Kullback–Leibler divergence for classifiers, squared error for others
    Auto,
    /// Squared error
    Mse,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum TeacherName {
    /// Mirrored for classifiers that are as sure of mirror images as of images, told by those kept back (100 or more); plain for others, with
    /// --no-flip and with --loss labels
    Auto,
    /// Those on an image
    Plain,
    /// The means of those on an image and on its mirror image
    Mirrored,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum OptimizerName {
    /// Adam
    Adam,
    /// Gradient descent with momentum
    Sgd,
}

impl From<LossName> for Loss {
    fn from(name: LossName) -> Self {
        match name {
            LossName::Distill => Self::Distill,
            LossName::Labels => Self::Labels,
            LossName::Both => Self::Both,
        }
    }
}

impl From<DistanceName> for OutputDistance {
    fn from(name: DistanceName) -> Self {
        match name {
            DistanceName::Auto => Self::Auto,
            DistanceName::Mse => Self::SquaredError,
        }
    }
}

impl From<TeacherName> for TeacherView {
    fn from(name: TeacherName) -> Self {
        match name {
            TeacherName::Auto => Self::Auto,
            TeacherName::Plain => Self::Plain,
            TeacherName::Mirrored => Self::Mirrored,
        }
    }
}

impl From<OptimizerName> for Optimizer {
    fn from(name: OptimizerName) -> Self {
        match name {
            OptimizerName::Adam => Self::Adam,
            OptimizerName::Sgd => Self::Sgd,
        }
    }
}
