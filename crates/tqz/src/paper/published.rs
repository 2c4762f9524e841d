//! A network as it was published: scales of normalisations, which the main coder takes into the weights before them, stand beside these again, and
//! gradients are those of the outputs before the scale.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{Array2, Axis};
use tqz_format::Vector;

use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::side::{PEAK_BITS, quantize_vector};
use crate::source::Source;
use crate::statistics::Statistics;

/// A network with its scales apart, and its statistics.
pub(crate) struct Published<'a> {
    source: &'a Source,
    statistics: Cow<'a, Statistics>,
    /// What each row of a layer's weights is multiplied by in the source, as the file holds it, by name.
    scales: BTreeMap<&'a str, Vec<f32>>,
    /// The same as the file holds them.
    vectors: Vec<Vector>,
}

impl<'a> Published<'a> {
    /// Takes the scales out of the weights, save for those that span too wide a range to be stored as side values: one that is not zero must not
    /// become it.
    ///
    /// # Errors
    /// Statistics of another network; numbers that the format does not allow.
    pub(crate) fn new(source: &'a Source, statistics: &'a Statistics) -> Result<Self, TqzError> {
        statistics.check_network(source.checksum())?;
        let mut published = Self {
            source,
            statistics: Cow::Borrowed(statistics),
            scales: BTreeMap::new(),
            vectors: Vec::new(),
        };
        for layer in source.layers() {
            let Some(scale) = source.taken_scale(layer) else {
                continue;
            };
            let Some((log2_step, levels)) = quantize_vector(&scale.values, PEAK_BITS) else {
                continue;
            };
            let vector = Vector {
                site: scale.site as u32,
                log2_step,
                levels,
            };
            let stored = vector.reconstruct()?;
            let pairs = stored.iter().zip(&scale.values);
            if pairs.into_iter().any(|(s, v)| *s == 0.0 && *v != 0.0) {
                continue;
            }
            if statistics.fits(layer)
                && let Some(of_layer) = published.statistics.to_mut().layers.get_mut(&layer.name)
            {
                *of_layer = of_layer.with_gradients_times(&stored);
            }
            published.vectors.push(vector);
            published.scales.insert(&layer.name, stored);
        }
        Ok(published)
    }

    /// Statistics with respect to the weights without scales.
    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The weights of a layer without the scale; zeros where that is zero.
    ///
    /// # Errors
    /// A layer of another network.
    pub(crate) fn matrix(&self, layer: &WeightLayer) -> Result<Array2<f32>, TqzError> {
        let mut weights = self.source.matrix(layer)?;
        if let Some(scale) = self.scales.get(layer.name.as_str()) {
            for (mut row, scale) in weights.axis_iter_mut(Axis(0)).zip(scale) {
                row.mapv_inplace(|w| if *scale == 0.0 { 0.0 } else { w / scale });
            }
        }
        Ok(weights)
    }

    /// What rows of a layer's weights are multiplied by in the source, where they are.
    pub(crate) fn scale(&self, layer: &WeightLayer) -> Option<&[f32]> {
        self.scales.get(layer.name.as_str()).map(Vec::as_slice)
    }

    /// The scales as the file holds them, in the places of what the source has there.
    pub(crate) fn into_vectors(self) -> Vec<Vector> {
        self.vectors
    }
}

/// Weights as the source has them, of such without the scale.
pub(crate) fn scaled(mut weights: Array2<f32>, scale: Option<&[f32]>) -> Array2<f32> {
    for (mut row, scale) in weights
        .axis_iter_mut(Axis(0))
        .zip(scale.into_iter().flatten())
    {
        row.mapv_inplace(|w| w * scale);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::CompressedModel;
    use crate::encoder::testing::Calibrated;
    use crate::linalg::{BlockDiagonal, quadratic_cost};
    use crate::paper::PaperCurves;
    use crate::progress::Silent;
    use crate::{EncoderConfig, PaperSpec, RateTarget};
    use ndarray::ArrayD;
    use rand::{RngExt, SeedableRng};
    use tqz_engine::{EngineDevice, Network};

    /// An error does to the output what the same error, scaled, does in the source; so does the whole network at a high rate, whose file has the
    /// scales that the demo network has.
    #[test]
    fn scales_stand_beside_the_weights_and_errors_cost_what_they_did() {
        let calibrated = Calibrated::on_noise(40);
        let job = calibrated.job();
        let published = Published::new(job.source, job.statistics).expect("its own statistics");
        assert!(!published.scales.is_empty());
        let mut rng = rand_pcg::Pcg64::seed_from_u64(4);
        for layer in job.source.layers() {
            let scale = published.scale(layer);
            let weights = published.matrix(layer).expect("a layer of it");
            let own = job.source.matrix(layer).expect("a layer of it");
            let back = scaled(weights, scale);
            let far = (&back - &own).mapv(f32::abs).into_iter();
            let near = far.zip(&own).all(|(far, w)| far <= 1e-6 * w.abs());
            assert!(near, "{}", layer.name);
            if layer.groups > 1 {
                continue;
            }
            let error = own.mapv(|_| rng.random::<f32>() - 0.5);
            let cost = |error: &Array2<f32>, statistics: &Statistics| {
                let found = &statistics.of(layer).expect("measured").groups[0];
                let input = BlockDiagonal {
                    blocks: found.input(),
                };
                quadratic_cost(error, &input, &found.output())
            };
            let [apart, within] = [
                cost(&error, published.statistics()),
                cost(&scaled(error.clone(), scale), job.statistics),
            ];
            assert!(
                (apart / within - 1.0).abs() < 1e-4,
                "{}: {apart} {within}",
                layer.name
            );
        }
    }

    #[test]
    fn files_have_the_scales_that_the_network_had() {
        let calibrated = Calibrated::on_noise(40);
        let job = calibrated.job();
        let config = EncoderConfig {
            paper: Some(PaperSpec::default()),
            ..EncoderConfig::new(RateTarget::BitsPerWeight(12.0))
        };
        let curves = PaperCurves::new(job.source, job.statistics, &config, &Silent);
        let (bytes, _) = curves
            .and_then(|curves| curves.compress(job.source, config.target))
            .expect("compressible");
        let model = CompressedModel::decode(&bytes).and_then(|m| m.to_model());
        let network = Network::from_model(&model.expect("decodes"), &EngineDevice::cpu());
        let network = network.expect("runs");
        let mut scales = 0;
        for norm in network.batch_norms() {
            let scale: ArrayD<f32> = network.weight(&norm.scale).expect("stored");
            scales += usize::from(scale.iter().any(|v| *v != 1.0));
        }
        assert_eq!(scales, network.batch_norms().len());
        let batch = calibrated
            .images
            .batch(&[0, 1, 2, 3])
            .expect("of one shape");
        let run = |network: &Network| -> Vec<f32> {
            let outputs = network.run_batch(&batch, 4).expect("runs");
            outputs.into_iter().flatten().collect()
        };
        let (found, wanted) = (run(&network), run(job.source.network()));
        let square = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>();
        let off: Vec<f32> = found.iter().zip(&wanted).map(|(f, w)| f - w).collect();
        let share = square(&off) / square(&wanted);
        assert!(share < 0.01, "{share}");
    }
}
