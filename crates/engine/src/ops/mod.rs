//! Operators: what a node of the graph computes. One file per family; ONNX's defaults and legal
//! ranges stand where the attributes are read, in the family's file.
//!
//! # Adding an operator
//!
//! 1. In the family's file write a plain struct that holds the node's settings as they are used at
//!    run time, and a builder `fn(&NodeSpec) -> OpResult<Box<dyn Operator>>` that reads *every*
//!    attribute through `spec.attributes` (with ONNX's default for `spec.opset`), checks legal
//!    ranges, and checks `spec.inputs` and `spec.outputs` if the counts matter (the registry already checks the
//!    counts given in its entry). An attribute that the builder does not ask for makes loading fail,
//!    so nothing is ignored by accident; `attributes.ignore` is for those without effect.
//! 2. Implement [`Operator::run`]: take operands from [`Inputs`] (taking, not borrowing: a tensor
//!    whose last use this is can be changed in place), compute, return one value per output, in order;
//!    trailing outputs that nobody wants may be left out.
//! 3. Put the operator into the family's `register` with its input and output counts and the opsets
//!    for which the file is right ([`Entry`]), and the family into [`Registry::onnx`].
//! 4. Add a fixture made by `tools/make_operator_fixtures.py`.
//!
//! Rules: whatever could make burn panic (shapes, axes, sizes) is checked here first; a tensor larger
//! than its operands is sized with [`Inputs::check_elements`] before it is made; what is not computed
//! is `unsupported(..)`, what is against the rules `invalid(..)`, with the legal range. Floats
//! ([`Real`]) stay differentiable: never go through the host for values that may carry a gradient.
//! Integers ([`Ints`]) are host data and cost nothing to look at.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::attributes::Attributes;
use crate::device::EngineDevice;
use crate::error::{OpResult, invalid};
use crate::ints::Ints;
use crate::layer::LayerParts;
use crate::limits::element_count;
use crate::real::Real;
use crate::value::Value;

mod activation;
pub(crate) mod axes;
mod conv;
mod cumulate;
mod einsum;
mod elementwise;
mod linear;
mod logic;
mod lrn;
mod norm;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod shape;
mod slice;
pub(crate) mod spatial;

/// What a builder sees of a node.
#[derive(Debug)]
pub(crate) struct NodeSpec<'a> {
    /// Operator name without domain.
    pub(crate) op: &'a str,
    /// Imported version of the operator's domain.
    pub(crate) opset: i64,
    /// For each input whether it is given (an empty name is a missing optional input).
    pub(crate) inputs: Vec<bool>,
    /// For each output whether it has a name.
    pub(crate) outputs: Vec<bool>,
    /// The attributes.
    pub(crate) attributes: Attributes<'a>,
    /// Where constants are made.
    pub(crate) device: EngineDevice,
}

impl NodeSpec<'_> {
    /// Whether input `index` is given.
    pub(crate) fn has_input(&self, index: usize) -> bool {
        self.inputs.get(index).copied().unwrap_or(false)
    }

    /// Whether output `index` is named.
    pub(crate) fn has_output(&self, index: usize) -> bool {
        self.outputs.get(index).copied().unwrap_or(false)
    }
}

/// A node ready to run.
pub(crate) trait Operator: Debug + Send + Sync {
    /// Computes the outputs.
    fn run(&self, inputs: Inputs) -> OpResult<Vec<Value>>;

    /// For the operators whose weight can be compressed: their geometry, where the operands given
    /// by their shapes are constant and the others are not.
    fn layer(&self, _constants: &[Option<&[usize]>]) -> Option<LayerParts> {
        None
    }

    /// For BatchNormalization: its epsilon.
    fn batch_norm_epsilon(&self) -> Option<f32> {
        None
    }

    /// Whether the result depends on the operands alone (false for random numbers).
    fn is_pure(&self) -> bool {
        true
    }
}

/// The operands of one run of a node, each taken at most once.
#[derive(Debug)]
pub(crate) struct Inputs {
    values: Vec<Option<Value>>,
    device: EngineDevice,
    max_elements: usize,
}

impl Inputs {
    /// Operands in order, `None` for missing optional ones; results may have `max_elements`.
    pub(crate) fn new(
        values: Vec<Option<Value>>,
        device: &EngineDevice,
        max_elements: usize,
    ) -> Self {
        Self {
            values,
            device: device.clone(),
            max_elements,
        }
    }

    /// Where new tensors are made.
    pub(crate) fn device(&self) -> &EngineDevice {
        &self.device
    }

    /// Number of operands, missing ones in the middle included.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Number of elements of a result of this shape, if that is within the limit.
    pub(crate) fn check_elements(&self, dims: &[usize]) -> OpResult<usize> {
        element_count(dims, self.max_elements)
    }

    /// Takes an operand that may be missing.
    pub(crate) fn optional(&mut self, index: usize) -> Option<Value> {
        self.values.get_mut(index).and_then(Option::take)
    }

    /// Takes an operand of either kind.
    pub(crate) fn value(&mut self, index: usize) -> OpResult<Value> {
        self.optional(index)
            .ok_or_else(|| invalid(format!("input {index} is missing")))
    }

    /// Takes a float operand.
    pub(crate) fn real(&mut self, index: usize) -> OpResult<Real> {
        at_input(index, self.value(index)?.into_real())
    }

    /// Takes a float operand that may be missing.
    pub(crate) fn optional_real(&mut self, index: usize) -> OpResult<Option<Real>> {
        self.optional(index)
            .map(|value| at_input(index, value.into_real()))
            .transpose()
    }

    /// Takes an integer or boolean operand.
    pub(crate) fn ints(&mut self, index: usize) -> OpResult<Ints> {
        at_input(index, self.value(index)?.into_ints())
    }

    /// Takes an integer or boolean operand that may be missing.
    pub(crate) fn optional_ints(&mut self, index: usize) -> OpResult<Option<Ints>> {
        self.optional(index)
            .map(|value| at_input(index, value.into_ints()))
            .transpose()
    }

    /// Takes all operands that are left, in order, missing ones left out.
    pub(crate) fn rest(self) -> Vec<Value> {
        self.values.into_iter().flatten().collect()
    }
}

fn at_input<T>(index: usize, result: OpResult<T>) -> OpResult<T> {
    result.map_err(|mut fault| {
        fault.message = format!("input {index}: {}", fault.message);
        fault
    })
}

/// Makes a runnable node from its description.
pub(crate) type Builder = fn(&NodeSpec) -> OpResult<Box<dyn Operator>>;

/// What the registry knows of an operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Fewest and most inputs.
    pub(crate) inputs: (usize, usize),
    /// Most outputs.
    pub(crate) outputs: usize,
    /// First and last opset that the builder knows; the last is [`NEWEST_OPSET`] where the newest
    /// definition is implemented.
    pub(crate) opsets: (i64, i64),
    /// The builder.
    pub(crate) build: Builder,
}

/// Newest version of ONNX's default domain whose definitions were read for this crate.
pub(crate) const NEWEST_OPSET: i64 = 26;

/// Any number of inputs or outputs.
pub(crate) const ANY: usize = usize::MAX;

/// The operators by domain and name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: BTreeMap<&'static str, BTreeMap<&'static str, Entry>>,
}

impl Registry {
    /// Every operator of the engine.
    pub(crate) fn onnx() -> Self {
        let mut registry = Self::default();
        for family in [
            activation::register,
            conv::register,
            cumulate::register,
            einsum::register,
            elementwise::register,
            linear::register,
            logic::register,
            lrn::register,
            norm::register,
            pool::register,
            quantize::register,
            reduce::register,
            resize::register,
            shape::register,
            slice::register,
        ] {
            family(&mut registry);
        }
        registry
    }

    /// Adds an operator of ONNX's default domain.
    pub(crate) fn add(&mut self, op: &'static str, entry: Entry) {
        self.add_foreign("", op, entry);
    }

    /// Adds an operator of another domain.
    pub(crate) fn add_foreign(&mut self, domain: &'static str, op: &'static str, entry: Entry) {
        let previous = self.entries.entry(domain).or_default().insert(op, entry);
        debug_assert!(previous.is_none(), "{domain}.{op} is registered twice");
    }

    /// The entry of an operator; `ai.onnx` is another name of the default domain.
    pub(crate) fn find(&self, domain: &str, op: &str) -> Option<&Entry> {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        self.entries.get(domain)?.get(op)
    }
}
