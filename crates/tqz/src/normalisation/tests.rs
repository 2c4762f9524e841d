//! Scales that go into weights and those that stay, on small networks made from the demo's.

use super::*;
use crate::source::Source;
use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz_engine::EngineDevice;
use tqz_onnx::model::{GraphProto, TensorProto};

const DEMO: &[u8] = include_bytes!("../../../../assets/demo.onnx");

/// A convolution with a bias, a transposed one in two groups and a dense layer, each normalised: from the demo network's input to its output.
fn normalised() -> ModelProto {
    let mut model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
    let graph = model.graph.as_mut().expect("a graph");
    let [input, output] = [&graph.input[0], &graph.output[0]].map(|v| v.name().to_owned());
    let mut rng = Pcg64::seed_from_u64(8);
    let mut tensor = |name: &str, dims: &[usize], least: f32| {
        let count = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|_| rng.random::<f32>() + least).collect();
        TensorProto::from_f32(name, dims, &values).expect("fits")
    };
    let shapes: [(&str, &[usize]); 5] = [
        ("w1", &[4, 3, 3, 3]),
        ("b1", &[4]),
        ("w2", &[4, 3, 2, 2]),
        ("w3", &[6, 10]),
        ("b3", &[10]),
    ];
    graph.initializer = shapes.map(|(name, dims)| tensor(name, dims, -0.5)).to_vec();
    for (norm, channels) in [("1", 4), ("2", 6), ("3", 10)] {
        for (vector, least) in [("s", -0.4), ("o", -0.5), ("m", -0.5), ("v", 0.1)] {
            let name = format!("{vector}{norm}");
            graph.initializer.push(tensor(&name, &[channels], least));
        }
    }
    let op = "BatchNormalization";
    graph.node = vec![
        NodeProto::new("Conv", &[&input, "w1", "b1"], "c1"),
        NodeProto::new(op, &["c1", "s1", "o1", "m1", "v1"], "n1"),
        NodeProto::new("Relu", &["n1"], "r1"),
        NodeProto::new("ConvTranspose", &["r1", "w2"], "c2"),
        NodeProto::new(op, &["c2", "s2", "o2", "m2", "v2"], "n2"),
        NodeProto::new("GlobalAveragePool", &["n2"], "p2"),
        NodeProto::new("Flatten", &["p2"], "f2"),
        NodeProto::new("Gemm", &["f2", "w3", "b3"], "g3"),
        NodeProto::new(op, &["g3", "s3", "o3", "m3", "v3"], &output),
    ];
    graph.node[3].set("group", 2);
    graph.value_info.clear();
    model
}

/// The canonical form of a network, after it was seen to compute the same.
fn canonical(model: &ModelProto) -> Source {
    let device = EngineDevice::cpu();
    let source = Source::new(model.clone(), &device).expect("supported");
    let network = Network::from_model(model, &device).expect("supported");
    let mut rng = Pcg64::seed_from_u64(9);
    let image = ArrayD::from_shape_simple_fn(IxDyn(&[3, 3, 32, 32]), || rng.random::<f32>());
    let run = |network: &Network| network.run_batch(&image, 3).expect("runs");
    for (found, wanted) in run(source.network()).iter().zip(run(&network)) {
        for (f, w) in found.iter().zip(&wanted) {
            assert!((f - w).abs() < 1e-4 * w.abs().max(1.0), "{f} {w}");
        }
    }
    source
}

/// A stored tensor's numbers.
fn stored(source: &Source, name: &str) -> Vec<f32> {
    let tensor = source.network().weight(name).expect("stored");
    tensor.into_iter().collect()
}

#[test]
fn scales_and_biases_go_into_the_layers_before() {
    let source = canonical(&normalised());
    for norm in ["1", "2", "3"] {
        let of = |vector: &str| stored(&source, &format!("{vector}{norm}"));
        assert!(of("s").iter().chain(&of("v")).all(|&v| v == 1.0));
        assert!(of("m").iter().all(|&v| v == 0.0));
    }
    for bias in ["b1", "b3"] {
        assert!(stored(&source, bias).iter().all(|&v| v == 0.0));
    }
}

/// Changes after which the first normalisation keeps its scale.
#[test]
fn what_others_see_or_share_stays_as_it_is() {
    let seen = |graph: &mut GraphProto| {
        let mut output = graph.output[0].clone();
        output.name = Some("c1".to_owned());
        graph.output.push(output);
    };
    let taken = |graph: &mut GraphProto| {
        graph.node[2] = NodeProto::new("Add", &["n1", "c1"], "r1");
    };
    let shared = |graph: &mut GraphProto| {
        graph.node[2] = NodeProto::new("Conv", &["n1", "w1"], "r1");
        let w1 = &mut graph.initializer[0];
        let values: Vec<f32> = w1.to_f32().expect("floats")[..36].to_vec();
        *w1 = TensorProto::from_f32("w1", &[4, 4, 1, 1], &values[..16]).expect("fits");
        let input = graph.input[0].name().to_owned();
        graph.node[0] = NodeProto::new("Conv", &["wide", "w1", "b1"], "c1");
        let mut concat = NodeProto::new("Concat", &[&input, &input], "six");
        concat.set("axis", 1);
        let kernel = TensorProto::from_f32("w0", &[4, 6, 1, 1], &values[..24]).expect("fits");
        graph.initializer.push(kernel);
        graph
            .node
            .insert(0, NodeProto::new("Conv", &["six", "w0"], "wide"));
        graph.node.insert(0, concat);
    };
    let computed = |graph: &mut GraphProto| {
        graph.node[0].input[2] = "relu of b1".to_owned();
        graph
            .node
            .insert(0, NodeProto::new("Relu", &["b1"], "relu of b1"));
    };
    let copied = |graph: &mut GraphProto| {
        graph.node[0].input[1] = "copy of w1".to_owned();
        graph
            .node
            .insert(0, NodeProto::new("Identity", &["w1"], "copy of w1"));
    };
    let vector_copied = |graph: &mut GraphProto| {
        graph.node[2] = NodeProto::new("Relu", &["again"], "r1");
        for vector in ["s1", "o1", "m1", "v1"] {
            let copy = format!("copy of {vector}");
            graph
                .node
                .insert(0, NodeProto::new("Identity", &[vector], &copy));
        }
        let copies = ["n1", "copy of s1", "copy of o1", "copy of m1", "copy of v1"];
        let mut first = copies;
        first[0] = "c1";
        let op = "BatchNormalization";
        graph.node[5] = NodeProto::new(op, &first, "n1");
        graph.node.insert(6, NodeProto::new(op, &copies, "again"));
    };
    let short = |graph: &mut GraphProto| {
        let w1 = &mut graph.initializer[0];
        let values = w1.to_f32().expect("floats");
        w1.data_type = Some(DataType::Float16 as i32);
        w1.set_f32(&values).expect("half floats");
    };
    type Change<'a> = &'a dyn Fn(&mut GraphProto);
    let changes: [(&str, Change<'_>); 7] = [
        ("seen outside", &seen),
        ("taken twice", &taken),
        ("weights shared", &shared),
        ("bias computed", &computed),
        ("weights copied", &copied),
        ("vectors copied", &vector_copied),
        ("half floats", &short),
    ];
    for (what, change) in changes {
        let mut model = normalised();
        change(model.graph.as_mut().expect("a graph"));
        let source = canonical(&model);
        assert!(stored(&source, "s1").iter().any(|&v| v != 1.0), "{what}");
        assert!(stored(&source, "s2").iter().all(|&v| v == 1.0), "{what}");
    }
}
