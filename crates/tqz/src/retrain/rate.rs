//! What keeps the file within its size: a pull of latents toward zero, weighed by the bits that a larger level costs and as
//! strong as the size demands, and at the end a dead zone as wide as it must be.

use serde::{Deserialize, Serialize};

use crate::retrain::latent::Latent;

/// Strength of the pull, relative to the gradients' size, when it is first needed, and its limits.
const FIRST: f64 = 0.02;
const STRENGTHS: (f64, f64) = (1e-3, 10.0);
/// How much the strength follows the size: a file too large by a part x makes it `exp(GAIN·x)` times as strong.
const GAIN: f64 = 25.0;
/// Shares of levels are taken to be at least this.
const LEAST_SHARE: f32 = 1e-3;

/// The pull on all latents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pull {
    /// Loss per bit in units of the gradients' root mean square.
    #[serde(with = "crate::retrain::checkpoint::bits")]
    pub(crate) strength: f64,
}

impl Pull {
    /// No pull.
    pub(crate) fn new() -> Self {
        Self { strength: 0.0 }
    }

    /// Follows a measured size toward the one wanted.
    pub(crate) fn follow(&mut self, size_bytes: u64, wanted_bytes: f64) {
        let excess = size_bytes as f64 / wanted_bytes.max(1.0) - 1.0;
        if self.strength == 0.0 {
            if excess > 0.0 {
                self.strength = FIRST;
            }
            return;
        }
        let factor = (GAIN * excess).exp().clamp(0.5, 2.0);
        self.strength = (self.strength * factor).clamp(STRENGTHS.0, STRENGTHS.1);
    }
}

/// Bits that one more in magnitude costs at every place of a matrix, by how many levels of its row and column are not zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slopes {
    /// From 0 to 1, by row and by column: the probability of a level is about `rows[r] · cols[c]`.
    rows: Vec<f32>,
    cols: Vec<f32>,
    /// From 1 on.
    further: f32,
}

impl Slopes {
    /// The slopes of a matrix as its levels are now.
    pub(crate) fn of(latent: &Latent) -> Self {
        let spec = latent.spec();
        let (mut rows, mut cols) = (vec![0.0_f32; spec.rows], vec![0.0_f32; spec.cols]);
        let (mut some, mut more) = (0.0_f32, 0.0_f32);
        let levels = latent.levels(0.0);
        for (row, levels) in rows.iter_mut().zip(levels.chunks(spec.cols.max(1))) {
            for (col, &level) in cols.iter_mut().zip(levels) {
                if level != 0 {
                    *row += 1.0;
                    *col += 1.0;
                    some += 1.0;
                    more += (level.unsigned_abs() > 1) as u8 as f32;
                }
            }
        }
        let share = |count: f32, of: usize| ((count + 0.5) / (of as f32 + 1.0)).max(LEAST_SHARE);
        let mean = share(some, spec.rows * spec.cols).sqrt();
        rows.iter_mut()
            .for_each(|r| *r = share(*r, spec.cols) / mean);
        cols.iter_mut()
            .for_each(|c| *c = share(*c, spec.rows) / mean);
        let going_on = ((more + 0.5) / (some + 1.0)).clamp(LEAST_SHARE, 0.7);
        Self {
            rows,
            cols,
            further: -going_on.log2(),
        }
    }

    /// Adds `weight` times the slope at every latent to the gradient.
    pub(crate) fn add(&self, latent: &Latent, weight: f32, gradient: &mut [f32]) {
        let cols = self.cols.len().max(1);
        let lines = latent.units.chunks(cols).zip(gradient.chunks_mut(cols));
        for (row, (units, gradients)) in self.rows.iter().zip(lines) {
            for ((unit, gradient), col) in units.iter().zip(gradients).zip(&self.cols) {
                if *unit == 0.0 {
                    continue;
                }
                let slope = if unit.abs() <= 1.0 {
                    let share = (row * col).clamp(LEAST_SHARE, 0.8);
                    // The sign is a bit, too.
                    ((1.0 - share) / share).log2() + 1.0
                } else {
                    self.further
                };
                *gradient += weight * slope.max(0.0) * unit.signum();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz_format::{LevelMatrix, MatrixSpec, StepScale};

    #[test]
    fn a_level_costs_more_where_there_are_few() {
        let spec = MatrixSpec {
            rows: 2,
            cols: 4,
            period: 1,
        };
        let levels = [1, -1, 2, 1, 0, 0, -1, 0];
        let matrix = LevelMatrix::from_row_major(spec, StepScale::uniform(0), &levels);
        let latent = Latent::new(&matrix.expect("legal"));
        let mut gradient = vec![0.0; 8];
        Slopes::of(&latent).add(&latent, 1.0, &mut gradient);
        // Toward zero, more where the row is nearly empty, and not at all where zeros are dearer than levels.
        assert!(
            gradient[6] < -gradient[0].abs() && gradient[2] > 0.0,
            "{gradient:?}"
        );
        assert!(gradient[4] == 0.0 && gradient[0] == 0.0, "{gradient:?}");
    }

    #[test]
    fn the_pull_grows_while_the_file_is_too_large() {
        let mut pull = Pull::new();
        pull.follow(90, 100.0);
        assert_eq!(pull.strength, 0.0);
        for _ in 0..3 {
            pull.follow(104, 100.0);
        }
        assert!(pull.strength > 2.0 * FIRST);
        let strong = pull.strength;
        pull.follow(95, 100.0);
        assert!(pull.strength < strong);
    }
}
