//! Retraining of a compressed network (paper 5.3): levels of T and S by a straight-through estimator, side values along
//! with them, toward the original's outputs or toward labels, within the size of the file.

mod asked;
mod checkpoint;
mod compare;
mod data;
mod digest;
mod fitted;
mod latent;
mod layer;
mod loss;
mod optimizer;
mod path;
mod rate;
mod run;
mod shard;
mod sides;
mod spec;
mod squares;
mod student;
mod teacher;

pub use asked::check_retraining;
pub use data::{Target, TrainingSet};
pub use loss::Score;
pub use run::{CheckNote, Outcome, Retrained, StepNote, Watch, retrain};
pub use spec::{Augment, Loss, Optimizer, OutputDistance, RetrainSpec, TeacherView};
