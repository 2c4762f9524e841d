//! Statistics in a few numbers a layer, to look at: sizes, samples, energies, and in how many directions these lie.

use serde::Serialize;

use super::{GroupStatistics, LayerStatistics, Moment, Statistics};

/// What statistics say about one weight tensor; means over its groups.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSummary {
    /// Name of the weight tensor.
    pub name: String,
    /// Groups (of a depthwise layer: channels), each with an A and a G.
    pub groups: usize,
    /// K: elements of an input patch.
    pub patch: usize,
    /// Blocks that A is cut into.
    pub blocks: usize,
    /// n: output channels of a group.
    pub rows: usize,
    /// Patches that A is the mean of.
    pub patches: f64,
    /// Images that G is the mean of.
    pub images: f64,
    /// Mean diagonal of A: energy of an input.
    pub mean_input: f64,
    /// Mean diagonal of G: sensitivity of the network's output to an output channel.
    pub mean_output: f64,
    /// tr(A)² / ‖A‖²: K where all directions have like energy, 1 where one has all.
    pub input_directions: f64,
    /// tr(G)² / ‖G‖².
    pub output_directions: f64,
}

impl Statistics {
    /// A few numbers for every weight tensor, by name.
    pub fn summary(&self) -> Vec<LayerSummary> {
        let of = |(name, layer): (&String, &LayerStatistics)| layer.summary(name);
        self.layers.iter().map(of).collect()
    }
}

impl LayerStatistics {
    fn summary(&self, name: &str) -> LayerSummary {
        let count = self.groups.len().max(1) as f64;
        let mean =
            |f: &dyn Fn(&GroupStatistics) -> f64| self.groups.iter().map(f).sum::<f64>() / count;
        let first = self.groups.first();
        LayerSummary {
            name: name.to_owned(),
            groups: self.groups.len(),
            patch: first.map_or(0, |g| g.input.iter().map(Moment::order).sum()),
            blocks: first.map_or(0, |g| g.input.len()),
            rows: first.map_or(0, |g| g.output.order()),
            patches: mean(&GroupStatistics::patches),
            images: mean(&|g| g.output.count()),
            mean_input: mean(&|g| mean_diagonal(&g.input)),
            mean_output: mean(&|g| mean_diagonal(std::slice::from_ref(&g.output))),
            input_directions: mean(&|g| directions(&g.input)),
            output_directions: mean(&|g| directions(std::slice::from_ref(&g.output))),
        }
    }
}

fn trace(blocks: &[Moment]) -> f64 {
    blocks
        .iter()
        .flat_map(Moment::mean_diagonal)
        .map(f64::from)
        .sum()
}

/// Mean diagonal of a matrix given by its blocks.
pub(super) fn mean_diagonal(blocks: &[Moment]) -> f64 {
    let order: usize = blocks.iter().map(Moment::order).sum();
    trace(blocks) / order.max(1) as f64
}

/// Square of the trace over the sum of squares; 0 for zeros.
fn directions(blocks: &[Moment]) -> f64 {
    let squares: f64 = blocks.iter().map(Moment::mean_square).sum();
    if squares > 0.0 {
        trace(blocks).powi(2) / squares
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, arr2};

    #[test]
    fn directions_are_those_that_the_energy_lies_in() {
        let moment = |mean: &Array2<f32>| {
            let mut moment = Moment::new(mean.nrows());
            moment.add_lower(&(mean * 4.0), 4.0);
            moment
        };
        let one = arr2(&[[1.0, 2.0], [2.0, 4.0]]);
        let layer = LayerStatistics {
            groups: vec![GroupStatistics::new(
                vec![moment(&Array2::eye(3)), moment(&Array2::eye(2))],
                moment(&one),
            )],
        };
        let summary = layer.summary("w");
        assert_eq!((summary.patch, summary.blocks, summary.rows), (5, 2, 2));
        assert!((summary.input_directions - 5.0).abs() < 1e-9);
        assert!((summary.output_directions - 1.0).abs() < 1e-9);
        assert!((summary.mean_input - 1.0).abs() < 1e-9);
        assert!((summary.mean_output - 2.5).abs() < 1e-9);
        assert!((summary.images - 4.0).abs() < 1e-9);
    }
}
