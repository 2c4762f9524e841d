//! The context model of signs: inside kernels neighbours are alike, elsewhere a sign is a plain bit.

use super::level_tables::CLASSES;
use super::mixing::{Mixer, Slot, code_mixed};
use super::surroundings::{LOG_ONE, MAX_CLASS, TAPS};
use super::{BitIo, Prob};

/// Contexts whose predictions are mixed for signs.
const INPUTS: usize = 3;
/// Octaves of the row's mean told apart for signs.
const SCALES: usize = 8;
/// Bound of a weighted sum of neighbours.
const SUM_LIMIT: i32 = 9;
/// Bound of the sum of the farther neighbours.
const FAR_LIMIT: i32 = 3;
const WEIGHTED: usize = (2 * SUM_LIMIT as usize + 1) * (2 * FAR_LIMIT as usize + 1);
/// Kernel positions told apart; later ones share the last.
const POSITIONS: usize = 64;
/// Contexts of each input.
const CONTEXTS: [usize; INPUTS] = [CLASSES * SCALES, WEIGHTED, 9 * POSITIONS];
/// First weight of an input, 1 = 65536.
const FIRST_WEIGHT: i32 = 26_000;
/// Right shift of the mixers' learning.
const MIXER_RATE: u32 = 13;
/// The first probability counts as this many uses.
const PRIOR_USES: u32 = 4;

/// What is known of a sign before it is coded.
pub(crate) struct SignContext {
    slots: [usize; INPUTS],
    mixer: usize,
}

impl SignContext {
    /// `class` is the predicted level's, `log_slow` of the row's slow mean.
    #[inline]
    pub(crate) fn new(taps: [i32; TAPS], class: i32, log_slow: i32, position: usize) -> Self {
        let [left, up, up_left, up_right, left2, up2] = taps;
        let scale = ((log_slow - (LOG_ONE - 32)) >> 3).clamp(0, SCALES as i32 - 1);
        let near =
            (2 * left + 2 * up + up_right - up_left).clamp(-SUM_LIMIT, SUM_LIMIT) + SUM_LIMIT;
        let far = (left2 + up2 + up_left).clamp(-FAR_LIMIT, FAR_LIMIT) + FAR_LIMIT;
        let signs = left.signum() + 1 + 3 * (up.signum() + 1);
        let mixer = position.min(POSITIONS - 1);
        let slots = [
            ((class + MAX_CLASS) * SCALES as i32 + scale) as usize,
            (near + far * (2 * SUM_LIMIT + 1)) as usize,
            signs as usize + 9 * mixer,
        ];
        Self { slots, mixer }
    }
}

/// Adaptive model of signs.
#[derive(Debug, Clone)]
pub(crate) struct SignModel {
    slots: [Vec<Slot>; INPUTS],
    mixers: Vec<Mixer<INPUTS>>,
}

impl SignModel {
    pub(crate) fn new() -> Self {
        Self {
            slots: CONTEXTS.map(|count| vec![Slot::new(1 << 15, PRIOR_USES); count]),
            mixers: vec![Mixer([FIRST_WEIGHT; INPUTS]); POSITIONS],
        }
    }

    /// Probability that the level is negative.
    #[inline]
    pub(crate) fn predict(&self, context: &SignContext) -> Prob {
        let [a, b, c] = &self.slots;
        let [i, j, k] = context.slots;
        self.mixers[context.mixer].predict(&[a[i], b[j], c[k]].map(Slot::stretched))
    }

    /// Codes whether the level is negative, and learns it.
    #[inline]
    pub(crate) fn code<IO: BitIo>(
        &mut self,
        io: &mut IO,
        context: &SignContext,
        negative: bool,
    ) -> bool {
        let mixer = &mut self.mixers[context.mixer];
        let [a, b, c] = &mut self.slots;
        let [i, j, k] = context.slots;
        code_mixed::<MIXER_RATE, _, _>(io, [&mut a[i], &mut b[j], &mut c[k]], mixer, negative)
    }
}
