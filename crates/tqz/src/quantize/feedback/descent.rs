//! Coordinate descent: columns quantized anew, each with all others as they are. What was chosen first, counting on later columns to make up
//! for its errors, is chosen again once it is known how far they do.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, Axis, Zip, s};
use tqz_format::Counter;

use super::{BLOCK, Pass, fresh_model};
use crate::linalg::{Accumulate, Block, UnitUpper, multiply, product};

impl Pass<'_> {
    /// Quantizes every column anew. What a column's errors `z` do with all others fixed is `a_jj·‖g^½(z + q)‖²`, where `q` is what the
    /// others' errors, as A sees them, push into it, so that a column is chosen as the first time, by the diagonal of A
    /// instead of the conditional sensitivity.
    ///
    /// Only where A is of one group.
    pub(super) fn descend(&mut self) {
        let [input] = self.problem.input else { return };
        // (NᵗEM)ᵗ: what is left of each column's errors after those before it.
        let mut left = &self.pushed + &self.z;
        self.begin_again();
        let mut carried = vec![0.0_f32; self.w.ncols()];
        for (block, range) in input.blocks.iter().zip(input.ranges()) {
            for begin in range.clone().step_by(BLOCK) {
                let columns = begin..(begin + BLOCK).min(range.end);
                let change = self.descend_columns((block, &range), &columns, (&left, &mut carried));
                let local = begin - range.start..columns.end - range.start;
                let factors = Block::part(&block.m, local, begin - range.start..range.len()).t();
                let change = Block::whole(&change);
                let rows = begin..range.end;
                multiply(&mut left, rows, Accumulate::Add, (factors, change), 1.0);
            }
        }
        self.distortion = self.distortion_of(&left);
        self.pushed = left - &self.z;
    }

    /// Forgets what was coded, not what it errs by.
    fn begin_again(&mut self) {
        self.levels.clear();
        self.model = fresh_model(self.problem, self.kept.len());
        self.counter = Counter::new();
    }

    /// Columns of one block of A, at most [`BLOCK`] of them; returns by how much their errors `z` change, columns × rows.
    fn descend_columns(
        &mut self,
        (factor, range): (&UnitUpper, &Range<usize>),
        columns: &Range<usize>,
        (left, carried): (&Array2<f32>, &mut [f32]),
    ) -> Array2<f32> {
        let local = columns.start - range.start..columns.end - range.start;
        let (weighted, scale) = weighted(factor, &local);
        let others = Block::part(left, columns.start..range.end, 0..left.ncols());
        let mut due = product(Block::whole(&weighted), others);
        let factors = Block::part(&factor.m, local.clone(), local.start..range.len());
        let a = product(Block::whole(&weighted), factors.t());
        let before = self.z.slice(s![columns.clone(), ..]).to_owned();
        for (k, j) in columns.clone().enumerate() {
            let own = a[(k, k)];
            let pushed = self.pushed.row_mut(j);
            let (due_here, z) = (due.row(k), before.row(k));
            Zip::from(pushed)
                .and(due_here)
                .and(z)
                .for_each(|to, due, z| *to = due / own - z);
            self.curvature[0][j] = f64::from(own) * scale;
            self.column(j, carried);
            let change = &self.z.row(j) - &before.row(k);
            for next in k + 1..columns.len() {
                due.row_mut(next).scaled_add(a[(next, k)], &change);
            }
        }
        &self.z.slice(s![columns.clone(), ..]) - &before
    }

    /// Σ g·d·(NᵗEM)².
    fn distortion_of(&self, left: &Array2<f32>) -> f64 {
        let of_column = |(d, errors): (&f64, ArrayView1<'_, f32>)| {
            let rows = self.problem.row_sensitivity.iter().zip(errors);
            d * rows.map(|(g, e)| g * f64::from(*e).powi(2)).sum::<f64>()
        };
        let columns = self.problem.col_sensitivity[0].iter();
        columns.zip(left.axis_iter(Axis(0))).map(of_column).sum()
    }
}

/// These rows of M·D, from their first column on, and what they were divided by, so that single precision has room.
fn weighted(factor: &UnitUpper, local: &Range<usize>) -> (Array2<f32>, f64) {
    let d = &factor.d[local.start..];
    let scale = d.iter().sum::<f64>() / d.len().max(1) as f64;
    let rows = factor.m.slice(s![local.clone(), local.start..]);
    let mut rows = rows.to_owned();
    for (mut column, d) in rows.axis_iter_mut(Axis(1)).zip(d) {
        column *= (d / scale) as f32;
    }
    (rows, scale)
}
