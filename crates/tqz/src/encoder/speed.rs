//! Multiply–accumulates with a price: which rows of T a network may keep so that running it costs no more than a given part of the
//! dense network. A row costs its part of T and a column of S at every position and is worth its energy; a layer is transformed only
//! where that is cheaper than dense (theory §4, Eq. 14). One price for the whole network, found by bisection.

use tqz_format::{BlockCoding, LayerRecord};

use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::macs::Work;

/// Share of the dense layer's work that T and S must stay below: as in the exported networks.
const WORTHWHILE: f64 = 0.95;
/// Halvings of the interval that the price lies in, in octaves: enough for any double.
const HALVINGS: u32 = 60;
/// Rows of T that limits come in.
const TOGETHER: usize = 16;
/// Octaves of the price searched on either side of 1.
const OCTAVES: f64 = 200.0;

/// What rows of a layer are worth, and what they cost for one image.
#[derive(Debug, Clone)]
pub(crate) struct Worth {
    /// Multiply–accumulates of the dense layer.
    dense: f64,
    /// Multiply–accumulates of one row of T with its column of S.
    of_row: f64,
    /// Distortion without each row of T, falling; empty for a layer that is not transformed.
    energy: Vec<f64>,
    /// Rows beyond these have no level at the rate asked for.
    alive: usize,
}

/// How many rows of T a layer may keep; none: as many as it likes, transformed or not.
pub(crate) type Limit = Option<usize>;

impl Worth {
    /// Of a layer of so much work whose rows of T, if it has a transform, have these energies.
    pub(crate) fn new(layer: &WeightLayer, work: Work, energy: &[f64]) -> Self {
        let dense = work.macs as f64;
        Self {
            dense,
            // A row of T costs what a row of the weights does, a column of S one product for each output; strides of a transposed
            // convolution lie between the two.
            of_row: dense / layer.rows.max(1) as f64 + work.outputs as f64,
            energy: energy.to_vec(),
            alive: energy.len(),
        }
    }

    /// Multiply–accumulates with so many rows of T.
    fn of_rows(&self, rows: usize) -> f64 {
        let chain = self.of_row * rows as f64;
        if chain < WORTHWHILE * self.dense {
            chain
        } else {
            self.dense
        }
    }

    /// Multiply–accumulates of a coded layer.
    pub(crate) fn of_record(&self, record: &LayerRecord) -> f64 {
        match &record.blocks[..] {
            [block] => match &block.coding {
                BlockCoding::Column { t, .. } => self.of_rows(t.active_rows().len().max(1)),
                _ => self.dense,
            },
            _ => self.dense,
        }
    }

    /// Takes note of how many rows have levels where they might have had more.
    pub(crate) fn note(&mut self, record: &LayerRecord, limit: Limit) {
        let [block] = &record.blocks[..] else { return };
        if let BlockCoding::Column { t, .. } = &block.coding {
            let found = t.active_rows().len();
            let free = limit.is_none_or(|limit| found < limit);
            self.alive = if free {
                found.max(1)
            } else {
                self.energy.len()
            };
        }
    }

    /// The limit that is best at a price, and what the layer then costs.
    fn at(&self, price: f64) -> (Limit, f64) {
        let all = self.of_rows(self.alive);
        if self.energy.is_empty() {
            return (None, self.dense);
        }
        let worth = |&&energy: &&f64| energy > price * self.of_row;
        let kept = self.energy[..self.alive]
            .iter()
            .take_while(worth)
            .count()
            .max(1);
        // Processors compute so many output channels at once: a part of them costs as much as all.
        let kept = kept.next_multiple_of(TOGETHER).min(self.alive);
        let lost: f64 = self.energy[kept..self.alive].iter().sum();
        let cut = self.of_rows(kept);
        if lost + price * cut < price * all {
            return (Some(kept), cut);
        }
        // Rows that have no level now shall not come back if others leave.
        let capped = (all < self.dense).then_some(self.alive);
        (capped, all)
    }
}

/// Limits of all layers with which the network costs at most so large a part of the dense one.
///
/// # Errors
/// A part that cannot be reached: the message states the least possible.
pub(crate) fn limits(worths: &[Worth], part: f64) -> Result<Vec<Limit>, TqzError> {
    let dense: f64 = worths.iter().map(|worth| worth.dense).sum();
    let cost = |log2_price: f64| -> f64 {
        let price = log2_price.exp2();
        worths.iter().map(|worth| worth.at(price).1).sum()
    };
    let (mut low, mut high) = (-OCTAVES, OCTAVES);
    if cost(high) > part * dense {
        return Err(TqzError::Request(format!(
            "--macs {part}: layers that cannot be transformed (depthwise, grouped, or narrow) and the fewest rows of T in every other take {:.3} \
             of the multiply–accumulates; ask for more",
            cost(high) / dense.max(1.0)
        )));
    }
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if cost(middle) > part * dense {
            low = middle;
        } else {
            high = middle;
        }
    }
    let price = high.exp2();
    Ok(worths.iter().map(|worth| worth.at(price).0).collect())
}

/// The part of the dense network's multiply–accumulates that coded layers cost.
pub(crate) fn part_of_dense<'a>(
    worths: &[Worth],
    records: impl Iterator<Item = &'a LayerRecord>,
) -> f64 {
    let dense: f64 = worths.iter().map(|worth| worth.dense).sum();
    let coded: f64 = worths
        .iter()
        .zip(records)
        .map(|(worth, record)| worth.of_record(record))
        .sum();
    if dense > 0.0 { coded / dense } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(positions: f64, energy: Vec<f64>) -> Worth {
        Worth {
            dense: positions * 100.0 * 100.0,
            of_row: positions * 200.0,
            alive: energy.len(),
            energy,
        }
    }

    #[test]
    fn rows_of_little_energy_for_their_work_leave_first() {
        let falling = |decay: f64| {
            (0..100)
                .map(|l| (-decay * f64::from(l)).exp())
                .collect::<Vec<_>>()
        };
        let worths = [
            worth(1.0, falling(0.3)),
            worth(4.0, falling(0.3)),
            worth(1.0, falling(0.01)),
        ];
        let found = limits(&worths, 0.5).expect("reachable");
        let kept: Vec<usize> = found.iter().map(|limit| limit.unwrap_or(100)).collect();
        assert!(
            kept[0] > kept[1],
            "dear positions keep fewer rows: {kept:?}"
        );
        assert!(kept[2] > kept[0], "flat spectra keep more rows: {kept:?}");
        let cost: f64 = worths.iter().zip(&kept).map(|(w, &k)| w.of_rows(k)).sum();
        let dense: f64 = worths.iter().map(|w| w.dense).sum();
        assert!(cost <= 0.5 * dense, "{}", cost / dense);
    }

    #[test]
    fn what_cannot_be_reached_is_said() {
        let worths = [worth(1.0, vec![]), worth(1.0, vec![1.0; 100])];
        let error = limits(&worths, 0.4).expect_err("half is fixed");
        assert!(error.to_string().contains("0.660"), "{error}");
        assert!(limits(&worths, 0.7).is_ok());
    }
}
