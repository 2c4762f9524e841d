//! A and G as they are worked with: damped, as far from the samples as these are few, and never zero.

use ndarray::Array2;

use crate::config::Damping;
use crate::layout::WeightLayer;
use crate::linalg::{BlockDiagonal, damped, damped_blocks, mean_diagonal, mean_diagonal_of_blocks};
use crate::statistics::{GroupStatistics, LayerStatistics, Statistics, shrinkage};

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

/// A (K × K, in blocks) and G (n × n) of every group of a layer, positive definite unless they are not finite; `unmeasured` is the
/// sensitivity of weights whose statistics are zero.
pub(crate) fn conditioned(
    layer: &WeightLayer,
    statistics: &LayerStatistics,
    damping: Damping,
    unmeasured: f64,
) -> Vec<(BlockDiagonal<f64>, Array2<f64>)> {
    let floor = channel_floor(layer, statistics);
    let of_group = |group: &GroupStatistics| {
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
        (a, damped(&g, damping.output, empty_g))
    };
    statistics.groups.iter().map(of_group).collect()
}
