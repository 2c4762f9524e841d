//! Convolution and transposed convolution over one, two or three spatial axes: geometry and checks.
//! The sums themselves are in `convolve`.

use super::spatial::{AutoPad, Window, WindowSpec, extent};
use super::{Entry, Inputs, NEWEST_OPSET, NodeSpec, Operator, Registry};
use crate::convolve;
use crate::error::{OpResult, invalid, unsupported};
use crate::layer::{LayerOp, LayerParts};
use crate::real::Real;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    for (op, build) in [
        ("Conv", conv as super::Builder),
        ("ConvTranspose", conv_transpose),
    ] {
        registry.add(
            op,
            Entry {
                inputs: (2, 3),
                outputs: 1,
                opsets: (1, NEWEST_OPSET),
                build,
            },
        );
    }
}

/// Largest number of groups taken from a file.
const MAX_GROUPS: i64 = 1 << 24;

fn group(spec: &NodeSpec) -> OpResult<usize> {
    match spec.attributes.int("group", 1)? {
        group @ 1..=MAX_GROUPS => Ok(usize::try_from(group).unwrap_or(1)),
        group => Err(invalid(format!(
            "attribute `group` is {group}; 1 to {MAX_GROUPS} is legal"
        ))),
    }
}

/// Convolution.
#[derive(Debug)]
struct Conv {
    window: WindowSpec,
    group: usize,
}

fn conv(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(Conv {
        window: WindowSpec::read(&spec.attributes)?,
        group: group(spec)?,
    }))
}

impl Operator for Conv {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (x, w, bias) = (inputs.real(0)?, inputs.real(1)?, inputs.optional_real(2)?);
        let spatial = check_operands((x.dims(), w.dims()), self.group)?;
        if w.dims()[1] * self.group != x.dims()[1] || !w.dims()[0].is_multiple_of(self.group) {
            return Err(invalid(format!(
                "a weight of shape {:?} in {} groups does not fit an input of shape {:?}",
                w.dims(),
                self.group,
                x.dims()
            )));
        }
        check_bias(bias.as_ref(), w.dims()[0])?;
        let kernel = self.window.kernel_of(&w.dims()[2..])?;
        let window = self.window.resolve(&kernel, &x.dims()[2..])?;
        let output = window.output(&x.dims()[2..])?;
        inputs.check_elements(&[&[x.dims()[0], w.dims()[0]], &output[..]].concat())?;
        let padded: Vec<usize> = (0..spatial)
            .map(|axis| x.dims()[2 + axis] + window.pads_begin[axis] + window.pads_end[axis])
            .collect();
        inputs.check_elements(&[&x.dims()[..2], &padded[..]].concat())?;
        Ok(vec![
            convolve::forward(x, w, bias, (&window, self.group, inputs.device()))?.into(),
        ])
    }

    fn layer(&self, constants: &[Option<&[usize]>]) -> Option<LayerParts> {
        let Geometry {
            kernel,
            strides,
            pads,
            dilations,
        } = geometry(&self.window, constants)?;
        let group = self.group;
        Some(LayerParts {
            op: LayerOp::Conv {
                kernel,
                strides,
                pads,
                dilations,
                group,
            },
            input: 0,
            weight: 1,
            bias: Some(2),
        })
    }
}

/// The numbers of a layer, as [`LayerOp`] has them.
struct Geometry {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    pads: Option<Vec<usize>>,
    dilations: Vec<usize>,
}

/// The numbers of a layer whose weight is constant and whose input is not.
fn geometry(window: &WindowSpec, constants: &[Option<&[usize]>]) -> Option<Geometry> {
    let [None, Some([_, _, kernel @ ..]), ..] = constants else {
        return None;
    };
    let rank = kernel.len();
    let pads = match window.auto_pad {
        AutoPad::NotSet => {
            let (begin, end) = window.pads(rank).ok()?;
            Some([begin, end].concat())
        }
        AutoPad::Valid => Some(vec![0; 2 * rank]),
        AutoPad::SameUpper | AutoPad::SameLower => None,
    };
    Some(Geometry {
        kernel: kernel.to_vec(),
        strides: window.strides(rank).ok()?,
        pads,
        dilations: window.dilations(rank).ok()?,
    })
}

/// Number of spatial axes of an input and a weight that agree in rank.
fn check_operands((x, w): (&[usize], &[usize]), group: usize) -> OpResult<usize> {
    if !(3..=5).contains(&x.len()) {
        return Err(unsupported(format!(
            "an input of shape {x:?}; 1 to 3 spatial axes are supported"
        )));
    }
    if w.len() != x.len() || w.contains(&0) || x.contains(&0) || group == 0 {
        return Err(invalid(format!(
            "a weight of shape {w:?} does not fit an input of shape {x:?}"
        )));
    }
    Ok(x.len() - 2)
}

fn check_bias(bias: Option<&Real>, channels: usize) -> OpResult<()> {
    match bias {
        Some(bias) if bias.dims() != [channels] => Err(invalid(format!(
            "a bias of shape {:?} for {channels} output channels",
            bias.dims()
        ))),
        _ => Ok(()),
    }
}

/// Transposed convolution.
#[derive(Debug)]
struct ConvTranspose {
    window: WindowSpec,
    group: usize,
    output_padding: Option<Vec<usize>>,
    output_shape: Option<Vec<usize>>,
}

fn conv_transpose(spec: &NodeSpec) -> OpResult<Box<dyn Operator>> {
    Ok(Box::new(ConvTranspose {
        window: WindowSpec::read(&spec.attributes)?,
        group: group(spec)?,
        output_padding: spec.attributes.optional_sizes("output_padding")?,
        output_shape: spec.attributes.optional_sizes("output_shape")?,
    }))
}

impl Operator for ConvTranspose {
    fn run(&self, mut inputs: Inputs) -> OpResult<Vec<Value>> {
        let (x, w, bias) = (inputs.real(0)?, inputs.real(1)?, inputs.optional_real(2)?);
        check_operands((x.dims(), w.dims()), self.group)?;
        if w.dims()[0] != x.dims()[1] || !w.dims()[0].is_multiple_of(self.group) {
            return Err(invalid(format!(
                "a weight of shape {:?} in {} groups does not fit an input of shape {:?}",
                w.dims(),
                self.group,
                x.dims()
            )));
        }
        let channels = w.dims()[1] * self.group;
        check_bias(bias.as_ref(), channels)?;
        let kernel = self.window.kernel_of(&w.dims()[2..])?;
        let (window, output) = self.sizes(&kernel, &x.dims()[2..])?;
        let batch = x.dims()[0];
        let full: Vec<usize> = (0..output.len())
            .map(|axis| {
                output[axis].saturating_add(window.pads_begin[axis] + window.pads_end[axis])
            })
            .collect();
        inputs.check_elements(&[&[batch, channels], &full[..]].concat())?;
        let part = convolve::Part {
            starts: window.pads_begin.clone(),
            lengths: output,
        };
        Ok(vec![
            convolve::transposed(x, w, bias, (&window, self.group, &part))?.into(),
        ])
    }

    fn layer(&self, constants: &[Option<&[usize]>]) -> Option<LayerParts> {
        let Geometry {
            kernel,
            strides,
            pads,
            dilations,
        } = geometry(&self.window, constants)?;
        let pads = if self.output_shape.is_some() {
            None
        } else {
            pads
        };
        let group = self.group;
        Some(LayerParts {
            op: LayerOp::ConvTranspose {
                kernel,
                strides,
                pads,
                dilations,
                group,
            },
            input: 0,
            weight: 1,
            bias: Some(2),
        })
    }
}

impl ConvTranspose {
    /// The window with its pads, and the output's size, by the formulas of the operator's specification.
    fn sizes(&self, kernel: &[usize], input: &[usize]) -> OpResult<(Window, Vec<usize>)> {
        let rank = input.len();
        let (strides, dilations) = (self.window.strides(rank)?, self.window.dilations(rank)?);
        let output_padding = match &self.output_padding {
            None => vec![0; rank],
            Some(list) => one_per_axis("output_padding", list, rank)?.to_vec(),
        };
        let wanted = self.wanted(&strides, input)?;
        let (mut pads_begin, mut pads_end) = match self.window.auto_pad {
            AutoPad::NotSet => self.window.pads(rank)?,
            _ => (vec![0; rank], vec![0; rank]),
        };
        let mut output = Vec::with_capacity(rank);
        for axis in 0..rank {
            let full = (input[axis] - 1)
                .saturating_mul(strides[axis])
                .saturating_add(extent(kernel[axis], dilations[axis]))
                .saturating_add(output_padding[axis]);
            let length = match &wanted {
                None => full.saturating_sub(pads_begin[axis] + pads_end[axis]),
                Some(wanted) => {
                    let total = full.saturating_sub(wanted[axis]);
                    let (less, more) = (total / 2, total - total / 2);
                    let upper = self.window.auto_pad == AutoPad::SameUpper;
                    (pads_begin[axis], pads_end[axis]) =
                        if upper { (less, more) } else { (more, less) };
                    wanted[axis]
                }
            };
            if length == 0 {
                return Err(invalid(format!(
                    "the output's spatial axis {axis} would be empty"
                )));
            }
            output.push(length);
        }
        let kernel = kernel.to_vec();
        Ok((
            Window {
                kernel,
                strides,
                dilations,
                pads_begin,
                pads_end,
            },
            output,
        ))
    }

    /// The output's size where it is prescribed and the pads follow from it.
    fn wanted(&self, strides: &[usize], input: &[usize]) -> OpResult<Option<Vec<usize>>> {
        let rank = input.len();
        match (&self.output_shape, self.window.auto_pad) {
            // Some exporters give the whole shape, batch and channels included.
            (Some(shape), _) if shape.len() == rank + 2 => Ok(Some(shape[2..].to_vec())),
            (Some(shape), _) => Ok(Some(one_per_axis("output_shape", shape, rank)?.to_vec())),
            (None, AutoPad::SameUpper | AutoPad::SameLower) => {
                let product = |(&size, &stride): (&usize, &usize)| size.saturating_mul(stride);
                Ok(Some(input.iter().zip(strides).map(product).collect()))
            }
            (None, AutoPad::NotSet | AutoPad::Valid) => Ok(None),
        }
    }
}

fn one_per_axis<'a>(name: &str, list: &'a [usize], rank: usize) -> OpResult<&'a [usize]> {
    if list.len() == rank {
        return Ok(list);
    }
    Err(invalid(format!(
        "attribute `{name}` is {list:?}, one number for each of {rank} spatial axes is needed"
    )))
}
