//! The context model of levels: from the levels coded so far to the probability of the next bit.

use super::adaptive::{UintModel, code_plain};
use super::level_tables::{
    BANKS, CLASSES, Decisions, FAST, FIRST_WEIGHTS, INPUTS, MIXER_RATE, SIZES, SUMS, UNARY,
    first_row_slots, first_unary_slots, first_zero_slots,
};
use super::mixing::{Mixer, Slot, code_mixed};
use super::sign_model::{SignContext, SignModel};
use super::surroundings::{ColumnPath, LOG_ONE, MAX_CLASS, RowView, Surroundings, exp8, log8};
use super::{BitIo, Prob};
use crate::dependent::TrellisState;

/// Shape of a matrix of levels as the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixSpec {
    /// Rows that are coded (those with any level, or all in a first pass).
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Kernel positions: column `j` is position `j % period` of input channel `j / period`. A square number
    /// is taken for a square kernel, row-major; any other for a kernel of one row.
    pub period: usize,
}

/// Most low bits.
const MAX_SHIFT: i32 = 18;
/// Low bits begin when the expected magnitude has this many octaves more than one.
const SHIFT_FROM: i32 = 2;
/// Contexts of the first low bit, for each number of low bits.
const LOW_CONTEXTS: usize = 32;

/// The mixers of a bank as they are at first.
const FIRST_MIXERS: [Mixer<INPUTS>; UNARY] = [Mixer(FIRST_WEIGHTS); UNARY];

/// Where a level stands: what the model knows before coding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelContext {
    pub(crate) row: usize,
    /// Low bits of magnitudes that are coded after the unary part.
    pub(crate) shift: u32,
    /// 1 if there are low bits, and 2 more in the odd quantizer.
    bank: u32,
    /// Contexts of decision 0.
    slots: [u32; INPUTS],
    /// Size class of the predicted level with its sign.
    pub(crate) class: i32,
    /// Logarithm of the row's slow mean.
    pub(crate) log_slow: i32,
}

/// The adaptive probabilities of a level's decisions 1 and on, "is the unary part at least the decision's index".
struct UnaryModel<'a> {
    slots: [&'a mut Decisions; INPUTS],
    mixers: &'a mut [Mixer<INPUTS>; UNARY],
}

impl UnaryModel<'_> {
    /// Stretched predictions of the contexts, and their mix.
    #[inline(always)]
    fn predict(&self, index: usize) -> ([i32; INPUTS], Prob) {
        let inputs = self
            .slots
            .each_ref()
            .map(|slots| slots[index - 1].stretched());
        (inputs, self.mixers[index].predict(&inputs))
    }

    /// Codes decisions up to the first that is not; returns its index.
    #[inline(always)]
    fn code<IO: BitIo>(&mut self, io: &mut IO, high: usize) -> usize {
        let mut next = self.predict(1);
        for index in 1..UNARY {
            let (inputs, p) = next;
            // It does not depend on this decision's bit: ready when that turns out other than foreseen.
            next = self.predict((index + 1).min(UNARY - 1));
            let bit = io.bit(p, high >= index);
            self.mixers[index].learn::<MIXER_RATE>(&inputs, p, bit);
            for slots in &mut self.slots {
                slots[index - 1].learn(bit);
            }
            if !bit {
                return index;
            }
        }
        UNARY
    }
}

/// The input whose context has the predicted level's class.
const PREDICTED: usize = 2;
/// The input whose context is the row itself, whose levels are alike beyond what running means say.
const ROW: usize = 3;

/// Adaptive model of one matrix' levels, coded column after column, rows inner: each column in turn,
/// [`LevelModel::begin_column`], then for each row in turn [`LevelModel::context`] and [`LevelModel::code`].
#[derive(Debug, Clone)]
pub struct LevelModel {
    pub(crate) around: Surroundings,
    /// By input and context; of decision 0 alone, so that they are close together where most levels are zero.
    zero: [Vec<Slot>; INPUTS],
    unary: [Vec<Decisions>; INPUTS],
    mixers: Vec<[Mixer<INPUTS>; UNARY]>,
    signs: SignModel,
    low: Vec<Slot>,
    escape: UintModel,
}

impl LevelModel {
    /// A model that has seen nothing.
    #[must_use]
    pub fn new(spec: &MatrixSpec) -> Self {
        let mut model = Self {
            around: Surroundings::new(spec),
            zero: first_zero_slots(0..BANKS),
            unary: first_unary_slots(0..BANKS),
            mixers: vec![FIRST_MIXERS; BANKS],
            signs: SignModel::new(),
            low: vec![Slot::new(1 << 15, 0); LOW_CONTEXTS * (MAX_SHIFT as usize + 1)],
            escape: UintModel::default(),
        };
        model.forget_rows();
        model
    }

    /// Starts another matrix, keeping the probabilities learnt but those of rows.
    pub fn restart(&mut self, spec: &MatrixSpec) {
        self.around = Surroundings::new(spec);
        self.forget_rows();
    }

    /// Rows' slots as they are at first, for every quantizer there is room for.
    fn forget_rows(&mut self) {
        let slots = self.around.rows() * self.mixers.len() / BANKS;
        let (zero, later) = first_row_slots();
        self.zero[ROW].clear();
        self.zero[ROW].resize(slots, zero);
        self.unary[ROW].clear();
        self.unary[ROW].resize(slots, later);
    }

    /// Makes room for the probabilities of the odd quantizer of dependent quantization; before the first level of a matrix.
    pub fn make_dependent(&mut self) {
        if self.mixers.len() > BANKS {
            return;
        }
        let odd = BANKS..2 * BANKS;
        for (slots, more) in self.zero.iter_mut().zip(first_zero_slots(odd.clone())) {
            slots.extend(more);
        }
        for (slots, more) in self.unary.iter_mut().zip(first_unary_slots(odd)) {
            slots.extend(more);
        }
        self.mixers.resize(2 * BANKS, FIRST_MIXERS);
        self.forget_rows();
    }

    /// Goes to column `column`; columns are visited one after the other from 0.
    pub fn begin_column(&mut self, column: usize) {
        self.around.begin_column(column);
    }

    /// What is known before level (`row`, current column) is coded. Rows are coded in rising order.
    ///
    /// # Panics
    /// If `row` is not below the number of rows.
    #[must_use]
    #[inline(always)]
    pub fn context(&self, row: usize) -> LevelContext {
        self.context_on(&self.around.path, row, TrellisState::default())
    }

    /// What the current column's levels so far say.
    #[must_use]
    pub fn path(&self) -> ColumnPath {
        self.around.path
    }

    /// What would be known if the current column's levels so far were those of `path`, in a state of dependent quantization; other
    /// states than the first only after [`LevelModel::make_dependent`].
    ///
    /// # Panics
    /// If `row` is not below the number of rows.
    #[must_use]
    #[inline(always)]
    pub fn context_on(&self, path: &ColumnPath, row: usize, state: TrellisState) -> LevelContext {
        self.context_of((row, &self.around.view(row)), path, state)
    }

    /// The same of a row that has been looked at.
    #[inline(always)]
    pub(crate) fn context_of(
        &self,
        (row, view): (usize, &RowView),
        path: &ColumnPath,
        state: TrellisState,
    ) -> LevelContext {
        let above = path.above;
        let expected = self.around.log_expected(view, path);
        let sum = match view.sum + above[0] {
            small @ 0..=1 => small as usize,
            2..=3 => 2,
            _ => 3,
        };
        let near = view.near + 2 * above[0] + above[1];
        let blend = log8(exp8(expected - 8).saturating_add(near << 12)) - LOG_ONE;
        let shift = ((blend >> 3) - SHIFT_FROM).clamp(0, MAX_SHIFT) as u32;
        let odd = usize::from(state.is_odd());
        let bank = u32::from(shift > 0) + (BANKS * odd) as u32;
        let bank_of = |contexts: usize| bank as usize * contexts;
        let row_fast = fast_class(view.log_fast);
        let column_fast = fast_class(path.log_fast());
        let magnitude_class = view.class.unsigned_abs() as usize;
        LevelContext {
            row,
            shift,
            bank,
            slots: [
                (bank_of(SIZES * SUMS) + size_class(expected - LOG_ONE) * SUMS + sum) as u32,
                (bank_of(FAST * FAST) + row_fast * FAST + column_fast) as u32,
                (bank_of(SIZES * CLASSES) + size_class(blend) * CLASSES + magnitude_class) as u32,
                (odd * self.around.rows() + row) as u32,
            ],
            class: view.class,
            log_slow: view.log_slow,
        }
    }

    /// Probability that decision `index` is one: 0 "is it not zero", then "does the unary part go on".
    #[inline]
    pub(crate) fn predict(&self, context: &LevelContext, index: usize) -> Prob {
        let [i, j, k, l] = context.slots.map(|slot| slot as usize);
        let slots = match index {
            0 => {
                let [a, b, c, d] = &self.zero;
                [a[i], b[j], c[k], d[l]]
            }
            _ => {
                let [a, b, c, d] = &self.unary;
                [&a[i], &b[j], &c[k], &d[l]].map(|slots| slots[index - 1])
            }
        };
        self.mixers[context.bank as usize][index].predict(&slots.map(Slot::stretched))
    }

    /// Codes whether the level is not zero.
    #[inline(always)]
    fn code_zero<IO: BitIo>(&mut self, io: &mut IO, context: &LevelContext, bit: bool) -> bool {
        let [a, b, c, d] = &mut self.zero;
        let [i, j, k, l] = context.slots.map(|slot| slot as usize);
        let slots = [&mut a[i], &mut b[j], &mut c[k], &mut d[l]];
        let mixer = &mut self.mixers[context.bank as usize][0];
        code_mixed::<MIXER_RATE, _, _>(io, slots, mixer, bit)
    }

    #[inline(always)]
    fn code_unary<IO: BitIo>(&mut self, io: &mut IO, context: &LevelContext, high: usize) -> usize {
        let [a, b, c, d] = &mut self.unary;
        let [i, j, k, l] = context.slots.map(|slot| slot as usize);
        let slots = [&mut a[i], &mut b[j], &mut c[k], &mut d[l]];
        let mixers = &mut self.mixers[context.bank as usize];
        UnaryModel { slots, mixers }.code(io, high)
    }

    #[inline]
    fn sign_context(&self, row: usize, (class, log_slow): (i32, i32)) -> SignContext {
        SignContext::new(
            self.around.taps(row),
            class,
            log_slow,
            self.around.position(),
        )
    }

    /// Probability that the row's level is negative: foreseeable inside kernels, whose neighbours are alike. Class of the predicted level and
    /// logarithm of the slow mean are the row's.
    #[inline]
    pub(crate) fn predict_sign(&self, row: usize, known: (i32, i32)) -> Prob {
        match self.around.has_kernels() {
            true => self.signs.predict(&self.sign_context(row, known)),
            false => Prob::HALF,
        }
    }

    #[inline]
    fn code_sign<IO: BitIo>(
        &mut self,
        io: &mut IO,
        context: &LevelContext,
        negative: bool,
    ) -> bool {
        match self.around.has_kernels() {
            true => {
                let known = (context.class, context.log_slow);
                let context = self.sign_context(context.row, known);
                self.signs.code(io, &context, negative)
            }
            false => io.bit(Prob::HALF, negative),
        }
    }

    /// Decodes the levels of the column that has begun. A damaged stream may give levels beyond the limits of the format.
    pub(crate) fn decode_column<IO: BitIo>(&mut self, io: &mut IO, levels: &mut [i32]) {
        for (row, level) in levels.iter_mut().enumerate() {
            let context = self.context(row);
            *level = self.code(io, &context, 0);
        }
    }

    /// Codes a level and learns it; returns it (the one read when decoding). A damaged stream may give levels
    /// beyond the limits of the format.
    #[inline(always)]
    pub fn code<IO: BitIo>(&mut self, io: &mut IO, context: &LevelContext, level: i32) -> i32 {
        if !self.code_zero(io, context, level != 0) {
            self.around.learn(context.row, 0);
            return 0;
        }
        let negative = self.code_sign(io, context, level < 0);
        let context = context.with_sign(negative);
        let rest = level.unsigned_abs().wrapping_sub(1);
        let rest = self.code_rest(io, &context, rest);
        let magnitude = rest.min(1 << 30) as i32 + 1;
        let level = if negative { -magnitude } else { magnitude };
        self.around.learn(context.row, level);
        level
    }

    /// Codes a magnitude less one: its high part in unary with an escape, then the low bits.
    #[inline(always)]
    fn code_rest<IO: BitIo>(&mut self, io: &mut IO, context: &LevelContext, rest: u32) -> u64 {
        let shift = context.shift;
        let high = (rest >> shift) as usize;
        let index = self.code_unary(io, context, high);
        let mut coded = index as u64 - 1;
        if index == UNARY {
            coded += self.escape.code(io, high.saturating_sub(UNARY - 1) as u64);
        }
        if shift > 0 {
            let slot = &mut self.low[shift as usize * LOW_CONTEXTS + index];
            let first = io.bit(slot.prob(), (rest >> (shift - 1)) & 1 == 1);
            slot.learn(first);
            coded = coded << 1 | u64::from(first);
            coded = coded << (shift - 1) | code_plain(io, rest.into(), shift - 1);
        }
        coded
    }
}

impl LevelContext {
    /// The context once the sign is known: the predicted level's class counts as agreeing or not.
    #[inline]
    pub(crate) fn with_sign(&self, negative: bool) -> Self {
        let mut context = *self;
        let size = self.class.unsigned_abs();
        let neutral = MAX_CLASS as u32;
        let agrees = (self.class < 0) == negative;
        context.slots[PREDICTED] = self.slots[PREDICTED] - size
            + if agrees {
                neutral + size
            } else {
                neutral - size
            };
        context
    }
}

/// Two classes an octave from 2^-8 on.
#[inline]
fn size_class(log: i32) -> usize {
    ((log + 66) >> 2).clamp(0, SIZES as i32 - 1) as usize
}

/// Two classes an octave from 2^-3.5 on.
#[inline]
fn fast_class(log: i32) -> usize {
    ((log - (LOG_ONE - 28)) >> 2).clamp(0, FAST as i32 - 1) as usize
}

#[cfg(test)]
mod plain;
#[cfg(test)]
mod tests;
