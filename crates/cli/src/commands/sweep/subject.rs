//! One network of a sweep and the points made of it: compressed, decoded again, scored.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::time::Instant;

use ndarray::ArrayD;
use tqz::{
    CompressedModel, Effort, EncoderConfig, Images, PaperCurves, Progress, RateTarget, Report,
    Source, Statistics, layer_distances,
};
use tqz_data::{DataSet, Scores};
use tqz_engine::Network;

use crate::Common;
use crate::commands::calibrate::{
    Measurement, calibrate, calibrate_without, first_image, load_images,
};
use crate::commands::eval::{first_output, score_against};
use crate::commands::macs_percent;
use crate::commands::sweep::combination::Combination;
use crate::commands::sweep::gains::GainRow;
use crate::commands::sweep::rows::{LayerRow, Row};
use crate::commands::sweep::spec::NetworkSpec;
use crate::progress::Bars;

/// A network ready to be tried.
pub(super) struct Subject<'a> {
    spec: &'a NetworkSpec,
    common: &'a Common,
    source: Source,
    calib: DataSet,
    images: OnceCell<Images>,
    /// From all images of `calib`.
    statistics: OnceCell<Statistics>,
    /// From those that are not kept back to judge by.
    spared: OnceCell<Statistics>,
    /// The paper's curves that were needed last, with what they are of: all rates share them.
    curves: RefCell<Option<Kept>>,
    test: DataSet,
    test_images: OnceCell<Images>,
    /// The original's outputs on the first batches of test images.
    references: RefCell<Vec<ArrayD<f32>>>,
}

/// The paper's curves, the setting that they are of, and the seconds that they took.
struct Kept {
    setting: EncoderConfig,
    curves: PaperCurves,
    seconds: f64,
}

/// Outputs of the original that are kept in memory.
const REFERENCE_BYTES: usize = 512 << 20;

impl<'a> Subject<'a> {
    pub(super) fn new(
        spec: &'a NetworkSpec,
        base: &Path,
        common: &'a Common,
    ) -> anyhow::Result<Self> {
        let device = crate::commands::device(common)?;
        Ok(Self {
            spec,
            common,
            source: Source::read(&base.join(&spec.model), &device)?,
            calib: spec.calib.open(base, common.seed)?,
            images: OnceCell::new(),
            statistics: OnceCell::new(),
            spared: OnceCell::new(),
            curves: RefCell::new(None),
            test: spec.test.open(base, common.seed)?,
            test_images: OnceCell::new(),
            references: RefCell::new(Vec::new()),
        })
    }

    /// Makes one file, decodes it and scores it; on `layer_images` test images also layer by layer.
    pub(super) fn point(
        &self,
        combination: Combination,
        layer_images: usize,
        bars: &Bars,
    ) -> anyhow::Result<(Row, Vec<LayerRow>)> {
        let config = combination.config(self.common.seed);
        let (bytes, report, seconds) = self.compress(&config, bars)?;
        let decoded = CompressedModel::decode(&bytes)?;
        let device = crate::commands::device(self.common)?;
        let small = Network::from_model(&decoded.to_model()?, &device)?;
        let reference = |number: usize, input: &ArrayD<f32>| self.reference(number, input);
        let scores = score_against(&small, reference, &self.test, bars)?;
        let row = Row {
            macs_percent: macs_percent(&decoded, Some(&self.test))?,
            ..row(self.spec, combination, (&report, &scores), seconds)
        };
        let layers = if layer_images > 0 {
            self.layers(&row, (&report, &small), layer_images, bars)?
        } else {
            Vec::new()
        };
        Ok((row, layers))
    }

    /// Coding gains of all layers.
    pub(super) fn gains(&self, bars: &Bars) -> anyhow::Result<Vec<GainRow>> {
        let gains = tqz::coding_gains(&self.source, self.whole(bars)?)?;
        Ok(GainRow::of(&self.spec.name, &gains))
    }

    /// Statistics from all images of `calib`.
    fn whole(&self, bars: &Bars) -> anyhow::Result<&Statistics> {
        let asked = Measurement {
            seed: self.common.seed,
            ..Measurement::default()
        };
        made(&self.statistics, || {
            calibrate(&self.source, &self.calib, &asked, bars)
        })
    }

    /// The file at one combination.
    fn compress(
        &self,
        config: &EncoderConfig,
        bars: &Bars,
    ) -> anyhow::Result<(Vec<u8>, Report, f64)> {
        if config.effort == Effort::Fast {
            let statistics = self.whole(bars)?;
            if config.paper.is_some() {
                return self.by_curves(statistics, config, bars);
            }
            let counted = config.macs.map(|_| first_image(&self.calib)).transpose()?;
            let start = Instant::now();
            let images = counted.as_ref();
            let (bytes, report) = tqz::compress(&self.source, statistics, images, config, bars)?;
            return Ok((bytes, report, start.elapsed().as_secs_f64()));
        }
        let asked = Measurement {
            seed: config.seed,
            ..Measurement::default()
        };
        let images = made(&self.images, || load_images(&self.calib, bars))?;
        let set = (&self.source, &self.calib);
        let spared = || calibrate_without(images, set, &asked, bars);
        let statistics = made(&self.spared, spared)?;
        let start = Instant::now();
        let (bytes, report) = tqz::compress(&self.source, statistics, Some(images), config, bars)?;
        Ok((bytes, report, start.elapsed().as_secs_f64()))
    }

    /// The paper's file from the curves made last if they are of the same setting, else from new ones; the time is with that of the
    /// curves, whichever rate they were made for.
    fn by_curves(
        &self,
        statistics: &Statistics,
        config: &EncoderConfig,
        progress: &dyn Progress,
    ) -> anyhow::Result<(Vec<u8>, Report, f64)> {
        let mut last = self.curves.borrow_mut();
        let setting = EncoderConfig {
            target: RateTarget::Step(1.0),
            ..*config
        };
        let start = Instant::now();
        let kept = match last.take() {
            Some(kept) if kept.setting == setting => kept,
            _ => Kept {
                setting,
                curves: PaperCurves::new(&self.source, statistics, config, progress)?,
                seconds: start.elapsed().as_secs_f64(),
            },
        };
        let start = Instant::now();
        let (bytes, report) = kept.curves.compress(&self.source, config.target)?;
        let seconds = kept.seconds + start.elapsed().as_secs_f64();
        *last = Some(kept);
        Ok((bytes, report, seconds))
    }

    /// The original's output on a batch of the test images, kept for all points while there is room.
    fn reference(&self, number: usize, input: &ArrayD<f32>) -> anyhow::Result<Option<ArrayD<f32>>> {
        let mut kept = self.references.borrow_mut();
        if let Some(output) = kept.get(number) {
            return Ok(Some(output.clone()));
        }
        let output = first_output(self.source.network(), input)?;
        let held: usize = kept.iter().map(|array| 4 * array.len()).sum();
        if kept.len() == number && held < REFERENCE_BYTES {
            kept.push(output.clone());
        }
        Ok(Some(output))
    }

    /// What the closed form says of each layer and of all, and what the test images say.
    fn layers(
        &self,
        row: &Row,
        (report, small): (&Report, &Network),
        most_images: usize,
        bars: &Bars,
    ) -> anyhow::Result<Vec<LayerRow>> {
        let images = made(&self.test_images, || load_images(&self.test, bars))?;
        let measured = layer_distances(&self.source, small, (images, most_images), bars)?;
        let all = LayerRow::new(row, None, report.predicted_distortion, measured.all);
        let layers = self.source.layers().iter().zip(measured.alone);
        let rows = layers.filter_map(|(layer, measured)| {
            let mut reports = report.layers.iter();
            let report = reports.find(|report| report.name == layer.name)?;
            let predicted = report.predicted_distortion?;
            Some(LayerRow::new(row, Some(report), predicted, measured))
        });
        Ok(std::iter::once(all).chain(rows).collect())
    }
}

/// What is in the cell; if nothing, it is made and put there.
fn made<T>(cell: &OnceCell<T>, make: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

fn row(
    network: &NetworkSpec,
    combination: Combination,
    (report, scores): (&Report, &Scores),
    seconds: f64,
) -> Row {
    let [preset, transform, axis, step_by] = combination.names();
    let basis = report.layers.iter().filter_map(|layer| layer.basis_bits);
    // Not sum(): that of nothing is -0.
    let basis_bits = basis.fold(0.0, |sum, bits| sum + bits);
    let reference = scores.reference.clone().unwrap_or_default();
    Row {
        network: network.name.clone(),
        preset,
        transform,
        axis,
        step_by,
        macs_limit: combination.macs,
        asked_bpw: combination.bits,
        file_bytes: report.file_bytes,
        rate_bpw: report.bits_per_weight,
        macs_percent: None,
        basis_percent: 12.5 * basis_bits / report.file_bytes.max(1) as f64,
        images: scores.images,
        top1_percent: scores.top1_percent,
        top5_percent: scores.top5_percent,
        psnr_db: scores.psnr_db,
        reference_top1_percent: reference.top1_percent,
        reference_psnr_db: reference.psnr_db,
        agreement_percent: reference.agreement_percent,
        kl_nats: reference.kl_nats,
        mse: reference.mse,
        step: report.step,
        damping_factor: report.damping_factor,
        predicted_distortion: report.predicted_distortion,
        measured_distortion: report.measured_distortion,
        setting: None,
        seconds,
    }
}
