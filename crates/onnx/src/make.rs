//! Nodes and their attributes, made and looked up by name.

use crate::model::{AttributeProto, AttributeType, NodeProto, TensorProto};

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// A whole number.
    Int(i64),
    /// A float.
    Float(f32),
    /// A list of whole numbers.
    Ints(Vec<i64>),
    /// A tensor.
    Tensor(Box<TensorProto>),
}

impl From<i64> for AttributeValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f32> for AttributeValue {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<&[i64]> for AttributeValue {
    fn from(values: &[i64]) -> Self {
        Self::Ints(values.to_vec())
    }
}

impl<const N: usize> From<[i64; N]> for AttributeValue {
    fn from(values: [i64; N]) -> Self {
        Self::Ints(values.to_vec())
    }
}

impl From<TensorProto> for AttributeValue {
    fn from(tensor: TensorProto) -> Self {
        Self::Tensor(Box::new(tensor))
    }
}

impl AttributeProto {
    /// An attribute of this name and value.
    pub fn new(name: &str, value: impl Into<AttributeValue>) -> Self {
        let mut made = Self {
            name: Some(name.to_owned()),
            ..Self::default()
        };
        made.r#type = Some(match value.into() {
            AttributeValue::Int(value) => {
                made.i = Some(value);
                AttributeType::Int
            }
            AttributeValue::Float(value) => {
                made.f = Some(value);
                AttributeType::Float
            }
            AttributeValue::Ints(values) => {
                made.ints = values;
                AttributeType::Ints
            }
            AttributeValue::Tensor(tensor) => {
                made.t = Some(tensor);
                AttributeType::Tensor
            }
        } as i32);
        made
    }
}

impl NodeProto {
    /// A node of the standard domain, named like its output.
    pub fn new(op: &str, inputs: &[&str], output: &str) -> Self {
        Self {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(op.to_owned()),
            ..Self::default()
        }
    }

    /// The node with an attribute more, or with another value of one that it has.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<AttributeValue>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets an attribute; one of the same name goes.
    pub fn set(&mut self, name: &str, value: impl Into<AttributeValue>) {
        self.attribute.retain(|held| held.name() != name);
        self.attribute.push(AttributeProto::new(name, value));
    }

    /// The attribute of this name.
    pub fn find(&self, name: &str) -> Option<&AttributeProto> {
        let mut all = self.attribute.iter();
        all.find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// A whole number among the attributes.
    pub fn find_int(&self, name: &str) -> Option<i64> {
        self.find(name)?.i
    }

    /// A float among the attributes.
    pub fn find_float(&self, name: &str) -> Option<f32> {
        self.find(name)?.f
    }

    /// A list of whole numbers among the attributes; empty where there is none.
    pub fn find_ints(&self, name: &str) -> &[i64] {
        self.find(name).map_or(&[], |attribute| &attribute.ints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_by_name_and_replaced() {
        let tensor = TensorProto::from_i64("t", &[1], &[7]).expect("fits");
        let mut node = NodeProto::new("Conv", &["x", "w"], "y")
            .with("group", 2)
            .with("alpha", 0.5)
            .with("pads", [1, 2])
            .with("value", tensor.clone());
        assert_eq!((node.op_type(), node.name()), ("Conv", "y"));
        assert_eq!(
            (&node.input[..], &node.output[..]),
            (&["x".to_owned(), "w".to_owned()][..], &["y".to_owned()][..])
        );
        node.set("group", 4);
        assert_eq!(node.attribute.len(), 4);
        assert_eq!(node.find_int("group"), Some(4));
        assert_eq!(node.find_float("alpha"), Some(0.5));
        assert_eq!(node.find_ints("pads"), [1, 2]);
        assert!(node.find("strides").is_none() && node.find_ints("strides").is_empty());
        let held = node.find("value").expect("set");
        assert_eq!(held.r#type, Some(AttributeType::Tensor as i32));
        assert_eq!(held.t.as_deref(), Some(&tensor));
    }
}
