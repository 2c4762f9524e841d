//! The integer tables of the models: log2, stretch (ln p/(1-p)) and its inverse squash. All are computed at
//! compile time by the integer recurrences given in docs/format.md.

use super::Prob;

/// log2 of `x >= 1` with 16 fraction bits, truncated, by repeated squaring.
pub(crate) const fn log2_q16(x: u32) -> u32 {
    let exponent = 31 - x.leading_zeros();
    let mut mantissa = (x as u64) << (31 - exponent);
    let mut fraction = 0;
    let mut i = 0;
    while i < 16 {
        mantissa = (mantissa * mantissa) >> 31;
        fraction <<= 1;
        if mantissa >= 1 << 32 {
            mantissa >>= 1;
            fraction |= 1;
        }
        i += 1;
    }
    (exponent << 16) | fraction
}

/// Largest magnitude of a stretched probability that [`squash`] tells apart.
pub(crate) const STRETCH_MAX: i32 = 2128;

const LN2_Q16: i64 = 45_426;
const STRETCH_LEN: usize = 1 << 12;

const fn stretch_table() -> [i16; STRETCH_LEN] {
    let mut table = [0; STRETCH_LEN];
    let mut i = 0;
    while i < STRETCH_LEN / 2 {
        // The cell's middle is (2i + 1)/8192.
        let middle = 2 * i as u32 + 1;
        let octaves = log2_q16(2 * STRETCH_LEN as u32 - middle) as i64 - log2_q16(middle) as i64;
        let value = ((octaves * LN2_Q16 + (1 << 23)) >> 24) as i16;
        table[i] = -value;
        table[STRETCH_LEN - 1 - i] = value;
        i += 1;
    }
    table
}

static STRETCH: [i16; STRETCH_LEN] = stretch_table();

/// ln p/(1-p) in 1/256 for a probability in 1/65536 (0 to 65535), by its upper 12 bits.
#[inline]
pub(crate) fn stretch(p16: u32) -> i32 {
    i32::from(STRETCH[(p16 as usize >> 4) & (STRETCH_LEN - 1)])
}

const SQUASH_HALF: usize = (STRETCH_MAX / 4) as usize;

const fn squash_table() -> [u16; 2 * SQUASH_HALF + 1] {
    // exp(-1/64) in 1/2^32.
    const RATIO: u64 = 4_228_380_000;
    let mut table = [0; 2 * SQUASH_HALF + 1];
    let mut exponential: u64 = 1 << 32;
    let mut i = 0;
    while i <= SQUASH_HALF {
        let sum = (1u64 << 32) + exponential;
        let small = ((exponential << 16) + sum / 2) / sum;
        let small = if small < Prob::MIN as u64 {
            Prob::MIN as u64
        } else {
            small
        };
        table[SQUASH_HALF - i] = small as u16;
        table[SQUASH_HALF + i] = (65536 - small) as u16;
        exponential = (exponential * RATIO) >> 32;
        i += 1;
    }
    table
}

static SQUASH: [u16; 2 * SQUASH_HALF + 1] = squash_table();

/// Probability in 1/65536 whose stretch is `x` (in 1/256), limited to the range of [`Prob`].
#[inline]
pub(crate) fn squash(x: i32) -> Prob {
    let index = (x.clamp(-STRETCH_MAX, STRETCH_MAX) + 2) >> 2;
    Prob(SQUASH[(index + SQUASH_HALF as i32) as usize])
}

const COST_LEN: usize = 1024;

const fn cost_table() -> [u32; COST_LEN] {
    let mut table = [0; COST_LEN];
    let mut i = 0;
    while i < COST_LEN {
        // The cell's middle between 1 and 2.
        table[i] = log2_q16(((COST_LEN + i) * 2 + 1) as u32) - (11 << 16);
        i += 1;
    }
    table
}

static COST: [u32; COST_LEN] = cost_table();

/// Bits that coding `bit` costs when it is one with probability `p`, in 1/65536 bit.
#[must_use]
#[inline]
pub fn cost(p: Prob, bit: bool) -> u32 {
    let q = if bit { p.p16() } else { 65536 - p.p16() };
    let exponent = q.ilog2();
    let mantissa = (q << (15 - exponent) >> 5) as usize & (COST_LEN - 1);
    ((16 - exponent) << 16) - COST[mantissa]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log2_is_truncated_to_16_bits() {
        for x in [1u32, 2, 3, 5, 1000, 65535, u32::MAX] {
            let exact = f64::from(x).log2() * 65536.0;
            let got = f64::from(log2_q16(x));
            assert!(
                got <= exact + 1e-6 && got > exact - 2.0,
                "{x}: {got} for {exact}"
            );
        }
    }

    #[test]
    fn stretch_is_the_logit_of_the_middle_of_16_probabilities() {
        for p in 0..65536 {
            let f = (f64::from(p >> 4) + 0.5) / 4096.0;
            let exact = (f / (1.0 - f)).ln() * 256.0;
            assert!(
                (f64::from(stretch(p)) - exact).abs() < 0.52,
                "{p}: {}",
                stretch(p)
            );
            assert_eq!(stretch(65535 - p), -stretch(p));
        }
    }

    #[test]
    fn squash_is_the_logistic_function_and_symmetric() {
        for x in -STRETCH_MAX..=STRETCH_MAX {
            let exact = 65536.0 / (1.0 + (-f64::from(x) / 256.0).exp());
            let got = f64::from(squash(x).p16());
            assert!(
                (got - exact).abs() < 16.0 + 0.009 * exact.min(65536.0 - exact),
                "{x}"
            );
        }
        assert_eq!(squash(i32::MIN / 2).p16(), u32::from(Prob::MIN));
        assert_eq!(squash(0).p16(), 32768);
    }

    #[test]
    fn cost_is_minus_log2_of_the_probability() {
        for p in 16..=65520u32 {
            for bit in [false, true] {
                let q = if bit { p } else { 65536 - p };
                let exact = -(f64::from(q) / 65536.0).log2();
                let got = f64::from(cost(Prob::new(p), bit)) / 65536.0;
                assert!((got - exact).abs() < 0.0008, "{p} {bit}: {got} for {exact}");
            }
        }
    }
}
