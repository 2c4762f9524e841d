//! A matrix of levels whose rows, columns and inputs can be taken away.

use tqz_format::LevelMatrix;
use tqz_format::dequantize::step;

/// A matrix of levels with a step for each row and column: value = level · row · column.
#[derive(Debug, Clone)]
pub(crate) struct Factor {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Kernel positions: column j is input `j / period` at position `j % period`.
    pub(crate) period: usize,
    /// Row-major.
    pub(crate) levels: Vec<i32>,
    pub(crate) row_steps: Vec<f64>,
    pub(crate) col_steps: Vec<f64>,
}

impl Factor {
    /// All of a matrix of levels.
    pub(crate) fn new(matrix: &LevelMatrix) -> Self {
        let spec = matrix.spec();
        let scale = matrix.scale();
        let rows = |r| step(scale.base + scale.rows.as_ref().map_or(0, |s| s.exponent(r)));
        let cols = |c| step(scale.cols.as_ref().map_or(0, |s| s.exponent(c)));
        Self {
            rows: spec.rows,
            cols: spec.cols,
            period: spec.period,
            levels: matrix.to_row_major(),
            row_steps: (0..spec.rows).map(rows).collect(),
            col_steps: (0..spec.cols).map(cols).collect(),
        }
    }

    /// Value of one element.
    pub(crate) fn value(&self, row: usize, col: usize) -> f64 {
        let level = f64::from(self.levels[row * self.cols + col]);
        level * (self.row_steps[row] * self.col_steps[col])
    }

    pub(super) fn keep_rows(&mut self, kept: &[usize]) {
        let rows = kept
            .iter()
            .map(|&r| &self.levels[r * self.cols..(r + 1) * self.cols]);
        self.levels = rows.flatten().copied().collect();
        self.row_steps = kept.iter().map(|&r| self.row_steps[r]).collect();
        self.rows = kept.len();
    }

    /// Keeps whole inputs: `period` columns each.
    pub(super) fn keep_inputs(&mut self, kept: &[usize]) {
        let period = self.period;
        let cols: Vec<usize> = kept
            .iter()
            .flat_map(|&i| i * period..(i + 1) * period)
            .collect();
        let row = |r: usize| cols.iter().map(move |&c| (r, c));
        self.levels = (0..self.rows)
            .flat_map(row)
            .map(|(r, c)| self.levels[r * self.cols + c])
            .collect();
        self.col_steps = cols.iter().map(|&c| self.col_steps[c]).collect();
        self.cols = cols.len();
    }

    /// Adds a row of zeros.
    pub(super) fn with_empty_row(&mut self) {
        self.levels.extend(std::iter::repeat_n(0, self.cols));
        self.row_steps.push(1.0);
        self.rows += 1;
    }

    /// Adds an input of zeros to a factor that has none.
    pub(super) fn with_empty_input(&mut self) {
        self.levels = vec![0; self.rows * self.period];
        self.col_steps = vec![1.0; self.period];
        self.cols = self.period;
    }

    pub(super) fn row_is_zero(&self, r: usize) -> bool {
        let row = &self.levels[r * self.cols..(r + 1) * self.cols];
        row.iter().all(|&level| level == 0)
    }

    pub(super) fn input_is_zero(&self, input: usize) -> bool {
        let cols = input * self.period..(input + 1) * self.period;
        (0..self.rows).all(|r| cols.clone().all(|c| self.levels[r * self.cols + c] == 0))
    }
}
