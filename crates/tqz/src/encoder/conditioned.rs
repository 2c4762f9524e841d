//! A and G as they are worked with: damped, as far from the samples as parts of these differ or other images ask for, of the trace they had, and never zero.

use ndarray::Array2;

use crate::config::Damping;
use crate::layout::WeightLayer;
use crate::linalg::{BlockDiagonal, damped, damped_blocks, mean_diagonal, mean_diagonal_of_blocks};
use crate::statistics::{GroupStatistics, LayerStatistics, Statistics};

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

/// How far a layer's A and G are damped, and what its errors weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Strength {
    /// Whatever the statistics.
    pub(crate) standard: Damping,
    /// Factor of what their errors ask for beside it.
    pub(crate) of_errors: f64,
    /// What G is multiplied by: how much more than predicted the layer's errors do.
    pub(crate) weight: f64,
}

impl Strength {
    /// This damping and all that errors ask for.
    pub(crate) fn with_errors(standard: Damping) -> Self {
        Self {
            standard,
            of_errors: 1.0,
            weight: 1.0,
        }
    }

    /// Of one group of a layer. Depthwise channels have few weights and a floor.
    fn of(self, layer: &WeightLayer, group: &GroupStatistics) -> Damping {
        if layer.is_depthwise() {
            return self.standard;
        }
        let (input, output) = group.shrinkage();
        Damping {
            input: self.standard.input + self.of_errors * input,
            output: self.standard.output + self.of_errors * output,
        }
    }
}

/// What a damped matrix of this mean diagonal is multiplied by to have the trace that it had; one that is made up keeps its own.
fn kept(damping: f64, mean: f64) -> f64 {
    if mean > 0.0 {
        1.0 / (1.0 + damping)
    } else {
        1.0
    }
}

/// A (K × K, in blocks) and G (n × n) of every group of a layer, positive definite unless they are not finite, of the trace that they
/// have undamped (save for depthwise channels' floor): layers that are damped more are not more sensitive. G is then multiplied by
/// what the layer's errors weigh. `unmeasured` is the sensitivity of weights whose statistics are zero.
pub(crate) fn conditioned(
    layer: &WeightLayer,
    statistics: &LayerStatistics,
    strength: Strength,
    unmeasured: f64,
) -> Vec<(BlockDiagonal<f64>, Array2<f64>)> {
    let floor = channel_floor(layer, statistics);
    let of_group = |group: &GroupStatistics| {
        let (a, g) = (group.input(), group.output());
        let damping = strength.of(layer, group);
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
        let damped_a =
            damped_blocks(&a, damping.input, empty_a).times_number(kept(damping.input, mean_a));
        let a = if mean_g > 0.0 {
            damped_a.plus(floor / mean_g)
        } else {
            damped_a
        };
        let g =
            damped(&g, damping.output, empty_g) * (strength.weight * kept(damping.output, mean_g));
        (a, g)
    };
    statistics.groups.iter().map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing::dense;

    #[test]
    fn damping_keeps_the_trace_and_goes_as_far_as_it_is_told() {
        let layer = dense(3, 4);
        let mut statistics = LayerStatistics::empty(&layer);
        for part in 0..4 {
            // Parts that differ much.
            let outer = |n: usize| {
                Array2::from_shape_fn((n, n), |(r, c)| {
                    (1 + (r + part) % n * ((c + part) % n)) as f32
                })
            };
            let group = &mut statistics.groups[0];
            group.input[0].add_lower(&outer(4), 2.0);
            group.output.add_lower(&outer(3), 1.0);
        }
        let plain = (statistics.groups[0].input(), statistics.groups[0].output());
        let traces = (plain.0[0].diag().sum(), plain.1.diag().sum());
        let off = |strength: Strength| {
            let (a, g) = conditioned(&layer, &statistics, strength, 1.0).swap_remove(0);
            let a_trace = a.diagonal().iter().sum::<f64>();
            assert!((a_trace / f64::from(traces.0) - 1.0).abs() < 1e-6);
            assert!((g.diag().sum() / f64::from(traces.1) - 1.0).abs() < 1e-6);
            (a.blocks[0][(0, 1)], g[(0, 1)])
        };
        let standard = Damping {
            input: 0.01,
            output: 0.05,
        };
        let few = off(Strength {
            standard,
            of_errors: 0.0,
            weight: 1.0,
        });
        assert!((few.0 * 1.01 / f64::from(plain.0[0][(0, 1)]) - 1.0).abs() < 1e-6);
        assert!((few.1 * 1.05 / f64::from(plain.1[(0, 1)]) - 1.0).abs() < 1e-6);
        let more = off(Strength::with_errors(standard));
        assert!(
            more.0 < 0.99 * few.0 && more.1 < 0.99 * few.1,
            "{more:?} {few:?}"
        );
    }
}
