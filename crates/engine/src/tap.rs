//! Looking inside a run: any value by name, a layer's input, the gradient at a layer's output.
//!
//! A gradient is taken at a tapped value y by letting y + z go on, with z a leaf of zeros: dL/dz =
//! dL/dy. Weights and inputs are not tracked, so only what lies behind the first tapped
//! value is recorded and differentiated. z is one number seen in y's shape: it costs no memory.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Gradients, Tensor};
use ndarray::{ArrayD, ArrayViewD};

use crate::error::{EngineError, Fault, OpResult, invalid};
use crate::graph::{LayerSite, Slot};
use crate::layer::{Layer, LayerOp};
use crate::network::Network;
use crate::port;
use crate::real::Leaf;
use crate::run::{self, Watch};
use crate::value::Value;

/// Gives the cotangents of a network's outputs, one array for each output, from the outputs themselves.
pub type Cotangent<'a> = dyn Fn(&[ArrayD<f32>]) -> Vec<ArrayD<f32>> + 'a;

/// Which layers' inputs and output gradients to give, as indices into [`Network::layers`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TapRequest {
    /// Layers whose input is wanted.
    pub inputs_of: Vec<usize>,
    /// Layers at whose output the gradient is wanted.
    pub output_grads_of: Vec<usize>,
}

/// What [`Network::forward_backward`] gives.
#[derive(Debug, Clone)]
pub struct Tapped {
    /// The network's outputs.
    pub outputs: Vec<ArrayD<f32>>,
    /// Input of each layer in [`TapRequest::inputs_of`], in that order.
    pub layer_inputs: Vec<ArrayD<f32>>,
    /// Gradient at the output of each layer in [`TapRequest::output_grads_of`], in that order.
    pub output_grads: Vec<ArrayD<f32>>,
}

/// What [`Network::observe`] gives.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The network's outputs.
    pub outputs: Vec<ArrayD<f32>>,
    /// The values asked for.
    pub values: BTreeMap<String, ArrayD<f32>>,
}

impl Network {
    /// Runs the network once and also gives the values of `names`: any input, output, stored tensor or
    /// value between nodes, by its name in the model.
    ///
    /// # Errors
    /// As [`Network::run`], and for a name that the model does not use.
    pub fn observe(&self, inputs: &[ArrayD<f32>], names: &[&str]) -> Result<Observed, EngineError> {
        let mut watch = Collect::default();
        for &name in names {
            watch.slots.insert(self.slot(name)?, None);
        }
        let outputs = self.run_watched(&views(inputs), &mut watch)?;
        let outputs = self.output_arrays(outputs)?;
        let mut values = BTreeMap::new();
        for &name in names {
            let slot = self.slot(name)?;
            let kept = watch.slots.get(&slot).cloned().flatten();
            let value = kept.or(self.constants[slot].clone()).ok_or_else(|| {
                EngineError::Argument(format!("the value `{name}` is not computed in a run"))
            })?;
            values.insert(name.to_owned(), self.array(name, value)?);
        }
        Ok(Observed { outputs, values })
    }

    pub(crate) fn slot(&self, name: &str) -> Result<Slot, EngineError> {
        self.plan
            .slots
            .get(name)
            .copied()
            .ok_or_else(|| EngineError::Argument(format!("the network has no value `{name}`")))
    }

    fn array(&self, name: &str, value: Value) -> Result<ArrayD<f32>, EngineError> {
        port::array(value)
            .map_err(|fault| EngineError::Argument(format!("value `{name}`: {}", fault.message)))
    }

    /// One forward pass and one backward pass of the sum over outputs of <output, cotangent>, with
    /// `cotangent` computed from the outputs (same shapes; it is a constant for the backward pass). Gradients
    /// with respect to weights are not computed. A layer that the outputs do not depend on has a
    /// gradient of zero.
    ///
    /// # Errors
    /// As [`Network::run`]; and for layer indices out of range or cotangents of another shape.
    pub fn forward_backward(
        &self,
        inputs: &[ArrayD<f32>],
        taps: &TapRequest,
        cotangent: &Cotangent<'_>,
    ) -> Result<Tapped, EngineError> {
        let values = self.input_values(&views(inputs))?;
        if self.device().is_cpu() && !self.has_groups() {
            return self.taped(values, taps, cotangent);
        }
        self.graphed(values, taps, cotangent)
    }

    /// Whether the network has convolutions in groups: then most of its time goes into nodes that are no faster one by one
    /// (EfficientNet-Lite0: a quarter slower).
    fn has_groups(&self) -> bool {
        let grouped = |layer: &Layer| matches!(layer.op, LayerOp::Conv { group: 2.., .. });
        self.layers().iter().any(grouped)
    }

    /// [`Self::forward_backward`] node by node.
    fn taped(
        &self,
        inputs: Vec<Value>,
        taps: &TapRequest,
        cotangent: &Cotangent<'_>,
    ) -> Result<Tapped, EngineError> {
        let sites = |layers: &[usize]| -> Result<Vec<LayerSite>, EngineError> {
            layers.iter().map(|&index| self.layer_site(index)).collect()
        };
        let kept = sites(&taps.inputs_of)?
            .iter()
            .map(|site| site.input)
            .collect::<Vec<_>>();
        let asked = sites(&taps.output_grads_of)?;
        let asked: Vec<Slot> = asked.iter().map(|site| site.output).collect();
        let (outputs, kept, grads) = self.taped_taps(inputs, (&kept, &asked), cotangent)?;
        Ok(Tapped {
            outputs,
            layer_inputs: self.in_order(kept, &taps.inputs_of, |site| site.input)?,
            output_grads: self.in_order(grads, &taps.output_grads_of, |site| site.output)?,
        })
    }

    /// The same with one graph of the tensor library for the whole network.
    fn graphed(
        &self,
        inputs: Vec<Value>,
        taps: &TapRequest,
        cotangent: &Cotangent<'_>,
    ) -> Result<Tapped, EngineError> {
        let mut watch = Taps::default();
        for &index in &taps.inputs_of {
            watch.inputs.insert(self.layer_site(index)?.input, None);
        }
        for &index in &taps.output_grads_of {
            watch.grads.insert(self.layer_site(index)?.output, None);
        }
        let device = self.device();
        let results = run::plan(&self.plan, &self.constants, (inputs, device), &mut watch)?;
        let outputs = self.output_arrays(results.iter().map(untracked).collect())?;
        let Taps {
            inputs: kept,
            grads: leaves,
        } = watch;
        let cotangents = cotangent(&outputs);
        // The backward pass lets go of the forward pass's values, so that the inputs kept are the
        // only ones left when they are copied out.
        let grads = self.backward(results, (&outputs, &cotangents), leaves)?;
        Ok(Tapped {
            outputs,
            layer_inputs: self.in_order(kept, &taps.inputs_of, |site| site.input)?,
            output_grads: self.in_order(grads, &taps.output_grads_of, |site| site.output)?,
        })
    }

    /// The values found at the layers asked for, in the order asked for.
    fn in_order(
        &self,
        mut found: BTreeMap<Slot, Option<Value>>,
        layers: &[usize],
        slot: impl Fn(LayerSite) -> Slot,
    ) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let mut asked: BTreeMap<Slot, usize> = BTreeMap::new();
        for &index in layers {
            *asked.entry(slot(self.layer_site(index)?)).or_default() += 1;
        }
        let mut arrays = Vec::with_capacity(layers.len());
        for &index in layers {
            let slot = slot(self.layer_site(index)?);
            let times = asked.entry(slot).or_default();
            *times = times.saturating_sub(1);
            let value = if *times == 0 {
                found.remove(&slot).flatten()
            } else {
                found.get(&slot).cloned().flatten()
            };
            let name = &self.plan.names[slot];
            let value = value.or(self.constants[slot].clone()).ok_or_else(|| {
                EngineError::Argument(format!("the value `{name}` is not computed in a run"))
            })?;
            arrays.push(self.array(name, value)?);
        }
        Ok(arrays)
    }

    fn layer_site(&self, index: usize) -> Result<LayerSite, EngineError> {
        self.plan.layer_sites.get(index).copied().ok_or_else(|| {
            EngineError::Argument(format!(
                "layer {index}; the network has layers 0 to {}",
                self.plan.layer_sites.len().saturating_sub(1)
            ))
        })
    }

    /// Gradients of the weighted sum of the outputs at the leaves.
    pub(crate) fn backward(
        &self,
        results: Vec<Value>,
        (outputs, cotangents): (&[ArrayD<f32>], &[ArrayD<f32>]),
        leaves: BTreeMap<Slot, Option<Leaf>>,
    ) -> Result<BTreeMap<Slot, Option<Value>>, EngineError> {
        let shapes_agree = outputs.len() == cotangents.len()
            && outputs
                .iter()
                .zip(cotangents)
                .all(|(output, v)| output.shape() == v.shape());
        if !shapes_agree {
            return Err(EngineError::Argument(
                "the cotangents' shapes are not those of the outputs".to_owned(),
            ));
        }
        let fault = |fault: Fault| EngineError::Argument(format!("backward: {}", fault.message));
        let mut total: Option<Tensor<1>> = None;
        for (value, cotangent) in results.into_iter().zip(cotangents) {
            let Value::Real(output) = value else { continue };
            if !output.is_tracked() {
                continue;
            }
            let factor = port::real(cotangent.view(), &self.device).map_err(fault)?;
            let product = output.into_flat().map_err(fault)? * factor.into_flat().map_err(fault)?;
            let part = product.sum();
            total = Some(match total {
                Some(sum) => sum + part,
                None => part,
            });
        }
        let mut gradients = total.map(differentiate).transpose().map_err(fault)?;
        let mut found = BTreeMap::new();
        for (slot, leaf) in leaves {
            let Some(leaf) = leaf else { continue };
            let gradient = leaf
                .gradient(gradients.as_mut(), &self.device)
                .map_err(fault)?;
            found.insert(slot, Some(gradient.into()));
        }
        Ok(found)
    }
}

/// The backward pass; a panic below the engine becomes a fault.
pub(crate) fn differentiate(total: Tensor<1>) -> OpResult<Gradients> {
    catch_unwind(AssertUnwindSafe(|| total.backward()))
        .map_err(|_| invalid("a gradient could not be computed"))
}

/// The same value outside of the autodiff graph.
pub(crate) fn untracked(value: &Value) -> Value {
    match value {
        Value::Real(real) => real.clone().without_autodiff().into(),
        Value::Ints(ints) => ints.clone().into(),
    }
}

pub(crate) fn views(inputs: &[ArrayD<f32>]) -> Vec<ArrayViewD<'_, f32>> {
    inputs.iter().map(|input| input.view()).collect()
}

/// Keeps the values of some slots.
#[derive(Default)]
struct Collect {
    slots: BTreeMap<Slot, Option<Value>>,
}

impl Watch for Collect {
    fn wants(&self, slot: Slot) -> bool {
        self.slots.contains_key(&slot)
    }

    fn pass(&mut self, slot: Slot, value: Value) -> OpResult<Value> {
        self.slots.insert(slot, Some(value.clone()));
        Ok(value)
    }
}

/// Keeps the inputs of some layers, and makes the outputs of some differentiable.
#[derive(Default)]
struct Taps {
    inputs: BTreeMap<Slot, Option<Value>>,
    grads: BTreeMap<Slot, Option<Leaf>>,
}

impl Watch for Taps {
    fn wants(&self, slot: Slot) -> bool {
        self.inputs.contains_key(&slot) || self.grads.contains_key(&slot)
    }

    fn pass(&mut self, slot: Slot, value: Value) -> OpResult<Value> {
        let value = match self.grads.get_mut(&slot) {
            None => value,
            Some(leaf) => {
                let Value::Real(real) = value else {
                    return Err(invalid("a gradient is asked for at an integer value"));
                };
                let (real, new) = real.with_leaf()?;
                *leaf = Some(new);
                Value::Real(real)
            }
        };
        if let Some(kept) = self.inputs.get_mut(&slot) {
            *kept = Some(untracked(&value));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::EngineDevice;

    /// Node by node and as one graph of the tensor library: the same inputs and gradients at every layer of a network with
    /// residuals and normalisation, but for rounding.
    #[test]
    fn both_ways_back_give_the_same_taps() {
        let model = tqz_onnx::decode_model(include_bytes!("../../../assets/demo.onnx")).unwrap();
        let network = Network::from_model(&model, &EngineDevice::cpu()).unwrap();
        let x = ArrayD::from_shape_fn(vec![3, 3, 32, 32], |i| {
            ((i[0] * 31 + i[1] * 17 + i[2] * 7 + i[3] * 3) % 23) as f32 / 11.0 - 1.0
        });
        let every: Vec<usize> = (0..network.layers().len()).collect();
        let taps = TapRequest {
            inputs_of: every.clone(),
            output_grads_of: every,
        };
        let cotangent = |outputs: &[ArrayD<f32>]| vec![outputs[0].mapv(|y| 0.1 * y + 0.3)];
        let values = || network.input_values(&[x.view()]).unwrap();
        let fast = network.taped(values(), &taps, &cotangent).unwrap();
        let plain = network.graphed(values(), &taps, &cotangent).unwrap();
        let pairs = [
            (fast.layer_inputs, plain.layer_inputs),
            (fast.output_grads, plain.output_grads),
        ];
        for (fast, plain) in pairs {
            assert_eq!(fast.len(), plain.len());
            for (fast, plain) in fast.iter().zip(&plain) {
                assert_eq!(fast.shape(), plain.shape());
                let size = plain.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                assert!(size > 0.0, "there is something to compare");
                for (a, b) in fast.iter().zip(plain) {
                    assert!((a - b).abs() <= 1e-3 * size, "{a} {b}");
                }
            }
        }
    }
}
