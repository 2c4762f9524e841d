//! A checksum of training images and what is right for them: a run goes on with the same ones only.

use rayon::prelude::*;

use crate::retrain::data::{Target, TrainingSet};

/// Checksum of all images and targets, in their order.
pub(crate) fn digest(set: &TrainingSet) -> u32 {
    let numbers = 0..set.len();
    let images: Vec<u32> = numbers.into_par_iter().map(|n| of_image(set, n)).collect();
    let mut hasher = crc32fast::Hasher::new();
    for image in images {
        hasher.update(&image.to_le_bytes());
    }
    hasher.finalize()
}

fn of_image(set: &TrainingSet, number: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    add(&mut hasher, set.images().sample(number));
    match set.target(number) {
        Target::Unknown => hasher.update(&[0]),
        Target::Label(class) => {
            hasher.update(&[1]);
            hasher.update(&(*class as u64).to_le_bytes());
        }
        Target::Output(output) => {
            hasher.update(&[2]);
            add(&mut hasher, output);
        }
    }
    hasher.finalize()
}

fn add(hasher: &mut crc32fast::Hasher, array: &ndarray::ArrayD<f32>) {
    for &extent in array.shape() {
        hasher.update(&(extent as u64).to_le_bytes());
    }
    let bytes: Vec<u8> = array.iter().flat_map(|v| v.to_le_bytes()).collect();
    hasher.update(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn};

    #[test]
    fn every_number_and_target_counts() {
        let of = |value: f32, target: Target| {
            let mut set = TrainingSet::new();
            let mut batch = ArrayD::zeros(IxDyn(&[2, 1, 2, 2]));
            batch[[1, 0, 1, 0]] = value;
            set.add(&batch, vec![target]);
            digest(&set)
        };
        let plain = of(0.5, Target::Label(1));
        assert_eq!(of(0.5, Target::Label(1)), plain);
        assert_ne!(of(0.25, Target::Label(1)), plain);
        assert_ne!(of(0.5, Target::Label(2)), plain);
        assert_ne!(of(0.5, Target::Unknown), plain);
    }
}
