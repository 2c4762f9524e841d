//! The whole compression on one page: choose statistics, how far they are trusted and the precision of side values, prepare layers,
//! search the step constant, repair side values, write the file, report.

mod alone;
mod alternatives;
mod budget;
mod candidate;
mod choose;
mod column;
mod conditioned;
mod decoded;
mod drift;
mod finish;
mod gains;
mod guess;
mod layer;
mod mixed;
mod pass;
mod prepared;
mod ratios;
mod sides;
mod speed;
#[cfg(test)]
pub(crate) mod testing;
mod trust;
mod walk;
mod within;

use ndarray::ArrayD;
use tqz_format::TqzFile;

use crate::allocate::Hint;
use crate::config::{Effort, EncoderConfig};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::{Images, spread};
use crate::inspect::{layer_reports, shares};
use crate::paper::PaperCurves;
use crate::progress::Progress;
use crate::report::{Report, bits_per_weight};
use crate::source::Source;
use crate::statistics::Statistics;

pub(crate) use budget::Budget;
use choose::choose;
pub(crate) use conditioned::{Strength, conditioned, unmeasured_sensitivity};
use decoded::repaired_network;
use finish::{Repair, repair};
pub(crate) use layer::CodedLayer;
pub(crate) use pass::Coded;
use pass::Pass;
use sides::SideBits;
use trust::Trust;
pub use within::compress_within;

/// What every stage of a compression looks at.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    /// The network.
    pub(crate) source: &'a Source,
    /// Its statistics.
    pub(crate) statistics: &'a Statistics,
    /// What is asked for.
    pub(crate) config: &'a EncoderConfig,
    /// How often the network may be run.
    pub(crate) budget: Budget,
    /// An image that the network runs on, where there is one.
    pub(crate) image: Option<&'a ArrayD<f32>>,
    /// Who wants to know how far the work is.
    pub(crate) progress: &'a dyn Progress,
}

/// Compresses a network: returns the bytes of the `.tqz` file and what was done. With calibration images the encoder measures
/// and repairs what it does as the effort asked for allows; without them it does one pass.
///
/// # Errors
/// A target that cannot be reached (the message states the least possible), statistics of another network, numbers that
/// cannot be factored.
pub fn compress(
    source: &Source,
    statistics: &Statistics,
    images: Option<&Images>,
    config: &EncoderConfig,
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Report), TqzError> {
    config.check()?;
    if config.paper.is_some() {
        let curves = PaperCurves::new(source, statistics, config, progress)?;
        return curves.compress(source, config.target);
    }
    statistics.check_network(source.checksum())?;
    let config = config.with_dependent(config.is_dependent());
    let mut job = Job {
        source,
        statistics,
        config: &config,
        budget: Budget::default(),
        image: images.filter(|i| !i.is_empty()).map(|i| i.sample(0)),
        progress,
    };
    let images = images.filter(|i| !i.is_empty() && config.effort != Effort::Fast);
    let Some(images) = images else {
        let pass = Pass::new(job, &Trust::standard())?;
        let coded = pass.search(Hint::default())?;
        return report(job, &pass, coded);
    };
    job.budget = Budget::new(source, images, config.effort)?;
    with_images(job, images)
}

/// Compresses a network by what images measure: everything chosen, coded at the size, repaired, written.
fn with_images(job: Job<'_>, images: &Images) -> Result<(Vec<u8>, Report), TqzError> {
    let source = job.source;
    let held = spread(images.held(), job.budget.measured_images);
    let yardstick = Yardstick::new(source.network(), images, &held)?;
    let judged = (images, &yardstick);
    let mut choice = choose(job, images, &yardstick)?;
    let again = choice.statistics.take();
    let job = Job {
        statistics: again.as_ref().unwrap_or(job.statistics),
        ..job
    };
    let mut pass = Pass::new(job, &choice.trust)?;
    pass.set_vectors(choice.side_bits.vectors(source, &choice.sides));
    let mut coded = pass.search_with_room(Hint {
        step: Some(choice.step),
        reserve_bytes: pass.side_bytes()? / 50 + 16 + choice.gains_bytes,
    })?;
    if drift::is_worth_while(job) {
        coded = drift::compensated(job, &pass, (coded, choice.gains_bytes), judged)?;
    }
    let repair = repair(job, &coded, choice.side_bits, judged)?;
    let (bits, coded) = fitted(&mut pass, &coded, (&repair, choice.side_bits))?;
    let network = repaired_network(job, &coded.layers, (&repair.sides, bits))?;
    let (bytes, mut report) = report(job, &pass, coded)?;
    report.measured_distortion = Some(yardstick.measure(&network)?);
    Ok((bytes, report))
}

/// The repaired file within the target, and how precise its side values are: as the repair wants them where there is room, else at least so
/// many bits, which may spare coding the layers again.
fn fitted(
    pass: &mut Pass<'_>,
    coded: &Coded,
    (repair, least): (&Repair, SideBits),
) -> Result<(SideBits, Coded), TqzError> {
    if repair.bits != least {
        pass.set_vectors(repair.bits.vectors(pass.source(), &repair.sides));
        let found = pass.encode_again(coded, &repair.gains)?;
        if pass.fits(&found) {
            return Ok((repair.bits, found));
        }
    }
    pass.set_vectors(least.vectors(pass.source(), &repair.sides));
    Ok((least, gains::fitted(pass, coded, &repair.gains)?))
}

/// What a pass over the layers did.
fn report(job: Job<'_>, pass: &Pass<'_>, coded: Coded) -> Result<(Vec<u8>, Report), TqzError> {
    let (file, trust) = (pass.file().clone(), pass.trust());
    let warnings = pass.warnings().collect();
    let (bytes, mut report) = report_of(job.source, file, coded, warnings)?;
    report.damping_factor = trust.damping_factor;
    for (index, layer) in report.layers.iter_mut().enumerate() {
        let ratio = trust.of(index).ratio;
        layer.distortion_factor = Some(ratio);
        layer.predicted_distortion = layer.predicted_distortion.map(|d| d / ratio);
    }
    let predicted = report.layers.iter().filter_map(|l| l.predicted_distortion);
    report.predicted_distortion = predicted.sum();
    Ok((bytes, report))
}

/// The file and what is to be said about it.
pub(crate) fn report_of(
    source: &Source,
    mut file: TqzFile,
    coded: Coded,
    warnings: Vec<String>,
) -> Result<(Vec<u8>, Report), TqzError> {
    file.layers = coded.layers.iter().map(|l| l.record.clone()).collect();
    let sizes = file.section_sizes()?;
    let mut layers = layer_reports(&file, &sizes, source.layers());
    for (report, coded) in layers.iter_mut().zip(&coded.layers) {
        report.predicted_distortion = Some(coded.distortion);
    }
    let weights = source.weight_count();
    let report = Report {
        file_bytes: coded.bytes.len() as u64,
        weights,
        bits_per_weight: bits_per_weight(coded.bytes.len() as u64, weights),
        step: coded.step,
        damping_factor: 1.0,
        predicted_distortion: coded.layers.iter().map(|c| c.distortion).sum(),
        measured_distortion: None,
        judged: None,
        trials: coded.trials,
        layers,
        shares: shares(&sizes),
        warnings: source.warnings().iter().cloned().chain(warnings).collect(),
    };
    Ok((coded.bytes, report))
}
