//! How many images each stage runs: counted in multiply–accumulates, so that a network of large images or many layers takes
//! about as long as any other, and never in seconds, so that the same input gives the same bytes everywhere.

use crate::config::Effort;
use crate::error::TqzError;
use crate::images::Images;
use crate::macs::layer_work;
use crate::source::Source;

/// Multiply–accumulates of one measurement.
const MEASURED: u64 = 100_000_000_000;
/// Multiply–accumulates of measuring every layer alone once.
const ALONE: u64 = 500_000_000_000;
/// Multiply–accumulates of one pass that matches moments.
const MATCHED: u64 = 30_000_000_000;
/// Multiply–accumulates of a second calibration's forward passes.
const CALIBRATED: u64 = 500_000_000_000;
/// Multiply–accumulates of tuning's forward passes.
const TUNED_BALANCED: u64 = 1_000_000_000_000;
const TUNED_BEST: u64 = 8_000_000_000_000;
/// Images that tuning sees in all, repetitions counted.
const SEEN_BALANCED: u64 = 4096;
const SEEN_BEST: u64 = 24_576;

/// Images that each stage may run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Budget {
    /// In the measurement of each layer alone.
    pub(crate) alone_images: usize,
    /// In one measurement.
    pub(crate) measured_images: usize,
    /// In a second calibration.
    pub(crate) calibrated_images: usize,
    /// In one pass that matches moments.
    pub(crate) matched_images: usize,
    /// In all steps of tuning together.
    pub(crate) tuned_images: usize,
}

impl Budget {
    /// The budget of a network on these images.
    ///
    /// # Errors
    /// The network does not run on them.
    pub(crate) fn new(source: &Source, images: &Images, effort: Effort) -> Result<Self, TqzError> {
        let first = images.batch(&[0])?;
        let work = layer_work(source.network(), source.layers(), &first)?;
        let layers = work.len().max(1) as u64;
        let macs = work.iter().map(|work| work.macs).sum::<u64>().max(1);
        let (work, seen) = match effort {
            Effort::Best => (TUNED_BEST, SEEN_BEST),
            _ => (TUNED_BALANCED, SEEN_BALANCED),
        };
        let count = |work: u64| usize::try_from(work / macs).unwrap_or(usize::MAX);
        Ok(Self {
            alone_images: count(ALONE / layers).max(8),
            measured_images: count(MEASURED).max(8),
            calibrated_images: count(CALIBRATED).max(32),
            matched_images: count(MATCHED).clamp(4, 512),
            tuned_images: count(work.min(macs.saturating_mul(seen))),
        })
    }
}
