//! Walks nodes in order and expands what stands for other nodes: calls of local functions here, the
//! branches of an If in `branch`.

use tqz_onnx::model::{FunctionProto, NodeProto};

use super::build::{Builder, Opsets, opsets};
use super::scope::Scope;
use super::{Guard, NodeLabel, Slot, functions, fused, order};
use crate::error::{EngineError, invalid, unsupported};
use crate::limits::{MAX_FUNCTION_DEPTH, MAX_NODES};

/// Where a node stands: the names it sees, the versions its domains have, how deep it is nested.
pub(super) struct Place<'s> {
    pub(super) scope: &'s mut Scope,
    pub(super) opsets: &'s Opsets,
    pub(super) depth: usize,
    /// When the nodes here run, inside of a branch.
    pub(super) guard: Option<Guard>,
}

impl<'a> Builder<'a> {
    /// Nodes that read what is visible at `place`.
    pub(super) fn nodes(
        &mut self,
        nodes: &[NodeProto],
        place: &mut Place<'_>,
    ) -> Result<(), EngineError> {
        for index in order::order(nodes)? {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return Err(EngineError::Graph(format!(
                    "more than {MAX_NODES} nodes once functions are expanded"
                )));
            }
            self.node(&nodes[index], index, place)?;
        }
        Ok(())
    }

    /// Adds one node, or what it stands for.
    pub(super) fn node(
        &mut self,
        node: &NodeProto,
        index: usize,
        place: &mut Place<'_>,
    ) -> Result<(), EngineError> {
        let domain = functions::domain(node.domain.as_deref());
        let op = node.op_type.as_deref().unwrap_or_default();
        let prefix = &place.scope.prefix;
        let label = NodeLabel {
            node: match node.name.as_deref() {
                Some(name) if !name.is_empty() => format!("{prefix}{name}"),
                _ => format!("{prefix}#{index}"),
            },
            op: if domain.is_empty() {
                op.to_owned()
            } else {
                format!("{domain}.{op}")
            },
            opset: place.opsets.get(domain).copied().unwrap_or(0),
        };
        let inputs = operands(node, place.scope, &label)?;
        let key = (domain, op, node.overload.as_deref().unwrap_or_default());
        if let Some(&function) = self.functions.get(&key) {
            self.call(&label, (function, node), &inputs, place)
        } else if domain.is_empty() && op == "If" {
            self.branch(&label, node, &inputs, place)
        } else if fused::is_fused(domain, op) {
            self.fused_conv(&label, node, index, place)
        } else {
            self.step(label, node, inputs, place)
        }
    }

    /// Expands a call of a local function.
    fn call(
        &mut self,
        label: &NodeLabel,
        (function, node): (&'a FunctionProto, &NodeProto),
        inputs: &[Option<Slot>],
        place: &mut Place<'_>,
    ) -> Result<(), EngineError> {
        deeper(label, place.depth)?;
        if inputs.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(label.error(invalid(format!(
                "the function takes {} inputs and gives {} outputs",
                function.input.len(),
                function.output.len()
            ))));
        }
        let body = functions::body(function, node).map_err(|fault| label.error(fault))?;
        let mut scope = Scope::new(format!("{}/", label.node));
        let mut missing = Vec::new();
        for (position, name) in function.input.iter().enumerate() {
            match inputs.get(position).copied().flatten() {
                Some(slot) if scope.bind(name, slot) => {}
                Some(_) => {
                    return Err(label.error(invalid(format!("the function names `{name}` twice"))));
                }
                None => missing.push(name.as_str()),
            }
        }
        let body: Vec<NodeProto> = body
            .into_iter()
            .map(|node| without_inputs(node, &missing))
            .collect();
        let opsets = opsets(&function.opset_import, place.opsets);
        let mut inside = Place {
            scope: &mut scope,
            opsets: &opsets,
            depth: place.depth + 1,
            guard: place.guard,
        };
        self.nodes(&body, &mut inside)?;
        for (outside, inside) in node.output.iter().zip(&function.output) {
            self.bind_result(label, (outside, scope.find(inside)), place.scope)?;
        }
        Ok(())
    }

    /// Gives a value that was made inside of a function or branch its name outside.
    pub(super) fn bind_result(
        &mut self,
        label: &NodeLabel,
        (name, slot): (&str, Option<Slot>),
        scope: &mut Scope,
    ) -> Result<(), EngineError> {
        if name.is_empty() {
            return Ok(());
        }
        let slot = slot.ok_or_else(|| {
            label.error(invalid(format!(
                "nothing inside of it gives its output `{name}`"
            )))
        })?;
        if !scope.bind(name, slot) {
            return Err(label.error(invalid(format!("the name `{name}` is given to two values"))));
        }
        if scope.prefix.is_empty() {
            self.values.slots.entry(name.to_owned()).or_insert(slot);
        }
        Ok(())
    }
}

/// The slots of a node's operands; missing ones at the end are left out.
fn operands(
    node: &NodeProto,
    scope: &Scope,
    label: &NodeLabel,
) -> Result<Vec<Option<Slot>>, EngineError> {
    let mut names = node.input.as_slice();
    while let [rest @ .., last] = names
        && last.is_empty()
    {
        names = rest;
    }
    let slot = |name: &String| match name.as_str() {
        "" => Ok(None),
        name => scope.find(name).map(Some).ok_or_else(|| {
            label.error(invalid(format!(
                "its input `{name}` is neither stored nor given by any node"
            )))
        }),
    };
    names.iter().map(slot).collect()
}

/// An error if nesting would go too deep.
pub(super) fn deeper(label: &NodeLabel, depth: usize) -> Result<(), EngineError> {
    if depth < MAX_FUNCTION_DEPTH {
        return Ok(());
    }
    Err(label.error(unsupported(format!(
        "functions and branches are nested deeper than {MAX_FUNCTION_DEPTH}"
    ))))
}

/// A node of a function's body without the operands that the call leaves out.
fn without_inputs(mut node: NodeProto, missing: &[&str]) -> NodeProto {
    for name in &mut node.input {
        if missing.contains(&name.as_str()) {
            name.clear();
        }
    }
    node
}
