//! `tqz inspect`: the layers of an ONNX or .tqz file, and where a .tqz file's bytes are.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use tqz::{Axis, Costs, Gain, LayerGains, LayerReport, Share, Source, TransformSpec};
use tqz_engine::EngineDevice;

use crate::commands::calibrate::read_statistics;
use crate::output::{Console, table, thousands};
use crate::progress::Bars;

/// Arguments of `tqz inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Network (.onnx or .tqz)
    model: PathBuf,
    /// Coding gain of every transform on every layer of a network (.onnx), from its statistics
    #[arg(long, requires = "stats")]
    gain: bool,
    /// Statistics written by `tqz calibrate`
    #[arg(long, value_name = "STATS", requires = "gain")]
    stats: Option<PathBuf>,
    /// Shape of the input that costs are counted for, as in 1,3,224,224 (default: the network's, free extents 64)
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    input: Vec<usize>,
}

/// Gains of all layers.
#[derive(Debug, Serialize)]
struct Gains {
    model: String,
    layers: Vec<LayerGains>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<CostTotals>,
}

/// Costs of running the network, dense and in the transform domain.
#[derive(Debug, Serialize)]
struct CostTotals {
    macs_dense: u64,
    macs: u64,
    weight_bytes_dense: u64,
    weight_bytes: u64,
    #[serde(flatten)]
    costs: Costs,
}

pub(crate) fn run(args: &Args, console: &Console) -> anyhow::Result<()> {
    if let Some(statistics) = &args.stats {
        return gains(args, statistics, console);
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
        if let Some(costs) = &outcome.costs {
            text.push('\n');
            text.push_str(&cost_table(costs));
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

/// Prints coding gains.
fn gains(args: &Args, statistics: &Path, console: &Console) -> anyhow::Result<()> {
    let source = Source::read(&args.model, &EngineDevice::cpu())?;
    let statistics = read_statistics(statistics)?;
    let found = Gains {
        model: args.model.display().to_string(),
        layers: tqz::coding_gains(&source, &statistics)?,
    };
    console.result(&found, || gain_table(&found.layers))
}

/// One row a layer: total gain of each transform in decibel, with the weights' part; the ELT's in bits.
fn gain_table(layers: &[LayerGains]) -> String {
    let header = [
        "layer",
        "shape",
        "KLT column dB",
        "ELT column dB",
        "bits",
        "KLT row dB",
        "ELT row dB",
        "bits",
        "DCT-I dB",
        "DCT-II dB",
        "KLT kernel dB",
        "ELT kernel dB",
        "condition of Cγγ",
    ];
    let rows = layers.iter().map(|layer| {
        let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
        let find = |transform, axis| {
            let mut gains = layer.gains.iter();
            gains.find(|g| (g.transform, g.axis) == (transform, axis))
        };
        let db = |transform, axis| {
            find(transform, axis).map_or("–".to_owned(), |g: &Gain| {
                format!("{:.2} ({:.2})", g.total_db, g.weights_db)
            })
        };
        let bits = |axis| {
            find(TransformSpec::Elt, axis)
                .map_or("–".to_owned(), |g| format!("{:.2}", g.bits_per_weight))
        };
        let condition = find(TransformSpec::Elt, Axis::Column)
            .map_or("–".to_owned(), |g| format!("{:.1e}", g.condition));
        vec![
            layer.name.clone(),
            shape.join("×"),
            db(TransformSpec::Klt, Axis::Column),
            db(TransformSpec::Elt, Axis::Column),
            bits(Axis::Column),
            db(TransformSpec::Klt, Axis::Row),
            db(TransformSpec::Elt, Axis::Row),
            bits(Axis::Row),
            db(TransformSpec::Dct1, Axis::Kernel),
            db(TransformSpec::Dct2, Axis::Kernel),
            db(TransformSpec::Klt, Axis::Kernel),
            db(TransformSpec::Elt, Axis::Kernel),
            condition,
        ]
    });
    format!(
        "{}\nIn brackets: the part that comes from decorrelating the weights. Bits per weight are saved at high rate, S not counted.",
        table(&header, 2, rows.collect())
    )
}

fn compressed(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let compressed = super::read_compressed(&args.model, &Bars::new(console))?;
    let inspection = compressed
        .inspect()
        .with_context(|| args.model.display().to_string())?;
    let shape = (!args.input.is_empty()).then_some(&args.input[..]);
    let costs = match compressed.costs(shape) {
        Ok(costs) => Some(costs),
        // What was asked for must be answered; what was not need not fail the rest.
        Err(error) if shape.is_some() => return Err(error.into()),
        Err(error) => {
            console.note(0, &format!("warning: costs are not known: {error}"));
            None
        }
    };
    let mut outcome = outcome(
        args,
        "tqz",
        compressed.weights(),
        (inspection.layers, inspection.shares),
        |bytes| compressed.bits_per_weight(bytes),
    )?;
    outcome.costs = costs.map(|costs| CostTotals {
        macs_dense: costs.macs_dense(),
        macs: costs.macs(),
        weight_bytes_dense: costs.weight_bytes_dense(),
        weight_bytes: costs.weight_bytes(),
        costs,
    });
    Ok(outcome)
}

/// A line per layer and one for all.
fn cost_table(totals: &CostTotals) -> String {
    let header = [
        "layer",
        "MACs dense",
        "MACs",
        "%",
        "weight bytes dense",
        "weight bytes",
    ];
    let row = |name: &str, macs: (u64, u64), bytes: (u64, u64)| {
        vec![
            name.to_owned(),
            thousands(macs.0),
            thousands(macs.1),
            format!("{:.1}", 100.0 * macs.1 as f64 / macs.0.max(1) as f64),
            thousands(bytes.0),
            thousands(bytes.1),
        ]
    };
    let layers = totals.costs.layers.iter().map(|layer| {
        row(
            &layer.weight,
            (layer.macs_dense, layer.macs),
            (layer.weight_bytes_dense, layer.weight_bytes),
        )
    });
    let all = row(
        "all",
        (totals.macs_dense, totals.macs),
        (totals.weight_bytes_dense, totals.weight_bytes),
    );
    let shape: Vec<String> = totals.costs.input.iter().map(usize::to_string).collect();
    format!(
        "{}\nmultiply–accumulates (MACs) of one sample of an input of {}: dense, and as the form transform runs",
        table(&header, 1, layers.chain([all]).collect()),
        shape.join("×")
    )
}

fn original(args: &Args) -> anyhow::Result<Outcome> {
    let source = Source::read(&args.model, &EngineDevice::cpu())?;
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
    let file_bytes = std::fs::metadata(&args.model)?.len();
    Ok(Outcome {
        model: args.model.display().to_string(),
        kind,
        file_bytes,
        weights,
        bits_per_weight: bits_per_weight(file_bytes),
        layers,
        shares,
        costs: None,
    })
}
