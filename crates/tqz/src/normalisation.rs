//! BatchNormalization in canonical form: what it multiplies by goes into the weights before it, where it costs nothing, what it subtracts into its
//! offset. Where there are no such weights the scale stays, mean and variance go.

use std::collections::{BTreeMap, BTreeSet};

use tqz_engine::{BatchNorm, Layer, LayerOp, Network};
use tqz_onnx::model::tensor_proto::DataType;
use tqz_onnx::model::{ModelProto, NodeProto};
use tqz_onnx::visit;

use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::side::uses;

/// Tensors to be replaced, by their place in the graph's fixed visiting order.
type Replaced = BTreeMap<usize, Vec<f32>>;

/// The scale of a normalisation that went into the weights of the layer before it: what each of their rows was multiplied by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TakenScale {
    /// Place of the scale's tensor, now of ones, in the graph's fixed visiting order.
    pub(crate) site: usize,
    /// One for every row.
    pub(crate) values: Vec<f32>,
}

/// A normalisation's scale, offset, mean and variance.
struct Folded {
    scale: Vec<f32>,
    offset: Vec<f32>,
    /// What the offset takes of something added before the scale.
    unit: f64,
}

/// Puts every BatchNormalization `scale, offset, mean, var` into the form `scale', offset', 0, 1`, which computes the same; and where it is all
/// that a layer's output is for, `scale'` into the layer's weights, so that it is 1, and the layer's bias into `offset'`, so that it is 0. Vectors
/// and weights shared with anything else, or copied, or of half floats, stay as they are. Returns the scales that went into weights, by the place of these.
///
/// # Errors
/// Tensors that cannot be read.
pub(crate) fn canonical_batch_norms(
    model: &mut ModelProto,
    network: &Network,
    names: &BTreeMap<String, usize>,
) -> Result<BTreeMap<usize, TakenScale>, TqzError> {
    let graph = Graph::new(model, network, names);
    let (mut replaced, mut taken) = (Replaced::new(), BTreeMap::new());
    for norm in network.batch_norms() {
        let of_norm = [&norm.scale, &norm.bias, &norm.mean, &norm.var];
        let own = of_norm.iter().filter_map(|name| graph.own(name));
        let sites: Vec<usize> = own.filter(|site| graph.single.contains(site)).collect();
        let (4, Some(mut folded)) = (sites.len(), fold(norm, network)) else {
            continue;
        };
        let values = folded.scale.clone();
        if let Some(layer) = graph.layer_before(norm)
            && let Some((weights, scaled)) = graph.scaled(layer, &mut folded)?
        {
            let site = sites[0];
            taken.insert(weights, TakenScale { site, values });
            replaced.extend(scaled);
        }
        let n = folded.scale.len();
        let vectors = [folded.scale, folded.offset, vec![0.0; n], vec![1.0; n]];
        replaced.extend(sites.into_iter().zip(vectors));
    }
    let mut failure = None;
    visit::tensors_mut(model, |site, tensor| {
        if let Some(values) = replaced.remove(&site.index)
            && let Err(error) = tensor.set_f32(&values)
        {
            failure = Some(error.into());
        }
    });
    failure.map_or(Ok(taken), Err)
}

/// What is asked of the graph before anything in it is replaced.
struct Graph<'a> {
    network: &'a Network,
    names: &'a BTreeMap<String, usize>,
    uses: BTreeMap<String, usize>,
    /// Values that leave the graph or may be taken more than once by what is inside a node: a branch or the body of a function.
    outside: BTreeSet<&'a str>,
    /// The node that makes a value.
    makers: BTreeMap<&'a str, &'a NodeProto>,
    /// Places of tensors of 32-bit floats: others would round what is folded into them.
    single: BTreeSet<usize>,
}

/// Values that nodes inside this one may take.
fn inside<'a>(node: &'a NodeProto, outside: &mut BTreeSet<&'a str>) {
    let graphs = node
        .attribute
        .iter()
        .flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs));
    for graph in graphs {
        outside.extend(graph.output.iter().map(|output| output.name()));
        for node in &graph.node {
            outside.extend(node.input.iter().map(String::as_str));
            inside(node, outside);
        }
    }
}

impl<'a> Graph<'a> {
    fn new(
        model: &'a ModelProto,
        network: &'a Network,
        names: &'a BTreeMap<String, usize>,
    ) -> Self {
        let functions: BTreeSet<(&str, &str)> = model
            .functions
            .iter()
            .map(|function| (function.domain(), function.name()))
            .collect();
        let mut outside = BTreeSet::new();
        let mut makers = BTreeMap::new();
        if let Some(graph) = &model.graph {
            outside.extend(graph.output.iter().map(|output| output.name()));
            for node in &graph.node {
                makers.extend(node.output.iter().map(|name| (name.as_str(), node)));
                inside(node, &mut outside);
                if functions.contains(&(node.domain(), node.op_type())) {
                    outside.extend(node.input.iter().map(String::as_str));
                }
            }
        }
        let mut single = BTreeSet::new();
        visit::tensors(model, |site, tensor| {
            if matches!(tensor.element_type(), Ok(DataType::Float)) {
                single.insert(site.index);
            }
        });
        Self {
            network,
            names,
            uses: uses(model),
            outside,
            makers,
            single,
        }
    }

    /// The place of a stored tensor that only one node takes.
    fn own(&self, name: &str) -> Option<usize> {
        let own = self.uses.get(name) == Some(&1) && !self.outside.contains(name);
        self.names.get(name).copied().filter(|_| own)
    }

    /// The layer whose output goes into the normalisation and nowhere else.
    fn layer_before(&self, norm: &BatchNorm) -> Option<&'a Layer> {
        let value = norm.input.as_str();
        if self.uses.get(value) != Some(&1) || self.outside.contains(value) {
            return None;
        }
        let layer = self.network.layers().iter().find(|l| l.output == value)?;
        let beta = match &layer.op {
            LayerOp::Conv { .. } | LayerOp::ConvTranspose { .. } => 1.0,
            LayerOp::Gemm { beta_bits, .. } => f32::from_bits(*beta_bits),
            LayerOp::MatMul { .. } => return None,
        };
        // A product of matrices with stored weights turned around counts as Gemm, but its channels need not be the second axis.
        let node = self.makers.get(value)?;
        let itself = ["Conv", "ConvTranspose", "Gemm"].contains(&node.op_type());
        // Not copies of weights, which others may share.
        let taken = node.input.iter().skip(1).filter(|name| !name.is_empty());
        let stored = [Some(&layer.weight), layer.bias.as_ref()];
        (itself && beta == 1.0 && taken.eq(stored.into_iter().flatten())).then_some(layer)
    }

    /// The layer's weights times the scale, which becomes 1, and its bias, which becomes 0, with the place of the weights; nothing where they
    /// are not the layer's own or leave the range of numbers.
    ///
    /// # Errors
    /// Weights whose shape does not fit their operator.
    fn scaled(
        &self,
        layer: &Layer,
        folded: &mut Folded,
    ) -> Result<Option<(usize, Replaced)>, TqzError> {
        let single = |site: &usize| self.single.contains(site);
        let Some(site) = self.own(&layer.weight).filter(single) else {
            return Ok(None);
        };
        let view = WeightLayer::new(layer, 0, site)?;
        let Some(weights) = self.network.weight(&layer.weight) else {
            return Ok(None);
        };
        let weights = weights.as_standard_layout();
        let mut weights: Vec<f32> = weights.iter().copied().collect();
        if view.rows != folded.scale.len() || weights.len() != view.weights() {
            return Ok(None);
        }
        for (r, scale) in folded.scale.iter().enumerate() {
            (0..view.cols).for_each(|c| weights[view.element(r, c)] *= scale);
        }
        let mut replaced = Replaced::new();
        let mut offset = folded.offset.clone();
        if let Some(name) = &layer.bias {
            let bias = self.network.weight(name);
            let (Some(site), Some(bias)) = (self.own(name).filter(single), bias) else {
                return Ok(None);
            };
            // One for every sample is no channel's.
            if bias.len() != offset.len() || bias.shape().last() != Some(&offset.len()) {
                return Ok(None);
            }
            let added = bias
                .iter()
                .zip(&folded.scale)
                .map(|(b, s)| f64::from(*b) * f64::from(*s) * folded.unit);
            offset
                .iter_mut()
                .zip(added)
                .for_each(|(to, a)| *to = (f64::from(*to) + a) as f32);
            replaced.insert(site, vec![0.0; offset.len()]);
        }
        if !weights.iter().chain(&offset).all(|v| v.is_finite()) {
            return Ok(None);
        }
        replaced.insert(site, weights);
        folded.scale.fill(1.0);
        folded.offset = offset;
        Ok(Some((site, replaced)))
    }
}

/// Scale and offset that do the same with mean 0 and variance 1, if all are there and finite.
fn fold(norm: &BatchNorm, network: &Network) -> Option<Folded> {
    let get = |name: &str| {
        network
            .weight(name)
            .map(|w| w.mapv(f64::from).into_raw_vec_and_offset().0)
    };
    let (scale, bias) = (get(&norm.scale)?, get(&norm.bias)?);
    let (mean, var) = (get(&norm.mean)?, get(&norm.var)?);
    let n = scale.len();
    if [bias.len(), mean.len(), var.len()] != [n; 3] {
        return None;
    }
    let epsilon = f64::from(norm.epsilon);
    let factor: Vec<f64> = scale
        .iter()
        .zip(&var)
        .map(|(s, v)| s / (v + epsilon).sqrt())
        .collect();
    let offset = (0..n).map(|i| (bias[i] - mean[i] * factor[i]) as f32);
    let offset: Vec<f32> = offset.collect();
    let unit = (1.0 + epsilon).sqrt();
    let scale: Vec<f32> = factor.iter().map(|f| (f * unit) as f32).collect();
    let finite = scale.iter().chain(&offset).all(|v| v.is_finite());
    finite.then(|| Folded {
        scale,
        offset,
        unit: unit.recip(),
    })
}

#[cfg(test)]
mod tests;
