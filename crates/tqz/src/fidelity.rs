//! How faithful a quantized network is to the original on calibration images, by running both: what decides where the closed
//! form cannot be trusted (theory §9).

use ndarray::{ArrayD, ArrayView1};
use serde::Serialize;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::images::Images;
use crate::outputs::{OutputKind, rows};
use crate::progress::Progress;

/// Images per batch that is measured.
const BATCH: usize = 64;
/// Images per shard of such a batch.
const SHARD: usize = 8;

/// The original's outputs on some images.
pub(crate) struct Yardstick<'a> {
    images: &'a Images,
    batches: Vec<(Vec<usize>, ArrayD<f32>)>,
    kind: OutputKind,
}

impl<'a> Yardstick<'a> {
    /// Runs the original on the images of these numbers.
    ///
    /// # Errors
    /// The network does not run on them.
    pub(crate) fn new(
        original: &Network,
        images: &'a Images,
        numbers: &[usize],
    ) -> Result<Self, TqzError> {
        let mut batches = Vec::new();
        let mut kind = OutputKind::Values;
        for batch in images.batches(numbers, BATCH) {
            let output = first_output(original, &images.batch(&batch)?)?;
            kind = OutputKind::of(&output);
            batches.push((batch, output));
        }
        Ok(Self {
            images,
            batches,
            kind,
        })
    }

    /// What the outputs are.
    pub(crate) fn kind(&self) -> OutputKind {
        self.kind
    }

    /// A distance that begins to show: a hundredth of a nat, or a thousandth of the outputs' energy.
    pub(crate) fn noticeable(&self) -> f64 {
        if self.kind != OutputKind::Values {
            return 0.01;
        }
        let outputs = || self.batches.iter().flat_map(|(_, output)| rows(output));
        let energy = outputs().map(|o| o.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>());
        (0.001 * energy.sum::<f64>() / outputs().count().max(1) as f64).max(1e-12)
    }

    /// Runs another network on the same images: its distance from the original in nats, or as squared error summed over an
    /// image; mean over the images.
    ///
    /// # Errors
    /// The network does not run on them.
    pub(crate) fn measure(&self, network: &Network) -> Result<f64, TqzError> {
        Ok(mean(&self.measure_each(network)?))
    }

    /// The same, image by image.
    ///
    /// # Errors
    /// The network does not run on them.
    pub(crate) fn measure_each(&self, network: &Network) -> Result<Vec<f64>, TqzError> {
        let mut distances = Vec::new();
        for (numbers, reference) in &self.batches {
            let output = first_output(network, &self.images.batch(numbers)?)?;
            let far = rows(reference).zip(rows(&output));
            distances.extend(far.map(|(r, o)| finite(self.kind.distance(r, o))));
        }
        Ok(distances)
    }
}

/// Outputs that are no numbers are as far off as can still be summed.
fn finite(distance: f64) -> f64 {
    if distance.is_finite() {
        distance
    } else {
        f64::MAX.sqrt()
    }
}

/// Mean of distances; 0 of none.
pub(crate) fn mean(distances: &[f64]) -> f64 {
    distances.iter().sum::<f64>() / distances.len().max(1) as f64
}

/// The network's first output on a batch.
pub(crate) fn first_output(
    network: &Network,
    batch: &ArrayD<f32>,
) -> Result<ArrayD<f32>, TqzError> {
    let outputs = network.run_batch(batch, SHARD)?;
    let first = outputs.into_iter().next();
    first.ok_or_else(|| TqzError::Request("the network has no output".to_owned()))
}

/// How close two networks' outputs are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// Images compared.
    pub compared_images: usize,
    /// Share of images with the same largest output; absent for networks that are no classifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement_percent: Option<f64>,
    /// Mean distance: Kullback–Leibler divergence in nats for classifiers, squared error of an image's output for others.
    pub distance: f64,
    /// Power of the outputs over that of their differences, in decibel.
    pub output_snr_db: f64,
}

/// Runs a network and its reference on images.
///
/// # Errors
/// A network that does not run on them.
pub(crate) fn agreement(
    (reference, network): (&Network, &Network),
    (images, numbers): (&Images, &[usize]),
    progress: &dyn Progress,
) -> Result<Agreement, TqzError> {
    progress.begin("comparing", numbers.len() as u64);
    let (mut same, mut distance, mut power, mut noise) = (0_u32, 0.0, 0.0, 0.0);
    let mut kind = OutputKind::Values;
    for batch in images.batches(numbers, BATCH) {
        let input = images.batch(&batch)?;
        let (wanted, found) = (
            first_output(reference, &input)?,
            first_output(network, &input)?,
        );
        kind = OutputKind::of(&wanted);
        for (r, o) in rows(&wanted).zip(rows(&found)) {
            same += u32::from(largest(r) == largest(o));
            distance += kind.distance(r, o);
            let pairs = r.iter().zip(o);
            noise += pairs.map(|(r, o)| f64::from(r - o).powi(2)).sum::<f64>();
            power += r.iter().map(|r| f64::from(*r).powi(2)).sum::<f64>();
        }
        progress.advance(batch.len() as u64);
    }
    progress.finish();
    let count = numbers.len().max(1) as f64;
    // Outputs that are no numbers are as far off as can be.
    let [distance, noise] =
        [distance, noise].map(|v: f64| if v.is_finite() { v } else { f64::MAX });
    Ok(Agreement {
        compared_images: numbers.len(),
        agreement_percent: (kind != OutputKind::Values).then(|| 100.0 * f64::from(same) / count),
        distance: distance / count,
        // Equal outputs are as good as single precision tells.
        output_snr_db: 10.0 * (power / noise.max(power * 1e-15).max(f64::MIN_POSITIVE)).log10(),
    })
}

fn largest(values: ArrayView1<'_, f32>) -> Option<usize> {
    let numbered = values.iter().enumerate();
    numbered
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(index, _)| index)
}
