//! The context model of levels: from the levels coded so far to the probability of the next bit.

use super::adaptive::{UintModel, code_plain};
use super::mixing::{Mixer, Slot};
use super::surroundings::{LOG_ONE, MAX_CLASS, RowView, Surroundings, exp8, log8};
use super::tables::{cost, squash};
use super::{BitIo, COST_ONE_BIT, Prob};

/// Shape of a matrix of levels as the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixSpec {
    /// Rows that are coded (those with any level, or all in a first pass).
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Kernel positions: column `j` is position `j % period` of input channel `j / period`.
    pub period: usize,
}

/// Contexts whose predictions are mixed for magnitudes.
const INPUTS: usize = 3;
/// Decisions of the unary code, the zero decision included; then comes the escape code.
const UNARY: usize = 16;
/// Classes of a sum of neighbours: 0, 1, 2 to 3, more.
const SUMS: usize = 4;
/// Classes of an expected magnitude, [`SIZE_SHIFT`] of them an octave, the first one below 2^-8.
const SIZES: usize = 28;
const SIZE_SHIFT: i32 = 2;
/// Classes of a fast mean, two an octave.
const FAST: usize = 16;
/// Signed classes of a predicted level.
const CLASSES: usize = 2 * MAX_CLASS as usize + 1;
/// First slot of each input, then the number of slots of one decision.
const STARTS: [usize; INPUTS + 1] =
    [0, SIZES * SUMS, SIZES * SUMS + FAST * FAST, SIZES * SUMS + FAST * FAST + SIZES * CLASSES];
const STRIDE: usize = STARTS[INPUTS];

const SIGN_INPUTS: usize = 3;
const SIGN_STARTS: [usize; SIGN_INPUTS + 1] = [0, CLASSES * 8, CLASSES * 8 + 19 * 7, CLASSES * 8 + 19 * 7 + 9 * 64];
const MAX_SHIFT: i32 = 18;
const LIMIT: u32 = 255;

/// Where a level stands: what the model knows before coding it.
#[derive(Debug, Clone, Copy)]
pub struct LevelContext {
    row: usize,
    /// Low bits of magnitudes that are coded after the unary part.
    shift: u32,
    slots: [u16; INPUTS],
    set: u16,
    /// Size class of the predicted level with its sign.
    class: i32,
}

/// Costs of the candidates for one level, in 1/65536 bit, signs included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandidateCosts {
    /// Of level 0.
    pub zero: u32,
    /// Of the level one nearer to zero.
    pub lower: u32,
    /// Of the level.
    pub upper: u32,
}

/// Adaptive model of one matrix' levels, coded column after column, rows inner.
#[derive(Debug, Clone)]
pub struct LevelModel {
    around: Surroundings,
    slots: Vec<Slot>,
    mixers: Vec<Mixer<INPUTS>>,
    sign_slots: Vec<Slot>,
    sign_mixers: Vec<Mixer<SIGN_INPUTS>>,
    low: Vec<Slot>,
    escape: UintModel,
}

impl LevelModel {
    /// A model that has seen nothing.
    #[must_use]
    pub fn new(spec: &MatrixSpec) -> Self {
        let mut one = Vec::with_capacity(STRIDE);
        let slot = |log: i32| Slot::new(squash(log * 22).p16(), 8);
        for size in 0..SIZES as i32 { for _ in 0..SUMS { one.push(slot((size << SIZE_SHIFT) - 64)); } }
        for i in 0..FAST as i32 { for j in 0..FAST as i32 { one.push(slot(((i + j) * 4 - 56) / 2)); } }
        for size in 0..SIZES as i32 { for _ in 0..CLASSES { one.push(slot((size << SIZE_SHIFT) - 64)); } }
        let mut slots = one.repeat(UNARY);
        slots.extend(vec![slot(16); STRIDE * UNARY]);
        Self {
            slots,
            mixers: vec![Mixer([24000; INPUTS]); UNARY * 2],
            sign_slots: vec![Slot::new(1 << 15, 4); SIGN_STARTS[SIGN_INPUTS]],
            sign_mixers: vec![Mixer([26000; SIGN_INPUTS]); 64],
            low: vec![Slot::new(1 << 15, 0); 1024],
            escape: UintModel::default(),
            around: Surroundings::new(spec),
        }
    }

    /// Starts another matrix, keeping the probabilities learnt.
    pub fn restart(&mut self, spec: &MatrixSpec) {
        self.around = Surroundings::new(spec);
    }

    /// Goes to column `column`; columns are visited one after the other from 0.
    pub fn begin_column(&mut self, column: usize) {
        self.around.begin_column(column);
    }

    /// What is known before level (`row`, current column) is coded. Rows are coded in rising order.
    #[must_use]
    #[inline]
    pub fn context(&self, row: usize) -> LevelContext {
        let (view, above) = (self.around.view(row), self.around.above);
        let expected = self.around.log_expected(view);
        let near = view.near + 2 * above[0] + above[1];
        let sum = match view.sum + above[0] { 0 => 0, 1 => 1, 2..=3 => 2, _ => 3 };
        let size = size_class(expected - LOG_ONE);
        let fast = |log: i32| ((log - 100) >> 2).clamp(0, FAST as i32 - 1) as usize;
        let (row_fast, column_fast) = (fast(view.log_fast), fast(self.around.log_column_fast()));
        let blend = log8(exp8(expected - 8).saturating_add(near << 12)) - LOG_ONE;
        let shift = ((blend >> 3) - 2).clamp(0, MAX_SHIFT) as u32;
        let bank = usize::from(shift > 0);
        let base = bank * UNARY * STRIDE;
        LevelContext {
            row,
            shift,
            slots: [
                (base + STARTS[0] + size * SUMS + sum) as u16,
                (base + STARTS[1] + row_fast * FAST + column_fast) as u16,
                (base + STARTS[2] + size_class(blend) * CLASSES) as u16 + view.class.unsigned_abs() as u16,
            ],
            set: bank as u16,
            class: view.class,
        }
    }

    #[inline]
    fn sign_slots(&self, row: usize) -> [usize; SIGN_INPUTS] {
        let view = self.around.view(row);
        let [l, u, d, e, l2, u2] = view.taps.map(i32::from);
        let s = |x: i32| x.signum() + 1;
        let position = self.around.position().min(63) as i32;
        let scale = ((view.log_slow - 96) >> 3).clamp(0, 7);
        [
            ((view.class + MAX_CLASS) * 8 + scale) as usize,
            SIGN_STARTS[1] + ((2 * l + 2 * u + e - d).clamp(-9, 9) + 9 + 19 * (l2 + u2 + d).clamp(-3, 3) + 57) as usize,
            SIGN_STARTS[2] + (s(l) + 3 * s(u) + 9 * position) as usize,
        ]
    }

    #[inline]
    fn inputs(&self, ctx: &LevelContext, index: usize) -> [i32; INPUTS] {
        ctx.slots.map(|slot| self.slots[usize::from(slot) + index * STRIDE].stretched())
    }

    #[inline]
    fn predict(&self, ctx: &LevelContext, index: usize) -> Prob {
        self.mixers[index * 2 + ctx.set as usize].predict(&self.inputs(ctx, index))
    }

    #[inline]
    fn code_bit<IO: BitIo>(&mut self, io: &mut IO, ctx: &LevelContext, index: usize, bit: bool) -> bool {
        let inputs = self.inputs(ctx, index);
        let mixer = &mut self.mixers[index * 2 + ctx.set as usize];
        let p = mixer.predict(&inputs);
        let bit = io.bit(p, bit);
        mixer.learn::<14>(&inputs, p, bit);
        for slot in ctx.slots {
            self.slots[usize::from(slot) + index * STRIDE].learn(bit, LIMIT);
        }
        bit
    }

    #[inline]
    fn predict_sign(&self, ctx: &LevelContext) -> Prob {
        if !self.around.has_kernels() { return Prob::HALF; }
        let inputs = self.sign_slots(ctx.row).map(|slot| self.sign_slots[slot].stretched());
        self.sign_mixers[self.around.position().min(63)].predict(&inputs)
    }

    #[inline]
    fn code_sign<IO: BitIo>(&mut self, io: &mut IO, ctx: &LevelContext, negative: bool) -> bool {
        if !self.around.has_kernels() { return io.bit(Prob::HALF, negative); }
        let slots = self.sign_slots(ctx.row);
        let inputs = slots.map(|slot| self.sign_slots[slot].stretched());
        let mixer = &mut self.sign_mixers[self.around.position().min(63)];
        let p = mixer.predict(&inputs);
        let bit = io.bit(p, negative);
        mixer.learn::<13>(&inputs, p, bit);
        for slot in slots {
            self.sign_slots[slot].learn(bit, LIMIT);
        }
        bit
    }

    #[inline]
    fn after_sign(ctx: &LevelContext, negative: bool) -> LevelContext {
        let mut ctx = *ctx;
        let size = ctx.class.unsigned_abs() as u16;
        ctx.slots[2] -= size;
        ctx.slots[2] += if (ctx.class < 0) == negative { MAX_CLASS as u16 + size } else { MAX_CLASS as u16 - size };
        ctx
    }

    /// Cost of a level in 1/65536 bit, its sign included; nothing is learnt.
    #[must_use]
    pub fn cost(&self, ctx: &LevelContext, level: i32) -> u32 {
        let magnitude = level.unsigned_abs();
        let mut total = cost(self.predict(ctx, 0), magnitude > 0);
        if magnitude == 0 { return total; }
        total += cost(self.predict_sign(ctx), level < 0);
        let ctx = Self::after_sign(ctx, level < 0);
        let high = ((magnitude - 1) >> ctx.shift) as usize;
        total += ctx.shift * COST_ONE_BIT;
        for index in 1..UNARY {
            total += cost(self.predict(&ctx, index), high >= index);
            if high < index {
                return total;
            }
        }
        total + (2 * (high + 1 - UNARY + 1).ilog2() + 1) * COST_ONE_BIT
    }

    /// Costs of 0, of the level one nearer to zero and of `level` (not 0) in one go.
    #[must_use]
    pub fn candidate_costs(&self, ctx: &LevelContext, level: i32) -> CandidateCosts {
        CandidateCosts {
            zero: self.cost(ctx, 0),
            lower: self.cost(ctx, level - level.signum()),
            upper: self.cost(ctx, level),
        }
    }

    /// Codes a level and learns it; returns it (the one read when decoding).
    #[inline]
    pub fn code<IO: BitIo>(&mut self, io: &mut IO, ctx: &LevelContext, level: i32) -> i32 {
        if !self.code_bit(io, ctx, 0, level != 0) {
            self.around.learn(ctx.row, 0);
            return 0;
        }
        let magnitude = level.unsigned_abs();
        let negative = self.code_sign(io, ctx, level < 0);
        let ctx = &Self::after_sign(ctx, negative);
        let rest = magnitude.wrapping_sub(1);
        let high = (rest >> ctx.shift) as usize;
        let mut index = 1;
        while index < UNARY && self.code_bit(io, ctx, index, high >= index) {
            index += 1;
        }
        let mut value = index as u64 - 1;
        if index == UNARY {
            value += self.escape.code(io, (high + 1).wrapping_sub(UNARY) as u64);
        }
        let mut value = value as u32;
        if ctx.shift > 0 {
            let slot = &mut self.low[(ctx.shift as usize) * 32 + index.min(31)];
            let top = io.bit(slot.prob(), (rest >> (ctx.shift - 1)) & 1 == 1);
            slot.learn(top, LIMIT);
            value = value << 1 | u32::from(top);
            value = value << (ctx.shift - 1) | code_plain(io, rest.into(), ctx.shift - 1) as u32;
        }
        let value = value.min(1 << 30) as i32 + 1;
        let value = if negative { -value } else { value };
        self.around.learn(ctx.row, value);
        value
    }
}

#[inline]
fn size_class(log: i32) -> usize {
    ((log + 66) >> SIZE_SHIFT).clamp(0, SIZES as i32 - 1) as usize
}
