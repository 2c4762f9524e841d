//! Second-order statistics of a network on calibration images (theory §7): the encoder's knowledge of what an error in a
//! weight does to the output. Sums and counts, so that parts add up: over batches, over shards on many machines.

mod file;
mod moment;
mod partial;
mod shrinkage;
mod summary;
mod validation;

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::Array2;

use crate::config::Metric;
use crate::error::TqzError;
use crate::images::Images;
use crate::layout::WeightLayer;

pub(crate) use moment::Moment;
pub(crate) use partial::{PartialGroup, partial_sums};
pub(crate) use shrinkage::shrinkage;
pub use summary::LayerSummary;
use summary::mean_diagonal;

/// Longest patch whose second moment A is kept whole. Longer ones (dense layers after a flattened feature map) get a
/// block-diagonal A with equal blocks of whole input channels: memory per layer is then at most `INPUT_BLOCK · K` numbers.
pub const INPUT_BLOCK: usize = 4608;

/// Statistics of one weight tensor: one entry per group, or per channel for a depthwise layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerStatistics {
    /// One for an ungrouped layer; one per group, or per row of a depthwise layer.
    pub groups: Vec<GroupStatistics>,
}

/// Second moments of one group of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatistics {
    /// Patches x of the layer's input, K elements, in blocks that cover them in order; counted per patch.
    pub(crate) input: Vec<Moment>,
    /// Gradients g at the layer's output, summed over positions; counted per image.
    pub(crate) output: Moment,
    /// What serves images kept back best; files do not hold it.
    validated: Validated,
}

/// What was decided by images kept back.
#[derive(Debug, Clone, PartialEq, Default)]
struct Validated {
    /// Damping of A beside the standard one, as a fraction of its mean diagonal; 0 where it is not known.
    input_damping: f64,
    /// The same of G.
    output_damping: f64,
    /// A halfway to the second moment of the rows of the layer's weights, where that serves better than A.
    drawn: Option<Moment>,
}

impl LayerStatistics {
    /// Empty sums for a weight tensor.
    pub(crate) fn empty(layer: &WeightLayer) -> Self {
        let rows = layer.rows / layer.groups.max(1);
        let blocks = input_blocks(layer.cols, layer.period);
        let group = || {
            let input = blocks.iter().map(|b| Moment::new(b.len())).collect();
            GroupStatistics::new(input, Moment::new(rows))
        };
        Self {
            groups: (0..layer.groups).map(|_| group()).collect(),
        }
    }

    /// As of a layer whose output channels are multiplied by what these numbers divide by: gradients grow with them.
    pub(crate) fn with_gradients_times(&self, factors: &[f32]) -> Self {
        let mut of_groups = self.clone();
        let mut rest = factors;
        for group in &mut of_groups.groups {
            let (own, others) = rest.split_at(group.output.order().min(rest.len()));
            group.output = group.output.of_multiples(own);
            rest = others;
        }
        of_groups
    }

    fn moments(&self) -> impl Iterator<Item = &Moment> {
        self.groups.iter().flat_map(GroupStatistics::moments)
    }
}

impl GroupStatistics {
    /// A = E[x·xᵗ]: mean over images and positions, K × K; one matrix per block, in order. Half of it is WᵗW, scaled to its trace, where
    /// that serves images kept back better.
    pub fn input(&self) -> Vec<Array2<f32>> {
        self.believed_input().iter().map(Moment::mean).collect()
    }

    /// What stands for A: the sums, or what they were drawn to.
    fn believed_input(&self) -> &[Moment] {
        match &self.validated.drawn {
            Some(drawn) => std::slice::from_ref(drawn),
            None => &self.input,
        }
    }

    /// G = E[Σ_p J_pᵗJ_p]: summed over positions, mean over images, n × n.
    pub fn output(&self) -> Array2<f32> {
        self.output.mean()
    }

    /// Of these moments, validated by nothing.
    fn new(input: Vec<Moment>, output: Moment) -> Self {
        Self {
            input,
            output,
            validated: Validated::default(),
        }
    }

    /// Damping of A and of G that their errors ask for: by how much parts differ, or what serves images kept back best where that is more,
    /// since the closed form rewards too little damping (theory §9).
    pub(crate) fn shrinkage(&self) -> (f64, f64) {
        let (input, output) = (self.believed_input(), std::slice::from_ref(&self.output));
        (
            shrinkage(input).max(self.validated.input_damping),
            shrinkage(output).max(self.validated.output_damping),
        )
    }

    /// Mean diagonal of A times mean diagonal of G.
    pub(crate) fn mean_sensitivity(&self) -> f64 {
        mean_diagonal(&self.input) * mean_diagonal(std::slice::from_ref(&self.output))
    }

    /// Number of patches seen.
    pub fn patches(&self) -> f64 {
        self.input.first().map_or(0.0, Moment::count)
    }

    fn moments(&self) -> impl Iterator<Item = &Moment> {
        self.input.iter().chain([&self.output])
    }
}

/// The blocks into which the K elements of a patch are cut: one, or as few equal ones of whole input channels as keep each
/// within [`INPUT_BLOCK`] (a channel with more kernel positions than that is cut anywhere).
pub(crate) fn input_blocks(cols: usize, period: usize) -> Vec<Range<usize>> {
    let unit = if period <= INPUT_BLOCK {
        period.max(1)
    } else {
        1
    };
    let units = cols / unit;
    let blocks = units.div_ceil((INPUT_BLOCK / unit).max(1)).max(1);
    (0..blocks)
        .map(|b| units * b / blocks * unit..units * (b + 1) / blocks * unit)
        .collect()
}

/// Statistics of all weight tensors of a network, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// By name of the weight tensor.
    pub layers: BTreeMap<String, LayerStatistics>,
    /// Checksum of the network's weights: statistics hold for these alone.
    pub network: u32,
    /// Which distortion G measures; `Auto` was decided by the network's output.
    pub metric: Metric,
    /// Seed of the random directions.
    pub seed: u64,
    /// Ranges of images seen, of a set of `total`: ascending, apart.
    pub seen: Vec<Range<u64>>,
    /// Number of images in the whole set.
    pub total: u64,
}

impl Statistics {
    /// Number of images seen.
    pub fn images(&self) -> u64 {
        self.seen.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether none of the images kept back to judge by was seen; where the set was another one, that cannot be known.
    pub(crate) fn spare(&self, images: &Images) -> bool {
        self.total == images.of_set() as u64 && !self.has_seen(&images.held())
    }

    /// Whether any image of these numbers was seen.
    pub(crate) fn has_seen(&self, numbers: &[usize]) -> bool {
        let seen = |number: u64| self.seen.iter().any(|range| range.contains(&number));
        numbers.iter().any(|&number| seen(number as u64))
    }

    /// Adds up the statistics of shards of one set, in the order of their images whatever the order given: the same shards
    /// give the same bits.
    ///
    /// # Errors
    /// Nothing to merge; shards of other networks, sets, seeds or metrics; images that two shards have in common.
    pub fn merge(parts: Vec<Self>) -> Result<Self, TqzError> {
        // Where there are more shards than units of images, some have none; they did not even learn their metric.
        let (mut parts, without): (Vec<Self>, Vec<Self>) =
            parts.into_iter().partition(|part| !part.seen.is_empty());
        let Some(first) = parts.first() else {
            return without.into_iter().next().ok_or_else(nothing_to_merge);
        };
        for part in &without {
            part.check_network(first.network)?;
        }
        parts.sort_by_key(|part| part.seen.first().map_or(0, |range| range.start));
        let mut parts = parts.into_iter();
        let mut merged = parts.next().ok_or_else(nothing_to_merge)?;
        for part in parts {
            merged.add(part)?;
        }
        Ok(merged)
    }

    fn add(&mut self, other: Self) -> Result<(), TqzError> {
        let of = |s: &Self| (s.network, s.metric, s.seed, s.total);
        if of(self) != of(&other) {
            return Err(TqzError::Request(format!(
                "statistics of another run: checksum of the network, metric, seed and images of the set are {:?} and {:?}",
                of(self),
                of(&other)
            )));
        }
        let last = self.seen.last().map_or(0, |range| range.end);
        if let Some(range) = other.seen.iter().find(|range| range.start < last) {
            return Err(TqzError::Request(format!(
                "images {} to {} are in more than one of the statistics",
                range.start,
                range.end.min(last)
            )));
        }
        self.check_layers(&other)?;
        for (mine, theirs) in self.layers.values_mut().zip(other.layers.values()) {
            let groups = mine.groups.iter_mut().zip(&theirs.groups);
            for (mine, theirs) in groups {
                mine.validated = Validated::default();
                mine.output.add(&theirs.output);
                let blocks = mine.input.iter_mut().zip(&theirs.input);
                blocks.for_each(|(mine, theirs)| mine.add(theirs));
            }
        }
        for range in other.seen {
            match self.seen.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.seen.push(range),
            }
        }
        Ok(())
    }

    /// Checks that these and others are of layers of the same names and sizes.
    ///
    /// # Errors
    /// They are not.
    fn check_layers(&self, other: &Self) -> Result<(), TqzError> {
        if same_shape(self, other) {
            return Ok(());
        }
        Err(TqzError::Request(
            "statistics of another network: their layers differ".to_owned(),
        ))
    }

    /// The statistics of one weight tensor.
    ///
    /// # Errors
    /// None, or of another shape.
    pub(crate) fn of(&self, layer: &WeightLayer) -> Result<&LayerStatistics, TqzError> {
        let found = self.layers.get(&layer.name).filter(|_| self.fits(layer));
        found.ok_or_else(|| {
            TqzError::layer(
                &layer.name,
                "no statistics of its shape; calibrate with this very network",
            )
        })
    }

    /// Checks that these were measured with weights of this checksum.
    ///
    /// # Errors
    /// They were not.
    pub(crate) fn check_network(&self, checksum: u32) -> Result<(), TqzError> {
        if self.network == checksum {
            return Ok(());
        }
        Err(TqzError::Request(
            "the statistics were measured with other weights; calibrate with this very network"
                .to_owned(),
        ))
    }

    /// Whether these are statistics of these weight tensors.
    pub(crate) fn fits(&self, layer: &WeightLayer) -> bool {
        let blocks = input_blocks(layer.cols, layer.period);
        let rows = layer.rows / layer.groups.max(1);
        let expected = |group: &GroupStatistics| {
            let found = group.input.iter().map(Moment::order);
            found.eq(blocks.iter().map(Range::len)) && group.output.order() == rows
        };
        self.layers.get(&layer.name).is_some_and(|found| {
            found.groups.len() == layer.groups && found.groups.iter().all(expected)
        })
    }
}

fn nothing_to_merge() -> TqzError {
    TqzError::Request("there are no statistics to merge".to_owned())
}

fn orders(layer: &LayerStatistics) -> impl Iterator<Item = usize> + '_ {
    layer.moments().map(Moment::order)
}

fn same_shape(a: &Statistics, b: &Statistics) -> bool {
    a.layers.keys().eq(b.layers.keys())
        && a.layers
            .values()
            .zip(b.layers.values())
            .all(|(a, b)| orders(a).eq(orders(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_patches_are_cut_into_equal_blocks_of_whole_channels() {
        assert_eq!(input_blocks(4608, 9), vec![0..4608]);
        assert_eq!(input_blocks(9216, 1), vec![0..4608, 4608..9216]);
        let blocks = input_blocks(25088, 49);
        assert!(
            blocks
                .iter()
                .all(|b| b.len() <= INPUT_BLOCK && b.start % 49 == 0)
        );
        assert_eq!(blocks.iter().map(Range::len).sum::<usize>(), 25088);
        assert_eq!(input_blocks(5000, 5000).len(), 2);
    }
}
