//! Directions in output space for the backward passes that measure G (theory §7): output noise, or directions whose
//! covariance is the Fisher matrix of a classifier's prediction.

use ndarray::{ArrayD, Axis};
use rand::distr::{Distribution, StandardUniform};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use crate::config::Metric;
use crate::outputs::{FEW_CLASSES, OutputKind, rows};

/// The generator of one image's directions: a function of the seed and the image's number alone.
pub(crate) fn image_rng(seed: u64, image: usize) -> Pcg64 {
    Pcg64::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ image as u64)
}

/// The metric asked for, `Auto` decided by the network's first output.
pub(crate) fn resolve(metric: Metric, outputs: &[ArrayD<f32>]) -> Metric {
    match (metric, outputs.first()) {
        (Metric::Auto, Some(output)) if OutputKind::of(output) != OutputKind::Values => {
            match output.shape()[1] {
                0..=FEW_CLASSES => Metric::TemperedFisher,
                _ => Metric::Fisher,
            }
        }
        (Metric::Auto, _) => Metric::OutputNoise,
        (metric, _) => metric,
    }
}

/// One direction per image for every output. The first output has the metric asked for, `Auto` resolved by its shape. Of a
/// network with several outputs the others have noise in proportion to their own spread, so that all count alike.
pub(crate) fn cotangents(
    outputs: &[ArrayD<f32>],
    metric: Metric,
    rng_of: &dyn Fn(usize) -> Pcg64,
) -> Vec<ArrayD<f32>> {
    let mut directions: Vec<ArrayD<f32>> =
        outputs.iter().map(|o| ArrayD::zeros(o.raw_dim())).collect();
    let images = outputs.iter().filter_map(|o| o.shape().first().copied());
    let mut rngs: Vec<Pcg64> = (0..images.max().unwrap_or(1).max(1)).map(rng_of).collect();
    for direction in &mut directions {
        draw(direction, &mut rngs);
    }
    let (Some((output, others)), Some((direction, other_directions))) =
        (outputs.split_first(), directions.split_first_mut())
    else {
        return directions;
    };
    let temperature = resolve(metric, outputs).temperature();
    if let Some(temperature) = temperature {
        let mut even = ArrayD::zeros(direction.raw_dim());
        draw(&mut even, &mut rngs);
        shape_by_fisher(output, direction, (&even, temperature));
    }
    let unit = temperature.map_or_else(|| size(output), |_| 1.0);
    for (output, direction) in others.iter().zip(other_directions) {
        let factor = (unit / size(output)) as f32;
        direction.mapv_inplace(|v| v * factor);
    }
    directions
}

/// Fills a direction with noise, each image's from its own generator.
fn draw(direction: &mut ArrayD<f32>, rngs: &mut [Pcg64]) {
    if direction.ndim() == 0 {
        direction.mapv_inplace(|_| rngs.first_mut().map_or(0.0, normal));
        return;
    }
    for (mut v, rng) in direction.axis_iter_mut(Axis(0)).zip(rngs) {
        v.iter_mut().for_each(|v| *v = normal(rng));
    }
}

/// Turns noise into directions whose covariance is the Fisher matrix of the predictions, half of it spread evenly by more noise.
fn shape_by_fisher(
    output: &ArrayD<f32>,
    direction: &mut ArrayD<f32>,
    (even, temperature): (&ArrayD<f32>, f64),
) {
    let kind = match OutputKind::of(output) {
        OutputKind::Values => OutputKind::Logits,
        kind => kind,
    };
    let mut shaped = Vec::with_capacity(output.len());
    for (y, noise) in rows(output).zip(rows(direction).zip(rows(even))) {
        shaped.extend(kind.fisher_direction(y, noise, temperature));
    }
    direction.iter_mut().zip(shaped).for_each(|(v, s)| *v = s);
}

/// Length of a typical change of an image's output: its spread times the root of its elements; 1 where it is always zero.
fn size(output: &ArrayD<f32>) -> f64 {
    let count = output.len().max(1) as f64;
    let mean_of =
        |f: &dyn Fn(f64) -> f64| output.iter().map(|&v| f(f64::from(v))).sum::<f64>() / count;
    let power = mean_of(&|v| v * v);
    let mean = mean_of(&|v| v);
    let variance = (power - mean * mean).max(0.0);
    // The rounding of a constant output is no spread.
    let square = if variance > 1e-9 * power {
        variance
    } else {
        power
    };
    let images = output.shape().first().copied().unwrap_or(1).max(1) as f64;
    let size = (square * count / images).sqrt();
    if size.is_finite() && size > 0.0 {
        size
    } else {
        1.0
    }
}

/// A standard normal number by Marsaglia's polar method.
pub(crate) fn normal(rng: &mut impl Rng) -> f32 {
    loop {
        let (a, b): (f64, f64) = (StandardUniform.sample(rng), StandardUniform.sample(rng));
        let (x, y) = (2.0 * a - 1.0, 2.0 * b - 1.0);
        let s = x * x + y * y;
        if s > 0.0 && s < 1.0 {
            return (x * (-2.0 * s.ln() / s).sqrt()) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    #[test]
    fn directions_of_a_classifier_have_half_the_fisher_matrix_and_half_an_even_one_as_covariance() {
        let y = scores(&[1.0, 2.0, 0.5]);
        for (metric, temperature) in [(Metric::Fisher, 1.0_f64), (Metric::Auto, 2.0)] {
            let p = softmax(&y, temperature);
            let (draws, mut second) = (40_000, [[0.0_f64; 3]; 3]);
            for n in 0..draws {
                let v = &cotangents(std::slice::from_ref(&y), metric, &|_| image_rng(7, n))[0];
                assert!(v.sum().abs() < 1e-5);
                for (a, row) in second.iter_mut().enumerate() {
                    for (b, sum) in row.iter_mut().enumerate() {
                        *sum += f64::from(v[[0, a]] * v[[0, b]]) / draws as f64;
                    }
                }
            }
            for a in 0..3 {
                for b in 0..3 {
                    let same = f64::from(u8::from(a == b));
                    let fisher = same * p[a] - p[a] * p[b];
                    let trace = 1.0 - p.iter().map(|p| p * p).sum::<f64>();
                    let even = trace / 2.0 * (same - 1.0 / 3.0);
                    let wanted = (fisher + even) / (2.0 * temperature.powi(2));
                    assert!((second[a][b] - wanted).abs() < 0.006, "{second:?}");
                }
            }
        }
    }

    #[test]
    fn predictions_of_few_classes_are_tempered() {
        let of = |classes| resolve(Metric::Auto, &[ArrayD::zeros(IxDyn(&[2, classes]))]);
        assert_eq!(of(10), Metric::TemperedFisher);
        assert_eq!(of(1000), Metric::Fisher);
        assert_eq!(of(1), Metric::OutputNoise);
        let asked = resolve(Metric::Fisher, &[ArrayD::zeros(IxDyn(&[2, 10]))]);
        assert_eq!(asked, Metric::Fisher);
    }

    #[test]
    fn a_prediction_that_is_sure_gives_next_to_no_direction() {
        let y = scores(&[36.0, 0.0, 0.0]);
        for metric in [Metric::Fisher, Metric::TemperedFisher] {
            let v = &cotangents(std::slice::from_ref(&y), metric, &|_| image_rng(7, 0))[0];
            assert!(v.iter().all(|v| v.abs() < 1e-3), "{v}");
        }
    }

    /// What comes back through softmax, `p∘(v − pᵗv)`, is the direction at the scores.
    #[test]
    fn directions_at_probabilities_are_those_at_the_scores_before_them() {
        let y = scores(&[1.0, 2.0, 0.5]);
        let p = softmax(&y, 1.0);
        let after = scores(&[p[0] as f32, p[1] as f32, p[2] as f32]);
        for metric in [Metric::Fisher, Metric::TemperedFisher] {
            let direction = |y: &ArrayD<f32>| {
                let v = cotangents(std::slice::from_ref(y), metric, &|_| image_rng(7, 0));
                v[0].iter().map(|v| f64::from(*v)).collect::<Vec<f64>>()
            };
            let (at_scores, v) = (direction(&y), direction(&after));
            let mean: f64 = p.iter().zip(&v).map(|(p, v)| p * v).sum();
            for ((p, v), wanted) in p.iter().zip(&v).zip(at_scores) {
                assert!((p * (v - mean) - wanted).abs() < 1e-5, "{metric:?}");
            }
        }
    }

    /// One image's outputs.
    fn scores(values: &[f32]) -> ArrayD<f32> {
        ArrayD::from_shape_vec(IxDyn(&[1, values.len()]), values.to_vec()).expect("shape")
    }

    fn softmax(y: &ArrayD<f32>, temperature: f64) -> Vec<f64> {
        let powers = y.iter().map(|v| (f64::from(*v) / temperature).exp());
        let total: f64 = powers.clone().sum();
        powers.map(|power| power / total).collect()
    }

    #[test]
    fn noise_is_standard_and_depends_on_the_image_alone() {
        let y = ArrayD::zeros(IxDyn(&[2, 1, 60, 60]));
        let outputs = [y];
        let first = cotangents(&outputs, Metric::Auto, &|i| image_rng(1, 4 + i));
        let second = cotangents(&outputs, Metric::OutputNoise, &|i| image_rng(1, 5 + i));
        let (a, b) = (&first[0], &second[0]);
        assert_eq!(a.index_axis(Axis(0), 1), b.index_axis(Axis(0), 0));
        let power = a.iter().map(|v| f64::from(v * v)).sum::<f64>() / a.len() as f64;
        assert!((power - 1.0).abs() < 0.05, "{power}");
    }

    #[test]
    fn every_output_counts_in_proportion_to_its_spread() {
        let y = ArrayD::from_shape_fn(IxDyn(&[2, 1, 40, 40]), |at| (at[2] as f32 * 0.7).sin());
        let outputs = [y.clone(), y.mapv(|v| v * 0.01)];
        let directions = cotangents(&outputs, Metric::Auto, &|i| image_rng(1, i));
        let power = |v: &ArrayD<f32>| v.iter().map(|v| f64::from(v * v)).sum::<f64>();
        let ratio = power(&directions[1]) / power(&directions[0]);
        assert!((ratio - 1e4).abs() < 1e3, "{ratio}");
        let alone = cotangents(&outputs[..1], Metric::Auto, &|i| image_rng(1, i));
        assert_eq!(alone[0], directions[0]);
    }
}
