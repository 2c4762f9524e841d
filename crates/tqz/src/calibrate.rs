//! Network and images → Statistics: one forward and one backward pass per shard of images; patches of each layer's input
//! give A, gradients at its output give G (theory §7), exact per-channel Fisher blocks for depthwise layers (§9).

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayD, Axis};
use rayon::prelude::*;
use tqz_engine::{Network, TapRequest, Tapped};

use crate::config::Metric;
use crate::cotangent::{cotangents, image_rng, resolve};
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::progress::Progress;
use crate::statistics::{LayerStatistics, Statistics, partial_sums};
use crate::taps::LayerTaps;

/// Images per forward and backward pass where the network does not prescribe it: small enough for 224 × 224 networks, and
/// fixed, so that sums do not depend on threads.
const SHARD: usize = 8;
/// Shards in flight before their taps are reduced: fixed for the same reason.
const WAVE: usize = 4;
/// Images of a whole set up to which each shard is a part of its own, by which errors of the sums are told: enough parts of few
/// images, and not more adding up of many than need be.
const FEW: usize = 512;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationSpec {
    /// Distortion that G measures.
    pub metric: Metric,
    /// Seed of the random directions.
    pub seed: u64,
    /// Number of images in the whole set, to decide how many positions of each are enough.
    pub images: usize,
}

/// Collects statistics batch by batch.
pub struct Calibration<'a> {
    network: &'a Network,
    layers: &'a [WeightLayer],
    /// By layer, the uses that it is measured at: those that take the tensor as the first does.
    uses: Vec<Vec<usize>>,
    spec: CalibrationSpec,
    /// Of the network's weights.
    checksum: u32,
    sums: Vec<LayerStatistics>,
    metric: Metric,
    /// Ranges of the images seen so far.
    seen: Vec<Range<u64>>,
}

impl<'a> Calibration<'a> {
    /// Starts empty sums for these weight tensors of the network, whose weights have this checksum.
    pub(crate) fn new(
        (network, layers): (&'a Network, &'a [WeightLayer]),
        checksum: u32,
        spec: CalibrationSpec,
    ) -> Self {
        let sums = layers.iter().map(LayerStatistics::empty).collect();
        let all = network.layers();
        let alike = |layer: &WeightLayer| {
            let uses = layer.uses.iter().copied();
            uses.filter(|&at| layer.is_taken_alike(&all[at])).collect()
        };
        Self {
            network,
            layers,
            uses: layers.iter().map(alike).collect(),
            spec,
            checksum,
            sums,
            metric: spec.metric,
            seen: Vec::new(),
        }
    }

    /// The same for so many images in all.
    pub(crate) fn expecting(mut self, images: usize) -> Self {
        self.spec.images = images;
        self
    }

    /// Images that are summed up together: batches given to [`Self::add`] should hold a multiple of it, and shards of a set
    /// begin at one, so that the sums do not depend on how the set was cut.
    pub fn unit(&self) -> usize {
        shard_size(self.network) * WAVE
    }

    /// Adds a batch (N × C × H × W, already preprocessed) of the images of these numbers in the whole set, ascending and
    /// above those of earlier batches. A network of fixed batch size gets shards of that size; an incomplete last one is
    /// filled up by repeating its images.
    ///
    /// # Errors
    /// The network does not run on this input, its output has no usable form, or there are more or fewer numbers than images.
    pub fn add(
        &mut self,
        batch: &ArrayD<f32>,
        numbers: &[usize],
        progress: &dyn Progress,
    ) -> Result<(), TqzError> {
        let images = batch.shape().first().copied().unwrap_or(0);
        if images != numbers.len() {
            return Err(TqzError::Request(format!(
                "a batch of {images} images came with {} numbers",
                numbers.len()
            )));
        }
        let size = shard_size(self.network);
        let starts: Vec<usize> = (0..images).step_by(size).collect();
        for wave in starts.chunks(WAVE) {
            let shards: Vec<Shard> = wave
                .par_iter()
                .map(|&start| self.shard((batch, numbers), start..(start + size).min(images)))
                .collect::<Result<_, _>>()?;
            if let Some(shard) = shards.first() {
                self.metric = resolve(self.metric, &shard.tapped.outputs);
            }
            self.reduce(&shards);
            let done = wave.last().map_or(0, |&last| (last + size).min(images));
            progress.advance((done - wave[0]) as u64);
        }
        for number in numbers.iter().map(|&n| n as u64) {
            match self.seen.last_mut() {
                Some(last) if last.end == number => last.end += 1,
                _ => self.seen.push(number..number + 1),
            }
        }
        Ok(())
    }

    /// The sums as statistics.
    pub fn finish(self) -> Statistics {
        let names = self.layers.iter().map(|l| l.name.clone());
        Statistics {
            layers: names.zip(self.sums).collect::<BTreeMap<_, _>>(),
            network: self.checksum,
            metric: self.metric,
            seed: self.spec.seed,
            seen: self.seen,
            total: self.spec.images as u64,
        }
    }

    /// Forward and backward over a range of the batch's images.
    fn shard(
        &self,
        (batch, numbers): (&ArrayD<f32>, &[usize]),
        range: Range<usize>,
    ) -> Result<Shard, TqzError> {
        let given = &numbers[range.clone()];
        let input = self
            .network
            .fill_batch(batch.slice_axis(Axis(0), range.into()))?;
        let size = input.shape().first().copied().unwrap_or(0);
        let numbers: Vec<usize> = given.iter().copied().cycle().take(size).collect();
        let wanted: Vec<usize> = self.uses.concat();
        let taps = TapRequest {
            inputs_of: wanted.clone(),
            output_grads_of: wanted,
        };
        let spec = self.spec;
        let of = numbers.clone();
        let seeded = move |outputs: &[ArrayD<f32>]| {
            cotangents(outputs, spec.metric, &|image| {
                image_rng(spec.seed, image_number(&of, image))
            })
        };
        let tapped = self.network.forward_backward(&[input], &taps, &seeded)?;
        Ok(Shard { numbers, tapped })
    }

    /// Adds the taps of a wave to the sums: layers in parallel, shards in order, as one part or as many.
    fn reduce(&mut self, shards: &[Shard]) {
        let mut slot = 0;
        let slots: Vec<usize> = self
            .uses
            .iter()
            .map(|uses| {
                let first = slot;
                slot += uses.len();
                first
            })
            .collect();
        let all = self.network.layers();
        let images = self.spec.images;
        let part = if images <= FEW { 1 } else { WAVE };
        self.sums
            .par_iter_mut()
            .zip(self.layers)
            .zip(self.uses.par_iter().zip(&slots))
            .for_each(|((sums, layer), (uses, &slot))| {
                for part in shards.chunks(part) {
                    let mut partial = partial_sums(sums);
                    for shard in part {
                        for (k, &use_of) in uses.iter().enumerate() {
                            let taps = LayerTaps {
                                layer,
                                node: &all[use_of],
                                input: &shard.tapped.layer_inputs[slot + k],
                                gradient: &shard.tapped.output_grads[slot + k],
                                numbers: &shard.numbers,
                                is_first: k == 0,
                                expected: images,
                            };
                            taps.add_to(&mut partial);
                        }
                    }
                    sums.absorb(&partial);
                }
            });
    }
}

/// The taps of one forward and backward pass.
struct Shard {
    numbers: Vec<usize>,
    tapped: Tapped,
}

/// Images per forward and backward pass.
fn shard_size(network: &Network) -> usize {
    network.fixed_batch().unwrap_or(SHARD).max(1)
}

/// Number in the set of a batch's sample; a network may fold other axes into that of the batch, so that there are more samples
/// than images.
pub(crate) fn image_number(numbers: &[usize], sample: usize) -> usize {
    let first = numbers.first().copied().unwrap_or(0);
    numbers.get(sample).copied().unwrap_or(first + sample)
}
