//! Directions in output space for the backward passes that measure G (theory §7): output noise, or the score of a
//! label drawn from the classifier's own prediction.

use ndarray::{ArrayD, ArrayViewD, Axis};
use rand::distr::{Distribution, StandardUniform};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::config::Metric;

/// The generator of one image's directions: a function of the seed and the image's number alone.
pub(crate) fn image_rng(seed: u64, image: usize) -> Pcg64 {
    Pcg64::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ image as u64)
}

/// Whether outputs of this shape are one score vector per image (N × C, or N × C × 1 × 1).
pub(crate) fn is_classifier(shape: &[usize]) -> bool {
    shape.len() >= 2 && shape[1] > 1 && shape[2..].iter().all(|&d| d == 1)
}

/// One direction per image for every output: the metric asked, `Auto` resolved by the output's shape. Only the first output
/// carries a direction; the others' are zero.
pub(crate) fn cotangents(
    outputs: &[ArrayD<f32>],
    metric: Metric,
    rng_of: &dyn Fn(usize) -> Pcg64,
) -> Vec<ArrayD<f32>> {
    let mut directions: Vec<ArrayD<f32>> =
        outputs.iter().map(|o| ArrayD::zeros(o.raw_dim())).collect();
    let (Some(output), Some(direction)) = (outputs.first(), directions.first_mut()) else {
        return directions;
    };
    let fisher = match metric {
        Metric::Fisher => true,
        Metric::OutputNoise => false,
        Metric::Auto => is_classifier(output.shape()),
    };
    let images = output
        .axis_iter(Axis(0))
        .zip(direction.axis_iter_mut(Axis(0)));
    for (image, (y, mut v)) in images.enumerate() {
        let mut rng = rng_of(image);
        if fisher {
            let score = sampled_score(&y, &mut rng);
            v.iter_mut().zip(score).for_each(|(v, s)| *v = s);
        } else {
            v.iter_mut().for_each(|v| *v = normal(&mut rng));
        }
    }
    directions
}

/// `softmax(y) − onehot(label)` with the label drawn from `softmax(y)`.
fn sampled_score(y: &ArrayViewD<'_, f32>, rng: &mut Pcg64) -> Vec<f32> {
    let peak = y.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = y.iter().map(|&v| f64::from(v - peak).exp()).collect();
    let total: f64 = exps.iter().sum();
    let mut left = rng.random::<f64>() * total;
    let drawn = exps
        .iter()
        .position(|e| {
            left -= e;
            left < 0.0
        })
        .unwrap_or(exps.len().saturating_sub(1));
    exps.iter()
        .enumerate()
        .map(|(k, e)| (e / total) as f32 - if k == drawn { 1.0 } else { 0.0 })
        .collect()
}

/// A standard normal number by Marsaglia's polar method.
fn normal(rng: &mut impl Rng) -> f32 {
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
    fn score_has_zero_sum_and_the_mean_of_many_is_near_zero() {
        let y = ArrayD::from_shape_vec(IxDyn(&[1, 3]), vec![1.0, 2.0, 0.5]).expect("shape");
        let mut mean = [0.0_f64; 3];
        for n in 0..20_000 {
            let v = &cotangents(std::slice::from_ref(&y), Metric::Fisher, &|_| {
                image_rng(7, n)
            })[0];
            assert!(v.sum().abs() < 1e-5);
            v.iter()
                .zip(&mut mean)
                .for_each(|(v, m)| *m += f64::from(*v) / 20_000.0);
        }
        assert!(mean.iter().all(|m| m.abs() < 0.015), "{mean:?}");
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
}
