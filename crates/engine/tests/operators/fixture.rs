//! Reads the fixtures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::{ArrayD, IxDyn};
use serde::Deserialize;
use tqz_engine::Network;
use tqz_onnx::model::ModelProto;

/// One model with its inputs and what must come out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Version of ONNX's operators that the model imports; for the reader of the file.
    #[serde(rename = "opset")]
    _opset: i64,
    model: String,
    inputs: BTreeMap<String, Tensor>,
    #[serde(default)]
    pub(crate) outputs: Vec<Tensor>,
    /// Whether the gradient is compared with differences.
    #[serde(default)]
    pub(crate) gradient: bool,
    #[serde(default)]
    tolerance: Option<f32>,
    /// For models that must be refused: words of the error.
    #[serde(default)]
    pub(crate) error: Vec<String>,
}

/// A tensor in row-major order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tensor {
    pub(crate) dtype: String,
    pub(crate) dims: Vec<usize>,
    data: Vec<Number>,
}

/// JSON has no infinities and no NaN.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(f64),
    Text(String),
}

impl Tensor {
    pub(crate) fn is_float(&self) -> bool {
        self.dtype.contains("float")
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = f32> {
        self.data.iter().map(|number| match number {
            Number::Plain(number) => *number as f32,
            Number::Text(text) => text.parse().expect("inf, -inf or nan"),
        })
    }

    pub(crate) fn array(&self) -> ArrayD<f32> {
        ArrayD::from_shape_vec(IxDyn(&self.dims), self.numbers().collect())
            .expect("data of that shape")
    }
}

impl Case {
    pub(crate) fn model(&self) -> ModelProto {
        tqz_onnx::decode_model(&base64(&self.model)).expect("the fixture holds a model")
    }

    /// The inputs in the network's order.
    pub(crate) fn arrays(&self, network: &Network) -> Vec<ArrayD<f32>> {
        network
            .inputs()
            .iter()
            .map(|port| self.inputs[&port.name].array())
            .collect()
    }

    pub(crate) fn input(&self, name: &str) -> &Tensor {
        &self.inputs[name]
    }

    /// Allowed difference relative to 1 + |reference|: none for integers.
    pub(crate) fn tolerance(&self, expected: &Tensor) -> f32 {
        match expected.dtype.as_str() {
            // The reference was rounded to 11 bits, the engine computes in f32.
            "float16" => 1e-3,
            _ if expected.is_float() => self.tolerance.unwrap_or(1e-4),
            _ => 0.0,
        }
    }

    /// Name and operator of a model's only node, which an error must hold.
    pub(crate) fn named_node(&self) -> Vec<String> {
        let graph = self.model().graph.expect("a graph");
        match graph.node.as_slice() {
            [node] if self.error_names_node() => {
                vec![
                    node.name.clone().unwrap_or_default(),
                    node.op_type.clone().unwrap_or_default(),
                ]
            }
            _ => Vec::new(),
        }
    }

    /// Errors about the graph as a whole name its values.
    fn error_names_node(&self) -> bool {
        !self.name.starts_with("graph_")
    }
}

/// The cases of a family.
pub(crate) fn read(family: &str) -> Vec<Case> {
    let path = folder().join(format!("{family}.json"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Case> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!cases.is_empty(), "{} holds no cases", path.display());
    cases
}

/// Names of all fixture files.
pub(crate) fn families() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("the fixture folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/operators")
}

/// RFC 4648, with padding.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is no base64 digit"),
    };
    let digits: Vec<u32> = text
        .trim_end_matches('=')
        .bytes()
        .map(|byte| u32::from(digit(byte)))
        .collect();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let word = group
            .iter()
            .enumerate()
            .fold(0, |word, (place, digit)| word | digit << (18 - 6 * place));
        bytes.extend(&word.to_be_bytes()[1..group.len()]);
    }
    bytes
}
