//! `tqz calibrate`: a trained network and images → a file of statistics, whole or one shard of the images.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use ndarray::Axis;
use serde::Serialize;
use tqz::{CalibrationSpec, Images, Metric, Progress, Source, Statistics};
use tqz_data::DataSet;

use super::first_input;
use crate::Common;
use crate::commands::network_files::check_apart_from_tensors;
use crate::data::{DataArgs, open};
use crate::output::{Console, check_apart, check_free, thousands, write_file};
use crate::progress::Bars;

/// Images beyond this many bytes are not kept for measuring and tuning.
const MEMORY_BYTES: usize = 1 << 30;

/// Arguments of `tqz calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trained network
    #[arg(value_name = "M.onnx")]
    model: PathBuf,
    /// Card of the calibration images (no labels are used)
    #[arg(long, value_name = "CARD")]
    calib: PathBuf,
    /// File to write (default: the network's name with .stats)
    #[arg(short, long, value_name = "STATS")]
    output: Option<PathBuf>,
    /// Which error of the outputs counts
    #[arg(long, value_enum, default_value_t = MetricName::Auto)]
    metric: MetricName,
    /// Only the i-th of n parts of the images, i from 1; `tqz merge` puts the parts together
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    #[command(flatten)]
    from: DataArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MetricName {
    /// Tempered for classifiers of up to 100 classes, fisher for other classifiers, noise for all else
    Auto,
    /// Squared error of the outputs
    Noise,
    /// Kullback–Leibler divergence of a classifier's predictions
    Fisher,
    /// The divergence of predictions from halved scores, which is closer to what large errors do
    Tempered,
}

/// Part `index` (from 0) of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not I/N with 1 ≤ I ≤ N ≤ 65536, as in 2/4");
        let (i, n) = text.split_once('/').ok_or_else(wrong)?;
        match (i.parse::<usize>(), n.parse::<usize>()) {
            (Ok(i), Ok(n)) if (1..=n).contains(&i) && n <= 65536 => Ok(Self {
                index: i - 1,
                count: n,
            }),
            _ => Err(wrong()),
        }
    }
}

impl Shard {
    /// This part of `images` images, cut at multiples of `unit`.
    fn range(self, images: usize, unit: usize) -> Range<usize> {
        let units = images.div_ceil(unit.max(1));
        let cut = |part: usize| (units * part / self.count * unit).min(images);
        cut(self.index)..cut(self.index + 1)
    }
}

/// What to measure on which images.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measurement {
    /// Which error of the outputs counts.
    pub(crate) metric: Metric,
    /// Seed of the random directions.
    pub(crate) seed: u64,
    /// A part of the images only.
    pub(crate) shard: Option<Shard>,
}

/// Statistics of the network on a data set.
pub(crate) fn calibrate(
    source: &Source,
    data: &DataSet,
    asked: &Measurement,
    progress: &dyn Progress,
) -> anyhow::Result<Statistics> {
    calibrate_without(&Images::new(), (source, data), asked, progress)
}

/// Statistics of the network on those images of a data set that are not kept back to judge by; `images` are its first ones.
pub(crate) fn calibrate_without(
    images: &Images,
    (source, data): (&Source, &DataSet),
    asked: &Measurement,
    progress: &dyn Progress,
) -> anyhow::Result<Statistics> {
    if images.len() == data.len() {
        return Ok(images.calibrate(source, (asked.metric, asked.seed), progress)?);
    }
    let spec = CalibrationSpec {
        metric: asked.metric,
        seed: asked.seed,
        images: data.len(),
    };
    let mut calibration = source.calibration(spec);
    let unit = calibration.unit();
    let range = match asked.shard {
        Some(shard) => shard.range(data.len(), unit),
        None => 0..data.len(),
    };
    progress.begin("calibrating", range.len() as u64);
    let mut next = range.start;
    for batch in data.batches_of(range, unit) {
        let batch = batch?.input.into_dyn();
        let first = next;
        next += batch.shape()[0];
        let numbers: Vec<usize> = (first..next).filter(|&n| !images.is_held(n)).collect();
        let rows: Vec<usize> = numbers.iter().map(|n| n - first).collect();
        calibration.add(&batch.select(Axis(0), &rows), &numbers, progress)?;
    }
    progress.finish();
    let mut statistics = calibration.finish();
    images.validate(
        (source, source.calibration(spec)),
        &mut statistics,
        progress,
    )?;
    Ok(statistics)
}

/// Images of a data set in memory, as many as [`MEMORY_BYTES`] hold.
pub(crate) fn load_images(data: &DataSet, progress: &dyn Progress) -> anyhow::Result<Images> {
    let mut images = Images::new();
    images.set_size(data.len());
    progress.begin("reading images", data.len() as u64);
    for batch in data.batches(32) {
        let batch = batch?.input.into_dyn();
        images.add(&batch);
        progress.advance(batch.shape()[0] as u64);
        if images.bytes() > MEMORY_BYTES {
            break;
        }
    }
    progress.finish();
    Ok(images)
}

/// The first image of a data set: enough to count the network's work by.
pub(crate) fn first_image(data: &DataSet) -> anyhow::Result<Images> {
    let mut images = Images::new();
    if let Some(first) = first_input(data)? {
        images.add(&first);
    }
    Ok(images)
}

/// Reads a file of statistics.
pub(crate) fn read_statistics(path: &Path) -> anyhow::Result<Statistics> {
    Statistics::decode(&super::read(path)?).with_context(|| path.display().to_string())
}

/// What a file of statistics holds.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    output: String,
    file_bytes: u64,
    metric: Metric,
    images: u64,
    images_of_set: u64,
    layers: usize,
    seconds: f64,
}

impl Outcome {
    /// Writes the statistics and describes them.
    pub(crate) fn write(
        statistics: &Statistics,
        output: &Path,
        force: bool,
        start: Instant,
    ) -> anyhow::Result<Self> {
        let bytes = statistics.encode()?;
        write_file(output, &bytes, force)?;
        Ok(Self {
            output: output.display().to_string(),
            file_bytes: bytes.len() as u64,
            metric: statistics.metric,
            images: statistics.images(),
            images_of_set: statistics.total,
            layers: statistics.layers.len(),
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// One line.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}: {} bytes, {} layers, {} of {} images; {:.1} s",
            self.output,
            thousands(self.file_bytes),
            self.layers,
            self.images,
            self.images_of_set,
            self.seconds
        )
    }
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| args.model.with_extension("stats"));
    let named = [args.model.as_path(), &args.calib, &output].into_iter();
    let named = named.chain(args.from.source.as_deref());
    check_apart(named.collect(), "network, card, images and output")?;
    check_apart_from_tensors(&args.model, &[&output])?;
    check_free(&output, common.force)?;
    let device = super::device(common)?;
    let source = Source::read(&args.model, &device)?;
    let data = open(&args.calib, &args.from, common.seed)?;
    let asked = Measurement {
        metric: match args.metric {
            MetricName::Auto => Metric::Auto,
            MetricName::Noise => Metric::OutputNoise,
            MetricName::Fisher => Metric::Fisher,
            MetricName::Tempered => Metric::TemperedFisher,
        },
        seed: common.seed,
        shard: args.shard,
    };
    let statistics = calibrate(&source, &data, &asked, &Bars::new(console)).with_context(|| {
        format!(
            "calibrating {} with {}",
            args.model.display(),
            args.calib.display()
        )
    })?;
    let outcome = Outcome::write(&statistics, &output, common.force, start)?;
    console.result(&outcome, || outcome.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_the_images_once_at_multiples_of_the_unit() {
        for (images, count) in [(1024, 4), (100, 3), (20, 4), (64, 1)] {
            let ranges: Vec<Range<usize>> = (0..count)
                .map(|index| Shard { index, count }.range(images, 32))
                .collect();
            assert_eq!((ranges[0].start, ranges[count - 1].end), (0, images));
            assert!(ranges.windows(2).all(|w| w[0].end == w[1].start));
            assert!(
                ranges
                    .iter()
                    .all(|r| r.start % 32 == 0 || r.start == images)
            );
        }
        assert!("0/4".parse::<Shard>().is_err() && "5/4".parse::<Shard>().is_err());
        assert_eq!("2/4".parse(), Ok(Shard { index: 1, count: 4 }));
    }
}
