//! What running a network costs: multiply–accumulates and bytes of weights, layer by layer, as stored and in the transform domain.

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use serde::Serialize;
use tqz_engine::{Dim, EngineDevice, Layer, LayerOp, Network, Side};
use tqz_onnx::model::ModelProto;

use super::chain::{Branch, Stage, branches, costs};
use super::graph::stored;
use super::layer_node::LayerNode;
use super::simplify::simplify;
use crate::decoder::CompressedModel;
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::macs::elements;

/// Extent that stands for a free height or width.
const FREE_EXTENT: usize = 64;

/// Costs of one layer for one input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerCost {
    /// Name of the weight tensor.
    pub weight: String,
    /// Multiply–accumulates of the dense layer.
    pub macs_dense: u64,
    /// Those of the form that [`super::Form::Transform`] gives it.
    pub macs: u64,
    /// Bytes of the dense weights as floats.
    pub weight_bytes_dense: u64,
    /// Bytes of T and S as floats, where the layer is run as such.
    pub weight_bytes: u64,
}

/// Costs of a network for one input of a shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// Shape of the input, batch first; free extents have been given a size.
    pub input: Vec<usize>,
    /// Layer by layer; one whose weights serve several nodes counts all of them.
    pub layers: Vec<LayerCost>,
}

impl Costs {
    /// Multiply–accumulates of all dense layers.
    pub fn macs_dense(&self) -> u64 {
        self.layers.iter().map(|layer| layer.macs_dense).sum()
    }

    /// Multiply–accumulates in the transform domain.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(|layer| layer.macs).sum()
    }

    /// Bytes of all dense weights.
    pub fn weight_bytes_dense(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| layer.weight_bytes_dense)
            .sum()
    }

    /// Bytes of weights in the transform domain.
    pub fn weight_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.weight_bytes).sum()
    }
}

impl CompressedModel {
    /// What the network costs to run, dense and in the transform domain. `input` is the shape of one input; absent: the graph's own,
    /// with a batch of 1 and 64 for every other free extent.
    ///
    /// # Errors
    /// A network that does not run on such an input.
    pub fn costs(&self, input: Option<&[usize]>) -> Result<Costs, TqzError> {
        let mut model = self.to_model()?;
        let records = self.records(&model);
        let network = Network::from_model(&model, &EngineDevice::cpu())?;
        let input = input.map_or_else(|| input_shape(&network), <[usize]>::to_vec);
        let dense = dense_macs(&network, &input)?;
        drop(network);
        simplify(&mut model)?;
        let mut layers: Vec<LayerCost> = Vec::new();
        for (found, output) in layer_nodes(&model) {
            let macs_dense = dense.get(&output).copied().unwrap_or(0);
            let record = records.get(&found.weight).copied();
            let shape = record.and_then(|record| Some((record, found.shape(record)?)));
            let elements: usize = found.dims.iter().product();
            let mut cost = LayerCost {
                weight: found.weight.clone(),
                macs_dense,
                macs: macs_dense,
                weight_bytes_dense: 4 * elements as u64,
                weight_bytes: 4 * elements as u64,
            };
            if let Some((record, shape)) = shape {
                let chosen = branches(record, shape, (found.groups, found.positions));
                let (sum, whole) = costs(&chosen, shape, found.positions);
                cost.macs = (macs_dense as f64 * sum / whole.max(1.0)).round() as u64;
                cost.weight_bytes = chosen.iter().map(|b| bytes(b, shape.cols)).sum();
            }
            add(&mut layers, cost);
        }
        Ok(Costs { input, layers })
    }
}

/// Bytes of a branch's weights as floats.
fn bytes(branch: &Branch, cols: usize) -> u64 {
    let of = |stage: &Stage| {
        let (Stage::Pointwise(f) | Stage::Spatial(f)) = stage;
        4 * (f.rows * f.cols) as u64
    };
    match &branch.stages[..] {
        [] => 4 * (branch.rows * cols) as u64,
        stages => stages.iter().map(of).sum(),
    }
}

/// Adds a layer, or its work to that of the layer with the same weights.
fn add(layers: &mut Vec<LayerCost>, cost: LayerCost) {
    match layers.iter_mut().find(|layer| layer.weight == cost.weight) {
        Some(known) => {
            known.macs_dense += cost.macs_dense;
            known.macs += cost.macs;
        }
        None => layers.push(cost),
    }
}

/// Layers of the main graph, each with the name of the value it makes.
fn layer_nodes(model: &ModelProto) -> Vec<(LayerNode, String)> {
    let Some(graph) = &model.graph else {
        return Vec::new();
    };
    let stored = stored(graph);
    let nodes = graph.node.iter();
    nodes
        .filter_map(|node| Some((LayerNode::of(node, &stored)?, node.output[0].clone())))
        .collect()
}

/// The shape of one input.
fn input_shape(network: &Network) -> Vec<usize> {
    let Some(port) = network.inputs().first() else {
        return Vec::new();
    };
    let extent = |(axis, dim): (usize, &Dim)| match (axis, dim) {
        (_, Dim::Fixed(size)) => *size,
        (0, Dim::Dynamic(_)) => 1,
        (_, Dim::Dynamic(_)) => FREE_EXTENT,
    };
    port.dims.iter().enumerate().map(extent).collect()
}

/// Multiply–accumulates of each weight tensor's layers for one sample of the network's own input.
///
/// # Errors
/// The network does not run on it.
pub(crate) fn macs_of_layers(
    network: &Network,
    layers: &[WeightLayer],
) -> Result<Vec<u64>, TqzError> {
    let by_output = dense_macs(network, &input_shape(network))?;
    let all = network.layers();
    let of = |layer: &WeightLayer| {
        let outputs = layer.uses.iter().map(|&index| &all[index].output);
        outputs.filter_map(|name| by_output.get(name)).sum()
    };
    Ok(layers.iter().map(of).collect())
}

/// Multiply–accumulates of each layer by the name of its output, for one sample of the input.
fn dense_macs(network: &Network, input: &[usize]) -> Result<BTreeMap<String, u64>, TqzError> {
    let layers = network.layers();
    let mut names: Vec<&str> = layers
        .iter()
        .flat_map(|layer| [layer.input.as_str(), layer.output.as_str()])
        .collect();
    names.sort_unstable();
    names.dedup();
    let (elements, images) = elements(network, &names, &ArrayD::zeros(IxDyn(input)))?;
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
    let counted = layers
        .iter()
        .map(|layer| (layer.output.clone(), macs(layer) / images));
    Ok(counted.collect())
}
