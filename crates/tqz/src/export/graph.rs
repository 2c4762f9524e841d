//! What an ONNX graph says of itself: operators, who makes and who reads a value, names taken; and what nobody reads any more taken out.

use std::collections::{BTreeMap, BTreeSet};

use tqz_onnx::model::{GraphProto, NodeProto, TensorProto};

use crate::error::TqzError;

/// Deepest nesting of subgraphs that is looked into.
const MAX_DEPTH: usize = 64;

/// The operator of a node of the standard domain; empty for any other.
pub(crate) fn op(node: &NodeProto) -> &str {
    let standard = matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"));
    node.op_type.as_deref().filter(|_| standard).unwrap_or("")
}

/// Index of the node that makes each value.
pub(crate) fn makers(graph: &GraphProto) -> BTreeMap<&str, usize> {
    let outputs = graph.node.iter().enumerate();
    let named = outputs
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)));
    named.collect()
}

/// The initializers by name.
pub(crate) fn stored(graph: &GraphProto) -> BTreeMap<&str, &TensorProto> {
    let named = |tensor| Some((TensorProto::name_str(tensor)?, tensor));
    graph.initializer.iter().filter_map(named).collect()
}

/// The name of a tensor or value that has one.
trait Named {
    fn name_str(&self) -> Option<&str>;
}

impl Named for TensorProto {
    fn name_str(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }
}

/// Names that the graph has, to find new ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// All names of a graph and its subgraphs.
    pub(crate) fn of(graph: &GraphProto) -> Self {
        let mut names = Self::default();
        names.collect(graph, 0);
        names
    }

    fn collect(&mut self, graph: &GraphProto, depth: usize) {
        let stored = graph.initializer.iter().filter_map(Named::name_str);
        self.taken.extend(stored.map(str::to_owned));
        let ports = graph.input.iter().chain(&graph.output);
        self.taken
            .extend(ports.filter_map(|port| port.name.clone()));
        for node in &graph.node {
            self.taken.extend(node.output.iter().cloned());
            self.taken.extend(node.name.clone());
            if depth < MAX_DEPTH {
                for inner in node.attribute.iter().filter_map(|a| a.g.as_deref()) {
                    self.collect(inner, depth + 1);
                }
            }
        }
    }

    /// The wanted name, with a number behind it if it is taken.
    pub(crate) fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}.{number}");
        }
        name
    }
}

/// How often each value is read: by nodes, by subgraphs, and by the graph's outputs.
pub(crate) fn reads(graph: &GraphProto) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    count_reads(graph, &mut counts, 0);
    counts
}

fn count_reads(graph: &GraphProto, counts: &mut BTreeMap<String, usize>, depth: usize) {
    for name in graph.output.iter().filter_map(|info| info.name.as_ref()) {
        *counts.entry(name.clone()).or_default() += 1;
    }
    for node in &graph.node {
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            *counts.entry(name.clone()).or_default() += 1;
        }
        if depth < MAX_DEPTH {
            for inner in node.attribute.iter().filter_map(|a| a.g.as_deref()) {
                count_reads(inner, counts, depth + 1);
            }
        }
    }
}

/// Whether any node has a subgraph, which may read any value by name.
pub(crate) fn has_subgraphs(graph: &GraphProto) -> bool {
    let mut attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
}

/// Names of the graph's outputs.
pub(crate) fn output_names(graph: &GraphProto) -> BTreeSet<String> {
    graph.output.iter().filter_map(|o| o.name.clone()).collect()
}

/// Removes nodes whose results nobody reads, initializers that nobody reads, and notes about values that are gone.
pub(crate) fn sweep(graph: &mut GraphProto) {
    loop {
        let read = reads(graph);
        let before = graph.node.len();
        graph
            .node
            .retain(|node| node.output.iter().any(|name| read.contains_key(name)));
        if graph.node.len() == before {
            break;
        }
    }
    let read = reads(graph);
    let gone: BTreeSet<String> = graph
        .initializer
        .iter()
        .filter_map(|tensor| tensor.name.clone())
        .filter(|name| !read.contains_key(name))
        .collect();
    let is_gone = |name: &Option<String>| name.as_ref().is_some_and(|name| gone.contains(name));
    graph.initializer.retain(|tensor| !is_gone(&tensor.name));
    // Up to IR version 3 initializers are inputs as well.
    graph.input.retain(|input| !is_gone(&input.name));
    let names = Names::of(graph);
    let known = |name: &Option<String>| name.as_ref().is_some_and(|n| names.taken.contains(n));
    graph.value_info.retain(|info| known(&info.name));
}

/// Reads a float tensor that the graph stores.
///
/// # Errors
/// Numbers that cannot be read.
pub(crate) fn numbers(tensor: &TensorProto) -> Result<Vec<f64>, TqzError> {
    Ok(tensor.to_f32()?.into_iter().map(f64::from).collect())
}

/// The nodes in an order in which they can run, as stable as possible.
pub(crate) fn sort(graph: &mut GraphProto) {
    let made: BTreeSet<String> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().cloned())
        .collect();
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<NodeProto> = std::mem::take(&mut graph.node);
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        for node in waiting {
            let ready = {
                let mut inputs = node.input.iter().chain(captured(&node));
                inputs.all(|name| !made.contains(name) || done.contains(name))
            };
            if ready {
                done.extend(node.output.iter().cloned());
                graph.node.push(node);
            } else {
                later.push(node);
            }
        }
        waiting = later;
        if waiting.len() == before {
            // A loop in the graph, which whoever reads the file will report.
            graph.node.append(&mut waiting);
        }
    }
}

/// Values that a node's subgraphs read; some are the subgraphs' own.
fn captured(node: &NodeProto) -> impl Iterator<Item = &String> {
    let graphs = node.attribute.iter().filter_map(|a| a.g.as_deref());
    graphs.flat_map(|graph| graph.node.iter().flat_map(|inner| &inner.input))
}
