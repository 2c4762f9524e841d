//! Which small integer types a model may hold: they came with later operator sets, and a model is moved to one only where none of
//! its operators changed its meaning on the way.

use tqz_onnx::model::{ModelProto, NodeProto, OperatorSetIdProto};

use super::graph::{has_subgraphs, op};
use super::simplify::opset;

/// Operator set and IR version with the type, by bits.
const NEEDED: [(usize, i64, i64); 2] = [(2, 25, 13), (4, 21, 10)];
/// Oldest operator set from which models are moved on.
const OLDEST: i64 = 13;
/// Operators whose attributes or defaults changed between [`OLDEST`] and the newest set in [`NEEDED`].
const CHANGED: [&str; 22] = [
    "ReduceMax",
    "ReduceMin",
    "ReduceMean",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "GroupNormalization",
    "DFT",
    "GridSample",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "BatchNormalization",
    "Bernoulli",
    "Resize",
    "Upsample",
    "TfIdfVectorizer",
    "Attention",
    "RotaryEmbedding",
];

/// Least bits of a stored integer in this model, which is moved to a later operator set for that where it may be, up to `newest`.
pub(super) fn narrowest_bits(model: &mut ModelProto, newest: i64) -> usize {
    let found = opset(model);
    let may_move = found >= OLDEST && model.functions.is_empty() && movable(model, found);
    for (bits, wanted, ir_version) in NEEDED {
        if found >= wanted || (may_move && wanted <= newest) {
            raise(model, found.max(wanted), ir_version);
            return bits;
        }
    }
    8
}

fn movable(model: &ModelProto, opset: i64) -> bool {
    let Some(graph) = &model.graph else {
        return false;
    };
    !has_subgraphs(graph) && graph.node.iter().all(|node| keeps_meaning(node, opset))
}

fn keeps_meaning(node: &NodeProto, opset: i64) -> bool {
    match op(node) {
        "" => false,
        // A split into equal parts needs an attribute from set 18 on.
        "Split" => node.input.iter().filter(|name| !name.is_empty()).count() == 2 || opset >= 18,
        // Running statistics became outputs of their own in set 14; one output means the same in both.
        "BatchNormalization" => opset >= 14 || node.output.len() == 1,
        "Resize" => opset >= 19,
        changed if CHANGED.contains(&changed) => {
            changed.starts_with("Reduce") && node.find("axes").is_none() && opset >= 18
        }
        _ => true,
    }
}

fn raise(model: &mut ModelProto, opset: i64, ir_version: i64) {
    model.ir_version = Some(model.ir_version.unwrap_or(0).max(ir_version));
    let standard = |import: &&mut OperatorSetIdProto| {
        matches!(import.domain.as_deref(), None | Some("" | "ai.onnx"))
    };
    if let Some(import) = model.opset_import.iter_mut().find(standard) {
        import.version = Some(opset);
    }
}
