//! What is retrained: the demo network, seeded images, files of it, and what they hold.

use std::sync::OnceLock;

use ndarray::{ArrayD, Axis, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz::{
    CalibrationSpec, CompressedModel, EncoderConfig, Metric, Outcome, QuantizerSpec, RateTarget,
    RetrainSpec, Retrained, Silent, Source, Statistics, Target, TrainingSet,
};
use tqz_engine::EngineDevice;
use tqz_format::{LevelMatrix, Packing};

const DEMO: &[u8] = include_bytes!("../../../../assets/demo.onnx");

pub(crate) fn images(count: usize, seed: u64) -> ArrayD<f32> {
    let mut rng = Pcg64::seed_from_u64(seed);
    ArrayD::from_shape_fn(IxDyn(&[count, 3, 32, 32]), |at| {
        // Some structure, so that the network's classes differ.
        let wave = (at[2] as f32 * 0.2 * (1 + at[0] % 5) as f32 + at[3] as f32 * 0.3).sin();
        wave + rng.random::<f32>() - 0.5
    })
}

/// The demo network, its statistics, and images labelled with the classes that it sees in them.
pub(crate) fn subject() -> &'static (Source, Statistics, TrainingSet) {
    static SUBJECT: OnceLock<(Source, Statistics, TrainingSet)> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
        let source = Source::new(model, &EngineDevice::cpu()).expect("supported");
        let batch = images(320, 1);
        let mut calibration = source.calibration(CalibrationSpec {
            // Starts by it leave more to better than the standard's do.
            metric: Metric::Fisher,
            seed: 5,
            images: 20,
        });
        let first: Vec<usize> = (0..20).collect();
        calibration
            .add(&batch.select(Axis(0), &first), &first, &Silent)
            .expect("runs");
        let statistics = calibration.finish();
        let outputs = source
            .network()
            .run_batch(&batch, 8)
            .expect("runs")
            .remove(0);
        let label = |scores: ndarray::ArrayViewD<'_, f32>| {
            let scores: Vec<f32> = scores.iter().copied().collect();
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            Target::Label(best.unwrap_or(0))
        };
        let mut set = TrainingSet::new();
        set.add(&batch, outputs.axis_iter(Axis(0)).map(label).collect());
        (source, statistics, set)
    })
}

pub(crate) fn compressed(config: &EncoderConfig) -> Vec<u8> {
    let (source, statistics, _) = subject();
    let file = tqz::compress(source, statistics, None, config, &Silent);
    file.expect("compressible").0
}

pub(crate) fn at(bits: f64) -> EncoderConfig {
    EncoderConfig::new(RateTarget::BitsPerWeight(bits))
}

/// Without dependent quantization.
pub(crate) fn plain(bits: f64) -> EncoderConfig {
    EncoderConfig {
        quantizer: QuantizerSpec {
            dependent: Some(false),
            ..QuantizerSpec::default()
        },
        ..at(bits)
    }
}

pub(crate) fn spec() -> RetrainSpec {
    RetrainSpec {
        steps: 32,
        batch: 16,
        check_every: 8,
        level_rate: 0.02,
        side_rate: 5e-4,
        ..RetrainSpec::default()
    }
}

/// A limit a little above a file's size: few steps leave most latents at their levels, where a byte less is dear.
pub(crate) fn room(start: &[u8]) -> Option<RateTarget> {
    Some(RateTarget::Bytes(start.len() as u64 * 101 / 100))
}

pub(crate) fn retrained(start: &[u8], spec: &RetrainSpec) -> Retrained {
    let (source, _, set) = subject();
    match tqz::retrain(source, start, (set, spec), None, &Silent).expect("trains") {
        Outcome::Finished(retrained) => *retrained,
        Outcome::Stopped(step) => panic!("stopped after {step}"),
    }
}

/// Something of every matrix of a file.
pub(crate) fn of_matrices<T>(bytes: &[u8], of: impl Fn(&LevelMatrix) -> T) -> Vec<T> {
    let model = CompressedModel::decode(bytes).expect("decodes");
    let layers = model.file().layers.iter();
    let blocks = layers.flat_map(|layer| &layer.blocks);
    let matrices = blocks.flat_map(|block| block.coding.matrices());
    matrices.map(of).collect()
}

/// How the matrices of a file are packed.
pub(crate) fn packings(bytes: &[u8]) -> Vec<Packing> {
    of_matrices(bytes, |matrix| matrix.packing().clone())
}

/// The steps of the matrices of a file.
pub(crate) fn steps_of(bytes: &[u8]) -> Vec<i32> {
    of_matrices(bytes, |matrix| matrix.scale().base)
}
