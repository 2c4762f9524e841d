//! Million weights a second: coding levels at four rates, and putting layers together beside the plain
//! definition. Compare within one run: absolute numbers depend on the machine and its load.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tqz_format::dequantize::step;
use tqz_format::{
    Block, BlockCoding, Counter, DecodeLimits, LayerRecord, Layout, LevelMatrix, LevelModel,
    MatrixSpec, StepScale,
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

criterion_group!(benches, levels, synthesis);
criterion_main!(benches);
