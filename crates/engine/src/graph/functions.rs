//! Functions defined in the model itself: the body of a called function with the call's
//! attributes put in.

use std::collections::BTreeMap;

use tqz_onnx::model::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

use crate::error::{OpResult, invalid};

/// Domain, name and overload.
pub(super) type FunctionKey<'a> = (&'a str, &'a str, &'a str);

/// The functions of a model.
pub(super) fn functions(model: &ModelProto) -> BTreeMap<FunctionKey<'_>, &FunctionProto> {
    model
        .functions
        .iter()
        .map(|function| {
            let key = (
                domain(function.domain.as_deref()),
                function.name.as_deref().unwrap_or_default(),
                function.overload.as_deref().unwrap_or_default(),
            );
            (key, function)
        })
        .collect()
}

/// A domain's one name: ONNX's own is also called `ai.onnx`.
pub(super) fn domain(name: Option<&str>) -> &str {
    match name {
        None | Some("ai.onnx") => "",
        Some(name) => name,
    }
}

/// The nodes of a function's body as this call means them.
pub(super) fn body(function: &FunctionProto, call: &NodeProto) -> OpResult<Vec<NodeProto>> {
    let mut given: BTreeMap<&str, &AttributeProto> = BTreeMap::new();
    for default in &function.attribute_proto {
        given.insert(default.name.as_deref().unwrap_or_default(), default);
    }
    for attribute in &call.attribute {
        let name = attribute.name.as_deref().unwrap_or_default();
        let known =
            function.attribute.iter().any(|known| known == name) || given.contains_key(name);
        if !known {
            return Err(invalid(format!("the function has no attribute `{name}`")));
        }
        given.insert(name, attribute);
    }
    let mut nodes = function.node.clone();
    for node in &mut nodes {
        resolve(node, &given);
    }
    Ok(nodes)
}

/// Replaces references to the function's attributes; one that the call leaves out disappears, so
/// that the operator's own default holds.
fn resolve(node: &mut NodeProto, given: &BTreeMap<&str, &AttributeProto>) {
    let old = std::mem::take(&mut node.attribute);
    for mut attribute in old {
        let reference = attribute
            .ref_attr_name
            .take()
            .filter(|name| !name.is_empty());
        if let Some(reference) = reference {
            if let Some(&value) = given.get(reference.as_str()) {
                node.attribute.push(AttributeProto {
                    name: attribute.name,
                    ..value.clone()
                });
            }
            continue;
        }
        if let Some(graph) = attribute.g.as_deref_mut() {
            resolve_graph(graph, given);
        }
        for graph in &mut attribute.graphs {
            resolve_graph(graph, given);
        }
        node.attribute.push(attribute);
    }
}

fn resolve_graph(graph: &mut GraphProto, given: &BTreeMap<&str, &AttributeProto>) {
    for node in &mut graph.node {
        resolve(node, given);
    }
}
