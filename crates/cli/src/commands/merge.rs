//! `tqz merge`: statistics of shards of one set of images → statistics of all of them.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use tqz::Statistics;

use crate::Common;
use crate::commands::calibrate::{Outcome, read_statistics};
use crate::output::{Console, check_apart, check_free};

/// Arguments of `tqz merge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Statistics written by `tqz calibrate --shard`, in any order
    #[arg(value_name = "STATS", required = true)]
    parts: Vec<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "STATS")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    // A part that is named twice is told by what it holds.
    for part in &args.parts {
        check_apart(vec![part, &args.output], "statistics and output")?;
    }
    check_free(&args.output, common.force)?;
    let parts = args.parts.iter().map(|path| read_statistics(path));
    let merged = Statistics::merge(parts.collect::<anyhow::Result<_>>()?);
    let merged = merged.with_context(|| {
        let names: Vec<String> = args.parts.iter().map(|p| p.display().to_string()).collect();
        format!("merging {}", names.join(", "))
    })?;
    let outcome = Outcome::write(&merged, &args.output, common.force, start)?;
    console.result(&outcome, || outcome.text())
}
