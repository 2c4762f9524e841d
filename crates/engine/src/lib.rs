//! Runs ONNX graphs on burn tensors, forward and backward: weights by name, taps at any layer.
//! Knows nothing of compression.

/// The tensor library, for [`Network::run_tensors`] and what is done with its results.
pub use burn;

mod adjust;
mod arithmetic;
mod attributes;
mod constant;
mod convolve;
mod device;
mod error;
mod graph;
mod ints;
mod layer;
mod limits;
mod network;
mod ops;
mod patches;
mod port;
mod product;
mod real;
mod run;
mod tap;
mod tape;
mod value;
mod weight_gradients;

pub use adjust::{Adjust, Rewriter};
pub use device::EngineDevice;
pub use error::EngineError;
pub use ints::ElementType;
pub use layer::{BatchNorm, Layer, LayerOp, Side};
pub use limits::{MAX_CONSTANT_ELEMENTS, MAX_ELEMENTS, MAX_FUNCTION_DEPTH, MAX_NODES, MAX_RANK};
pub use network::Network;
pub use port::{Dim, Port};
pub use real::Real;
pub use tap::{Cotangent, Observed, TapRequest, Tapped};
pub use weight_gradients::WeightGradients;
