//! Step sizes from sensitivities: `step(r,j)² · g_r · d_j = c²`, with the row and column factors rounded to half octaves so
//! that they cost little in the file.

use tqz_format::{ScaleVector, StepScale};

/// Steps per octave of the stored factors, as the shift of the format's 1/64 octaves: half octaves.
pub(crate) const FACTOR_SHIFT: u8 = 5;
/// The format's units per octave.
const UNITS: f64 = 64.0;

/// Which factors a matrix's steps have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepFactors {
    /// One step for the matrix.
    None,
    /// Factors for rows and for columns.
    Both,
}

/// The steps of a matrix as they are stored: exponents in units of 1/64 octave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Exponent common to all.
    pub(crate) base: i32,
    /// Per row, multiples of `1 << FACTOR_SHIFT`.
    pub(crate) rows: Option<Vec<i32>>,
    /// Per column, likewise.
    pub(crate) cols: Option<Vec<i32>>,
}

impl Steps {
    /// Chooses exponents for the constant `c` from the sensitivities of rows and columns (all positive).
    pub(crate) fn new(c: f64, rows: &[f64], cols: &[f64], factors: StepFactors) -> Self {
        let (row_mean, row_exponents) = split(rows);
        let (col_mean, col_exponents) = split(cols);
        let base = (c.log2() - 0.5 * (row_mean + col_mean)) * UNITS;
        let stored = factors == StepFactors::Both;
        Self {
            base: base.round().clamp(-6400.0, 6400.0) as i32,
            rows: stored.then_some(row_exponents),
            cols: stored.then_some(col_exponents),
        }
    }
}

impl Steps {
    /// Steps twice as long.
    pub(crate) fn doubled(&self) -> Self {
        Self {
            base: (self.base + UNITS as i32).min(6400),
            ..self.clone()
        }
    }

    /// The steps as the file stores them.
    pub(crate) fn scale(&self) -> StepScale {
        let vector = |exponents: &Vec<i32>| ScaleVector::rounded(FACTOR_SHIFT, exponents);
        StepScale {
            base: self.base,
            rows: self.rows.as_ref().map(vector),
            cols: self.cols.as_ref().map(vector),
        }
    }
}

/// Mean of log2 of the sensitivities, and each one's step factor `1/√s` relative to it in rounded exponents.
fn split(sensitivities: &[f64]) -> (f64, Vec<i32>) {
    let logs: Vec<f64> = sensitivities
        .iter()
        .map(|s| s.max(f64::MIN_POSITIVE).log2())
        .collect();
    let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    let grain = f64::from(1_u32 << FACTOR_SHIFT);
    let exponents = logs
        .iter()
        .map(|l| {
            ((mean - l) * 0.5 * UNITS / grain)
                .round()
                .clamp(-60.0, 60.0) as i32
                * grain as i32
        })
        .collect();
    (mean, exponents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fall_with_the_root_of_sensitivity() {
        let steps = Steps::new(1.0, &[1.0], &[1.0, 4.0, 16.0], StepFactors::Both);
        assert_eq!(steps.cols, Some(vec![64, 0, -64]));
        assert_eq!(steps.base, -64);
        assert_eq!(steps.rows, Some(vec![0]));
    }

    #[test]
    fn doubling_c_adds_an_octave_to_every_step() {
        let a = Steps::new(0.3, &[2.0, 3.0], &[0.1, 0.7], StepFactors::Both);
        let b = Steps::new(0.6, &[2.0, 3.0], &[0.1, 0.7], StepFactors::Both);
        assert_eq!(a.base + 64, b.base);
        assert_eq!((a.rows, a.cols), (b.rows, b.cols));
    }
}
