//! One factor of all damping, walked as long as measured distortion falls: the closed form rewards too little damping (theory §9).

use crate::config::Effort;
use crate::encoder::Job;
use crate::encoder::candidate::{Candidate, Judged, better};
use crate::error::TqzError;

/// Factor between neighbouring candidates, and to those that best effort tries in the end.
const STRIDE: f64 = 3.0;
const FINE_STRIDE: f64 = 1.7;
/// Candidates in one direction at most.
const REACH: i32 = 5;

/// Walks from a candidate's damping in strides, at best effort then a finer one from where these led; never below the factor `least`.
///
/// # Errors
/// As coding and running the network.
pub(crate) fn best_damping(
    job: Job<'_>,
    judged: Judged<'_>,
    (start, least): (Candidate, f64),
) -> Result<Candidate, TqzError> {
    let found = walk(job, judged, (start, least), (STRIDE, REACH))?;
    match job.config.effort {
        Effort::Best => walk(job, judged, (found, least), (FINE_STRIDE, 1)),
        _ => Ok(found),
    }
}

/// Walks in the direction in which measured distortion falls, until it rises.
fn walk(
    job: Job<'_>,
    judged: Judged<'_>,
    (start, least): (Candidate, f64),
    (stride, reach): (f64, i32),
) -> Result<Candidate, TqzError> {
    let (trust, from) = (start.trust.clone(), start.trust.damping_factor);
    let mut best = start;
    for direction in [1, -1] {
        for exponent in 1..=reach {
            let factor = from * stride.powi(direction * exponent);
            if factor < least {
                break;
            }
            let trust = trust.with_damping(factor);
            let Some(next) = better(job, judged, &trust, &best)? else {
                break;
            };
            best = next;
        }
        if best.trust.damping_factor != from {
            break;
        }
    }
    Ok(best)
}
