//! A level matrix as bits: quantizer, steps, which rows have levels, levels.

use crate::dependent::TrellisState;
use crate::entropy::{
    AdaptiveBit, BitIo, Counter, LevelModel, MatrixSpec, Part, PartBits, UintModel, code_flag,
    code_plain, code_sint,
};
use crate::error::{FormatError, check_limit};
use crate::level_matrix::{
    LevelMatrix, Packing, ScaleVector, StepScale, check_base, check_depth, check_level,
};
use crate::limits::{DecodeLimits, MAX_MODEL_ROWS};
use crate::scale_code::code_scales;

/// How many rows' activities are decoded between two looks at the end of the stream.
const CHECK_EVERY: usize = 4096;
const WHAT: &str = "a matrix";
/// Quantizers as stored.
const MODELLED: u64 = 0;
const ROW_DEPTHS: u64 = 1;
const COLUMN_DEPTHS: u64 = 2;
const DEPENDENT: u64 = 3;

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
        let quantizer = given.map_or(0, |m| match m.packing {
            Packing::Modelled => MODELLED,
            Packing::RowDepths(_) => ROW_DEPTHS,
            Packing::ColumnDepths(_) => COLUMN_DEPTHS,
            Packing::Dependent => DEPENDENT,
        });
        let quantizer = self
            .header
            .code_limited(io, "quantizer", quantizer, DEPENDENT)?;
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
        let packing = code_depths(io, quantizer, (&spec, &active), given)?;
        io.mark(Part::Levels);
        let coded = MatrixSpec {
            rows: active.len(),
            ..spec
        };
        let levels = match &packing {
            Packing::Modelled | Packing::Dependent if coded.rows == 0 || coded.cols == 0 => {
                Vec::new()
            }
            Packing::Modelled => self.levels(io, coded, role, given)?,
            Packing::Dependent => self.dependent_levels(io, coded, role, given)?,
            fixed => fixed_levels(io, (spec.cols, &active), fixed, given)?,
        };
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
            packing,
        }))
    }

    /// The level model of a role, ready for a matrix.
    ///
    /// # Errors
    /// More rows than it keeps probabilities of.
    fn model(&mut self, spec: &MatrixSpec, role: Role) -> Result<&mut LevelModel, FormatError> {
        check_limit("active rows", spec.rows as u64, MAX_MODEL_ROWS)?;
        let slot = &mut self.models[role as usize];
        Ok(match slot {
            Some(model) => {
                model.restart(spec);
                model
            }
            None => slot.insert(LevelModel::new(spec)),
        })
    }

    /// Codes the indices of dependent quantization; every column begins in the first state.
    fn dependent_levels<IO: BitIo>(
        &mut self,
        io: &mut IO,
        spec: MatrixSpec,
        role: Role,
        given: Option<&LevelMatrix>,
    ) -> Result<Vec<i32>, FormatError> {
        let mut levels = Vec::new();
        let model = self.model(&spec, role)?;
        model.make_dependent();
        for j in 0..spec.cols {
            model.begin_column(j);
            let mut state = TrellisState::default();
            for r in 0..spec.rows {
                let level = given.map_or(0, |m| m.levels[j * spec.rows + r]);
                let context = model.context_on(&model.path(), r, state);
                let index = model.code(io, &context, state.index(level).unwrap_or(0));
                if IO::DECODES {
                    check_level(index)?;
                    levels.push(state.level(index));
                    check_level(state.level(index))?;
                }
                state = state.after(index);
            }
            io.check(WHAT)?;
        }
        Ok(levels)
    }

    fn levels<IO: BitIo>(
        &mut self,
        io: &mut IO,
        spec: MatrixSpec,
        role: Role,
        given: Option<&LevelMatrix>,
    ) -> Result<Vec<i32>, FormatError> {
        let mut levels = Vec::new();
        let model = self.model(&spec, role)?;
        for j in 0..spec.cols {
            model.begin_column(j);
            let start = j * spec.rows;
            if IO::DECODES {
                levels.resize(start + spec.rows, 0);
                model.decode_column(io, &mut levels[start..]);
                levels[start..]
                    .iter()
                    .try_for_each(|&level| check_level(level))?;
            } else if let Some(given) = given {
                for (r, &level) in given.levels[start..start + spec.rows].iter().enumerate() {
                    let context = model.context(r);
                    model.code(io, &context, level);
                }
            }
            io.check(WHAT)?;
        }
        Ok(levels)
    }
}

/// Codes the widths of levels of fixed width: those of the active rows, or of all columns.
fn code_depths<IO: BitIo>(
    io: &mut IO,
    quantizer: u64,
    (spec, active): (&MatrixSpec, &[u32]),
    given: Option<&LevelMatrix>,
) -> Result<Packing, FormatError> {
    let listed: Option<Vec<i32>> = given.and_then(|m| match &m.packing {
        Packing::Modelled | Packing::Dependent => None,
        Packing::RowDepths(d) => Some(active.iter().map(|&r| d[r as usize].into()).collect()),
        Packing::ColumnDepths(d) => Some(d.iter().map(|&d| d.into()).collect()),
    });
    let count = match quantizer {
        MODELLED => return Ok(Packing::Modelled),
        DEPENDENT => return Ok(Packing::Dependent),
        ROW_DEPTHS => active.len(),
        _ => spec.cols,
    };
    let (shift, coded) = code_scales(io, 0, count, 1, listed.as_deref())?;
    // Writers and counters get nothing back from the list and use what they were given.
    let coded = if IO::DECODES {
        coded
    } else {
        listed.unwrap_or_default()
    };
    let depths = coded.iter().map(|&d| {
        let depth = i64::from(d) << shift;
        check_depth(depth).map(|()| depth as u8)
    });
    let depths = depths.collect::<Result<Vec<u8>, _>>()?;
    if quantizer == COLUMN_DEPTHS {
        return Ok(Packing::ColumnDepths(depths));
    }
    let mut of_rows = vec![0; spec.rows];
    for (&r, depth) in active.iter().zip(depths) {
        of_rows[r as usize] = depth;
    }
    Ok(Packing::RowDepths(of_rows))
}

/// Codes levels in two's complement of their widths.
fn fixed_levels<IO: BitIo>(
    io: &mut IO,
    (cols, active): (usize, &[u32]),
    packing: &Packing,
    given: Option<&LevelMatrix>,
) -> Result<Vec<i32>, FormatError> {
    let mut levels = Vec::new();
    for j in 0..cols {
        for (index, &r) in active.iter().enumerate() {
            let depth = packing.depth_bits(r as usize, j).unwrap_or(1);
            let level = given.map_or(0, |m| m.levels[j * active.len() + index]);
            let bits = code_plain(io, level as u64 & ((1 << depth) - 1), depth) as i64;
            let negative = bits >> (depth - 1) & 1;
            if IO::DECODES {
                let level = (bits - (negative << depth)) as i32;
                check_level(level)?;
                levels.push(level);
            }
        }
        io.check(WHAT)?;
    }
    Ok(levels)
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
