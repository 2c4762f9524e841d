//! The parts of context mixing: adaptive probabilities that remember their stretched value, and the mixer
//! that weighs several of them in the logistic domain.

use std::hint::select_unpredictable;

use super::{
    BitIo, Prob,
    tables::{squash, stretch},
};

/// Most uses that a slot counts.
const MAX_USES: u32 = 255;

/// Rates of slots: 1/(n + 1.5) in 1/65536 for the n-th use.
static RATES: [u16; 256] = rates();

const fn rates() -> [u16; 256] {
    let mut rates = [0; 256];
    let mut n = 0;
    while n < 256 {
        rates[n] = (131_072 / (2 * n as u32 + 3)) as u16;
        n += 1;
    }
    rates
}

/// An adaptive probability: 24 bits and a use count of 8 bits, with its stretched value at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    state: u32,
    stretched: i32,
}

impl Slot {
    /// Starts at `p16` (in 1/65536) as if used `uses` times.
    pub(crate) fn new(p16: u32, uses: u32) -> Self {
        Self {
            state: p16 << 16 | uses,
            stretched: stretch(p16),
        }
    }

    /// The probability as it is.
    #[inline]
    pub(crate) fn prob(self) -> Prob {
        Prob::new(self.state >> 16)
    }

    /// How often it was used, up to its limit.
    #[inline]
    pub(crate) fn uses(self) -> u32 {
        self.state & 255
    }

    /// ln p/(1-p) in 1/256.
    #[inline]
    pub(crate) fn stretched(self) -> i32 {
        self.stretched
    }

    /// Moves towards `bit`.
    #[inline]
    pub(crate) fn learn(&mut self, bit: bool) {
        let uses = self.state & 255;
        // Moving p up is moving its complement down: no branch on a bit that is hard to foresee.
        let flip = select_unpredictable(bit, 0xff_ffff, 0);
        let away = (self.state >> 8) ^ flip;
        let moved = away - ((u64::from(away) * u64::from(RATES[uses as usize])) >> 16) as u32;
        self.state = (moved ^ flip) << 8 | (uses + 1).min(MAX_USES);
        self.stretched = stretch(self.state >> 16);
    }
}

/// Weights of `N` inputs, 1 = 65536.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixer<const N: usize>(pub(crate) [i32; N]);

impl<const N: usize> Mixer<N> {
    /// The mixed probability.
    #[inline]
    pub(crate) fn predict(&self, inputs: &[i32; N]) -> Prob {
        let dot: i32 = self.0.iter().zip(inputs).map(|(&w, &x)| (w >> 2) * x).sum();
        squash(dot >> 14)
    }

    /// Moves the weights along the gradient of the bit's cost; `RATE` is a right shift: less is faster.
    #[inline]
    pub(crate) fn learn<const RATE: u32>(&mut self, inputs: &[i32; N], p: Prob, bit: bool) {
        let error = ((i32::from(bit) << 16) - p.p16() as i32) >> 2;
        for (weight, &x) in self.0.iter_mut().zip(inputs) {
            *weight = (*weight + ((x * error) >> RATE)).clamp(-MAX_WEIGHT, MAX_WEIGHT);
        }
    }
}

/// Codes a bit with the probability that the slots' mix gives it, and teaches mixer and slots; returns the bit.
#[inline(always)]
pub(crate) fn code_mixed<const RATE: u32, const N: usize, IO: BitIo>(
    io: &mut IO,
    slots: [&mut Slot; N],
    mixer: &mut Mixer<N>,
    bit: bool,
) -> bool {
    let inputs = slots.each_ref().map(|slot| slot.stretched());
    let p = mixer.predict(&inputs);
    let bit = io.bit(p, bit);
    mixer.learn::<RATE>(&inputs, p, bit);
    for slot in slots {
        slot.learn(bit);
    }
    bit
}

/// Bounds a dot product of 12 inputs to 32 bits: 2^15 (weight >> 2) x 2^12 (stretch) x 2^4.
const MAX_WEIGHT: i32 = 1 << 17;
