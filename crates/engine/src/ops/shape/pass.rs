//! What passes values on: Identity and Dropout.

use super::super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::{ElementType, Ints};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let identity_entry = Entry {
        inputs: (1, 1),
        outputs: 1,
        opsets: (1, NEWEST_OPSET),
        build: identity,
    };
    registry.add("Identity", identity_entry);
    registry.add(
        "Dropout",
        Entry {
            inputs: (1, 3),
            outputs: 2,
            build: dropout,
            ..identity_entry
        },
    );
}

#[derive(Debug)]
struct Identity;

fn identity(_spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Identity))
}

impl Operator for Identity {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        Ok(vec![inputs.value(0)?])
    }
}

/// Dropout as it is at inference: nothing is dropped.
#[derive(Debug)]
struct Dropout {
    /// Since opset 10 the mask is of truth values, before of the input's type.
    truth_mask: bool,
}

fn dropout(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let attributes = &spec.attributes;
    if spec.opset < 12 {
        attributes.float("ratio", 0.5)?;
    } else {
        attributes.ignore("seed");
    }
    if spec.opset < 7 {
        attributes.ignore("consumed_inputs");
        if !attributes.flag("is_test", false)? {
            return Err(unsupported(
                "attribute `is_test` is 0 (training); 1 (inference) is supported",
            ));
        }
    }
    if spec.opset < 12 && (spec.has_input(1) || spec.has_input(2)) {
        return Err(invalid("one input is legal before opset 12"));
    }
    Ok(Box::new(Dropout {
        truth_mask: spec.opset >= 10,
    }))
}

impl Operator for Dropout {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        if let Some(training) = inputs.optional_ints(2)?
            && training.single()? != 0
        {
            return Err(unsupported(
                "`training_mode` is true; false (inference) is supported",
            ));
        }
        let mask = match self.truth_mask {
            true => Ints::new(ElementType::Bool, x.dims(), vec![1; x.len()])?.into(),
            false => Real::full(1.0, x.dims(), inputs.device())?.into(),
        };
        Ok(vec![x, mask])
    }
}
