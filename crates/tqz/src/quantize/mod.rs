//! Coefficients → levels: successive quantization in the file's coding order, each level chosen against its cost in bits,
//! errors fed back into what is still to come (theory §8).

mod feedback;
mod steps;
mod trellis;

pub(crate) use feedback::{Outcome, Problem, quantize};
pub(crate) use steps::{StepFactors, Steps};
