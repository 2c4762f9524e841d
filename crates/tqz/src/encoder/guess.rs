//! Where the search for a step constant begins: at the step at which ideal coding of Gaussian coefficients would give the size
//! asked for. Only a guess, right within an octave; the search measures.

use ndarray::Array2;

use crate::encoder::prepared::PreparedLayer;

/// Bits of a Gaussian coefficient at high rate beyond log2 of its deviation in steps: ½·log2(2πe).
const GAUSSIAN_BITS: f64 = 2.05;
/// Octaves of c that are looked through on either side of 1.
const OCTAVES: f64 = 60.0;
/// Bits of a coefficient beyond which nothing is guessed.
const MOST_BITS: f64 = 14.0;
/// Halvings of that range.
const HALVINGS: u32 = 40;

/// Coefficients of one size: how many, and log2 of their weighed deviation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    count: f64,
    log2_deviation: f64,
}

/// The rows of a layer's coefficients.
pub(crate) fn spreads(prepared: &PreparedLayer) -> Vec<Spread> {
    let log_mean = |values: &[f64]| {
        let logs = values.iter().map(|v| v.max(f64::MIN_POSITIVE).log2());
        logs.sum::<f64>() / values.len().max(1) as f64
    };
    let of_rows = |rows: &Array2<f32>, sensitivity: &dyn Fn(usize) -> f64| -> Vec<Spread> {
        let row = |(r, row): (usize, ndarray::ArrayView1<'_, f32>)| {
            let energy = f64::from(row.dot(&row)) / row.len().max(1) as f64;
            let log2_energy = energy.max(f64::MIN_POSITIVE).log2() + sensitivity(r);
            Spread {
                count: row.len() as f64,
                log2_deviation: 0.5 * log2_energy,
            }
        };
        rows.rows().into_iter().enumerate().map(row).collect()
    };
    let of_inputs: Vec<f64> = prepared.input.iter().map(|f| log_mean(&f.d())).collect();
    if let Some(transformed) = &prepared.transformed {
        let basis = &transformed.basis;
        return of_rows(&basis.t, &|r| {
            basis.row_sensitivity[r].log2() + of_inputs[0]
        });
    }
    let of_outputs: Vec<f64> = prepared.output.iter().flat_map(|f| f.d.clone()).collect();
    let group_rows = (prepared.weights.nrows() / of_inputs.len().max(1)).max(1);
    of_rows(&prepared.weights, &|r| {
        of_outputs[r].log2() + of_inputs[r / group_rows]
    })
}

/// The step constant at which all coefficients take so many bits.
pub(crate) fn step_for(spreads: &[Spread], bits: f64) -> f64 {
    // More would ask for levels that the format does not have.
    let bits = bits.min(MOST_BITS * spreads.iter().map(|s| s.count).sum::<f64>());
    let at = |log2_step: f64| -> f64 {
        let one = |s: &Spread| {
            let ideal = GAUSSIAN_BITS + s.log2_deviation - log2_step;
            // Falls off smoothly where the ideal would be below zero.
            let soft = 0.5 * (1.0 + (2.0 * ideal.min(100.0)).exp2()).log2();
            s.count * soft
        };
        spreads.iter().map(one).sum()
    };
    let (mut low, mut high) = (-OCTAVES, OCTAVES);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if at(middle) > bits {
            low = middle;
        } else {
            high = middle;
        }
    }
    high.exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_more_is_an_octave_less_at_high_rate() {
        let spreads = [-3.0, 0.0, 2.0].map(|log2_deviation| Spread {
            count: 1000.0,
            log2_deviation,
        });
        let at = |bits: f64| step_for(&spreads, 3000.0 * bits).log2();
        assert!((at(6.0) - at(7.0) - 1.0).abs() < 5e-3);
        assert!((at(6.0) - (GAUSSIAN_BITS - 1.0 / 3.0 - 6.0)).abs() < 1e-2);
        assert!(at(0.1) > at(0.2) && at(0.1).is_finite());
    }
}
