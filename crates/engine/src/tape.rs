//! Gradients step by step: every node whose operands lead back to a tensor asked for is differentiated by itself, the last
//! one first. Convolutions take the way of `patches`; all other nodes are small graphs of the tensor library. On the CPU this
//! is faster than one large graph; it gives the same gradients up to rounding.

mod way;

use std::collections::{BTreeMap, BTreeSet};

use ndarray::ArrayD;

use crate::error::{EngineError, Fault};
use crate::graph::{Constants, Slot, Step};
use crate::limits::MAX_ELEMENTS;
use crate::network::Network;
use crate::ops::Inputs;
use crate::port;
use crate::real::Real;
use crate::run;
use crate::tap::{Cotangent, untracked};
use crate::value::Value;
use crate::weight_gradients::WeightGradients;

use way::{Convolved, Slopes, Way, convolution};

/// A run that is recorded.
struct Tape<'a> {
    network: &'a Network,
    /// Where gradients are asked for.
    asked: BTreeSet<Slot>,
    /// Values that lead back to one of those.
    live: BTreeSet<Slot>,
    ways: Vec<(&'a Step, Way)>,
    /// Values to be kept, where they have been computed.
    kept: Found,
    /// Shapes of the values where gradients are asked for; of those computed.
    shapes: BTreeMap<Slot, Vec<usize>>,
}

impl Network {
    /// [`Network::weight_gradients`], node by node.
    pub(crate) fn taped_gradients(
        &self,
        inputs: Vec<Value>,
        names: &[&str],
        cotangent: &Cotangent<'_>,
    ) -> Result<WeightGradients, EngineError> {
        let unknown = |name: &str| {
            EngineError::Argument(format!("the network stores no float tensor `{name}`"))
        };
        let slots = names.iter().map(|name| {
            self.plan
                .weights
                .get(*name)
                .copied()
                .ok_or_else(|| unknown(name))
        });
        let slots: Vec<Slot> = slots.collect::<Result<_, _>>()?;
        let mut tape = Tape::new(self, (&slots, &[]));
        let results = tape.run(inputs)?;
        let outputs = self.output_arrays(results)?;
        let cotangents = cotangent(&outputs);
        let mut found = tape.backward((&outputs, &cotangents))?;
        let mut gradients = BTreeMap::new();
        for (&name, slot) in names.iter().zip(slots) {
            let fault = |fault: Fault| {
                EngineError::Argument(format!("gradient of `{name}`: {}", fault.message))
            };
            let gradient = match found.remove(&slot) {
                Some(real) => port::array(real.into()).map_err(fault)?,
                None => {
                    let dims = self.constants[slot]
                        .as_ref()
                        .map(Value::dims)
                        .unwrap_or_default();
                    ArrayD::zeros(dims)
                }
            };
            gradients.insert(name.to_owned(), gradient);
        }
        Ok(WeightGradients { outputs, gradients })
    }

    /// A run and its way back, node by node: the outputs, the values of the slots `kept` and the gradients at those `asked` of,
    /// where they were computed.
    pub(crate) fn taped_taps(
        &self,
        inputs: Vec<Value>,
        (kept, asked): (&[Slot], &[Slot]),
        cotangent: &Cotangent<'_>,
    ) -> Result<(Vec<ArrayD<f32>>, Found, Found), EngineError> {
        let mut tape = Tape::new(self, (asked, kept));
        let results = tape.run(inputs)?;
        let outputs = self.output_arrays(results)?;
        let cotangents = cotangent(&outputs);
        let (values, shapes) = (
            std::mem::take(&mut tape.kept),
            std::mem::take(&mut tape.shapes),
        );
        let mut found = tape.backward((&outputs, &cotangents))?;
        let mut gradients = Found::new();
        for (slot, shape) in shapes {
            let gradient = match found.remove(&slot) {
                Some(gradient) => gradient,
                None => Real::full(0.0, &shape, self.device()).map_err(|fault| {
                    EngineError::Argument(format!("backward: {}", fault.message))
                })?,
            };
            gradients.insert(slot, Some(gradient.into()));
        }
        Ok((outputs, values, gradients))
    }
}

/// What was found at some slots.
pub(crate) type Found = BTreeMap<Slot, Option<Value>>;

impl<'a> Tape<'a> {
    fn new(network: &'a Network, (asked, kept): (&[Slot], &[Slot])) -> Self {
        let asked: BTreeSet<Slot> = asked.iter().copied().collect();
        Self {
            network,
            live: asked.clone(),
            asked,
            ways: Vec::new(),
            kept: kept.iter().map(|&slot| (slot, None)).collect(),
            shapes: BTreeMap::new(),
        }
    }

    fn run(&mut self, inputs: Vec<Value>) -> Result<Vec<Value>, EngineError> {
        let plan = &self.network.plan;
        let mut constants = Constants::clone(&self.network.constants);
        for step in &plan.fold_steps {
            if !self.leads_back(step) {
                continue;
            }
            let operands = step
                .inputs
                .iter()
                .map(|slot| slot.and_then(|slot| constants[slot].clone()));
            let operands = operands.collect();
            for (slot, value) in self.record(step, operands)? {
                constants[slot] = Some(value);
            }
        }
        let mut values: BTreeMap<Slot, Value> = BTreeMap::new();
        let inputs = plan.inputs.iter().map(|(_, slot)| *slot).zip(inputs);
        for (slot, value) in inputs {
            self.see(slot, &value);
            values.insert(slot, value);
        }
        for step in &plan.run_steps {
            if !run::runs(step, &constants, &values)? {
                continue;
            }
            let operands = run::operands(step, &constants, &mut values);
            let results = if self.leads_back(step) {
                self.record(step, operands)?
            } else {
                let inputs = Inputs::new(operands, self.network.device(), MAX_ELEMENTS);
                named(step, run::step(step, inputs)?)
            };
            for (slot, value) in &results {
                self.see(*slot, value);
            }
            values.extend(results.into_iter().filter(|(slot, _)| plan.uses[*slot] > 0));
        }
        run::outputs(plan, &constants, &values)
    }

    /// Keeps what is wanted of a value.
    fn see(&mut self, slot: Slot, value: &Value) {
        if self.asked.contains(&slot) {
            self.shapes.insert(slot, value.dims().to_vec());
        }
        if let Some(kept) = self.kept.get_mut(&slot) {
            *kept = Some(value.clone());
        }
    }

    fn leads_back(&self, step: &Step) -> bool {
        step.inputs
            .iter()
            .flatten()
            .any(|slot| self.live.contains(slot))
    }

    /// Runs a step and notes the way back.
    fn record(
        &mut self,
        step: &'a Step,
        mut operands: Vec<Option<Value>>,
    ) -> Result<Vec<(Slot, Value)>, EngineError> {
        let error = |fault: Fault| step.label.error(fault);
        if let Some(convolved) = self.convolved(step, &operands) {
            let inputs = Inputs::new(operands, self.network.device(), MAX_ELEMENTS);
            let results = named(step, run::step(step, inputs)?);
            self.live.insert(convolved.result);
            self.ways.push((step, Way::Patches(Box::new(convolved))));
            return Ok(results);
        }
        let mut leaves = Vec::new();
        for (slot, operand) in step.inputs.iter().zip(&mut operands) {
            let live = slot.filter(|slot| self.live.contains(slot));
            if let (Some(slot), Some(Value::Real(real))) = (live, operand.clone()) {
                let (tracked, leaf) = real.with_leaf().map_err(error)?;
                *operand = Some(tracked.into());
                leaves.push((slot, leaf));
            }
        }
        let inputs = Inputs::new(operands, self.network.device(), MAX_ELEMENTS);
        let results = named(step, run::step(step, inputs)?);
        let tracked = results.iter().filter_map(|(slot, value)| match value {
            Value::Real(real) if real.is_tracked() => Some((*slot, real.clone())),
            _ => None,
        });
        let tracked: Vec<(Slot, Real)> = tracked.collect();
        self.live.extend(tracked.iter().map(|(slot, _)| *slot));
        let way = Way::Graph {
            results: tracked,
            leaves,
        };
        self.ways.push((step, way));
        Ok(results
            .iter()
            .map(|(slot, value)| (*slot, untracked(value)))
            .collect())
    }

    /// What the way back through a convolution needs, if `patches` can go it.
    fn convolved(&self, step: &Step, operands: &[Option<Value>]) -> Option<Convolved> {
        let (sizes, x, w) = convolution(step, operands)?;
        let slots: [Option<Slot>; 3] = std::array::from_fn(|index| {
            let slot = step.inputs.get(index).copied().flatten();
            slot.filter(|slot| self.live.contains(slot))
        });
        Some(Convolved {
            sizes,
            result: step.outputs.first().copied().flatten()?,
            slots,
            x: slots[1].map(|_| x.clone()),
            w: slots[0].map(|_| w.clone()),
        })
    }

    fn backward(
        self,
        (outputs, cotangents): (&[ArrayD<f32>], &[ArrayD<f32>]),
    ) -> Result<BTreeMap<Slot, Real>, EngineError> {
        let agree = |(output, v): (&ArrayD<f32>, &ArrayD<f32>)| output.shape() == v.shape();
        if outputs.len() != cotangents.len() || !outputs.iter().zip(cotangents).all(agree) {
            return Err(EngineError::Argument(
                "the cotangents' shapes are not those of the outputs".to_owned(),
            ));
        }
        let device = self.network.device();
        let mut found = Slopes {
            at: BTreeMap::new(),
            asked: self.asked,
        };
        for ((_, slot), cotangent) in self.network.plan.outputs.iter().zip(cotangents) {
            let fault =
                |fault: Fault| EngineError::Argument(format!("backward: {}", fault.message));
            if self.live.contains(slot) {
                let real = port::real(cotangent.view(), device).map_err(fault)?;
                found.add(*slot, real).map_err(fault)?;
            }
        }
        for (step, way) in self.ways.into_iter().rev() {
            way.back(&mut found, self.network)
                .map_err(|fault| step.label.error(fault))?;
        }
        Ok(found.at)
    }
}

/// A step's results with their slots.
fn named(step: &Step, results: Vec<Value>) -> Vec<(Slot, Value)> {
    let pairs = step.outputs.iter().zip(results);
    pairs
        .filter_map(|(slot, value)| slot.map(|slot| (slot, value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::EngineDevice;

    /// Node by node is the same as one graph of the tensor library, on a network with residuals and normalisation.
    #[test]
    fn the_gradients_are_those_of_the_whole_graph() {
        let model = tqz_onnx::decode_model(include_bytes!("../../../assets/demo.onnx")).unwrap();
        let network = Network::from_model(&model, &EngineDevice::cpu()).unwrap();
        let x = ArrayD::from_shape_fn(vec![3, 3, 32, 32], |i| {
            ((i[0] * 31 + i[1] * 17 + i[2] * 7 + i[3] * 3) % 23) as f32 / 11.0 - 1.0
        });
        let names: Vec<&str> = network.weight_names().collect();
        let cotangent = |outputs: &[ArrayD<f32>]| vec![outputs[0].mapv(|y| 0.1 * y + 0.3)];
        let values = || network.input_values(&[x.view()]).unwrap();
        let fast = network
            .taped_gradients(values(), &names, &cotangent)
            .unwrap();
        let plain = network
            .graph_gradients(values(), &names, &cotangent)
            .unwrap();
        assert_eq!(fast.gradients.len(), names.len());
        for (name, wanted) in &plain.gradients {
            let size = wanted.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            for (a, b) in fast.gradients[name].iter().zip(wanted) {
                assert!((a - b).abs() <= 1e-3 * size + 1e-6, "{name}: {a} {b}");
            }
        }
    }
}
