//! A side value's vector in training: numbers in units of their root mean square, which the network sees as the file stores them,
//! rounded to the step they had (straight-through as levels).

use ndarray::{ArrayD, IxDyn};
use tqz_format::Vector;
use tqz_format::limits::MAX_VECTOR_LEVEL;

use crate::error::TqzError;

/// Least unit, for vectors of zeros.
const LEAST_UNIT: f32 = 1e-3;

/// A vector that is trained.
#[derive(Debug, Clone)]
pub(crate) struct SideVector {
    /// The tensor's name.
    pub(crate) name: String,
    site: u32,
    log2_step: i32,
    unit: f32,
    /// Values in units of `unit`.
    pub(crate) units: Vec<f32>,
}

impl SideVector {
    /// A stored vector.
    ///
    /// # Errors
    /// Numbers that the format does not allow.
    pub(crate) fn new(name: &str, vector: &Vector) -> Result<Self, TqzError> {
        let values = vector.reconstruct()?;
        let power = values.iter().map(|v| v * v).sum::<f32>() / values.len().max(1) as f32;
        let unit = power.sqrt().max(LEAST_UNIT);
        Ok(Self {
            name: name.to_owned(),
            site: vector.site,
            log2_step: vector.log2_step,
            unit,
            units: values.iter().map(|v| v / unit).collect(),
        })
    }

    /// The tensor's numbers, as a decoder gives them.
    pub(crate) fn values(&self) -> ArrayD<f32> {
        let values = self.vector().reconstruct().unwrap_or_default();
        ArrayD::from_shape_vec(IxDyn(&[values.len()]), values)
            .unwrap_or_else(|_| ArrayD::zeros(IxDyn(&[0])))
    }

    /// The gradient at the units from that at the values.
    pub(crate) fn gradient(&self, values: &ArrayD<f32>) -> Vec<f32> {
        values.iter().map(|g| g * self.unit).collect()
    }

    /// What the file stores.
    pub(crate) fn vector(&self) -> Vector {
        let step = f64::from(self.log2_step).exp2();
        let limit = f64::from(MAX_VECTOR_LEVEL);
        let level = |u: &f32| {
            (f64::from(u * self.unit) / step)
                .round()
                .clamp(-limit, limit) as i32
        };
        Vector {
            site: self.site,
            log2_step: self.log2_step,
            levels: self.units.iter().map(level).collect(),
        }
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
        let mut side = SideVector::new("bias", &stored).expect("legal");
        assert_eq!(side.vector(), stored);
        side.units[0] += 0.12 / side.unit;
        assert_eq!(side.values().as_slice(), Some(&[1.0, -2.0, 0.0][..]));
        side.units[0] += 0.02 / side.unit;
        assert_eq!(side.values().as_slice(), Some(&[1.25, -2.0, 0.0][..]));
    }
}
