//! The context model of levels: from the levels coded so far to the probability of the next bit.

use super::adaptive::{UintModel, code_plain};
use super::level_tables::{
    BANKS, CLASSES, FAR_LIMIT, FAST, FIRST_SIGN_WEIGHT, FIRST_WEIGHT, INPUTS, MIXER_RATE,
    POSITIONS, SCALES, SIGN_INPUTS, SIGN_MIXER_RATE, SIGN_STARTS, SIZES, STARTS, STRIDE, SUM_LIMIT,
    SUMS, UNARY, USES, first_sign_slots, first_slots,
};
use super::mixing::{Mixer, Slot};
use super::surroundings::{LOG_ONE, MAX_CLASS, Surroundings, exp8, log8};
use super::tables::cost;
use super::{BitIo, COST_ONE_BIT, Prob};

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

/// Where a level stands: what the model knows before coding it.
#[derive(Debug, Clone, Copy)]
pub struct LevelContext {
    row: usize,
    /// Low bits of magnitudes that are coded after the unary part.
    shift: u32,
    /// 1 if there are low bits.
    bank: u32,
    /// Slots of decision 0.
    slots: [u16; INPUTS],
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

/// Adaptive model of one matrix' levels, coded column after column, rows inner: each column in turn,
/// [`LevelModel::begin_column`], then for each row in turn [`LevelModel::context`] and [`LevelModel::code`].
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
        Self {
            around: Surroundings::new(spec),
            slots: first_slots(),
            mixers: vec![Mixer([FIRST_WEIGHT; INPUTS]); BANKS * UNARY],
            sign_slots: first_sign_slots(),
            sign_mixers: vec![Mixer([FIRST_SIGN_WEIGHT; SIGN_INPUTS]); POSITIONS],
            low: vec![Slot::new(1 << 15, 0); LOW_CONTEXTS * (MAX_SHIFT as usize + 1)],
            escape: UintModel::default(),
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
    ///
    /// # Panics
    /// If `row` is not below the number of rows.
    #[must_use]
    #[inline]
    pub fn context(&self, row: usize) -> LevelContext {
        let (view, above) = (self.around.view(row), self.around.above);
        let expected = self.around.log_expected(view);
        let sum = match view.sum + above[0] {
            small @ 0..=1 => small as usize,
            2..=3 => 2,
            _ => 3,
        };
        let near = view.near + 2 * above[0] + above[1];
        let blend = log8(exp8(expected - 8).saturating_add(near << 12)) - LOG_ONE;
        let shift = ((blend >> 3) - SHIFT_FROM).clamp(0, MAX_SHIFT) as u32;
        let bank = u32::from(shift > 0);
        let base = bank as usize * UNARY * STRIDE;
        let row_fast = fast_class(view.log_fast);
        let column_fast = fast_class(self.around.log_column_fast());
        let magnitude_class = view.class.unsigned_abs() as usize;
        LevelContext {
            row,
            shift,
            bank,
            slots: [
                (base + STARTS[0] + size_class(expected - LOG_ONE) * SUMS + sum) as u16,
                (base + STARTS[1] + row_fast * FAST + column_fast) as u16,
                (base + STARTS[2] + size_class(blend) * CLASSES + magnitude_class) as u16,
            ],
            class: view.class,
        }
    }

    #[inline]
    fn inputs(&self, context: &LevelContext, index: usize) -> [i32; INPUTS] {
        context
            .slots
            .map(|slot| self.slots[usize::from(slot) + index * STRIDE].stretched())
    }

    #[inline]
    fn predict(&self, context: &LevelContext, index: usize) -> Prob {
        let mixer = &self.mixers[context.bank as usize * UNARY + index];
        mixer.predict(&self.inputs(context, index))
    }

    /// Codes decision `index`: 0 "is it not zero", then "does the unary part go on".
    #[inline]
    fn code_decision<IO: BitIo>(
        &mut self,
        io: &mut IO,
        context: &LevelContext,
        index: usize,
        bit: bool,
    ) -> bool {
        let inputs = self.inputs(context, index);
        let mixer = &mut self.mixers[context.bank as usize * UNARY + index];
        let p = mixer.predict(&inputs);
        let bit = io.bit(p, bit);
        mixer.learn::<MIXER_RATE>(&inputs, p, bit);
        for slot in context.slots {
            self.slots[usize::from(slot) + index * STRIDE].learn(bit, USES);
        }
        bit
    }

    #[inline]
    fn sign_contexts(&self, row: usize) -> [usize; SIGN_INPUTS] {
        let view = self.around.view(row);
        let [left, up, up_left, up_right, left2, up2] = view.taps.map(i32::from);
        let scale = ((view.log_slow - (LOG_ONE - 32)) >> 3).clamp(0, SCALES as i32 - 1);
        let near =
            (2 * left + 2 * up + up_right - up_left).clamp(-SUM_LIMIT, SUM_LIMIT) + SUM_LIMIT;
        let far = (left2 + up2 + up_left).clamp(-FAR_LIMIT, FAR_LIMIT) + FAR_LIMIT;
        let signs = left.signum() + 1 + 3 * (up.signum() + 1);
        let position = self.around.position().min(POSITIONS - 1);
        [
            ((view.class + MAX_CLASS) * SCALES as i32 + scale) as usize,
            SIGN_STARTS[1] + (near + far * (2 * SUM_LIMIT + 1)) as usize,
            SIGN_STARTS[2] + signs as usize + 9 * position,
        ]
    }

    #[inline]
    fn predict_sign(&self, context: &LevelContext) -> Prob {
        if !self.around.has_kernels() {
            return Prob::HALF;
        }
        let inputs = self
            .sign_contexts(context.row)
            .map(|slot| self.sign_slots[slot].stretched());
        self.sign_mixers[self.around.position().min(POSITIONS - 1)].predict(&inputs)
    }

    /// Codes whether the level is negative: predictable inside kernels, whose neighbours are alike.
    #[inline]
    fn code_sign<IO: BitIo>(&mut self, io: &mut IO, row: usize, negative: bool) -> bool {
        if !self.around.has_kernels() {
            return io.bit(Prob::HALF, negative);
        }
        let contexts = self.sign_contexts(row);
        let inputs = contexts.map(|slot| self.sign_slots[slot].stretched());
        let mixer = &mut self.sign_mixers[self.around.position().min(POSITIONS - 1)];
        let p = mixer.predict(&inputs);
        let negative = io.bit(p, negative);
        mixer.learn::<SIGN_MIXER_RATE>(&inputs, p, negative);
        for slot in contexts {
            self.sign_slots[slot].learn(negative, USES);
        }
        negative
    }

    /// Codes a level and learns it; returns it (the one read when decoding). A damaged stream may give levels
    /// beyond the limits of the format.
    #[inline]
    pub fn code<IO: BitIo>(&mut self, io: &mut IO, context: &LevelContext, level: i32) -> i32 {
        if !self.code_decision(io, context, 0, level != 0) {
            self.around.learn(context.row, 0);
            return 0;
        }
        let negative = self.code_sign(io, context.row, level < 0);
        let context = context.with_sign(negative);
        let rest = level.unsigned_abs().wrapping_sub(1);
        let rest = self.code_rest(io, &context, rest);
        let magnitude = rest.min(1 << 30) as i32 + 1;
        let level = if negative { -magnitude } else { magnitude };
        self.around.learn(context.row, level);
        level
    }

    /// Codes a magnitude less one: its high part in unary with an escape, then the low bits.
    #[inline]
    fn code_rest<IO: BitIo>(&mut self, io: &mut IO, context: &LevelContext, rest: u32) -> u64 {
        let shift = context.shift;
        let high = (rest >> shift) as usize;
        let mut index = 1;
        while index < UNARY && self.code_decision(io, context, index, high >= index) {
            index += 1;
        }
        let mut coded = index as u64 - 1;
        if index == UNARY {
            coded += self.escape.code(io, high.saturating_sub(UNARY - 1) as u64);
        }
        if shift > 0 {
            let slot = &mut self.low[shift as usize * LOW_CONTEXTS + index];
            let first = io.bit(slot.prob(), (rest >> (shift - 1)) & 1 == 1);
            slot.learn(first, USES);
            coded = coded << 1 | u64::from(first);
            coded = coded << (shift - 1) | code_plain(io, rest.into(), shift - 1);
        }
        coded
    }

    /// Cost of a level in 1/65536 bit, its sign included; nothing is learnt. Escape codes and low bits are
    /// counted as whole bits.
    #[must_use]
    pub fn cost(&self, context: &LevelContext, level: i32) -> u32 {
        if level == 0 {
            self.zero_cost(context)
        } else {
            self.candidate_costs(context, level).upper
        }
    }

    fn zero_cost(&self, context: &LevelContext) -> u32 {
        cost(self.predict(context, 0), false)
    }

    /// Costs of 0, of the level one nearer to zero and of `level` (not 0) in one go.
    #[must_use]
    pub fn candidate_costs(&self, context: &LevelContext, level: i32) -> CandidateCosts {
        let p = self.predict(context, 0);
        let negative = level < 0;
        let start = cost(p, true)
            + cost(self.predict_sign(context), negative)
            + context.shift * COST_ONE_BIT;
        let signed = context.with_sign(negative);
        let rest = level.unsigned_abs().saturating_sub(1);
        let zero = cost(p, false);
        let [lower, upper] = self.unary_costs(&signed, [rest.saturating_sub(1), rest]);
        let lower = if rest == 0 { zero } else { start + lower };
        CandidateCosts {
            zero,
            lower,
            upper: start + upper,
        }
    }

    /// Costs of the unary parts of two magnitudes less one, the first not larger than the second.
    fn unary_costs(&self, context: &LevelContext, rests: [u32; 2]) -> [u32; 2] {
        let highs = rests.map(|rest| (rest >> context.shift) as usize);
        let (mut costs, mut prefix) = ([0; 2], 0);
        for index in 1..UNARY {
            let p = self.predict(context, index);
            for (total, &high) in costs.iter_mut().zip(&highs) {
                if high + 1 == index {
                    *total = prefix + cost(p, false);
                }
            }
            if highs[1] < index {
                return costs;
            }
            prefix += cost(p, true);
        }
        for (total, high) in costs.iter_mut().zip(highs) {
            if high + 1 >= UNARY {
                *total = prefix + (2 * (high + 2 - UNARY).ilog2() + 1) * COST_ONE_BIT;
            }
        }
        costs
    }
}

impl LevelContext {
    /// The context once the sign is known: the predicted level's class counts as agreeing or not.
    #[inline]
    fn with_sign(&self, negative: bool) -> Self {
        let mut context = *self;
        let size = self.class.unsigned_abs() as u16;
        let neutral = MAX_CLASS as u16;
        let agrees = (self.class < 0) == negative;
        context.slots[2] = self.slots[2] - size
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
mod tests {
    use super::*;
    use crate::entropy::{Counter, Decoder, Encoder};
    use proptest::prelude::*;

    /// Codes levels (columns outer) and returns what comes back.
    fn run<IO: BitIo>(io: &mut IO, spec: &MatrixSpec, levels: &[i32]) -> Vec<i32> {
        let mut model = LevelModel::new(spec);
        let mut coded = Vec::new();
        for j in 0..spec.cols {
            model.begin_column(j);
            for r in 0..spec.rows {
                let level = levels.get(j * spec.rows + r).copied().unwrap_or(0);
                let context = model.context(r);
                coded.push(model.code(io, &context, level));
            }
        }
        coded
    }

    proptest! {
        #![proptest_config(crate::seeded(256))]

        #[test]
        fn levels_of_any_size_come_back(
            rows in 1usize..5,
            period in 1usize..10,
            levels in prop::collection::vec((-(1i32 << 30)..1 << 30, 0u32..31), 90..200),
        ) {
            let levels: Vec<i32> = levels.iter().map(|&(level, shift)| level >> shift).collect();
            let spec = MatrixSpec { rows, cols: levels.len() / rows, period };
            let levels = &levels[..rows * spec.cols];
            let mut encoder = Encoder::new();
            run(&mut encoder, &spec, levels);
            let bytes = encoder.finish();
            prop_assert_eq!(run(&mut Decoder::new(&bytes), &spec, &[]), levels);
        }

        #[test]
        fn costs_are_what_coding_counts(
            period in prop::sample::select(vec![1usize, 4, 9]),
            levels in prop::collection::vec(-9i32..=9, 60..200),
            level in -30i32..=30,
        ) {
            let spec = MatrixSpec { rows: 3, cols: levels.len() / 3 + 1, period };
            let mut model = LevelModel::new(&spec);
            for (j, column) in levels.chunks_exact(3).enumerate() {
                model.begin_column(j);
                for (r, &level) in column.iter().enumerate() {
                    let context = model.context(r);
                    model.code(&mut Counter::new(), &context, level);
                }
            }
            model.begin_column(levels.len() / 3);
            let context = model.context(0);
            let count = |level: i32| {
                let mut counter = Counter::new();
                model.clone().code(&mut counter, &context, level);
                counter.cost()
            };
            // Escapes and low bits are only estimated: they cannot occur below 9 levels here.
            if level.abs() < 15 && context.shift == 0 {
                prop_assert_eq!(u64::from(model.cost(&context, level)), count(level));
            }
            if level != 0 {
                let costs = model.candidate_costs(&context, level);
                prop_assert_eq!(costs.zero, model.cost(&context, 0));
                prop_assert_eq!(costs.lower, model.cost(&context, level - level.signum()));
                prop_assert_eq!(costs.upper, model.cost(&context, level));
            }
        }
    }

    #[test]
    fn long_runs_of_zeros_cost_almost_nothing() {
        let spec = MatrixSpec {
            rows: 100,
            cols: 10_000,
            period: 1,
        };
        let mut counter = Counter::new();
        run(&mut counter, &spec, &[]);
        assert!(
            counter.bits_f64() < 0.0005 * 1e6 + 300.0,
            "{}",
            counter.bits_f64()
        );
    }

    #[test]
    fn alike_neighbours_inside_a_kernel_make_signs_cheap() {
        let spec = MatrixSpec {
            rows: 8,
            cols: 900,
            period: 9,
        };
        // One sign for each kernel, magnitudes 1.
        let sign = |kernel: usize| {
            if kernel.wrapping_mul(2_654_435_761) >> 16 & 1 == 1 {
                1
            } else {
                -1
            }
        };
        let levels: Vec<i32> = (0..7200).map(|i| sign(i / 72 * 8 + i % 8)).collect();
        let mut counter = Counter::new();
        run(&mut counter, &spec, &levels);
        assert!(counter.bits_f64() < 0.25 * 7200.0, "{}", counter.bits_f64());
    }
}
