//! After the levels are chosen: side values matched, tuned with gains.

use tqz_engine::Network;

use crate::encoder::Job;
use crate::encoder::decoded::quantized_network;
use crate::encoder::gains::{gained, turnable};
use crate::encoder::pass::Coded;
use crate::encoder::sides::{SideBits, Weighed};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::{Images, spread};
use crate::repair::{SideValues, TuneSpec, match_moments, side_values, tune};

/// A model of a smaller fixed batch is not matched: too few images for a channel's spread.
const LEAST_BATCH: usize = 16;
/// Images per tuning step, where that leaves enough steps.
const BATCH: usize = 64;
/// Images per tuning step at least.
const LEAST_IMAGES: usize = 4;
/// Steps for which smaller batches are taken.
const LEAST_STEPS: usize = 64;
/// Repetitions of each image at most: few images are soon learnt by heart.
const REPEATS: usize = 12;
/// Step of tuned values in units of their vector's size.
const RATE: f32 = 1e-3;

/// Side values with which the quantized network's channels have the original's moments; only those that differ.
///
/// # Errors
/// A network that does not run on the images.
fn matched(job: Job<'_>, quantized: &Network, images: &Images) -> Result<SideValues, TqzError> {
    let numbers = images.learnt();
    let numbers = match quantized.fixed_batch() {
        Some(fixed) if fixed < LEAST_BATCH || numbers.len() < fixed => Vec::new(),
        Some(fixed) => numbers[..fixed].to_vec(),
        None => spread(numbers, job.budget.matched_images),
    };
    let Some(first) = images.batches(&numbers, numbers.len()).into_iter().next() else {
        return Ok(SideValues::new());
    };
    if quantized
        .fixed_batch()
        .is_some_and(|fixed| fixed != first.len())
    {
        return Ok(SideValues::new());
    }
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
    let before = yardstick.measure(quantized)?;
    let mut sides = untouched.clone();
    sides.extend(matched(job, quantized, images)?);
    let after = yardstick.measure(&quantized.with_weights(&sides)?)?;
    Ok(if after < before {
        (sides, after)
    } else {
        (untouched, before)
    })
}

/// What repair found.
pub(crate) struct Repair {
    /// Side values by the name of their tensor.
    pub(crate) sides: SideValues,
    /// Gains of rows and kernels by the name of their layer's weights.
    pub(crate) gains: SideValues,
    /// How precise side values are to be stored.
    pub(crate) bits: SideBits,
}

/// New side values for the coded layers, of at least so many bits, and gains.
///
/// # Errors
/// A network that does not run on the images.
pub(crate) fn repair(
    job: Job<'_>,
    coded: &Coded,
    bits: SideBits,
    (images, yardstick): (&Images, &Yardstick<'_>),
) -> Result<Repair, TqzError> {
    let source = job.source;
    let network = quantized_network(job, &coded.layers)?;
    let (mut start, distance) = matched_sides(job, &network, (images, yardstick))?;
    if start.is_empty() {
        return Ok(Repair {
            sides: start,
            gains: SideValues::new(),
            bits,
        });
    }
    let gained = gained(source, &coded.layers)?;
    let quantized = turnable(source, &network, (&coded.layers, &gained));
    start.extend(quantized.unit_gains());
    let spec = spec(job, images);
    let (mut sides, _) = tune(
        (source.network(), &quantized),
        (&start, distance),
        (images, yardstick),
        spec,
        job.progress,
    )?;
    let gains = quantized.take_gains(&mut sides);
    let bits = bits.finer(&Weighed {
        source,
        network: &quantized.turned(&gains)?,
        sides: &sides,
        yardstick,
    })?;
    Ok(Repair { sides, gains, bits })
}

fn spec(job: Job<'_>, images: &Images) -> TuneSpec {
    let seen = job.budget.tuned_images.min(REPEATS * images.learnt().len());
    // Few images are better spent on more steps.
    let batch = (seen / LEAST_STEPS).clamp(LEAST_IMAGES, BATCH);
    TuneSpec {
        steps: (seen / batch).max(1),
        batch,
        rate: RATE,
        seed: job.config.seed,
    }
}
