//! Million weights a second: coding levels at four rates, a network's layers on one thread and on several, and putting
//! layers together beside the plain definition. Compare within one run: absolute numbers depend on the machine and its load.
#![allow(clippy::print_stderr)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use tqz_format::dequantize::step;
use tqz_format::{
    Block, BlockCoding, Counter, DecodeLimits, LayerRecord, Layout, LevelMatrix, LevelModel,
    MatrixSpec, StepScale, TrellisState,
};

/// Deviations, in steps, of normal weights that cost about 0.3, 1, 2 and 4 bits.
const RATES: [(&str, f64); 4] = [
    ("0.3bit", 0.27),
    ("1bit", 0.48),
    ("2bit", 1.0),
    ("4bit", 3.9),
];

/// Normal numbers from a fixed linear congruence (sum of twelve uniform ones).
fn normal(count: usize, deviation: f64, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    (0..count)
        .map(|_| ((0..12).map(|_| uniform()).sum::<f64>() - 6.0) * deviation)
        .collect()
}

fn matrix(spec: MatrixSpec, deviation: f64) -> LevelMatrix {
    let values = normal(spec.rows * spec.cols, deviation, 1 + spec.cols as u64);
    let levels: Vec<i32> = values.iter().map(|value| value.round() as i32).collect();
    LevelMatrix::from_row_major(spec, StepScale::uniform(-400), &levels)
        .expect("levels are in range")
}

/// The same numbers as indices of dependent quantization.
fn dependent(matrix: &LevelMatrix) -> LevelMatrix {
    let (spec, active) = (matrix.spec(), matrix.active_rows());
    let mut levels = vec![0; spec.rows * spec.cols];
    for (j, column) in matrix
        .coded_levels()
        .chunks_exact(active.len().max(1))
        .enumerate()
    {
        let mut state = TrellisState::default();
        for (&r, &index) in active.iter().zip(column) {
            levels[r as usize * spec.cols + j] = state.level(index);
            state = state.after(index);
        }
    }
    LevelMatrix::dependent(spec, matrix.scale().clone(), (active, &levels)).expect("paths")
}

fn layer(spec: MatrixSpec, coding: BlockCoding) -> LayerRecord {
    let dims = vec![spec.rows, spec.cols / spec.period, spec.period];
    let blocks = vec![Block {
        rows: spec.rows,
        coding,
    }];
    LayerRecord {
        site: 0,
        dims,
        layout: Layout::RowsFirst,
        blocks,
    }
}

/// What the encoder does beside coding: asks for costs, counts.
fn count_with_costs(matrix: &LevelMatrix) -> u64 {
    let spec = MatrixSpec {
        rows: matrix.active_rows().len(),
        ..matrix.spec()
    };
    let (mut model, mut counter, mut costs) = (LevelModel::new(&spec), Counter::new(), 0u64);
    for (j, column) in matrix.coded_levels().chunks_exact(spec.rows).enumerate() {
        model.begin_column(j);
        for (r, &level) in column.iter().enumerate() {
            let context = model.context(r);
            if level != 0 {
                costs += u64::from(model.candidate_costs(&context, level).upper);
            }
            model.code(&mut counter, &context, level);
        }
    }
    costs + counter.cost()
}

fn levels(criterion: &mut Criterion) {
    for period in [9, 1] {
        let spec = MatrixSpec {
            rows: 128,
            cols: 1152,
            period,
        };
        let mut group = criterion.benchmark_group(format!("levels/{period}positions"));
        group.throughput(Throughput::Elements((spec.rows * spec.cols) as u64));
        for (name, deviation) in RATES {
            let weights = matrix(spec, deviation);
            let record = layer(
                spec,
                BlockCoding::Identity {
                    weights: weights.clone(),
                },
            );
            let bytes = record.encode().expect("the record is valid");
            let limits = DecodeLimits::default();
            let weights_in_turn = BlockCoding::Identity {
                weights: dependent(&weights),
            };
            let in_turn = layer(spec, weights_in_turn).encode().expect("valid");
            group.bench_function(BenchmarkId::new("decode-dependent", name), |b| {
                b.iter(|| LayerRecord::decode(black_box(&in_turn), &limits));
            });
            group.bench_function(BenchmarkId::new("encode", name), |b| {
                b.iter(|| record.encode())
            });
            group.bench_function(BenchmarkId::new("decode", name), |b| {
                b.iter(|| LayerRecord::decode(black_box(&bytes), &limits));
            });
            group.bench_function(BenchmarkId::new("costs", name), |b| {
                b.iter(|| count_with_costs(black_box(&weights)));
            });
        }
        group.finish();
    }
}

/// Layers of a wide network at 2 bits/weight, of the sizes and rates that ResNet-18's have there, an eighth as large: how
/// many, output and input channels, deviation in steps.
const STAGES: [(usize, usize, usize, f64); 4] = [
    (1, 64, 32, 26.0),
    (2, 128, 28, 21.0),
    (4, 256, 28, 3.1),
    (8, 512, 28, 0.47),
];

/// Levels as trained weights leave them: channels of different sizes, Laplacian within, neighbours in a kernel alike.
fn network() -> Vec<LayerRecord> {
    let mut records = Vec::new();
    for (count, rows, channels, deviation) in STAGES {
        for index in 0..count {
            let spec = MatrixSpec {
                rows,
                cols: channels * 9,
                period: 9,
            };
            let seed = (1000 * rows + index) as u64;
            let [a, b] = [1, 2].map(|k| normal(rows * spec.cols, 1.0, seed + k));
            let [common, sizes, of_rows] = [(3, rows * channels), (4, rows * channels), (5, rows)]
                .map(|(k, count)| normal(count, 1.0, seed + k));
            let levels: Vec<i32> = (0..rows * spec.cols)
                .map(|i| {
                    // A normal number times the length of another two is Laplacian.
                    let kernel = i / 9;
                    let size = (0.4 * of_rows[i / spec.cols]).exp()
                        * (0.5 + b[i].hypot(sizes[kernel]))
                        / 2.0;
                    ((0.9 * a[i] + 0.45 * common[kernel]) * size * deviation).round() as i32
                })
                .collect();
            let weights = LevelMatrix::from_row_major(spec, StepScale::uniform(-400), &levels);
            let weights = weights.expect("levels are in range");
            records.push(layer(spec, BlockCoding::Identity { weights }));
        }
    }
    records
}

/// Decodes all layers on so many threads; each takes the next one.
fn decode_all(layers: &[Vec<u8>], threads: usize) -> usize {
    let limits = DecodeLimits::default();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = 0;
        while let Some(bytes) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            done += black_box(LayerRecord::decode(bytes, &limits)).map_or(0, |layer| layer.dims[0]);
        }
        done
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        others
            .into_iter()
            .fold(own, |sum, other| sum + other.join().unwrap_or(0))
    })
}

fn networks(criterion: &mut Criterion) {
    let records = network();
    let weights: u64 = records.iter().map(LayerRecord::elements).sum();
    let encode = |layer: &LayerRecord| layer.encode().expect("the record is valid");
    let mut layers: Vec<Vec<u8>> = records.iter().map(encode).collect();
    let bits: usize = layers.iter().map(|bytes| 8 * bytes.len()).sum();
    eprintln!("network: {:.3} bits/weight", bits as f64 / weights as f64);
    let report = |what: &str, work: &dyn Fn()| {
        let held = allocation_counter::measure(work).bytes_max;
        eprintln!(
            "network: {:.2} bytes/weight held at most while {what}",
            held as f64 / weights as f64
        );
    };
    report("decoding", &|| {
        let limits = DecodeLimits::default();
        let all: Vec<_> = layers
            .iter()
            .map(|bytes| LayerRecord::decode(bytes, &limits))
            .collect();
        black_box(all);
    });
    report("encoding", &|| {
        black_box(records.iter().map(encode).collect::<Vec<_>>());
    });
    let mut group = criterion.benchmark_group("network");
    group
        .throughput(Throughput::Elements(weights))
        .sample_size(10);
    group.bench_function("encode", |b| {
        b.iter(|| {
            records
                .iter()
                .map(|record| encode(record).len())
                .sum::<usize>()
        });
    });
    let in_turn = records.iter().map(|record| match &record.blocks[0].coding {
        BlockCoding::Identity { weights } => {
            let weights = dependent(weights);
            let spec = weights.spec();
            encode(&layer(spec, BlockCoding::Identity { weights }))
        }
        _ => encode(record),
    });
    let in_turn: Vec<Vec<u8>> = in_turn.collect();
    group.bench_function("decode-dependent", |b| b.iter(|| decode_all(&in_turn, 1)));
    // The largest first, so that no thread is left with one at the end.
    layers.sort_by_key(|bytes| std::cmp::Reverse(bytes.len()));
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in (0..).map(|i| 1 << i).take_while(|&threads| threads <= most) {
        group.bench_function(
            BenchmarkId::new("decode", format!("{threads}threads")),
            |b| {
                b.iter(|| decode_all(&layers, threads));
            },
        );
    }
    group.finish();
}

/// W = S·T by its definition, element by element.
fn plain_synthesis(t: &LevelMatrix, s: &LevelMatrix) -> Vec<f32> {
    let (inner, cols) = (t.spec().rows, t.spec().cols);
    let value = |m: &LevelMatrix| -> Vec<f64> {
        let spec = m.spec();
        let levels = m.to_row_major();
        let at = |i: usize| m.scale().exponent(i / spec.cols, i % spec.cols);
        levels
            .iter()
            .enumerate()
            .map(|(i, &level)| f64::from(level) * step(at(i)))
            .collect()
    };
    let (t, s) = (value(t), value(s));
    let mut weights = Vec::with_capacity(s.len() / inner * cols);
    for row in s.chunks_exact(inner) {
        for j in 0..cols {
            let sum = row
                .iter()
                .enumerate()
                .fold(0.0, |sum, (l, &s)| sum + s * t[l * cols + j]);
            weights.push(sum as f32);
        }
    }
    weights
}

fn synthesis(criterion: &mut Criterion) {
    let (n, k) = (128, 64);
    let t = matrix(
        MatrixSpec {
            rows: k,
            cols: 1152,
            period: 9,
        },
        0.6,
    );
    let s = matrix(
        MatrixSpec {
            rows: n,
            cols: k,
            period: 1,
        },
        3.0,
    );
    let spec = MatrixSpec {
        rows: n,
        cols: 1152,
        period: 9,
    };
    let record = layer(
        spec,
        BlockCoding::Column {
            t: t.clone(),
            s: s.clone(),
        },
    );
    let fast = record.reconstruct().expect("weights are finite");
    assert!(
        fast.iter()
            .zip(plain_synthesis(&t, &s))
            .all(|(a, b)| a.to_bits() == b.to_bits())
    );
    let mut group = criterion.benchmark_group("synthesis");
    group.throughput(Throughput::Elements((n * 1152) as u64));
    group.bench_function("fast", |b| b.iter(|| record.reconstruct()));
    group.bench_function("plain", |b| {
        b.iter(|| plain_synthesis(black_box(&t), black_box(&s)))
    });
    group.finish();
}

criterion_group!(benches, levels, networks, synthesis);
criterion_main!(benches);
