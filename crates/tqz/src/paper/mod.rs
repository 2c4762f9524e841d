//! The paper's coder, as faithful as a file allows: transforms from plain covariances, blocks of one bit-depth and one step,
//! bit-depths by Lagrangian choice, no entropy coding. Whatever cleverness the main encoder has is measured against this.

mod curve;
mod gain;
mod layer;
mod measured;
mod part;
mod parts;
mod published;

use rayon::prelude::*;
use tqz_format::{LayerRecord, TqzFile, Vector};

use crate::allocate::{Hint, Trial, search_step};
use crate::config::{EncoderConfig, PaperSpec, RateTarget};
use crate::encoder::{Coded, CodedLayer, report_of, unmeasured_sensitivity};
use crate::error::TqzError;
use crate::notes::drop_dear_notes;
use crate::progress::Progress;
use crate::report::Report;
use crate::source::Source;
use crate::statistics::Statistics;

pub use gain::{Gain, LayerGains, MissingGain, coding_gains};
use layer::PaperLayer;
pub use measured::{CURVE_IMAGES, CurvePoint, CurveStore};
use published::Published;

/// The D(R) curves of a network under one transform: files at any rate follow from them.
pub struct PaperCurves {
    layers: Vec<PaperLayer>,
    /// Scales of normalisations beside weights without them.
    scales: Vec<Vector>,
    /// Of the network that they belong to.
    checksum: u32,
    /// What was asked for, as far as curves depend on it.
    config: EncoderConfig,
}

/// D(R) of one block of a layer.
#[derive(Debug, Clone)]
pub struct BlockCurve {
    /// Name of the weight tensor.
    pub layer: String,
    /// 0: T or the weights; 1, 2: the bases.
    pub part: usize,
    /// Number of the block within the part.
    pub block: usize,
    /// Distortion that the block alone causes, by bits of each level from 0 up.
    pub distortions: Vec<f64>,
}

impl PaperCurves {
    /// Transforms all layers and finds the curves of their blocks by the closed form.
    ///
    /// # Errors
    /// Statistics of another network, or such that are not finite; a request outside its legal range.
    pub fn new(
        source: &Source,
        statistics: &Statistics,
        config: &EncoderConfig,
        progress: &dyn Progress,
    ) -> Result<Self, TqzError> {
        config.check()?;
        let published = Published::new(source, statistics)?;
        let unmeasured = unmeasured_sensitivity(published.statistics());
        progress.begin(
            "measuring distortion against rate",
            source.layers().len() as u64,
        );
        let layers = source.layers().par_iter().map(|layer| {
            let layer = PaperLayer::new((&published, config), layer, unmeasured);
            progress.advance(1);
            layer
        });
        let layers = layers.collect::<Result<_, _>>()?;
        progress.finish();
        Ok(Self {
            layers,
            scales: published.into_vectors(),
            checksum: source.checksum(),
            config: *config,
        })
    }

    /// The file that meets a target. The slope λ is the square of the step constant, which the target is searched with.
    ///
    /// # Errors
    /// A target that cannot be reached (the message states the least possible); another network than that of the curves.
    pub fn compress(
        &self,
        source: &Source,
        target: RateTarget,
    ) -> Result<(Vec<u8>, Report), TqzError> {
        self.check(source)?;
        let mut file = self.file_without_layers(source);
        let weights = source.weight_count();
        let shortened = drop_dear_notes(&mut file, target.limit(weights))?;
        let found = search_step(target, weights, Hint::default(), |c| {
            let records = self.layers.par_iter().map(|layer| layer.record(c * c));
            let records = records.collect::<Result<Vec<_>, TqzError>>()?;
            let sections = records.par_iter().map(LayerRecord::encode);
            let bytes = file.encode_with_layers(sections.collect::<Result<_, _>>()?)?;
            Ok(Trial {
                size_bytes: bytes.len() as u64,
                cut: false,
                outcome: (c * c, records, bytes),
            })
        })?;
        let (lambda, records, bytes) = found.outcome;
        let layers = self.layers.par_iter().zip(records).map(|(layer, record)| {
            Ok(CodedLayer {
                distortion: layer.distortion(&record, lambda)?,
                record,
            })
        });
        let coded = Coded {
            layers: layers.collect::<Result<_, TqzError>>()?,
            bytes,
            step: found.step,
            decided_at: found.step,
            trials: found.trials,
        };
        let of_layers = self.layers.iter().filter_map(PaperLayer::warning);
        report_of(source, file, coded, of_layers.chain(shortened).collect())
    }

    /// The curves as they stand, block by block.
    pub fn blocks(&self) -> Vec<BlockCurve> {
        let of_layer = |layer: &PaperLayer| {
            let places = layer.places().into_iter();
            let curves = places.map(|place| BlockCurve {
                layer: layer.layer().name.clone(),
                part: place.part,
                block: place.block,
                distortions: layer.curve(place).iter().map(|p| p.distortion).collect(),
            });
            curves.collect::<Vec<_>>()
        };
        self.layers.iter().flat_map(of_layer).collect()
    }

    /// All of the file but the layers, with the scales that were in the source's weights.
    fn file_without_layers(&self, source: &Source) -> TqzFile {
        let mut file = source.file_without_layers();
        for scale in &self.scales {
            if let Some(vector) = file.vectors.iter_mut().find(|v| v.site == scale.site) {
                vector.clone_from(scale);
            }
        }
        file
    }

    fn check(&self, source: &Source) -> Result<(), TqzError> {
        if source.checksum() == self.checksum {
            return Ok(());
        }
        Err(TqzError::Request(
            "the curves belong to another network".to_owned(),
        ))
    }

    fn spec(&self) -> PaperSpec {
        self.config.paper.unwrap_or_default()
    }
}
