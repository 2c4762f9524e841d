//! Adaptive bits and integers for everything that is not a level or a byte: sizes, exponents, flags.

use super::{BitIo, Prob};
use crate::error::FormatError;

/// How fast an adaptive bit follows at its `n`-th use: 1/(n + 1.5) in 1/65536, down to 1/33.5.
const RATES: [u32; 33] = rates();

const fn rates() -> [u32; 33] {
    let mut rates = [0; 33];
    let mut n = 0;
    while n < 33 {
        rates[n] = 131_072 / (2 * n as u32 + 3);
        n += 1;
    }
    rates
}

/// A bit whose probability is learnt from the bits coded so far.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveBit {
    p16: u32,
    uses: u8,
}

impl Default for AdaptiveBit {
    fn default() -> Self {
        Self {
            p16: 32768,
            uses: 0,
        }
    }
}

impl AdaptiveBit {
    /// Starts at `p16` (in 1/65536, 1 to 65535) as if used `uses` times (at most 32).
    pub(crate) fn starting(p16: u32, uses: u8) -> Self {
        Self { p16, uses }
    }

    /// Codes a bit and learns it.
    #[inline]
    pub fn code<IO: BitIo>(&mut self, io: &mut IO, bit: bool) -> bool {
        let bit = io.bit(Prob::new(self.p16), bit);
        let rate = u64::from(RATES[usize::from(self.uses)]);
        if bit {
            self.p16 += ((u64::from(65536 - self.p16) * rate) >> 16) as u32;
        } else {
            self.p16 -= ((u64::from(self.p16) * rate) >> 16) as u32;
        }
        self.uses = (self.uses + 1).min(32);
        bit
    }
}

/// Codes a bit of probability one half.
pub(crate) fn code_flag<IO: BitIo>(io: &mut IO, bit: bool) -> bool {
    io.bit(Prob::HALF, bit)
}

/// Codes the `count` low bits of `value`, highest first, each of probability one half.
pub(crate) fn code_plain<IO: BitIo>(io: &mut IO, value: u64, count: u32) -> u64 {
    let mut coded = 0;
    for i in (0..count).rev() {
        coded = (coded << 1) | u64::from(io.bit(Prob::HALF, (value >> i) & 1 == 1));
    }
    coded
}

/// Longest integer that [`UintModel`] codes, in bits of `value + 1`.
const MAX_LENGTH: usize = 40;

/// Adaptive Exp-Golomb code: the length of `value + 1` in unary, one adaptive bit a length; the bit below
/// the leading one adaptive too; the others plain.
#[derive(Debug, Clone)]
pub(crate) struct UintModel {
    longer: [AdaptiveBit; MAX_LENGTH],
    second: [AdaptiveBit; MAX_LENGTH],
}

impl Default for UintModel {
    fn default() -> Self {
        Self {
            longer: [AdaptiveBit::default(); MAX_LENGTH],
            second: [AdaptiveBit::default(); MAX_LENGTH],
        }
    }
}

impl UintModel {
    /// Codes `value`, which must be below 2^40 - 1; larger ones are coded as that.
    pub(crate) fn code<IO: BitIo>(&mut self, io: &mut IO, value: u64) -> u64 {
        let target = value.min((1 << MAX_LENGTH) - 2) + 1;
        let mut length = 1;
        while length < MAX_LENGTH && self.longer[length].code(io, target >> length != 0) {
            length += 1;
        }
        if length == 1 {
            return 0;
        }
        let below = length as u32 - 2;
        let second = self.second[length - 1].code(io, (target >> below) & 1 == 1);
        let high = 2 | u64::from(second);
        let low = code_plain(io, target, below);
        (high << below | low) - 1
    }

    /// Codes a value that must not exceed `limit`.
    pub(crate) fn code_limited<IO: BitIo>(
        &mut self,
        io: &mut IO,
        what: &'static str,
        value: u64,
        limit: u64,
    ) -> Result<u64, FormatError> {
        if !IO::DECODES {
            crate::error::check_limit(what, value, limit)?;
        }
        let value = self.code(io, value);
        crate::error::check_limit(what, value, limit)?;
        Ok(value)
    }
}

/// Codes a signed integer: magnitude by `model`, then the sign plainly.
pub(crate) fn code_sint<IO: BitIo>(model: &mut UintModel, io: &mut IO, value: i64) -> i64 {
    let magnitude = model.code(io, value.unsigned_abs()) as i64;
    if magnitude != 0 && code_flag(io, value < 0) {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Decoder, Encoder};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::seeded(256))]

        #[test]
        fn integers_come_back(values in prop::collection::vec(-(1i64 << 39)..(1 << 39), 0..100)) {
            let mut encoder = Encoder::new();
            let mut model = UintModel::default();
            for &v in &values {
                code_sint(&mut model, &mut encoder, v >> (v & 31));
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let mut model = UintModel::default();
            for &v in &values {
                prop_assert_eq!(code_sint(&mut model, &mut decoder, 0), v >> (v & 31));
            }
        }
    }

    #[test]
    fn a_repeated_integer_becomes_cheap() {
        let mut counter = crate::entropy::Counter::new();
        let mut model = UintModel::default();
        for _ in 0..1000 {
            model.code(&mut counter, 2);
        }
        assert!(counter.bits_f64() < 200.0, "{}", counter.bits_f64());
    }
}
