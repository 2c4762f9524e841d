//! The path through the trellis of dependent quantization (`tqz_format::TrellisState`) that is nearest to a column of latents, bits
//! counted. What a level costs is settled by its place before the search, so that all states share four candidates a row.

use tqz_format::TrellisState;
use tqz_format::limits::MAX_LEVEL;

use crate::retrain::rate::PlaceBits;

const STATES: usize = TrellisState::COUNT;
/// Quantizers times parities.
const CHOICES: usize = 4;

/// By quantizer and parity of the index (number `2·odd + parity`): the best level, and what it costs in squared units.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Candidates {
    levels: [i32; CHOICES],
    costs: [f32; CHOICES],
}

impl Candidates {
    /// Of a latent in units of two levels; of each parity the nearer of the two nearest indices, and 0 where bits count.
    fn of(unit: f32, bits: Option<(PlaceBits, f32)>) -> Self {
        let mut all = Self::default();
        let (target, sign) = (2.0 * unit.abs(), if unit < 0.0 { -1 } else { 1 });
        for odd in 0..2 {
            let level = |index: i32| 2 * index - (odd as i32) * index.signum();
            let cost = |index: i32| {
                let miss = 0.5 * (level(index) as f32 - target);
                miss * miss + bits.map_or(0.0, |(bits, lambda)| lambda * bits.of(odd, index))
            };
            let below = 0.5 * (target + odd as f32);
            let below = below.min((MAX_LEVEL / 2 - 2) as f32) as i32;
            for index in [below, below + 1] {
                let choice = 2 * odd + (index & 1) as usize;
                all.levels[choice] = sign * level(index);
                all.costs[choice] = cost(index);
            }
            if bits.is_some() && below > 0 && cost(0) < all.costs[2 * odd] {
                all.levels[2 * odd] = 0;
                all.costs[2 * odd] = cost(0);
            }
        }
        all
    }
}

/// The search down a column, with room for the longest so far.
#[derive(Debug, Default)]
pub(crate) struct PathSearch {
    /// By state: from where it is reached, and by which candidate.
    ways: [[(u8, u8); 2]; STATES],
    /// By row: for each state, a bit, whether it was reached the second way.
    taken: Vec<u8>,
    levels: Vec<[i32; CHOICES]>,
}

impl PathSearch {
    pub(crate) fn new() -> Self {
        let mut search = Self::default();
        let mut known = [0; STATES];
        for from in 0..STATES {
            let state = TrellisState::numbered(from);
            for parity in 0..2 {
                let to = state.after(parity).number();
                let choice = 2 * u8::from(state.is_odd()) + parity as u8;
                search.ways[to][known[to]] = (from as u8, choice);
                known[to] += 1;
            }
        }
        search
    }

    /// The levels of the cheapest path along latents in units of two levels: least `error² + λ·bits`, given what a place's indices cost and λ.
    pub(crate) fn best(
        &mut self,
        units: impl Iterator<Item = f32>,
        (mut bits, lambda): (impl FnMut(usize) -> PlaceBits, f32),
        path: &mut Vec<i32>,
    ) {
        self.taken.clear();
        self.levels.clear();
        let mut costs = [f32::INFINITY; STATES];
        costs[TrellisState::default().number()] = 0.0;
        for (place, unit) in units.enumerate() {
            let bits = (lambda > 0.0).then(|| bits(place));
            let candidates = Candidates::of(unit, bits.map(|bits| (bits, lambda)));
            let (mut next, mut taken) = ([0.0; STATES], 0);
            for (to, [first, second]) in self.ways.iter().enumerate() {
                let cost = |(from, choice): &(u8, u8)| {
                    costs[*from as usize % STATES] + candidates.costs[*choice as usize % CHOICES]
                };
                let (one, other) = (cost(first), cost(second));
                taken |= u8::from(other < one) << to;
                next[to] = if other < one { other } else { one };
            }
            costs = next;
            self.taken.push(taken);
            self.levels.push(candidates.levels);
        }
        let mut at = 0;
        for state in 1..STATES {
            if costs[state] < costs[at] {
                at = state;
            }
        }
        path.clear();
        path.resize(self.levels.len(), 0);
        let rows = self.taken.iter().zip(&self.levels).zip(path.iter_mut());
        for ((taken, levels), level) in rows.rev() {
            let (from, choice) = self.ways[at][usize::from(taken >> at & 1)];
            *level = levels[choice as usize % CHOICES];
            at = from.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: PlaceBits = PlaceBits {
        zero: [0.3, 0.6],
        some: [4.0, 3.0],
        further: 2.0,
    };

    fn cost(path: &[i32], units: &[f32]) -> f32 {
        let misses = path.iter().zip(units).map(|(&l, u)| 0.5 * l as f32 - u);
        misses.map(|m| m * m).sum()
    }

    /// Of all paths of small indices down five rows none is nearer, and every one is found again from its own levels.
    #[test]
    fn the_path_is_the_nearest_of_all() {
        let units = [0.3, -0.8, 0.1, 1.3, -0.45];
        let (mut search, mut found) = (PathSearch::new(), Vec::new());
        search.best(units.iter().copied(), (|_| PLACE, 0.0), &mut found);
        let mut least = f32::INFINITY;
        for number in 0..5_usize.pow(5) {
            let mut state = TrellisState::default();
            let index = |row: u32| (number / 5_usize.pow(row) % 5) as i32 - 2;
            let path: Vec<i32> = (0..5)
                .map(|row| {
                    let level = state.level(index(row));
                    state = state.after(index(row));
                    level
                })
                .collect();
            least = least.min(cost(&path, &units));
            let mut again = Vec::new();
            let own = path.iter().map(|&l| 0.5 * l as f32);
            search.best(own, (|_| PLACE, 0.0), &mut again);
            assert_eq!(again, path);
        }
        assert!((cost(&found, &units) - least).abs() < 1e-6, "{found:?}");
    }

    /// Bits make levels rarer, at more error.
    #[test]
    fn dear_levels_become_fewer() {
        let units: Vec<f32> = (0..200)
            .map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * 0.9)
            .collect();
        let mut search = PathSearch::new();
        let [mut near, mut cheap] = [Vec::new(), Vec::new()];
        for (lambda, path) in [(0.0, &mut near), (0.2, &mut cheap)] {
            search.best(units.iter().copied(), (|_| PLACE, lambda), path);
        }
        let zeros = |path: &[i32]| path.iter().filter(|l| **l == 0).count();
        assert!(zeros(&cheap) > zeros(&near) + 20);
        assert!(cost(&near, &units) < cost(&cheap, &units));
    }
}
