//! What a file is made by, chosen at the size asked for by running candidates on images kept back: statistics measured again with the
//! layers quantized (what reaches a layer then is what its weights will really meet, theory §8.8), how far the closed form is trusted,
//! layer by layer and in all, and the precision of side values.

use tqz_engine::Network;

use crate::calibrate::{Calibration, CalibrationSpec};
use crate::config::{Effort, RateTarget};
use crate::encoder::Job;
use crate::encoder::alone::Alone;
use crate::encoder::candidate::{Candidate, Judged, better, candidate};
use crate::encoder::gains::{cost_bytes, gained};
use crate::encoder::sides::{SideBits, Weighed};
use crate::encoder::trust::Trust;
use crate::encoder::walk::best_damping;
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::{Images, spread};
use crate::layout::WeightLayer;
use crate::repair::SideValues;
use crate::statistics::{INPUT_BLOCK, Statistics};

/// Images from which on layers are measured alone by them.
const ENOUGH: usize = 8;
/// How often layers are measured alone and statistics measured again at best effort, as long as that helps.
const ROUNDS_BEST: usize = 3;
/// Work of one coding, in multiply–accumulates, up to which trust is looked for at balanced effort; larger networks are
/// trusted as predicted, with the standard damping, which is right for their wide layers: their codings take too long.
const AFFORDABLE: f64 = 1e11;

/// What was found best.
pub(crate) struct Choice {
    /// How far the statistics are trusted.
    pub(crate) trust: Trust,
    /// Step constant at which the target was met with it.
    pub(crate) step: f64,
    /// Precision of side values.
    pub(crate) side_bits: SideBits,
    /// Side values matched to the levels found there.
    pub(crate) sides: SideValues,
    /// Bytes that gains will take, about.
    pub(crate) gains_bytes: u64,
    /// Statistics of the quantized network, where they serve better than those given.
    pub(crate) statistics: Option<Statistics>,
}

/// Chooses the statistics, how far they are trusted, then the precision of side values. Measuring statistics again pays on one network of
/// seven, and little: it is left to best effort, but for statistics that hold the images kept back. Those are judged too kindly by these, more
/// so the less damping there is: they stay unless new ones, which know no more of them than how to be damped and drawn, are better
/// even so, and damping is then not lowered. (To put new ones in their place untried is worse: AlexNet at .2 bits .035 → .13 nats, since
/// layers of thousands of inputs learn too little from the few images that can be measured again.)
///
/// # Errors
/// As coding and running the network.
pub(crate) fn choose(
    job: Job<'_>,
    images: &Images,
    yardstick: &Yardstick<'_>,
) -> Result<Choice, TqzError> {
    // What is best for the quicker quantizer is good for the dependent one too.
    let simpler = job.config.with_dependent(false);
    let job = Job {
        config: &simpler,
        ..job
    };
    let judged = (images, yardstick);
    let sized = !matches!(job.config.target, RateTarget::Step(_));
    let rounds = match job.config.effort {
        Effort::Best if sized => ROUNDS_BEST,
        _ if sized => 1,
        _ => 0,
    };
    let standard = candidate(job, judged, (&Trust::standard(), None))?;
    let seen = !job.statistics.spare(images);
    let rounds_again = if seen || job.config.effort == Effort::Best {
        rounds
    } else {
        0
    };
    let (best, statistics) = with_statistics_again(job, judged, standard, rounds_again)?;
    // What was learnt from the images kept back seems to do no harm on these.
    let leaked = statistics.is_none() && seen;
    let job = Job {
        statistics: statistics.as_ref().unwrap_or(job.statistics),
        ..job
    };
    let best = trusted(job, judged, best, (rounds, leaked))?;
    let side_bits = SideBits::coarsest(&Weighed {
        source: job.source,
        network: &best.network,
        sides: &best.sides,
        yardstick,
    })?;
    Ok(Choice {
        side_bits,
        gains_bytes: cost_bytes(&gained(job.source, &best.layers)?),
        trust: best.trust,
        step: best.step,
        sides: best.sides,
        statistics,
    })
}

/// The candidate with its statistics trusted as far as they are to be, layer by layer, and all together where that does not help or at
/// best effort; `leaked` if they know the images kept back. Layers are not measured where the network has several outputs, of which
/// only the first would see what they do.
fn trusted(
    job: Job<'_>,
    judged: Judged<'_>,
    start: Candidate,
    (rounds, leaked): (usize, bool),
) -> Result<Candidate, TqzError> {
    let affordable = job.config.effort == Effort::Best || work(job) <= AFFORDABLE;
    if rounds == 0 || !affordable {
        return Ok(start);
    }
    let untrusted = start.distance;
    let mut best = start;
    let numbers = spread(judged.0.held(), job.budget.alone_images);
    if !leaked && numbers.len() >= ENOUGH && job.source.network().outputs().len() == 1 {
        let alone = Alone::new(job, judged.0, &numbers)?;
        best = with_layers_weighted(job, judged, best, (&alone, rounds))?;
    }
    let settled = best.distance < untrusted && job.config.effort != Effort::Best;
    if settled || job.config.damping.is_some() {
        return Ok(best);
    }
    let least = if leaked {
        best.trust.damping_factor
    } else {
        0.0
    };
    best_damping(job, judged, (best, least))
}

/// The candidate with layers weighted by what each alone does: up to so many times, as long as that helps.
fn with_layers_weighted(
    job: Job<'_>,
    judged: Judged<'_>,
    start: Candidate,
    (alone, rounds): (&Alone<'_>, usize),
) -> Result<Candidate, TqzError> {
    let mut best = start;
    for _ in 0..rounds {
        let trust = best.trust.times(&alone.ratios(&best.layers)?);
        let Some(next) = better(job, judged, &trust, &best)? else {
            break;
        };
        best = next;
    }
    Ok(best)
}

/// The candidate with statistics measured again with it quantized, up to so many times, as long as that helps; and these statistics.
fn with_statistics_again(
    job: Job<'_>,
    judged: Judged<'_>,
    start: Candidate,
    rounds: usize,
) -> Result<(Candidate, Option<Statistics>), TqzError> {
    let (mut best, mut statistics) = (start, None);
    for _ in 0..rounds {
        let network = best.network.with_weights(&best.sides)?;
        let again = measured_again(job, &network, judged.0)?;
        let with_them = Job {
            statistics: &again,
            ..job
        };
        let Some(next) = better(with_them, judged, &best.trust, &best)? else {
            break;
        };
        (best, statistics) = (next, Some(again));
    }
    Ok((best, statistics))
}

/// Multiply–accumulates of coding all layers once, in the order of magnitude.
pub(crate) fn work(job: Job<'_>) -> f64 {
    let of_layer = |layer: &WeightLayer| {
        let (rows, cols) = ((layer.rows / layer.groups.max(1)) as f64, layer.cols as f64);
        layer.weights() as f64 * (rows + cols.min(INPUT_BLOCK as f64))
    };
    job.source.layers().iter().map(of_layer).sum()
}

/// Statistics of the quantized network on the images that are learnt from, or as many as the budget allows.
fn measured_again(
    job: Job<'_>,
    quantized: &Network,
    images: &Images,
) -> Result<Statistics, TqzError> {
    let numbers = spread(images.learnt(), job.budget.calibrated_images);
    let spec = CalibrationSpec {
        metric: job.statistics.metric,
        seed: job.statistics.seed,
        images: images.len(),
    };
    let layers = (quantized, job.source.layers());
    let calibration = || Calibration::new(layers, job.source.checksum(), spec);
    let known = (job.source, job.progress);
    images.measured(("calibrating again", &calibration), &numbers, known)
}
