//! Windows that slide over the spatial axes: the attributes that convolutions and pools share
//! (`kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad`) and the sizes that follow from them.

use crate::attributes::Attributes;
use crate::error::{OpResult, invalid};

/// How padding is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AutoPad {
    /// As the attribute `pads` says.
    NotSet,
    /// Output size = input size / stride rounded up, the odd padding at the end.
    SameUpper,
    /// The same, the odd padding at the beginning.
    SameLower,
    /// None.
    Valid,
}

/// The attributes of a window as they stand in the file: `None` where ONNX's default depends on
/// the rank, which is known only at run time.
#[derive(Debug, Clone)]
pub(crate) struct WindowSpec {
    kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    pads: Option<Vec<i64>>,
    pub(crate) auto_pad: AutoPad,
}

/// A window with every number known; all lists have one entry per spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) dilations: Vec<usize>,
    pub(crate) pads_begin: Vec<usize>,
    pub(crate) pads_end: Vec<usize>,
}

/// Largest padding, stride, dilation or kernel size taken from a file.
const MAX_EXTENT: usize = 1 << 16;

impl WindowSpec {
    /// Reads the five attributes.
    pub(crate) fn read(attributes: &Attributes) -> OpResult<Self> {
        let auto_pad = match attributes.choice(
            "auto_pad",
            "NOTSET",
            &["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"],
        )? {
            0 => AutoPad::NotSet,
            1 => AutoPad::SameUpper,
            2 => AutoPad::SameLower,
            _ => AutoPad::Valid,
        };
        let positive = |name: &str| -> OpResult<Option<Vec<usize>>> {
            let sizes = attributes.optional_sizes(name)?;
            match &sizes {
                Some(list) if list.iter().any(|&v| v == 0 || v > MAX_EXTENT) => Err(invalid(
                    format!("attribute `{name}` is {list:?}; 1 to {MAX_EXTENT} is legal"),
                )),
                _ => Ok(sizes),
            }
        };
        let pads = attributes.optional_ints("pads")?;
        if let Some(list) = &pads
            && list.iter().any(|&pad| pad < 0 || pad > MAX_EXTENT as i64)
        {
            return Err(invalid(format!(
                "attribute `pads` is {list:?}; 0 to {MAX_EXTENT} is legal"
            )));
        }
        Ok(Self {
            kernel: positive("kernel_shape")?,
            strides: positive("strides")?,
            dilations: positive("dilations")?,
            pads,
            auto_pad,
        })
    }

    /// The attribute `kernel_shape`.
    pub(crate) fn kernel(&self) -> Option<&[usize]> {
        self.kernel.as_deref()
    }

    /// The kernel of a weight tensor whose spatial axes are `weight`; `kernel_shape` must agree.
    pub(crate) fn kernel_of(&self, weight: &[usize]) -> OpResult<Vec<usize>> {
        match &self.kernel {
            Some(kernel) if kernel != weight => Err(invalid(format!(
                "kernel_shape {kernel:?} differs from the weight's {weight:?}"
            ))),
            _ => Ok(weight.to_vec()),
        }
    }

    /// The attribute `strides`, or ones.
    pub(crate) fn strides(&self, rank: usize) -> OpResult<Vec<usize>> {
        list(&self.strides, "strides", rank)
    }

    /// The attribute `dilations`, or ones.
    pub(crate) fn dilations(&self, rank: usize) -> OpResult<Vec<usize>> {
        list(&self.dilations, "dilations", rank)
    }

    /// The attribute `pads` as (begins, ends), or zeros.
    pub(crate) fn pads(&self, rank: usize) -> OpResult<(Vec<usize>, Vec<usize>)> {
        let Some(pads) = &self.pads else {
            return Ok((vec![0; rank], vec![0; rank]));
        };
        if pads.len() != 2 * rank {
            return Err(invalid(format!(
                "attribute `pads` has {} numbers, 2 for each of {rank} spatial axes are needed",
                pads.len()
            )));
        }
        // Negative pads were rejected when the attribute was read.
        let sizes: Vec<usize> = pads
            .iter()
            .map(|&pad| usize::try_from(pad).unwrap_or(0))
            .collect();
        let (begin, end) = sizes.split_at(rank);
        Ok((begin.to_vec(), end.to_vec()))
    }

    /// The window over an input whose spatial axes have these sizes.
    pub(crate) fn resolve(&self, kernel: &[usize], input: &[usize]) -> OpResult<Window> {
        let rank = input.len();
        if kernel.len() != rank || rank == 0 {
            return Err(invalid(format!(
                "a kernel {kernel:?} over an input with {rank} spatial axes"
            )));
        }
        let (strides, dilations) = (self.strides(rank)?, self.dilations(rank)?);
        let (mut pads_begin, mut pads_end) = match self.auto_pad {
            AutoPad::NotSet => self.pads(rank)?,
            _ => (vec![0; rank], vec![0; rank]),
        };
        if matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
            for axis in 0..rank {
                let output = input[axis].div_ceil(strides[axis]);
                let covered = output.saturating_sub(1) * strides[axis]
                    + extent(kernel[axis], dilations[axis]);
                let total = covered.saturating_sub(input[axis]);
                let (less, more) = (total / 2, total - total / 2);
                (pads_begin[axis], pads_end[axis]) = match self.auto_pad {
                    AutoPad::SameLower => (more, less),
                    _ => (less, more),
                };
            }
        }
        Ok(Window {
            kernel: kernel.to_vec(),
            strides,
            dilations,
            pads_begin,
            pads_end,
        })
    }
}

/// Length that a dilated kernel covers.
pub(crate) fn extent(kernel: usize, dilation: usize) -> usize {
    (kernel - 1).saturating_mul(dilation).saturating_add(1)
}

impl Window {
    /// Output size of each axis, rounding down; the padded input must hold the kernel.
    pub(crate) fn output(&self, input: &[usize]) -> OpResult<Vec<usize>> {
        (0..input.len())
            .map(|axis| {
                let padded = input[axis]
                    .saturating_add(self.pads_begin[axis])
                    .saturating_add(self.pads_end[axis]);
                let extent = extent(self.kernel[axis], self.dilations[axis]);
                match padded.checked_sub(extent) {
                    Some(room) if input[axis] > 0 => Ok(room / self.strides[axis] + 1),
                    _ => Err(invalid(format!(
                        "spatial axis {axis}: a window of {extent} does not fit into {} + pads {} + {}",
                        input[axis], self.pads_begin[axis], self.pads_end[axis]
                    ))),
                }
            })
            .collect()
    }
}

fn list(given: &Option<Vec<usize>>, name: &str, rank: usize) -> OpResult<Vec<usize>> {
    match given {
        None => Ok(vec![1; rank]),
        Some(list) if list.len() == rank => Ok(list.clone()),
        Some(list) => Err(invalid(format!(
            "attribute `{name}` is {list:?}, one number for each of {rank} spatial axes is needed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(auto_pad: AutoPad) -> WindowSpec {
        WindowSpec {
            kernel: None,
            strides: Some(vec![2, 2]),
            dilations: None,
            pads: None,
            auto_pad,
        }
    }

    #[test]
    fn same_padding_puts_the_odd_pixel_where_onnx_says() {
        let upper = spec(AutoPad::SameUpper)
            .resolve(&[3, 3], &[224, 5])
            .unwrap();
        assert_eq!(
            (upper.pads_begin.as_slice(), upper.pads_end.as_slice()),
            (&[0, 1][..], &[1, 1][..])
        );
        assert_eq!(upper.output(&[224, 5]).unwrap(), [112, 3]);
        let lower = spec(AutoPad::SameLower)
            .resolve(&[3, 3], &[224, 5])
            .unwrap();
        assert_eq!(
            (lower.pads_begin.as_slice(), lower.pads_end.as_slice()),
            (&[1, 1][..], &[0, 1][..])
        );
    }

    #[test]
    fn a_window_larger_than_the_input_is_rejected() {
        let window = spec(AutoPad::Valid).resolve(&[3, 3], &[2, 5]).unwrap();
        assert!(window.output(&[2, 5]).is_err());
        assert!(spec(AutoPad::Valid).resolve(&[3], &[2, 5]).is_err());
    }
}
