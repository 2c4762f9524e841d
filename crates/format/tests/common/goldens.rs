//! The files that hold the format still: between them every section, layout, block kind, packing and coding of side
//! values. `make golden` writes them; goldens.rs and damage.rs read them.

use tqz_format::{
    Block, BlockCoding, LayerRecord, Layout, LevelMatrix, MatrixSpec, Meta, Packing, RawTensor,
    ScaleVector, StepScale, TqzFile, TrellisState, Vector,
};

/// Names and contents.
pub(crate) fn goldens() -> Vec<(&'static str, TqzFile)> {
    vec![
        ("empty", TqzFile::default()),
        ("identity", of_layers(identity())),
        ("layouts", of_layers(layouts())),
        ("transforms", of_layers(transforms())),
        ("fixed", of_layers(fixed())),
        ("learning", of_layers(learning())),
        ("dependent", of_layers(dependent())),
        ("vectors", vectors()),
        ("bytes", bytes()),
    ]
}

fn of_layers(layers: Vec<LayerRecord>) -> TqzFile {
    let weights = layers.iter().map(LayerRecord::elements).sum();
    let meta = Meta {
        weights,
        pairs: Vec::new(),
    };
    TqzFile {
        meta,
        layers,
        ..TqzFile::default()
    }
}

/// Numbers from a fixed linear congruence.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// About normal, of the given deviation in 1/16 level.
    fn level(&mut self, deviation: i64) -> i32 {
        let sum: i64 = (0..4).map(|_| (self.next() & 0xffff) as i64 - 0x8000).sum();
        (sum * deviation / (37_837 * 16)) as i32
    }
}

/// Levels of any size class, some rows empty.
fn matrix(spec: [usize; 3], deviation: i64, seed: u64) -> LevelMatrix {
    let [rows, cols, _] = spec;
    let mut numbers = Numbers(seed);
    let levels: Vec<i32> = (0..rows * cols)
        .map(|i| match i / cols.max(1) % 5 {
            3 => 0,
            row => numbers.level(deviation << (row % 3)),
        })
        .collect();
    place(spec, uniform(-300), &levels)
}

fn place([rows, cols, period]: [usize; 3], scale: StepScale, levels: &[i32]) -> LevelMatrix {
    LevelMatrix::from_row_major(MatrixSpec { rows, cols, period }, scale, levels).unwrap()
}

fn uniform(base: i32) -> StepScale {
    StepScale::uniform(base)
}

fn exponents(shift: u8, units: impl Iterator<Item = i32>) -> Option<ScaleVector> {
    Some(ScaleVector {
        shift,
        units: units.collect(),
    })
}

/// A record with one block for all rows.
fn whole(site: u32, dims: &[usize], layout: Layout, coding: BlockCoding) -> LayerRecord {
    let mut record = LayerRecord {
        site,
        dims: dims.to_vec(),
        layout,
        blocks: Vec::new(),
    };
    let rows = record.shape().unwrap().rows;
    record.blocks.push(Block { rows, coding });
    record
}

fn rows_first(site: u32, dims: &[usize], coding: BlockCoding) -> LayerRecord {
    whole(site, dims, Layout::RowsFirst, coding)
}

fn plain(weights: LevelMatrix) -> BlockCoding {
    BlockCoding::Identity { weights }
}

fn identity() -> Vec<LayerRecord> {
    let scaled = |spec: [usize; 3], deviation, seed, scale| {
        let drawn = matrix(spec, deviation, seed);
        place(spec, scale, &drawn.to_row_major())
    };
    // Exponents that repeat from kernel to kernel, and others that run along.
    let kernels = StepScale {
        base: -640,
        rows: exponents(2, (0..7).map(|r| r * r - 20)),
        cols: exponents(0, (0..36).map(|j| j % 9 * 50 - 100 + j / 9)),
    };
    let running = StepScale {
        base: -6400,
        rows: exponents(0, (0..4).map(|r| 4096 - r)),
        cols: exponents(6, (0..6).map(|j| 64 - j)),
    };
    let top = 1 << 20;
    let extremes = [top, -top, 0, 1, -1, top / 2 - 1, 0, -40_000, 3, 0, 0, 255];
    vec![
        rows_first(0, &[7, 4, 3, 3], plain(scaled([7, 36, 9], 18, 1, kernels))),
        rows_first(7, &[4, 6], plain(scaled([4, 6, 1], 40, 2, running))),
        rows_first(8, &[5], plain(matrix([5, 1, 1], 60, 3))),
        rows_first(9, &[3, 4, 5], plain(matrix([3, 20, 5], 12, 4))),
        rows_first(
            70_000,
            &[2, 6],
            plain(place([2, 6, 1], uniform(64), &extremes)),
        ),
        rows_first(
            70_001,
            &[3, 3, 2, 2],
            plain(place([3, 12, 4], uniform(0), &[0; 36])),
        ),
        rows_first(u32::MAX, &[6, 40], plain(matrix([6, 40, 1], 90_000, 5))),
    ]
}

fn layouts() -> Vec<LayerRecord> {
    let column = BlockCoding::Column {
        t: matrix([3, 8, 4], 30, 13),
        s: matrix([3, 3, 1], 50, 14),
    };
    let mut blocks = whole(
        3,
        &[4, 3, 2, 2],
        Layout::Transposed { groups: 2 },
        column.clone(),
    );
    blocks.blocks = [
        column,
        plain(matrix([2, 8, 4], 20, 15)),
        plain(matrix([1, 8, 4], 20, 16)),
    ]
    .into_iter()
    .zip([3, 2, 1])
    .map(|(coding, rows)| Block { rows, coding })
    .collect();
    vec![
        whole(
            1,
            &[9, 5],
            Layout::ColumnsFirst,
            plain(matrix([5, 9, 1], 25, 11)),
        ),
        whole(
            2,
            &[6, 2, 3, 3],
            Layout::Transposed { groups: 3 },
            plain(matrix([6, 18, 9], 25, 12)),
        ),
        blocks,
    ]
}

fn transforms() -> Vec<LayerRecord> {
    let (n, m, kk) = (6, 4, 9);
    let conv = |site, coding| rows_first(site, &[n, m, 3, 3], coding);
    let column = |k: usize| BlockCoding::Column {
        t: matrix([k, m * kk, kk], 20, 21),
        s: matrix([n, k, 1], 70, 22),
    };
    let row = |k: usize| BlockCoding::Row {
        t: matrix([n, k * kk, kk], 20, 23),
        s: matrix([k, m, 1], 70, 24),
    };
    let kernel = |k: usize| BlockCoding::Kernel {
        t: matrix([n, m * k, k.max(1)], 20, 25),
        s: matrix([k, kk, 1], 70, 26),
    };
    let both = |k: usize, q: usize| BlockCoding::Both {
        t: matrix([k, q * kk, kk], 20, 27),
        s: matrix([n, k, 1], 70, 28),
        v: matrix([q, m, 1], 70, 29),
    };
    let codings = [
        column(5),
        column(8),
        column(0),
        row(3),
        row(0),
        kernel(4),
        kernel(0),
        both(4, 3),
        both(0, 2),
        both(2, 0),
    ];
    (1..)
        .zip(codings)
        .map(|(site, coding)| conv(site, coding))
        .collect()
}

fn fixed() -> Vec<LayerRecord> {
    let depth = |level: i32| (33 - (level ^ level >> 31).leading_zeros()) as u8;
    let rows = |m: LevelMatrix| {
        let widest = |r| {
            (0..m.spec().cols)
                .map(|j| depth(m.level(r, j)))
                .max()
                .unwrap_or(1)
        };
        let depths = (0..m.spec().rows).map(widest).collect();
        m.with_packing(Packing::RowDepths(depths)).unwrap()
    };
    let columns = |m: LevelMatrix| {
        let widest = |j| {
            (0..m.spec().rows)
                .map(|r| depth(m.level(r, j)))
                .max()
                .unwrap_or(1)
        };
        let depths = (0..m.spec().cols).map(widest).collect();
        m.with_packing(Packing::ColumnDepths(depths)).unwrap()
    };
    let wide = [(1 << 20) - 1, -(1 << 20), 0, -1, 1, 77];
    vec![
        rows_first(1, &[6, 2, 3, 3], plain(rows(matrix([6, 18, 9], 30, 31)))),
        rows_first(2, &[5, 7], plain(columns(matrix([5, 7, 1], 300, 32)))),
        rows_first(
            3,
            &[2, 3],
            plain(rows(place([2, 3, 1], uniform(-64), &wide))),
        ),
        rows_first(
            4,
            &[6, 5],
            BlockCoding::Column {
                t: columns(matrix([4, 5, 1], 200, 33)),
                s: matrix([6, 4, 1], 60, 34),
            },
        ),
    ]
}

/// Indices of two quantizers in turn, in all banks, with rows that have no levels and one that could have.
fn dependent() -> Vec<LayerRecord> {
    let trellis = |m: LevelMatrix| {
        let MatrixSpec { rows, cols, .. } = m.spec();
        let mut active = m.active_rows().to_vec();
        if active.len() < rows {
            active.push(rows as u32 - 1);
            active.dedup();
        }
        let mut levels = vec![0; rows * cols];
        for j in 0..cols {
            let mut state = TrellisState::default();
            for &r in &active {
                let index = m.level(r as usize, j);
                levels[r as usize * cols + j] = state.level(index);
                state = state.after(index);
            }
        }
        LevelMatrix::dependent(m.spec(), m.scale().clone(), (&active, &levels)).unwrap()
    };
    let [wide, narrow] = [(40, 61), (9, 62)].map(|(d, seed)| trellis(matrix([14, 72, 9], d, seed)));
    let conv = |site, coding| rows_first(site, &[14, 8, 3, 3], coding);
    vec![
        conv(1, plain(wide)),
        conv(2, plain(narrow)),
        rows_first(3, &[35, 30], plain(trellis(matrix([35, 30, 1], 3000, 63)))),
        conv(
            4,
            BlockCoding::Column {
                t: trellis(matrix([6, 72, 9], 25, 64)),
                s: trellis(matrix([14, 6, 1], 60, 65)),
            },
        ),
        conv(
            5,
            BlockCoding::Row {
                t: matrix([14, 27, 9], 25, 66),
                s: trellis(matrix([3, 8, 1], 60, 67)),
            },
        ),
    ]
}

/// Enough levels for every part of the model to have learnt, and more rows than the prediction is learnt from.
fn learning() -> Vec<LayerRecord> {
    let mut numbers = Numbers(41);
    let (rows, kernels) = (130, 9);
    let mut levels = vec![0; rows * kernels * 9];
    for kernel in levels.chunks_exact_mut(9) {
        // Kernels whose levels are alike, of very different sizes.
        let size = 1 << (numbers.next() % 6);
        let common = numbers.level(6 * size);
        kernel
            .iter_mut()
            .for_each(|level| *level = common + numbers.level(5 * size));
    }
    let kernels = place([rows, kernels * 9, 9], uniform(-256), &levels);
    let wide: Vec<i32> = (0..70 * 40)
        .map(|i| numbers.level(14 << (i / 40 % 13)))
        .collect();
    let wide = place([70, 40, 1], uniform(-512), &wide);
    vec![
        rows_first(
            0,
            &[130, 9, 3, 3],
            BlockCoding::Identity { weights: kernels },
        ),
        rows_first(1, &[70, 40], BlockCoding::Identity { weights: wide }),
    ]
}

fn vectors() -> TqzFile {
    let mut numbers = Numbers(51);
    let mut vectors = Vec::new();
    // Around a mean and around zero, alike in turn so that references pay, of all sizes.
    for i in 0..24u32 {
        let mean = if i % 3 == 0 { 5000 } else { 0 };
        let deviation = 4 << (i % 4 * 3);
        let levels = (0..5 + i % 7)
            .map(|_| mean + numbers.level(deviation))
            .collect();
        vectors.push(Vector {
            site: 3 * i + 1,
            log2_step: -12 + (i % 3) as i32,
            levels,
        });
    }
    let special = [
        (5, -160, vec![1, -1, 1 << 24]),
        (6, 100, vec![-(1 << 24), 1 << 24, 0, 7]),
        (900, 0, vec![]),
        (901, 3, vec![0; 12]),
    ];
    vectors.extend(special.map(|(site, log2_step, levels)| Vector {
        site,
        log2_step,
        levels,
    }));
    TqzFile {
        vectors,
        ..TqzFile::default()
    }
}

fn bytes() -> TqzFile {
    let mut numbers = Numbers(61);
    let mut graph = Vec::new();
    for i in 0..40 {
        graph.extend(format!("/layer{}/block.{i}/Conv_output_0 weight=", i / 7).into_bytes());
        graph.extend([i as u8, 0, 255, (i * i) as u8, 0, 0]);
    }
    let floats = (0..30u32).flat_map(|i| (i as f32 * 0.37).to_le_bytes());
    let doubles = (0..9).flat_map(|i| (f64::from(i) - 4.0).to_le_bytes());
    let raw = [
        (0, 4, floats.collect()),
        (2, 8, doubles.collect()),
        (1, 1, (0..50).map(|_| numbers.next() as u8).collect()),
        (1000, 2, (0..40u8).map(|i| i % 2 * 60).collect()),
        (1001, 1, vec![]),
    ];
    TqzFile {
        meta: Meta {
            weights: (1 << 62) + 5,
            pairs: vec![
                ("by".to_owned(), "golden".to_owned()),
                ("größe".to_owned(), String::new()),
            ],
        },
        graph,
        raw: raw
            .map(|(site, width, bytes)| RawTensor { site, width, bytes })
            .into(),
        ..TqzFile::default()
    }
}
