//! D(R) of blocks of components: the paper's uniform quantizer (Eq. 5) at whole bit-depths, its step found by the error that
//! counts (Algorithm 2), and the bit-depth of every block at one slope (Algorithm 1).

use ndarray::Array2;

use crate::config::StepBy;
use crate::paper::part::Part;

/// Largest bit-depth (the paper's M).
pub(crate) const MOST_BITS: u32 = 8;
/// Octaves below the largest useful step that are tried.
const STEPS: i32 = 7;
/// Bit-depths up to which errors correlate so much that they are measured with all correlations.
const COARSE_BITS: u32 = 2;

/// A block of components at one bit-depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Bits of each level.
    pub(crate) depth_bits: u32,
    /// log2 of the step.
    pub(crate) log2_step: i32,
    /// Distortion that the block's error causes alone.
    pub(crate) distortion: f64,
}

/// A block of components: its D(R) at depths 0, 1 … [`MOST_BITS`].
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// First component and the one after the last.
    pub(crate) components: (usize, usize),
    /// Number of coefficients.
    pub(crate) count: usize,
    /// One a bit-depth, rising.
    pub(crate) points: Vec<Point>,
}

impl Curve {
    /// The point that minimises `D + λ·bits` (Algorithm 1).
    pub(crate) fn at_slope(&self, lambda: f64) -> Point {
        let cost = |p: &Point| p.distortion + lambda * self.count as f64 * f64::from(p.depth_bits);
        let least = self
            .points
            .iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)));
        *least.unwrap_or(&self.points[0])
    }
}

/// Level of one coefficient (Eq. 5).
pub(crate) fn level(value: f32, point: Point) -> i32 {
    if point.depth_bits == 0 {
        return 0;
    }
    let half = 1_i32 << (point.depth_bits - 1);
    let scaled = f64::from(value) * f64::from(-point.log2_step).exp2();
    (scaled.round().clamp(f64::from(-half), f64::from(half - 1))) as i32
}

/// Error of the coefficients `range` of components when quantized at one point.
fn error(part: &Part<'_>, (first, end): (usize, usize), point: Point) -> Array2<f32> {
    let step = f64::from(point.log2_step).exp2();
    let values = part.values.slice(ndarray::s![first..end, ..]);
    values.mapv(|v| (f64::from(level(v, point)) * step - f64::from(v)) as f32)
}

/// Curves of at most `blocks` blocks of about equally many components, in order.
pub(crate) fn curves(part: &Part<'_>, blocks: usize, by: StepBy) -> Vec<Curve> {
    let components = part.values.nrows();
    let blocks = blocks.clamp(1, components.max(1));
    let cut = |b: usize| components * b / blocks;
    let bounds: Vec<(usize, usize)> = (0..blocks).map(|b| (cut(b), cut(b + 1))).collect();
    let mut curves: Vec<Curve> = bounds
        .iter()
        .map(|&(first, end)| Curve {
            components: (first, end),
            count: (end - first) * part.values.ncols(),
            points: Vec::new(),
        })
        .collect();
    for depth_bits in 0..=MOST_BITS {
        let chosen: Vec<Point> = bounds
            .iter()
            .map(|&bounds| best_step(part, bounds, depth_bits, by))
            .collect();
        let costs = costs(part, &bounds, &chosen);
        for ((curve, point), distortion) in curves.iter_mut().zip(chosen).zip(costs) {
            curve.points.push(Point {
                distortion,
                ..point
            });
        }
    }
    curves
}

/// Distortion of each block at its point.
fn costs(part: &Part<'_>, bounds: &[(usize, usize)], points: &[Point]) -> Vec<f64> {
    let mut all = Array2::zeros(part.values.dim());
    for (&(first, end), &point) in bounds.iter().zip(points) {
        all.slice_mut(ndarray::s![first..end, ..])
            .assign(&error(part, (first, end), point));
    }
    let coarse = points.first().is_some_and(|p| p.depth_bits <= COARSE_BITS);
    let by_component = if coarse {
        part.exact(&all)
    } else {
        part.independent(&all)
    };
    let sum = |&(first, end): &(usize, usize)| by_component[first..end].iter().sum();
    bounds.iter().map(sum).collect()
}

/// The power of two that quantizes a block with the least error (Algorithm 2), at the output or of the weights.
fn best_step(part: &Part<'_>, bounds: (usize, usize), depth_bits: u32, by: StepBy) -> Point {
    let (first, end) = bounds;
    let none = Point {
        depth_bits: 0,
        log2_step: 0,
        distortion: 0.0,
    };
    let values = part.values.slice(ndarray::s![first..end, ..]);
    let peak = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    if depth_bits == 0 || peak == 0.0 {
        return none;
    }
    let top = (f64::from(peak).log2() - f64::from(depth_bits) + 1.0).ceil() as i32;
    let tried = (top - STEPS..=top).map(|log2_step| Point {
        depth_bits,
        log2_step,
        distortion: 0.0,
    });
    let cost = |point: Point| -> f64 {
        let step = f64::from(point.log2_step).exp2();
        let cells = values.indexed_iter().map(|((k, e), &v)| {
            let far = f64::from(level(v, point)) * step - f64::from(v);
            match by {
                StepBy::Output => far * far * part.weights.of(first + k, e),
                StepBy::Weights => far * far,
            }
        });
        cells.sum()
    };
    let judged = tried.map(|point| (cost(point), point));
    let least = judged.min_by(|a, b| a.0.total_cmp(&b.0));
    least.map_or(none, |(_, point)| point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cotangent::normal;
    use crate::paper::part::{Exact, Weights};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// ε² of the best uniform quantizer of a Gaussian source (Max 1960, Table II) at depths 0, 1 … 8: `D·2^(2R)` at unit variance.
    const CONSTANTS: [f64; 9] = [1.0, 1.45, 1.90, 2.40, 2.95, 3.58, 4.26, 4.98, 5.75];

    /// Standard deviation of component k.
    fn spread(k: usize) -> f32 {
        0.8_f32.powi(k as i32)
    }

    /// Gaussian components of falling spread, 32 of so many elements, an error in which costs so much.
    fn gaussian(elements: usize, sensitivity: f64) -> Part<'static> {
        let mut rng = Pcg64::seed_from_u64(1);
        let values = Array2::from_shape_fn((32, elements), |(k, _)| normal(&mut rng) * spread(k));
        Part {
            values,
            weights: Weights {
                component: vec![sensitivity; 32],
                major: vec![1.0; elements],
                minor: vec![vec![1.0]],
            },
            exact: Exact::Diagonal,
        }
    }

    fn part() -> Part<'static> {
        gaussian(400, 1.0)
    }

    /// Eqs. 7 and 8 on blocks of two sizes and sensitivities, as of T and S: the slope of every block's closed form `D = ε²·σ²·s·2^(−2R)`
    /// is the same, so that the optimal depth is `½·log2(2 ln 2·ε²·σ²·s/λ)`, whole here, whatever a block's size; and neither equal depths
    /// nor a bit taken from one block for another are better.
    #[test]
    fn the_optimal_depths_are_those_of_the_closed_form() {
        let parts = [(400, 1.0), (60, 30.0)];
        let of = |&(elements, sensitivity): &(usize, f64)| {
            let all = curves(&gaussian(elements, sensitivity), 16, StepBy::Output);
            all.into_iter().map(move |curve| (curve, sensitivity))
        };
        let all: Vec<(Curve, f64)> = parts.iter().flat_map(of).collect();
        let lambda = 2e-3;
        let total = |depths: &[u32]| {
            let pairs = all.iter().zip(depths);
            let sums = pairs.map(|((curve, _), &depth)| {
                let point = curve.points[depth as usize];
                (point.distortion, curve.count as u64 * u64::from(depth))
            });
            sums.fold((0.0, 0), |(d, r), (more, bits)| (d + more, r + bits))
        };
        let chosen: Vec<u32> = all
            .iter()
            .map(|(c, _)| c.at_slope(lambda).depth_bits)
            .collect();
        for ((curve, sensitivity), &depth) in all.iter().zip(&chosen) {
            let (first, end) = curve.components;
            let power = (first..end).map(|k| f64::from(spread(k)).powi(2));
            let variance = power.sum::<f64>() / (end - first) as f64;
            let constant = CONSTANTS[depth as usize];
            let slope = 2.0 * std::f64::consts::LN_2 * constant * variance * sensitivity;
            let ideal = (0.5 * (slope / lambda).log2()).clamp(0.0, f64::from(MOST_BITS));
            // The formula is one of high rate: below two bits Eq. 5 does worse (one bit has the levels −1 and 0).
            // Steps are powers of two, which costs up to a quarter of a bit.
            let allowed = if ideal < 2.0 { 2.0 } else { 1.25 };
            assert!(
                (f64::from(depth) - ideal).abs() <= allowed,
                "{depth} {ideal}"
            );
        }
        let (distortion, bits) = total(&chosen);
        let spread: std::collections::BTreeSet<u32> = chosen.iter().copied().collect();
        assert!(spread.len() > 4, "depths {chosen:?} say little");
        for depth in 0..=MOST_BITS {
            let (d, r) = total(&vec![depth; all.len()]);
            assert!(r > bits || d > distortion, "{depth} bits for all");
        }
        for (give, take) in (0..all.len()).flat_map(|g| (0..all.len()).map(move |t| (g, t))) {
            let mut moved = chosen.clone();
            if give == take || moved[give] == 0 || moved[take] == MOST_BITS {
                continue;
            }
            moved[give] -= 1;
            moved[take] += 1;
            let (d, r) = total(&moved);
            assert!(r > bits || d > distortion, "from block {give} to {take}");
        }
    }

    #[test]
    fn distortion_falls_with_depth_and_a_uniform_quantizer_never_clips_far() {
        let part = part();
        for curve in curves(&part, 16, StepBy::Output) {
            let pairs = curve.points.windows(2);
            assert!(pairs.into_iter().all(|w| w[1].distortion < w[0].distortion));
            assert_eq!(curve.points.len(), 9);
        }
    }

    /// Eq. 8: at one λ no block can gain by moving a bit, so slopes are equal within a bit.
    #[test]
    fn at_the_optimum_all_slopes_are_equal() {
        let curves = curves(&part(), 16, StepBy::Output);
        for lambda in [1e-1, 1e-2, 1e-3] {
            for curve in &curves {
                let chosen = curve.at_slope(lambda);
                let slope = |a: &Point, b: &Point| {
                    let bits = f64::from(b.depth_bits) - f64::from(a.depth_bits);
                    (a.distortion - b.distortion) / (bits * curve.count as f64)
                };
                for point in &curve.points {
                    if point.depth_bits > chosen.depth_bits {
                        assert!(slope(&chosen, point) <= lambda);
                    }
                    if point.depth_bits < chosen.depth_bits {
                        assert!(slope(point, &chosen) >= lambda);
                    }
                }
            }
        }
    }

    #[test]
    fn levels_stay_within_their_depth() {
        let point = Point {
            depth_bits: 3,
            log2_step: -1,
            distortion: 0.0,
        };
        let levels: Vec<i32> = [-9.0, -2.0, -0.26, -0.1, 0.3, 1.4, 9.0]
            .map(|v| level(v, point))
            .to_vec();
        assert_eq!(levels, [-4, -4, -1, 0, 1, 3, 3]);
        assert_eq!(
            level(
                5.0,
                Point {
                    depth_bits: 0,
                    ..point
                }
            ),
            0
        );
    }
}
