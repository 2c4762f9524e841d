//! Successive quantization of one matrix. With Hessian `G ⊗ A`, `A = M·D·Mᵗ` and `G = N·g·Nᵗ` (unit upper M, N), the
//! distortion of an error E is `‖g^½ · NᵗEM · D^½‖²`: each level is chosen so that its own entry of `NᵗEM`, which holds what
//! earlier columns and rows pushed into it, is small (OBQ/GPTQ on the input side, both sides as in YAQA).

use std::ops::Range;

use ndarray::{Array2, s};
use pulp::{Arch, Simd, WithSimd};
use tqz_format::dequantize::step;
use tqz_format::entropy::COST_ONE_BIT;
use tqz_format::limits::MAX_LEVEL;
use tqz_format::{Counter, FormatError, LevelMatrix, LevelModel, MatrixSpec, TrellisState};

use crate::linalg::{Accumulate, Block, multiply};
use crate::quantize::trellis::Trellis;
use crate::quantize::{Problem, Steps};

/// Columns per block: inside a block errors are pushed one column at a time, across blocks by matrix products.
const BLOCK: usize = 32;

/// One coefficient as the search for its level sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) w: f64,
    /// What earlier columns pushed into it, in coordinate descent all others.
    pub(super) pushed: f32,
    pub(super) step: f64,
    /// Distortion of one unit of squared error.
    pub(super) sensitivity: f64,
    /// Squared error of one step in units of c².
    pub(super) weight: f64,
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
    let all: Vec<u32> = (0..problem.coefficients.nrows() as u32).collect();
    if !problem.dependent {
        return Pass::new(problem, steps, &all).run(steps);
    }
    // Rows without levels are not coded and so no part of a path: which they are is seen without the trellis.
    let plain = Problem {
        dependent: false,
        descents: 0,
        ..*problem
    };
    let whole = steps.doubled();
    let kept = Pass::new(&plain, &whole, &all).run(&whole)?;
    Pass::new(problem, steps, kept.matrix.active_rows()).run(steps)
}

/// A level model that has seen nothing.
fn fresh_model(problem: &Problem<'_>, rows: usize) -> LevelModel {
    let mut model = LevelModel::new(&MatrixSpec {
        rows,
        cols: problem.coefficients.ncols(),
        period: problem.period,
    });
    if problem.dependent {
        model.make_dependent();
    }
    model
}

/// The state of one pass over the matrix. All arrays are columns × rows, so that a column is contiguous.
struct Pass<'a> {
    problem: &'a Problem<'a>,
    /// Coefficients transposed.
    w: Array2<f32>,
    /// What earlier columns pushed into each entry, in coordinate descent all others.
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
    /// Place of each row among those that may have levels.
    places: Vec<Option<usize>>,
    /// Those rows.
    kept: Vec<u32>,
    trellis: Option<Trellis>,
    /// Per group, what a column's own error costs as it is being quantized.
    curvature: Vec<Vec<f64>>,
    /// The widest vectors that the processor has.
    vectors: Arch,
}

impl<'a> Pass<'a> {
    fn new(problem: &'a Problem<'a>, steps: &Steps, kept: &[u32]) -> Self {
        let (rows, cols) = problem.coefficients.dim();
        let w = problem.coefficients.t().as_standard_layout().into_owned();
        let zeros = |count| vec![0; count];
        let row_exponents = steps.rows.clone().unwrap_or_else(|| zeros(rows));
        let mut places = vec![None; rows];
        kept.iter()
            .enumerate()
            .for_each(|(place, &r)| places[r as usize] = Some(place));
        Self {
            problem,
            pushed: Array2::zeros((cols, rows)),
            z: Array2::zeros((cols, rows)),
            levels: Vec::with_capacity(rows * cols),
            w,
            row_exponent: row_exponents.iter().map(|e| steps.base + e).collect(),
            col_exponent: steps.cols.clone().unwrap_or_else(|| zeros(cols)),
            model: fresh_model(problem, kept.len()),
            counter: Counter::new(),
            distortion: 0.0,
            places,
            kept: kept.to_vec(),
            trellis: problem.dependent.then(|| Trellis::new(rows)),
            curvature: problem.col_sensitivity.to_vec(),
            vectors: Arch::new(),
        }
    }

    fn run(mut self, steps: &Steps) -> Result<Outcome, FormatError> {
        self.first();
        let mut least = self.cost();
        for _ in 0..self.problem.descents {
            let before = (self.levels.clone(), self.distortion);
            self.descend();
            let cost = self.cost();
            if cost < least {
                least = cost;
            } else {
                // The rest is of no use any more.
                (self.levels, self.distortion) = before;
                break;
            }
        }
        self.outcome(steps)
    }

    /// Of all levels, in units of c².
    fn cost(&self) -> f64 {
        let c = self.problem.c;
        self.distortion / (c * c) + self.problem.price() * self.counter.bits_f64()
    }

    /// Quantizes every column, later ones making up for what earlier ones err by.
    fn first(&mut self) {
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
    }

    fn outcome(&self, steps: &Steps) -> Result<Outcome, FormatError> {
        let (spec, scale) = (self.spec(), steps.scale());
        let matrix = match &self.trellis {
            None => LevelMatrix::from_row_major(spec, scale, &self.row_major())?,
            Some(_) => LevelMatrix::dependent(spec, scale, (&self.kept, &self.row_major()))?,
        };
        Ok(Outcome {
            distortion: self.distortion,
            matrix,
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

    /// Quantizes column j, row after row, with the widest vectors that the processor has: the same levels with any.
    fn column(&mut self, j: usize, carried: &mut [f32]) {
        let (vectors, pass) = (self.vectors, self);
        vectors.dispatch(Column { pass, j, carried });
    }

    #[inline(always)]
    fn column_with_any(&mut self, j: usize, carried: &mut [f32]) {
        carried.fill(0.0);
        self.model.begin_column(j);
        let mut state = TrellisState::default();
        let path = self.best_path(j);
        for r in 0..carried.len() {
            let entry = self.entry(r, j);
            let level = match (&path, self.places[r]) {
                (Some(levels), Some(place)) => {
                    let index = state.index(levels[r]).unwrap_or(0);
                    let context = self.model.context_on(&self.model.path(), place, state);
                    self.model.code(&mut self.counter, &context, index);
                    state = state.after(index);
                    levels[r]
                }
                (Some(_), None) => 0,
                (None, _) => {
                    let due = f64::from(self.pushed[(j, r)] + carried[r]);
                    self.choose(r, (entry.w - due) / entry.step, entry.weight)
                }
            };
            self.settle((r, j), &entry, level, carried);
        }
    }

    /// The levels of column j with the least cost, where they depend on each other.
    #[inline(always)]
    fn best_path(&mut self, j: usize) -> Option<Vec<i32>> {
        let mut trellis = self.trellis.take()?;
        trellis.begin(self.model.path());
        let group_rows = self.problem.group_rows();
        for r in 0..self.w.ncols() {
            let group = r / group_rows;
            if r.is_multiple_of(group_rows) {
                trellis.begin_group(r..r + group_rows);
            }
            let entry = self.entry(r, j);
            trellis.step(
                r,
                &entry,
                (&self.model, self.places[r]),
                self.problem.price(),
            );
            if let Some(output) = self.problem.output.get(group) {
                let end = (group + 1) * group_rows;
                trellis.push(r, output.beyond(r - group * group_rows), end);
            }
        }
        let levels = trellis.best();
        self.trellis = Some(trellis);
        Some(levels)
    }

    #[inline(always)]
    fn entry(&self, r: usize, j: usize) -> Entry {
        let group = r / self.problem.group_rows();
        let sensitivity = self.problem.row_sensitivity[r] * self.curvature[group][j];
        let step = step(self.row_exponent[r] + self.col_exponent[j]);
        Entry {
            w: f64::from(self.w[(j, r)]),
            pushed: self.pushed[(j, r)],
            step,
            sensitivity,
            weight: sensitivity * step * step / (self.problem.c * self.problem.c),
        }
    }

    /// Takes in the level of (row, column): what it errs by, and what that pushes into the rows below.
    #[inline(always)]
    fn settle(&mut self, (r, j): (usize, usize), entry: &Entry, level: i32, carried: &mut [f32]) {
        let problem = self.problem;
        let group_rows = problem.group_rows();
        let group = r / group_rows;
        let error = (f64::from(level) * entry.step - entry.w) as f32;
        let z = error + carried[r];
        self.z[(j, r)] = z;
        let total = f64::from(z) + f64::from(self.pushed[(j, r)]);
        self.distortion += entry.sensitivity * total * total;
        self.levels.push(level);
        if let Some(output) = problem.output.get(group) {
            let first = group * group_rows;
            let below = &mut carried[r + 1..first + group_rows];
            for (to, factor) in below.iter_mut().zip(output.beyond(r - first)) {
                *to += factor * error;
            }
        }
    }

    /// The level for target `t` (in steps) with the least `error²·weight + λ·bits`, among nearest, one toward zero, and 0.
    fn choose(&mut self, row: usize, t: f64, weight: f64) -> i32 {
        let context = self.model.context(row);
        let magnitude = t.abs();
        let nearest = ((magnitude + 0.5) as i32).min(MAX_LEVEL);
        let sign = if t < 0.0 { -1 } else { 1 };
        let mut best = nearest;
        let price = self.problem.price();
        if nearest > 0 && price > 0.0 {
            let bits = self.model.candidate_costs(&context, sign * nearest);
            let per_unit = price / f64::from(COST_ONE_BIT);
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

/// A column to be quantized, compiled for every width of vectors.
struct Column<'a, 'b> {
    pass: &'a mut Pass<'b>,
    j: usize,
    carried: &'a mut [f32],
}

impl WithSimd for Column<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.pass.column_with_any(self.j, self.carried);
    }
}

mod descent;
#[cfg(test)]
mod tests;
