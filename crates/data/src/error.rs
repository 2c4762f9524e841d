//! What can go wrong between a card and a score: every error names the file and, where there is
//! one, the row, image or array in it.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of cards, image sets and scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A card is not valid TOML or holds a value outside its legal range.
    #[error("card {path}: {reason}")]
    Card {
        /// The card.
        path: PathBuf,
        /// What is wrong and what is legal.
        reason: String,
    },
    /// A source (folder, archive, `.npz`) does not hold what the card says, or is damaged.
    #[error("data set {path}: {reason}")]
    Source {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A row of a table of labels is wrong.
    #[error("{path}, line {line}: {reason}")]
    Labels {
        /// The table, as source and name.
        path: PathBuf,
        /// Line of the table, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// An array of a `.npz` file is wrong.
    #[error("array `{array}` of {path}: {reason}")]
    Array {
        /// The `.npz` file.
        path: PathBuf,
        /// Name of the array, `x` or `y`.
        array: String,
        /// What is wrong and what is legal.
        reason: String,
    },
    /// A picture cannot be decoded or is too large or too small.
    #[error("image {name} of {path}: {reason}")]
    Image {
        /// The source that holds it.
        path: PathBuf,
        /// Its name there.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A sample was asked for that the set does not hold.
    #[error("sample {index} was asked for, but the set has {len} samples (0 to {len} - 1)")]
    Index {
        /// The index asked for.
        index: usize,
        /// Number of samples.
        len: usize,
    },
    /// A network's output does not fit the task, so no score can be computed.
    #[error("output for image {image}: {reason}")]
    Output {
        /// Position of the image in the order of scoring, from 0.
        image: usize,
        /// What is wrong.
        reason: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn source(path: &Path, reason: impl Into<String>) -> Self {
        Self::Source {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn image(path: &Path, name: &str, reason: impl Into<String>) -> Self {
        Self::Image {
            path: path.to_path_buf(),
            name: name.to_string(),
            reason: reason.into(),
        }
    }

    pub(crate) fn array(path: &Path, array: &str, reason: impl Into<String>) -> Self {
        Self::Array {
            path: path.to_path_buf(),
            array: array.to_string(),
            reason: reason.into(),
        }
    }
}
