//! Compensation of drift: in one run, layer after layer, each layer's weights are fitted to make the original's outputs out of the
//! inputs that the layers before, quantized, really give (least squares), then coded, and the run goes on with what the decoder
//! will see. As GPTAQ and Qronos do for transformers; here under the coder's own Hessian, step and bits.

mod fit;
mod size;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ndarray::{Array2, ArrayD, Axis};
use rayon::prelude::*;
use tqz_engine::{Network, Rewriter};

use crate::config::Effort;
use crate::encoder::choose::work;
use crate::encoder::decoded::quantized_network;
use crate::encoder::finish::matched_sides;
use crate::encoder::pass::{Coded, Pass};
use crate::encoder::{CodedLayer, Job};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::{Images, spread};
use crate::layout::WeightLayer;
use crate::repair::{Moments, SideValues};
use crate::taps::patches_of;

use fit::{Products, Sums};
use size::Sizes;

/// Images whose products are summed up in single precision.
const CHUNK: usize = 16;
/// Chunks that are worked on together: fixed, for memory.
const WAVE: usize = 2;
/// Work of one coding, in multiply–accumulates, up to which drift is compensated at balanced effort: every layer is prepared again.
const AFFORDABLE: f64 = 2e10;
/// Bytes of the largest value of a run, of all images together.
const LARGEST_BYTES: usize = 768 << 20;
/// Runs until the size is met.
const ROUNDS: u32 = 8;

/// Whether drift is to be compensated: not where rows are limited, whose choice is not made layer by layer.
pub(crate) fn is_worth_while(job: Job<'_>) -> bool {
    let affordable = job.config.effort == Effort::Best || work(job) <= AFFORDABLE;
    affordable && job.config.macs.is_none() && job.config.quantizer.feedback
}

/// Codes the network with drift compensated, at the size of the target less what is to be kept free; gives what was there where that is no better on the images kept back.
///
/// # Errors
/// As coding and running the network.
pub(crate) fn compensated(
    job: Job<'_>,
    pass: &Pass<'_>,
    (coded, reserve_bytes): (Coded, u64),
    (images, yardstick): (&Images, &Yardstick<'_>),
) -> Result<Coded, TqzError> {
    let original = job.source.network();
    let Some((numbers, shapes)) = numbers(job, images)? else {
        return Ok(coded);
    };
    let batch = images.batch(&numbers)?;
    let run = Run {
        job,
        pass,
        moments: Moments::of(original, job.source.knobs(), &batch)?,
        shapes,
        start: quantized_network(job, &coded.layers)?,
        batch,
    };
    let distance = |network: &Network| -> Result<f64, TqzError> {
        Ok(matched_sides(job, network, (images, yardstick))?.1)
    };
    let Some(found) = run.at_size(&coded, reserve_bytes)? else {
        return Ok(coded);
    };
    let better = distance(&quantized_network(job, &found.layers)?)? < distance(&run.start)?;
    Ok(if better { found } else { coded })
}

/// Shapes by the name of a value.
type Shapes = BTreeMap<String, Vec<usize>>;

/// The images that are run, and the shapes of the layers' outputs for one; none where the network does not take so many at once.
fn numbers(job: Job<'_>, images: &Images) -> Result<Option<(Vec<usize>, Shapes)>, TqzError> {
    let network = job.source.network();
    let learnt = images.learnt();
    let (None, Some(&first)) = (network.fixed_batch(), learnt.first()) else {
        return Ok(None);
    };
    let shapes = output_shapes(network, images, first)?;
    let elements = shapes.values().map(|shape| shape.iter().product());
    let largest: usize = elements.max().unwrap_or(1);
    let most = (LARGEST_BYTES / (4 * largest.max(1))).min(job.budget.calibrated_images);
    let chosen = spread(learnt, most);
    let same = images.batches(&chosen, chosen.len()).into_iter().next();
    let enough = same.filter(|numbers| numbers.len() >= CHUNK);
    Ok(enough.map(|numbers| (numbers, shapes)))
}

/// Shapes of the layers' outputs for one image.
fn output_shapes(network: &Network, images: &Images, number: usize) -> Result<Shapes, TqzError> {
    let names: Vec<&str> = network.layers().iter().map(|l| l.output.as_str()).collect();
    let seen = network.observe(&[images.batch(&[number])?], &names)?;
    let shape = |(name, value): (String, ArrayD<f32>)| (name, value.shape().to_vec());
    Ok(seen.values.into_iter().map(shape).collect())
}

/// What every run has in common.
struct Run<'a> {
    job: Job<'a>,
    pass: &'a Pass<'a>,
    moments: Moments<'a>,
    /// Of the layers' outputs, by name, for one image.
    shapes: Shapes,
    /// The network as it was coded before.
    start: Network,
    batch: ArrayD<f32>,
}

impl Run<'_> {
    /// Runs at the step of `coded` and at steps near it until the size is met.
    fn at_size(&self, coded: &Coded, reserve_bytes: u64) -> Result<Option<Coded>, TqzError> {
        let weights = self.job.source.weight_count();
        let mut step = coded.step;
        let Some(limit) = self.job.config.target.limit(weights) else {
            return Ok(Some(self.at(coded, step)?));
        };
        let limit = limit.saturating_sub(reserve_bytes);
        let mut sizes = Sizes::new(limit, weights);
        let mut best: Option<Coded> = None;
        for _ in 0..ROUNDS {
            let found = self.at(coded, step)?;
            let size = found.bytes.len();
            let next = sizes.next(step, size);
            let largest = best.as_ref().map_or(0, |b| b.bytes.len());
            if size as u64 <= limit && size > largest {
                best = Some(found);
            }
            match next {
                Some(next) => step = next,
                None => break,
            }
        }
        Ok(best)
    }

    /// One run: all layers coded at one step.
    fn at(&self, coded: &Coded, step: f64) -> Result<Coded, TqzError> {
        let (source, progress) = (self.job.source, self.job.progress);
        let original = source.network();
        let network = &self.start;
        let uses = |(i, layer): (usize, &WeightLayer)| {
            let uses: Vec<_> = layer.uses.iter().map(move |&used| (used, i)).collect();
            uses
        };
        let (sender, receiver) = sync_channel(0);
        let mut follower = Follower {
            run: self,
            network,
            used: source.layers().iter().enumerate().flat_map(uses).collect(),
            given: receiver,
            step,
            coded: BTreeMap::new(),
            sides: SideValues::new(),
            failed: None,
        };
        progress.begin("compensating drift", source.layers().len() as u64);
        let inputs = std::slice::from_ref(&self.batch);
        let followed = std::thread::scope(|scope| {
            let told = scope.spawn(|| original.run_rewriting(inputs, &[], &mut Teller(sender)));
            let followed = network.run_rewriting(inputs, &self.moments.names(), &mut follower);
            let Follower {
                given,
                coded,
                failed,
                ..
            } = follower;
            drop(given);
            // A run of the original that fails does so in the other one, too.
            let _ = told.join();
            (followed.map(|_| coded), failed)
        });
        progress.finish();
        let mut found = match followed {
            (_, Some(failed)) => return Err(failed),
            (followed, None) => followed?,
        };
        let layers = coded.layers.iter().enumerate();
        let layers = layers.map(|(i, layer)| found.remove(&i).map_or(layer.clone(), |(l, _)| l));
        self.pass.coded_of(layers.collect(), coded, step)
    }
}

/// Hands the inputs of the original's layers over, one when the one before was taken.
struct Teller(SyncSender<(usize, ArrayD<f32>)>);

impl Rewriter for Teller {
    fn adjust(&mut self, _name: &str, value: ArrayD<f32>) -> ArrayD<f32> {
        value
    }

    fn weights(&mut self, index: usize, input: ArrayD<f32>) -> Option<ArrayD<f32>> {
        // Nobody listens any more where the other run has failed.
        let _ = self.0.send((index, input));
        None
    }
}

/// Codes the layers of the quantized network as they come.
struct Follower<'a> {
    run: &'a Run<'a>,
    network: &'a Network,
    /// Weight tensor by the layer that uses it.
    used: BTreeMap<usize, usize>,
    given: Receiver<(usize, ArrayD<f32>)>,
    step: f64,
    /// Layers with the weights that a decoder sees, by number.
    coded: BTreeMap<usize, (CodedLayer, ArrayD<f32>)>,
    sides: SideValues,
    failed: Option<TqzError>,
}

impl Rewriter for Follower<'_> {
    fn adjust(&mut self, name: &str, value: ArrayD<f32>) -> ArrayD<f32> {
        let moments = &self.run.moments;
        moments.matched(self.network, (name, value), &mut self.sides)
    }

    fn weights(&mut self, index: usize, input: ArrayD<f32>) -> Option<ArrayD<f32>> {
        let given = self
            .given
            .recv()
            .ok()
            .filter(|(number, _)| *number == index);
        let number = *self.used.get(&index)?;
        if self.failed.is_some() {
            return None;
        }
        if !self.coded.contains_key(&number) {
            let inputs = given.map(|(_, original)| (original, input));
            match self.code((index, number), inputs) {
                Ok(found) => self.coded.insert(number, found),
                Err(error) => {
                    self.failed = Some(error);
                    return None;
                }
            };
            self.run.job.progress.advance(1);
        }
        self.coded.get(&number).map(|(_, values)| values.clone())
    }
}

impl Follower<'_> {
    /// Codes a weight tensor, fitted to the inputs of the layer that uses it first, the original's and those there are now.
    fn code(
        &self,
        (index, number): (usize, usize),
        inputs: Option<(ArrayD<f32>, ArrayD<f32>)>,
    ) -> Result<(CodedLayer, ArrayD<f32>), TqzError> {
        let source = self.run.job.source;
        let layer = &source.layers()[number];
        let mut weights = source.matrix(layer)?;
        let inputs = inputs.filter(|_| layer.groups == 1);
        let fitted = inputs
            .and_then(|(original, now)| self.fitted((index, layer), &weights, (&original, &now)));
        if let Some(fitted) = fitted {
            weights = fitted;
        }
        let coded = self.run.pass.coded_with(number, weights, self.step)?;
        let values = source.decoded(layer, &coded.record)?;
        Ok((coded, values))
    }

    /// The weights fitted to the inputs of a layer.
    fn fitted(
        &self,
        (index, layer): (usize, &WeightLayer),
        weights: &Array2<f32>,
        (original, now): (&ArrayD<f32>, &ArrayD<f32>),
    ) -> Option<Array2<f32>> {
        let node = &self.network.layers()[index];
        let shape = self.run.shapes.get(&node.output)?;
        let images = original.shape().first().copied().unwrap_or(0);
        let starts: Vec<usize> = (0..images).step_by(CHUNK).collect();
        let of_chunk = |&start: &usize| {
            let numbers: Vec<usize> = (start..(start + CHUNK).min(images)).collect();
            let patches = |all: &ArrayD<f32>| {
                let part = all.slice_axis(Axis(0), (start..start + numbers.len()).into());
                let part = part.as_standard_layout().into_owned();
                patches_of((layer, node), &part, shape, (&numbers, images))
            };
            Some(Products::of(weights, (&patches(original)?, &patches(now)?)))
        };
        let mut sums = Sums::new(weights.dim());
        for wave in starts.chunks(WAVE) {
            let products: Option<Vec<Products>> = wave.par_iter().map(of_chunk).collect();
            products?.iter().for_each(|part| sums.add(part));
        }
        sums.fitted(weights)
    }
}
