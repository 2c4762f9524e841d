//! How much of pictures to be restored a step sees unless it is told: squares, of which every pixel teaches.

use tqz_engine::Network;

use crate::retrain::data::{Draw, Target, TrainingSet};
use crate::retrain::spec::Augment;

/// Pixels on a side, at most.
const SIDE: usize = 48;
/// Sides are multiples of this: many networks halve their input a few times.
const MULTIPLE: usize = 8;

impl TrainingSet {
    /// Side of the squares to train on, in pixels, where pictures are restored (some target is an output) and the network runs on
    /// such squares; none otherwise, or where an image is smaller than the least of them.
    pub fn usual_patch(&self, network: &Network, channels_last: bool) -> Option<usize> {
        let wanted = |number: usize| matches!(self.target(number), Target::Output(_));
        if !(0..self.len()).any(wanted) {
            return None;
        }
        let side = self.smallest_side(channels_last)?.min(SIDE) / MULTIPLE * MULTIPLE;
        let patch = Some(side).filter(|&side| side > 0);
        patch?;
        let augment = Augment {
            patch,
            channels_last,
            ..Augment::default()
        };
        let (batch, _) = self.batch(&[Draw::plain(0)], augment).ok()?;
        let filled = network.fill_batch(batch.view()).ok()?;
        network.run(&[filled]).ok().and(patch)
    }

    /// Height or width of the smallest image, in pixels; none where samples are no images.
    fn smallest_side(&self, channels_last: bool) -> Option<usize> {
        let side = |number: usize| match (self.images().sample(number).shape(), channels_last) {
            (&[_, height, width], false) | (&[height, width, _], true) => Some(height.min(width)),
            _ => None,
        };
        let sides: Option<Vec<usize>> = (0..self.len()).map(side).collect();
        sides?.into_iter().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn};

    fn set(shapes: &[[usize; 3]]) -> TrainingSet {
        let mut set = TrainingSet::new();
        for shape in shapes {
            let image = ArrayD::zeros(IxDyn(&[&[1], &shape[..]].concat()));
            set.add(&image, vec![Target::Unknown]);
        }
        set
    }

    #[test]
    fn the_smallest_side_is_found_wherever_channels_are() {
        let first = set(&[[3, 50, 90], [3, 60, 47]]);
        assert_eq!(first.smallest_side(false), Some(47));
        assert_eq!(set(&[[50, 90, 3]]).smallest_side(true), Some(50));
        assert_eq!(set(&[]).smallest_side(false), None);
    }
}
