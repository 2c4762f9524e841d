//! Numbers of the level model: how contexts are laid out, and what is believed of each before anything is
//! seen. docs/format.md, "Level model", has the same numbers.

use super::mixing::Slot;
use super::surroundings::MAX_CLASS;
use super::tables::squash;

/// Contexts whose predictions are mixed for magnitudes.
pub(crate) const INPUTS: usize = 3;
/// Decisions of the unary code, "is it zero" included; then comes the escape code.
pub(crate) const UNARY: usize = 16;
/// Classes of a sum of neighbours: 0, 1, 2 to 3, more.
pub(crate) const SUMS: usize = 4;
/// Classes of an expected magnitude, two an octave.
pub(crate) const SIZES: usize = 28;
/// Classes of a fast mean, two an octave.
pub(crate) const FAST: usize = 16;
/// Signed classes of a predicted level.
pub(crate) const CLASSES: usize = 2 * MAX_CLASS as usize + 1;
/// First slot of each input, then the number of slots of one decision.
pub(crate) const STARTS: [usize; INPUTS + 1] = [
    0,
    SIZES * SUMS,
    SIZES * SUMS + FAST * FAST,
    SIZES * SUMS + FAST * FAST + SIZES * CLASSES,
];
/// Slots of one decision.
pub(crate) const STRIDE: usize = STARTS[INPUTS];
/// Banks of slots: without and with low bits.
pub(crate) const BANKS: usize = 2;

/// Contexts whose predictions are mixed for signs.
pub(crate) const SIGN_INPUTS: usize = 3;
/// Octaves of the row's mean told apart for signs.
pub(crate) const SCALES: usize = 8;
/// Bound of a weighted sum of neighbours.
pub(crate) const SUM_LIMIT: i32 = 9;
/// Bound of the sum of the farther neighbours.
pub(crate) const FAR_LIMIT: i32 = 3;
const WEIGHTED: usize = (2 * SUM_LIMIT as usize + 1) * (2 * FAR_LIMIT as usize + 1);
/// Kernel positions told apart; later ones share the last.
pub(crate) const POSITIONS: usize = 64;
/// First slot of each sign input, then the number of all.
pub(crate) const SIGN_STARTS: [usize; SIGN_INPUTS + 1] = [
    0,
    CLASSES * SCALES,
    CLASSES * SCALES + WEIGHTED,
    CLASSES * SCALES + WEIGHTED + 9 * POSITIONS,
];

/// First weight of a magnitude input, 1 = 65536.
pub(crate) const FIRST_WEIGHT: i32 = 24_000;
/// First weight of a sign input.
pub(crate) const FIRST_SIGN_WEIGHT: i32 = 26_000;
/// Right shift of the magnitude mixers' learning.
pub(crate) const MIXER_RATE: u32 = 14;
/// Right shift of the sign mixers' learning.
pub(crate) const SIGN_MIXER_RATE: u32 = 13;
/// Most uses that a slot counts.
pub(crate) const USES: u32 = 255;
/// A first probability counts as this many uses.
const PRIOR_USES: u32 = 8;
/// The same for signs.
const SIGN_PRIOR_USES: u32 = 4;

/// Stretched first probabilities, by decision (the last row serves all later ones) and input: a constant, and
/// factors of the two classes the input is made of. From a logistic regression on levels of seven networks
/// quantised at 0.3 to 4 bits; worth 0.13 % of the bits against one line ln(expected magnitude) for all.
const PRIORS: [[[i32; 3]; INPUTS]; 9] = [
    [[-1369, 83, 100], [-672, 67, 71], [-1364, 92, 51]],
    [[-2523, 137, 78], [-1215, 78, 86], [-2659, 155, 27]],
    [[-2278, 125, 41], [-1163, 66, 82], [-2405, 138, 14]],
    [[-1884, 106, 14], [-1056, 54, 76], [-2064, 117, 10]],
    [[-1544, 90, -3], [-929, 46, 68], [-1755, 100, 6]],
    [[-1071, 65, -11], [-710, 33, 56], [-1286, 74, 5]],
    [[-743, 47, -8], [-570, 25, 48], [-989, 58, 5]],
    [[-623, 44, -30], [-495, 21, 43], [-906, 54, 3]],
    [[-431, 36, -41], [-361, 16, 34], [-727, 45, 0]],
];
/// The same for levels with low bits: is it zero, then every later decision.
const SHIFTED_PRIORS: [i32; 2] = [900, 352];

/// Slots of all decisions of both banks as they are at first: slot `(bank·UNARY + index)·STRIDE + context`.
pub(crate) fn first_slots() -> Vec<Slot> {
    let slot = |stretched: i32| Slot::new(squash(stretched).p16(), PRIOR_USES);
    let mut slots = Vec::with_capacity(BANKS * UNARY * STRIDE);
    for index in 0..UNARY {
        let [sums, fast, classes] = &PRIORS[index.min(PRIORS.len() - 1)];
        let line = |p: &[i32; 3], a: usize, b: i32| slot(p[0] + p[1] * a as i32 + p[2] * b);
        // Before the sign is known a class is a magnitude from 0 on, afterwards it is signed.
        let offset = if index == 0 { 0 } else { MAX_CLASS };
        slots.extend((0..SIZES * SUMS).map(|i| line(sums, i / SUMS, (i % SUMS) as i32)));
        slots.extend((0..FAST * FAST).map(|i| line(fast, i / FAST, (i % FAST) as i32)));
        slots.extend(
            (0..SIZES * CLASSES).map(|i| line(classes, i / CLASSES, (i % CLASSES) as i32 - offset)),
        );
    }
    for index in 0..UNARY {
        slots.extend(std::iter::repeat_n(
            slot(SHIFTED_PRIORS[index.min(1)]),
            STRIDE,
        ));
    }
    slots
}

/// Sign slots as they are at first.
pub(crate) fn first_sign_slots() -> Vec<Slot> {
    vec![Slot::new(1 << 15, SIGN_PRIOR_USES); SIGN_STARTS[SIGN_INPUTS]]
}
