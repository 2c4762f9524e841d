//! Someone who says how much a network has lost: in points of accuracy, decibel, disagreement – whatever the caller can measure
//! and the encoder cannot, knowing neither labels nor what a score is.

use serde::Serialize;
use tqz_engine::Network;

/// Judges compressed networks against a bound.
pub trait Judge {
    /// What the network has lost against the original, on images that nothing is learnt from.
    ///
    /// # Errors
    /// In words for the user.
    fn loss(&self, network: &Network) -> Result<f64, String>;
    /// The most that may be lost. Positive.
    fn bound(&self) -> f64;
}

/// What a judge found of the file that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Judged {
    /// Its loss.
    pub loss: f64,
    /// The most that was allowed.
    pub bound: f64,
    /// Networks that were judged to find it.
    pub networks: u32,
}
