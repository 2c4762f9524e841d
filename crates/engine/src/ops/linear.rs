//! Matrix products: Gemm and MatMul of any rank.

use burn::tensor::Tensor;

use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry, axes};
use crate::arithmetic::{self, Binary};
use crate::error::{OpResult, invalid, unsupported};
use crate::layer::{LayerOp, LayerParts, Side};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add(
        "Gemm",
        Entry {
            inputs: (2, 3),
            outputs: 1,
            opsets: (7, NEWEST_OPSET),
            build: gemm,
        },
    );
    registry.add(
        "MatMul",
        Entry {
            inputs: (2, 2),
            outputs: 1,
            opsets: (1, NEWEST_OPSET),
            build: matmul,
        },
    );
}

/// alpha·A'·B' + beta·C, where ' may transpose and C broadcasts to the result.
#[derive(Debug)]
struct Gemm {
    alpha: f32,
    beta: f32,
    trans_a: bool,
    trans_b: bool,
}

fn gemm(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    if spec.opset < 11 && !spec.has_input(2) {
        return Err(invalid("before opset 11 all three inputs are needed"));
    }
    Ok(Box::new(Gemm {
        alpha: spec.attributes.float("alpha", 1.0)?,
        beta: spec.attributes.float("beta", 1.0)?,
        trans_a: spec.attributes.flag("transA", false)?,
        trans_b: spec.attributes.flag("transB", false)?,
    }))
}

impl Operator for Gemm {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let a = matrix(inputs.real(0)?, self.trans_a)?;
        let b = matrix(inputs.real(1)?, self.trans_b)?;
        let ([rows, inner], [inner_b, columns]) = (a.dims(), b.dims());
        if inner != inner_b {
            return Err(inner_fault(inner, inner_b));
        }
        inputs.check_elements(&[rows, columns])?;
        let mut product = Real::from_tensor(a.matmul(b));
        if self.alpha != 1.0 {
            product = product.map(|x| x.mul_scalar(self.alpha))?;
        }
        if let Some(c) = inputs.optional_real(2)? {
            if axes::broadcast(product.dims(), c.dims())? != product.dims() {
                return Err(invalid(format!(
                    "C of shape {:?} does not broadcast to {:?}",
                    c.dims(),
                    product.dims()
                )));
            }
            let c = if self.beta == 1.0 {
                c
            } else {
                c.map(|x| x.mul_scalar(self.beta))?
            };
            product = arithmetic::binary(Binary::Add, product, c)?;
        }
        Ok(vec![product.into()])
    }

    fn layer(&self, constants: &[Option<&[usize]>]) -> Option<LayerParts> {
        let [None, Some([_, _]), ..] = constants else {
            return None;
        };
        Some(LayerParts {
            op: LayerOp::Gemm {
                trans_a: self.trans_a,
                trans_b: self.trans_b,
                alpha_bits: self.alpha.to_bits(),
                beta_bits: self.beta.to_bits(),
            },
            input: 0,
            weight: 1,
            bias: Some(2),
        })
    }
}

fn matrix(real: Real, transpose: bool) -> OpResult<Tensor<2>> {
    let tensor = real.into_rank::<2>()?;
    Ok(if transpose {
        tensor.transpose()
    } else {
        tensor
    })
}

fn inner_fault(a: usize, b: usize) -> crate::error::Fault {
    invalid(format!("the inner dimensions {a} and {b} differ"))
}

/// Product over the last two axes, the others broadcast; vectors are rows on the left, columns on the right.
#[derive(Debug)]
struct MatMul;

fn matmul(_: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(MatMul))
}

impl Operator for MatMul {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (a, b) = match (inputs.value(0)?, inputs.value(1)?) {
            (Value::Real(a), Value::Real(b)) => (a, b),
            _ => {
                return Err(unsupported(
                    "products of integer matrices; those of floats are supported",
                ));
            }
        };
        let (a_dims, b_dims) = (matrix_dims(a.dims(), true)?, matrix_dims(b.dims(), false)?);
        let ([a_batch @ .., rows, inner], [b_batch @ .., inner_b, columns]) =
            (a_dims.as_slice(), b_dims.as_slice())
        else {
            return Err(invalid("matrices are expected"));
        };
        if inner != inner_b {
            return Err(inner_fault(*inner, *inner_b));
        }
        let batch = axes::broadcast(a_batch, b_batch)?;
        let mut dims = batch.clone();
        // A vector's artificial axis disappears again.
        dims.extend((a.rank() > 1).then_some(*rows));
        dims.extend((b.rank() > 1).then_some(*columns));
        inputs.check_elements(&[&batch[..], &[*rows, *columns]].concat())?;
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        let product = if count(b_batch) == 1 {
            // One right-hand matrix for all: the left-hand ones are stacked into one.
            let a = a.into_shape([count(a_batch) * rows, *inner])?;
            Real::from_tensor(a.matmul(b.into_shape([*inner, *columns])?))
        } else {
            let a = stack(a, &a_dims, &batch)?.into_shape([count(&batch), *rows, *inner])?;
            let b = stack(b, &b_dims, &batch)?.into_shape([count(&batch), *inner, *columns])?;
            Real::from_tensor(a.matmul(b))
        };
        Ok(vec![product.reshape(&dims)?.into()])
    }

    fn layer(&self, constants: &[Option<&[usize]>]) -> Option<LayerParts> {
        let (side, input, weight) = match constants {
            [None, Some([_, _])] => (Side::Right, 0, 1),
            [Some([_, _]), None] => (Side::Left, 1, 0),
            _ => return None,
        };
        Some(LayerParts {
            op: LayerOp::MatMul { side },
            input,
            weight,
            bias: None,
        })
    }
}

fn matrix_dims(dims: &[usize], left: bool) -> OpResult<Vec<usize>> {
    match dims {
        [] => Err(invalid("a scalar is no matrix")),
        [n] if left => Ok(vec![1, *n]),
        [n] => Ok(vec![*n, 1]),
        _ => Ok(dims.to_vec()),
    }
}

/// A stack of matrices repeated along the batch axes where the other operand has more.
fn stack(real: Real, dims: &[usize], batch: &[usize]) -> OpResult<Real> {
    let full = [batch, &dims[dims.len() - 2..]].concat();
    arithmetic::expanded(real.reshape(dims)?, &full)
}
