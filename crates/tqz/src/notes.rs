//! Notes in a graph: doc strings, and what exporters remember of the source code at every node. They change nothing that is
//! computed and can be larger than a small network's weights, so a file that they would fill goes without.

use tqz_format::TqzFile;
use tqz_onnx::model::{GraphProto, NodeProto, ValueInfoProto};

use crate::error::TqzError;

/// Largest share of a file's target that notes may take: one in so many.
const SHARE: u64 = 200;

/// Drops the graph's notes if they would take more than their share of `limit` bytes; a warning if they did.
///
/// # Errors
/// A graph that cannot be decoded or encoded.
pub(crate) fn drop_dear_notes(
    file: &mut TqzFile,
    limit: Option<u64>,
) -> Result<Option<String>, TqzError> {
    let Some(limit) = limit else {
        return Ok(None);
    };
    let mut model = tqz_onnx::decode_model(&file.graph)?;
    if let Some(graph) = &mut model.graph {
        drop_notes(graph);
    }
    for function in &mut model.functions {
        function.doc_string = None;
        function.metadata_props.clear();
        function.node.iter_mut().for_each(drop_node_notes);
        function.value_info.iter_mut().for_each(drop_value_notes);
    }
    let mut short = file.clone();
    short.graph = tqz_onnx::encode_model(&model);
    if short.graph.len() == file.graph.len() {
        return Ok(None);
    }
    let size = |file: &TqzFile| file.encode_with_layers(Vec::new()).map(|bytes| bytes.len());
    let notes = size(file)?.saturating_sub(size(&short)?) as u64;
    if notes.saturating_mul(SHARE) <= limit {
        return Ok(None);
    }
    *file = short;
    Ok(Some(format!(
        "the graph's doc strings and exporter's notes are left out: they would take {notes} of {limit} bytes"
    )))
}

fn drop_notes(graph: &mut GraphProto) {
    graph.doc_string = None;
    graph.metadata_props.clear();
    graph.node.iter_mut().for_each(drop_node_notes);
    let values = graph.input.iter_mut().chain(&mut graph.output);
    values
        .chain(&mut graph.value_info)
        .for_each(drop_value_notes);
    for tensor in &mut graph.initializer {
        tensor.doc_string = None;
        tensor.metadata_props.clear();
    }
}

fn drop_node_notes(node: &mut NodeProto) {
    node.doc_string = None;
    node.metadata_props.clear();
    for attribute in &mut node.attribute {
        attribute.doc_string = None;
        let graphs = attribute.g.as_deref_mut().into_iter();
        graphs.chain(&mut attribute.graphs).for_each(drop_notes);
    }
}

fn drop_value_notes(value: &mut ValueInfoProto) {
    value.doc_string = None;
    value.metadata_props.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz_onnx::model::{ModelProto, OperatorSetIdProto, StringStringEntryProto};

    fn file() -> TqzFile {
        let note = |key: usize| StringStringEntryProto {
            key: Some(format!("pkg.torch.stack_trace.{key}")),
            value: Some(format!("File {}.py, line {}", key * 7919, key * 104_729)),
            ..StringStringEntryProto::default()
        };
        let node = NodeProto {
            op_type: Some("Relu".to_owned()),
            metadata_props: (0..20).map(note).collect(),
            ..NodeProto::default()
        };
        let graph = GraphProto {
            node: vec![node],
            ..GraphProto::default()
        };
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto::default()],
            graph: Some(graph),
            ..ModelProto::default()
        };
        TqzFile {
            graph: tqz_onnx::encode_model(&model),
            ..TqzFile::default()
        }
    }

    #[test]
    fn notes_stay_where_they_cost_little() {
        let (mut kept, mut dropped) = (file(), file());
        assert_eq!(drop_dear_notes(&mut kept, None).expect("valid"), None);
        assert_eq!(
            drop_dear_notes(&mut kept, Some(1 << 20)).expect("valid"),
            None
        );
        assert_eq!(kept.graph, file().graph);
        let warning = drop_dear_notes(&mut dropped, Some(1000)).expect("valid");
        assert!(warning.is_some_and(|text| text.contains("1000")));
        assert!(dropped.graph.len() < 40, "{}", dropped.graph.len());
    }
}
