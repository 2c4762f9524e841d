//! Arithmetic with broadcasting, and functions of one number other than activations. Floats stay on
//! the device; integers are computed on the host.

use burn::tensor::Tensor;

use super::{ANY, Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::arithmetic::{self, Binary};
use crate::error::{Fault, OpResult, invalid, unsupported};
use crate::ints::{ElementType, Ints};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    for op in ["Add", "Sub", "Mul", "Div", "Pow"] {
        registry.add(op, entry((2, 2), 7, arithmetic_op));
    }
    for op in ["Min", "Max", "Sum", "Mean"] {
        registry.add(op, entry((1, ANY), 6, variadic_op));
    }
    for op in [
        "Sqrt",
        "Exp",
        "Log",
        "Neg",
        "Abs",
        "Reciprocal",
        "Floor",
        "Ceil",
    ] {
        registry.add(op, entry((1, 1), 6, unary_op));
    }
    for op in ["Sin", "Cos", "Tan", "Asin", "Acos", "Atan"] {
        registry.add(op, entry((1, 1), 7, unary_op));
    }
    for op in ["Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Sign"] {
        registry.add(op, entry((1, 1), 9, unary_op));
    }
    registry.add("Round", entry((1, 1), 11, unary_op));
    registry.add("Mod", entry((2, 2), 10, modulo_op));
}

fn entry(inputs: (usize, usize), since: i64, build: super::Builder) -> Entry {
    Entry {
        inputs,
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    }
}

/// Add, Sub, Mul, Div, Pow.
#[derive(Debug)]
struct Arithmetic(Binary);

fn arithmetic_op(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Arithmetic(match spec.op {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        _ => Binary::Pow,
    })))
}

impl Operator for Arithmetic {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (a, b) = (inputs.value(0)?, inputs.value(1)?);
        Ok(vec![self.pair(a, b, &inputs)?])
    }
}

impl Arithmetic {
    fn pair(&self, a: Value, b: Value, inputs: &Inputs) -> OpResult<Value> {
        match (a, b) {
            (Value::Real(a), Value::Real(b)) => Ok(arithmetic::binary(self.0, a, b)?.into()),
            // Only Pow takes an exponent of another type than the base.
            (Value::Real(a), Value::Ints(b)) if self.0 == Binary::Pow => {
                let data = b.data().iter().map(|&number| number as f32).collect();
                let b = Real::from_host(data, b.dims(), inputs.device())?;
                Ok(arithmetic::binary(self.0, a, b)?.into())
            }
            (Value::Ints(a), Value::Ints(b)) => {
                let same = a.kind() == b.kind() || self.0 == Binary::Pow;
                if !same || a.kind() == ElementType::Bool {
                    return Err(type_fault(&a.into(), &b.into()));
                }
                Ok(arithmetic::ints(a.kind(), (&a, &b), |x, y| integer(self.0, x, y))?.into())
            }
            (a, b) => Err(type_fault(&a, &b)),
        }
    }
}

/// The fault of operands whose types do not go together.
pub(super) fn type_fault(a: &Value, b: &Value) -> Fault {
    let name = |value: &Value| match value {
        Value::Real(_) => "float".to_owned(),
        Value::Ints(ints) => format!("{:?}", ints.kind()),
    };
    invalid(format!("operands of types {} and {}", name(a), name(b)))
}

/// Integer arithmetic: wraps like ONNX Runtime's, division rounds towards zero.
fn integer(op: Binary, x: i64, y: i64) -> OpResult<i64> {
    Ok(match op {
        Binary::Add => x.wrapping_add(y),
        Binary::Sub => x.wrapping_sub(y),
        Binary::Mul => x.wrapping_mul(y),
        Binary::Div if y == 0 => return Err(invalid("division of an integer by 0")),
        Binary::Div => x.wrapping_div(y),
        Binary::Min => x.min(y),
        Binary::Max => x.max(y),
        Binary::Pow => match u32::try_from(y) {
            Ok(exponent) => x.wrapping_pow(exponent),
            Err(_) => {
                return Err(unsupported(format!(
                    "an integer to the power {y}; 0 or more is supported"
                )));
            }
        },
    })
}

/// Min, Max, Sum, Mean of any number of operands.
#[derive(Debug)]
struct Variadic {
    op: Binary,
    mean: bool,
}

fn variadic_op(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let op = match spec.op {
        "Min" => Binary::Min,
        "Max" => Binary::Max,
        _ => Binary::Add,
    };
    let mean = spec.op == "Mean";
    Ok(Box::new(Variadic { op, mean }))
}

impl Operator for Variadic {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let count = inputs.len();
        let mut total = inputs.value(0)?;
        for index in 1..count {
            let next = inputs.value(index)?;
            total = Arithmetic(self.op).pair(total, next, &inputs)?;
        }
        if self.mean {
            let sum = total.into_real()?;
            total = sum.map(|sum| sum.div_scalar(count as f32))?.into();
        }
        Ok(vec![total])
    }
}

/// A function of one number.
#[derive(Debug)]
struct Unary {
    name: &'static str,
    real: fn(Tensor<1>) -> Tensor<1>,
    /// The same on integers, for the operators that take them.
    int: Option<fn(i64) -> i64>,
}

fn unary_op(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let on_reals = |name, real: fn(Tensor<1>) -> Tensor<1>| Unary {
        name,
        real,
        int: None,
    };
    let on_both = |name, real: fn(Tensor<1>) -> Tensor<1>, int: fn(i64) -> i64| Unary {
        name,
        real,
        int: Some(int),
    };
    Ok(Box::new(match spec.op {
        "Sqrt" => on_reals("Sqrt", Tensor::sqrt),
        "Exp" => on_reals("Exp", Tensor::exp),
        "Log" => on_reals("Log", Tensor::log),
        "Neg" => on_both("Neg", Tensor::neg, i64::wrapping_neg),
        "Abs" => on_both("Abs", Tensor::abs, i64::wrapping_abs),
        "Reciprocal" => on_reals("Reciprocal", Tensor::recip),
        "Floor" => on_reals("Floor", Tensor::floor),
        "Ceil" => on_reals("Ceil", Tensor::ceil),
        "Round" => on_reals("Round", Tensor::round),
        "Sign" => on_both("Sign", Tensor::sign, i64::signum),
        "Sin" => on_reals("Sin", Tensor::sin),
        "Cos" => on_reals("Cos", Tensor::cos),
        "Tan" => on_reals("Tan", Tensor::tan),
        "Asin" => on_reals("Asin", Tensor::asin),
        "Acos" => on_reals("Acos", Tensor::acos),
        "Atan" => on_reals("Atan", Tensor::atan),
        "Sinh" => on_reals("Sinh", Tensor::sinh),
        "Cosh" => on_reals("Cosh", Tensor::cosh),
        "Asinh" => on_reals("Asinh", Tensor::asinh),
        "Acosh" => on_reals("Acosh", Tensor::acosh),
        "Atanh" => on_reals("Atanh", Tensor::atanh),
        other => return Err(unsupported(format!("no function is known for {other}"))),
    }))
}

impl Operator for Unary {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        match (inputs.value(0)?, self.int) {
            (Value::Real(x), _) => Ok(vec![x.map(self.real)?.into()]),
            (Value::Ints(x), Some(f)) if x.kind() != ElementType::Bool => {
                let data = x.data().iter().map(|&number| f(number)).collect();
                Ok(vec![Ints::new(x.kind(), x.dims(), data)?.into()])
            }
            (Value::Ints(x), _) => Err(invalid(format!(
                "{} does not take {:?}",
                self.name,
                x.kind()
            ))),
        }
    }
}

/// Remainder: of integers with the divisor's sign, or with the dividend's (`fmod`).
#[derive(Debug)]
struct Modulo {
    fmod: bool,
}

fn modulo_op(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let fmod = spec.attributes.flag("fmod", false)?;
    Ok(Box::new(Modulo { fmod }))
}

impl Operator for Modulo {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (a, b) = match (inputs.value(0)?, inputs.value(1)?) {
            (Value::Ints(a), Value::Ints(b)) if a.kind() == b.kind() => (a, b),
            (Value::Real(_), _) => {
                return Err(unsupported(
                    "remainders of floats; those of integers are supported",
                ));
            }
            (a, b) => return Err(type_fault(&a, &b)),
        };
        let remainder = |x: i64, y: i64| match y {
            0 => Err(invalid("remainder of a division by 0")),
            _ if self.fmod => Ok(x.wrapping_rem(y)),
            _ => {
                let r = x.wrapping_rem(y);
                Ok(if r != 0 && (r < 0) != (y < 0) {
                    r + y
                } else {
                    r
                })
            }
        };
        Ok(vec![
            arithmetic::ints(a.kind(), (&a, &b), remainder)?.into(),
        ])
    }
}
