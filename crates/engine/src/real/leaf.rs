//! Places at which a gradient is wanted.

use burn::tensor::{Gradients, Tensor};

use super::{Raw, Real};
use crate::device::EngineDevice;
use crate::error::{OpResult, invalid};

/// The place at which a gradient is wanted.
#[derive(Debug)]
pub(crate) struct Leaf {
    tensor: Real,
}

impl Leaf {
    /// The gradient found here; zeros where none arrived.
    pub(crate) fn gradient(
        self,
        gradients: Option<&mut Gradients>,
        device: &EngineDevice,
    ) -> OpResult<Real> {
        let dims = self.tensor.dims.clone();
        let found = gradients.and_then(|gradients| {
            each_rank!(&self.tensor.raw,
                tensor => tensor.grad_remove(gradients).map(Real::from_tensor),
                empty => None)
        });
        match found {
            Some(gradient) => gradient.reshape(&dims),
            None => Real::full(0.0, &dims, device),
        }
    }
}

impl Real {
    /// The same numbers as a value at which the gradient can be read after a backward pass.
    pub(crate) fn with_leaf(self) -> OpResult<(Self, Leaf)> {
        let dims = self.dims.clone();
        let (tracked, leaf) = each_rank!(self.raw,
            tensor => {
                let (tracked, leaf) = leafed(tensor);
                (Self::with_dims(tracked, dims.clone()), Self::with_dims(leaf, dims))
            },
            empty => return Err(invalid("a tensor without elements has no gradient")));
        Ok((tracked, Leaf { tensor: leaf }))
    }
}

/// A tensor that goes on and the leaf whose gradient is the one at it: the tensor itself where
/// nothing before it is tracked, else a zero added to it.
fn leafed<const D: usize>(tensor: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    if !tensor.is_tracked() {
        let leaf = tensor.without_autodiff().autodiff().require_grad();
        return (leaf.clone(), leaf);
    }
    let zero = Tensor::<D>::zeros([1; D], &tensor.device().without_autodiff());
    let leaf = zero
        .expand::<D, [usize; D]>(tensor.dims())
        .autodiff()
        .require_grad();
    (tensor + leaf.clone(), leaf)
}
