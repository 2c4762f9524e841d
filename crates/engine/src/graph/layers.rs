//! Finds the layers with constant weights and the batch normalizations of a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{Constants, LayerSite, Plan, Slot, Step};
use crate::layer::{BatchNorm, Layer, LayerOp, LayerParts, Side};
use crate::value::Value;

/// Where a constant has its numbers from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copied {
    /// The first constant with these numbers.
    pub(super) origin: Slot,
    /// Whether they are the transposed matrix of it.
    pub(super) transposed: bool,
}

/// What tells which stored tensor holds the numbers of a constant.
struct Sources<'a> {
    plan: &'a Plan,
    constants: &'a Constants,
    copies: &'a BTreeMap<Slot, Copied>,
}

impl Sources<'_> {
    /// The stored float tensor that a constant is, as it is or transposed.
    fn stored(&self, slot: Slot) -> Option<Copied> {
        let copied = self.copies.get(&slot).copied().unwrap_or(Copied {
            origin: slot,
            transposed: false,
        });
        let name = &self.plan.names[copied.origin];
        self.plan.weights.contains_key(name).then_some(copied)
    }

    /// The name of the stored float tensor that a constant is, as it is.
    fn unchanged(&self, slot: Slot) -> Option<String> {
        let copied = self.stored(slot).filter(|copied| !copied.transposed)?;
        Some(self.plan.names[copied.origin].clone())
    }
}

/// Fills in `layers`, `layer_sites` and `batch_norms`.
pub(super) fn list(plan: &mut Plan, constants: &Constants, copies: &BTreeMap<Slot, Copied>) {
    let sources = Sources {
        plan,
        constants,
        copies,
    };
    let steps = &plan.run_steps;
    let found: Vec<_> = steps
        .iter()
        .filter_map(|step| layer(step, &sources))
        .collect();
    let norms = steps
        .iter()
        .filter_map(|step| batch_norm(step, &sources))
        .collect();
    let computed = steps.iter().filter_map(|step| computed(step, &sources));
    let computed: BTreeSet<Slot> = computed.collect();
    (plan.layers, plan.layer_sites) = found.into_iter().unzip();
    plan.batch_norms = norms;
    plan.computed_weights = computed.into_iter().collect();
}

/// What a step says of itself as a layer; steps that may not run are none.
fn parts(step: &Step, sources: &Sources) -> Option<LayerParts> {
    if step.guard.is_some() {
        return None;
    }
    let constant = |slot: Slot| sources.constants[slot].as_ref();
    let dims: Vec<Option<&[usize]>> = step
        .inputs
        .iter()
        .map(|slot| slot.and_then(constant).map(Value::dims))
        .collect();
    step.operator.layer(&dims)
}

/// The weight of a step that would be a layer if a stored tensor held its weight.
fn computed(step: &Step, sources: &Sources) -> Option<Slot> {
    let parts = parts(step, sources)?;
    let slot = step.inputs.get(parts.weight).copied().flatten()?;
    match sources.stored(slot) {
        Some(copied) if !copied.transposed || transposed(parts.op).is_some() => None,
        _ => Some(slot),
    }
}

fn layer(step: &Step, sources: &Sources) -> Option<(Layer, LayerSite)> {
    let names = &sources.plan.names;
    let constant = |slot: Slot| sources.constants[slot].as_ref();
    let parts = parts(step, sources)?;
    let operand = |index: usize| step.inputs.get(index).copied().flatten();
    let weight = sources.stored(operand(parts.weight)?)?;
    let op = if weight.transposed {
        transposed(parts.op)?
    } else {
        parts.op
    };
    let site = LayerSite {
        input: operand(parts.input)?,
        output: step.outputs.first().copied().flatten()?,
    };
    let bias = parts.bias.and_then(operand);
    let layer = Layer {
        node: step.label.node.clone(),
        op,
        weight: names[weight.origin].clone(),
        bias: bias.and_then(|slot| sources.unchanged(slot)),
        weight_dims: constant(weight.origin)?.dims().to_vec(),
        input: names[site.input].clone(),
        output: names[site.output].clone(),
    };
    Some((layer, site))
}

/// The layer as one whose weight is the transposed matrix.
fn transposed(op: LayerOp) -> Option<LayerOp> {
    match op {
        LayerOp::Gemm {
            trans_a,
            trans_b,
            alpha_bits,
            beta_bits,
        } => Some(LayerOp::Gemm {
            trans_a,
            trans_b: !trans_b,
            alpha_bits,
            beta_bits,
        }),
        LayerOp::MatMul { side: Side::Right } => Some(LayerOp::Gemm {
            trans_a: false,
            trans_b: true,
            alpha_bits: 1.0f32.to_bits(),
            beta_bits: 1.0f32.to_bits(),
        }),
        _ => None,
    }
}

fn batch_norm(step: &Step, sources: &Sources) -> Option<BatchNorm> {
    let plan = sources.plan;
    let epsilon = step.operator.batch_norm_epsilon()?;
    let name = |index: usize| -> Option<String> {
        sources.unchanged(step.inputs.get(index).copied().flatten()?)
    };
    let input = step.inputs.first().copied().flatten()?;
    let output = step.outputs.first().copied().flatten()?;
    Some(BatchNorm {
        node: step.label.node.clone(),
        input: plan.names[input].clone(),
        output: plan.names[output].clone(),
        scale: name(1)?,
        bias: name(2)?,
        mean: name(3)?,
        var: name(4)?,
        epsilon,
    })
}
