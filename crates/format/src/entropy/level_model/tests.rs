//! Levels come back, costs are what coding counts, and what is foreseeable is cheap.

use super::plain::PlainModel;
use super::*;
use crate::entropy::{Counter, Decoder, Encoder};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Codes levels (columns outer) and returns what comes back.
fn run<IO: BitIo>(io: &mut IO, spec: &MatrixSpec, levels: &[i32]) -> Vec<i32> {
    let mut model = LevelModel::new(spec);
    let mut coded = Vec::new();
    for j in 0..spec.cols {
        model.begin_column(j);
        for r in 0..spec.rows {
            let level = levels.get(j * spec.rows + r).copied().unwrap_or(0);
            let context = model.context(r);
            coded.push(model.code(io, &context, level));
        }
    }
    coded
}

/// The same for indices of dependent quantization.
fn run_dependent<IO: BitIo>(io: &mut IO, spec: &MatrixSpec, indices: &[i32]) -> Vec<i32> {
    let mut model = LevelModel::new(spec);
    model.make_dependent();
    let mut coded = Vec::new();
    for j in 0..spec.cols {
        model.begin_column(j);
        let mut state = TrellisState::default();
        for r in 0..spec.rows {
            let index = indices.get(j * spec.rows + r).copied().unwrap_or(0);
            let context = model.context_on(&model.path(), r, state);
            let index = model.code(io, &context, index);
            state = state.after(index);
            coded.push(index);
        }
    }
    coded
}

proptest! {
    #![proptest_config(crate::seeded(256))]

    #[test]
    fn levels_of_any_size_come_back(
        rows in 1usize..5,
        period in 1usize..10,
        levels in prop::collection::vec((-(1i32 << 30)..1 << 30, 0u32..31), 90..200),
    ) {
        let levels: Vec<i32> = levels.iter().map(|&(level, shift)| level >> shift).collect();
        let spec = MatrixSpec { rows, cols: levels.len() / rows, period };
        let levels = &levels[..rows * spec.cols];
        let mut encoder = Encoder::new();
        run(&mut encoder, &spec, levels);
        let bytes = encoder.finish();
        prop_assert_eq!(run(&mut Decoder::new(&bytes), &spec, &[]), levels);
    }

    #[test]
    fn the_plain_twin_writes_and_reads_the_same_bits(
        rows in prop::sample::select(vec![1usize, 2, 3, 7, 65, 130]),
        period in prop::sample::select(vec![1usize, 2, 3, 4, 5, 9, 25]),
        levels in prop::collection::vec(
            prop_oneof![
                8 => Just(0),
                6 => -2i32..=2,
                3 => -40i32..=40,
                1 => prop_oneof![-3000i32..3000, -(1i32 << 20)..1 << 20],
            ],
            400..1500,
        ),
        loudness in 0u32..3,
    ) {
        let spec = MatrixSpec { rows, cols: levels.len() / rows, period };
        let levels: Vec<i32> = levels[..rows * spec.cols].iter().map(|l| l >> (4 * loudness)).collect();
        let (mut fast, mut plain) = (Encoder::new(), Encoder::new());
        run(&mut fast, &spec, &levels);
        PlainModel::new(&spec, false).code(&mut plain, &levels);
        let bytes = fast.finish();
        prop_assert_eq!(&bytes, &plain.finish());
        let read = PlainModel::new(&spec, false).code(&mut Decoder::new(&bytes), &[]);
        prop_assert_eq!(&read, &levels);
        let (mut fast, mut plain) = (Encoder::new(), Encoder::new());
        run_dependent(&mut fast, &spec, &levels);
        PlainModel::new(&spec, true).code(&mut plain, &levels);
        let dependent = fast.finish();
        prop_assert_eq!(&dependent, &plain.finish());
        prop_assert_eq!(&run_dependent(&mut Decoder::new(&dependent), &spec, &[]), &levels);
        let (mut model, mut decoder) = (LevelModel::new(&spec), Decoder::new(&bytes));
        let mut columns = vec![0; levels.len()];
        for (j, column) in columns.chunks_exact_mut(rows).enumerate() {
            model.begin_column(j);
            model.decode_column(&mut decoder, column);
        }
        prop_assert_eq!(&columns, &levels);
    }

    #[test]
    fn costs_are_what_coding_counts(
        period in prop::sample::select(vec![1usize, 4, 9]),
        levels in prop::collection::vec(-9i32..=9, 60..200),
        level in -30i32..=30,
    ) {
        let spec = MatrixSpec { rows: 3, cols: levels.len() / 3 + 1, period };
        let mut model = LevelModel::new(&spec);
        for (j, column) in levels.chunks_exact(3).enumerate() {
            model.begin_column(j);
            for (r, &level) in column.iter().enumerate() {
                let context = model.context(r);
                model.code(&mut Counter::new(), &context, level);
            }
        }
        model.begin_column(levels.len() / 3);
        let context = model.context(0);
        let count = |level: i32| {
            let mut counter = Counter::new();
            model.clone().code(&mut counter, &context, level);
            counter.cost()
        };
        // Escapes and low bits are only estimated: they cannot occur below 9 levels here.
        if level.abs() < 15 && context.shift == 0 {
            prop_assert_eq!(u64::from(model.cost(&context, level)), count(level));
        }
        if level != 0 {
            let costs = model.candidate_costs(&context, level);
            prop_assert_eq!(costs.zero, model.cost(&context, 0));
            prop_assert_eq!(costs.lower, model.cost(&context, level - level.signum()));
            prop_assert_eq!(costs.upper, model.cost(&context, level));
            let row = model.known_row(0);
            let again = model.context_from(&row, &model.path(), TrellisState::default());
            prop_assert_eq!(again, context);
            prop_assert_eq!(model.candidate_costs_from(&row, &again, level), costs);
        }
    }
}

/// On paths that were not taken, too, and in both quantizers.
#[test]
fn what_is_known_of_a_row_is_the_same_for_all_paths() {
    for period in [1, 9] {
        let spec = MatrixSpec {
            rows: 3,
            cols: 40,
            period,
        };
        let mut model = LevelModel::new(&spec);
        model.make_dependent();
        let (mut seen, mut costs) = (BTreeSet::new(), BTreeSet::new());
        for j in 0..spec.cols {
            model.begin_column(j);
            for r in 0..spec.rows {
                let row = model.known_row(r);
                for (state, above) in [0, 1, 2, 7].into_iter().zip([0, 3, -1, 5]) {
                    let path = model.path().after(above);
                    let state = TrellisState::numbered(state);
                    let context = model.context_on(&path, r, state);
                    assert_eq!(model.context_from(&row, &path, state), context);
                    let level = 1 - 2 * (j as i32 % 2);
                    let wanted = model.candidate_costs(&context, level);
                    let found = model.candidate_costs_from(&row, &context, level);
                    assert_eq!(found, wanted);
                    seen.insert(format!("{context:?}"));
                    costs.insert((found.zero, found.upper));
                }
                let context = model.context(r);
                let level = (j * 7 + r * 5) as i32 % 4 - 1;
                model.code(&mut Counter::new(), &context, level);
            }
        }
        assert!(seen.len() > 100 && costs.len() > 100, "paths differ");
    }
}

#[test]
fn long_runs_of_zeros_cost_almost_nothing() {
    let spec = MatrixSpec {
        rows: 100,
        cols: 10_000,
        period: 1,
    };
    let mut counter = Counter::new();
    run(&mut counter, &spec, &[]);
    assert!(
        counter.bits_f64() < 0.0005 * 1e6 + 300.0,
        "{}",
        counter.bits_f64()
    );
}

#[test]
fn alike_neighbours_inside_a_kernel_make_signs_cheap() {
    let spec = MatrixSpec {
        rows: 8,
        cols: 900,
        period: 9,
    };
    // One sign for each kernel, magnitudes 1.
    let sign = |kernel: usize| {
        if kernel.wrapping_mul(2_654_435_761) >> 16 & 1 == 1 {
            1
        } else {
            -1
        }
    };
    let levels: Vec<i32> = (0..7200).map(|i| sign(i / 72 * 8 + i % 8)).collect();
    let mut counter = Counter::new();
    run(&mut counter, &spec, &levels);
    assert!(counter.bits_f64() < 0.25 * 7200.0, "{}", counter.bits_f64());
}
