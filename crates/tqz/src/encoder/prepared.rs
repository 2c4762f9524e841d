//! What a layer's coding needs and no step size changes: damped factors of its statistics and its transform.

use ndarray::Array2;

use crate::config::{Axis, Basis, Damping, EncoderConfig, TransformSpec};
use crate::encoder::alternatives::is_wide;
use crate::encoder::conditioned::{Strength, conditioned};
use crate::encoder::mixed::Mixed;
use crate::encoder::trust::LayerTrust;
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::linalg::{BlockDiagonal, ColumnFactor, NumericalFailure, UnitUpper, unit_upper};
use crate::statistics::LayerStatistics;
use crate::transform::{ColumnBasis, SINGULAR, Subject, Transform, column_basis};

/// Damping of layers that are not wide ([`is_wide`]), transformed or not (theory §9: residual networks of 16–64 channels): what competes must be judged
/// by the same statistics.
const DIRECT_DAMPING: Damping = Damping {
    input: 0.01,
    output: 0.05,
};
/// Damping where a wider layer is transformed. With what errors ask for added ([`conditioned`]; then as if positions were independent) half of the prototype's does better:
/// AlexNet at .15 bits .082 → .069 nats, at .3 bits .0226 → .0221; a third does better at .3 (.0205) and worse at .15 (.096).
const TRANSFORM_DAMPING: Damping = Damping {
    input: 0.05,
    output: 0.15,
};
/// Damping of depthwise channels' own Fisher blocks.
const DEPTHWISE_DAMPING: f64 = 0.03;
/// How often damping is multiplied by ten before a layer's statistics are given up.
const ATTEMPTS: usize = 4;

/// A layer ready to be coded at any step size.
#[derive(Debug, Clone)]
pub(crate) struct PreparedLayer {
    /// The tensor.
    pub(crate) layer: WeightLayer,
    /// Its numbers as a matrix.
    pub(crate) weights: Array2<f32>,
    /// Factor of each group's damped A.
    pub(crate) input: Vec<ColumnFactor>,
    /// Factor of each group's damped G.
    pub(crate) output: Vec<UnitUpper>,
    /// Diagonals of the damped A and G of each group: sensitivities without feedback.
    pub(crate) plain_input: Vec<Vec<f64>>,
    /// Likewise for G, all rows of the layer.
    pub(crate) plain_output: Vec<f64>,
    /// The transform, with the damped A it was built from.
    pub(crate) transformed: Option<Transformed>,
    /// A transform of input channels or kernel positions.
    pub(crate) mixed: Option<Mixed>,
    /// What had to be done to make the numbers work, for the report.
    pub(crate) warning: Option<String>,
}

/// A transform and the statistics that its coding needs.
#[derive(Debug, Clone)]
pub(crate) struct Transformed {
    /// Analysis and sensitivities.
    pub(crate) basis: ColumnBasis,
    /// Damped A, K × K.
    pub(crate) a: BlockDiagonal<f32>,
}

impl PreparedLayer {
    /// Factors the statistics of one layer for coding in a basis, trusted so far, damped more where that is needed and
    /// without the basis where nothing helps; `unmeasured` is the sensitivity of weights whose statistics are zero.
    ///
    /// # Errors
    /// Statistics that stay singular or are not finite.
    pub(crate) fn new(
        layer: &WeightLayer,
        weights: Array2<f32>,
        statistics: &LayerStatistics,
        (basis, config, trust): (Option<Basis>, &EncoderConfig, LayerTrust),
        unmeasured: f64,
    ) -> Result<Self, TqzError> {
        let strength = strength(layer, (basis, config), trust);
        let how = (basis, config, strength);
        if let Some(prepared) = factored(layer, &weights, statistics, how, unmeasured) {
            return Ok(prepared);
        }
        if basis.is_some() || config.axis != Axis::Column {
            let plain = EncoderConfig {
                transform: TransformSpec::Identity,
                axis: Axis::Column,
                ..*config
            };
            let how = (None, &plain, trust);
            let mut prepared = Self::new(layer, weights, statistics, how, unmeasured)?;
            let damped = prepared.warning.map(|told| format!("; {told}"));
            prepared.warning = Some(format!(
                "not transformed: {SINGULAR}{}",
                damped.unwrap_or_default()
            ));
            return Ok(prepared);
        }
        Err(TqzError::layer(
            &layer.name,
            "its statistics are not finite or cannot be factored; calibrate with other images",
        ))
    }
}

/// The standard damping times a factor, or the one asked for, and so much of what errors ask for.
fn strength(
    layer: &WeightLayer,
    (basis, config): (Option<Basis>, &EncoderConfig),
    trust: LayerTrust,
) -> Strength {
    let factor = trust.damping_factor;
    let standard = standard_damping(layer, basis);
    let scaled = Damping {
        input: factor * standard.input,
        output: factor * standard.output,
    };
    Strength {
        standard: config.damping.unwrap_or(scaled),
        of_errors: factor,
        weight: trust.ratio,
    }
}

/// The layer with its statistics factored, damped ten times more and told so where that is needed; nothing where it does not help.
fn factored(
    layer: &WeightLayer,
    weights: &Array2<f32>,
    statistics: &LayerStatistics,
    (basis, config, mut strength): (Option<Basis>, &EncoderConfig, Strength),
    unmeasured: f64,
) -> Option<PreparedLayer> {
    for attempt in 0..ATTEMPTS {
        let how = (basis, config, strength);
        if let Ok(mut prepared) = factor(layer, weights, statistics, how, unmeasured) {
            if attempt > 0 {
                let told = format!(
                    "statistics near singular: damping raised to {:.0e}",
                    strength.standard.input
                );
                prepared.warning = Some(told);
            }
            return Some(prepared);
        }
        strength.standard.input *= 10.0;
        strength.standard.output *= 10.0;
    }
    None
}

fn standard_damping(layer: &WeightLayer, basis: Option<Basis>) -> Damping {
    let mut damping = match basis {
        Some(_) if is_wide(layer) => TRANSFORM_DAMPING,
        _ => DIRECT_DAMPING,
    };
    if layer.is_depthwise() {
        damping.input = DEPTHWISE_DAMPING;
    }
    damping
}

fn factor(
    layer: &WeightLayer,
    weights: &Array2<f32>,
    statistics: &LayerStatistics,
    (basis, config, strength): (Option<Basis>, &EncoderConfig, Strength),
    unmeasured: f64,
) -> Result<PreparedLayer, NumericalFailure> {
    let mut prepared = PreparedLayer {
        layer: layer.clone(),
        weights: weights.clone(),
        input: Vec::new(),
        output: Vec::new(),
        plain_input: Vec::new(),
        plain_output: Vec::new(),
        transformed: None,
        mixed: None,
        warning: None,
    };
    for (a, g) in conditioned(layer, statistics, strength, unmeasured) {
        prepared.plain_input.push(a.diagonal());
        prepared.plain_output.extend(g.diag().iter());
        prepared.input.push(ColumnFactor::new(&a)?);
        prepared.output.push(unit_upper(&g)?);
        let mixing = config.axis != Axis::Column && layer.groups == 1;
        if mixing {
            let subject = Subject::new(layer, weights.clone(), (a.clone(), g.clone()));
            prepared.mixed = match subject.transform(config.transform, config.axis)? {
                Transform::Row(dual) | Transform::Kernel(dual) => {
                    Some(Mixed::new(&subject, &dual, config.axis)?)
                }
                _ => None,
            };
        } else if let Some(kind) = basis {
            prepared.transformed = Some(Transformed {
                basis: column_basis(kind, weights, &a, &g)?,
                a: a.to_single(),
            });
        }
    }
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateTarget;
    use crate::encoder::testing::dense;
    use crate::encoder::trust::Trust;

    /// Where the basis cannot be had and the layer's own factors can, it is coded without one and says so, whatever the axis.
    #[test]
    fn a_layer_without_a_basis_is_prepared_as_it_is_and_told() {
        let layer = dense(4, 6);
        let statistics = LayerStatistics::empty(&layer);
        let sound = Array2::from_shape_fn((4, 6), |(r, c)| ((r * 7 + c * 3) % 5) as f32 - 2.0);
        let mut unsound = sound.clone();
        unsound[(1, 2)] = f32::NAN;
        for (axis, basis) in [(Axis::Column, Some(Basis::Elt)), (Axis::Row, None)] {
            let config = EncoderConfig {
                transform: TransformSpec::Elt,
                axis,
                ..EncoderConfig::new(RateTarget::BitsPerWeight(2.0))
            };
            let prepared = |weights: &Array2<f32>| {
                let how = (basis, &config, Trust::standard().of(0));
                PreparedLayer::new(&layer, weights.clone(), &statistics, how, 1.0)
                    .expect("its factors are there")
            };
            let found = prepared(&sound);
            assert!(
                found.transformed.is_some() || found.mixed.is_some(),
                "{axis:?}"
            );
            assert_eq!(found.warning, None);
            let found = prepared(&unsound);
            assert!(
                found.transformed.is_none() && found.mixed.is_none(),
                "{axis:?}"
            );
            assert!(found.warning.is_some_and(|told| told.contains(SINGULAR)));
        }
    }
}
