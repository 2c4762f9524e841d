//! Runs a plan's steps in order. Every value is dropped after its last use.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::device::EngineDevice;
use crate::error::{EngineError, OpResult, invalid};
use crate::graph::{Constants, Plan, Slot, Step};
use crate::limits::MAX_ELEMENTS;
use crate::ops::Inputs;
use crate::port::Port;
use crate::value::Value;

/// Runs one node. A panic below the engine (a kernel's own check) becomes an error of the node.
pub(crate) fn step(step: &Step, inputs: Inputs) -> Result<Vec<Value>, EngineError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| step.operator.run(inputs)));
    let results = outcome.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(invalid(format!("the computation failed: {text}")))
    });
    let results = results.map_err(|fault| step.label.error(fault))?;
    let wanted = step
        .outputs
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |last| last + 1);
    if results.len() < wanted {
        return Err(step.label.error(invalid(format!(
            "output {} is not computed by this engine",
            results.len()
        ))));
    }
    Ok(results)
}

/// Changes a value on its way from the node that made it, or looks at it.
pub(crate) trait Watch {
    /// Whether the value of this slot is wanted.
    fn wants(&self, slot: Slot) -> bool;
    /// Takes the value and gives the one that goes on.
    fn pass(&mut self, slot: Slot, value: Value) -> OpResult<Value>;
    /// Sees the operands of a step before it runs, and may change them.
    fn before(&mut self, step: &Step, operands: &mut [Option<Value>]) -> OpResult<()> {
        let _ = (step, operands);
        Ok(())
    }
}

/// Watches nothing.
pub(crate) struct NoWatch;

impl Watch for NoWatch {
    fn wants(&self, _slot: Slot) -> bool {
        false
    }

    fn pass(&mut self, _slot: Slot, value: Value) -> OpResult<Value> {
        Ok(value)
    }
}

/// Runs the plan: `inputs` are the values of its inputs, in order; gives those of its outputs.
pub(crate) fn plan(
    plan: &Plan,
    constants: &Constants,
    (inputs, device): (Vec<Value>, &EngineDevice),
    watch: &mut dyn Watch,
) -> Result<Vec<Value>, EngineError> {
    let mut values: BTreeMap<Slot, Value> = BTreeMap::new();
    for ((port, slot), value) in plan.inputs.iter().zip(inputs) {
        let value = passed(watch, *slot, value).map_err(|fault| {
            EngineError::Argument(format!("input `{}`: {}", port.name, fault.message))
        })?;
        values.insert(*slot, value);
    }
    for next in &plan.run_steps {
        if !runs(next, constants, &values)? {
            continue;
        }
        let mut operands = operands(next, constants, &mut values);
        watch
            .before(next, &mut operands)
            .map_err(|fault| next.label.error(fault))?;
        let results = step(next, Inputs::new(operands, device, MAX_ELEMENTS))?;
        for (slot, value) in next.outputs.iter().zip(results) {
            let Some(slot) = *slot else { continue };
            let value = passed(watch, slot, value).map_err(|fault| next.label.error(fault))?;
            if plan.uses[slot] > 0 {
                values.insert(slot, value);
            }
        }
    }
    outputs(plan, constants, &values)
}

/// The values of the plan's outputs, in order.
pub(crate) fn outputs(
    plan: &Plan,
    constants: &Constants,
    values: &BTreeMap<Slot, Value>,
) -> Result<Vec<Value>, EngineError> {
    let output = |(port, slot): &(Port, Slot)| {
        let value = constants[*slot].as_ref().or_else(|| values.get(slot));
        value.cloned().ok_or_else(|| {
            EngineError::Graph(format!("the output `{}` was not computed", port.name))
        })
    };
    plan.outputs.iter().map(output).collect()
}

fn passed(watch: &mut dyn Watch, slot: Slot, value: Value) -> OpResult<Value> {
    if watch.wants(slot) {
        return watch.pass(slot, value);
    }
    Ok(value)
}

/// Whether a step's guard, if it has one, lets it run.
pub(crate) fn runs(
    step: &Step,
    constants: &Constants,
    values: &BTreeMap<Slot, Value>,
) -> Result<bool, EngineError> {
    let Some(guard) = step.guard else {
        return Ok(true);
    };
    let known = constants[guard.condition].as_ref();
    let Some(condition) = known.or_else(|| values.get(&guard.condition)) else {
        return Ok(false);
    };
    let number = condition
        .clone()
        .into_ints()
        .and_then(|ints| ints.single())
        .map_err(|fault| step.label.error(fault))?;
    Ok((number != 0) == guard.wanted)
}

/// A step's operands; a value that is read for the last time is given away, so that it can be
/// changed in place or freed.
pub(crate) fn operands(
    step: &Step,
    constants: &Constants,
    values: &mut BTreeMap<Slot, Value>,
) -> Vec<Option<Value>> {
    let operand = |(slot, &last): (&Option<Slot>, &bool)| {
        let slot = (*slot)?;
        match &constants[slot] {
            Some(constant) => Some(constant.clone()),
            None if last => values.remove(&slot),
            None => values.get(&slot).cloned(),
        }
    };
    step.inputs
        .iter()
        .zip(&step.last_use)
        .map(operand)
        .collect()
}
