//! Million weights a second of coding a layer once, on one core: quantizers and transforms side by side, from statistics to the bytes of
//! the file (factoring of A and G and the choice of rows included). A search codes every layer several times.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz::{
    CalibrationSpec, Effort, EncoderConfig, Metric, QuantizerSpec, RateTarget, Silent, Source,
    Statistics, TransformSpec, compress,
};
use tqz_engine::EngineDevice;
use tqz_onnx::model::{ModelProto, NodeProto, TensorProto};

const DEMO: &[u8] = include_bytes!("../../../assets/demo.onnx");
/// Of the demo network's output.
const CLASSES: usize = 10;
/// Channels of the wide layers.
const CHANNELS: usize = 160;
/// Images that statistics are of.
const IMAGES: usize = 64;
/// Bits per weight of the file.
const RATE_BPW: f64 = 1.0;

/// Weights of outputs that are mixed from directions of falling strength, as trained ones are.
fn kernels(name: &str, dims: &[usize], rng: &mut Pcg64) -> TensorProto {
    let (rows, cols) = (dims[0], dims[1..].iter().product());
    let mut draw =
        |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random::<f32>() - 0.5).collect() };
    let (mixing, directions) = (draw(rows * rows), draw(rows * cols));
    let mut weights = vec![0.0; rows * cols];
    for (row, mixing) in weights
        .chunks_exact_mut(cols)
        .zip(mixing.chunks_exact(rows))
    {
        for (l, (share, direction)) in mixing.iter().zip(directions.chunks_exact(cols)).enumerate()
        {
            let share = share * 0.97_f32.powi(l as i32) / (rows as f32).sqrt();
            row.iter_mut()
                .zip(direction)
                .for_each(|(w, d)| *w += share * d);
        }
    }
    TensorProto::from_f32(name, dims, &weights).expect("fits")
}

/// A convolution to the wide layers' channels, two wide layers, and scores.
fn network() -> ModelProto {
    let mut model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
    let graph = model.graph.as_mut().expect("a graph");
    let [input, output] = [&graph.input[0], &graph.output[0]].map(|v| v.name().to_owned());
    let mut rng = Pcg64::seed_from_u64(7);
    let c = CHANNELS;
    graph.initializer = vec![
        kernels("first", &[c, 3, 3, 3], &mut rng),
        kernels("second", &[c, c, 3, 3], &mut rng),
        kernels("third", &[c, c, 3, 3], &mut rng),
        kernels("scores", &[c, CLASSES], &mut rng),
    ];
    let strided = |inputs: &[&str], output: &str| {
        let conv = NodeProto::new("Conv", inputs, output);
        conv.with("strides", [2, 2]).with("pads", [1, 1, 1, 1])
    };
    graph.node = vec![
        strided(&[&input, "first"], "a"),
        NodeProto::new("Relu", &["a"], "b"),
        strided(&["b", "second"], "c"),
        NodeProto::new("Relu", &["c"], "d"),
        strided(&["d", "third"], "e"),
        NodeProto::new("Relu", &["e"], "f"),
        NodeProto::new("GlobalAveragePool", &["f"], "g"),
        NodeProto::new("Flatten", &["g"], "h"),
        NodeProto::new("MatMul", &["h", "scores"], &output),
    ];
    graph.value_info.clear();
    model
}

fn statistics(source: &Source) -> Statistics {
    let mut rng = Pcg64::seed_from_u64(9);
    let images = ArrayD::from_shape_simple_fn(IxDyn(&[IMAGES, 3, 32, 32]), || {
        rng.random::<f32>() * 2.0 - 1.0
    });
    let mut calibration = source.calibration(CalibrationSpec {
        metric: Metric::Auto,
        seed: 1,
        images: IMAGES,
    });
    let numbers: Vec<usize> = (0..IMAGES).collect();
    calibration.add(&images, &numbers, &Silent).expect("runs");
    calibration.finish()
}

/// What is compared: the first is what the others are ratios of.
fn ways() -> [(&'static str, TransformSpec, QuantizerSpec); 5] {
    let rounding = QuantizerSpec {
        feedback: false,
        dependent: Some(false),
        ..QuantizerSpec::default()
    };
    let feedback = QuantizerSpec {
        feedback: true,
        ..rounding
    };
    let dependent = QuantizerSpec {
        dependent: Some(true),
        ..feedback
    };
    [
        ("rounding", TransformSpec::Identity, rounding),
        ("feedback", TransformSpec::Identity, feedback),
        ("dependent", TransformSpec::Identity, dependent),
        ("elt-feedback", TransformSpec::Elt, feedback),
        ("elt-dependent", TransformSpec::Elt, dependent),
    ]
}

fn coding(criterion: &mut Criterion) {
    let source = Source::new(network(), &EngineDevice::cpu()).expect("supported");
    let statistics = statistics(&source);
    let one_core = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let mut group = criterion.benchmark_group("coding");
    group
        .throughput(Throughput::Elements(source.weight_count()))
        .sample_size(10);
    for (name, transform, quantizer) in ways() {
        let fast = EncoderConfig {
            effort: Effort::Fast,
            transform,
            quantizer,
            ..EncoderConfig::new(RateTarget::BitsPerWeight(RATE_BPW))
        };
        let coded = |config: &EncoderConfig| {
            let coded = one_core.install(|| compress(&source, &statistics, None, config, &Silent));
            coded.expect("a file")
        };
        let (_, report) = coded(&fast);
        let once = EncoderConfig {
            target: RateTarget::Step(report.step),
            ..fast
        };
        group.bench_function(name, |b| b.iter(|| coded(black_box(&once))));
    }
    group.finish();
}

criterion_group!(benches, coding);
criterion_main!(benches);
