//! Files asked for by what may be lost, and curves measured through the network, on the demo network and seeded random images.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz::{
    CompressedModel, CurvePoint, CurveStore, Effort, EncoderConfig, Images, Judge, Metric,
    PaperCurves, PaperSpec, RateTarget, Silent, Source, Statistics, TransformSpec, compress_within,
    layer_distances,
};
use tqz_engine::{EngineDevice, Network};

const DEMO: &[u8] = include_bytes!("../../../assets/demo.onnx");

struct Subject {
    source: Source,
    images: Images,
    statistics: Statistics,
    probe: ArrayD<f32>,
}

fn subject() -> &'static Subject {
    static SUBJECT: OnceLock<Subject> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
        let source = Source::new(model, &EngineDevice::cpu()).expect("supported");
        let mut rng = Pcg64::seed_from_u64(3);
        let mut batch = |count: usize| {
            ArrayD::from_shape_fn(IxDyn(&[count, 3, 32, 32]), |_| {
                rng.random::<f32>() * 4.0 - 2.0
            })
        };
        let mut images = Images::new();
        images.add(&batch(30));
        let statistics = images.calibrate(&source, (Metric::Auto, 1), &Silent);
        Subject {
            statistics: statistics.expect("the demo network runs"),
            probe: batch(8),
            source,
            images,
        }
    })
}

/// Relative squared error of the outputs, in per cent.
struct Error {
    bound: f64,
}

impl Judge for Error {
    fn loss(&self, network: &Network) -> Result<f64, String> {
        let run = |network: &Network| {
            network
                .run_batch(&subject().probe, 4)
                .expect("runs")
                .remove(0)
        };
        let (original, output) = (run(subject().source.network()), run(network));
        let far: f32 = (&output - &original).iter().map(|v| v * v).sum();
        let power: f32 = original.iter().map(|v| v * v).sum();
        Ok(f64::from(100.0 * far / power))
    }

    fn bound(&self) -> f64 {
        self.bound
    }
}

/// The file's loss as a decoder has it, and its size.
fn within(bound: f64, config: EncoderConfig) -> (f64, usize) {
    let subject = subject();
    let judge = Error { bound };
    let given = (&subject.source, &subject.statistics, &subject.images);
    let (bytes, report) = compress_within(given.0, given.1, given.2, (&config, &judge), &Silent)
        .expect("a file within the bound exists");
    let model = CompressedModel::decode(&bytes).and_then(|m| m.to_model());
    let network = Network::from_model(&model.expect("decodes"), &EngineDevice::cpu());
    let loss = judge.loss(&network.expect("runs")).expect("judged");
    let judged = report.judged.expect("a bound was asked for");
    assert!(
        (judged.loss - loss).abs() < 1e-3 * loss,
        "{judged:?} {loss}"
    );
    (loss, bytes.len())
}

#[test]
fn the_file_found_is_within_its_bound_and_smaller_where_more_may_be_lost() {
    for paper in [None, Some(PaperSpec::default())] {
        let config = EncoderConfig {
            effort: Effort::Fast,
            paper,
            ..EncoderConfig::new(RateTarget::Step(1.0))
        };
        let (little, large) = within(0.5, config);
        let (more, small) = within(8.0, config);
        assert!(little <= 0.5 && more <= 8.0, "{paper:?}: {little} {more}");
        assert!(small < large, "{paper:?}: {small} of {large}");
    }
}

#[test]
fn the_file_found_is_within_its_bound_when_side_values_are_tuned() {
    let config = EncoderConfig::new(RateTarget::Step(1.0));
    assert!(within(2.0, config).0 <= 2.0);
}

#[test]
fn a_bound_that_nothing_meets_is_refused_with_the_least_loss() {
    struct Never;
    impl Judge for Never {
        fn loss(&self, _: &Network) -> Result<f64, String> {
            Ok(7.5)
        }
        fn bound(&self) -> f64 {
            1.0
        }
    }
    let subject = subject();
    let config = EncoderConfig {
        effort: Effort::Fast,
        ..EncoderConfig::new(RateTarget::Step(1.0))
    };
    let given = (&subject.source, &subject.statistics, &subject.images);
    let error = compress_within(given.0, given.1, given.2, (&config, &Never), &Silent)
        .expect_err("nothing is good enough");
    assert!(error.to_string().contains("7.5"), "{error}");
}

#[derive(Default)]
struct Memory {
    known: BTreeMap<CurvePoint, f64>,
    measured: usize,
}

impl CurveStore for Memory {
    fn get(&self, point: &CurvePoint) -> Option<f64> {
        self.known.get(point).copied()
    }
    fn put(&mut self, point: CurvePoint, distortion: f64) -> Result<(), String> {
        self.known.insert(point, distortion);
        self.measured += 1;
        Ok(())
    }
}

/// Measured curves make a file of the same size about as good, and what the store has is not measured again.
#[test]
fn measured_curves_serve_as_well_and_are_measured_once() {
    let subject = subject();
    let config = EncoderConfig {
        transform: TransformSpec::Elt,
        paper: Some(PaperSpec {
            blocks: 1,
            ..PaperSpec::default()
        }),
        effort: Effort::Fast,
        ..EncoderConfig::new(RateTarget::BitsPerWeight(5.0))
    };
    let curves = || {
        PaperCurves::new(&subject.source, &subject.statistics, &config, &Silent).expect("curves")
    };
    let loss = |curves: &PaperCurves| {
        let (bytes, _) = curves
            .compress(&subject.source, config.target)
            .expect("compressible");
        let model = CompressedModel::decode(&bytes).and_then(|m| m.to_model());
        let network = Network::from_model(&model.expect("decodes"), &EngineDevice::cpu());
        let judge = Error { bound: 1.0 };
        (judge.loss(&network.expect("runs")).expect("judged"), bytes)
    };
    let (closed, _) = loss(&curves());
    let mut store = Memory::default();
    let mut measured = curves();
    let measure = |curves: &mut PaperCurves, store: &mut Memory| {
        curves
            .measure(&subject.source, &subject.images, store, &Silent)
            .expect("the network runs");
    };
    measure(&mut measured, &mut store);
    let (by_measure, bytes) = loss(&measured);
    assert!(by_measure < 3.0 * closed, "{by_measure} against {closed}");
    let count = store.measured;
    assert!(count > 100);
    let mut again = curves();
    measure(&mut again, &mut store);
    assert_eq!((store.measured, loss(&again).1), (count, bytes));
}

/// What layers do alone adds up to about what all do together, and to the order of what the closed form says.
#[test]
fn layers_alone_do_what_the_closed_form_says() {
    let subject = subject();
    // What is measured below is the divergence as it is, not tempered.
    let statistics = subject
        .images
        .calibrate(&subject.source, (Metric::Fisher, 1), &Silent);
    let statistics = statistics.expect("calibrated");
    let config = EncoderConfig {
        effort: Effort::Fast,
        ..EncoderConfig::new(RateTarget::BitsPerWeight(6.0))
    };
    let (bytes, report) =
        tqz::compress(&subject.source, &statistics, None, &config, &Silent).expect("compressible");
    let model = CompressedModel::decode(&bytes).and_then(|m| m.to_model());
    let network = Network::from_model(&model.expect("decodes"), &EngineDevice::cpu());
    let images = (&subject.images, 30);
    let found = layer_distances(&subject.source, &network.expect("runs"), images, &Silent)
        .expect("measured");
    let sum: f64 = found.alone.iter().sum();
    assert!((0.3..3.0).contains(&(sum / found.all)), "{found:?}");
    // Far from it on so few images of noise: their statistics are damped much.
    let ratio = sum / report.predicted_distortion;
    assert!((0.05..5.0).contains(&ratio), "{ratio}");
}
