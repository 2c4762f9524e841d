//! `tqz compress`: a trained ONNX network and calibration images → a small .tqz file.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tqz::{
    Axis, CompressedModel, Damping, Effort, EncoderConfig, Images, PaperSpec, Progress,
    QuantizerSpec, RateTarget, Report, Source, Statistics, StepBy, TransformSpec,
};
use tqz_data::DataSet;

use crate::Common;
use crate::commands::calibrate::{Measurement, calibrate_without, load_images, read_statistics};
use crate::data::{DataArgs, open};
use crate::output::{Console, check_free, thousands, usage, write_file};
use crate::progress::Bars;

/// Arguments of `tqz compress`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trained network
    #[arg(value_name = "M.onnx")]
    model: PathBuf,
    /// Card of the calibration images (no labels are used)
    #[arg(long, value_name = "CARD", required_unless_present = "stats")]
    calib: Option<PathBuf>,
    /// Statistics written by `tqz calibrate`; images given beside them serve to measure and tune
    #[arg(long, value_name = "STATS")]
    stats: Option<PathBuf>,
    /// How much work goes into accuracy at the same size
    #[arg(long, value_enum, default_value_t = Preset::Balanced)]
    preset: Preset,
    /// Damping of A and G as fractions of their mean diagonal (default: chosen by measuring)
    #[arg(long, value_name = "A,G", value_parser = parse_damping)]
    damping: Option<Damping>,
    #[command(flatten)]
    target: TargetArgs,
    /// File to write (default: the network's name with .tqz)
    #[arg(short, long, value_name = "M.tqz")]
    output: Option<PathBuf>,
    /// Basis in which weights are quantized
    #[arg(long, value_enum, default_value_t = TransformName::Auto)]
    transform: TransformName,
    /// What the transform mixes
    #[arg(long, value_enum, default_value_t = AxisName::Column)]
    axis: AxisName,
    /// Paper's quantizer: blocks of one bit-depth and step in each of a layer's matrices, at most
    #[arg(long, value_name = "B", default_value_t = PaperSpec::default().blocks)]
    blocks: usize,
    /// Paper's quantizer: the error by which steps are chosen
    #[arg(long, value_enum, default_value_t = StepByName::Output)]
    step_by: StepByName,
    /// Multiply–accumulates in the transform domain, at most, as a part of the original's (0.5: half)
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    macs: Option<f64>,
    /// Weight of a bit against squared error (0: plain rounding)
    #[arg(long, value_name = "L", allow_negative_numbers = true, default_value_t = QuantizerSpec::default().lambda)]
    lambda: f64,
    /// Do not feed quantization errors forward
    #[arg(long)]
    no_feedback: bool,
    #[command(flatten)]
    from: DataArgs,
}

/// How small: one of the three.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TargetArgs {
    /// Bits per weight of the whole file, at most
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    bits: Option<f64>,
    /// Bytes of the file, at most
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Step constant c: every coefficient gets step² · sensitivity = c²
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    step: Option<f64>,
}

impl TargetArgs {
    fn target(self) -> anyhow::Result<RateTarget> {
        Ok(match (self.bits, self.size, self.step) {
            (Some(bits), _, _) => RateTarget::BitsPerWeight(bits),
            (_, Some(bytes), _) => RateTarget::Bytes(bytes),
            (_, _, Some(step)) => RateTarget::Step(step),
            _ => bail!("one of --bits, --size and --step is needed"),
        })
    }
}

/// How much work goes into accuracy.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    /// One pass; images are used for statistics alone
    Fast,
    /// Measures, matches and tunes for a minute or a few
    Balanced,
    /// The same with several times the work
    Best,
    /// The method as published: one bit-depth and step a block, no entropy coding
    Paper,
}

impl Preset {
    /// The paper's quantizer, if that is asked for.
    pub(crate) fn paper(self, spec: PaperSpec) -> Option<PaperSpec> {
        matches!(self, Self::Paper).then_some(spec)
    }
}

impl From<Preset> for Effort {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Fast | Preset::Paper => Self::Fast,
            Preset::Balanced => Self::Balanced,
            Preset::Best => Self::Best,
        }
    }
}

fn parse_damping(text: &str) -> Result<Damping, String> {
    let numbers: Vec<f64> = text.split(',').filter_map(|t| t.parse().ok()).collect();
    match numbers[..] {
        [input, output] => Ok(Damping { input, output }),
        _ => Err("two numbers are needed, as in 0.01,0.05".to_owned()),
    }
}

/// Bases by name.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransformName {
    /// The encoder's choice; with the paper's quantizer: elt
    Auto,
    /// The weights themselves
    Identity,
    /// Karhunen–Loève Transform
    Klt,
    /// End-to-end Learned Transform
    Elt,
    /// Cosine transform of the first kind inside kernels
    Dct1,
    /// Cosine transform of the second kind inside kernels
    Dct2,
}

/// What is mixed, by name.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AxisName {
    /// Output channels
    Column,
    /// Input channels
    Row,
    /// Positions inside a kernel
    Kernel,
    /// Output and input channels
    Both,
}

impl From<AxisName> for Axis {
    fn from(name: AxisName) -> Self {
        match name {
            AxisName::Column => Self::Column,
            AxisName::Row => Self::Row,
            AxisName::Kernel => Self::Kernel,
            AxisName::Both => Self::Both,
        }
    }
}

/// Which error steps are chosen by, by name.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepByName {
    /// Of the network's output
    Output,
    /// Of the weights
    Weights,
}

impl From<StepByName> for StepBy {
    fn from(name: StepByName) -> Self {
        match name {
            StepByName::Output => Self::Output,
            StepByName::Weights => Self::Weights,
        }
    }
}

impl From<TransformName> for TransformSpec {
    fn from(name: TransformName) -> Self {
        match name {
            TransformName::Auto => Self::Auto,
            TransformName::Identity => Self::Identity,
            TransformName::Klt => Self::Klt,
            TransformName::Elt => Self::Elt,
            TransformName::Dct1 => Self::Dct1,
            TransformName::Dct2 => Self::Dct2,
        }
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    output: String,
    file_bytes: u64,
    weights: u64,
    bits_per_weight: f64,
    original_bytes: u64,
    calibration_images: u64,
    /// Multiply–accumulates in the transform domain, of the original's; where a limit was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    macs_percent: Option<f64>,
    seconds: f64,
    report: Report,
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| args.model.with_extension("tqz"));
    check_free(&output, common.force)?;
    let config = config(args, common.seed)?;
    config.check().map_err(usage)?;
    let device = super::device(common)?;
    let source = Source::read(&args.model, &device)?;
    let bars = Bars::new(console);
    let data = match &args.calib {
        Some(card) => Some(open(card, &args.from, common.seed)?),
        None => None,
    };
    let images = match &data {
        Some(data) if config.effort != Effort::Fast => Some(load_images(data, &bars)?),
        _ => None,
    };
    let given = (data.as_ref(), images.as_ref());
    let statistics = statistics(args, &source, given, &bars, common.seed)?;
    if args.stats.is_some() && statistics.images() < statistics.total {
        console.note(
            0,
            &format!(
                "warning: the statistics cover {} of the {} images of their set; merge the other shards",
                statistics.images(),
                statistics.total
            ),
        );
    }
    let (bytes, report) = tqz::compress(&source, &statistics, images.as_ref(), &config, &bars)
        .with_context(|| args.model.display().to_string())?;
    write_file(&output, &bytes, common.force)?;
    for warning in &report.warnings {
        console.note(0, &format!("warning: {warning}"));
    }
    let outcome = Outcome {
        output: output.display().to_string(),
        file_bytes: bytes.len() as u64,
        weights: report.weights,
        bits_per_weight: report.bits_per_weight,
        original_bytes: std::fs::metadata(&args.model)?.len(),
        calibration_images: statistics.images(),
        macs_percent: args.macs.map(|_| macs_percent(&bytes)).transpose()?,
        seconds: start.elapsed().as_secs_f64(),
        report,
    };
    console.result(&outcome, || text(&outcome))
}

/// Statistics from a file, or from images without those that are to judge.
fn statistics(
    args: &Args,
    source: &Source,
    (data, images): (Option<&DataSet>, Option<&Images>),
    progress: &dyn Progress,
    seed: u64,
) -> anyhow::Result<Statistics> {
    if let Some(path) = &args.stats {
        return read_statistics(path);
    }
    let (Some(card), Some(data)) = (&args.calib, data) else {
        bail!("one of --calib and --stats is needed");
    };
    let asked = Measurement {
        seed,
        ..Measurement::default()
    };
    let none = Images::new();
    let images = images.unwrap_or(&none);
    calibrate_without(images, (source, data), &asked, progress).with_context(|| {
        format!(
            "calibrating {} with {}",
            args.model.display(),
            card.display()
        )
    })
}

fn config(args: &Args, seed: u64) -> anyhow::Result<EncoderConfig> {
    Ok(EncoderConfig {
        target: args.target.target()?,
        transform: args.transform.into(),
        axis: args.axis.into(),
        paper: args.preset.paper(PaperSpec {
            blocks: args.blocks,
            step_by: args.step_by.into(),
        }),
        macs: args.macs,
        quantizer: QuantizerSpec {
            feedback: !args.no_feedback,
            lambda: args.lambda,
        },
        damping: args.damping,
        effort: args.preset.into(),
        seed,
    })
}

/// Multiply–accumulates of a file's network in the transform domain, in per cent of the dense one's.
fn macs_percent(bytes: &[u8]) -> anyhow::Result<f64> {
    let costs = CompressedModel::decode(bytes)?.costs(None)?;
    Ok(100.0 * costs.macs() as f64 / costs.macs_dense().max(1) as f64)
}

fn text(outcome: &Outcome) -> String {
    let text = format!(
        "{}\n{}\n{}: {} bytes, {:.3} bits/weight, {:.1} times smaller than the original; {:.1} s",
        super::layer_table(&outcome.report.layers),
        super::share_table(&outcome.report.shares),
        outcome.output,
        thousands(outcome.file_bytes),
        outcome.bits_per_weight,
        outcome.original_bytes as f64 / outcome.file_bytes.max(1) as f64,
        outcome.seconds
    );
    match outcome.macs_percent {
        Some(percent) => format!(
            "{text}\nmultiply–accumulates in the transform domain: {percent:.1} % of the original's"
        ),
        None => text,
    }
}
