//! What a .tqz file stores, as plain structs: all that the decoder sees and nothing else.

use crate::error::{FormatError, check_equal, check_limit};
use crate::level_matrix::LevelMatrix;
use crate::limits::{MAX_BLOCKS, MAX_ELEMENTS, MAX_EXTENT, MAX_RANK};

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
    /// Transform inside the kernels: `W[r, i·kk + p] = sum over l of T[r, i·k + l]·S[l,p]`.
    Kernel {
        /// Coefficients, n x m·k, k positions.
        t: LevelMatrix,
        /// Synthesis basis, k x kk.
        s: LevelMatrix,
    },
    /// Column and row transform: `X[r, q·kk + p] = sum over l of S[r,l]·T[l, q·kk + p]` and
    /// `W[r, i·kk + p] = sum over q of X[r, q·kk + p]·V[q,i]`.
    Both {
        /// Coefficients, k x q·kk.
        t: LevelMatrix,
        /// Synthesis basis of the outputs, n x k.
        s: LevelMatrix,
        /// Synthesis basis of the inputs, q x m.
        v: LevelMatrix,
    },
}

impl BlockCoding {
    /// The matrices, in the order of the file.
    pub fn matrices(&self) -> impl Iterator<Item = &LevelMatrix> {
        let all = match self {
            Self::Identity { weights } => [Some(weights), None, None],
            Self::Column { t, s } | Self::Row { t, s } | Self::Kernel { t, s } => {
                [Some(t), Some(s), None]
            }
            Self::Both { t, s, v } => [Some(t), Some(s), Some(v)],
        };
        all.into_iter().flatten()
    }
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
            BlockCoding::Kernel { t, s } => {
                let k = s.spec.rows;
                fits(t, self.rows, channels.saturating_mul(k), k.max(1))?;
                fits(s, k, shape.period, 1)
            }
            BlockCoding::Both { t, s, v } => {
                let (k, q) = (t.spec.rows, v.spec.rows);
                check_both(k, q, (self.rows, channels))?;
                fits(t, k, q.saturating_mul(shape.period), shape.period)?;
                fits(s, self.rows, k, 1)?;
                fits(v, q, channels, 1)
            }
        }
    }
}

/// Inner dimensions of a column and row transform: no more than what they stand for, so that its cost is bounded by the tensor.
pub(crate) fn check_both(
    k: usize,
    q: usize,
    (rows, channels): (usize, usize),
) -> Result<(), FormatError> {
    for (found, most) in [(k, rows), (q, channels)] {
        if found > most {
            return Err(FormatError::Invalid {
                what: "inner dimension of a column and row transform",
                found: found as i64,
                legal: "at most the block's rows, and the input channels",
            });
        }
    }
    Ok(())
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
