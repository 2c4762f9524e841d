//! Command lines of tests, and the files they name.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::Args;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The arguments of `tqz retrain MODEL --data CARD` and of what follows, separated by spaces.
pub(super) fn args((model, card): (&str, &str), more: &str) -> Args {
    let line = ["retrain", model, "--data", card];
    let line = line.into_iter().chain(more.split_whitespace());
    Line::try_parse_from(line).expect("legal").args
}

/// A file of the demo's.
pub(super) fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets")
        .join(name)
}
