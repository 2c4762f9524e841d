//! Cast and CastLike. All floats are f32 here: a cast to a narrower float of 16 bits leaves the
//! numbers as they are, one to 8 bits or fewer, where that would not do, is refused.

use super::super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::constant::element_type;
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::{ElementType, Ints};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |inputs, since, build| Entry {
        inputs,
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    };
    registry.add("Cast", entry((1, 1), 6, cast));
    registry.add("CastLike", entry((2, 2), 15, cast_like));
}

/// float, float16, double and bfloat16 in ONNX's `TensorProto.DataType`.
const WIDE_FLOATS: [i32; 4] = [1, 10, 11, 16];

#[derive(Debug)]
struct Cast(ElementType);

fn cast(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let code = spec
        .attributes
        .optional_int("to")?
        .ok_or_else(|| invalid("attribute `to` is missing"))?;
    // Both say how 8-bit floats are rounded, which are refused.
    spec.attributes.ignore("saturate");
    spec.attributes.ignore("round_mode");
    let code = i32::try_from(code)
        .map_err(|_| invalid(format!("attribute `to` is {code}, no element type")))?;
    let target = element_type(code)?;
    if target == ElementType::Float && !WIDE_FLOATS.contains(&code) {
        return Err(unsupported(format!(
            "attribute `to` is {code}: floats of 8 bits or fewer; float, float16, bfloat16 and double are supported"
        )));
    }
    Ok(Box::new(Cast(target)))
}

impl Operator for Cast {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        converted(x, self.0, &inputs).map(|value| vec![value])
    }
}

/// To the type of the second input.
#[derive(Debug)]
struct CastLike;

fn cast_like(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    spec.attributes.ignore("saturate");
    spec.attributes.ignore("round_mode");
    Ok(Box::new(CastLike))
}

impl Operator for CastLike {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let target = match inputs.value(1)? {
            Value::Real(_) => ElementType::Float,
            Value::Ints(ints) => ints.kind(),
        };
        converted(x, target, &inputs).map(|value| vec![value])
    }
}

/// The value as another element type: floats are cut towards zero, integers wrap.
fn converted(x: Value, target: ElementType, inputs: &Inputs) -> OpResult<Value> {
    match (x, target) {
        (Value::Real(real), ElementType::Float) => Ok(real.into()),
        (Value::Real(real), ElementType::Bool) => {
            let data = real
                .to_host()?
                .iter()
                .map(|&number| i64::from(number != 0.0))
                .collect();
            Ok(Ints::new(target, real.dims(), data)?.into())
        }
        (Value::Real(real), _) => {
            let data = real
                .to_host()?
                .iter()
                .map(|&number| number as i64)
                .collect();
            Ok(Ints::new(target, real.dims(), data)?.into())
        }
        (Value::Ints(ints), ElementType::Float) => {
            let data = ints.data().iter().map(|&number| number as f32).collect();
            Ok(Real::from_host(data, ints.dims(), inputs.device())?.into())
        }
        (Value::Ints(ints), _) if ints.kind() == target => Ok(ints.into()),
        (Value::Ints(ints), _) => {
            let dims = ints.dims().to_vec();
            Ok(Ints::new(target, &dims, ints.into_data())?.into())
        }
    }
}
