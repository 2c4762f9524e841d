//! Weight tensors ⇄ matrices: which axis is an output channel, which are inputs, and how groups split the rows.

use ndarray::{Array2, ArrayD};
use tqz_engine::{Layer, LayerOp, Side};
use tqz_format::{LayerRecord, Layout};

use crate::error::TqzError;

/// One compressible weight tensor seen as a matrix of `rows` output channels by `cols` inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightLayer {
    /// Name of the tensor in the ONNX graph.
    pub name: String,
    /// Index of the tensor in the graph's fixed visiting order.
    pub site: usize,
    /// Dimensions of the tensor.
    pub dims: Vec<usize>,
    /// How the tensor's elements map to the matrix.
    pub layout: Layout,
    /// Output channels n.
    pub rows: usize,
    /// Length K of a flattened row: inputs of a group times kernel positions.
    pub cols: usize,
    /// Kernel positions: column j has input channel `j / period` at position `j % period`.
    pub period: usize,
    /// Groups; each has `rows / groups` rows and statistics of its own.
    pub groups: usize,
    /// Indices of the network's layers that use this tensor, in execution order.
    pub uses: Vec<usize>,
    /// Name of the first node that uses it.
    pub node: String,
    /// Operator of that node.
    pub op: &'static str,
}

impl WeightLayer {
    /// Describes the tensor used by `layer`, which is the network's layer number `index`.
    ///
    /// # Errors
    /// Dimensions that do not fit the operator.
    pub(crate) fn new(layer: &Layer, index: usize, site: usize) -> Result<Self, TqzError> {
        let dims = &layer.weight_dims;
        let problem = |what: &str| {
            TqzError::layer(
                &layer.weight,
                format!("weights of shape {dims:?} of node {:?}: {what}", layer.node),
            )
        };
        if dims.len() < 2 || dims.contains(&0) {
            return Err(problem("expected at least two non-empty axes"));
        }
        let (layout, groups) = match &layer.op {
            LayerOp::Conv { group, .. } => (Layout::RowsFirst, *group),
            LayerOp::Gemm { trans_b: true, .. } | LayerOp::MatMul { side: Side::Left } => {
                (Layout::RowsFirst, 1)
            }
            LayerOp::Gemm { trans_b: false, .. } | LayerOp::MatMul { side: Side::Right } => {
                (Layout::ColumnsFirst, 1)
            }
            LayerOp::ConvTranspose { group, .. } => (
                Layout::Transposed {
                    groups: *group as u32,
                },
                *group,
            ),
        };
        let outline = LayerRecord {
            site: 0,
            dims: dims.clone(),
            layout,
            blocks: Vec::new(),
        };
        let shape = outline
            .shape()
            .map_err(|error| problem(&error.to_string()))?;
        if groups == 0 || shape.rows % groups != 0 {
            return Err(problem(
                "the number of groups must divide the output channels",
            ));
        }
        Ok(Self {
            name: layer.weight.clone(),
            site,
            dims: dims.clone(),
            layout,
            rows: shape.rows,
            cols: shape.cols,
            period: shape.period,
            groups,
            uses: vec![index],
            node: layer.node.clone(),
            op: operator(&layer.op),
        })
    }

    /// Whether a layer takes the tensor as the same matrix.
    pub(crate) fn is_taken_alike(&self, layer: &Layer) -> bool {
        let view = |of: &Self| (of.layout, of.rows, of.cols, of.period, of.groups);
        Self::new(layer, 0, self.site).is_ok_and(|other| view(self) == view(&other))
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.rows * self.cols
    }

    /// Every group has one output channel: each channel has its own small statistics.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.rows && self.groups > 1
    }

    /// Tensor elements → matrix.
    pub(crate) fn to_matrix(&self, values: &[f32]) -> Array2<f32> {
        Array2::from_shape_fn((self.rows, self.cols), |(r, c)| values[self.element(r, c)])
    }

    /// Matrix → tensor.
    pub(crate) fn to_tensor(&self, matrix: &Array2<f32>) -> ArrayD<f32> {
        let mut values = ArrayD::zeros(self.dims.clone());
        if let Some(cells) = values.as_slice_mut() {
            for ((r, c), &value) in matrix.indexed_iter() {
                cells[self.element(r, c)] = value;
            }
        }
        values
    }

    /// Index of the tensor's element at row r, column c of the matrix.
    pub(crate) fn element(&self, r: usize, c: usize) -> usize {
        match self.layout {
            Layout::RowsFirst => r * self.cols + c,
            Layout::ColumnsFirst => c * self.rows + r,
            Layout::Transposed { .. } => {
                let per_group = self.rows / self.groups;
                let inputs = self.cols / self.period;
                let (group, output) = (r / per_group, r % per_group);
                let (input, position) = (c / self.period, c % self.period);
                ((group * inputs + input) * per_group + output) * self.period + position
            }
        }
    }
}

/// The ONNX name of a layer's operator.
fn operator(op: &LayerOp) -> &'static str {
    match op {
        LayerOp::Conv { .. } => "Conv",
        LayerOp::ConvTranspose { .. } => "ConvTranspose",
        LayerOp::Gemm { .. } => "Gemm",
        LayerOp::MatMul { .. } => "MatMul",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposed_elements_are_where_the_decoder_puts_them() {
        let layer = WeightLayer {
            name: "w".to_owned(),
            site: 0,
            dims: vec![4, 3, 2],
            layout: Layout::Transposed { groups: 2 },
            rows: 6,
            cols: 4,
            period: 2,
            groups: 2,
            uses: vec![0],
            node: "n".to_owned(),
            op: "ConvTranspose",
        };
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let matrix = layer.to_matrix(&values);
        let back = layer.to_tensor(&matrix);
        assert_eq!(back.as_slice(), Some(&values[..]));
        for input in 0..4 {
            for output in 0..3 {
                for position in 0..2 {
                    let (row, column) = (input / 2 * 3 + output, input % 2 * 2 + position);
                    assert_eq!(
                        matrix[(row, column)],
                        values[(input * 3 + output) * 2 + position]
                    );
                }
            }
        }
    }
}
