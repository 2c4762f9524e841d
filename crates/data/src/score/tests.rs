//! Scores by hand, and outputs that do not fit.

use super::*;
use crate::task::{DenoiseOutput, SuperResolveInput};
use ndarray::{Array3, ArrayD, IxDyn, array, s};

fn dynamic(values: &[f32]) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(&[values.len(), 1, 1]), values.to_vec()).unwrap()
}

fn classify(truth: Truth, output: &[f32], reference: Option<&[f32]>, scorer: &mut Scorer) {
    let input = Array3::zeros((3, 1, 1));
    let reference = reference.map(dynamic);
    scorer
        .add(
            &truth,
            input.view(),
            dynamic(output).view(),
            reference.as_ref().map(|r| r.view()),
        )
        .unwrap();
}

#[test]
fn classes_are_ranked_and_compared() {
    let mut scorer = Scorer::new(&Task::Classify);
    let first = [0.0, 3.0, 1.0, 2.0, -1.0, -2.0];
    let second = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5];
    classify(Truth::Label(1), &first, Some(&first), &mut scorer);
    classify(Truth::Label(5), &second, Some(&first), &mut scorer);
    classify(Truth::Label(4), &second, Some(&second), &mut scorer);
    let scores = scorer.finish();
    assert_eq!(scores.images, 3);
    assert_eq!(scores.top1_percent, Some(100.0 / 3.0));
    assert_eq!(scores.top5_percent, Some(200.0 / 3.0));
    assert_eq!(scores.psnr_db, None);
    let reference = scores.reference.unwrap();
    assert_eq!(reference.agreement_percent, Some(200.0 / 3.0));
    let p = log_softmax(&first);
    let q = log_softmax(&second);
    let kl: f64 = (0..6).map(|i| p[i].exp() * (p[i] - q[i])).sum();
    assert!(kl > 0.1 && (reference.kl_nats.unwrap() - kl / 3.0).abs() < 1e-12);
    let mse: f64 = (0..6)
        .map(|i| f64::from(first[i] - second[i]).powi(2))
        .sum::<f64>()
        / 6.0;
    assert!((reference.mse - mse / 3.0).abs() < 1e-12);
    assert!((p.iter().map(|v| v.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn without_labels_only_the_comparison_is_given() {
    let mut scorer = Scorer::new(&Task::Classify);
    classify(Truth::None, &[1.0, 2.0], Some(&[1.0, 2.0]), &mut scorer);
    let scores = scorer.finish();
    assert_eq!((scores.top1_percent, scores.top5_percent), (None, None));
    let reference = scores.reference.unwrap();
    assert_eq!(reference.agreement_percent, Some(100.0));
    assert_eq!(reference.kl_nats, Some(0.0));
    assert_eq!(reference.mse, 0.0);
}

#[test]
fn equal_outputs_go_to_the_first_class() {
    assert_eq!(rank(&[1.0, 1.0, 0.0], 0), 0);
    assert_eq!(rank(&[1.0, 1.0, 0.0], 1), 1);
    assert_eq!(largest(&[0.0, 2.0, 2.0]), 1);
}

#[test]
fn denoising_takes_the_noise_away_and_clips() {
    let task = Task::Denoise {
        sigma: 25.0,
        seed: 0,
        output: DenoiseOutput::Noise,
    };
    let clean = array![[[0.5_f32, 1.0]]];
    let noisy = array![[[0.6_f32, 1.2]]];
    let mut scorer = Scorer::new(&task);
    let truth = Truth::Image(clean);
    let noise = array![[[0.0_f32, -3.0]]].into_dyn();
    scorer
        .add(&truth, noisy.view(), noise.view(), None)
        .unwrap();
    let scores = scorer.finish();
    let expected = 10.0 * (1.0 / (f64::from(0.6_f32 - 0.5).powi(2) / 2.0)).log10();
    assert!((scores.psnr_db.unwrap() - expected).abs() < 1e-5);
    assert!(scores.input_psnr_db.unwrap() < scores.psnr_db.unwrap());
    assert_eq!(scores.reference, None);
    let json = serde_json::to_string(&scores).unwrap();
    assert!(!json.contains("top1") && json.contains("psnr_db"), "{json}");
}

#[test]
fn super_resolution_is_scored_on_luma_inside_the_border() {
    let task = Task::SuperResolve {
        scale: 2,
        input: SuperResolveInput::Rgb,
        border: 2,
    };
    let picture = Array3::from_elem((3, 8, 8), 100.0_f32);
    let small = Array3::from_elem((3, 4, 4), 100.0_f32 / 255.0);
    let mut output = Array3::from_elem((3, 8, 8), 110.0_f32 / 255.0);
    // Whatever lies in the border does not count.
    output.slice_mut(s![.., 0..2, ..]).fill(9.0);
    let mut scorer = Scorer::new(&task);
    let view = output.view().into_dyn();
    scorer
        .add(
            &Truth::Image(picture),
            small.view(),
            view.clone(),
            Some(view),
        )
        .unwrap();
    let scores = scorer.finish();
    let step: f64 = 10.0 * (65.481 + 128.553 + 24.966) / 255.0;
    let expected = 20.0 * (255.0 / step).log10();
    assert!((scores.psnr_db.unwrap() - expected).abs() < 1e-9);
    assert_eq!(scores.input_psnr_db, Some(f64::INFINITY));
    let reference = scores.reference.unwrap();
    assert_eq!((reference.mse, reference.agreement_percent), (0.0, None));
    assert_eq!(reference.psnr_db, scores.psnr_db);
}

#[test]
fn outputs_that_do_not_fit_are_errors() {
    let input = Array3::zeros((1, 2, 2));
    let refused =
        |task: &Task, truth: &Truth, output: ArrayD<f32>, reference: Option<ArrayD<f32>>| {
            Scorer::new(task)
                .add(
                    truth,
                    input.view(),
                    output.view(),
                    reference.as_ref().map(|r| r.view()),
                )
                .unwrap_err()
                .to_string()
        };
    let classify = Task::Classify;
    let label = Truth::Label(3);
    assert!(refused(&classify, &label, dynamic(&[1.0, 2.0]), None).contains("2 classes"));
    assert!(refused(&classify, &label, dynamic(&[f32::NAN; 4]), None).contains("not finite"));
    assert!(refused(&classify, &label, dynamic(&[]), None).contains("empty"));
    let other = Some(dynamic(&[1.0; 5]));
    assert!(refused(&classify, &label, dynamic(&[1.0; 4]), other).contains("reference's"));
    let denoise = Task::Denoise {
        sigma: 25.0,
        seed: 0,
        output: DenoiseOutput::Image,
    };
    let image = Truth::Image(Array3::zeros((1, 2, 2)));
    assert!(refused(&denoise, &image, dynamic(&[1.0; 4]), None).contains("[4, 1, 1]"));
    assert!(refused(&denoise, &label, dynamic(&[1.0; 4]), None).contains("classification"));
    assert!(refused(&classify, &image, dynamic(&[1.0; 4]), None).contains("images"));
    let enlarge = Task::SuperResolve {
        scale: 2,
        input: SuperResolveInput::Luma,
        border: 2,
    };
    let small = Array3::zeros((1, 2, 2)).into_dyn();
    assert!(
        refused(
            &enlarge,
            &Truth::Image(Array3::zeros((3, 2, 2))),
            small,
            None
        )
        .contains("border")
    );
    let batch = Batch {
        first: 0,
        input: ndarray::Array4::zeros((2, 1, 2, 2)),
        truths: vec![Truth::None, Truth::None],
    };
    let error = Scorer::new(&classify)
        .add_batch(&batch, ArrayD::zeros(IxDyn(&[3, 4])).view(), None)
        .unwrap_err();
    assert!(error.to_string().contains("2 images"));
}
