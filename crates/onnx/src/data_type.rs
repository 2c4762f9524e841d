//! What the element types are: widths, names, and the floats below 16 bits as numbers.

use crate::model::DataType;

impl DataType {
    /// Bits an element takes in `raw_data`; `None` for strings and the undefined type.
    pub fn bits(self) -> Option<usize> {
        match self {
            Self::Undefined | Self::String => None,
            Self::Uint2 | Self::Int2 => Some(2),
            Self::Uint4 | Self::Int4 | Self::Float4e2m1 => Some(4),
            Self::Float6e2m3 | Self::Float6e3m2 => Some(6),
            Self::Uint8 | Self::Int8 | Self::Bool => Some(8),
            Self::Float8e4m3fn | Self::Float8e4m3fnuz => Some(8),
            Self::Float8e5m2 | Self::Float8e5m2fnuz | Self::Float8e8m0 => Some(8),
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => Some(16),
            Self::Float | Self::Int32 | Self::Uint32 => Some(32),
            Self::Double | Self::Int64 | Self::Uint64 | Self::Complex64 => Some(64),
            Self::Complex128 => Some(128),
        }
    }

    /// Whether elements are real numbers in floating point, of any width.
    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::Float | Self::Double | Self::Float16 | Self::Bfloat16
        ) || self.small_float().is_some()
    }

    /// Whether elements are integers, of any width; bool is none.
    pub fn is_integer(self) -> bool {
        let unsigned = matches!(
            self,
            Self::Uint2 | Self::Uint4 | Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64
        );
        unsigned || self.is_signed_integer()
    }

    /// Whether elements are integers with a sign.
    pub fn is_signed_integer(self) -> bool {
        matches!(
            self,
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64
        )
    }

    /// The name in the ONNX IR, such as `FLOAT16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Undefined => "UNDEFINED",
            Self::Float => "FLOAT",
            Self::Uint8 => "UINT8",
            Self::Int8 => "INT8",
            Self::Uint16 => "UINT16",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::String => "STRING",
            Self::Bool => "BOOL",
            Self::Float16 => "FLOAT16",
            Self::Double => "DOUBLE",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Complex64 => "COMPLEX64",
            Self::Complex128 => "COMPLEX128",
            Self::Bfloat16 => "BFLOAT16",
            Self::Float8e4m3fn => "FLOAT8E4M3FN",
            Self::Float8e4m3fnuz => "FLOAT8E4M3FNUZ",
            Self::Float8e5m2 => "FLOAT8E5M2",
            Self::Float8e5m2fnuz => "FLOAT8E5M2FNUZ",
            Self::Uint4 => "UINT4",
            Self::Int4 => "INT4",
            Self::Float4e2m1 => "FLOAT4E2M1",
            Self::Float8e8m0 => "FLOAT8E8M0",
            Self::Uint2 => "UINT2",
            Self::Int2 => "INT2",
            Self::Float6e2m3 => "FLOAT6E2M3",
            Self::Float6e3m2 => "FLOAT6E3M2",
        }
    }

    /// How to read the floats below 16 bits; `None` for all other types.
    pub(crate) fn small_float(self) -> Option<SmallFloat> {
        use Special::{AllOnesNan, Ieee, NegativeZeroNan, Nothing};
        let (exponent_bits, mantissa_bits, bias, special) = match self {
            Self::Float4e2m1 => (2, 1, 1, Nothing),
            Self::Float6e2m3 => (2, 3, 1, Nothing),
            Self::Float6e3m2 => (3, 2, 3, Nothing),
            Self::Float8e4m3fn => (4, 3, 7, AllOnesNan),
            Self::Float8e4m3fnuz => (4, 3, 8, NegativeZeroNan),
            Self::Float8e5m2 => (5, 2, 15, Ieee),
            Self::Float8e5m2fnuz => (5, 2, 16, NegativeZeroNan),
            Self::Float8e8m0 => (8, 0, 127, Special::PowersOfTwo),
            _ => return None,
        };
        Some(SmallFloat {
            exponent_bits,
            mantissa_bits,
            bias,
            special,
        })
    }
}

/// Which codes of a small float are no ordinary numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    /// None: every code is finite.
    Nothing,
    /// The largest exponent holds infinity and NaN, as in IEEE 754.
    Ieee,
    /// All ones behind the sign is NaN; there is no infinity.
    AllOnesNan,
    /// The code of negative zero is the only NaN; there is no infinity.
    NegativeZeroNan,
    /// No sign, no zero, no mantissa; all ones is NaN.
    PowersOfTwo,
}

/// A float below 16 bits: sign, exponent and mantissa from the highest bit down
/// (ONNX documentation, "Float stored in 8 bits" and "4 bits"; OCP microscaling formats for 4 and 6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SmallFloat {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    special: Special,
}

impl SmallFloat {
    /// The number a code stands for; every one is exact in f32. Bits above the format's are ignored.
    pub(crate) fn to_f32(self, code: u8) -> f32 {
        if self.special == Special::PowersOfTwo {
            return match code {
                255 => f32::NAN,
                _ => power_of_two(i32::from(code) - self.bias) as f32,
            };
        }
        let code = u32::from(code);
        let mantissa = code & ((1 << self.mantissa_bits) - 1);
        let all_ones = (1 << self.exponent_bits) - 1;
        let exponent = (code >> self.mantissa_bits) & all_ones;
        let negative = (code >> (self.mantissa_bits + self.exponent_bits)) & 1 == 1;
        let fraction = f64::from(mantissa) * power_of_two(-(self.mantissa_bits as i32));
        let magnitude = match (self.special, exponent, mantissa) {
            (Special::Ieee, e, 0) if e == all_ones => f64::INFINITY,
            (Special::Ieee, e, _) if e == all_ones => f64::NAN,
            (Special::AllOnesNan, e, m) if e == all_ones && m + 1 == 1 << self.mantissa_bits => {
                f64::NAN
            }
            (Special::NegativeZeroNan, 0, 0) if negative => f64::NAN,
            (_, 0, _) => fraction * power_of_two(1 - self.bias),
            _ => (1.0 + fraction) * power_of_two(exponent as i32 - self.bias),
        };
        let value = magnitude as f32;
        if negative { -value } else { value }
    }
}

/// 2^`exponent` for normal f64 exponents, exactly.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: DataType, code: u8) -> f32 {
        kind.small_float().expect("a small float").to_f32(code)
    }

    #[test]
    fn small_floats_read_as_their_standards_say() {
        let e2m1: Vec<f32> = (0..16)
            .map(|code| value(DataType::Float4e2m1, code))
            .collect();
        let half = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        assert_eq!(e2m1[..8], half);
        assert_eq!(e2m1[8..], half.map(|x: f32| -x));
        assert_eq!(value(DataType::Float6e2m3, 0x1f), 7.5);
        assert_eq!(value(DataType::Float6e2m3, 0x01), 0.125);
        assert_eq!(value(DataType::Float6e3m2, 0x1f), 28.0);
        assert_eq!(value(DataType::Float6e3m2, 0x21), -0.0625);
        assert_eq!(value(DataType::Float8e4m3fn, 0x7e), 448.0);
        assert_eq!(value(DataType::Float8e4m3fn, 0x01), 2f32.powi(-9));
        assert_eq!(value(DataType::Float8e4m3fnuz, 0x7f), 240.0);
        assert_eq!(value(DataType::Float8e5m2, 0x7b), 57344.0);
        assert_eq!(value(DataType::Float8e5m2, 0xfc), f32::NEG_INFINITY);
        assert_eq!(value(DataType::Float8e5m2fnuz, 0x7f), 57344.0);
        assert_eq!(value(DataType::Float8e8m0, 127), 1.0);
        assert_eq!(value(DataType::Float8e8m0, 0), 2f32.powi(-127));
    }

    #[test]
    fn small_floats_have_the_nans_of_their_standards() {
        let nans = |kind| -> Vec<u8> {
            (0..=255)
                .filter(|&code| value(kind, code).is_nan())
                .collect()
        };
        assert_eq!(nans(DataType::Float8e4m3fn), [0x7f, 0xff]);
        assert_eq!(nans(DataType::Float8e4m3fnuz), [0x80]);
        assert_eq!(
            nans(DataType::Float8e5m2),
            [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff]
        );
        assert_eq!(nans(DataType::Float8e5m2fnuz), [0x80]);
        assert_eq!(nans(DataType::Float8e8m0), [0xff]);
        assert_eq!(nans(DataType::Float6e3m2), [0u8; 0]);
    }

    #[test]
    fn every_type_has_its_own_name_and_a_width() {
        let all: Vec<DataType> = (0..=28)
            .map(|n| DataType::try_from(n).expect("known"))
            .collect();
        let names: std::collections::BTreeSet<_> = all.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), 29);
        assert!(DataType::try_from(29).is_err());
        for kind in all {
            let plain = kind.is_float() || kind.is_integer();
            assert!(
                !plain || kind.bits().is_some_and(|bits| bits <= 64),
                "{}",
                kind.name()
            );
            assert!(!(kind.is_float() && kind.is_integer()), "{}", kind.name());
        }
    }
}
