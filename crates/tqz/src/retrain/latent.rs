//! A matrix of levels as training sees it: every level is the rounded value of a latent number in units of its step
//! (straight-through estimator, paper 5.3).

use ndarray::Array2;
use tqz_format::dequantize::step;
use tqz_format::limits::MAX_BASE_EXPONENT;
use tqz_format::{LevelMatrix, MatrixSpec, Packing, StepScale};

use crate::error::TqzError;

/// Latent numbers of one matrix.
#[derive(Debug, Clone)]
pub(crate) struct Latent {
    spec: MatrixSpec,
    scale: StepScale,
    packing: Packing,
    /// Step of every element, row-major.
    steps: Vec<f32>,
    /// Latent of every element in units of its step, row-major.
    pub(crate) units: Vec<f32>,
    /// By how many octaves all steps have grown.
    pub(crate) octaves: f32,
}

impl Latent {
    /// The latents that stand in the middle of a matrix' levels. Training is not dependent: levels between two of one quantizer become the one
    /// nearer to zero.
    pub(crate) fn new(matrix: &LevelMatrix) -> Self {
        let spec = matrix.spec();
        let mut scale = filled(matrix);
        let mut levels = matrix.to_row_major();
        let mut packing = matrix.packing().clone();
        if packing == Packing::Dependent {
            packing = Packing::Modelled;
            levels.iter_mut().for_each(|level| *level /= 2);
            scale.base = (scale.base + 64).min(MAX_BASE_EXPONENT);
        }
        let elements = (0..spec.rows).flat_map(|r| (0..spec.cols).map(move |c| (r, c)));
        let steps = elements.map(|(r, c)| step(scale.exponent(r, c)) as f32);
        Self {
            spec,
            steps: steps.collect(),
            scale,
            packing,
            units: levels.iter().map(|&l| l as f32).collect(),
            octaves: 0.0,
        }
    }

    /// Rows, columns and kernel positions.
    pub(crate) fn spec(&self) -> MatrixSpec {
        self.spec
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
        let levels = self.levels(0.0);
        let pairs = units.iter().zip(levels);
        std::f32::consts::LN_2 * pairs.map(|(g, l)| g * l as f32).sum::<f32>()
    }

    /// Whether the level model codes the matrix, so that its size depends on its levels.
    pub(crate) fn is_modelled(&self) -> bool {
        self.packing == Packing::Modelled
    }

    /// The level of each latent; magnitudes are rounded down from `0.5 + dead` below the next level on.
    pub(crate) fn levels(&self, dead: f32) -> Vec<i32> {
        let cols = self.spec.cols.max(1);
        let level = |(index, &unit): (usize, &f32)| {
            let (low, high) = self.limits(index / cols, index % cols);
            (rounded(unit, dead) as i32).clamp(low, high)
        };
        self.units.iter().enumerate().map(level).collect()
    }

    /// Least and greatest level that an element can take.
    fn limits(&self, row: usize, col: usize) -> (i32, i32) {
        match self.packing.depth_bits(row, col) {
            None => (
                -tqz_format::limits::MAX_LEVEL,
                tqz_format::limits::MAX_LEVEL,
            ),
            Some(0) => (0, 0),
            Some(bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        }
    }

    /// The matrix that the levels stand for.
    pub(crate) fn values(&self) -> Array2<f32> {
        let levels = self.levels(0.0);
        let factor = step(self.growth()) as f32;
        let pairs = levels.iter().zip(&self.steps);
        let values = pairs.map(|(&l, s)| l as f32 * (s * factor));
        let shape = (self.spec.rows, self.spec.cols);
        Array2::from_shape_vec(shape, values.collect()).unwrap_or_else(|_| Array2::zeros(shape))
    }

    /// What the file stores, of the rows and columns named; all where none are.
    ///
    /// # Errors
    /// Levels that the format cannot hold.
    pub(crate) fn matrix(
        &self,
        dead: f32,
        (rows, cols): (Option<&[usize]>, Option<&[usize]>),
    ) -> Result<LevelMatrix, TqzError> {
        let all = self.levels(dead);
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
            Packing::Modelled | Packing::Dependent => Packing::Modelled,
            Packing::RowDepths(d) => Packing::RowDepths(rows.iter().map(|&r| d[r]).collect()),
            Packing::ColumnDepths(d) => Packing::ColumnDepths(cols.iter().map(|&c| d[c]).collect()),
        };
        Ok(LevelMatrix::from_row_major(spec, scale, &levels)?.with_packing(packing)?)
    }

    /// Rows that have a level.
    pub(crate) fn used_rows(&self, dead: f32) -> Vec<bool> {
        let levels = self.levels(dead);
        let rows = levels.chunks(self.spec.cols.max(1));
        rows.map(|row| row.iter().any(|&l| l != 0)).collect()
    }

    /// Columns that have a level.
    pub(crate) fn used_cols(&self, dead: f32) -> Vec<bool> {
        let mut used = vec![false; self.spec.cols];
        for row in self.levels(dead).chunks(self.spec.cols.max(1)) {
            used.iter_mut().zip(row).for_each(|(u, &l)| *u |= l != 0);
        }
        used
    }
}

/// Rounds to the nearest whole number, ties away from zero, `dead` later than that.
pub(crate) fn rounded(unit: f32, dead: f32) -> f32 {
    (unit.abs() + 0.5 - dead).floor().max(0.0).copysign(unit)
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
    use tqz_format::ScaleVector;

    fn matrix() -> LevelMatrix {
        let spec = MatrixSpec {
            rows: 3,
            cols: 2,
            period: 1,
        };
        let scale = StepScale {
            base: 64,
            rows: Some(ScaleVector::rounded(5, &[32, 0, 64])),
            cols: None,
        };
        LevelMatrix::from_row_major(spec, scale, &[1, -2, 0, 0, 3, 0]).expect("legal")
    }

    #[test]
    fn latents_begin_at_their_levels_and_give_the_matrix_back() {
        let latent = Latent::new(&matrix());
        assert_eq!(latent.matrix(0.0, (None, None)).expect("legal"), matrix());
        assert_eq!(latent.values()[(2, 0)], 12.0);
        // A row without levels gets the step of the others.
        assert!(latent.steps[2] > 2.0);
    }

    #[test]
    fn a_level_changes_where_its_latent_is_half_a_step_away() {
        assert_eq!(rounded(0.49, 0.0), 0.0);
        assert_eq!(rounded(-0.51, 0.0), -1.0);
        assert_eq!(rounded(-0.51, 0.1), 0.0);
        assert_eq!(rounded(1.61, 0.1), 2.0);
    }

    #[test]
    fn fixed_widths_limit_the_levels() {
        let packed = matrix().with_packing(Packing::RowDepths(vec![2, 0, 3]));
        let mut latent = Latent::new(&packed.expect("fits"));
        latent.units = vec![5.0, -5.0, 5.0, -5.0, 9.0, -9.0];
        assert_eq!(latent.levels(0.0), [1, -2, 0, 0, 3, -4]);
    }
}
