//! Weights that the graph computes from stored tensors alone (a Reshape or Transpose of a kernel, a DequantizeLinear, a weight
//! normalisation) become stored tensors, and the nodes that computed them go: only stored tensors can be compressed.

use std::collections::BTreeSet;

use tqz_engine::Network;
use tqz_onnx::model::tensor_proto::DataType;
use tqz_onnx::model::{GraphProto, ModelProto, NodeProto, TensorProto, type_proto};

use crate::error::TqzError;
use crate::export::makers;

/// Stores every computed weight of the main graph; false if there are none.
///
/// # Errors
/// Numbers that cannot be read or stored.
pub(crate) fn fold_weights(model: &mut ModelProto, network: &Network) -> Result<bool, TqzError> {
    let Some(graph) = model.graph.as_mut() else {
        return Ok(false);
    };
    let mut cone = BTreeSet::new();
    for (name, values) in network.computed_weights()? {
        let Some(maker) = maker(graph, &name) else {
            continue;
        };
        let dims = values.shape().to_vec();
        let values: Vec<f32> = values.into_iter().collect();
        let mut tensor = TensorProto::from_f32(&name, &dims, &values)?;
        tensor.data_type = Some(float_type(graph, &name, 0) as i32);
        tensor.set_f32(&values)?;
        collect_cone(graph, maker, &mut cone);
        rename_output(graph, maker, &name);
        graph.initializer.push(tensor);
    }
    if cone.is_empty() {
        return Ok(false);
    }
    remove_unused(graph, &cone);
    Ok(true)
}

/// Deepest chain of nodes and nesting of subgraphs that is looked into.
const MAX_DEPTH: usize = 64;

/// Index of the node that gives a value.
fn maker(graph: &GraphProto, name: &str) -> Option<usize> {
    graph
        .node
        .iter()
        .position(|node| node.output.iter().any(|output| output == name))
}

/// The element type of a float value that is computed from stored tensors.
fn float_type(graph: &GraphProto, name: &str, depth: usize) -> DataType {
    let known = |code: Option<i32>| {
        let kind = DataType::try_from(code?).ok()?;
        kind.is_float().then_some(kind)
    };
    stored_type(graph, name)
        .and_then(|code| known(Some(code)))
        .or_else(|| known(declared_type(graph, name)))
        .or_else(|| {
            let node = graph.node.get(maker(graph, name)?)?;
            known(attribute_type(node)).or_else(|| {
                let inputs = node.input.iter().filter(|_| depth < MAX_DEPTH);
                inputs
                    .filter(|input| !is_integer(graph, input))
                    .map(|input| float_type(graph, input, depth + 1))
                    .next()
            })
        })
        .unwrap_or(DataType::Float)
}

/// The element type of an initializer.
fn stored_type(graph: &GraphProto, name: &str) -> Option<i32> {
    let stored = graph.initializer.iter();
    stored
        .filter(|tensor| tensor.name.as_deref() == Some(name))
        .find_map(|tensor| tensor.data_type)
}

fn is_integer(graph: &GraphProto, name: &str) -> bool {
    let kind = stored_type(graph, name).or_else(|| {
        let node = graph.node.get(maker(graph, name)?)?;
        attribute_type(node)
    });
    kind.and_then(|code| DataType::try_from(code).ok())
        .is_some_and(|kind| !kind.is_float())
}

/// The element type that the graph declares for a value between nodes.
fn declared_type(graph: &GraphProto, name: &str) -> Option<i32> {
    let info = graph
        .value_info
        .iter()
        .find(|info| info.name.as_deref() == Some(name))?;
    match info.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => tensor.elem_type,
        _ => None,
    }
}

/// The element type that a node's attributes give its result: of Cast, DequantizeLinear, Constant.
fn attribute_type(node: &NodeProto) -> Option<i32> {
    node.attribute.iter().find_map(|attribute| {
        match attribute.name.as_deref().unwrap_or_default() {
            "to" | "output_dtype" => attribute.i.and_then(|code| i32::try_from(code).ok()),
            "value" => attribute.t.as_ref().and_then(|tensor| tensor.data_type),
            _ => None,
        }
    })
}

/// Adds the names that a node computes its results from, directly or not.
fn collect_cone(graph: &GraphProto, maker_index: usize, cone: &mut BTreeSet<String>) {
    let makers = makers(graph);
    let mut waiting = vec![maker_index];
    while let Some(index) = waiting.pop() {
        let node = &graph.node[index];
        for name in node.output.iter().chain(&node.input) {
            if cone.insert(name.clone())
                && let Some(&next) = makers.get(name.as_str())
            {
                waiting.push(next);
            }
        }
    }
}

/// Gives a node's result another name; nothing reads it then.
fn rename_output(graph: &mut GraphProto, maker: usize, name: &str) {
    for output in &mut graph.node[maker].output {
        if output == name {
            output.push_str("#unfolded");
        }
    }
}

/// Removes the nodes whose results nobody reads, and then the tensors, as far as their names are in the cone.
fn remove_unused(graph: &mut GraphProto, cone: &BTreeSet<String>) {
    loop {
        let used = used_names(graph);
        let before = graph.node.len();
        graph.node.retain(|node| {
            let mut read = node.input.iter().chain(&node.output);
            !read.any(|name| cone.contains(name))
                || node.output.iter().any(|name| used.contains(name))
        });
        if graph.node.len() == before {
            let gone = |name: &Option<String>| {
                let name = name.as_deref().unwrap_or_default();
                cone.contains(name) && !used.contains(name)
            };
            graph.initializer.retain(|tensor| !gone(&tensor.name));
            graph.input.retain(|input| !gone(&input.name));
            graph.value_info.retain(|info| !gone(&info.name));
            return;
        }
    }
}

/// Every name that a node, a subgraph or the graph's outputs read.
fn used_names(graph: &GraphProto) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    add_read_names(graph, &mut names, 0);
    names
}

fn add_read_names(graph: &GraphProto, names: &mut BTreeSet<String>, depth: usize) {
    names.extend(graph.output.iter().filter_map(|info| info.name.clone()));
    for node in &graph.node {
        names.extend(node.input.iter().cloned());
        if depth < MAX_DEPTH {
            for inner in node.attribute.iter().filter_map(|a| a.g.as_deref()) {
                add_read_names(inner, names, depth + 1);
            }
        }
    }
}
