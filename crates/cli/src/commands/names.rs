//! The encoder's choices by the names that the command line and sweeps use.

use clap::ValueEnum;
use serde::Deserialize;
use tqz::{Axis, Effort, PaperSpec, RowOrder, StepBy, TransformSpec};

/// How much work goes into accuracy.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    /// One pass; images are used for statistics alone
    Fast,
    /// Measures, matches and tunes for a minute or a few
    Balanced,
    /// The same with several times the work
    Best,
    /// The method as published: one bit-depth and step a block, no entropy coding
    Paper,
}

impl Preset {
    /// The paper's quantizer, if that is asked for.
    pub(crate) fn paper(self, spec: PaperSpec) -> Option<PaperSpec> {
        matches!(self, Self::Paper).then_some(spec)
    }
}

impl From<Preset> for Effort {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Fast | Preset::Paper => Self::Fast,
            Preset::Balanced => Self::Balanced,
            Preset::Best => Self::Best,
        }
    }
}

/// Bases by name.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransformName {
    /// The encoder's choice; with the paper's quantizer: elt
    Auto,
    /// The weights themselves
    Identity,
    /// Karhunen–Loève Transform
    Klt,
    /// End-to-end Learned Transform
    Elt,
    /// Cosine transform of the first kind inside kernels
    Dct1,
    /// Cosine transform of the second kind inside kernels
    Dct2,
}

/// What is mixed, by name.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AxisName {
    /// Output channels
    Column,
    /// Input channels
    Row,
    /// Positions inside a kernel
    Kernel,
    /// Output and input channels
    Both,
}

impl From<AxisName> for Axis {
    fn from(name: AxisName) -> Self {
        match name {
            AxisName::Column => Self::Column,
            AxisName::Row => Self::Row,
            AxisName::Kernel => Self::Kernel,
            AxisName::Both => Self::Both,
        }
    }
}

/// Which error steps are chosen by, by name.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepByName {
    /// Of the network's output
    Output,
    /// Of the weights
    Weights,
}

impl From<StepByName> for StepBy {
    fn from(name: StepByName) -> Self {
        match name {
            StepByName::Output => Self::Output,
            StepByName::Weights => Self::Weights,
        }
    }
}

/// The order of rows without a transform, by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OrderName {
    /// By falling energy at the output
    Energy,
    /// By falling variance
    Variance,
    /// As the network has them
    Stored,
}

impl From<OrderName> for RowOrder {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::Energy => Self::Energy,
            OrderName::Variance => Self::Variance,
            OrderName::Stored => Self::Stored,
        }
    }
}

impl From<TransformName> for TransformSpec {
    fn from(name: TransformName) -> Self {
        match name {
            TransformName::Auto => Self::Auto,
            TransformName::Identity => Self::Identity,
            TransformName::Klt => Self::Klt,
            TransformName::Elt => Self::Elt,
            TransformName::Dct1 => Self::Dct1,
            TransformName::Dct2 => Self::Dct2,
        }
    }
}
