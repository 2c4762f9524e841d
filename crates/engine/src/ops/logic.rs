//! Comparison, logic and choice, with broadcasting. Truth values live on the host; what is chosen
//! among stays differentiable.

use burn::tensor::{Bool, Tensor, TensorData};

use super::elementwise::type_fault;
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::arithmetic;
use crate::error::OpResult;
use crate::ints::{ElementType, Ints};
use crate::ops::axes::broadcast;
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add("Not", entry((1, 1), 1, not_op));
    for op in ["And", "Or", "Xor", "Equal", "Less", "Greater"] {
        registry.add(op, entry((2, 2), 7, compare_op));
    }
    for op in ["LessOrEqual", "GreaterOrEqual"] {
        registry.add(op, entry((2, 2), 12, compare_op));
    }
    registry.add("IsNaN", entry((1, 1), 9, is_nan_op));
    registry.add("Where", entry((3, 3), 9, where_op));
}

fn entry(inputs: (usize, usize), since: i64, build: super::Builder) -> Entry {
    Entry {
        inputs,
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    }
}

/// Negation of truth values.
#[derive(Debug)]
struct Not;

fn not_op(_: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Not))
}

impl Operator for Not {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.ints(0)?;
        let data = x
            .data()
            .iter()
            .map(|&truth| i64::from(truth == 0))
            .collect();
        Ok(vec![Ints::new(ElementType::Bool, x.dims(), data)?.into()])
    }
}

/// Comparisons of numbers and logic of truth values; the result lives on the host.
#[derive(Debug, Clone, Copy)]
enum Compare {
    And,
    Or,
    Xor,
    Equal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
}

fn compare_op(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(match spec.op {
        "And" => Compare::And,
        "Or" => Compare::Or,
        "Xor" => Compare::Xor,
        "Equal" => Compare::Equal,
        "Less" => Compare::Less,
        "Greater" => Compare::Greater,
        "LessOrEqual" => Compare::LessOrEqual,
        _ => Compare::GreaterOrEqual,
    }))
}

impl Compare {
    fn holds<T: PartialOrd>(self, x: T, y: T, zero: T) -> bool {
        match self {
            Self::And => x != zero && y != zero,
            Self::Or => x != zero || y != zero,
            Self::Xor => (x != zero) != (y != zero),
            Self::Equal => x == y,
            Self::Less => x < y,
            Self::Greater => x > y,
            Self::LessOrEqual => x <= y,
            Self::GreaterOrEqual => x >= y,
        }
    }
}

impl Operator for Compare {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let truths = match (inputs.value(0)?, inputs.value(1)?) {
            (Value::Ints(a), Value::Ints(b)) => {
                arithmetic::ints(ElementType::Bool, (&a, &b), |x, y| {
                    Ok(i64::from(self.holds(x, y, 0)))
                })?
            }
            (Value::Real(a), Value::Real(b)) => {
                let (left, right) = (host_bits(&a)?, host_bits(&b)?);
                arithmetic::ints(ElementType::Bool, (&left, &right), |x, y| {
                    Ok(i64::from(self.holds(from_bits(x), from_bits(y), 0.0)))
                })?
            }
            (a, b) => return Err(type_fault(&a, &b)),
        };
        Ok(vec![truths.into()])
    }
}

/// The bit patterns of a float tensor's numbers, so that the broadcasting of integers serves both.
fn host_bits(real: &Real) -> OpResult<Ints> {
    let bits = real
        .to_host()?
        .into_iter()
        .map(|number| i64::from(number.to_bits()));
    Ints::new(ElementType::I64, real.dims(), bits.collect())
}

fn from_bits(bits: i64) -> f32 {
    f32::from_bits(u32::try_from(bits).unwrap_or(0))
}

/// Whether numbers are NaN.
#[derive(Debug)]
struct IsNan;

fn is_nan_op(_: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(IsNan))
}

impl Operator for IsNan {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let data = x
            .to_host()?
            .into_iter()
            .map(|number| i64::from(number.is_nan()));
        Ok(vec![
            Ints::new(ElementType::Bool, x.dims(), data.collect())?.into(),
        ])
    }
}

/// Choice between two tensors by truth values.
#[derive(Debug)]
struct Where;

fn where_op(_: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Where))
}

impl Operator for Where {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let condition = inputs.ints(0)?;
        let (yes, no) = (inputs.value(1)?, inputs.value(2)?);
        let dims = broadcast(&broadcast(condition.dims(), yes.dims())?, no.dims())?;
        inputs.check_elements(&dims)?;
        let condition = arithmetic::ints_expanded(&condition, &dims)?;
        match (yes, no) {
            (Value::Ints(yes), Value::Ints(no)) if yes.kind() == no.kind() => {
                let (yes, no) = (
                    arithmetic::ints_expanded(&yes, &dims)?,
                    arithmetic::ints_expanded(&no, &dims)?,
                );
                let pairs = yes.data().iter().zip(no.data());
                let data = condition.data().iter().zip(pairs);
                let data = data
                    .map(|(&c, (&yes, &no))| if c != 0 { yes } else { no })
                    .collect();
                Ok(vec![Ints::new(yes.kind(), &dims, data)?.into()])
            }
            (Value::Real(yes), Value::Real(no)) => {
                if condition.data().is_empty() {
                    return Ok(vec![Real::full(0.0, &dims, inputs.device())?.into()]);
                }
                let mask: Vec<bool> = condition.data().iter().map(|&c| c != 0).collect();
                let count = mask.len();
                let mask = Tensor::<1, Bool>::from_data(
                    TensorData::new(mask, [count]),
                    inputs.device().burn(),
                );
                let yes = arithmetic::expanded(yes, &dims)?.into_flat()?;
                let no = arithmetic::expanded(no, &dims)?.into_flat()?;
                Ok(vec![
                    Real::from_tensor(no.mask_where(mask, yes))
                        .reshape(&dims)?
                        .into(),
                ])
            }
            (yes, no) => Err(type_fault(&yes, &no)),
        }
    }
}
