//! Changing a picture's size exactly as Pillow does: a separable filter widened by the reduction
//! factor, along rows and along columns; 8-bit samples in 22-bit fixed point with a rounding
//! between the passes, float planes with double sums. Published scores rest on these very numbers.

use crate::picture::Picture;
use ndarray::{Array2, ArrayView2};
use serde::Deserialize;

/// Filter used when a picture's size changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The nearest sample.
    Nearest,
    /// A triangle of radius 1.
    Bilinear,
    /// Keys' cubic with a = -1/2, radius 2.
    #[default]
    Bicubic,
    /// The windowed sinc of radius 3.
    Lanczos,
}

/// Bits after the point of a weight for 8-bit samples.
const WEIGHT_BITS: u32 = 32 - 8 - 2;

impl Filter {
    fn radius(self) -> f64 {
        match self {
            Self::Nearest => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn value(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Self::Nearest => f64::from(u8::from(distance <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Bicubic => bicubic(distance),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// Keys 1981, equation 4, in the order of operations that fixes the last bit.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// The input samples one output sample is made of.
struct Tap<W> {
    start: usize,
    weights: Vec<W>,
}

/// Weights along one axis, which sum to 1 for each output sample.
fn taps(input: usize, output: usize, filter: Filter) -> Vec<Tap<f64>> {
    let scale = input as f64 / output as f64;
    let widening = scale.max(1.0);
    let support = filter.radius() * widening;
    let inverse = 1.0 / widening;
    (0..output)
        .map(|i| {
            let center = (i as f64 + 0.5) * scale;
            // Truncation, as of a C cast: the lower end is clamped at 0 anyway.
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input);
            let mut weights: Vec<f64> = (start..end)
                .map(|j| filter.value((j as f64 - center + 0.5) * inverse))
                .collect();
            let sum = weights.iter().fold(0.0, |sum, w| sum + w);
            if sum != 0.0 {
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            Tap { start, weights }
        })
        .collect()
}

fn fixed_point(taps: Vec<Tap<f64>>) -> Vec<Tap<i32>> {
    let round = |w: f64| {
        let scaled = w * f64::from(1 << WEIGHT_BITS);
        (if w < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
    };
    taps.into_iter()
        .map(|tap| Tap {
            start: tap.start,
            weights: tap.weights.into_iter().map(round).collect(),
        })
        .collect()
}

/// Rounds a fixed-point sum to 0..=255.
fn clip8(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// Whether Pillow 13 filters along columns first: when the height shrinks by more than twice what the
/// width does. (Before Pillow 13 rows always came first; equal factors give the same either way.)
fn columns_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let (width, height) = (from.0 as i64 - to.0 as i64, from.1 as i64 - to.1 as i64);
    height > 0 && height > 2 * width
}

/// The picture at another size; sizes must not be 0.
pub(crate) fn resize(picture: &Picture, width: usize, height: usize, filter: Filter) -> Picture {
    if filter == Filter::Nearest {
        return resize_nearest(picture, width, height);
    }
    let rows = |p: Picture| match p.width == width {
        true => p,
        false => resize_rows(&p, &fixed_point(taps(p.width, width, filter))),
    };
    let columns = |p: Picture| match p.height == height {
        true => p,
        false => resize_columns(&p, &fixed_point(taps(p.height, height, filter))),
    };
    if columns_first((picture.width, picture.height), (width, height)) {
        rows(columns(picture.clone()))
    } else {
        columns(rows(picture.clone()))
    }
}

fn resize_rows(picture: &Picture, taps: &[Tap<i32>]) -> Picture {
    let channels = picture.channels;
    let mut data = Vec::with_capacity(picture.height * taps.len() * channels);
    for row in picture.data.chunks_exact(picture.width * channels) {
        for tap in taps {
            let pixels = &row[tap.start * channels..];
            for c in 0..channels {
                let samples = pixels[c..].iter().step_by(channels);
                let sum = samples.zip(&tap.weights).map(|(&v, &w)| i32::from(v) * w);
                data.push(clip8((1 << (WEIGHT_BITS - 1)) + sum.sum::<i32>()));
            }
        }
    }
    Picture {
        width: taps.len(),
        data,
        ..*picture
    }
}

fn resize_columns(picture: &Picture, taps: &[Tap<i32>]) -> Picture {
    let row = picture.width * picture.channels;
    let mut data = Vec::with_capacity(row * taps.len());
    let mut sums = vec![0_i32; row];
    for tap in taps {
        sums.fill(1 << (WEIGHT_BITS - 1));
        for (k, &w) in tap.weights.iter().enumerate() {
            let samples = &picture.data[(tap.start + k) * row..][..row];
            for (sum, &v) in sums.iter_mut().zip(samples) {
                *sum += i32::from(v) * w;
            }
        }
        data.extend(sums.iter().map(|&sum| clip8(sum)));
    }
    Picture {
        height: taps.len(),
        data,
        ..*picture
    }
}

/// For each output position the input position: the step is added up, as Pillow does, since the
/// rounding of the sum decides ties.
fn nearest_positions(input: usize, output: usize) -> Vec<usize> {
    let step = input as f64 / output as f64;
    let mut at = step * 0.5;
    let mut positions = Vec::with_capacity(output);
    for _ in 0..output {
        positions.push((at as usize).min(input - 1));
        at += step;
    }
    positions
}

fn resize_nearest(picture: &Picture, width: usize, height: usize) -> Picture {
    let columns = nearest_positions(picture.width, width);
    let channels = picture.channels;
    let mut data = Vec::with_capacity(width * height * channels);
    for y in nearest_positions(picture.height, height) {
        let row = &picture.data[y * picture.width * channels..];
        for &x in &columns {
            data.extend_from_slice(&row[x * channels..(x + 1) * channels]);
        }
    }
    Picture {
        width,
        height,
        data,
        ..*picture
    }
}

/// A float plane `[height, width]` at another size (Pillow's mode F); sizes must not be 0.
pub(crate) fn resize_plane(
    plane: ArrayView2<'_, f32>,
    width: usize,
    height: usize,
    filter: Filter,
) -> Array2<f32> {
    let (rows, columns) = plane.dim();
    if filter == Filter::Nearest {
        let (ys, xs) = (
            nearest_positions(rows, height),
            nearest_positions(columns, width),
        );
        return Array2::from_shape_fn((height, width), |(y, x)| plane[[ys[y], xs[x]]]);
    }
    let horizontal = |p: Array2<f32>| match p.ncols() == width {
        true => p,
        false => {
            let taps = taps(p.ncols(), width, filter);
            Array2::from_shape_fn((p.nrows(), width), |(y, x)| weigh(&taps[x], |k| p[[y, k]]))
        }
    };
    let vertical = |p: Array2<f32>| match p.nrows() == height {
        true => p,
        false => {
            let taps = taps(p.nrows(), height, filter);
            Array2::from_shape_fn((height, p.ncols()), |(y, x)| weigh(&taps[y], |k| p[[k, x]]))
        }
    };
    if columns_first((columns, rows), (width, height)) {
        horizontal(vertical(plane.to_owned()))
    } else {
        vertical(horizontal(plane.to_owned()))
    }
}

fn weigh(tap: &Tap<f64>, sample: impl Fn(usize) -> f32) -> f32 {
    let mut sum = 0.0;
    for (k, w) in tap.weights.iter().enumerate() {
        sum += f64::from(sample(tap.start + k)) * w;
    }
    sum as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{Golden, hex_bytes};

    #[derive(Deserialize)]
    struct Case {
        filter: Filter,
        width: usize,
        height: usize,
        channels: usize,
        data: String,
        out_width: usize,
        out_height: usize,
        out: String,
    }

    fn goldens() -> Golden<Case> {
        serde_json::from_str(include_str!("../tests/goldens/pillow_resize.json")).unwrap()
    }

    fn floats(hex: &str) -> Vec<f32> {
        hex_bytes(hex)
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }

    #[test]
    fn eight_bit_pictures_equal_pillows() {
        let cases = goldens().bytes;
        assert!(cases.len() >= 30);
        for case in cases {
            let picture = Picture {
                width: case.width,
                height: case.height,
                channels: case.channels,
                data: hex_bytes(&case.data),
            };
            let out = resize(&picture, case.out_width, case.out_height, case.filter);
            assert_eq!(
                out.data,
                hex_bytes(&case.out),
                "{:?} {}x{}x{} to {}x{}",
                case.filter,
                case.width,
                case.height,
                case.channels,
                case.out_width,
                case.out_height
            );
        }
    }

    #[test]
    fn float_planes_equal_pillows() {
        let cases = goldens().floats;
        assert!(cases.len() >= 10);
        for case in cases {
            let plane =
                Array2::from_shape_vec((case.height, case.width), floats(&case.data)).unwrap();
            let out = resize_plane(plane.view(), case.out_width, case.out_height, case.filter);
            assert_eq!(
                out.into_raw_vec_and_offset().0,
                floats(&case.out),
                "{:?} {}x{} to {}x{}",
                case.filter,
                case.width,
                case.height,
                case.out_width,
                case.out_height
            );
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let flat = Picture {
                width: 37,
                height: 11,
                channels: 3,
                data: vec![201; 37 * 11 * 3],
            };
            let out = resize(&flat, 13, 29, filter);
            assert!(out.data.iter().all(|&v| v == 201));
        }
    }
}
