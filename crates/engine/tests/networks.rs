//! Whole networks against ONNX Runtime: the shared trained ones, and the nine graphs of the PyPI
//! package onnx with generated weights. References: `tools/make_network_references.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use serde::Deserialize;
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::{ModelProto, TensorProto};

#[derive(Deserialize)]
struct Reference {
    inputs: Vec<Input>,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input {
    dims: Vec<usize>,
    seed: u64,
    scale: f32,
    offset: f32,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    dims: Vec<usize>,
    low: f32,
    high: f32,
    places: Vec<usize>,
    values: Vec<f32>,
}

/// -1..1: the upper 24 bits of a 64-bit linear congruential generator.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn reference(name: &str) -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/networks")
        .join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Largest difference from the reference, relative to the output's range.
fn relative_error(model: &ModelProto, name: &str) -> f32 {
    let reference = reference(name);
    let network = Network::from_model(model, &EngineDevice::cpu()).unwrap();
    let inputs: Vec<ArrayD<f32>> = reference
        .inputs
        .iter()
        .map(|input| {
            let numbers = noise(input.dims.iter().product(), input.seed).into_iter();
            let numbers = numbers.map(|x| x * input.scale + input.offset).collect();
            ArrayD::from_shape_vec(IxDyn(&input.dims), numbers).unwrap()
        })
        .collect();
    let names: Vec<&str> = reference
        .outputs
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    let values = network.observe(&inputs, &names).unwrap().values;
    let mut worst = 0.0f32;
    for want in &reference.outputs {
        let got = &values[&want.name];
        assert_eq!(got.shape(), want.dims, "{name}");
        let flat = got.as_slice().unwrap();
        for (&place, &value) in want.places.iter().zip(&want.values) {
            let error = (flat[place] - value).abs() / (want.high - want.low);
            assert!(error.is_finite(), "{name}: {} at {place}", flat[place]);
            worst = worst.max(error);
        }
    }
    worst
}

fn shared() -> PathBuf {
    std::env::var_os("TQZ_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    )
}

fn read(path: &Path) -> ModelProto {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    tqz_onnx::decode_model(&bytes).unwrap()
}

/// Shows the errors where `cargo test -- --nocapture` is asked for.
#[allow(clippy::print_stderr)]
fn report<K: std::fmt::Debug>(errors: &BTreeMap<K, f32>) {
    eprintln!("{errors:#?}");
}

const SHARED: [&str; 11] = [
    "alexnet-cifar10",
    "carn-m-x2",
    "densenet40-12-cifar10",
    "dncnn-s-25",
    "efficientnet-lite0",
    "imdn-x2",
    "mobilenet-v1-075",
    "resnet18-cifar10",
    "resnet20-cifar10",
    "resnet56-cifar10",
    "vdsr",
];

#[test]
#[ignore = "needs shared/"]
fn shared_networks_agree_with_onnx_runtime() {
    let mut errors = BTreeMap::new();
    for name in SHARED {
        let model = read(&shared().join("models").join(format!("{name}.onnx")));
        errors.insert(name, relative_error(&model, name));
    }
    let bad: Vec<_> = errors.iter().filter(|(_, error)| **error > 1e-3).collect();
    assert!(bad.is_empty(), "{bad:?} of {errors:?}");
    report(&errors);
}

/// The light graphs with every ConstantOfShape replaced by a generated initializer.
fn with_noise_weights(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    let shapes: BTreeMap<String, Vec<i64>> = graph
        .initializer
        .iter()
        .filter_map(|tensor| Some((tensor.name.clone()?, tensor.to_i64().ok()?)))
        .collect();
    let nodes = std::mem::take(&mut graph.node);
    for (index, node) in nodes.into_iter().enumerate() {
        if node.op_type.as_deref() != Some("ConstantOfShape") {
            graph.node.push(node);
            continue;
        }
        let dims: Vec<usize> = shapes[&node.input[0]]
            .iter()
            .map(|&dim| usize::try_from(dim).unwrap())
            .collect();
        let mut numbers = noise(dims.iter().product(), index as u64);
        if dims.len() >= 2 {
            let fan_in: usize = dims[1..].iter().product();
            let scale = (6.0 / fan_in as f64).sqrt() as f32;
            numbers.iter_mut().for_each(|x| *x *= scale);
        } else {
            numbers.iter_mut().for_each(|x| *x = *x / 10.0 + 1.0);
        }
        graph
            .initializer
            .push(TensorProto::from_f32(&node.output[0], &dims, &numbers).unwrap());
    }
}

#[test]
#[ignore = "needs the folder backend/test/data/light of the PyPI package onnx in TQZ_LIGHT"]
fn light_graphs_agree_with_onnx_runtime() {
    let folder = std::env::var_os("TQZ_LIGHT")
        .map(PathBuf::from)
        .expect("TQZ_LIGHT is not set");
    let mut errors = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut model = read(&path);
        // As it stands the graph loads and has only computed constants for weights.
        Network::from_model(&model, &EngineDevice::cpu()).unwrap();
        with_noise_weights(&mut model);
        let error = relative_error(&model, &name);
        errors.insert(name, error);
    }
    assert_eq!(errors.len(), 9, "{errors:?}");
    assert!(errors.values().all(|&error| error <= 1e-3), "{errors:?}");
    report(&errors);
}
