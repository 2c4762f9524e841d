//! Every record comes back as it was written, counted sizes are written sizes, and the fast synthesis equals
//! the plain definition to the bit.

mod common;

use common::seeded;
use proptest::prelude::*;
use tqz_format::dequantize::step;
use tqz_format::{
    Block, BlockCoding, DecodeLimits, Directory, LayerRecord, Layout, LevelMatrix, MatrixSpec,
    Meta, Packing, RawTensor, ScaleVector, StepScale, TqzFile, TrellisState, Vector, count_layer,
};

/// Levels that are mostly small, sometimes extreme, with empty rows.
fn levels(rows: usize, cols: usize) -> impl Strategy<Value = Vec<i32>> {
    let level = prop_oneof![
        6 => Just(0),
        4 => -3i32..=3,
        2 => -300i32..=300,
        1 => prop_oneof![Just(1 << 20), Just(-(1 << 20)), Just((1 << 20) - 1), -70000i32..70000],
    ];
    let row = (any::<bool>(), prop::collection::vec(level, cols));
    prop::collection::vec(row, rows).prop_map(|rows| {
        let row = |(active, row): (bool, Vec<i32>)| {
            row.into_iter()
                .map(move |level| if active { level } else { 0 })
        };
        rows.into_iter().flat_map(row).collect()
    })
}

fn scales(count: usize) -> impl Strategy<Value = Option<ScaleVector>> {
    let vector =
        (0u8..=6, prop::collection::vec(-4096i32..=4096, count)).prop_map(|(shift, exponents)| {
            ScaleVector {
                shift,
                units: exponents.iter().map(|e| e >> shift).collect(),
            }
        });
    prop::option::of(vector)
}

/// Scales that keep products of two matrices within f32.
fn gentle_scales(count: usize) -> impl Strategy<Value = Option<ScaleVector>> {
    let vector = (0u8..=4, prop::collection::vec(-200i32..=200, count))
        .prop_map(|(shift, exponents)| ScaleVector::rounded(shift, &exponents));
    prop::option::of(vector)
}

fn matrix(rows: usize, cols: usize, period: usize) -> impl Strategy<Value = LevelMatrix> {
    (
        levels(rows, cols),
        gentle_scales(rows),
        gentle_scales(cols),
        -640i32..=0,
    )
        .prop_map(move |(levels, rows_scale, cols_scale, base)| {
            let spec = MatrixSpec { rows, cols, period };
            let scale = StepScale {
                base,
                rows: rows_scale,
                cols: cols_scale,
            };
            LevelMatrix::from_row_major(spec, scale, &levels).unwrap()
        })
        .prop_flat_map(|matrix| (0..4u8, Just(matrix)))
        .prop_map(|(kind, matrix)| packed(kind, matrix))
}

/// The matrix with levels of the least fixed widths, for two of three kinds.
fn packed(kind: u8, matrix: LevelMatrix) -> LevelMatrix {
    let depth = |level: i32| (33 - (level ^ level >> 31).leading_zeros()) as u8;
    let MatrixSpec { rows, cols, .. } = matrix.spec();
    let widest = |r: std::ops::Range<usize>, c: std::ops::Range<usize>| {
        let cells = r.flat_map(|r| c.clone().map(move |c| (r, c)));
        cells
            .map(|(r, c)| depth(matrix.level(r, c)))
            .max()
            .unwrap_or(1)
    };
    let packing = match kind {
        0 => return matrix,
        3 => return dependent(&matrix),
        1 => Packing::RowDepths((0..rows).map(|r| widest(r..r + 1, 0..cols)).collect()),
        _ => Packing::ColumnDepths((0..cols).map(|c| widest(0..rows, c..c + 1)).collect()),
    };
    if packing_of(&packing).iter().any(|&d| d > 21) {
        return matrix;
    }
    matrix.with_packing(packing).unwrap()
}

/// The matrix' levels as indices of dependent quantization, where twice as much is a level still.
fn dependent(matrix: &LevelMatrix) -> LevelMatrix {
    let (spec, active) = (matrix.spec(), matrix.active_rows());
    let mut levels = vec![0; spec.rows * spec.cols];
    for j in 0..spec.cols {
        let mut state = TrellisState::default();
        for &r in active {
            let index = matrix.level(r as usize, j) / 2;
            levels[r as usize * spec.cols + j] = state.level(index);
            state = state.after(index);
        }
    }
    LevelMatrix::dependent(spec, matrix.scale().clone(), (active, &levels)).unwrap()
}

fn packing_of(packing: &Packing) -> &[u8] {
    match packing {
        Packing::Modelled | Packing::Dependent => &[],
        Packing::RowDepths(d) | Packing::ColumnDepths(d) => d,
    }
}

fn coding(n: usize, m: usize, period: usize) -> impl Strategy<Value = BlockCoding> {
    (0usize..5, 0usize..5).prop_flat_map(move |(kind, k)| match kind {
        0 => matrix(n, m * period, period)
            .prop_map(|weights| BlockCoding::Identity { weights })
            .boxed(),
        1 => (matrix(k, m * period, period), matrix(n, k, 1))
            .prop_map(|(t, s)| BlockCoding::Column { t, s })
            .boxed(),
        2 => (matrix(n, k * period, period), matrix(k, m, 1))
            .prop_map(|(t, s)| BlockCoding::Row { t, s })
            .boxed(),
        3 => (matrix(n, m * k, k.max(1)), matrix(k, period, 1))
            .prop_map(|(t, s)| BlockCoding::Kernel { t, s })
            .boxed(),
        _ => (
            matrix(k.min(n), m.min(3) * period, period),
            matrix(n, k.min(n), 1),
            matrix(m.min(3), m, 1),
        )
            .prop_map(|(t, s, v)| BlockCoding::Both { t, s, v })
            .boxed(),
    })
}

fn layer() -> impl Strategy<Value = LayerRecord> {
    (
        1usize..6,
        1usize..6,
        1usize..4,
        1usize..4,
        0usize..3,
        any::<u32>(),
    )
        .prop_flat_map(|(n, m, a, b, layout, site)| {
            let (a, b) = if layout == 1 { (1, 1) } else { (a, b) };
            let blocks = if layout == 2 { 2 } else { 1 };
            let blocks =
                prop::collection::vec(coding(n, m, a * b), blocks).prop_map(move |codings| {
                    codings
                        .into_iter()
                        .map(|coding| Block { rows: n, coding })
                        .collect::<Vec<_>>()
                });
            blocks.prop_map(move |blocks| {
                let (dims, layout) = match layout {
                    0 => (vec![n, m, a, b], Layout::RowsFirst),
                    1 => (vec![m, n], Layout::ColumnsFirst),
                    _ => (vec![2 * m, n, a, b], Layout::Transposed { groups: 2 }),
                };
                LayerRecord {
                    site,
                    dims,
                    layout,
                    blocks,
                }
            })
        })
}

/// W by the plain formulas of docs/format.md.
fn plain(layer: &LayerRecord) -> Vec<f32> {
    let shape = layer.shape().unwrap();
    let value = |m: &LevelMatrix, r: usize, j: usize| {
        f64::from(m.level(r, j)) * step(m.scale().exponent(r, j))
    };
    let mut w = Vec::new();
    for block in &layer.blocks {
        for r in 0..block.rows {
            for j in 0..shape.cols {
                let (i, p) = (j / shape.period, j % shape.period);
                let sum = match &block.coding {
                    BlockCoding::Identity { weights } => value(weights, r, j),
                    BlockCoding::Column { t, s } => {
                        (0..t.spec().rows).fold(0.0, |sum, l| sum + value(s, r, l) * value(t, l, j))
                    }
                    BlockCoding::Row { t, s } => (0..s.spec().rows).fold(0.0, |sum, l| {
                        sum + value(t, r, l * shape.period + p) * value(s, l, i)
                    }),
                    BlockCoding::Kernel { t, s } => (0..s.spec().rows).fold(0.0, |sum, l| {
                        sum + value(t, r, i * s.spec().rows + l) * value(s, l, p)
                    }),
                    BlockCoding::Both { t, s, v } => (0..v.spec().rows).fold(0.0, |sum, q| {
                        let x = (0..t.spec().rows).fold(0.0, |sum, l| {
                            sum + value(s, r, l) * value(t, l, q * shape.period + p)
                        });
                        sum + x * value(v, q, i)
                    }),
                };
                // 0 + x: a zero is +0 whatever the sign of its terms.
                w.push((0.0 + sum) as f32);
            }
        }
    }
    let mut tensor = vec![0.0; w.len()];
    for r in 0..shape.rows {
        for j in 0..shape.cols {
            let (i, p) = (j / shape.period, j % shape.period);
            let at = match layer.layout {
                Layout::RowsFirst => r * shape.cols + j,
                Layout::ColumnsFirst => j * shape.rows + r,
                Layout::Transposed { groups } => {
                    let outputs = shape.rows / groups as usize;
                    let input = r / outputs * (shape.cols / shape.period) + i;
                    (input * outputs + r % outputs) * shape.period + p
                }
            };
            tensor[at] = w[r * shape.cols + j];
        }
    }
    tensor
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(seeded(200))]

    #[test]
    fn layers_come_back_and_counted_size_is_written_size(layer in layer()) {
        let bytes = layer.encode().unwrap();
        let again = LayerRecord::decode(&bytes, &DecodeLimits::default()).unwrap();
        prop_assert_eq!(&again, &layer);
        let counted = count_layer(&layer).unwrap().total_bits() / 8.0;
        prop_assert!((counted - bytes.len() as f64).abs() < 3.0, "{} {}", counted, bytes.len());
    }

    #[test]
    fn synthesis_equals_the_plain_definition_to_the_bit(layer in layer()) {
        prop_assert_eq!(bits_of(&layer.reconstruct().unwrap()), bits_of(&plain(&layer)));
    }

    #[test]
    fn matrices_with_extreme_scales_come_back(
        (rows, cols, period, matrix) in (1usize..7, 1usize..7, 1usize..4).prop_flat_map(|(rows, inputs, period)| {
            let cols = inputs * period;
            let parts = (levels(rows, cols), scales(rows), scales(cols), -6400i32..=6400);
            let matrix = parts.prop_map(move |(levels, rows_scale, cols_scale, base)| {
                let scale = StepScale { base, rows: rows_scale, cols: cols_scale };
                let spec = MatrixSpec { rows, cols, period };
                (LevelMatrix::from_row_major(spec, scale, &levels).unwrap(), levels)
            });
            (Just(rows), Just(cols), Just(period), matrix)
        }),
    ) {
        let (matrix, levels) = matrix;
        prop_assert_eq!(matrix.to_row_major(), levels);
        let dims = vec![rows, cols / period, period];
        let blocks = vec![Block { rows, coding: BlockCoding::Identity { weights: matrix } }];
        let layer = LayerRecord { site: 7, dims, layout: Layout::RowsFirst, blocks };
        let bytes = layer.encode().unwrap();
        prop_assert_eq!(LayerRecord::decode(&bytes, &DecodeLimits::default()).unwrap(), layer);
    }

    #[test]
    fn files_come_back(
        layers in prop::collection::vec(layer(), 0..4),
        graph in prop::collection::vec(any::<u8>(), 0..300),
        vectors in prop::collection::vec(
            (any::<u32>(), -160i32..=160, prop::collection::vec(-(1i32 << 24)..=1 << 24, 0..30)), 0..5),
        raw in prop::collection::vec((any::<u32>(), 0u32..4, prop::collection::vec(any::<u8>(), 0..90)), 0..4),
        weights in 0u64..1 << 62,
        pairs in prop::collection::vec((".{0,12}", ".{0,30}"), 0..4),
    ) {
        let vectors = vectors.into_iter()
            .map(|(site, log2_step, levels)| Vector { site, log2_step, levels }).collect();
        let raw = raw.into_iter()
            .map(|(site, width, bytes)| RawTensor { site, width: 1 << width, bytes }).collect();
        let file = TqzFile { meta: Meta { weights, pairs }, graph, vectors, raw, layers };
        let bytes = file.encode().unwrap();
        let limits = DecodeLimits::default();
        prop_assert_eq!(&TqzFile::decode(&bytes, &limits).unwrap(), &file);
        let directory = Directory::read(&bytes).unwrap();
        for (index, layer) in file.layers.iter().enumerate().rev() {
            prop_assert_eq!(&directory.read_layer(&bytes, index, &limits).unwrap(), layer);
        }
        let sizes = file.section_sizes().unwrap();
        let sum = sizes.header_bytes + sizes.meta_bytes + sizes.graph_bytes + sizes.vector_bytes
            + sizes.raw_bytes + sizes.layers.iter().map(|layer| layer.bytes).sum::<usize>();
        prop_assert_eq!(sum, bytes.len());
    }
}
