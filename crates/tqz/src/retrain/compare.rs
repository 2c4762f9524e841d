//! How one image's output is compared: with the original's, or with what is right.

use ndarray::{Array1, ArrayView1};

use crate::outputs::{Comparison, FEW_CLASSES, OutputKind, TEMPERATURE};
use crate::retrain::data::Target;
use crate::retrain::spec::{OutputDistance, RetrainSpec};

/// How outputs of so many numbers an image are compared with the original's.
pub(super) fn comparison(own: OutputKind, per_image: usize, spec: &RetrainSpec) -> Comparison {
    let kind = match spec.distance {
        OutputDistance::SquaredError => OutputKind::Values,
        OutputDistance::Auto => own,
    };
    let usual = if per_image <= FEW_CLASSES {
        TEMPERATURE
    } else {
        1.0
    };
    Comparison {
        kind,
        temperature: spec.temperature.unwrap_or(usual),
    }
}

/// A class as the probabilities of all.
pub(super) fn of_class(class: usize, len: usize) -> Array1<f32> {
    Array1::from_shape_fn(len, |index| f32::from(u8::from(index == class)))
}

/// Labels are always compared as probabilities.
pub(super) fn kind_of_truth(target: &Target) -> OutputKind {
    match target {
        Target::Label(_) => OutputKind::Probabilities,
        _ => OutputKind::Values,
    }
}

/// Squared errors count as means over an output's elements.
pub(super) fn unit(kind: OutputKind, len: usize) -> f64 {
    match kind {
        OutputKind::Values => 1.0 / len.max(1) as f64,
        _ => 1.0,
    }
}

/// Distance of an output from a reference; scores are turned into probabilities where the reference holds those.
pub(super) fn distance(
    own: OutputKind,
    how: Comparison,
    reference: ArrayView1<'_, f32>,
    output: ArrayView1<'_, f32>,
) -> f64 {
    if how.kind != OutputKind::Probabilities || own == OutputKind::Probabilities {
        return how.distance(reference, output);
    }
    let q = OutputKind::Logits.probabilities(output);
    let surprise = reference
        .iter()
        .zip(&q)
        .map(|(&p, q)| -f64::from(p) * q.ln());
    surprise.sum()
}

/// Gradient of [`distance`] at the output, times `weight`.
pub(super) fn gradient(
    own: OutputKind,
    how: Comparison,
    (reference, output): (ArrayView1<'_, f32>, ArrayView1<'_, f32>),
    weight: f64,
) -> Vec<f32> {
    if how.kind != OutputKind::Probabilities || own == OutputKind::Probabilities {
        return how.gradient(reference, output, weight);
    }
    let q = OutputKind::Logits.probabilities(output);
    let slopes = reference
        .iter()
        .zip(&q)
        .map(|(&p, q)| weight * (q - f64::from(p)));
    slopes.map(|g| g as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_of_few_classes_are_tempered_unless_asked_otherwise() {
        let of = |classes, temperature| {
            let spec = RetrainSpec {
                temperature,
                ..RetrainSpec::default()
            };
            comparison(OutputKind::Logits, classes, &spec).temperature
        };
        assert_eq!([of(10, None), of(1000, None)], [TEMPERATURE, 1.0]);
        assert_eq!([of(10, Some(1.0)), of(1000, Some(3.0))], [1.0, 3.0]);
    }

    #[test]
    fn labels_are_compared_by_the_prediction_as_it_is() {
        let scores = Array1::from(vec![2.0_f32, 0.0, -1.0]);
        let right = of_class(0, 3);
        let how = Comparison::plain(kind_of_truth(&Target::Label(0)));
        let found = distance(OutputKind::Logits, how, right.view(), scores.view());
        let total: f64 = [2.0_f64, 0.0, -1.0].iter().map(|v| v.exp()).sum();
        assert!((found - (total.ln() - 2.0)).abs() < 1e-6);
        let slopes = gradient(OutputKind::Logits, how, (right.view(), scores.view()), 1.0);
        assert!((f64::from(slopes[0]) - (2.0_f64.exp() / total - 1.0)).abs() < 1e-6);
    }
}
