//! What keeps the file within its size: what levels cost by their place, and the price of a bit, as high as the size demands, by which
//! levels are chosen and latents pulled toward zero.

use serde::{Deserialize, Serialize};
use tqz_format::TrellisState;

/// λ when it is first needed, and its greatest.
const FIRST: f32 = 0.02;
const MOST: f32 = 4.0;
/// Sizes looked at for one λ, and the part of the size within which it is met.
const LOOKS: usize = 10;
const CLOSE: f64 = 7e-4;
/// The pull on latents in units of the gradients' root mean square, for each unit of λ.
const PULL: f32 = 0.3;
/// Shares of levels are taken to be at least this.
const LEAST_SHARE: f32 = 1e-3;
/// Shares are taken to be at most this where bits are counted, and where the slope is.
const MOST_SHARE: f32 = 0.97;
const MOST_SHARE_OF_SLOPE: f32 = 0.8;
/// Numbers beside the rows' and columns'.
const OTHERS: usize = 3;

/// The price of a bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Price {
    /// λ in squared units per bit, by which levels are chosen.
    #[serde(with = "crate::retrain::checkpoint::bits")]
    pub(crate) lambda: f32,
    /// Its least.
    #[serde(with = "crate::retrain::checkpoint::bits")]
    least: f32,
}

impl Price {
    /// The least price.
    pub(crate) fn new(least: f32) -> Self {
        Self {
            lambda: least,
            least,
        }
    }

    /// Loss per bit in units of the gradients' root mean square.
    pub(crate) fn pull(&self) -> f32 {
        PULL * self.lambda
    }

    /// Takes the λ at which the file has about the size wanted, or the least where that is small enough.
    ///
    /// # Errors
    /// Those of `size`, which tells the file's bytes at a λ.
    pub(crate) fn solve<E>(
        &mut self,
        wanted_bytes: f64,
        mut size: impl FnMut(f32) -> Result<u64, E>,
    ) -> Result<(), E> {
        let (mut low, mut high): (Option<f32>, Option<f32>) = (None, None);
        let mut lambda = self.lambda;
        for _ in 0..LOOKS {
            let excess = size(lambda)? as f64 / wanted_bytes.max(1.0) - 1.0;
            if excess > 0.0 {
                low = Some(lambda);
            } else {
                // The least that will do.
                self.lambda = lambda;
                high = Some(lambda);
            }
            let close = excess <= 0.0 && (excess > -CLOSE || lambda <= self.least);
            lambda = match (low, high) {
                _ if close => break,
                (Some(low), Some(high)) => 0.5 * (low + high),
                (Some(low), None) if low >= MOST => break,
                (Some(low), None) => (2.0 * low).clamp(FIRST, MOST),
                (None, Some(high)) if high < FIRST => self.least,
                (None, _) => (0.5 * lambda).max(self.least),
            };
        }
        if high.is_none() {
            self.lambda = lambda;
        }
        Ok(())
    }
}

/// Bits of the indices at one place, by quantizer: even, odd. Plain quantization knows the even one alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PlaceBits {
    /// Of 0.
    pub(crate) zero: [f32; 2],
    /// Of 1 and −1, the sign counted.
    pub(crate) some: [f32; 2],
    /// Of every one more in magnitude.
    pub(crate) further: f32,
}

impl PlaceBits {
    /// Bits of an index.
    pub(crate) fn of(&self, odd: usize, index: i32) -> f32 {
        match index.unsigned_abs() {
            0 => self.zero[odd],
            magnitude => self.some[odd] + (magnitude - 1) as f32 * self.further,
        }
    }
}

/// What indices cost at every place of a matrix, by how many of its row and column are not zero: the probability that one is not is
/// about `rows[r] · cols[c]`, times what its quantizer makes of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Costs {
    rows: Vec<f32>,
    cols: Vec<f32>,
    quantizers: [f32; 2],
    /// Bits of one more in magnitude, from 1 on.
    further: f32,
}

impl Costs {
    /// As the levels of a matrix are now: rows × columns, and whether they depend on each other down the columns of these rows.
    pub(crate) fn of(levels: &[i32], cols: usize, path: Option<&[u32]>) -> Self {
        let mut counts = Counts::new(levels.len() / cols.max(1), cols);
        match path {
            None => counts.rows(levels),
            Some(rows) => counts.paths(levels, rows),
        }
        counts.costs()
    }

    /// Bits at a place.
    pub(crate) fn bits(&self, row: usize, col: usize) -> PlaceBits {
        let share = self.rows[row] * self.cols[col];
        let shares = self
            .quantizers
            .map(|q| (share * q).clamp(LEAST_SHARE, MOST_SHARE));
        PlaceBits {
            zero: shares.map(|s| -(1.0 - s).log2()),
            // The sign is a bit, too.
            some: shares.map(|s| 1.0 - s.log2()),
            further: self.further,
        }
    }

    /// Adds `weight` times the slope of the bits at every latent (in units of a quantizer's step) to the gradient.
    pub(crate) fn add(&self, units: &[f32], weight: f32, gradient: &mut [f32]) {
        let cols = self.cols.len().max(1);
        let lines = units.chunks(cols).zip(gradient.chunks_mut(cols));
        for (row, (units, gradients)) in self.rows.iter().zip(lines) {
            for ((unit, gradient), col) in units.iter().zip(gradients).zip(&self.cols) {
                if *unit == 0.0 {
                    continue;
                }
                let slope = if unit.abs() <= 1.0 {
                    let share = (row * col).clamp(LEAST_SHARE, MOST_SHARE_OF_SLOPE);
                    ((1.0 - share) / share).log2() + 1.0
                } else {
                    self.further
                };
                *gradient += weight * slope.max(0.0) * unit.signum();
            }
        }
    }

    /// All numbers, to be kept.
    pub(crate) fn numbers(&self) -> Vec<f32> {
        let [even, odd] = self.quantizers;
        let lists = self.rows.iter().chain(&self.cols);
        lists.copied().chain([even, odd, self.further]).collect()
    }

    /// Puts back what [`Self::numbers`] gave; whether there are as many.
    pub(crate) fn restore(&mut self, numbers: &[f32]) -> bool {
        let (rows, cols) = (self.rows.len(), self.cols.len());
        if numbers.len() != rows + cols + OTHERS {
            return false;
        }
        self.rows.copy_from_slice(&numbers[..rows]);
        self.cols.copy_from_slice(&numbers[rows..rows + cols]);
        let others = &numbers[rows + cols..];
        (self.quantizers, self.further) = ([others[0], others[1]], others[2]);
        true
    }
}

/// Indices that are not zero.
struct Counts {
    rows: Vec<f32>,
    cols: Vec<f32>,
    /// By quantizer: all, and those not zero.
    quantizers: [[f32; 2]; 2],
    more: f32,
}

impl Counts {
    fn new(rows: usize, cols: usize) -> Self {
        Self {
            rows: vec![0.0; rows],
            cols: vec![0.0; cols],
            quantizers: [[0.0; 2]; 2],
            more: 0.0,
        }
    }

    fn add(&mut self, (row, col): (usize, usize), odd: bool, index: i32) {
        let [all, some] = &mut self.quantizers[usize::from(odd)];
        *all += 1.0;
        if index != 0 {
            self.rows[row] += 1.0;
            self.cols[col] += 1.0;
            *some += 1.0;
            self.more += f32::from(u8::from(index.unsigned_abs() > 1));
        }
    }

    fn rows(&mut self, levels: &[i32]) {
        let cols = self.cols.len().max(1);
        for (place, &level) in levels.iter().enumerate() {
            self.add((place / cols, place % cols), false, level);
        }
    }

    fn paths(&mut self, levels: &[i32], rows: &[u32]) {
        let cols = self.cols.len();
        for col in 0..cols {
            let mut state = TrellisState::default();
            for &row in rows {
                let row = row as usize;
                let index = state.index(levels[row * cols + col]).unwrap_or(0);
                self.add((row, col), state.is_odd(), index);
                state = state.after(index);
            }
        }
    }

    fn costs(self) -> Costs {
        let share = |count: f32, of: f32| ((count + 0.5) / (of + 1.0)).max(LEAST_SHARE);
        let (rows, cols) = (self.rows.len() as f32, self.cols.len() as f32);
        let [[even, some_even], [odd, some_odd]] = self.quantizers;
        let some = some_even + some_odd;
        let mean = share(some, rows * cols);
        let coded = share(some, even + odd);
        let root = mean.sqrt();
        let going_on = ((self.more + 0.5) / (some + 1.0)).clamp(LEAST_SHARE, 0.7);
        let shares = |counts: Vec<f32>, of: f32| -> Vec<f32> {
            counts.into_iter().map(|c| share(c, of) / root).collect()
        };
        Costs {
            rows: shares(self.rows, cols),
            cols: shares(self.cols, rows),
            quantizers: [(some_even, even), (some_odd, odd)].map(|(s, all)| share(s, all) / coded),
            further: -going_on.log2(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_costs_more_where_there_are_few() {
        let levels = [1, -1, 2, 1, 0, 0, -1, 0];
        let units = levels.map(|l| l as f32);
        let mut gradient = vec![0.0; 8];
        let costs = Costs::of(&levels, 4, None);
        costs.add(&units, 1.0, &mut gradient);
        // Toward zero, more where the row is nearly empty, and not at all where zeros are dearer than levels.
        assert!(
            gradient[6] < -gradient[0].abs() && gradient[2] > 0.0,
            "{gradient:?}"
        );
        assert!(gradient[4] == 0.0 && gradient[0] == 0.0, "{gradient:?}");
        let [full, empty] = [costs.bits(0, 2), costs.bits(1, 0)];
        assert!(empty.of(0, 1) > full.of(0, 1) && empty.of(0, 0) < full.of(0, 0));
        assert!(full.of(0, -2) > full.of(0, -1));
    }

    #[test]
    fn the_odd_quantizer_has_its_own_share() {
        // Down each column: index 0 from the even quantizer, then others.
        let mut levels = vec![0; 30];
        for col in 0..10 {
            let mut state = TrellisState::default();
            for (row, index) in [1, 0, 1].into_iter().enumerate() {
                levels[row * 10 + col] = state.level(index);
                state = state.after(index);
            }
        }
        let costs = Costs::of(&levels, 10, Some(&[0, 1, 2]));
        assert!(costs.quantizers[0] != costs.quantizers[1]);
        let mut other = Costs::of(&[0; 30], 10, None);
        assert!(other.restore(&costs.numbers()) && other == costs);
        assert!(!other.restore(&[1.0]));
    }

    /// The least λ at which the size is within the one wanted, whether it was too small or too large before.
    #[test]
    fn the_price_meets_the_size() {
        let size = |lambda: f32| Ok::<_, ()>((1e5 * (-2.0 * lambda).exp()) as u64);
        let mut price = Price::new(0.0);
        for wanted in [9.9e4, 8e4, 8.3e4, 9.95e4] {
            price.solve(wanted, size).expect("known");
            let found = size(price.lambda).expect("known") as f64;
            assert!(found <= wanted && found > 0.99 * wanted, "{wanted} {found}");
        }
        price.solve(2e5, size).expect("known");
        assert_eq!(price.lambda, 0.0);
        let mut bounded = Price::new(0.02);
        bounded.solve(2e5, size).expect("known");
        assert_eq!(bounded.lambda, 0.02);
        bounded.solve(1.0, size).expect("known");
        assert!(bounded.lambda > 1.0);
    }
}
