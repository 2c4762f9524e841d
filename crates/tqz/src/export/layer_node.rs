//! The nodes that apply a stored weight, and the normalisations behind them that can become part of the weight.

use std::collections::BTreeMap;

use tqz_format::{LayerRecord, Layout, MatrixShape};
use tqz_onnx::model::{DataType, GraphProto, NodeProto, TensorProto};

use super::chain::Positions;
use super::graph::{makers, numbers, op};
use crate::error::TqzError;

/// The operator of a layer, as far as weights are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Weights [outputs, inputs / groups, kernel…].
    Conv,
    /// Weights [inputs, outputs / groups, kernel…].
    ConvTranspose,
    /// Weights [outputs, inputs] or [inputs, outputs].
    Gemm {
        /// The first.
        rows_first: bool,
    },
    /// input · weights [inputs, outputs].
    MatMulRight,
    /// weights [outputs, inputs] · input.
    MatMulLeft,
}

/// A node with a stored weight.
#[derive(Debug, Clone)]
pub(crate) struct LayerNode {
    pub(crate) kind: Kind,
    pub(crate) weight: String,
    /// Which of the node's operands is the weight.
    pub(crate) weight_at: usize,
    pub(crate) dims: Vec<usize>,
    pub(crate) groups: usize,
    pub(crate) positions: Positions,
}

impl LayerNode {
    /// What a node is as a layer; nothing for all others.
    pub(crate) fn of(node: &NodeProto, stored: &BTreeMap<&str, &TensorProto>) -> Option<Self> {
        let is_stored = |at: usize| {
            let name = node.input.get(at)?;
            stored.get(name.as_str()).copied()
        };
        let trans_a = node.find_int("transA").unwrap_or(0) != 0;
        let (kind, weight_at) = match op(node) {
            "Conv" => (Kind::Conv, 1),
            "ConvTranspose" => (Kind::ConvTranspose, 1),
            "Gemm" if !trans_a => {
                let rows_first = node.find_int("transB").unwrap_or(0) != 0;
                (Kind::Gemm { rows_first }, 1)
            }
            "MatMul" if is_stored(1).is_some() => (Kind::MatMulRight, 1),
            "MatMul" => (Kind::MatMulLeft, 0),
            _ => return None,
        };
        let tensor = is_stored(weight_at)?;
        let other = if weight_at == 0 { 1 } else { 0 };
        let data = node.input.get(other).filter(|name| !name.is_empty());
        if is_stored(other).is_some() || data.is_none() || node.output.len() != 1 {
            return None;
        }
        // New weights are made as floats: layers of other types stay as they are.
        if tensor.data_type != Some(DataType::Float as i32) {
            return None;
        }
        let dims = tensor.dims_usize().ok()?;
        let dense = !matches!(kind, Kind::Conv | Kind::ConvTranspose);
        if dims.contains(&0) || (dense && dims.len() != 2) || dims.len() < 2 {
            return None;
        }
        let groups = usize::try_from(node.find_int("group").unwrap_or(1)).ok()?;
        // Of a convolution outputs, of a transposed one inputs are what groups divide first.
        if groups == 0 || !dims[0].is_multiple_of(groups) {
            return None;
        }
        Some(Self {
            kind,
            weight: node.input[weight_at].clone(),
            weight_at,
            dims,
            groups,
            positions: positions(node, kind),
        })
    }

    /// Output channels.
    pub(crate) fn rows(&self) -> usize {
        match self.kind {
            Kind::Conv | Kind::MatMulLeft | Kind::Gemm { rows_first: true } => self.dims[0],
            Kind::ConvTranspose => self.dims[1] * self.groups,
            Kind::Gemm { rows_first: false } | Kind::MatMulRight => self.dims[1],
        }
    }

    /// The kernel's extents; none for dense layers.
    pub(crate) fn kernel(&self) -> &[usize] {
        &self.dims[2..]
    }

    /// Whether outputs come before inputs in the weight.
    pub(crate) fn rows_first(&self) -> bool {
        matches!(
            self.kind,
            Kind::Conv | Kind::MatMulLeft | Kind::Gemm { rows_first: true }
        )
    }

    /// Output channel of an element of the weight.
    pub(crate) fn row_of(&self, element: usize) -> usize {
        let inner: usize = self.dims[1..].iter().product();
        if self.rows_first() {
            return element / inner;
        }
        let kk: usize = self.kernel().iter().product();
        let per_group = self.dims[1];
        let inputs_of_group = (self.dims[0] / self.groups).max(1);
        let group = element / inner / inputs_of_group;
        group * per_group + element / kk % per_group
    }

    /// The record's matrix, if record and node see the tensor in the same way.
    pub(crate) fn shape(&self, record: &LayerRecord) -> Option<MatrixShape> {
        let layout = match self.kind {
            Kind::Conv | Kind::MatMulLeft | Kind::Gemm { rows_first: true } => Layout::RowsFirst,
            Kind::ConvTranspose => Layout::Transposed {
                groups: u32::try_from(self.groups).ok()?,
            },
            Kind::Gemm { rows_first: false } | Kind::MatMulRight => Layout::ColumnsFirst,
        };
        let fits = record.layout == layout && record.dims == self.dims;
        fits.then(|| record.shape().ok()).flatten()
    }
}

fn positions(node: &NodeProto, kind: Kind) -> Positions {
    let strides: f64 = node
        .find_ints("strides")
        .iter()
        .map(|&s| s as f64)
        .product();
    match kind {
        Kind::Conv => Positions {
            inputs: strides,
            ..Positions::EQUAL
        },
        Kind::ConvTranspose => Positions {
            outputs: strides,
            ..Positions::EQUAL
        },
        _ => Positions::EQUAL,
    }
}

/// A factor and an offset for each output channel.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f64>,
    pub(crate) offset: Vec<f64>,
}

/// A normalisation that becomes part of the layer before it.
#[derive(Debug, Clone)]
pub(crate) struct Folded {
    pub(crate) affine: Affine,
    /// Index of the BatchNormalization.
    pub(crate) norm: usize,
    /// Index of the average pooling between layer and normalisation, with which it commutes.
    pub(crate) pool: Option<usize>,
}

/// For each layer (by its node's index) the normalisation that reads nothing but its output.
///
/// # Errors
/// Parameters that cannot be read.
pub(crate) fn folded_norms(
    graph: &GraphProto,
    reads: &BTreeMap<String, usize>,
    stored: &BTreeMap<&str, &TensorProto>,
) -> Result<BTreeMap<usize, Folded>, TqzError> {
    let makers = makers(graph);
    let alone = |name: &str| {
        let single = reads.get(name) == Some(&1);
        single.then(|| makers.get(name).copied()).flatten()
    };
    let mut folded = BTreeMap::new();
    for (norm, node) in graph.node.iter().enumerate() {
        let Some(affine) = affine(node, stored)? else {
            continue;
        };
        let Some(mut before) = alone(&node.input[0]) else {
            continue;
        };
        let mut pool = None;
        if averages_inside(&graph.node[before]) {
            pool = Some(before);
            let input = graph.node[before].input.first();
            match input.and_then(|name| alone(name)) {
                Some(earlier) => before = earlier,
                None => continue,
            }
        }
        let layer = &graph.node[before];
        let Some(found) = LayerNode::of(layer, stored) else {
            continue;
        };
        let convolution = matches!(found.kind, Kind::Conv | Kind::ConvTranspose);
        let bias = layer.input.get(2).filter(|name| !name.is_empty());
        let known = bias.is_none_or(|name| {
            let dims = stored.get(name.as_str()).and_then(|t| t.dims_usize().ok());
            dims.is_some_and(|dims| dims == [found.rows()])
        });
        if convolution && known && affine.scale.len() == found.rows() {
            folded.insert(before, Folded { affine, norm, pool });
        }
    }
    Ok(folded)
}

/// Average pooling that sees no padding: every output is a mean of inputs.
fn averages_inside(node: &NodeProto) -> bool {
    let unpadded = node.find_ints("pads").iter().all(|&p| p == 0)
        && node.find("auto_pad").is_none()
        && node.find_int("ceil_mode").unwrap_or(0) == 0;
    match op(node) {
        "GlobalAveragePool" => true,
        "AveragePool" => unpadded,
        _ => false,
    }
}

/// What a BatchNormalization with stored parameters does to each channel.
fn affine(
    node: &NodeProto,
    stored: &BTreeMap<&str, &TensorProto>,
) -> Result<Option<Affine>, TqzError> {
    let outputs = node.output.iter().filter(|name| !name.is_empty()).count();
    let training = node.find_int("training_mode").unwrap_or(0) != 0;
    let named = node.output.first().is_some_and(|name| !name.is_empty());
    if op(node) != "BatchNormalization"
        || outputs != 1
        || !named
        || training
        || node.input.len() != 5
    {
        return Ok(None);
    }
    let mut vectors = Vec::new();
    for name in &node.input[1..] {
        match stored.get(name.as_str()) {
            Some(tensor) => vectors.push(numbers(tensor)?),
            None => return Ok(None),
        }
    }
    let [gain, bias, mean, variance] = &vectors[..] else {
        return Ok(None);
    };
    let n = gain.len();
    if [bias.len(), mean.len(), variance.len()] != [n; 3] {
        return Ok(None);
    }
    let epsilon = f64::from(node.find_float("epsilon").unwrap_or(1e-5));
    let scale: Vec<f64> = gain
        .iter()
        .zip(variance)
        .map(|(g, v)| g / (v + epsilon).sqrt())
        .collect();
    let offset = (0..n).map(|i| bias[i] - mean[i] * scale[i]).collect();
    let affine = Affine { scale, offset };
    let finite = affine
        .scale
        .iter()
        .chain(&affine.offset)
        .all(|v| v.is_finite());
    Ok(finite.then_some(affine))
}
