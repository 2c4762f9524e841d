//! How long work tells its caller how far it is. The library itself never prints and never reads a clock.

/// Receives the progress of long stages; calls may come from several threads.
pub trait Progress: Sync {
    /// A stage begins: what it does in a few words, and how many units it has.
    fn begin(&self, stage: &str, units: u64);
    /// So many more units of the current stage are done.
    fn advance(&self, units: u64);
    /// The current stage is over.
    fn finish(&self) {}
}

/// Ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _stage: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
}
