//! Transform quantization of trained convolutional networks: the encoder and the decoder (Young, Zhe, Taubman, Girod, IEEE TPAMI
//! 2021). The data's way: [`Source`] (network and weights) → [`Calibration`] → [`Statistics`] → [`compress`] → bytes →
//! [`CompressedModel`] → ONNX.

mod allocate;
mod calibrate;
mod config;
mod cotangent;
mod decoder;
mod encoder;
mod error;
mod fidelity;
mod fold;
mod images;
mod inspect;
mod layout;
mod linalg;
mod macs;
mod notes;
mod outputs;
mod paper;
mod progress;
mod quantize;
mod repair;
mod report;
mod retrain;
mod side;
mod source;
mod statistics;
mod taps;
mod transform;
mod unfold;

pub use calibrate::{Calibration, CalibrationSpec};
pub use config::{
    Axis, Basis, Damping, Effort, EncoderConfig, Metric, PaperSpec, QuantizerSpec, RateTarget,
    StepBy, TransformSpec,
};
pub use decoder::{CompressedModel, Inspection};
pub use encoder::compress;
pub use error::TqzError;
pub use images::Images;
pub use layout::WeightLayer;
pub use paper::{Gain, LayerGains, coding_gains};
pub use progress::{Progress, Silent};
pub use report::{LayerReport, Report, Share};
pub use retrain::{
    Augment, CheckNote, Loss, Optimizer, Outcome, OutputDistance, RetrainSpec, Retrained, Score,
    StepNote, Target, TrainingSet, Watch, retrain,
};
pub use source::Source;
pub use statistics::{GroupStatistics, INPUT_BLOCK, LayerStatistics, Statistics};
