//! The best path through the trellis of dependent quantization down one column (Viterbi): every state keeps its cheapest path, with
//! the errors that path carries down the rows and what the level model knows on it.

use std::ops::Range;

use tqz_format::entropy::COST_ONE_BIT;
use tqz_format::limits::MAX_LEVEL;
use tqz_format::{ColumnPath, KnownRow, LevelContext, LevelModel, TrellisState};

use crate::quantize::feedback::Entry;

const STATES: usize = TrellisState::COUNT;
/// Paths that cost so much more than the cheapest one end: within three levels that one is in any state, for less. In units of c², where a
/// level's squared error is a quarter (in coordinate descent it is more, and so is this); without it the loss at equal size is the same
/// within .002 bit a weight (ResNet-18 and -20, DnCNN), in twice the time.
const HOPELESS: f64 = 1.0;
/// Squared error of a level in units of c² where steps follow the sensitivities: levels count half the steps of the two quantizers.
const USUAL_WEIGHT: f64 = 0.25;

/// How a path came into a state.
#[derive(Debug, Clone, Copy, Default)]
struct Branch {
    from: u8,
    index: i32,
}

/// The cheapest path into one state.
#[derive(Debug, Clone, Copy)]
struct Survivor {
    cost: f64,
    path: ColumnPath,
    /// Of the level chosen last: error, and the state it came from.
    error: f32,
    from: usize,
}

/// All states at one row.
pub(super) struct Trellis {
    survivors: [Option<Survivor>; STATES],
    /// By state: what its errors so far push into each row.
    carried: [Vec<f32>; STATES],
    /// The same, being made for the next row.
    next: [Vec<f32>; STATES],
    /// By row and state; none where the row has no level.
    branches: Vec<Option<[Branch; STATES]>>,
}

impl Trellis {
    pub(super) fn new(rows: usize) -> Self {
        let zeros = || std::array::from_fn(|_| vec![0.0; rows]);
        Self {
            survivors: [None; STATES],
            carried: zeros(),
            next: zeros(),
            branches: Vec::with_capacity(rows),
        }
    }

    /// Begins a column.
    pub(super) fn begin(&mut self, path: ColumnPath) {
        self.survivors = [None; STATES];
        self.survivors[TrellisState::default().number()] = Some(Survivor {
            cost: 0.0,
            path,
            error: 0.0,
            from: 0,
        });
        self.branches.clear();
    }

    /// Begins a group of rows, into which no earlier error goes.
    pub(super) fn begin_group(&mut self, rows: Range<usize>) {
        let carried = self.carried.iter_mut();
        carried.for_each(|c| c[rows.clone()].fill(0.0));
    }

    /// Goes on by one row; rows without a place have no level; a bit costs `price` in units of c².
    #[inline(always)]
    pub(super) fn step(
        &mut self,
        row: usize,
        entry: &Entry,
        (model, place): (&LevelModel, Option<usize>),
        price: f64,
    ) {
        let Some(place) = place else {
            self.step_without_level(row, entry);
            return;
        };
        let per_unit = price / f64::from(COST_ONE_BIT);
        let known = model.known_row(place);
        let mut best: [Option<Survivor>; STATES] = [None; STATES];
        let mut branches = [Branch::default(); STATES];
        let costs = self.survivors.iter().flatten().map(|s| s.cost);
        let worth =
            costs.fold(f64::INFINITY, f64::min) + HOPELESS * (entry.weight / USUAL_WEIGHT).max(1.0);
        for (number, survivor) in self.survivors.iter().enumerate() {
            let Some(survivor) = survivor.filter(|s| s.cost <= worth) else {
                continue;
            };
            let state = TrellisState::numbered(number);
            let due = f64::from(entry.pushed + self.carried[number][row]);
            let target = (entry.w - due) / entry.step;
            let context = model.context_from(&known, &survivor.path, state);
            for (index, bits) in candidates(state, target, (model, &known, &context)) {
                let level = f64::from(state.level(index));
                let miss = level - target;
                let cost = survivor.cost + miss * miss * entry.weight + per_unit * f64::from(bits);
                let to = state.after(index).number();
                if best[to].is_none_or(|b| cost < b.cost) {
                    best[to] = Some(Survivor {
                        cost,
                        path: survivor.path,
                        error: (level * entry.step - entry.w) as f32,
                        from: number,
                    });
                    let from = number as u8;
                    branches[to] = Branch { from, index };
                }
            }
        }
        for (survivor, branch) in best.iter_mut().zip(&branches) {
            if let Some(survivor) = survivor {
                survivor.path = survivor.path.after(branch.index);
            }
        }
        self.survivors = best;
        self.branches.push(Some(branches));
    }

    fn step_without_level(&mut self, row: usize, entry: &Entry) {
        for (number, survivor) in self.survivors.iter_mut().enumerate() {
            let Some(survivor) = survivor else { continue };
            let due = f64::from(entry.pushed + self.carried[number][row]);
            let miss = (due - entry.w) / entry.step;
            survivor.cost += miss * miss * entry.weight;
            survivor.error = -entry.w as f32;
            survivor.from = number;
        }
        self.branches.push(None);
    }

    /// Pushes the errors of row `row` into the rows after it up to `end`.
    #[inline(always)]
    pub(super) fn push(&mut self, row: usize, factors: &[f32], end: usize) {
        for (number, survivor) in self.survivors.iter().enumerate() {
            let Some(survivor) = survivor else { continue };
            let from = &self.carried[survivor.from][row + 1..end];
            let to = &mut self.next[number][row + 1..end];
            for ((to, from), factor) in to.iter_mut().zip(from).zip(factors) {
                *to = from + factor * survivor.error;
            }
        }
        std::mem::swap(&mut self.carried, &mut self.next);
    }

    /// The levels of the cheapest path; 0 in rows that have none.
    pub(super) fn best(&self) -> Vec<i32> {
        let cost = |number: &usize| self.survivors[*number].map_or(f64::INFINITY, |s| s.cost);
        let mut at = (0..STATES)
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .unwrap_or(0);
        let mut levels = vec![0; self.branches.len()];
        for (level, branches) in levels.iter_mut().zip(&self.branches).rev() {
            if let Some(branches) = branches {
                let branch = branches[at];
                at = branch.from.into();
                *level = TrellisState::numbered(at).level(branch.index);
            }
        }
        levels
    }
}

/// Indices worth trying for a target in levels, with their costs: the two nearest, one of each parity, and 0.
fn candidates(
    state: TrellisState,
    target: f64,
    (model, row, context): (&LevelModel, &KnownRow, &LevelContext),
) -> impl Iterator<Item = (i32, u32)> {
    let odd = f64::from(u8::from(state.is_odd()));
    // Toward zero is down; `floor` is a call where processors are not asked for more than all have.
    let below = (((target.abs() + odd) / 2.0) as i32).min(MAX_LEVEL / 2 - 1);
    let sign = if target < 0.0 { -1 } else { 1 };
    let bits = model.candidate_costs_from(row, context, sign * (below + 1));
    let all = [
        (sign * (below + 1), bits.upper),
        (sign * below, bits.lower),
        (0, bits.zero),
    ];
    all.into_iter().take(if below == 0 { 2 } else { 3 })
}
