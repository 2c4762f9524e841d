//! A matrix of levels and the exponents of its steps.

use crate::dependent::TrellisState;
use crate::entropy::MatrixSpec;
use crate::error::{FormatError, check_equal, check_limit};
use crate::limits::{
    MAX_BASE_EXPONENT, MAX_DEPTH, MAX_EXTENT, MAX_LEVEL, MAX_SCALE_EXPONENT, MAX_SCALE_SHIFT,
};

/// Exponents of rows or columns: factor `2^(units << shift)/64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleVector {
    /// Granularity: one unit is `2^shift`/64 octave.
    pub shift: u8,
    /// One value per row or column; `|units << shift|` at most [`MAX_SCALE_EXPONENT`].
    pub units: Vec<i32>,
}

impl ScaleVector {
    /// Rounds exponents in 1/64 octave to units of `2^shift`, ties upward.
    #[must_use]
    pub fn rounded(shift: u8, exponents: &[i32]) -> Self {
        let half = (1i32 << shift) >> 1;
        Self {
            shift,
            units: exponents.iter().map(|e| (e + half) >> shift).collect(),
        }
    }

    /// Exponent `index` in 1/64 octave.
    #[must_use]
    pub fn exponent(&self, index: usize) -> i32 {
        self.units[index] << self.shift
    }

    pub(crate) fn validate(&self, count: usize) -> Result<(), FormatError> {
        check_limit(
            "granularity of scale exponents",
            self.shift.into(),
            MAX_SCALE_SHIFT.into(),
        )?;
        check_equal("number of scale exponents", self.units.len(), count)?;
        match self
            .units
            .iter()
            .find(|u| u.unsigned_abs() > (MAX_SCALE_EXPONENT >> self.shift) as u32)
        {
            Some(&unit) => Err(FormatError::Invalid {
                what: "scale exponent",
                found: unit.into(),
                legal: "-4096 to 4096 in 1/64 octave",
            }),
            None => Ok(()),
        }
    }
}

/// Steps of a matrix: `step(r,j) = 2^((base + rows[r] + cols[j])/64)`, exponents in 1/64 octave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepScale {
    /// Exponent of every step, magnitude at most [`MAX_BASE_EXPONENT`].
    pub base: i32,
    /// Exponents of the rows; none: all 0.
    pub rows: Option<ScaleVector>,
    /// Exponents of the columns; none: all 0.
    pub cols: Option<ScaleVector>,
}

impl StepScale {
    /// One step for the whole matrix.
    #[must_use]
    pub fn uniform(base: i32) -> Self {
        Self {
            base,
            rows: None,
            cols: None,
        }
    }

    /// Exponent of the step of element (`row`, `col`), in 1/64 octave.
    #[must_use]
    pub fn exponent(&self, row: usize, col: usize) -> i32 {
        self.base
            + self.rows.as_ref().map_or(0, |s| s.exponent(row))
            + self.cols.as_ref().map_or(0, |s| s.exponent(col))
    }
}

/// How levels become bits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Packing {
    /// By the adaptive level model.
    #[default]
    Modelled,
    /// Two's complement of one width for a row: no entropy coding (paper Eq. 5).
    RowDepths(Vec<u8>),
    /// Likewise, one width for a column.
    ColumnDepths(Vec<u8>),
    /// By the adaptive model as indices of dependent quantization: the levels of a column's active rows are a path through the
    /// trellis of [`TrellisState`].
    Dependent,
}

impl Packing {
    /// Bits of the level at (`row`, `col`); none where the model codes it.
    #[must_use]
    pub fn depth_bits(&self, row: usize, col: usize) -> Option<u32> {
        match self {
            Self::Modelled | Self::Dependent => None,
            Self::RowDepths(depths) => Some(depths[row].into()),
            Self::ColumnDepths(depths) => Some(depths[col].into()),
        }
    }
}

/// A matrix of levels and their steps. Rows without any level take no memory; the others are kept column
/// after column, the order in which they are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelMatrix {
    pub(crate) spec: MatrixSpec,
    pub(crate) scale: StepScale,
    /// Rows that have a level, rising.
    pub(crate) active: Vec<u32>,
    /// `active.len() * cols` levels, columns outer.
    pub(crate) levels: Vec<i32>,
    pub(crate) packing: Packing,
}

impl LevelMatrix {
    /// Takes levels in row-major order, `rows x cols` as in `spec`. Scale exponents of rows without any
    /// level are not stored in a file: they become 0 here.
    ///
    /// # Errors
    /// If lengths do not match `spec` or a level or exponent is out of range.
    pub fn from_row_major(
        spec: MatrixSpec,
        scale: StepScale,
        levels: &[i32],
    ) -> Result<Self, FormatError> {
        check_equal(
            "number of levels",
            levels.len(),
            spec.rows.saturating_mul(spec.cols),
        )?;
        let row = |r: usize| &levels[r * spec.cols..(r + 1) * spec.cols];
        let active = (0..spec.rows)
            .filter(|&r| row(r).iter().any(|&level| level != 0))
            .map(|r| r as u32)
            .collect();
        Self::of_rows(spec, scale, (active, levels), Packing::Modelled)
    }

    /// Takes levels that are paths through the trellis of [`TrellisState`] down the columns of the rows `active`, rising; the others have no level.
    ///
    /// # Errors
    /// If lengths do not match `spec`, a level or exponent is out of range, or a level is not its state's.
    pub fn dependent(
        spec: MatrixSpec,
        scale: StepScale,
        (active, levels): (&[u32], &[i32]),
    ) -> Result<Self, FormatError> {
        check_equal(
            "number of levels",
            levels.len(),
            spec.rows.saturating_mul(spec.cols),
        )?;
        let last = active.last().map_or(0, |&r| r as usize + 1);
        check_limit("rows with levels", last as u64, spec.rows as u64)?;
        Self::of_rows(spec, scale, (active.to_vec(), levels), Packing::Dependent)
    }

    fn of_rows(
        spec: MatrixSpec,
        scale: StepScale,
        (active, levels): (Vec<u32>, &[i32]),
        packing: Packing,
    ) -> Result<Self, FormatError> {
        let mut kept = Vec::with_capacity(active.len() * spec.cols);
        for j in 0..spec.cols {
            kept.extend(active.iter().map(|&r| levels[r as usize * spec.cols + j]));
        }
        let mut matrix = Self {
            spec,
            scale,
            active,
            levels: kept,
            packing,
        };
        matrix.forget_inactive_scales();
        matrix.validate()?;
        Ok(matrix)
    }

    /// The same with levels of fixed widths. Widths of rows without any level are not stored: they become 0.
    ///
    /// # Errors
    /// If widths are missing or beyond 1 to [`MAX_DEPTH`], or a level does not fit its own.
    pub fn with_packing(mut self, packing: Packing) -> Result<Self, FormatError> {
        self.packing = packing;
        if let Packing::RowDepths(depths) = &mut self.packing {
            let mut active = self.active.iter().peekable();
            for (r, depth) in depths.iter_mut().enumerate() {
                if active.next_if(|&&a| a as usize == r).is_none() {
                    *depth = 0;
                }
            }
        }
        self.validate()?;
        Ok(self)
    }

    fn forget_inactive_scales(&mut self) {
        if let Some(scales) = &mut self.scale.rows {
            let mut active = self.active.iter().peekable();
            for (r, unit) in scales.units.iter_mut().enumerate() {
                if active.next_if(|&&a| a as usize == r).is_none() {
                    *unit = 0;
                }
            }
        }
    }

    /// Rows, columns and kernel positions.
    #[must_use]
    pub fn spec(&self) -> MatrixSpec {
        self.spec
    }

    /// The same levels with other steps.
    ///
    /// # Errors
    /// Exponents beyond their limits or of another number.
    pub fn with_scale(mut self, scale: StepScale) -> Result<Self, FormatError> {
        self.scale = scale;
        self.forget_inactive_scales();
        self.validate()?;
        Ok(self)
    }

    /// The steps' exponents.
    #[must_use]
    pub fn scale(&self) -> &StepScale {
        &self.scale
    }

    /// Rows that have a level, rising.
    #[must_use]
    pub fn active_rows(&self) -> &[u32] {
        &self.active
    }

    /// How the levels become bits.
    #[must_use]
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// Levels of the active rows, column after column.
    #[must_use]
    pub fn coded_levels(&self) -> &[i32] {
        &self.levels
    }

    /// Level at (`row`, `col`).
    #[must_use]
    pub fn level(&self, row: usize, col: usize) -> i32 {
        match self.active.binary_search(&(row as u32)) {
            Ok(index) => self.levels[col * self.active.len() + index],
            Err(_) => 0,
        }
    }

    /// All levels in row-major order.
    #[must_use]
    pub fn to_row_major(&self) -> Vec<i32> {
        let mut levels = vec![0; self.spec.rows * self.spec.cols];
        for j in 0..self.spec.cols {
            for (index, &r) in self.active.iter().enumerate() {
                levels[r as usize * self.spec.cols + j] =
                    self.levels[j * self.active.len() + index];
            }
        }
        levels
    }

    /// How many levels are zero, those of inactive rows included.
    #[must_use]
    pub fn zeros(&self) -> usize {
        let coded = self.levels.iter().filter(|&&level| level == 0).count();
        (self.spec.rows - self.active.len()) * self.spec.cols + coded
    }

    pub(crate) fn validate(&self) -> Result<(), FormatError> {
        check_limit("rows of a matrix", self.spec.rows as u64, MAX_EXTENT)?;
        check_limit("columns of a matrix", self.spec.cols as u64, MAX_EXTENT)?;
        check_limit("kernel positions", self.spec.period as u64, MAX_EXTENT)?;
        check_positions(self.spec.cols, self.spec.period)?;
        check_base(self.scale.base.into())?;
        if let Some(rows) = &self.scale.rows {
            rows.validate(self.spec.rows)?;
        }
        if let Some(cols) = &self.scale.cols {
            cols.validate(self.spec.cols)?;
        }
        self.levels
            .iter()
            .try_for_each(|&level| check_level(level))?;
        self.validate_depths()
    }

    /// Every column's levels are those of quantizers that follow each other.
    fn validate_path(&self) -> Result<(), FormatError> {
        for column in self.levels.chunks_exact(self.active.len().max(1)) {
            let mut state = TrellisState::default();
            for &level in column {
                let index = state.index(level).ok_or(FormatError::Invalid {
                    what: "level",
                    found: level.into(),
                    legal: "even or odd as the levels above it in its column demand",
                })?;
                state = state.after(index);
            }
        }
        Ok(())
    }

    fn validate_depths(&self) -> Result<(), FormatError> {
        match &self.packing {
            Packing::Modelled => return Ok(()),
            Packing::Dependent => return self.validate_path(),
            Packing::RowDepths(depths) => {
                check_equal("number of bit-depths", depths.len(), self.spec.rows)?;
                for &r in &self.active {
                    check_depth(depths[r as usize].into())?;
                }
            }
            Packing::ColumnDepths(depths) => {
                check_equal("number of bit-depths", depths.len(), self.spec.cols)?;
                depths.iter().try_for_each(|&d| check_depth(d.into()))?;
            }
        }
        let count = self.active.len().max(1);
        for (j, column) in self.levels.chunks_exact(count).enumerate() {
            for (&r, &level) in self.active.iter().zip(column) {
                let depth = self.packing.depth_bits(r as usize, j).unwrap_or(32);
                if i64::from(level) << 1 >= 1 << depth || i64::from(level) << 1 < -(1 << depth) {
                    return Err(FormatError::Invalid {
                        what: "level",
                        found: level.into(),
                        legal: "what its bit-depth holds in two's complement",
                    });
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn check_positions(cols: usize, period: usize) -> Result<(), FormatError> {
    if period == 0 {
        return Err(FormatError::Invalid {
            what: "kernel positions",
            found: 0,
            legal: "at least 1",
        });
    }
    check_equal("columns left over by whole kernels", cols % period, 0)
}

pub(crate) fn check_base(base: i64) -> Result<(), FormatError> {
    if base.abs() > MAX_BASE_EXPONENT.into() {
        let legal = "-6400 to 6400 in 1/64 octave";
        return Err(FormatError::Invalid {
            what: "base exponent",
            found: base,
            legal,
        });
    }
    Ok(())
}

pub(crate) fn check_depth(depth: i64) -> Result<(), FormatError> {
    if !(1..=i64::from(MAX_DEPTH)).contains(&depth) {
        return Err(FormatError::Invalid {
            what: "bit-depth",
            found: depth,
            legal: "1 to 21",
        });
    }
    Ok(())
}

pub(crate) fn check_level(level: i32) -> Result<(), FormatError> {
    if level.unsigned_abs() > MAX_LEVEL as u32 {
        let legal = "-1048576 to 1048576";
        return Err(FormatError::Invalid {
            what: "level",
            found: level.into(),
            legal,
        });
    }
    Ok(())
}
