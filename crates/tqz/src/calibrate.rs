//! Network and images → Statistics: one forward and one backward pass per shard of images; patches of each layer's input
//! give A, gradients at its output give G (theory §7), exact per-channel Fisher blocks for depthwise layers (§9).

use std::collections::BTreeMap;

use ndarray::{ArrayD, Axis};
use rayon::prelude::*;
use tqz_engine::{Network, TapRequest, Tapped};

use crate::config::Metric;
use crate::cotangent::{cotangents, image_rng};
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::progress::Progress;
use crate::statistics::{GroupStatistics, LayerStatistics, Statistics};
use crate::taps::LayerTaps;

/// Images per forward and backward pass: small enough for 224 × 224 networks, and fixed, so that sums do not depend on threads.
const SHARD: usize = 8;
/// Shards in flight before their taps are reduced: fixed for the same reason.
const WAVE: usize = 4;
/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationSpec {
    /// Distortion that G measures.
    pub metric: Metric,
    /// Seed of the random directions.
    pub seed: u64,
    /// Number of images that will come, for subsampling positions.
    pub images: usize,
}

/// Collects statistics batch by batch.
pub struct Calibration<'a> {
    network: &'a Network,
    layers: &'a [WeightLayer],
    spec: CalibrationSpec,
    sums: Vec<LayerStatistics>,
    images: u64,
}

impl<'a> Calibration<'a> {
    /// Starts empty sums for these weight tensors of the network.
    pub fn new(network: &'a Network, layers: &'a [WeightLayer], spec: CalibrationSpec) -> Self {
        let sums = layers.iter().map(empty).collect();
        Self {
            network,
            layers,
            spec,
            sums,
            images: 0,
        }
    }

    /// Adds a batch (N × C × H × W, already preprocessed).
    ///
    /// # Errors
    /// The network does not run on this input, or its output has no usable form.
    pub fn add(&mut self, batch: &ArrayD<f32>, progress: &dyn Progress) -> Result<(), TqzError> {
        let images = batch.shape().first().copied().unwrap_or(0);
        let starts: Vec<usize> = (0..images).step_by(SHARD).collect();
        for wave in starts.chunks(WAVE) {
            let shards: Vec<Shard> = wave
                .par_iter()
                .map(|&start| self.shard(batch, start, (start + SHARD).min(images)))
                .collect::<Result<_, _>>()?;
            self.reduce(&shards);
            progress.advance(shards.iter().map(|s| s.images as u64).sum());
        }
        self.images += images as u64;
        Ok(())
    }

    /// The sums as statistics.
    pub fn finish(self) -> Statistics {
        let names = self.layers.iter().map(|l| l.name.clone());
        Statistics {
            layers: names.zip(self.sums).collect::<BTreeMap<_, _>>(),
            images: self.images,
            metric: self.spec.metric,
        }
    }

    /// Forward and backward over images start..end of the batch.
    fn shard(&self, batch: &ArrayD<f32>, start: usize, end: usize) -> Result<Shard, TqzError> {
        let input = batch
            .slice_axis(Axis(0), (start..end).into())
            .as_standard_layout()
            .into_owned();
        let wanted: Vec<usize> = self.layers.iter().flat_map(|l| l.uses.clone()).collect();
        let taps = TapRequest {
            inputs_of: wanted.clone(),
            output_grads_of: wanted,
        };
        let first = self.images as usize + start;
        let spec = self.spec;
        let seeded = move |outputs: &[ArrayD<f32>]| {
            cotangents(outputs, spec.metric, &|image| {
                image_rng(spec.seed, first + image)
            })
        };
        let tapped = self.network.forward_backward(&[input], &taps, &seeded)?;
        Ok(Shard {
            first,
            images: end - start,
            tapped,
        })
    }

    /// Adds the taps of a wave to the sums: layers in parallel, shards in order.
    fn reduce(&mut self, shards: &[Shard]) {
        let mut slot = 0;
        let slots: Vec<usize> = self
            .layers
            .iter()
            .map(|layer| {
                let first = slot;
                slot += layer.uses.len();
                first
            })
            .collect();
        let all = self.network.layers();
        let images = self.spec.images;
        self.sums
            .par_iter_mut()
            .zip(self.layers)
            .zip(&slots)
            .for_each(|((sums, layer), &slot)| {
                for shard in shards {
                    for (k, &use_of) in layer.uses.iter().enumerate() {
                        let taps = LayerTaps {
                            layer,
                            node: &all[use_of],
                            input: &shard.tapped.layer_inputs[slot + k],
                            gradient: &shard.tapped.output_grads[slot + k],
                            first: shard.first,
                            expected: images,
                        };
                        taps.add_to(sums);
                    }
                }
            });
    }
}

/// The taps of one forward and backward pass.
struct Shard {
    first: usize,
    images: usize,
    tapped: Tapped,
}

fn empty(layer: &WeightLayer) -> LayerStatistics {
    let rows = layer.rows / layer.groups;
    let groups = (0..layer.groups)
        .map(|_| GroupStatistics::new(rows, layer.cols))
        .collect();
    LayerStatistics { groups }
}
