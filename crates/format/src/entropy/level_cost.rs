//! What levels would cost: the encoder chooses among candidates by the model that writes them.

use super::level_model::{LevelContext, LevelModel};
use super::level_tables::UNARY;
use super::surroundings::{ColumnPath, RowView};
use super::tables::cost;
use super::{COST_ONE_BIT, Prob};
use crate::dependent::TrellisState;

/// What is known of a row before its level, whatever stands above it in the column: the same for all paths down the column.
#[derive(Debug, Clone, Copy)]
pub struct KnownRow {
    row: usize,
    view: RowView,
    /// That its level is negative.
    negative: Prob,
}

/// Costs of the candidates for one level, in 1/65536 bit, signs included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandidateCosts {
    /// Of level 0.
    pub zero: u32,
    /// Of the level one nearer to zero.
    pub lower: u32,
    /// Of the level.
    pub upper: u32,
}

impl LevelModel {
    /// Cost of a level in 1/65536 bit, its sign included; nothing is learnt. Escape codes and low bits are
    /// counted as whole bits.
    #[must_use]
    pub fn cost(&self, context: &LevelContext, level: i32) -> u32 {
        if level == 0 {
            self.zero_cost(context)
        } else {
            self.candidate_costs(context, level).upper
        }
    }

    fn zero_cost(&self, context: &LevelContext) -> u32 {
        cost(self.predict(context, 0), false)
    }

    /// Costs of 0, of the level one nearer to zero and of `level` (not 0) in one go.
    #[must_use]
    pub fn candidate_costs(&self, context: &LevelContext, level: i32) -> CandidateCosts {
        let sign = self.predict_sign(context.row, (context.class, context.log_slow));
        self.costs_by_sign(context, level, sign)
    }

    /// What all paths down the current column know of a row.
    ///
    /// # Panics
    /// If `row` is not below the number of rows.
    #[must_use]
    #[inline]
    pub fn known_row(&self, row: usize) -> KnownRow {
        let view = self.around.view(row);
        let negative = self.predict_sign(row, (view.class, view.log_slow));
        KnownRow {
            row,
            view,
            negative,
        }
    }

    /// As [`LevelModel::context_on`], for one of several paths to the same row.
    #[must_use]
    #[inline(always)]
    pub fn context_from(
        &self,
        row: &KnownRow,
        path: &ColumnPath,
        state: TrellisState,
    ) -> LevelContext {
        self.context_of((row.row, &row.view), path, state)
    }

    /// As [`LevelModel::candidate_costs`], for one of several paths to the same row.
    #[must_use]
    pub fn candidate_costs_from(
        &self,
        row: &KnownRow,
        context: &LevelContext,
        level: i32,
    ) -> CandidateCosts {
        self.costs_by_sign(context, level, row.negative)
    }

    #[inline(always)]
    fn costs_by_sign(&self, context: &LevelContext, level: i32, sign: Prob) -> CandidateCosts {
        let p = self.predict(context, 0);
        let negative = level < 0;
        let start = cost(p, true) + cost(sign, negative) + context.shift * COST_ONE_BIT;
        let signed = context.with_sign(negative);
        let rest = level.unsigned_abs().saturating_sub(1);
        let zero = cost(p, false);
        let [lower, upper] = self.unary_costs(&signed, [rest.saturating_sub(1), rest]);
        let lower = if rest == 0 { zero } else { start + lower };
        CandidateCosts {
            zero,
            lower,
            upper: start + upper,
        }
    }

    /// Costs of the unary parts of two magnitudes less one, the first not larger than the second.
    fn unary_costs(&self, context: &LevelContext, rests: [u32; 2]) -> [u32; 2] {
        let highs = rests.map(|rest| (rest >> context.shift) as usize);
        let (mut costs, mut prefix) = ([0; 2], 0);
        for index in 1..UNARY {
            let p = self.predict(context, index);
            for (total, &high) in costs.iter_mut().zip(&highs) {
                if high + 1 == index {
                    *total = prefix + cost(p, false);
                }
            }
            if highs[1] < index {
                return costs;
            }
            prefix += cost(p, true);
        }
        for (total, high) in costs.iter_mut().zip(highs) {
            if high + 1 >= UNARY {
                *total = prefix + (2 * (high + 2 - UNARY).ilog2() + 1) * COST_ONE_BIT;
            }
        }
        costs
    }
}
