//! MaxPool, AveragePool, LpPool and the pools over all spatial axes.

mod slide;

use self::slide::{power, root, slide};
use super::slice::pad;
use super::spatial::{AutoPad, Window, WindowSpec, extent};
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::error::{OpResult, invalid, unsupported};
use crate::ints::Ints;
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    let entry = |since, build| Entry {
        inputs: (1, 1),
        outputs: 1,
        opsets: (since, NEWEST_OPSET),
        build,
    };
    // The second output is registered so that its own message says what is missing.
    registry.add(
        "MaxPool",
        Entry {
            outputs: 2,
            ..entry(1, max_pool)
        },
    );
    registry.add("AveragePool", entry(1, average_pool));
    registry.add("LpPool", entry(2, lp_pool));
    registry.add("GlobalMaxPool", entry(1, global_pool));
    registry.add("GlobalAveragePool", entry(1, global_pool));
    registry.add("GlobalLpPool", entry(2, global_pool));
}

/// What a window gives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// The largest element.
    Max,
    /// The mean; of the padding too if asked.
    Average { include_pad: bool },
    /// (sum of |x|^p)^(1/p).
    Lp(f32),
}

#[derive(Debug)]
struct Pool {
    kind: Kind,
    spec: WindowSpec,
    kernel: Vec<usize>,
    /// Whether output sizes are rounded up.
    ceil: bool,
}

fn max_pool(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    if spec.has_output(1) {
        return Err(unsupported(
            "the output `Indices` is not computed; a MaxPool with one output is supported",
        ));
    }
    if spec.opset >= 8 {
        // The order of indices, which are not computed.
        spec.attributes.flag("storage_order", false)?;
    }
    windowed(spec, Kind::Max, 10)
}

fn average_pool(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let include_pad = spec.opset >= 7 && spec.attributes.flag("count_include_pad", false)?;
    windowed(spec, Kind::Average { include_pad }, 19)
}

fn lp_pool(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    windowed(spec, Kind::Lp(exponent(spec)?), 18)
}

/// The attribute `p`: 1 or more, 2 if not given.
fn exponent(spec: &NodeSpec) -> OpResult<f32> {
    match spec.attributes.int("p", 2)? {
        p @ 1..=64 => Ok(p as f32),
        p => Err(invalid(format!(
            "attribute `p` is {p}; 1 to 64 is legal here"
        ))),
    }
}

/// A pool with the window's attributes; `dilations_since` is the first opset that has `dilations`.
fn windowed(spec: &NodeSpec, kind: Kind, dilations_since: i64) -> OpResult<Box<dyn Operator>> {
    if spec.opset < dilations_since && spec.attributes.has("dilations") {
        return Err(invalid(format!(
            "attribute `dilations` exists since opset {dilations_since}"
        )));
    }
    let ceil_since = if matches!(kind, Kind::Lp(_)) { 18 } else { 10 };
    let ceil = spec.opset >= ceil_since && spec.attributes.flag("ceil_mode", false)?;
    let window = WindowSpec::read(&spec.attributes)?;
    let kernel = window
        .kernel()
        .ok_or_else(|| invalid("attribute `kernel_shape` is missing"))?
        .to_vec();
    Ok(Box::new(Pool {
        kind,
        spec: window,
        kernel,
        ceil,
    }))
}

impl Operator for Pool {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let value = inputs.value(0)?;
        let Value::Ints(levels) = value else {
            return Ok(vec![self.pooled(value.into_real()?, &inputs)?.into()]);
        };
        if self.kind != Kind::Max {
            return Err(invalid("integers are legal for MaxPool alone"));
        }
        // Eight-bit levels: f32 holds them exactly.
        let kind = levels.kind();
        let exact = levels.data().iter().all(|level| level.abs() < 1 << 24);
        if !exact {
            return Err(unsupported("integers beyond 24 bits are not pooled"));
        }
        let numbers = levels.data().iter().map(|&level| level as f32).collect();
        let real = Real::from_host(numbers, levels.dims(), inputs.device())?;
        let result = self.pooled(real, &inputs)?;
        let data = result
            .to_host()?
            .iter()
            .map(|&level| level as i64)
            .collect();
        Ok(vec![Ints::new(kind, result.dims(), data)?.into()])
    }
}

impl Pool {
    fn pooled(&self, x: Real, inputs: &Inputs) -> OpResult<Real> {
        let dims = spatial_dims(x.dims())?.to_vec();
        let window = self.spec.resolve(&self.kernel, &dims)?;
        let output = self.output(&window, &dims)?;
        let count_pads = matches!(self.kind, Kind::Average { include_pad: true });
        let divisors = matches!(self.kind, Kind::Average { .. })
            .then(|| divisors(&window, &dims, &output, count_pads));
        let pads = full_pads(&window, &dims, &output);
        // A padded element never wins a maximum: every window holds an element of the input.
        let (x, filler) = match self.kind {
            Kind::Max => (x, f32::MIN),
            Kind::Average { .. } => (x, 0.0),
            Kind::Lp(p) => (power(x, p)?, 0.0),
        };
        let mut all = vec![(0, 0); 2];
        all.extend(pads);
        let padded = pad::constant(x, &all, filler, inputs)?;
        let pooled = slide(padded, &window, self.kind == Kind::Max)?;
        match self.kind {
            Kind::Max => Ok(pooled),
            Kind::Average { .. } => rescale(pooled, &window, divisors.unwrap_or_default(), inputs),
            Kind::Lp(p) => {
                let count: usize = window.kernel.iter().product();
                pooled.map(|mean| root(mean * count as f32, p))
            }
        }
    }

    /// Output sizes; with `ceil_mode` a window may reach over the end of the padded input, but not
    /// begin in the padding there.
    fn output(&self, window: &Window, dims: &[usize]) -> OpResult<Vec<usize>> {
        let mut output = window.output(dims)?;
        for (axis, size) in output.iter_mut().enumerate() {
            let reach = extent(window.kernel[axis], window.dilations[axis]);
            let (begin, end) = (window.pads_begin[axis], window.pads_end[axis]);
            if begin >= reach || end >= reach {
                return Err(invalid(format!(
                    "spatial axis {axis}: pads {begin} and {end}; less than the window's {reach} is legal"
                )));
            }
            if self.ceil && self.spec.auto_pad == AutoPad::NotSet {
                let stride = window.strides[axis];
                let room = dims[axis] + begin + end - reach;
                *size = room.div_ceil(stride) + 1;
                if (*size - 1) * stride >= dims[axis] + begin {
                    *size -= 1;
                }
            }
        }
        Ok(output)
    }
}

/// Sizes behind batch and channels; there must be at least one.
fn spatial_dims(dims: &[usize]) -> OpResult<&[usize]> {
    match dims.get(2..) {
        Some(spatial) if !spatial.is_empty() && !dims.contains(&0) => Ok(spatial),
        _ => Err(invalid(format!(
            "input 0 has shape {dims:?}; rank 3 or more (batch, channels, spatial axes), no size 0, is legal"
        ))),
    }
}

/// Padding of each spatial axis such that the last window ends within it.
fn full_pads(window: &Window, dims: &[usize], output: &[usize]) -> Vec<(usize, usize)> {
    (0..dims.len())
        .map(|axis| {
            let needed = (output[axis] - 1) * window.strides[axis]
                + extent(window.kernel[axis], window.dilations[axis]);
            let have = dims[axis] + window.pads_begin[axis];
            (window.pads_begin[axis], needed.saturating_sub(have))
        })
        .collect()
}

/// For each axis and output position the number of window elements that an average divides by: those
/// on the input, or with `count_pads` on the input and its declared padding.
fn divisors(
    window: &Window,
    dims: &[usize],
    output: &[usize],
    count_pads: bool,
) -> Vec<Vec<usize>> {
    let count = |axis: usize, position: usize| {
        let (begin, end) = if count_pads {
            (
                0,
                window.pads_begin[axis] + dims[axis] + window.pads_end[axis],
            )
        } else {
            (
                window.pads_begin[axis],
                window.pads_begin[axis] + dims[axis],
            )
        };
        let first = position * window.strides[axis];
        let before = |bound: usize| {
            let elements = bound.saturating_sub(first).div_ceil(window.dilations[axis]);
            elements.min(window.kernel[axis])
        };
        before(end) - before(begin)
    };
    (0..dims.len())
        .map(|axis| {
            (0..output[axis])
                .map(|position| count(axis, position))
                .collect()
        })
        .collect()
}

/// Turns means over whole windows into means over the counted elements.
fn rescale(
    mean: Real,
    window: &Window,
    divisors: Vec<Vec<usize>>,
    inputs: &Inputs,
) -> OpResult<Real> {
    let dims = mean.dims().to_vec();
    let mut x = mean;
    for (axis, counts) in divisors.iter().enumerate() {
        let kernel = window.kernel[axis];
        if counts.iter().all(|&count| count == kernel) {
            continue;
        }
        let factors = counts
            .iter()
            .map(|&count| kernel as f32 / count.max(1) as f32)
            .collect();
        let factors = Real::from_host(factors, &[1, counts.len(), 1], inputs.device())?;
        let outer = dims[..axis + 2].iter().product();
        let inner = dims[axis + 3..].iter().product();
        let rows = x.into_shape([outer, counts.len(), inner])?;
        x = Real::from_tensor(rows * factors.into_rank::<3>()?);
    }
    x.reshape(&dims)
}

/// A pool over all spatial axes.
#[derive(Debug)]
struct GlobalPool(Kind);

fn global_pool(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(GlobalPool(match spec.op {
        "GlobalMaxPool" => Kind::Max,
        "GlobalAveragePool" => Kind::Average { include_pad: false },
        _ => Kind::Lp(exponent(spec)?),
    })))
}

impl Operator for GlobalPool {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.real(0)?;
        let count: usize = spatial_dims(x.dims())?.iter().product();
        let mut dims = x.dims().to_vec();
        dims[2..].fill(1);
        let rows = dims[0] * dims[1];
        let result = match self.0 {
            Kind::Max => x.into_shape([rows, count])?.max_dim(1),
            Kind::Average { .. } => x.into_shape([rows, count])?.mean_dim(1),
            Kind::Lp(p) => {
                let sums = power(x, p)?.into_shape([rows, count])?.sum_dim(1);
                return Ok(vec![
                    Real::from_tensor(root(sums.reshape([rows]), p))
                        .reshape(&dims)?
                        .into(),
                ]);
            }
        };
        Ok(vec![Real::from_tensor(result).reshape(&dims)?.into()])
    }
}
