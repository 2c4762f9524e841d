//! From a card's name on the command line to images: shared by the commands that need data.

use std::path::{Path, PathBuf};

use tqz_data::{DataSet, OpenOptions};

/// Options that describe a data set.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataArgs {
    /// Take the images from here instead of the card's source
    #[arg(long, value_name = "PATH")]
    pub(crate) source: Option<PathBuf>,
    /// Use only the first N images (class folders: of a fixed, seeded shuffle)
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) images: Option<usize>,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("a whole number of at least 1 is needed".to_owned()),
    }
}

/// Opens the data set a card describes.
pub(crate) fn open(card: &Path, args: &DataArgs, seed: u64) -> anyhow::Result<DataSet> {
    let options = OpenOptions {
        source: args.source.clone(),
        images: args.images,
        seed,
    };
    Ok(DataSet::open_card(card, &options)?)
}
