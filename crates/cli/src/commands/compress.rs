//! `tqz compress`: a trained ONNX network and calibration images → a small .tqz file.

mod checks;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;
use tqz::{
    CompressedModel, Damping, Effort, EncoderConfig, Images, PaperCurves, PaperSpec, Progress,
    QuantizerSpec, Report, Source, Statistics, TqzError,
};
use tqz_data::DataSet;

use crate::Common;
use crate::commands::calibrate::{
    Measurement, calibrate_without, first_image, load_images, read_statistics,
};
use crate::commands::curve_page::curve_page;
use crate::commands::curves::CurveFile;
use crate::commands::judge::HeldBack;
use crate::commands::macs_percent;
use crate::commands::names::{AxisName, OrderName, Preset, StepByName, TransformName};
use crate::commands::network_files::network_bytes;
use crate::commands::target::TargetArgs;
use crate::data::{DataArgs, open};
use crate::output::{Console, thousands, usage, write_file};
use crate::progress::Bars;
use checks::{check_outputs, check_quantizer};

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
    #[arg(long, value_name = "B", help = format!(
        "Paper's quantizer: blocks of one bit-depth and step in each of a layer's matrices, at most [default: {}]",
        PaperSpec::default().blocks
    ))]
    blocks: Option<usize>,
    /// Paper's quantizer: the error by which steps are chosen [default: output]
    #[arg(long, value_enum)]
    step_by: Option<StepByName>,
    /// Paper's quantizer: the order in which rows without a transform are cut into blocks [default: energy]
    #[arg(long, value_enum)]
    order: Option<OrderName>,
    /// Multiply–accumulates in the transform domain, at most, as a part of the original's (0.5: half)
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    macs: Option<f64>,
    /// Paper's quantizer: distortion by running the network for each block (slow); points are kept in FILE, and those there are
    /// not measured again
    #[arg(long, value_name = "FILE", requires = "calib")]
    measured_curves: Option<PathBuf>,
    /// Paper's quantizer: also write a page with the D(R) curves of every layer, those measured among them
    #[arg(long, value_name = "PAGE.html")]
    curves: Option<PathBuf>,
    #[arg(long, value_name = "L", allow_negative_numbers = true, help = format!(
        "Weight of a bit against squared error (0: plain rounding) [default: {}]",
        QuantizerSpec::default().lambda
    ))]
    lambda: Option<f64>,
    /// Dependent (trellis-coded) quantization: a tenth smaller, twice as long [default: as the preset, not with fast]
    #[arg(long, value_name = "true|false")]
    dependent: Option<bool>,
    /// Do not feed quantization errors forward
    #[arg(long)]
    no_feedback: bool,
    #[command(flatten)]
    from: DataArgs,
}

fn parse_damping(text: &str) -> Result<Damping, String> {
    let numbers: Vec<Option<f64>> = text.split(',').map(|t| t.parse().ok()).collect();
    match numbers[..] {
        [Some(input), Some(output)] => Ok(Damping { input, output }),
        _ => Err("two numbers are needed, as in 0.01,0.05".to_owned()),
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
    /// What was asked for as a bound on loss, and what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    judged: Option<String>,
    report: Report,
}

/// What the images given say.
struct Evidence {
    data: Option<DataSet>,
    /// Where they are needed beyond statistics.
    images: Option<Images>,
    statistics: Statistics,
}

impl Evidence {
    fn new(
        args: &Args,
        (source, data): (&Source, Option<DataSet>),
        config: &EncoderConfig,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let measured = args.measured_curves.is_some();
        let judged = config.effort != Effort::Fast || args.target.bound()?.is_some();
        let images = match &data {
            Some(data) if judged || measured => Some(load_images(data, progress)?),
            Some(data) if config.macs.is_some() => Some(first_image(data)?),
            _ => None,
        };
        let kept_back = images.as_ref().filter(|_| judged);
        let given = (data.as_ref(), kept_back);
        let statistics = statistics(args, source, given, progress, config.seed)?;
        Ok(Self {
            data,
            images,
            statistics,
        })
    }

    /// Who judges, if a bound on loss is asked for.
    fn judge(
        &self,
        args: &Args,
        source: &Source,
        progress: &dyn Progress,
    ) -> anyhow::Result<Option<HeldBack>> {
        match (args.target.bound()?, &self.data, &self.images) {
            (Some(bound), Some(data), Some(images)) => {
                let judge = HeldBack::new(bound, source.network(), (data, images), progress);
                Ok(Some(judge?))
            }
            _ => Ok(None),
        }
    }
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| args.model.with_extension("tqz"));
    check_outputs(args, &output, common.force)?;
    check_quantizer(args)?;
    let config = config(args, common.seed);
    config.check().map_err(usage)?;
    let by_curves = by_curves(args, &config)?;
    let device = super::device(common)?;
    let source = Source::read(&args.model, &device)?;
    let bars = Bars::new(console);
    let data = args.calib.as_ref();
    let data = data.map(|card| open(card, &args.from, common.seed));
    let evidence = Evidence::new(args, (&source, data.transpose()?), &config, &bars)?;
    note_missing_parts(args, &evidence.statistics, console);
    let judge = evidence.judge(args, &source, &bars)?;
    let given = (&source, &evidence);
    let encoded = if by_curves {
        encode_by_curves(args, given, (&config, common.force), &bars)
    } else {
        encode(given, (&config, judge.as_ref()), &bars)
    };
    let (bytes, report) = encoded.with_context(|| args.model.display().to_string())?;
    write_file(&output, &bytes, common.force)?;
    for warning in &report.warnings {
        console.note(0, &format!("warning: {warning}"));
    }
    let judged = judge.as_ref().and_then(|judge| {
        let found = report.judged?;
        Some(format!(
            "{} on {} calibration images kept back",
            judge.described(found.loss),
            judge.images()
        ))
    });
    let outcome = Outcome {
        output: output.display().to_string(),
        file_bytes: bytes.len() as u64,
        weights: report.weights,
        bits_per_weight: report.bits_per_weight,
        original_bytes: network_bytes(&args.model)?,
        calibration_images: evidence.statistics.images(),
        macs_percent: limited_macs(args, (&bytes, &evidence))?,
        seconds: start.elapsed().as_secs_f64(),
        judged,
        report,
    };
    console.result(&outcome, || text(&outcome))
}

/// Whether curves are asked for, which goes with the paper's quantizer and a size.
fn by_curves(args: &Args, config: &EncoderConfig) -> anyhow::Result<bool> {
    let by_curves = args.measured_curves.is_some() || args.curves.is_some();
    if by_curves && (config.paper.is_none() || args.target.bound()?.is_some()) {
        return Err(usage(TqzError::Request(
            "--curves and --measured-curves go with --preset paper and a size".to_owned(),
        )));
    }
    Ok(by_curves)
}

/// Says so where statistics of a file are a part of their set's.
fn note_missing_parts(args: &Args, statistics: &Statistics, console: &Console) {
    if args.stats.is_some() && statistics.images() < statistics.total {
        let told = format!(
            "warning: the statistics cover {} of the {} images of their set; merge the other shards",
            statistics.images(),
            statistics.total
        );
        console.note(0, &told);
    }
}

/// What the network costs to run, where a limit was asked for.
fn limited_macs(args: &Args, (bytes, evidence): (&[u8], &Evidence)) -> anyhow::Result<Option<f64>> {
    if args.macs.is_none() {
        return Ok(None);
    }
    macs_percent(&CompressedModel::decode(bytes)?, evidence.data.as_ref())
}

/// The paper's file, its curves measured and shown as asked for; a size that cannot be reached leaves no page.
fn encode_by_curves(
    args: &Args,
    (source, evidence): (&Source, &Evidence),
    (config, force): (&EncoderConfig, bool),
    progress: &dyn Progress,
) -> anyhow::Result<(Vec<u8>, Report)> {
    let statistics = &evidence.statistics;
    let mut curves = PaperCurves::new(source, statistics, config, progress)?;
    let predicted = curves.blocks();
    let mut measured = None;
    if let (Some(path), Some(images)) = (&args.measured_curves, &evidence.images) {
        let mut file = CurveFile::open(path, &curves.fingerprint(statistics, images)?)?;
        curves.measure(source, images, &mut file, progress)?;
        measured = Some(curves.blocks());
    }
    let encoded = curves.compress(source, config.target)?;
    if let Some(path) = &args.curves {
        let name = args.model.file_stem().unwrap_or_default();
        let title = format!("Distortion against rate: {}", name.to_string_lossy());
        let page = curve_page(&title, &predicted, measured.as_deref())?;
        write_file(path, page.as_bytes(), force)?;
    }
    Ok(encoded)
}

/// The file, within a size or a loss.
fn encode(
    (source, evidence): (&Source, &Evidence),
    (config, judge): (&EncoderConfig, Option<&HeldBack>),
    progress: &dyn Progress,
) -> anyhow::Result<(Vec<u8>, Report)> {
    let statistics = &evidence.statistics;
    Ok(match (judge, &evidence.images) {
        (Some(judge), Some(images)) => {
            tqz::compress_within(source, statistics, images, (config, judge), progress)?
        }
        (_, images) => tqz::compress(source, statistics, images.as_ref(), config, progress)?,
    })
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

fn config(args: &Args, seed: u64) -> EncoderConfig {
    EncoderConfig {
        target: args.target.target(),
        transform: args.transform.into(),
        axis: args.axis.into(),
        paper: args.preset.paper(PaperSpec {
            blocks: args.blocks.unwrap_or(PaperSpec::default().blocks),
            step_by: args.step_by.unwrap_or(StepByName::Output).into(),
            order: args.order.unwrap_or(OrderName::Energy).into(),
        }),
        macs: args.macs,
        quantizer: QuantizerSpec {
            feedback: !args.no_feedback,
            lambda: args.lambda.unwrap_or(QuantizerSpec::default().lambda),
            dependent: args.dependent,
        },
        damping: args.damping,
        effort: args.preset.into(),
        seed,
    }
}

fn text(outcome: &Outcome) -> String {
    let judged = outcome.judged.iter().map(|judged| format!("\n{judged}"));
    let size = format!(
        "{}\n{}\n{}: {} bytes, {:.3} bits/weight, {:.1} times smaller than the original; {:.1} s",
        super::layer_table(&outcome.report.layers),
        super::share_table(&outcome.report.shares),
        outcome.output,
        thousands(outcome.file_bytes),
        outcome.bits_per_weight,
        outcome.original_bytes as f64 / outcome.file_bytes.max(1) as f64,
        outcome.seconds
    );
    let macs = outcome.macs_percent.map(|percent| {
        format!("\nmultiply–accumulates in the transform domain: {percent:.1} % of the original's")
    });
    size + &macs.unwrap_or_default() + &judged.collect::<String>()
}
