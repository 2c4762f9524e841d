//! One layer in training: latents of T, S (and V), the weights they stand for, and the way gradients of the weights take
//! back to them: `dT = Sᵗ·dW`, `dS = dW·Tᵗ` and their like for the other transforms.

use ndarray::{Array2, ArrayD, Axis, s};
use tqz_format::{Block as CodedBlock, BlockCoding, LayerRecord};

use crate::error::TqzError;
use crate::export::chain::is_overcomplete;
use crate::layout::WeightLayer;
use crate::linalg::{Block, product};
use crate::retrain::latent::Latent;

/// How a block's matrices make its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Identity,
    Column,
    Row,
    Kernel,
    Both,
}

/// A block of output rows: its matrices in the order of the file.
#[derive(Debug, Clone)]
struct LatentBlock {
    rows: usize,
    kind: Kind,
    matrices: Vec<Latent>,
}

/// A layer whose levels are trained.
#[derive(Debug, Clone)]
pub(crate) struct LatentLayer {
    layer: WeightLayer,
    blocks: Vec<LatentBlock>,
}

impl LatentLayer {
    /// Latents of a stored layer.
    ///
    /// # Errors
    /// A record of another tensor.
    pub(crate) fn new(layer: &WeightLayer, record: &LayerRecord) -> Result<Self, TqzError> {
        if record.dims != layer.dims || record.layout != layer.layout {
            return Err(TqzError::layer(
                &layer.name,
                "the file holds a tensor of another shape here; it was made from another network",
            ));
        }
        if record.blocks.iter().any(is_overcomplete) {
            return Err(TqzError::layer(
                &layer.name,
                "the file's transform has more components than rows, channels or positions; files of `tqz compress` have not",
            ));
        }
        let block = |block: &CodedBlock| {
            let (kind, matrices): (Kind, Vec<_>) = match &block.coding {
                BlockCoding::Identity { weights } => (Kind::Identity, vec![weights]),
                BlockCoding::Column { t, s } => (Kind::Column, vec![t, s]),
                BlockCoding::Row { t, s } => (Kind::Row, vec![t, s]),
                BlockCoding::Kernel { t, s } => (Kind::Kernel, vec![t, s]),
                BlockCoding::Both { t, s, v } => (Kind::Both, vec![t, s, v]),
            };
            LatentBlock {
                rows: block.rows,
                kind,
                matrices: matrices.into_iter().map(Latent::new).collect(),
            }
        };
        Ok(Self {
            layer: layer.clone(),
            blocks: record.blocks.iter().map(block).collect(),
        })
    }

    /// The tensor.
    pub(crate) fn layer(&self) -> &WeightLayer {
        &self.layer
    }

    /// All matrices, block after block; whether each is a synthesis basis.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = (&Latent, bool)> {
        let blocks = self.blocks.iter();
        blocks.flat_map(|b| b.matrices.iter().enumerate().map(|(i, m)| (m, i > 0)))
    }

    /// The same, to be changed.
    pub(crate) fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Latent> {
        self.blocks.iter_mut().flat_map(|b| &mut b.matrices)
    }

    /// The weight tensor.
    pub(crate) fn weights(&self) -> ArrayD<f32> {
        let mut matrix = Array2::zeros((self.layer.rows, self.layer.cols));
        let mut first = 0;
        for block in &self.blocks {
            let weights = block.synthesize(self.layer.period);
            matrix
                .slice_mut(s![first..first + block.rows, ..])
                .assign(&weights);
            first += block.rows;
        }
        self.layer.to_tensor(&matrix)
    }

    /// Gradients at the values of all matrices, in their order, from the gradient at the weight tensor.
    pub(crate) fn backward(&self, gradient: &ArrayD<f32>) -> Vec<Array2<f32>> {
        let standard = gradient.as_standard_layout();
        let matrix = self.layer.to_matrix(standard.as_slice().unwrap_or(&[]));
        let mut gradients = Vec::new();
        let mut first = 0;
        for block in &self.blocks {
            let part = matrix.slice(s![first..first + block.rows, ..]).to_owned();
            gradients.extend(block.backward(part, self.layer.period));
            first += block.rows;
        }
        gradients
    }

    /// Chooses all levels anew, with the least `error² + lambda·bits`.
    pub(crate) fn settle(&mut self, lambda: f32) {
        self.matrices_mut().for_each(|matrix| matrix.settle(lambda));
    }

    /// Looks again at what levels cost, and chooses all levels anew.
    pub(crate) fn renew(&mut self, lambda: f32) {
        for matrix in self.matrices_mut() {
            matrix.renew_costs();
            matrix.settle(lambda);
        }
    }

    /// What the file stores, levels chosen with the least `error² + lambda·bits`.
    ///
    /// # Errors
    /// Levels that the format cannot hold.
    pub(crate) fn record(&self, lambda: f32) -> Result<LayerRecord, TqzError> {
        let blocks = self.blocks.iter().map(|block| {
            Ok(CodedBlock {
                rows: block.rows,
                coding: block.coding(lambda)?,
            })
        });
        Ok(LayerRecord {
            site: self.layer.site as u32,
            dims: self.layer.dims.clone(),
            layout: self.layer.layout,
            blocks: blocks.collect::<Result<_, TqzError>>()?,
        })
    }
}

impl LatentBlock {
    fn synthesize(&self, period: usize) -> Array2<f32> {
        let values: Vec<Array2<f32>> = self.matrices.iter().map(Latent::values).collect();
        match (self.kind, &values[..]) {
            (Kind::Column, [t, s]) => times(s, t),
            (Kind::Row, [t, s]) => after_inputs(t, s, period),
            (Kind::Kernel, [t, s]) => after_positions(t, s),
            (Kind::Both, [t, s, v]) => after_inputs(&times(s, t), v, period),
            _ => values.into_iter().next().unwrap_or_default(),
        }
    }

    fn backward(&self, dw: Array2<f32>, period: usize) -> Vec<Array2<f32>> {
        let values: Vec<Array2<f32>> = self.matrices.iter().map(Latent::values).collect();
        match (self.kind, &values[..]) {
            (Kind::Column, [t, s]) => vec![from_left(s, &dw), from_right(&dw, t)],
            (Kind::Row, [t, s]) => {
                let (dt, ds) = inputs_backward((t, s), &dw, period);
                vec![dt, ds]
            }
            (Kind::Kernel, [t, s]) => {
                let (dt, ds) = positions_backward((t, s), &dw);
                vec![dt, ds]
            }
            (Kind::Both, [t, s, v]) => {
                let (dx, dv) = inputs_backward((&times(s, t), v), &dw, period);
                vec![from_left(s, &dx), from_right(&dx, t), dv]
            }
            _ => vec![dw],
        }
    }

    fn coding(&self, lambda: f32) -> Result<BlockCoding, TqzError> {
        let matrices = self.matrices.iter();
        let levels: Vec<Vec<i32>> = matrices.map(|m| m.chosen(lambda)).collect();
        let matrix = |index: usize| self.matrices[index].matrix(&levels[index], (None, None));
        Ok(match self.kind {
            Kind::Identity => BlockCoding::Identity {
                weights: matrix(0)?,
            },
            Kind::Column => {
                // Components without levels on one side need none on the other; those on paths have their place there.
                let (t, s) = (&self.matrices[0], &self.matrices[1]);
                let needed = match t.is_dependent() {
                    true => t.used_rows(&levels[0]),
                    false => {
                        let both = t.used_rows(&levels[0]).into_iter();
                        let both = both.zip(s.used_cols(&levels[1]));
                        both.map(|(t, s)| t && s).collect()
                    }
                };
                let kept = needed.iter().enumerate().filter(|(_, needed)| **needed);
                let kept: Vec<usize> = kept.map(|(index, _)| index).collect();
                BlockCoding::Column {
                    t: t.matrix(&levels[0], (Some(&kept), None))?,
                    s: s.matrix(&levels[1], (None, Some(&kept)))?,
                }
            }
            Kind::Row => BlockCoding::Row {
                t: matrix(0)?,
                s: matrix(1)?,
            },
            Kind::Kernel => BlockCoding::Kernel {
                t: matrix(0)?,
                s: matrix(1)?,
            },
            Kind::Both => BlockCoding::Both {
                t: matrix(0)?,
                s: matrix(1)?,
                v: matrix(2)?,
            },
        })
    }
}

fn times(a: &Array2<f32>, b: &Array2<f32>) -> Array2<f32> {
    product(Block::whole(a), Block::whole(b))
}

/// `Sᵗ·dW`.
fn from_left(s: &Array2<f32>, dw: &Array2<f32>) -> Array2<f32> {
    product(Block::whole(s).t(), Block::whole(dw))
}

/// `dW·Tᵗ`.
fn from_right(dw: &Array2<f32>, t: &Array2<f32>) -> Array2<f32> {
    product(Block::whole(dw), Block::whole(t).t())
}

/// Rows × (inner · period) seen as (rows · period) × inner: one line for each output and kernel position.
fn lines(matrix: &Array2<f32>, period: usize) -> Array2<f32> {
    let (rows, inner) = (matrix.nrows(), matrix.ncols() / period.max(1));
    Array2::from_shape_fn((rows * period, inner), |(line, i)| {
        matrix[(line / period, i * period + line % period)]
    })
}

/// The inverse of [`lines`].
fn unlined(lines: &Array2<f32>, period: usize) -> Array2<f32> {
    let (rows, inner) = (lines.nrows() / period.max(1), lines.ncols());
    Array2::from_shape_fn((rows, inner * period), |(r, c)| {
        lines[(r * period + c % period, c / period)]
    })
}

/// `W[r, i·kk + p] = Σ_l T[r, l·kk + p]·S[l, i]`.
fn after_inputs(t: &Array2<f32>, s: &Array2<f32>, period: usize) -> Array2<f32> {
    unlined(&times(&lines(t, period), s), period)
}

fn inputs_backward(
    (t, s): (&Array2<f32>, &Array2<f32>),
    dw: &Array2<f32>,
    period: usize,
) -> (Array2<f32>, Array2<f32>) {
    let (t, dw) = (lines(t, period), lines(dw, period));
    (unlined(&from_right(&dw, s), period), from_left(&t, &dw))
}

/// Rows × (channels · positions) seen as (rows · channels) × positions, without moving a number.
fn kernels(matrix: &Array2<f32>, positions: usize) -> Array2<f32> {
    let count = matrix.len() / positions.max(1);
    let kernels = matrix.to_shape((count, positions));
    kernels.map_or_else(|_| Array2::zeros((0, positions)), |k| k.into_owned())
}

fn unkernelled(kernels: Array2<f32>, rows: usize) -> Array2<f32> {
    let cols = kernels.len() / rows.max(1);
    let matrix = kernels.into_shape_with_order((rows, cols));
    matrix.unwrap_or_else(|_| Array2::zeros((rows, 0)))
}

/// `W[r, i·kk + p] = Σ_l T[r, i·k + l]·S[l, p]`.
fn after_positions(t: &Array2<f32>, s: &Array2<f32>) -> Array2<f32> {
    unkernelled(times(&kernels(t, s.nrows()), s), t.len_of(Axis(0)))
}

fn positions_backward(
    (t, s): (&Array2<f32>, &Array2<f32>),
    dw: &Array2<f32>,
) -> (Array2<f32>, Array2<f32>) {
    let (rows, dw) = (dw.nrows(), kernels(dw, s.ncols()));
    let dt = unkernelled(from_right(&dw, s), rows);
    (dt, from_left(&kernels(t, s.nrows()), &dw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz_format::{Layout, LevelMatrix, MatrixSpec, StepScale};

    fn levels(rows: usize, cols: usize, period: usize, seed: usize) -> LevelMatrix {
        let spec = MatrixSpec { rows, cols, period };
        let level = |i: usize| ((i * 7 + seed * 5) % 9) as i32 - 4;
        let levels: Vec<i32> = (0..rows * cols).map(level).collect();
        LevelMatrix::from_row_major(spec, StepScale::uniform(-64 * seed as i32), &levels)
            .expect("legal")
    }

    fn codings() -> Vec<BlockCoding> {
        let (n, m, kk) = (4, 3, 4);
        vec![
            BlockCoding::Identity {
                weights: levels(n, m * kk, kk, 1),
            },
            BlockCoding::Column {
                t: levels(3, m * kk, kk, 1),
                s: levels(n, 3, 1, 2),
            },
            BlockCoding::Row {
                t: levels(n, 2 * kk, kk, 1),
                s: levels(2, m, 1, 2),
            },
            BlockCoding::Kernel {
                t: levels(n, m * 3, 3, 1),
                s: levels(3, kk, 1, 2),
            },
            BlockCoding::Both {
                t: levels(3, 2 * kk, kk, 1),
                s: levels(n, 3, 1, 2),
                v: levels(2, m, 1, 3),
            },
        ]
    }

    /// In every arrangement the weights are the decoder's, and since they are linear in each matrix, one level more changes
    /// <G, W> by exactly its gradient.
    #[test]
    fn weights_are_decoded_and_gradients_are_slopes() {
        for coding in codings() {
            let layer = WeightLayer {
                name: "w".to_owned(),
                site: 0,
                dims: vec![4, 3, 2, 2],
                layout: Layout::RowsFirst,
                rows: 4,
                cols: 12,
                period: 4,
                groups: 1,
                uses: vec![0],
                node: String::new(),
                op: "Conv",
            };
            let record = LayerRecord {
                site: 0,
                dims: layer.dims.clone(),
                layout: layer.layout,
                blocks: vec![CodedBlock { rows: 4, coding }],
            };
            let mut latent = LatentLayer::new(&layer, &record).expect("fits");
            assert_eq!(latent.record(0.0).expect("legal"), record);
            let decoded = record.reconstruct().expect("decodes");
            for (a, b) in latent.weights().iter().zip(&decoded) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
            let g = ArrayD::from_shape_fn(ndarray::IxDyn(&layer.dims), |i| {
                ((i[0] * 3 + i[1] * 5 + i[2] * 2 + i[3]) % 7) as f32 - 3.0
            });
            let slopes = latent.backward(&g);
            let value = |latent: &LatentLayer| (&latent.weights() * &g).sum();
            let before = value(&latent);
            for (index, slope) in slopes.iter().enumerate() {
                for place in [0, slope.len() / 2, slope.len() - 1] {
                    let change = |latent: &mut LatentLayer, by: f32| {
                        if let Some(matrix) = latent.matrices_mut().nth(index) {
                            matrix.units[place] += by;
                            matrix.settle(0.0);
                        }
                    };
                    let unit = latent
                        .matrices()
                        .nth(index)
                        .map(|(m, _)| m.to_units(slope)[place]);
                    change(&mut latent, 1.0);
                    let found = value(&latent) - before;
                    change(&mut latent, -1.0);
                    let wanted = unit.expect("there");
                    assert!(
                        (found - wanted).abs() < 1e-3 * (1.0 + wanted.abs()),
                        "{index} {place}: {found} {wanted}"
                    );
                }
            }
        }
    }
}
