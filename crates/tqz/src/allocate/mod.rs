//! Decides rates: the one step constant c at which the whole file meets its target. With an entropy coder the best allocation is
//! a single slope (theory §8.1), so bit-depths follow from c and the sensitivities.

mod loss;
mod size;

pub(crate) use loss::{LossSearch, Sample};
pub(crate) use size::{Hint, Trial, search_step};
