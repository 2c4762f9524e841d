//! Weights that the graph computes from stored tensors are compressed like stored ones, and what computed them is gone from
//! the exported graph.

use ndarray::{ArrayD, IxDyn};
use tqz::{
    CalibrationSpec, CompressedModel, EncoderConfig, Metric, RateTarget, Silent, Source, compress,
};
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::tensor_proto::DataType;
use tqz_onnx::model::{ModelProto, NodeProto, TensorProto};

const DEMO: &[u8] = include_bytes!("../../../assets/demo.onnx");

fn demo() -> ModelProto {
    tqz_onnx::decode_model(DEMO).expect("the demo network is valid")
}

/// The demo network with its first convolution's kernel stored as half floats with its axes in TensorFlow's order, in one row.
fn disguised() -> (ModelProto, String) {
    let mut model = demo();
    let graph = model.graph.as_mut().expect("a graph");
    let conv = graph
        .node
        .iter()
        .find(|n| n.op_type.as_deref() == Some("Conv"));
    let name = conv.expect("a convolution").input[1].clone();
    let place = graph
        .initializer
        .iter()
        .position(|t| t.name() == name)
        .expect("a stored kernel");
    let kernel = graph.initializer.remove(place);
    let dims = kernel.dims_usize().expect("dims");
    let values = ArrayD::from_shape_vec(IxDyn(&dims), kernel.to_f32().expect("floats"));
    let turned = values
        .expect("shape")
        .permuted_axes(IxDyn(&[2, 3, 1, 0]))
        .as_standard_layout()
        .into_owned();
    let shape: Vec<i64> = turned.shape().iter().map(|&d| d as i64).collect();
    let flat: Vec<f32> = turned.into_iter().collect();
    let mut row = TensorProto::from_f32("row", &[flat.len()], &flat).expect("fits");
    row.data_type = Some(DataType::Float16 as i32);
    row.set_f32(&flat).expect("half floats");
    let shape = TensorProto::from_i64("shape", &[4], &shape).expect("fits");
    graph.initializer.extend([row, shape]);
    let cast = NodeProto::new("Cast", &["row"], "wide").with("to", 1);
    let reshape = NodeProto::new("Reshape", &["wide", "shape"], "hwio");
    let transpose = NodeProto::new("Transpose", &["hwio"], &name).with("perm", [3, 2, 0, 1]);
    graph.node.splice(0..0, [cast, reshape, transpose]);
    (model, name)
}

fn images(count: usize) -> ArrayD<f32> {
    let mut state = 1_u32;
    ArrayD::from_shape_fn(IxDyn(&[count, 3, 32, 32]), |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

#[test]
fn a_kernel_behind_cast_reshape_and_transpose_is_compressed() {
    let (model, name) = disguised();
    let device = EngineDevice::cpu();
    let plain = Source::new(demo(), &device).expect("supported");
    let source = Source::new(model.clone(), &device).expect("supported");
    assert_eq!(source.weight_count(), plain.weight_count());
    assert!(source.layers().iter().any(|layer| layer.name == name));
    assert!(source.warnings().is_empty(), "{:?}", source.warnings());

    let spec = CalibrationSpec {
        metric: Metric::Auto,
        seed: 1,
        images: 16,
    };
    let mut calibration = source.calibration(spec);
    let numbers: Vec<usize> = (0..16).collect();
    calibration
        .add(&images(16), &numbers, &Silent)
        .expect("runs");
    let config = EncoderConfig::new(RateTarget::BitsPerWeight(6.0));
    let (bytes, _) =
        compress(&source, &calibration.finish(), None, &config, &Silent).expect("compressible");
    let restored = CompressedModel::decode(&bytes)
        .and_then(|file| file.to_model())
        .expect("decodes");

    let graph = restored.graph.as_ref().expect("a graph");
    let demo_graph = demo().graph.expect("a graph");
    assert_eq!(graph.node.len(), demo_graph.node.len());
    assert_eq!(graph.initializer.len(), demo_graph.initializer.len());
    let probe = images(4);
    let run = |model: &ModelProto| {
        let network = Network::from_model(model, &device).expect("supported");
        network.run_batch(&probe, 4).expect("runs").remove(0)
    };
    let (before, after) = (run(&model), run(&restored));
    let error: f32 = (&before - &after).iter().map(|v| v * v).sum();
    let power: f32 = before.iter().map(|v| v * v).sum();
    assert!(error < 0.02 * power, "{error} of {power}");
}
