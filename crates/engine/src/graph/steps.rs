//! One ordinary node: its operator is looked up and made, and computed at once where its operands
//! are constant.

use std::sync::Arc;

use tqz_onnx::model::NodeProto;

use super::build::Builder;
use super::expand::Place;
use super::layers::Copied;
use super::{NodeLabel, Slot, Step, functions};
use crate::attributes::Attributes;
use crate::error::{EngineError, OpResult, invalid, unsupported};
use crate::limits::MAX_CONSTANT_ELEMENTS;
use crate::ops::{ANY, Inputs, NodeSpec, Operator};
use crate::run;

impl Builder<'_> {
    /// Makes an ordinary node's operator, and computes it if its operands are constant.
    pub(super) fn step(
        &mut self,
        label: NodeLabel,
        node: &NodeProto,
        inputs: Vec<Option<Slot>>,
        place: &mut Place<'_>,
    ) -> Result<(), EngineError> {
        let operator = self
            .operator(&label, node, &inputs)
            .map_err(|fault| label.error(fault))?;
        let mut outputs = Vec::new();
        for name in &node.output {
            outputs.push(match name.as_str() {
                "" => None,
                name => Some(self.add_value(name, place.scope)?),
            });
        }
        let constant = operator.is_pure()
            && inputs
                .iter()
                .flatten()
                .all(|&slot| self.constants[slot].is_some());
        let step = Step {
            label,
            operator,
            last_use: vec![false; inputs.len()],
            inputs,
            outputs,
            guard: place.guard,
        };
        if !constant {
            self.run_steps.push(step);
            return Ok(());
        }
        match self.fold(&step) {
            // The branch may never be taken.
            Err(_) if step.guard.is_some() => {
                self.run_steps.push(step);
                return Ok(());
            }
            folded => folded?,
        }
        match step.label.op.as_str() {
            "Constant" => self.stored.extend(step.outputs.iter().flatten()),
            "Identity" => self.note_copy(&step, false),
            "Transpose" if turns_a_matrix(node) => self.note_copy(&step, true),
            _ => {}
        }
        self.fold_steps.push(step);
        Ok(())
    }

    fn operator(
        &self,
        label: &NodeLabel,
        node: &NodeProto,
        inputs: &[Option<Slot>],
    ) -> OpResult<Arc<dyn Operator>> {
        let op = node.op_type.as_deref().unwrap_or_default();
        let entry = self
            .registry
            .find(functions::domain(node.domain.as_deref()), op)
            .ok_or_else(|| unsupported("the engine does not have this operator"))?;
        let (first, last) = entry.opsets;
        if !(first..=last).contains(&label.opset) {
            return Err(unsupported(format!(
                "opsets {first} to {last} are supported"
            )));
        }
        check_count("inputs", inputs.len(), entry.inputs)?;
        check_count("outputs", node.output.len(), (1, entry.outputs))?;
        let spec = NodeSpec {
            op,
            opset: label.opset,
            inputs: inputs.iter().map(Option::is_some).collect(),
            outputs: node.output.iter().map(|name| !name.is_empty()).collect(),
            attributes: Attributes::new(node)?,
            device: self.device.clone(),
        };
        let operator = (entry.build)(&spec)?;
        match spec.attributes.unasked() {
            Some(fault) => Err(fault),
            None => Ok(Arc::from(operator)),
        }
    }

    /// Remembers that a result holds the numbers of its operand, in the same shape or as the
    /// transposed matrix.
    fn note_copy(&mut self, step: &Step, transposed: bool) {
        let (&[Some(from)], &[Some(to)]) = (step.inputs.as_slice(), step.outputs.as_slice()) else {
            return;
        };
        let rank = self.constants[from]
            .as_ref()
            .map(|value| value.dims().len());
        if !transposed || rank == Some(2) {
            let first = self.copies.get(&from);
            let copy = first.copied().unwrap_or(Copied {
                origin: from,
                transposed: false,
            });
            let transposed = copy.transposed != transposed;
            self.copies.insert(to, Copied { transposed, ..copy });
        }
    }

    fn fold(&mut self, step: &Step) -> Result<(), EngineError> {
        let operands = step
            .inputs
            .iter()
            .map(|slot| slot.and_then(|slot| self.constants[slot].clone()))
            .collect();
        let inputs = Inputs::new(operands, &self.device, MAX_CONSTANT_ELEMENTS);
        let results = run::step(step, inputs)?;
        for (&slot, value) in step.outputs.iter().zip(results) {
            let Some(slot) = slot else { continue };
            self.count_folded(value.len())
                .map_err(|fault| step.label.error(fault))?;
            self.constants[slot] = Some(value);
        }
        Ok(())
    }

    /// Counts computed constants against the limit.
    pub(super) fn count_folded(&mut self, elements: usize) -> OpResult<()> {
        self.folded_elements = self.folded_elements.saturating_add(elements);
        if self.folded_elements > MAX_CONSTANT_ELEMENTS {
            return Err(invalid(format!(
                "the graph's computed constants have more than {MAX_CONSTANT_ELEMENTS} elements in all"
            )));
        }
        Ok(())
    }
}

fn check_count(what: &str, count: usize, (fewest, most): (usize, usize)) -> OpResult<()> {
    if (fewest..=most).contains(&count) {
        return Ok(());
    }
    let most = if most == ANY {
        "any number".to_owned()
    } else {
        most.to_string()
    };
    Err(invalid(format!(
        "{count} {what}; {fewest} to {most} are legal"
    )))
}

/// Whether a Transpose, given a matrix, exchanges its axes.
fn turns_a_matrix(node: &NodeProto) -> bool {
    let order = Attributes::new(node).and_then(|attributes| attributes.optional_ints("perm"));
    matches!(
        order.as_ref().map(Option::as_deref),
        Ok(None | Some([1, 0]))
    )
}
