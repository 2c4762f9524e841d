//! The dense network with its layers exchanged for what its records allow: chains of small layers, normalisations folded in, weights
//! stored as floats or small integers.

mod tensors;

use std::collections::{BTreeMap, BTreeSet};

use tqz_format::LayerRecord;
use tqz_onnx::model::{GraphProto, NodeProto};

use super::chain::{Branch, Stage, branches};
use super::graph::{Names, op, reads, stored, sweep};
use super::layer_node::{Kind, LayerNode, folded_norms};
use super::subject::{Subject, output};
use super::weights::{Made, Storage};
use crate::error::TqzError;

/// What is wanted of the new network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Chains where they save multiply–accumulates.
    pub(crate) chains: bool,
    /// How weights are stored.
    pub(crate) storage: Storage,
    /// Version of the standard operators.
    pub(crate) opset: i64,
}

/// First operator set in which a Gemm may have no addend.
const GEMM_WITHOUT_ADDEND: i64 = 11;

/// What is known of a network's new layers beyond the graph itself.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    /// For each value made by a layer, which of the original's layers it is of.
    pub(crate) layer_of: BTreeMap<String, usize>,
    /// Steps of the output channels of weights that are whole multiples of them, by the weight's name.
    pub(crate) steps: BTreeMap<String, Vec<f64>>,
}

/// Rewrites the main graph; `records` are by the name of their tensor.
///
/// # Errors
/// Tensors that cannot be read, numbers that ONNX cannot hold.
pub(crate) fn rewrite(
    graph: &mut GraphProto,
    records: &BTreeMap<String, &LayerRecord>,
    wanted: Wanted,
) -> Result<Rewritten, TqzError> {
    let mut rewriter = Rewriter {
        records,
        wanted,
        made: Made {
            names: Names::of(graph),
            ..Made::default()
        },
        shared: BTreeMap::new(),
    };
    let (nodes, layer_of) = rewriter.nodes(graph)?;
    graph.node = nodes;
    graph.initializer.append(&mut rewriter.made.tensors);
    sweep(graph);
    Ok(Rewritten {
        layer_of,
        steps: rewriter.made.steps,
    })
}

struct Rewriter<'a> {
    records: &'a BTreeMap<String, &'a LayerRecord>,
    wanted: Wanted,
    made: Made,
    /// Weights made before, for other nodes with the same tensor and no normalisation of their own.
    shared: BTreeMap<String, String>,
}

type NodesOfLayers = (Vec<NodeProto>, BTreeMap<String, usize>);

impl Rewriter<'_> {
    fn nodes(&mut self, graph: &GraphProto) -> Result<NodesOfLayers, TqzError> {
        let stored = stored(graph);
        let folded = folded_norms(graph, &reads(graph), &stored)?;
        let gone: BTreeSet<usize> = folded.values().map(|f| f.norm).collect();
        // A pooling before a folded normalisation gives the normalisation's value.
        let pools: BTreeMap<usize, usize> = folded
            .values()
            .filter_map(|f| Some((f.pool?, f.norm)))
            .collect();
        let (mut nodes, mut layer_of) = (Vec::new(), BTreeMap::new());
        let mut layers = 0;
        for (index, node) in graph.node.iter().enumerate() {
            if gone.contains(&index) {
                continue;
            }
            if let Some(&norm) = pools.get(&index) {
                let mut pool = node.clone();
                pool.output[0].clone_from(&graph.node[norm].output[0]);
                nodes.push(pool);
                continue;
            }
            let Some(layer) = LayerNode::of(node, &stored) else {
                nodes.push(node.clone());
                continue;
            };
            let norm = folded.get(&index);
            let subject = Subject {
                node,
                layer: &layer,
                record: self.records.get(&layer.weight).copied(),
                tensor: stored[layer.weight.as_str()],
                stored: &stored,
                affine: norm.map(|f| &f.affine),
                output: output(graph, index, norm),
            };
            let before = nodes.len();
            self.layer(&subject, &mut nodes)?;
            let outputs = nodes[before..].iter().flat_map(|n| n.output.clone());
            layer_of.extend(outputs.map(|name| (name, layers)));
            layers += 1;
        }
        Ok((nodes, layer_of))
    }

    /// The nodes in place of one layer.
    fn layer(&mut self, subject: &Subject<'_>, nodes: &mut Vec<NodeProto>) -> Result<(), TqzError> {
        let branches = self.branches(subject);
        let dense = branches.iter().all(|branch| branch.stages.is_empty());
        if dense {
            return self.dense(subject, nodes);
        }
        let mut parts = Vec::new();
        for branch in &branches {
            let output = match &branches[..] {
                [_] => subject.output.clone(),
                _ => self.made.names.fresh(&format!("{}#part", subject.output)),
            };
            self.branch(subject, branch, (&output, nodes))?;
            parts.push(output);
        }
        if branches.len() > 1 {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let mut concat = NodeProto::new("Concat", &parts, &subject.output);
            let axis = match subject.layer.kind {
                Kind::Conv | Kind::ConvTranspose => 1,
                Kind::MatMulLeft => -2,
                _ => -1,
            };
            concat.set("axis", axis);
            nodes.append(&mut self.made.nodes);
            nodes.push(concat);
        }
        Ok(())
    }

    /// How the layer's rows are computed.
    fn branches(&self, subject: &Subject<'_>) -> Vec<Branch> {
        let dense = vec![Branch {
            first_row: 0,
            rows: subject.layer.rows(),
            stages: Vec::new(),
        }];
        let (true, Some(record)) = (self.wanted.chains, subject.record) else {
            return dense;
        };
        let Some(shape) = subject.layer.shape(record) else {
            return dense;
        };
        let how = (subject.layer.groups, subject.layer.positions);
        let found = branches(record, shape, how);
        // Parts of an addend are taken only from one that has a number for each channel.
        let whole = found.len() == 1 || subject.bias_is_vector();
        if whole { found } else { dense }
    }

    /// The layer as it was, but for the normalisation and the storage of its weights.
    fn dense(&mut self, subject: &Subject<'_>, nodes: &mut Vec<NodeProto>) -> Result<(), TqzError> {
        let mut made = subject.node.clone();
        made.output = vec![subject.output.clone()];
        let weight = match subject.record {
            Some(record) if self.wanted.storage != Storage::Floats => {
                let known = self.shared.get(&subject.layer.weight);
                match known.filter(|_| subject.affine.is_none()) {
                    Some(known) => Some(known.clone()),
                    None => self.integer_weights(subject, record)?,
                }
            }
            _ => None,
        };
        if let Some(weight) = weight {
            if subject.affine.is_none() {
                let name = subject.layer.weight.clone();
                self.shared.insert(name, weight.clone());
            }
            made.input[subject.layer.weight_at] = weight;
        } else if let Some(affine) = subject.affine {
            made.input[subject.layer.weight_at] = self.scaled(subject, affine)?;
        } else {
            self.note_steps(subject);
        }
        if subject.affine.is_some() {
            made.input.truncate(2);
            made.input
                .extend(self.bias(subject, 0..subject.layer.rows())?);
        }
        nodes.append(&mut self.made.nodes);
        nodes.push(made);
        Ok(())
    }

    /// One block's rows as a chain, or as a part of the dense layer.
    fn branch(
        &mut self,
        subject: &Subject<'_>,
        branch: &Branch,
        (output, nodes): (&str, &mut Vec<NodeProto>),
    ) -> Result<(), TqzError> {
        let layer = subject.layer;
        let rows = branch.first_row..branch.first_row + branch.rows;
        let data = if layer.weight_at == 0 { 1 } else { 0 };
        let mut value = subject.node.input[data].clone();
        if branch.stages.is_empty() {
            let weight = self.part_of_weights(subject, rows.clone())?;
            let last = Some((subject, rows));
            self.stage((subject, true), (&value, &weight, output), last, nodes)?;
            return Ok(());
        }
        for (index, stage) in branch.stages.iter().enumerate() {
            let last = index + 1 == branch.stages.len();
            let (spatial, factor) = match stage {
                Stage::Spatial(factor) => (true, factor),
                Stage::Pointwise(factor) => (false, factor),
            };
            let mut factor = factor.clone();
            let letter = if spatial { "T" } else { "S" };
            if last {
                subject.apply_affine(&mut factor, branch.first_row);
            }
            let wanted = format!("{}#{letter}", layer.weight);
            let placement = subject.placement(spatial);
            let how = (&placement, self.wanted.storage);
            let plain = subject.affine.is_none() || !last;
            // Operators that share a tensor may lay its factors out differently.
            let key = format!("{wanted}:{}:{index}:{placement:?}", branch.first_row);
            let weight = match self.shared.get(&key).filter(|_| plain) {
                Some(known) => known.clone(),
                None => self.made.matrix(&wanted, &factor, how)?,
            };
            if plain {
                self.shared.insert(key, weight.clone());
            }
            let next = match last {
                true => output.to_owned(),
                false => self
                    .made
                    .names
                    .fresh(&format!("{}#{letter}", subject.output)),
            };
            let ending = last.then(|| (subject, rows.clone()));
            self.stage((subject, spatial), (&value, &weight, &next), ending, nodes)?;
            value = next;
        }
        Ok(())
    }

    /// One node of a chain; the last one adds the bias of its rows.
    fn stage(
        &mut self,
        (subject, spatial): (&Subject<'_>, bool),
        (value, weight, output): (&str, &str, &str),
        last: Option<(&Subject<'_>, std::ops::Range<usize>)>,
        nodes: &mut Vec<NodeProto>,
    ) -> Result<(), TqzError> {
        let mut made = match subject.layer.kind {
            Kind::MatMulRight => NodeProto::new("MatMul", &[value, weight], output),
            Kind::MatMulLeft => NodeProto::new("MatMul", &[weight, value], output),
            Kind::Gemm { .. } => {
                let mut gemm = NodeProto::new("Gemm", &[value, weight], output);
                gemm.set("transB", 1);
                if last.is_some() {
                    let of = |name| subject.node.find_float(name).unwrap_or(1.0);
                    gemm.set("alpha", of("alpha"));
                    gemm.set("beta", of("beta"));
                }
                gemm
            }
            Kind::Conv | Kind::ConvTranspose if !spatial => {
                let mut conv = NodeProto::new("Conv", &[value, weight], output);
                let ones = vec![1; subject.layer.kernel().len()];
                conv.set("kernel_shape", ones.as_slice());
                conv
            }
            Kind::Conv | Kind::ConvTranspose => {
                let mut conv = NodeProto::new(op(subject.node), &[value, weight], output);
                conv.attribute.clone_from(&subject.node.attribute);
                conv
            }
        };
        if let Some((subject, rows)) = last {
            made.input.extend(self.bias(subject, rows)?);
        }
        let gemm = matches!(subject.layer.kind, Kind::Gemm { .. });
        if gemm && made.input.len() == 2 && self.wanted.opset < GEMM_WITHOUT_ADDEND {
            let nothing = self.made.floats(&format!("{output}#zero"), &[1], &[0.0])?;
            made.input.push(nothing);
        }
        nodes.append(&mut self.made.nodes);
        nodes.push(made);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tqz_format::{Block, BlockCoding, Layout, LevelMatrix, MatrixSpec, StepScale};
    use tqz_onnx::model::{DataType, TensorProto, ValueInfoProto};

    use super::*;

    fn ones(rows: usize, cols: usize) -> LevelMatrix {
        let scale = StepScale {
            base: -64,
            rows: None,
            cols: None,
        };
        let spec = MatrixSpec {
            rows,
            cols,
            period: 1,
        };
        LevelMatrix::from_row_major(spec, scale, &vec![1; rows * cols]).expect("legal")
    }

    /// A dense layer of 16 outputs and 32 inputs that is stored as a product over two components.
    fn record() -> LayerRecord {
        LayerRecord {
            site: 0,
            dims: vec![16, 32],
            layout: Layout::RowsFirst,
            blocks: vec![Block {
                rows: 16,
                coding: BlockCoding::Column {
                    t: ones(2, 32),
                    s: ones(16, 2),
                },
            }],
        }
    }

    fn rewritten(opset: i64, data_type: DataType) -> Vec<NodeProto> {
        let mut gemm = NodeProto::new("Gemm", &["x", "w"], "y");
        gemm.set("transB", 1);
        let mut weight = TensorProto::from_f32("w", &[16, 32], &[0.5; 512]).expect("legal");
        weight.data_type = Some(data_type as i32);
        let mut graph = GraphProto {
            node: vec![gemm],
            initializer: vec![weight],
            output: vec![ValueInfoProto {
                name: Some("y".to_owned()),
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        };
        let record = record();
        let records = BTreeMap::from([("w".to_owned(), &record)]);
        let wanted = Wanted {
            chains: true,
            storage: Storage::Floats,
            opset,
        };
        rewrite(&mut graph, &records, wanted).expect("rewrites");
        graph.node
    }

    #[test]
    fn old_operators_get_the_addend_that_they_need() {
        for (opset, operands) in [(9, 3), (10, 3), (11, 2), (17, 2)] {
            let nodes = rewritten(opset, DataType::Float);
            assert_eq!(nodes.len(), 2, "T, then S");
            assert!(nodes.iter().all(|node| node.input.len() == operands));
        }
    }

    #[test]
    fn layers_of_other_types_than_floats_stay() {
        let nodes = rewritten(17, DataType::Double);
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes[0].input, ["x", "w"]);
    }
}
