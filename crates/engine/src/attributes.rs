//! A node's attributes, read once when the graph is built. Every attribute that an operator does
//! not ask for is reported: an attribute that is ignored could make a result silently wrong.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tqz_onnx::model::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::error::{Fault, OpResult, invalid, unsupported};

/// `AttributeProto.AttributeType` codes of the ONNX IR that operators here use.
mod code {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const INT: i32 = 2;
    pub(super) const STRING: i32 = 3;
    pub(super) const TENSOR: i32 = 4;
    pub(super) const GRAPH: i32 = 5;
    pub(super) const FLOATS: i32 = 6;
    pub(super) const INTS: i32 = 7;
}

/// The attributes of one node by name.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    entries: BTreeMap<&'a str, &'a AttributeProto>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Attributes<'a> {
    /// Of a node whose attribute references (inside functions) are already resolved.
    pub(crate) fn new(node: &'a NodeProto) -> OpResult<Self> {
        let mut entries = BTreeMap::new();
        for attribute in &node.attribute {
            let name = attribute.name.as_deref().unwrap_or_default();
            if attribute
                .ref_attr_name
                .as_deref()
                .is_some_and(|name| !name.is_empty())
            {
                return Err(invalid(format!(
                    "attribute `{name}` refers to an attribute of a function outside of one"
                )));
            }
            if entries.insert(name, attribute).is_some() {
                return Err(invalid(format!("attribute `{name}` is given twice")));
            }
        }
        Ok(Self {
            entries,
            asked: RefCell::new(BTreeSet::new()),
        })
    }

    fn get(&self, name: &str, kind: i32) -> OpResult<Option<&'a AttributeProto>> {
        self.asked.borrow_mut().insert(name.to_owned());
        let Some(&attribute) = self.entries.get(name) else {
            return Ok(None);
        };
        // Files of IR version 1 may leave the type out.
        match attribute.r#type.unwrap_or(0) {
            0 => Ok(Some(attribute)),
            found if found == kind => Ok(Some(attribute)),
            found => Err(invalid(format!(
                "attribute `{name}` has type code {found}, {kind} is expected"
            ))),
        }
    }

    /// Whether the node has the attribute (which counts as asking for it).
    pub(crate) fn has(&self, name: &str) -> bool {
        self.asked.borrow_mut().insert(name.to_owned());
        self.entries.contains_key(name)
    }

    /// An integer, if given.
    pub(crate) fn optional_int(&self, name: &str) -> OpResult<Option<i64>> {
        Ok(self.get(name, code::INT)?.map(|a| a.i.unwrap_or(0)))
    }

    /// An integer with ONNX's default.
    pub(crate) fn int(&self, name: &str, default: i64) -> OpResult<i64> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    /// An integer used as yes or no.
    pub(crate) fn flag(&self, name: &str, default: bool) -> OpResult<bool> {
        match self.optional_int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(invalid(format!(
                "attribute `{name}` is {other}; 0 or 1 is legal"
            ))),
        }
    }

    /// A float, if given.
    pub(crate) fn optional_float(&self, name: &str) -> OpResult<Option<f32>> {
        Ok(self.get(name, code::FLOAT)?.map(|a| a.f.unwrap_or(0.0)))
    }

    /// A float with ONNX's default.
    pub(crate) fn float(&self, name: &str, default: f32) -> OpResult<f32> {
        Ok(self.optional_float(name)?.unwrap_or(default))
    }

    /// A list of integers, if given.
    pub(crate) fn optional_ints(&self, name: &str) -> OpResult<Option<Vec<i64>>> {
        Ok(self.get(name, code::INTS)?.map(|a| a.ints.clone()))
    }

    /// A list of floats, if given.
    pub(crate) fn optional_floats(&self, name: &str) -> OpResult<Option<Vec<f32>>> {
        Ok(self.get(name, code::FLOATS)?.map(|a| a.floats.clone()))
    }

    /// A list of sizes (not negative), if given.
    pub(crate) fn optional_sizes(&self, name: &str) -> OpResult<Option<Vec<usize>>> {
        let Some(values) = self.optional_ints(name)? else {
            return Ok(None);
        };
        let sizes = values.iter().map(|&value| {
            usize::try_from(value).map_err(|_| {
                invalid(format!(
                    "attribute `{name}` holds {value}; 0 or more is legal"
                ))
            })
        });
        sizes.collect::<OpResult<Vec<_>>>().map(Some)
    }

    /// A text with ONNX's default.
    pub(crate) fn text(&self, name: &str, default: &str) -> OpResult<String> {
        match self.get(name, code::STRING)? {
            None => Ok(default.to_owned()),
            Some(attribute) => {
                let bytes = attribute.s.as_deref().unwrap_or_default();
                String::from_utf8(bytes.to_vec())
                    .map_err(|_| invalid(format!("attribute `{name}` is not UTF-8")))
            }
        }
    }

    /// A text that must be one of `legal`, with ONNX's default; gives its place in the list.
    pub(crate) fn choice(&self, name: &str, default: &str, legal: &[&str]) -> OpResult<usize> {
        let text = self.text(name, default)?;
        legal.iter().position(|&word| word == text).ok_or_else(|| {
            unsupported(format!(
                "attribute `{name}` is `{text}`; one of {} is expected",
                legal.join(", ")
            ))
        })
    }

    /// A tensor, if given.
    pub(crate) fn optional_tensor(&self, name: &str) -> OpResult<Option<&'a TensorProto>> {
        Ok(self.get(name, code::TENSOR)?.and_then(|a| a.t.as_deref()))
    }

    /// A subgraph, if given.
    pub(crate) fn optional_graph(&self, name: &str) -> OpResult<Option<&'a GraphProto>> {
        Ok(self.get(name, code::GRAPH)?.and_then(|a| a.g.as_deref()))
    }

    /// Takes an attribute that has no effect on the result here (a hint, or training only).
    pub(crate) fn ignore(&self, name: &str) {
        self.asked.borrow_mut().insert(name.to_owned());
    }

    /// The fault for attributes that nobody asked for, if there are any.
    pub(crate) fn unasked(&self) -> Option<Fault> {
        let asked = self.asked.borrow();
        let unknown: Vec<&str> = self
            .entries
            .keys()
            .copied()
            .filter(|name| !asked.contains(*name))
            .collect();
        (!unknown.is_empty()).then(|| {
            unsupported(format!(
                "attribute(s) `{}` are not known",
                unknown.join("`, `")
            ))
        })
    }
}
