//! Gains tuned with the side values: factors of the output channels of layers with a bias that no normalisation follows directly, and of the
//! kernels of transformed layers. In the file they are part of the exponents of rows, so that they cost a few bits each and no decoder needs
//! to know of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayD, Axis};
use rayon::prelude::*;
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

/// A layer that gains turn: factors of the rows of its matrix, then of its kernels.
pub(crate) struct Gained<'a> {
    pub(crate) layer: &'a WeightLayer,
    /// Whether rows are turned; their factors are one where not.
    pub(crate) rows: bool,
    /// S (outputs × kernels) and T (kernels × columns), where kernels are turned.
    pub(crate) transformed: Option<(Array2<f32>, Array2<f32>)>,
}

impl Gained<'_> {
    fn unit(&self) -> ArrayD<f32> {
        let kernels = self.transformed.as_ref().map_or(0, |(_, t)| t.nrows());
        Array1::ones(self.layer.rows + kernels).into_dyn()
    }

    /// The matrix with gains of kernels.
    fn inner<'m>(&self, matrix: &'m Array2<f32>, gains: &[f32]) -> Cow<'m, Array2<f32>> {
        match &self.transformed {
            None => Cow::Borrowed(matrix),
            Some((s, t)) => Cow::Owned(s.dot(&multiplied(t, &gains[self.layer.rows..]))),
        }
    }

    /// The matrix with all gains.
    fn turned(&self, matrix: &Array2<f32>, gains: &[f32]) -> Array2<f32> {
        multiplied(&self.inner(matrix, gains), &gains[..self.layer.rows])
    }

    /// Gradients with respect to the gains from that with respect to the weights.
    fn slopes(&self, matrix: &Array2<f32>, gains: &[f32], gradient: &Array2<f32>) -> Array1<f32> {
        let products = |a: &Array2<f32>, b: &Array2<f32>| (a * b).sum_axis(Axis(1)).to_vec();
        let mut slopes = match self.rows {
            true => products(gradient, &self.inner(matrix, gains)),
            false => vec![0.0; self.layer.rows],
        };
        if let Some((s, t)) = &self.transformed {
            let at_kernels = s.t().dot(&multiplied(gradient, &gains[..self.layer.rows]));
            slopes.extend(products(&at_kernels, t));
        }
        slopes.into()
    }
}

/// Rows times gains as the file would have them.
fn multiplied(matrix: &Array2<f32>, gains: &[f32]) -> Array2<f32> {
    let mut rows = matrix.clone();
    rows.outer_iter_mut()
        .zip(gains)
        .for_each(|(mut row, gain)| row *= stored(*gain));
    rows
}

/// A quantized network with what can be turned of it: stored side tensors, and rows and kernels of layers by gains.
pub(crate) struct Turnable<'a> {
    network: &'a Network,
    /// By the name of the weights: how they are a matrix, and that matrix.
    gained: BTreeMap<&'a str, (Gained<'a>, Array2<f32>)>,
}

impl<'a> Turnable<'a> {
    /// A network of which side tensors can be turned, and these layers.
    pub(crate) fn new(network: &'a Network, layers: impl Iterator<Item = Gained<'a>>) -> Self {
        let matrix = |gained: Gained<'a>| {
            let layer = gained.layer;
            let weights = network.weight(&layer.name)?;
            let matrix = layer.to_matrix(weights.as_standard_layout().as_slice()?);
            Some((layer.name.as_str(), (gained, matrix)))
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
            .map(|(name, (gained, _))| ((*name).to_owned(), gained.unit()))
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
        let turned: Vec<(&str, ArrayD<f32>)> = self
            .gained
            .par_iter()
            .filter_map(|(name, (gained, matrix))| {
                let gains = values.get(*name)?.as_slice()?;
                let turned = gained.turned(matrix, gains);
                Some((*name, gained.layer.to_tensor(&turned)))
            })
            .collect();
        tensors.extend(turned.into_iter().map(|(name, t)| (name.to_owned(), t)));
        Ok(self.network.with_weights(&tensors)?)
    }

    /// Gradients with respect to the values: those of weights become those of gains.
    pub(crate) fn of_gains(&self, mut gradients: SideValues, values: &SideValues) -> SideValues {
        let slopes: Vec<(&str, Array1<f32>)> = self
            .gained
            .par_iter()
            .filter_map(|(name, (gained, matrix))| {
                let gradient = gradients.get(*name)?.as_standard_layout();
                let gradient = gained.layer.to_matrix(gradient.as_slice()?);
                let gains = values.get(*name)?.as_slice()?;
                Some((*name, gained.slopes(matrix, gains, &gradient)))
            })
            .collect();
        gradients.extend(
            slopes
                .into_iter()
                .map(|(name, s)| (name.to_owned(), s.into_dyn())),
        );
        gradients
    }
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

    /// Of a layer whose rows are turned, too, and of one whose rows are not.
    #[test]
    fn gradients_of_gains_of_kernels_are_those_of_multiplied_kernels() {
        let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
        let source = Source::new(model, &EngineDevice::cpu()).expect("supported");
        let mut rng = Pcg64::seed_from_u64(6);
        let mut numbers = |rows: usize, cols: usize| {
            Array2::from_shape_simple_fn((rows, cols), || rng.random::<f32>() - 0.5)
        };
        for (layer, rows) in [(&source.layers()[1], true), (&source.layers()[2], false)] {
            let gained = Gained {
                layer,
                rows,
                transformed: Some((numbers(layer.rows, 5), numbers(5, layer.cols))),
            };
            let (untouched, weights) = (numbers(1, 1), numbers(layer.rows, layer.cols));
            let mut gains = gained.unit().into_raw_vec_and_offset().0;
            assert_eq!(gains.len(), layer.rows + 5);
            gains[layer.rows + 1] = stored(1.3);
            gains[2] = if rows { stored(0.8) } else { 1.0 };
            let slopes = gained.slopes(&untouched, &gains, &weights);
            // Linear in every gain.
            let sum = |gain: usize, value: f32| {
                let mut gains = gains.clone();
                gains[gain] = value;
                (&weights * &gained.turned(&untouched, &gains)).sum()
            };
            for gain in [2, layer.rows, layer.rows + 1, layer.rows + 4] {
                let found = slopes[gain];
                let expected = match rows || gain >= layer.rows {
                    true => (sum(gain, 2.0) - sum(gain, 1.0)) / (stored(2.0) - 1.0),
                    false => 0.0,
                };
                assert!((found - expected).abs() < 1e-3, "{found} {expected}");
            }
        }
    }

    #[test]
    fn gradients_of_gains_are_those_of_multiplied_rows() {
        let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
        let source = Source::new(model, &EngineDevice::cpu()).expect("supported");
        let network = source.network();
        let gained = gained_layers(network, source.layers(), source.knobs());
        assert!(!gained.is_empty() && gained.len() < source.layers().len());
        let rows = |&i: &usize| Gained {
            layer: &source.layers()[i],
            rows: true,
            transformed: None,
        };
        let quantized = Turnable::new(network, gained.iter().map(rows));
        let mut values = side_values(network, source.knobs());
        values.extend(quantized.unit_gains());
        let mut rng = Pcg64::seed_from_u64(5);
        let image = ArrayD::from_shape_simple_fn(IxDyn(&[2, 3, 32, 32]), || rng.random::<f32>());
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        let (_, gradients) = slope(&quantized.turned(&values).expect("fits"), &image, &names);
        let gradients = quantized.of_gains(gradients, &values);
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
