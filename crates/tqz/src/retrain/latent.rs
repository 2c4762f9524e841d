//! A matrix of levels as training sees it: every level is the rounded value of a latent number in units of its quantizer's step
//! (straight-through estimator, paper 5.3); with dependent quantization, levels are the path nearest to a column of latents.

use ndarray::Array2;
use rayon::prelude::*;
use tqz_format::dequantize::step;
use tqz_format::limits::MAX_LEVEL;
use tqz_format::{LevelMatrix, MatrixSpec, Packing, StepScale};

use crate::error::TqzError;
use crate::retrain::path::PathSearch;
use crate::retrain::rate::Costs;

/// Columns whose paths are searched by one thread.
const SHARD: usize = 32;

/// Latent numbers of one matrix.
#[derive(Debug, Clone)]
pub(crate) struct Latent {
    spec: MatrixSpec,
    scale: StepScale,
    packing: Packing,
    /// Step of every element's quantizer, row-major: with dependent quantization two levels.
    steps: Vec<f32>,
    /// Latent of every element in units of its step, row-major.
    pub(crate) units: Vec<f32>,
    /// By how many octaves all steps have grown.
    pub(crate) octaves: f32,
    /// Levels chosen for the latents, row-major.
    levels: Vec<i32>,
    /// Rows that are part of paths, rising: those of the file that training begins from; all where levels do not depend on each other.
    path: Vec<u32>,
    costs: Costs,
}

impl Latent {
    /// The latents that stand at a matrix' levels.
    pub(crate) fn new(matrix: &LevelMatrix) -> Self {
        let spec = matrix.spec();
        let scale = filled(matrix);
        let levels = matrix.to_row_major();
        let packing = matrix.packing().clone();
        let dependent = packing == Packing::Dependent;
        let per_unit = if dependent { 2.0 } else { 1.0 };
        let elements = (0..spec.rows).flat_map(|r| (0..spec.cols).map(move |c| (r, c)));
        let steps = elements.map(|(r, c)| per_unit * step(scale.exponent(r, c)) as f32);
        let path = match dependent {
            true => matrix.active_rows().to_vec(),
            false => (0..spec.rows as u32).collect(),
        };
        Self {
            spec,
            steps: steps.collect(),
            units: levels.iter().map(|&l| l as f32 / per_unit).collect(),
            octaves: 0.0,
            costs: Costs::of(&levels, spec.cols, dependent.then_some(&path)),
            scale,
            packing,
            levels,
            path,
        }
    }

    /// Whether levels are paths through the trellis of dependent quantization.
    pub(crate) fn is_dependent(&self) -> bool {
        self.packing == Packing::Dependent
    }

    /// Units of one level.
    fn per_level(&self) -> f32 {
        if self.is_dependent() { 0.5 } else { 1.0 }
    }

    /// By how much all steps have grown, in the file's 1/64 octaves.
    fn growth(&self) -> i32 {
        (self.octaves * 64.0).round() as i32
    }

    /// The gradient at the latents from that at the values.
    pub(crate) fn to_units(&self, values: &Array2<f32>) -> Vec<f32> {
        let factor = step(self.growth()) as f32;
        let pairs = values.iter().zip(&self.steps);
        pairs.map(|(g, s)| g * s * factor).collect()
    }

    /// The gradient at `octaves` from that at the latents.
    pub(crate) fn slope_of_step(&self, units: &[f32]) -> f32 {
        let pairs = units.iter().zip(&self.levels);
        let sum: f32 = pairs.map(|(g, &l)| g * l as f32).sum();
        std::f32::consts::LN_2 * self.per_level() * sum
    }

    /// Adds `weight` times the slope of the file's bits at every latent to the gradient.
    pub(crate) fn add_pull(&self, weight: f32, gradient: &mut [f32]) {
        if self.is_modelled() {
            self.costs.add(&self.units, weight, gradient);
        }
    }

    /// Whether the level model codes the matrix, so that its size depends on its levels.
    pub(crate) fn is_modelled(&self) -> bool {
        matches!(self.packing, Packing::Modelled | Packing::Dependent)
    }

    /// Looks again at what levels cost.
    pub(crate) fn renew_costs(&mut self) {
        let path = self.is_dependent().then_some(&self.path[..]);
        self.costs = Costs::of(&self.levels, self.spec.cols, path);
    }

    /// Chooses the levels of the latents as they are now.
    pub(crate) fn settle(&mut self, lambda: f32) {
        self.levels = self.chosen(lambda);
    }

    /// The levels with the least `error² + lambda·bits`, errors in units.
    pub(crate) fn chosen(&self, lambda: f32) -> Vec<i32> {
        if self.is_dependent() {
            return self.paths(lambda);
        }
        let cols = self.spec.cols.max(1);
        let counts = lambda > 0.0 && self.is_modelled();
        let level = |(index, &unit): (usize, &f32)| {
            let (row, col) = (index / cols, index % cols);
            let (low, high) = self.limits(row, col);
            let nearest = (unit.abs() + 0.5).floor().copysign(unit) as i32;
            let nearest = nearest.clamp(low, high);
            if nearest == 0 || !counts {
                return nearest;
            }
            let bits = self.costs.bits(row, col);
            let cost = |level: &i32| {
                let miss = *level as f32 - unit;
                miss * miss + lambda * bits.of(0, *level)
            };
            let candidates = [nearest, nearest - nearest.signum(), 0];
            let best = candidates.into_iter();
            best.min_by(|a, b| cost(a).total_cmp(&cost(b)))
                .unwrap_or(nearest)
        };
        self.units.iter().enumerate().map(level).collect()
    }

    /// As [`Self::chosen`], by the best path down every column.
    fn paths(&self, lambda: f32) -> Vec<i32> {
        let cols = self.spec.cols;
        let mut levels = vec![0; self.spec.rows * cols];
        let shards: Vec<usize> = (0..cols).step_by(SHARD).collect();
        let found: Vec<Vec<i32>> = shards
            .par_iter()
            .map(|&first| self.shard((first, cols.min(first + SHARD)), lambda))
            .collect();
        for (first, shard) in shards.iter().zip(found) {
            let columns = shard.chunks(self.path.len().max(1)).enumerate();
            for (j, column) in columns {
                for (&row, level) in self.path.iter().zip(column) {
                    levels[row as usize * cols + first + j] = *level;
                }
            }
        }
        levels
    }

    fn shard(&self, (first, end): (usize, usize), lambda: f32) -> Vec<i32> {
        let mut search = PathSearch::new();
        let mut column = Vec::new();
        let mut all = Vec::with_capacity((end - first) * self.path.len());
        for col in first..end {
            let units = self.path.iter();
            let units = units.map(|&row| self.units[row as usize * self.spec.cols + col]);
            let bits = |place: usize| self.costs.bits(self.path[place] as usize, col);
            search.best(units, (bits, lambda), &mut column);
            all.extend_from_slice(&column);
        }
        all
    }

    /// Least and greatest level that an element can take.
    fn limits(&self, row: usize, col: usize) -> (i32, i32) {
        match self.packing.depth_bits(row, col) {
            None => (-MAX_LEVEL, MAX_LEVEL),
            Some(0) => (0, 0),
            Some(bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        }
    }

    /// The matrix that the levels stand for.
    pub(crate) fn values(&self) -> Array2<f32> {
        let factor = self.per_level() * step(self.growth()) as f32;
        let pairs = self.levels.iter().zip(&self.steps);
        let values = pairs.map(|(&l, s)| l as f32 * (s * factor));
        let shape = (self.spec.rows, self.spec.cols);
        Array2::from_shape_vec(shape, values.collect()).unwrap_or_else(|_| Array2::zeros(shape))
    }

    /// What the file stores with levels of [`Self::chosen`], of the rows and columns named; all where none are.
    ///
    /// # Errors
    /// Levels that the format cannot hold, rows left out that are part of paths.
    pub(crate) fn matrix(
        &self,
        all: &[i32],
        (rows, cols): (Option<&[usize]>, Option<&[usize]>),
    ) -> Result<LevelMatrix, TqzError> {
        let every_row: Vec<usize> = (0..self.spec.rows).collect();
        let every_col: Vec<usize> = (0..self.spec.cols).collect();
        let (rows, cols) = (rows.unwrap_or(&every_row), cols.unwrap_or(&every_col));
        let levels = rows.iter().flat_map(|r| cols.iter().map(move |c| (r, c)));
        let levels: Vec<i32> = levels.map(|(r, c)| all[r * self.spec.cols + c]).collect();
        let spec = MatrixSpec {
            rows: rows.len(),
            cols: cols.len(),
            period: self.spec.period,
        };
        let mut scale = self.scale.clone();
        scale.base += self.growth();
        for (vector, kept) in [(&mut scale.rows, rows), (&mut scale.cols, cols)] {
            if let Some(vector) = vector {
                vector.units = kept.iter().map(|&i| vector.units[i]).collect();
            }
        }
        let packing = match &self.packing {
            Packing::Dependent => {
                let part = |(_, row): &(usize, &usize)| self.is_on_path(**row);
                let places = rows.iter().enumerate().filter(part);
                let places: Vec<u32> = places.map(|(place, _)| place as u32).collect();
                return Ok(LevelMatrix::dependent(spec, scale, (&places, &levels))?);
            }
            Packing::Modelled => Packing::Modelled,
            Packing::RowDepths(d) => Packing::RowDepths(rows.iter().map(|&r| d[r]).collect()),
            Packing::ColumnDepths(d) => Packing::ColumnDepths(cols.iter().map(|&c| d[c]).collect()),
        };
        Ok(LevelMatrix::from_row_major(spec, scale, &levels)?.with_packing(packing)?)
    }

    /// Whether a row is part of paths.
    fn is_on_path(&self, row: usize) -> bool {
        self.path.binary_search(&(row as u32)).is_ok()
    }

    /// Rows that must be stored: those on paths; where there are no paths, those that have a level.
    pub(crate) fn used_rows(&self, levels: &[i32]) -> Vec<bool> {
        if self.is_dependent() {
            return (0..self.spec.rows).map(|r| self.is_on_path(r)).collect();
        }
        let rows = levels.chunks(self.spec.cols.max(1));
        rows.map(|row| row.iter().any(|&l| l != 0)).collect()
    }

    /// Columns that have a level.
    pub(crate) fn used_cols(&self, levels: &[i32]) -> Vec<bool> {
        let mut used = vec![false; self.spec.cols];
        for row in levels.chunks(self.spec.cols.max(1)) {
            used.iter_mut().zip(row).for_each(|(u, &l)| *u |= l != 0);
        }
        used
    }

    /// What levels cost, as it was looked at last.
    pub(crate) fn costs(&self) -> &Costs {
        &self.costs
    }

    /// The same, to be put back.
    pub(crate) fn costs_mut(&mut self) -> &mut Costs {
        &mut self.costs
    }
}

/// A matrix' scale with exponents for the rows whose own were not stored because they have no levels: the middle one of
/// those that were.
fn filled(matrix: &LevelMatrix) -> StepScale {
    let mut scale = matrix.scale().clone();
    if let Some(rows) = &mut scale.rows {
        let active = matrix.active_rows();
        let mut known: Vec<i32> = active.iter().map(|&r| rows.units[r as usize]).collect();
        known.sort_unstable();
        let middle = known.get(known.len() / 2).copied().unwrap_or(0);
        for (r, unit) in rows.units.iter_mut().enumerate() {
            if active.binary_search(&(r as u32)).is_err() {
                *unit = middle;
            }
        }
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz_format::{ScaleVector, TrellisState};

    const SPEC: MatrixSpec = MatrixSpec {
        rows: 3,
        cols: 2,
        period: 1,
    };

    fn scale() -> StepScale {
        StepScale {
            base: 64,
            rows: Some(ScaleVector::rounded(5, &[32, 0, 64])),
            cols: None,
        }
    }

    fn matrix() -> LevelMatrix {
        LevelMatrix::from_row_major(SPEC, scale(), &[1, -2, 0, 0, 3, 0]).expect("legal")
    }

    #[test]
    fn latents_begin_at_their_levels_and_give_the_matrix_back() {
        let latent = Latent::new(&matrix());
        let stored = latent.matrix(&latent.chosen(0.0), (None, None));
        assert_eq!(stored.expect("legal"), matrix());
        assert_eq!(latent.values()[(2, 0)], 12.0);
        // A row without levels gets the step of the others.
        assert!(latent.steps[2] > 2.0);
    }

    #[test]
    fn a_level_changes_where_its_latent_is_half_a_step_away() {
        let mut latent = Latent::new(&matrix());
        latent.units = vec![0.49, -0.51, 0.0, 1.61, -2.4, 0.5];
        assert_eq!(latent.chosen(0.0), [0, -1, 0, 2, -2, 1]);
        // Where bits count, the levels that are barely worth it go first.
        assert_eq!(latent.chosen(0.1), [0, 0, 0, 2, -2, 0]);
        assert_eq!(latent.chosen(40.0), [0; 6]);
    }

    #[test]
    fn fixed_widths_limit_the_levels() {
        let packed = matrix().with_packing(Packing::RowDepths(vec![2, 0, 3]));
        let mut latent = Latent::new(&packed.expect("fits"));
        latent.units = vec![5.0, -5.0, 5.0, -5.0, 9.0, -9.0];
        assert_eq!(latent.chosen(0.0), [1, -2, 0, 0, 3, -4]);
    }

    /// Levels of paths, of which the middle row is no part.
    fn dependent() -> LevelMatrix {
        let mut levels = [0; 6];
        for col in 0..2 {
            let mut state = TrellisState::default();
            for (row, index) in [(0, 1 - 2 * col as i32), (2, 2)] {
                levels[row * 2 + col] = state.level(index);
                state = state.after(index);
            }
        }
        LevelMatrix::dependent(SPEC, scale(), (&[0, 2], &levels)).expect("legal")
    }

    #[test]
    fn latents_of_paths_give_the_matrix_back_and_stay_paths_when_they_move() {
        let mut latent = Latent::new(&dependent());
        let stored = |latent: &Latent, lambda: f32| {
            let levels = latent.chosen(lambda);
            latent.matrix(&levels, (None, None)).expect("a path")
        };
        assert_eq!(stored(&latent, 0.0), dependent());
        let half = dependent().to_row_major()[0] as f32 * latent.steps[0] / 2.0;
        assert_eq!(latent.values()[(0, 0)], half);
        // A row that is no part of paths stays without levels.
        latent.units = vec![0.8, -0.7, 0.9, 0.9, -1.6, 0.1];
        latent.settle(0.0);
        latent.renew_costs();
        assert_ne!(stored(&latent, 0.0), dependent());
        assert_eq!(stored(&latent, 0.0).to_row_major()[2..4], [0, 0]);
        assert_eq!(stored(&latent, 0.0).to_row_major(), latent.levels);
        let mut other = Latent::new(&dependent());
        other.units.clone_from(&latent.units);
        assert!(other.costs_mut().restore(&latent.costs().numbers()));
        assert_eq!(stored(&other, 0.1), stored(&latent, 0.1));
    }
}
