//! Bounds on what a model may ask for, checked before anything is allocated.

use crate::error::{OpResult, invalid};

/// Most elements that one value may have at run time (2 GiB of f32).
pub const MAX_ELEMENTS: usize = 1 << 29;

/// Most elements that one generated constant may have while a graph is loaded (1 GiB of f32).
pub const MAX_CONSTANT_ELEMENTS: usize = 1 << 28;

/// Highest rank of a tensor with more than one element.
pub const MAX_RANK: usize = 6;

/// Most nodes of a graph after its local functions are expanded.
pub const MAX_NODES: usize = 200_000;

/// Deepest nesting of local functions.
pub const MAX_FUNCTION_DEPTH: usize = 16;

/// Number of elements of a shape, at most `limit`.
pub(crate) fn element_count(dims: &[usize], limit: usize) -> OpResult<usize> {
    if dims.contains(&0) {
        return Ok(0);
    }
    dims.iter()
        .try_fold(1usize, |count, &dim| count.checked_mul(dim))
        .filter(|&count| count <= limit)
        .ok_or_else(|| {
            invalid(format!(
                "a tensor of shape {dims:?} has more than the allowed {limit} elements"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_and_overflowing_shapes_are_rejected() {
        assert_eq!(element_count(&[2, 3], 6), Ok(6));
        assert_eq!(element_count(&[], 6), Ok(1));
        assert_eq!(element_count(&[usize::MAX, 0], 6), Ok(0));
        assert!(element_count(&[7], 6).is_err());
        assert!(element_count(&[usize::MAX, usize::MAX], 6).is_err());
    }
}
