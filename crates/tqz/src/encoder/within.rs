//! The smallest file within a bound on loss: first with standard damping, which costs little, to know about how large it will be;
//! then, with everything chosen for that size, repaired files around it.

use tqz_engine::Network;
use tqz_format::Vector;

use crate::allocate::{LossSearch, Sample};
use crate::config::{Effort, EncoderConfig, RateTarget};
use crate::encoder::choose::{Choice, choose};
use crate::encoder::decoded::{quantized_network, repaired_network};
use crate::encoder::finish::{matched_sides, repair};
use crate::encoder::pass::{Coded, Pass};
use crate::encoder::trust::Trust;
use crate::encoder::{Budget, Job, drift, report};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::{Images, spread};
use crate::judge::{Judge, Judged};
use crate::paper::PaperCurves;
use crate::progress::Progress;
use crate::report::Report;
use crate::source::Source;
use crate::statistics::Statistics;

/// Step constant at which the closed form is asked where to begin.
const PROBE: f64 = 1.0 / 1024.0;
/// Networks judged in a search where each costs a coding and a run, and where each is repaired.
const TRIES: u32 = 8;
const TRIES_REPAIRED: u32 = 5;

/// A share of a size, as its divisor, by which candidates for it may be larger: not every damping and quantizer reaches the smallest sizes.
const ROOM: u64 = 20;

/// Something coded and what the judge says of it.
struct Kept<T> {
    outcome: T,
    judged: Judged,
}

/// Compresses a network to the smallest file whose loss the judge finds within its bound. The target of `config` is not looked at.
/// `images` are those the statistics are from (or more), as for [`crate::compress`]; the judge should look at those kept back.
///
/// # Errors
/// As [`crate::compress`], and a bound that no file meets.
pub fn compress_within(
    source: &Source,
    statistics: &Statistics,
    images: &Images,
    (config, judge): (&EncoderConfig, &dyn Judge),
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Report), TqzError> {
    config.check()?;
    let config = EncoderConfig {
        target: RateTarget::Step(PROBE),
        ..config.with_dependent(config.is_dependent())
    };
    statistics.check_network(source.checksum())?;
    if images.is_empty() {
        return Err(TqzError::Request(
            "a bound on loss needs calibration images to judge by".to_owned(),
        ));
    }
    let budget = Budget::new(source, images, config.effort)?;
    let held = spread(images.held(), budget.measured_images);
    let yardstick = Yardstick::new(source.network(), images, &held)?;
    let judged = (images, &yardstick, judge);
    let job = |config| Job {
        source,
        statistics,
        config,
        budget,
        image: Some(images.sample(0)),
        progress,
    };
    if config.paper.is_some() {
        return by_paper(job(&config), judged);
    }
    let coarse = standard(job(&config), judged)?;
    if config.effort == Effort::Fast {
        let (pass, coded) = coarse.outcome;
        let (bytes, mut report) = report(job(&config), &pass, coded)?;
        report.judged = Some(coarse.judged);
        report.warnings.extend(too_kind(statistics, images));
        return Ok((bytes, report));
    }
    let refined_about = |size: u64| {
        let sized = EncoderConfig {
            target: RateTarget::Bytes(size + size / ROOM),
            ..config
        };
        let job = Job {
            config: &sized,
            ..job(&config)
        };
        refined(job, judged)
    };
    match refined_about(coarse.outcome.1.bytes.len() as u64) {
        Err(TqzError::Unreachable { smallest_bytes, .. }) => refined_about(smallest_bytes),
        other => other,
    }
}

/// A warning where the judging images are not unknown to the statistics.
fn too_kind(statistics: &Statistics, images: &Images) -> Option<String> {
    let kind = "the statistics given hold the images that judge, which therefore judge too kindly: calibrate in the same run";
    (!statistics.spare(images)).then(|| kind.to_owned())
}

/// A file whose side values were tuned, and what its side section holds.
struct Repaired {
    coded: Coded,
    vectors: Vec<Vector>,
    /// Distance from the original on images kept back.
    distance: f64,
}

/// What every search here is judged with.
type Judging<'a> = (&'a Images, &'a Yardstick<'a>, &'a dyn Judge);

/// Searches the step constant: `encode` makes something at one, and the network that it is.
fn search<T>(
    judge: &dyn Judge,
    (first, tries): (f64, u32),
    mut encode: impl FnMut(f64) -> Result<(Network, T), TqzError>,
) -> Result<Kept<T>, TqzError> {
    let bound = judge.bound();
    let mut search = LossSearch::new(bound, tries);
    let (mut kept, mut networks, mut least) = (None, 0, f64::INFINITY);
    while let Some(log2_step) = search.next(first) {
        let (network, outcome) = encode(log2_step.exp2())?;
        let loss = judge.loss(&network).map_err(TqzError::Request)?;
        networks += 1;
        least = least.min(loss);
        if search.add(Sample { log2_step, loss }) {
            kept = Some((outcome, loss));
        }
    }
    let Some((outcome, loss)) = kept else {
        return Err(TqzError::Request(format!(
            "no file was found within the loss of {bound:.3} that is allowed; the least one found was {least:.3} (points, per cent or dB) on the \
             calibration images kept back: allow more, or give more images, which are then told more finely"
        )));
    };
    let judged = Judged {
        loss,
        bound,
        networks,
    };
    Ok(Kept { outcome, judged })
}

/// Where to begin, from the distortion that the closed form expects at [`PROBE`]: it grows with the square of the step constant.
fn first_guess(yardstick: &Yardstick<'_>, at_probe: f64) -> f64 {
    let wanted = yardstick.noticeable() / at_probe.max(f64::MIN_POSITIVE);
    PROBE.log2() + (0.5 * wanted.log2()).clamp(-20.0, 20.0)
}

/// With standard damping, side values matched but not tuned.
fn standard<'a>(
    job: Job<'a>,
    (images, yardstick, judge): Judging<'_>,
) -> Result<Kept<(Pass<'a>, Coded)>, TqzError> {
    let pass = Pass::new(job, &Trust::standard())?;
    let probe = pass.at(PROBE)?;
    let predicted = probe.layers.iter().map(|l| l.distortion).sum();
    let first = first_guess(yardstick, predicted);
    let found = search(judge, (first, TRIES), |step| {
        let coded = pass.at(step)?;
        let mut network = quantized_network(job, &coded.layers)?;
        if job.config.effort != Effort::Fast {
            let (sides, _) = matched_sides(job, &network, (images, yardstick))?;
            network = network.with_weights(&sides)?;
        }
        Ok((network, coded))
    })?;
    Ok(Kept {
        outcome: (pass, found.outcome),
        judged: found.judged,
    })
}

/// With damping and precision of side values chosen for the size that the job names, side values tuned for every file judged.
fn refined(
    job: Job<'_>,
    (images, yardstick, judge): Judging<'_>,
) -> Result<(Vec<u8>, Report), TqzError> {
    let mut choice = choose(job, images, yardstick)?;
    let again = choice.statistics.take();
    let job = Job {
        statistics: again.as_ref().unwrap_or(job.statistics),
        ..job
    };
    let mut pass = Pass::new(job, &choice.trust)?;
    let first = choice.step.log2();
    let found = search(judge, (first, TRIES_REPAIRED), |step| {
        repaired(job, (&mut pass, &choice), step, (images, yardstick))
    })?;
    let kept = found.outcome;
    // Those of the last file tried may be others.
    pass.set_vectors(kept.vectors);
    let (bytes, mut report) = report(job, &pass, kept.coded)?;
    report.measured_distortion = Some(kept.distance);
    report.judged = Some(found.judged);
    Ok((bytes, report))
}

/// A file at one step with drift compensated and its side values tuned, and the network that a decoder makes of it.
fn repaired(
    job: Job<'_>,
    (pass, choice): (&mut Pass<'_>, &Choice),
    step: f64,
    judged: (&Images, &Yardstick<'_>),
) -> Result<(Network, Repaired), TqzError> {
    let mut coded = pass.at(step)?;
    if drift::is_worth_while(job) {
        // At the size of this step: what is gained is to show in the loss.
        let config = EncoderConfig {
            target: RateTarget::Bytes(coded.bytes.len() as u64),
            ..*job.config
        };
        let job = Job {
            config: &config,
            ..job
        };
        coded = drift::compensated(job, pass, (coded, 0), judged)?;
    }
    let repair = repair(job, &coded, choice.side_bits, judged)?;
    let vectors = repair.bits.vectors(job.source, &repair.sides);
    pass.set_vectors(vectors.clone());
    let coded = pass.encode_again(&coded, &repair.gains)?;
    let sides = (&repair.sides, repair.bits);
    let network = repaired_network(job, &coded.layers, sides)?;
    let repaired = Repaired {
        coded,
        vectors,
        distance: judged.1.measure(&network)?,
    };
    Ok((network, repaired))
}

/// With the paper's quantizer.
fn by_paper(
    job: Job<'_>,
    (images, yardstick, judge): Judging<'_>,
) -> Result<(Vec<u8>, Report), TqzError> {
    let curves = PaperCurves::new(job.source, job.statistics, job.config, job.progress)?;
    let at = |step| curves.compress(job.source, RateTarget::Step(step));
    let first = first_guess(yardstick, at(PROBE)?.1.predicted_distortion);
    let found = search(judge, (first, TRIES), |step| {
        let (bytes, report) = at(step)?;
        let model = crate::CompressedModel::decode(&bytes)?.to_model()?;
        let network = Network::from_model(&model, job.source.network().device())?;
        Ok((network, (bytes, report)))
    })?;
    let (bytes, mut report) = found.outcome;
    report.judged = Some(found.judged);
    report.warnings.extend(too_kind(job.statistics, images));
    Ok((bytes, report))
}
