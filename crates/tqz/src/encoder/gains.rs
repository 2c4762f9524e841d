//! Gains in the file: which layers get some, and the exponents of rows that they are added to.

use ndarray::Array2;
use tqz_engine::Network;
use tqz_format::{
    Block, BlockCoding, FormatError, LayerRecord, LevelMatrix, ScaleVector, StepScale,
};

use crate::allocate::Hint;
use crate::encoder::CodedLayer;
use crate::encoder::pass::{Coded, Pass};
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::repair::{Gained, SideValues, Turnable, exponent, gained_layers};
use crate::source::Source;

/// What a gain costs, about, in bits: most differ from their neighbours by none or one of the format's units.
const COST_BITS: usize = 4;
/// Part of a layer's bytes that gains may take: dense layers of thousands of outputs and a few rows of T are left as they are.
const PART: f64 = 0.03;

/// What of a layer gets gains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GainedLayer {
    /// Its place among the layers.
    index: usize,
    /// Rows that get some: all or none.
    rows: usize,
    /// Kernels that do: all or none.
    kernels: usize,
}

/// Layers that get gains, rows where they may, kernels where there are some, both where they cost little.
///
/// # Errors
/// Records that cannot be written.
pub(crate) fn gained(source: &Source, coded: &[CodedLayer]) -> Result<Vec<GainedLayer>, TqzError> {
    let of_rows = gained_layers(source.network(), source.layers(), source.knobs());
    let mut gained = Vec::new();
    for (index, layer) in source.layers().iter().enumerate() {
        let record = &coded[index].record;
        let rows = Some(layer.rows).filter(|_| of_rows.contains(&index));
        let kernels = transformed(record).map(|(_, t)| t.spec().rows);
        if rows.or(kernels).is_none() {
            continue;
        }
        let bytes = record.encode()?.len();
        let affordable = |gains: &usize| bytes_of(*gains) as f64 <= PART * bytes as f64;
        let [rows, kernels] = [rows, kernels].map(|n| n.filter(affordable).unwrap_or(0));
        if rows + kernels > 0 {
            gained.push(GainedLayer {
                index,
                rows,
                kernels,
            });
        }
    }
    Ok(gained)
}

/// Bytes that so many gains take, about.
fn bytes_of(gains: usize) -> u64 {
    (gains * COST_BITS).div_ceil(8) as u64
}

/// Bytes that gains of these layers take, about.
pub(crate) fn cost_bytes(gained: &[GainedLayer]) -> u64 {
    bytes_of(gained.iter().map(|of| of.rows + of.kernels).sum())
}

/// S and T of a layer whose kernels can be turned.
fn transformed(record: &LayerRecord) -> Option<(&LevelMatrix, &LevelMatrix)> {
    match &record.blocks[..] {
        [
            Block {
                coding: BlockCoding::Column { s, t },
                ..
            },
        ] => Some((s, t)),
        _ => None,
    }
}

/// A coded network with everything that can be turned of it.
pub(crate) fn turnable<'a>(
    source: &'a Source,
    network: &'a Network,
    (coded, gained): (&[CodedLayer], &[GainedLayer]),
) -> Turnable<'a> {
    let values = |matrix: &LevelMatrix| {
        let values = matrix.values_f64().into_iter().map(|v| v as f32).collect();
        Array2::from_shape_vec((matrix.spec().rows, matrix.spec().cols), values).ok()
    };
    let gained = gained.iter().map(|of| Gained {
        layer: &source.layers()[of.index],
        rows: of.rows > 0,
        transformed: transformed(&coded[of.index].record)
            .filter(|_| of.kernels > 0)
            .and_then(|(s, t)| Some((values(s)?, values(t)?))),
    });
    Turnable::new(network, gained)
}

/// The file with gains, within the target: coded again with room for what they take where they do not fit, and without them where they do not
/// even then.
///
/// # Errors
/// As coding.
pub(crate) fn fitted(
    pass: &Pass<'_>,
    coded: &Coded,
    gains: &SideValues,
) -> Result<Coded, TqzError> {
    let with = pass.encode_again(coded, gains)?;
    if pass.fits(&with) {
        return Ok(with);
    }
    let without = pass.encode_again(coded, &SideValues::new())?;
    let cost = with.bytes.len().saturating_sub(without.bytes.len()) as u64;
    let again = pass.search_with_room(Hint {
        step: Some(coded.step),
        reserve_bytes: cost + cost / 8,
    })?;
    let found = pass.encode_again(&again, gains)?;
    if pass.fits(&found) {
        return Ok(found);
    }
    pass.search(Hint {
        step: Some(coded.step),
        reserve_bytes: 0,
    })
}

/// The layers with the gains, which have the names of weights.
///
/// # Errors
/// Gains beyond what the format can hold.
pub(crate) fn with_gains(
    source: &Source,
    layers: &[CodedLayer],
    gains: &SideValues,
) -> Result<Vec<CodedLayer>, TqzError> {
    let with_gain = |(coded, layer): (&CodedLayer, &WeightLayer)| {
        let mut coded = coded.clone();
        if let Some(gains) = gains.get(&layer.name) {
            let exponents: Vec<i32> = gains.iter().map(|&gain| exponent(gain)).collect();
            let (rows, kernels) = exponents.split_at(layer.rows.min(exponents.len()));
            multiply_rows(&mut coded.record, rows)
                .and_then(|()| multiply_kernels(&mut coded.record, kernels))
                .map_err(|error| TqzError::layer(&layer.name, error.to_string()))?;
        }
        Ok(coded)
    };
    layers.iter().zip(source.layers()).map(with_gain).collect()
}

/// Multiplies the kernels of a layer by `2^(exponent/64)`; others than those that the exponents were made for stay as they are.
fn multiply_kernels(record: &mut LayerRecord, exponents: &[i32]) -> Result<(), FormatError> {
    let turned = exponents.iter().any(|&exponent| exponent != 0);
    if let [
        Block {
            coding: BlockCoding::Column { t, .. },
            ..
        },
    ] = &mut record.blocks[..]
        && turned
        && t.spec().rows == exponents.len()
    {
        let scale = multiplied(t, exponents);
        *t = t.clone().with_scale(scale)?;
    }
    Ok(())
}

/// Multiplies the rows of a layer's matrix by `2^(exponent/64)`.
fn multiply_rows(record: &mut LayerRecord, exponents: &[i32]) -> Result<(), FormatError> {
    let mut rest = exponents;
    for block in &mut record.blocks {
        let (of_block, after) = rest.split_at(block.rows.min(rest.len()));
        rest = after;
        if of_block.iter().all(|&exponent| exponent == 0) {
            continue;
        }
        let (BlockCoding::Identity { weights: matrix }
        | BlockCoding::Column { s: matrix, .. }
        | BlockCoding::Both { s: matrix, .. }
        | BlockCoding::Row { t: matrix, .. }
        | BlockCoding::Kernel { t: matrix, .. }) = &mut block.coding;
        let scale = multiplied(matrix, of_block);
        *matrix = matrix.clone().with_scale(scale)?;
    }
    Ok(())
}

fn multiplied(matrix: &LevelMatrix, exponents: &[i32]) -> StepScale {
    let scale = matrix.scale();
    let old = |row: usize| scale.rows.as_ref().map_or(0, |rows| rows.exponent(row));
    let new = exponents.iter().enumerate().map(|(row, e)| old(row) + e);
    StepScale {
        rows: Some(ScaleVector {
            shift: 0,
            units: new.collect(),
        }),
        ..scale.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing::Calibrated;
    use crate::encoder::trust::Trust;
    use ndarray::Array1;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;
    use tqz_format::{DecodeLimits, Layout, MatrixSpec};

    fn matrix(rows: usize, cols: usize, steps: Option<Vec<i32>>) -> LevelMatrix {
        let spec = MatrixSpec {
            rows,
            cols,
            period: 1,
        };
        let levels: Vec<i32> = (0..rows * cols).map(|i| (i % 5) as i32 - 2).collect();
        let scale = StepScale {
            base: -100,
            rows: steps.map(|steps| ScaleVector::rounded(5, &steps)),
            cols: None,
        };
        LevelMatrix::from_row_major(spec, scale, &levels).expect("legal")
    }

    fn record(coding: BlockCoding) -> LayerRecord {
        let block = Block { rows: 3, coding };
        LayerRecord {
            site: 0,
            dims: vec![6, 4],
            layout: Layout::RowsFirst,
            blocks: vec![block.clone(), block],
        }
    }

    /// What a decoder makes of a record.
    fn decoded(record: &LayerRecord) -> Vec<f32> {
        let bytes = record.encode().expect("legal");
        let read = LayerRecord::decode(&bytes, &DecodeLimits::default()).expect("just written");
        read.reconstruct().expect("decodes")
    }

    /// Every arrangement of a layer decodes to rows that are multiplied, those of later blocks by their own gains.
    #[test]
    fn decoded_rows_are_multiplied_by_the_gains() {
        let codings = [
            BlockCoding::Identity {
                weights: matrix(3, 4, Some(vec![0, 64, -32])),
            },
            BlockCoding::Column {
                t: matrix(2, 4, None),
                s: matrix(3, 2, None),
            },
            BlockCoding::Row {
                t: matrix(3, 2, None),
                s: matrix(2, 4, None),
            },
            BlockCoding::Kernel {
                t: matrix(3, 4, None),
                s: matrix(1, 1, None),
            },
            BlockCoding::Both {
                t: matrix(2, 2, None),
                s: matrix(3, 2, None),
                v: matrix(2, 4, None),
            },
        ];
        for coding in codings {
            let mut record = record(coding);
            let before = decoded(&record);
            let exponents = [1.0_f32, 1.25, 0.98, 2.0, 0.995, 1.01].map(exponent);
            assert_eq!(exponents, [0, 21, -2, 64, 0, 1]);
            multiply_rows(&mut record, &exponents).expect("legal");
            for (i, (after, before)) in decoded(&record).iter().zip(before).enumerate() {
                let gain = (f64::from(exponents[i / 4]) / 64.0).exp2();
                let wanted = f64::from(before) * gain;
                let miss = (f64::from(*after) - wanted).abs();
                assert!(miss <= 1e-6 * wanted.abs(), "{after} {wanted}");
            }
        }
    }

    #[test]
    fn gains_of_one_cost_nothing() {
        let coding = BlockCoding::Identity {
            weights: matrix(3, 4, Some(vec![0, 64, -32])),
        };
        let mut turned = record(coding);
        let before = turned.clone();
        multiply_rows(&mut turned, &[0; 6]).expect("legal");
        assert_eq!(turned, before);
    }

    /// Gains of every layer of the demo network, far from one: more than the search for the size has left free.
    #[test]
    fn gains_that_do_not_fit_are_given_room() {
        let calibrated = Calibrated::on_noise(32);
        let (source, job) = (&calibrated.source, calibrated.job());
        let mut rng = Pcg64::seed_from_u64(7);
        let pass = Pass::new(job, &Trust::standard()).expect("factored");
        let coded = pass.search(Hint::default()).expect("reached");
        let mut gains = SideValues::new();
        for layer in source.layers() {
            let of_rows = Array1::from_shape_simple_fn(layer.rows, || 0.5 + rng.random::<f32>());
            gains.insert(layer.name.clone(), of_rows.into_dyn());
        }
        let unfitted = pass.encode_again(&coded, &gains).expect("legal");
        assert!(pass.fits(&coded) && !pass.fits(&unfitted));
        let found = fitted(&pass, &coded, &gains).expect("reached");
        assert!(pass.fits(&found) && found.step > coded.step);
        let first = &found.layers[0].record.blocks[0].coding;
        let rows = first.matrices().last().and_then(|m| m.scale().rows.clone());
        assert_eq!(rows.map(|rows| rows.shift), Some(0), "with gains");
    }
}
