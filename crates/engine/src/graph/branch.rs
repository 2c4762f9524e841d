//! If: a constant condition chooses its branch while the graph is loaded. Otherwise both branches are
//! laid out, every step of them under the condition, and a last step passes on the results of the
//! branch that ran.

use std::sync::Arc;

use tqz_onnx::model::{GraphProto, NodeProto, ValueInfoProto};

use super::build::Builder;
use super::expand::{Place, deeper};
use super::{Guard, NodeLabel, Slot, Step};
use crate::attributes::Attributes;
use crate::error::{EngineError, OpResult, invalid};
use crate::ops::{Inputs, Operator};
use crate::value::Value;

/// The attribute with the branch for each condition.
const BRANCHES: [(bool, &str); 2] = [(true, "then_branch"), (false, "else_branch")];

impl Builder<'_> {
    /// Expands an If.
    pub(super) fn branch(
        &mut self,
        label: &NodeLabel,
        node: &NodeProto,
        inputs: &[Option<Slot>],
        place: &mut Place<'_>,
    ) -> Result<(), EngineError> {
        deeper(label, place.depth)?;
        let &[Some(condition)] = inputs else {
            return Err(label.error(invalid("one condition is needed")));
        };
        let Some(value) = self.constants[condition].clone() else {
            return self.both_branches(label, node, condition, place);
        };
        let number = value.into_ints().and_then(|ints| ints.single());
        let taken = number.map_err(|fault| label.error(fault))? != 0;
        let guard = place.guard;
        let results = self.lay_out(label, (node, taken), guard, place)?;
        for (outside, slot) in node.output.iter().zip(results) {
            self.bind_result(label, (outside, slot), place.scope)?;
        }
        Ok(())
    }

    /// Both branches under a condition that is known in a run, and the step that chooses.
    fn both_branches(
        &mut self,
        label: &NodeLabel,
        node: &NodeProto,
        condition: Slot,
        place: &mut Place<'_>,
    ) -> Result<(), EngineError> {
        let count = node.output.len();
        let mut inputs = vec![Some(condition)];
        for (wanted, _) in BRANCHES {
            let guard = Some(Guard { condition, wanted });
            let results = self.lay_out(label, (node, wanted), guard, place)?;
            inputs.extend(results.into_iter().take(count));
        }
        let mut outputs = Vec::new();
        for name in &node.output {
            outputs.push(match name.as_str() {
                "" => None,
                name => Some(self.add_value(name, place.scope)?),
            });
        }
        self.run_steps.push(Step {
            label: label.clone(),
            operator: Arc::new(Choose { count }),
            last_use: vec![false; inputs.len()],
            inputs,
            outputs,
            guard: place.guard,
        });
        Ok(())
    }

    /// Adds the nodes of one branch; gives the slots of its outputs.
    fn lay_out(
        &mut self,
        label: &NodeLabel,
        (node, taken): (&NodeProto, bool),
        guard: Option<Guard>,
        place: &mut Place<'_>,
    ) -> Result<Vec<Option<Slot>>, EngineError> {
        let graph = subgraph(node, taken).map_err(|fault| label.error(fault))?;
        place.scope.enter();
        self.initializers(graph, place.scope)?;
        let mut inside = Place {
            scope: place.scope,
            opsets: place.opsets,
            depth: place.depth + 1,
            guard,
        };
        self.nodes(&graph.node, &mut inside)?;
        let result =
            |output: &ValueInfoProto| place.scope.find(output.name.as_deref().unwrap_or_default());
        let results: Vec<Option<Slot>> = graph.output.iter().map(result).collect();
        place.scope.leave();
        if results.len() < node.output.len() {
            return Err(label.error(invalid("the branch has fewer outputs than the node")));
        }
        Ok(results)
    }
}

/// The branch of an If for a condition.
fn subgraph(node: &NodeProto, taken: bool) -> OpResult<&GraphProto> {
    let attributes = Attributes::new(node)?;
    let name = BRANCHES
        .iter()
        .find_map(|&(wanted, name)| (wanted == taken).then_some(name))
        .unwrap_or_default();
    let graph = attributes.optional_graph(name)?;
    graph.ok_or_else(|| invalid(format!("attribute `{name}` is missing")))
}

/// Passes on the results of the branch that ran: operands are the condition, then `count` results
/// of either branch.
#[derive(Debug)]
struct Choose {
    count: usize,
}

impl Operator for Choose {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let first = match inputs.ints(0)?.single()? {
            0 => 1 + self.count,
            _ => 1,
        };
        (first..first + self.count)
            .map(|index| {
                let result = inputs.optional(index);
                result.ok_or_else(|| invalid("nothing inside of a branch gives its output"))
            })
            .collect()
    }
}
