//! Where each image's noise begins. All noise comes from one generator drawn image after image, and
//! a normal takes a varying number of draws, so the generator must walk through every image before;
//! the states met on the way are kept.

use crate::error::DataError;
use crate::random::Generator;
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(crate) struct NoiseTrack {
    /// Entry i is the generator before image i.
    states: Mutex<Vec<Generator>>,
}

impl NoiseTrack {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            states: Mutex::new(vec![Generator::new(&[seed])]),
        }
    }

    /// The generator before image `index`; `values` tells how many normals an image takes.
    pub(crate) fn at(
        &self,
        index: usize,
        values: impl Fn(usize) -> Result<usize, DataError>,
    ) -> Result<Generator, DataError> {
        // A panic elsewhere leaves whole entries only.
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        while states.len() <= index {
            let last = states.len() - 1;
            let mut next = states[last].clone();
            next.skip_normals(values(last)?);
            states.push(next);
        }
        Ok(states[index].clone())
    }
}
