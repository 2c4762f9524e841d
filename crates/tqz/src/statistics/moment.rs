//! A sum of outer products with its count, and how much its parts differ. Summands are single precision, the sum is double: with 29
//! bits to spare the sum of up to half a billion like summands is exact, so that it does not depend on how the images were
//! spread over shards.

use ndarray::Array2;

/// Σ x·xᵗ of vectors of one length, as the packed lower triangle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moment {
    order: usize,
    /// Row r holds elements (r, 0) to (r, r), at r·(r + 1)/2.
    sum: Vec<f64>,
    count: f64,
    scatter: Scatter,
}

/// What tells how far the mean is to be trusted: its parts are sums over different images, while what one image adds to a part
/// is alike.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Scatter {
    /// Over the parts, Σ (squares of all elements of the part's sum) / (its count).
    pub(crate) squares: f64,
    /// Number of parts.
    pub(crate) parts: f64,
}

impl Moment {
    /// An empty sum for vectors of `order` elements.
    pub(crate) fn new(order: usize) -> Self {
        Self {
            order,
            sum: vec![0.0; packed(order)],
            count: 0.0,
            scatter: Scatter::default(),
        }
    }

    /// A sum read from a file; nothing if its length is not that of the order.
    pub(crate) fn from_parts(
        order: usize,
        sum: Vec<f64>,
        (count, scatter): (f64, Scatter),
    ) -> Option<Self> {
        (sum.len() == packed(order)).then_some(Self {
            order,
            sum,
            count,
            scatter,
        })
    }

    /// Length of the vectors.
    pub(crate) fn order(&self) -> usize {
        self.order
    }

    /// Number of vectors (or images) in the sum.
    pub(crate) fn count(&self) -> f64 {
        self.count
    }

    /// The packed lower triangle.
    pub(crate) fn sum(&self) -> &[f64] {
        &self.sum
    }

    /// How much the parts differ.
    pub(crate) fn scatter(&self) -> Scatter {
        self.scatter
    }

    /// Adds the lower triangle of a part: a partial sum over `count` vectors.
    pub(crate) fn add_lower(&mut self, partial: &Array2<f32>, count: f64) {
        let mut squares = 0.0;
        for (r, row) in partial.rows().into_iter().enumerate() {
            let start = packed(r);
            let sums = &mut self.sum[start..=start + r];
            let mut of_row = 0.0;
            for (sum, value) in sums.iter_mut().zip(row) {
                let value = f64::from(*value);
                *sum += value;
                of_row += value * value;
            }
            let last = f64::from(partial[(r, r)]);
            squares += 2.0 * of_row - last * last;
        }
        self.count += count;
        if count > 0.0 {
            self.scatter.squares += shortened(squares / count);
            self.scatter.parts += 1.0;
        }
    }

    /// Adds another sum of the same order.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sum
            .iter_mut()
            .zip(&other.sum)
            .for_each(|(a, b)| *a += b);
        self.count += other.count;
        self.scatter.squares += other.scatter.squares;
        self.scatter.parts += other.scatter.parts;
    }

    /// The diagonal of the mean, without the rest of it.
    pub(crate) fn mean_diagonal(&self) -> impl Iterator<Item = f32> + '_ {
        let per = self.divisor();
        (0..self.order).map(move |r| (self.sum[packed(r) + r] / per) as f32)
    }

    /// Sum of the squares of all elements of the mean.
    pub(crate) fn mean_square(&self) -> f64 {
        let per = self.divisor();
        let row = |r: usize| {
            let values = &self.sum[packed(r)..=packed(r) + r];
            let square = |v: &f64| (v / per).powi(2);
            let whole: f64 = values.iter().map(square).sum();
            2.0 * whole - values.last().map_or(0.0, square)
        };
        (0..self.order).map(row).sum()
    }

    /// Half of this and half of another symmetric matrix of the same order, scaled to its trace, of which nothing is in doubt: where there are
    /// parts, they differ half as much. None where the order is another or a trace is zero or not finite.
    pub(crate) fn mixed(&self, other: &Array2<f64>) -> Option<Self> {
        if other.dim() != (self.order, self.order) {
            return None;
        }
        let trace: f64 = (0..self.order).map(|r| self.sum[packed(r) + r]).sum();
        let factor = trace / other.diag().sum();
        if !(factor.is_finite() && factor > 0.0) {
            return None;
        }
        let mut mixed = self.clone();
        for (r, others) in other.rows().into_iter().enumerate() {
            let sums = &mut mixed.sum[packed(r)..=packed(r) + r];
            let pairs = sums.iter_mut().zip(others);
            pairs.for_each(|(sum, other)| *sum = 0.5 * (*sum + factor * other));
        }
        let between = self.scatter.squares - self.count * self.mean_square();
        mixed.scatter.squares = 0.25 * between + mixed.count * mixed.mean_square();
        Some(mixed)
    }

    /// As of vectors whose elements are multiplied by these numbers. By how much parts differ is not known of single elements: it is taken to be
    /// as much of the mean as it was.
    pub(crate) fn of_multiples(&self, factors: &[f32]) -> Self {
        let mut multiplied = self.clone();
        for (r, of_row) in factors.iter().enumerate().take(self.order) {
            let sums = &mut multiplied.sum[packed(r)..=packed(r) + r];
            for (sum, of_column) in sums.iter_mut().zip(factors) {
                *sum *= f64::from(*of_row) * f64::from(*of_column);
            }
        }
        let grown = multiplied.mean_square() / self.mean_square();
        if grown.is_finite() {
            multiplied.scatter.squares *= grown;
        }
        multiplied
    }

    fn divisor(&self) -> f64 {
        if self.count > 0.0 { self.count } else { 1.0 }
    }

    /// The mean as a full symmetric matrix; zeros before anything was added.
    pub(crate) fn mean(&self) -> Array2<f32> {
        let per = self.divisor();
        let mut out = Array2::zeros((self.order, self.order));
        for r in 0..self.order {
            let start = packed(r);
            for c in 0..=r {
                let value = (self.sum[start + c] / per) as f32;
                out[(r, c)] = value;
                out[(c, r)] = value;
            }
        }
        out
    }
}

/// A number of 16 significant bits, so that sums of it are exact where parts' sums are within a factor of some 10⁵ of each other.
fn shortened(value: f64) -> f64 {
    const SPARE: u64 = (1 << 37) - 1;
    f64::from_bits(value.to_bits() & !SPARE)
}

/// Elements in the lower triangle of a matrix of this order.
pub(crate) fn packed(order: usize) -> usize {
    order * (order + 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::shrinkage;

    #[test]
    fn sums_do_not_depend_on_how_they_are_split() {
        let part = |k: usize| {
            Array2::from_shape_fn((3, 3), |(r, c)| {
                ((k * 7 + r * 3 + c * c) % 11) as f32 * 0.137
            })
        };
        let sum = |range: std::ops::Range<usize>| {
            let mut moment = Moment::new(3);
            range.for_each(|k| moment.add_lower(&part(k), 2.0));
            moment
        };
        let whole = sum(0..40);
        let mut parts = sum(0..13);
        parts.add(&sum(13..40));
        assert_eq!(whole, parts);
        let mean = whole.mean();
        assert_eq!(mean[(0, 2)], mean[(2, 0)]);
        assert!(whole.mean_diagonal().eq(mean.diag().iter().copied()));
        let direct: f64 = (0..40).map(|k| f64::from(part(k)[(2, 1)])).sum();
        assert!((f64::from(mean[(2, 1)]) - direct / 80.0).abs() < 1e-6);
    }

    #[test]
    fn half_of_another_matrix_keeps_the_trace_and_half_of_how_parts_differ() {
        let mut moment = Moment::new(2);
        moment.add_lower(&ndarray::arr2(&[[2.0, 0.0], [1.0, 4.0]]), 1.0);
        moment.add_lower(&ndarray::arr2(&[[4.0, 0.0], [3.0, 2.0]]), 1.0);
        let mixed = moment
            .mixed(&ndarray::arr2(&[[30.0, 0.0], [0.0, 30.0]]))
            .expect("not zero");
        assert_eq!(mixed.mean(), ndarray::arr2(&[[3.0, 1.0], [1.0, 3.0]]));
        // Of both the same errors over the same distance from the identity: a quarter of each.
        let [before, after] = [&moment, &mixed].map(|m| shrinkage(std::slice::from_ref(m)));
        assert!(
            (before - after).abs() < 1e-12 && before > 0.0,
            "{before} {after}"
        );
        assert_eq!(moment.mixed(&Array2::zeros((2, 2))), None);
        assert_eq!(moment.mixed(&Array2::eye(3)), None);
        assert_eq!(Moment::new(2).mixed(&Array2::eye(2)), None);
    }
}
