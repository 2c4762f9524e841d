//! Picking elements by index: on the host for integers, on the device (differentiable) for floats.

use burn::tensor::{Int, Tensor, TensorData};

use crate::device::EngineDevice;
use crate::error::{OpResult, invalid};
use crate::ints::{Ints, strides};
use crate::limits::{MAX_ELEMENTS, element_count};
use crate::real::Real;
use crate::value::Value;

/// Integers are shapes, indices and masks: none that is larger than what it is made from needs more
/// elements than this.
const MAX_MADE_INTS: usize = 1 << 24;

/// Number of elements of an integer tensor of this shape, made from one of `source` elements, if
/// that is within the limit. To be asked before indices are listed.
pub(in crate::ops) fn check_ints(dims: &[usize], source: usize) -> OpResult<usize> {
    element_count(dims, source.max(MAX_MADE_INTS))
}

/// The elements at `lists[axis][i]` of every axis: the result has `lists[axis].len()` elements along
/// each.
pub(in crate::ops) fn ints(source: &Ints, lists: &[Vec<usize>]) -> OpResult<Ints> {
    let dims: Vec<usize> = lists.iter().map(Vec::len).collect();
    let count = check_ints(&dims, source.data().len())?;
    let inside = lists.len() == source.rank()
        && lists
            .iter()
            .zip(source.dims())
            .all(|(list, &dim)| list.iter().all(|&i| i < dim));
    if !inside && count > 0 {
        return Err(invalid(format!(
            "an index lies outside of the shape {:?}",
            source.dims()
        )));
    }
    // Flat places grow axis by axis; no axis (a scalar) leaves the one place 0.
    let mut places = vec![0usize];
    for (list, stride) in lists.iter().zip(strides(source.dims())) {
        places = places
            .iter()
            .flat_map(|place| list.iter().map(move |index| place + index * stride))
            .collect();
    }
    let data = places.iter().map(|&place| source.data()[place]).collect();
    Ints::new(source.kind(), &dims, data)
}

/// The slices of one axis at the indices in `list`, each less than the axis' length.
pub(in crate::ops) fn along(
    source: Real,
    axis: usize,
    list: &[usize],
    device: &EngineDevice,
) -> OpResult<Real> {
    let mut dims = source.dims().to_vec();
    let length = dims[axis];
    if list.iter().any(|&index| index >= length) {
        return Err(invalid(format!("an index lies outside of 0..{length}")));
    }
    dims[axis] = list.len();
    element_count(&dims, MAX_ELEMENTS)?;
    if dims.contains(&0) {
        return Real::full(0.0, &dims, device);
    }
    if list.iter().copied().eq(0..length) {
        return Ok(source);
    }
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let list = indices(list, device);
    let picked = if inner == 1 {
        Real::from_tensor(source.into_shape([outer, length])?.select(1, list))
    } else if outer == 1 {
        Real::from_tensor(source.into_shape([length, inner])?.select(0, list))
    } else {
        Real::from_tensor(source.into_shape([outer, length, inner])?.select(1, list))
    };
    picked.reshape(&dims)
}

/// The elements at these flat (row-major) places, in the shape `dims`.
pub(in crate::ops) fn flat(
    source: Value,
    places: &[usize],
    dims: &[usize],
    device: &EngineDevice,
) -> OpResult<Value> {
    let count = source.len();
    match source {
        Value::Ints(source) => {
            let row = source.reshape(&[count])?;
            Ok(ints(&row, &[places.to_vec()])?.reshape(dims)?.into())
        }
        Value::Real(source) => Ok(along(source.reshape(&[count])?, 0, places, device)?
            .reshape(dims)?
            .into()),
    }
}

/// Indices on the device.
pub(in crate::ops) fn indices(list: &[usize], device: &EngineDevice) -> Tensor<1, Int> {
    let data: Vec<i64> = list.iter().map(|&index| index as i64).collect();
    let count = data.len();
    Tensor::from_data(TensorData::new(data, [count]), device.burn())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ints::ElementType;

    #[test]
    fn picking_takes_the_product_of_the_lists() {
        let source = Ints::new(ElementType::I64, &[2, 3], (0..6).collect()).unwrap();
        let picked = ints(&source, &[vec![1, 0], vec![2, 2, 0]]).unwrap();
        assert_eq!(
            (picked.dims(), picked.data()),
            (&[2, 3][..], &[5, 5, 3, 2, 2, 0][..])
        );
        assert!(ints(&source, &[vec![2], vec![0]]).is_err());
    }

    #[test]
    fn floats_are_picked_like_integers() {
        let device = EngineDevice::cpu();
        let numbers = (0..24).map(|n| n as f32).collect();
        let source = Real::from_host(numbers, &[2, 3, 4], &device).unwrap();
        for axis in 0..3 {
            let picked = along(source.clone(), axis, &[1, 0, 1], &device).unwrap();
            let host = Ints::new(ElementType::I64, &[2, 3, 4], (0..24).collect()).unwrap();
            let mut lists: Vec<Vec<usize>> = vec![vec![0, 1], vec![0, 1, 2], vec![0, 1, 2, 3]];
            lists[axis] = vec![1, 0, 1];
            let expected = ints(&host, &lists).unwrap();
            assert_eq!(picked.dims(), expected.dims());
            let numbers: Vec<i64> = picked
                .to_host()
                .unwrap()
                .iter()
                .map(|&n| n as i64)
                .collect();
            assert_eq!(numbers, expected.data());
        }
        assert!(along(source, 1, &[3], &device).is_err());
    }
}
