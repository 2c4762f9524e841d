//! Images that a network is run on, prepared as a card says.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use ndarray::ArrayD;
use tqz_data::{Card, DataError, DataSet, OpenOptions, Rows, SourceKind};

use super::ending;

/// Endings of what holds more than one image.
const ARCHIVES: [&str; 5] = ["zip", "tar", "xz", "txz", "npz"];

/// One image, or all images of a folder or archive.
///
/// # Errors
/// What holds no images, or images of several sizes.
pub(super) fn images(path: &Path, card: &Path, seed: u64) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let folder = tempfile::tempdir()?;
    let mut card = Card::read(card)?;
    card.source.images = None;
    card.source.rows = Rows::default();
    let mut source = path.to_path_buf();
    if path.is_file() && !ARCHIVES.contains(&ending(path).as_str()) {
        // A data set is a folder or an archive; of one image the card's source says nothing.
        card.source.kind = SourceKind::Images;
        card.source.folder.clear();
        card.source.classes.clear();
        source = folder.path().to_path_buf();
        copy(path, &source)?;
    }
    let options = OpenOptions {
        source: Some(source),
        images: None,
        seed,
    };
    let data = DataSet::open(&card, Path::new(""), &options).map_err(|e| told(e, path))?;
    Ok(vec![whole(&data, path)?])
}

/// Copies an image into a folder; its name there is always one that sets take.
fn copy(path: &Path, folder: &Path) -> anyhow::Result<()> {
    let place: PathBuf = folder.join(format!("image.{}", ending(path)));
    let copied = std::fs::copy(path, place);
    copied.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(())
}

/// All images of a set in one array.
fn whole(data: &DataSet, path: &Path) -> anyhow::Result<ArrayD<f32>> {
    let mut batches = data.batches(data.len());
    let mut next = || batches.next().transpose().map_err(|e| told(e, path));
    let Some(first) = next()? else {
        bail!("{} holds no image", path.display());
    };
    if let Some(other) = next()? {
        bail!(
            "image {} of {} comes as {:?}, those before it as {:?}: run images of one size at a time, or with a card that resizes or crops them",
            data.name(other.first)?,
            path.display(),
            &other.input.shape()[1..],
            &first.input.shape()[1..]
        );
    }
    Ok(first.input.into_dyn())
}

/// An error of the set, said of what the user named: an image alone was copied elsewhere.
fn told(error: DataError, path: &Path) -> anyhow::Error {
    match error {
        DataError::Image {
            path: place,
            reason,
            ..
        }
        | DataError::Source {
            path: place,
            reason,
        } if !place.starts_with(path) => {
            anyhow!("cannot read {}: {reason}", path.display())
        }
        error => error.into(),
    }
}
