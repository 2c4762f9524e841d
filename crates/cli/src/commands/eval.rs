//! `tqz eval`: scores a network, ONNX or .tqz, on a data set, and compares its outputs with a reference network's.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use ndarray::ArrayD;
use serde::Serialize;
use tqz::Progress;
use tqz_data::{DataSet, Scorer, Scores};
use tqz_engine::Network;

use crate::Common;
use crate::data::{DataArgs, open};
use crate::output::{Console, table};
use crate::progress::Bars;

/// Images per forward pass.
pub(crate) const BATCH: usize = 64;
/// Images per shard of a batch.
const SHARD: usize = 8;

/// Arguments of `tqz eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Network to score (.onnx or .tqz)
    model: PathBuf,
    /// Data set card
    #[arg(long, value_name = "CARD")]
    data: PathBuf,
    /// Compare outputs with this network's (.onnx or .tqz)
    #[arg(long, value_name = "MODEL")]
    r#ref: Option<PathBuf>,
    #[command(flatten)]
    from: DataArgs,
}

#[derive(Debug, Serialize)]
struct Outcome {
    model: String,
    data: String,
    #[serde(flatten)]
    scores: Scores,
    seconds: f64,
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    let device = super::device(common)?;
    let bars = Bars::new(console);
    let network = super::load_network(&args.model, &device, &bars)?;
    let reference = args
        .r#ref
        .as_ref()
        .map(|path| super::load_network(path, &device, &bars))
        .transpose()?;
    let data = open(&args.data, &args.from, common.seed)?;
    let scores = score(&network, reference.as_ref(), &data, &bars)
        .with_context(|| args.model.display().to_string())?;
    let outcome = Outcome {
        model: args.model.display().to_string(),
        data: args.data.display().to_string(),
        scores,
        seconds: start.elapsed().as_secs_f64(),
    };
    console.result(&outcome, || text(&outcome))
}

/// Runs the networks over the data set and scores them.
pub(crate) fn score(
    network: &Network,
    reference: Option<&Network>,
    data: &DataSet,
    progress: &dyn Progress,
) -> anyhow::Result<Scores> {
    let run = |_: usize, input: &ArrayD<f32>| {
        let output = reference.map(|network| first_output(network, input));
        output.transpose()
    };
    score_against(network, run, data, progress)
}

/// Runs a network over the data set and scores it against reference outputs, given by number and input of the batch.
pub(crate) fn score_against(
    network: &Network,
    mut reference: impl FnMut(usize, &ArrayD<f32>) -> anyhow::Result<Option<ArrayD<f32>>>,
    data: &DataSet,
    progress: &dyn Progress,
) -> anyhow::Result<Scores> {
    let mut scorer = Scorer::new(data.task());
    progress.begin("evaluating", data.len() as u64);
    for (number, batch) in data.batches(BATCH).enumerate() {
        let batch = batch?;
        let input = batch.input.clone().into_dyn();
        let output = first_output(network, &input)?;
        let wanted = reference(number, &input)?;
        scorer.add_batch(&batch, output.view(), wanted.as_ref().map(|w| w.view()))?;
        progress.advance(batch.truths.len() as u64);
    }
    progress.finish();
    Ok(scorer.finish())
}

/// The network's first output on a batch.
pub(crate) fn first_output(network: &Network, input: &ArrayD<f32>) -> anyhow::Result<ArrayD<f32>> {
    match network.run_batch(input, SHARD)?.into_iter().next() {
        Some(output) => Ok(output),
        None => bail!("the network has no output"),
    }
}

fn text(outcome: &Outcome) -> String {
    let scores = &outcome.scores;
    let mut header = vec!["model", "images"];
    let mut row = vec![outcome.model.clone(), scores.images.to_string()];
    let mut column = |name, value: Option<f64>, digits: usize| {
        if let Some(value) = value {
            header.push(name);
            row.push(format!("{value:.digits$}"));
        }
    };
    column("top-1 %", scores.top1_percent, 2);
    column("top-5 %", scores.top5_percent, 2);
    column("PSNR dB", scores.psnr_db, 3);
    if let Some(reference) = &scores.reference {
        column("ref top-1 %", reference.top1_percent, 2);
        column("ref PSNR dB", reference.psnr_db, 3);
        column("agreement %", reference.agreement_percent, 2);
        column("KL nats", reference.kl_nats, 5);
        column("output MSE", Some(reference.mse), 6);
    }
    table(&header, 1, vec![row])
}
