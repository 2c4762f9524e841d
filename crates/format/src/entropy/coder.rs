//! The binary arithmetic coder: 64-bit interval, 16-bit probabilities, 32 bits out at a time, carries
//! propagated by the encoder. docs/format.md, "Arithmetic coding".

use std::hint::select_unpredictable;

use super::{BitIo, Prob};
use crate::error::FormatError;

/// The interval is widened by 32 bits as soon as it is narrower than this.
const RENORMALIZE: u64 = 1 << 32;
/// Most coded bits that a byte can hold: 8 / -log2(1 - 16/65536), rounded up.
const BITS_PER_BYTE: u64 = 22_710;
/// Bytes past the end that a decoder may read as zeros: the encoder leaves out the end's zeros.
const SLACK: usize = 8;

/// Writes bits.
#[derive(Debug, Clone)]
pub struct Encoder {
    low: u64,
    range: u64,
    bytes: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that has written nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            low: 0,
            range: u64::MAX,
            bytes: Vec::new(),
        }
    }

    /// Ends the stream with as few bytes as name a number inside the interval, and returns it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        for kept in 0..=8u32 {
            let mask = u64::MAX.checked_shr(8 * kept).unwrap_or(0);
            let (above, carry) = self.low.overflowing_add(mask);
            let value = above & !mask;
            // `value` (with its carry as bit 64) is the smallest multiple of mask + 1 that is >= low.
            if value.wrapping_sub(self.low) < self.range {
                if carry {
                    self.carry();
                }
                self.bytes
                    .extend_from_slice(&value.to_be_bytes()[..kept as usize]);
                break;
            }
        }
        self.bytes
    }

    /// Adds one to the last written digit; it cannot run past the front because the interval never
    /// leaves [0, 1).
    #[cold]
    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }
}

impl BitIo for Encoder {
    const DECODES: bool = false;

    #[inline]
    fn bit(&mut self, p: Prob, bit: bool) -> bool {
        let bound = (self.range >> 16) * u64::from(p.p16());
        if bit {
            self.range = bound;
        } else {
            let (low, carry) = self.low.overflowing_add(bound);
            self.low = low;
            self.range -= bound;
            if carry {
                self.carry();
            }
        }
        if self.range < RENORMALIZE {
            self.bytes
                .extend_from_slice(&((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
        }
        bit
    }
}

/// Reads bits.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    /// Coded number minus the interval's lower end.
    offset: u64,
    range: u64,
    bytes: &'a [u8],
    /// Bytes taken, counting those past the end.
    taken: usize,
}

impl<'a> Decoder<'a> {
    /// Starts reading a stream.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            offset: 0,
            range: u64::MAX,
            bytes,
            taken: 0,
        };
        let high = u64::from(decoder.word());
        decoder.offset = (high << 32) | u64::from(decoder.word());
        decoder
    }

    /// Checks that the stream was read to its end.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if it ended too early, [`FormatError::Trailing`] if bytes are left.
    pub fn finish(self, what: &'static str) -> Result<(), FormatError> {
        self.check(what)?;
        match self.bytes.len().checked_sub(self.taken) {
            Some(bytes) if bytes > 0 => Err(FormatError::Trailing {
                what,
                bytes: bytes as u64,
            }),
            _ => Ok(()),
        }
    }

    #[inline]
    fn word(&mut self) -> u32 {
        let next = self
            .bytes
            .get(self.taken..)
            .and_then(|rest| rest.first_chunk::<4>());
        let word = match next {
            Some(bytes) => u32::from_be_bytes(*bytes),
            None => last_word(self.bytes, self.taken),
        };
        self.taken += 4;
        word
    }
}

/// The word at the stream's end, zeros after it.
#[cold]
fn last_word(bytes: &[u8], taken: usize) -> u32 {
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(taken)) {
        *to = *from;
    }
    u32::from_be_bytes(word)
}

impl BitIo for Decoder<'_> {
    const DECODES: bool = true;

    #[inline]
    fn bit(&mut self, p: Prob, _bit: bool) -> bool {
        let bound = (self.range >> 16) * u64::from(p.p16());
        // Without a branch: the bit is hard to foresee, and what is learnt from it need not wait for it.
        let (beyond, bit) = self.offset.overflowing_sub(bound);
        self.offset = select_unpredictable(bit, self.offset, beyond);
        self.range = select_unpredictable(bit, bound, self.range - bound);
        if self.range < RENORMALIZE {
            self.offset = (self.offset << 32) | u64::from(self.word());
            self.range <<= 32;
        }
        bit
    }

    fn check(&self, what: &'static str) -> Result<(), FormatError> {
        if self.taken > self.bytes.len().saturating_add(SLACK) {
            return Err(FormatError::Truncated { what });
        }
        Ok(())
    }

    fn bits_left(&self) -> u64 {
        // The 8 bytes in `offset` are taken but may all be unused.
        let bytes = self.bytes.len().saturating_sub(self.taken) + 8 + SLACK;
        bytes as u64 * BITS_PER_BYTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Counter;
    use proptest::prelude::*;

    fn encode(bits: &[(u32, bool)]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        for &(p, bit) in bits {
            encoder.bit(Prob::new(p), bit);
        }
        encoder.finish()
    }

    proptest! {
        #![proptest_config(crate::seeded(256))]

        #[test]
        fn bits_come_back(bits in prop::collection::vec((0u32..65537, any::<bool>()), 0..2000)) {
            let bytes = encode(&bits);
            let mut decoder = Decoder::new(&bytes);
            for &(p, bit) in &bits {
                prop_assert_eq!(decoder.bit(Prob::new(p), false), bit);
            }
            prop_assert!(decoder.finish("stream").is_ok());
        }

        #[test]
        fn counted_size_is_written_size(bits in prop::collection::vec((0u32..65537, any::<bool>()), 0..4000)) {
            let mut counter = Counter::new();
            for &(p, bit) in &bits {
                counter.bit(Prob::new(p), bit);
            }
            let written = encode(&bits).len() as f64;
            let counted = counter.bits_f64() / 8.0;
            prop_assert!((written - counted).abs() <= 2.0 + counted * 1e-4, "{} {}", written, counted);
        }
    }

    #[test]
    fn long_carries_reach_the_front() {
        // Unlikely bits keep low close to a power of two until one likely bit makes it overflow.
        let mut bits = vec![(65520, false)];
        bits.extend(std::iter::repeat_n((65520, true), 3));
        for _ in 0..500 {
            bits.push((16, false));
            bits.push((65520, false));
        }
        let bytes = encode(&bits);
        let mut decoder = Decoder::new(&bytes);
        for &(p, bit) in &bits {
            assert_eq!(decoder.bit(Prob::new(p), false), bit);
        }
    }

    #[test]
    fn a_million_likely_zeros_cost_less_than_the_promised_bits() {
        let bits = vec![(16, false); 1_000_000];
        assert!(encode(&bits).len() * 8 <= 500, "0.0005 bit each");
    }

    #[test]
    fn no_more_bits_come_than_bits_left_promises() {
        let bytes = encode(&vec![(16, false); 3_000_000]);
        assert!(Decoder::new(&bytes).bits_left() >= 3_000_000);
    }

    #[test]
    fn reading_far_past_the_end_is_an_error_and_unread_bytes_too() {
        let bytes = encode(&[(32768, false); 200]);
        let mut decoder = Decoder::new(&bytes);
        assert!(matches!(
            decoder.clone().finish("x"),
            Err(FormatError::Trailing { .. })
        ));
        for _ in 0..400 {
            decoder.bit(Prob::HALF, false);
        }
        assert_eq!(
            decoder.finish("x"),
            Err(FormatError::Truncated { what: "x" })
        );
    }
}
