//! The program `tqz`: parses what was typed, runs one command, and turns its outcome into text, JSON and an exit code
//! (0 done, 2 wrong usage, 130 stopped with Ctrl-C and ready to go on, 1 anything else).

mod commands;
#[cfg(feature = "encoder")]
mod data;
// Some of it serves only the commands that the encoder brings.
#[cfg_attr(not(feature = "encoder"), allow(dead_code))]
mod output;
#[cfg(feature = "encoder")]
mod page;
#[cfg(feature = "encoder")]
mod plot;
mod progress;
#[cfg(feature = "encoder")]
mod runtime;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::{Console, Stopped, Usage};

/// Makes trained convolutional networks small by transform quantization.
#[derive(Debug, Parser)]
#[command(name = "tqz", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
struct Common {
    /// Print one JSON object on stdout instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Worker threads (default: all cores); results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Seed of everything drawn at random
    #[cfg(feature = "encoder")]
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where the network runs: cpu, or what the program was built with
    #[cfg(feature = "encoder")]
    #[arg(long, global = true, value_name = "NAME", default_value = "cpu")]
    device: String,
    /// Overwrite existing output files
    #[arg(long, global = true)]
    force: bool,
    /// Say more about what happens (twice: still more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure a network on images once, for any number of compressions
    #[cfg(feature = "encoder")]
    Calibrate(commands::calibrate::Args),
    /// Put the statistics of shards of one set of images together
    #[cfg(feature = "encoder")]
    Merge(commands::merge::Args),
    /// ONNX network → small .tqz file
    #[cfg(feature = "encoder")]
    Compress(commands::compress::Args),
    /// Train a compressed network's levels, without labels or with them, at the same size
    #[cfg(feature = "encoder")]
    Retrain(commands::retrain::Args),
    /// .tqz file → ONNX network
    Decompress(commands::decompress::Args),
    /// .tqz file → ONNX network for fewer operations, integer arithmetic, or a small file
    #[cfg(feature = "encoder")]
    Export(commands::export::Args),
    /// Score a network, ONNX or .tqz, and compare it with a reference
    #[cfg(feature = "encoder")]
    Eval(commands::eval::Args),
    /// Run a network, ONNX or .tqz, on an image or an array
    #[cfg(feature = "encoder")]
    Run(commands::run::Args),
    /// Measure how long networks take, ONNX and the forms of .tqz files
    #[cfg(feature = "encoder")]
    Bench(commands::bench::Args),
    /// Show the layers of an ONNX or .tqz file
    Inspect(commands::inspect::Args),
    /// Networks at many rates, presets and transforms: a table of points and a page of plots
    #[cfg(feature = "encoder")]
    Sweep(commands::sweep::Args),
    /// Compress a small built-in network at three rates and plot the curve
    #[cfg(feature = "encoder")]
    Demo(commands::demo::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(cli.common.json, cli.common.verbose);
    match run(&cli, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            if error.is::<Usage>() {
                ExitCode::from(2)
            } else if error.is::<Stopped>() {
                ExitCode::from(130)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(cli: &Cli, console: &Console) -> anyhow::Result<()> {
    if let Some(threads) = cli.common.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(usize::from(threads))
            .build_global()?;
    }
    match &cli.command {
        #[cfg(feature = "encoder")]
        Command::Calibrate(args) => commands::calibrate::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Merge(args) => commands::merge::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Compress(args) => commands::compress::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Retrain(args) => commands::retrain::run(args, &cli.common, console),
        Command::Decompress(args) => commands::decompress::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Export(args) => commands::export::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Eval(args) => commands::eval::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Run(args) => commands::run::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Bench(args) => commands::bench::run(args, &cli.common, console),
        Command::Inspect(args) => commands::inspect::run(args, console),
        #[cfg(feature = "encoder")]
        Command::Sweep(args) => commands::sweep::run(args, &cli.common, console),
        #[cfg(feature = "encoder")]
        Command::Demo(args) => commands::demo::run(args, &cli.common, console),
    }
}
