//! Coded layers as a decoder sees them: weights, and the network that they make.

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;
use tqz_engine::Network;

use crate::encoder::Job;
use crate::encoder::layer::CodedLayer;
use crate::encoder::sides::SideBits;
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::repair::SideValues;

/// A layer's weights as a decoder sees them.
///
/// # Errors
/// A record that cannot be decoded.
pub(crate) fn decoded(layer: &WeightLayer, coded: &CodedLayer) -> Result<ArrayD<f32>, TqzError> {
    let array = ArrayD::from_shape_vec(IxDyn(&layer.dims), coded.record.reconstruct()?);
    array.map_err(|e| TqzError::layer(&layer.name, e.to_string()))
}

/// The network with the decoded weights of coded layers.
///
/// # Errors
/// Records that cannot be decoded.
pub(crate) fn quantized_network(job: Job<'_>, layers: &[CodedLayer]) -> Result<Network, TqzError> {
    let weights: BTreeMap<String, ArrayD<f32>> = job
        .source
        .layers()
        .par_iter()
        .zip(layers)
        .map(|(layer, coded)| Ok((layer.name.clone(), decoded(layer, coded)?)))
        .collect::<Result<_, TqzError>>()?;
    Ok(job.source.network().with_weights(&weights)?)
}

/// The same with side values as the file stores them, so precisely: what a decoder makes of the whole file.
///
/// # Errors
/// As [`quantized_network`].
pub(crate) fn repaired_network(
    job: Job<'_>,
    layers: &[CodedLayer],
    (sides, bits): (&SideValues, SideBits),
) -> Result<Network, TqzError> {
    let network = quantized_network(job, layers)?;
    Ok(network.with_weights(&bits.rounded(job.source, sides)?)?)
}
