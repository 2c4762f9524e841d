//! Row gains: factors of the output channels of layers with a bias that no normalisation follows directly, tuned with the side values. In the file
//! they are part of the exponents of rows, so that they cost a few bits a channel and no decoder needs to know of them.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayD};
use tqz_engine::Network;

use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::repair::{Knob, SideValues};

/// The format's units per octave: gains are known to .5 %.
const UNITS: f32 = 64.0;
/// The format's largest exponent of a row, left to what a step is by itself.
const LARGEST: f32 = 1024.0;

/// The exponent nearest to a gain, in 1/64 octave.
pub(crate) fn exponent(gain: f32) -> i32 {
    let units = gain.max(f32::MIN_POSITIVE).log2() * UNITS;
    units.round().clamp(-LARGEST, LARGEST) as i32
}

/// A gain as the file has it.
fn stored(gain: f32) -> f32 {
    (exponent(gain) as f32 / UNITS).exp2()
}

/// Layers, by their place among `layers`, of which every use ends in a knob without a factor.
pub(crate) fn gained_layers(
    network: &Network,
    layers: &[WeightLayer],
    knobs: &[Knob],
) -> Vec<usize> {
    let ends_in_offset = |&used: &usize| {
        let output = &network.layers()[used].output;
        knobs
            .iter()
            .any(|knob| knob.output == *output && knob.scale.is_none())
    };
    let is_gained = |layer: &WeightLayer| layer.uses.iter().all(ends_in_offset);
    let numbered = layers.iter().enumerate();
    numbered
        .filter(|(_, layer)| is_gained(layer))
        .map(|(index, _)| index)
        .collect()
}

/// A quantized network with what can be turned of it: stored side tensors, and rows of layers by gains.
pub(crate) struct Turnable<'a> {
    network: &'a Network,
    /// By the name of the weights: how they are a matrix, and that matrix.
    gained: BTreeMap<&'a str, (&'a WeightLayer, Array2<f32>)>,
}

impl<'a> Turnable<'a> {
    /// A network of which side tensors can be turned, and the rows of these layers.
    pub(crate) fn new(network: &'a Network, layers: impl Iterator<Item = &'a WeightLayer>) -> Self {
        let matrix = |layer: &'a WeightLayer| {
            let weights = network.weight(&layer.name)?;
            let matrix = layer.to_matrix(weights.as_standard_layout().as_slice()?);
            Some((layer.name.as_str(), (layer, matrix)))
        };
        Self {
            network,
            gained: layers.filter_map(matrix).collect(),
        }
    }

    /// Gains of one.
    pub(crate) fn unit_gains(&self) -> SideValues {
        let gained = self.gained.iter();
        gained
            .map(|(name, (layer, _))| ((*name).to_owned(), Array1::ones(layer.rows).into_dyn()))
            .collect()
    }

    /// Takes the gains out of values.
    pub(crate) fn take_gains(&self, values: &mut SideValues) -> SideValues {
        let names = self.gained.keys();
        names
            .filter_map(|name| values.remove_entry(*name))
            .collect()
    }

    /// The network with these values, gains as the file would have them.
    ///
    /// # Errors
    /// Tensors that do not fit.
    pub(crate) fn turned(&self, values: &SideValues) -> Result<Network, TqzError> {
        let mut tensors = values.clone();
        for (name, (layer, matrix)) in &self.gained {
            if let Some(value) = tensors.get_mut(*name) {
                let mut rows = matrix.clone();
                rows.outer_iter_mut()
                    .zip(value.iter())
                    .for_each(|(mut row, gain)| row *= stored(*gain));
                *value = layer.to_tensor(&rows);
            }
        }
        Ok(self.network.with_weights(&tensors)?)
    }

    /// Gradients with respect to the values: those of weights become those of gains, row by row.
    pub(crate) fn of_gains(&self, mut gradients: SideValues) -> SideValues {
        for (name, (layer, matrix)) in &self.gained {
            if let Some(gradient) = gradients.get_mut(*name) {
                *gradient = row_products(layer, matrix, gradient);
            }
        }
        gradients
    }
}

/// Σ over each row of gradient · weight.
fn row_products(layer: &WeightLayer, matrix: &Array2<f32>, gradient: &ArrayD<f32>) -> ArrayD<f32> {
    let gradient = gradient.as_standard_layout();
    let elements = gradient.as_slice().unwrap_or(&[]);
    let mut sums = Array1::<f32>::zeros(layer.rows);
    for ((r, c), weight) in matrix.indexed_iter() {
        sums[r] += weight * elements.get(layer.element(r, c)).unwrap_or(&0.0);
    }
    sums.into_dyn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::side_values;
    use crate::source::Source;
    use ndarray::IxDyn;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;
    use tqz_engine::EngineDevice;

    const DEMO: &[u8] = include_bytes!("../../../../assets/demo.onnx");

    /// Σ outputs · cotangent, and its gradients.
    fn slope(network: &Network, image: &ArrayD<f32>, names: &[&str]) -> (f64, SideValues) {
        let weigh = |i: usize| (i as f32 * 0.7).sin();
        let cotangent = |outputs: &[ArrayD<f32>]| {
            let like = |output: &ArrayD<f32>| {
                let mut all = output.clone();
                all.iter_mut().enumerate().for_each(|(i, v)| *v = weigh(i));
                all
            };
            outputs.iter().map(like).collect()
        };
        let found = network
            .weight_gradients(std::slice::from_ref(image), names, &cotangent)
            .expect("runs");
        let terms = found.outputs[0].iter().enumerate();
        let sum = terms.map(|(i, &v)| f64::from(v * weigh(i))).sum();
        (sum, found.gradients)
    }

    #[test]
    fn gradients_of_gains_are_those_of_multiplied_rows() {
        let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
        let source = Source::new(model, &EngineDevice::cpu()).expect("supported");
        let network = source.network();
        let gained = gained_layers(network, source.layers(), source.knobs());
        assert!(!gained.is_empty() && gained.len() < source.layers().len());
        let quantized = Turnable::new(network, gained.iter().map(|&i| &source.layers()[i]));
        let mut values = side_values(network, source.knobs());
        values.extend(quantized.unit_gains());
        let mut rng = Pcg64::seed_from_u64(5);
        let image = ArrayD::from_shape_simple_fn(IxDyn(&[2, 3, 32, 32]), || rng.random::<f32>());
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        let (_, gradients) = slope(&quantized.turned(&values).expect("fits"), &image, &names);
        let gradients = quantized.of_gains(gradients);
        for &index in &gained {
            let layer = &source.layers()[index];
            let gradient = &gradients[&layer.name];
            assert_eq!(gradient.len(), layer.rows);
            let at = |units: i32| {
                let gain = (units as f32 / UNITS).exp2();
                let mut values = values.clone();
                values.get_mut(&layer.name).expect("a gain")[0] = gain;
                slope(&quantized.turned(&values).expect("fits"), &image, &names).0
            };
            // By three units each way, 3.3 %.
            let expected = (at(3) - at(-3)) / f64::from(stored(1.033) - stored(0.968));
            let found = f64::from(gradient[0]);
            assert!(
                (found - expected).abs() < 0.03 * expected.abs() + 1e-3,
                "{found} {expected}"
            );
        }
        let sides = values.len() - gained.len();
        assert_eq!(quantized.take_gains(&mut values).len(), gained.len());
        assert_eq!(values.len(), sides);
    }
}
