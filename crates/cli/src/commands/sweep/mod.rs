//! `tqz sweep`: networks at many rates, presets and transforms → a table of points and a page with plots. Every point is a whole
//! file, decoded again and scored on test images; the sweep can be cut off and goes on where it stopped.

mod page;
mod rows;
mod spec;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use tqz::{
    CompressedModel, Effort, EncoderConfig, Images, PaperSpec, RateTarget, Report, Source,
    Statistics,
};
use tqz_data::{DataSet, Scores};
use tqz_engine::Network;

use crate::Common;
use crate::commands::calibrate::{Measurement, calibrate, calibrate_without, load_images};
use crate::commands::compress::{AxisName, Preset, StepByName, TransformName};
use crate::commands::eval::score;
use crate::output::{Console, optional, table, write_file};
use crate::progress::Bars;

use rows::{Row, Rows};
use spec::{NetworkSpec, Spec};

/// Arguments of `tqz sweep`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to try (TOML; docs/sweep.md)
    #[arg(value_name = "SWEEP.toml")]
    spec: PathBuf,
    /// Folder of the results: raw.csv and index.html; points that raw.csv holds are not made again
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Only these networks
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    table: String,
    page: String,
    points: Vec<Row>,
    seconds: f64,
}

/// One combination to try.
#[derive(Debug, Clone, Copy)]
struct Combination {
    preset: Preset,
    transform: TransformName,
    axis: AxisName,
    step_by: StepByName,
    bits: f64,
}

impl Combination {
    /// Every combination that exists, in the order of the specification.
    fn all(spec: &Spec, bits: &[f64]) -> Vec<Self> {
        let mut all = Vec::new();
        for &preset in &spec.presets {
            for &step_by in &spec.step_by {
                for &axis in &spec.axes {
                    for &transform in &spec.transforms {
                        let made = bits.iter().map(|&bits| Self {
                            preset,
                            transform,
                            axis,
                            step_by,
                            bits,
                        });
                        all.extend(made.filter(|c| c.exists()));
                    }
                }
            }
        }
        all
    }

    /// Whether it is one of its own: no transform has no axis, cosines are for kernels, both sides and other choices of steps
    /// for the paper's quantizer alone.
    fn exists(self) -> bool {
        let column = matches!(self.axis, AxisName::Column);
        let kernel = matches!(self.axis, AxisName::Kernel);
        let output = matches!(self.step_by, StepByName::Output);
        let suits = match self.transform {
            TransformName::Identity => column,
            TransformName::Dct1 | TransformName::Dct2 => kernel,
            _ => true,
        };
        let both = matches!(self.axis, AxisName::Both);
        suits && (matches!(self.preset, Preset::Paper) || (!both && output))
    }

    fn names(self) -> [String; 4] {
        [
            value_name(&self.preset),
            value_name(&self.transform),
            value_name(&self.axis),
            value_name(&self.step_by),
        ]
    }

    fn key(self, network: &str) -> [String; 6] {
        let [preset, transform, axis, step_by] = self.names();
        let bits = self.bits.to_string();
        [network.to_owned(), preset, transform, axis, step_by, bits]
    }
}

/// A value as it is written on the command line.
fn value_name(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or(String::new(), |v| v.get_name().to_owned())
}

/// A network ready to be tried.
struct Subject {
    source: Source,
    calib: DataSet,
    images: OnceCell<Images>,
    /// From all images of `calib`.
    statistics: OnceCell<Statistics>,
    /// From those that are not kept back to judge by.
    spared: OnceCell<Statistics>,
    test: DataSet,
}

impl Subject {
    fn new(network: &NetworkSpec, base: &Path, common: &Common) -> anyhow::Result<Self> {
        let device = super::device(common)?;
        Ok(Self {
            source: Source::read(&base.join(&network.model), &device)?,
            calib: network.calib.open(base, common.seed)?,
            images: OnceCell::new(),
            statistics: OnceCell::new(),
            spared: OnceCell::new(),
            test: network.test.open(base, common.seed)?,
        })
    }

    /// The file at one combination; statistics and images are made when they are first needed.
    fn compress(
        &self,
        config: &EncoderConfig,
        bars: &Bars,
    ) -> anyhow::Result<(Vec<u8>, Report, f64)> {
        let asked = Measurement {
            seed: config.seed,
            ..Measurement::default()
        };
        let (statistics, images) = if config.effort == Effort::Fast {
            let whole = || calibrate(&self.source, &self.calib, &asked, bars);
            (made(&self.statistics, whole)?, None)
        } else {
            let images = made(&self.images, || load_images(&self.calib, bars))?;
            let set = (&self.source, &self.calib);
            let spared = || calibrate_without(images, set, &asked, bars);
            (made(&self.spared, spared)?, Some(images))
        };
        let start = Instant::now();
        let (bytes, report) = tqz::compress(&self.source, statistics, images, config, bars)?;
        Ok((bytes, report, start.elapsed().as_secs_f64()))
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

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    let spec = Spec::read(&args.spec)?;
    let shown = || format!("cannot make the folder {}", args.output.display());
    std::fs::create_dir_all(&args.output).with_context(shown)?;
    let csv = args.output.join("raw.csv");
    let page = args.output.join("index.html");
    let mut rows = Rows::open(&csv)?;
    let base = args.spec.parent().unwrap_or(Path::new(""));
    let chosen = |n: &&NetworkSpec| args.only.is_empty() || args.only.contains(&n.name);
    for network in spec.networks.iter().filter(chosen) {
        sweep_network((network, &spec), base, common, console, &mut rows)
            .with_context(|| format!("network {}", network.name))?;
        let text = page::sweep_page(&spec.title, &rows.rows)?;
        write_file(&page, text.as_bytes(), true)?;
    }
    let outcome = Outcome {
        table: csv.display().to_string(),
        page: page.display().to_string(),
        points: rows.rows,
        seconds: start.elapsed().as_secs_f64(),
    };
    console.result(&outcome, || text(&outcome))
}

/// All points of one network that are not there yet.
fn sweep_network(
    (network, spec): (&NetworkSpec, &Spec),
    base: &Path,
    common: &Common,
    console: &Console,
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let bits = network.bits.as_ref().unwrap_or(&spec.bits);
    let mut missing = Combination::all(spec, bits);
    anyhow::ensure!(
        !missing.is_empty(),
        "none of the sweep's combinations exists: identity goes with the column axis, cosines with kernel"
    );
    missing.retain(|c| !rows.has(&c.key(&network.name)));
    if missing.is_empty() {
        return Ok(());
    }
    let bars = Bars::new(console);
    let subject = Subject::new(network, base, common)?;
    for combination in missing {
        let row = point(network, &subject, combination, (common, &bars))?;
        console.note(
            0,
            &format!(
                "{} {}: {:.3} bits/weight",
                row.network,
                row.series(),
                row.rate_bpw
            ),
        );
        rows.push(row)?;
    }
    Ok(())
}

/// Makes one file, decodes it and scores it.
fn point(
    network: &NetworkSpec,
    subject: &Subject,
    combination: Combination,
    (common, bars): (&Common, &Bars),
) -> anyhow::Result<Row> {
    let config = EncoderConfig {
        transform: combination.transform.into(),
        axis: combination.axis.into(),
        paper: combination.preset.paper(PaperSpec {
            step_by: combination.step_by.into(),
            ..PaperSpec::default()
        }),
        effort: combination.preset.into(),
        seed: common.seed,
        ..EncoderConfig::new(RateTarget::BitsPerWeight(combination.bits))
    };
    let source = &subject.source;
    let (bytes, report, seconds) = subject.compress(&config, bars)?;
    let decoded = CompressedModel::decode(&bytes)?;
    let small = Network::from_model(&decoded.to_model()?, &super::device(common)?)?;
    let scores = score(&small, Some(source.network()), &subject.test, bars)?;
    Ok(row(network, combination, (&report, &scores), seconds))
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
        asked_bpw: combination.bits,
        file_bytes: report.file_bytes,
        rate_bpw: report.bits_per_weight,
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
        seconds,
    }
}

fn text(outcome: &Outcome) -> String {
    let header = [
        "network",
        "coded with",
        "bits/weight",
        "top-1 %",
        "PSNR dB",
        "agreement %",
        "KL nats",
    ];
    let rows = outcome.points.iter().map(|row| {
        vec![
            row.network.clone(),
            row.series(),
            format!("{:.3}", row.rate_bpw),
            optional(row.top1_percent, 2),
            optional(row.psnr_db, 3),
            optional(row.agreement_percent, 2),
            optional(row.kl_nats, 4),
        ]
    });
    format!(
        "{}\n{} points in {}, plots in {}",
        table(&header, 2, rows.collect()),
        outcome.points.len(),
        outcome.table,
        outcome.page
    )
}
