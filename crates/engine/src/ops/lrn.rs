//! LRN: normalization by the squares of neighbouring channels.

use super::norm::channels;
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::arithmetic::{Binary, binary};
use crate::error::{OpResult, invalid};
use crate::real::{Real, SliceRange};
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add(
        "LRN",
        Entry {
            inputs: (1, 1),
            outputs: 1,
            opsets: (1, NEWEST_OPSET),
            build: lrn,
        },
    );
}

/// x / (bias + alpha/size · sum of squares over `size` neighbouring channels)^beta.
#[derive(Debug)]
struct Lrn {
    alpha: f32,
    beta: f32,
    bias: f32,
    size: usize,
}

/// Widest window of channels taken from a file.
const MAX_LRN_SIZE: i64 = 4096;

fn lrn(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let size = match spec.attributes.optional_int("size")? {
        Some(size @ 1..=MAX_LRN_SIZE) => usize::try_from(size).unwrap_or(1),
        other => {
            return Err(invalid(format!(
                "attribute `size` is {other:?}; 1 to {MAX_LRN_SIZE} is legal"
            )));
        }
    };
    Ok(Box::new(Lrn {
        alpha: spec.attributes.float("alpha", 1e-4)?,
        beta: spec.attributes.float("beta", 0.75)?,
        bias: spec.attributes.float("bias", 1.0)?,
        size,
    }))
}

impl Operator for Lrn {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let channels = channels(&x)?;
        let dims = x.dims().to_vec();
        let flat = [dims[0], channels, x.len() / (dims[0] * channels)];
        let x = x.reshape(&flat)?;
        let squares = x.clone().map(|x| x.clone() * x)?;
        // Channels c - (size-1)/2 ..= c + size/2 count; zeros stand outside.
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        let zeros = |count: usize| Real::full(0.0, &[flat[0], count, flat[2]], inputs.device());
        inputs.check_elements(&[flat[0], channels + before + after, flat[2]])?;
        let padded = Real::concat(vec![zeros(before)?, squares, zeros(after)?], 1)?;
        let mut sum: Option<Real> = None;
        for shift in 0..self.size {
            let whole = |end: usize| SliceRange {
                start: 0,
                end,
                step: 1,
            };
            let window = SliceRange {
                start: shift,
                end: shift + channels,
                step: 1,
            };
            let part = padded
                .clone()
                .slice(&[whole(flat[0]), window, whole(flat[2])])?;
            sum = Some(match sum {
                Some(sum) => binary(Binary::Add, sum, part)?,
                None => part,
            });
        }
        let sum = sum.ok_or_else(|| invalid("`size` is 0"))?;
        let (alpha, beta, bias) = (self.alpha / self.size as f32, self.beta, self.bias);
        let divisor = sum.map(|sum| sum.mul_scalar(alpha).add_scalar(bias).powf_scalar(beta))?;
        Ok(vec![
            binary(Binary::Div, x, divisor)?.reshape(&dims)?.into(),
        ])
    }
}
