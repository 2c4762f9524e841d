//! A float tensor on the device whose rank is known only at run time; burn's is part of the type.
//! Everything here is differentiable. Rank 0 is held as rank 1 of one element.

use std::any::Any;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use crate::device::EngineDevice;
use crate::error::{OpResult, invalid, unsupported};
use crate::limits::{MAX_ELEMENTS, MAX_RANK, element_count};

/// Host copies are kept of tensors up to this many elements, so that scalars and small parameter
/// lists (clip bounds, scales, pads) never wait for a device.
const HOST_COPY_ELEMENTS: usize = 64;

#[derive(Clone, Debug)]
enum Raw {
    /// No elements at all (an absent `roi` given as an empty tensor): nothing on the device.
    Empty,
    R1(Tensor<1>),
    R2(Tensor<2>),
    R3(Tensor<3>),
    R4(Tensor<4>),
    R5(Tensor<5>),
    R6(Tensor<6>),
}

/// Runs the same expression for whichever rank is there.
macro_rules! each_rank {
    ($raw:expr, $tensor:ident => $body:expr, empty => $empty:expr) => {
        match $raw {
            Raw::Empty => $empty,
            Raw::R1($tensor) => $body,
            Raw::R2($tensor) => $body,
            Raw::R3($tensor) => $body,
            Raw::R4($tensor) => $body,
            Raw::R5($tensor) => $body,
            Raw::R6($tensor) => $body,
        }
    };
}

mod arrange;
mod leaf;
mod range;

pub(crate) use leaf::Leaf;
pub(crate) use range::SliceRange;

/// A float tensor of any rank up to [`MAX_RANK`]; cloning shares the data.
///
/// Callers need it only for [`Network::run_tensors`](crate::Network::run_tensors): it wraps a burn tensor, with its
/// place in an autodiff graph, whose rank is not part of the type.
#[derive(Clone, Debug)]
pub struct Real {
    raw: Raw,
    dims: Vec<usize>,
    host: Option<Arc<Vec<f32>>>,
}

impl Real {
    /// A tensor from host numbers in row-major order.
    pub(crate) fn from_host(
        data: Vec<f32>,
        dims: &[usize],
        device: &EngineDevice,
    ) -> OpResult<Self> {
        let count = element_count(dims, MAX_ELEMENTS)?;
        if count != data.len() {
            return Err(invalid(format!(
                "{} numbers do not fill the shape {dims:?}",
                data.len()
            )));
        }
        if count == 0 {
            return Ok(Self::empty(dims));
        }
        let host = (count <= HOST_COPY_ELEMENTS).then(|| Arc::new(data.clone()));
        let flat = Tensor::<1>::from_data(TensorData::new(data, [count]), device.burn());
        let mut real = Self::from_tensor(flat).reshape(dims)?;
        real.host = host;
        Ok(real)
    }

    /// A tensor of one repeated number, without gradient.
    pub(crate) fn full(value: f32, dims: &[usize], device: &EngineDevice) -> OpResult<Self> {
        let count = element_count(dims, MAX_ELEMENTS)?;
        if count == 0 {
            return Ok(Self::empty(dims));
        }
        if count <= HOST_COPY_ELEMENTS {
            return Self::from_host(vec![value; count], dims, device);
        }
        Self::from_tensor(Tensor::<1>::full([count], value, device.burn())).reshape(dims)
    }

    fn empty(dims: &[usize]) -> Self {
        Self {
            raw: Raw::Empty,
            dims: dims.to_vec(),
            host: Some(Arc::new(Vec::new())),
        }
    }

    /// Wraps a burn tensor of rank 1 to 6 (another rank does not compile) without copying; its
    /// shape becomes the logical shape.
    pub fn from_tensor<const D: usize>(tensor: Tensor<D>) -> Self {
        const { assert!(D >= 1 && D <= MAX_RANK, "ranks 1 to 6 are supported") };
        let dims = tensor.dims().to_vec();
        Self::with_dims(tensor, dims)
    }

    /// `dims` has the same number of elements as the tensor, and rank D, or rank 0 for D = 1.
    fn with_dims<const D: usize>(tensor: Tensor<D>, dims: Vec<usize>) -> Self {
        let raw = match D {
            1 => retype(tensor).map(Raw::R1),
            2 => retype(tensor).map(Raw::R2),
            3 => retype(tensor).map(Raw::R3),
            4 => retype(tensor).map(Raw::R4),
            5 => retype(tensor).map(Raw::R5),
            6 => retype(tensor).map(Raw::R6),
            _ => None,
        };
        let raw = raw.unwrap_or(Raw::Empty);
        Self {
            raw,
            dims,
            host: None,
        }
    }

    /// Logical shape (empty for a scalar).
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Logical rank (0 for a scalar).
    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether a gradient would flow back through this value.
    pub(crate) fn is_tracked(&self) -> bool {
        each_rank!(&self.raw, tensor => tensor.is_tracked(), empty => false)
    }

    /// The burn tensor, if its rank is D (a scalar has rank 1).
    pub fn into_tensor<const D: usize>(self) -> Option<Tensor<D>> {
        self.into_rank::<D>().ok()
    }

    /// The burn tensor of rank D; fails where the logical rank is another (0 counts as 1).
    pub(crate) fn into_rank<const D: usize>(self) -> OpResult<Tensor<D>> {
        let wanted_ok = self.rank() == D || (D == 1 && self.rank() == 0);
        if !wanted_ok {
            return Err(invalid(format!(
                "a tensor of rank {D} is expected, this one has shape {:?}",
                self.dims
            )));
        }
        self.raw_as::<D>()
    }

    /// Reshapes and gives the burn tensor: `dims` must hold as many elements.
    pub(crate) fn into_shape<const D: usize>(self, dims: [usize; D]) -> OpResult<Tensor<D>> {
        let count = element_count(&dims, MAX_ELEMENTS)?;
        if count != self.len() {
            return Err(invalid(format!(
                "a tensor of shape {:?} cannot take the shape {dims:?}",
                self.dims
            )));
        }
        match self.raw {
            Raw::Empty => Err(self.empty_fault()),
            raw if self.dims == dims => Self {
                raw,
                dims: self.dims,
                host: None,
            }
            .raw_as::<D>(),
            raw => Ok(each_rank!(raw, tensor => tensor.reshape::<D, _>(dims),
                empty => return Err(invalid("empty tensor")))),
        }
    }

    fn empty_fault(&self) -> crate::error::Fault {
        invalid(format!(
            "a tensor without elements (shape {:?}) cannot be computed with",
            self.dims
        ))
    }

    fn raw_as<const D: usize>(self) -> OpResult<Tensor<D>> {
        let fault = self.empty_fault();
        each_rank!(self.raw, tensor => retype(tensor), empty => None).ok_or(fault)
    }

    /// All elements in row-major order, in one dimension.
    pub(crate) fn into_flat(self) -> OpResult<Tensor<1>> {
        let count = self.len();
        self.into_shape([count])
    }

    /// The same elements in another shape.
    pub(crate) fn reshape(mut self, dims: &[usize]) -> OpResult<Self> {
        if self.dims == dims {
            return Ok(self);
        }
        let host = self.host.take();
        let count = element_count(dims, MAX_ELEMENTS)?;
        if count != self.len() {
            return Err(invalid(format!(
                "a tensor of shape {:?} ({} elements) cannot take the shape {dims:?} ({count} elements)",
                self.dims,
                self.len()
            )));
        }
        if count == 0 {
            return Ok(Self::empty(dims));
        }
        let mut real = match *dims {
            [] => Self::with_dims(self.into_flat()?, Vec::new()),
            [a] => Self::from_tensor(self.into_shape([a])?),
            [a, b] => Self::from_tensor(self.into_shape([a, b])?),
            [a, b, c] => Self::from_tensor(self.into_shape([a, b, c])?),
            [a, b, c, d] => Self::from_tensor(self.into_shape([a, b, c, d])?),
            [a, b, c, d, e] => Self::from_tensor(self.into_shape([a, b, c, d, e])?),
            [a, b, c, d, e, f] => Self::from_tensor(self.into_shape([a, b, c, d, e, f])?),
            _ => return Err(rank_fault(dims)),
        };
        real.host = host;
        Ok(real)
    }

    /// An elementwise function, given to the tensor as one row of numbers.
    pub(crate) fn map(self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> OpResult<Self> {
        if self.len() == 0 {
            return Ok(self);
        }
        let dims = self.dims.clone();
        Self::from_tensor(f(self.into_flat()?)).reshape(&dims)
    }

    /// The number of a tensor of one element if it is known without asking the device.
    pub(crate) fn host_scalar(&self) -> Option<f32> {
        match self.host.as_deref()?.as_slice() {
            [number] => Some(*number),
            _ => None,
        }
    }

    /// As [`Real::to_host`]; takes the numbers without copying them if nobody else holds them.
    pub(crate) fn into_host(mut self) -> OpResult<Vec<f32>> {
        if let Some(host) = self.host.take() {
            return Ok(Arc::unwrap_or_clone(host));
        }
        let data = each_rank!(self.raw, tensor => tensor.without_autodiff().try_into_vec_as::<f32>(),
            empty => Ok(Vec::new()));
        data.map_err(|error| invalid(format!("the device could not be read: {error:?}")))
    }

    /// All numbers in row-major order, without gradient.
    pub(crate) fn to_host(&self) -> OpResult<Vec<f32>> {
        if let Some(host) = &self.host {
            return Ok(host.to_vec());
        }
        let data = each_rank!(&self.raw, tensor => tensor.try_to_vec_as::<f32>(),
            empty => Ok(Vec::new()));
        data.map_err(|error| invalid(format!("the device could not be read: {error:?}")))
    }

    /// Cuts the gradient and forgets the autodiff association.
    pub(crate) fn without_autodiff(self) -> Self {
        let (dims, host) = (self.dims, self.host);
        let mut real = each_rank!(self.raw,
            tensor => Self::with_dims(tensor.without_autodiff(), dims),
            empty => Self::empty(&dims));
        real.host = real.host.or(host);
        real
    }
}

fn rank_fault(dims: &[usize]) -> crate::error::Fault {
    unsupported(format!(
        "shape {dims:?}: tensors have at most {MAX_RANK} dimensions here"
    ))
}

/// The same tensor under another name of its rank; the two are equal wherever this is called, which
/// the compiler cannot see. `None` if they are not.
fn retype<const A: usize, const B: usize>(tensor: Tensor<A>) -> Option<Tensor<B>> {
    let mut slot = Some(tensor);
    (&mut slot as &mut dyn Any)
        .downcast_mut::<Option<Tensor<B>>>()
        .and_then(Option::take)
}
