//! Weights that make of drifted inputs what the original ones make of the original's: least squares by the drifted inputs' moment and the
//! weights' pull.

use ndarray::Array2;

use crate::linalg::{Block, add_gram_lower, damped, product, solve_positive};
use crate::statistics::{Moment, shrinkage};

/// Samples of a layer's inputs, in multiples of a patch's elements, below which its weights are not fitted: they would learn the few by heart.
const LEAST_SAMPLES: f64 = 8.0;
/// Damping of the inputs' moment, as a fraction of its mean diagonal, beside what its errors ask for: a plain ridge, whose trace is not
/// kept, toward the weights as they are.
const DAMPING: f64 = 0.01;

/// What a few images' patches, original x and drifted x̂, say of weights W: Σ x̂·x̂ᵗ (its lower triangle) and Σ W·(x − x̂)·x̂ᵗ.
pub(super) struct Products {
    seen: Array2<f32>,
    pull: Array2<f32>,
    count: f64,
}

impl Products {
    /// Of weights n × K and patches K × positions.
    pub(super) fn of(
        weights: &Array2<f32>,
        (original, drifted): (&Array2<f32>, &Array2<f32>),
    ) -> Self {
        let mut seen = Array2::zeros((drifted.nrows(), drifted.nrows()));
        add_gram_lower(&mut seen, &Block::whole(drifted), 1.0);
        let drift = original - drifted;
        let errors = product(Block::whole(weights), Block::whole(&drift));
        Self {
            seen,
            pull: product(Block::whole(&errors), Block::whole(drifted).t()),
            count: drifted.ncols() as f64,
        }
    }
}

/// The same of many images.
pub(super) struct Sums {
    seen: Moment,
    pull: Array2<f64>,
}

impl Sums {
    /// Of nothing, for weights of this shape.
    pub(super) fn new((rows, cols): (usize, usize)) -> Self {
        Self {
            seen: Moment::new(cols),
            pull: Array2::zeros((rows, cols)),
        }
    }

    pub(super) fn add(&mut self, part: &Products) {
        self.seen.add_lower(&part.seen, part.count);
        self.pull
            .zip_mut_with(&part.pull, |to, v| *to += f64::from(*v));
    }

    /// `W + W·E[(x − x̂)·x̂ᵗ]·E[x̂·x̂ᵗ]⁻¹`; nothing where there are too few samples or they cannot be solved for.
    pub(super) fn fitted(self, weights: &Array2<f32>) -> Option<Array2<f32>> {
        let count = self.seen.count();
        if count < LEAST_SAMPLES * weights.ncols() as f64 {
            return None;
        }
        let damping = DAMPING + shrinkage(std::slice::from_ref(&self.seen));
        let seen = self.seen.mean();
        let pull = (self.pull.t().as_standard_layout()).mapv(|v| v / count);
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
        let mut sums = Sums::new((3, 12));
        for part in [0..150, 150..400] {
            let columns = |all: &Array2<f32>| all.slice(ndarray::s![.., part.clone()]).to_owned();
            sums.add(&Products::of(&w, (&columns(&x), &columns(&y))));
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
        let mut sums = Sums::new((3, 12));
        let x = Array2::from_shape_fn((12, 90), |(r, c)| ((r * 7 + c * 3) % 11) as f32);
        let w = Array2::ones((3, 12));
        sums.add(&Products::of(&w, (&x, &x)));
        assert!(sums.fitted(&w).is_none());
    }
}
