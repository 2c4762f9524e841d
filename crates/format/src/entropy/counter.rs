//! Counts bits instead of writing them, in total and by part.

use super::{BitIo, COST_ONE_BIT, Prob, tables::cost};

/// What bits are spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Shapes, kinds, sizes.
    Header,
    /// Row and column scale exponents.
    Scales,
    /// Which rows have any level.
    Activity,
    /// The levels.
    Levels,
}

/// Bits by part, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PartBits {
    /// Shapes, kinds, sizes.
    pub header_bits: f64,
    /// Row and column scale exponents.
    pub scale_bits: f64,
    /// Which rows have any level.
    pub activity_bits: f64,
    /// The levels.
    pub level_bits: f64,
}

impl PartBits {
    /// All parts together.
    #[must_use]
    pub fn total_bits(&self) -> f64 {
        self.header_bits + self.scale_bits + self.activity_bits + self.level_bits
    }
}

impl std::ops::AddAssign for PartBits {
    fn add_assign(&mut self, more: Self) {
        self.header_bits += more.header_bits;
        self.scale_bits += more.scale_bits;
        self.activity_bits += more.activity_bits;
        self.level_bits += more.level_bits;
    }
}

/// A [`BitIo`] that only counts.
#[derive(Debug, Clone)]
pub struct Counter {
    /// Costs by [`Part`], in 1/65536 bit.
    costs: [u64; 4],
    part: usize,
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            costs: [0; 4],
            part: 0,
        }
    }

    /// Total in 1/65536 bit.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.costs.iter().sum()
    }

    /// Total in bits.
    #[must_use]
    pub fn bits_f64(&self) -> f64 {
        self.cost() as f64 / f64::from(COST_ONE_BIT)
    }

    /// What was counted so far, by part.
    #[must_use]
    pub fn parts(&self) -> PartBits {
        let [header_bits, scale_bits, activity_bits, level_bits] =
            self.costs.map(|cost| cost as f64 / f64::from(COST_ONE_BIT));
        PartBits {
            header_bits,
            scale_bits,
            activity_bits,
            level_bits,
        }
    }

    /// Returns what was counted by part and starts again at zero.
    pub fn take(&mut self) -> PartBits {
        let parts = self.parts();
        self.costs = [0; 4];
        parts
    }
}

impl BitIo for Counter {
    const DECODES: bool = false;

    #[inline]
    fn bit(&mut self, p: Prob, bit: bool) -> bool {
        self.costs[self.part] += u64::from(cost(p, bit));
        bit
    }

    fn mark(&mut self, part: Part) {
        self.part = match part {
            Part::Header => 0,
            Part::Scales => 1,
            Part::Activity => 2,
            Part::Levels => 3,
        };
    }
}
