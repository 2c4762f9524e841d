//! From symbols to bits: one trait for writing, reading and counting, so that every model is written once
//! and what counts bits is what writes them.

mod adaptive;
mod byte_model;
mod coder;
mod counter;
mod level_cost;
mod level_model;
mod level_tables;
mod mixing;
mod sign_model;
mod surroundings;
mod tables;

pub use adaptive::AdaptiveBit;
pub use byte_model::ByteModel;
pub use coder::{Decoder, Encoder};
pub use counter::{Counter, Part, PartBits};
pub use level_cost::{CandidateCosts, KnownRow};
pub use level_model::{LevelContext, LevelModel, MatrixSpec};
pub use surroundings::ColumnPath;
pub use tables::cost;

pub(crate) use adaptive::{UintModel, code_flag, code_plain, code_sint};

use crate::error::FormatError;

/// Bits are counted in 1/65536 bit.
pub const COST_ONE_BIT: u32 = 1 << 16;

/// Probability that a bit is one, in 1/65536, from [`Prob::MIN`] to `65536 - Prob::MIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prob(u16);

impl Prob {
    /// Smallest probability: the likelier bit then costs 0.00035 bit.
    pub const MIN: u16 = 16;
    /// One half.
    pub const HALF: Self = Self(1 << 15);

    /// Limits `p16` (in 1/65536) to the legal range.
    #[must_use]
    #[inline]
    pub fn new(p16: u32) -> Self {
        Self(p16.clamp(u32::from(Self::MIN), 65536 - u32::from(Self::MIN)) as u16)
    }

    /// The probability in 1/65536.
    #[must_use]
    #[inline]
    pub fn p16(self) -> u32 {
        u32::from(self.0)
    }
}

/// Something that takes bits, gives bits or counts bits.
pub trait BitIo {
    /// True if the bits come from here; then the values handed in are ignored.
    const DECODES: bool;

    /// Codes one bit whose probability of being one is `p`; returns the bit (the one read when decoding).
    fn bit(&mut self, p: Prob, bit: bool) -> bool;

    /// Fails if more has been read than was written. Decoders are asked now and then, not at every bit.
    ///
    /// # Errors
    /// [`FormatError::Truncated`], naming `what`.
    fn check(&self, what: &'static str) -> Result<(), FormatError> {
        let _ = what;
        Ok(())
    }

    /// An upper bound of the bits that can still be coded; a matrix that needs more is an error before
    /// anything is allocated for it.
    fn bits_left(&self) -> u64 {
        u64::MAX
    }

    /// Says which part the following bits belong to; only counters listen.
    fn mark(&mut self, part: Part) {
        let _ = part;
    }
}
