//! A tensor's numbers, wherever the message keeps them: raw bytes or one of the typed lists.
//!
//! Everything is checked before anything is allocated: dims, element type, and the data's length
//! against both. External data must have been read in first ([`read_model`](crate::read_model)).

mod packing;

use std::borrow::Cow;

use half::{bf16, f16};

use crate::error::OnnxError;
use crate::model::{DataLocation, DataType, TensorProto};
use packing::{cast, elements, le_bytes, pack_6_bits, unpack};

impl TensorProto {
    /// A FLOAT tensor holding `values` in row-major order as raw data.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if `values` are not as many as `dims` say.
    pub fn from_f32(name: &str, dims: &[usize], values: &[f32]) -> Result<Self, OnnxError> {
        Self::from_raw(
            name,
            dims,
            DataType::Float,
            le_bytes(values, f32::to_le_bytes),
        )
    }

    /// An INT64 tensor holding `values` in row-major order as raw data.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if `values` are not as many as `dims` say.
    pub fn from_i64(name: &str, dims: &[usize], values: &[i64]) -> Result<Self, OnnxError> {
        Self::from_raw(
            name,
            dims,
            DataType::Int64,
            le_bytes(values, i64::to_le_bytes),
        )
    }

    /// A tensor of any fixed-width type from its raw data (little-endian; below 8 bits packed from the
    /// lowest bit up).
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if `bytes` are not as long as `dims` and `kind` say, or a dim is
    /// larger than `i64`.
    pub fn from_raw(
        name: &str,
        dims: &[usize],
        kind: DataType,
        bytes: Vec<u8>,
    ) -> Result<Self, OnnxError> {
        let mut tensor = Self {
            name: Some(name.to_string()),
            data_type: Some(kind as i32),
            ..Self::default()
        };
        for &dim in dims {
            let dim = i64::try_from(dim)
                .map_err(|_| tensor.error(format!("dim {dim} is larger than 2^63 - 1")))?;
            tensor.dims.push(dim);
        }
        tensor.raw_data = Some(bytes);
        tensor.raw_bytes()?;
        Ok(tensor)
    }

    /// The element type.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if it is absent, undefined, or not in the IR up to version 14.
    pub fn element_type(&self) -> Result<DataType, OnnxError> {
        match self.data_type.map(DataType::try_from) {
            Some(Ok(kind)) if kind != DataType::Undefined => Ok(kind),
            Some(Err(_)) => {
                let number = self.data_type.unwrap_or_default();
                Err(self.error(format!("unknown element type {number}; legal are 1 to 28")))
            }
            _ => Err(self.error("no element type; legal are 1 to 28")),
        }
    }

    /// The lengths of the axes, outermost first.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if one is negative or too large for memory addresses.
    pub fn dims_usize(&self) -> Result<Vec<usize>, OnnxError> {
        let wrong = || self.error(format!("dims {:?}; legal are 0 and up", self.dims));
        self.dims
            .iter()
            .map(|&dim| usize::try_from(dim).map_err(|_| wrong()))
            .collect()
    }

    /// The number of elements: the product of the dims, 1 for a scalar.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if a dim is negative or the product too large for memory addresses.
    pub fn element_count(&self) -> Result<usize, OnnxError> {
        let dims = self.dims_usize()?;
        if dims.contains(&0) {
            return Ok(0);
        }
        let product = dims
            .iter()
            .try_fold(1usize, |all, &dim| all.checked_mul(dim));
        product.ok_or_else(|| self.error(format!("dims {dims:?}: their product overflows")))
    }

    /// Length in bytes of the tensor's raw data, from its dims and element type.
    ///
    /// # Errors
    /// As [`element_count`](Self::element_count) and [`element_type`](Self::element_type); strings have
    /// no such length.
    pub fn raw_length(&self) -> Result<usize, OnnxError> {
        let kind = self.element_type()?;
        let bits = kind
            .bits()
            .ok_or_else(|| self.error("strings have no fixed width and no raw data"))?;
        let total = self.element_count()?.checked_mul(bits);
        let total = total.ok_or_else(|| {
            self.error(format!("dims {:?}: the data's length overflows", self.dims))
        })?;
        Ok(total.div_ceil(8))
    }

    /// The elements as raw data has them: borrowed if they are raw, made from the typed list if not.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if the data are elsewhere (external, a segment), are strings, are not as
    /// many as the dims say, or a listed number does not fit the element type.
    pub fn raw_bytes(&self) -> Result<Cow<'_, [u8]>, OnnxError> {
        if self.is_external() {
            return Err(self.error("its data are in another file, which has not been read in"));
        }
        if self.segment.is_some() {
            return Err(
                self.error("it is a segment of a larger tensor; only whole tensors are read")
            );
        }
        let length = self.raw_length()?;
        match &self.raw_data {
            // An empty raw_data beside a typed list is not the data.
            Some(raw) if !raw.is_empty() || self.typed_length() == 0 => {
                if raw.len() != length {
                    return Err(self.length_error("bytes of raw data", raw.len(), length));
                }
                Ok(Cow::Borrowed(raw))
            }
            _ => self.typed_bytes().map(Cow::Owned),
        }
    }

    /// The elements as f32, from every float, integer and bool type; f64, 32- and 64-bit integers are
    /// rounded to the nearest.
    ///
    /// # Errors
    /// As [`raw_bytes`](Self::raw_bytes); complex numbers are refused.
    pub fn to_f32(&self) -> Result<Vec<f32>, OnnxError> {
        let bytes = self.raw_bytes()?;
        Ok(match self.element_type()? {
            DataType::Double => elements(&bytes, |b| f64::from_le_bytes(b) as f32),
            DataType::Uint64 => elements(&bytes, |b| u64::from_le_bytes(b) as f32),
            kind if kind.is_float() => self.narrow_floats(kind, &bytes)?,
            kind => cast(self.signed_integers(kind, &bytes)?, |value| value as f32),
        })
    }

    /// The elements as f64, from every float, integer and bool type; 64-bit integers are rounded to
    /// the nearest.
    ///
    /// # Errors
    /// As [`raw_bytes`](Self::raw_bytes); complex numbers are refused.
    pub fn to_f64(&self) -> Result<Vec<f64>, OnnxError> {
        let bytes = self.raw_bytes()?;
        Ok(match self.element_type()? {
            DataType::Double => elements(&bytes, f64::from_le_bytes),
            DataType::Uint64 => elements(&bytes, |b| u64::from_le_bytes(b) as f64),
            kind if kind.is_float() => cast(self.narrow_floats(kind, &bytes)?, f64::from),
            kind => cast(self.signed_integers(kind, &bytes)?, |value| value as f64),
        })
    }

    /// The elements as i64, from every integer type and bool (0 or 1).
    ///
    /// # Errors
    /// As [`raw_bytes`](Self::raw_bytes); floats and complex numbers are refused, and unsigned
    /// numbers above 2^63 - 1.
    pub fn to_i64(&self) -> Result<Vec<i64>, OnnxError> {
        let bytes = self.raw_bytes()?;
        let kind = self.element_type()?;
        if kind != DataType::Uint64 {
            return self.signed_integers(kind, &bytes);
        }
        let values = elements(&bytes, u64::from_le_bytes).into_iter();
        let wrong = |value| self.error(format!("{value} is larger than 2^63 - 1"));
        values
            .map(|value| i64::try_from(value).map_err(|_| wrong(value)))
            .collect()
    }

    /// The elements of a BOOL tensor; every byte but 0 is true.
    ///
    /// # Errors
    /// As [`raw_bytes`](Self::raw_bytes); other types are refused.
    pub fn to_bool(&self) -> Result<Vec<bool>, OnnxError> {
        match self.element_type()? {
            DataType::Bool => Ok(self.raw_bytes()?.iter().map(|&byte| byte != 0).collect()),
            kind => Err(self.error(format!("its type is {}, not BOOL", kind.name()))),
        }
    }

    /// Replaces the elements, keeping dims and element type: FLOAT and DOUBLE hold `values` exactly,
    /// FLOAT16 and BFLOAT16 round them to the nearest, ties to even. They are stored as raw data.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] if the element type is another or the number of values differs.
    pub fn set_f32(&mut self, values: &[f32]) -> Result<(), OnnxError> {
        let (kind, count) = (self.element_type()?, self.element_count()?);
        if values.len() != count {
            return Err(self.length_error("values", values.len(), count));
        }
        let bytes = match kind {
            DataType::Float => le_bytes(values, f32::to_le_bytes),
            DataType::Double => le_bytes(values, |x| f64::from(x).to_le_bytes()),
            DataType::Float16 => le_bytes(values, |x| f16::from_f32(x).to_le_bytes()),
            DataType::Bfloat16 => le_bytes(values, |x| bf16::from_f32(x).to_le_bytes()),
            other => {
                let legal = "FLOAT, DOUBLE, FLOAT16 and BFLOAT16";
                return Err(self.error(format!(
                    "cannot set {} elements; legal are {legal}",
                    other.name()
                )));
            }
        };
        self.set_raw(bytes);
        Ok(())
    }

    /// Whether the elements lie in another file.
    pub fn is_external(&self) -> bool {
        self.data_location == Some(DataLocation::External as i32)
    }

    /// Makes `bytes` the only data the tensor has.
    pub(crate) fn set_raw(&mut self, bytes: Vec<u8>) {
        self.float_data = Vec::new();
        self.double_data = Vec::new();
        self.int32_data = Vec::new();
        self.int64_data = Vec::new();
        self.uint64_data = Vec::new();
        self.external_data = Vec::new();
        self.data_location = None;
        self.raw_data = Some(bytes);
    }

    /// How many numbers the typed lists hold together.
    pub(crate) fn typed_length(&self) -> usize {
        let floats = self.float_data.len() + self.double_data.len();
        let integers = self.int32_data.len() + self.int64_data.len() + self.uint64_data.len();
        floats + integers
    }

    /// Raw data made from the typed list that belongs to the element type.
    fn typed_bytes(&self) -> Result<Vec<u8>, OnnxError> {
        let (kind, count) = (self.element_type()?, self.element_count()?);
        let bits = kind.bits().unwrap_or_default();
        let (list, held, expected) = match kind {
            DataType::Float => ("float_data", self.float_data.len(), count),
            DataType::Complex64 => ("float_data", self.float_data.len(), 2 * count),
            DataType::Double => ("double_data", self.double_data.len(), count),
            DataType::Complex128 => ("double_data", self.double_data.len(), 2 * count),
            DataType::Int64 => ("int64_data", self.int64_data.len(), count),
            DataType::Uint32 | DataType::Uint64 => ("uint64_data", self.uint64_data.len(), count),
            _ if bits < 6 => (
                "int32_data",
                self.int32_data.len(),
                (count * bits).div_ceil(8),
            ),
            _ => ("int32_data", self.int32_data.len(), count),
        };
        if held != expected {
            return Err(self.length_error(&format!("numbers in {list}"), held, expected));
        }
        match list {
            "float_data" => Ok(le_bytes(&self.float_data, f32::to_le_bytes)),
            "double_data" => Ok(le_bytes(&self.double_data, f64::to_le_bytes)),
            "int64_data" => Ok(le_bytes(&self.int64_data, i64::to_le_bytes)),
            "uint64_data" => self.narrowed(&self.uint64_data, bits),
            _ if bits == 6 => Ok(pack_6_bits(&self.int32_data)),
            _ => self.narrowed(&self.int32_data, bits.max(8)),
        }
    }

    /// The low `bits` of each number, if it fits them with or without a sign.
    fn narrowed<T>(&self, values: &[T], bits: usize) -> Result<Vec<u8>, OnnxError>
    where
        T: Copy + Into<i128>,
    {
        let range = -(1i128 << (bits - 1))..1i128 << bits;
        let mut bytes = Vec::with_capacity(values.len() * bits / 8);
        for &value in values {
            let value: i128 = value.into();
            if !range.contains(&value) {
                return Err(self.error(format!("{value} does not fit its {bits} bits")));
            }
            bytes.extend_from_slice(&value.to_le_bytes()[..bits / 8]);
        }
        Ok(bytes)
    }

    /// Floats of up to 32 bits.
    fn narrow_floats(&self, kind: DataType, bytes: &[u8]) -> Result<Vec<f32>, OnnxError> {
        Ok(match (kind, kind.small_float()) {
            (DataType::Float16, _) => elements(bytes, |b| f16::from_le_bytes(b).to_f32()),
            (DataType::Bfloat16, _) => elements(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            (_, Some(form)) => {
                let bits = kind.bits().unwrap_or(8);
                let codes = unpack(bytes, bits, self.element_count()?);
                codes.map(|code| form.to_f32(code)).collect()
            }
            _ => elements(bytes, f32::from_le_bytes),
        })
    }

    /// Integers of every type but UINT64, and bool as 0 and 1.
    fn signed_integers(&self, kind: DataType, bytes: &[u8]) -> Result<Vec<i64>, OnnxError> {
        Ok(match kind {
            DataType::Bool => bytes.iter().map(|&byte| i64::from(byte != 0)).collect(),
            DataType::Uint8 => bytes.iter().map(|&byte| byte.into()).collect(),
            DataType::Int8 => elements(bytes, |b| i8::from_le_bytes(b).into()),
            DataType::Uint16 => elements(bytes, |b| u16::from_le_bytes(b).into()),
            DataType::Int16 => elements(bytes, |b| i16::from_le_bytes(b).into()),
            DataType::Uint32 => elements(bytes, |b| u32::from_le_bytes(b).into()),
            DataType::Int32 => elements(bytes, |b| i32::from_le_bytes(b).into()),
            DataType::Int64 => elements(bytes, i64::from_le_bytes),
            DataType::Uint2 | DataType::Uint4 | DataType::Int2 | DataType::Int4 => {
                let bits = kind.bits().unwrap_or(8);
                // A two's-complement code of n bits is the code minus 2^n from 2^(n-1) up.
                let half = if kind.is_signed_integer() {
                    1 << (bits - 1)
                } else {
                    0
                };
                unpack(bytes, bits, self.element_count()?)
                    .map(|code| (i64::from(code) ^ half) - half)
                    .collect()
            }
            _ => {
                let legal = "the integers and BOOL";
                return Err(self.error(format!("its type is {}; legal are {legal}", kind.name())));
            }
        })
    }

    fn length_error(&self, what: &str, held: usize, expected: usize) -> OnnxError {
        let kind = self.element_type().map_or("?", DataType::name);
        let dims = &self.dims;
        self.error(format!(
            "{held} {what}; its dims {dims:?} and type {kind} need {expected}"
        ))
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> OnnxError {
        OnnxError::Tensor {
            name: self.name().to_string(),
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests;
