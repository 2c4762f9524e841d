//! Resize and Upsample. Every mode is a weighted sum of picked slices, one axis after the other:
//! one slice (nearest), two (linear), four (cubic), or as many as the filter covers (antialias).

mod depth;
mod filter;

use burn::tensor::Tensor;

use self::filter::{Coordinates, Filter, Mode, Rounding, Taps};
use super::axes::{axes, axis};
use super::slice::pick;
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::device::EngineDevice;
use crate::error::{OpResult, invalid, unsupported};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add(
        "Resize",
        Entry {
            inputs: (1, 4),
            outputs: 1,
            opsets: (10, NEWEST_OPSET),
            build: resize,
        },
    );
    registry.add(
        "Upsample",
        Entry {
            inputs: (1, 2),
            outputs: 1,
            opsets: (7, 9),
            build: upsample,
        },
    );
    depth::register(registry);
}

/// Longest axis that is made.
const MAX_AXIS: usize = 1 << 20;

/// How a target size treats the sides' ratio (since opset 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    Scales(Vec<f32>),
    Sizes(Vec<usize>),
}

#[derive(Debug)]
struct Resize {
    filter: Filter,
    policy: Policy,
    /// The axes that scales and sizes speak of; all if not given.
    axes: Option<Vec<i64>>,
    /// Opset 7: scales as attribute.
    scales: Option<Vec<f32>>,
    /// Which inputs hold the scales and the sizes.
    operands: (usize, Option<usize>),
}

/// Upsample, and Resize before opset 11, map coordinates by the scale alone.
fn plain_filter(spec: &NodeSpec) -> OpResult<Filter> {
    let mode =
        match spec
            .attributes
            .choice("mode", "nearest", &["nearest", "linear", "bilinear"])?
        {
            0 => Mode::Nearest(Rounding::Simple),
            _ => Mode::Linear,
        };
    Ok(Filter {
        mode,
        coordinates: Coordinates::Asymmetric,
        antialias: false,
        exclude_outside: false,
    })
}

fn upsample(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    let scales = if spec.opset < 9 {
        spec.attributes.optional_floats("scales")?
    } else {
        None
    };
    if scales.is_none() && !spec.has_input(1) {
        return Err(invalid("`scales` are missing"));
    }
    Ok(Box::new(Resize {
        filter: plain_filter(spec)?,
        policy: Policy::Stretch,
        axes: None,
        scales,
        operands: (1, None),
    }))
}

fn resize(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    if spec.opset < 11 {
        return Ok(Box::new(Resize {
            filter: plain_filter(spec)?,
            policy: Policy::Stretch,
            axes: None,
            scales: None,
            operands: (1, None),
        }));
    }
    let attributes = &spec.attributes;
    // Used by tf_crop_and_resize alone, which is refused.
    attributes.ignore("extrapolation_value");
    let (axes, policy) = match spec.opset {
        18.. => (attributes.optional_ints("axes")?, policy(spec)?),
        _ => (None, Policy::Stretch),
    };
    Ok(Box::new(Resize {
        filter: filter(spec)?,
        policy,
        axes,
        scales: None,
        operands: (2, Some(3)),
    }))
}

fn filter(spec: &NodeSpec) -> OpResult<Filter> {
    let attributes = &spec.attributes;
    let rounding = match attributes.choice(
        "nearest_mode",
        "round_prefer_floor",
        &["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
    )? {
        0 => Rounding::PreferFloor,
        1 => Rounding::PreferCeil,
        2 => Rounding::Floor,
        _ => Rounding::Ceil,
    };
    let coefficient = attributes.float("cubic_coeff_a", -0.75)?;
    let mode = match attributes.choice("mode", "nearest", &["nearest", "linear", "cubic"])? {
        0 => Mode::Nearest(rounding),
        1 => Mode::Linear,
        _ => Mode::Cubic(coefficient),
    };
    let systems: &[(&str, Coordinates)] = &[
        ("half_pixel", Coordinates::HalfPixel),
        ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
        ("align_corners", Coordinates::AlignCorners),
        ("asymmetric", Coordinates::Asymmetric),
        // Only opset 11 has the next, only 19 and later the one after.
        ("tf_half_pixel_for_nn", Coordinates::TfHalfPixel),
        ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
    ];
    let words: Vec<&str> = systems.iter().map(|(word, _)| *word).collect();
    let system = attributes.choice("coordinate_transformation_mode", "half_pixel", &words)?;
    let antialias = spec.opset >= 18 && attributes.flag("antialias", false)?;
    if antialias && matches!(mode, Mode::Nearest(_)) {
        return Err(invalid(
            "attribute `antialias` is 1; legal for modes linear and cubic",
        ));
    }
    Ok(Filter {
        mode,
        coordinates: systems[system].1,
        antialias,
        exclude_outside: attributes.flag("exclude_outside", false)?,
    })
}

fn policy(spec: &NodeSpec) -> OpResult<Policy> {
    let words = ["stretch", "not_larger", "not_smaller"];
    Ok(
        match spec
            .attributes
            .choice("keep_aspect_ratio_policy", "stretch", &words)?
        {
            0 => Policy::Stretch,
            1 => Policy::NotLarger,
            _ => Policy::NotSmaller,
        },
    )
}

impl Operator for Resize {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let x = inputs.value(0)?;
        if x.len() == 0 {
            return Err(invalid("input 0 has no elements"));
        }
        let target = self.target(&mut inputs)?;
        let plan = self.plan(x.dims(), &target)?;
        let dims: Vec<usize> = plan.iter().map(|&(size, _)| size).collect();
        inputs.check_elements(&dims)?;
        let source = x.dims().to_vec();
        match x {
            Value::Ints(_) if !matches!(self.filter.mode, Mode::Nearest(_)) => {
                Err(unsupported("integers are resized in mode nearest only"))
            }
            Value::Ints(ints) => {
                pick::check_ints(&dims, ints.data().len())?;
                let list = |axis: usize| self.taps(&source, &plan, axis).indices.swap_remove(0);
                let lists: Vec<Vec<usize>> = (0..source.len()).map(list).collect();
                Ok(vec![pick::ints(&ints, &lists)?.into()])
            }
            Value::Real(mut real) => {
                // The axis that shrinks most goes first: less is left for the others.
                let mut order: Vec<usize> = (0..source.len())
                    .filter(|&axis| plan[axis] != (source[axis], 1.0))
                    .collect();
                order.sort_by(|&a, &b| plan[a].1.total_cmp(&plan[b].1));
                for axis in order {
                    inputs.check_elements(&[real.len() / source[axis], plan[axis].0])?;
                    let taps = self.taps(&source, &plan, axis);
                    real = weighted(real, axis, &taps, inputs.device())?;
                }
                Ok(vec![real.into()])
            }
        }
    }
}

impl Resize {
    fn taps(&self, source: &[usize], plan: &[(usize, f32)], axis: usize) -> Taps {
        let (size, scale) = plan[axis];
        self.filter.taps(source[axis], size, scale)
    }

    /// Scales or sizes, exactly one of them; an empty tensor is none.
    fn target(&self, inputs: &mut Inputs) -> OpResult<Target> {
        let scales = match &self.scales {
            Some(scales) => scales.clone(),
            None => match inputs.optional_real(self.operands.0)? {
                Some(scales) => scales.to_host()?,
                None => Vec::new(),
            },
        };
        let sizes = match self.operands.1 {
            Some(index) => inputs.optional_ints(index)?,
            None => None,
        };
        let sizes = sizes.map_or(Ok(Vec::new()), |sizes| sizes.sizes())?;
        match (scales.is_empty(), sizes.is_empty()) {
            (false, true) => Ok(Target::Scales(scales)),
            (true, false) => Ok(Target::Sizes(sizes)),
            _ => Err(invalid("exactly one of `scales` and `sizes` is needed")),
        }
    }

    /// The axes that scales and sizes speak of, in their order.
    fn chosen(&self, rank: usize) -> OpResult<Vec<usize>> {
        let Some(listed) = &self.axes else {
            return Ok((0..rank).collect());
        };
        axes(listed, rank)?;
        listed.iter().map(|&name| axis(name, rank)).collect()
    }

    /// For each axis the output size and the scale that maps coordinates.
    fn plan(&self, dims: &[usize], target: &Target) -> OpResult<Vec<(usize, f32)>> {
        let chosen = self.chosen(dims.len())?;
        let count = match target {
            Target::Scales(scales) => scales.len(),
            Target::Sizes(sizes) => sizes.len(),
        };
        if count != chosen.len() {
            return Err(invalid(format!(
                "`scales` or `sizes` has {count} numbers, one for each of {} axes is needed",
                chosen.len()
            )));
        }
        let have: Vec<usize> = chosen.iter().map(|&axis| dims[axis]).collect();
        let changed = match target {
            Target::Scales(scales) => {
                let pairs = have.iter().zip(scales);
                pairs
                    .map(|(&dim, &scale)| Ok((scaled(dim, scale)?, scale)))
                    .collect::<OpResult<_>>()?
            }
            Target::Sizes(sizes) => self.policy.sized(&have, sizes)?,
        };
        let mut plan: Vec<(usize, f32)> = dims.iter().map(|&dim| (dim, 1.0)).collect();
        for (axis, change) in chosen.into_iter().zip::<Vec<_>>(changed) {
            plan[axis] = change;
        }
        Ok(plan)
    }
}

impl Policy {
    /// The output size and the scale of each axis of `have` elements that should get `sizes`.
    fn sized(self, have: &[usize], sizes: &[usize]) -> OpResult<Vec<(usize, f32)>> {
        if !sizes.iter().all(|size| (1..=MAX_AXIS).contains(size)) {
            return Err(invalid(format!(
                "`sizes` is {sizes:?}; 1 to {MAX_AXIS} is legal here"
            )));
        }
        let pairs = || {
            have.iter()
                .zip(sizes)
                .map(|(&dim, &size)| (dim as f32, size))
        };
        let ratios = pairs().map(|(dim, size)| size as f32 / dim);
        let common = match self {
            Self::Stretch => {
                return Ok(pairs()
                    .map(|(dim, size)| (size, size as f32 / dim))
                    .collect());
            }
            Self::NotLarger => ratios.reduce(f32::min),
            Self::NotSmaller => ratios.reduce(f32::max),
        };
        let scale = common.unwrap_or(1.0);
        let size = |dim: f32| ((scale * dim).round() as usize).clamp(1, MAX_AXIS);
        Ok(pairs().map(|(dim, _)| (size(dim), scale)).collect())
    }
}

/// The size of a scaled axis, rounded down.
fn scaled(dim: usize, scale: f32) -> OpResult<usize> {
    let size = (dim as f32 * scale).floor();
    if !(scale.is_finite() && scale > 0.0 && (1.0..=MAX_AXIS as f32).contains(&size)) {
        return Err(invalid(format!(
            "`scales` holds {scale} for an axis of {dim}; a positive number that leaves 1 to {MAX_AXIS} elements is legal here"
        )));
    }
    Ok(size as usize)
}

/// One axis resized: the sum of picked slices times their weights.
fn weighted(x: Real, axis: usize, taps: &Taps, device: &EngineDevice) -> OpResult<Real> {
    let mut dims = x.dims().to_vec();
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let mut sum: Option<Tensor<3>> = None;
    for (indices, weights) in taps.indices.iter().zip(&taps.weights) {
        let size = indices.len();
        let mut part =
            pick::along(x.clone(), axis, indices, device)?.into_shape([outer, size, inner])?;
        if weights.iter().any(|&weight| weight != 1.0) {
            part =
                part * Real::from_host(weights.clone(), &[1, size, 1], device)?.into_rank::<3>()?;
        }
        sum = Some(match sum {
            Some(sum) => sum + part,
            None => part,
        });
        dims[axis] = size;
    }
    let sum = sum.ok_or_else(|| invalid("a filter without taps"))?;
    Real::from_tensor(sum).reshape(&dims)
}
