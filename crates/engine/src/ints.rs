//! Integer and boolean tensors: kept on the host, because in networks they are shapes, indices,
//! masks and quantized levels, never the bulk of the arithmetic.

use std::sync::Arc;

use crate::error::{OpResult, invalid};
use crate::limits::{MAX_ELEMENTS, element_count};

/// Element types of ONNX tensors as the engine sees them: all floats are one (computed in f32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// float, float16, bfloat16, double and the 8-bit and smaller floats; computed in f32.
    Float,
    /// Truth values, 0 or 1.
    Bool,
    /// Signed integers of 2, 4, 8, 16, 32 or 64 bits.
    Signed(u8),
    /// Unsigned integers of 2, 4, 8, 16, 32 or 64 bits.
    Unsigned(u8),
}

impl ElementType {
    /// 64-bit signed integers, the type of shapes and indices.
    pub const I64: Self = Self::Signed(64);

    /// From the number in ONNX's `TensorProto.DataType`; `None` for strings, complex numbers and
    /// numbers that ONNX does not define.
    pub fn from_onnx(code: i32) -> Option<Self> {
        Some(match code {
            1 | 10 | 11 | 16..=20 | 23 | 24 => Self::Float,
            2 => Self::Unsigned(8),
            3 => Self::Signed(8),
            4 => Self::Unsigned(16),
            5 => Self::Signed(16),
            6 => Self::Signed(32),
            7 => Self::Signed(64),
            9 => Self::Bool,
            12 => Self::Unsigned(32),
            13 => Self::Unsigned(64),
            21 => Self::Unsigned(4),
            22 => Self::Signed(4),
            25 => Self::Unsigned(2),
            26 => Self::Signed(2),
            _ => return None,
        })
    }

    /// Smallest and largest number of an integer type (uint64 ends at `i64::MAX` here, which is how
    /// far the host's integers go); 0 and 1 for truth values; `None` for floats.
    pub fn range(self) -> Option<(i64, i64)> {
        match self {
            Self::Float => None,
            Self::Bool => Some((0, 1)),
            Self::Signed(bits @ 1..=63) => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            Self::Signed(_) => Some((i64::MIN, i64::MAX)),
            Self::Unsigned(bits @ 0..=62) => Some((0, (1 << bits) - 1)),
            Self::Unsigned(_) => Some((0, i64::MAX)),
        }
    }

    /// The number as this type stores it: integers wrap around, truth values become 0 or 1.
    pub(crate) fn wrap(self, value: i64) -> i64 {
        match self {
            Self::Float => value,
            Self::Bool => i64::from(value != 0),
            Self::Signed(bits @ 1..=63) => (value << (64 - bits)) >> (64 - bits),
            Self::Unsigned(bits @ 0..=62) => value & ((1 << bits) - 1),
            Self::Signed(_) | Self::Unsigned(_) => value,
        }
    }
}

/// An integer or boolean tensor of any rank; cloning shares the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ints {
    kind: ElementType,
    dims: Vec<usize>,
    data: Arc<Vec<i64>>,
}

impl Ints {
    /// From numbers in row-major order, each within the type's range (it is wrapped into it).
    pub(crate) fn new(kind: ElementType, dims: &[usize], mut data: Vec<i64>) -> OpResult<Self> {
        let count = element_count(dims, MAX_ELEMENTS)?;
        if count != data.len() {
            return Err(invalid(format!(
                "{} numbers do not fill the shape {dims:?}",
                data.len()
            )));
        }
        for value in &mut data {
            *value = kind.wrap(*value);
        }
        Ok(Self {
            kind,
            dims: dims.to_vec(),
            data: Arc::new(data),
        })
    }

    /// One dimension of 64-bit integers.
    pub(crate) fn vector(data: Vec<i64>) -> Self {
        Self {
            kind: ElementType::I64,
            dims: vec![data.len()],
            data: Arc::new(data),
        }
    }

    /// A 64-bit integer of rank 0.
    pub(crate) fn scalar(value: i64) -> Self {
        Self {
            kind: ElementType::I64,
            dims: Vec::new(),
            data: Arc::new(vec![value]),
        }
    }

    /// Element type; never [`ElementType::Float`].
    pub(crate) fn kind(&self) -> ElementType {
        self.kind
    }

    /// Shape (empty for a scalar).
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Rank (0 for a scalar).
    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Numbers in row-major order.
    pub(crate) fn data(&self) -> &[i64] {
        &self.data
    }

    /// The numbers themselves, copied only if they are shared.
    pub(crate) fn into_data(self) -> Vec<i64> {
        Arc::unwrap_or_clone(self.data)
    }

    /// The same numbers in another shape of as many elements.
    pub(crate) fn reshape(self, dims: &[usize]) -> OpResult<Self> {
        if element_count(dims, MAX_ELEMENTS)? != self.data.len() {
            return Err(invalid(format!(
                "a tensor of shape {:?} cannot take the shape {dims:?}",
                self.dims
            )));
        }
        Ok(Self {
            dims: dims.to_vec(),
            ..self
        })
    }

    /// The only number of a tensor of one element.
    pub(crate) fn single(&self) -> OpResult<i64> {
        match self.data.as_slice() {
            [value] => Ok(*value),
            _ => Err(invalid(format!(
                "one number is expected, the tensor has shape {:?}",
                self.dims
            ))),
        }
    }

    /// The numbers as sizes: none negative.
    pub(crate) fn sizes(&self) -> OpResult<Vec<usize>> {
        self.data
            .iter()
            .map(|&value| {
                usize::try_from(value).map_err(|_| invalid(format!("size {value} is negative")))
            })
            .collect()
    }
}

/// Row-major strides of a shape, in elements.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_wrap_into_their_type() {
        assert_eq!(ElementType::Signed(8).wrap(200), -56);
        assert_eq!(ElementType::Unsigned(8).wrap(-1), 255);
        assert_eq!(ElementType::Signed(4).wrap(8), -8);
        assert_eq!(ElementType::Bool.wrap(7), 1);
        assert_eq!(ElementType::I64.wrap(i64::MIN), i64::MIN);
        assert_eq!(ElementType::Signed(8).range(), Some((-128, 127)));
        assert_eq!(ElementType::Unsigned(4).range(), Some((0, 15)));
    }

    #[test]
    fn a_shape_that_does_not_fit_is_rejected() {
        assert!(Ints::new(ElementType::I64, &[2, 2], vec![1, 2, 3]).is_err());
        assert!(Ints::vector(vec![1, 2]).reshape(&[3]).is_err());
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
    }
}
