//! `tqz decompress`: a .tqz file back to an ONNX network with the original names.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use crate::Common;
#[cfg(feature = "encoder")]
use crate::commands::export::{FormName, Int8Args, NEWEST_OPSET, exported};
use crate::output::{Console, check_apart, check_free, thousands, write_network};
use crate::progress::Bars;

/// Arguments of `tqz decompress`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compressed network
    #[arg(value_name = "M.tqz")]
    file: PathBuf,
    /// Network to write
    #[arg(short, long, value_name = "M.onnx")]
    output: PathBuf,
    #[cfg(feature = "encoder")]
    /// What the network is for; as `tqz export` has it
    #[arg(long, value_enum, default_value_t = FormName::Dense)]
    form: FormName,
    #[cfg(feature = "encoder")]
    #[command(flatten)]
    int8: Int8Args,
}

#[derive(Debug, Serialize)]
struct Outcome {
    output: String,
    file_bytes: u64,
    weights: u64,
    seconds: f64,
}

/// Every file that is read or written.
fn names(args: &Args) -> Vec<&Path> {
    let names = [args.file.as_path(), &args.output].into_iter();
    #[cfg(feature = "encoder")]
    let names = names.chain(args.int8.files());
    names.collect()
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    check_apart(names(args), "compressed file, card, images and output")?;
    check_free(&args.output, common.force)?;
    let start = Instant::now();
    #[cfg(feature = "encoder")]
    args.int8.check(&[args.form])?;
    let bars = Bars::new(console);
    let compressed = super::read_compressed(&args.file, &bars)?;
    #[cfg(feature = "encoder")]
    let model = exported(
        &compressed,
        (args.form, &args.int8, NEWEST_OPSET),
        common.seed,
        &bars,
    )
    .map(|(model, _)| model);
    #[cfg(not(feature = "encoder"))]
    let model = compressed.to_model();
    let model = model.with_context(|| args.file.display().to_string())?;
    write_network(&args.output, &model, common.force)?;
    let outcome = Outcome {
        output: args.output.display().to_string(),
        file_bytes: std::fs::metadata(&args.output)?.len(),
        weights: compressed.weights(),
        seconds: start.elapsed().as_secs_f64(),
    };
    console.result(&outcome, || {
        format!(
            "{}: {} weights, {} bytes, {:.1} s",
            outcome.output,
            thousands(outcome.weights),
            thousands(outcome.file_bytes),
            outcome.seconds
        )
    })
}
