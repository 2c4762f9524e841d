//! Coefficients → levels: successive quantization in the file's coding order, each level chosen against its cost in bits,
//! errors fed back into what is still to come (theory §8).

mod feedback;
mod problem;
mod steps;
mod trellis;

pub(crate) use feedback::{Outcome, quantize};
pub(crate) use problem::Problem;
pub(crate) use steps::{StepFactors, Steps};
