//! Every operator against ONNX Runtime: the cases in `fixtures/operators/*.json`, which
//! `tools/make_operator_fixtures.py` makes. Values, refusals, and gradients against differences.

mod fixture;
mod gradient;
mod independence;

use fixture::Case;
use tqz_engine::{EngineDevice, EngineError, Network};

/// Loads and runs a case; the outputs are those of the network.
fn run(case: &Case) -> Result<Vec<ndarray::ArrayD<f32>>, EngineError> {
    let network = Network::from_model(&case.model(), &EngineDevice::cpu())?;
    network.run(&case.arrays(&network))
}

/// What differs between a case and the reference, if anything does.
fn difference(case: &Case) -> Option<String> {
    let outputs = match run(case) {
        Ok(outputs) => outputs,
        Err(error) => return Some(error.to_string()),
    };
    if outputs.len() != case.outputs.len() {
        return Some(format!(
            "{} outputs, not {}",
            outputs.len(),
            case.outputs.len()
        ));
    }
    for (index, (output, expected)) in outputs.iter().zip(&case.outputs).enumerate() {
        if output.shape() != expected.dims {
            return Some(format!(
                "output {index} has shape {:?}, not {:?}",
                output.shape(),
                expected.dims
            ));
        }
        let tolerance = case.tolerance(expected);
        for (place, (&got, want)) in output.iter().zip(expected.numbers()).enumerate() {
            let same = got == want || (got.is_nan() && want.is_nan());
            let close = (got - want).abs() <= tolerance * (1.0 + want.abs());
            if !same && !close {
                return Some(format!(
                    "output {index} at {place}: {got}, ONNX Runtime computes {want}"
                ));
            }
        }
    }
    None
}

/// Runs all cases of a family and fails with a list of those that differ.
fn check(family: &str) {
    let cases = fixture::read(family);
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| difference(case).map(|text| format!("{}: {text}", case.name)))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases of {family} differ:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

macro_rules! families {
    ($($name:ident => $family:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            check($family);
        })*

        /// Every fixture file belongs to a test.
        #[test]
        fn no_fixture_is_left_out() {
            let known = [$($family,)* "rejected"];
            for family in fixture::families() {
                assert!(known.contains(&family.as_str()), "no test reads {family}.json");
            }
        }
    };
}

families! {
    activations_are_those_of_onnx_runtime => "activation",
    convolutions_are_those_of_onnx_runtime => "convolution",
    elementwise_operators_are_those_of_onnx_runtime => "elementwise",
    matrix_products_are_those_of_onnx_runtime => "matrix",
    normalizations_are_those_of_onnx_runtime => "normalization",
    pools_are_those_of_onnx_runtime => "pooling",
    quantization_is_that_of_onnx_runtime => "quantization",
    reductions_are_those_of_onnx_runtime => "reduction",
    resizing_is_that_of_onnx_runtime => "resizing",
    shape_operators_are_those_of_onnx_runtime => "shaping",
    slicing_is_that_of_onnx_runtime => "slicing",
    small_graphs_are_those_of_onnx_runtime => "structure",
}

/// What is wrong with how a case is refused, if anything is.
fn wrong_refusal(case: &Case) -> Option<String> {
    let text = match run(case) {
        Ok(_) => return Some("is accepted".to_owned()),
        Err(error) => error.to_string(),
    };
    // A kernel's own panic, caught, is no check of ours.
    if text.contains("the computation failed") {
        return Some(format!("reaches a kernel: {text}"));
    }
    let place = case.named_node().into_iter();
    let missing: Vec<String> = place
        .chain(case.error.iter().cloned())
        .filter(|word| !text.contains(word.as_str()))
        .collect();
    (!missing.is_empty()).then(|| format!("the error `{text}` lacks {missing:?}"))
}

#[test]
fn illegal_and_unsupported_models_are_refused_with_the_reason() {
    let cases = fixture::read("rejected");
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| wrong_refusal(case).map(|text| format!("{}: {text}", case.name)))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases are not refused as they should be:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
