//! What lies around a level: the magnitudes and signs coded before it, running means, and a linear
//! prediction inside the kernel. Everything that does not depend on the column being coded is prepared for
//! all rows when the column begins.

use super::MatrixSpec;

/// Neighbours inside the kernel that predict a level: left, above, above left, above right, two to the left,
/// two above.
pub(crate) const TAPS: usize = 6;
/// Largest class of a predicted level.
pub(crate) const MAX_CLASS: i32 = 9;
/// Levels are clipped to this magnitude where only their size class matters.
const CLIP: i32 = 2047;
/// First weights of the prediction, 1 = 4096.
const FIRST_WEIGHTS: [i16; TAPS] = [1600, 1600, -500, 500, 0, 0];
/// Added to every row's energy, so that few and small levels move the prediction less.
const REGULAR: i64 = 4;
/// Weights stay within ±4.
const WEIGHT_LIMIT: i64 = 4 << 12;
/// A column of this many rows or more moves the prediction half the way to its own best one.
const SAMPLE_ROWS: usize = 64;
/// Means start at half a level, in 1/65536.
const FIRST_MEAN: u32 = 1 << 15;
/// log8 of 1 in 1/65536.
pub(crate) const LOG_ONE: i32 = 16 << 3;

/// Logarithm of `x` in 1/8 octave, linear inside an octave; that of 8 for smaller `x`.
#[inline]
pub(crate) fn log8(x: u32) -> i32 {
    let x = x | 8;
    let octave = x.ilog2();
    (octave << 3 | (x >> (octave - 3)) & 7) as i32
}

/// Inverse of [`log8`], 0 for logarithms below 0.
#[inline]
pub(crate) fn exp8(log: i32) -> u32 {
    let log = log.clamp(0, 31 << 3);
    (u64::from(8 | (log as u32) & 7) << (log >> 3) >> 3) as u32
}

/// What is known of a row when its column begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowView {
    /// Weighted magnitudes: twice the last level, the one before, twice this kernel position one channel back.
    pub(crate) near: u32,
    /// Plain sum of the same (matrices without kernels: the last level only).
    pub(crate) sum: u32,
    /// [`log8`] of the row's slow mean.
    pub(crate) log_slow: i32,
    /// [`log8`] of the row's fast mean.
    pub(crate) log_fast: i32,
    /// Predicted level in 1/16.
    predicted: i32,
    /// Size class of the predicted level with its sign.
    pub(crate) class: i32,
    /// Neighbours inside the kernel, 0 outside.
    pub(crate) taps: [i16; TAPS],
}

/// Levels coded so far and what they say.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    rows: usize,
    period: usize,
    /// Kernel positions in one kernel row.
    width: usize,
    /// The last `depth` columns, a ring.
    history: Vec<i16>,
    depth: usize,
    /// Start of the current column in the ring.
    current: usize,
    column: usize,
    position: usize,
    views: Vec<RowView>,
    row_slow: Vec<u32>,
    row_fast: Vec<u32>,
    position_mean: Vec<u32>,
    prediction: Vec<[i16; TAPS]>,
    column_slow: u32,
    column_fast: u32,
    global_mean: u32,
    log_global: i32,
    /// Magnitudes of the levels one and two rows above in this column.
    pub(crate) above: [u32; 2],
}

#[inline]
fn follow(mean: &mut u32, magnitude: u32, shift: u32) {
    let difference = (magnitude << 16) as i32 - *mean as i32;
    *mean = (*mean as i32 + (difference >> shift)) as u32;
}

/// Signed size class of a predicted level in 1/16: two classes an octave from 1/8 level on.
#[inline]
fn class_of(predicted: i32) -> i32 {
    let class = ((log8(predicted.unsigned_abs() << 3) - 38) >> 2).clamp(0, MAX_CLASS);
    if predicted < 0 { -class } else { class }
}

impl Surroundings {
    pub(crate) fn new(spec: &MatrixSpec) -> Self {
        let period = spec.period.max(1);
        let root = period.isqrt();
        let width = if root * root == period { root } else { period };
        let depth = period.max(3) + 1;
        Self {
            rows: spec.rows,
            period,
            width,
            history: vec![0; depth * spec.rows],
            depth,
            current: 0,
            column: 0,
            position: 0,
            views: vec![RowView::default(); spec.rows],
            row_slow: vec![FIRST_MEAN; spec.rows],
            row_fast: vec![FIRST_MEAN; spec.rows],
            position_mean: vec![FIRST_MEAN; period],
            prediction: vec![FIRST_WEIGHTS; period],
            column_slow: FIRST_MEAN,
            column_fast: FIRST_MEAN,
            global_mean: FIRST_MEAN,
            log_global: 0,
            above: [0; 2],
        }
    }

    /// True if the matrix has kernels, so that signs are predictable.
    #[inline]
    pub(crate) fn has_kernels(&self) -> bool {
        self.period > 1
    }

    /// Place of the column inside the kernel.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    #[inline]
    pub(crate) fn view(&self, row: usize) -> &RowView {
        &self.views[row]
    }

    fn lagged(&self, lag: usize) -> &[i16] {
        let start = (self.column + self.depth - lag) % self.depth * self.rows;
        &self.history[start..start + self.rows]
    }

    /// Prepares column `column`, the one after the last.
    pub(crate) fn begin_column(&mut self, column: usize) {
        if column > 0 && self.has_kernels() {
            self.adapt_prediction();
        }
        self.column = column;
        self.position = column % self.period;
        self.current = column % self.depth * self.rows;
        self.above = [0; 2];
        self.column_fast = self.column_slow;
        self.log_global = log8(self.global_mean);
        let mut views = std::mem::take(&mut self.views);
        let lag = if self.period > 2 { self.period } else { 3 };
        let columns = self
            .lagged(1)
            .iter()
            .zip(self.lagged(2))
            .zip(self.lagged(lag));
        let means = self.row_slow.iter().zip(&self.row_fast);
        let kernels = self.has_kernels();
        for ((view, ((left, left2), back)), (&slow, &fast)) in
            views.iter_mut().zip(columns).zip(means)
        {
            let [left, left2, back] = [left, left2, back].map(|q| u32::from(q.unsigned_abs()));
            view.near = 2 * left + left2 + 2 * back;
            view.sum = if kernels { left + left2 + back } else { left };
            view.log_slow = log8(slow);
            view.log_fast = log8(fast);
        }
        if kernels {
            self.predict(&mut views);
        }
        self.views = views;
    }

    /// Gathers the neighbours inside the kernel and predicts every row's level from them.
    fn predict(&self, views: &mut [RowView]) {
        let w = self.width;
        let (x, y) = (self.position % w, self.position / w);
        let inside = [
            x > 0,
            y > 0,
            x > 0 && y > 0,
            y > 0 && x + 1 < w,
            x > 1,
            y > 1,
        ];
        // A tap outside reads some column all the same and is masked.
        let lags = [1, w, w + 1, w - 1, 2, 2 * w].map(|lag| lag.min(self.depth));
        let masks = inside.map(|inside| -i16::from(inside));
        let columns = lags.map(|lag| &self.lagged(lag)[..views.len()]);
        let weights = self.prediction[self.position];
        for (r, view) in views.iter_mut().enumerate() {
            let mut sum = 0;
            for tap in 0..TAPS {
                let level = columns[tap][r] & masks[tap];
                view.taps[tap] = level;
                sum += i32::from(weights[tap]) * i32::from(level);
            }
            view.predicted = (sum >> 8).clamp(-CLIP << 4, CLIP << 4);
            view.class = class_of(view.predicted);
        }
    }

    /// One step of block least mean squares for the position just coded, from at most about 64 rows.
    fn adapt_prediction(&mut self) {
        let mut gradient = [0i64; TAPS];
        let mut energy = REGULAR;
        let stride = self.rows.div_ceil(SAMPLE_ROWS).max(1);
        for (view, &level) in self.views.iter().zip(self.lagged(0)).step_by(stride) {
            let error = (i32::from(level) << 4) - view.predicted;
            let mut squares = 0;
            for (sum, tap) in gradient.iter_mut().zip(view.taps) {
                *sum += i64::from(error * i32::from(tap));
                squares += i32::from(tap) * i32::from(tap);
            }
            energy += i64::from(squares) + REGULAR;
        }
        // Errors are in 1/16, weights in 1/4096: a whole step is 256 · gradient / energy.
        let step = 2 * self.rows.min(SAMPLE_ROWS) as i64;
        for (weight, sum) in self.prediction[self.position].iter_mut().zip(gradient) {
            let moved = i64::from(*weight) + sum * step / energy;
            *weight = moved.clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) as i16;
        }
    }

    /// [`log8`] of the magnitude that row mean times column mean over global mean lets expect.
    #[inline]
    pub(crate) fn log_expected(&self, view: &RowView) -> i32 {
        let column = if self.has_kernels() {
            (self.column_slow + self.position_mean[self.position]) >> 1
        } else {
            self.column_slow
        };
        view.log_slow + log8(column) - self.log_global
    }

    /// [`log8`] of the fast mean down the column.
    #[inline]
    pub(crate) fn log_column_fast(&self) -> i32 {
        log8(self.column_fast)
    }

    /// Takes in the level just coded.
    #[inline]
    pub(crate) fn learn(&mut self, row: usize, level: i32) {
        let clipped = level.clamp(-CLIP, CLIP);
        let magnitude = clipped.unsigned_abs();
        self.history[self.current + row] = clipped as i16;
        self.above = [magnitude, self.above[0]];
        follow(&mut self.row_slow[row], magnitude, 5);
        follow(&mut self.row_fast[row], magnitude, 3);
        follow(&mut self.position_mean[self.position], magnitude, 5);
        follow(&mut self.column_slow, magnitude, 5);
        follow(&mut self.column_fast, magnitude, 3);
        follow(&mut self.global_mean, magnitude, 10);
    }
}
