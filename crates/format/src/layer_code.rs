//! The LAYER section: one stream of bits through one function for writing, reading and counting.

use crate::entropy::{BitIo, Counter, MatrixSpec, Part, PartBits};
use crate::error::{FormatError, check_limit};
use crate::level_matrix::LevelMatrix;
use crate::limits::{DecodeLimits, MAX_BLOCKS, MAX_EXTENT, MAX_RANK, MAX_SITE};
use crate::matrix_code::{MatrixCoder, Role};
use crate::record::{
    Block, BlockCoding, LayerRecord, Layout, MatrixShape, check_both, matrix_shape,
};

const WHAT: &str = "a layer";

/// Codes a layer; decoding ignores `given` and returns what was read, the others return nothing.
pub(crate) fn code_layer<IO: BitIo>(
    io: &mut IO,
    given: Option<&LayerRecord>,
    limits: &DecodeLimits,
) -> Result<Option<LayerRecord>, FormatError> {
    let mut coder = LayerCoder {
        io,
        matrices: MatrixCoder::new(limits),
    };
    let mut record = coder.shape(given)?;
    check_limit(
        "elements of a layer",
        record.elements(),
        limits.layer_elements,
    )?;
    let shape = record.shape()?;
    let (mut rows_left, mut index) = (shape.rows, 0);
    while rows_left > 0 {
        check_limit("blocks of a layer", index as u64 + 1, MAX_BLOCKS)?;
        let block = given.map(|layer| &layer.blocks[index]);
        let header = coder.block_header(rows_left, block)?;
        if let Some(coding) = coder.block(&header, &shape, block)? {
            record.blocks.push(Block {
                rows: header.rows,
                coding,
            });
        }
        rows_left -= header.rows;
        index += 1;
    }
    coder.io.check(WHAT)?;
    Ok(IO::DECODES.then_some(record))
}

/// Bits of one layer by what they are for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerBits {
    /// Tensor index, dimensions, layout, block kinds.
    pub header_bits: f64,
    /// Weights of identity blocks or coefficients T of transforms.
    pub coefficients: PartBits,
    /// Synthesis bases S.
    pub basis: PartBits,
}

impl LayerBits {
    /// All bits.
    #[must_use]
    pub fn total_bits(&self) -> f64 {
        self.header_bits + self.coefficients.total_bits() + self.basis.total_bits()
    }
}

/// Counts a layer's bits.
///
/// # Errors
/// If the record contradicts itself or breaks a limit.
pub fn count_layer(layer: &LayerRecord) -> Result<LayerBits, FormatError> {
    layer.validate()?;
    let mut counter = Counter::new();
    let matrices = MatrixCoder::new(&DecodeLimits::UNLIMITED);
    let mut coder = LayerCoder {
        io: &mut counter,
        matrices,
    };
    let mut bits = LayerBits::default();
    let mut rows_left = layer.shape()?.rows;
    coder.shape(Some(layer))?;
    for block in &layer.blocks {
        coder.block_header(rows_left, Some(block))?;
        bits.header_bits += coder.io.take().total_bits();
        rows_left -= block.rows;
        let (first, bases) = block.matrices();
        coder.matrix(first.spec, Role::Coefficients, Some(first))?;
        bits.coefficients += coder.io.take();
        for basis in bases {
            coder.matrix(basis.spec, Role::Basis, Some(basis))?;
            bits.basis += coder.io.take();
        }
    }
    Ok(bits)
}

impl Block {
    /// T (or the weights) and the synthesis bases.
    fn matrices(&self) -> (&LevelMatrix, Vec<&LevelMatrix>) {
        match &self.coding {
            BlockCoding::Identity { weights } => (weights, vec![]),
            BlockCoding::Column { t, s }
            | BlockCoding::Row { t, s }
            | BlockCoding::Kernel { t, s } => (t, vec![s]),
            BlockCoding::Both { t, s, v } => (t, vec![s, v]),
        }
    }
}

/// Kinds of block as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Identity = 0,
    Column = 1,
    Row = 2,
    Kernel = 3,
    Both = 4,
}

impl BlockKind {
    const LAST: u64 = Self::Both as u64;

    fn of(coding: &BlockCoding) -> Self {
        match coding {
            BlockCoding::Identity { .. } => Self::Identity,
            BlockCoding::Column { .. } => Self::Column,
            BlockCoding::Row { .. } => Self::Row,
            BlockCoding::Kernel { .. } => Self::Kernel,
            BlockCoding::Both { .. } => Self::Both,
        }
    }

    fn stored(number: usize) -> Self {
        match number {
            0 => Self::Identity,
            1 => Self::Column,
            2 => Self::Row,
            3 => Self::Kernel,
            _ => Self::Both,
        }
    }
}

/// Rows, kind and inner dimensions of a block.
struct BlockHeader {
    rows: usize,
    kind: BlockKind,
    inner: usize,
    /// Of the transform of the inputs where there are two.
    second: usize,
}

struct LayerCoder<'a, IO> {
    io: &'a mut IO,
    matrices: MatrixCoder,
}

impl<IO: BitIo> LayerCoder<'_, IO> {
    fn uint(&mut self, what: &'static str, value: usize, limit: u64) -> Result<usize, FormatError> {
        Ok(self
            .matrices
            .header
            .code_limited(self.io, what, value as u64, limit)? as usize)
    }

    fn matrix(
        &mut self,
        spec: MatrixSpec,
        role: Role,
        given: Option<&LevelMatrix>,
    ) -> Result<Option<LevelMatrix>, FormatError> {
        self.matrices.code(self.io, spec, role, given)
    }

    /// Codes site, layout and dimensions; returns a record without blocks.
    fn shape(&mut self, given: Option<&LayerRecord>) -> Result<LayerRecord, FormatError> {
        self.io.mark(Part::Header);
        let site = self.uint("site", given.map_or(0, |g| g.site as usize), MAX_SITE)? as u32;
        let (kind, groups) = match given.map(|g| g.layout) {
            None | Some(Layout::RowsFirst) => (0, 0),
            Some(Layout::ColumnsFirst) => (1, 0),
            Some(Layout::Transposed { groups }) => (2, groups as usize),
        };
        let layout = match self.uint("layout", kind, 2)? {
            0 => Layout::RowsFirst,
            1 => Layout::ColumnsFirst,
            _ => Layout::Transposed {
                groups: self.uint("groups", groups, MAX_EXTENT)? as u32,
            },
        };
        let rank = self.uint(
            "tensor rank",
            given.map_or(0, |g| g.dims.len()),
            MAX_RANK as u64,
        )?;
        let mut dims = Vec::with_capacity(rank);
        for i in 0..rank {
            dims.push(self.uint(
                "tensor dimension",
                given.map_or(0, |g| g.dims[i]),
                MAX_EXTENT,
            )?);
        }
        self.io.check(WHAT)?;
        matrix_shape(&dims, layout)?;
        Ok(LayerRecord {
            site,
            dims,
            layout,
            blocks: Vec::new(),
        })
    }

    fn block_header(
        &mut self,
        rows_left: usize,
        given: Option<&Block>,
    ) -> Result<BlockHeader, FormatError> {
        self.io.mark(Part::Header);
        // Rows that remain after this block: 0 for the usual single block.
        let after = given.map_or(0, |block| rows_left.saturating_sub(block.rows));
        let after = self.uint("rows after a block", after, rows_left as u64 - 1)?;
        let coding = given.map(|block| &block.coding);
        let kind = coding.map_or(BlockKind::Identity, BlockKind::of);
        let kind = BlockKind::stored(self.uint("block kind", kind as usize, BlockKind::LAST)?);
        let (inner, second) = match coding {
            None | Some(BlockCoding::Identity { .. }) => (0, 0),
            Some(BlockCoding::Column { t, .. }) => (t.spec.rows, 0),
            Some(BlockCoding::Row { s, .. } | BlockCoding::Kernel { s, .. }) => (s.spec.rows, 0),
            Some(BlockCoding::Both { t, v, .. }) => (t.spec.rows, v.spec.rows),
        };
        let mut dimension = |wanted: bool, value: usize| match wanted {
            true => self.uint("inner dimension", value, MAX_EXTENT),
            false => Ok(0),
        };
        let inner = dimension(kind != BlockKind::Identity, inner)?;
        let second = dimension(kind == BlockKind::Both, second)?;
        self.io.check(WHAT)?;
        Ok(BlockHeader {
            rows: rows_left - after,
            kind,
            inner,
            second,
        })
    }

    fn block(
        &mut self,
        header: &BlockHeader,
        shape: &MatrixShape,
        given: Option<&Block>,
    ) -> Result<Option<BlockCoding>, FormatError> {
        let (n, k, period) = (header.rows, header.inner, shape.period);
        let (first, bases) = given.map(Block::matrices).unzip();
        let bases = bases.unwrap_or_default();
        let channels = shape.cols / period;
        let spec = |rows, cols: usize, period| {
            check_limit("columns of a matrix", cols as u64, MAX_EXTENT)?;
            Ok::<_, FormatError>(MatrixSpec { rows, cols, period })
        };
        let times = |a: usize, b: usize| a.saturating_mul(b);
        let (t, s, v) = match header.kind {
            BlockKind::Identity => (spec(n, shape.cols, period)?, None, None),
            BlockKind::Column => (spec(k, shape.cols, period)?, Some(spec(n, k, 1)?), None),
            BlockKind::Row => (
                spec(n, times(k, period), period)?,
                Some(spec(k, channels, 1)?),
                None,
            ),
            BlockKind::Kernel => (
                spec(n, times(channels, k), k.max(1))?,
                Some(spec(k, period, 1)?),
                None,
            ),
            BlockKind::Both => (
                check_both(k, header.second, (n, channels))
                    .and_then(|()| spec(k, times(header.second, period), period))?,
                Some(spec(n, k, 1)?),
                Some(spec(header.second, channels, 1)?),
            ),
        };
        let t = self.matrix(t, Role::Coefficients, first)?;
        let mut basis = |index: usize, spec: Option<MatrixSpec>| match spec {
            Some(spec) => self.matrix(spec, Role::Basis, bases.get(index).copied()),
            None => Ok(None),
        };
        let (s, v) = (basis(0, s)?, basis(1, v)?);
        Ok(match (header.kind, t, s, v) {
            (BlockKind::Identity, Some(weights), _, _) => Some(BlockCoding::Identity { weights }),
            (BlockKind::Column, Some(t), Some(s), _) => Some(BlockCoding::Column { t, s }),
            (BlockKind::Row, Some(t), Some(s), _) => Some(BlockCoding::Row { t, s }),
            (BlockKind::Kernel, Some(t), Some(s), _) => Some(BlockCoding::Kernel { t, s }),
            (BlockKind::Both, Some(t), Some(s), Some(v)) => Some(BlockCoding::Both { t, s, v }),
            _ => None,
        })
    }
}
