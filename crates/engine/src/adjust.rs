//! A run in which values are changed on their way: what re-estimates a network's side values layer after layer in one pass.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::error::{EngineError, OpResult};
use crate::graph::Slot;
use crate::network::{self, Network};
use crate::run::Watch;
use crate::tap::views;
use crate::value::Value;

/// Takes a value's name and numbers and gives the numbers that go on, in the same shape.
pub type Adjust<'a> = dyn FnMut(&str, ArrayD<f32>) -> ArrayD<f32> + 'a;

impl Network {
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
        let mut slots = BTreeMap::new();
        for &name in names {
            slots.insert(self.slot(name)?, name.to_owned());
        }
        let mut watch = Adjusting {
            slots,
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
        let array = network::array(value)?;
        let shape = array.shape().to_vec();
        let adjusted = (self.adjust)(&self.slots[&slot], array);
        if adjusted.shape() != shape {
            return Err(crate::error::invalid(format!(
                "the value in place of one of shape {shape:?} has shape {:?}",
                adjusted.shape()
            )));
        }
        Ok(network::real(adjusted.view(), &self.network.device)?.into())
    }
}
