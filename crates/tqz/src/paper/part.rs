//! A set of coefficients to quantize together: T or S of a layer as components (rows of the matrix here), what an error in each
//! element costs at the output, and what a component's whole error costs with all correlations.

use ndarray::{Array2, ArrayView1, Axis};

use crate::config::RowOrder;
use crate::linalg::{Block, BlockDiagonal, product};

/// Cost of an error in element (k, e): `component[k] · major[e / period] · minor[k or 0][e % period]`.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    /// By component.
    pub(crate) component: Vec<f64>,
    /// By the slower part of the element's index.
    pub(crate) major: Vec<f64>,
    /// By the faster part; one list for all components or one for each.
    pub(crate) minor: Vec<Vec<f64>>,
}

/// Components, one a row.
pub(crate) struct Part<'a> {
    /// Coefficients, components × elements.
    pub(crate) values: Array2<f32>,
    /// Cost of single elements' errors.
    pub(crate) weights: Weights,
    /// Cost of a component's whole error, all correlations counted.
    pub(crate) exact: Exact<'a>,
}

/// How the whole error of a component (a row of E) is measured.
#[derive(Debug, Clone)]
pub(crate) enum Exact<'a> {
    /// `component · e·A·eᵗ`.
    Inputs(&'a BlockDiagonal<f32>),
    /// `component · e·A·eᵗ` with one A for all.
    Moment(Array2<f32>),
    /// e as n × period matrix E: `tr(EᵗGE·A_k)` with a small A for each component.
    Kronecker {
        /// n × n.
        output: &'a Array2<f32>,
        /// period × period, by component.
        inputs: Vec<Array2<f32>>,
    },
    /// The weights alone: errors of different elements do not correlate.
    Diagonal,
}

impl Weights {
    /// Cost of an error in one element.
    pub(crate) fn of(&self, component: usize, element: usize) -> f64 {
        let minor = self.minor.get(component).unwrap_or(&self.minor[0]);
        let period = minor.len();
        self.component[component] * self.major[element / period] * minor[element % period]
    }

    /// Cost of independent errors: Σ e²·weight of one component.
    fn independent(&self, component: usize, error: ArrayView1<'_, f32>) -> f64 {
        let minor = self.minor.get(component).unwrap_or(&self.minor[0]);
        let period = minor.len();
        let squares = error.iter().map(|&e| f64::from(e) * f64::from(e));
        let weighted = squares
            .enumerate()
            .map(|(e, square)| square * self.major[e / period] * minor[e % period]);
        self.component[component] * weighted.sum::<f64>()
    }
}

/// A part without a transform with its components in an order in which blocks of neighbours are alike (paper 5.2); and where each has
/// come to lie.
pub(crate) fn ordered(part: Part<'_>, by: RowOrder) -> (Part<'_>, Vec<usize>) {
    let square = |row: ArrayView1<'_, f32>| row.iter().map(|&v| f64::from(v).powi(2)).sum();
    let energy: Vec<f64> = match by {
        RowOrder::Energy => part.independent(&part.values),
        RowOrder::Variance => part.values.rows().into_iter().map(square).collect(),
        RowOrder::Stored => vec![0.0; part.values.nrows()],
    };
    let mut order: Vec<usize> = (0..energy.len()).collect();
    order.sort_by(|&a, &b| energy[b].total_cmp(&energy[a]));
    let mut places = vec![0; order.len()];
    for (place, &component) in order.iter().enumerate() {
        places[component] = place;
    }
    let minor = part.weights.minor;
    let weights = Weights {
        component: order.iter().map(|&k| part.weights.component[k]).collect(),
        major: part.weights.major,
        minor: match minor.len() {
            1 => minor,
            _ => order.iter().map(|&k| minor[k].clone()).collect(),
        },
    };
    let sorted = Part {
        values: part.values.select(Axis(0), &order),
        weights,
        exact: match part.exact {
            Exact::Kronecker { output, inputs } => Exact::Kronecker {
                output,
                inputs: order.iter().map(|&k| inputs[k].clone()).collect(),
            },
            exact => exact,
        },
    };
    (sorted, places)
}

impl Part<'_> {
    /// Cost of the error of each component, as if elements' errors were independent: right for fine steps.
    pub(crate) fn independent(&self, error: &Array2<f32>) -> Vec<f64> {
        let rows = error.rows().into_iter().enumerate();
        rows.map(|(k, row)| self.weights.independent(k, row))
            .collect()
    }

    /// Cost of the error of each component with all correlations.
    pub(crate) fn exact(&self, error: &Array2<f32>) -> Vec<f64> {
        let per_row = |through: Array2<f32>| -> Vec<f64> {
            let rows = error.rows().into_iter().zip(through.rows());
            let costs = rows.map(|(e, t)| f64::from(e.dot(&t)).max(0.0));
            let scaled = costs.zip(&self.weights.component);
            scaled.map(|(cost, component)| cost * component).collect()
        };
        match &self.exact {
            Exact::Inputs(a) => per_row(a.times(error)),
            Exact::Moment(a) => per_row(product(Block::whole(error), Block::whole(a))),
            Exact::Diagonal => self.independent(error),
            Exact::Kronecker { output, inputs } => {
                let rows = error.rows().into_iter().zip(inputs);
                rows.map(|(row, a)| kronecker(row, output, a)).collect()
            }
        }
    }
}

/// `tr(EᵗGE·A)` of an error with elements n × period.
fn kronecker(row: ArrayView1<'_, f32>, g: &Array2<f32>, a: &Array2<f32>) -> f64 {
    let (n, period) = (g.nrows(), a.nrows());
    let e = Array2::from_shape_fn((n, period), |(r, p)| row[r * period + p]);
    let ge = product(Block::whole(g), Block::whole(&e));
    let ea = product(Block::whole(&e), Block::whole(a));
    ge.iter()
        .zip(&ea)
        .map(|(x, y)| f64::from(*x) * f64::from(*y))
        .sum::<f64>()
        .max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_in_order_keep_what_belongs_to_them() {
        let values = Array2::from_shape_fn((4, 6), |(k, e)| (k * 6 + e) as f32);
        let part = || Part {
            values: values.clone(),
            weights: Weights {
                component: vec![8.0, 1.0, 4.0, 0.01],
                major: vec![1.0, 2.0],
                minor: (0..4).map(|k| vec![1.0, 1.0, f64::from(k)]).collect(),
            },
            exact: Exact::Diagonal,
        };
        let before = part().independent(&values);
        let (sorted, places) = ordered(part(), RowOrder::Energy);
        let after = sorted.independent(&sorted.values);
        assert!(after.windows(2).all(|w| w[0] >= w[1]), "{after:?}");
        for (k, &place) in places.iter().enumerate() {
            assert_eq!(sorted.values.row(place), values.row(k));
            assert_eq!(after[place], before[k]);
        }
        assert_ne!(places, [0, 1, 2, 3]);
        let output = Array2::eye(2);
        let kronecker = Part {
            exact: Exact::Kronecker {
                output: &output,
                inputs: (0..4).map(|k| Array2::eye(3) * (k as f32 + 1.0)).collect(),
            },
            ..part()
        };
        let before = kronecker.exact(&values);
        let (sorted, places) = ordered(kronecker, RowOrder::Energy);
        let after = sorted.exact(&sorted.values);
        assert!((0..4).all(|k| after[places[k]] == before[k]));
        assert_eq!(ordered(part(), RowOrder::Variance).1, [3, 2, 1, 0]);
        assert_eq!(ordered(part(), RowOrder::Stored).1, [0, 1, 2, 3]);
    }
}
