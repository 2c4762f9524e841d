//! A model ready to run: its ports, layers and weights, and the ways to run it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use rayon::prelude::*;
use tqz_onnx::model::ModelProto;

use crate::device::EngineDevice;
use crate::error::EngineError;
use crate::graph::{self, Constants, Plan, Slot};
use crate::ints::ElementType;
use crate::layer::{BatchNorm, Layer};
use crate::limits::{MAX_CONSTANT_ELEMENTS, MAX_ELEMENTS};
use crate::ops::Inputs;
use crate::port::{Dim, Port, array, check_port, input_error, input_value, real};
use crate::real::Real;
use crate::run::{self, NoWatch, Watch};
use crate::value::Value;

/// A network that runs on one device; cloning shares everything.
#[derive(Debug, Clone)]
pub struct Network {
    pub(crate) plan: Arc<Plan>,
    pub(crate) constants: Arc<Constants>,
    pub(crate) device: EngineDevice,
    inputs: Arc<Vec<Port>>,
    outputs: Arc<Vec<Port>>,
}

impl Network {
    /// Reads a model's graph and puts its weights onto the device.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for what the engine does not compute, the other variants for
    /// models that break the rules of ONNX; each names the node or tensor.
    pub fn from_model(model: &ModelProto, device: &EngineDevice) -> Result<Self, EngineError> {
        let (plan, constants) = graph::build(model, device)?;
        let ports =
            |list: &[(Port, Slot)]| Arc::new(list.iter().map(|(port, _)| port.clone()).collect());
        Ok(Self {
            inputs: ports(&plan.inputs),
            outputs: ports(&plan.outputs),
            plan: Arc::new(plan),
            constants: Arc::new(constants),
            device: device.clone(),
        })
    }

    /// The inputs, in the model's order; names of stored tensors are not inputs.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Every Conv, ConvTranspose, Gemm and MatMul that applies a stored weight to a computed value,
    /// in the order in which they run. Several may share a weight.
    pub fn layers(&self) -> &[Layer] {
        &self.plan.layers
    }

    /// Every BatchNormalization with stored parameters, in the order in which they run.
    pub fn batch_norms(&self) -> &[BatchNorm] {
        &self.plan.batch_norms
    }

    /// Weights that a layer would have if they were stored: constants that are computed from stored
    /// tensors alone, by name, with their numbers.
    ///
    /// # Errors
    /// [`EngineError::Argument`] for numbers that cannot be read from the device.
    pub fn computed_weights(&self) -> Result<Vec<(String, ArrayD<f32>)>, EngineError> {
        let mut weights = Vec::new();
        for &slot in &self.plan.computed_weights {
            let name = self.plan.names[slot].clone();
            let Some(value @ Value::Real(_)) = self.constants[slot].clone() else {
                continue;
            };
            let numbers = array(value).map_err(|fault| {
                EngineError::Argument(format!("weight `{name}`: {}", fault.message))
            })?;
            weights.push((name, numbers));
        }
        Ok(weights)
    }

    /// The device.
    pub fn device(&self) -> &EngineDevice {
        &self.device
    }

    /// The numbers of a stored float tensor (initializer or Constant node).
    pub fn weight(&self, name: &str) -> Option<ArrayD<f32>> {
        let &slot = self.plan.weights.get(name)?;
        array(self.constants[slot].clone()?).ok()
    }

    /// Names of all stored float tensors, sorted.
    pub fn weight_names(&self) -> impl Iterator<Item = &str> {
        self.plan.weights.keys().map(String::as_str)
    }

    /// The same network with other numbers in some stored float tensors; everything computed from
    /// them when the model was loaded is computed again.
    ///
    /// # Errors
    /// [`EngineError::Argument`] for a name that is no stored float tensor or another shape.
    pub fn with_weights(
        &self,
        weights: &BTreeMap<String, ArrayD<f32>>,
    ) -> Result<Self, EngineError> {
        let mut reals = BTreeMap::new();
        for (name, array) in weights {
            let real = real(array.view(), &self.device).map_err(|fault| {
                EngineError::Argument(format!("weight `{name}`: {}", fault.message))
            })?;
            reals.insert(name.clone(), real);
        }
        Ok(Self {
            constants: Arc::new(self.replaced(reals)?),
            ..self.clone()
        })
    }

    /// The constants with other values of stored tensors.
    pub(crate) fn replaced(
        &self,
        weights: BTreeMap<String, Real>,
    ) -> Result<Constants, EngineError> {
        let mut constants = Constants::clone(&self.constants);
        let mut changed = vec![false; constants.len()];
        for (name, real) in weights {
            let slot = *self.plan.weights.get(&name).ok_or_else(|| {
                EngineError::Argument(format!("the network stores no float tensor `{name}`"))
            })?;
            let have = constants[slot]
                .as_ref()
                .map(Value::dims)
                .unwrap_or_default();
            if have != real.dims() {
                return Err(EngineError::Argument(format!(
                    "weight `{name}` has shape {have:?}, not {:?}",
                    real.dims()
                )));
            }
            constants[slot] = Some(real.into());
            changed[slot] = true;
        }
        for step in &self.plan.fold_steps {
            if !step.inputs.iter().flatten().any(|&slot| changed[slot]) {
                continue;
            }
            let operands = step
                .inputs
                .iter()
                .map(|slot| slot.and_then(|slot| constants[slot].clone()));
            let inputs = Inputs::new(operands.collect(), &self.device, MAX_CONSTANT_ELEMENTS);
            for (slot, value) in step.outputs.iter().zip(run::step(step, inputs)?) {
                if let Some(slot) = *slot {
                    constants[slot] = Some(value);
                    changed[slot] = true;
                }
            }
        }
        Ok(constants)
    }

    /// One call with all inputs, in order; gives all outputs. Integer inputs are given as floats
    /// that hold whole numbers.
    ///
    /// # Errors
    /// [`EngineError::Argument`] for inputs that do not fit; an error naming the node where a
    /// computation fails.
    pub fn run(&self, inputs: &[ArrayD<f32>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
        self.run_views(&views)
    }

    fn run_views(&self, inputs: &[ArrayViewD<f32>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let outputs = self.run_watched(inputs, &mut NoWatch)?;
        self.output_arrays(outputs)
    }

    /// Runs the network's own constants on the inputs, with something watching the values between nodes.
    pub(crate) fn run_watched(
        &self,
        inputs: &[ArrayViewD<f32>],
        watch: &mut dyn Watch,
    ) -> Result<Vec<Value>, EngineError> {
        let values = self.input_values(inputs)?;
        run::plan(&self.plan, &self.constants, (values, &self.device), watch)
    }

    /// Runs the network on burn tensors, with other tensors in place of some stored weights: what
    /// is tracked by autodiff (burn's `require_grad`) stays so, up to the outputs. For training: keep the
    /// leaves, wrap clones of them in [`Real`], call `backward` on a loss of the outputs.
    ///
    /// # Errors
    /// As [`Network::run`] and [`Network::with_weights`]; and if the network has integer inputs or
    /// outputs.
    pub fn run_tensors(
        &self,
        inputs: Vec<Real>,
        weights: BTreeMap<String, Real>,
    ) -> Result<Vec<Real>, EngineError> {
        self.check_input_count(inputs.len())?;
        for (port, input) in self.inputs.iter().zip(&inputs) {
            if port.dtype != ElementType::Float {
                return Err(EngineError::Argument(format!(
                    "input `{}` holds {:?}, not floats",
                    port.name, port.dtype
                )));
            }
            check_port(port, input.dims()).map_err(|fault| input_error(port, fault))?;
        }
        let constants = self.replaced(weights)?;
        let values = inputs.into_iter().map(Value::Real).collect();
        let outputs = run::plan(&self.plan, &constants, (values, &self.device), &mut NoWatch)?;
        let pairs = self.outputs.iter().zip(outputs);
        pairs
            .map(|(port, value)| {
                value.into_real().map_err(|fault| {
                    EngineError::Argument(format!("output `{}`: {}", port.name, fault.message))
                })
            })
            .collect()
    }

    /// The batch size that the model prescribes: the first dimension of its inputs, where that is fixed.
    pub fn fixed_batch(&self) -> Option<usize> {
        self.inputs.iter().find_map(|port| match port.dims.first() {
            Some(Dim::Fixed(size)) => Some(*size),
            _ => None,
        })
    }

    /// Runs a network of one input on a batch: cut along axis 0 into shards of `shard` samples (the last
    /// may be smaller), which run on rayon's pool; outputs are joined in order. The result does
    /// not depend on the number of threads. A model of fixed batch size is run in shards of that size; a smaller
    /// rest is filled up by repeating it, and the outputs beyond it are dropped.
    ///
    /// # Errors
    /// As [`Network::run`], and if the network has several inputs, `shard` is 0, the batch is empty
    /// or an output has no batch axis.
    pub fn run_batch(
        &self,
        batch: &ArrayD<f32>,
        shard: usize,
    ) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let fixed = self.fixed_batch();
        let shards = shards(batch, fixed.unwrap_or(shard))?;
        let results = shards
            .into_par_iter()
            .map(|view| match fixed {
                Some(size) if view.shape()[0] < size => self.run_filled(view),
                _ => self.run_views(&[view]),
            })
            .collect::<Result<Vec<_>, _>>()?;
        (0..self.outputs.len())
            .map(|index| {
                let parts: Vec<_> = results
                    .iter()
                    .map(|outputs| outputs[index].view())
                    .collect();
                concatenate(Axis(0), &parts).map_err(|_| {
                    EngineError::Argument(format!(
                        "output `{}` cannot be joined along a batch axis",
                        self.outputs[index].name
                    ))
                })
            })
            .collect()
    }

    /// Samples repeated in turn until they fill the batch size that the model prescribes; as they are where it
    /// prescribes none or they are enough.
    ///
    /// # Errors
    /// [`EngineError::Argument`] for no samples, or a prescribed batch too large to be run.
    pub fn fill_batch(&self, samples: ArrayViewD<f32>) -> Result<ArrayD<f32>, EngineError> {
        let count = samples.shape().first().copied().unwrap_or(0);
        let size = self.fixed_batch().unwrap_or(count).max(count);
        let mut dims = samples.shape().to_vec();
        if count == 0 {
            return Err(EngineError::Argument(format!(
                "a batch of shape {dims:?}: at least one sample is needed"
            )));
        }
        dims[0] = size;
        crate::limits::element_count(&dims, MAX_ELEMENTS).map_err(|fault| {
            EngineError::Argument(format!("the model's batch of {size}: {}", fault.message))
        })?;
        let order: Vec<usize> = (0..size).map(|index| index % count).collect();
        Ok(samples.select(Axis(0), &order))
    }

    /// Runs samples in a batch of the size that the model prescribes and drops the outputs beyond them.
    fn run_filled(&self, samples: ArrayViewD<f32>) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let count = samples.shape()[0];
        let filled = self.fill_batch(samples)?;
        let mut outputs = self.run_views(&[filled.view()])?;
        for output in &mut outputs {
            if output.shape().first() == Some(&filled.shape()[0]) {
                *output = output
                    .slice_axis(Axis(0), (0..count).into())
                    .as_standard_layout()
                    .into_owned();
            }
        }
        Ok(outputs)
    }

    /// The caller's arrays as values, checked against the ports.
    pub(crate) fn input_values(
        &self,
        inputs: &[ArrayViewD<f32>],
    ) -> Result<Vec<Value>, EngineError> {
        self.check_input_count(inputs.len())?;
        let pairs = self.inputs.iter().zip(inputs);
        pairs
            .map(|(port, input)| {
                check_port(port, input.shape())
                    .and_then(|()| input_value(port, input.view(), &self.device))
                    .map_err(|fault| input_error(port, fault))
            })
            .collect()
    }

    fn check_input_count(&self, count: usize) -> Result<(), EngineError> {
        if count == self.inputs.len() {
            return Ok(());
        }
        Err(EngineError::Argument(format!(
            "the network has {} inputs, {count} are given",
            self.inputs.len()
        )))
    }

    /// Values of the outputs as arrays.
    pub(crate) fn output_arrays(
        &self,
        values: Vec<Value>,
    ) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let pairs = self.outputs.iter().zip(values);
        pairs
            .map(|(port, value)| {
                array(value).map_err(|fault| {
                    EngineError::Argument(format!("output `{}`: {}", port.name, fault.message))
                })
            })
            .collect()
    }
}

/// Cuts a batch along its first axis.
pub(crate) fn shards(
    batch: &ArrayD<f32>,
    shard: usize,
) -> Result<Vec<ArrayViewD<'_, f32>>, EngineError> {
    if shard == 0 || batch.ndim() == 0 || batch.shape()[0] == 0 {
        return Err(EngineError::Argument(format!(
            "a batch of shape {:?} in shards of {shard}: at least one sample each is needed",
            batch.shape()
        )));
    }
    Ok(batch.axis_chunks_iter(Axis(0), shard).collect())
}
