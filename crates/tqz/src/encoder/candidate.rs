//! Everything coded in one way at the size asked for, decoded, and run on images kept back: what decisions compare.

use tqz_engine::Network;

use crate::allocate::Hint;
use crate::encoder::decoded::quantized_network;
use crate::encoder::finish::matched_sides;
use crate::encoder::pass::Pass;
use crate::encoder::trust::Trust;
use crate::encoder::{CodedLayer, Job};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::Images;
use crate::repair::SideValues;

/// The images, and the original's outputs on those kept back.
pub(crate) type Judged<'a> = (&'a Images, &'a Yardstick<'a>);

/// One candidate, coded and run.
pub(crate) struct Candidate {
    /// How far the statistics were trusted.
    pub(crate) trust: Trust,
    /// Step constant at which the target was met.
    pub(crate) step: f64,
    /// The layers, in the order of the network.
    pub(crate) layers: Vec<CodedLayer>,
    /// With their decoded weights.
    pub(crate) network: Network,
    /// Side values matched to them.
    pub(crate) sides: SideValues,
    /// From the original on images kept back, with these.
    pub(crate) distance: f64,
}

/// Codes everything with the statistics trusted so far, and measures it with matched side values.
///
/// # Errors
/// As coding and running the network; a size that cannot be reached so.
pub(crate) fn candidate(
    job: Job<'_>,
    judged: Judged<'_>,
    (trust, step): (&Trust, Option<f64>),
) -> Result<Candidate, TqzError> {
    let pass = Pass::new(job, trust)?;
    let hint = Hint {
        step,
        reserve_bytes: 0,
    };
    let coded = pass.search(hint)?;
    let network = quantized_network(job, &coded.layers)?;
    let (sides, distance) = matched_sides(job, &network, judged)?;
    Ok(Candidate {
        trust: trust.clone(),
        step: coded.step,
        layers: coded.layers,
        network,
        sides,
        distance,
    })
}

/// The candidate with the statistics trusted so far, begun at the step of `best`, if it is better than that one; none if it is not, or
/// where the size cannot be reached so: not every damping and quantizer reaches the smallest sizes.
///
/// # Errors
/// As coding and running the network.
pub(crate) fn better(
    job: Job<'_>,
    judged: Judged<'_>,
    trust: &Trust,
    best: &Candidate,
) -> Result<Option<Candidate>, TqzError> {
    match candidate(job, judged, (trust, Some(best.step))) {
        Ok(next) if next.distance < best.distance => Ok(Some(next)),
        Ok(_) | Err(TqzError::Unreachable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
