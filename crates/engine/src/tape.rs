//! Gradients step by step: every node whose operands lead back to a tensor asked for is differentiated by itself, the last
//! one first. Convolutions take the way of `patches`; all other nodes are small graphs of the tensor library. On the CPU this
//! is faster than one large graph; it gives the same gradients up to rounding.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::ArrayD;

use crate::arithmetic::{Binary, binary};
use crate::error::{EngineError, Fault, OpResult};
use crate::graph::{Constants, Slot, Step};
use crate::layer::LayerOp;
use crate::limits::{MAX_ELEMENTS, element_count};
use crate::network::{self, Network};
use crate::ops::Inputs;
use crate::ops::spatial::Window;
use crate::patches::Patches;
use crate::real::{Leaf, Real};
use crate::run;
use crate::tap::{Cotangent, differentiate, untracked, views};
use crate::value::Value;
use crate::weight_gradients::WeightGradients;

/// How the gradient takes the way back through one node.
enum Way {
    /// Results as functions of leaves.
    Graph {
        results: Vec<(Slot, Real)>,
        leaves: Vec<(Slot, Leaf)>,
    },
    /// A convolution by columns.
    Patches(Box<Convolved>),
}

/// A convolution of x with w; of each operand the slot, where a gradient is wanted there.
struct Convolved {
    sizes: Patches,
    result: Slot,
    x: (Option<Slot>, Real),
    w: (Option<Slot>, Real),
    bias: Option<Slot>,
}

/// A run that is recorded.
struct Tape<'a> {
    network: &'a Network,
    /// Values that lead back to a tensor asked for.
    live: BTreeSet<Slot>,
    ways: Vec<(&'a Step, Way)>,
}

impl Network {
    /// As [`Network::run`], but on the CPU with the convolutions that gradients are taken by: faster on small images, other
    /// last bits. For the many runs of training.
    ///
    /// # Errors
    /// As [`Network::run`].
    pub fn run_by_columns(&self, inputs: &[ArrayD<f32>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        if !self.device().is_cpu() {
            return self.run(inputs);
        }
        let values = self.input_values(&views(inputs))?;
        let mut tape = Tape::new(self, &[]);
        let results = tape.run(values)?;
        self.output_arrays(results)
    }

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
        let mut tape = Tape::new(self, &slots);
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
                Some(real) => network::array(real.into()).map_err(fault)?,
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
}

impl<'a> Tape<'a> {
    fn new(network: &'a Network, asked: &[Slot]) -> Self {
        Self {
            network,
            live: asked.iter().copied().collect(),
            ways: Vec::new(),
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
        values.extend(plan.inputs.iter().map(|(_, slot)| *slot).zip(inputs));
        for step in &plan.run_steps {
            if !run::runs(step, &constants, &values)? {
                continue;
            }
            let operands = run::operands(step, &constants, &mut values);
            let results = if self.leads_back(step) {
                self.record(step, operands)?
            } else {
                self.pass(step, operands)?
            };
            values.extend(results.into_iter().filter(|(slot, _)| plan.uses[*slot] > 0));
        }
        run::outputs(plan, &constants, &values)
    }

    /// Runs a step that no gradient passes.
    fn pass(
        &self,
        step: &Step,
        operands: Vec<Option<Value>>,
    ) -> Result<Vec<(Slot, Value)>, EngineError> {
        let by_columns = self.patches(step, &operands);
        if let Some((_, result)) = by_columns.map_err(|fault| step.label.error(fault))? {
            return Ok(named(step, vec![result.into()]));
        }
        let inputs = Inputs::new(operands, self.network.device(), MAX_ELEMENTS);
        Ok(named(step, run::step(step, inputs)?))
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
        if let Some((way, result)) = self.patches(step, &operands).map_err(error)? {
            let results = named(step, vec![result.into()]);
            self.live.extend(results.iter().map(|(slot, _)| *slot));
            self.ways.push((step, way));
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

    /// The result of a convolution that `patches` can do.
    fn patches(&self, step: &Step, operands: &[Option<Value>]) -> OpResult<Option<(Way, Real)>> {
        let Some((sizes, x, w, bias)) = convolution(step, operands) else {
            return Ok(None);
        };
        let live = |index: usize| {
            step.inputs
                .get(index)
                .copied()
                .flatten()
                .filter(|slot| self.live.contains(slot))
        };
        let numbers = bias.map(Real::to_host).transpose()?;
        let y = sizes.forward(&x.to_host()?, &w.to_host()?, numbers.as_deref());
        let y = Real::from_host(y, &sizes.output(), self.network.device())?;
        let Some(result) = step.outputs.first().copied().flatten() else {
            return Ok(None);
        };
        let convolved = Convolved {
            sizes,
            result,
            x: (live(0), x.clone()),
            w: (live(1), w.clone()),
            bias: live(2),
        };
        Ok(Some((Way::Patches(Box::new(convolved)), y)))
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
        let mut found = BTreeMap::new();
        for ((_, slot), cotangent) in self.network.plan.outputs.iter().zip(cotangents) {
            let fault =
                |fault: Fault| EngineError::Argument(format!("backward: {}", fault.message));
            if self.live.contains(slot) {
                let real = network::real(cotangent.view(), device).map_err(fault)?;
                add(&mut found, *slot, real).map_err(fault)?;
            }
        }
        for (step, way) in self.ways.into_iter().rev() {
            way.back(&mut found, self.network)
                .map_err(|fault| step.label.error(fault))?;
        }
        Ok(found)
    }
}

impl Way {
    /// Takes the gradients at the results out of `found` and adds those at the operands.
    fn back(self, found: &mut BTreeMap<Slot, Real>, network: &Network) -> OpResult<()> {
        let device = network.device();
        match self {
            Self::Graph { results, leaves } => {
                let mut total = None;
                for (slot, result) in results {
                    let Some(slope) = found.remove(&slot) else {
                        continue;
                    };
                    let part = (result.into_flat()? * slope.into_flat()?).sum();
                    total = Some(match total {
                        Some(sum) => sum + part,
                        None => part,
                    });
                }
                let Some(total) = total else { return Ok(()) };
                let mut gradients = differentiate(total)?;
                for (slot, leaf) in leaves {
                    add(found, slot, leaf.gradient(Some(&mut gradients), device)?)?;
                }
            }
            Self::Patches(convolved) => convolved.back(found, network)?,
        }
        Ok(())
    }
}

impl Convolved {
    /// As [`Way::back`].
    fn back(self, found: &mut BTreeMap<Slot, Real>, network: &Network) -> OpResult<()> {
        let (device, sizes) = (network.device(), self.sizes);
        let Some(slope) = found.remove(&self.result) else {
            return Ok(());
        };
        let g = slope.into_host()?;
        if let Some(slot) = self.bias {
            let sums = bias_sums(&g, &sizes);
            let dims = [sums.len()];
            add(found, slot, Real::from_host(sums, &dims, device)?)?;
        }
        let wanted = (self.x.0.is_some(), self.w.0.is_some());
        let parts = sizes.backward((&self.x.1.to_host()?, &self.w.1.to_host()?), &g, wanted);
        for ((slot, real), part) in [(self.x, parts.x), (self.w, parts.w)] {
            if let (Some(slot), Some(part)) = (slot, part) {
                add(found, slot, Real::from_host(part, real.dims(), device)?)?;
            }
        }
        Ok(())
    }
}

/// Sums of a gradient [n, o, h, w] over all but the channels.
fn bias_sums(g: &[f32], sizes: &Patches) -> Vec<f32> {
    let [_, outputs, height, width] = sizes.output();
    let mut sums = vec![0.0; outputs];
    for (index, plane) in g.chunks((height * width).max(1)).enumerate() {
        sums[index % outputs.max(1)] += plane.iter().sum::<f32>();
    }
    sums
}

fn add(found: &mut BTreeMap<Slot, Real>, slot: Slot, more: Real) -> OpResult<()> {
    let sum = match found.remove(&slot) {
        Some(known) => binary(Binary::Add, known, more)?,
        None => more,
    };
    found.insert(slot, sum);
    Ok(())
}

/// A step's results with their slots.
fn named(step: &Step, results: Vec<Value>) -> Vec<(Slot, Value)> {
    let pairs = step.outputs.iter().zip(results);
    pairs
        .filter_map(|(slot, value)| slot.map(|slot| (slot, value)))
        .collect()
}

/// Sizes and operands of a step that is a convolution of images without groups.
fn convolution<'v>(
    step: &Step,
    operands: &'v [Option<Value>],
) -> Option<(Patches, &'v Real, &'v Real, Option<&'v Real>)> {
    let real = |index: usize| match operands.get(index) {
        Some(Some(Value::Real(real))) => Some(real),
        _ => None,
    };
    let (x, w, bias) = (real(0)?, real(1)?, real(2));
    let parts = step
        .operator
        .layer(&[None, Some(w.dims()), bias.map(Real::dims)])?;
    let LayerOp::Conv {
        kernel,
        strides,
        pads: Some(pads),
        dilations,
        group: 1,
    } = parts.op
    else {
        return None;
    };
    let (begin, end) = pads.split_at(pads.len() / 2);
    let window = Window {
        kernel,
        strides,
        dilations,
        pads_begin: begin.to_vec(),
        pads_end: end.to_vec(),
    };
    let fits = bias.is_none_or(|bias| bias.dims() == [w.dims()[0]]);
    let sizes = Patches::new(x.dims(), w.dims(), &window)?;
    element_count(&sizes.output(), MAX_ELEMENTS).ok()?;
    fits.then_some((sizes, x, w, bias))
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
