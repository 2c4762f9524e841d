//! `tqz inspect`: the layers of an ONNX or .tqz file, where a .tqz file's bytes are, what statistics hold.

#[cfg(feature = "encoder")]
mod costs;
#[cfg(feature = "encoder")]
mod gains;
#[cfg(feature = "encoder")]
mod statistics;

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;
use tqz::{LayerReport, Share};

use crate::output::{Console, thousands};
use crate::progress::Bars;

/// Arguments of `tqz inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Network (.onnx or .tqz) or statistics written by `tqz calibrate`; without the encoder .tqz alone
    model: PathBuf,
    /// Coding gain of every transform on every layer of a network (.onnx), from its statistics
    #[cfg(feature = "encoder")]
    #[arg(long, requires = "stats")]
    gain: bool,
    /// Statistics written by `tqz calibrate`
    #[cfg(feature = "encoder")]
    #[arg(long, value_name = "STATS", requires = "gain")]
    stats: Option<PathBuf>,
    #[cfg(feature = "encoder")]
    /// Shape of the input that costs are counted for, as in 1,3,224,224 (default: the network's, free extents 64)
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    input: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    model: String,
    kind: &'static str,
    file_bytes: u64,
    weights: u64,
    bits_per_weight: f64,
    layers: Vec<LayerReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shares: Vec<Share>,
    #[cfg(feature = "encoder")]
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<costs::Totals>,
}

pub(crate) fn run(args: &Args, console: &Console) -> anyhow::Result<()> {
    #[cfg(feature = "encoder")]
    if let Some(statistics) = &args.stats {
        return gains::show(&args.model, statistics, console);
    }
    #[cfg(feature = "encoder")]
    if statistics::starts_like_it(&args.model)? {
        return statistics::show(&args.model, console);
    }
    let outcome = if super::starts_compressed(&args.model)? {
        compressed(args, console)?
    } else {
        original(args)?
    };
    console.result(&outcome, || {
        let mut text = super::layer_table(&outcome.layers);
        if !outcome.shares.is_empty() {
            text.push('\n');
            text.push_str(&super::share_table(&outcome.shares));
        }
        #[cfg(feature = "encoder")]
        if let Some(totals) = &outcome.costs {
            text.push('\n');
            text.push_str(&costs::table_of(totals));
        }
        format!(
            "{text}\n{}: {} weights, {} bytes, {:.3} bits/weight",
            outcome.model,
            thousands(outcome.weights),
            thousands(outcome.file_bytes),
            outcome.bits_per_weight
        )
    })
}

fn compressed(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let compressed = super::read_compressed(&args.model, &Bars::new(console))?;
    let inspection = compressed
        .inspect()
        .with_context(|| args.model.display().to_string())?;
    let outcome = outcome(
        args,
        "tqz",
        compressed.weights(),
        (inspection.layers, inspection.shares),
        |bytes| compressed.bits_per_weight(bytes),
    )?;
    #[cfg(feature = "encoder")]
    let outcome = Outcome {
        costs: costs::of(&compressed, &args.input, console)?,
        ..outcome
    };
    Ok(outcome)
}

#[cfg(not(feature = "encoder"))]
fn original(args: &Args) -> anyhow::Result<Outcome> {
    Err(anyhow::anyhow!(
        "this program was built without the encoder and reads .tqz files only"
    ))
    .with_context(|| args.model.display().to_string())
}

#[cfg(feature = "encoder")]
fn original(args: &Args) -> anyhow::Result<Outcome> {
    let source = tqz::Source::read(&args.model, &tqz_engine::EngineDevice::cpu())?;
    outcome(
        args,
        "onnx",
        source.weight_count(),
        (source.layer_reports(), Vec::new()),
        |bytes| source.bits_per_weight(bytes),
    )
}

fn outcome(
    args: &Args,
    kind: &'static str,
    weights: u64,
    (layers, shares): (Vec<LayerReport>, Vec<Share>),
    bits_per_weight: impl Fn(u64) -> f64,
) -> anyhow::Result<Outcome> {
    #[cfg(feature = "encoder")]
    let file_bytes = match kind {
        "onnx" => super::network_files::network_bytes(&args.model)?,
        _ => std::fs::metadata(&args.model)?.len(),
    };
    #[cfg(not(feature = "encoder"))]
    let file_bytes = std::fs::metadata(&args.model)?.len();
    Ok(Outcome {
        model: args.model.display().to_string(),
        kind,
        file_bytes,
        weights,
        bits_per_weight: bits_per_weight(file_bytes),
        layers,
        shares,
        #[cfg(feature = "encoder")]
        costs: None,
    })
}
