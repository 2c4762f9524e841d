//! `tqz demo`: compresses a small built-in network at three rates, scores each file, and draws the curve.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use tqz::{CompressedModel, EncoderConfig, Metric, RateTarget, Source};
use tqz_data::{Card, DataSet, OpenOptions, Scores};
use tqz_engine::Network;

use crate::Common;
use crate::commands::calibrate::load_images;
use crate::commands::eval::score;
use crate::output::{Console, check_free, optional, table, thousands, write_file};
use crate::page::{Curve, Point, demo_page};
use crate::progress::Bars;

const MODEL: &[u8] = include_bytes!("../../../../assets/demo.onnx");
const CALIBRATION: &[u8] = include_bytes!("../../../../assets/demo-calib.npz");
const TEST: &[u8] = include_bytes!("../../../../assets/demo-test.npz");
const CALIBRATION_CARD: &str = include_str!("../../../../assets/demo-calib.toml");
const TEST_CARD: &str = include_str!("../../../../assets/demo-test.toml");
/// Rates shown: no loss, little loss, visible loss.
const RATES_BPW: [f64; 3] = [2.0, 1.0, 0.7];

/// Arguments of `tqz demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Page to write (default: tqz-demo.html, or the next free name)
    #[arg(short, long, value_name = "PAGE.html")]
    output: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    page: String,
    weights: u64,
    original: Row,
    compressed: Vec<Row>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    bytes: u64,
    bits_per_weight: f64,
    times_smaller: f64,
    #[serde(flatten)]
    scores: Scores,
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    let page = match &args.output {
        Some(path) => {
            check_free(path, common.force)?;
            path.clone()
        }
        None => free_name(),
    };
    let bars = Bars::new(console);
    let device = super::device(common)?;
    let source = Source::new(tqz_onnx::decode_model(MODEL)?, &device)?;
    let calibration = embedded(
        "demo-calib.npz",
        (CALIBRATION, CALIBRATION_CARD),
        common.seed,
    )?;
    let test = embedded("demo-test.npz", (TEST, TEST_CARD), common.seed)?;
    let weights = source.weight_count();
    let row = |name: String, bytes: u64, scores: Scores| Row {
        name,
        bytes,
        bits_per_weight: source.bits_per_weight(bytes),
        times_smaller: MODEL.len() as f64 / bytes.max(1) as f64,
        scores,
    };
    let original = score(source.network(), None, &test, &bars)?;
    let original = row("full precision".to_owned(), MODEL.len() as u64, original);
    let images = load_images(&calibration, &bars)?;
    let statistics = images.calibrate(&source, (Metric::Auto, common.seed), &bars)?;
    let mut compressed = Vec::new();
    for rate in RATES_BPW {
        let config = EncoderConfig {
            seed: common.seed,
            ..EncoderConfig::new(RateTarget::BitsPerWeight(rate))
        };
        let (bytes, _) = tqz::compress(&source, &statistics, Some(&images), &config, &bars)?;
        let network = Network::from_model(&CompressedModel::decode(&bytes)?.to_model()?, &device)?;
        let scores = score(&network, Some(source.network()), &test, &bars)?;
        compressed.push(row(
            format!("{rate} bits/weight"),
            bytes.len() as u64,
            scores,
        ));
    }
    let outcome = Outcome {
        page: page.display().to_string(),
        weights,
        original,
        compressed,
        seconds: start.elapsed().as_secs_f64(),
    };
    write_file(&page, demo_page(&curve(&outcome))?.as_bytes(), common.force)?;
    console.result(&outcome, || text(&outcome))
}

/// A data set that is part of the program.
fn embedded(name: &str, (bytes, card): (&[u8], &str), seed: u64) -> anyhow::Result<DataSet> {
    let options = OpenOptions {
        seed,
        ..OpenOptions::default()
    };
    let card = Card::from_toml(card, Path::new(name))?;
    Ok(DataSet::from_npz(&card, name, bytes, &options)?)
}

/// `tqz-demo.html`, or with the first number that is free.
fn free_name() -> PathBuf {
    let first = PathBuf::from("tqz-demo.html");
    if !first.exists() {
        return first;
    }
    (2..)
        .map(|n: u32| PathBuf::from(format!("tqz-demo-{n}.html")))
        .find(|path| !path.exists())
        .unwrap_or(first)
}

fn curve(outcome: &Outcome) -> Curve {
    let point = |row: &Row| Point {
        name: row.name.clone(),
        bytes: row.bytes,
        bits_per_weight: row.bits_per_weight,
        times_smaller: row.times_smaller,
        top1_percent: row.scores.top1_percent.unwrap_or(0.0),
        agreement_percent: row
            .scores
            .reference
            .as_ref()
            .and_then(|r| r.agreement_percent),
    };
    Curve {
        weights: outcome.weights,
        images: outcome.original.scores.images as u64,
        original: point(&outcome.original),
        points: outcome.compressed.iter().map(point).collect(),
    }
}

fn text(outcome: &Outcome) -> String {
    let header = [
        "network",
        "bytes",
        "bits/weight",
        "smaller",
        "top-1 %",
        "agreement %",
        "KL nats",
    ];
    let rows = std::iter::once(&outcome.original)
        .chain(&outcome.compressed)
        .map(|row| {
            let reference = row.scores.reference.as_ref();
            vec![
                row.name.clone(),
                thousands(row.bytes),
                format!("{:.2}", row.bits_per_weight),
                format!("{:.1} ×", row.times_smaller),
                optional(row.scores.top1_percent, 1),
                optional(reference.and_then(|r| r.agreement_percent), 1),
                optional(reference.and_then(|r| r.kl_nats), 4),
            ]
        });
    format!(
        "{}\n{} test images, {:.1} s; curve in {}",
        table(&header, 1, rows.collect()),
        outcome.original.scores.images,
        outcome.seconds,
        outcome.page
    )
}
