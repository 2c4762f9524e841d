//! One layer as T and S of a column transform: T with feedback along the inputs, S refitted to the quantized T (theory §9), and as many
//! rows of T as are worth their bits and those of their columns of S.

use ndarray::{Array2, Axis, s};
use tqz_format::{BlockCoding, LevelMatrix, MatrixSpec, StepScale};

use crate::config::QuantizerSpec;
use crate::encoder::layer::{CodedLayer, record, same_packing, unsolvable, values};
use crate::encoder::prepared::{PreparedLayer, Transformed};
use crate::encoder::speed::Limit;
use crate::error::TqzError;
use crate::linalg::{Block, ColumnFactor, damped, damped_blocks, product, solve_positive};
use crate::quantize::{Outcome, Problem, StepFactors, quantize};

/// Added to the diagonal of T̂AT̂ᵗ before S is solved for, as a fraction of its mean.
const REFIT_DAMPING: f64 = 1e-6;
/// Added to the same matrix where it weighs the errors of S.
const BASIS_DAMPING: f64 = 1e-4;
/// Rows that are kept where fewer are tried, as a part of those before.
const FEWER: f64 = 0.88;

/// Which rows of T a layer keeps, of those that have levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rows {
    /// To be decided when it is coded next: as many as cost least.
    Undecided,
    /// Those without which distortion would grow by so many c² at least.
    Above(f64),
}

/// T with feedback along the inputs; rows without levels leave; S refitted and quantized under what T̂ lets through. Levels of T are chosen
/// without regard to what their row costs in S: of the rows that have some, at most `limit`, the last ones leave where that costs
/// less in all, which is noted in `rows` if it was undecided.
///
/// # Errors
/// As [`crate::encoder::layer::code_layer`].
pub(crate) fn code_column(
    prepared: &PreparedLayer,
    transformed: &Transformed,
    quantizer: QuantizerSpec,
    (c, limit): (f64, Limit),
    rows: &mut Rows,
) -> Result<CodedLayer, TqzError> {
    let energy = &transformed.basis.energy;
    let worth = |e: f64| e / (c * c);
    let most = match *rows {
        Rows::Undecided => energy.len(),
        Rows::Above(least) => energy.iter().take_while(|e| worth(**e) >= least).count(),
    };
    // A matrix has a row at least; it leaves if it has no level.
    let most = most.min(limit.unwrap_or(most)).max(1);
    let outcome = quantize_kernels(prepared, transformed, quantizer, (c, most))?;
    let kernels = kept_rows(&outcome.matrix)?;
    let with_rows = |count: usize| {
        let first = first_rows(&kernels, count)?;
        with_basis((prepared, transformed), first, (quantizer, c))
    };
    let count = kernels.spec().rows;
    let best = with_rows(count)?;
    if *rows != Rows::Undecided {
        return Ok(best);
    }
    let (kept, best) = cheapest((count, best), (quantizer, c), with_rows)?;
    let numbered = outcome.matrix.active_rows();
    let energy_of = |row: usize| numbered.get(row).map(|&r| worth(energy[r as usize]));
    *rows = Rows::Above(
        match (kept.checked_sub(1).and_then(energy_of), energy_of(kept)) {
            // Between the two, so that rounding decides nothing.
            (Some(last), Some(first_left)) => (last * first_left).sqrt(),
            _ => 0.0,
        },
    );
    Ok(best)
}

/// The number of rows, falling, up to which each try costs less than the one before, and the layer coded with it.
fn cheapest(
    (mut count, mut best): (usize, CodedLayer),
    (quantizer, c): (QuantizerSpec, f64),
    with_rows: impl Fn(usize) -> Result<CodedLayer, TqzError>,
) -> Result<(usize, CodedLayer), TqzError> {
    let mut least = best.cost(quantizer, c)?;
    loop {
        let fewer = (count as f64 * FEWER) as usize;
        if fewer == 0 {
            return Ok((count, best));
        }
        let next = with_rows(fewer)?;
        let cost = next.cost(quantizer, c)?;
        if cost >= least {
            return Ok((count, best));
        }
        (count, best, least) = (fewer, next, cost);
    }
}

/// A layer of these kernels, S refitted to them and coded.
fn with_basis(
    (prepared, transformed): (&PreparedLayer, &Transformed),
    kernels: LevelMatrix,
    (quantizer, c): (QuantizerSpec, f64),
) -> Result<CodedLayer, TqzError> {
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

/// The first rows of a matrix of which every row has levels.
fn first_rows(matrix: &LevelMatrix, count: usize) -> Result<LevelMatrix, TqzError> {
    let spec = MatrixSpec {
        rows: count,
        ..matrix.spec()
    };
    if spec == matrix.spec() {
        return Ok(matrix.clone());
    }
    let mut scale = matrix.scale().clone();
    if let Some(rows) = &mut scale.rows {
        rows.units.truncate(count);
    }
    let levels = matrix.to_row_major();
    Ok(same_packing(
        matrix,
        spec,
        scale,
        &levels[..count * spec.cols],
    )?)
}

fn quantize_kernels(
    prepared: &PreparedLayer,
    transformed: &Transformed,
    quantizer: QuantizerSpec,
    (c, rows): (f64, usize),
) -> Result<Outcome, TqzError> {
    let rows = rows.min(transformed.basis.t.nrows());
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
        // On AlexNet and ResNet-18 it gains nothing, in S neither.
        descents: 0,
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
        descents: 0,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Basis, EncoderConfig, RateTarget};
    use crate::encoder::testing::dense;
    use crate::encoder::trust::Trust;
    use crate::statistics::LayerStatistics;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// A layer whose rows are mixed from directions of falling strength, ready to be transformed.
    fn prepared(rows: usize, cols: usize) -> PreparedLayer {
        let layer = dense(rows, cols);
        let mut rng = Pcg64::seed_from_u64(5);
        let mut draw = |r, c| Array2::from_shape_fn((r, c), |_| rng.random::<f32>() - 0.5);
        let (mut mixing, directions) = (draw(rows, rows), draw(rows, cols));
        for (i, mut column) in mixing.axis_iter_mut(Axis(1)).enumerate() {
            column *= 0.9_f32.powi(i as i32);
        }
        let statistics = LayerStatistics::empty(&layer);
        let config = EncoderConfig::new(RateTarget::BitsPerWeight(0.5));
        let how = (Some(Basis::Klt), &config, Trust::standard().of(0));
        PreparedLayer::new(&layer, mixing.dot(&directions), &statistics, how, 1.0).expect("finite")
    }

    #[test]
    fn rows_that_cost_more_than_they_save_leave() {
        let prepared = prepared(96, 160);
        let transformed = prepared.transformed.as_ref().expect("a basis");
        let c = 0.4;
        for dependent in [false, true] {
            let quantizer = QuantizerSpec {
                dependent: Some(dependent),
                ..QuantizerSpec::default()
            };
            let code = |c: f64, mut rows: Rows, limit: Limit| {
                let coded = code_column(&prepared, transformed, quantizer, (c, limit), &mut rows);
                let coded = coded.expect("it can be solved for");
                let kept = match &coded.record.blocks[0].coding {
                    BlockCoding::Column { t, .. } => t.spec().rows,
                    other => panic!("{other:?}"),
                };
                (coded.cost(quantizer, c).expect("legal"), kept, rows)
            };
            let (cost_of_all, all, _) = code(c, Rows::Above(0.0), None);
            let (cost, kept, decided) = code(c, Rows::Undecided, None);
            assert!(
                kept < all && cost < 0.999 * cost_of_all,
                "{kept} of {all}: {cost} of {cost_of_all}"
            );
            // What was decided holds when it is coded again, and moves with the step.
            let (again, count, same) = code(c, decided, None);
            assert_eq!((count, same), (kept, decided));
            assert!((again / cost - 1.0).abs() < 0.02, "{again} {cost}");
            assert!(code(c / 2.0, decided, None).1 > kept);
            assert!(code(c * 2.0, decided, None).1 < kept);
            // At steps that leave nothing there is a file still.
            assert_eq!(code(c * 1e6, decided, None).1, 0);
            assert_eq!(code(c, Rows::Undecided, Some(3)).1, 3);
        }
    }
}
