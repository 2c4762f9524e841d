//! Writes a quantized graph: QuantizeLinear and DequantizeLinear behind every quantized value, weights and biases as integers.

use std::collections::BTreeMap;

use tqz_onnx::model::{DataType, GraphProto, NodeProto, TensorProto};

use super::place::Plan;
use super::ranges::{Activations, Scale};
use super::weights::{LayerWeights, Rounding, quantize_bias, quantize_rows};
use crate::error::TqzError;
use crate::export::graph::{Names, numbers, output_names, stored, sweep};
use crate::export::layer_node::{Kind, LayerNode};

/// The bias of a quantized layer, to be corrected.
#[derive(Debug, Clone)]
pub(super) struct BiasPlace {
    /// Value that the layer makes, before any clamp.
    pub(super) output: String,
    /// Axis of its channels.
    pub(super) axis: usize,
    /// Name of the integer tensor.
    pub(super) tensor: String,
    /// Value of one unit of each channel.
    pub(super) steps: Vec<f64>,
}

/// What insertion needs to know beside the graph.
pub(super) struct Insertion<'a> {
    pub(super) plan: &'a Plan,
    /// Scale of each quantized value.
    pub(super) scales: &'a BTreeMap<String, Scale>,
    pub(super) activations: Activations,
    pub(super) rounding: Rounding,
    /// Steps of weights that are whole multiples of them.
    pub(super) steps: &'a BTreeMap<String, Vec<f64>>,
}

/// Axis of a layer's output that its channels lie on, of a value of this rank (two or more).
fn channel_axis(kind: Kind, rank: usize) -> usize {
    match kind {
        Kind::Conv | Kind::ConvTranspose => 1,
        _ => rank.saturating_sub(1),
    }
}

/// Rewrites the graph; gives the places of all biases.
///
/// # Errors
/// Weights that cannot be read.
pub(super) fn insert(
    graph: &mut GraphProto,
    insertion: &Insertion<'_>,
) -> Result<Vec<BiasPlace>, TqzError> {
    let mut writer = Writer {
        insertion,
        outputs: output_names(graph).into_iter().collect(),
        names: Names::of(graph),
        tensors: Vec::new(),
        nodes: Vec::new(),
        restored: BTreeMap::new(),
        biases: Vec::new(),
    };
    let stored_tensors = stored(graph);
    let inputs = graph.input.iter().filter_map(|port| port.name.clone());
    for input in inputs.filter(|name| !stored_tensors.contains_key(name.as_str())) {
        writer.pair(&input, &input)?;
    }
    for (index, node) in graph.node.iter().enumerate() {
        writer.node(index, node, &stored_tensors)?;
    }
    let Writer {
        tensors,
        nodes,
        biases,
        ..
    } = writer;
    graph.node = nodes;
    graph.initializer.extend(tensors);
    sweep(graph);
    Ok(biases)
}

struct Writer<'a> {
    insertion: &'a Insertion<'a>,
    outputs: Vec<String>,
    names: Names,
    tensors: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
    /// Quantized value → what its DequantizeLinear gives.
    restored: BTreeMap<String, String>,
    biases: Vec<BiasPlace>,
}

impl Writer<'_> {
    fn node(
        &mut self,
        index: usize,
        given: &NodeProto,
        stored: &BTreeMap<&str, &TensorProto>,
    ) -> Result<(), TqzError> {
        let plan = self.insertion.plan;
        let mut made = given.clone();
        let quantized = plan.nodes.contains(&index);
        for name in &mut made.input {
            let restored = self.restored.get(name);
            // Floats are read where they exist: behind a node that makes floats, unless the reader computes in eight bits.
            if let Some(restored) =
                restored.filter(|_| quantized || plan.made_in_eight_bits.contains(name))
            {
                *name = restored.clone();
            }
        }
        if plan.layers.contains(&index)
            && let Some(layer) = LayerNode::of(given, stored)
        {
            self.weights(given, &layer, (&mut made, stored))?;
        }
        let outputs = made.output.clone();
        for output in made
            .output
            .iter_mut()
            .filter(|name| plan.values.contains(*name))
        {
            if self.outputs.contains(output) {
                *output = self.names.fresh(&format!("{output}#float"));
            }
        }
        let floats = made.output.clone();
        self.nodes.push(made);
        for (output, float) in outputs.iter().zip(&floats) {
            self.pair(output, float)?;
        }
        Ok(())
    }

    /// The nodes that quantize a value and restore it, if it is to be.
    fn pair(&mut self, name: &str, float: &str) -> Result<(), TqzError> {
        let Some(scale) = self.insertion.scales.get(name).copied() else {
            return Ok(());
        };
        let kind = match self.insertion.activations {
            Activations::Unsigned => DataType::Uint8,
            Activations::Symmetric => DataType::Int8,
        };
        let step = self.floats(&format!("{name}#scale"), &[], &[scale.step])?;
        let zero = self.integers(&format!("{name}#zero"), (&[], kind), &[scale.zero])?;
        let levels = self.names.fresh(&format!("{name}#levels"));
        let restored = match self.outputs.iter().any(|output| output == name) {
            true if float != name => name.to_owned(),
            _ => self.names.fresh(&format!("{name}#restored")),
        };
        self.nodes.push(NodeProto::new(
            "QuantizeLinear",
            &[float, &step, &zero],
            &levels,
        ));
        self.nodes.push(NodeProto::new(
            "DequantizeLinear",
            &[&levels, &step, &zero],
            &restored,
        ));
        self.restored.insert(name.to_owned(), restored);
        Ok(())
    }

    /// Puts integers in place of a layer's weights and bias.
    fn weights(
        &mut self,
        given: &NodeProto,
        layer: &LayerNode,
        (made, stored): (&mut NodeProto, &BTreeMap<&str, &TensorProto>),
    ) -> Result<(), TqzError> {
        let Some(input) = self.insertion.scales.get(&given.input[0]).copied() else {
            return Ok(());
        };
        let values = numbers(stored[layer.weight.as_str()])?;
        let rows: Vec<usize> = (0..values.len()).map(|index| layer.row_of(index)).collect();
        let exact = self.insertion.steps.get(&layer.weight);
        let given_bias = given
            .input
            .get(2)
            .and_then(|name| stored.get(name.as_str()));
        let bias = match given_bias {
            Some(tensor) => numbers(tensor)?,
            None => vec![0.0; layer.rows()],
        };
        let subject = LayerWeights {
            values: &values,
            row_of: &rows,
            bias: &bias,
            input_step: f64::from(input.step),
            exact_steps: exact.map(Vec::as_slice),
        };
        let quantized = quantize_rows(&subject, self.insertion.rounding);
        let axis = if layer.rows_first() { 0 } else { 1 };
        let (weight, _) = self.restored_constant(
            (&layer.weight, &layer.dims, DataType::Int8),
            &quantized.levels,
            (&quantized.steps, axis),
        )?;
        made.input[layer.weight_at] = weight;
        if layer.kind == Kind::MatMulRight {
            return Ok(());
        }
        let (levels, steps) = quantize_bias(&bias, &quantized.steps, subject.input_step);
        let wanted = format!("{}#bias", given.output[0]);
        let (name, tensor) = self.restored_constant(
            (&wanted, &[bias.len()], DataType::Int32),
            &levels,
            (&steps, 0),
        )?;
        self.biases.push(BiasPlace {
            output: given.output[0].clone(),
            axis: channel_axis(layer.kind, layer.dims.len()),
            tensor,
            steps,
        });
        made.input.truncate(2);
        made.input.push(name);
        Ok(())
    }

    /// Stored integers and the node that makes floats of them with a step for each slice of an axis: the names of the floats and of
    /// the integers.
    fn restored_constant(
        &mut self,
        (wanted, dims, kind): (&str, &[usize], DataType),
        levels: &[i32],
        (steps, axis): (&[f64], i64),
    ) -> Result<(String, String), TqzError> {
        let tensor = self.integers(&format!("{wanted}#integers"), (dims, kind), levels)?;
        let single: Vec<f32> = steps.iter().map(|&s| s as f32).collect();
        let step = self.floats(&format!("{wanted}#steps"), &[steps.len()], &single)?;
        // ONNX Runtime fuses a layer only if its bias has no zero point.
        let mut inputs = vec![tensor.clone(), step];
        if kind == DataType::Int8 {
            let zeros = vec![0; steps.len()];
            let wanted = format!("{wanted}#zeros");
            inputs.push(self.integers(&wanted, (&[steps.len()], kind), &zeros)?);
        }
        let output = self.names.fresh(&format!("{wanted}#floats"));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let mut restore = NodeProto::new("DequantizeLinear", &inputs, &output);
        restore.set("axis", axis);
        self.nodes.push(restore);
        Ok((output, tensor))
    }

    fn floats(&mut self, wanted: &str, dims: &[usize], values: &[f32]) -> Result<String, TqzError> {
        let name = self.names.fresh(wanted);
        self.tensors
            .push(TensorProto::from_f32(&name, dims, values)?);
        Ok(name)
    }

    fn integers(
        &mut self,
        wanted: &str,
        (dims, kind): (&[usize], DataType),
        values: &[i32],
    ) -> Result<String, TqzError> {
        let name = self.names.fresh(wanted);
        let width = if kind == DataType::Int32 { 4 } else { 1 };
        let bytes = values
            .iter()
            .flat_map(|v| v.to_le_bytes().into_iter().take(width));
        self.tensors
            .push(TensorProto::from_raw(&name, dims, kind, bytes.collect())?);
        Ok(name)
    }
}
