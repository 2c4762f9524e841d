//! Patches of a layer's input as columns (im2col), for kernels over any number of axes, with a choice of positions; also for
//! transposed convolutions, where a patch holds the inputs that reach an output position.

use ndarray::{Array2, ArrayViewMut2};

/// Kernel geometry along the spatial axes; all vectors have one entry per axis, `pads_begin` and `pads_end` may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Kernel size.
    pub(crate) kernel: Vec<usize>,
    /// Step between positions.
    pub(crate) strides: Vec<usize>,
    /// Distance between taps of the kernel.
    pub(crate) dilations: Vec<usize>,
    /// Zeros before the first element (transposed: outputs cut off before the first).
    pub(crate) pads_begin: Vec<usize>,
    /// Whether the convolution is transposed: strides and dilations act on the output.
    pub(crate) transposed: bool,
}

impl Window {
    /// Input coordinate that kernel tap `tap` meets at output coordinate `at`, if there is one within `extent`.
    fn source(&self, axis: usize, at: usize, tap: usize, extent: usize) -> Option<usize> {
        let (stride, pad) = (self.strides[axis], self.pads_begin[axis]);
        let reach = tap * self.dilations[axis];
        let source = if self.transposed {
            let spread = (at + pad).checked_sub(reach)?;
            (spread % stride == 0).then_some(spread / stride)?
        } else {
            (at * stride + reach).checked_sub(pad)?
        };
        (source < extent).then_some(source)
    }
}

/// One image's activations: channels × spatial axes, contiguous.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane<'a> {
    /// channels · product(spatial) values.
    pub(crate) values: &'a [f32],
    /// Spatial extents.
    pub(crate) extents: &'a [usize],
}

/// Writes the patches of the channels `channels` at the output positions `positions` into `out`, which is
/// (channels·kernel positions) × positions; `output_extents` turns a flat position into coordinates.
pub(crate) fn unfold(
    plane: Plane<'_>,
    window: &Window,
    channels: std::ops::Range<usize>,
    (positions, output_extents): (&[usize], &[usize]),
    mut out: ArrayViewMut2<'_, f32>,
) {
    let area: usize = plane.extents.iter().product();
    let taps: usize = window.kernel.iter().product();
    let places: Vec<Vec<usize>> = positions
        .iter()
        .map(|&p| coordinates(p, output_extents))
        .collect();
    for tap in 0..taps {
        let shift = coordinates(tap, &window.kernel);
        let offsets: Vec<Option<usize>> = places
            .iter()
            .map(|at| offset(at, &shift, window, plane.extents))
            .collect();
        for (i, channel) in channels.clone().enumerate() {
            let source = &plane.values[channel * area..(channel + 1) * area];
            let mut row = out.row_mut(i * taps + tap);
            for (value, at) in row.iter_mut().zip(&offsets) {
                *value = at.map_or(0.0, |at| source[at]);
            }
        }
    }
}

/// The same at all output positions in order, by runs along the last axis; what lies in the padding is left alone, so that `out` has
/// to hold zeros there, and may be the one that an image of the same extents was written to.
pub(crate) fn unfold_all(
    plane: Plane<'_>,
    window: &Window,
    channels: std::ops::Range<usize>,
    output_extents: &[usize],
    out: &mut Array2<f32>,
) {
    let area: usize = plane.extents.iter().product();
    let taps: usize = window.kernel.iter().product();
    for tap in 0..taps {
        let shift = coordinates(tap, &window.kernel);
        let runs = Runs::new(&shift, window, plane.extents, output_extents);
        for (i, channel) in channels.clone().enumerate() {
            let source = &plane.values[channel * area..(channel + 1) * area];
            let mut row = out.row_mut(i * taps + tap);
            if let Some(row) = row.as_slice_mut() {
                runs.copy(source, row);
            }
        }
    }
}

/// Where one tap of the kernel finds its inputs, for the output positions in order.
struct Runs {
    /// For each output row, the place of the input row that it meets.
    rows: Vec<Option<usize>>,
    /// Places within a row: (output, input).
    along: Vec<(usize, usize)>,
    /// Whether both go up by one.
    contiguous: bool,
    /// Extent of the output along the last axis.
    length: usize,
}

impl Runs {
    fn new(tap: &[usize], window: &Window, extents: &[usize], output_extents: &[usize]) -> Self {
        let last = extents.len().saturating_sub(1);
        let length = output_extents.last().copied().unwrap_or(1);
        let along = (0..length).filter_map(|at| {
            let source = match extents.get(last) {
                Some(&extent) => window.source(last, at, tap[last], extent)?,
                None => 0,
            };
            Some((at, source))
        });
        let along: Vec<(usize, usize)> = along.collect();
        let count: usize = output_extents.iter().take(last).product();
        let row = |index: usize| {
            let at = coordinates(index, &output_extents[..last]);
            let place = offset(&at, &tap[..last], window, &extents[..last])?;
            Some(place * extents.get(last).copied().unwrap_or(1))
        };
        Self {
            rows: (0..count).map(row).collect(),
            contiguous: along.windows(2).all(|w| (w[0].0 + 1, w[0].1 + 1) == w[1]),
            along,
            length,
        }
    }

    fn copy(&self, source: &[f32], to: &mut [f32]) {
        let Some(&(first_to, first_from)) = self.along.first() else {
            return;
        };
        for (to, start) in to.chunks_mut(self.length).zip(&self.rows) {
            let Some(start) = *start else { continue };
            let from = &source[start..];
            if self.contiguous {
                let run = self.along.len();
                to[first_to..first_to + run].copy_from_slice(&from[first_from..first_from + run]);
                continue;
            }
            for &(at, place) in &self.along {
                to[at] = from[place];
            }
        }
    }
}

/// Coordinates of a flat index in row-major order.
fn coordinates(mut index: usize, extents: &[usize]) -> Vec<usize> {
    let mut out = vec![0; extents.len()];
    for (axis, &extent) in extents.iter().enumerate().rev() {
        out[axis] = index % extent.max(1);
        index /= extent.max(1);
    }
    out
}

/// Flat input index that a tap meets at an output place; nothing in the padding.
fn offset(at: &[usize], tap: &[usize], window: &Window, extents: &[usize]) -> Option<usize> {
    let mut flat = 0_usize;
    for (axis, &extent) in extents.iter().enumerate() {
        flat = flat * extent + window.source(axis, at[axis], tap[axis], extent)?;
    }
    Some(flat)
}

/// At most `budget` of `count` positions, evenly spread; `phase` in 0..1 moves them from image to image.
pub(crate) fn spread(count: usize, budget: usize, phase: f64) -> Vec<usize> {
    if count <= budget {
        return (0..count).collect();
    }
    let step = count as f64 / budget as f64;
    (0..budget)
        .map(|i| (((i as f64 + phase) * step) as usize).min(count - 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_a_padded_strided_kernel_are_those_of_the_definition() {
        let window = Window {
            kernel: vec![3, 2],
            strides: vec![2, 1],
            dilations: vec![1, 2],
            pads_begin: vec![1, 0],
            transposed: false,
        };
        let extents = [5, 6];
        let values: Vec<f32> = (0..60).map(|v| v as f32 + 1.0).collect();
        let output_extents = [3, 4];
        let positions = [0, 5, 11];
        let mut out = Array2::zeros((12, 3));
        let plane = Plane {
            values: &values,
            extents: &extents,
        };
        unfold(
            plane,
            &window,
            0..2,
            (&positions, &output_extents),
            out.view_mut(),
        );
        for (column, &p) in positions.iter().enumerate() {
            let (y, x) = (p / 4, p % 4);
            for c in 0..2 {
                for ky in 0..3 {
                    for kx in 0..2 {
                        let (iy, ix) = ((y * 2 + ky) as isize - 1, x + kx * 2);
                        let expected = if !(0..5).contains(&iy) || ix >= 6 {
                            0.0
                        } else {
                            values[c * 30 + iy as usize * 6 + ix]
                        };
                        assert_eq!(out[(c * 6 + ky * 2 + kx, column)], expected);
                    }
                }
            }
        }
    }

    #[test]
    fn all_patches_by_runs_are_those_position_by_position() {
        let geometry = |strides: [usize; 2], transposed: bool| Window {
            kernel: vec![3, 2],
            strides: strides.to_vec(),
            dilations: vec![1, 2],
            pads_begin: vec![1, 1],
            transposed,
        };
        let (extents, output_extents) = ([5, 7], [4, 6]);
        let positions: Vec<usize> = (0..24).collect();
        for (strides, transposed) in [([1, 1], false), ([2, 2], false), ([1, 2], true)] {
            let window = geometry(strides, transposed);
            let mut fast = Array2::zeros((12, 24));
            // The second image is written over the first.
            for shift in [0.5, 3.25] {
                let values: Vec<f32> = (0..105).map(|v| v as f32 + shift).collect();
                let plane = Plane {
                    values: &values,
                    extents: &extents,
                };
                let mut plain = Array2::zeros((12, 24));
                let at = (&positions[..], &output_extents[..]);
                unfold(plane, &window, 1..3, at, plain.view_mut());
                unfold_all(plane, &window, 1..3, &output_extents, &mut fast);
                assert_eq!(fast, plain, "{strides:?} {transposed}");
            }
        }
    }

    #[test]
    fn patches_of_a_transposed_kernel_reproduce_its_output() {
        let window = Window {
            kernel: vec![3],
            strides: vec![2],
            dilations: vec![1],
            pads_begin: vec![1],
            transposed: true,
        };
        let (x, w) = ([1.0_f32, 2.0, 3.0, 4.0], [10.0_f32, 20.0, 30.0]);
        let mut full = [0.0_f32; 9];
        for (q, x) in x.iter().enumerate() {
            for (p, w) in w.iter().enumerate() {
                full[2 * q + p] += x * w;
            }
        }
        let positions: Vec<usize> = (0..7).collect();
        let plane = Plane {
            values: &x,
            extents: &[4],
        };
        let mut patches = Array2::zeros((3, 7));
        unfold(plane, &window, 0..1, (&positions, &[7]), patches.view_mut());
        for position in 0..7 {
            let y: f32 = (0..3).map(|p| w[p] * patches[(p, position)]).sum();
            assert_eq!(y, full[position + 1]);
        }
    }

    #[test]
    fn spread_keeps_all_or_exactly_the_budget_in_order() {
        assert_eq!(spread(4, 9, 0.7), vec![0, 1, 2, 3]);
        let some = spread(100, 7, 0.99);
        assert_eq!(some.len(), 7);
        assert!(some.windows(2).all(|w| w[0] < w[1]) && some[6] < 100);
    }
}
