//! Multiply–accumulates of a network: what its layers cost, and so how much of running it a compression can afford.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use tqz_engine::{Layer, LayerOp, Network, Side};

use crate::error::TqzError;
use crate::layout::WeightLayer;

/// What a layer computes for one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Work {
    /// Multiply–accumulates.
    pub(crate) macs: u64,
    /// Elements of the output.
    pub(crate) outputs: u64,
}

/// Work of each weight tensor's layers for one sample of a batch, in the order of `layers`.
///
/// # Errors
/// The network does not run on the batch.
pub(crate) fn layer_work(
    network: &Network,
    layers: &[WeightLayer],
    batch: &ArrayD<f32>,
) -> Result<Vec<Work>, TqzError> {
    let by_output = dense_macs(network, batch)?;
    let all = network.layers();
    let of = |layer: &WeightLayer| {
        let outputs = layer.uses.iter().map(|&index| &all[index].output);
        let works = outputs.filter_map(|name| by_output.get(name));
        works.fold(Work::default(), |sum, work| Work {
            macs: sum.macs + work.macs,
            outputs: sum.outputs + work.outputs,
        })
    };
    Ok(layers.iter().map(of).collect())
}

/// Work of each layer by the name of its output, for one sample of a batch.
///
/// # Errors
/// The network does not run on the batch.
pub(crate) fn dense_macs(
    network: &Network,
    batch: &ArrayD<f32>,
) -> Result<BTreeMap<String, Work>, TqzError> {
    let layers = network.layers();
    let mut names: Vec<&str> = layers
        .iter()
        .flat_map(|layer| [layer.input.as_str(), layer.output.as_str()])
        .collect();
    names.sort_unstable();
    names.dedup();
    let (elements, images) = elements(network, &names, batch)?;
    let of = |name: &str| elements.get(name).copied().unwrap_or(0);
    let macs = |layer: &Layer| match &layer.op {
        // Every element of the input is multiplied with a kernel for each output channel of its group.
        LayerOp::ConvTranspose { .. } => {
            of(&layer.input) * layer.weight_dims[1..].iter().product::<usize>() as u64
        }
        LayerOp::Conv { .. } => {
            of(&layer.output) * layer.weight_dims[1..].iter().product::<usize>() as u64
        }
        LayerOp::Gemm { trans_b: true, .. } | LayerOp::MatMul { side: Side::Left } => {
            of(&layer.output) * layer.weight_dims[1] as u64
        }
        LayerOp::Gemm { .. } | LayerOp::MatMul { .. } => {
            of(&layer.output) * layer.weight_dims[0] as u64
        }
    };
    let work = |layer: &Layer| Work {
        macs: macs(layer) / images,
        outputs: of(&layer.output) / images,
    };
    let counted = layers
        .iter()
        .map(|layer| (layer.output.clone(), work(layer)));
    Ok(counted.collect())
}

/// Elements of values of the network, by name, when it runs on a batch; and the samples that it runs, filled up to a fixed batch.
fn elements(
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
