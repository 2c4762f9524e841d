//! Shards of a batch, and what a network says of one.

use ndarray::ArrayD;
use tqz_engine::Network;

use crate::error::TqzError;

/// Images per shard of a batch: fixed, so that sums do not depend on threads.
const SHARD: usize = 16;

/// Images per shard of a batch for a network, which may fix their number.
pub(super) fn shard_size(network: &Network) -> usize {
    network.fixed_batch().unwrap_or(SHARD).max(1)
}

/// The network's first output on a shard, which is filled up where the network fixes the number of images: only the first rows are the shard's.
///
/// # Errors
/// A network that does not run on it, or has no output.
pub(super) fn first_output(
    network: &Network,
    shard: &ArrayD<f32>,
) -> Result<ArrayD<f32>, TqzError> {
    let filled = network.fill_batch(shard.view())?;
    let outputs = network.run(&[filled])?;
    let first = outputs.into_iter().next();
    first.ok_or_else(|| TqzError::Request("the network has no output".to_owned()))
}
