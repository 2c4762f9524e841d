//! After the levels are chosen: side values matched, tuned and quantized again.

use tqz_engine::Network;
use tqz_format::Vector;

use crate::config::Effort;
use crate::encoder::Job;
use crate::encoder::pass::{Coded, quantized_network};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::Images;
use crate::repair::{SideValues, TuneSpec, match_moments, side_values, tune};
use crate::side::quantize_vector;

/// Numbers in the inputs of one matching pass at most: its activations are all in memory at once.
const MATCHED_NUMBERS: usize = 16 << 20;
/// Images of one matching pass at most.
const MATCHED_IMAGES: usize = 512;
/// A model of a smaller fixed batch is not matched: too few images for a channel's spread.
const LEAST_BATCH: usize = 16;
/// Images per tuning step.
const BATCH: usize = 64;
/// Images that tuning sees in all, repetitions counted.
const SEEN_BALANCED: usize = 4096;
const SEEN_BEST: usize = 24_576;
/// Repetitions of each image at most: few images are soon learnt by heart.
const REPEATS: usize = 12;
/// Step of tuned values in units of their vector's size.
const RATE: f32 = 1e-3;

/// Side values with which the quantized network's channels have the original's moments; only those that differ.
///
/// # Errors
/// A network that does not run on the images.
pub(crate) fn matched(
    job: Job<'_>,
    quantized: &Network,
    images: &Images,
) -> Result<SideValues, TqzError> {
    let mut numbers = images.learnt();
    let size = numbers
        .first()
        .map_or(1, |_| images.bytes() / 4 / images.len().max(1));
    let most = (MATCHED_NUMBERS / size.max(1)).clamp(1, MATCHED_IMAGES);
    if let Some(fixed) = quantized.fixed_batch() {
        if fixed < LEAST_BATCH || numbers.len() < fixed {
            return Ok(SideValues::new());
        }
        numbers.truncate(fixed);
    }
    // Evenly spread: sets are often sorted by class.
    let stride = numbers.len().div_ceil(most).max(1);
    let spread: Vec<usize> = numbers.into_iter().step_by(stride).collect();
    let Some(first) = images.batches(&spread, most).into_iter().next() else {
        return Ok(SideValues::new());
    };
    let networks = (job.source.network(), quantized);
    match_moments(networks, job.source.knobs(), &images.batch(&first)?)
}

/// New side vectors for the coded layers, and the distance on the images kept back that remains with them.
///
/// # Errors
/// A network that does not run on the images, or values that the format cannot hold.
pub(crate) fn repair(
    job: Job<'_>,
    coded: &Coded,
    (images, yardstick): (&Images, &Yardstick<'_>),
) -> Result<(Vec<Vector>, f64), TqzError> {
    let original = job.source.network();
    let network = quantized_network(job, &coded.layers)?;
    let untouched = side_values(original, job.source.knobs());
    let mut start = untouched.clone();
    start.extend(matched(job, &network, images)?);
    let before = yardstick.measure(&network)?.distance;
    let after = yardstick.measure(&network.with_weights(&start)?)?.distance;
    if after >= before {
        start = untouched;
    }
    if start.is_empty() {
        return Ok((Vec::new(), before));
    }
    let spec = spec(job, images);
    let networks = (original, &network);
    let (values, distance) = tune(networks, &start, (images, yardstick), spec, job.progress)?;
    let mut vectors = Vec::new();
    for (name, value) in &values {
        let levels = value.as_slice().and_then(quantize_vector);
        if let (Some(site), Some((log2_step, levels))) = (job.source.site(name), levels) {
            vectors.push(Vector {
                site: site as u32,
                log2_step,
                levels,
            });
        }
    }
    Ok((vectors, distance))
}

fn spec(job: Job<'_>, images: &Images) -> TuneSpec {
    let most = match job.config.effort {
        Effort::Best => SEEN_BEST,
        _ => SEEN_BALANCED,
    };
    let seen = most.min(REPEATS * images.learnt().len());
    TuneSpec {
        steps: (seen / BATCH).max(1),
        batch: BATCH,
        rate: RATE,
        seed: job.config.seed,
    }
}
