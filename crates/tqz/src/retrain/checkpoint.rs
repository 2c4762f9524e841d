//! A training run as bytes, to go on from: a safetensors file of latents, side values and the optimizer's memory.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::error::TqzError;
use crate::retrain::rate::Price;
use crate::retrain::{RetrainSpec, TeacherView};

/// Key of the description in the file's metadata.
const KEY: &str = "tqz-retraining";
/// Version of the description.
const VERSION: u32 = 5;

/// What a checkpoint says beside its arrays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    version: u32,
    /// Checksum of the original's weights.
    network: u32,
    /// Checksum of the file that the run began from.
    start: u32,
    /// Checksum of the training images and their targets.
    images: u32,
    /// What was asked for, as text: the same text is the same request to the last bit.
    asked: String,
    /// What the original sees of an image, as it was found: another device might find otherwise.
    #[serde(default)]
    pub(crate) teacher: TeacherView,
    /// Steps done.
    pub(crate) step: usize,
    /// Price of a bit.
    pub(crate) price: Price,
    /// Bytes at which the run began.
    pub(crate) start_bytes: u64,
    /// Least loss seen on the images kept back; infinite before any.
    #[serde(with = "bits")]
    pub(crate) best: f64,
    /// λ of the file that had it.
    #[serde(with = "bits")]
    pub(crate) best_lambda: f32,
    /// Judgements since then.
    pub(crate) stale: usize,
}

impl Position {
    /// The beginning.
    pub(crate) fn new(
        [network, start, images]: [u32; 3],
        (spec, teacher): (&RetrainSpec, TeacherView),
        start_bytes: u64,
    ) -> Self {
        Self {
            version: VERSION,
            network,
            start,
            images,
            asked: serde_json::to_string(spec).unwrap_or_default(),
            teacher,
            step: 0,
            price: Price::new(spec.lambda),
            start_bytes,
            best: f64::INFINITY,
            best_lambda: 0.0,
            stale: 0,
        }
    }

    /// Checks that it belongs to a run.
    ///
    /// # Errors
    /// Another network, start, request or other images.
    pub(crate) fn check(&self, other: &Self) -> Result<(), TqzError> {
        let differs = if (self.network, self.start) != (other.network, other.start) {
            "of another network or start"
        } else if self.asked != other.asked {
            "of a run with other options; give the same ones"
        } else if self.images != other.images {
            "of a run on other training images, or the card prepares them differently; give the same ones"
        } else {
            return Ok(());
        };
        Err(unusable(format!("it is {differs}")))
    }
}

/// Numbers as their bits: JSON's decimal numbers do not come back to the last one.
pub(crate) mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// A number and its bits.
    pub(crate) trait Bits: Copy {
        /// Whole number of as many bits.
        type Of: Serialize + for<'de> Deserialize<'de>;
        fn to(self) -> Self::Of;
        fn from(bits: Self::Of) -> Self;
    }

    impl Bits for f64 {
        type Of = u64;
        fn to(self) -> u64 {
            self.to_bits()
        }
        fn from(bits: u64) -> Self {
            Self::from_bits(bits)
        }
    }

    impl Bits for f32 {
        type Of = u32;
        fn to(self) -> u32 {
            self.to_bits()
        }
        fn from(bits: u32) -> Self {
            Self::from_bits(bits)
        }
    }

    pub(crate) fn serialize<N: Bits, S: Serializer>(number: &N, to: S) -> Result<S::Ok, S::Error> {
        number.to().serialize(to)
    }

    pub(crate) fn deserialize<'de, N: Bits, D: Deserializer<'de>>(from: D) -> Result<N, D::Error> {
        N::Of::deserialize(from).map(N::from)
    }
}

/// A run as it stands: where, and named arrays.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    pub(crate) arrays: Vec<(String, Vec<f32>)>,
}

struct Singles<'a>(&'a [f32], [usize; 1]);

impl View for Singles<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
    fn data_len(&self) -> usize {
        self.0.len() * 4
    }
}

fn unusable(problem: impl std::fmt::Display) -> TqzError {
    TqzError::Request(format!("the checkpoint cannot be used: {problem}"))
}

impl Checkpoint {
    /// The bytes of a checkpoint file.
    ///
    /// # Errors
    /// Names that cannot be written.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, TqzError> {
        let text = serde_json::to_string(&self.position).map_err(unusable)?;
        let metadata = HashMap::from([(KEY.to_owned(), text)]);
        let arrays = self.arrays.iter();
        let arrays = arrays.map(|(name, values)| (name, Singles(values, [values.len()])));
        safetensors::serialize(arrays, Some(metadata)).map_err(unusable)
    }

    /// Reads the bytes of a checkpoint file.
    ///
    /// # Errors
    /// Bytes that are no checkpoint or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TqzError> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unusable)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY));
        let text = text.ok_or_else(|| unusable("the file was not written by tqz retrain"))?;
        let position: Position = serde_json::from_str(text).map_err(unusable)?;
        if position.version != VERSION {
            return Err(unusable(format!(
                "it has version {}, this program reads {VERSION}",
                position.version
            )));
        }
        let found = SafeTensors::deserialize(bytes).map_err(unusable)?;
        let mut arrays = Vec::new();
        for (name, view) in found.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(unusable(format!("array {name} is not of single precision")));
            }
            let values = view.data().chunks_exact(4);
            let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            arrays.push((name, values.collect()));
        }
        Ok(Self { position, arrays })
    }
}
