//! Transform quantization of trained convolutional networks: the encoder and the decoder (Young, Zhe, Taubman, Girod, IEEE TPAMI
//! 2021). The data's way: [`Source`] (network and weights) → [`Calibration`] → [`Statistics`] → [`compress`] → bytes →
//! [`CompressedModel`] → ONNX.

#[cfg(feature = "encoder")]
mod allocate;
#[cfg(feature = "encoder")]
mod alone;
#[cfg(feature = "encoder")]
mod calibrate;
#[cfg(feature = "encoder")]
mod config;
#[cfg(feature = "encoder")]
mod cotangent;
mod decoder;
#[cfg(feature = "encoder")]
mod encoder;
mod error;
#[cfg(feature = "encoder")]
mod export;
#[cfg(feature = "encoder")]
mod fidelity;
#[cfg(feature = "encoder")]
mod fold;
#[cfg(feature = "encoder")]
mod images;
mod inspect;
#[cfg(feature = "encoder")]
mod judge;
#[cfg(feature = "encoder")]
mod layout;
#[cfg(feature = "encoder")]
mod linalg;
#[cfg(feature = "encoder")]
mod macs;
#[cfg(feature = "encoder")]
mod normalisation;
#[cfg(feature = "encoder")]
mod notes;
#[cfg(feature = "encoder")]
mod outputs;
#[cfg(feature = "encoder")]
mod paper;
mod progress;
#[cfg(feature = "encoder")]
mod quantize;
#[cfg(feature = "encoder")]
mod repair;
mod report;
#[cfg(feature = "encoder")]
mod retrain;
#[cfg(feature = "encoder")]
mod side;
#[cfg(feature = "encoder")]
mod source;
#[cfg(feature = "encoder")]
mod statistics;
#[cfg(feature = "encoder")]
mod sum;
#[cfg(feature = "encoder")]
mod taps;
#[cfg(feature = "encoder")]
mod transform;
#[cfg(feature = "encoder")]
mod unfold;

#[cfg(feature = "encoder")]
pub use alone::{LayerDistances, layer_distances};
#[cfg(feature = "encoder")]
pub use calibrate::{Calibration, CalibrationSpec};
#[cfg(feature = "encoder")]
pub use config::{
    Axis, Basis, Damping, Effort, EncoderConfig, Metric, PaperSpec, QuantizerSpec, RateTarget,
    RowOrder, StepBy, TransformSpec,
};
pub use decoder::{CompressedModel, Inspection};
#[cfg(feature = "encoder")]
pub use encoder::{compress, compress_within};
pub use error::TqzError;
#[cfg(feature = "encoder")]
pub use export::{
    Activations, Clipping, Costs, FloatLayers, Form, Int8Report, Int8Spec, LayerCost,
};
#[cfg(feature = "encoder")]
pub use fidelity::Agreement;
#[cfg(feature = "encoder")]
pub use images::Images;
#[cfg(feature = "encoder")]
pub use judge::{Judge, Judged};
#[cfg(feature = "encoder")]
pub use layout::WeightLayer;
#[cfg(feature = "encoder")]
pub use paper::{
    BlockCurve, CURVE_IMAGES, CurvePoint, CurveStore, Gain, LayerGains, MissingGain, PaperCurves,
    coding_gains,
};
pub use progress::{Progress, Silent};
#[cfg(feature = "encoder")]
pub use report::Report;
pub use report::{LayerReport, Share};
#[cfg(feature = "encoder")]
pub use retrain::{
    Augment, CheckNote, Loss, Optimizer, Outcome, OutputDistance, RetrainSpec, Retrained, Score,
    StepNote, Target, TeacherView, TrainingSet, Watch, check_retraining, retrain,
};
#[cfg(feature = "encoder")]
pub use source::Source;
#[cfg(feature = "encoder")]
pub use statistics::{GroupStatistics, INPUT_BLOCK, LayerStatistics, LayerSummary, Statistics};
