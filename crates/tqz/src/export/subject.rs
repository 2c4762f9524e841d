//! One layer on its way from the dense network to another form: what is known of it, and the pieces its weights and bias come in.

use std::collections::BTreeMap;

use tqz_format::{Block, BlockCoding, LayerRecord};
use tqz_onnx::model::{GraphProto, NodeProto, TensorProto};

use super::factor::Factor;
use super::graph::numbers;
use super::layer_node::{Affine, Folded, Kind, LayerNode};
use super::weights::Placement;
use crate::error::TqzError;

/// A layer in the making.
pub(super) struct Subject<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) layer: &'a LayerNode,
    pub(super) record: Option<&'a LayerRecord>,
    pub(super) tensor: &'a TensorProto,
    pub(super) stored: &'a BTreeMap<&'a str, &'a TensorProto>,
    pub(super) affine: Option<&'a Affine>,
    /// Name of the value that the layer makes.
    pub(super) output: String,
}

impl Subject<'_> {
    /// Where the parts of a chain's weights go.
    pub(super) fn placement(&self, spatial: bool) -> Placement {
        let kernel = self.layer.kernel();
        let kernel = match (self.layer.kind, spatial) {
            (Kind::Conv | Kind::ConvTranspose, false) => vec![1; kernel.len()],
            _ => kernel.to_vec(),
        };
        let rows_first = match self.layer.kind {
            Kind::ConvTranspose => !spatial,
            Kind::MatMulRight => false,
            _ => true,
        };
        Placement { kernel, rows_first }
    }

    /// The weights themselves as levels, if that is how they are coded.
    pub(super) fn whole(&self) -> Option<Factor> {
        let record = self
            .record
            .filter(|record| self.layer.shape(record).is_some())?;
        match &record.blocks[..] {
            [
                Block {
                    coding: BlockCoding::Identity { weights },
                    ..
                },
            ] => Some(Factor::new(weights)),
            _ => None,
        }
    }

    /// Multiplies rows of a chain's last matrix by the normalisation's factors.
    pub(super) fn apply_affine(&self, factor: &mut Factor, first_row: usize) {
        if let Some(affine) = self.affine {
            for (step, scale) in factor.row_steps.iter_mut().zip(&affine.scale[first_row..]) {
                *step *= scale;
            }
        }
    }

    /// The same for a matrix with several rows for each output channel.
    pub(super) fn apply_affine_repeated(&self, factor: &mut Factor) {
        let each = (factor.rows / self.layer.rows()).max(1);
        if let Some(affine) = self.affine {
            for (row, step) in factor.row_steps.iter_mut().enumerate() {
                *step *= affine.scale[row / each];
            }
        }
    }

    /// Whether the bias, if there is one, has a stored number for each output channel.
    pub(super) fn bias_is_vector(&self) -> bool {
        let given = self.node.input.get(2).filter(|name| !name.is_empty());
        given.is_none_or(|name| {
            let tensor = self.stored.get(name.as_str());
            let dims = tensor.and_then(|tensor| tensor.dims_usize().ok());
            dims.is_some_and(|dims| {
                dims.last() == Some(&self.layer.rows())
                    && dims.iter().product::<usize>() == self.layer.rows()
            })
        })
    }

    pub(super) fn bias_values(&self) -> Result<Option<Vec<f64>>, TqzError> {
        let given = self.node.input.get(2).filter(|name| !name.is_empty());
        match given.and_then(|name| self.stored.get(name.as_str())) {
            Some(tensor) => Ok(Some(numbers(tensor)?)),
            None => Ok(None),
        }
    }
}

/// Dense weights as a product of two matrices of levels: of a column transform, or of one inside the kernels.
pub(super) fn product(block: &Block, layer: &LayerNode) -> Option<(Factor, Factor)> {
    let (left, mut right) = match &block.coding {
        BlockCoding::Column { t, s } => (Factor::new(s), Factor::new(t)),
        BlockCoding::Kernel { t, s } if layer.kind == Kind::Conv => {
            let (mut t, s) = (Factor::new(t), Factor::new(s));
            // [n, m·k] becomes [n·m, k]: a row for each kernel, with its output's step and one for all columns.
            let inner = s.rows;
            let uniform = t.col_steps.iter().all(|step| *step == 1.0);
            if !uniform || inner == 0 {
                return None;
            }
            let kernels = t.cols / inner;
            t.row_steps = t
                .row_steps
                .iter()
                .flat_map(|&step| std::iter::repeat_n(step, kernels))
                .collect();
            (t.rows, t.cols) = (t.rows * kernels, inner);
            t.col_steps.truncate(inner);
            (t, s)
        }
        _ => return None,
    };
    let mut left = left;
    // Positions do not matter to a matrix product.
    (left.period, right.period) = (1, 1);
    let transposed = layer.kind == Kind::ConvTranspose;
    (left.rows > 0 && left.cols > 0 && !transposed).then_some((left, right))
}

/// The value that a layer makes: its normalisation's, if that follows at once.
pub(super) fn output(graph: &GraphProto, index: usize, norm: Option<&Folded>) -> String {
    let maker = match norm {
        Some(Folded {
            norm, pool: None, ..
        }) => *norm,
        _ => index,
    };
    graph.node[maker].output[0].clone()
}
