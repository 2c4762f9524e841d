//! After the levels are chosen: side values matched, tuned and quantized again.

use ndarray::ArrayD;
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
fn matched(job: Job<'_>, quantized: &Network, images: &Images) -> Result<SideValues, TqzError> {
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

/// All side values, matched to the quantized network where that lowers the distance on the images kept back, and that distance.
///
/// # Errors
/// A network that does not run on the images.
pub(crate) fn matched_sides(
    job: Job<'_>,
    quantized: &Network,
    (images, yardstick): (&Images, &Yardstick<'_>),
) -> Result<(SideValues, f64), TqzError> {
    let untouched = side_values(job.source.network(), job.source.knobs());
    let before = yardstick.measure(quantized)?.distance;
    let mut sides = untouched.clone();
    sides.extend(matched(job, quantized, images)?);
    let after = yardstick
        .measure(&quantized.with_weights(&sides)?)?
        .distance;
    Ok(if after < before {
        (sides, after)
    } else {
        (untouched, before)
    })
}

/// New side values for the coded layers, and the distance on the images kept back that remains with them.
///
/// # Errors
/// A network that does not run on the images.
pub(crate) fn repair(
    job: Job<'_>,
    coded: &Coded,
    (images, yardstick): (&Images, &Yardstick<'_>),
) -> Result<(SideValues, f64), TqzError> {
    let network = quantized_network(job, &coded.layers)?;
    let (start, distance) = matched_sides(job, &network, (images, yardstick))?;
    if start.is_empty() {
        return Ok((start, distance));
    }
    let spec = spec(job, images);
    let networks = (job.source.network(), &network);
    tune(networks, &start, (images, yardstick), spec, job.progress)
}

/// Side values as the file stores them, with so many significant bits.
pub(crate) fn side_vectors(job: Job<'_>, values: &SideValues, bits: i32) -> Vec<Vector> {
    let vector = |(name, value): (&String, &ArrayD<f32>)| {
        let (log2_step, levels) = quantize_vector(value.as_slice()?, bits)?;
        Some(Vector {
            site: job.source.site(name)? as u32,
            log2_step,
            levels,
        })
    };
    values.iter().filter_map(vector).collect()
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
