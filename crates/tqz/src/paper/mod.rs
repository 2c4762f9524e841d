//! The paper's coder, as faithful as a file allows: transforms from plain covariances, blocks of one bit-depth and one step,
//! bit-depths by Lagrangian choice, no entropy coding. Whatever cleverness the main encoder has is measured against this.

mod curve;
mod gain;
mod layer;
mod part;
mod parts;

use rayon::prelude::*;

use crate::allocate::{Hint, Trial, search_step};
use crate::config::PaperSpec;
use crate::encoder::{Coded, Job, report_of, unmeasured_sensitivity};
use crate::error::TqzError;
use crate::notes::drop_dear_notes;
use crate::report::Report;

pub use gain::{Gain, LayerGains, coding_gains};
use layer::PaperLayer;

/// Compresses a network with the paper's quantizer. Its slope λ is the square of the step constant, which the target is searched with.
///
/// # Errors
/// As the main encoder.
pub(crate) fn compress(job: Job<'_>, spec: PaperSpec) -> Result<(Vec<u8>, Report), TqzError> {
    let layers = job.source.layers();
    let unmeasured = unmeasured_sensitivity(job.statistics);
    job.progress
        .begin("measuring distortion against rate", layers.len() as u64);
    let prepared = layers
        .par_iter()
        .map(|layer| {
            let prepared = PaperLayer::new(job, layer, spec, unmeasured);
            job.progress.advance(1);
            prepared
        })
        .collect::<Result<Vec<_>, _>>()?;
    job.progress.finish();
    let mut file = job.source.file_without_layers();
    let weights = job.source.weight_count();
    let limit = job.config.target.limit(weights);
    let shortened = drop_dear_notes(&mut file, limit)?;
    let found = search_step(job.config.target, weights, Hint::default(), |c| {
        let coded = prepared.iter().map(|layer| layer.code(c * c));
        let coded = coded.collect::<Result<Vec<_>, TqzError>>()?;
        let sections = coded.par_iter().map(|layer| layer.record.encode());
        let bytes = file.encode_with_layers(sections.collect::<Result<_, _>>()?)?;
        Ok(Trial {
            size_bytes: bytes.len() as u64,
            outcome: (coded, bytes),
        })
    })?;
    let (layers, bytes) = found.outcome;
    let coded = Coded {
        layers,
        bytes,
        step: found.step,
        decided_at: found.step,
        trials: found.trials,
    };
    let of_layers = prepared.iter().filter_map(PaperLayer::warning);
    report_of(job, file, coded, of_layers.chain(shortened).collect())
}
