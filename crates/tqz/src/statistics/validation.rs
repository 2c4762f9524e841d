//! Damping by validation: how much of the identity a second moment needs to serve best for images that it does not know. Ledoit and
//! Wolf's share is about the whole matrix, whose energy is mostly that of the mean; quantizers work with its inverse.

use std::slice::from_ref;

use rayon::prelude::*;

use crate::error::TqzError;
use crate::linalg::symmetric_eigen;
use crate::statistics::{Dampings, LayerStatistics, Moment, Statistics};

/// Longest block whose damping is validated, for time; longer ones are damped by how much their parts differ.
const LONGEST: usize = 1536;
/// Dampings tried: from this, by this factor, so many.
const LEAST: f64 = 1e-4;
const STRIDE: f64 = 1.333_521_432_163_324;
const TRIED: i32 = 45;

/// Damping of a mean of outer products, in blocks, with which it serves best for others of the same kind, `held`: a fraction of its mean
/// diagonal, that is added to the standard one. Quantization noise shaped by a matrix H has the covariance H⁻¹, at a given rate times
/// |H|^(1/K); under the true second moment, for which that of `held` stands without bias, its power is tr(held · H⁻¹)·|H|^(1/K)/K. Of
/// H = Σ + d·1 the least over d.
/// None for a single number, zeros and blocks too long.
fn validated(learnt: &[Moment], held: &[Moment]) -> Option<f64> {
    let order: usize = learnt.iter().map(Moment::order).sum();
    if order < 2 || learnt.iter().any(|m| m.order() > LONGEST) {
        return None;
    }
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (learnt, held) in learnt.iter().zip(held) {
        let (values, vectors) = symmetric_eigen(&learnt.mean().mapv(f64::from)).ok()?;
        let turned = held.mean().mapv(f64::from).dot(&vectors);
        let power = |c: usize| vectors.column(c).dot(&turned.column(c)).max(0.0);
        others.extend((0..values.len()).map(power));
        own.extend(values.into_iter().map(|v| v.max(0.0)));
    }
    let mean = own.iter().sum::<f64>() / order as f64;
    let is_usable = |sum: f64| sum.is_finite() && sum > 0.0;
    if !is_usable(mean) || !is_usable(others.iter().sum()) {
        return None;
    }
    let log_power = |damping: f64| {
        let add = damping * mean;
        let pairs = own.iter().zip(&others);
        let power: f64 = pairs.map(|(own, other)| other / (own + add)).sum();
        power.ln() + own.iter().map(|own| (own + add).ln()).sum::<f64>() / order as f64
    };
    let tried = (0..TRIED).map(|k| LEAST * STRIDE.powi(k));
    let judged = tried.map(|damping| (damping, log_power(damping)));
    let best = judged.min_by(|a, b| a.1.total_cmp(&b.1));
    best.map(|(damping, _)| damping)
}

impl LayerStatistics {
    /// Keeps the dampings that serve `held` best; depthwise channels, whose moments are exact, are left as they are.
    fn validate(&mut self, held: &Self) {
        let is_grouped = self.groups.len() > 1;
        for (group, held) in self.groups.iter_mut().zip(&held.groups) {
            if is_grouped && group.output.order() == 1 {
                continue;
            }
            let output = validated(from_ref(&group.output), from_ref(&held.output));
            group.validated = Dampings {
                input: validated(&group.input, &held.input).unwrap_or(0.0),
                output: output.unwrap_or(0.0),
            };
        }
    }
}

impl Statistics {
    /// Keeps the dampings that serve `held` best, statistics of the same network on other images.
    ///
    /// # Errors
    /// Statistics of another network.
    pub(crate) fn validate(&mut self, held: &Self) -> Result<(), TqzError> {
        self.check_network(held.network)?;
        self.check_layers(held)?;
        let layers: Vec<_> = self.layers.iter_mut().collect();
        layers.into_par_iter().for_each(|(name, layer)| {
            if let Some(held) = held.layers.get(name) {
                layer.validate(held);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    const ORDER: usize = 24;

    /// Vectors of a common mean, whose element k has standard deviation `spread(k)`.
    fn moment(count: usize, spread: impl Fn(usize) -> f32, rng: &mut Pcg64) -> Moment {
        let x = Array2::from_shape_fn((ORDER, count), |(k, _)| {
            let normal = (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
            3.0 + spread(k) * normal
        });
        let mut moment = Moment::new(ORDER);
        moment.add_lower(&x.dot(&x.t()), count as f64);
        moment
    }

    /// Power of noise shaped by a moment damped so far, where the truth is `held`.
    fn power(learnt: &Moment, held: &Moment, damping: f64) -> f64 {
        let (values, vectors) = symmetric_eigen(&learnt.mean().mapv(f64::from)).expect("finite");
        let add = damping * values.iter().sum::<f64>() / ORDER as f64;
        let turned = vectors.t().dot(&held.mean().mapv(f64::from)).dot(&vectors);
        let power: f64 = (0..ORDER).map(|k| turned[(k, k)] / (values[k] + add)).sum();
        let volume: f64 = values.iter().map(|v| (v + add).ln()).sum::<f64>();
        power / ORDER as f64 * (volume / ORDER as f64).exp()
    }

    /// The damping found by few other vectors serves the truth nearly as well as the best one; many vectors need far less of it.
    #[test]
    fn what_is_found_by_others_serves_the_truth() {
        let mut rng = Pcg64::seed_from_u64(4);
        let spread = |k: usize| 0.2 + 0.1 * k as f32;
        let truth = moment(50_000, spread, &mut rng);
        let mut found = Vec::new();
        for count in [30, 20_000] {
            let learnt = moment(count, spread, &mut rng);
            let held = moment(16, spread, &mut rng);
            let damping = validated(std::slice::from_ref(&learnt), &[held]).expect("not zero");
            let least = (0..TRIED)
                .map(|k| power(&learnt, &truth, LEAST * STRIDE.powi(k)))
                .fold(f64::INFINITY, f64::min);
            let reached = power(&learnt, &truth, damping);
            assert!(reached < 1.1 * least, "{count}: {reached} {least}");
            found.push(damping);
        }
        assert!(found[0] > 10.0 * found[1], "{found:?}");
    }

    #[test]
    fn nothing_is_found_where_there_is_nothing_to_learn_from() {
        let empty = [Moment::new(ORDER)];
        let mut rng = Pcg64::seed_from_u64(5);
        let some = [moment(30, |_| 1.0, &mut rng)];
        assert_eq!(validated(&empty, &some), None);
        assert_eq!(validated(&some, &empty), None);
        assert_eq!(validated(&[Moment::new(1)], &[Moment::new(1)]), None);
    }
}
