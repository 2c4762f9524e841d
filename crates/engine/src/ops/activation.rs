//! Activations: functions of each element alone, PRelu, and Softmax. Formulas as in the operators'
//! specifications; constants with ONNX's defaults stand where the attributes are read.

use burn::tensor::Tensor;
use burn::tensor::activation;

use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry, axes};
use crate::arithmetic::{self, Binary};
use crate::error::{OpResult, invalid};
use crate::ints::Ints;
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let table: [(&'static str, i64, super::Builder); 18] = [
        ("Relu", 6, relu),
        ("LeakyRelu", 6, leaky_relu),
        ("Elu", 6, elu),
        ("Selu", 6, selu),
        ("Celu", 12, celu),
        ("ThresholdedRelu", 10, thresholded_relu),
        ("Sigmoid", 6, sigmoid),
        ("HardSigmoid", 6, hard_sigmoid),
        ("HardSwish", 14, hard_swish),
        ("Swish", 24, swish),
        ("Mish", 18, mish),
        ("Softplus", 1, softplus),
        ("Softsign", 1, softsign),
        ("Tanh", 6, tanh),
        ("Gelu", 20, gelu),
        ("Erf", 9, erf),
        ("Softmax", 1, softmax),
        ("LogSoftmax", 1, softmax),
    ];
    for (op, since, build) in table {
        registry.add(op, entry((1, 1), since, build));
    }
    registry.add("PRelu", entry((2, 2), 7, prelu));
    registry.add("Clip", entry((1, 3), 6, clip));
}

fn entry(inputs: (usize, usize), since: i64, build: super::Builder) -> Entry {
    Entry {
        inputs,
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    }
}

/// A function of each element.
struct Elementwise<F> {
    name: &'static str,
    function: F,
}

impl<F> std::fmt::Debug for Elementwise<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl<F> Operator for Elementwise<F>
where
    F: Fn(Tensor<1>) -> Tensor<1> + Send + Sync,
{
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        Ok(vec![x.map(&self.function)?.into()])
    }
}

type Built = OpResult<Box<dyn Operator>>;

fn elementwise(
    name: &'static str,
    function: impl Fn(Tensor<1>) -> Tensor<1> + Send + Sync + 'static,
) -> Built {
    Ok(Box::new(Elementwise { name, function }))
}

fn relu(_: &NodeSpec) -> Built {
    elementwise("Relu", activation::relu)
}

/// max(x, 0) + alpha·min(x, 0), alpha 0.01, as one sum of two ramps: cheaper than a mask.
fn leaky_relu(spec: &NodeSpec) -> Built {
    let alpha = spec.attributes.float("alpha", 0.01)?;
    elementwise("LeakyRelu", move |x| {
        activation::relu(x.clone()).mul_scalar(1.0 - alpha) + x.mul_scalar(alpha)
    })
}

/// min(x, 0), whose gradient at 0 is 1 - that of [`activation::relu`].
fn negative_part(x: Tensor<1>) -> Tensor<1> {
    activation::relu(x.neg()).neg()
}

/// alpha·(exp(x) - 1) below 0, alpha 1.
fn elu(spec: &NodeSpec) -> Built {
    let alpha = spec.attributes.float("alpha", 1.0)?;
    elementwise("Elu", move |x| {
        activation::relu(x.clone()) + negative_part(x).exp().sub_scalar(1.0).mul_scalar(alpha)
    })
}

/// gamma·(x or alpha·(exp(x) - 1)), alpha 1.67326…, gamma 1.0507….
fn selu(spec: &NodeSpec) -> Built {
    let alpha = spec.attributes.float("alpha", 1.673_263_2)?;
    let gamma = spec.attributes.float("gamma", 1.050_701)?;
    elementwise("Selu", move |x| {
        let below = negative_part(x.clone())
            .exp()
            .sub_scalar(1.0)
            .mul_scalar(alpha);
        (activation::relu(x) + below).mul_scalar(gamma)
    })
}

/// x or alpha·(exp(x / alpha) - 1), alpha 1.
fn celu(spec: &NodeSpec) -> Built {
    let alpha = spec.attributes.float("alpha", 1.0)?;
    if alpha == 0.0 {
        return Err(invalid("attribute `alpha` is 0; any other number is legal"));
    }
    elementwise("Celu", move |x| {
        let below = negative_part(x.clone())
            .div_scalar(alpha)
            .exp()
            .sub_scalar(1.0);
        activation::relu(x) + below.mul_scalar(alpha)
    })
}

/// x above alpha, else 0; alpha 1.
fn thresholded_relu(spec: &NodeSpec) -> Built {
    let alpha = spec.attributes.float("alpha", 1.0)?;
    elementwise("ThresholdedRelu", move |x| {
        let mask = x.clone().lower_equal_scalar(alpha);
        x.mask_fill(mask, 0.0)
    })
}

fn sigmoid(_: &NodeSpec) -> Built {
    elementwise("Sigmoid", activation::sigmoid)
}

/// min(max(alpha·x + beta, 0), 1), alpha 0.2, beta 0.5.
fn hard_sigmoid(spec: &NodeSpec) -> Built {
    let alpha = spec.attributes.float("alpha", 0.2)?;
    let beta = spec.attributes.float("beta", 0.5)?;
    elementwise("HardSigmoid", move |x| {
        clamp01(x.mul_scalar(alpha).add_scalar(beta))
    })
}

fn clamp01(x: Tensor<1>) -> Tensor<1> {
    by_ramps(x, 0.0, 1.0)
}

/// min(max(x, low), high) = high - ramp(high - low - ramp(x - low)): six times faster forward and
/// backward than burn's clamp, which goes through masks. The error is that of one rounding at the
/// size of the bounds; `low` and `high` themselves come out exactly for `low` = 0.
fn by_ramps(x: Tensor<1>, low: f32, high: f32) -> Tensor<1> {
    let x = if low == 0.0 { x } else { x.sub_scalar(low) };
    let below = activation::relu(activation::relu(x).neg().add_scalar(high - low));
    below.neg().add_scalar(high)
}

/// Largest bound for which [`by_ramps`] is exact enough.
const RAMP_BOUND: f32 = 8.0;

/// x·HardSigmoid(x) with alpha 1/6, beta 0.5.
fn hard_swish(_: &NodeSpec) -> Built {
    elementwise("HardSwish", |x| {
        x.clone() * clamp01(x.div_scalar(6.0).add_scalar(0.5))
    })
}

/// x·sigmoid(alpha·x), alpha 1.
fn swish(spec: &NodeSpec) -> Built {
    let alpha = spec.attributes.float("alpha", 1.0)?;
    elementwise("Swish", move |x| {
        x.clone() * activation::sigmoid(x.mul_scalar(alpha))
    })
}

/// log(1 + exp(x)), without overflow: max(x, 0) + log(1 + exp(-|x|)).
fn log1p_exp(x: Tensor<1>) -> Tensor<1> {
    activation::relu(x.clone()) + x.abs().neg().exp().log1p()
}

/// x·tanh(softplus(x)).
fn mish(_: &NodeSpec) -> Built {
    elementwise("Mish", |x| x.clone() * log1p_exp(x).tanh())
}

fn softplus(_: &NodeSpec) -> Built {
    elementwise("Softplus", log1p_exp)
}

/// x / (1 + |x|).
fn softsign(_: &NodeSpec) -> Built {
    elementwise("Softsign", |x| x.clone() / x.abs().add_scalar(1.0))
}

fn tanh(_: &NodeSpec) -> Built {
    elementwise("Tanh", Tensor::tanh)
}

/// x·Φ(x) by the error function, or the usual approximation by tanh (`approximate`).
fn gelu(spec: &NodeSpec) -> Built {
    match spec
        .attributes
        .choice("approximate", "none", &["none", "tanh"])?
    {
        0 => elementwise("Gelu", |x| {
            let half = x.clone().mul_scalar(0.5);
            half * x
                .mul_scalar(std::f32::consts::FRAC_1_SQRT_2)
                .erf()
                .add_scalar(1.0)
        }),
        _ => elementwise("Gelu", |x| {
            let cube = x.clone() * x.clone() * x.clone();
            let inner = (x.clone() + cube.mul_scalar(0.044_715)).mul_scalar(0.797_884_6);
            x.mul_scalar(0.5) * inner.tanh().add_scalar(1.0)
        }),
    }
}

fn erf(_: &NodeSpec) -> Built {
    elementwise("Erf", Tensor::erf)
}

/// x or slope·x below 0; the slope broadcasts to x.
#[derive(Debug)]
struct PRelu;

fn prelu(_: &NodeSpec) -> Built {
    Ok(Box::new(PRelu))
}

impl Operator for PRelu {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (x, slope) = (inputs.real(0)?, inputs.real(1)?);
        if axes::broadcast(x.dims(), slope.dims())? != x.dims() {
            return Err(invalid(format!(
                "slope of shape {:?} does not broadcast to {:?}",
                slope.dims(),
                x.dims()
            )));
        }
        let below = arithmetic::binary(Binary::Mul, x.clone().map(negative_part)?, slope)?;
        let above = x.map(activation::relu)?;
        Ok(vec![arithmetic::binary(Binary::Add, above, below)?.into()])
    }
}

/// Softmax or its logarithm, over one axis, or before opset 13 over all axes from `axis` on.
#[derive(Debug)]
struct Softmax {
    axis: i64,
    flatten: bool,
    log: bool,
}

fn softmax(spec: &NodeSpec) -> Built {
    let flatten = spec.opset < 13;
    Ok(Box::new(Softmax {
        axis: spec.attributes.int("axis", if flatten { 1 } else { -1 })?,
        flatten,
        log: spec.op == "LogSoftmax",
    }))
}

impl Operator for Softmax {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let dims = x.dims().to_vec();
        // Before opset 13 the axis may also stand behind the last one.
        let end = self.flatten && self.axis == dims.len() as i64;
        let axis = if end {
            dims.len()
        } else {
            axes::axis(self.axis, dims.len())?
        };
        let product = |part: &[usize]| part.iter().product::<usize>();
        let shape = if self.flatten {
            [product(&dims[..axis]), product(&dims[axis..]), 1]
        } else {
            [
                product(&dims[..axis]),
                dims[axis],
                product(&dims[axis + 1..]),
            ]
        };
        let x = x.into_shape(shape)?;
        let y = if self.log {
            activation::log_softmax(x, 1)
        } else {
            activation::softmax(x, 1)
        };
        Ok(vec![Real::from_tensor(y).reshape(&dims)?.into()])
    }
}

/// min(max(x, low), high); the bounds are attributes before opset 11, inputs from then on.
#[derive(Debug)]
struct Clip {
    low: Option<f32>,
    high: Option<f32>,
}

fn clip(spec: &NodeSpec) -> Built {
    if spec.opset >= 11 {
        return Ok(Box::new(Clip {
            low: None,
            high: None,
        }));
    }
    if spec.inputs.len() > 1 {
        return Err(invalid("bounds are attributes before opset 11"));
    }
    Ok(Box::new(Clip {
        low: spec.attributes.optional_float("min")?,
        high: spec.attributes.optional_float("max")?,
    }))
}

impl Operator for Clip {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (low, high) = (inputs.optional(1), inputs.optional(2));
        match inputs.value(0)? {
            Value::Real(x) => {
                let bound = |given: Option<Value>, fixed: Option<f32>| match given {
                    None => Ok(fixed),
                    Some(value) => match value.into_real()?.to_host()?.as_slice() {
                        [number] => Ok(Some(*number)),
                        _ => Err(invalid("a bound is not one number")),
                    },
                };
                let (low, high) = (bound(low, self.low)?, bound(high, self.high)?);
                Ok(vec![x.map(|x| clamp(x, low, high))?.into()])
            }
            Value::Ints(x) => {
                let bound = |given: Option<Value>| {
                    given.map(|value| value.into_ints()?.single()).transpose()
                };
                let (low, high) = (
                    bound(low)?.unwrap_or(i64::MIN),
                    bound(high)?.unwrap_or(i64::MAX),
                );
                let data = x
                    .data()
                    .iter()
                    .map(|&number| number.max(low).min(high))
                    .collect();
                Ok(vec![Ints::new(x.kind(), x.dims(), data)?.into()])
            }
        }
    }
}

/// Where the lower bound exceeds the upper one, everything takes the upper one, as ONNX says.
fn clamp(x: Tensor<1>, low: Option<f32>, high: Option<f32>) -> Tensor<1> {
    match (low, high) {
        (None, None) => x,
        (Some(0.0), None) => activation::relu(x),
        (Some(low), None) => x.clamp_min(low),
        (None, Some(high)) => x.clamp_max(high),
        (Some(low), Some(high)) if low > high => x.mul_scalar(0.0).add_scalar(high),
        (Some(low), Some(high)) if -RAMP_BOUND <= low && high <= RAMP_BOUND => {
            by_ramps(x, low, high)
        }
        (Some(low), Some(high)) => x.clamp(low, high),
    }
}
