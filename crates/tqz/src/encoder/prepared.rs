//! What a layer's coding needs and no step size changes: damped factors of its statistics and its transform.

use ndarray::Array2;

use crate::config::{Basis, Damping, EncoderConfig};
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::linalg::{
    BlockDiagonal, ColumnFactor, NumericalFailure, UnitUpper, damped, damped_blocks, mean_diagonal,
    mean_diagonal_of_blocks, unit_upper,
};
use crate::statistics::{GroupStatistics, LayerStatistics, Statistics, shrinkage};
use crate::transform::{ColumnBasis, column_basis};

/// Damping where the weights themselves are quantized with feedback (theory §9: residual networks of 16–64 channels).
const DIRECT_DAMPING: Damping = Damping {
    input: 0.01,
    output: 0.05,
};
/// Damping where a transform is quantized (theory §9: wide layers).
const TRANSFORM_DAMPING: Damping = Damping {
    input: 0.1,
    output: 0.3,
};
/// Damping of depthwise channels' own Fisher blocks.
const DEPTHWISE_DAMPING: f64 = 0.03;
/// How often damping is multiplied by ten before a layer's statistics are given up.
const ATTEMPTS: usize = 4;

/// Share of the network's typical sensitivity that weights get whose statistics are zero: they may be dead, or the gradient
/// did not reach them (behind a rounding, say), so that they must not be lost.
const UNMEASURED: f64 = 0.01;

/// The sensitivity to assume where nothing was measured: a share of the geometric mean over the layers.
pub(crate) fn unmeasured_sensitivity(statistics: &Statistics) -> f64 {
    let logs: Vec<f64> = statistics
        .layers
        .values()
        .map(|layer| {
            let sum: f64 = layer
                .groups
                .iter()
                .map(GroupStatistics::mean_sensitivity)
                .sum();
            sum / layer.groups.len().max(1) as f64
        })
        .filter(|mean| *mean > 0.0 && mean.is_finite())
        .map(f64::ln)
        .collect();
    if logs.is_empty() {
        return 1.0;
    }
    let typical = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    (UNMEASURED * typical).clamp(1e-25, 1e25)
}

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
    /// Factors the statistics of one layer for coding in a basis, damped by the standard times a factor, with more where that is needed; `unmeasured`
    /// is the sensitivity of weights whose statistics are zero.
    ///
    /// # Errors
    /// Statistics that stay singular or are not finite.
    pub(crate) fn new(
        layer: &WeightLayer,
        weights: Array2<f32>,
        statistics: &LayerStatistics,
        (basis, config, factor_of_damping): (Option<Basis>, &EncoderConfig, f64),
        unmeasured: f64,
    ) -> Result<Self, TqzError> {
        let mut damping = standard_damping(layer, basis);
        damping.input *= factor_of_damping;
        damping.output *= factor_of_damping;
        if let Some(asked) = config.damping {
            damping = asked;
        }
        for attempt in 0..ATTEMPTS {
            if let Ok(mut prepared) =
                factor(layer, &weights, statistics, (basis, damping), unmeasured)
            {
                if attempt > 0 {
                    let told = format!(
                        "statistics near singular: damping raised to {:.0e}",
                        damping.input
                    );
                    prepared.warning = Some(told);
                }
                return Ok(prepared);
            }
            damping.input *= 10.0;
            damping.output *= 10.0;
        }
        Err(TqzError::layer(
            &layer.name,
            "its statistics are not finite or cannot be factored; calibrate with other images",
        ))
    }
}

fn standard_damping(layer: &WeightLayer, basis: Option<Basis>) -> Damping {
    let mut damping = match basis {
        Some(_) => TRANSFORM_DAMPING,
        None => DIRECT_DAMPING,
    };
    if layer.is_depthwise() {
        damping.input = DEPTHWISE_DAMPING;
    }
    damping
}

/// Least sensitivity of a depthwise channel, relative to the mean over the layer's: few images may saturate a channel, so that
/// it seems not to matter (theory §9), and it has few weights to save.
const CHANNEL_FLOOR: f64 = 0.1;

/// Added to the diagonal of each depthwise channel's own Fisher block.
fn channel_floor(layer: &WeightLayer, statistics: &LayerStatistics) -> f64 {
    let groups = &statistics.groups;
    if !layer.is_depthwise() || groups.len() < 2 {
        return 0.0;
    }
    let sum: f64 = groups.iter().map(GroupStatistics::mean_sensitivity).sum();
    CHANNEL_FLOOR * sum / groups.len() as f64
}

/// Damping raised by what the errors of A and G from so many patches ask for. Depthwise channels have few weights and a floor.
fn trusted(
    damping: Damping,
    layer: &WeightLayer,
    (a, g): (&[Array2<f32>], &Array2<f32>),
    patches: f64,
) -> Damping {
    if layer.is_depthwise() {
        return damping;
    }
    Damping {
        input: damping.input + shrinkage(a, patches),
        output: damping.output + shrinkage(std::slice::from_ref(g), patches),
    }
}

fn factor(
    layer: &WeightLayer,
    weights: &Array2<f32>,
    statistics: &LayerStatistics,
    (basis, damping): (Option<Basis>, Damping),
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
        warning: None,
    };
    let floor = channel_floor(layer, statistics);
    for group in &statistics.groups {
        let (a, g) = (group.input(), group.output());
        let damping = trusted(damping, layer, (&a, &g), group.patches());
        let [mean_a, mean_g] = [mean_diagonal_of_blocks(&a), mean_diagonal(&g)];
        let empty_g = if mean_a > 0.0 {
            unmeasured / mean_a
        } else {
            unmeasured
        };
        let empty_a = if mean_g > 0.0 {
            unmeasured / mean_g
        } else {
            1.0
        };
        let damped_a = damped_blocks(&a, damping.input, empty_a);
        let a = if mean_g > 0.0 {
            damped_a.plus(floor / mean_g)
        } else {
            damped_a
        };
        let g = damped(&g, damping.output, empty_g);
        prepared.plain_input.push(a.diagonal());
        prepared.plain_output.extend(g.diag().iter());
        prepared.input.push(ColumnFactor::new(&a)?);
        prepared.output.push(unit_upper(&g)?);
        if let Some(kind) = basis {
            prepared.transformed = Some(Transformed {
                basis: column_basis(kind, weights, &a, &g)?,
                a: a.to_single(),
            });
        }
    }
    Ok(prepared)
}
