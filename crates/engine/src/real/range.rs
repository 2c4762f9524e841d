//! A part of an axis.

/// Start (inclusive) and end (exclusive) of a range of indices and the step through it; a negative
/// step starts at `end - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SliceRange {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) step: isize,
}

impl SliceRange {
    /// Number of indices visited.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start).div_ceil(self.step.unsigned_abs())
    }

    /// The same range for burn, which counts a negative step from the end too.
    pub(super) fn burn(&self) -> burn::tensor::Slice {
        burn::tensor::Slice::new(self.start as isize, Some(self.end as isize), self.step)
    }
}
