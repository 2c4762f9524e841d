//! Coding gain of every transform on every layer (paper Eq. 11, Fig. 3): what decorrelation would save at high rate.

use rayon::prelude::*;
use serde::Serialize;

use crate::config::{Axis, TransformSpec};
use crate::encoder::{Strength, conditioned, unmeasured_sensitivity};
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::linalg::symmetric_eigen;
use crate::paper::layer::DAMPING;
use crate::paper::published::Published;
use crate::source::Source;
use crate::statistics::Statistics;
use crate::transform::{CodingGain, Covariances, SINGULAR, Subject};

/// Transforms whose gain is of interest.
const ASKED: [(TransformSpec, Axis); 8] = [
    (TransformSpec::Klt, Axis::Column),
    (TransformSpec::Elt, Axis::Column),
    (TransformSpec::Klt, Axis::Row),
    (TransformSpec::Elt, Axis::Row),
    (TransformSpec::Dct1, Axis::Kernel),
    (TransformSpec::Dct2, Axis::Kernel),
    (TransformSpec::Klt, Axis::Kernel),
    (TransformSpec::Elt, Axis::Kernel),
];

/// Gains of the transforms of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerGains {
    /// Name of the weight tensor.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// One a transform that the layer admits; none for grouped layers.
    pub gains: Vec<Gain>,
    /// Transforms without a gain, and why.
    pub missing: Vec<MissingGain>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A transform whose gain on a layer there is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MissingGain {
    /// The transform.
    pub transform: TransformSpec,
    /// What it mixes.
    pub axis: Axis,
    /// In words for the user.
    pub reason: &'static str,
}

/// Gain of one transform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// The transform.
    pub transform: TransformSpec,
    /// What it mixes.
    pub axis: Axis,
    /// From decorrelating the weights, in decibel.
    pub weights_db: f64,
    /// The same in bits per weight.
    pub weights_bits: f64,
    /// From decorrelating the gradients, in decibel.
    pub gradients_db: f64,
    /// The same in bits per weight.
    pub gradients_bits: f64,
    /// Both together.
    pub total_db: f64,
    /// Bits per weight that it saves at high rate, the basis not counted.
    pub bits_per_weight: f64,
    /// Condition number of the damped gradient covariance.
    pub condition: f64,
}

/// Coding gains of all layers, scales of normalisations apart.
///
/// # Errors
/// Statistics of another network.
pub fn coding_gains(source: &Source, statistics: &Statistics) -> Result<Vec<LayerGains>, TqzError> {
    let published = Published::new(source, statistics)?;
    let statistics = published.statistics();
    let unmeasured = unmeasured_sensitivity(statistics);
    let of_layer = |layer: &WeightLayer| {
        let (found, problem) = match statistics.layers.get(&layer.name) {
            Some(found) if layer.groups == 1 && statistics.fits(layer) => {
                let strength = Strength::with_errors(DAMPING);
                let mut groups = conditioned(layer, found, strength, unmeasured);
                let weights = published.matrix(layer)?;
                let subject = Subject::new(layer, weights, groups.swap_remove(0));
                (gains(&subject), None)
            }
            _ if layer.groups > 1 => (Found::default(), Some("channels in groups")),
            _ => (Found::default(), Some("no statistics of its shape")),
        };
        Ok(LayerGains {
            name: layer.name.clone(),
            shape: layer.dims.clone(),
            gains: found.gains,
            missing: found.missing,
            problem: problem.map(str::to_owned),
        })
    };
    source.layers().par_iter().map(of_layer).collect()
}

/// Gains of a layer, and those that it has not.
#[derive(Default)]
struct Found {
    gains: Vec<Gain>,
    missing: Vec<MissingGain>,
}

fn gains(subject: &Subject) -> Found {
    let mut found = Found::default();
    for (transform, axis) in ASKED {
        match gain(subject, (transform, axis)) {
            Ok(gain) => found.gains.push(gain),
            Err(reason) => found.missing.push(MissingGain {
                transform,
                axis,
                reason,
            }),
        }
    }
    for transform in [TransformSpec::Klt, TransformSpec::Elt] {
        let along = |axis: Axis| {
            let mut gains = found.gains.iter();
            gains
                .find(|g| (g.transform, g.axis) == (transform, axis))
                .copied()
        };
        if let (Some(column), Some(row)) = (along(Axis::Column), along(Axis::Row)) {
            found.gains.push(column.and(row));
        }
    }
    found
}

/// Gain of one transform, or why there is none.
fn gain(subject: &Subject, (transform, axis): (TransformSpec, Axis)) -> Result<Gain, &'static str> {
    let singular = |_| SINGULAR;
    if let Some(reason) = subject.why_not(axis) {
        return Err(reason);
    }
    let of = subject.covariances(axis);
    // They span no volume: the gain would be infinite.
    if subject.weights.len() < of.weights.len() {
        return Err("fewer vectors than dimensions");
    }
    let dual = subject.dual(transform, &of).map_err(singular)?;
    let gain = dual.gain(&of);
    let only = |weights: f64, gradients: f64| CodingGain { weights, gradients };
    let (of_weights, of_gradients) = (only(gain.weights, 1.0), only(1.0, gain.gradients));
    Ok(Gain {
        transform,
        axis,
        weights_db: of_weights.decibel(),
        weights_bits: of_weights.bits(),
        gradients_db: of_gradients.decibel(),
        gradients_bits: of_gradients.bits(),
        total_db: gain.decibel(),
        bits_per_weight: gain.bits(),
        condition: condition(&of).map_err(singular)?,
    })
}

impl Gain {
    /// Gain of the transform of both sides (paper 7.1) from those of each: covariances of a matrix whose rows and columns are mixed
    /// apart are Kronecker products, so that variances after the transform are products, and their geometric means are, too.
    fn and(self, other: Self) -> Self {
        Self {
            axis: Axis::Both,
            weights_db: self.weights_db + other.weights_db,
            weights_bits: self.weights_bits + other.weights_bits,
            gradients_db: self.gradients_db + other.gradients_db,
            gradients_bits: self.gradients_bits + other.gradients_bits,
            total_db: self.total_db + other.total_db,
            bits_per_weight: self.bits_per_weight + other.bits_per_weight,
            condition: self.condition.max(other.condition),
            ..self
        }
    }
}

fn condition(of: &Covariances) -> Result<f64, crate::linalg::NumericalFailure> {
    let (values, _) = symmetric_eigen(&of.gradients)?;
    let least = values.last().copied().unwrap_or(1.0);
    Ok(values.first().copied().unwrap_or(1.0) / least.max(f64::MIN_POSITIVE))
}
