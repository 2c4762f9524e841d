//! What several test modules need.

use std::path::{Path, PathBuf};

use crate::model::{
    AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, ValueInfoProto,
};

/// The shared material: `$TQZ_SHARED`, or `shared` beside the workspace.
pub(crate) fn shared() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("TQZ_SHARED").map_or(default, PathBuf::from)
}

/// The files of one extension in a folder, sorted; none is a failure.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("folder entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    assert!(!files.is_empty(), "no .{extension} in {}", folder.display());
    files.sort();
    files
}

/// A convolution with its weight, a constant and a loop body: 400 bytes that end with what every
/// model must have.
pub(crate) fn small_model() -> ModelProto {
    let name = |name: &str| Some(name.to_string());
    let value = |text: &str| ValueInfoProto {
        name: name(text),
        ..ValueInfoProto::default()
    };
    let weight = TensorProto::from_f32("w", &[1, 1, 2, 2], &[0.5, -1.0, 2.0, 0.25]);
    let mut typed = TensorProto::from_i64("n", &[2], &[3, -1]).expect("two values");
    (typed.int64_data, typed.raw_data) = (vec![3, -1], None);
    let constant = AttributeProto {
        name: name("value"),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(Box::new(typed)),
        ..AttributeProto::default()
    };
    let body = AttributeProto {
        name: name("body"),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(Box::new(GraphProto {
            initializer: vec![TensorProto::from_f32("b", &[], &[1.5]).expect("a scalar")],
            ..GraphProto::default()
        })),
        ..AttributeProto::default()
    };
    let node = |op: &str, attribute: Vec<AttributeProto>| NodeProto {
        input: vec!["x".into(), "w".into()],
        output: vec![format!("{op}_out")],
        op_type: name(op),
        attribute,
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: name("small"),
        node: vec![
            node("Conv", Vec::new()),
            node("Constant", vec![constant]),
            node("Loop", vec![body]),
        ],
        initializer: vec![weight.expect("four values")],
        input: vec![value("x")],
        output: vec![value("Loop_out")],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        producer_name: name("a test"),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            version: Some(17),
            ..OperatorSetIdProto::default()
        }],
        ..ModelProto::default()
    }
}

/// Pseudo-random numbers (Steele, Lea & Flood 2014, SplitMix64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// A number from 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}
