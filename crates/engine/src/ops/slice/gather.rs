//! Gather, GatherElements and GatherND; indices are host integers and may count from the end.

use super::super::axes::axis;
use super::super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use super::pick;
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::{Ints, strides};
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |since, build| Entry {
        inputs: (2, 2),
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    };
    registry.add("Gather", entry(1, gather));
    registry.add("GatherElements", entry(11, gather_elements));
    registry.add("GatherND", entry(11, gather_nd));
}

/// An index into an axis of length `dim`.
fn place(index: i64, dim: usize) -> OpResult<usize> {
    let from_start = if index < 0 {
        usize::try_from(index.unsigned_abs())
            .ok()
            .and_then(|back| dim.checked_sub(back))
    } else {
        usize::try_from(index).ok()
    };
    from_start
        .filter(|&place| place < dim)
        .ok_or_else(|| invalid(format!("index {index}; -{dim} to {dim} - 1 is legal")))
}

fn all_places(indices: &Ints, dim: usize) -> OpResult<Vec<usize>> {
    indices
        .data()
        .iter()
        .map(|&index| place(index, dim))
        .collect()
}

/// Whole slices along one axis.
#[derive(Debug)]
struct Gather {
    axis: i64,
}

fn gather(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Gather {
        axis: spec.attributes.int("axis", 0)?,
    }))
}

impl Operator for Gather {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let data = inputs.value(0)?;
        let indices = inputs.ints(1)?;
        let axis = axis(self.axis, data.dims().len())?;
        let list = all_places(&indices, data.dims()[axis])?;
        let mut dims = data.dims()[..axis].to_vec();
        dims.extend_from_slice(indices.dims());
        dims.extend_from_slice(&data.dims()[axis + 1..]);
        inputs.check_elements(&dims)?;
        Ok(vec![match data {
            Value::Real(real) => pick::along(real, axis, &list, inputs.device())?
                .reshape(&dims)?
                .into(),
            Value::Ints(ints) => {
                let mut lists: Vec<Vec<usize>> =
                    ints.dims().iter().map(|&dim| (0..dim).collect()).collect();
                lists[axis] = list;
                pick::ints(&ints, &lists)?.reshape(&dims)?.into()
            }
        }])
    }
}

/// One element for each index; the other coordinates are the index's own.
#[derive(Debug)]
struct GatherElements {
    axis: i64,
}

fn gather_elements(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(GatherElements {
        axis: spec.attributes.int("axis", 0)?,
    }))
}

impl Operator for GatherElements {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let data = inputs.value(0)?;
        let indices = inputs.ints(1)?;
        let axis = axis(self.axis, data.dims().len())?;
        let fits = indices.rank() == data.dims().len()
            && (0..indices.rank()).all(|i| i == axis || indices.dims()[i] <= data.dims()[i]);
        if !fits {
            return Err(invalid(format!(
                "indices of shape {:?} for data of shape {:?}; the same rank, and no more along axes other than {axis}, is legal",
                indices.dims(),
                data.dims()
            )));
        }
        let list = all_places(&indices, data.dims()[axis])?;
        let (from, to) = (strides(data.dims()), strides(indices.dims()));
        let flat_place = |(flat, &chosen): (usize, &usize)| {
            let own = (0..from.len()).map(|i| match i {
                _ if i == axis => chosen * from[i],
                _ => flat / to[i] % indices.dims()[i] * from[i],
            });
            own.sum()
        };
        let places: Vec<usize> = list.iter().enumerate().map(flat_place).collect();
        Ok(vec![pick::flat(
            data,
            &places,
            indices.dims(),
            inputs.device(),
        )?])
    }
}

/// Slices addressed by tuples of coordinates in the last axis of the indices.
#[derive(Debug)]
struct GatherNd;

fn gather_nd(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    match spec.attributes.int("batch_dims", 0)? {
        0 => Ok(Box::new(GatherNd)),
        other => Err(unsupported(format!(
            "attribute `batch_dims` is {other}; 0 is supported"
        ))),
    }
}

impl Operator for GatherNd {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let data = inputs.value(0)?;
        let indices = inputs.ints(1)?;
        let source = data.dims().to_vec();
        let width = match indices.dims().last() {
            Some(&width) if (1..=source.len()).contains(&width) => width,
            _ => {
                return Err(invalid(format!(
                    "indices of shape {:?}; a last axis of 1 to {} is legal",
                    indices.dims(),
                    source.len()
                )));
            }
        };
        let steps = strides(&source);
        let block: usize = source[width..].iter().product();
        let mut dims = indices.dims()[..indices.rank() - 1].to_vec();
        dims.extend_from_slice(&source[width..]);
        let mut places = Vec::with_capacity(inputs.check_elements(&dims)?);
        for tuple in indices.data().chunks(width) {
            let mut start = 0;
            for (axis, &index) in tuple.iter().enumerate() {
                start += place(index, source[axis])? * steps[axis];
            }
            places.extend(start..start + block);
        }
        Ok(vec![pick::flat(data, &places, &dims, inputs.device())?])
    }
}
