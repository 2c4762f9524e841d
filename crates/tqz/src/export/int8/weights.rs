//! Weights and biases as integers: eight bits for each weight with a step for each output channel, 32 for each bias.

use rayon::prelude::*;

/// How weights are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rounding {
    /// Largest magnitude of a level: 127, or 63 for processors whose sums of byte products saturate.
    pub(super) peak: i32,
}

/// A layer's numbers, element by element as the tensor holds them.
pub(super) struct LayerWeights<'a> {
    pub(super) values: &'a [f64],
    /// Output channel of each element.
    pub(super) row_of: &'a [usize],
    pub(super) bias: &'a [f64],
    pub(super) input_step: f64,
    /// Steps with which every value of a channel is a whole number, where known.
    pub(super) exact_steps: Option<&'a [f64]>,
}

/// Levels of all elements, and the step of each channel.
pub(super) struct RowLevels {
    pub(super) levels: Vec<i32>,
    pub(super) steps: Vec<f64>,
}

/// Steps tried for a channel, as parts of the one that represents its largest weight.
const PARTS: u32 = 40;
/// The largest bias in units of its step.
const MOST_BIAS: f64 = (1_u32 << 30) as f64;

/// Quantizes with the step of least squared error for each channel; exactly where the weights are levels already.
pub(super) fn quantize_rows(layer: &LayerWeights<'_>, rounding: Rounding) -> RowLevels {
    let mut rows: Vec<Vec<f64>> = vec![Vec::new(); layer.bias.len()];
    for (value, &row) in layer.values.iter().zip(layer.row_of) {
        rows[row].push(*value);
    }
    let steps: Vec<f64> = rows
        .par_iter()
        .enumerate()
        .map(|(r, row)| {
            let exact = layer
                .exact_steps
                .and_then(|steps| steps.get(r))
                .map(|s| s.abs());
            let step = best_step(row, exact, f64::from(rounding.peak));
            // A bias must be a whole number of less than 32 bits of this step times the input's.
            let least = layer.bias[r].abs() / (MOST_BIAS * layer.input_step);
            // Steps are stored in single precision.
            f64::from(step.max(least).max(1e-30) as f32)
        })
        .collect();
    let level = |(value, &row): (&f64, &usize)| {
        let peak = f64::from(rounding.peak);
        (value / steps[row]).round().clamp(-peak, peak) as i32
    };
    let levels = layer.values.iter().zip(layer.row_of).map(level).collect();
    RowLevels { levels, steps }
}

fn best_step(row: &[f64], exact: Option<f64>, peak: f64) -> f64 {
    let largest = row.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    if let Some(step) = exact.filter(|&step| step > 0.0 && largest / step <= peak + 0.01) {
        return step;
    }
    let error = |step: f64| -> f64 {
        let of = |v: &f64| (v - step * (v / step).round().clamp(-peak, peak)).powi(2);
        row.iter().map(of).sum()
    };
    let tried = (PARTS / 2..=PARTS).map(|part| largest / peak * f64::from(part) / f64::from(PARTS));
    let best = tried.min_by(|a, b| error(*a).total_cmp(&error(*b)));
    best.unwrap_or(largest / peak)
}

/// Biases in units of the input's step times each channel's.
pub(super) fn quantize_bias(bias: &[f64], steps: &[f64], input_step: f64) -> (Vec<i32>, Vec<f64>) {
    // As the runtime computes them: in single precision.
    let units: Vec<f64> = steps
        .iter()
        .map(|step| f64::from((step * input_step) as f32))
        .collect();
    let level = |(b, unit): (&f64, &f64)| {
        (b / unit).round().clamp(-MOST_BIAS * 1.9, MOST_BIAS * 1.9) as i32
    };
    (bias.iter().zip(&units).map(level).collect(), units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_kept_and_other_weights_rounded_to_the_nearest() {
        let values = [0.5, -1.5, 63.5, 0.1, -0.2, 0.15];
        let layer = LayerWeights {
            values: &values,
            row_of: &[0, 0, 0, 1, 1, 1],
            bias: &[1.0, 0.0],
            input_step: 0.01,
            exact_steps: Some(&[0.5, 1e-9]),
        };
        let found = quantize_rows(&layer, Rounding { peak: 127 });
        assert_eq!(found.levels[..3], [1, -3, 127]);
        assert_eq!(found.steps[0], 0.5);
        for (value, level) in values[3..].iter().zip(&found.levels[3..]) {
            let error = value - f64::from(*level) * found.steps[1];
            assert!(error.abs() < 0.2 / 127.0, "{value} {level}");
        }
        let (bias, units) = quantize_bias(layer.bias, &found.steps, 0.01);
        assert!((f64::from(bias[0]) * units[0] - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_channel_of_zeros_keeps_its_bias() {
        let layer = LayerWeights {
            values: &[0.0, 0.0],
            row_of: &[0, 0],
            bias: &[3.25],
            input_step: 0.02,
            exact_steps: None,
        };
        let found = quantize_rows(&layer, Rounding { peak: 127 });
        let (bias, units) = quantize_bias(layer.bias, &found.steps, 0.02);
        assert!((f64::from(bias[0]) * units[0] - 3.25).abs() < 1e-4);
    }
}
