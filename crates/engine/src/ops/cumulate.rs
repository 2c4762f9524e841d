//! CumSum: running sums along an axis.

use super::axes::axis;
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::error::OpResult;
use crate::ints::Ints;
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add(
        "CumSum",
        Entry {
            inputs: (2, 2),
            outputs: 1,
            opsets: (11, NEWEST_OPSET),
            build: cum_sum,
        },
    );
}

#[derive(Debug)]
struct CumSum {
    /// Whether an element is left out of its own sum.
    exclusive: bool,
    /// Whether sums run from the end.
    reverse: bool,
}

fn cum_sum(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(CumSum {
        exclusive: spec.attributes.flag("exclusive", false)?,
        reverse: spec.attributes.flag("reverse", false)?,
    }))
}

impl CumSum {
    /// Whether the element at `from` is part of the sum at `to`.
    fn adds(&self, from: usize, to: usize) -> bool {
        match (self.exclusive, self.reverse) {
            (false, false) => from <= to,
            (true, false) => from < to,
            (false, true) => from >= to,
            (true, true) => from > to,
        }
    }

    fn ints(&self, x: &Ints, [outer, length, inner]: [usize; 3]) -> OpResult<Ints> {
        let mut data = vec![0i64; x.data().len()];
        for start in (0..outer).flat_map(|row| (0..inner).map(move |i| row * length * inner + i)) {
            let mut sum = 0i64;
            for step in 0..length {
                let place = if self.reverse {
                    length - 1 - step
                } else {
                    step
                };
                let at = start + place * inner;
                let own = x.data()[at];
                data[at] = if self.exclusive {
                    sum
                } else {
                    sum.wrapping_add(own)
                };
                sum = sum.wrapping_add(own);
            }
        }
        Ints::new(x.kind(), x.dims(), data)
    }
}

impl Operator for CumSum {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        let dims = x.dims().to_vec();
        let axis = axis(inputs.ints(1)?.single()?, dims.len())?;
        let length = dims[axis];
        let outer: usize = dims[..axis].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        let real = match x {
            Value::Ints(ints) => return Ok(vec![self.ints(&ints, [outer, length, inner])?.into()]),
            Value::Real(real) => real,
        };
        if real.len() == 0 {
            return Ok(vec![real.into()]);
        }
        // A product with a triangle of ones, which is differentiable.
        inputs.check_elements(&[length, length])?;
        let ones = (0..length * length)
            .map(|flat| f32::from(u8::from(self.adds(flat % length, flat / length))));
        let triangle = Real::from_host(ones.collect(), &[length, length], inputs.device())?;
        let triangle = triangle.reshape(&[1, length, length])?;
        let triangle = triangle.expand(&[outer, length, length])?;
        let sums = triangle
            .into_rank::<3>()?
            .matmul(real.into_shape([outer, length, inner])?);
        Ok(vec![Real::from_tensor(sums).reshape(&dims)?.into()])
    }
}
