//! Which elements of an axis make each element of the resized axis, and with what weights: ONNX's
//! coordinate transformations, roundings and filters. Coordinates are f32, as ONNX Runtime's are:
//! rounding decides which pixel is the nearest.

/// How neighbours are combined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Nearest(Rounding),
    Linear,
    /// Cubic convolution with this coefficient (`cubic_coeff_a`).
    Cubic(f32),
}

/// How a coordinate becomes an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
    /// Before opset 11: down when enlarging, up when shrinking.
    Simple,
}

/// How a position of the result becomes a coordinate of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixel,
    HalfPixelSymmetric,
}

/// The attributes that decide about taps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Filter {
    pub(super) mode: Mode,
    pub(super) coordinates: Coordinates,
    /// Whether the filter is widened when shrinking.
    pub(super) antialias: bool,
    /// Whether taps outside of the source are dropped, and the others scaled up; otherwise
    /// the border element is used for them.
    pub(super) exclude_outside: bool,
}

/// For each tap the index and the weight at each position of the result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taps {
    pub(super) indices: Vec<Vec<usize>>,
    pub(super) weights: Vec<Vec<f32>>,
}

impl Coordinates {
    fn map(self, position: usize, scale: f32, (input, output): (usize, usize)) -> f32 {
        let x = position as f32;
        if scale == 1.0 {
            return x;
        }
        match self {
            Self::HalfPixel => (x + 0.5) / scale - 0.5,
            Self::PytorchHalfPixel if output > 1 => (x + 0.5) / scale - 0.5,
            Self::PytorchHalfPixel => 0.0,
            Self::AlignCorners if output > 1 => x * (input - 1) as f32 / (output - 1) as f32,
            Self::AlignCorners => 0.0,
            Self::Asymmetric => x / scale,
            Self::TfHalfPixel => (x + 0.5) / scale,
            Self::HalfPixelSymmetric => {
                // The result's centre falls onto the source's although its size was rounded.
                let adjustment = output as f32 / (scale * input as f32);
                let centre = input as f32 / 2.0;
                centre * (1.0 - adjustment) + (x + 0.5) / scale - 0.5
            }
        }
    }
}

impl Rounding {
    fn round(self, x: f32, scale: f32) -> f32 {
        match self {
            Self::PreferFloor => (x - 0.5).ceil(),
            Self::PreferCeil => (x + 0.5).floor(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Simple if scale < 1.0 => x.ceil(),
            Self::Simple => x.trunc(),
        }
    }
}

impl Filter {
    /// The taps of an axis resized from `input` to `output` elements.
    pub(super) fn taps(&self, input: usize, output: usize, scale: f32) -> Taps {
        let of = |position: usize| {
            let x = self.coordinates.map(position, scale, (input, output));
            match self.mode {
                Mode::Nearest(rounding) => vec![(clamped(rounding.round(x, scale), input), 1.0)],
                Mode::Linear if !self.antialias => linear(x, input),
                Mode::Linear => self.wide(x, scale, input, (1.0, triangle)),
                Mode::Cubic(_) if !self.antialias => self.cubic(x, input),
                Mode::Cubic(a) => self.wide(x, scale, input, (2.0, |t: f32| cubic_kernel(t, a))),
            }
        };
        let positions: Vec<Vec<(usize, f32)>> = (0..output).map(of).collect();
        let count = positions.iter().map(Vec::len).max().unwrap_or(0);
        let tap = |index: usize| {
            let at = positions
                .iter()
                .map(|list| list.get(index).copied().unwrap_or((0, 0.0)));
            at.unzip()
        };
        let (indices, weights) = (0..count).map(tap).unzip();
        Taps { indices, weights }
    }

    /// Four neighbours.
    fn cubic(&self, x: f32, input: usize) -> Vec<(usize, f32)> {
        let Mode::Cubic(a) = self.mode else {
            return Vec::new();
        };
        let first = x.floor() - 1.0;
        let taps = (0..4).map(|step| {
            let place = first + step as f32;
            (place, cubic_kernel(x - place, a))
        });
        self.bounded(taps.collect(), input, false)
    }

    /// A filter of this half width, stretched by the factor of shrinking.
    fn wide(
        &self,
        x: f32,
        scale: f32,
        input: usize,
        (half_width, kernel): (f32, impl Fn(f32) -> f32),
    ) -> Vec<(usize, f32)> {
        let stretch = (1.0 / scale).max(1.0);
        let centre = x + 0.5;
        let first = (centre - half_width * stretch + 0.5).floor();
        let last = (centre + half_width * stretch + 0.5).floor();
        let count = (last - first).max(0.0) as usize;
        let taps = (0..count).map(|step| {
            let place = first + step as f32;
            (place, kernel((place - centre + 0.5) / stretch))
        });
        self.bounded(taps.collect(), input, true)
    }

    /// Taps within the source: those outside are dropped, or moved to the border and joined.
    fn bounded(&self, taps: Vec<(f32, f32)>, input: usize, normalize: bool) -> Vec<(usize, f32)> {
        let mut bounded: Vec<(usize, f32)> = Vec::new();
        for (place, weight) in taps {
            let index = clamped(place, input);
            if self.exclude_outside && index as f32 != place {
                continue;
            }
            match bounded.last_mut() {
                Some(last) if last.0 == index => last.1 += weight,
                _ => bounded.push((index, weight)),
            }
        }
        let total: f32 = bounded.iter().map(|&(_, weight)| weight).sum();
        if (normalize || self.exclude_outside) && total != 0.0 {
            for tap in &mut bounded {
                tap.1 /= total;
            }
        }
        bounded
    }
}

fn clamped(place: f32, input: usize) -> usize {
    place.clamp(0.0, (input - 1) as f32) as usize
}

/// Two neighbours; beyond the border the border element.
fn linear(x: f32, input: usize) -> Vec<(usize, f32)> {
    let x = x.clamp(0.0, (input - 1) as f32);
    let low = x as usize;
    let high = (low + 1).min(input - 1);
    let weight = x - low as f32;
    vec![(low, 1.0 - weight), (high, weight)]
}

fn triangle(t: f32) -> f32 {
    (1.0 - t.abs()).max(0.0)
}

/// Keys' cubic convolution kernel (1981, equation 8, with his coefficient free).
fn cubic_kernel(t: f32, a: f32) -> f32 {
    let t = t.abs();
    if t <= 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_inside_and_at_the_border() {
        for mode in [Mode::Linear, Mode::Cubic(-0.5), Mode::Cubic(-0.75)] {
            for antialias in [false, true] {
                for exclude_outside in [false, true] {
                    let filter = Filter {
                        mode,
                        coordinates: Coordinates::HalfPixel,
                        antialias,
                        exclude_outside,
                    };
                    let taps = filter.taps(7, 4, 4.0 / 7.0);
                    for position in 0..4 {
                        let sum: f32 = taps.weights.iter().map(|weights| weights[position]).sum();
                        assert!((sum - 1.0).abs() < 1e-5, "{filter:?} at {position}: {sum}");
                    }
                }
            }
        }
    }

    #[test]
    fn halves_round_as_asked() {
        assert_eq!(Rounding::PreferFloor.round(1.5, 1.0), 1.0);
        assert_eq!(Rounding::PreferCeil.round(1.5, 1.0), 2.0);
        assert_eq!(Rounding::Simple.round(1.2, 0.5), 2.0);
        assert_eq!(Rounding::Simple.round(1.7, 2.0), 1.0);
    }
}
