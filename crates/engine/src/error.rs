//! What can go wrong: `EngineError` for callers (names node, operator and opset), `Fault` inside an
//! operator (which does not know its node; the caller adds that).

use thiserror::Error;

/// Why a network cannot be built or run.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// An operator, attribute, type or opset that the engine does not compute.
    #[error("node `{node}` ({op}, opset {opset}): unsupported: {message}")]
    Unsupported {
        /// Name of the node, or its position where it has no name.
        node: String,
        /// Operator, with its domain where that is not ONNX's own.
        op: String,
        /// Version of the operator's domain that the model imports; 0 where it imports none.
        opset: i64,
        /// What is not supported and what is.
        message: String,
    },
    /// A node's operands or attributes break the operator's rules.
    #[error("node `{node}` ({op}, opset {opset}): {message}")]
    Node {
        /// Name of the node, or its position where it has no name.
        node: String,
        /// Operator, with its domain where that is not ONNX's own.
        op: String,
        /// Version of the operator's domain that the model imports; 0 where it imports none.
        opset: i64,
        /// What is wrong and the legal range.
        message: String,
    },
    /// The graph as a whole is not well formed.
    #[error("graph: {0}")]
    Graph(String),
    /// An initializer or a constant cannot be read.
    #[error("tensor `{name}`: {message}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The caller's inputs, weights or taps do not fit the network.
    #[error("{0}")]
    Argument(String),
    /// No such device, or not compiled in.
    #[error("{0}")]
    Device(String),
}

/// What went wrong inside an operator; becomes an [`EngineError`] once the node is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// True for "not computed by this engine", false for "against the operator's rules".
    pub(crate) unsupported: bool,
    /// What is wrong and the legal range.
    pub(crate) message: String,
}

/// Operators return this.
pub(crate) type OpResult<T> = Result<T, Fault>;

/// The operands or attributes break the operator's rules; the message gives the legal range.
pub(crate) fn invalid(message: impl Into<String>) -> Fault {
    Fault {
        unsupported: false,
        message: message.into(),
    }
}

/// Legal ONNX that this engine does not compute; the message says what it does compute.
pub(crate) fn unsupported(message: impl Into<String>) -> Fault {
    Fault {
        unsupported: true,
        message: message.into(),
    }
}
