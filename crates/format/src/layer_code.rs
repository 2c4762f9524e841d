//! The LAYER section: one stream of bits through one function for writing, reading and counting.

use crate::entropy::{
    AdaptiveBit, BitIo, Counter, LevelModel, MatrixSpec, Part, PartBits, UintModel, code_flag, code_sint,
};
use crate::error::{FormatError, check_limit};
use crate::limits::{
    DecodeLimits, MAX_EXTENT, MAX_RANK, MAX_SCALE_EXPONENT, MAX_SCALE_SHIFT, MAX_SITE,
};
use crate::record::{
    Block, BlockCoding, LayerRecord, Layout, LevelMatrix, MatrixShape, ScaleVector, StepScale,
    check_base, check_level, matrix_shape,
};

const WHAT: &str = "a layer";
/// How many symbols are decoded between two looks at the end of the stream.
const CHECK_EVERY: usize = 4096;

/// Role of a matrix in its layer: each role keeps its model from block to block.
#[derive(Clone, Copy)]
enum Role {
    Coefficients,
    Basis,
}

/// State shared by a layer's parts.
struct LayerCoder<'a, IO> {
    io: &'a mut IO,
    header: UintModel,
    models: [Option<LevelModel>; 2],
    limits: &'a DecodeLimits,
    /// Levels still allowed by the limits.
    levels_left: u64,
}

/// Codes a layer; decoding ignores `given` and returns what was read, the others return nothing.
pub(crate) fn code_layer<IO: BitIo>(
    io: &mut IO,
    given: Option<&LayerRecord>,
    limits: &DecodeLimits,
) -> Result<Option<LayerRecord>, FormatError> {
    let mut coder = LayerCoder {
        io,
        header: UintModel::default(),
        models: [None, None],
        limits,
        levels_left: limits.layer_levels,
    };
    coder.layer(given)
}

/// Bits of one layer, by block and matrix.
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

/// Counts a matrix' bits as [`code_layer`] would spend them in a layer of its own (without the layer's
/// header): what the encoder compares candidates by.
///
/// # Errors
/// If the matrix breaks a limit.
pub fn count_matrix(matrix: &LevelMatrix) -> Result<PartBits, FormatError> {
    let mut counter = Counter::new();
    let limits = unlimited();
    let mut coder = LayerCoder {
        io: &mut counter,
        header: UintModel::default(),
        models: [None, None],
        limits: &limits,
        levels_left: u64::MAX,
    };
    coder.matrix(matrix.spec, Role::Coefficients, Some(matrix))?;
    Ok(counter.parts())
}

/// Counts a layer's bits.
///
/// # Errors
/// If the record contradicts itself or breaks a limit.
pub fn count_layer(layer: &LayerRecord) -> Result<LayerBits, FormatError> {
    layer.validate()?;
    let mut counter = Counter::new();
    let limits = unlimited();
    let mut bits = LayerBits::default();
    let mut coder = LayerCoder {
        io: &mut counter,
        header: UintModel::default(),
        models: [None, None],
        limits: &limits,
        levels_left: u64::MAX,
    };
    let shape = layer.shape()?;
    coder.shape(Some(layer))?;
    bits.header_bits += coder.io.take().total_bits();
    for block in &layer.blocks {
        coder.block_header(shape.rows, Some(block))?;
        bits.header_bits += coder.io.take().total_bits();
        let (first, second) = block.matrices();
        coder.matrix(first.spec, Role::Coefficients, Some(first))?;
        add(&mut bits.coefficients, &coder.io.take());
        if let Some(second) = second {
            coder.matrix(second.spec, Role::Basis, Some(second))?;
            add(&mut bits.basis, &coder.io.take());
        }
    }
    Ok(bits)
}

fn add(to: &mut PartBits, more: &PartBits) {
    to.header_bits += more.header_bits;
    to.scale_bits += more.scale_bits;
    to.activity_bits += more.activity_bits;
    to.level_bits += more.level_bits;
}

pub(crate) fn unlimited() -> DecodeLimits {
    DecodeLimits {
        layer_elements: u64::MAX,
        graph_bytes: u64::MAX,
        raw_bytes: u64::MAX,
        vector_elements: u64::MAX,
        layer_levels: u64::MAX,
    }
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
#[derive(Clone, Copy, PartialEq, Eq)]
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

impl<IO: BitIo> LayerCoder<'_, IO> {
    fn uint(&mut self, what: &'static str, value: usize, limit: u64) -> Result<usize, FormatError> {
        Ok(self.header.code_limited(self.io, what, value as u64, limit)? as usize)
    }

    fn layer(&mut self, given: Option<&LayerRecord>) -> Result<Option<LayerRecord>, FormatError> {
        let mut record = self.shape(given)?;
        let shape = matrix_shape(&record.dims, record.layout)?;
        check_limit("elements of a layer", record.elements(), self.limits.layer_elements)?;
        let (mut rows_left, mut index) = (shape.rows, 0);
        while rows_left > 0 {
            let block = given.map(|layer| &layer.blocks[index]);
            let header = self.block_header(rows_left, block)?;
            let coding = self.block(&header, &shape, block)?;
            if let Some(coding) = coding {
                record.blocks.push(Block { rows: header.rows, coding });
            }
            rows_left -= header.rows;
            index += 1;
        }
        self.io.check(WHAT)?;
        Ok(IO::DECODES.then_some(record))
    }

    /// Codes site, dimensions and layout; returns a record without blocks.
    fn shape(&mut self, given: Option<&LayerRecord>) -> Result<LayerRecord, FormatError> {
        self.io.mark(Part::Header);
        let site = self.uint("site", given.map_or(0, |g| g.site as usize), MAX_SITE)?;
        let kind = given.map_or(0, |g| match g.layout {
            Layout::RowsFirst => 0,
            Layout::ColumnsFirst => 1,
            Layout::Transposed { .. } => 2,
        });
        let kind = self.uint("layout", kind, 2)?;
        let rank = self.uint("tensor rank", given.map_or(0, |g| g.dims.len()), MAX_RANK as u64)?;
        let mut dims = Vec::with_capacity(rank);
        for i in 0..rank {
            dims.push(self.uint("tensor dimension", given.map_or(0, |g| g.dims[i]), MAX_EXTENT)?);
        }
        let layout = match kind {
            0 => Layout::RowsFirst,
            1 => Layout::ColumnsFirst,
            _ => {
                let groups = given.map_or(0, |g| match g.layout {
                    Layout::Transposed { groups } => groups as usize,
                    _ => 0,
                });
                Layout::Transposed { groups: self.uint("groups", groups, MAX_EXTENT)? as u32 }
            }
        };
        self.io.check(WHAT)?;
        Ok(LayerRecord { site: site as u32, dims, layout, blocks: Vec::new() })
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
        let inner = if kind == BlockKind::Identity {
            0
        } else {
            self.uint("inner dimension", inner, MAX_EXTENT)?
        };
        self.io.check(WHAT)?;
        Ok(BlockHeader { rows: rows_left - after, kind, inner })
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
            (spec(n, cols as usize, period), spec(k, shape.cols / period, 1))
        };
        let t = self.matrix(t, Role::Coefficients, first)?;
        let s = self.matrix(s, Role::Basis, second)?;
        Ok(t.zip(s).map(|(t, s)| match header.kind {
            BlockKind::Row => BlockCoding::Row { t, s },
            _ => BlockCoding::Column { t, s },
        }))
    }

    fn matrix(
        &mut self,
        spec: MatrixSpec,
        role: Role,
        given: Option<&LevelMatrix>,
    ) -> Result<Option<LevelMatrix>, FormatError> {
        self.io.mark(Part::Header);
        // Larger quantizers are reserved: dependent (trellis) quantization.
        self.uint("quantizer", 0, 0)?;
        let base = given.map_or(0, |m| m.scale.base);
        let base = code_sint(&mut self.header, self.io, base.into()) as i32;
        check_base(base)?;
        self.io.mark(Part::Activity);
        let active = self.activity(spec.rows, given)?;
        self.io.mark(Part::Scales);
        let rows = self.row_scales(spec.rows, &active, given)?;
        let cols = self.col_scales(&spec, given)?;
        self.io.mark(Part::Levels);
        let levels = self.levels(&spec, role, active.len(), given)?;
        let scale = StepScale { base, rows, cols };
        Ok(IO::DECODES.then_some(LevelMatrix { spec, scale, active, levels }))
    }

    /// Codes which rows have a level.
    fn activity(
        &mut self,
        rows: usize,
        given: Option<&LevelMatrix>,
    ) -> Result<Vec<u32>, FormatError> {
        if code_flag(self.io, given.is_some_and(|m| m.active.len() == rows)) {
            check_limit("rows of a matrix", rows as u64, self.levels_left)?;
            return Ok((0..rows as u32).collect());
        }
        let mut bits = [AdaptiveBit::default(); 2];
        let mut listed = given.map_or(&[][..], |m| &m.active).iter().peekable();
        let (mut active, mut previous) = (Vec::new(), true);
        for r in 0..rows as u32 {
            let is_active = listed.next_if(|&&a| a == r).is_some();
            previous = bits[usize::from(previous)].code(self.io, is_active);
            if previous {
                active.push(r);
            }
            if r as usize % CHECK_EVERY == 0 {
                self.io.check(WHAT)?;
            }
        }
        Ok(active)
    }

    fn row_scales(
        &mut self,
        rows: usize,
        active: &[u32],
        given: Option<&LevelMatrix>,
    ) -> Result<Option<ScaleVector>, FormatError> {
        let given = given.and_then(|m| m.scale.rows.as_ref());
        if !code_flag(self.io, given.is_some()) {
            return Ok(None);
        }
        let listed = given.map(|scales| active.iter().map(|&r| scales.units[r as usize]).collect());
        let (shift, coded) = self.scales(given.map_or(0, |g| g.shift), active.len(), 1, listed)?;
        let mut units = vec![0; rows];
        for (&r, unit) in active.iter().zip(coded) {
            units[r as usize] = unit;
        }
        Ok(Some(ScaleVector { shift, units }))
    }

    fn col_scales(
        &mut self,
        spec: &MatrixSpec,
        given: Option<&LevelMatrix>,
    ) -> Result<Option<ScaleVector>, FormatError> {
        let given = given.and_then(|m| m.scale.cols.as_ref());
        if !code_flag(self.io, given.is_some()) {
            return Ok(None);
        }
        let shift = given.map_or(0, |g| g.shift);
        let listed = given.map(|g| g.units.clone());
        let (shift, units) = self.scales(shift, spec.cols, spec.period, listed)?;
        Ok(Some(ScaleVector { shift, units }))
    }

    /// Codes exponents as differences from the one `lag` places before, or from the one before.
    fn scales(
        &mut self,
        shift: u8,
        count: usize,
        period: usize,
        given: Option<Vec<i32>>,
    ) -> Result<(u8, Vec<i32>), FormatError> {
        let shift = self.uint("granularity of scale exponents", shift.into(), MAX_SCALE_SHIFT.into())?;
        let limit = i64::from(MAX_SCALE_EXPONENT >> shift);
        let lag = if period == 1 || !self.lag_flag(given.as_deref(), period) { 1 } else { period };
        let mut model = DifferenceModel::default();
        let mut units: Vec<i32> = Vec::new();
        for i in 0..count {
            let expected = if i >= lag { units[i - lag] } else { units.last().copied().unwrap_or(0) };
            let value = given.as_ref().map_or(0, |g| g[i]);
            let unit = i64::from(expected) + model.code(self.io, i64::from(value) - i64::from(expected));
            if unit.abs() > limit {
                let legal = "-4096 to 4096 in 1/64 octave";
                return Err(FormatError::Invalid { what: "scale exponent", found: unit, legal });
            }
            units.push(unit as i32);
            if i % CHECK_EVERY == 0 {
                self.io.check(WHAT)?;
            }
        }
        Ok((shift as u8, units))
    }

    /// Whether differences are taken over a whole kernel; the writer takes what costs less.
    fn lag_flag(&mut self, given: Option<&[i32]>, period: usize) -> bool {
        let cheaper = given.is_some_and(|units| {
            difference_cost(units, period) < difference_cost(units, 1)
        });
        code_flag(self.io, cheaper)
    }

    fn levels(
        &mut self,
        spec: &MatrixSpec,
        role: Role,
        rows: usize,
        given: Option<&LevelMatrix>,
    ) -> Result<Vec<i32>, FormatError> {
        let mut levels = Vec::new();
        if rows == 0 || spec.cols == 0 {
            return Ok(levels);
        }
        let spec = MatrixSpec { rows, ..*spec };
        let count = (rows as u64).saturating_mul(spec.cols as u64);
        check_limit("levels of a layer", count, self.levels_left)?;
        self.levels_left -= count;
        let mut model = match self.models[role as usize].take() {
            Some(mut model) => {
                model.restart(&spec);
                model
            }
            None => LevelModel::new(&spec),
        };
        for j in 0..spec.cols {
            model.begin_column(j);
            for r in 0..rows {
                let level = given.map_or(0, |m| m.levels[j * rows + r]);
                let context = model.context(r);
                let level = model.code(self.io, &context, level);
                if IO::DECODES {
                    check_level(level)?;
                    levels.push(level);
                }
            }
            self.io.check(WHAT)?;
        }
        self.models[role as usize] = Some(model);
        Ok(levels)
    }
}

/// Adaptive code of exponent differences: context is how large the last difference was.
#[derive(Default)]
struct DifferenceModel {
    zero: [AdaptiveBit; 3],
    sign: [AdaptiveBit; 3],
    magnitude: [UintModel; 3],
    context: usize,
    last_sign: usize,
}

impl DifferenceModel {
    fn code<IO: BitIo>(&mut self, io: &mut IO, difference: i64) -> i64 {
        let context = self.context;
        let coded = if self.zero[context].code(io, difference != 0) {
            let negative = self.sign[self.last_sign].code(io, difference < 0);
            let magnitude =
                self.magnitude[context].code(io, difference.unsigned_abs().saturating_sub(1)) as i64 + 1;
            self.last_sign = if negative { 2 } else { 1 };
            if negative { -magnitude } else { magnitude }
        } else {
            0
        };
        self.context = coded.unsigned_abs().min(2) as usize;
        coded
    }
}

fn difference_cost(units: &[i32], lag: usize) -> u64 {
    let mut counter = Counter::new();
    let mut model = DifferenceModel::default();
    for i in 0..units.len() {
        let expected = match (i >= lag, i) {
            (true, _) => units[i - lag],
            (false, 0) => 0,
            (false, _) => units[i - 1],
        };
        model.code(&mut counter, i64::from(units[i]) - i64::from(expected));
    }
    counter.cost()
}
