//! Images to learn from, with what is right for them, their order and their random changes: functions of the seed and the
//! image's number alone, so that a run can be cut anywhere and go on.

use ndarray::{ArrayD, ArrayViewD, Axis, Slice, stack};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::error::TqzError;
use crate::images::Images;
use crate::retrain::spec::Augment;

/// Images that judge a training run, at most.
const MOST_HELD: usize = 1000;
/// Share of the images that is kept back to judge.
const HELD_SHARE: usize = 5;

/// What is right for an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Its class, from 0.
    Label(usize),
    /// The output that the network should give.
    Output(ArrayD<f32>),
    /// Not known.
    Unknown,
}

/// Preprocessed images and what is right for them.
#[derive(Debug, Clone, Default)]
pub struct TrainingSet {
    images: Images,
    targets: Vec<Target>,
}

impl TrainingSet {
    /// No images yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a batch (N × C × H × W) and a target for each image; missing ones are unknown.
    pub fn add(&mut self, batch: &ArrayD<f32>, targets: Vec<Target>) {
        self.images.add(batch);
        self.targets.extend(targets);
        self.targets.resize(self.images.len(), Target::Unknown);
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.images.bytes()
    }

    /// The images alone.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Evenly spread images, at most `count`, to compress a start with; none of those that judge retraining.
    pub fn some_images(&self, count: usize) -> Images {
        let learnt = self.learnt();
        let count = count.min(learnt.len());
        let mut some = Images::new();
        for index in 0..count {
            let image = self.images.sample(learnt[index * learnt.len() / count]);
            some.add(&image.clone().insert_axis(Axis(0)));
        }
        some
    }

    /// Number of images that are learnt from.
    pub fn learnt_count(&self) -> usize {
        self.learnt().len()
    }

    /// What is right for the image of this number.
    pub(crate) fn target(&self, number: usize) -> &Target {
        self.targets.get(number).unwrap_or(&Target::Unknown)
    }

    /// One more than the greatest class among the labels.
    pub(crate) fn most_classes(&self) -> usize {
        let classes = self.targets.iter().filter_map(|target| match target {
            Target::Label(class) => Some(class.saturating_add(1)),
            _ => None,
        });
        classes.max().unwrap_or(0)
    }

    /// Whether every image has a target.
    pub(crate) fn is_labelled(&self) -> bool {
        !self.targets.is_empty() && self.targets.iter().all(|t| *t != Target::Unknown)
    }

    /// Numbers of the images that judge: evenly spread, a fifth of them or [`MOST_HELD`]; all where there are too few.
    pub(crate) fn held(&self) -> Vec<usize> {
        let count = match self.len() {
            few if few < HELD_SHARE => few,
            many => (many / HELD_SHARE).min(MOST_HELD),
        };
        (0..count).map(|index| index * self.len() / count).collect()
    }

    /// Numbers of the images that are learnt from.
    pub(crate) fn learnt(&self) -> Vec<usize> {
        let held = self.held();
        if held.len() == self.len() {
            return held;
        }
        (0..self.len())
            .filter(|number| held.binary_search(number).is_err())
            .collect()
    }

    /// Images as a batch, and their targets, each changed as the draw says.
    ///
    /// # Errors
    /// Images of different shapes, or smaller than the patch.
    pub(crate) fn batch(
        &self,
        draws: &[Draw],
        augment: Augment,
    ) -> Result<(ArrayD<f32>, Vec<Target>), TqzError> {
        let mut samples = Vec::with_capacity(draws.len());
        let mut targets = Vec::with_capacity(draws.len());
        for draw in draws {
            let image = self.images.sample(draw.number);
            let changed = draw.image(image, augment)?;
            targets.push(match self.target(draw.number) {
                Target::Output(output) => Target::Output(draw.output(output, image, augment)),
                other => other.clone(),
            });
            samples.push(changed);
        }
        let views: Vec<_> = samples.iter().map(|s| s.view()).collect();
        let batch = stack(Axis(0), &views).map_err(|_| {
            TqzError::Request(
                "the training images have different shapes; give --patch to cut equal squares"
                    .to_owned(),
            )
        })?;
        Ok((batch, targets))
    }
}

/// One image as it is seen once: its number and the random numbers of its changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Draw {
    pub(crate) number: usize,
    pub(crate) flip: bool,
    /// Where between the least and the greatest offset, down and across.
    at: (f32, f32),
}

impl Draw {
    /// An image as it is.
    pub(crate) fn plain(number: usize) -> Self {
        Self {
            number,
            flip: false,
            at: (0.5, 0.5),
        }
    }

    fn new(number: usize, augment: Augment, seed: u64) -> Self {
        let mut rng =
            Pcg64::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (flip, at) = (rng.random::<bool>(), (rng.random(), rng.random()));
        Self {
            number,
            flip: flip && augment.flip,
            at,
        }
    }

    /// The changed image.
    fn image(&self, image: &ArrayD<f32>, augment: Augment) -> Result<ArrayD<f32>, TqzError> {
        let mut view = image.view();
        let (down, across) = axes(image, augment)?;
        if let Some(patch) = augment.patch {
            if image.len_of(down) < patch || image.len_of(across) < patch {
                return Err(TqzError::Request(format!(
                    "an image of {} × {} pixels is smaller than the patch of {patch}",
                    image.len_of(across),
                    image.len_of(down)
                )));
            }
            self.cut(&mut view, (down, across), (patch, 1.0));
        }
        if self.flip {
            view.invert_axis(across);
        }
        let changed = view.as_standard_layout().into_owned();
        if augment.shift == 0 {
            return Ok(changed);
        }
        let offset =
            |at: f32| (at * (2 * augment.shift + 1) as f32) as isize - augment.shift as isize;
        let moved = |axis: Axis, by: isize, from: ArrayD<f32>| {
            let last = from.len_of(axis) as isize - 1;
            let order: Vec<usize> = (0..=last)
                .map(|i| (i + by).clamp(0, last) as usize)
                .collect();
            from.select(axis, &order)
        };
        Ok(moved(
            across,
            offset(self.at.1),
            moved(down, offset(self.at.0), changed),
        ))
    }

    /// The output wanted for the changed image; outputs may be larger than images by a whole factor.
    fn output(&self, output: &ArrayD<f32>, image: &ArrayD<f32>, augment: Augment) -> ArrayD<f32> {
        let mut view = output.view();
        if let (Ok((down, across)), true) = (axes(image, augment), output.ndim() == image.ndim()) {
            if let Some(patch) = augment.patch {
                let factor = output.len_of(down) as f32 / image.len_of(down).max(1) as f32;
                self.cut(&mut view, (down, across), (patch, factor));
            }
            if self.flip {
                view.invert_axis(across);
            }
        }
        view.as_standard_layout().into_owned()
    }

    /// Cuts the square out of an image, or out of an output that is `factor` times as large.
    fn cut(
        &self,
        view: &mut ArrayViewD<'_, f32>,
        (down, across): (Axis, Axis),
        (patch, factor): (usize, f32),
    ) {
        for (axis, at) in [(down, self.at.0), (across, self.at.1)] {
            let whole = (view.len_of(axis) as f32 / factor) as usize;
            let start = (at * (whole + 1 - patch) as f32) as usize;
            let scaled = |n: usize| (n as f32 * factor) as usize;
            let range = Slice::from(scaled(start)..scaled(start + patch));
            view.slice_axis_inplace(axis, range);
        }
    }
}

/// The axes of height and width of a sample.
fn axes(image: &ArrayD<f32>, augment: Augment) -> Result<(Axis, Axis), TqzError> {
    match (image.ndim(), augment.channels_last) {
        (3, false) => Ok((Axis(1), Axis(2))),
        (3, true) => Ok((Axis(0), Axis(1))),
        (rank, _) if augment.flip || augment.shift > 0 || augment.patch.is_some() => {
            Err(TqzError::Request(format!(
                "samples of rank {rank} cannot be flipped, moved or cut"
            )))
        }
        _ => Ok((Axis(0), Axis(0))),
    }
}

/// The images of every step: shuffled passes over those that are learnt from.
#[derive(Debug)]
pub(crate) struct Order {
    learnt: Vec<usize>,
    batch: usize,
    augment: Augment,
    seed: u64,
    /// The pass drawn last.
    pass: Option<(usize, Vec<usize>)>,
}

impl Order {
    pub(crate) fn new(set: &TrainingSet, batch: usize, augment: Augment, seed: u64) -> Self {
        let learnt = set.learnt();
        Self {
            batch: batch.clamp(1, learnt.len().max(1)),
            learnt,
            augment,
            seed,
            pass: None,
        }
    }

    /// Steps of one pass; a rest that fills no batch is left out (another one in every pass).
    pub(crate) fn steps_of_pass(&self) -> usize {
        (self.learnt.len() / self.batch).max(1)
    }

    /// What step number `step` learns from.
    pub(crate) fn draws(&mut self, step: usize) -> Vec<Draw> {
        let pass = step / self.steps_of_pass();
        if self.pass.as_ref().is_none_or(|(drawn, _)| *drawn != pass) {
            let mut rng = Pcg64::seed_from_u64(self.seed_of(pass));
            let mut numbers = self.learnt.clone();
            numbers.shuffle(&mut rng);
            self.pass = Some((pass, numbers));
        }
        let first = step % self.steps_of_pass() * self.batch;
        let numbers = self.pass.iter().flat_map(|(_, numbers)| numbers);
        let seed = self.seed_of(pass);
        let draws = numbers.skip(first).take(self.batch);
        draws.map(|&n| Draw::new(n, self.augment, seed)).collect()
    }

    fn seed_of(&self, pass: usize) -> u64 {
        (self.seed ^ 0x7265_7472_6169_6E00).wrapping_add((pass as u64) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    fn set() -> TrainingSet {
        let mut set = TrainingSet::new();
        let batch = ArrayD::from_shape_fn(IxDyn(&[20, 1, 4, 6]), |i| {
            (i[0] * 100 + i[2] * 10 + i[3]) as f32
        });
        let targets = (0..20).map(|n| Target::Output(batch.index_axis(Axis(0), n).to_owned()));
        set.add(&batch, targets.collect());
        set
    }

    #[test]
    fn every_pass_takes_each_image_once_and_none_that_judges() {
        let set = set();
        let mut order = Order::new(&set, 4, Augment::default(), 3);
        assert_eq!(order.steps_of_pass(), 4);
        let mut seen: Vec<usize> = (0..4)
            .flat_map(|s| order.draws(s))
            .map(|d| d.number)
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, set.learnt());
        assert!(set.held().iter().all(|n| !seen.contains(n)));
        let fifth = order.draws(5);
        assert_eq!(Order::new(&set, 4, Augment::default(), 3).draws(5), fifth);
    }

    #[test]
    fn a_target_changes_with_its_image() {
        let augment = Augment {
            flip: true,
            patch: Some(3),
            ..Augment::default()
        };
        let draws: Vec<Draw> = (0..20).map(|n| Draw::new(n, augment, 5)).collect();
        let (batch, targets) = set().batch(&draws, augment).expect("fits");
        assert_eq!(batch.shape(), [20, 1, 3, 3]);
        for (image, target) in batch.axis_iter(Axis(0)).zip(&targets) {
            assert_eq!(Target::Output(image.to_owned()), *target);
        }
        assert!(draws.iter().any(|d| d.flip) && draws.iter().any(|d| !d.flip));
    }

    #[test]
    fn shifts_repeat_the_edge() {
        let augment = Augment {
            shift: 2,
            ..Augment::default()
        };
        let draw = Draw {
            number: 0,
            flip: false,
            at: (0.5, 0.0),
        };
        let (batch, _) = set().batch(&[draw], augment).expect("fits");
        let row: Vec<f32> = batch.iter().take(6).copied().collect();
        assert_eq!(row, [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
    }
}
