//! What can go wrong in the encoder and decoder, said in the user's words: which layer or file, what, and what to do.

use std::path::PathBuf;

#[cfg(feature = "encoder")]
use tqz_engine::EngineError;
use tqz_format::FormatError;
use tqz_onnx::OnnxError;

/// An error of compression, calibration or decompression.
#[derive(Debug, thiserror::Error)]
pub enum TqzError {
    /// The ONNX file or one of its tensors cannot be read or written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The network cannot be run.
    #[cfg(feature = "encoder")]
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The `.tqz` file cannot be decoded or encoded.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An error in what a file holds, with the file's name.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<TqzError>,
    },
    /// The request cannot be met; the message states the legal range.
    #[error("{0}")]
    Request(String),
    /// No step gives a file as small as asked for.
    #[error(
        "a file of at most {limit_bytes} bytes cannot be reached: the graph, biases and other values that are kept take most of the \
         smallest one found, {smallest_bytes} bytes; ask for more"
    )]
    Unreachable {
        /// Bytes allowed.
        limit_bytes: u64,
        /// Bytes of the smallest file found.
        smallest_bytes: u64,
    },
    /// A layer's numbers do not allow what was asked.
    #[error("layer {layer}: {problem}")]
    Layer {
        /// Name of the weight tensor.
        layer: String,
        /// What was wrong and what to do.
        problem: String,
    },
    /// The graph inside a `.tqz` file and its records do not fit together.
    #[error("record of tensor {site}: {problem}")]
    Record {
        /// Index of the tensor in the graph's fixed visiting order.
        site: usize,
        /// What does not fit.
        problem: String,
    },
}

#[cfg(feature = "encoder")]
impl TqzError {
    /// The same error with the name of the file it is about.
    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        Self::InFile {
            path: path.to_path_buf(),
            source: Box::new(self),
        }
    }

    /// An error about one layer, named by its weight tensor.
    pub(crate) fn layer(layer: &str, problem: impl Into<String>) -> Self {
        Self::Layer {
            layer: layer.to_owned(),
            problem: problem.into(),
        }
    }
}
