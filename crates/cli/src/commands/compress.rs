//! `tqz compress`: a trained ONNX network and calibration images → a small .tqz file.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;
use tqz::{
    EncoderConfig, Progress, QuantizerSpec, RateTarget, Report, Source, Statistics, TransformSpec,
};
use tqz_engine::EngineDevice;

use crate::Common;
use crate::commands::calibrate::{Measurement, calibrate, read_statistics};
use crate::data::{DataArgs, open};
use crate::output::{Console, check_free, thousands, write_file};
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
    /// Statistics written by `tqz calibrate`, instead of calibration images
    #[arg(long, value_name = "STATS", conflicts_with_all = ["calib", "source", "images"])]
    stats: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
    /// File to write (default: the network's name with .tqz)
    #[arg(short, long, value_name = "M.tqz")]
    output: Option<PathBuf>,
    /// Basis in which weights are quantized
    #[arg(long, value_enum, default_value_t = TransformName::Auto)]
    transform: TransformName,
    /// Weight of a bit against squared error (0: plain rounding)
    #[arg(long, value_name = "L", default_value_t = QuantizerSpec::default().lambda)]
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
    #[arg(long, value_name = "B")]
    bits: Option<f64>,
    /// Bytes of the file, at most
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Step constant c: every coefficient gets step² · sensitivity = c²
    #[arg(long, value_name = "C")]
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TransformName {
    Auto,
    Identity,
    Klt,
    Elt,
}

impl From<TransformName> for TransformSpec {
    fn from(name: TransformName) -> Self {
        match name {
            TransformName::Auto => Self::Auto,
            TransformName::Identity => Self::Identity,
            TransformName::Klt => Self::Klt,
            TransformName::Elt => Self::Elt,
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
    let config = config(args)?;
    config.check()?;
    let device = EngineDevice::from_name(&common.device)?;
    let source = Source::read(&args.model, &device)?;
    let bars = Bars::new(console);
    let statistics = statistics(args, &source, common.seed, &bars)?;
    if statistics.images() < statistics.total {
        console.note(
            0,
            &format!(
                "warning: the statistics cover {} of the {} images of their set; merge the other shards",
                statistics.images(),
                statistics.total
            ),
        );
    }
    let (bytes, report) = tqz::compress(&source, &statistics, &config, &bars)?;
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
        seconds: start.elapsed().as_secs_f64(),
        report,
    };
    console.result(&outcome, || text(&outcome))
}

/// Statistics from a file or from images.
fn statistics(
    args: &Args,
    source: &Source,
    seed: u64,
    progress: &dyn Progress,
) -> anyhow::Result<Statistics> {
    if let Some(path) = &args.stats {
        return read_statistics(path);
    }
    let Some(card) = &args.calib else {
        bail!("one of --calib and --stats is needed");
    };
    let data = open(card, &args.from, seed)?;
    let asked = Measurement {
        seed,
        ..Measurement::default()
    };
    calibrate(source, &data, &asked, progress).with_context(|| {
        format!(
            "calibrating {} with {}",
            args.model.display(),
            card.display()
        )
    })
}

fn config(args: &Args) -> anyhow::Result<EncoderConfig> {
    Ok(EncoderConfig {
        target: args.target.target()?,
        transform: args.transform.into(),
        quantizer: QuantizerSpec {
            feedback: !args.no_feedback,
            lambda: args.lambda,
        },
        damping: None,
    })
}

fn text(outcome: &Outcome) -> String {
    format!(
        "{}\n{}\n{}: {} bytes, {:.3} bits/weight, {:.1} times smaller than the original; {:.1} s",
        super::layer_table(&outcome.report.layers),
        super::share_table(&outcome.report.shares),
        outcome.output,
        thousands(outcome.file_bytes),
        outcome.bits_per_weight,
        outcome.original_bytes as f64 / outcome.file_bytes.max(1) as f64,
        outcome.seconds
    )
}
