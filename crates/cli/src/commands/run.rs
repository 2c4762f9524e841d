//! `tqz run`: a network, ONNX or .tqz, on an image or an array; outputs as a table or as an array.

mod arrays;
mod images;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use ndarray::{ArrayD, Axis};
use ndarray_npy::WriteNpyExt;
use serde::Serialize;

use crate::Common;
use crate::commands::network_files::check_apart_from_tensors;
use crate::output::{Console, Usage, check_apart, check_free, table, write_file};
use crate::progress::Bars;
use crate::runtime::{RuntimeArgs, RuntimeName};

/// Most numbers of one output that are shown.
const SHOWN: usize = 5;

/// Arguments of `tqz run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Network to run (.onnx or .tqz)
    model: PathBuf,
    /// Image, folder of images (with --card), .npy array, or .npz with one array for each input, by name or in order
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Card that says how images are prepared
    #[arg(long, value_name = "CARD")]
    card: Option<PathBuf>,
    /// Write the first output as an .npy array
    #[arg(short, long, value_name = "OUT.npy")]
    output: Option<PathBuf>,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Debug, Serialize)]
struct Outcome {
    model: String,
    runtime: RuntimeName,
    seconds: f64,
    outputs: Vec<Shown>,
}

/// One output.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    shape: Vec<usize>,
    min: f32,
    max: f32,
    mean: f64,
    /// Of each sample the places of its largest numbers, largest first, with the numbers.
    largest: Vec<Vec<(usize, f32)>>,
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    if args.card.is_some() && ending(&args.input) == "npy" {
        return Err(Usage::new("an array is run as it is: leave --card out").into());
    }
    if let Some(output) = &args.output {
        let read = [args.model.as_path(), &args.input];
        let named = read.into_iter().chain(args.card.as_deref());
        check_apart(
            named.chain([output.as_path()]).collect(),
            "network, input, card and output",
        )?;
        check_apart_from_tensors(&args.model, &[output])?;
        check_free(output, common.force)?;
    }
    let runtime = args.runtime.chosen()?;
    let device = super::device(common)?;
    let model = super::load_model(&args.model, &Bars::new(console))?;
    let names: Vec<String> = input_names(&model);
    let inputs = inputs(args, (&names, common.seed))?;
    let threads = rayon::current_num_threads();
    let shown = || args.model.display().to_string();
    let mut runner = args
        .runtime
        .load(&model, (&device, threads))
        .with_context(shown)?;
    let start = Instant::now();
    let outputs = runner.run(&inputs).with_context(shown)?;
    let outcome = Outcome {
        model: args.model.display().to_string(),
        runtime,
        seconds: start.elapsed().as_secs_f64(),
        outputs: outputs
            .iter()
            .map(|(name, value)| summary(name, value))
            .collect(),
    };
    if let (Some(path), Some((_, first))) = (&args.output, outputs.first()) {
        let mut bytes = Vec::new();
        first.write_npy(&mut bytes)?;
        write_file(path, &bytes, common.force)?;
    }
    console.result(&outcome, || text(&outcome))
}

/// Names of the graph's inputs that are not stored.
fn input_names(model: &tqz_onnx::model::ModelProto) -> Vec<String> {
    let graphs = model.graph.iter();
    let stored: Vec<&String> = graphs
        .clone()
        .flat_map(|graph| {
            graph
                .initializer
                .iter()
                .filter_map(|tensor| tensor.name.as_ref())
        })
        .collect();
    graphs
        .flat_map(|graph| graph.input.iter().filter_map(|port| port.name.clone()))
        .filter(|name| !stored.contains(&name))
        .collect()
}

/// The arrays to run on.
fn inputs(args: &Args, (names, seed): (&[String], u64)) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let path = &args.input;
    match (ending(path).as_str(), &args.card) {
        ("npy", _) => Ok(vec![arrays::npy(path)?]),
        ("npz", None) => arrays::npz(path, names),
        (_, Some(card)) => images::images(path, card, seed),
        _ => Err(Usage::new("images need --card CARD, which says how they are prepared").into()),
    }
}

/// A file's ending in small letters.
fn ending(path: &Path) -> String {
    let ending = path.extension().unwrap_or_default();
    ending.to_string_lossy().to_lowercase()
}

fn summary(name: &str, value: &ArrayD<f32>) -> Shown {
    let fold = |f: fn(f32, f32) -> f32| value.iter().copied().reduce(f).unwrap_or(f32::NAN);
    let samples = if value.ndim() > 0 {
        value.axis_iter(Axis(0)).collect()
    } else {
        Vec::new()
    };
    let largest = samples.iter().map(|sample| {
        let mut numbered: Vec<(usize, f32)> = sample.iter().copied().enumerate().collect();
        numbered.sort_by(|a, b| b.1.total_cmp(&a.1));
        numbered.truncate(SHOWN);
        numbered
    });
    Shown {
        name: name.to_owned(),
        shape: value.shape().to_vec(),
        min: fold(f32::min),
        max: fold(f32::max),
        mean: value.iter().map(|&v| f64::from(v)).sum::<f64>() / value.len().max(1) as f64,
        largest: largest.collect(),
    }
}

fn text(outcome: &Outcome) -> String {
    let mut rows = Vec::new();
    for output in &outcome.outputs {
        let shape: Vec<String> = output.shape.iter().map(ToString::to_string).collect();
        for (sample, largest) in output.largest.iter().enumerate() {
            let largest: Vec<String> = largest
                .iter()
                .map(|(at, v)| format!("{at}: {v:.4}"))
                .collect();
            rows.push(vec![
                output.name.clone(),
                shape.join("×"),
                sample.to_string(),
                largest.join("  "),
                format!(
                    "{:.4} … {:.4}, mean {:.4}",
                    output.min, output.max, output.mean
                ),
            ]);
        }
    }
    let header = ["output", "shape", "sample", "largest", "all samples"];
    format!(
        "{}\n{}: {:.1} ms",
        table(&header, 5, rows),
        outcome.model,
        1e3 * outcome.seconds
    )
}
