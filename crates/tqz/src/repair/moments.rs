//! Moment matching: in one pass through the quantized network, layer after layer, every normalised (or biased) channel gets
//! the mean and the spread that it has in the original.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::repair::{Knob, SideValues};

/// A channel's spread is corrected by at most these factors.
const GAIN: (f64, f64) = (0.5, 3.0);
/// A channel whose spread fell below this part of the original's is dead and keeps its scale.
const DEAD: f64 = 1e-3;

/// Mean and standard deviation per channel (axis 1).
#[derive(Debug, Clone)]
struct Channels {
    mean: Vec<f64>,
    spread: Vec<f64>,
}

impl Channels {
    fn of(value: &ArrayD<f32>) -> Self {
        let (channels, area) = extents(value);
        let mut sums = vec![(0.0_f64, 0.0_f64); channels];
        let planes = value.as_slice().unwrap_or(&[]).chunks_exact(area);
        let count = (planes.len() / channels.max(1) * area).max(1) as f64;
        for (index, plane) in planes.enumerate() {
            let (sum, square) = &mut sums[index % channels];
            *sum += plane.iter().map(|&v| f64::from(v)).sum::<f64>();
            *square += plane
                .iter()
                .map(|&v| f64::from(v) * f64::from(v))
                .sum::<f64>();
        }
        let per_channel = sums.iter().map(|(sum, square)| {
            let mean = sum / count;
            (mean, (square / count - mean * mean).max(0.0).sqrt())
        });
        let (mean, spread) = per_channel.unzip();
        Self { mean, spread }
    }
}

/// Channels (axis 1) and elements of one channel of one image.
fn extents(value: &ArrayD<f32>) -> (usize, usize) {
    let shape = value.shape();
    let area: usize = shape.iter().skip(2).product();
    (shape.get(1).copied().unwrap_or(1).max(1), area.max(1))
}

/// The moments that the knobs' channels have in the original on a batch.
pub(crate) struct Moments<'a> {
    knobs: &'a [Knob],
    wanted: BTreeMap<String, Channels>,
}

impl<'a> Moments<'a> {
    /// Runs the original.
    ///
    /// # Errors
    /// A network that does not run on the batch.
    pub(crate) fn of(
        original: &Network,
        knobs: &'a [Knob],
        batch: &ArrayD<f32>,
    ) -> Result<Self, TqzError> {
        let mut wanted = BTreeMap::new();
        let inputs = std::slice::from_ref(batch);
        original.run_adjusting(inputs, &names_of(knobs), &mut |name, value| {
            if value.ndim() >= 2 && value.is_standard_layout() {
                wanted.insert(name.to_owned(), Channels::of(&value));
            }
            value
        })?;
        Ok(Self { knobs, wanted })
    }

    /// The values that [`Self::matched`] is to be given.
    pub(crate) fn names(&self) -> Vec<&'a str> {
        names_of(self.knobs)
    }

    /// A value of `quantized` with the wanted moments; the side values that give it those are noted.
    pub(crate) fn matched(
        &self,
        quantized: &Network,
        (name, value): (&str, ArrayD<f32>),
        changed: &mut SideValues,
    ) -> ArrayD<f32> {
        let knob = self.knobs.iter().find(|k| k.output == name);
        match (knob, self.wanted.get(name)) {
            (Some(knob), Some(wanted)) => correct(quantized, knob, wanted, value, changed),
            _ => value,
        }
    }
}

fn names_of(knobs: &[Knob]) -> Vec<&str> {
    knobs.iter().map(|k| k.output.as_str()).collect()
}

/// Changed side values of `quantized` such that the knobs' channels have the moments they have in `original` on the batch;
/// the order of the knobs does not matter.
///
/// # Errors
/// A network that does not run on the batch.
pub(crate) fn match_moments(
    (original, quantized): (&Network, &Network),
    knobs: &[Knob],
    batch: &ArrayD<f32>,
) -> Result<SideValues, TqzError> {
    let moments = Moments::of(original, knobs, batch)?;
    let mut changed = SideValues::new();
    let inputs = std::slice::from_ref(batch);
    quantized.run_adjusting(inputs, &moments.names(), &mut |name, value| {
        moments.matched(quantized, (name, value), &mut changed)
    })?;
    Ok(changed)
}

/// Gives one value the wanted moments and notes the side values that do so; the value as it is where they have another form.
fn correct(
    network: &Network,
    knob: &Knob,
    wanted: &Channels,
    mut value: ArrayD<f32>,
    changed: &mut SideValues,
) -> ArrayD<f32> {
    let channels = wanted.mean.len();
    let stored = |name: &String| network.weight(name).filter(|w| w.len() == channels);
    let Some(mut offset) = stored(&knob.offset) else {
        return value;
    };
    let mut scale = knob.scale.as_ref().and_then(stored);
    if !value.is_standard_layout() || extents(&value).0 != channels {
        return value;
    }
    let found = Channels::of(&value);
    let (Some(offsets), mut scales) = (
        offset.as_slice_mut(),
        scale.as_mut().and_then(|s| s.as_slice_mut()),
    ) else {
        return value;
    };
    let mut corrections = Vec::with_capacity(channels);
    for c in 0..channels {
        let gain = match &mut scales {
            Some(scales) if found.spread[c] > DEAD * wanted.spread[c] => {
                let gain = (wanted.spread[c] / found.spread[c]).clamp(GAIN.0, GAIN.1);
                scales[c] = (f64::from(scales[c]) * gain) as f32;
                gain
            }
            _ => 1.0,
        };
        let shift = wanted.mean[c] - gain * found.mean[c];
        offsets[c] = (f64::from(offsets[c]) * gain + shift) as f32;
        corrections.push((gain as f32, shift as f32));
    }
    let area = extents(&value).1;
    let planes = value
        .as_slice_mut()
        .unwrap_or(&mut [])
        .chunks_exact_mut(area);
    for (index, plane) in planes.enumerate() {
        let (gain, shift) = corrections[index % channels];
        plane.iter_mut().for_each(|v| *v = gain * *v + shift);
    }
    changed.insert(knob.offset.clone(), offset);
    if let (Some(name), Some(scale)) = (&knob.scale, scale) {
        changed.insert(name.clone(), scale);
    }
    value
}
