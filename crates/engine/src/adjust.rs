//! A run in which values are changed on their way: what re-estimates a network's side values layer after layer in one pass.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::error::{EngineError, OpResult};
use crate::graph::{Slot, Step};
use crate::network::Network;
use crate::port;
use crate::run::Watch;
use crate::tap::views;
use crate::value::Value;

/// Takes a value's name and numbers and gives the numbers that go on, in the same shape.
pub type Adjust<'a> = dyn FnMut(&str, ArrayD<f32>) -> ArrayD<f32> + 'a;

/// What changes a run on its way: [`Network::run_rewriting`].
pub trait Rewriter {
    /// Takes a value's name and numbers and gives the numbers that go on, in the same shape.
    fn adjust(&mut self, name: &str, value: ArrayD<f32>) -> ArrayD<f32>;

    /// Layer `index` of [`Network::layers`] is about to run on `input`: weights of the same shape in place of its own, for this run.
    fn weights(&mut self, index: usize, input: ArrayD<f32>) -> Option<ArrayD<f32>>;
}

impl Network {
    /// Runs the network once; each of the values `names` goes through [`Rewriter::adjust`] as with [`Network::run_adjusting`], and each layer asks
    /// [`Rewriter::weights`] before it runs. Layers whose weights a node changes first are not asked about.
    ///
    /// # Errors
    /// As [`Network::run_adjusting`], and for weights of another shape.
    pub fn run_rewriting(
        &self,
        inputs: &[ArrayD<f32>],
        names: &[&str],
        rewriter: &mut dyn Rewriter,
    ) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let mut layers = BTreeMap::new();
        for (index, (layer, site)) in self.layers().iter().zip(&self.plan.layer_sites).enumerate() {
            let weight = self.slot(&layer.weight)?;
            layers.insert(site.output, (index, site.input, weight));
        }
        let mut watch = Rewriting {
            slots: self.slots_of(names)?,
            layers,
            network: self,
            rewriter,
        };
        let outputs = self.run_watched(&views(inputs), &mut watch)?;
        self.output_arrays(outputs)
    }

    fn slots_of(&self, names: &[&str]) -> Result<BTreeMap<Slot, String>, EngineError> {
        let named = |name: &&str| Ok((self.slot(name)?, (*name).to_owned()));
        names.iter().map(named).collect()
    }

    /// Runs the network once; each of the values `names` (between nodes, by its name in the model) is handed to `adjust` as
    /// soon as it is computed, and what comes back goes on in its place.
    ///
    /// # Errors
    /// As [`Network::run`]; and for a name that the model does not use or a value of another shape.
    pub fn run_adjusting(
        &self,
        inputs: &[ArrayD<f32>],
        names: &[&str],
        adjust: &mut Adjust<'_>,
    ) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let mut watch = Adjusting {
            slots: self.slots_of(names)?,
            network: self,
            adjust,
        };
        let outputs = self.run_watched(&views(inputs), &mut watch)?;
        self.output_arrays(outputs)
    }
}

struct Adjusting<'a, 'b> {
    slots: BTreeMap<Slot, String>,
    network: &'a Network,
    adjust: &'a mut Adjust<'b>,
}

impl Watch for Adjusting<'_, '_> {
    fn wants(&self, slot: Slot) -> bool {
        self.slots.contains_key(&slot)
    }

    fn pass(&mut self, slot: Slot, value: Value) -> OpResult<Value> {
        replaced(self.network, value, |array| {
            (self.adjust)(&self.slots[&slot], array)
        })
    }
}

/// The value that `change` makes of another, of the same shape.
fn replaced(
    network: &Network,
    value: Value,
    change: impl FnOnce(ArrayD<f32>) -> ArrayD<f32>,
) -> OpResult<Value> {
    let array = port::array(value)?;
    let shape = array.shape().to_vec();
    let changed = change(array);
    of_shape(network, &changed, &shape)
}

fn of_shape(network: &Network, array: &ArrayD<f32>, shape: &[usize]) -> OpResult<Value> {
    if array.shape() != shape {
        return Err(crate::error::invalid(format!(
            "the value in place of one of shape {shape:?} has shape {:?}",
            array.shape()
        )));
    }
    Ok(port::real(array.view(), &network.device)?.into())
}

struct Rewriting<'a> {
    slots: BTreeMap<Slot, String>,
    /// By the slot of a layer's output: its number, and the slots of its input and weight.
    layers: BTreeMap<Slot, (usize, Slot, Slot)>,
    network: &'a Network,
    rewriter: &'a mut dyn Rewriter,
}

impl Watch for Rewriting<'_> {
    fn wants(&self, slot: Slot) -> bool {
        self.slots.contains_key(&slot)
    }

    fn pass(&mut self, slot: Slot, value: Value) -> OpResult<Value> {
        replaced(self.network, value, |array| {
            self.rewriter.adjust(&self.slots[&slot], array)
        })
    }

    fn before(&mut self, step: &Step, operands: &mut [Option<Value>]) -> OpResult<()> {
        let found = step
            .outputs
            .iter()
            .flatten()
            .find_map(|s| self.layers.get(s));
        let Some(&(index, input, weight)) = found else {
            return Ok(());
        };
        let place = |slot| step.inputs.iter().position(|s| *s == Some(slot));
        let (Some(input), Some(weight)) = (place(input), place(weight)) else {
            return Ok(());
        };
        let Some(value) = operands[input].clone() else {
            return Ok(());
        };
        if let Some(array) = self.rewriter.weights(index, port::array(value)?) {
            let shape = &self.network.layers()[index].weight_dims;
            operands[weight] = Some(of_shape(self.network, &array, shape)?);
        }
        Ok(())
    }
}
