//! What each layer's quantization does to the outputs when all others are left as they were: the measure against which the
//! closed form, which predicts layer by layer, can be held (theory §7).

use std::collections::BTreeMap;

use ndarray::ArrayD;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::fidelity::{Yardstick, mean};
use crate::images::{Images, spread};
use crate::progress::Progress;
use crate::source::Source;

/// Distances of outputs from the original's: nats, or squared error summed over an image; mean over images.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDistances {
    /// With the weights of all layers, side values as in the original.
    pub all: f64,
    /// By layer, in the order of [`Source::layers`], with its weights alone.
    pub alone: Vec<f64>,
}

/// Runs the network with one layer's weights at a time taken from `quantized`, on at most `most_images` images.
///
/// # Errors
/// The network does not run, or `quantized` is another one.
pub fn layer_distances(
    source: &Source,
    quantized: &Network,
    (images, most_images): (&Images, usize),
    progress: &dyn Progress,
) -> Result<LayerDistances, TqzError> {
    let numbers = spread((0..images.len()).collect(), most_images);
    let yardstick = Yardstick::new(source.network(), images, &numbers)?;
    let weights = source.layers().iter().map(|layer| {
        let missing = || TqzError::layer(&layer.name, "the other network does not have it");
        Ok((
            layer.name.clone(),
            quantized.weight(&layer.name).ok_or_else(missing)?,
        ))
    });
    let weights: Vec<(String, ArrayD<f32>)> = weights.collect::<Result<_, TqzError>>()?;
    let all = {
        let together = weights.iter().cloned().collect();
        yardstick.measure(&source.network().with_weights(&together)?)?
    };
    let alone = distances_alone(source, weights.into_iter().map(Ok), &yardstick, progress)?;
    Ok(LayerDistances {
        all,
        alone: alone.iter().map(|each| mean(each)).collect(),
    })
}

/// Distances of the network from the original, image by image, with each of these weights in place of its own, one at a time; each is
/// asked for when its turn comes.
///
/// # Errors
/// The network does not run, or weights are none of its.
pub(crate) fn distances_alone(
    source: &Source,
    weights: impl ExactSizeIterator<Item = Result<(String, ArrayD<f32>), TqzError>>,
    yardstick: &Yardstick<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>, TqzError> {
    progress.begin("measuring layers alone", weights.len() as u64);
    let alone = weights.map(|one| {
        let network = source.network().with_weights(&BTreeMap::from([one?]))?;
        let distances = yardstick.measure_each(&network);
        progress.advance(1);
        distances
    });
    let alone = alone.collect::<Result<_, _>>()?;
    progress.finish();
    Ok(alone)
}
