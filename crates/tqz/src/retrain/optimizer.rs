//! Adam and momentum on arrays of numbers that are all in units of their own.

use crate::retrain::spec::Optimizer;

/// Decay of the means of gradients and of their squares.
const DECAY: (f32, f32) = (0.9, 0.99);

/// An optimizer's memory for one array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Memory {
    /// Running mean of gradients.
    pub(crate) mean: Vec<f32>,
    /// Running mean of their squares; for momentum one number for the array.
    pub(crate) square: Vec<f32>,
}

impl Memory {
    /// Nothing seen yet of `len` numbers.
    pub(crate) fn new(optimizer: Optimizer, len: usize) -> Self {
        Self {
            mean: vec![0.0; len],
            square: match optimizer {
                Optimizer::Adam => vec![0.0; len],
                Optimizer::Sgd => vec![0.0; 1],
            },
        }
    }

    /// Takes step number `step` (from 0) of at most about `rate`.
    pub(crate) fn step(
        &mut self,
        values: &mut [f32],
        gradient: &[f32],
        (rate, step): (f32, usize),
    ) {
        let (b1, b2) = DECAY;
        let count = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let (unbias1, unbias2) = (1.0 - b1.powi(count), 1.0 - b2.powi(count));
        for (mean, g) in self.mean.iter_mut().zip(gradient) {
            *mean = b1 * *mean + (1.0 - b1) * g;
        }
        let moved = values.iter_mut().zip(&self.mean);
        if let [square] = &mut self.square[..] {
            let power: f32 = gradient.iter().map(|g| g * g).sum();
            *square = b2 * *square + (1.0 - b2) * power / gradient.len().max(1) as f32;
            let size = (*square / unbias2).sqrt() + 1e-20;
            moved.for_each(|(value, mean)| *value -= rate * (mean / unbias1) / size);
            return;
        }
        for ((value, mean), (square, g)) in moved.zip(self.square.iter_mut().zip(gradient)) {
            *square = b2 * *square + (1.0 - b2) * g * g;
            *value -= rate * (mean / unbias1) / ((*square / unbias2).sqrt() + 1e-20);
        }
    }
}

/// What is left of a rate at step `step` of `steps`: half a cosine, after a short rise.
pub(crate) fn fall(step: usize, steps: usize) -> f32 {
    let rise = (steps / 20).clamp(1, 100);
    let part = step as f32 / steps.max(1) as f32;
    let cosine = 0.5 * (1.0 + (std::f32::consts::PI * part).cos());
    cosine * ((step + 1) as f32 / rise as f32).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rules_find_the_lowest_point_of_a_bowl() {
        for optimizer in [Optimizer::Adam, Optimizer::Sgd] {
            let (mut values, target) = (vec![3.0_f32, -2.0], [1.0_f32, 0.5]);
            let mut memory = Memory::new(optimizer, 2);
            for step in 0..400 {
                let gradient: Vec<f32> = values.iter().zip(target).map(|(v, t)| v - t).collect();
                memory.step(&mut values, &gradient, (0.05 * fall(step, 400), step));
            }
            for (v, t) in values.iter().zip(target) {
                assert!((v - t).abs() < 0.02, "{optimizer:?} {values:?}");
            }
        }
    }

    #[test]
    fn rates_rise_and_fall() {
        assert!(fall(0, 200) < 0.2 && fall(10, 200) > 0.95 && fall(199, 200) < 0.01);
    }
}
