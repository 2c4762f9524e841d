//! What is known of a level's neighbourhood: columns before it, the rows above, and running means. A column is prepared
//! for all rows when it begins, in loops over plain arrays; the rest is looked up row by row.

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
/// Right shifts of the slow, the fast and the global means.
const SLOW: u32 = 5;
const FAST: u32 = 3;
const GLOBAL: u32 = 10;

/// Logarithm of `x` in 1/8 octave, linear inside an octave; that of 8 for smaller `x`.
#[inline]
pub(crate) const fn log8(x: u32) -> i32 {
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

/// Smallest magnitude of a predicted level, in 1/16, that has the largest class.
const LAST_CLASS_FROM: usize = 80;

/// Size class of a predicted level in 1/16, up to [`LAST_CLASS_FROM`]: two classes an octave from 1/4 level on.
static CLASSES: [u8; LAST_CLASS_FROM + 1] = classes();

const fn classes() -> [u8; LAST_CLASS_FROM + 1] {
    let mut classes = [0; LAST_CLASS_FROM + 1];
    let mut predicted = 0;
    while predicted <= LAST_CLASS_FROM {
        let class = (log8((predicted as u32) << 3) - 38) >> 2;
        classes[predicted] = if class < 0 { 0 } else { class as u8 };
        predicted += 1;
    }
    classes
}

/// Size class of a predicted level in 1/16 with its sign.
#[inline]
fn class_of(predicted: i16) -> i32 {
    let magnitude = usize::from(predicted.unsigned_abs()).min(LAST_CLASS_FROM);
    let class = i32::from(CLASSES[magnitude]);
    if predicted < 0 { -class } else { class }
}

/// What is known of a row when its column begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowView {
    /// Weighted magnitudes: twice the last level, the one before, twice this kernel position one channel back.
    pub(crate) near: u32,
    /// Plain sum of the same (matrices without kernels: the last level only).
    pub(crate) sum: u32,
    /// [`log8`] of the row's slow mean.
    pub(crate) log_slow: i32,
    /// [`log8`] of the row's fast mean.
    pub(crate) log_fast: i32,
    /// Size class of the predicted level with its sign.
    pub(crate) class: i32,
}

/// What the levels of the current column so far say: all of the surroundings that a level changes for the next one.
#[derive(Debug, Clone, Copy)]
pub struct ColumnPath {
    /// Magnitudes of the levels one and two rows above.
    pub(crate) above: [u32; 2],
    /// Running means in 1/65536.
    position: u32,
    slow: u32,
    fast: u32,
}

impl ColumnPath {
    const FIRST: Self = Self {
        above: [0; 2],
        position: FIRST_MEAN,
        slow: FIRST_MEAN,
        fast: FIRST_MEAN,
    };

    /// The path with one more level.
    #[must_use]
    #[inline]
    pub fn after(mut self, level: i32) -> Self {
        self.learn(level.unsigned_abs().min(CLIP as u32));
        self
    }

    #[inline]
    fn learn(&mut self, magnitude: u32) {
        self.above = [magnitude, self.above[0]];
        let magnitude = magnitude << 16;
        follow(&mut self.position, magnitude, SLOW);
        follow(&mut self.slow, magnitude, SLOW);
        follow(&mut self.fast, magnitude, FAST);
    }

    /// [`log8`] of the fast mean down the column.
    #[inline]
    pub(crate) fn log_fast(&self) -> i32 {
        log8(self.fast)
    }
}

/// Levels coded so far and what they say.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    rows: usize,
    period: usize,
    /// Kernel positions in one kernel row.
    width: usize,
    /// The last `depth` columns, a ring; then a column of zeros for neighbours outside the kernel.
    history: Vec<i16>,
    depth: usize,
    /// Start of the current column in `history`.
    current: usize,
    /// Starts of the columns of the neighbours inside the kernel.
    taps: [usize; TAPS],
    column: usize,
    position: usize,
    /// Of every row: see [`RowView`].
    near: Vec<u16>,
    sum: Vec<u16>,
    /// Predicted levels in 1/16; all 0 for matrices without kernels.
    predicted: Vec<i16>,
    row_slow: Vec<u32>,
    row_fast: Vec<u32>,
    position_means: Vec<u32>,
    prediction: Vec<[i16; TAPS]>,
    pub(crate) path: ColumnPath,
    /// Running mean of all levels, in 1/65536.
    global: u32,
    log_global: i32,
}

/// Moves a mean towards a magnitude, both in 1/65536.
#[inline]
fn follow(mean: &mut u32, magnitude: u32, shift: u32) {
    let difference = magnitude as i32 - *mean as i32;
    *mean = (*mean as i32 + (difference >> shift)) as u32;
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
            history: vec![0; (depth + 1) * spec.rows],
            depth,
            current: 0,
            taps: [0; TAPS],
            column: 0,
            position: 0,
            near: vec![0; spec.rows],
            sum: vec![0; spec.rows],
            predicted: vec![0; spec.rows],
            row_slow: vec![FIRST_MEAN; spec.rows],
            row_fast: vec![FIRST_MEAN; spec.rows],
            position_means: vec![FIRST_MEAN; period],
            prediction: vec![FIRST_WEIGHTS; period],
            path: ColumnPath::FIRST,
            global: FIRST_MEAN,
            log_global: 0,
        }
    }

    /// Rows of the matrix.
    #[inline]
    pub(crate) fn rows(&self) -> usize {
        self.rows
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
    pub(crate) fn view(&self, row: usize) -> RowView {
        RowView {
            near: self.near[row].into(),
            sum: self.sum[row].into(),
            log_slow: log8(self.row_slow[row]),
            log_fast: log8(self.row_fast[row]),
            class: class_of(self.predicted[row]),
        }
    }

    /// The row's neighbours inside the kernel, 0 outside.
    #[inline]
    pub(crate) fn taps(&self, row: usize) -> [i32; TAPS] {
        self.taps.map(|start| self.history[start + row].into())
    }

    fn start(&self, lag: usize) -> usize {
        (self.column + self.depth - lag) % self.depth * self.rows
    }

    fn column_from(&self, start: usize) -> &[i16] {
        &self.history[start..start + self.rows]
    }

    /// Prepares column `column`, the one after the last; all rows of that one have been coded.
    pub(crate) fn begin_column(&mut self, column: usize) {
        if column > 0 {
            self.end_column();
        }
        self.column = column;
        self.position = column % self.period;
        self.current = self.start(0);
        self.path = ColumnPath {
            above: [0; 2],
            position: self.position_means[self.position],
            slow: self.path.slow,
            fast: self.path.slow,
        };
        self.log_global = log8(self.global);
        let lag = if self.period > 2 { self.period } else { 3 };
        let [left, left2, back] = [1, 2, lag].map(|lag| self.start(lag));
        let columns = [left, left2, back].map(|start| &self.history[start..start + self.rows]);
        gather(columns, &mut self.near, &mut self.sum);
        if self.has_kernels() {
            self.predict();
        } else {
            self.sum
                .iter_mut()
                .zip(columns[0])
                .for_each(|(sum, left)| *sum = left.unsigned_abs());
        }
    }

    /// Takes in what only later columns need of the column just coded.
    fn end_column(&mut self) {
        self.position_means[self.position] = self.path.position;
        let levels = &self.history[self.current..self.current + self.rows];
        for (&level, mean) in levels.iter().zip(&mut self.row_slow) {
            follow(mean, u32::from(level.unsigned_abs()) << 16, SLOW);
        }
        for (&level, mean) in levels.iter().zip(&mut self.row_fast) {
            follow(mean, u32::from(level.unsigned_abs()) << 16, FAST);
        }
        if self.has_kernels() {
            self.adapt_prediction();
        }
    }

    /// Finds the neighbours inside the kernel and predicts every row's level from them.
    fn predict(&mut self) {
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
        let lags = [1, w, w + 1, w - 1, 2, 2 * w];
        let zeros = self.depth * self.rows;
        for ((tap, inside), lag) in self.taps.iter_mut().zip(inside).zip(lags) {
            *tap = if inside {
                (self.column + self.depth - lag) % self.depth * self.rows
            } else {
                zeros
            };
        }
        let columns = self
            .taps
            .map(|start| &self.history[start..start + self.rows]);
        predict_rows(
            &self.prediction[self.position],
            columns,
            &mut self.predicted,
        );
    }

    /// One step of block least mean squares for the position just coded, from at most about 64 rows.
    fn adapt_prediction(&mut self) {
        let mut gradient = [0i64; TAPS];
        let mut energy = REGULAR;
        let stride = self.rows.div_ceil(SAMPLE_ROWS).max(1);
        let levels = self.column_from(self.current);
        let columns = self.taps.map(|start| self.column_from(start));
        for r in (0..self.rows).step_by(stride) {
            let error = (i32::from(levels[r]) << 4) - i32::from(self.predicted[r]);
            let mut squares = 0;
            for (sum, column) in gradient.iter_mut().zip(columns) {
                let tap = i32::from(column[r]);
                *sum += i64::from(error * tap);
                squares += tap * tap;
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
    pub(crate) fn log_expected(&self, view: &RowView, path: &ColumnPath) -> i32 {
        let column = if self.has_kernels() {
            (path.slow + path.position) >> 1
        } else {
            path.slow
        };
        view.log_slow + log8(column) - self.log_global
    }

    /// Takes in the level just coded.
    #[inline]
    pub(crate) fn learn(&mut self, row: usize, level: i32) {
        let clipped = level.clamp(-CLIP, CLIP);
        let magnitude = clipped.unsigned_abs();
        self.history[self.current + row] = clipped as i16;
        self.path.learn(magnitude);
        follow(&mut self.global, magnitude << 16, GLOBAL);
    }
}

/// Weighted and plain sums of the magnitudes of three columns.
fn gather([left, left2, back]: [&[i16]; 3], near: &mut [u16], sum: &mut [u16]) {
    let columns = left.iter().zip(left2).zip(back);
    for ((near, sum), ((a, b), c)) in near.iter_mut().zip(sum).zip(columns) {
        let [a, b, c] = [a, b, c].map(|level| level.unsigned_abs());
        *near = 2 * a + b + 2 * c;
        *sum = a + b + c;
    }
}

/// Predicted levels in 1/16 of all rows from their neighbours.
fn predict_rows(weights: &[i16; TAPS], columns: [&[i16]; TAPS], predicted: &mut [i16]) {
    let columns = columns.map(|column| &column[..predicted.len()]);
    for (r, predicted) in predicted.iter_mut().enumerate() {
        let mut sum = 0;
        for (column, &weight) in columns.iter().zip(weights) {
            sum += i32::from(weight) * i32::from(column[r]);
        }
        *predicted = (sum >> 8).clamp(-CLIP << 4, CLIP << 4) as i16;
    }
}
