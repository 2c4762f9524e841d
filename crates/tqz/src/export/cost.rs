//! What running a network costs: multiply–accumulates and bytes of weights, layer by layer, as stored and in the transform domain.

use ndarray::{ArrayD, Axis, IxDyn};
use serde::Serialize;
use tqz_engine::{Dim, EngineDevice, Network};
use tqz_onnx::model::ModelProto;

use super::chain::{Branch, Stage, branches, costs};
use super::graph::stored;
use super::layer_node::LayerNode;
use super::simplify::simplify;
use crate::decoder::CompressedModel;
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::macs::{Work, dense_macs, layer_work};

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

    /// Multiply–accumulates in the transform domain, in per cent of the dense network's.
    pub fn macs_percent(&self) -> f64 {
        100.0 * self.macs() as f64 / self.macs_dense().max(1) as f64
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
        let dense = dense_macs(&network, &ArrayD::zeros(IxDyn(&input)))?;
        drop(network);
        simplify(&mut model)?;
        let mut layers: Vec<LayerCost> = Vec::new();
        for (found, output) in layer_nodes(&model) {
            let macs_dense = dense.get(&output).map_or(0, |work| work.macs);
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

/// Work of each weight tensor's layers for one sample: an image that the network runs on, else an input of its own shape.
///
/// # Errors
/// The network does not run on it.
pub(crate) fn work_of_layers(
    network: &Network,
    layers: &[WeightLayer],
    image: Option<&ArrayD<f32>>,
) -> Result<Vec<Work>, TqzError> {
    let Some(image) = image else {
        let shape = input_shape(network);
        let work = layer_work(network, layers, &ArrayD::zeros(IxDyn(&shape)));
        return work.map_err(|fault| {
            TqzError::Request(format!(
                "--macs: the network does not run on an input of {shape:?} ({fault}); give calibration images to count its work by"
            ))
        });
    };
    layer_work(network, layers, &image.clone().insert_axis(Axis(0)))
}
