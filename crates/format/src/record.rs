//! What a .tqz file stores, as plain structs: all that the decoder sees and nothing else.

use crate::entropy::MatrixSpec;
use crate::error::{FormatError, check_equal, check_limit};
use crate::limits::{
    MAX_BASE_EXPONENT, MAX_BLOCKS, MAX_ELEMENTS, MAX_EXTENT, MAX_LEVEL, MAX_RANK,
    MAX_SCALE_EXPONENT, MAX_SCALE_SHIFT,
};

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TqzFile {
    /// Counts and remarks.
    pub meta: Meta,
    /// The network without its coded numbers; opaque bytes here.
    pub graph: Vec<u8>,
    /// Small side tensors: biases, normalisation vectors.
    pub vectors: Vec<Vector>,
    /// Tensors kept verbatim.
    pub raw: Vec<RawTensor>,
    /// Weight tensors.
    pub layers: Vec<LayerRecord>,
}

/// Counts and remarks; nothing here changes the decoded numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Number of weights that a rate in bits per weight refers to.
    pub weights: u64,
    /// Free key/value pairs in the writer's order.
    pub pairs: Vec<(String, String)>,
}

/// A small tensor of levels with one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// Which tensor of the graph this is.
    pub site: u32,
    /// Value = level · 2^`log2_step`; magnitude at most [`crate::limits::MAX_VECTOR_EXPONENT`].
    pub log2_step: i32,
    /// Levels, magnitudes at most [`crate::limits::MAX_VECTOR_LEVEL`].
    pub levels: Vec<i32>,
}

/// A tensor kept verbatim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// Which tensor of the graph this is.
    pub site: u32,
    /// Bytes of one element (1, 2, 4 or 8): only a hint to the byte coder.
    pub width: u8,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How the tensor's elements lie in the n x K weight matrix (n output channels, K = inputs x positions).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[n, m, a, b, ..]` (convolution, OIHW) or `[n, K]` (Gemm with transB = 1): row-major as it is.
    RowsFirst,
    /// `[K, n]` (Gemm with transB = 0, MatMul): the transpose.
    ColumnsFirst,
    /// `[C_in, C_out/groups, a, b, ..]` (transposed convolution): row `g·C_out/groups + o`, column
    /// `i·positions + p` is element `[g·C_in/groups + i, o, p]`.
    Transposed {
        /// Groups of the transposed convolution; divides `C_in`.
        groups: u32,
    },
}

/// The weight matrix' shape that dims and layout give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixShape {
    /// Output channels n.
    pub rows: usize,
    /// K: input channels (of one group) times kernel positions.
    pub cols: usize,
    /// Kernel positions.
    pub period: usize,
}

/// One weight tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Which tensor of the graph this is.
    pub site: u32,
    /// The tensor's dimensions as in the graph.
    pub dims: Vec<usize>,
    /// Where elements lie in the matrix.
    pub layout: Layout,
    /// Blocks of rows, in order, together all rows.
    pub blocks: Vec<Block>,
}

/// A contiguous range of output rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Number of output rows in this block.
    pub rows: usize,
    /// How they are coded.
    pub coding: BlockCoding,
}

/// How a block of n rows (K columns, `kk` kernel positions, m = K/kk input channels) is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockCoding {
    /// The weights themselves, n x K.
    Identity {
        /// Levels of the weights.
        weights: LevelMatrix,
    },
    /// Column transform: `W[r,j] = sum over l of S[r,l]·T[l,j]`.
    Column {
        /// Coefficients, k x K.
        t: LevelMatrix,
        /// Synthesis basis, n x k.
        s: LevelMatrix,
    },
    /// Row transform: `W[r, i·kk + p] = sum over l of T[r, l·kk + p]·S[l,i]`.
    Row {
        /// Coefficients, n x k·kk.
        t: LevelMatrix,
        /// Synthesis basis, k x m.
        s: LevelMatrix,
    },
}

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
        let active: Vec<u32> = (0..spec.rows)
            .filter(|&r| row(r).iter().any(|&level| level != 0))
            .map(|r| r as u32)
            .collect();
        let mut kept = Vec::with_capacity(active.len() * spec.cols);
        for j in 0..spec.cols {
            kept.extend(active.iter().map(|&r| levels[r as usize * spec.cols + j]));
        }
        let mut matrix = Self {
            spec,
            scale,
            active,
            levels: kept,
        };
        matrix.forget_inactive_scales();
        matrix.validate()?;
        Ok(matrix)
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

    fn validate(&self) -> Result<(), FormatError> {
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
        self.levels.iter().try_for_each(|&level| check_level(level))
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

impl LayerRecord {
    /// Shape of the weight matrix.
    ///
    /// # Errors
    /// If dimensions are out of range or do not suit the layout.
    pub fn shape(&self) -> Result<MatrixShape, FormatError> {
        matrix_shape(&self.dims, self.layout)
    }

    /// Checks that blocks and matrices fit the tensor.
    ///
    /// # Errors
    /// Names the first part that does not fit.
    pub fn validate(&self) -> Result<(), FormatError> {
        let shape = self.shape()?;
        check_limit("blocks of a layer", self.blocks.len() as u64, MAX_BLOCKS)?;
        let mut rows = 0usize;
        for block in &self.blocks {
            rows = rows.saturating_add(block.rows);
            block.validate(&shape)?;
        }
        check_equal("rows of all blocks together", rows, shape.rows)
    }

    /// Number of elements of the tensor.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims
            .iter()
            .fold(1, |product, &dim| product.saturating_mul(dim as u64))
    }
}

impl Block {
    fn validate(&self, shape: &MatrixShape) -> Result<(), FormatError> {
        if self.rows == 0 {
            let legal = "at least 1";
            return Err(FormatError::Invalid {
                what: "rows of a block",
                found: 0,
                legal,
            });
        }
        let channels = shape.cols / shape.period;
        let fits = |m: &LevelMatrix, rows, cols, period| {
            check_equal("rows of a matrix", m.spec.rows, rows)?;
            check_equal("columns of a matrix", m.spec.cols, cols)?;
            check_equal("kernel positions of a matrix", m.spec.period, period)?;
            m.validate()
        };
        match &self.coding {
            BlockCoding::Identity { weights } => fits(weights, self.rows, shape.cols, shape.period),
            BlockCoding::Column { t, s } => {
                let k = t.spec.rows;
                fits(t, k, shape.cols, shape.period)?;
                fits(s, self.rows, k, 1)
            }
            BlockCoding::Row { t, s } => {
                let k = s.spec.rows;
                fits(t, self.rows, k.saturating_mul(shape.period), shape.period)?;
                fits(s, k, channels, 1)
            }
        }
    }
}

/// Shape of the weight matrix of a tensor.
pub(crate) fn matrix_shape(dims: &[usize], layout: Layout) -> Result<MatrixShape, FormatError> {
    let rank = dims.len();
    let legal_rank = match layout {
        Layout::RowsFirst => 1..=MAX_RANK,
        Layout::ColumnsFirst => 2..=2,
        Layout::Transposed { .. } => 2..=MAX_RANK,
    };
    if !legal_rank.contains(&rank) {
        let legal = "1 to 8 (rows first), 2 (columns first), 2 to 8 (transposed)";
        return Err(FormatError::Invalid {
            what: "tensor rank",
            found: rank as i64,
            legal,
        });
    }
    let mut elements = 1u64;
    for &dim in dims {
        check_limit("tensor dimension", dim as u64, MAX_EXTENT)?;
        if dim == 0 {
            let legal = "at least 1";
            return Err(FormatError::Invalid {
                what: "tensor dimension",
                found: 0,
                legal,
            });
        }
        elements = elements.saturating_mul(dim as u64);
    }
    check_limit("elements of a tensor", elements, MAX_ELEMENTS)?;
    let period = dims.iter().skip(2).product();
    let (rows, cols) = match layout {
        Layout::RowsFirst => (dims[0], dims[1..].iter().product()),
        Layout::ColumnsFirst => (dims[1], dims[0]),
        Layout::Transposed { groups } => {
            let groups = groups as usize;
            if groups == 0 || !dims[0].is_multiple_of(groups) {
                let legal = "a divisor of the first dimension";
                return Err(FormatError::Invalid {
                    what: "groups",
                    found: groups as i64,
                    legal,
                });
            }
            (dims[1] * groups, dims[0] / groups * period)
        }
    };
    check_limit("rows of a matrix", rows as u64, MAX_EXTENT)?;
    check_limit("columns of a matrix", cols as u64, MAX_EXTENT)?;
    Ok(MatrixShape { rows, cols, period })
}
