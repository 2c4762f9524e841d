//! A side value's vector in training: numbers in units of their root mean square, which the network sees as the file stores them,
//! rounded to the step they had (straight-through as levels), vectors of one number to a finer one.

use ndarray::{ArrayD, IxDyn};
use tqz_format::Vector;
use tqz_format::limits::{MAX_VECTOR_EXPONENT, MAX_VECTOR_LEVEL};

use crate::error::TqzError;

/// Least unit, for vectors of zeros.
const LEAST_UNIT: f32 = 1e-3;
/// A vector of one number is stored with as coarse a step as it can be; where it may move, its steps are this part of it.
const LOG2_FINE: i32 = -6;

/// A vector that is trained.
#[derive(Debug, Clone)]
pub(crate) struct SideVector {
    /// The tensor's name.
    pub(crate) name: String,
    shape: Vec<usize>,
    site: u32,
    log2_step: i32,
    /// Step of a vector none of whose values has moved.
    stored_log2_step: i32,
    unit: f32,
    /// Values in units of `unit`.
    pub(crate) units: Vec<f32>,
}

impl SideVector {
    /// A stored vector, of a tensor of this shape.
    ///
    /// # Errors
    /// Numbers that the format does not allow; another number of them.
    pub(crate) fn new(name: &str, shape: &[usize], vector: &Vector) -> Result<Self, TqzError> {
        let values = vector.reconstruct()?;
        if values.len() != shape.iter().product::<usize>() {
            let told = format!("the file has {} numbers of it", values.len());
            return Err(TqzError::layer(name, told));
        }
        let power = values.iter().map(|v| v * v).sum::<f32>() / values.len().max(1) as f32;
        let unit = power.sqrt().max(LEAST_UNIT);
        Ok(Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            site: vector.site,
            log2_step: vector.log2_step,
            stored_log2_step: vector.log2_step,
            unit,
            units: values.iter().map(|v| v / unit).collect(),
        })
    }

    /// Whether all levels are one: what scales are that went into weights.
    pub(crate) fn is_of_ones(&self) -> bool {
        self.vector().levels.iter().all(|&level| level == 1)
    }

    /// Lets a vector of one number, such as the scales of a network whose weights took them in, move by a part of it; others can already.
    pub(crate) fn loosen(&mut self) {
        if self.is_of_ones() {
            self.log2_step = (self.stored_log2_step + LOG2_FINE).max(-MAX_VECTOR_EXPONENT);
        }
    }

    /// The tensor's numbers, as a decoder gives them.
    pub(crate) fn values(&self) -> ArrayD<f32> {
        let values = self.vector().reconstruct().unwrap_or_default();
        ArrayD::from_shape_vec(IxDyn(&self.shape), values)
            .unwrap_or_else(|_| ArrayD::zeros(IxDyn(&self.shape)))
    }

    /// The gradient at the units from that at the values.
    pub(crate) fn gradient(&self, values: &ArrayD<f32>) -> Vec<f32> {
        values.iter().map(|g| g * self.unit).collect()
    }

    /// What the file stores.
    pub(crate) fn vector(&self) -> Vector {
        let mut levels = self.levels(self.log2_step);
        let mut log2_step = self.log2_step;
        let coarser = 1 << (self.stored_log2_step - self.log2_step);
        if levels.iter().all(|level| level % coarser == 0) {
            levels.iter_mut().for_each(|level| *level /= coarser);
            log2_step = self.stored_log2_step;
        }
        Vector {
            site: self.site,
            log2_step,
            levels,
        }
    }

    /// The same in steps of so many octaves more, where its numbers differ.
    pub(crate) fn coarser_vector(&self, octaves: i32) -> Vector {
        let log2_step = (self.stored_log2_step + octaves).min(MAX_VECTOR_EXPONENT);
        match self.is_of_ones() {
            true => self.vector(),
            false => Vector {
                site: self.site,
                log2_step,
                levels: self.levels(log2_step),
            },
        }
    }

    fn levels(&self, log2_step: i32) -> Vec<i32> {
        let step = f64::from(log2_step).exp2();
        let limit = f64::from(MAX_VECTOR_LEVEL);
        let level = |u: &f32| {
            let level = (f64::from(u * self.unit) / step).round();
            level.clamp(-limit, limit) as i32
        };
        self.units.iter().map(level).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is trained with is what the file holds: a number moves when its unit has moved half of the stored step.
    #[test]
    fn numbers_are_seen_as_they_are_stored() {
        let stored = Vector {
            site: 3,
            log2_step: -2,
            levels: vec![4, -8, 0],
        };
        let mut side = SideVector::new("bias", &[3], &stored).expect("legal");
        assert_eq!(side.vector(), stored);
        side.units[0] += 0.12 / side.unit;
        assert_eq!(side.values().as_slice(), Some(&[1.0, -2.0, 0.0][..]));
        side.units[0] += 0.02 / side.unit;
        assert_eq!(side.values().as_slice(), Some(&[1.25, -2.0, 0.0][..]));
        let coarser = side.coarser_vector(1);
        assert_eq!((coarser.log2_step, coarser.levels), (-1, vec![2, -4, 0]));
    }

    /// Until it moves, a vector of ones costs what it did.
    #[test]
    fn scales_of_one_can_move_by_a_part() {
        let stored = Vector {
            site: 3,
            log2_step: 0,
            levels: vec![1; 3],
        };
        let mut side = SideVector::new("scale", &[3], &stored).expect("legal");
        side.loosen();
        assert_eq!(side.vector(), stored);
        side.units[1] += 0.05;
        let values = side.values();
        assert!((values[1] - 1.05).abs() < 0.008 && values[1] != 1.0);
        assert_eq!((values[0], values[2]), (1.0, 1.0));
        let mut other = SideVector::new("scale", &[3], &side.vector()).expect("legal");
        other.loosen();
        assert_eq!(other.vector(), side.vector());
    }
}
