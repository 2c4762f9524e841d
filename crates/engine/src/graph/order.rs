//! Puts a graph's nodes into an order in which they can run; a file that is already in order keeps
//! its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use tqz_onnx::model::{GraphProto, NodeProto};

use crate::error::EngineError;

/// Deepest nesting of subgraphs that is looked into.
const MAX_SUBGRAPH_DEPTH: usize = 16;

/// Indices of `nodes` such that every value is made before it is read. Values that no node here
/// makes come from outside.
pub(super) fn order(nodes: &[NodeProto]) -> Result<Vec<usize>, EngineError> {
    let mut maker = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if maker.insert(name.as_str(), index).is_some() {
                return Err(EngineError::Graph(format!(
                    "two nodes give the value `{name}`"
                )));
            }
        }
    }
    let mut waiting = vec![0usize; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let mut read = BTreeSet::new();
        reads(node, &mut read, 0)?;
        let before: BTreeSet<usize> = read
            .iter()
            .filter_map(|name| maker.get(name).copied())
            .collect();
        waiting[index] = before.len();
        for earlier in before {
            readers[earlier].push(index);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..nodes.len())
        .filter(|&index| waiting[index] == 0)
        .map(Reverse)
        .collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some(Reverse(index)) = ready.pop() {
        sorted.push(index);
        for &reader in &readers[index] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if let Some(stuck) = (0..nodes.len()).find(|&index| waiting[index] > 0) {
        return Err(EngineError::Graph(format!(
            "node `{}` (position {stuck}) depends on its own result",
            nodes[stuck].name.as_deref().unwrap_or_default()
        )));
    }
    Ok(sorted)
}

/// Names that a node reads, its subgraphs included (names made inside of them are harmless here:
/// they are unique in a model).
fn reads<'a>(
    node: &'a NodeProto,
    names: &mut BTreeSet<&'a str>,
    depth: usize,
) -> Result<(), EngineError> {
    names.extend(
        node.input
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty()),
    );
    for attribute in &node.attribute {
        let single: Option<&GraphProto> = attribute.g.as_deref();
        for graph in single.into_iter().chain(&attribute.graphs) {
            if depth >= MAX_SUBGRAPH_DEPTH {
                return Err(EngineError::Graph(format!(
                    "subgraphs are nested deeper than {MAX_SUBGRAPH_DEPTH}"
                )));
            }
            names.extend(
                graph
                    .output
                    .iter()
                    .filter_map(|output| output.name.as_deref()),
            );
            for inner in &graph.node {
                reads(inner, names, depth + 1)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(input: &[&str], output: &[&str]) -> NodeProto {
        NodeProto {
            input: input.iter().map(ToString::to_string).collect(),
            output: output.iter().map(ToString::to_string).collect(),
            ..NodeProto::default()
        }
    }

    #[test]
    fn nodes_run_after_what_they_read_and_keep_their_order_otherwise() {
        let nodes = [
            node(&["b"], &["c"]),
            node(&["x"], &["a"]),
            node(&["x"], &["b"]),
        ];
        assert_eq!(order(&nodes), Ok(vec![1, 2, 0]));
        let nodes = [node(&["x"], &["b"]), node(&["x"], &["a"])];
        assert_eq!(order(&nodes), Ok(vec![0, 1]));
    }

    #[test]
    fn cycles_and_double_definitions_are_rejected() {
        let cycle = [node(&["a"], &["b"]), node(&["b"], &["a"])];
        assert!(order(&cycle).is_err());
        assert!(order(&[node(&["a"], &["a"])]).is_err());
        assert!(order(&[node(&[], &["a"]), node(&[], &["a"])]).is_err());
    }
}
