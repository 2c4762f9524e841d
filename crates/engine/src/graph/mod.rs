//! A model's graph made ready to run: values numbered, nodes in order, functions and constant
//! branches expanded, everything that depends on constants alone computed once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{EngineError, Fault};
use crate::layer::{BatchNorm, Layer};
use crate::ops::Operator;
use crate::port::Port;
use crate::value::Value;

mod branch;
mod build;
mod expand;
mod functions;
mod fused;
mod layers;
mod order;
mod scope;
mod steps;
mod stored;

pub(crate) use build::build;

/// Number of a value in a [`Plan`].
pub(crate) type Slot = usize;

/// Who a node is, for messages.
#[derive(Debug, Clone)]
pub(crate) struct NodeLabel {
    /// Its name, or its position and operator where it has none.
    pub(crate) node: String,
    /// Operator, with its domain where that is not ONNX's own.
    pub(crate) op: String,
    /// Imported version of the domain; 0 where it is not imported.
    pub(crate) opset: i64,
}

impl NodeLabel {
    /// The fault as an error of this node.
    pub(crate) fn error(&self, fault: Fault) -> EngineError {
        let (node, op, opset) = (self.node.clone(), self.op.clone(), self.opset);
        let message = fault.message;
        if fault.unsupported {
            EngineError::Unsupported {
                node,
                op,
                opset,
                message,
            }
        } else {
            EngineError::Node {
                node,
                op,
                opset,
                message,
            }
        }
    }
}

/// One node ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) label: NodeLabel,
    pub(crate) operator: Arc<dyn Operator>,
    /// Operands; `None` where an optional one is missing.
    pub(crate) inputs: Vec<Option<Slot>>,
    /// Results; `None` where nobody wants one.
    pub(crate) outputs: Vec<Option<Slot>>,
    /// For each operand whether no later step, nor a later operand of this one, reads it.
    pub(crate) last_use: Vec<bool>,
    /// For the steps of an If's branch: when they run.
    pub(crate) guard: Option<Guard>,
}

/// The condition under which a step runs; where the condition itself was not computed it does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    pub(crate) condition: Slot,
    pub(crate) wanted: bool,
}

/// Everything about a graph that does not change with its weights.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Name of each value.
    pub(crate) names: Vec<String>,
    /// Value of each name that the model uses in its main graph, and of those inside functions
    /// under their full names.
    pub(crate) slots: BTreeMap<String, Slot>,
    /// Steps whose operands are constant, in order; their results are kept with the constants.
    pub(crate) fold_steps: Vec<Step>,
    /// Steps of a run, in order.
    pub(crate) run_steps: Vec<Step>,
    /// Number of reads of each value in a run, graph outputs included.
    pub(crate) uses: Vec<usize>,
    /// Stored float tensors, whose numbers may be replaced, by name.
    pub(crate) weights: BTreeMap<String, Slot>,
    pub(crate) inputs: Vec<(Port, Slot)>,
    pub(crate) outputs: Vec<(Port, Slot)>,
    pub(crate) layers: Vec<Layer>,
    /// Place of each layer in `run_steps`, with its input's and output's slots.
    pub(crate) layer_sites: Vec<LayerSite>,
    pub(crate) batch_norms: Vec<BatchNorm>,
    /// Constants that a layer has as its weight and that no stored tensor holds.
    pub(crate) computed_weights: Vec<Slot>,
}

/// Where a layer sits in a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerSite {
    pub(crate) input: Slot,
    pub(crate) output: Slot,
}

/// Values of the constant slots, `None` for the others.
pub(crate) type Constants = Vec<Option<Value>>;
