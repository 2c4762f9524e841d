//! FusedConv, which ONNX Runtime's optimizer writes: a convolution, a sum and an activation as the
//! nodes they were, so that the convolution is a layer like any other.

use tqz_onnx::model::{NodeProto, TensorProto};

use super::NodeLabel;
use super::build::Builder;
use super::expand::Place;
use crate::attributes::Attributes;
use crate::error::{EngineError, OpResult, invalid, unsupported};

/// Whether an operator is written out here.
pub(super) fn is_fused(domain: &str, op: &str) -> bool {
    domain == "com.microsoft" && op == "FusedConv"
}

impl Builder<'_> {
    /// Adds the nodes that a FusedConv stands for.
    pub(super) fn fused_conv(
        &mut self,
        label: &NodeLabel,
        node: &NodeProto,
        index: usize,
        place: &mut Place<'_>,
    ) -> Result<(), EngineError> {
        let parts = parts(node).map_err(|fault| label.error(fault))?;
        for part in &parts {
            self.node(part, index, place)?;
        }
        Ok(())
    }
}

/// The nodes in order; the last one gives the fused node's output.
fn parts(fused: &NodeProto) -> OpResult<Vec<NodeProto>> {
    let Some(result) = fused.output.first() else {
        return Err(invalid("the output is missing"));
    };
    let attributes = Attributes::new(fused)?;
    let activation = attributes.text("activation", "")?;
    let numbers = attributes.optional_floats("activation_params")?;
    let numbers = numbers.unwrap_or_default();
    let mut conv = NodeProto {
        op_type: Some("Conv".to_owned()),
        domain: None,
        ..fused.clone()
    };
    conv.attribute.retain(|attribute| {
        !matches!(
            attribute.name.as_deref(),
            Some("activation" | "activation_params")
        )
    });
    conv.input.truncate(3);
    conv.output.truncate(1);
    let mut nodes = vec![conv];
    if let Some(sum) = fused.input.get(3).filter(|name| !name.is_empty()) {
        let before = hand_over(&mut nodes, result, "conv");
        nodes.push(made("Add", &[&before, sum], result));
    }
    if !activation.is_empty() {
        let before = hand_over(&mut nodes, result, "sum");
        nodes.extend(activated(&activation, &numbers, &before, result)?);
    }
    Ok(nodes)
}

/// Gives the last node's output a name of its own.
fn hand_over(nodes: &mut [NodeProto], result: &str, what: &str) -> String {
    let name = format!("{result}#{what}");
    if let Some(last) = nodes.last_mut() {
        last.output = vec![name.clone()];
    }
    name
}

fn made(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("{output}#{op}")),
        ..NodeProto::new(op, inputs, output)
    }
}

/// The activation with its parameters.
fn activated(op: &str, numbers: &[f32], x: &str, y: &str) -> OpResult<Vec<NodeProto>> {
    let names: &[&str] = match op {
        "Relu" | "Tanh" | "Sigmoid" => &[],
        "LeakyRelu" => &["alpha"],
        "HardSigmoid" => &["alpha", "beta"],
        "Clip" => &["min", "max"],
        _ => {
            return Err(unsupported(format!(
                "attribute `activation` is `{op}`; one of Relu, Tanh, Sigmoid, LeakyRelu, HardSigmoid, Clip is expected"
            )));
        }
    };
    if numbers.len() != names.len() {
        return Err(invalid(format!(
            "attribute `activation_params` has {} numbers; {op} has {}",
            numbers.len(),
            names.len()
        )));
    }
    if op == "Clip" {
        // Bounds are inputs or attributes by opset; two comparisons are the same in every one.
        let (low, high) = (format!("{y}#low"), format!("{y}#high"));
        let inner = format!("{y}#max");
        return Ok(vec![
            constant(numbers[0], &low)?,
            constant(numbers[1], &high)?,
            made("Max", &[x, &low], &inner),
            made("Min", &[&inner, &high], y),
        ]);
    }
    let mut node = made(op, &[x], y);
    for (name, &number) in names.iter().zip(numbers) {
        node.set(name, number);
    }
    Ok(vec![node])
}

fn constant(number: f32, output: &str) -> OpResult<NodeProto> {
    let tensor = TensorProto::from_f32(output, &[], &[number]);
    let tensor = tensor.map_err(|error| invalid(error.to_string()))?;
    Ok(made("Constant", &[], output).with("value", tensor))
}
