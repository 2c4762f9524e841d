//! From levels to numbers: `value = level · 2^(e/64)`, one rounding, in f64.

use crate::error::FormatError;
use crate::level_matrix::LevelMatrix;
use crate::limits::{MAX_VECTOR_EXPONENT, MAX_VECTOR_LEVEL};
use crate::record::Vector;

/// 2^(i/64) rounded to f64, as bit patterns (docs/format.md lists the same numbers).
static OCTAVE: [u64; 64] = [
    0x3ff0_0000_0000_0000,
    0x3ff0_2c9a_3e77_8061,
    0x3ff0_59b0_d315_8574,
    0x3ff0_8745_1875_9bc8,
    0x3ff0_b558_6cf9_890f,
    0x3ff0_e3ec_32d3_d1a2,
    0x3ff1_1301_d012_5b51,
    0x3ff1_429a_aea9_2de0,
    0x3ff1_72b8_3c7d_517b,
    0x3ff1_a35b_eb6f_cb75,
    0x3ff1_d487_3168_b9aa,
    0x3ff2_063b_8862_8cd6,
    0x3ff2_387a_6e75_6238,
    0x3ff2_6b45_65e2_7cdd,
    0x3ff2_9e9d_f51f_dee1,
    0x3ff2_d285_a6e4_030b,
    0x3ff3_06fe_0a31_b715,
    0x3ff3_3c08_b264_16ff,
    0x3ff3_71a7_373a_a9cb,
    0x3ff3_a7db_34e5_9ff7,
    0x3ff3_dea6_4c12_3422,
    0x3ff4_160a_21f7_2e2a,
    0x3ff4_4e08_6061_892d,
    0x3ff4_86a2_b5c1_3cd0,
    0x3ff4_bfda_d536_2a27,
    0x3ff4_f9b2_769d_2ca7,
    0x3ff5_342b_569d_4f82,
    0x3ff5_6f47_36b5_27da,
    0x3ff5_ab07_dd48_5429,
    0x3ff5_e76f_15ad_2148,
    0x3ff6_247e_b03a_5585,
    0x3ff6_6238_8255_2225,
    0x3ff6_a09e_667f_3bcd,
    0x3ff6_dfb2_3c65_1a2f,
    0x3ff7_1f75_e8ec_5f74,
    0x3ff7_5feb_5642_67c9,
    0x3ff7_a114_73eb_0187,
    0x3ff7_e2f3_36cf_4e62,
    0x3ff8_2589_994c_ce13,
    0x3ff8_68d9_9b44_92ed,
    0x3ff8_ace5_422a_a0db,
    0x3ff8_f1ae_9915_7736,
    0x3ff9_3737_b0cd_c5e5,
    0x3ff9_7d82_9fde_4e50,
    0x3ff9_c491_82a3_f090,
    0x3ffa_0c66_7b5d_e565,
    0x3ffa_5503_b23e_255d,
    0x3ffa_9e6b_5579_fdbf,
    0x3ffa_e89f_995a_d3ad,
    0x3ffb_33a2_b84f_15fb,
    0x3ffb_7f76_f2fb_5e47,
    0x3ffb_cc1e_904b_c1d2,
    0x3ffc_199b_dd85_529c,
    0x3ffc_67f1_2e57_d14b,
    0x3ffc_b720_dcef_9069,
    0x3ffd_072d_4a07_897c,
    0x3ffd_5818_dcfb_a487,
    0x3ffd_a9e6_03db_3285,
    0x3ffd_fc97_337b_9b5f,
    0x3ffe_502e_e78b_3ff6,
    0x3ffe_a4af_a2a4_90da,
    0x3ffe_fa1b_ee61_5a27,
    0x3fff_5076_5b6e_4540,
    0x3fff_a7c1_819e_90d8,
];

/// 2^(`exponent`/64). The fraction comes from the table, the whole octaves from the exponent field, so the
/// result is the table's number times an exact power of two. `exponent` must lie within ±65 000; the
/// format's limits keep it within ±14 592.
#[must_use]
#[inline]
pub fn step(exponent: i32) -> f64 {
    let octaves = i64::from(exponent >> 6);
    let fraction = OCTAVE[(exponent & 63) as usize];
    f64::from_bits(fraction.wrapping_add((octaves << 52) as u64))
}

impl LevelMatrix {
    /// Step of every element, row-major.
    #[must_use]
    pub fn steps(&self) -> Vec<f64> {
        let mut steps = Vec::with_capacity(self.spec.rows * self.spec.cols);
        for r in 0..self.spec.rows {
            steps.extend((0..self.spec.cols).map(|j| step(self.scale.exponent(r, j))));
        }
        steps
    }

    /// Value of every element, row-major: `level · step`, rounded once to f64.
    #[must_use]
    pub fn values_f64(&self) -> Vec<f64> {
        let cols = self.spec.cols;
        let mut values = vec![0.0; self.spec.rows * cols];
        let active = self.active_values();
        for (index, &r) in self.active.iter().enumerate() {
            let row = r as usize * cols;
            values[row..row + cols].copy_from_slice(&active[index * cols..(index + 1) * cols]);
        }
        values
    }

    /// Values of the active rows only, row-major.
    pub(crate) fn active_values(&self) -> Vec<f64> {
        /// Columns handled together, so that reads and writes both stay within a few cache lines.
        const TILE: usize = 16;
        let (count, cols) = (self.active.len(), self.spec.cols);
        let columns: Vec<i32> = (0..cols)
            .map(|j| self.scale.base + self.scale.cols.as_ref().map_or(0, |s| s.exponent(j)))
            .collect();
        let mut values = vec![0.0; count * cols];
        for start in (0..cols).step_by(TILE) {
            let tile = start..(start + TILE).min(cols);
            for (index, &r) in self.active.iter().enumerate() {
                let row = self
                    .scale
                    .rows
                    .as_ref()
                    .map_or(0, |s| s.exponent(r as usize));
                for j in tile.clone() {
                    let level = f64::from(self.levels[j * count + index]);
                    values[index * cols + j] = level * step(row + columns[j]);
                }
            }
        }
        values
    }
}

impl Vector {
    /// Checks step and levels against the limits.
    ///
    /// # Errors
    /// Names the first number out of range.
    pub fn validate(&self) -> Result<(), FormatError> {
        if self.log2_step.unsigned_abs() > MAX_VECTOR_EXPONENT as u32 {
            let found = self.log2_step.into();
            let legal = "-160 to 160";
            return Err(FormatError::Invalid {
                what: "step exponent of a vector",
                found,
                legal,
            });
        }
        match self
            .levels
            .iter()
            .find(|l| l.unsigned_abs() > MAX_VECTOR_LEVEL as u32)
        {
            Some(&level) => Err(FormatError::Invalid {
                what: "level of a vector",
                found: level.into(),
                legal: "-16777216 to 16777216",
            }),
            None => Ok(()),
        }
    }

    /// Values `level · 2^log2_step` (exact in f64), rounded once to f32.
    ///
    /// # Errors
    /// If a number is out of range or too large for f32.
    pub fn reconstruct(&self) -> Result<Vec<f32>, FormatError> {
        self.validate()?;
        let step = step(self.log2_step * 64);
        let values: Vec<f32> = self
            .levels
            .iter()
            .map(|&l| (f64::from(l) * step) as f32)
            .collect();
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(FormatError::NotFinite {
                index: index as u64,
            }),
            None => Ok(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_the_steps_of_one_octave() {
        let document = include_str!("../../../docs/format.md");
        let listed = document
            .split("## Appendix A")
            .nth(1)
            .unwrap()
            .split("```")
            .nth(1)
            .unwrap();
        let bits: Vec<u64> = listed
            .split_whitespace()
            .map(|hex| u64::from_str_radix(hex, 16).unwrap())
            .collect();
        assert_eq!(bits, OCTAVE);
    }

    #[test]
    fn steps_are_powers_of_two_to_half_a_unit_in_the_last_place() {
        for exponent in -14_592..=14_592 {
            let exact = (f64::from(exponent & 63) / 64.0).exp2() * f64::from(exponent >> 6).exp2();
            assert!((step(exponent) / exact - 1.0).abs() < 4e-16, "{exponent}");
        }
        assert_eq!(step(-64), 0.5);
        assert_eq!(step(640), 1024.0);
    }

    #[test]
    fn vectors_are_levels_times_a_power_of_two() {
        let vector = Vector {
            site: 0,
            log2_step: -3,
            levels: vec![1, -20, 1 << 24],
        };
        assert_eq!(vector.reconstruct().unwrap(), [0.125, -2.5, 2_097_152.0]);
        let huge = Vector {
            site: 0,
            log2_step: 130,
            levels: vec![0, 1],
        };
        assert_eq!(huge.reconstruct(), Err(FormatError::NotFinite { index: 1 }));
    }
}
