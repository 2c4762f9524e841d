//! Weights that make of drifted inputs what the original ones make of the original's: second moments of both, and least squares.

use ndarray::Array2;

use crate::linalg::{Accumulate, Block, damped, multiply, product, solve_positive};
use crate::statistics::shrinkage;

/// Samples of a layer's inputs, in multiples of a patch' elements, below which its weights are not fitted: they would learn the few by heart.
const LEAST_SAMPLES: f64 = 8.0;
/// Damping of the inputs' moment, as a fraction of its mean diagonal, beside what its samples ask for.
const DAMPING: f64 = 0.01;

/// Second moments of a few images' patches, original x and drifted x̂: Σ x̂·x̂ᵗ and Σ x·x̂ᵗ.
pub(super) struct Products {
    seen: Array2<f32>,
    cross: Array2<f32>,
    count: f64,
}

impl Products {
    pub(super) fn of(order: usize, originals: &[Array2<f32>], drifted: &[Array2<f32>]) -> Self {
        let zeros = || Array2::zeros((order, order));
        let (mut seen, mut cross, mut count) = (zeros(), zeros(), 0.0);
        for (x, y) in originals.iter().zip(drifted) {
            let right = || Block::whole(y).t();
            let add = Accumulate::Add;
            multiply(&mut seen, 0..order, add, (Block::whole(y), right()), 1.0);
            multiply(&mut cross, 0..order, add, (Block::whole(x), right()), 1.0);
            count += y.ncols() as f64;
        }
        Self { seen, cross, count }
    }
}

/// The same of many images.
pub(super) struct Sums {
    seen: Array2<f64>,
    cross: Array2<f64>,
    count: f64,
}

impl Sums {
    pub(super) fn new(order: usize) -> Self {
        Self {
            seen: Array2::zeros((order, order)),
            cross: Array2::zeros((order, order)),
            count: 0.0,
        }
    }

    pub(super) fn add(&mut self, part: &Products) {
        let add = |to: &mut f64, v: &f32| *to += f64::from(*v);
        self.seen.zip_mut_with(&part.seen, add);
        self.cross.zip_mut_with(&part.cross, add);
        self.count += part.count;
    }

    /// `W + W·E[(x − x̂)·x̂ᵗ]·E[x̂·x̂ᵗ]⁻¹`; nothing where there are too few samples or they cannot be solved for.
    pub(super) fn fitted(self, weights: &Array2<f32>) -> Option<Array2<f32>> {
        if self.count < LEAST_SAMPLES * weights.ncols() as f64 {
            return None;
        }
        let mean = |v: f64| (v / self.count) as f32;
        let pull = (self.cross - &self.seen).mapv(mean);
        let seen = self.seen.mapv(mean);
        let pull = product(Block::whole(weights), Block::whole(&pull)).mapv(f64::from);
        let pull = pull.t().as_standard_layout().into_owned();
        let damping = DAMPING + shrinkage(std::slice::from_ref(&seen), self.count);
        let change = solve_positive(&damped(&seen, damping, 1.0), &pull).ok()?;
        Some(weights + &change.t().mapv(|v| v as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    #[test]
    fn fitted_weights_undo_most_of_a_linear_drift() {
        let mut rng = Pcg64::seed_from_u64(5);
        let mut draw = |r, c| Array2::from_shape_fn((r, c), |_| rng.random::<f32>() - 0.5);
        // Inputs as correlated as those of networks are.
        let (w, x) = (
            draw(3, 12),
            draw(12, 3).dot(&draw(3, 400)) + draw(12, 400) * 0.1,
        );
        let drift = Array2::eye(12) + draw(12, 12) * 0.2;
        let y = drift.dot(&x) + draw(12, 400) * 0.02;
        let mut sums = Sums::new(12);
        for part in [0..150, 150..400] {
            let columns = |all: &Array2<f32>| all.slice(ndarray::s![.., part.clone()]).to_owned();
            sums.add(&Products::of(12, &[columns(&x)], &[columns(&y)]));
        }
        let fitted = sums.fitted(&w).expect("enough samples");
        let error = |w: &Array2<f32>, other: &Array2<f32>| {
            let difference = w.dot(&y) - other.dot(&x);
            difference.iter().map(|v| v * v).sum::<f32>()
        };
        assert!(error(&fitted, &w) < 0.2 * error(&w, &w));
    }

    #[test]
    fn few_samples_are_not_learnt_from() {
        let mut sums = Sums::new(12);
        let x = Array2::from_shape_fn((12, 90), |(r, c)| ((r * 7 + c * 3) % 11) as f32);
        sums.add(&Products::of(
            12,
            std::slice::from_ref(&x),
            std::slice::from_ref(&x),
        ));
        assert!(sums.fitted(&Array2::ones((2, 12))).is_none());
    }
}
