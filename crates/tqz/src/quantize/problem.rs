//! What is asked of the quantizer: a matrix, how its errors are weighed and pushed, and what bits cost.

use ndarray::Array2;

use crate::linalg::{ColumnFactor, UnitUpper};
use crate::quantize::{StepFactors, Steps};

/// Part of λ that counts where levels depend on each other. By the closed form it would be .7: at equal steps two quantizers in turn err
/// less, and a bit buys less. But levels lowered for the sake of bits weaken what passes through a layer, which the closed form does not see,
/// and measured at equal size less is better: ResNet-20 at 1.2 bits .40 → .33 nats (with coordinate descent, six rates: .6 is worse than .3 by 15 %,
/// 1 by 24 %), ResNet-18 at .34 bits .0173 → .0158, DenseNet-40 at 1.65 bits the same.
const LAMBDA_PART: f64 = 0.3;

/// A matrix to be quantized, and how errors are weighed and pushed. The rows form as many equal groups as there are
/// entries in `col_sensitivity`; errors never cross from one group into another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Problem<'a> {
    /// Coefficients, rows × columns.
    pub(crate) coefficients: &'a Array2<f32>,
    /// Kernel positions per input channel.
    pub(crate) period: usize,
    /// Factor of each group's A: pushes errors along the columns. Empty: columns are independent.
    pub(crate) input: &'a [ColumnFactor],
    /// Factor of each group's G: pushes errors down the rows. Empty: rows are independent.
    pub(crate) output: &'a [UnitUpper],
    /// Sensitivity of each row (conditional where `output` is given).
    pub(crate) row_sensitivity: &'a [f64],
    /// Per group, the sensitivity of each column (conditional where `input` is given).
    pub(crate) col_sensitivity: &'a [Vec<f64>],
    /// c: sensitivity-weighted step.
    pub(crate) c: f64,
    /// λ in units of c² per bit.
    pub(crate) lambda: f64,
    /// Whether levels are paths through the trellis of dependent quantization.
    pub(crate) dependent: bool,
    /// How often all columns are quantized anew, each with all others as they are (coordinate descent); only with one group.
    pub(crate) descents: usize,
}

impl Problem<'_> {
    /// Rows of one group.
    pub(super) fn group_rows(&self) -> usize {
        (self.coefficients.nrows() / self.col_sensitivity.len().max(1)).max(1)
    }

    /// What a bit costs where levels are chosen, in units of c².
    pub(super) fn price(&self) -> f64 {
        if self.dependent {
            LAMBDA_PART * self.lambda
        } else {
            self.lambda
        }
    }

    /// Steps for this problem, of each quantizer where there are two: factors from the row sensitivities and the groups' geometric mean over columns.
    pub(crate) fn steps(&self, factors: StepFactors) -> Steps {
        let groups = self.col_sensitivity.len().max(1);
        let log_mean = |d: &[f64]| d.iter().map(|v| v.ln()).sum::<f64>() / d.len().max(1) as f64;
        let per_group: Vec<f64> = self.col_sensitivity.iter().map(|d| log_mean(d)).collect();
        let rows: Vec<f64> = self
            .row_sensitivity
            .iter()
            .enumerate()
            .map(|(r, g)| g * per_group[r / self.group_rows()].exp())
            .collect();
        let cols: Vec<f64> = (0..self.coefficients.ncols())
            .map(|j| {
                let relative = self.col_sensitivity.iter().zip(&per_group);
                (relative.map(|(d, m)| d[j].ln() - m).sum::<f64>() / groups as f64).exp()
            })
            .collect();
        // Levels count half the steps of dependent quantizers.
        let c = if self.dependent { self.c / 2.0 } else { self.c };
        Steps::new(c, &rows, &cols, factors)
    }
}
