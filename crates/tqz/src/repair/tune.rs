//! Label-free tuning of side values: Adam on the distance between the quantized network's outputs and the original's.

use std::collections::BTreeMap;

use ndarray::{Array1, ArrayD, ArrayView1, Zip};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::fidelity::{Yardstick, first_output};
use crate::images::Images;
use crate::outputs::{OutputKind, rows};
use crate::progress::Progress;
use crate::repair::{SideValues, Turnable};
use crate::sum::sum_in_order;

/// Images per shard of a batch: fixed, so that sums do not depend on threads.
const SHARD: usize = 8;
/// Adam's decay rates of the mean and of the square of gradients.
const DECAY: (f32, f32) = (0.9, 0.99);
/// How often progress is judged on the images kept back.
const CHECKS: usize = 8;
/// What the rate is divided by where a judgement is no better than the best before.
const BACK_OFF: f32 = 4.0;
/// Judgements in a row that are no better, after which nothing more is to be hoped for at what is left of the rate.
const IN_VAIN: i32 = 4;

/// How long and how far to tune.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TuneSpec {
    /// Gradient steps.
    pub(crate) steps: usize,
    /// Images per step.
    pub(crate) batch: usize,
    /// Step of a value in units of its vector's root mean square at the start; falls to 0 along a cosine, and to a quarter wherever it did harm.
    pub(crate) rate: f32,
    /// Seed of the order of images.
    pub(crate) seed: u64,
}

/// Adam's memory.
struct Memory {
    vectors: BTreeMap<String, Moments>,
    steps: i32,
}

/// Adam's memory for one vector.
struct Moments {
    mean: ArrayD<f32>,
    square: ArrayD<f32>,
    size: f32,
}

/// Tunes the values `start` that can be turned of `quantized`, which leave so much distance; returns the best values seen by the yardstick,
/// at worst those given, and their distance. Where a judgement is no better than an earlier one it goes on from the best, more slowly: what is
/// a small step to one network ruins another (MobileNet at 3.5 bits: .025 → .28 nats in 13 steps at the rate that serves ResNet-20). After
/// [`IN_VAIN`] such judgements in a row it ends.
///
/// # Errors
/// A network that does not run or has no gradient.
pub(crate) fn tune(
    (original, quantized): (&Network, &Turnable<'_>),
    (start, distance): (&SideValues, f64),
    (images, yardstick): (&Images, &Yardstick<'_>),
    spec: TuneSpec,
    progress: &dyn Progress,
) -> Result<(SideValues, f64), TqzError> {
    let mut values = start.clone();
    let mut best = values.clone();
    let mut least = distance;
    let mut memory = Memory::new(start);
    let (mut rate, mut in_vain) = (spec.rate, 0);
    let mut order = Order::new(images, spec);
    let wanted = Wanted::of(original, images)?;
    progress.begin("tuning", spec.steps as u64);
    for step in 0..spec.steps {
        let numbers = order.next(images);
        let batch = (images.batch(&numbers)?, wanted.batch(&numbers));
        let network = quantized.turned(&values)?;
        let gradients = gradients((quantized, &network), &values, &batch, yardstick.kind())?;
        let fall = (1.0 + (std::f32::consts::PI * step as f32 / spec.steps as f32).cos()) / 2.0;
        memory.step(&mut values, &gradients, rate * fall);
        progress.advance(1);
        let judged = (step + 1) * CHECKS / spec.steps > step * CHECKS / spec.steps;
        if judged {
            let distance = yardstick.measure(&quantized.turned(&values)?)?;
            if distance < least {
                (least, best, in_vain) = (distance, values.clone(), 0);
            } else {
                in_vain += 1;
                values = best.clone();
                memory = Memory::new(start);
                rate /= BACK_OFF;
            }
            if in_vain == IN_VAIN {
                break;
            }
        }
    }
    progress.finish();
    Ok((best, least))
}

fn remember((name, value): (&String, &ArrayD<f32>)) -> (String, Moments) {
    let power = value.iter().map(|v| v * v).sum::<f32>() / value.len().max(1) as f32;
    let zeros = ArrayD::zeros(value.raw_dim());
    let moments = Moments {
        mean: zeros.clone(),
        square: zeros,
        size: power.sqrt().max(1e-3),
    };
    (name.clone(), moments)
}

impl Memory {
    /// Of nothing yet, for vectors of the size of these.
    fn new(values: &SideValues) -> Self {
        Self {
            vectors: values.iter().map(remember).collect(),
            steps: 0,
        }
    }

    /// One step of Adam, `rate` relative to every vector's size.
    fn step(&mut self, values: &mut SideValues, gradients: &SideValues, rate: f32) {
        self.steps = self.steps.saturating_add(1);
        for (name, gradient) in gradients {
            if let (Some(value), Some(moments)) = (values.get_mut(name), self.vectors.get_mut(name))
            {
                moments.step(value, gradient, (rate, self.steps));
            }
        }
    }
}

impl Moments {
    /// One step of Adam, the `count`-th, `rate` relative to the vector's size.
    fn step(&mut self, value: &mut ArrayD<f32>, gradient: &ArrayD<f32>, (rate, count): (f32, i32)) {
        let (b1, b2) = DECAY;
        let (unbias1, unbias2) = (1.0 - b1.powi(count), 1.0 - b2.powi(count));
        let rate = rate * self.size;
        Zip::from(value)
            .and(&mut self.mean)
            .and(&mut self.square)
            .and(gradient)
            .for_each(|value, mean, square, &g| {
                *mean = b1 * *mean + (1.0 - b1) * g;
                *square = b2 * *square + (1.0 - b2) * g * g;
                *value -= rate * (*mean / unbias1) / ((*square / unbias2).sqrt() + 1e-12);
            });
    }
}

/// The original's outputs on the images that are learnt from.
struct Wanted {
    outputs: BTreeMap<usize, Array1<f32>>,
}

impl Wanted {
    fn of(original: &Network, images: &Images) -> Result<Self, TqzError> {
        let mut outputs = BTreeMap::new();
        for numbers in images.batches(&images.learnt(), 8 * SHARD) {
            let output = first_output(original, &images.batch(&numbers)?)?;
            let found = numbers.iter().zip(rows(&output));
            outputs.extend(found.map(|(&number, row)| (number, row.to_owned())));
        }
        Ok(Self { outputs })
    }

    /// Those of some images, in their order.
    fn batch(&self, numbers: &[usize]) -> Vec<ArrayView1<'_, f32>> {
        let found = numbers.iter().filter_map(|number| self.outputs.get(number));
        found.map(|output| output.view()).collect()
    }
}

/// Gradients of the mean distance over a batch of images and wanted outputs: shards in parallel, summed in order.
fn gradients(
    (quantized, network): (&Turnable<'_>, &Network),
    values: &SideValues,
    (batch, wanted): &(ArrayD<f32>, Vec<ArrayView1<'_, f32>>),
    kind: OutputKind,
) -> Result<SideValues, TqzError> {
    let names: Vec<&str> = values.keys().map(String::as_str).collect();
    let images = batch.shape().first().copied().unwrap_or(1).max(1);
    let size = network.fixed_batch().unwrap_or(SHARD).max(1);
    let starts = (0..images).step_by(size);
    let (_, sum) = sum_in_order(starts, |start| {
        let end = (start + size).min(images);
        let part = batch.slice_axis(ndarray::Axis(0), (start..end).into());
        let part = network.fill_batch(part)?;
        let cotangent = |outputs: &[ArrayD<f32>]| {
            let mut all: Vec<ArrayD<f32>> =
                outputs.iter().map(|o| ArrayD::zeros(o.raw_dim())).collect();
            let weight = 1.0 / images as f64;
            let pairs = wanted[start..end].iter().zip(rows(&outputs[0]));
            let slopes = pairs.flat_map(|(&r, o)| kind.gradient(r, o, weight));
            all[0].iter_mut().zip(slopes).for_each(|(to, g)| *to = g);
            all
        };
        let found = network.weight_gradients(&[part], &names, &cotangent)?;
        Ok((end - start, found.gradients))
    })?;
    Ok(quantized.of_gains(sum, values))
}

/// Endless shuffled passes over the images that are learnt from.
struct Order {
    rng: Pcg64,
    queue: Vec<usize>,
    batch: usize,
}

impl Order {
    fn new(images: &Images, spec: TuneSpec) -> Self {
        Self {
            rng: Pcg64::seed_from_u64(spec.seed ^ 0x7475_6E65),
            queue: Vec::new(),
            batch: spec.batch.clamp(1, images.learnt().len().max(1)),
        }
    }

    /// Numbers of the next batch's images; all of one shape, so perhaps fewer than asked for.
    fn next(&mut self, images: &Images) -> Vec<usize> {
        if self.queue.len() < self.batch {
            let mut all = images.learnt();
            all.shuffle(&mut self.rng);
            self.queue.extend(all);
        }
        let drawn: Vec<usize> = self
            .queue
            .drain(..self.batch.min(self.queue.len()))
            .collect();
        images.batches(&drawn, self.batch).swap_remove(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::repair::side_values;
    use crate::source::Source;
    use ndarray::IxDyn;
    use rand::RngExt;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tqz_engine::EngineDevice;

    const DEMO: &[u8] = include_bytes!("../../../../assets/demo.onnx");

    /// Counts steps.
    #[derive(Default)]
    struct Steps(AtomicU64);

    impl Progress for Steps {
        fn begin(&self, _: &str, _: u64) {}

        fn advance(&self, steps: u64) {
            self.0.fetch_add(steps, Ordering::Relaxed);
        }
    }

    /// The demo network and images of noise.
    fn subject() -> (Source, Images) {
        let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
        let source = Source::new(model, &EngineDevice::cpu()).expect("supported");
        let mut rng = Pcg64::seed_from_u64(3);
        let mut images = Images::new();
        images.add(&ArrayD::from_shape_fn(IxDyn(&[40, 3, 32, 32]), |_| {
            rng.random::<f32>() * 4.0 - 2.0
        }));
        (source, images)
    }

    const SPEC: TuneSpec = TuneSpec {
        steps: 40,
        batch: 16,
        rate: 1.0,
        seed: 0,
    };

    #[test]
    fn tuning_ends_after_four_judgements_in_vain() {
        let (source, images) = subject();
        let original = source.network();
        let yardstick = Yardstick::new(original, &images, &images.held()).expect("runs");
        let start = side_values(original, source.knobs());
        let steps = Steps::default();
        // Nothing is nearer to the original than itself.
        let found = tune(
            (original, &Turnable::new(original, std::iter::empty())),
            (&start, 0.0),
            (&images, &yardstick),
            SPEC,
            &steps,
        );
        assert_eq!(found.expect("runs"), (start, 0.0));
        let each = (SPEC.steps / CHECKS) as u64;
        assert_eq!(steps.0.load(Ordering::Relaxed), 4 * each);
    }

    #[test]
    fn a_rate_that_does_harm_is_lowered_until_tuning_helps() {
        let (source, images) = subject();
        let original = source.network();
        let yardstick = Yardstick::new(original, &images, &images.held()).expect("runs");
        let mut rng = Pcg64::seed_from_u64(4);
        let mut start = side_values(original, source.knobs());
        for value in start.values_mut() {
            value.mapv_inplace(|v| v * (1.0 + 0.2 * (rng.random::<f32>() - 0.5)));
        }
        let distance = |values: &SideValues| {
            let network = original.with_weights(values).expect("fits");
            yardstick.measure(&network).expect("runs")
        };
        let before = distance(&start);
        let found = tune(
            (original, &Turnable::new(original, std::iter::empty())),
            (&start, before),
            (&images, &yardstick),
            SPEC,
            &Silent,
        );
        let (values, after) = found.expect("runs");
        assert!(after < 0.9 * before, "{before} → {after}");
        assert!((distance(&values) - after).abs() < 1e-6 * before);
    }
}
