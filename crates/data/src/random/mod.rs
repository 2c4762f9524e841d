//! numpy's default random generator, number for number: the protocols' noise is defined by it.
//! Seeding by `SeedSequence`, PCG64 (XSL-RR 128/64), doubles of 53 bits, normals by a ziggurat of
//! 256 layers. Compared with numpy's own draws in the tests below.

mod seed_sequence;
mod ziggurat_tables;

use rand_pcg::Lcg128Xsl64;
use rand_pcg::rand_core::Rng as _;
use seed_sequence::SeedSequence;
use ziggurat_tables::LAYERS;

/// Where the ziggurat's rectangles end and the tail begins.
const TAIL_START: f64 = 3.654_152_885_361_009;
const TAIL_START_INVERSE: f64 = 0.273_661_237_329_758_3;

/// `numpy.random.default_rng(seed)`; a copy is a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    pcg: Lcg128Xsl64,
}

impl Generator {
    /// `default_rng([seeds[0], seeds[1], …])`; one seed is the same as `default_rng(seed)`.
    pub(crate) fn new(seeds: &[u64]) -> Self {
        let words = SeedSequence::new(seeds).generate_u64();
        let wide = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        Self {
            pcg: Lcg128Xsl64::new(wide(words[0], words[1]), wide(words[2], words[3])),
        }
    }

    /// `Generator.random()`: uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.pcg.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An integer in 0..bound as `int(random() * bound)`; bound must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound - 1)
    }

    /// `Generator.standard_normal()`.
    pub(crate) fn standard_normal(&mut self) -> f64 {
        loop {
            let bits = self.pcg.next_u64();
            let layer = (bits & 0xff) as usize;
            let negative = (bits >> 8) & 1 == 1;
            let mantissa = (bits >> 9) & 0x000f_ffff_ffff_ffff;
            let [inside, width, height] = LAYERS[layer];
            let magnitude = mantissa as f64 * f64::from_bits(width);
            let x = if negative { -magnitude } else { magnitude };
            if mantissa < inside {
                return x;
            }
            if layer == 0 {
                return self.tail((mantissa >> 8) & 1 == 1);
            }
            let (low, high) = (f64::from_bits(height), f64::from_bits(LAYERS[layer - 1][2]));
            if (high - low) * self.uniform() + low < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    /// A normal beyond ±`TAIL_START` (Marsaglia 1964).
    fn tail(&mut self, negative: bool) -> f64 {
        loop {
            let x = -TAIL_START_INVERSE * (-self.uniform()).ln_1p();
            let y = -(-self.uniform()).ln_1p();
            if y + y > x * x {
                let value = TAIL_START + x;
                return if negative { -value } else { value };
            }
        }
    }

    /// Moves on by `count` normals, as if they had been drawn.
    pub(crate) fn skip_normals(&mut self, count: usize) {
        for _ in 0..count {
            self.standard_normal();
        }
    }
}

/// The first `take` of the numbers 0..len in a fixed shuffle (Fisher–Yates from the front, so that
/// fewer numbers are a prefix of more).
pub(crate) fn shuffled_prefix(len: usize, take: usize, seed: u64) -> Vec<usize> {
    let mut generator = Generator::new(&[seed]);
    let mut order: Vec<usize> = (0..len).collect();
    let take = take.min(len);
    for i in 0..take {
        let j = i + generator.below(len - i);
        order.swap(i, j);
    }
    order.truncate(take);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        seeds: Vec<u64>,
        uniform: Vec<f64>,
        normal_first: Vec<f64>,
        normal_at: Vec<(usize, f64)>,
        normal_count: usize,
        normal_beyond_tail: usize,
        normal_sum: f64,
    }

    #[test]
    fn draws_are_numpys() {
        let goldens: Vec<Golden> =
            serde_json::from_str(include_str!("../../tests/goldens/numpy_random.json")).unwrap();
        assert!(goldens.len() >= 5);
        for golden in goldens {
            let mut generator = Generator::new(&golden.seeds);
            let uniform: Vec<f64> = golden.uniform.iter().map(|_| generator.uniform()).collect();
            assert_eq!(uniform, golden.uniform, "seeds {:?}", golden.seeds);

            let mut generator = Generator::new(&golden.seeds);
            let drawn: Vec<f64> = (0..golden.normal_count)
                .map(|_| generator.standard_normal())
                .collect();
            assert_eq!(drawn[..golden.normal_first.len()], golden.normal_first);
            for (at, value) in golden.normal_at {
                // Tail values pass through the system's log1p: allow its last bit.
                assert!(
                    (drawn[at] - value).abs() <= 4.0 * f64::EPSILON * value.abs(),
                    "seeds {:?}, draw {at}: {} instead of {value}",
                    golden.seeds,
                    drawn[at]
                );
            }
            let beyond = drawn.iter().filter(|v| v.abs() > TAIL_START).count();
            assert_eq!(beyond, golden.normal_beyond_tail);
            assert!((drawn.iter().sum::<f64>() - golden.normal_sum).abs() < 1e-8);
        }
    }

    #[test]
    fn skipping_equals_drawing() {
        let mut drawn = Generator::new(&[3]);
        for _ in 0..10_000 {
            drawn.standard_normal();
        }
        let mut skipped = Generator::new(&[3]);
        skipped.skip_normals(10_000);
        assert_eq!(drawn.standard_normal(), skipped.standard_normal());
    }

    #[test]
    fn a_shorter_shuffle_is_a_prefix_of_a_longer_one() {
        let all = shuffled_prefix(1000, 1000, 5);
        assert_eq!(shuffled_prefix(1000, 17, 5), all[..17]);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_ne!(all, shuffled_prefix(1000, 1000, 6));
        assert_eq!(shuffled_prefix(3, 10, 0).len(), 3);
    }
}
