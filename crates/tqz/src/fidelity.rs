//! How faithful a quantized network is to the original on calibration images, by running both: what decides where the closed
//! form cannot be trusted (theory §9).

use ndarray::ArrayD;
use tqz_engine::Network;

use crate::error::TqzError;
use crate::images::Images;
use crate::outputs::{OutputKind, rows};

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
        let (mut distance, mut count) = (0.0, 0_u32);
        for (numbers, reference) in &self.batches {
            let output = first_output(network, &self.images.batch(numbers)?)?;
            for (r, o) in rows(reference).zip(rows(&output)) {
                let far = self.kind.distance(r, o);
                distance += if far.is_finite() {
                    far
                } else {
                    f64::MAX.sqrt()
                };
                count += 1;
            }
        }
        Ok(distance / f64::from(count.max(1)))
    }
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
