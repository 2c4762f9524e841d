//! Axes and broadcasting as ONNX counts them.

use crate::error::{OpResult, invalid};

/// An axis of a tensor of this rank, counted from the end if negative.
pub(crate) fn axis(axis: i64, rank: usize) -> OpResult<usize> {
    let signed_rank = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_start = if axis < 0 {
        axis.saturating_add(signed_rank)
    } else {
        axis
    };
    usize::try_from(from_start)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| {
            invalid(format!(
                "axis {axis} of a tensor of rank {rank}; {} to {} is legal",
                -signed_rank,
                signed_rank - 1
            ))
        })
}

/// Several axes, each at most once, in ascending order.
pub(crate) fn axes(axes: &[i64], rank: usize) -> OpResult<Vec<usize>> {
    let mut found = axes
        .iter()
        .map(|&value| axis(value, rank))
        .collect::<OpResult<Vec<_>>>()?;
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid(format!("axes {axes:?} name an axis twice")));
    }
    Ok(found)
}

/// The shape that two shapes broadcast to: aligned at the end, equal or one of them 1.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> OpResult<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(own) => dims[own],
        None => 1,
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(invalid(format!(
                "shapes {a:?} and {b:?} do not broadcast to a common shape"
            ))),
        })
        .collect()
}

/// `dims` with ones in front, up to `rank`.
pub(crate) fn padded(dims: &[usize], rank: usize) -> Vec<usize> {
    let mut padded = vec![1; rank.saturating_sub(dims.len())];
    padded.extend_from_slice(dims);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_from_both_ends_and_stay_in_range() {
        assert_eq!(axis(-1, 4), Ok(3));
        assert_eq!(axes(&[2, -4], 4), Ok(vec![0, 2]));
        assert!(axis(4, 4).is_err() && axis(-5, 4).is_err() && axis(0, 0).is_err());
        assert!(axis(i64::MIN, 4).is_err());
        assert!(axes(&[1, -3], 4).is_err());
    }

    #[test]
    fn shapes_broadcast_from_the_end() {
        assert_eq!(broadcast(&[2, 1, 4], &[3, 1]), Ok(vec![2, 3, 4]));
        assert_eq!(broadcast(&[], &[3]), Ok(vec![3]));
        assert!(broadcast(&[2], &[3]).is_err());
        assert_eq!(padded(&[3], 3), [1, 1, 3]);
    }
}
