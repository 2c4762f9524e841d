//! Exported forms compute what the decoded network computes, whatever the transform of its layers.

use std::sync::OnceLock;

use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz::{
    Axis, CalibrationSpec, CompressedModel, EncoderConfig, Form, Images, Int8Spec, Metric,
    PaperSpec, RateTarget, Silent, Source, Statistics, TransformSpec,
};
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::ModelProto;

const PACKED: Form = Form::Packed { newest_opset: 25 };

const DEMO: &[u8] = include_bytes!("../../../assets/demo.onnx");

fn images(count: usize, seed: u64) -> ArrayD<f32> {
    let mut rng = Pcg64::seed_from_u64(seed);
    ArrayD::from_shape_fn(IxDyn(&[count, 3, 32, 32]), |_| {
        rng.random::<f32>() * 4.0 - 2.0
    })
}

fn subject() -> &'static (Source, Statistics) {
    static SUBJECT: OnceLock<(Source, Statistics)> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
        let source = Source::new(model, &EngineDevice::cpu()).expect("supported");
        let spec = CalibrationSpec {
            metric: Metric::Auto,
            seed: 5,
            images: 20,
        };
        let mut calibration = source.calibration(spec);
        let numbers: Vec<usize> = (0..20).collect();
        calibration
            .add(&images(20, 0), &numbers, &Silent)
            .expect("the demo network runs");
        let statistics = calibration.finish();
        (source, statistics)
    })
}

fn compressed(transform: TransformSpec, axis: Axis, bits: f64) -> CompressedModel {
    let (source, statistics) = subject();
    let config = EncoderConfig {
        transform,
        axis,
        paper: Some(PaperSpec::default()),
        effort: tqz::Effort::Fast,
        ..EncoderConfig::new(RateTarget::BitsPerWeight(bits))
    };
    let (bytes, _) =
        tqz::compress(source, statistics, None, &config, &Silent).expect("the target is reachable");
    CompressedModel::decode(&bytes).expect("decodes")
}

fn outputs(model: &ModelProto) -> ArrayD<f32> {
    let network = Network::from_model(model, &EngineDevice::cpu()).expect("the export runs");
    network.run(&[images(4, 9)]).expect("runs").remove(0)
}

/// Largest difference over the range of the reference.
fn difference(reference: &ArrayD<f32>, other: &ArrayD<f32>) -> f32 {
    let low = reference.iter().copied().fold(f32::INFINITY, f32::min);
    let high = reference.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let pairs = reference.iter().zip(other);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / (high - low)
}

fn nodes(model: &ModelProto, op: &str) -> usize {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    nodes
        .filter(|node| node.op_type.as_deref() == Some(op))
        .count()
}

#[test]
fn transform_and_packed_forms_compute_what_the_dense_one_does() {
    let cases = [
        (TransformSpec::Identity, Axis::Column),
        (TransformSpec::Elt, Axis::Column),
        (TransformSpec::Elt, Axis::Row),
        (TransformSpec::Klt, Axis::Both),
        (TransformSpec::Dct2, Axis::Kernel),
    ];
    for (transform, axis) in cases {
        let compressed = compressed(transform, axis, 1.5);
        let dense = compressed.export(Form::Dense).expect("dense");
        let reference = outputs(&dense);
        for form in [Form::Transform, PACKED] {
            let model = compressed.export(form).expect("exports");
            assert_eq!(nodes(&model, "BatchNormalization"), 0, "{form:?}");
            let found = difference(&reference, &outputs(&model));
            assert!(found < 1e-5, "{transform:?} {axis:?} {form:?}: {found:e}");
        }
    }
}

#[test]
fn chains_save_what_the_costs_say() {
    let compressed = compressed(TransformSpec::Elt, Axis::Column, 0.6);
    let costs = compressed.costs(None).expect("counts");
    assert!(costs.macs() < costs.macs_dense(), "{costs:?}");
    let dense = compressed.export(Form::Dense).expect("dense");
    let chained = compressed.export(Form::Transform).expect("transform");
    let cheaper = costs
        .layers
        .iter()
        .filter(|l| l.macs < l.macs_dense)
        .count();
    let layers = |model: &ModelProto| nodes(model, "Conv") + nodes(model, "Gemm");
    assert_eq!(layers(&chained), layers(&dense) + cheaper);
    let again = Network::from_model(&chained, &EngineDevice::cpu()).expect("runs");
    assert_eq!(again.outputs().len(), 1);
}

#[test]
fn packed_files_are_small() {
    let compressed = compressed(TransformSpec::Identity, Axis::Column, 2.0);
    let size = |form| tqz_onnx::encode_model(&compressed.export(form).expect("exports")).len();
    assert!(size(PACKED) * 3 < size(Form::Dense));
}

#[test]
fn packed_files_ask_for_no_newer_operators_than_allowed() {
    let compressed = compressed(TransformSpec::Identity, Axis::Column, 2.0);
    let made = |newest_opset| {
        compressed
            .export(Form::Packed { newest_opset })
            .expect("exports")
    };
    let version = |model: &ModelProto| model.opset_import[0].version.expect("stated");
    let [old, middle, new] = [1, 21, 25].map(made);
    assert!(version(&old) < 21, "as the original");
    assert_eq!((version(&middle), version(&new)), (21, 25));
    let size = |model: &ModelProto| tqz_onnx::encode_model(model).len();
    assert!(size(&new) < size(&middle) && size(&middle) < size(&old));
    let reference = outputs(&compressed.export(Form::Dense).expect("dense"));
    for model in [&old, &middle, &new] {
        assert!(difference(&reference, &outputs(model)) < 1e-5);
    }
}

#[test]
fn eight_bits_stay_close_and_surround_every_layer() {
    let compressed = compressed(TransformSpec::Elt, Axis::Column, 3.0);
    let mut samples = Images::new();
    samples.add(&images(40, 3));
    for dense in [false, true] {
        let how = (&samples, &Int8Spec::default());
        let (model, report) = compressed
            .export_int8(dense, how, &Silent)
            .expect("exports");
        assert!(report.layers > 0 && report.float_layers > 0, "{report:?}");
        assert!(report.agreement.output_snr_db > 20.0, "{report:?}");
        assert!(nodes(&model, "QuantizeLinear") >= report.layers);
        let float = outputs(&compressed.export(Form::Dense).expect("dense"));
        assert!(difference(&float, &outputs(&model)) < 0.1);
    }
}

#[test]
fn eight_bits_need_images() {
    let compressed = compressed(TransformSpec::Identity, Axis::Column, 3.0);
    let how = (&Images::new(), &Int8Spec::default());
    let error = compressed
        .export_int8(false, how, &Silent)
        .expect_err("no images");
    assert!(error.to_string().contains("calibration images"), "{error}");
}
