//! A file of a training run and the λ that brings it within its limit.

use crate::error::TqzError;
use crate::retrain::student::Student;

/// Least and greatest λ tried to fit a file, the factor between trials, and trials to find the least that will do.
const FITTING: (f32, f32) = (0.004, 4.0);
const FACTOR: f32 = 4.0;
const TRIALS: usize = 8;
/// Octaves by which steps of side values grow at most, one after the other, where levels take what they take.
const COARSER: i32 = 3;
/// No more is tried once the file fills this part of its limit.
const ENOUGH: f64 = 0.9985;

/// A file and the λ by which its levels were chosen.
pub(super) struct Fitted {
    pub(super) lambda: f32,
    pub(super) bytes: Vec<u8>,
}

impl Fitted {
    /// The student's file at this λ.
    fn at(student: &Student, lambda: f32) -> Result<Self, TqzError> {
        let bytes = student.file(lambda)?;
        Ok(Self { lambda, bytes })
    }

    /// The student's file with the least λ (at least that given) that brings it within its limit, or with the greatest where none does; this one
    /// is of the λ that training has now. Where levels of fixed widths know no λ, side values, which take more bytes as they move, are rounded to
    /// coarser steps, as far as [`COARSER`] allows.
    ///
    /// # Errors
    /// Levels that the format cannot hold.
    pub(super) fn within(
        self,
        student: &Student,
        (limit_bytes, least): (u64, f32),
    ) -> Result<Self, TqzError> {
        let fits = |fitted: &Self| fitted.bytes.len() as u64 <= limit_bytes;
        if !student.is_modelled() {
            return self.with_coarser_sides(student, &fits);
        }
        let (mut low, begin) = (least, self.lambda);
        let mut best = self;
        let (mut step, most) = FITTING;
        while !fits(&best) {
            if best.lambda >= most {
                return Ok(best);
            }
            low = best.lambda;
            best = Self::at(student, (begin + step).min(most))?;
            step *= FACTOR;
        }
        for _ in 0..TRIALS {
            let filled = best.bytes.len() as f64 >= ENOUGH * limit_bytes as f64;
            if filled || best.lambda <= least {
                break;
            }
            let middle = Self::at(student, 0.5 * (low + best.lambda))?;
            if fits(&middle) {
                best = middle;
            } else {
                low = middle.lambda;
            }
        }
        Ok(best)
    }

    /// The student's file with side values as coarse as they have to be.
    fn with_coarser_sides(
        mut self,
        student: &Student,
        fits: &dyn Fn(&Self) -> bool,
    ) -> Result<Self, TqzError> {
        let mut octaves = 0;
        while octaves < COARSER && !fits(&self) {
            octaves += 1;
            self.bytes = student.file_with_coarser_sides(self.lambda, octaves)?;
        }
        Ok(self)
    }
}
