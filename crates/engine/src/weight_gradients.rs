//! Gradients with respect to stored tensors: what training and tuning need of a network.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::error::EngineError;
use crate::network::Network;
use crate::port;
use crate::run::{self, NoWatch};
use crate::tap::{Cotangent, untracked, views};
use crate::value::Value;

/// What [`Network::weight_gradients`] gives.
#[derive(Debug, Clone)]
pub struct WeightGradients {
    /// The network's outputs.
    pub outputs: Vec<ArrayD<f32>>,
    /// Gradient of each tensor asked for, in the shape of the tensor.
    pub gradients: BTreeMap<String, ArrayD<f32>>,
}

impl Network {
    /// One forward pass and one backward pass of the sum over outputs of <output, cotangent> with respect to the stored float
    /// tensors `names`. `cotangent` is computed from the outputs (same shapes); where it is the gradient of a loss at the
    /// outputs, the gradients are those of the loss. A tensor that the outputs do not depend on has a gradient of zero.
    ///
    /// # Errors
    /// As [`Network::run`]; and for names that are no stored float tensors or cotangents of another shape.
    pub fn weight_gradients(
        &self,
        inputs: &[ArrayD<f32>],
        names: &[&str],
        cotangent: &Cotangent<'_>,
    ) -> Result<WeightGradients, EngineError> {
        let values = self.input_values(&views(inputs))?;
        if self.device().is_cpu() {
            return self.taped_gradients(values, names, cotangent);
        }
        self.graph_gradients(values, names, cotangent)
    }

    /// The same with one graph of the tensor library for the whole network.
    pub(crate) fn graph_gradients(
        &self,
        values: Vec<Value>,
        names: &[&str],
        cotangent: &Cotangent<'_>,
    ) -> Result<WeightGradients, EngineError> {
        let mut tracked = BTreeMap::new();
        let mut leaves = BTreeMap::new();
        for &name in names {
            let unknown =
                || EngineError::Argument(format!("the network stores no float tensor `{name}`"));
            let slot = *self.plan.weights.get(name).ok_or_else(unknown)?;
            let Some(Value::Real(real)) = self.constants[slot].clone() else {
                return Err(unknown());
            };
            let (real, leaf) = real.with_leaf().map_err(|fault| {
                EngineError::Argument(format!("weight `{name}`: {}", fault.message))
            })?;
            tracked.insert(name.to_owned(), real);
            leaves.insert(slot, Some(leaf));
        }
        let constants = self.replaced(tracked)?;
        let results = run::plan(
            &self.plan,
            &constants,
            (values, self.device()),
            &mut NoWatch,
        )?;
        let outputs = self.output_arrays(results.iter().map(untracked).collect())?;
        let cotangents = cotangent(&outputs);
        let mut found = self.backward(results, (&outputs, &cotangents), leaves)?;
        let mut gradients = BTreeMap::new();
        for &name in names {
            let value = found
                .get_mut(&self.plan.weights[name])
                .and_then(Option::take);
            if let Some(value) = value {
                let array = port::array(value).map_err(|fault| {
                    EngineError::Argument(format!("gradient of `{name}`: {}", fault.message))
                })?;
                gradients.insert(name.to_owned(), array);
            }
        }
        Ok(WeightGradients { outputs, gradients })
    }
}
