//! The parts of a layer that the paper's coder quantizes: T, S and, with two transforms, V (paper sections 3, 4.3, 7), each as
//! components with what their errors cost.

use ndarray::{Array2, s};

use crate::config::Axis;
use crate::linalg::{Block, BlockDiagonal, product};
use crate::paper::part::{Exact, Part, Weights};
use crate::transform::{
    Dual, Subject, Transform, analysed, by_component, column_of, quadratic_diagonal,
};

/// A layer's parts: T (or the weights) and the bases, each as components.
pub(crate) struct Parts<'a> {
    /// T, components as rows.
    pub(crate) kernels: Part<'a>,
    /// S and V, components as rows.
    pub(crate) bases: Vec<Part<'a>>,
}

fn single(matrix: &Array2<f64>) -> Array2<f32> {
    matrix.mapv(|v| v as f32)
}

fn basis_values(dual: &Dual) -> Array2<f32> {
    single(&dual.synthesis.t().as_standard_layout().into_owned())
}

/// One basis: row k of `values` is worth `energy[k]` of the moment.
fn basis<'a>(dual: &Dual, energy: Vec<f64>, moment: &Array2<f64>) -> Part<'a> {
    Part {
        values: basis_values(dual),
        weights: Weights {
            component: energy,
            major: moment.diag().to_vec(),
            minor: vec![vec![1.0]],
        },
        exact: Exact::Moment(single(moment)),
    }
}

impl Subject {
    /// The parts of this layer under a transform; `single_input` and `single_output` are A and G in single precision.
    pub(crate) fn parts<'a>(
        &self,
        transform: &Transform,
        (single_input, single_output): (&'a BlockDiagonal<f32>, &'a Array2<f32>),
    ) -> Parts<'a> {
        let rows = |values: Array2<f32>, sensitivity: Vec<f64>, diagonal: Vec<f64>, exact| Part {
            values,
            weights: Weights {
                component: sensitivity,
                major: diagonal,
                minor: vec![vec![1.0]],
            },
            exact,
        };
        match transform {
            Transform::None => Parts {
                kernels: rows(
                    self.weights.clone(),
                    self.output.diag().to_vec(),
                    self.input.diagonal(),
                    Exact::Inputs(single_input),
                ),
                bases: vec![],
            },
            Transform::Column(dual) => {
                let t = analysed(dual, &self.weights);
                let ta = single_input.times(&t);
                let energy = row_products(&t, &ta);
                let of_gradients = quadratic_diagonal(&dual.synthesis, &self.output);
                let diagonal = self.input.diagonal();
                Parts {
                    kernels: rows(t, of_gradients, diagonal, Exact::Inputs(single_input)),
                    bases: vec![basis(dual, energy, &self.output)],
                }
            }
            Transform::Row(dual) => self.mixed_inputs(dual, Axis::Row, single_output),
            Transform::Kernel(dual) => self.mixed_inputs(dual, Axis::Kernel, single_output),
            Transform::Both(columns, inputs) => self.both(columns, inputs),
        }
    }

    /// Parts of a transform of input channels or kernel positions.
    fn mixed_inputs<'a>(&self, dual: &Dual, axis: Axis, g: &'a Array2<f32>) -> Parts<'a> {
        let components = dual.analysis.nrows();
        let kept = self.weights.ncols() / components;
        let column = column_of(axis, (components, kept));
        let values = analysed(
            dual,
            &by_component(&self.weights, (components, kept), &column),
        );
        let a = self.transformed_input(dual, axis);
        let small = |l: usize| {
            Array2::from_shape_fn((kept, kept), |(x, y)| {
                a[(column(l, x), column(l, y))] as f32
            })
        };
        let moment = self.covariances(axis).gradients / kept as f64;
        let ones: Vec<Array2<f32>> = vec![Array2::eye(kept)];
        let unit = Exact::Kronecker {
            output: g,
            inputs: ones.into_iter().cycle().take(components).collect(),
        };
        let mut kernels = Part {
            values,
            weights: Weights {
                component: vec![1.0; components],
                major: self.output.diag().to_vec(),
                minor: (0..components)
                    .map(|l| small(l).diag().mapv(f64::from).to_vec())
                    .collect(),
            },
            exact: unit,
        };
        // A basis vector is worth what its coefficients' energy is at the output.
        let energy = kernels.exact(&kernels.values);
        kernels.exact = Exact::Kronecker {
            output: g,
            inputs: (0..components).map(small).collect(),
        };
        Parts {
            kernels,
            bases: vec![basis(dual, energy, &moment)],
        }
    }

    /// Parts of a transform of both sides: T's components are its rows.
    fn both<'a>(&self, columns: &Dual, inputs: &Dual) -> Parts<'a> {
        let (m, period) = (self.channels(), self.period);
        let column = column_of(Axis::Row, (m, period));
        let mixed = analysed(inputs, &by_component(&self.weights, (m, period), column));
        let back = Array2::from_shape_fn(self.weights.dim(), |(r, c)| {
            mixed[(c / period, r * period + c % period)]
        });
        let t = analysed(columns, &back);
        let a = self.transformed_input(inputs, Axis::Row);
        let a32 = single(&a);
        let energy = row_products(&t, &product(Block::whole(&t), Block::whole(&a32)));
        let v = &columns.synthesis;
        let gv = product(Block::whole(&self.output), Block::whole(v));
        let g = single(&product(Block::whole(v).t(), Block::whole(&gv)));
        let gt = product(Block::whole(&g), Block::whole(&t));
        let of_inputs = (0..m).map(|l| {
            let cells = s![.., l * period..(l + 1) * period];
            let (t, gt) = (t.slice(cells), gt.slice(cells));
            t.iter()
                .zip(gt)
                .map(|(x, y)| f64::from(*x) * f64::from(*y))
                .sum::<f64>()
                .max(0.0)
        });
        let of_inputs = of_inputs.collect();
        let moment = self.covariances(Axis::Row).gradients / period as f64;
        Parts {
            kernels: Part {
                values: t,
                weights: Weights {
                    component: g.diag().mapv(f64::from).to_vec(),
                    major: a.diag().to_vec(),
                    minor: vec![vec![1.0]],
                },
                exact: Exact::Moment(a32),
            },
            bases: vec![
                basis(columns, energy, &self.output),
                basis(inputs, of_inputs, &moment),
            ],
        }
    }
}

fn row_products(a: &Array2<f32>, b: &Array2<f32>) -> Vec<f64> {
    let rows = a.rows().into_iter().zip(b.rows());
    rows.map(|(a, b)| f64::from(a.dot(&b)).max(0.0)).collect()
}
