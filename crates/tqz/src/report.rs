//! What a compression did, as plain data: per layer, and where every byte of the file went.

use serde::Serialize;

#[cfg(feature = "encoder")]
use crate::judge::Judged;

/// Outcome of one compression.
#[cfg(feature = "encoder")]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Size of the file.
    pub file_bytes: u64,
    /// Weights counted once per tensor (convolution and dense).
    pub weights: u64,
    /// 8 · bytes / weights.
    pub bits_per_weight: f64,
    /// The step constant used.
    pub step: f64,
    /// Factor of the usual damping, standard and what errors ask for, that was chosen for all layers.
    pub damping_factor: f64,
    /// Closed-form distortion of all layers.
    pub predicted_distortion: f64,
    /// Distance of the outputs from the original's on calibration images kept back (nats or squared error, mean over images);
    /// absent where the network was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_distortion: Option<f64>,
    /// What the judge said, where a bound on loss was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// Encodings tried to reach the target.
    pub trials: u32,
    /// Per layer, in the order of the graph.
    pub layers: Vec<LayerReport>,
    /// Where the bytes went.
    pub shares: Vec<Share>,
    /// What had to be worked around.
    pub warnings: Vec<String>,
}

/// One weight tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// Name of the tensor.
    pub name: String,
    /// First node that uses it.
    pub node: String,
    /// Operator of that node.
    pub op: String,
    /// Dimensions of the tensor.
    pub shape: Vec<usize>,
    /// Number of weights.
    pub weights: u64,
    /// `identity`, `column`, `row`, `kernel`, `both`; several where blocks differ; absent for a layer that is not compressed.
    pub transform: Option<String>,
    /// 8 · bytes of the record / weights; absent for a layer that is not compressed.
    pub bits_per_weight: Option<f64>,
    /// Bytes of the record.
    pub bytes: Option<u64>,
    /// Bits of its synthesis bases (S and V), counted by the coder's model; absent for a layer that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis_bits: Option<f64>,
    /// Share of levels that are zero, of the kernels' T (rows that left counted as zeros).
    pub zeros_percent: Option<f64>,
    /// Rows of T that are kept, of all.
    pub rows_kept: Option<(usize, usize)>,
    /// Closed-form distortion; only the encoder knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_distortion: Option<f64>,
    /// What its closed-form distortion was multiplied by in decisions, since it was measured to do so much more or less than the typical
    /// layer; only the encoder knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distortion_factor: Option<f64>,
}

/// One part of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// What it holds.
    pub part: String,
    /// Its bytes.
    pub bytes: u64,
}

/// 8 · bytes / weights; 0 for a network without weights.
pub(crate) fn bits_per_weight(bytes: u64, weights: u64) -> f64 {
    if weights == 0 {
        0.0
    } else {
        8.0 * bytes as f64 / weights as f64
    }
}
