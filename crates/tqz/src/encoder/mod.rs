//! The whole compression on one page: prepare layers, search the step constant, write the file, report.

mod layer;
mod prepared;

use rayon::prelude::*;

use crate::allocate::{Trial, search_step};
use crate::config::EncoderConfig;
use crate::error::TqzError;
use crate::inspect::{layer_reports, shares};
use crate::notes::drop_dear_notes;
use crate::progress::Progress;
use crate::report::Report;
use crate::source::Source;
use crate::statistics::Statistics;

use layer::{CodedLayer, code_layer};
use prepared::{PreparedLayer, unmeasured_sensitivity};

/// Compresses a network: returns the bytes of the `.tqz` file and what was done.
///
/// # Errors
/// A target that cannot be reached (the message states the least possible), statistics of another network, numbers that
/// cannot be factored.
pub fn compress(
    source: &Source,
    statistics: &Statistics,
    config: &EncoderConfig,
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Report), TqzError> {
    config.check()?;
    if statistics.network != source.checksum() {
        return Err(TqzError::Request(
            "the statistics were measured with other weights; calibrate with this very network"
                .to_owned(),
        ));
    }
    let prepared = prepare(source, statistics, config, progress)?;
    let weights = source.weight_count();
    let mut file = source.file_without_layers();
    let shortened = drop_dear_notes(&mut file, config.target.limit(weights))?;
    let encode = |c: f64| {
        let coded = code_all(&prepared, config, c, progress)?;
        let sections = coded
            .par_iter()
            .map(|layer| layer.record.encode())
            .collect::<Result<Vec<_>, _>>()?;
        let bytes = file.encode_with_layers(sections)?;
        Ok::<_, TqzError>(Trial {
            size_bytes: bytes.len() as u64,
            outcome: (bytes, coded),
        })
    };
    let found = search_step(config.target, weights, encode)?;
    let (bytes, coded) = found.outcome;
    file.layers = coded.iter().map(|layer| layer.record.clone()).collect();
    let sizes = file.section_sizes()?;
    let mut layers = layer_reports(&file, &sizes, source.layers());
    for (report, coded) in layers.iter_mut().zip(&coded) {
        report.predicted_distortion = Some(coded.distortion);
    }
    let warned = prepared.iter().filter_map(|p| {
        let warning = p.warning.as_ref()?;
        Some(format!("layer {}: {warning}", p.layer.name))
    });
    let report = Report {
        file_bytes: bytes.len() as u64,
        weights,
        bits_per_weight: bits_per_weight(bytes.len() as u64, weights),
        step: found.step,
        predicted_distortion: coded.iter().map(|c| c.distortion).sum(),
        trials: found.trials,
        layers,
        shares: shares(&sizes),
        warnings: source
            .warnings()
            .iter()
            .cloned()
            .chain(warned)
            .chain(shortened)
            .collect(),
    };
    Ok((bytes, report))
}

/// 8 · bytes / weights; 0 for a network without weights.
pub(crate) fn bits_per_weight(bytes: u64, weights: u64) -> f64 {
    if weights == 0 {
        0.0
    } else {
        8.0 * bytes as f64 / weights as f64
    }
}

fn prepare(
    source: &Source,
    statistics: &Statistics,
    config: &EncoderConfig,
    progress: &dyn Progress,
) -> Result<Vec<PreparedLayer>, TqzError> {
    progress.begin("factoring statistics", source.layers().len() as u64);
    let unmeasured = unmeasured_sensitivity(statistics);
    let prepared = source
        .layers()
        .par_iter()
        .map(|layer| {
            let of_layer = statistics.layers.get(&layer.name);
            let of_layer = of_layer.filter(|_| statistics.fits(layer)).ok_or_else(|| {
                TqzError::layer(
                    &layer.name,
                    "no statistics of its shape; calibrate with this very network",
                )
            })?;
            let prepared =
                PreparedLayer::new(layer, source.matrix(layer)?, of_layer, config, unmeasured);
            progress.advance(1);
            prepared
        })
        .collect();
    progress.finish();
    prepared
}

/// All layers at one step constant; in parallel, results in order.
fn code_all(
    prepared: &[PreparedLayer],
    config: &EncoderConfig,
    c: f64,
    progress: &dyn Progress,
) -> Result<Vec<CodedLayer>, TqzError> {
    let weights: usize = prepared.iter().map(|p| p.layer.weights()).sum();
    progress.begin("quantizing", weights as u64);
    // Largest first, so that no thread is left with a large layer at the end.
    let mut order: Vec<usize> = (0..prepared.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(prepared[i].layer.weights() * prepared[i].layer.rows));
    let mut coded: Vec<(usize, Result<CodedLayer, TqzError>)> = order
        .par_iter()
        .with_max_len(1)
        .map(|&i| {
            let coded = code_layer(&prepared[i], config.quantizer, c);
            progress.advance(prepared[i].layer.weights() as u64);
            (i, coded)
        })
        .collect();
    progress.finish();
    coded.sort_by_key(|(i, _)| *i);
    coded.into_iter().map(|(_, result)| result).collect()
}
