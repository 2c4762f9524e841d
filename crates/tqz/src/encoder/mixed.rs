//! A layer whose input channels or kernel positions are transformed: T with feedback on both sides under A as the transform lets
//! it through, components without levels left out, S refitted to the quantized T and quantized with feedback on both sides.

use ndarray::{Array2, Axis as Dimension};
use tqz_format::{BlockCoding, LevelMatrix, MatrixSpec};

use crate::config::{Axis, QuantizerSpec};
use crate::encoder::layer::{same_packing, values};
use crate::error::TqzError;
use crate::linalg::{
    Block, BlockDiagonal, ColumnFactor, NumericalFailure, UnitUpper, damped_blocks, product,
    quadratic_cost, solve_positive, unit_upper,
};
use crate::quantize::{Problem, StepFactors, quantize};
use crate::transform::{Dual, Subject, analysed, by_component, column_of};

/// Added to the diagonal of ΣT̂ᵗGT̂, as a fraction of its mean: S is solved for with it, and weighed.
const BASIS_DAMPING: f64 = 1e-4;

/// A layer under a transform of its input channels or kernel positions.
#[derive(Debug, Clone)]
pub(crate) struct Mixed {
    axis: Axis,
    /// Components and what they keep: columns of the matrix are component × kept, or kept × component inside kernels.
    components: usize,
    kept: usize,
    /// The weights, n × K.
    weights: Array2<f32>,
    /// Coefficients, n × K, columns as the weights'.
    t: Array2<f32>,
    /// Factor of A as the coefficients see it.
    input: [ColumnFactor; 1],
    /// Its diagonal, and G's: sensitivities without feedback.
    plain: [Vec<f64>; 2],
    /// Factor of the moment of what S multiplies into: A averaged over what is kept.
    moment: [ColumnFactor; 1],
    /// A and G in single precision.
    judge: (BlockDiagonal<f32>, Array2<f32>),
}

impl Mixed {
    /// Prepares a layer with a transform of this axis.
    ///
    /// # Errors
    /// Moments that cannot be factored.
    pub(crate) fn new(
        subject: &Subject,
        dual: &Dual,
        axis: Axis,
    ) -> Result<Self, NumericalFailure> {
        let components = dual.analysis.nrows();
        let kept = subject.weights.ncols() / components;
        let column = column_of(axis, (components, kept));
        let coefficients = analysed(
            dual,
            &by_component(&subject.weights, (components, kept), &column),
        );
        let mut t = Array2::zeros(subject.weights.dim());
        for ((l, e), &value) in coefficients.indexed_iter() {
            t[(e / kept, column(l, e % kept))] = value;
        }
        let a = BlockDiagonal {
            blocks: vec![subject.transformed_input(dual, axis)],
        };
        let moment = subject.covariances(axis).gradients / kept as f64;
        Ok(Self {
            axis,
            components,
            kept,
            weights: subject.weights.clone(),
            t,
            plain: [a.diagonal(), subject.output.diag().to_vec()],
            input: [ColumnFactor::new(&a)?],
            moment: [ColumnFactor::new(&BlockDiagonal {
                blocks: vec![moment],
            })?],
            judge: (subject.input.to_single(), subject.output.mapv(|v| v as f32)),
        })
    }

    /// Codes the layer with the constant `c` and G's factor; also the closed-form distortion.
    ///
    /// # Errors
    /// Numbers that cannot be solved for or stored.
    pub(crate) fn code(
        &self,
        output: &[UnitUpper],
        quantizer: QuantizerSpec,
        c: f64,
    ) -> Result<(BlockCoding, f64), MixedFailure> {
        let period = match self.axis {
            Axis::Kernel => self.components,
            _ => self.kept,
        };
        let used = usize::from(quantizer.feedback);
        let [plain_cols, plain_rows] = &self.plain;
        let (cols, rows) = if quantizer.feedback {
            (self.input[0].d(), &output[0].d)
        } else {
            (plain_cols.clone(), plain_rows)
        };
        let problem = Problem {
            coefficients: &self.t,
            period,
            input: &self.input[..used],
            output: &output[..used],
            row_sensitivity: rows,
            col_sensitivity: &[cols],
            c,
            lambda: quantizer.lambda,
            dependent: quantizer.dependent == Some(true),
            descents: 0,
        };
        let coded = quantize(&problem, &problem.steps(StepFactors::Both))?.matrix;
        let t = self.with_components(&coded)?;
        let values = values(&t);
        let s = self.basis(&values, quantizer, c)?;
        let distortion = self.distortion(&values, &s);
        let coding = match self.axis {
            Axis::Kernel => BlockCoding::Kernel { t, s },
            _ => BlockCoding::Row { t, s },
        };
        Ok((coding, distortion))
    }

    /// Components that have any level.
    fn alive(&self, coded: &LevelMatrix) -> Vec<usize> {
        let column = column_of(self.axis, (self.components, self.kept));
        let rows = coded.active_rows().len();
        let has = |l: &usize| {
            let mut columns = (0..self.kept).map(|x| column(*l, x) * rows);
            columns.any(|start| {
                coded.coded_levels()[start..start + rows]
                    .iter()
                    .any(|&v| v != 0)
            })
        };
        (0..self.components).filter(has).collect()
    }

    /// The matrix without the components that have no level.
    fn with_components(&self, coded: &LevelMatrix) -> Result<LevelMatrix, MixedFailure> {
        let alive = self.alive(coded);
        if alive.len() == self.components {
            return Ok(coded.clone());
        }
        let old = column_of(self.axis, (self.components, self.kept));
        let count = alive.len();
        // Where each column of the smaller matrix was.
        let columns: Vec<usize> = match self.axis {
            Axis::Kernel => (0..self.kept * count)
                .map(|j| old(alive[j % count], j / count))
                .collect(),
            _ => (0..count * self.kept)
                .map(|j| old(alive[j / self.kept], j % self.kept))
                .collect(),
        };
        let mut levels = Vec::with_capacity(coded.spec().rows * columns.len());
        for row in coded.to_row_major().chunks_exact(coded.spec().cols) {
            levels.extend(columns.iter().map(|&j| row[j]));
        }
        let mut scale = coded.scale().clone();
        if let Some(cols) = &mut scale.cols {
            cols.units = columns.iter().map(|&j| cols.units[j]).collect();
        }
        let spec = MatrixSpec {
            rows: coded.spec().rows,
            cols: columns.len(),
            period: match self.axis {
                Axis::Kernel => count.max(1),
                _ => self.kept,
            },
        };
        Ok(same_packing(coded, spec, scale, &levels)?)
    }

    /// `S = (ΣT̂ᵗGT̂)⁻¹·ΣT̂ᵗGW`, sums over what is kept, quantized under `ΣT̂ᵗGT̂` and the moment of its outputs.
    fn basis(
        &self,
        t: &Array2<f32>,
        quantizer: QuantizerSpec,
        c: f64,
    ) -> Result<LevelMatrix, MixedFailure> {
        let count = t.ncols() / self.kept;
        let spec = MatrixSpec {
            rows: count,
            cols: self.components,
            period: 1,
        };
        if count == 0 {
            let none = tqz_format::StepScale::uniform(0);
            return Ok(LevelMatrix::from_row_major(spec, none, &[])?);
        }
        let g = &self.judge.1;
        let (mut p, mut target) = (
            Array2::<f32>::zeros((count, count)),
            Array2::<f32>::zeros((count, self.components)),
        );
        let (of_t, of_w) = (
            column_of(self.axis, (count, self.kept)),
            column_of(self.axis, (self.components, self.kept)),
        );
        for x in 0..self.kept {
            let pick = |matrix: &Array2<f32>, columns: Vec<usize>| {
                matrix
                    .select(Dimension(1), &columns)
                    .as_standard_layout()
                    .into_owned()
            };
            let tx = pick(t, (0..count).map(|l| of_t(l, x)).collect());
            let wx = pick(
                &self.weights,
                (0..self.components).map(|l| of_w(l, x)).collect(),
            );
            let gt = product(Block::whole(g), Block::whole(&tx));
            p += &product(Block::whole(&tx).t(), Block::whole(&gt));
            target += &product(Block::whole(&gt).t(), Block::whole(&wx));
        }
        let p = damped_blocks(&[p], BASIS_DAMPING, 1.0);
        let s = solve_positive(&p.blocks[0], &target.mapv(f64::from))?.mapv(|v| v as f32);
        let output = [unit_upper(&p.blocks[0])?];
        let used = usize::from(quantizer.feedback);
        let problem = Problem {
            coefficients: &s,
            period: 1,
            input: &self.moment[..used],
            output: &output[..used],
            row_sensitivity: &output[0].d,
            col_sensitivity: &[self.moment[0].d()],
            c,
            lambda: quantizer.lambda,
            dependent: quantizer.dependent == Some(true),
            descents: 0,
        };
        Ok(quantize(&problem, &problem.steps(StepFactors::Both))?.matrix)
    }

    /// `tr(EᵗGEA)` of the error of T̂·Ŝ.
    fn distortion(&self, t: &Array2<f32>, s: &LevelMatrix) -> f64 {
        let (count, basis) = (s.spec().rows, values(s));
        let (of_t, of_w) = (
            column_of(self.axis, (count, self.kept)),
            column_of(self.axis, (self.components, self.kept)),
        );
        let mut error = self.weights.mapv(|v| -v);
        for x in 0..self.kept {
            let columns: Vec<usize> = (0..count).map(|l| of_t(l, x)).collect();
            let tx = t.select(Dimension(1), &columns);
            let tx = tx.as_standard_layout().into_owned();
            let wx = product(Block::whole(&tx), Block::whole(&basis));
            for (l, column) in wx.columns().into_iter().enumerate() {
                let mut to = error.column_mut(of_w(l, x));
                to += &column;
            }
        }
        quadratic_cost(&error, &self.judge.0, &self.judge.1)
    }
}

/// Why a layer could not be coded so.
#[derive(Debug)]
pub(crate) enum MixedFailure {
    /// The basis could not be solved for.
    Unsolvable,
    /// Numbers that the format cannot hold.
    Unstorable(TqzError),
}

impl From<NumericalFailure> for MixedFailure {
    fn from(_: NumericalFailure) -> Self {
        Self::Unsolvable
    }
}

impl<E: Into<TqzError>> From<E> for MixedFailure {
    fn from(error: E) -> Self {
        Self::Unstorable(error.into())
    }
}
