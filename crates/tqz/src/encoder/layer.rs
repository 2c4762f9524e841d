//! One layer at one step size: quantized as it is, or transformed.

use ndarray::Array2;
use tqz_format::{
    Block as CodedBlock, BlockCoding, FormatError, LayerRecord, LevelMatrix, MatrixSpec, Packing,
    StepScale,
};

use crate::config::QuantizerSpec;
use crate::encoder::column::{Rows, code_column};
use crate::encoder::mixed::MixedFailure;
use crate::encoder::prepared::PreparedLayer;
use crate::encoder::speed::Limit;
use crate::error::TqzError;
use crate::linalg::ColumnFactor;
use crate::quantize::{Problem, StepFactors, quantize};

/// How often columns of dependent levels are quantized anew. Squared error of the output at equal size, ResNet-20: once −4 %, twice −8 %, four times
/// −8 % (four rates); twice −6 % (twelve rates).
const DESCENTS: usize = 2;

/// A coded layer and what its coding cost.
#[derive(Debug, Clone)]
pub(crate) struct CodedLayer {
    /// What the file stores.
    pub(crate) record: LayerRecord,
    /// Closed-form distortion.
    pub(crate) distortion: f64,
}

impl CodedLayer {
    /// What it costs in units of c²: its distortion and its bits, the basis S included, at the quantizer's slope.
    ///
    /// # Errors
    /// Values that the format cannot hold.
    pub(crate) fn cost(&self, quantizer: QuantizerSpec, c: f64) -> Result<f64, TqzError> {
        let bits = 8.0 * self.record.encode()?.len() as f64;
        Ok(self.distortion / (c * c) + quantizer.slope() * bits)
    }
}

/// Codes a layer with the constant `c`, with these rows of T where it has a transform of its outputs, at most so many; if undecided, which
/// they are is noted.
///
/// # Errors
/// Numbers that cannot be solved for even after damping.
pub(crate) fn code_layer(
    prepared: &PreparedLayer,
    quantizer: QuantizerSpec,
    (c, limit): (f64, Limit),
    rows: &mut Rows,
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
        Some(transformed) => code_column(prepared, transformed, quantizer, (c, limit), rows),
    }
}

/// The record of a layer that is coded in one block.
pub(crate) fn record(prepared: &PreparedLayer, coding: BlockCoding) -> LayerRecord {
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
pub(crate) fn unsolvable(prepared: &PreparedLayer) -> TqzError {
    TqzError::layer(
        &prepared.layer.name,
        "the basis cannot be fitted to the quantized kernels; use --transform identity",
    )
}

/// How often columns are quantized anew.
fn descents(quantizer: QuantizerSpec) -> usize {
    if quantizer.dependent == Some(true) {
        DESCENTS
    } else {
        0
    }
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
        descents: descents(quantizer),
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
