//! Builds a plan: stored tensors and ports here, the nodes one by one in `expand` and `steps`.

use std::collections::{BTreeMap, BTreeSet};

use tqz_onnx::model::{FunctionProto, GraphProto, ModelProto, OperatorSetIdProto};

use super::expand::Place;
use super::functions::{self, FunctionKey};
use super::layers::{self, Copied};
use super::scope::{Scope, Values};
use super::stored::{self, tensor_error};
use super::{Constants, Plan, Slot, Step};
use crate::constant;
use crate::device::EngineDevice;
use crate::error::EngineError;
use crate::ops::Registry;
use crate::port::Port;
use crate::value::Value;

/// Imported version of each domain.
pub(super) type Opsets = BTreeMap<String, i64>;

/// The plan of a model's main graph and its constants.
pub(crate) fn build(
    model: &ModelProto,
    device: &EngineDevice,
) -> Result<(Plan, Constants), EngineError> {
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| EngineError::Graph("the model has no graph".to_owned()))?;
    let mut builder = Builder {
        device: device.clone(),
        registry: Registry::onnx(),
        functions: functions::functions(model),
        values: Values::default(),
        constants: Vec::new(),
        fold_steps: Vec::new(),
        run_steps: Vec::new(),
        stored: BTreeSet::new(),
        copies: BTreeMap::new(),
        nodes: 0,
        folded_elements: 0,
    };
    let opsets = opsets(&model.opset_import, &Opsets::new());
    let mut scope = Scope::new(String::new());
    builder.initializers(graph, &mut scope)?;
    let inputs = builder.inputs(graph, &mut scope)?;
    let mut place = Place {
        scope: &mut scope,
        opsets: &opsets,
        depth: 0,
        guard: None,
    };
    builder.nodes(&graph.node, &mut place)?;
    let mut outputs = Vec::new();
    for info in &graph.output {
        let port = stored::port(info, false)?;
        let slot = scope.find(&port.name).ok_or_else(|| {
            EngineError::Graph(format!("no node gives the graph's output `{}`", port.name))
        })?;
        outputs.push((port, slot));
    }
    Ok(builder.finish(inputs, outputs))
}

pub(super) fn opsets(imports: &[OperatorSetIdProto], outer: &Opsets) -> Opsets {
    let mut opsets = outer.clone();
    for import in imports {
        let domain = functions::domain(import.domain.as_deref()).to_owned();
        opsets.insert(domain, import.version.unwrap_or(0));
    }
    opsets
}

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub(super) device: EngineDevice,
    pub(super) registry: Registry,
    pub(super) functions: BTreeMap<FunctionKey<'a>, &'a FunctionProto>,
    pub(super) values: Values,
    pub(super) constants: Constants,
    pub(super) fold_steps: Vec<Step>,
    pub(super) run_steps: Vec<Step>,
    /// Slots of stored tensors: initializers and results of Constant nodes.
    pub(super) stored: BTreeSet<Slot>,
    /// Constants that hold the numbers of another one.
    pub(super) copies: BTreeMap<Slot, Copied>,
    pub(super) nodes: usize,
    pub(super) folded_elements: usize,
}

impl Builder<'_> {
    pub(super) fn add_value(&mut self, name: &str, scope: &mut Scope) -> Result<Slot, EngineError> {
        let slot = self.values.add(format!("{}{name}", scope.prefix));
        self.constants.push(None);
        if !scope.bind(name, slot) {
            return Err(EngineError::Graph(format!(
                "the name `{name}` is given to two values"
            )));
        }
        Ok(slot)
    }

    pub(super) fn initializers(
        &mut self,
        graph: &GraphProto,
        scope: &mut Scope,
    ) -> Result<(), EngineError> {
        for tensor in &graph.initializer {
            let name = tensor.name.as_deref().unwrap_or_default();
            let value = constant::value(tensor, &self.device).map_err(tensor_error(name))?;
            self.add_stored(name, value, scope)?;
        }
        for sparse in &graph.sparse_initializer {
            let name = sparse
                .values
                .as_ref()
                .and_then(|values| values.name.as_deref());
            let name = name.unwrap_or_default();
            let value = stored::dense(sparse, &self.device).map_err(tensor_error(name))?;
            self.count_folded(value.len()).map_err(tensor_error(name))?;
            self.add_stored(name, value, scope)?;
        }
        Ok(())
    }

    fn add_stored(
        &mut self,
        name: &str,
        value: Value,
        scope: &mut Scope,
    ) -> Result<(), EngineError> {
        let slot = self.add_value(name, scope)?;
        self.constants[slot] = Some(value);
        self.stored.insert(slot);
        Ok(())
    }

    fn inputs(
        &mut self,
        graph: &GraphProto,
        scope: &mut Scope,
    ) -> Result<Vec<(Port, Slot)>, EngineError> {
        let mut inputs = Vec::new();
        for info in &graph.input {
            let name = info.name.as_deref().unwrap_or_default();
            // Up to IR version 3 every initializer is listed as an input; it is that input's default.
            if scope
                .find(name)
                .is_some_and(|slot| self.constants[slot].is_some())
            {
                continue;
            }
            let port = stored::port(info, true)?;
            let slot = self.add_value(name, scope)?;
            inputs.push((port, slot));
        }
        Ok(inputs)
    }

    /// Numbers of reads and last reads; layers; the plan.
    fn finish(
        mut self,
        inputs: Vec<(Port, Slot)>,
        outputs: Vec<(Port, Slot)>,
    ) -> (Plan, Constants) {
        let mut uses = vec![0; self.values.names.len()];
        for slot in self
            .run_steps
            .iter()
            .flat_map(|step| step.inputs.iter().flatten())
        {
            uses[*slot] += 1;
        }
        for (_, slot) in &outputs {
            uses[*slot] += 1;
        }
        mark_last_uses(&mut self.run_steps, uses.clone());
        let weights: BTreeMap<String, Slot> = self
            .stored
            .iter()
            .filter(|&&slot| matches!(self.constants[slot], Some(Value::Real(_))))
            .map(|&slot| (self.values.names[slot].clone(), slot))
            .collect();
        let mut plan = Plan {
            names: self.values.names,
            slots: self.values.slots,
            fold_steps: self.fold_steps,
            run_steps: self.run_steps,
            uses,
            weights,
            inputs,
            outputs,
            layers: Vec::new(),
            layer_sites: Vec::new(),
            batch_norms: Vec::new(),
            computed_weights: Vec::new(),
        };
        layers::list(&mut plan, &self.constants, &self.copies);
        (plan, self.constants)
    }
}

/// Marks the operands after which a value is not read any more; `left` counts the reads to come.
fn mark_last_uses(steps: &mut [Step], mut left: Vec<usize>) {
    for step in steps {
        for (operand, last) in step.inputs.iter().zip(&mut step.last_use) {
            if let Some(slot) = *operand {
                left[slot] -= 1;
                *last = left[slot] == 0;
            }
        }
    }
}
