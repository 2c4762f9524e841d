//! Image sets, preprocessing, tasks and scores.
//!
//! A [`Card`] describes a set; [`DataSet::open`] finds its pictures; [`DataSet::batches`] gives inputs
//! and what is right for them; a [`Scorer`] turns a network's outputs into [`Scores`]. This crate knows
//! nothing of networks: inputs and outputs are plain arrays.
//!
//! ```
//! use tqz_data::{Card, Scorer, Task};
//!
//! let card = "
//!     source = { path = \"photos.tar.xz\", kind = \"images\" }
//!     preprocess = { channels = \"grey\", scale = \"1/255\" }
//!     task = { kind = \"denoise\", sigma = 15 }
//! ";
//! let card = Card::from_toml(card, std::path::Path::new("photos.toml"))?;
//! assert!(matches!(card.task, Task::Denoise { sigma: 15.0, .. }));
//! assert_eq!(Scorer::new(&card.task).finish().images, 0);
//! # Ok::<(), tqz_data::DataError>(())
//! ```

mod card;
mod codec;
mod dataset;
mod error;
mod files;
mod geometry;
mod listing;
mod noise;
mod npz;
mod numpy;
mod picture;
mod preprocess;
mod random;
mod resample;
mod score;
mod task;
#[cfg(test)]
mod test_support;

pub use card::{Card, Rows, SourceCard, SourceKind};
pub use dataset::{Batch, Batches, DataSet, OpenOptions};
pub use error::DataError;
pub use numpy::{Held, NumpyHeader};
pub use preprocess::{
    Channels, Crop, CropMode, Layout, PerChannel, Preprocess, Resize, ResizeMode, Scale, Size,
};
pub use resample::Filter;
pub use score::{ReferenceScores, Scorer, Scores};
pub use task::{DenoiseOutput, Sample, SuperResolveInput, Task, Truth};
