//! A level matrix as bits: quantizer, steps, which rows have levels, levels.

use crate::entropy::{
    AdaptiveBit, BitIo, Counter, LevelModel, MatrixSpec, Part, PartBits, UintModel, code_flag,
    code_sint,
};
use crate::error::{FormatError, check_limit};
use crate::level_matrix::{LevelMatrix, ScaleVector, StepScale, check_base, check_level};
use crate::limits::DecodeLimits;
use crate::scale_code::code_scales;

/// How many rows' activities are decoded between two looks at the end of the stream.
const CHECK_EVERY: usize = 4096;
const WHAT: &str = "a matrix";

/// Role of a matrix in its layer: each role keeps its model from block to block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// Weights or coefficients T.
    Coefficients,
    /// Synthesis basis S.
    Basis,
}

/// Codes the matrices of one layer; state is shared between them.
pub(crate) struct MatrixCoder {
    /// Sizes, kinds and base exponents of the layer.
    pub(crate) header: UintModel,
    models: [Option<LevelModel>; 2],
    /// Levels still allowed by the limits.
    levels_left: u64,
}

impl MatrixCoder {
    pub(crate) fn new(limits: &DecodeLimits) -> Self {
        Self {
            header: UintModel::default(),
            models: [None, None],
            levels_left: limits.layer_levels,
        }
    }

    /// Codes a matrix of the known shape `spec`; decoding ignores `given` and returns what was read, the others
    /// return nothing.
    pub(crate) fn code<IO: BitIo>(
        &mut self,
        io: &mut IO,
        spec: MatrixSpec,
        role: Role,
        given: Option<&LevelMatrix>,
    ) -> Result<Option<LevelMatrix>, FormatError> {
        io.mark(Part::Header);
        // Larger quantizers are reserved: dependent (trellis) quantization.
        self.header.code_limited(io, "quantizer", 0, 0)?;
        let base = given.map_or(0, |m| m.scale.base);
        let base = code_sint(&mut self.header, io, base.into());
        check_base(base)?;
        io.mark(Part::Activity);
        let active = code_activity(io, &spec, given)?;
        let count = (active.len() as u64).saturating_mul(spec.cols as u64);
        check_limit("levels of a layer", count, self.levels_left)?;
        self.levels_left -= count;
        io.mark(Part::Scales);
        let rows = code_row_scales(io, &spec, &active, given)?;
        let cols = code_col_scales(io, &spec, given)?;
        io.mark(Part::Levels);
        let levels = self.levels(
            io,
            MatrixSpec {
                rows: active.len(),
                ..spec
            },
            role,
            given,
        )?;
        let scale = StepScale {
            base: base as i32,
            rows,
            cols,
        };
        Ok(IO::DECODES.then_some(LevelMatrix {
            spec,
            scale,
            active,
            levels,
        }))
    }

    fn levels<IO: BitIo>(
        &mut self,
        io: &mut IO,
        spec: MatrixSpec,
        role: Role,
        given: Option<&LevelMatrix>,
    ) -> Result<Vec<i32>, FormatError> {
        let mut levels = Vec::new();
        if spec.rows == 0 || spec.cols == 0 {
            return Ok(levels);
        }
        let slot = &mut self.models[role as usize];
        let model = match slot {
            Some(model) => {
                model.restart(&spec);
                model
            }
            None => slot.insert(LevelModel::new(&spec)),
        };
        for j in 0..spec.cols {
            model.begin_column(j);
            for r in 0..spec.rows {
                let level = given.map_or(0, |m| m.levels[j * spec.rows + r]);
                let context = model.context(r);
                let level = model.code(io, &context, level);
                if IO::DECODES {
                    check_level(level)?;
                    levels.push(level);
                }
            }
            io.check(WHAT)?;
        }
        Ok(levels)
    }
}

/// Codes which rows have a level; a matrix without columns has none.
fn code_activity<IO: BitIo>(
    io: &mut IO,
    spec: &MatrixSpec,
    given: Option<&LevelMatrix>,
) -> Result<Vec<u32>, FormatError> {
    if spec.rows == 0 || spec.cols == 0 {
        return Ok(Vec::new());
    }
    if code_flag(io, given.is_some_and(|m| m.active.len() == spec.rows)) {
        let count = (spec.rows as u64).saturating_mul(spec.cols as u64);
        if count > io.bits_left() {
            return Err(FormatError::Truncated { what: WHAT });
        }
        return Ok((0..spec.rows as u32).collect());
    }
    let mut bits = [AdaptiveBit::default(); 2];
    let mut listed = given.map_or(&[][..], |m| &m.active).iter().peekable();
    let (mut active, mut previous) = (Vec::new(), true);
    for r in 0..spec.rows as u32 {
        let is_active = listed.next_if(|&&a| a == r).is_some();
        previous = bits[usize::from(previous)].code(io, is_active);
        if previous {
            active.push(r);
        }
        if (r as usize).is_multiple_of(CHECK_EVERY) {
            io.check(WHAT)?;
        }
    }
    // Before the model's tables are made: every level takes a bit.
    let count = (active.len() as u64).saturating_mul(spec.cols as u64);
    if count > io.bits_left() {
        return Err(FormatError::Truncated { what: WHAT });
    }
    Ok(active)
}

/// Codes the exponents of the active rows.
fn code_row_scales<IO: BitIo>(
    io: &mut IO,
    spec: &MatrixSpec,
    active: &[u32],
    given: Option<&LevelMatrix>,
) -> Result<Option<ScaleVector>, FormatError> {
    let given = given.and_then(|m| m.scale.rows.as_ref());
    if !code_flag(io, given.is_some()) {
        return Ok(None);
    }
    let listed: Option<Vec<i32>> =
        given.map(|scales| active.iter().map(|&r| scales.units[r as usize]).collect());
    let shift = given.map_or(0, |scales| scales.shift);
    let (shift, coded) = code_scales(io, shift, active.len(), 1, listed.as_deref())?;
    if !IO::DECODES {
        return Ok(None);
    }
    let mut units = vec![0; spec.rows];
    for (&r, unit) in active.iter().zip(coded) {
        units[r as usize] = unit;
    }
    Ok(Some(ScaleVector { shift, units }))
}

fn code_col_scales<IO: BitIo>(
    io: &mut IO,
    spec: &MatrixSpec,
    given: Option<&LevelMatrix>,
) -> Result<Option<ScaleVector>, FormatError> {
    let given = given.and_then(|m| m.scale.cols.as_ref());
    if !code_flag(io, given.is_some()) {
        return Ok(None);
    }
    let shift = given.map_or(0, |scales| scales.shift);
    let units = given.map(|scales| &scales.units[..]);
    let (shift, units) = code_scales(io, shift, spec.cols, spec.period, units)?;
    Ok(Some(ScaleVector { shift, units }))
}

/// Counts a matrix' bits as its layer would spend them if it were the only one there: what candidates are
/// compared by.
///
/// # Errors
/// If the matrix breaks a limit.
pub fn count_matrix(matrix: &LevelMatrix) -> Result<PartBits, FormatError> {
    let mut counter = Counter::new();
    let mut coder = MatrixCoder::new(&DecodeLimits::UNLIMITED);
    coder.code(&mut counter, matrix.spec, Role::Coefficients, Some(matrix))?;
    Ok(counter.parts())
}
