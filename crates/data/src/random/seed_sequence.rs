//! numpy's `SeedSequence`: spreads seeds of any length over a pool of four words and draws a
//! generator's state from it (after O'Neill's `seed_seq_fe`). Its output is fixed by numpy's
//! compatibility promise.

const POOL_WORDS: usize = 4;

pub(super) struct SeedSequence {
    pool: [u32; POOL_WORDS],
}

/// The hash whose constant changes with every use.
struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn next(&mut self, value: u32) -> u32 {
        let value = value ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let value = value.wrapping_mul(self.constant);
        value ^ (value >> 16)
    }
}

fn mix(x: u32, y: u32) -> u32 {
    let mixed = x
        .wrapping_mul(0xca01_f9dd)
        .wrapping_sub(y.wrapping_mul(0x4973_f715));
    mixed ^ (mixed >> 16)
}

impl SeedSequence {
    pub(super) fn new(seeds: &[u64]) -> Self {
        let mut words = Vec::with_capacity(2 * seeds.len());
        for &seed in seeds {
            words.push(seed as u32);
            if seed >> 32 != 0 {
                words.push((seed >> 32) as u32);
            }
        }
        let mut hash = Hash {
            constant: 0x43b0_d7e5,
            multiplier: 0x931e_8875,
        };
        let mut pool = [0; POOL_WORDS];
        for (i, slot) in pool.iter_mut().enumerate() {
            *slot = hash.next(words.get(i).copied().unwrap_or(0));
        }
        for source in 0..POOL_WORDS {
            for target in (0..POOL_WORDS).filter(|&t| t != source) {
                pool[target] = mix(pool[target], hash.next(pool[source]));
            }
        }
        for &word in words.iter().skip(POOL_WORDS) {
            for slot in &mut pool {
                *slot = mix(*slot, hash.next(word));
            }
        }
        Self { pool }
    }

    /// `generate_state(4, uint64)`.
    pub(super) fn generate_u64(&self) -> [u64; 4] {
        let mut hash = Hash {
            constant: 0x8b51_f9dd,
            multiplier: 0x58f3_8ded,
        };
        let words: [u32; 8] = std::array::from_fn(|i| hash.next(self.pool[i % POOL_WORDS]));
        std::array::from_fn(|i| u64::from(words[2 * i]) | (u64::from(words[2 * i + 1]) << 32))
    }
}
