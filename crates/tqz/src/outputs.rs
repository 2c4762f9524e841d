//! What a network's first output means, how far another network's is from it, and the gradient of that distance: the one
//! notion of distortion that everything measured uses.

use ndarray::{ArrayD, ArrayView1, Axis};

/// What one image's output vector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// Class scores before softmax: distance is the Kullback–Leibler divergence of the predictions.
    Logits,
    /// Class probabilities (the graph ends in Softmax): likewise.
    Probabilities,
    /// Anything else (an image): distance is the squared error, summed over the image.
    Values,
}

/// Probabilities below this count as this much.
const LEAST_PROBABILITY: f64 = 1e-9;
/// Classes up to which predictions are tempered: of a thousand the many that are out of the question would count for too much.
pub(crate) const FEW_CLASSES: usize = 100;
/// What scores are divided by where predictions are tempered.
pub(crate) const TEMPERATURE: f64 = 2.0;
/// How far from 1 the sum of probabilities may be.
const SUM_TOLERANCE: f64 = 1e-3;

impl OutputKind {
    /// Decides by shape (N × C, or N × C × 1 × 1 is a classifier's) and numbers of a batch of outputs.
    pub(crate) fn of(output: &ArrayD<f32>) -> Self {
        let shape = output.shape();
        let vectors = shape.len() >= 2 && shape[1] > 1 && shape[2..].iter().all(|&d| d == 1);
        if !vectors {
            return Self::Values;
        }
        let is_distribution = |row: ndarray::ArrayViewD<'_, f32>| {
            let sum: f64 = row.iter().map(|&v| f64::from(v)).sum();
            row.iter().all(|&v| v >= 0.0) && (sum - 1.0).abs() < SUM_TOLERANCE
        };
        if output.axis_iter(Axis(0)).all(is_distribution) {
            Self::Probabilities
        } else {
            Self::Logits
        }
    }

    /// Class probabilities of one image.
    pub(crate) fn probabilities(self, output: ArrayView1<'_, f32>) -> Vec<f64> {
        self.tempered(output, 1.0)
    }

    /// Class probabilities of one image as they are with scores divided by `temperature`.
    fn tempered(self, output: ArrayView1<'_, f32>, temperature: f64) -> Vec<f64> {
        let peak = output.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let power = |&v: &f32| match self {
            Self::Probabilities => f64::from(v.max(0.0)).powf(1.0 / temperature),
            _ => (f64::from(v - peak) / temperature).exp(),
        };
        let powers: Vec<f64> = output.iter().map(power).collect();
        let total: f64 = powers.iter().sum();
        powers
            .iter()
            .map(|power| (power / total).max(LEAST_PROBABILITY))
            .collect()
    }

    /// A slope at a class' score as one at the output `y` of that class: scores are logarithms of probabilities.
    fn at_output(self, slope: f64, y: f32) -> f64 {
        match self {
            Self::Probabilities => slope / f64::from(y).max(LEAST_PROBABILITY),
            _ => slope,
        }
    }

    /// Distance of one image's output from the reference's, ≥ 0: nats, or squared error.
    pub(crate) fn distance(
        self,
        reference: ArrayView1<'_, f32>,
        output: ArrayView1<'_, f32>,
    ) -> f64 {
        Comparison::plain(self).distance(reference, output)
    }

    /// Gradient of [`Self::distance`] at `output`, times `weight`.
    pub(crate) fn gradient(
        self,
        reference: ArrayView1<'_, f32>,
        output: ArrayView1<'_, f32>,
        weight: f64,
    ) -> Vec<f32> {
        Comparison::plain(self).gradient(reference, output, weight)
    }

    /// A direction whose covariance is the mean of the prediction's Fisher matrix and an even spread over all classes of the same
    /// trace, from two vectors of standard normal noise ε and η: at logits `(√p∘ε − p·(√pᵗε) + σ(η − η̄))/√2`, whose first part has
    /// covariance `diag(p) − p·pᵗ` and whose second has the trace `σ²(C − 1) = 1 − Σp²`; at probabilities what gives the same at
    /// the logits before them. Unlike directions from drawn labels, which a sure classifier almost never draws differently, here
    /// every image counts by what it is; and the even part keeps whole what serves classes that no calibration image is of
    /// (theory §9: Fisher and logit noise averaged are better than either). All with p as it is with scores divided by `temperature`, whose
    /// divergence it is that is measured: the direction is divided by it, too.
    pub(crate) fn fisher_direction(
        self,
        output: ArrayView1<'_, f32>,
        (noise, even): (ArrayView1<'_, f32>, ArrayView1<'_, f32>),
        temperature: f64,
    ) -> Vec<f32> {
        let p = self.tempered(output, temperature);
        let classes = p.len().max(2) as f64;
        let trace = (1.0 - p.iter().map(|p| p * p).sum::<f64>()).max(0.0);
        let sigma = (trace / (classes - 1.0)).sqrt();
        let mean = even.iter().map(|&e| f64::from(e)).sum::<f64>() / classes;
        let noise = noise.iter().map(|&e| f64::from(e));
        let drift: f64 = p.iter().zip(noise.clone()).map(|(p, e)| p.sqrt() * e).sum();
        let drawn = noise.zip(even.iter().map(|&e| sigma * (f64::from(e) - mean)));
        let at_scores = p
            .iter()
            .zip(drawn)
            .map(|(p, (noise, even))| p.sqrt() * noise - p * drift + even);
        at_scores
            .zip(output)
            .map(|(direction, &y)| self.at_output(direction, y))
            .map(|direction| (direction * std::f64::consts::FRAC_1_SQRT_2 / temperature) as f32)
            .collect()
    }
}

/// How outputs are compared: what they are, and what scores are divided by before they become predictions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) kind: OutputKind,
    /// Of no account for values.
    pub(crate) temperature: f64,
}

impl Comparison {
    /// Of predictions as they are.
    pub(crate) fn plain(kind: OutputKind) -> Self {
        Self {
            kind,
            temperature: 1.0,
        }
    }

    /// Distance of one image's output from the reference's, ≥ 0: squared error, or the divergence of tempered predictions times the square of
    /// the temperature, so that it is about as large as at temperature 1 (Hinton, Vinyals, Dean 2015).
    pub(crate) fn distance(
        self,
        reference: ArrayView1<'_, f32>,
        output: ArrayView1<'_, f32>,
    ) -> f64 {
        if self.kind == OutputKind::Values {
            let squares = reference
                .iter()
                .zip(output)
                .map(|(r, o)| f64::from(o - r).powi(2));
            return squares.sum();
        }
        let [p, q] = [reference, output].map(|v| self.kind.tempered(v, self.temperature));
        let nats: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
        self.temperature.powi(2) * nats.max(0.0)
    }

    /// Gradient of [`Self::distance`] at `output`, times `weight`.
    pub(crate) fn gradient(
        self,
        reference: ArrayView1<'_, f32>,
        output: ArrayView1<'_, f32>,
        weight: f64,
    ) -> Vec<f32> {
        if self.kind == OutputKind::Values {
            let differences = reference.iter().zip(output).map(|(r, o)| f64::from(o - r));
            return differences.map(|d| (2.0 * weight * d) as f32).collect();
        }
        let [p, q] = [reference, output].map(|v| self.kind.tempered(v, self.temperature));
        let at_scores = p.iter().zip(&q).map(|(p, q)| q - p);
        at_scores
            .zip(output)
            .map(|(slope, &y)| self.kind.at_output(slope, y))
            .map(|slope| (weight * self.temperature * slope) as f32)
            .collect()
    }
}

/// The images of a batch of outputs, each as one vector.
pub(crate) fn rows(output: &ArrayD<f32>) -> impl Iterator<Item = ArrayView1<'_, f32>> {
    let images = output.shape().first().copied().unwrap_or(0);
    let size = output.len() / images.max(1);
    let values = output.as_slice().unwrap_or(&[]);
    values.chunks_exact(size.max(1)).map(ArrayView1::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, IxDyn};

    #[test]
    fn kinds_are_told_by_shape_and_numbers() {
        let of = |shape: &[usize], values: Vec<f32>| {
            OutputKind::of(&ArrayD::from_shape_vec(IxDyn(shape), values).expect("shape"))
        };
        assert_eq!(
            of(&[2, 2], vec![0.25, 0.75, 1.0, 0.0]),
            OutputKind::Probabilities
        );
        assert_eq!(of(&[1, 3, 1, 1], vec![0.25, 0.75, 1.0]), OutputKind::Logits);
        assert_eq!(of(&[1, 1, 2, 2], vec![0.25; 4]), OutputKind::Values);
    }

    #[test]
    fn gradients_are_slopes_of_the_distance() {
        let reference = Array1::from(vec![0.2_f32, 0.5, 0.3]);
        let output = Array1::from(vec![0.3_f32, 0.3, 0.4]);
        let kinds = [
            OutputKind::Logits,
            OutputKind::Probabilities,
            OutputKind::Values,
        ];
        for (kind, temperature) in kinds.into_iter().flat_map(|k| [(k, 1.0), (k, 2.0)]) {
            let how = Comparison { kind, temperature };
            let gradient = how.gradient(reference.view(), output.view(), 1.0);
            for k in 0..3 {
                let at = |step: f32| {
                    let mut moved = output.clone();
                    moved[k] += step;
                    how.distance(reference.view(), moved.view())
                };
                let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
                assert!(
                    (slope - f64::from(gradient[k])).abs() < 2e-3,
                    "{how:?} {slope} {gradient:?}"
                );
            }
            assert!(how.distance(output.view(), output.view()).abs() < 1e-9);
        }
    }
}
