//! What every runtime would do when it loads a network, done beforehand so that nothing stands between the layers: Constant nodes
//! become stored tensors, Identity nodes go, zero padding goes into the convolution after it, a Relu after a Concat moves before it.

use std::collections::{BTreeMap, BTreeSet};

use tqz_onnx::model::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::graph::{Names, has_subgraphs, op, output_names, reads, sort, stored, sweep};
use crate::error::TqzError;

/// Applies all of it to the main graph.
///
/// # Errors
/// Tensors that cannot be read.
pub(crate) fn simplify(model: &mut ModelProto) -> Result<(), TqzError> {
    let opset = opset(model);
    let Some(graph) = model.graph.as_mut() else {
        return Ok(());
    };
    if model.ir_version.unwrap_or(0) < 4 {
        only_real_inputs(graph);
        model.ir_version = Some(4);
    }
    store_constants(graph);
    if !has_subgraphs(graph) {
        drop_identities(graph);
        clamp_before_joining(graph);
    }
    merge_pads(graph, opset)?;
    sweep(graph);
    sort(graph);
    Ok(())
}

/// Up to IR version 3 stored tensors are listed as inputs; later that makes them mere defaults, which no runtime computes with before
/// it runs.
fn only_real_inputs(graph: &mut GraphProto) {
    let stored: BTreeSet<Option<String>> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.clone())
        .collect();
    graph.input.retain(|port| !stored.contains(&port.name));
}

/// Version of the standard operators.
pub(crate) fn opset(model: &ModelProto) -> i64 {
    let standard = |domain: Option<&str>| matches!(domain, None | Some("" | "ai.onnx"));
    let mut imports = model.opset_import.iter();
    imports
        .find(|import| standard(import.domain.as_deref()))
        .and_then(|import| import.version)
        .unwrap_or(0)
}

/// Constant nodes that hold a tensor become initializers.
fn store_constants(graph: &mut GraphProto) {
    let outputs = output_names(graph);
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        match constant(&node) {
            Some(mut tensor) if !outputs.contains(&node.output[0]) => {
                tensor.name = Some(node.output[0].clone());
                graph.initializer.push(tensor);
            }
            _ => kept.push(node),
        }
    }
    graph.node = kept;
}

fn constant(node: &NodeProto) -> Option<TensorProto> {
    let [attribute] = &node.attribute[..] else {
        return None;
    };
    if op(node) != "Constant" || node.output.len() != 1 {
        return None;
    }
    attribute.t.as_deref().cloned()
}

/// Readers of an Identity's result read its operand.
fn drop_identities(graph: &mut GraphProto) {
    let outputs = output_names(graph);
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    graph.node.retain(|node| {
        let [from] = &node.input[..] else { return true };
        let [to] = &node.output[..] else { return true };
        let goes = op(node) == "Identity" && !outputs.contains(to);
        if goes {
            renamed.insert(to.clone(), from.clone());
        }
        !goes
    });
    for name in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        // Chains end: each step leads to a node further up.
        for _ in 0..=renamed.len() {
            match renamed.get(name) {
                Some(original) => *name = original.clone(),
                None => break,
            }
        }
    }
}

/// `Relu(Concat(a, b))` becomes `Concat(Relu(a), Relu(b))`: each part is then clamped once, by the layer that makes it, however
/// often it is joined to others.
fn clamp_before_joining(graph: &mut GraphProto) {
    let mut names = Names::of(graph);
    let mut clamped: BTreeMap<String, String> = BTreeMap::new();
    let mut index = 0;
    while index < graph.node.len() {
        let relu = &graph.node[index];
        if op(relu) != "Relu" || relu.input.len() != 1 || relu.output.len() != 1 {
            index += 1;
            continue;
        }
        let (from, to) = (relu.input[0].clone(), relu.output[0].clone());
        let joined = graph
            .node
            .iter()
            .find(|n| op(n) == "Concat" && n.output == [from.as_str()]);
        let Some(mut concat) = joined.cloned() else {
            clamped.entry(from).or_insert(to);
            index += 1;
            continue;
        };
        clamped.insert(from, to.clone());
        let mut made = Vec::new();
        for part in &mut concat.input {
            *part = match clamped.get(part) {
                Some(known) => known.clone(),
                None => {
                    let output = names.fresh(&format!("{part}#relu"));
                    made.push(NodeProto::new("Relu", &[part], &output));
                    // A part that is joined again is clamped no second time.
                    clamped.insert(part.clone(), output.clone());
                    output
                }
            };
        }
        concat.name = Some(names.fresh(&format!("{to}#concat")));
        concat.output = vec![to];
        // The new Relus are looked at next: what they clamp may be joined as well.
        made.push(concat);
        graph.node.splice(index..=index, made);
    }
}

/// Zero padding of the last axes before convolutions alone becomes their own.
fn merge_pads(graph: &mut GraphProto, opset: i64) -> Result<(), TqzError> {
    let read = reads(graph);
    for index in 0..graph.node.len() {
        let Some(pads) = zero_pads(graph, index, opset)? else {
            continue;
        };
        let (from, to) = (
            graph.node[index].input[0].clone(),
            graph.node[index].output[0].clone(),
        );
        let takes = |n: &NodeProto| {
            op(n) == "Conv"
                && n.input.first() == Some(&to)
                && !n.input[1..].contains(&to)
                && n.find("auto_pad").is_none()
        };
        let takers = graph.node.iter().filter(|n| takes(n)).count();
        if read.get(&to) != Some(&takers) || pads.len() < 4 {
            continue;
        }
        let rank = pads.len() / 2;
        let of_batch = [0, 1, rank, rank + 1].iter().any(|&i| pads[i] != 0);
        if of_batch || pads.iter().any(|&p| p < 0) {
            continue;
        }
        let spatial: Vec<i64> = pads[2..rank]
            .iter()
            .chain(&pads[rank + 2..])
            .copied()
            .collect();
        for conv in graph.node.iter_mut().filter(|n| takes(n)) {
            let mut sum = spatial.clone();
            for (sum, own) in sum.iter_mut().zip(conv.find_ints("pads")) {
                *sum += own;
            }
            conv.set("pads", sum.as_slice());
            conv.input[0] = from.clone();
        }
    }
    Ok(())
}

/// The numbers of a node that pads with zeros by a stored list for all axes.
fn zero_pads(graph: &GraphProto, index: usize, opset: i64) -> Result<Option<Vec<i64>>, TqzError> {
    let pad = &graph.node[index];
    let mode = pad.find("mode").and_then(|a| a.s.clone());
    let constant = mode.is_none_or(|mode| mode == b"constant");
    if op(pad) != "Pad" || !constant || pad.input.is_empty() || pad.output.len() != 1 {
        return Ok(None);
    }
    if opset < 11 {
        let zero = pad.find_float("value").unwrap_or(0.0) == 0.0;
        let pads = pad.find_ints("pads").to_vec();
        return Ok(Some(pads).filter(|_| zero && pad.find_int("axes").is_none()));
    }
    let all = stored(graph);
    let get = |at: usize| pad.input.get(at).filter(|name| !name.is_empty());
    let zero = match get(2) {
        None => true,
        Some(name) => match all.get(name.as_str()) {
            Some(tensor) => tensor.to_f32()? == [0.0],
            None => false,
        },
    };
    let Some(pads) = get(1).and_then(|name| all.get(name.as_str())) else {
        return Ok(None);
    };
    if !zero || get(3).is_some() {
        return Ok(None);
    }
    Ok(Some(pads.to_i64()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz_onnx::model::{OperatorSetIdProto, ValueInfoProto};

    fn model(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> ModelProto {
        let port = |name: &str| ValueInfoProto {
            name: Some(name.to_owned()),
            ..ValueInfoProto::default()
        };
        ModelProto {
            opset_import: vec![OperatorSetIdProto {
                version: Some(17),
                ..OperatorSetIdProto::default()
            }],
            graph: Some(GraphProto {
                node: nodes,
                initializer: tensors,
                input: vec![port("x")],
                output: vec![port("y")],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    fn simplified(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> Vec<NodeProto> {
        let mut model = model(nodes, tensors);
        simplify(&mut model).expect("simplifies");
        model.graph.expect("a graph").node
    }

    fn ops(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(op).collect()
    }

    #[test]
    fn zero_padding_becomes_the_convolutions() {
        let pads = TensorProto::from_i64("p", &[8], &[0, 0, 0, 1, 0, 0, 2, 3]).expect("valid");
        let weights = TensorProto::from_f32("w", &[1, 1, 1, 1], &[1.0]).expect("valid");
        let mut conv = NodeProto::new("Conv", &["padded", "w"], "y");
        conv.set("pads", [1, 0, 0, 0]);
        let nodes = vec![NodeProto::new("Pad", &["x", "p"], "padded"), conv];
        let found = simplified(nodes, vec![pads, weights]);
        assert_eq!(ops(&found), ["Conv"]);
        assert_eq!(found[0].input[0], "x");
        assert_eq!(found[0].find_ints("pads"), [1, 1, 2, 3]);
    }

    #[test]
    fn padding_of_the_batch_stays() {
        let pads = TensorProto::from_i64("p", &[8], &[1, 0, 0, 0, 0, 0, 0, 0]).expect("valid");
        let weights = TensorProto::from_f32("w", &[1, 1, 1, 1], &[1.0]).expect("valid");
        let nodes = vec![
            NodeProto::new("Pad", &["x", "p"], "padded"),
            NodeProto::new("Conv", &["padded", "w"], "y"),
        ];
        assert_eq!(
            ops(&simplified(nodes, vec![pads, weights])),
            ["Pad", "Conv"]
        );
    }

    #[test]
    fn relus_move_before_concats_and_are_shared() {
        let concat = |inputs: &[&str], output: &str| {
            let mut made = NodeProto::new("Concat", inputs, output);
            made.set("axis", 1);
            made
        };
        let nodes = vec![
            NodeProto::new("Sigmoid", &["x"], "a"),
            NodeProto::new("Tanh", &["x"], "b"),
            concat(&["a", "b"], "ab"),
            NodeProto::new("Relu", &["ab"], "r"),
            NodeProto::new("Exp", &["r"], "c"),
            concat(&["ab", "c"], "abc"),
            NodeProto::new("Relu", &["abc"], "y"),
        ];
        let found = simplified(nodes, vec![]);
        let count = |name: &str| ops(&found).iter().filter(|&&op| op == name).count();
        // Of a, b and c once each; the two concats of what was not clamped are gone.
        assert_eq!((count("Relu"), count("Concat")), (3, 2), "{found:?}");
        assert_eq!(found.last().expect("nodes").output, ["y"]);
    }

    #[test]
    fn identities_go_unless_they_are_outputs() {
        let nodes = vec![
            NodeProto::new("Identity", &["x"], "i"),
            NodeProto::new("Identity", &["i"], "y"),
        ];
        let found = simplified(nodes, vec![]);
        assert_eq!(ops(&found), ["Identity"]);
        assert_eq!(found[0].input, ["x"]);
    }
}
