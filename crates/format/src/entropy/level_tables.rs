//! Numbers of the level model: how contexts are laid out, and what is believed of each before anything is
//! seen. docs/format.md, "Level model", has the same numbers.

use std::ops::Range;

use super::mixing::Slot;
use super::surroundings::MAX_CLASS;
use super::tables::squash;

/// Inputs that are mixed for magnitudes: [`CLASSED`] contexts of classes, then the row itself.
pub(crate) const INPUTS: usize = CLASSED + 1;
/// Inputs whose context is made of two classes.
const CLASSED: usize = 3;
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
/// Contexts of each input of classes: of a size and a sum, of two fast means, of a size and a predicted level.
const CONTEXTS: [[usize; 2]; CLASSED] = [[SIZES, SUMS], [FAST, FAST], [SIZES, CLASSES]];
/// Banks of slots: without and with low bits; then the same for the odd quantizer of dependent quantization.
pub(crate) const BANKS: usize = 2;

/// First weights of the inputs, 1 = 65536. A row's own slot has to learn before it is heard.
pub(crate) const FIRST_WEIGHTS: [i32; INPUTS] = [24_000, 24_000, 24_000, 0];
/// Right shift of the magnitude mixers' learning.
pub(crate) const MIXER_RATE: u32 = 14;
/// A first probability counts as this many uses.
const PRIOR_USES: u32 = 8;

/// Stretched first probabilities, by decision (the last row serves all later ones) and input: a constant, and
/// factors of the two classes the input is made of. From a logistic regression on levels of seven networks
/// quantised at 0.3 to 4 bits; worth 0.13 % of the bits against one line ln(expected magnitude) for all.
const PRIORS: [[[i32; 3]; CLASSED]; 9] = [
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

/// Added for the first decision of the odd quantizer, whose zero is narrower: worth 1.5 % of ResNet-20's bits at 1.2 bits.
const ODD_PRIOR: i32 = 300;

/// Stretched first probabilities of a row's slots: is it zero, then every later decision.
const ROW_PRIORS: [i32; 2] = [-600, -1200];
/// They count as this many uses.
const ROW_PRIOR_USES: u32 = 4;

/// The slots of one context for decisions 1 and on: they lie together because a level asks for them one after the other.
pub(crate) type Decisions = [Slot; UNARY - 1];

/// Slots of decision 0 for each input of classes as they are at first, all contexts of the first bank, then those of the next; no rows.
pub(crate) fn first_zero_slots(banks: Range<usize>) -> [Vec<Slot>; INPUTS] {
    first(banks, |input, bank, context| {
        first_slot(input, bank, context, 0)
    })
}

/// The same for decisions 1 and on.
pub(crate) fn first_unary_slots(banks: Range<usize>) -> [Vec<Decisions>; INPUTS] {
    first(banks, |input, bank, context| {
        std::array::from_fn(|index| first_slot(input, bank, context, index + 1))
    })
}

/// A row's slots as they are at first: of decision 0, of the later ones.
pub(crate) fn first_row_slots() -> (Slot, Decisions) {
    let [zero, later] = ROW_PRIORS.map(|f| Slot::new(squash(f).p16(), ROW_PRIOR_USES));
    (zero, [later; UNARY - 1])
}

fn first<T>(banks: Range<usize>, of: impl Fn(usize, usize, usize) -> T) -> [Vec<T>; INPUTS] {
    std::array::from_fn(|input| {
        let contexts = CONTEXTS.get(input).map_or(0, |[a, b]| a * b);
        let cells = banks
            .clone()
            .flat_map(|bank| (0..contexts).map(move |context| (bank, context)));
        cells
            .map(|(bank, context)| of(input, bank, context))
            .collect()
    })
}

/// The slot of decision `index`.
fn first_slot(input: usize, bank: usize, context: usize, index: usize) -> Slot {
    let stretched = if !bank.is_multiple_of(BANKS) {
        SHIFTED_PRIORS[index.min(1)]
    } else {
        let prior = &PRIORS[index.min(PRIORS.len() - 1)][input];
        let inner = CONTEXTS[input][1];
        // Before the sign is known a predicted level's class is a magnitude from 0 on, afterwards it is signed.
        let offset = if input == 2 && index > 0 {
            MAX_CLASS
        } else {
            0
        };
        let (a, b) = ((context / inner) as i32, (context % inner) as i32 - offset);
        let odd = bank >= BANKS && index == 0;
        prior[0] + prior[1] * a + prior[2] * b + if odd { ODD_PRIOR } else { 0 }
    };
    Slot::new(squash(stretched).p16(), PRIOR_USES)
}
