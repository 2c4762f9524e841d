//! A network in eight bits: QuantizeLinear and DequantizeLinear around layers (QDQ), weights with a step for each output channel,
//! activations with ranges measured on calibration images, biases corrected so that channel means stay.

mod correct;
mod insert;
mod place;
mod ranges;
mod weights;

use std::collections::BTreeMap;

use serde::Serialize;
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::{GraphProto, ModelProto};

use super::graph::stored;
use super::layer_node::LayerNode;
use super::rewrite::Rewritten;
use super::simplify::opset;
use crate::error::TqzError;
use crate::fidelity::{Agreement, agreement};
use crate::images::Images;
use crate::progress::Progress;
use correct::correct_biases;
use insert::{Insertion, insert};
pub use place::FloatLayers;
use place::{Plan, plan};
pub use ranges::{Activations, Clipping};
use ranges::{Scale, Seen, observe};
use weights::Rounding;

/// First operator set with a scale for each channel.
const OLDEST_OPSET: i64 = 13;
/// Images that ranges are measured on, and images on which the result is compared, at most.
const MOST_IMAGES: usize = 256;

/// How a network is put into eight bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Int8Spec {
    /// Element type of activations.
    pub activations: Activations,
    /// How ranges are clipped.
    pub clipping: Clipping,
    /// Layers that stay in floats.
    pub float_layers: FloatLayers,
    /// Weights of seven bits, for processors without dot products of bytes (AVX2 without VNNI), where sums of two products
    /// saturate.
    pub seven_bits: bool,
    /// Correct biases by channel means.
    pub correct_biases: bool,
}

impl Default for Int8Spec {
    fn default() -> Self {
        Self {
            activations: Activations::default(),
            clipping: Clipping::default(),
            float_layers: FloatLayers::default(),
            seven_bits: false,
            correct_biases: true,
        }
    }
}

/// What became of a network in eight bits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Int8Report {
    /// Layers computed in eight bits.
    pub layers: usize,
    /// Layers left in floats.
    pub float_layers: usize,
    /// Images that ranges were measured on.
    pub calibration_images: usize,
    /// Comparison with the same network in floats on images that were not measured.
    #[serde(flatten)]
    pub agreement: Agreement,
}

/// Puts a float network into eight bits.
///
/// # Errors
/// Too old an operator set, no images, a network that does not run on them.
pub(super) fn to_int8(
    mut model: ModelProto,
    known: &Rewritten,
    (images, spec): (&Images, &Int8Spec),
    progress: &dyn Progress,
) -> Result<(ModelProto, Int8Report), TqzError> {
    let found = opset(&model);
    if found < OLDEST_OPSET {
        return Err(TqzError::Request(format!(
            "the network is of operator set {found}; eight bits need {OLDEST_OPSET} or later: convert it first"
        )));
    }
    let network = Network::from_model(&model, &EngineDevice::cpu())?;
    let graph = model.graph.get_or_insert_default();
    let plan = plan(graph, &known.layer_of, spec.float_layers);
    let all_layers = layer_count(graph);
    let mut learnt = images.learnt();
    learnt.truncate(MOST_IMAGES);
    if learnt.is_empty() {
        return Err(TqzError::Request(
            "eight bits need calibration images".to_owned(),
        ));
    }
    let names: Vec<&str> = plan
        .values
        .iter()
        .filter(|name| !plan.shared.contains_key(*name))
        .map(String::as_str)
        .collect();
    let seen = observe(&network, (images, &learnt), &names, progress)?;
    let scales = scales(&plan, &seen, spec);
    let insertion = Insertion {
        plan: &plan,
        scales: &scales,
        activations: spec.activations,
        rounding: Rounding {
            peak: if spec.seven_bits { 63 } else { 127 },
        },
        steps: &known.steps,
    };
    let biases = insert(graph, &insertion)?;
    if spec.correct_biases {
        correct_biases((&network, &mut model), &biases, (images, &learnt), progress)?;
    }
    let quantized = Network::from_model(&model, &EngineDevice::cpu())?;
    let mut held = images.held();
    held.truncate(MOST_IMAGES);
    let report = Int8Report {
        layers: plan.layers.len(),
        float_layers: all_layers - plan.layers.len(),
        calibration_images: learnt.len(),
        agreement: agreement((&network, &quantized), (images, &held), progress)?,
    };
    Ok((model, report))
}

fn layer_count(graph: &GraphProto) -> usize {
    let stored = stored(graph);
    let nodes = graph.node.iter();
    nodes
        .filter(|node| LayerNode::of(node, &stored).is_some())
        .count()
}

/// The scale of each quantized value.
fn scales(plan: &Plan, seen: &BTreeMap<String, Seen>, spec: &Int8Spec) -> BTreeMap<String, Scale> {
    let leader = |name: &str| {
        let mut name = name.to_owned();
        while let Some(next) = plan.shared.get(&name) {
            name.clone_from(next);
        }
        name
    };
    let mut ranges = seen.clone();
    for group in &plan.joined {
        let leaders: Vec<String> = group.iter().map(|name| leader(name)).collect();
        let members: Vec<&Seen> = leaders.iter().filter_map(|name| ranges.get(name)).collect();
        // With one scale for all, joining only copies; where numbers are of either sign a clamp could no longer be left out.
        if members.len() == group.len() && members.iter().all(|seen| seen.low >= 0.0) {
            let joined = Seen::joined(&members);
            ranges.extend(leaders.into_iter().map(|name| (name, joined.clone())));
        }
    }
    let scale = |name: &String| {
        let seen = ranges.get(&leader(name))?;
        Some((name.clone(), seen.scale(spec.clipping, spec.activations)))
    };
    plan.values.iter().filter_map(scale).collect()
}
