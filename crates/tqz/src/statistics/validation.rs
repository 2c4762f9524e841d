//! Validation: how much of the identity a second moment needs to serve best for images that it does not know, and whether A serves better
//! drawn halfway to WᵗW of the layer's weights. Ledoit and Wolf's share is about the whole matrix, whose energy is mostly that of the
//! mean; quantizers work with its inverse.

use std::slice::from_ref;

use ndarray::Array2;
use rayon::prelude::*;

use crate::error::TqzError;
use crate::linalg::symmetric_eigen;
use crate::statistics::{GroupStatistics, LayerStatistics, Moment, Statistics, Validated};

/// Longest block whose damping is validated, for time; longer ones are damped by how much their parts differ.
const LONGEST: usize = 1536;
/// Dampings tried: from this, by this factor, so many.
const LEAST: f64 = 1e-4;
const STRIDE: f64 = 1.333_521_432_163_324;
const TRIED: i32 = 45;
/// Damping of A from which so little is known of it that its weights are asked: just below a damping that is tried.
const UNKNOWN: f64 = 0.09;
/// By how much the logarithm of power is then to fall at least: less would be chance.
const NOTICEABLE: f64 = 0.01;

/// How well a damping serves images kept back.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Judged {
    damping: f64,
    /// Logarithm of the power of the noise, the less the better; of matrices of one size, whatever their scale.
    log_power: f64,
}

/// The damping of a mean of outer products, in blocks, with which it serves best for others of the same kind, `held`: a fraction of its mean
/// diagonal, that is added to the standard one. Quantization noise shaped by a matrix H has the covariance H⁻¹, at a given rate times
/// |H|^(1/K); under the true second moment, for which that of `held` stands without bias, its power is tr(held · H⁻¹)·|H|^(1/K)/K. Of
/// H = Σ + d·1 the least over d.
/// None for a single number, zeros and blocks too long.
fn least_noise(learnt: &[Moment], held: &[Moment]) -> Option<Judged> {
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
    let judged = tried.map(|damping| Judged {
        damping,
        log_power: log_power(damping),
    });
    judged.min_by(|a, b| a.log_power.total_cmp(&b.log_power))
}

/// A halfway to WᵗW of the layer's weights W (n × K), scaled to its trace, if that serves `held` better than A does at its best, and how
/// well: rows look for what inputs hold, also for what the images did not show. Behind a pooling each row of a classifier is nearly the
/// mean input of a class.
fn drawn(
    (learnt, held): (&Moment, &Moment),
    weights: &Array2<f32>,
    undrawn: Judged,
) -> Option<(Moment, Judged)> {
    let weights = weights.mapv(f64::from);
    let mixed = learnt.mixed(&weights.t().dot(&weights))?;
    let judged = least_noise(from_ref(&mixed), from_ref(held))?;
    (judged.log_power < undrawn.log_power - NOTICEABLE).then_some((mixed, judged))
}

impl GroupStatistics {
    /// Keeps the dampings that serve `held` best, and A drawn to what `weights` (n × K, if there are any to ask) say where that serves better.
    fn validate(&mut self, held: &Self, weights: &dyn Fn() -> Option<Array2<f32>>) {
        let mut input = least_noise(&self.input, &held.input);
        let mut with_weights = None;
        if let (Some(judged), [learnt], [held]) = (input, &*self.input, &*held.input)
            && judged.damping >= UNKNOWN
            && let Some(weights) = weights()
            && let Some((mixed, better)) = drawn((learnt, held), &weights, judged)
        {
            (with_weights, input) = (Some(mixed), Some(better));
        }
        let output = least_noise(from_ref(&self.output), from_ref(&held.output));
        let damping = |judged: Option<Judged>| judged.map_or(0.0, |judged| judged.damping);
        self.validated = Validated {
            input_damping: damping(input),
            output_damping: damping(output),
            drawn: with_weights,
        };
    }
}

impl LayerStatistics {
    /// As each group; depthwise channels, whose moments are exact, are left as they are, and of several groups no weights are asked.
    fn validate(&mut self, held: &Self, weights: &dyn Fn() -> Option<Array2<f32>>) {
        let is_grouped = self.groups.len() > 1;
        for (group, held) in self.groups.iter_mut().zip(&held.groups) {
            if is_grouped && group.output.order() == 1 {
                continue;
            }
            group.validate(held, &|| if is_grouped { None } else { weights() });
        }
    }
}

impl Statistics {
    /// Keeps what serves `held` best, statistics of the same network on other images: dampings, and A drawn to WᵗW; `weights` gives W (n × K) of
    /// the layer of a name.
    ///
    /// # Errors
    /// Statistics of another network.
    pub(crate) fn validate(
        &mut self,
        held: &Self,
        weights: &(dyn Fn(&str) -> Option<Array2<f32>> + Sync),
    ) -> Result<(), TqzError> {
        self.check_network(held.network)?;
        self.check_layers(held)?;
        let layers: Vec<_> = self.layers.iter_mut().collect();
        layers.into_par_iter().for_each(|(name, layer)| {
            if let Some(held) = held.layers.get(name) {
                layer.validate(held, &|| weights(name));
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;
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
            let judged = least_noise(from_ref(&learnt), &[held]).expect("not zero");
            let damping = judged.damping;
            let least = (0..TRIED)
                .map(|k| power(&learnt, &truth, LEAST * STRIDE.powi(k)))
                .fold(f64::INFINITY, f64::min);
            let reached = power(&learnt, &truth, damping);
            assert!(reached < 1.1 * least, "{count}: {reached} {least}");
            found.push(damping);
        }
        assert!(found[0] > 10.0 * found[1], "{found:?}");
    }

    /// Vectors near directions of which few images show a part, while the weights know them all: half of these serves the truth better. Weights
    /// that look elsewhere are left alone, and so are all where enough is known.
    #[test]
    fn weights_tell_of_what_few_images_do_not_show() {
        let mut rng = Pcg64::seed_from_u64(6);
        let mut draw = |shape: (usize, usize)| {
            Array2::from_shape_fn(shape, |_| {
                (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
            })
        };
        let mut in_half = |half: usize| {
            let mut drawn = draw((10, ORDER));
            let mut others = drawn.slice_mut(s![.., half * ORDER / 2..(half + 1) * ORDER / 2]);
            others.fill(0.0);
            drawn
        };
        let [directions, elsewhere] = [in_half(0), in_half(1)];
        let mut group = |count: usize| {
            let x = directions.t().dot(&draw((10, count))) + draw((ORDER, count)) * 0.3;
            let mut input = Moment::new(ORDER);
            input.add_lower(&x.dot(&x.t()), count as f64);
            GroupStatistics::new(vec![input], Moment::new(1))
        };
        let (few, many, held, truth) = (group(6), group(20_000), group(16), group(20_000));
        let validate = |learnt: &GroupStatistics, weights: &Array2<f32>| {
            let mut group = learnt.clone();
            group.validate(&held, &|| Some(weights.clone()));
            let believed = &group.believed_input()[0];
            let power = power(believed, &truth.input[0], group.validated.input_damping);
            (group.validated.drawn.is_some(), power)
        };
        let (is_drawn, with) = validate(&few, &directions);
        let (is_drawn_elsewhere, without) = validate(&few, &elsewhere);
        assert!(is_drawn && !is_drawn_elsewhere);
        assert!(with < 0.4 * without, "{with} {without}");
        assert!(!validate(&many, &directions).0);
    }

    #[test]
    fn nothing_is_found_where_there_is_nothing_to_learn_from() {
        let empty = [Moment::new(ORDER)];
        let mut rng = Pcg64::seed_from_u64(5);
        let some = [moment(30, |_| 1.0, &mut rng)];
        assert_eq!(least_noise(&empty, &some), None);
        assert_eq!(least_noise(&some, &empty), None);
        assert_eq!(least_noise(&[Moment::new(1)], &[Moment::new(1)]), None);
    }
}
