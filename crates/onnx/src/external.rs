//! External data: weights in files of their own beside the model, read without leaving its folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::error::{OnnxError, io_error};
use crate::model::{ModelProto, TensorProto};
use crate::visit;

/// How often the same bytes of a data file may be read into tensors, on average over all files: shared
/// weights are legal, a thousand tensors over one file are an attack on the memory.
const MOST_READS_OF_A_BYTE: u64 = 4;

/// Moves all external data of the model into its tensors. `folder` is the model's.
///
/// # Errors
/// [`OnnxError::External`] or [`OnnxError::Io`] for the first tensor whose data cannot be read.
pub(crate) fn pull_in(model: &mut ModelProto, folder: &Path) -> Result<(), OnnxError> {
    let mut files = Files {
        folder,
        open: BTreeMap::new(),
        bytes_held: 0,
        bytes_read: 0,
    };
    let mut result = Ok(());
    visit::tensors_mut(model, |_site, tensor| {
        if result.is_ok() && tensor.is_external() {
            result = files.pull_in(tensor);
        }
    });
    result
}

/// Where a tensor's external data lie.
struct Extent {
    location: String,
    offset: u64,
    length: u64,
}

/// The data files of one model, each opened once.
struct Files<'a> {
    folder: &'a Path,
    open: BTreeMap<PathBuf, (File, u64)>,
    /// Bytes in all files opened.
    bytes_held: u64,
    /// Bytes read into tensors.
    bytes_read: u64,
}

impl Files<'_> {
    fn pull_in(&mut self, tensor: &mut TensorProto) -> Result<(), OnnxError> {
        let extent = extent(tensor)?;
        let fail = |reason: String| external_error(tensor, &extent.location, reason);
        let path = self.safe_path(&extent.location).map_err(fail)?;
        if !self.open.contains_key(&path) {
            let file = File::open(&path).map_err(io_error(&path, "open external data"))?;
            let size = file
                .metadata()
                .map_err(io_error(&path, "open external data"))?
                .len();
            self.bytes_held = self.bytes_held.saturating_add(size);
            self.open.insert(path.clone(), (file, size));
        }
        let Some((file, size)) = self.open.get_mut(&path) else {
            return Err(fail("cannot be opened".into()));
        };
        let Extent { offset, length, .. } = extent;
        if offset.checked_add(length).is_none_or(|end| end > *size) {
            return Err(fail(format!(
                "bytes {offset} to {offset} + {length} of a file that has {size}"
            )));
        }
        self.bytes_read = self.bytes_read.saturating_add(length);
        let most = self.bytes_held.saturating_mul(MOST_READS_OF_A_BYTE);
        if self.bytes_read > most {
            return Err(fail(format!(
                "the tensors up to here read {} bytes from files that hold {}; \
                 legal are at most {MOST_READS_OF_A_BYTE} times as many",
                self.bytes_read, self.bytes_held
            )));
        }
        let bytes = read_at(file, offset, length).map_err(io_error(&path, "read external data"))?;
        tensor.set_raw(bytes);
        Ok(())
    }

    /// The file a location names, if it is a regular file in the model's folder or below.
    fn safe_path(&self, location: &str) -> Result<PathBuf, String> {
        let relative = safe_location(location)?;
        let resolve = |path: &Path| path.canonicalize().map_err(|error| error.to_string());
        let path = resolve(&self.folder.join(relative))?;
        if !path.starts_with(resolve(self.folder)?) {
            return Err("a link that leads out of the model's folder".into());
        }
        // Before it is opened: opening a pipe would wait for a writer.
        let metadata = path.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("no regular file".into());
        }
        Ok(path)
    }
}

/// The `length` bytes from `offset` on.
fn read_at(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let capacity = usize::try_from(length).map_err(io::Error::other)?;
    bytes
        .try_reserve_exact(capacity)
        .map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(offset))?;
    let read = file.take(length).read_to_end(&mut bytes)?;
    if read < capacity {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// The path a location stands for, if it can only lead downwards.
///
/// # Errors
/// A text that says what is wrong with it.
pub(crate) fn safe_location(location: &str) -> Result<&Path, String> {
    let path = Path::new(location);
    let legal = "legal is a relative path downwards from the model's folder";
    if location.is_empty() {
        return Err(format!("no location; {legal}"));
    }
    // Windows forms are refused everywhere, so that a file means the same on every system.
    let drive = location.as_bytes().get(1) == Some(&b':');
    if location.contains('\\') || location.contains('\0') || drive {
        return Err(format!(
            "it has a backslash, drive or null character; {legal}"
        ));
    }
    let downwards = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(downwards) {
        return Err(format!("it is absolute or has `..`; {legal}"));
    }
    Ok(path)
}

/// What the tensor's `external_data` entries say; entries of unknown keys are ignored.
fn extent(tensor: &TensorProto) -> Result<Extent, OnnxError> {
    let entry = |key| {
        let mut entries = tensor.external_data.iter();
        entries
            .rfind(|entry| entry.key() == key)
            .map(|entry| entry.value())
    };
    let location = entry("location").unwrap_or_default().to_string();
    let fail = |reason: String| external_error(tensor, &location, reason);
    let number = |key| match entry(key) {
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            fail(format!(
                "its {key} is {text:?}; legal are whole numbers from 0"
            ))
        }),
        None => Ok(None),
    };
    let expected = tensor.raw_length()? as u64;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(length) = length.filter(|&length| length != expected) {
        let dims = &tensor.dims;
        return Err(fail(format!(
            "its length is {length}; its dims {dims:?} and type need {expected}"
        )));
    }
    Ok(Extent {
        location,
        offset,
        length: expected,
    })
}

pub(crate) fn external_error(tensor: &TensorProto, location: &str, reason: String) -> OnnxError {
    OnnxError::External {
        name: tensor.name().to_string(),
        location: location.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests;
