//! Columns quantized once more, each with all others as they are: what was chosen first, counting on later columns to make up for its
//! errors, is chosen anew once it is known how far they do (coordinate descent; at low rates most of them are zero and do not).

use std::ops::Range;

use ndarray::{Array2, Axis, Zip, s};

use tqz_format::Counter;

use super::{BLOCK, Pass, fresh_model};
use crate::linalg::{Accumulate, Block, UnitUpper, multiply, product};

impl Pass<'_> {
    /// Quantizes every column anew. What a column's errors `z` do with all others fixed is `a_jj·‖g^½(z + q)‖²`, where `q` is what the
    /// others' errors, as A sees them, push into it, so that a column is chosen as the first time, by the diagonal of A
    /// instead of the conditional sensitivity.
    ///
    /// Only where A is of one group.
    pub(super) fn sweep(&mut self) {
        let [input] = self.problem.input else { return };
        // E·M: what is left of each column's errors after those before it.
        let mut left = &self.pushed + &self.z;
        self.begin_again();
        let mut carried = vec![0.0_f32; self.w.ncols()];
        for (block, range) in input.blocks.iter().zip(input.ranges()) {
            for begin in range.clone().step_by(BLOCK) {
                let end = (begin + BLOCK).min(range.end);
                self.sweep_columns(
                    (block, range.clone()),
                    begin..end,
                    (&mut left, &mut carried),
                );
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

    /// Columns of one block of A, at most [`BLOCK`] of them.
    fn sweep_columns(
        &mut self,
        (factor, range): (&UnitUpper, Range<usize>),
        columns: Range<usize>,
        (left, carried): (&mut Array2<f32>, &mut [f32]),
    ) {
        let rows = left.ncols();
        let (from, first) = (columns.start - range.start, columns.start);
        // Rows of M·D from the first of these columns on.
        let mut weighted = factor
            .m
            .slice(s![from..columns.end - range.start, from..])
            .to_owned();
        let sensitivities = factor.d[from..].iter();
        for (mut column, d) in weighted.axis_iter_mut(Axis(1)).zip(sensitivities) {
            column *= *d as f32;
        }
        let others = Block::part(left, first..range.end, 0..rows);
        let mut due = product(Block::whole(&weighted), others);
        let a = product(
            Block::whole(&weighted),
            Block::part(
                &factor.m,
                from..columns.end - range.start,
                from..range.len(),
            )
            .t(),
        );
        let before = self.z.slice(s![columns.clone(), ..]).to_owned();
        for (k, j) in columns.clone().enumerate() {
            let own = a[(k, k)];
            let pushed = self.pushed.row_mut(j);
            Zip::from(pushed)
                .and(due.row(k))
                .and(before.row(k))
                .for_each(|to, due, z| *to = due / own - z);
            self.curvature[0][j] = f64::from(own);
            self.column(j, carried);
            let change = &self.z.row(j) - &before.row(k);
            for next in k + 1..columns.len() {
                due.row_mut(next).scaled_add(a[(next, k)], &change);
            }
        }
        let change = &self.z.slice(s![columns.clone(), ..]) - &before;
        let factors = Block::part(
            &factor.m,
            from..columns.end - range.start,
            from..range.len(),
        );
        let (factors, change) = (factors.t(), Block::whole(&change));
        multiply(
            left,
            first..range.end,
            Accumulate::Add,
            (factors, change),
            1.0,
        );
    }

    /// Σ g·d·(NᵗEM)².
    fn distortion_of(&self, left: &Array2<f32>) -> f64 {
        let of_column = |(d, errors): (&f64, ndarray::ArrayView1<'_, f32>)| {
            let rows = self.problem.row_sensitivity.iter().zip(errors);
            d * rows.map(|(g, e)| g * f64::from(e * e)).sum::<f64>()
        };
        let columns = self.problem.col_sensitivity[0].iter();
        columns.zip(left.axis_iter(Axis(0))).map(of_column).sum()
    }
}
