//! Gradients against central differences. Each float input of a case is led through a product with
//! the identity matrix, a layer whose output gradient the engine gives: it is the gradient at
//! the operator's input.

use ndarray::ArrayD;
use tqz_engine::{EngineDevice, EngineError, Network, TapRequest};
use tqz_onnx::model::{ModelProto, NodeProto, TensorProto};

use crate::fixture::{self, Case};

/// Step of the differences: f32 sums of a few dozen terms are good to 1e-6, so differences are
/// good to 1e-3.
const STEP: f32 = 2e-3;

/// Allowed difference relative to 1 + |gradient|.
const TOLERANCE: f64 = 1e-2;

/// Elements of each input that are moved.
const SAMPLES: usize = 24;

/// Fixed weights of the outputs, so that their sum has a gradient everywhere.
fn cotangents(outputs: &[ArrayD<f32>], case: &Case) -> Vec<ArrayD<f32>> {
    let weights = |(output, expected): (&ArrayD<f32>, &fixture::Tensor)| {
        let mut place = 0;
        output.map(|_| {
            place += 1;
            if expected.is_float() {
                ((place * 7 + 3) % 11) as f32 / 11.0 - 0.4
            } else {
                0.0
            }
        })
    };
    outputs.iter().zip(&case.outputs).map(weights).collect()
}

/// The weighted sum of the outputs.
fn loss(network: &Network, inputs: &[ArrayD<f32>], case: &Case) -> Result<f64, EngineError> {
    let outputs = network.run(inputs)?;
    let weights = cotangents(&outputs, case);
    let products = outputs.iter().zip(&weights).flat_map(|(output, weight)| {
        output.iter().zip(weight).map(|(&x, &w)| {
            if w == 0.0 {
                0.0
            } else {
                f64::from(x) * f64::from(w)
            }
        })
    });
    Ok(products.sum())
}

/// The model with every float input led through an identity product; gives the inputs' names in
/// the order of the products.
fn tapped(case: &Case) -> (ModelProto, Vec<String>) {
    let mut model = case.model();
    let graph = model.graph.as_mut().expect("a graph");
    let held: Vec<_> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.clone())
        .collect();
    let mut names = Vec::new();
    let mut front = Vec::new();
    for port in graph
        .input
        .iter_mut()
        .filter(|port| !held.contains(&port.name))
    {
        let name = port.name.clone().expect("inputs have names");
        let tensor = case.input(&name);
        if !tensor.is_float() {
            continue;
        }
        let [outside, row, product, unit, flat, shape] =
            ["outside", "row", "product", "unit", "flat", "shape"]
                .map(|part| format!("{name}/{part}"));
        let count: usize = tensor.dims.iter().product();
        let identity: Vec<f32> = (0..count * count)
            .map(|place| f32::from(u8::from(place % (count + 1) == 0)))
            .collect();
        let dims: Vec<i64> = tensor.dims.iter().map(|&dim| dim as i64).collect();
        graph.initializer.extend([
            TensorProto::from_f32(&unit, &[count, count], &identity)
                .expect("numbers fill the shape"),
            TensorProto::from_i64(&flat, &[2], &[1, count as i64]).expect("numbers fill the shape"),
            TensorProto::from_i64(&shape, &[dims.len()], &dims).expect("numbers fill the shape"),
        ]);
        front.extend([
            NodeProto::new("Reshape", &[&outside, &flat], &row),
            NodeProto::new("MatMul", &[&row, &unit], &product),
            NodeProto::new("Reshape", &[&product, &shape], &name),
        ]);
        port.name = Some(outside);
        names.push(name);
    }
    front.append(&mut graph.node);
    graph.node = front;
    (model, names)
}

/// What is wrong with a case's gradients, if anything is.
fn difference(case: &Case) -> Result<Option<String>, EngineError> {
    let device = EngineDevice::cpu();
    let plain = Network::from_model(&case.model(), &device)?;
    let (model, names) = tapped(case);
    let network = Network::from_model(&model, &device)?;
    let inputs = case.arrays(&plain);
    let products = |name: &String| {
        let output = format!("{name}/product");
        network
            .layers()
            .iter()
            .position(|layer| layer.output == output)
            .expect("the product is a layer")
    };
    let taps = TapRequest {
        inputs_of: Vec::new(),
        output_grads_of: names.iter().map(products).collect(),
    };
    let result = network.forward_backward(&inputs, &taps, &|outputs| cotangents(outputs, case))?;
    for (name, gradient) in names.iter().zip(&result.output_grads) {
        let port = plain
            .inputs()
            .iter()
            .position(|port| port.name == *name)
            .expect("an input");
        let count = gradient.len();
        for sample in 0..count.min(SAMPLES) {
            let place = sample * count / count.min(SAMPLES);
            let moved = |by: f32| {
                let mut moved = inputs.clone();
                let element = moved[port].iter_mut().nth(place).expect("an element");
                *element += by;
                loss(&plain, &moved, case)
            };
            let numeric = (moved(STEP)? - moved(-STEP)?) / (2.0 * f64::from(STEP));
            let exact = f64::from(*gradient.iter().nth(place).expect("an element"));
            let close = (numeric - exact).abs() <= TOLERANCE * (1.0 + numeric.abs());
            if !close {
                return Ok(Some(format!(
                    "input {name} at {place}: gradient {exact}, difference quotient {numeric}"
                )));
            }
        }
    }
    Ok(None)
}

/// Checks all differentiable cases of some families.
fn check(families: &[&str]) {
    let mut failures = Vec::new();
    let mut checked = 0;
    for case in families
        .iter()
        .flat_map(|family| fixture::read(family))
        .filter(|case| case.gradient)
    {
        checked += 1;
        let wrong = difference(&case).unwrap_or_else(|error| Some(error.to_string()));
        failures.extend(wrong.map(|text| format!("{}: {text}", case.name)));
    }
    assert!(checked > 0, "no case of {families:?} is differentiable");
    assert!(
        failures.is_empty(),
        "{} of {checked} cases of {families:?} have wrong gradients:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn gradients_of_layers_are_difference_quotients() {
    check(&["convolution", "matrix", "normalization", "structure"]);
}

#[test]
fn gradients_of_elementwise_operators_are_difference_quotients() {
    check(&["activation", "elementwise"]);
}

#[test]
fn gradients_of_pools_and_reductions_are_difference_quotients() {
    check(&["pooling", "reduction"]);
}

#[test]
fn gradients_of_shape_operators_are_difference_quotients() {
    check(&["resizing", "shaping", "slicing", "quantization"]);
}
