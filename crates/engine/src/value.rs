//! What flows along the edges of a graph: floats on the device or integers on the host.

use crate::error::{OpResult, invalid};
use crate::ints::Ints;
use crate::real::Real;

/// A tensor of either kind; cloning shares the data.
// Few values exist at a time and they are moved a few times each: a box would cost more.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Floats, on the device, differentiable.
    Real(Real),
    /// Integers or truth values, on the host.
    Ints(Ints),
}

impl Value {
    /// Shape (empty for a scalar).
    pub(crate) fn dims(&self) -> &[usize] {
        match self {
            Self::Real(real) => real.dims(),
            Self::Ints(ints) => ints.dims(),
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// The floats; integers are a fault.
    pub(crate) fn into_real(self) -> OpResult<Real> {
        match self {
            Self::Real(real) => Ok(real),
            Self::Ints(ints) => Err(invalid(format!(
                "a float tensor is expected, this one holds {:?}",
                ints.kind()
            ))),
        }
    }

    /// The integers; floats are a fault.
    pub(crate) fn into_ints(self) -> OpResult<Ints> {
        match self {
            Self::Ints(ints) => Ok(ints),
            Self::Real(_) => Err(invalid(
                "an integer tensor is expected, this one holds floats",
            )),
        }
    }
}

impl From<Real> for Value {
    fn from(real: Real) -> Self {
        Self::Real(real)
    }
}

impl From<Ints> for Value {
    fn from(ints: Ints) -> Self {
        Self::Ints(ints)
    }
}
