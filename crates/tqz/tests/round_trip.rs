//! The promises of a whole compression, on the demo network, seeded random images and drawn shapes: the target is kept, the decoder gives back
//! an equal graph with close numbers, bytes do not depend on threads, damaged files are refused.

use std::path::Path;
use std::sync::OnceLock;

use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz::{
    Axis, CalibrationSpec, CompressedModel, EncoderConfig, Images, Metric, PaperSpec, RateTarget,
    Silent, Source, Statistics, TransformSpec,
};
use tqz_data::{DataSet, OpenOptions};
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::tensor_shape_proto::dimension;
use tqz_onnx::model::{ModelProto, type_proto};
use tqz_onnx::visit;

const DEMO: &[u8] = include_bytes!("../../../assets/demo.onnx");

fn model() -> ModelProto {
    tqz_onnx::decode_model(DEMO).expect("the demo network is valid")
}

fn images(count: usize, seed: u64) -> ArrayD<f32> {
    let mut rng = Pcg64::seed_from_u64(seed);
    ArrayD::from_shape_fn(IxDyn(&[count, 3, 32, 32]), |_| {
        rng.random::<f32>() * 4.0 - 2.0
    })
}

fn calibrated(source: &Source, batches: &[ArrayD<f32>]) -> Statistics {
    let spec = CalibrationSpec {
        // Tests compare by the divergence as it is.
        metric: Metric::Fisher,
        seed: 5,
        images: batches.iter().map(|batch| batch.shape()[0]).sum(),
    };
    let mut calibration = source.calibration(spec);
    let mut first = 0;
    for batch in batches {
        let numbers: Vec<usize> = (first..first + batch.shape()[0]).collect();
        first += numbers.len();
        calibration
            .add(batch, &numbers, &Silent)
            .expect("the demo network runs");
    }
    calibration.finish()
}

fn subject() -> &'static (Source, Statistics) {
    static SUBJECT: OnceLock<(Source, Statistics)> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        let source =
            Source::new(model(), &EngineDevice::cpu()).expect("the demo network is supported");
        let statistics = calibrated(&source, &[images(20, 0), images(20, 1)]);
        (source, statistics)
    })
}

fn compress(config: &EncoderConfig) -> Vec<u8> {
    let (source, statistics) = subject();
    tqz::compress(source, statistics, None, config, &Silent)
        .expect("compressible")
        .0
}

fn at(bits: f64, transform: TransformSpec) -> EncoderConfig {
    EncoderConfig {
        transform,
        ..EncoderConfig::new(RateTarget::BitsPerWeight(bits))
    }
}

#[test]
fn files_are_no_larger_than_asked_and_not_much_smaller() {
    let weights = subject().0.weight_count() as f64;
    for bits in [1.0, 2.5, 6.0] {
        let rate_bpw = 8.0 * compress(&at(bits, TransformSpec::Auto)).len() as f64 / weights;
        assert!(
            rate_bpw <= bits && rate_bpw > 0.97 * bits,
            "asked {bits}, got {rate_bpw}"
        );
    }
}

#[test]
fn every_transform_gives_back_the_graph_with_close_outputs() {
    let probe = images(6, 77);
    let original = subject()
        .0
        .network()
        .run_batch(&probe, 3)
        .expect("runs")
        .remove(0);
    let power: f32 = original.iter().map(|v| v * v).sum();
    for transform in [
        TransformSpec::Identity,
        TransformSpec::Klt,
        TransformSpec::Elt,
    ] {
        let bytes = compress(&at(7.0, transform));
        let decoded = CompressedModel::decode(&bytes).expect("decodes");
        let restored = decoded.to_model().expect("fits its graph");
        assert_same_graph(&model(), &restored);
        let network = Network::from_model(&restored, &EngineDevice::cpu()).expect("runs");
        let output = network.run_batch(&probe, 3).expect("runs").remove(0);
        let error: f32 = (&output - &original).iter().map(|v| v * v).sum();
        assert!(
            error < 2e-3 * power,
            "{transform:?}: relative error {}",
            error / power
        );
    }
}

/// Equal but for the numbers of float tensors.
fn assert_same_graph(a: &ModelProto, b: &ModelProto) {
    let emptied = |model: &ModelProto| {
        let mut model = model.clone();
        visit::tensors_mut(&mut model, |_, tensor| {
            assert!(
                tensor
                    .to_f32()
                    .map_or(true, |v| v.iter().all(|x| x.is_finite()))
            );
            tensor.raw_data = None;
            tensor.float_data.clear();
        });
        model
    };
    assert_eq!(emptied(a), emptied(b));
}

/// The published method: every transform along every axis makes a file within its size that decodes to a network near the
/// original.
#[test]
fn the_papers_quantizer_works_with_every_transform_and_axis() {
    let column = [
        TransformSpec::Identity,
        TransformSpec::Klt,
        TransformSpec::Elt,
    ];
    let mut asked: Vec<(TransformSpec, Axis)> = Vec::new();
    for axis in [Axis::Column, Axis::Row, Axis::Kernel, Axis::Both] {
        asked.extend(column.map(|transform| (transform, axis)));
    }
    asked.push((TransformSpec::Dct1, Axis::Kernel));
    asked.push((TransformSpec::Dct2, Axis::Kernel));
    for (transform, axis) in asked {
        let loss = papers_loss(5.0, (transform, axis));
        assert!(loss < 0.05, "{transform:?} {axis:?}: {loss}");
    }
}

/// Over a few rates, since one file says little: errors of layers add up or cancel. Above them the bits of S weigh more, in so
/// small a network, than what it saves.
#[test]
fn the_papers_transforms_lose_less_than_none() {
    let loss = |transform, axis| {
        geometric_mean([2.5, 3.0, 3.5, 4.0].map(|bits| papers_loss(bits, (transform, axis))))
    };
    let identity = loss(TransformSpec::Identity, Axis::Column);
    for (transform, axis) in [
        (TransformSpec::Elt, Axis::Column),
        (TransformSpec::Elt, Axis::Row),
        (TransformSpec::Elt, Axis::Kernel),
        (TransformSpec::Klt, Axis::Kernel),
    ] {
        let loss = loss(transform, axis);
        assert!(
            loss < 0.8 * identity,
            "{transform:?} {axis:?}: {loss} of {identity}"
        );
    }
}

/// Divergence of the published method's file of so many bits per weight.
fn papers_loss(bits: f64, (transform, axis): (TransformSpec, Axis)) -> f64 {
    let (source, _) = subject();
    let config = EncoderConfig {
        axis,
        paper: Some(PaperSpec::default()),
        ..at(bits, transform)
    };
    let bytes = compress(&config);
    let size_bits = bytes.len() as f64 * 8.0 / source.weight_count() as f64;
    assert!(size_bits <= bits && size_bits > 0.8 * bits, "{size_bits}");
    divergence(source, &bytes, &images(256, 77))
}

fn geometric_mean<const N: usize>(values: [f64; N]) -> f64 {
    (values.map(f64::ln).iter().sum::<f64>() / N as f64).exp()
}

/// Rows and kernels are transformed by the main coder too, with feedback on both sides of T and of the refitted S.
#[test]
fn rows_and_kernels_are_transformed_with_feedback() {
    let (source, probe) = (&subject().0, images(256, 77));
    let plain = divergence(source, &compress(&at(2.0, TransformSpec::Identity)), &probe);
    let asked = [
        (TransformSpec::Elt, Axis::Row),
        (TransformSpec::Klt, Axis::Row),
        (TransformSpec::Elt, Axis::Kernel),
        (TransformSpec::Dct2, Axis::Kernel),
    ];
    for (transform, axis) in asked {
        let config = EncoderConfig {
            axis,
            ..at(2.0, transform)
        };
        let bytes = compress(&config);
        assert!(bytes.len() as u64 * 8 <= 2 * source.weight_count());
        let loss = divergence(source, &bytes, &probe);
        // The basis costs bits that two-sided feedback alone would put to better use on so small a network.
        assert!(
            loss < 20.0 * plain,
            "{transform:?} {axis:?}: {loss} of {plain}"
        );
    }
    let refused = EncoderConfig {
        axis: Axis::Both,
        ..at(2.0, TransformSpec::Elt)
    };
    assert!(refused.check().is_err());
}

#[test]
fn more_bits_mean_less_distortion() {
    let (source, statistics) = subject();
    let predicted = |bits: f64| {
        let config = at(bits, TransformSpec::Auto);
        let (_, report) =
            tqz::compress(source, statistics, None, &config, &Silent).expect("compressible");
        report.predicted_distortion
    };
    let distortions: Vec<f64> = [1.0, 2.0, 4.0].map(predicted).to_vec();
    assert!(
        distortions.windows(2).all(|w| w[1] < 0.5 * w[0]),
        "{distortions:?}"
    );
}

/// Divergence in nats of a file's predictions from the original's, mean over images that nothing was decided by.
fn divergence(source: &Source, bytes: &[u8], probe: &ArrayD<f32>) -> f64 {
    let decoded = CompressedModel::decode(bytes).expect("valid");
    let model = decoded.to_model().expect("valid");
    let network = Network::from_model(&model, &EngineDevice::cpu()).expect("runs");
    let predictions = |network: &Network| -> Vec<Vec<f64>> {
        let output = network.run_batch(probe, 8).expect("runs").swap_remove(0);
        let softmax = |row: ndarray::ArrayViewD<f32>| {
            let exps: Vec<f64> = row.iter().map(|&v| f64::from(v).exp()).collect();
            let sum: f64 = exps.iter().sum();
            exps.iter().map(|e| e / sum).collect()
        };
        output.outer_iter().map(softmax).collect()
    };
    let (p, q) = (predictions(source.network()), predictions(&network));
    let pairs = p.iter().flatten().zip(q.iter().flatten());
    pairs.map(|(p, q)| p * (p / q).ln()).sum::<f64>() / probe.shape()[0] as f64
}

/// Images of a card among the repository's own, and their normalised numbers in one array.
fn drawn(card: &str) -> ArrayD<f32> {
    let card = Path::new(env!("CARGO_MANIFEST_DIR")).join(card);
    let set = DataSet::open_card(&card, &OpenOptions::default()).expect("a card");
    let batch = set.batches(set.len()).next().expect("images");
    batch.expect("readable").input.into_dyn()
}

/// On drawn shapes: those that calibrated are at hand where the file is made, others judge.
#[test]
fn images_make_files_of_the_same_size_more_faithful() {
    let source = &subject().0;
    let calibration = drawn("../../assets/demo-calib.toml");
    let statistics = calibrated(source, std::slice::from_ref(&calibration));
    let mut images = Images::new();
    images.add(&calibration);
    let probe = drawn("../../assets/demo-test.toml");
    let ratio = geometric_mean([0.45, 0.7, 1.0].map(|bits| {
        let config = at(bits, TransformSpec::Auto);
        let [with, without] = [Some(&images), None].map(|images| {
            let made = tqz::compress(source, &statistics, images, &config, &Silent);
            let (bytes, report) = made.expect("compressible");
            assert!(bytes.len() as u64 * 8 <= (bits * report.weights as f64) as u64);
            divergence(source, &bytes, &probe)
        });
        with / without
    }));
    assert!(ratio < 0.6, "{ratio}");
}

#[test]
fn bytes_made_with_images_do_not_depend_on_the_number_of_threads() {
    let (source, statistics) = subject();
    let mut calibration = Images::new();
    (0..2).for_each(|part| calibration.add(&images(20, part)));
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| {
            let config = at(0.5, TransformSpec::Auto);
            tqz::compress(source, statistics, Some(&calibration), &config, &Silent)
                .expect("compressible")
                .0
        })
    };
    assert!(with(1) == with(2));
}

/// A network whose exporter wrote the batch size down is calibrated in batches of that size, an incomplete last one included.
#[test]
fn a_network_of_fixed_batch_size_is_compressed_like_any_other() {
    let mut fixed = model();
    let input = &mut fixed.graph.as_mut().expect("graph").input[0];
    let Some(type_proto::Value::TensorType(tensor)) =
        input.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        panic!("the input is a tensor");
    };
    tensor.shape.as_mut().expect("shape").dim[0].value = Some(dimension::Value::DimValue(3));
    let source = Source::new(fixed, &EngineDevice::cpu()).expect("supported");
    assert_eq!(source.network().fixed_batch(), Some(3));
    let statistics = calibrated(&source, &[images(10, 1)]);
    let (bytes, _) = tqz::compress(
        &source,
        &statistics,
        None,
        &at(4.0, TransformSpec::Auto),
        &Silent,
    )
    .expect("compressible");
    let decoded = CompressedModel::decode(&bytes).expect("valid");
    let network = Network::from_model(&decoded.to_model().expect("valid"), &EngineDevice::cpu())
        .expect("runs");
    assert_eq!(network.fixed_batch(), Some(3));
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let bytes_with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("pool");
        pool.install(|| {
            let source = Source::new(model(), &EngineDevice::cpu()).expect("supported");
            let statistics = calibrated(&source, &[images(20, 0), images(20, 1)]);
            let config = EncoderConfig::new(RateTarget::Step(0.002));
            tqz::compress(&source, &statistics, None, &config, &Silent)
                .expect("compressible")
                .0
        })
    };
    let one = bytes_with(1);
    assert!(bytes_with(2) == one && bytes_with(3) == one);
}

#[test]
fn decoding_and_encoding_again_gives_the_same_bytes() {
    let bytes = compress(&at(2.0, TransformSpec::Auto));
    let again = CompressedModel::decode(&bytes)
        .expect("decodes")
        .file()
        .encode()
        .expect("encodes");
    assert!(again == bytes);
}

#[test]
fn damaged_files_are_refused() {
    let bytes = compress(&at(1.0, TransformSpec::Auto));
    for place in (0..bytes.len()).step_by(211) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        assert!(CompressedModel::decode(&damaged).is_err(), "byte {place}");
        assert!(
            CompressedModel::decode(&bytes[..place]).is_err(),
            "cut at {place}"
        );
    }
}

#[test]
fn a_target_below_what_is_kept_says_what_is_possible() {
    let (source, statistics) = subject();
    let config = EncoderConfig::new(RateTarget::Bytes(300));
    let error = tqz::compress(source, statistics, None, &config, &Silent).expect_err("too small");
    assert!(error.to_string().contains("smallest"), "{error}");
}

#[test]
fn statistics_of_another_network_are_refused() {
    let (source, statistics) = subject();
    let mut other = statistics.clone();
    other.layers.pop_first();
    let config = EncoderConfig::new(RateTarget::Step(0.01));
    let error = tqz::compress(source, &other, None, &config, &Silent).expect_err("no statistics");
    assert!(error.to_string().contains("no statistics"), "{error}");
}
