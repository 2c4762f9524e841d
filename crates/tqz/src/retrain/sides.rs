//! A side value's vector in training: numbers in units of their root mean square, stored with the step they had.

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

    /// The tensor's numbers.
    pub(crate) fn values(&self) -> ArrayD<f32> {
        let values: Vec<f32> = self.units.iter().map(|u| u * self.unit).collect();
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
