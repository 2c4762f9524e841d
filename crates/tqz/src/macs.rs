//! Multiply–accumulates of a network: what its layers cost, and so how much of running it a compression can afford.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::layout::WeightLayer;

/// Multiply–accumulates of each weight tensor's layers for one input of a batch, in the order of `layers`.
///
/// # Errors
/// The network does not run on the batch.
pub(crate) fn macs_per_image(
    network: &Network,
    layers: &[WeightLayer],
    batch: &ArrayD<f32>,
) -> Result<Vec<u64>, TqzError> {
    let all = network.layers();
    let mut names: Vec<&str> = all.iter().map(|layer| layer.output.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let (elements, images) = elements(network, &names, batch)?;
    let of_layer = |layer: &WeightLayer| {
        let uses = layer.uses.iter().map(|&index| &all[index].output);
        let outputs: u64 = uses.filter_map(|name| elements.get(name)).sum();
        // Every element of an output is a sum over the K inputs of its row.
        outputs * layer.cols as u64 / images
    };
    Ok(layers.iter().map(of_layer).collect())
}

/// Elements of values of the network, by name, when it runs on a batch; and the samples that it runs, filled up to a fixed batch.
///
/// # Errors
/// The network does not run on the batch.
pub(crate) fn elements(
    network: &Network,
    names: &[&str],
    batch: &ArrayD<f32>,
) -> Result<(BTreeMap<String, u64>, u64), TqzError> {
    let batch = network.fill_batch(batch.view())?;
    let images = batch.shape().first().copied().unwrap_or(1).max(1) as u64;
    let mut elements: BTreeMap<String, u64> = BTreeMap::new();
    network.run_adjusting(&[batch], names, &mut |name, value| {
        elements.insert(name.to_owned(), value.len() as u64);
        value
    })?;
    Ok((elements, images))
}
