//! What a file is asked to be: of a size, or of a loss.

use tqz::{RateTarget, TqzError};

use crate::commands::judge::Bound;
use crate::output::usage;

/// How small, or how good: one of them.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TargetArgs {
    /// Bits per weight of the whole file, at most
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    bits: Option<f64>,
    /// Bytes of the file, at most
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Step constant c: every coefficient gets step² · sensitivity = c²
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    step: Option<f64>,
    /// The smallest file that loses at most so many points of top-1, or dB, on calibration images kept back
    #[arg(
        long,
        value_name = "POINTS",
        requires = "calib",
        allow_negative_numbers = true
    )]
    max_drop: Option<f64>,
    /// The smallest file with the original's first class for at least so many per cent of the calibration images kept back
    #[arg(
        long,
        value_name = "PERCENT",
        requires = "calib",
        allow_negative_numbers = true
    )]
    min_agreement: Option<f64>,
}

impl TargetArgs {
    /// The size asked for; a step that is not looked at where a bound is.
    pub(crate) fn target(self) -> RateTarget {
        match (self.bits, self.size, self.step) {
            (Some(bits), _, _) => RateTarget::BitsPerWeight(bits),
            (_, Some(bytes), _) => RateTarget::Bytes(bytes),
            (_, _, step) => RateTarget::Step(step.unwrap_or(1.0)),
        }
    }

    /// The bound on loss, if that is asked for.
    pub(crate) fn bound(self) -> anyhow::Result<Option<Bound>> {
        let legal = |what: &str, value: f64, most: f64| {
            let fits = value > 0.0 && value < most;
            let message = format!("{what} is {value}; it must be above 0 and below {most}");
            fits.then_some(value)
                .ok_or_else(|| usage(TqzError::Request(message)))
        };
        Ok(match (self.max_drop, self.min_agreement) {
            (Some(drop), _) => Some(Bound::Drop(legal("--max-drop", drop, 100.0)?)),
            (_, Some(least)) => Some(Bound::Agreement(legal("--min-agreement", least, 100.0)?)),
            _ => None,
        })
    }
}
