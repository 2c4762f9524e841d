//! Successive quantization of one matrix. With Hessian `G ⊗ A`, `A = M·D·Mᵗ` and `G = N·g·Nᵗ` (unit upper M, N), the
//! distortion of an error E is `‖g^½ · NᵗEM · D^½‖²`: each level is chosen so that its own entry of `NᵗEM`, which holds what
//! earlier columns and rows pushed into it, is small (OBQ/GPTQ on the input side, both sides as in YAQA).

use std::ops::Range;

use ndarray::{Array2, s};
use tqz_format::dequantize::step;
use tqz_format::entropy::COST_ONE_BIT;
use tqz_format::limits::MAX_LEVEL;
use tqz_format::{Counter, FormatError, LevelMatrix, LevelModel, MatrixSpec};

use crate::linalg::{Accumulate, Block, ColumnFactor, UnitUpper, multiply};
use crate::quantize::{StepFactors, Steps};

/// Columns per block: inside a block errors are pushed one column at a time, across blocks by matrix products.
const BLOCK: usize = 32;

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
}

impl Problem<'_> {
    /// Rows of one group.
    fn group_rows(&self) -> usize {
        (self.coefficients.nrows() / self.col_sensitivity.len().max(1)).max(1)
    }

    /// Steps for this problem: factors from the row sensitivities and the groups' geometric mean over columns.
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
        Steps::new(self.c, &rows, &cols, factors)
    }
}

/// Levels with their cost and distortion.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What the file stores.
    pub(crate) matrix: LevelMatrix,
    /// Σ g·d·(NᵗEM)²: the closed-form distortion.
    pub(crate) distortion: f64,
}

/// Quantizes a matrix with the steps given.
///
/// # Errors
/// Steps outside the format's range.
pub(crate) fn quantize(problem: &Problem<'_>, steps: &Steps) -> Result<Outcome, FormatError> {
    Pass::new(problem, steps).run(steps)
}

/// The state of one pass over the matrix. All arrays are columns × rows, so that a column is contiguous.
struct Pass<'a> {
    problem: &'a Problem<'a>,
    /// Coefficients transposed.
    w: Array2<f32>,
    /// What earlier columns pushed into each entry.
    pushed: Array2<f32>,
    /// `NᵗE`: errors with the rows' feedback.
    z: Array2<f32>,
    levels: Vec<i32>,
    /// Exponents of the rows' steps, the base included, and of the columns'.
    row_exponent: Vec<i32>,
    col_exponent: Vec<i32>,
    model: LevelModel,
    counter: Counter,
    distortion: f64,
}

impl<'a> Pass<'a> {
    fn new(problem: &'a Problem<'a>, steps: &Steps) -> Self {
        let (rows, cols) = problem.coefficients.dim();
        let w = problem.coefficients.t().as_standard_layout().into_owned();
        let zeros = |count| vec![0; count];
        let row_exponents = steps.rows.clone().unwrap_or_else(|| zeros(rows));
        Self {
            problem,
            pushed: Array2::zeros((cols, rows)),
            z: Array2::zeros((cols, rows)),
            levels: Vec::with_capacity(rows * cols),
            w,
            row_exponent: row_exponents.iter().map(|e| steps.base + e).collect(),
            col_exponent: steps.cols.clone().unwrap_or_else(|| zeros(cols)),
            model: LevelModel::new(&MatrixSpec {
                rows,
                cols,
                period: problem.period,
            }),
            counter: Counter::new(),
            distortion: 0.0,
        }
    }

    fn run(mut self, steps: &Steps) -> Result<Outcome, FormatError> {
        let (rows, cols) = self.problem.coefficients.dim();
        let mut carried = vec![0.0_f32; rows];
        let blocks = match self.problem.input.first() {
            Some(input) => input.ranges(),
            None => std::iter::once(0..cols).collect(),
        };
        for (index, range) in blocks.into_iter().enumerate() {
            // Groups are small: their columns are handled as one.
            let size = match self.problem.input.len() {
                0 | 1 => BLOCK,
                _ => range.len().max(1),
            };
            for begin in range.clone().step_by(size) {
                let end = (begin + size).min(range.end);
                for j in begin..end {
                    self.column(j, &mut carried);
                    self.push_within((index, range.start), j, end);
                }
                self.push_beyond((index, range.clone()), begin, end);
            }
        }
        Ok(Outcome {
            distortion: self.distortion,
            matrix: LevelMatrix::from_row_major(self.spec(), steps.scale(), &self.row_major())?,
        })
    }

    fn spec(&self) -> MatrixSpec {
        let (rows, cols) = self.problem.coefficients.dim();
        MatrixSpec {
            rows,
            cols,
            period: self.problem.period,
        }
    }

    fn row_major(&self) -> Vec<i32> {
        let (rows, cols) = self.problem.coefficients.dim();
        let mut levels = vec![0; rows * cols];
        for (j, column) in self.levels.chunks_exact(rows.max(1)).enumerate() {
            for (r, level) in column.iter().enumerate() {
                levels[r * cols + j] = *level;
            }
        }
        levels
    }

    /// Quantizes column j, row after row.
    fn column(&mut self, j: usize, carried: &mut [f32]) {
        carried.fill(0.0);
        self.model.begin_column(j);
        let problem = self.problem;
        let group_rows = problem.group_rows();
        let c2 = problem.c * problem.c;
        for r in 0..carried.len() {
            let group = r / group_rows;
            let sensitivity = problem.row_sensitivity[r] * problem.col_sensitivity[group][j];
            let step = step(self.row_exponent[r] + self.col_exponent[j]);
            let w = f64::from(self.w[(j, r)]);
            let due = f64::from(self.pushed[(j, r)] + carried[r]);
            let level = self.choose(r, (w - due) / step, sensitivity * step * step / c2);
            let error = (f64::from(level) * step - w) as f32;
            let z = error + carried[r];
            self.z[(j, r)] = z;
            let total = f64::from(z) + f64::from(self.pushed[(j, r)]);
            self.distortion += sensitivity * total * total;
            self.levels.push(level);
            if let Some(output) = problem.output.get(group) {
                let first = group * group_rows;
                let factors = output.m.row(r - first);
                let below = carried[r + 1..first + group_rows].iter_mut();
                for (to, factor) in below.zip(factors.iter().skip(r - first + 1)) {
                    *to += factor * error;
                }
            }
        }
    }

    /// The level for target `t` (in steps) with the least `error²·weight + λ·bits`, among nearest, one toward zero, and 0.
    fn choose(&mut self, row: usize, t: f64, weight: f64) -> i32 {
        let context = self.model.context(row);
        let magnitude = t.abs();
        let nearest = (magnitude + 0.5).floor().min(f64::from(MAX_LEVEL)) as i32;
        let sign = if t < 0.0 { -1 } else { 1 };
        let mut best = nearest;
        if nearest > 0 && self.problem.lambda > 0.0 {
            let bits = self.model.candidate_costs(&context, sign * nearest);
            let per_unit = self.problem.lambda / f64::from(COST_ONE_BIT);
            let cost = |q: i32, bits: u32| {
                let miss = f64::from(q) - magnitude;
                miss * miss * weight + per_unit * f64::from(bits)
            };
            let mut least = cost(nearest, bits.upper);
            for (candidate, bits) in [(nearest - 1, bits.lower), (0, bits.zero)] {
                let candidate_cost = cost(candidate, bits);
                if candidate_cost < least {
                    (best, least) = (candidate, candidate_cost);
                }
            }
        }
        let level = sign * best;
        self.model.code(&mut self.counter, &context, level)
    }

    /// Pushes column j's errors into the columns up to `end`, all in one block of A that starts at column `first`.
    fn push_within(&mut self, (block, first): (usize, usize), j: usize, end: usize) {
        let group_rows = self.problem.group_rows();
        let errors = self.z.row(j);
        for (group, input) in self.problem.input.iter().enumerate() {
            let rows = s![group * group_rows..(group + 1) * group_rows];
            for to in j + 1..end {
                let factor = input.blocks[block].m[(j - first, to - first)];
                let mut target = self.pushed.row_mut(to);
                target
                    .slice_mut(rows)
                    .scaled_add(factor, &errors.slice(rows));
            }
        }
    }

    /// Pushes the errors of columns begin..end into all columns after them in the same block of A.
    fn push_beyond(&mut self, (block, range): (usize, Range<usize>), begin: usize, end: usize) {
        let rows = self.w.ncols();
        if let ([input], true) = (self.problem.input, end < range.end) {
            let first = range.start;
            let local = (begin - first..end - first, end - first..range.end - first);
            let factors = Block::part(&input.blocks[block].m, local.0, local.1).t();
            let errors = Block::part(&self.z, begin..end, 0..rows);
            multiply(
                &mut self.pushed,
                end..range.end,
                Accumulate::Add,
                (factors, errors),
                1.0,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{BlockDiagonal, unit_upper};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// A random matrix and second moments with strong correlations.
    fn case(rows: usize, cols: usize) -> (Array2<f32>, Array2<f64>, Array2<f64>) {
        let mut rng = Pcg64::seed_from_u64(11);
        let mut draw = |r, c| Array2::from_shape_fn((r, c), |_| rng.random::<f64>() - 0.5);
        let w = draw(rows, cols).mapv(|v| v as f32);
        let moment = |n: usize, x: Array2<f64>| x.dot(&x.t()) + Array2::<f64>::eye(n) * 0.02;
        let (a, g) = (draw(cols, cols / 3 + 1), draw(rows, rows / 2 + 1));
        (w, moment(cols, a), moment(rows, g))
    }

    fn factor(blocks: &[&Array2<f64>]) -> ColumnFactor {
        let blocks = blocks.iter().map(|&b| b.clone()).collect();
        ColumnFactor::new(&BlockDiagonal { blocks }).expect("definite")
    }

    fn distortion(w: &Array2<f32>, matrix: &LevelMatrix, a: &Array2<f64>, g: &Array2<f64>) -> f64 {
        let values = Array2::from_shape_vec(w.dim(), matrix.values_f64()).expect("shape");
        let error = values - w.mapv(f64::from);
        (g.dot(&error) * error.dot(a)).sum()
    }

    #[test]
    fn distortion_reported_is_that_of_the_levels() {
        let (w, a, g) = case(24, 70);
        let (input, output) = ([factor(&[&a])], [unit_upper(&g).expect("definite")]);
        let problem = Problem {
            coefficients: &w,
            period: 7,
            input: &input,
            output: &output,
            row_sensitivity: &output[0].d,
            col_sensitivity: &[input[0].d()],
            c: 0.02,
            lambda: 0.12,
        };
        let outcome = quantize(&problem, &problem.steps(StepFactors::Both)).expect("in range");
        let direct = distortion(&w, &outcome.matrix, &a, &g);
        assert!(
            (outcome.distortion / direct - 1.0).abs() < 0.01,
            "{} {direct}",
            outcome.distortion
        );
    }

    #[test]
    fn feedback_on_each_side_lowers_distortion_at_equal_steps() {
        let (w, a, g) = case(24, 70);
        let (input, output) = ([factor(&[&a])], [unit_upper(&g).expect("definite")]);
        let (rows, cols) = (vec![1.0; 24], [vec![1.0; 70]]);
        let at = |input: &[ColumnFactor], output: &[UnitUpper]| {
            let problem = Problem {
                coefficients: &w,
                period: 7,
                input,
                output,
                row_sensitivity: &rows,
                col_sensitivity: &cols,
                c: 0.1,
                lambda: 0.0,
            };
            let outcome = quantize(&problem, &problem.steps(StepFactors::None)).expect("in range");
            distortion(&w, &outcome.matrix, &a, &g)
        };
        let (plain, one_sided, two_sided) = (at(&[], &[]), at(&input, &[]), at(&input, &output));
        assert!(
            one_sided < 0.6 * plain && two_sided < 0.8 * one_sided,
            "{plain} {one_sided} {two_sided}"
        );
    }

    #[test]
    fn blocks_of_a_push_errors_as_the_whole_matrix_does() {
        let (w, a, g) = case(10, 90);
        let mut whole = a.clone();
        whole.slice_mut(s![..40, 40..]).fill(0.0);
        whole.slice_mut(s![40.., ..40]).fill(0.0);
        let parts = [a.slice(s![..40, ..40]), a.slice(s![40.., 40..])].map(|p| p.to_owned());
        let output = [unit_upper(&g).expect("definite")];
        let levels = |input: &[ColumnFactor]| {
            let problem = Problem {
                coefficients: &w,
                period: 9,
                input,
                output: &output,
                row_sensitivity: &output[0].d,
                col_sensitivity: &[input[0].d()],
                c: 0.05,
                lambda: 0.12,
            };
            let outcome = quantize(&problem, &problem.steps(StepFactors::Both));
            outcome.expect("in range").matrix.to_row_major()
        };
        let [first, second] = &parts;
        assert_eq!(
            levels(&[factor(&[&whole])]),
            levels(&[factor(&[first, second])])
        );
    }

    #[test]
    fn groups_are_coded_as_if_they_were_alone() {
        let (w, a, g) = case(12, 18);
        let factors = [factor(&[&a]), factor(&[&(&a * 3.0)])];
        let halves: Vec<UnitUpper> = (0..2)
            .map(|_| unit_upper(&g.slice(s![..6, ..6]).to_owned()).expect("definite"))
            .collect();
        let rows: Vec<f64> = halves.iter().flat_map(|h| h.d.clone()).collect();
        let joint = Problem {
            coefficients: &w,
            period: 9,
            input: &factors,
            output: &halves,
            row_sensitivity: &rows,
            col_sensitivity: &[factors[0].d(), factors[1].d()],
            c: 0.05,
            lambda: 0.0,
        };
        let steps = Steps {
            base: -200,
            rows: None,
            cols: None,
        };
        let together = quantize(&joint, &steps)
            .expect("in range")
            .matrix
            .to_row_major();
        for group in 0..2 {
            let part = w.slice(s![group * 6..group * 6 + 6, ..]).to_owned();
            let alone = Problem {
                coefficients: &part,
                input: &factors[group..=group],
                output: &halves[group..=group],
                row_sensitivity: &rows[group * 6..group * 6 + 6],
                col_sensitivity: &joint.col_sensitivity[group..=group],
                ..joint
            };
            let levels = quantize(&alone, &steps)
                .expect("in range")
                .matrix
                .to_row_major();
            assert_eq!(levels, together[group * 6 * 18..(group + 1) * 6 * 18]);
        }
    }
}
