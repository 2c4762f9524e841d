//! A layer's record as what a runtime may run instead of the dense layer: per block of output rows a chain of small layers,
//! without the rows of T and columns of S that vanish, and what each costs (theory §4, Eq. 14).

use tqz_format::{Block, BlockCoding, LayerRecord, MatrixShape};

use super::factor::Factor;

/// Share of the dense layer's multiply–accumulates that a chain must stay below: one more layer is not free.
const WORTHWHILE: f64 = 0.95;

/// One small layer of a chain.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// A product at every position.
    Pointwise(Factor),
    /// The layer's own operator, with its kernel and strides.
    Spatial(Factor),
}

/// A range of output rows and how they are computed; no stages: as the dense layer.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) stages: Vec<Stage>,
}

/// Number of positions at which a layer's parts are computed, for one position of its smaller side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positions {
    /// At the input.
    pub(crate) inputs: f64,
    /// At which the spatial operator multiplies.
    pub(crate) kernels: f64,
    /// At the output.
    pub(crate) outputs: f64,
}

impl Positions {
    /// Of a layer without strides.
    pub(crate) const EQUAL: Self = Self {
        inputs: 1.0,
        kernels: 1.0,
        outputs: 1.0,
    };
}

/// Joins two factors along `after`'s inputs, which are `before`'s rows: components that do nothing leave, and `after`'s column
/// steps, as far as they are one for each component, become `before`'s row steps: components then have about equal size.
fn join(before: &mut Factor, after: &mut Factor) {
    let mut kept: Vec<usize> = (0..before.rows)
        .filter(|&l| !before.row_is_zero(l) && !after.input_is_zero(l))
        .collect();
    if kept.is_empty() && before.rows > 0 {
        // A layer of zeros: one component stays, so that it has a shape.
        kept.push(0);
    }
    before.keep_rows(&kept);
    after.keep_inputs(&kept);
    if after.period == 1 {
        for (row, col) in before.row_steps.iter_mut().zip(&mut after.col_steps) {
            *row *= std::mem::replace(col, 1.0);
        }
    }
}

/// Whether a transform has more components than there are rows, channels or positions of which they could be. Legal, but nothing is saved by it,
/// and rows without levels cost next to nothing in a file, but memory where they are laid out.
pub(crate) fn is_overcomplete(block: &Block) -> bool {
    match &block.coding {
        BlockCoding::Identity { .. } | BlockCoding::Both { .. } => false,
        BlockCoding::Column { t, .. } => t.spec().rows > block.rows,
        BlockCoding::Row { s, .. } | BlockCoding::Kernel { s, .. } => s.spec().rows > s.spec().cols,
    }
}

/// The chain of a block; none for one that has no transform of channels, no component at all, or more than can save anything.
fn stages(block: &Block) -> Option<Vec<Stage>> {
    if is_overcomplete(block) {
        return None;
    }
    let stages = match &block.coding {
        BlockCoding::Identity { .. } | BlockCoding::Kernel { .. } => return None,
        BlockCoding::Column { t, s } => {
            let (mut t, mut s) = (Factor::new(t), Factor::new(s));
            if t.rows == 0 {
                // A layer of zeros: one component without levels, so that it has a shape.
                t.with_empty_row();
                s.with_empty_input();
            }
            join(&mut t, &mut s);
            vec![Stage::Spatial(t), Stage::Pointwise(s)]
        }
        BlockCoding::Row { t, s } => {
            let (mut t, mut s) = (Factor::new(t), Factor::new(s));
            if s.rows == 0 {
                s.with_empty_row();
                t.with_empty_input();
            }
            join(&mut s, &mut t);
            vec![Stage::Pointwise(s), Stage::Spatial(t)]
        }
        BlockCoding::Both { t, s, v } => {
            let (mut t, mut s, mut v) = (Factor::new(t), Factor::new(s), Factor::new(v));
            join(&mut t, &mut s);
            join(&mut v, &mut t);
            vec![Stage::Pointwise(v), Stage::Spatial(t), Stage::Pointwise(s)]
        }
    };
    let empty = |stage: &Stage| {
        let (Stage::Pointwise(f) | Stage::Spatial(f)) = stage;
        f.rows == 0 || f.cols == 0
    };
    (!stages.iter().any(empty)).then_some(stages)
}

/// Multiply–accumulates of a chain.
pub(crate) fn cost(stages: &[Stage], positions: Positions) -> f64 {
    let mut spatial_done = false;
    let mut sum = 0.0;
    for stage in stages {
        sum += match stage {
            Stage::Pointwise(f) if spatial_done => (f.rows * f.cols) as f64 * positions.outputs,
            Stage::Pointwise(f) => (f.rows * f.cols) as f64 * positions.inputs,
            Stage::Spatial(f) => {
                spatial_done = true;
                (f.rows * f.cols) as f64 * positions.kernels
            }
        };
    }
    sum
}

/// How a layer is computed best, block by block: a chain where it saves multiply–accumulates, else as the dense layer. `groups` are
/// the operator's: a block mixes rows of all its groups, which no chain can, so that a grouped layer stays dense.
///
/// # Errors
/// A record whose shape is out of range.
pub(crate) fn branches(
    record: &LayerRecord,
    shape: MatrixShape,
    (groups, positions): (usize, Positions),
) -> Vec<Branch> {
    let mut branches: Vec<Branch> = Vec::new();
    let mut first_row = 0;
    for block in &record.blocks {
        let dense = (block.rows * shape.cols) as f64 * positions.kernels;
        let chain = (groups == 1).then(|| stages(block)).flatten();
        let stages = chain
            .filter(|stages| cost(stages, positions) < WORTHWHILE * dense)
            .unwrap_or_default();
        match branches.last_mut() {
            Some(last) if last.stages.is_empty() && stages.is_empty() => last.rows += block.rows,
            _ => branches.push(Branch {
                first_row,
                rows: block.rows,
                stages,
            }),
        }
        first_row += block.rows;
    }
    branches
}

/// Multiply–accumulates of the branches and of the dense layer, in the same unit.
pub(crate) fn costs(branches: &[Branch], shape: MatrixShape, positions: Positions) -> (f64, f64) {
    let dense = |rows: usize| (rows * shape.cols) as f64 * positions.kernels;
    let of = |branch: &Branch| match &branch.stages[..] {
        [] => dense(branch.rows),
        stages => cost(stages, positions),
    };
    (branches.iter().map(of).sum(), dense(shape.rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz_format::{Layout, LevelMatrix, MatrixSpec, ScaleVector, StepScale};

    fn matrix(rows: usize, cols: usize, period: usize, scaled: bool) -> LevelMatrix {
        let levels: Vec<i32> = (0..rows * cols).map(|i| (i as i32 * 7 % 5) - 2).collect();
        let exponents: Vec<i32> = (0..cols as i32).map(|c| c * 3 - 4).collect();
        let scale = StepScale {
            base: -64,
            rows: None,
            cols: scaled.then(|| ScaleVector::rounded(0, &exponents)),
        };
        let spec = MatrixSpec { rows, cols, period };
        LevelMatrix::from_row_major(spec, scale, &levels).expect("legal")
    }

    fn record(coding: BlockCoding, dims: Vec<usize>) -> LayerRecord {
        LayerRecord {
            site: 0,
            blocks: vec![Block {
                rows: dims[0],
                coding,
            }],
            dims,
            layout: Layout::RowsFirst,
        }
    }

    /// W of a chain of at most three stages, element by element.
    fn multiplied(stages: &[Stage], shape: MatrixShape) -> Vec<f64> {
        let kk = shape.period;
        let mut channels: Vec<Vec<f64>> = Vec::new();
        let inputs = shape.cols / kk;
        for i in 0..inputs {
            channels.push(
                (0..inputs * kk)
                    .map(|j| f64::from(u8::from(j == i * kk)))
                    .collect(),
            );
        }
        // Each channel as its response to every (input, position), positions shifted in by the spatial stage.
        for stage in stages {
            let (Stage::Pointwise(f) | Stage::Spatial(f)) = stage;
            let mut next = vec![vec![0.0; inputs * kk]; f.rows];
            for (r, row) in next.iter_mut().enumerate() {
                for c in 0..f.cols {
                    let (channel, position) = (c / f.period, c % f.period);
                    for (j, &v) in channels[channel].iter().enumerate() {
                        if v != 0.0 {
                            row[j + position] += f.value(r, c) * v;
                        }
                    }
                }
            }
            channels = next;
        }
        channels.concat()
    }

    #[test]
    fn chains_multiply_to_the_decoded_weights() {
        let dims = vec![6, 4, 2, 2];
        let shape = MatrixShape {
            rows: 6,
            cols: 16,
            period: 4,
        };
        let codings = [
            BlockCoding::Column {
                t: matrix(2, 16, 4, false),
                s: matrix(6, 2, 1, true),
            },
            BlockCoding::Row {
                t: matrix(6, 8, 4, true),
                s: matrix(2, 4, 1, true),
            },
            BlockCoding::Both {
                t: matrix(3, 8, 4, true),
                s: matrix(6, 3, 1, true),
                v: matrix(2, 4, 1, false),
            },
        ];
        for coding in codings {
            let record = record(coding, dims.clone());
            let wanted = record.reconstruct().expect("decodes");
            let stages = stages(&record.blocks[0]).expect("a chain");
            let found = multiplied(&stages, shape);
            for (w, f) in wanted.iter().zip(&found) {
                assert!(
                    (f64::from(*w) - f).abs() < 1e-5 * f.abs().max(1.0),
                    "{w} {f}"
                );
            }
        }
    }

    #[test]
    fn a_chain_is_taken_only_where_it_is_cheaper() {
        let shape = MatrixShape {
            rows: 6,
            cols: 16,
            period: 4,
        };
        let with = |k: usize| {
            let coding = BlockCoding::Column {
                t: matrix(k, 16, 4, false),
                s: matrix(6, k, 1, false),
            };
            let record = record(coding, vec![6, 4, 2, 2]);
            branches(&record, shape, (1, Positions::EQUAL))
        };
        // 2·16 + 6·2 = 44 of 96; 6·16 + 6·6 = 132.
        assert_eq!(costs(&with(2), shape, Positions::EQUAL), (44.0, 96.0));
        assert!(with(6)[0].stages.is_empty());
    }

    /// A layer whose rows all left is a chain of one component, not a dense layer of zeros.
    #[test]
    fn a_layer_without_levels_keeps_one_component_of_zeros() {
        let column = BlockCoding::Column {
            t: matrix(0, 18, 9, false),
            s: matrix(6, 0, 1, false),
        };
        let row = BlockCoding::Row {
            t: matrix(6, 0, 9, false),
            s: matrix(0, 2, 1, false),
        };
        for coding in [column, row] {
            let stages = stages(&Block { rows: 6, coding }).expect("a chain");
            for stage in &stages {
                let (Stage::Pointwise(f) | Stage::Spatial(f)) = stage;
                assert!(f.rows > 0 && f.cols > 0 && f.levels.iter().all(|&l| l == 0));
                assert_eq!((f.row_steps.len(), f.col_steps.len()), (f.rows, f.cols));
            }
            assert!(cost(&stages, Positions::EQUAL) <= 24.0 + 60.0);
        }
    }

    #[test]
    fn more_components_than_can_save_anything_make_no_chain() {
        for (more, stages_of) in [(0, 2), (1, 0)] {
            let column = BlockCoding::Column {
                t: matrix(6 + more, 36, 9, false),
                s: matrix(6, 6 + more, 1, false),
            };
            let row = BlockCoding::Row {
                t: matrix(6, (4 + more) * 9, 9, false),
                s: matrix(4 + more, 4, 1, false),
            };
            for coding in [column, row] {
                let record = record(coding, vec![6, 4, 3, 3]);
                let found = stages(&record.blocks[0]).map_or(0, |stages| stages.len());
                assert_eq!(found, stages_of);
            }
        }
    }
}
