//! Legal networks of rare build: groups of one output and several inputs, one tensor used twice or in two ways, factors of products, biases
//! with an axis in front. What is measured of them is what errors do.

use ndarray::{ArrayD, Axis, IxDyn};
use tqz::{
    CalibrationSpec, CompressedModel, Effort, EncoderConfig, Images, Metric, Outcome, RateTarget,
    RetrainSpec, Silent, Source, Statistics, Target, TrainingSet, compress,
};
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::tensor_shape_proto::dimension;
use tqz_onnx::model::{ModelProto, NodeProto, TensorProto, type_proto};

const DEMO: &[u8] = include_bytes!("../../../assets/demo.onnx");
const IMAGES: usize = 24;

/// Numbers from −1 to 1, the same in every run.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let draw = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(draw).collect()
}

fn tensor(name: &str, dims: &[usize]) -> TensorProto {
    TensorProto::from_f32(name, dims, &noise(dims.iter().product())).expect("fits")
}

/// A network of these nodes from `image` (3 × 32 × 32) to `features`, then a dense layer to ten scores.
fn network(features: usize, stored: Vec<TensorProto>, nodes: Vec<NodeProto>) -> ModelProto {
    let mut model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
    let graph = model.graph.as_mut().expect("a graph");
    let [input, output] = [&graph.input[0], &graph.output[0]].map(|v| v.name().to_owned());
    graph.initializer = stored;
    graph.initializer.push(tensor("scores", &[features, 10]));
    graph.node = vec![NodeProto::new("Identity", &[&input], "image")];
    graph.node.extend(nodes);
    graph.node.extend([
        NodeProto::new("GlobalAveragePool", &["features"], "means"),
        NodeProto::new("Flatten", &["means"], "flat"),
        NodeProto::new("Gemm", &["flat", "scores"], &output),
    ]);
    graph.value_info.clear();
    model
}

fn images() -> ArrayD<f32> {
    let count = IMAGES * 3 * 1024;
    ArrayD::from_shape_vec(IxDyn(&[IMAGES, 3, 32, 32]), noise(count)).expect("fits")
}

fn measured(model: &ModelProto) -> (Source, Statistics) {
    let source = Source::new(model.clone(), &EngineDevice::cpu()).expect("supported");
    let mut calibration = source.calibration(CalibrationSpec {
        metric: Metric::OutputNoise,
        seed: 1,
        images: IMAGES,
    });
    let numbers: Vec<usize> = (0..IMAGES).collect();
    calibration.add(&images(), &numbers, &Silent).expect("runs");
    let statistics = calibration.finish();
    (source, statistics)
}

/// Sensitivity of a layer's weights: trace of A times trace of G.
fn sensitivity(statistics: &Statistics, layer: &str) -> f64 {
    let group = &statistics.layers[layer].groups[0];
    let trace = |of: &ndarray::Array2<f32>| f64::from(of.diag().sum());
    trace(&group.input()[0]) * trace(&group.output())
}

/// Four outputs, each of two inputs of its own that are multiples of one picture: all inputs are seen, each as large as it is.
#[test]
fn groups_of_one_output_see_all_their_inputs() {
    let multiples: Vec<f32> = (0..24)
        .map(|at| {
            if at % 3 == 0 {
                (at / 3 + 1) as f32
            } else {
                0.0
            }
        })
        .collect();
    let model = network(
        4,
        vec![
            TensorProto::from_f32("multiples", &[8, 3, 1, 1], &multiples).expect("fits"),
            tensor("w", &[4, 2, 1, 1]),
        ],
        vec![
            NodeProto::new("Conv", &["image", "multiples"], "eight"),
            NodeProto::new("Conv", &["eight", "w"], "features").with("group", 4),
        ],
    );
    let (_, statistics) = measured(&model);
    for (channel, group) in statistics.layers["w"].groups.iter().enumerate() {
        let diagonal = group.input()[0].diag().to_owned();
        let wanted = ((2 * channel + 2) as f32 / (2 * channel + 1) as f32).powi(2);
        let found = diagonal[1] / diagonal[0];
        assert!((found / wanted - 1.0).abs() < 1e-3, "{found} {wanted}");
    }
}

/// What an error does in weights used twice is the sum of what it does at either place.
#[test]
fn uses_of_one_tensor_add_up() {
    let twice = |second: &str| {
        let kernel = tensor("w", &[3, 3, 1, 1]);
        let other = TensorProto {
            name: Some("other".to_owned()),
            ..kernel.clone()
        };
        let nodes = vec![
            NodeProto::new("Conv", &["image", "w"], "between"),
            NodeProto::new("Conv", &["between", second], "features"),
        ];
        measured(&network(3, vec![kernel, other], nodes)).1
    };
    let (shared, apart) = (twice("w"), twice("other"));
    let sum = sensitivity(&apart, "w") + sensitivity(&apart, "other");
    let ratio = sensitivity(&shared, "w") / sum;
    // A of the two places is averaged, and G added up, so that it is a product of sums.
    assert!((0.7..1.4).contains(&ratio), "{ratio}");
}

/// A product that is multiplied by a tenth passes a hundredth of its errors' squares.
#[test]
fn a_factor_of_a_product_counts() {
    let scores = |alpha: f32, size: f32| {
        let mut model = network(
            3,
            Vec::new(),
            vec![NodeProto::new("Identity", &["image"], "features")],
        );
        let graph = model.graph.as_mut().expect("a graph");
        let last = graph.node.len() - 1;
        graph.node[last].set("alpha", alpha);
        let values: Vec<f32> = noise(30).iter().map(|v| size * v).collect();
        graph.initializer[0] = TensorProto::from_f32("scores", &[3, 10], &values).expect("fits");
        sensitivity(&measured(&model).1, "scores")
    };
    let ratio = scores(0.125, 8.0) / scores(1.0, 1.0);
    assert!((ratio * 64.0 - 1.0).abs() < 1e-3, "{ratio}");
}

/// A tensor that a convolution and a transposed one take differently is measured at the first and compressed once.
#[test]
fn a_tensor_seen_in_two_ways_is_compressed_once() {
    let model = network(
        3,
        vec![tensor("w", &[4, 3, 3, 3])],
        vec![
            NodeProto::new("Conv", &["image", "w"], "down"),
            NodeProto::new("ConvTranspose", &["down", "w"], "features"),
        ],
    );
    let (source, statistics) = measured(&model);
    assert!(source.warnings().iter().any(|w| w.contains("another way")));
    let config = EncoderConfig::new(RateTarget::BitsPerWeight(30.0));
    let (bytes, _) = compress(&source, &statistics, None, &config, &Silent).expect("compressible");
    let small = CompressedModel::decode(&bytes).and_then(|m| m.to_model());
    let run = |model: &ModelProto| {
        let network = Network::from_model(model, &EngineDevice::cpu()).expect("supported");
        network.run_batch(&images(), 8).expect("runs").remove(0)
    };
    let (found, wanted) = (run(&small.expect("decodes")), run(&model));
    let largest = wanted.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    let far = (&found - &wanted).mapv(f32::abs);
    assert!(far.iter().all(|d| *d < 0.05 * largest));
}

/// A bias of shape 1 × n is trained like any other.
#[test]
fn a_bias_with_an_axis_in_front_is_trained() {
    let mut model = network(
        3,
        Vec::new(),
        vec![NodeProto::new("Identity", &["image"], "features")],
    );
    let graph = model.graph.as_mut().expect("a graph");
    graph.initializer.push(tensor("bias", &[1, 10]));
    let last = graph.node.len() - 1;
    graph.node[last].input.push("bias".to_owned());
    let (source, statistics) = measured(&model);
    let config = EncoderConfig::new(RateTarget::BitsPerWeight(60.0));
    let (start, _) = compress(&source, &statistics, None, &config, &Silent).expect("compressible");
    let mut set = TrainingSet::new();
    let batch = images();
    let labels = batch.axis_iter(Axis(0)).map(|_| Target::Label(0));
    set.add(&batch, labels.collect());
    let spec = RetrainSpec {
        steps: 2,
        batch: 8,
        ..RetrainSpec::default()
    };
    let done = tqz::retrain(&source, &start, (&set, &spec), None, &Silent).expect("trains");
    assert!(matches!(done, Outcome::Finished(_)));
}

/// A network that leaves its extents open and yet runs on images of one size alone is limited by what it costs on those.
#[test]
fn a_limit_on_work_is_of_the_images_where_extents_are_open() {
    let mut model = network(
        64,
        vec![
            tensor("place", &[3, 32, 1]),
            tensor("wide", &[64, 3, 1, 1]),
            tensor("w", &[64, 64, 1, 1]),
        ],
        vec![
            NodeProto::new("Add", &["image", "place"], "placed"),
            NodeProto::new("Conv", &["placed", "wide"], "many").with("strides", [4, 4]),
            NodeProto::new("Conv", &["many", "w"], "features"),
        ],
    );
    let input = &mut model.graph.as_mut().expect("a graph").input[0];
    let tensor = input.r#type.as_mut().and_then(|t| t.value.as_mut());
    let Some(type_proto::Value::TensorType(tensor)) = tensor else {
        panic!("the demo network's input is a tensor");
    };
    for dim in &mut tensor.shape.as_mut().expect("a shape").dim {
        dim.value = Some(dimension::Value::DimParam("any".to_owned()));
    }
    let (source, statistics) = measured(&model);
    let mut seen = Images::new();
    seen.add(&images());
    let config = EncoderConfig {
        macs: Some(0.9),
        effort: Effort::Fast,
        ..EncoderConfig::new(RateTarget::BitsPerWeight(6.0))
    };
    let done = compress(&source, &statistics, Some(&seen), &config, &Silent);
    let small = CompressedModel::decode(&done.expect("compressible").0).expect("decodes");
    let costs = small.costs(Some(&[1, 3, 32, 32])).expect("runs");
    assert!(costs.macs_percent() <= 90.0, "{}", costs.macs_percent());
}
