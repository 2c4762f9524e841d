//! What a caller relies on: ports, layers, replaced weights, observed values, batches; and that damaged
//! models give errors.

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use tqz_engine::{
    Dim, ElementType, EngineDevice, EngineError, LayerOp, Network, Real, Rewriter, Side, TapRequest,
};
use tqz_onnx::model::type_proto::{Tensor as TensorType, Value as TypeValue};
use tqz_onnx::model::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto,
};

#[path = "network/convolutions.rs"]
mod convolutions;
#[path = "network/gradients.rs"]
mod gradients;

/// Numbers between -1 and 1.
fn noise(dims: &[usize], seed: u32) -> ArrayD<f32> {
    let mut state = seed;
    ArrayD::from_shape_simple_fn(IxDyn(dims), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

fn stored(name: &str, array: &ArrayD<f32>) -> TensorProto {
    TensorProto::from_f32(name, array.shape(), array.as_slice().unwrap()).unwrap()
}

fn node(op: &str, name: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(name.to_owned()),
        ..NodeProto::new(op, inputs, output)
    }
}

/// A float tensor; dimensions of 0 are left open.
fn port(name: &str, dims: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension};
    let dim = |&size: &i64| Dimension {
        value: Some(match size {
            0 => dimension::Value::DimParam("n".to_owned()),
            size => dimension::Value::DimValue(size),
        }),
        ..Dimension::default()
    };
    let tensor = TensorType {
        elem_type: Some(1),
        shape: Some(TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
            ..TensorShapeProto::default()
        }),
        ..TensorType::default()
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(17),
            ..OperatorSetIdProto::default()
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// Conv, BatchNormalization, Relu; the same Conv weight twice more, once through Identity; a sum; a
/// pool; a matrix product. `batch` 0 leaves the batch open.
fn small(batch: i64) -> ModelProto {
    let conv = |name: &str, inputs: &[&str], output: &str| {
        node("Conv", name, inputs, output).with("pads", [1, 1, 1, 1])
    };
    let positive = noise(&[4], 5).mapv(|x| x.abs() + 0.5);
    model(GraphProto {
        node: vec![
            conv("first", &["input", "w1", "b1"], "c1"),
            node(
                "BatchNormalization",
                "norm",
                &["c1", "scale", "shift", "mean", "var"],
                "n1",
            ),
            node("Relu", "", &["n1"], "r1"),
            node("Identity", "alias", &["w2"], "w2_again"),
            conv("second", &["r1", "w2"], "c2"),
            conv("third", &["c2", "w2_again"], "c3"),
            node("Add", "sum", &["c3", "r1"], "s"),
            node("GlobalAveragePool", "pool", &["s"], "p"),
            node("Flatten", "flat", &["p"], "f"),
            node("MatMul", "dense", &["f", "w3"], "output"),
        ],
        initializer: vec![
            stored("w1", &noise(&[4, 2, 3, 3], 1)),
            stored("b1", &noise(&[4], 2)),
            stored("scale", &positive),
            stored("shift", &noise(&[4], 6)),
            stored("mean", &noise(&[4], 7)),
            stored("var", &positive),
            stored("w2", &noise(&[4, 4, 3, 3], 3).mapv(|x| 0.3 * x)),
            stored("w3", &noise(&[4, 3], 4)),
        ],
        // Old files list what is stored among the inputs.
        input: vec![port("input", &[batch, 2, 6, 5]), port("w1", &[4, 2, 3, 3])],
        output: vec![port("output", &[batch, 3])],
        ..GraphProto::default()
    })
}

fn network(batch: i64) -> Network {
    Network::from_model(&small(batch), &EngineDevice::cpu()).unwrap()
}

#[test]
fn ports_are_the_inputs_that_are_not_stored() {
    let network = network(0);
    let [input] = network.inputs() else {
        panic!("{:?}", network.inputs())
    };
    assert_eq!(
        (input.name.as_str(), input.dtype),
        ("input", ElementType::Float)
    );
    let fixed = Dim::Fixed;
    assert_eq!(
        input.dims,
        [Dim::Dynamic("n".to_owned()), fixed(2), fixed(6), fixed(5)]
    );
    assert_eq!(network.outputs()[0].name, "output");
    assert_eq!(network.fixed_batch(), None);
}

#[test]
fn layers_are_listed_in_order_with_the_tensor_that_holds_their_weight() {
    let network = network(0);
    let names: Vec<_> = network
        .layers()
        .iter()
        .map(|layer| (layer.node.as_str(), layer.weight.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("first", "w1"),
            ("second", "w2"),
            ("third", "w2"),
            ("dense", "w3")
        ]
    );
    let first = &network.layers()[0];
    assert_eq!(
        first.op,
        LayerOp::Conv {
            kernel: vec![3, 3],
            strides: vec![1, 1],
            pads: Some(vec![1; 4]),
            dilations: vec![1, 1],
            group: 1
        }
    );
    assert_eq!(first.bias.as_deref(), Some("b1"));
    assert_eq!(
        (first.input.as_str(), first.output.as_str()),
        ("input", "c1")
    );
    assert_eq!(first.weight_dims, [4, 2, 3, 3]);
    assert_eq!(
        network.layers()[3].op,
        LayerOp::MatMul { side: Side::Right }
    );
    let [norm] = network.batch_norms() else {
        panic!("{:?}", network.batch_norms())
    };
    assert_eq!(
        (norm.input.as_str(), norm.var.as_str(), norm.epsilon),
        ("c1", "var", 1e-5)
    );
}

#[test]
fn a_weight_put_through_transpose_is_still_that_weight() {
    let mut graph = small(0).graph.unwrap();
    graph
        .node
        .insert(0, node("Transpose", "turn", &["w3t"], "w3"));
    graph
        .initializer
        .retain(|tensor| tensor.name.as_deref() != Some("w3"));
    let turned = noise(&[3, 4], 11);
    graph.initializer.push(stored("w3t", &turned));
    let network = Network::from_model(&model(graph), &EngineDevice::cpu()).unwrap();
    let dense = &network.layers()[3];
    assert_eq!(
        (dense.weight.as_str(), &dense.weight_dims[..]),
        ("w3t", &[3, 4][..])
    );
    assert!(matches!(
        dense.op,
        LayerOp::Gemm {
            trans_a: false,
            trans_b: true,
            ..
        }
    ));
    let x = [noise(&[2, 2, 6, 5], 9)];
    let seen = network.observe(&x, &["f", "output"]).unwrap().values;
    for (row, column) in [(0, 0), (1, 2)] {
        let sum: f32 = (0..4)
            .map(|k| seen["f"][[row, k]] * turned[[column, k]])
            .sum();
        assert!((seen["output"][[row, column]] - sum).abs() < 1e-5);
    }
    let doubled = turned.mapv(|x| 2.0 * x);
    let other = network
        .with_weights(&BTreeMap::from([("w3t".to_owned(), doubled)]))
        .unwrap();
    let (before, after) = (network.run(&x).unwrap(), other.run(&x).unwrap());
    assert_eq!(before[0].mapv(|x| 2.0 * x), after[0]);
}

#[test]
fn replaced_weights_take_effect_everywhere_and_nowhere_else() {
    let network = network(0);
    let x = noise(&[2, 2, 6, 5], 9);
    let before = network.run(std::slice::from_ref(&x)).unwrap();
    let zeros = ArrayD::zeros(IxDyn(&[4, 4, 3, 3]));
    let other = network
        .with_weights(&BTreeMap::from([("w2".to_owned(), zeros.clone())]))
        .unwrap();
    assert_eq!(other.weight("w2").unwrap(), zeros);
    // The third layer reads the weight through an Identity that was computed when the model was loaded.
    let seen = other
        .observe(std::slice::from_ref(&x), &["c2", "c3"])
        .unwrap();
    assert!(
        seen.values
            .values()
            .all(|value| value.iter().all(|&number| number == 0.0))
    );
    assert_eq!(network.run(std::slice::from_ref(&x)).unwrap(), before);
    for bad in [("w2", vec![4, 4, 9]), ("c1", vec![4]), ("nothing", vec![1])] {
        let array = ArrayD::zeros(IxDyn(&bad.1));
        let error = network
            .with_weights(&BTreeMap::from([(bad.0.to_owned(), array)]))
            .unwrap_err();
        assert!(
            matches!(&error, EngineError::Argument(text) if text.contains(bad.0)),
            "{error}"
        );
    }
}

#[test]
fn any_value_can_be_observed() {
    let network = network(0);
    let x = noise(&[1, 2, 6, 5], 9);
    let names = ["input", "n1", "w1", "output", "w2_again"];
    let seen = network.observe(std::slice::from_ref(&x), &names).unwrap();
    assert_eq!(seen.values.len(), names.len());
    assert_eq!(seen.values["input"], x);
    assert_eq!(seen.values["output"], seen.outputs[0]);
    assert_eq!(seen.values["w2_again"], network.weight("w2").unwrap());
    assert!(network.observe(&[x], &["nothing"]).is_err());
}

#[test]
fn adjusted_values_go_on_in_place_of_the_computed_ones() {
    let network = network(0);
    let x = noise(&[3, 2, 6, 5], 9);
    let mut seen = Vec::new();
    let outputs = network
        .run_adjusting(
            std::slice::from_ref(&x),
            &["f", "n1"],
            &mut |name, value| {
                seen.push(name.to_owned());
                if name == "f" { value * 2.0 } else { value }
            },
        )
        .unwrap();
    assert_eq!(seen, ["n1", "f"]);
    let plain = network.run(std::slice::from_ref(&x)).unwrap();
    let close = outputs[0]
        .iter()
        .zip(&plain[0])
        .all(|(a, b)| (a - 2.0 * b).abs() < 1e-5);
    assert!(close);
    let mut wrong = |_: &str, _| ArrayD::zeros(IxDyn(&[1]));
    assert!(network.run_adjusting(&[x], &["f"], &mut wrong).is_err());
}

/// Doubles the weights of one layer, notes inputs, and negates one value.
struct Doubling {
    network: Network,
    layer: usize,
    inputs: BTreeMap<usize, ArrayD<f32>>,
}

impl Rewriter for Doubling {
    fn adjust(&mut self, _name: &str, value: ArrayD<f32>) -> ArrayD<f32> {
        -value
    }

    fn weights(&mut self, index: usize, input: ArrayD<f32>) -> Option<ArrayD<f32>> {
        self.inputs.insert(index, input);
        let name = &self.network.layers()[index].weight;
        let weights = self.network.weight(name)?;
        (index == self.layer).then(|| weights * 2.0)
    }
}

#[test]
fn a_run_is_rewritten_layer_by_layer() {
    let network = network(0);
    let x = [noise(&[3, 2, 6, 5], 9)];
    let mut doubling = Doubling {
        network: network.clone(),
        layer: 0,
        inputs: BTreeMap::new(),
    };
    let outputs = network.run_rewriting(&x, &[], &mut doubling).unwrap();
    let name = &network.layers()[0].weight;
    let twice = network.weight(name).unwrap() * 2.0;
    let doubled = network
        .with_weights(&BTreeMap::from([(name.clone(), twice)]))
        .unwrap();
    assert_eq!(outputs, doubled.run(&x).unwrap());
    // Inputs are those of the rewritten run.
    let names: Vec<&str> = network.layers().iter().map(|l| l.input.as_str()).collect();
    let seen = doubled.observe(&x, &names).unwrap().values;
    for (index, input) in &doubling.inputs {
        assert_eq!(*input, seen[names[*index]], "layer {index}");
    }
    assert!(doubling.inputs.len() > 1);
    assert!(
        network
            .run_rewriting(&x, &["nothing"], &mut doubling)
            .is_err()
    );
}

#[test]
fn a_model_of_fixed_batch_runs_any_batch_in_shards_of_its_size() {
    let (free, fixed) = (network(0), network(2));
    assert_eq!(fixed.fixed_batch(), Some(2));
    let batch = noise(&[6, 2, 6, 5], 3);
    assert_eq!(
        fixed.run_batch(&batch, 4).unwrap(),
        free.run_batch(&batch, 2).unwrap()
    );
    let odd = noise(&[5, 2, 6, 5], 3);
    assert_eq!(
        fixed.run_batch(&odd, 4).unwrap(),
        free.run_batch(&odd, 2).unwrap()
    );
    assert!(free.run_batch(&batch, 0).is_err());
    assert!(free.run(&[noise(&[1, 3, 6, 5], 1)]).is_err());
    assert!(free.run(&[]).is_err());
}

/// Every bit of the small model's bytes is turned over in some model. Most are refused; whatever is
/// accepted runs or fails with an error, and no kernel is reached with what it cannot compute.
#[test]
fn damaged_models_give_errors() {
    let bytes = tqz_onnx::encode_model(&small(1));
    let x = noise(&[1, 2, 6, 5], 1);
    let (mut refused, mut ran) = (0, 0);
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        let Ok(model) = tqz_onnx::decode_model(&damaged) else {
            refused += 1;
            continue;
        };
        let result = Network::from_model(&model, &EngineDevice::cpu())
            .and_then(|network| network.run(std::slice::from_ref(&x)));
        match result {
            Ok(_) => ran += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(
                    !text.contains("the computation failed"),
                    "byte {place}: {text}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && ran > 100, "{refused} refused, {ran} ran");
}
