//! Where a network is computed in eight bits: which nodes, and which values between them are quantized, so that a runtime can fuse
//! every such node with the QuantizeLinear and DequantizeLinear around it.

use std::collections::{BTreeMap, BTreeSet};

use tqz_onnx::model::{GraphProto, NodeProto, TensorProto};

use super::super::graph::{makers, op, output_names, reads, stored};
use super::super::layer_node::{Kind, LayerNode};

/// What a node does to the values it takes, as far as eight bits are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    /// A layer with stored weights.
    Layer,
    /// Limits values: part of the node before it where that has no other reader.
    Clamp,
    /// Moves values: what comes out has the scale of what goes in.
    Passing,
    /// Computes new values from computed ones.
    Computing,
    /// Is computed in floats.
    Other,
}

/// What is quantized.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Indices of the nodes computed in eight bits.
    pub(super) nodes: BTreeSet<usize>,
    /// Those of them that are layers.
    pub(super) layers: BTreeSet<usize>,
    /// Values that are quantized.
    pub(super) values: BTreeSet<String>,
    /// Value → the one whose scale it shares, since a node between them only moves numbers.
    pub(super) shared: BTreeMap<String, String>,
    /// Operands and result of each Concat: they share a scale where none is negative.
    pub(super) joined: Vec<Vec<String>>,
    /// Quantized values that a quantized node makes: nobody reads their floats.
    pub(super) made_in_eight_bits: BTreeSet<String>,
}

/// Which layers stay in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FloatLayers {
    /// None.
    None,
    /// Those that the network's outputs come from: they decide, and are rarely dear.
    #[default]
    Last,
    /// Those and the ones that read the network's inputs.
    FirstAndLast,
}

/// Decides for a graph; `layer_of` says which values belong to one layer of the original.
pub(super) fn plan(
    graph: &GraphProto,
    layer_of: &BTreeMap<String, usize>,
    keep: FloatLayers,
) -> Plan {
    let known = Known::new(graph);
    let kept = known.kept(layer_of, keep);
    let mut plan = Plan::default();
    // From the end: a node without weights is worth eight bits only if they are wanted after it.
    for (index, node) in graph.node.iter().enumerate().rev() {
        let chosen = match known.roles[index] {
            Role::Other | Role::Clamp => false,
            Role::Layer => !kept.contains(&index),
            Role::Passing | Role::Computing => {
                let outputs = node.output.iter();
                outputs
                    .flat_map(|name| known.readers_behind_clamps(name))
                    .any(|r| plan.nodes.contains(&r))
            }
        };
        if chosen {
            plan.nodes.insert(index);
            if known.roles[index] == Role::Layer {
                plan.layers.insert(index);
            }
        }
    }
    known.values(&mut plan);
    plan
}

struct Known<'a> {
    graph: &'a GraphProto,
    stored: BTreeMap<&'a str, &'a TensorProto>,
    roles: Vec<Role>,
    makers: BTreeMap<&'a str, usize>,
    readers: BTreeMap<&'a str, Vec<usize>>,
    reads: BTreeMap<String, usize>,
    outputs: BTreeSet<String>,
}

impl<'a> Known<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let stored = stored(graph);
        let mut readers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            for name in &node.input {
                readers.entry(name).or_default().push(index);
            }
        }
        Self {
            graph,
            roles: graph.node.iter().map(|node| role(node, &stored)).collect(),
            stored,
            makers: makers(graph),
            readers,
            reads: reads(graph),
            outputs: output_names(graph),
        }
    }

    fn readers(&self, name: &str) -> &[usize] {
        self.readers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Readers of a value, those of a clamp in place of the clamp.
    fn readers_behind_clamps(&self, name: &str) -> Vec<usize> {
        // Shapes and bounds are read as well, but not as data.
        let takes = |reader: &usize, name: &str| self.operands(*reader).any(|o| o == name);
        let mut found = Vec::new();
        for &reader in self.readers(name) {
            match self.roles[reader] {
                Role::Clamp => {
                    let clamped = &self.graph.node[reader].output[0];
                    let readers = self.readers(clamped).iter();
                    found.extend(readers.filter(|&r| takes(r, clamped)));
                }
                _ if takes(&reader, name) => found.push(reader),
                _ => {}
            }
        }
        found
    }

    /// The clamp that alone reads a value.
    fn only_clamp(&self, name: &str) -> Option<usize> {
        let [reader] = self.readers(name) else {
            return None;
        };
        let alone = self.reads.get(name) == Some(&1) && self.roles[*reader] == Role::Clamp;
        alone.then_some(*reader)
    }

    /// Operands that are computed.
    fn operands(&self, index: usize) -> impl Iterator<Item = &'a String> {
        let node = &self.graph.node[index];
        let count = match self.roles[index] {
            Role::Layer | Role::Passing => 1,
            _ => node.input.len(),
        };
        node.input[..count.min(node.input.len())].iter()
    }

    /// Fills in which values are quantized, and how scales are shared.
    fn values(&self, plan: &mut Plan) {
        for &index in &plan.nodes {
            let node = &self.graph.node[index];
            plan.values.extend(self.operands(index).cloned());
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                let passing = self.roles[index] == Role::Passing;
                let clamp = self.only_clamp(output).filter(|_| !passing);
                let made = clamp.map_or(output, |clamp| &self.graph.node[clamp].output[0]);
                plan.values.insert(made.clone());
                plan.made_in_eight_bits.insert(made.clone());
                if passing {
                    plan.shared.insert(output.clone(), node.input[0].clone());
                }
            }
            if op(node) == "Concat" {
                let mut group = node.input.clone();
                group.push(node.output[0].clone());
                plan.joined.push(group);
            }
        }
    }

    /// Layers that stay in floats.
    fn kept(&self, layer_of: &BTreeMap<String, usize>, keep: FloatLayers) -> BTreeSet<usize> {
        let mut ends = BTreeSet::new();
        if keep != FloatLayers::None {
            ends.extend(self.last_layers());
        }
        if keep == FloatLayers::FirstAndLast {
            ends.extend(self.first_layers());
        }
        let of = |index: usize| layer_of.get(self.graph.node[index].output.first()?);
        let originals: BTreeSet<usize> = ends
            .iter()
            .filter_map(|&index| of(index).copied())
            .collect();
        let same = |&index: &usize| of(index).is_some_and(|layer| originals.contains(layer));
        (0..self.graph.node.len())
            .filter(same)
            .chain(ends.iter().copied())
            .collect()
    }

    /// Layers from which an output comes without another layer between.
    fn last_layers(&self) -> BTreeSet<usize> {
        let mut waiting: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        while let Some(name) = waiting.pop() {
            let Some(&maker) = self.makers.get(name) else {
                continue;
            };
            if !seen.insert(maker) {
                continue;
            }
            if LayerNode::of(&self.graph.node[maker], &self.stored).is_some() {
                found.insert(maker);
            } else {
                waiting.extend(self.graph.node[maker].input.iter().map(String::as_str));
            }
        }
        found
    }

    /// Layers that an input reaches without another layer between.
    fn first_layers(&self) -> BTreeSet<usize> {
        let inputs = self
            .graph
            .input
            .iter()
            .filter_map(|port| port.name.as_deref());
        let mut waiting: Vec<&str> = inputs
            .filter(|name| !self.stored.contains_key(name))
            .collect();
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        while let Some(name) = waiting.pop() {
            for &reader in self.readers(name) {
                if !seen.insert(reader) {
                    continue;
                }
                if self.roles[reader] == Role::Layer {
                    found.insert(reader);
                } else {
                    waiting.extend(self.graph.node[reader].output.iter().map(String::as_str));
                }
            }
        }
        found
    }
}

fn role(node: &NodeProto, stored: &BTreeMap<&str, &TensorProto>) -> Role {
    let computed = |name: &String| !name.is_empty() && !stored.contains_key(name.as_str());
    if let Some(layer) = LayerNode::of(node, stored) {
        let bias = node.input.get(2).filter(|name| !name.is_empty());
        let known = bias.is_none_or(|name| {
            let dims = stored.get(name.as_str()).and_then(|t| t.dims_usize().ok());
            dims.is_some_and(|dims| dims == [layer.rows()])
        });
        let plain = node.find_float("beta").unwrap_or(1.0) == 1.0
            && node.find_float("alpha").unwrap_or(1.0) == 1.0;
        let fits = match layer.kind {
            Kind::Conv => true,
            Kind::Gemm { .. } => plain,
            Kind::MatMulRight => true,
            Kind::MatMulLeft | Kind::ConvTranspose => false,
        };
        return if fits && known {
            Role::Layer
        } else {
            Role::Other
        };
    }
    let first = node.input.first().is_some_and(computed);
    let all = !node.input.is_empty() && node.input.iter().all(computed);
    let single = node.output.len() == 1;
    match op(node) {
        "Split" if first => Role::Passing,
        _ if !single => Role::Other,
        "Relu" | "Clip" if first && node.input[1..].iter().all(|name| !computed(name)) => {
            Role::Clamp
        }
        "MaxPool" if first => Role::Passing,
        "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Slice"
        | "DepthToSpace"
            if first =>
        {
            Role::Passing
        }
        "Add" | "Mul" if all && node.input.len() == 2 => Role::Computing,
        "Concat" if all => Role::Computing,
        "AveragePool" | "GlobalAveragePool" | "LeakyRelu" | "Sigmoid" if all => Role::Computing,
        _ => Role::Other,
    }
}
