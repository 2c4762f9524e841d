//! D(R) curves by brute force, as published: every block at every bit-depth is quantized alone and the network is run. Slow, so
//! every point is handed to a store as soon as it is known, and what the store has is not measured again.

use std::collections::BTreeMap;

use crate::config::StepBy;
use crate::error::TqzError;
use crate::fidelity::Yardstick;
use crate::images::{Images, spread};
use crate::layout::WeightLayer;
use crate::paper::PaperCurves;
use crate::paper::curve::{MOST_BITS, Point};
use crate::paper::layer::{PaperLayer, Place};
use crate::progress::Progress;
use crate::source::Source;
use crate::statistics::Statistics;

/// Images that every point is measured on (as in the paper).
pub const CURVE_IMAGES: usize = 100;
/// Octaves on either side of the closed form's step that are tried.
const STEPS: [i32; 3] = [0, -1, 1];

/// One point of a curve: a block of one part of a layer at one bit-depth and step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CurvePoint {
    /// Name of the weight tensor.
    pub layer: String,
    /// 0: T or the weights; 1, 2: the bases.
    pub part: usize,
    /// Number of the block within the part.
    pub block: usize,
    /// Bits of each level.
    pub depth_bits: u32,
    /// log2 of the step.
    pub log2_step: i32,
}

/// Where measured points are kept.
pub trait CurveStore {
    /// The distortion of a point, if it has been measured.
    fn get(&self, point: &CurvePoint) -> Option<f64>;
    /// Keeps the distortion of a point.
    ///
    /// # Errors
    /// In words for the user.
    fn put(&mut self, point: CurvePoint, distortion: f64) -> Result<(), String>;
}

impl PaperCurves {
    /// What measured curves depend on – the statistics that these curves are from among it –, as one line: points of one line must not be mixed with those of another.
    ///
    /// # Errors
    /// Statistics that cannot be written.
    pub fn fingerprint(
        &self,
        statistics: &Statistics,
        images: &Images,
    ) -> Result<String, TqzError> {
        let mut of_images = crc32fast::Hasher::new();
        let numbers = curve_images(images);
        for &number in &numbers {
            for value in images.batch(&[number])? {
                of_images.update(&value.to_le_bytes());
            }
        }
        let spec = self.spec();
        let config = &self.config;
        let apart = match self.scales.len() {
            0 => String::new(),
            count => format!(" with {count} scales apart"),
        };
        Ok(format!(
            "network {:08x}{}, {:?} {:?}, {} blocks by {:?}, steps by {:?}, damping {:?}, statistics {:08x}, measured on {} images {:08x}",
            self.checksum,
            apart,
            config.transform,
            config.axis,
            spec.blocks,
            spec.order,
            spec.step_by,
            config.damping,
            crc32fast::hash(&statistics.encode()?),
            numbers.len(),
            of_images.finalize(),
        ))
    }

    /// Replaces the closed form's distortions by measured ones: each block alone is quantized and the network run on
    /// [`CURVE_IMAGES`] images; of three steps around the closed form's the one with the least distortion is taken (Algorithm 2).
    ///
    /// # Errors
    /// The network does not run; the store fails.
    pub fn measure(
        &mut self,
        source: &Source,
        images: &Images,
        store: &mut dyn CurveStore,
        progress: &dyn Progress,
    ) -> Result<(), TqzError> {
        self.check(source)?;
        let yardstick = Yardstick::new(source.network(), images, &curve_images(images))?;
        let blocks = self.layers.iter().map(|layer| layer.places().len() as u64);
        progress.begin("running the network for each block", blocks.sum());
        let step_by = self.spec().step_by;
        for layer in &mut self.layers {
            for place in layer.places() {
                let mut bench = Bench {
                    source,
                    yardstick: &yardstick,
                    step_by,
                    store,
                };
                let points = bench.curve(layer, place)?;
                layer.set_curve(place, points);
                progress.advance(1);
            }
        }
        progress.finish();
        Ok(())
    }
}

/// Numbers of the images to measure on.
fn curve_images(images: &Images) -> Vec<usize> {
    spread((0..images.len()).collect(), CURVE_IMAGES)
}

/// What a point is measured with.
struct Bench<'a> {
    source: &'a Source,
    yardstick: &'a Yardstick<'a>,
    step_by: StepBy,
    store: &'a mut dyn CurveStore,
}

impl Bench<'_> {
    /// The measured curve of one block.
    fn curve(&mut self, layer: &PaperLayer, place: Place) -> Result<Vec<Point>, TqzError> {
        let mut points = Vec::with_capacity(MOST_BITS as usize + 1);
        for point in layer.curve(place) {
            // Steps that were chosen by the weights' error stay.
            let one = point.depth_bits == 0 || self.step_by == StepBy::Weights;
            let steps = if one { 1 } else { STEPS.len() };
            let mut best: Option<Point> = None;
            for octave in &STEPS[..steps] {
                let tried = Point {
                    log2_step: point.log2_step + octave,
                    ..*point
                };
                let distortion = self.distortion(layer, place, tried)?;
                if best.is_none_or(|b| distortion < b.distortion) {
                    best = Some(Point {
                        distortion,
                        ..tried
                    });
                }
            }
            points.extend(best);
        }
        Ok(points)
    }

    /// Distortion of one block at one point, from the store or from running the network.
    fn distortion(
        &mut self,
        layer: &PaperLayer,
        place: Place,
        point: Point,
    ) -> Result<f64, TqzError> {
        let of = layer.layer();
        let key = CurvePoint {
            layer: of.name.clone(),
            part: place.part,
            block: place.block,
            depth_bits: point.depth_bits,
            log2_step: point.log2_step,
        };
        if let Some(known) = self.store.get(&key) {
            return Ok(known);
        }
        let distortion = self.run(of, &layer.with_block_at(place, point))?;
        self.store.put(key, distortion).map_err(TqzError::Request)?;
        Ok(distortion)
    }

    /// Distance of the outputs with other weights in one layer.
    fn run(&self, layer: &WeightLayer, weights: &ndarray::Array2<f32>) -> Result<f64, TqzError> {
        let values = layer.to_tensor(weights);
        let replaced = BTreeMap::from([(layer.name.clone(), values)]);
        let network = self.source.network().with_weights(&replaced)?;
        self.yardstick.measure(&network)
    }
}
