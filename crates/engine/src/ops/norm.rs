//! Normalizations: BatchNormalization (inference), InstanceNormalization, LayerNormalization,
//! RMSNormalization, GroupNormalization, MeanVarianceNormalization.

use burn::tensor::Tensor;

use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry, axes};
use crate::arithmetic::{Binary, binary};
use crate::error::{OpResult, invalid, unsupported};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let mut add = |op, inputs, outputs, since, build: super::Builder| {
        let opsets = (since, NEWEST_OPSET);
        let entry = Entry {
            inputs,
            outputs,
            opsets,
            build,
        };
        registry.add(op, entry);
    };
    add("BatchNormalization", (5, 5), 5, 7, batch_norm);
    add("InstanceNormalization", (3, 3), 1, 6, instance_norm);
    add("LayerNormalization", (2, 3), 3, 17, layer_norm);
    add("RMSNormalization", (2, 2), 1, 23, layer_norm);
    add("GroupNormalization", (3, 3), 1, 18, group_norm);
    add("MeanVarianceNormalization", (1, 1), 1, 9, mean_variance);
}

/// ONNX's epsilon of every normalization.
const EPSILON: f32 = 1e-5;

/// scale·(x - mean)/√(var + epsilon) + bias per channel, with stored mean and variance.
#[derive(Debug)]
struct BatchNormalization {
    epsilon: f32,
    /// In training mode the input's own mean and variance count; this is the share of the stored ones
    /// in the further outputs.
    training: Option<f32>,
}

fn batch_norm(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let momentum = spec.attributes.float("momentum", 0.9)?;
    if spec.opset < 9 && !spec.attributes.flag("spatial", true)? {
        return Err(unsupported(
            "statistics per activation (`spatial` 0); per channel is supported",
        ));
    }
    let training = spec.opset >= 14 && spec.attributes.flag("training_mode", false)?;
    if !training && (1..5).any(|output| spec.has_output(output)) {
        return Err(unsupported(
            "the outputs of training; only the first output is supported",
        ));
    }
    Ok(Box::new(BatchNormalization {
        epsilon: spec.attributes.float("epsilon", EPSILON)?,
        training: training.then_some(momentum),
    }))
}

impl Operator for BatchNormalization {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let channels = channels(&x)?;
        let mut parameter = |index: usize| -> OpResult<Tensor<1>> {
            let real = inputs.real(index)?;
            if real.dims() != [channels] {
                return Err(invalid(format!(
                    "input {index} has shape {:?}, the channels are {channels}",
                    real.dims()
                )));
            }
            real.into_rank::<1>()
        };
        let (scale, bias, mean, var) = (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
        let Some(momentum) = self.training else {
            return Ok(vec![self.scaled(x, [scale, bias, mean, var])?.into()]);
        };
        let (own_mean, own_var) = channel_statistics(x.clone())?;
        let mixed = |stored: Tensor<1>, own: &Tensor<1>| {
            let sum = stored.mul_scalar(momentum) + own.clone().mul_scalar(1.0 - momentum);
            Value::from(Real::from_tensor(sum))
        };
        let running = [mixed(mean, &own_mean), mixed(var, &own_var)];
        let y = self.scaled(x, [scale, bias, own_mean, own_var])?;
        Ok([Value::from(y)].into_iter().chain(running).collect())
    }

    fn batch_norm_epsilon(&self) -> Option<f32> {
        self.training.is_none().then_some(self.epsilon)
    }
}

impl BatchNormalization {
    fn scaled(&self, x: Real, [scale, bias, mean, var]: [Tensor<1>; 4]) -> OpResult<Real> {
        let factor = scale / var.add_scalar(self.epsilon).sqrt();
        let offset = bias - mean * factor.clone();
        let rank = x.rank();
        let y = binary(Binary::Mul, x, per_channel(factor, rank)?)?;
        binary(Binary::Add, y, per_channel(offset, rank)?)
    }
}

/// Mean and variance of each channel over everything else.
fn channel_statistics(x: Real) -> OpResult<(Tensor<1>, Tensor<1>)> {
    let channels = channels(&x)?;
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(0, 1);
    let columns = x.len() / channels;
    let x = x.permute(&order)?.into_shape([channels, columns])?;
    let mean = x.clone().mean_dim(1);
    let centred = x - mean.clone();
    let var = (centred.clone() * centred).mean_dim(1);
    Ok((mean.reshape([channels]), var.reshape([channels])))
}

/// Number of channels (axis 1) of an input [n, c, …] with elements.
pub(super) fn channels(x: &Real) -> OpResult<usize> {
    match x.dims() {
        [_, channels, ..] if x.len() > 0 => Ok(*channels),
        dims => Err(invalid(format!(
            "an input of shape {dims:?}; [n, c, …] is legal"
        ))),
    }
}

/// A vector over axis 1 in a shape that broadcasts.
fn per_channel(vector: Tensor<1>, rank: usize) -> OpResult<Real> {
    let mut dims = vec![1; rank - 1];
    dims[0] = vector.dims()[0];
    Real::from_tensor(vector).reshape(&dims)
}

/// (x - mean) / √(variance + epsilon) along axis 1 of [rows, columns], and the two statistics.
fn normalized(x: Tensor<2>, epsilon: f32) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let mean = x.clone().mean_dim(1);
    let centred = x - mean.clone();
    let var = (centred.clone() * centred.clone()).mean_dim(1);
    let inverse = var.add_scalar(epsilon).sqrt().recip();
    (centred * inverse.clone(), mean, inverse)
}

/// Each channel of each sample by its own statistics.
#[derive(Debug)]
struct InstanceNormalization {
    epsilon: f32,
}

fn instance_norm(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let epsilon = spec.attributes.float("epsilon", EPSILON)?;
    Ok(Box::new(InstanceNormalization { epsilon }))
}

impl Operator for InstanceNormalization {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let channels = channels(&x)?;
        let y = grouped(x, channels, self.epsilon)?;
        affine(y, inputs.real(1)?, inputs.real(2)?)
    }
}

/// Normalizes `groups` equal parts of the channels of each sample.
fn grouped(x: Real, groups: usize, epsilon: f32) -> OpResult<Real> {
    let dims = x.dims().to_vec();
    let rows = dims[0] * groups;
    let columns = x.len() / rows;
    let (y, _, _) = normalized(x.into_shape([rows, columns])?, epsilon);
    Real::from_tensor(y).reshape(&dims)
}

/// scale·y + bias per channel.
fn affine(y: Real, scale: Real, bias: Real) -> OpResult<Vec<Value>> {
    let (channels, rank) = (y.dims()[1], y.rank());
    if scale.dims() != [channels] || bias.dims() != [channels] {
        return Err(invalid(format!(
            "scale {:?} and bias {:?} for {channels} channels",
            scale.dims(),
            bias.dims()
        )));
    }
    let scaled = binary(Binary::Mul, y, per_channel(scale.into_rank()?, rank)?)?;
    Ok(vec![
        binary(Binary::Add, scaled, per_channel(bias.into_rank()?, rank)?)?.into(),
    ])
}

/// Groups of channels by their own statistics; scale and bias per group before opset 21, per channel after.
#[derive(Debug)]
struct GroupNormalization {
    epsilon: f32,
    groups: i64,
    per_group: bool,
}

fn group_norm(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    spec.attributes.ignore("stash_type");
    Ok(Box::new(GroupNormalization {
        epsilon: spec.attributes.float("epsilon", EPSILON)?,
        groups: spec
            .attributes
            .optional_int("num_groups")?
            .ok_or_else(|| invalid("attribute `num_groups` is missing"))?,
        per_group: spec.opset < 21,
    }))
}

impl Operator for GroupNormalization {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let channels = channels(&x)?;
        let groups = usize::try_from(self.groups).unwrap_or(0);
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(invalid(format!(
                "{channels} channels in {} groups",
                self.groups
            )));
        }
        let y = grouped(x, groups, self.epsilon)?;
        let mut parameter = |index: usize| -> OpResult<Real> {
            let real = inputs.real(index)?;
            if !self.per_group || real.dims() != [groups] {
                return Ok(real);
            }
            let wide = real
                .reshape(&[groups, 1])?
                .expand(&[groups, channels / groups])?;
            wide.reshape(&[channels])
        };
        let (scale, bias) = (parameter(1)?, parameter(2)?);
        affine(y, scale, bias)
    }
}

/// LayerNormalization, or RMSNormalization without mean and bias, over all axes from `axis` on.
#[derive(Debug)]
struct LayerNormalization {
    axis: i64,
    epsilon: f32,
    centred: bool,
    statistics: bool,
}

fn layer_norm(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    // The type of the statistics: everything is f32 here.
    spec.attributes.ignore("stash_type");
    Ok(Box::new(LayerNormalization {
        axis: spec.attributes.int("axis", -1)?,
        epsilon: spec.attributes.float("epsilon", EPSILON)?,
        centred: spec.op == "LayerNormalization",
        statistics: spec.has_output(1) || spec.has_output(2),
    }))
}

impl Operator for LayerNormalization {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (x, scale, bias) = (inputs.real(0)?, inputs.real(1)?, inputs.optional_real(2)?);
        let dims = x.dims().to_vec();
        let axis = axes::axis(self.axis, dims.len())?;
        if x.len() == 0 {
            return Err(invalid(format!(
                "an input of shape {dims:?} without elements"
            )));
        }
        let rows: usize = dims[..axis].iter().product();
        let x = x.into_shape([rows, dims[axis..].iter().product()])?;
        let (y, mean, inverse) = if self.centred {
            normalized(x, self.epsilon)
        } else {
            let square = (x.clone() * x.clone()).mean_dim(1);
            let inverse = square.clone().add_scalar(self.epsilon).sqrt().recip();
            (x * inverse.clone(), square, inverse)
        };
        let mut y = Real::from_tensor(y).reshape(&dims)?;
        for (op, parameter) in [(Binary::Mul, Some(scale)), (Binary::Add, bias)] {
            let Some(parameter) = parameter else { continue };
            if axes::broadcast(&dims, parameter.dims())? != dims {
                return Err(invalid(format!(
                    "a parameter of shape {:?} does not broadcast to {dims:?}",
                    parameter.dims()
                )));
            }
            y = binary(op, y, parameter)?;
        }
        let mut results = vec![y.into()];
        if self.statistics {
            let mut shape = dims;
            shape[axis..].fill(1);
            results.push(Real::from_tensor(mean).reshape(&shape)?.into());
            results.push(Real::from_tensor(inverse).reshape(&shape)?.into());
        }
        Ok(results)
    }
}

/// (x - mean) / deviation with the statistics over some axes. ONNX adds 1e-9 to the deviation; here
/// its square is added to the variance, which keeps the gradient of constant inputs finite.
#[derive(Debug)]
struct MeanVariance {
    axes: Vec<i64>,
}

fn mean_variance(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let axes = spec.attributes.optional_ints("axes")?;
    Ok(Box::new(MeanVariance {
        axes: axes.unwrap_or_else(|| vec![0, 2, 3]),
    }))
}

impl Operator for MeanVariance {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let dims = x.dims().to_vec();
        let inside = axes::axes(&self.axes, dims.len())?;
        if x.len() == 0 || inside.is_empty() {
            return Err(invalid(format!(
                "an input of shape {dims:?} over the axes {:?}; at least one element and axis is legal",
                self.axes
            )));
        }
        let outside = (0..dims.len()).filter(|axis| !inside.contains(axis));
        let order: Vec<usize> = outside.chain(inside.iter().copied()).collect();
        let columns: usize = inside.iter().map(|&axis| dims[axis]).product();
        let permuted = x.permute(&order)?;
        let shape = permuted.dims().to_vec();
        let rows = permuted.len() / columns;
        let x = permuted.into_shape([rows, columns])?;
        let centred = x.clone() - x.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let y = Real::from_tensor(centred / variance.add_scalar(1e-18).sqrt());
        let mut back = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            back[old] = new;
        }
        Ok(vec![y.reshape(&shape)?.permute(&back)?.into()])
    }
}
