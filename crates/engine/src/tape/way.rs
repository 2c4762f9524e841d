//! The way back through one node: by `patches` where it is a convolution that they know, else by a small graph of the tensor library.

use std::collections::{BTreeMap, BTreeSet};

use crate::arithmetic::{Binary, binary};
use crate::error::OpResult;
use crate::graph::{Slot, Step};
use crate::layer::LayerOp;
use crate::limits::{MAX_ELEMENTS, element_count};
use crate::network::Network;
use crate::ops::spatial::Window;
use crate::patches::Patches;
use crate::real::{Leaf, Real};
use crate::tap::differentiate;
use crate::value::Value;

/// How the gradient takes the way back through one node.
pub(super) enum Way {
    /// Results as functions of leaves.
    Graph {
        results: Vec<(Slot, Real)>,
        leaves: Vec<(Slot, Leaf)>,
    },
    /// A convolution by columns.
    Patches(Box<Convolved>),
}

/// A convolution of x with w: the slots where a gradient is wanted, and the operands that it needs: that at x the weights, that
/// at the weights x.
pub(super) struct Convolved {
    pub(super) sizes: Patches,
    pub(super) result: Slot,
    pub(super) slots: [Option<Slot>; 3],
    pub(super) x: Option<Real>,
    pub(super) w: Option<Real>,
}

/// Gradients on the way back.
pub(super) struct Slopes {
    pub(super) at: BTreeMap<Slot, Real>,
    /// Where they stay.
    pub(super) asked: BTreeSet<Slot>,
}

impl Slopes {
    /// The gradient at a node's result, all of whose uses have been passed.
    pub(super) fn take(&mut self, slot: Slot) -> Option<Real> {
        if self.asked.contains(&slot) {
            return self.at.get(&slot).cloned();
        }
        self.at.remove(&slot)
    }

    pub(super) fn add(&mut self, slot: Slot, more: Real) -> OpResult<()> {
        let sum = match self.at.remove(&slot) {
            Some(known) => binary(Binary::Add, known, more)?,
            None => more,
        };
        self.at.insert(slot, sum);
        Ok(())
    }
}

impl Way {
    /// Takes the gradients at the results out of `found` and adds those at the operands.
    pub(super) fn back(self, found: &mut Slopes, network: &Network) -> OpResult<()> {
        let device = network.device();
        match self {
            Self::Graph { results, leaves } => {
                let mut total = None;
                for (slot, result) in results {
                    let Some(slope) = found.take(slot) else {
                        continue;
                    };
                    let part = (result.into_flat()? * slope.into_flat()?).sum();
                    total = Some(match total {
                        Some(sum) => sum + part,
                        None => part,
                    });
                }
                let Some(total) = total else { return Ok(()) };
                let mut gradients = differentiate(total)?;
                for (slot, leaf) in leaves {
                    found.add(slot, leaf.gradient(Some(&mut gradients), device)?)?;
                }
            }
            Self::Patches(convolved) => convolved.back(found, network)?,
        }
        Ok(())
    }
}

impl Convolved {
    /// As [`Way::back`].
    fn back(self, found: &mut Slopes, network: &Network) -> OpResult<()> {
        let (device, sizes) = (network.device(), self.sizes);
        let Some(slope) = found.take(self.result) else {
            return Ok(());
        };
        let g = slope.into_host()?;
        if let Some(slot) = self.slots[2] {
            let sums = bias_sums(&g, &sizes);
            let dims = [sums.len()];
            found.add(slot, Real::from_host(sums, &dims, device)?)?;
        }
        let host = |real: Option<Real>| real.map(Real::into_host).transpose();
        let (x, w) = (host(self.x)?, host(self.w)?);
        let parts = sizes.backward(&g, (x.as_deref(), w.as_deref()));
        let parts = [(parts.x, sizes.input()), (parts.w, sizes.weights())];
        for (slot, (part, dims)) in self.slots.into_iter().zip(parts) {
            if let (Some(slot), Some(part)) = (slot, part) {
                found.add(slot, Real::from_host(part, &dims, device)?)?;
            }
        }
        Ok(())
    }
}

/// Sums of a gradient [n, o, h, w] over all but the channels.
fn bias_sums(g: &[f32], sizes: &Patches) -> Vec<f32> {
    let [_, outputs, height, width] = sizes.output();
    let mut sums = vec![0.0; outputs];
    for (index, plane) in g.chunks((height * width).max(1)).enumerate() {
        sums[index % outputs.max(1)] += plane.iter().sum::<f32>();
    }
    sums
}

/// Sizes and operands of a step that is a convolution of images without groups.
pub(super) fn convolution<'v>(
    step: &Step,
    operands: &'v [Option<Value>],
) -> Option<(Patches, &'v Real, &'v Real)> {
    let real = |index: usize| match operands.get(index) {
        Some(Some(Value::Real(real))) => Some(real),
        _ => None,
    };
    let (x, w, bias) = (real(0)?, real(1)?, real(2));
    let parts = step
        .operator
        .layer(&[None, Some(w.dims()), bias.map(Real::dims)])?;
    let LayerOp::Conv {
        kernel,
        strides,
        pads: Some(pads),
        dilations,
        group: 1,
    } = parts.op
    else {
        return None;
    };
    let (begin, end) = pads.split_at(pads.len() / 2);
    let window = Window {
        kernel,
        strides,
        dilations,
        pads_begin: begin.to_vec(),
        pads_end: end.to_vec(),
    };
    let fits = bias.is_none_or(|bias| bias.dims() == [w.dims()[0]]);
    let sizes = Patches::new(x.dims(), w.dims(), &window)?;
    element_count(&sizes.output(), MAX_ELEMENTS).ok()?;
    fits.then_some((sizes, x, w))
}
