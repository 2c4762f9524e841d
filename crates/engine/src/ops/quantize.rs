//! QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: one scale for all, for each slice
//! of an axis, or for each block along an axis. Levels are integers: no gradient passes through
//! quantization; it passes through reconstruction to the scale.

use super::axes::axis;
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::arithmetic::{Binary, binary};
use crate::constant::element_type;
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::{ElementType, Ints, strides};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |inputs, outputs, build| Entry {
        inputs,
        outputs,
        opsets: (10, NEWEST_OPSET),
        build,
    };
    registry.add("QuantizeLinear", entry((2, 3), 1, quantize));
    registry.add("DequantizeLinear", entry((2, 3), 1, dequantize));
    registry.add(
        "DynamicQuantizeLinear",
        Entry {
            opsets: (11, NEWEST_OPSET),
            ..entry((1, 1), 3, dynamic)
        },
    );
}

/// Which elements share a scale.
#[derive(Debug, Clone, Copy)]
struct Grouping {
    axis: i64,
    /// Elements along the axis that share a scale; 0: all of a slice across the axis do.
    block: usize,
}

fn grouping(spec: &NodeSpec) -> OpResult<Grouping> {
    let axis = if spec.opset >= 13 {
        spec.attributes.int("axis", 1)?
    } else {
        1
    };
    let block = if spec.opset >= 21 {
        spec.attributes.int("block_size", 0)?
    } else {
        0
    };
    let block = usize::try_from(block).map_err(|_| {
        invalid(format!(
            "attribute `block_size` is {block}; 0 or more is legal"
        ))
    })?;
    Ok(Grouping { axis, block })
}

impl Grouping {
    /// The shape of scales that the input's shape allows: none for one scale, and for each axis the
    /// number of elements that share one.
    fn shares(&self, dims: &[usize], scale: &[usize]) -> OpResult<Vec<usize>> {
        let one = scale.iter().product::<usize>() == 1 && scale.len() <= 1;
        if self.block == 0 && one {
            return Ok(dims.to_vec());
        }
        let axis = axis(self.axis, dims.len())?;
        if self.block == 0 {
            if scale != [dims[axis]] {
                return Err(invalid(format!(
                    "the scale has shape {scale:?}; one number, or {} along axis {axis}, is legal",
                    dims[axis]
                )));
            }
            let mut shares = dims.to_vec();
            shares[axis] = 1;
            return Ok(shares);
        }
        let mut expected = dims.to_vec();
        expected[axis] = dims[axis].div_ceil(self.block);
        if scale != expected {
            return Err(invalid(format!(
                "with `block_size` {} along axis {axis} the scale has shape {expected:?}, not {scale:?}",
                self.block
            )));
        }
        let mut shares = vec![1; dims.len()];
        shares[axis] = self.block;
        Ok(shares)
    }
}

/// For each element in row-major order the place of its scale, given how many elements of each axis
/// share one.
fn scale_places(dims: &[usize], shares: &[usize]) -> impl Fn(usize) -> usize {
    let steps = strides(dims);
    let counts: Vec<usize> = dims
        .iter()
        .zip(shares)
        .map(|(&dim, &share)| dim.div_ceil(share.max(1)))
        .collect();
    let scale_steps = strides(&counts);
    let (dims, shares) = (dims.to_vec(), shares.to_vec());
    move |flat| {
        let own = (0..dims.len())
            .map(|axis| flat / steps[axis] % dims[axis] / shares[axis] * scale_steps[axis]);
        own.sum()
    }
}

/// The zero points, of the scale's shape and the levels' type; zeros where there are none.
fn zero_points(zero: Option<Ints>, scale: &Real, kind: Option<ElementType>) -> OpResult<Vec<i64>> {
    let Some(zero) = zero else {
        return Ok(vec![0; scale.len()]);
    };
    if zero.data().len() != scale.len() {
        return Err(invalid(format!(
            "the zero point has shape {:?}, the scale {:?}; the same is needed",
            zero.dims(),
            scale.dims()
        )));
    }
    match kind {
        Some(kind) if kind != zero.kind() => Err(invalid(format!(
            "the zero point is {:?}, the levels are {kind:?}; the same is needed",
            zero.kind()
        ))),
        _ => Ok(zero.into_data()),
    }
}

#[derive(Debug)]
struct Quantize {
    grouping: Grouping,
    /// Type of the levels where no zero point says it.
    output: Option<ElementType>,
}

fn quantize(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let attributes = &spec.attributes;
    if spec.opset >= 19 {
        // How 8-bit floats are rounded, which are refused.
        attributes.ignore("saturate");
    }
    let code = if spec.opset >= 21 {
        attributes.int("output_dtype", 0)?
    } else {
        0
    };
    let output = match i32::try_from(code) {
        Ok(0) => None,
        Ok(code) => Some(element_type(code)?),
        Err(_) => {
            return Err(invalid(format!(
                "attribute `output_dtype` is {code}, no element type"
            )));
        }
    };
    if matches!(output, Some(ElementType::Float | ElementType::Bool)) {
        return Err(unsupported(format!(
            "attribute `output_dtype` is {code}; integers of up to 16 bits are supported"
        )));
    }
    if spec.opset >= 23 {
        precision(attributes.int("precision", 0)?)?;
    }
    Ok(Box::new(Quantize {
        grouping: grouping(spec)?,
        output,
    }))
}

/// The attribute `precision`: the division is computed in f32.
fn precision(code: i64) -> OpResult<()> {
    match code {
        0 | 1 => Ok(()),
        other => Err(unsupported(format!(
            "attribute `precision` is {other}; 0 and 1 (float) are supported"
        ))),
    }
}

impl Operator for Quantize {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = match inputs.value(0)? {
            Value::Real(real) => real,
            Value::Ints(ints) if ints.kind() == ElementType::Signed(32) => {
                let data = ints.data().iter().map(|&number| number as f32).collect();
                Real::from_host(data, ints.dims(), inputs.device())?
            }
            Value::Ints(ints) => {
                return Err(invalid(format!(
                    "input 0 holds {:?}; floats and int32 are legal",
                    ints.kind()
                )));
            }
        };
        let scale = inputs.real(1)?;
        let zero = inputs.optional_ints(2)?;
        let kind = self.kind(zero.as_ref())?;
        let (low, high) = kind.range().ok_or_else(|| invalid("levels are integers"))?;
        let shares = self.grouping.shares(x.dims(), scale.dims())?;
        let zeros = zero_points(zero, &scale, None)?;
        let (scales, numbers) = (scale.to_host()?, x.to_host()?);
        let place = scale_places(x.dims(), &shares);
        let level = |(flat, &number): (usize, &f32)| {
            let place = place(flat);
            let rounded = (number / scales[place]).round_ties_even();
            // Out of range numbers and infinities saturate, here and in the type's range.
            (rounded as i64)
                .saturating_add(zeros[place])
                .clamp(low, high)
        };
        let levels = numbers.iter().enumerate().map(level).collect();
        Ok(vec![Ints::new(kind, x.dims(), levels)?.into()])
    }
}

impl Quantize {
    fn kind(&self, zero: Option<&Ints>) -> OpResult<ElementType> {
        match (zero.map(Ints::kind), self.output) {
            (Some(zero), Some(output)) if zero != output => Err(invalid(format!(
                "attribute `output_dtype` says {output:?}, the zero point is {zero:?}; the same is needed"
            ))),
            (Some(kind), _) | (None, Some(kind)) => Ok(kind),
            (None, None) => Ok(ElementType::Unsigned(8)),
        }
    }
}

#[derive(Debug)]
struct Dequantize {
    grouping: Grouping,
}

fn dequantize(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let code = if spec.opset >= 23 {
        spec.attributes.int("output_dtype", 0)?
    } else {
        0
    };
    // float, float16, bfloat16 or the scale's: all are f32 here.
    if ![0, 1, 10, 16].contains(&code) {
        return Err(invalid(format!(
            "attribute `output_dtype` is {code}; 0, 1, 10 or 16 is legal"
        )));
    }
    Ok(Box::new(Dequantize {
        grouping: grouping(spec)?,
    }))
}

impl Operator for Dequantize {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let levels = inputs.ints(0)?;
        let scale = inputs.real(1)?;
        let zero = inputs.optional_ints(2)?;
        let dims = levels.dims().to_vec();
        let shares = self.grouping.shares(&dims, scale.dims())?;
        let zeros = zero_points(zero, &scale, Some(levels.kind()))?;
        let place = scale_places(&dims, &shares);
        let centred =
            |(flat, &level): (usize, &i64)| level.saturating_sub(zeros[place(flat)]) as f32;
        let data = levels.data().iter().enumerate().map(centred).collect();
        let centred = Real::from_host(data, &dims, inputs.device())?;
        let scale = spread(scale, &dims, &shares)?;
        Ok(vec![binary(Binary::Mul, centred, scale)?.into()])
    }
}

/// The scale in a shape that broadcasts to the levels'.
fn spread(scale: Real, dims: &[usize], shares: &[usize]) -> OpResult<Real> {
    if scale.len() == 1 {
        return scale.reshape(&[]);
    }
    let counts: Vec<usize> = dims
        .iter()
        .zip(shares)
        .map(|(&dim, &share)| dim.div_ceil(share.max(1)))
        .collect();
    let Some(axis) = (0..dims.len()).find(|&axis| shares[axis] > 1 && counts[axis] > 1) else {
        return scale.reshape(&counts);
    };
    // Blocks: each scale is repeated along the axis, the last block may be shorter.
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let mut full = dims.to_vec();
    full[axis] = counts[axis] * shares[axis];
    let repeated = scale
        .reshape(&[outer * counts[axis], 1, inner])?
        .expand(&[outer * counts[axis], shares[axis], inner])?
        .reshape(&full)?;
    let ranges: Vec<_> = dims
        .iter()
        .map(|&end| crate::real::SliceRange {
            start: 0,
            end,
            step: 1,
        })
        .collect();
    repeated.slice(&ranges)
}

/// Unsigned levels of 8 bits with a scale and a zero point from the data's range.
#[derive(Debug)]
struct Dynamic;

fn dynamic(_spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Dynamic))
}

impl Operator for Dynamic {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let numbers = x.to_host()?;
        let kind = ElementType::Unsigned(8);
        // The range always holds 0.
        let low = numbers.iter().fold(0f32, |low, &number| low.min(number));
        let high = numbers.iter().fold(0f32, |high, &number| high.max(number));
        let scale = if high > low {
            (high - low) / 255.0
        } else {
            1.0
        };
        let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as i64;
        let level = |&number: &f32| {
            ((number / scale).round_ties_even() as i64)
                .saturating_add(zero)
                .clamp(0, 255)
        };
        let levels = Ints::new(kind, x.dims(), numbers.iter().map(level).collect())?;
        Ok(vec![
            levels.into(),
            Real::from_host(vec![scale], &[], inputs.device())?.into(),
            Ints::new(kind, &[], vec![zero])?.into(),
        ])
    }
}
