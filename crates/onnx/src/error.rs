//! What can be wrong with an ONNX file, said so that its owner can find the place.

use std::path::{Path, PathBuf};

/// An ONNX file or message that cannot be read, understood or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, such as "read the model".
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// An error inside a file, with the file's name.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The model file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<OnnxError>,
    },
    /// The bytes are not a well-formed ONNX message.
    #[error("not a valid ONNX message: {place}, at byte {offset} of {length}: {reason}")]
    Malformed {
        /// The field, such as `graph.node[3].attribute[0].t.raw_data`, or the message that holds it.
        place: String,
        /// Where the field's key stands, in bytes from the start of the message.
        offset: usize,
        /// Length of the whole message in bytes.
        length: usize,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A well-formed message that lacks what every model has.
    #[error("not a complete ONNX model ({length} bytes): {reason}")]
    Incomplete {
        /// Length of the message in bytes.
        length: usize,
        /// What is missing.
        reason: &'static str,
    },
    /// A tensor whose dims, type and data do not fit together or to the request.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// The tensor's name, empty when it has none.
        name: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// External data that cannot be used.
    #[error("tensor {name:?}: external data {location:?}: {reason}")]
    External {
        /// The tensor's name, empty when it has none.
        name: String,
        /// The location the tensor gives.
        location: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A model that cannot be written as asked.
    #[error("{path}: cannot write the model: {reason}", path = path.display())]
    Unwritable {
        /// The file that was to be written.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
}

/// Adds the file's name to an error.
pub(crate) fn in_file(path: &Path) -> impl FnOnce(OnnxError) -> OnnxError {
    |source| OnnxError::InFile {
        path: path.to_path_buf(),
        source: Box::new(source),
    }
}

/// Makes an [`OnnxError::Io`].
pub(crate) fn io_error(
    path: &Path,
    action: &'static str,
) -> impl FnOnce(std::io::Error) -> OnnxError {
    move |source| OnnxError::Io {
        path: path.to_path_buf(),
        action,
        source,
    }
}
