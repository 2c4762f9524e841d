//! Exponents of rows and columns: differences, coded adaptively.

use crate::entropy::{AdaptiveBit, BitIo, Counter, UintModel, code_flag};
use crate::error::{FormatError, check_limit};
use crate::limits::{MAX_SCALE_EXPONENT, MAX_SCALE_SHIFT};

/// How many exponents are decoded between two looks at the end of the stream.
const CHECK_EVERY: usize = 4096;

/// Codes `count` exponents of granularity `shift`, given as units when encoding. Each is coded as the
/// difference from the one a whole kernel (`period`) before or from the last one; the writer takes what costs
/// less.
pub(crate) fn code_scales<IO: BitIo>(
    io: &mut IO,
    shift: u8,
    count: usize,
    period: usize,
    given: Option<&[i32]>,
) -> Result<(u8, Vec<i32>), FormatError> {
    let shift = code_shift(io, shift)?;
    let limit = i64::from(MAX_SCALE_EXPONENT >> shift);
    let across = period > 1
        && code_flag(
            io,
            given.is_some_and(|units| across_is_cheaper(units, period)),
        );
    let lag = if across { period } else { 1 };
    let mut model = DifferenceModel::default();
    let mut units: Vec<i32> = Vec::new();
    for i in 0..count {
        let expected = i64::from(expected(&units, i, lag));
        let value = given.map_or(0, |units| i64::from(units[i]));
        let unit = expected + model.code(io, value - expected);
        if unit.abs() > limit {
            let legal = "-4096 to 4096 in 1/64 octave";
            return Err(FormatError::Invalid {
                what: "scale exponent",
                found: unit,
                legal,
            });
        }
        units.push(unit as i32);
        if i % CHECK_EVERY == 0 {
            io.check("scale exponents")?;
        }
    }
    Ok((shift, units))
}

/// Three plain bits.
fn code_shift<IO: BitIo>(io: &mut IO, shift: u8) -> Result<u8, FormatError> {
    let coded = (0..3).rev().fold(0, |coded, i| {
        coded << 1 | u8::from(code_flag(io, shift >> i & 1 == 1))
    });
    check_limit(
        "granularity of scale exponents",
        coded.into(),
        MAX_SCALE_SHIFT.into(),
    )?;
    Ok(coded)
}

/// The exponent `lag` places before `i`; before there are that many, the last one; at first 0.
fn expected(units: &[i32], i: usize, lag: usize) -> i32 {
    match i.checked_sub(lag).or(i.checked_sub(1)) {
        Some(before) => units[before],
        None => 0,
    }
}

fn across_is_cheaper(units: &[i32], period: usize) -> bool {
    let cost = |lag| {
        let mut counter = Counter::new();
        let mut model = DifferenceModel::default();
        for (i, &unit) in units.iter().enumerate() {
            model.code(
                &mut counter,
                i64::from(unit) - i64::from(expected(units, i, lag)),
            );
        }
        counter.cost()
    };
    cost(period) < cost(1)
}

/// Adaptive code of differences: the contexts are how large the last one was, and the last sign.
#[derive(Default)]
struct DifferenceModel {
    zero: [AdaptiveBit; 3],
    sign: [AdaptiveBit; 3],
    magnitude: [UintModel; 3],
    /// Magnitude of the last difference, at most 2.
    size: usize,
    /// Sign of the last difference that was not 0: none yet, positive, negative.
    last_sign: usize,
}

impl DifferenceModel {
    fn code<IO: BitIo>(&mut self, io: &mut IO, difference: i64) -> i64 {
        let size = self.size;
        if !self.zero[size].code(io, difference != 0) {
            self.size = 0;
            return 0;
        }
        let negative = self.sign[self.last_sign].code(io, difference < 0);
        self.last_sign = if negative { 2 } else { 1 };
        let rest = self.magnitude[size].code(io, difference.unsigned_abs().saturating_sub(1));
        let magnitude = rest as i64 + 1;
        self.size = magnitude.min(2) as usize;
        if negative { -magnitude } else { magnitude }
    }
}
