//! Dependent quantization: of two quantizers, one shifted by half its step against the other, the parities of the indices before
//! say which one is next. The encoder looks for the best path through the trellis of states (trellis-coded quantization with the
//! convolutional code of octal generators 13 and 4).

/// State of the trellis: which quantizer is next, and where each parity leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrellisState(u8);

impl TrellisState {
    /// How many states there are; the first is where every column begins.
    pub const COUNT: usize = 8;

    /// State number `number % COUNT`.
    #[must_use]
    pub fn numbered(number: usize) -> Self {
        Self((number % Self::COUNT) as u8)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> usize {
        self.0.into()
    }

    /// Whether the next level is 0 or odd; even otherwise.
    #[must_use]
    #[inline]
    pub fn is_odd(self) -> bool {
        self.0 & 1 == 1
    }

    /// The state after an index: a shift register fed by the index' parity and its own lowest bit.
    #[must_use]
    #[inline]
    pub fn after(self, index: i32) -> Self {
        let (s, parity) = (self.0, (index & 1) as u8);
        let [low, middle, high] = [s & 1, s >> 1 & 1, s >> 2];
        Self((middle ^ low) | (high ^ parity) << 1 | low << 2)
    }

    /// The level that an index stands for: `2·index`, from the odd quantizer one nearer to zero.
    #[must_use]
    #[inline]
    pub fn level(self, index: i32) -> i32 {
        2 * index - index.signum() * i32::from(self.is_odd())
    }

    /// The index of a level, if the state's quantizer has it.
    #[must_use]
    #[inline]
    pub fn index(self, level: i32) -> Option<i32> {
        let index = (level + level.signum() * i32::from(self.is_odd())) / 2;
        (self.level(index) == level).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_levels_name_each_other() {
        for state in (0..TrellisState::COUNT).map(TrellisState::numbered) {
            for index in -9..=9 {
                let level = state.level(index);
                assert_eq!(state.index(level), Some(index), "{state:?} {level}");
                assert_eq!(state.after(index), state.after(-index));
            }
            let wrong = if state.is_odd() { 2 } else { 1 };
            assert_eq!(state.index(wrong), None);
        }
    }

    #[test]
    fn both_parities_of_all_states_reach_every_state_twice() {
        let mut reached = [0; TrellisState::COUNT];
        for state in (0..TrellisState::COUNT).map(TrellisState::numbered) {
            let next = [0, 1].map(|index| state.after(index).number());
            assert_ne!(next[0], next[1]);
            next.iter().for_each(|&n| reached[n] += 1);
        }
        assert_eq!(reached, [2; TrellisState::COUNT]);
        assert_eq!(TrellisState::default().after(0), TrellisState::default());
    }
}
