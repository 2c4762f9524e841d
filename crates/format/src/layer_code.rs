//! The LAYER section: one stream of bits through one function for writing, reading and counting.

use crate::entropy::{BitIo, Counter, MatrixSpec, Part, PartBits};
use crate::error::{FormatError, check_limit};
use crate::level_matrix::LevelMatrix;
use crate::limits::{DecodeLimits, MAX_BLOCKS, MAX_EXTENT, MAX_RANK, MAX_SITE};
use crate::matrix_code::{MatrixCoder, Role};
use crate::record::{Block, BlockCoding, LayerRecord, Layout, MatrixShape, matrix_shape};

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
        let (first, second) = block.matrices();
        coder.matrix(first.spec, Role::Coefficients, Some(first))?;
        bits.coefficients += coder.io.take();
        if let Some(second) = second {
            coder.matrix(second.spec, Role::Basis, Some(second))?;
            bits.basis += coder.io.take();
        }
    }
    Ok(bits)
}

impl Block {
    /// T (or the weights) and S.
    fn matrices(&self) -> (&LevelMatrix, Option<&LevelMatrix>) {
        match &self.coding {
            BlockCoding::Identity { weights } => (weights, None),
            BlockCoding::Column { t, s } | BlockCoding::Row { t, s } => (t, Some(s)),
        }
    }
}

/// Kinds of block as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Identity = 0,
    Column = 1,
    Row = 2,
}

/// Rows, kind and inner dimension of a block.
struct BlockHeader {
    rows: usize,
    kind: BlockKind,
    inner: usize,
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
        let (kind, inner) = match given.map(|block| &block.coding) {
            None | Some(BlockCoding::Identity { .. }) => (BlockKind::Identity, 0),
            Some(BlockCoding::Column { t, .. }) => (BlockKind::Column, t.spec.rows),
            Some(BlockCoding::Row { s, .. }) => (BlockKind::Row, s.spec.rows),
        };
        // Larger kinds are reserved: two-sided transforms, transforms inside a kernel.
        let kind = match self.uint("block kind", kind as usize, 2)? {
            0 => BlockKind::Identity,
            1 => BlockKind::Column,
            _ => BlockKind::Row,
        };
        let identity = kind == BlockKind::Identity;
        let inner = if identity {
            0
        } else {
            self.uint("inner dimension", inner, MAX_EXTENT)?
        };
        self.io.check(WHAT)?;
        Ok(BlockHeader {
            rows: rows_left - after,
            kind,
            inner,
        })
    }

    fn block(
        &mut self,
        header: &BlockHeader,
        shape: &MatrixShape,
        given: Option<&Block>,
    ) -> Result<Option<BlockCoding>, FormatError> {
        let (n, k, period) = (header.rows, header.inner, shape.period);
        let (first, second) = given.map(Block::matrices).unzip();
        let second = second.flatten();
        let spec = |rows, cols, period| MatrixSpec { rows, cols, period };
        if header.kind == BlockKind::Identity {
            let weights = self.matrix(spec(n, shape.cols, period), Role::Coefficients, first)?;
            return Ok(weights.map(|weights| BlockCoding::Identity { weights }));
        }
        let (t, s) = if header.kind == BlockKind::Column {
            (spec(k, shape.cols, period), spec(n, k, 1))
        } else {
            let cols = (k as u64).saturating_mul(period as u64);
            check_limit("columns of a matrix", cols, MAX_EXTENT)?;
            (
                spec(n, cols as usize, period),
                spec(k, shape.cols / period, 1),
            )
        };
        let t = self.matrix(t, Role::Coefficients, first)?;
        let s = self.matrix(s, Role::Basis, second)?;
        Ok(t.zip(s).map(|(t, s)| match header.kind {
            BlockKind::Row => BlockCoding::Row { t, s },
            _ => BlockCoding::Column { t, s },
        }))
    }
}
