//! One layer at one step size: quantized as it is, or as T and S of a column transform, with S refitted to the quantized T
//! (theory §9).

use ndarray::{Array2, Axis, s};
use tqz_format::{
    Block as CodedBlock, BlockCoding, FormatError, LayerRecord, LevelMatrix, MatrixSpec, Packing,
    StepScale,
};

use crate::config::QuantizerSpec;
use crate::encoder::mixed::MixedFailure;
use crate::encoder::prepared::{PreparedLayer, Transformed};
use crate::encoder::speed::Limit;
use crate::error::TqzError;
use crate::linalg::{Block, ColumnFactor, damped, damped_blocks, product, solve_positive};
use crate::quantize::{Outcome, Problem, StepFactors, quantize};

/// Added to the diagonal of T̂AT̂ᵗ before S is solved for, as a fraction of its mean.
const REFIT_DAMPING: f64 = 1e-6;
/// Added to the same matrix where it weighs the errors of S.
const BASIS_DAMPING: f64 = 1e-4;

/// A coded layer and what its coding cost.
#[derive(Debug, Clone)]
pub(crate) struct CodedLayer {
    /// What the file stores.
    pub(crate) record: LayerRecord,
    /// Closed-form distortion.
    pub(crate) distortion: f64,
}

/// Codes a layer with the constant `c`, and at most so many rows of T.
///
/// # Errors
/// Numbers that cannot be solved for even after damping.
pub(crate) fn code_layer(
    prepared: &PreparedLayer,
    quantizer: QuantizerSpec,
    (c, limit): (f64, Limit),
) -> Result<CodedLayer, TqzError> {
    if let Some(mixed) = &prepared.mixed {
        let coded = mixed.code(&prepared.output, quantizer, c);
        let (coding, distortion) = coded.map_err(|failure| match failure {
            MixedFailure::Unsolvable => unsolvable(prepared),
            MixedFailure::Unstorable(error) => error,
        })?;
        return Ok(CodedLayer {
            record: record(prepared, coding),
            distortion,
        });
    }
    match &prepared.transformed {
        None => code_direct(prepared, quantizer, c),
        Some(transformed) => code_column(prepared, transformed, quantizer, (c, limit)),
    }
}

fn record(prepared: &PreparedLayer, coding: BlockCoding) -> LayerRecord {
    LayerRecord {
        site: prepared.layer.site as u32,
        dims: prepared.layer.dims.clone(),
        layout: prepared.layer.layout,
        blocks: vec![CodedBlock {
            rows: prepared.layer.rows,
            coding,
        }],
    }
}

/// The basis could not be solved for.
fn unsolvable(prepared: &PreparedLayer) -> TqzError {
    TqzError::layer(
        &prepared.layer.name,
        "the basis cannot be fitted to the quantized kernels; use --transform identity",
    )
}

/// The weights themselves, errors pushed along inputs and outputs.
fn code_direct(
    prepared: &PreparedLayer,
    quantizer: QuantizerSpec,
    c: f64,
) -> Result<CodedLayer, TqzError> {
    let (cols, rows): (Vec<Vec<f64>>, Vec<f64>) = if quantizer.feedback {
        let cols = prepared.input.iter().map(ColumnFactor::d).collect();
        (
            cols,
            prepared.output.iter().flat_map(|f| f.d.clone()).collect(),
        )
    } else {
        (prepared.plain_input.clone(), prepared.plain_output.clone())
    };
    let used = if quantizer.feedback {
        prepared.input.len()
    } else {
        0
    };
    let problem = Problem {
        coefficients: &prepared.weights,
        period: prepared.layer.period,
        input: &prepared.input[..used],
        output: &prepared.output[..used],
        row_sensitivity: &rows,
        col_sensitivity: &cols,
        c,
        lambda: quantizer.lambda,
        dependent: quantizer.dependent == Some(true),
    };
    let outcome = quantize(&problem, &problem.steps(StepFactors::Both))?;
    Ok(CodedLayer {
        distortion: outcome.distortion,
        record: record(
            prepared,
            BlockCoding::Identity {
                weights: outcome.matrix,
            },
        ),
    })
}

/// T with feedback along the inputs; rows without levels leave; S refitted and quantized under what T̂ lets through.
fn code_column(
    prepared: &PreparedLayer,
    transformed: &Transformed,
    quantizer: QuantizerSpec,
    (c, limit): (f64, Limit),
) -> Result<CodedLayer, TqzError> {
    let outcome = quantize_kernels(prepared, transformed, quantizer, (c, limit))?;
    let kernels = kept_rows(&outcome.matrix)?;
    let t = values(&kernels);
    let basis = if t.nrows() == 0 {
        let spec = MatrixSpec {
            rows: prepared.layer.rows,
            cols: 0,
            period: 1,
        };
        LevelMatrix::from_row_major(spec, StepScale::uniform(0), &[])?
    } else {
        code_basis(prepared, transformed, &t, (quantizer, c))?.matrix
    };
    let error = &product(Block::whole(&values(&basis)), Block::whole(&t)) - &prepared.weights;
    Ok(CodedLayer {
        distortion: closed_form(prepared, &error),
        record: record(
            prepared,
            BlockCoding::Column {
                t: kernels,
                s: basis,
            },
        ),
    })
}

fn quantize_kernels(
    prepared: &PreparedLayer,
    transformed: &Transformed,
    quantizer: QuantizerSpec,
    (c, limit): (f64, Limit),
) -> Result<Outcome, TqzError> {
    let rows = transformed.basis.t.nrows();
    let rows = limit.unwrap_or(rows).min(rows);
    let t = transformed.basis.t.slice(s![..rows, ..]).to_owned();
    let feedback = usize::from(quantizer.feedback);
    let cols = if quantizer.feedback {
        prepared.input[0].d()
    } else {
        prepared.plain_input[0].clone()
    };
    let problem = Problem {
        coefficients: &t,
        period: prepared.layer.period,
        input: &prepared.input[..feedback],
        output: &[],
        row_sensitivity: &transformed.basis.row_sensitivity[..rows],
        col_sensitivity: &[cols],
        c,
        lambda: quantizer.lambda,
        dependent: quantizer.dependent == Some(true),
    };
    Ok(quantize(&problem, &problem.steps(StepFactors::None))?)
}

/// `S = W·A·T̂ᵗ·(T̂·A·T̂ᵗ)⁻¹`, quantized with feedback on both sides under the Hessian `G ⊗ T̂AT̂ᵗ`.
fn code_basis(
    prepared: &PreparedLayer,
    transformed: &Transformed,
    t: &Array2<f32>,
    (quantizer, c): (QuantizerSpec, f64),
) -> Result<Outcome, TqzError> {
    let ta = transformed.a.times(t);
    let p = product(Block::whole(t), Block::whole(&ta).t());
    let target = product(Block::whole(&prepared.weights), Block::whole(&ta).t()).mapv(f64::from);
    let target = target.t().as_standard_layout().into_owned();
    let solved = solve_positive(&damped(&p, REFIT_DAMPING, 1.0), &target)
        .map_err(|_| unsolvable(prepared))?;
    let s = solved
        .t()
        .mapv(|v| v as f32)
        .as_standard_layout()
        .into_owned();
    let p = damped_blocks(&[p], BASIS_DAMPING, 1.0);
    let input = [ColumnFactor::new(&p).map_err(|_| unsolvable(prepared))?];
    let problem = Problem {
        coefficients: &s,
        period: 1,
        input: &input,
        output: &prepared.output,
        row_sensitivity: &prepared.output[0].d,
        col_sensitivity: &[input[0].d()],
        c,
        lambda: quantizer.lambda,
        dependent: quantizer.dependent == Some(true),
    };
    Ok(quantize(&problem, &problem.steps(StepFactors::Both))?)
}

/// `tr(Eᵗ·G·E·A)` with the damped statistics of a transformed layer; 0 for any other.
pub(crate) fn closed_form(prepared: &PreparedLayer, error: &Array2<f32>) -> f64 {
    let (Some(transformed), Some(n)) = (&prepared.transformed, prepared.output.first()) else {
        return 0.0;
    };
    let ea = transformed.a.times(error);
    let ne = product(Block::whole(&n.m).t(), Block::whole(error));
    let nea = product(Block::whole(&n.m).t(), Block::whole(&ea));
    let rows = ne.axis_iter(Axis(0)).zip(nea.axis_iter(Axis(0)));
    rows.zip(&n.d)
        .map(|((e, ea), g)| g * f64::from(e.dot(&ea)))
        .sum()
}

/// The matrix without the rows that have no level; their steps are not needed either.
fn kept_rows(matrix: &LevelMatrix) -> Result<LevelMatrix, TqzError> {
    let active = matrix.active_rows().len();
    let cols = matrix.spec().cols;
    let spec = MatrixSpec {
        rows: active,
        ..matrix.spec()
    };
    let mut scale = matrix.scale().clone();
    if let Some(rows) = &mut scale.rows {
        rows.units = matrix
            .active_rows()
            .iter()
            .map(|&r| rows.units[r as usize])
            .collect();
    }
    let mut levels = vec![0; active * cols];
    for (j, column) in matrix
        .coded_levels()
        .chunks_exact(active.max(1))
        .enumerate()
    {
        for (r, level) in column.iter().enumerate() {
            levels[r * cols + j] = *level;
        }
    }
    Ok(same_packing(matrix, spec, scale, &levels)?)
}

/// Levels of a matrix of rows or columns of another, packed as that one.
///
/// # Errors
/// Levels that do not follow each other in dependent quantization.
pub(crate) fn same_packing(
    other: &LevelMatrix,
    spec: MatrixSpec,
    scale: StepScale,
    levels: &[i32],
) -> Result<LevelMatrix, FormatError> {
    if *other.packing() != Packing::Dependent {
        return LevelMatrix::from_row_major(spec, scale, levels);
    }
    let all: Vec<u32> = (0..spec.rows as u32).collect();
    let active = if spec.rows == other.spec().rows {
        other.active_rows()
    } else {
        &all
    };
    LevelMatrix::dependent(spec, scale, (active, levels))
}

/// Reconstructed coefficients as the decoder computes them, rounded to single precision.
pub(crate) fn values(matrix: &LevelMatrix) -> Array2<f32> {
    let spec = matrix.spec();
    let values = matrix.values_f64();
    Array2::from_shape_fn((spec.rows, spec.cols), |(r, c)| {
        values[r * spec.cols + c] as f32
    })
}
