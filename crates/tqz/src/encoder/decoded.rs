//! Coded layers as a decoder sees them: weights, and the network that they make.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use rayon::prelude::*;
use tqz_engine::Network;

use crate::encoder::Job;
use crate::encoder::layer::CodedLayer;
use crate::encoder::sides::SideBits;
use crate::error::TqzError;
use crate::repair::SideValues;

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
        .map(|(layer, coded)| job.source.decoded_by_name(layer, &coded.record))
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
    let source = job.source;
    let mut values = source.decoded_vectors(source.vectors())?;
    values.extend(bits.rounded(source, sides)?);
    Ok(quantized_network(job, layers)?.with_weights(&values)?)
}
