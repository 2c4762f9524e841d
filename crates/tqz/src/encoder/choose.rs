//! Damping chosen by measured distortion: the closed form rewards too little damping (theory §9), so a few factors of the
//! standard are tried at the size asked for, each file is decoded and run on images kept back, and the best one is taken.

use crate::allocate::Hint;
use crate::config::{Effort, RateTarget};
use crate::encoder::Job;
use crate::encoder::finish::matched;
use crate::encoder::pass::{Pass, quantized_network};
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::Images;

/// Factors between neighbouring candidates, by effort.
const STRIDE_BALANCED: f64 = 3.0;
const STRIDE_BEST: f64 = 1.8;
/// Candidates in one direction at most.
const REACH: i32 = 5;

/// What was found best.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    /// Factor of the standard damping.
    pub(crate) damping_factor: f64,
    /// Step constant at which the target was met with it.
    pub(crate) step: Option<f64>,
}

/// Walks from the standard damping in the direction in which measured distortion falls, until it rises.
///
/// # Errors
/// As coding and running the network.
pub(crate) fn choose_damping(
    job: Job<'_>,
    images: &Images,
    yardstick: &Yardstick<'_>,
) -> Result<Choice, TqzError> {
    let given = job.config.damping.is_some() || matches!(job.config.target, RateTarget::Step(_));
    let mut best = Choice {
        damping_factor: 1.0,
        step: None,
    };
    if given {
        return Ok(best);
    }
    let stride = match job.config.effort {
        Effort::Best => STRIDE_BEST,
        _ => STRIDE_BALANCED,
    };
    let measured = |factor: f64, step: Option<f64>| -> Result<(f64, f64), TqzError> {
        let pass = Pass::new(job, factor)?;
        let hint = Hint {
            step,
            reserve_bytes: 0,
        };
        let coded = pass.search(hint)?;
        let network = quantized_network(job, &coded.layers)?;
        let sides = matched(job, &network, images)?;
        let distance = yardstick.measure(&network.with_weights(&sides)?)?.distance;
        Ok((distance, coded.step))
    };
    let (mut least, step) = measured(1.0, None)?;
    best.step = Some(step);
    for direction in [-1, 1] {
        let mut improved = false;
        for exponent in 1..=REACH {
            let factor = stride.powi(direction * exponent);
            let (distance, step) = measured(factor, best.step)?;
            if distance >= least {
                break;
            }
            (least, improved) = (distance, true);
            best = Choice {
                damping_factor: factor,
                step: Some(step),
            };
        }
        if improved {
            break;
        }
    }
    Ok(best)
}
