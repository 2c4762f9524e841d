//! A dense layer of more inputs than one second moment is kept of: its A is block-diagonal from calibration to the file.

use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz::{
    Axis, CalibrationSpec, CompressedModel, EncoderConfig, Metric, PaperSpec, RateTarget, Silent,
    Source, Statistics, TransformSpec, compress,
};
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::{ModelProto, NodeProto, TensorProto};

const DEMO: &[u8] = include_bytes!("../../../assets/demo.onnx");
/// Twice 3 × 32 × 32.
const INPUTS: usize = 6144;
const CLASSES: usize = 10;

/// The demo network's input, twice, and one dense layer to the demo network's output.
fn wide() -> ModelProto {
    let mut model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
    let graph = model.graph.as_mut().expect("a graph");
    let [input, output] = [&graph.input[0], &graph.output[0]].map(|v| v.name().to_owned());
    let mut rng = Pcg64::seed_from_u64(3);
    let weights: Vec<f32> = (0..CLASSES * INPUTS)
        .map(|_| rng.random::<f32>() * 0.1 - 0.05)
        .collect();
    graph.initializer = vec![
        TensorProto::from_f32("w", &[CLASSES, INPUTS], &weights).expect("fits"),
        TensorProto::from_f32("b", &[CLASSES], &[0.0; CLASSES]).expect("fits"),
    ];
    graph.node = vec![
        NodeProto::new("Concat", &[&input, &input], "twice").with("axis", 1),
        NodeProto::new("Flatten", &["twice"], "flat"),
        NodeProto::new("Gemm", &["flat", "w", "b"], &output).with("transB", 1),
    ];
    graph.value_info.clear();
    model
}

/// Images of one constant each and little noise: patches that are far from white.
fn images(numbers: std::ops::Range<u64>) -> ArrayD<f32> {
    let count = (numbers.end - numbers.start) as usize;
    let mut all = ArrayD::zeros(IxDyn(&[count, 3, 32, 32]));
    for (mut image, number) in all.outer_iter_mut().zip(numbers) {
        let mut rng = Pcg64::seed_from_u64(number);
        let level = rng.random::<f32>() * 4.0 - 2.0;
        image.mapv_inplace(|_| level + rng.random::<f32>() * 0.2);
    }
    all
}

/// Of units of 32 images.
fn statistics(source: &Source, units: &[u64]) -> Statistics {
    let mut calibration = source.calibration(CalibrationSpec {
        metric: Metric::Auto,
        seed: 1,
        images: 64,
    });
    for unit in units {
        let range = unit * 32..(unit + 1) * 32;
        let numbers: Vec<usize> = range.clone().map(|n| n as usize).collect();
        calibration
            .add(&images(range), &numbers, &Silent)
            .expect("runs");
    }
    calibration.finish()
}

#[test]
fn a_layer_of_long_patches_is_measured_merged_saved_and_compressed() {
    let device = EngineDevice::cpu();
    let source = Source::new(wide(), &device).expect("supported");
    let whole = statistics(&source, &[0, 1]);
    assert_eq!(whole.layers["w"].groups[0].input().len(), 2);
    let parts = vec![statistics(&source, &[1]), statistics(&source, &[0])];
    let merged = Statistics::merge(parts).expect("shards of one set");
    let bytes = merged.encode().expect("finite");
    assert_eq!(bytes, whole.encode().expect("finite"));
    let read = Statistics::decode(&bytes).expect("just written");

    let probe = images(100..104);
    let run = |model: &ModelProto| {
        let network = Network::from_model(model, &device).expect("supported");
        network.run_batch(&probe, 4).expect("runs").remove(0)
    };
    let before = run(&wide());
    let power: f32 = before.iter().map(|v| v * v).sum();
    let paper = |axis| EncoderConfig {
        transform: TransformSpec::Elt,
        axis,
        paper: Some(PaperSpec::default()),
        ..EncoderConfig::new(RateTarget::BitsPerWeight(6.0))
    };
    let plain = EncoderConfig::new(RateTarget::BitsPerWeight(4.0));
    for (config, warned) in [
        (plain, false),
        (paper(Axis::Column), false),
        (paper(Axis::Row), true),
    ] {
        let (file, report) = compress(&source, &read, None, &config, &Silent).expect("a file");
        let restored = CompressedModel::decode(&file).and_then(|file| file.to_model());
        let after = run(&restored.expect("decodes"));
        let error: f32 = (&before - &after).iter().map(|v| v * v).sum();
        assert!(error < 0.01 * power, "{config:?}: {error} of {power}");
        let told = report.warnings.iter().any(|w| w.contains("too long"));
        assert_eq!(told, warned, "{:?}", report.warnings);
    }
}
