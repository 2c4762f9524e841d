//! Gains of output channels in the file: added to the exponents of the rows that the outputs are made of.

use tqz_format::{BlockCoding, FormatError, LayerRecord, LevelMatrix, ScaleVector, StepScale};

use crate::allocate::Hint;
use crate::encoder::CodedLayer;
use crate::encoder::finish::gained;
use crate::encoder::pass::{Coded, Pass};
use crate::error::TqzError;
use crate::repair::SideValues;
use crate::source::Source;

/// What a gain costs, about, in bits: most differ from their neighbours by none or one of the format's units.
const COST_BITS: u64 = 4;
/// The format's units per octave: gains are known to .5 %.
const UNITS: f32 = 64.0;

/// Bytes to keep free for gains that are not known yet.
pub(crate) fn reserve_bytes(source: &Source) -> u64 {
    let layers = source.layers();
    let rows: usize = gained(source).iter().map(|&i| layers[i].rows).sum();
    rows as u64 * COST_BITS / 8
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
    let mut found = pass.with_gains(coded, gains)?;
    let none = SideValues::new();
    let without = pass.with_gains(coded, &none)?;
    let cost = found.bytes.len().saturating_sub(without.bytes.len()) as u64;
    for (gains, reserve_bytes) in [(gains, cost + cost / 8), (&none, 0)] {
        if pass.fits(&found) {
            break;
        }
        let again = pass.search(Hint {
            step: Some(coded.step),
            reserve_bytes,
        })?;
        found = pass.with_gains(&again, gains)?;
    }
    Ok(found)
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
    let with_gain = |(coded, name): (&CodedLayer, &String)| {
        let mut coded = coded.clone();
        if let Some(gains) = gains.get(name) {
            let exponents: Vec<i32> = gains.iter().map(|&gain| exponent(gain)).collect();
            multiply_rows(&mut coded.record, &exponents)?;
        }
        Ok(coded)
    };
    let names = source.layers().iter().map(|layer| &layer.name);
    layers.iter().zip(names).map(with_gain).collect()
}

/// The exponent nearest to a gain, in 1/64 octave.
fn exponent(gain: f32) -> i32 {
    (gain.max(f32::MIN_POSITIVE).log2() * UNITS).round() as i32
}

/// Multiplies the rows of a layer's matrix by `2^(exponent/64)`.
fn multiply_rows(record: &mut LayerRecord, exponents: &[i32]) -> Result<(), FormatError> {
    let mut rest = exponents;
    for block in &mut record.blocks {
        let (of_block, after) = rest.split_at(block.rows.min(rest.len()));
        rest = after;
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
    use tqz_format::{Block, Layout, MatrixSpec};

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
        ];
        for coding in codings {
            let block = Block { rows: 3, coding };
            let mut record = LayerRecord {
                site: 0,
                dims: vec![6, 4],
                layout: Layout::RowsFirst,
                blocks: vec![block.clone(), block],
            };
            let before = record.reconstruct().expect("decodes");
            let gains = [1.0_f32, 1.25, 0.98, 2.0, 0.995, 1.01];
            let exponents = gains.map(exponent);
            assert_eq!(exponents, [0, 21, -2, 64, 0, 1]);
            multiply_rows(&mut record, &exponents).expect("legal");
            let bytes = record.encode().expect("legal");
            let limits = tqz_format::DecodeLimits::default();
            let read = LayerRecord::decode(&bytes, &limits).expect("just written");
            let after = read.reconstruct().expect("decodes");
            for (row, exponent) in exponents.iter().enumerate() {
                let gain = (f64::from(*exponent) / 64.0).exp2();
                for j in 4 * row..4 * row + 4 {
                    let wanted = f64::from(before[j]) * gain;
                    let miss = (f64::from(after[j]) - wanted).abs();
                    assert!(miss <= 1e-6 * wanted.abs(), "{} {wanted}", after[j]);
                }
            }
        }
    }
}
