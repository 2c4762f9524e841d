//! Models to bytes and files, with their weights beside them if they are too large for one file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use prost::Message;

use crate::error::{OnnxError, io_error};
use crate::external::safe_location;
use crate::model::{DataLocation, ModelProto, StringStringEntryProto, TensorProto};
use crate::read::folder_of;
use crate::visit;

/// Largest message that protobuf's readers accept: 2 GiB less one byte.
const LARGEST_MESSAGE: usize = i32::MAX as usize;
/// Where tensors of at least [`LARGE_TENSOR`] bytes begin in a data file, so that they can be mapped into
/// memory (ONNX documentation, "External data").
const PAGE: u64 = 4096;
/// Where smaller tensors begin.
const CACHE_LINE: u64 = 64;
/// See [`PAGE`].
const LARGE_TENSOR: usize = 1 << 20;

/// When tensors' data go to a file of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalData {
    /// When the model is too large for one file: 2 GiB or more.
    #[default]
    Automatic,
    /// Always.
    Always,
    /// Never; a model too large for one file is an error.
    Never,
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced once the new one is complete.
    #[default]
    Replace,
    /// It stays, also where it appeared while the model was being written; that is an error.
    Keep,
}

/// How a model is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// When tensors' data go to a file of their own.
    pub external: ExternalData,
    /// Smallest data that go there, in bytes.
    pub external_from_bytes: usize,
    /// The data file's path, relative to the model's folder; `None` for the model's name with `.data`.
    pub data_location: Option<String>,
    /// What becomes of files that have the names already.
    pub existing: Existing,
}

impl Default for WriteOptions {
    /// External data only for models too large for one file; then of 1 KiB and more, in `<name>.data`.
    fn default() -> Self {
        Self {
            external: ExternalData::Automatic,
            external_from_bytes: 1024,
            data_location: None,
            existing: Existing::Replace,
        }
    }
}

/// The bytes of an ONNX file: fields in order of their numbers, as protobuf's own writers put them.
pub fn encode_model(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Writes a model under `path`, all in one file if it is smaller than 2 GiB; see [`write_model_with`].
///
/// # Errors
/// As [`write_model_with`].
pub fn write_model(path: &Path, model: &ModelProto) -> Result<(), OnnxError> {
    write_model_with(path, model, &WriteOptions::default())
}

/// Writes a model under `path`.
///
/// Each file is written under a temporary name in its folder and renamed when complete: first the data
/// file, if there is one, then the model. Tensors whose data already lie in other files are written
/// as they are: those files are neither moved nor copied. Writing to a data file needs a second copy
/// of the model in memory.
///
/// # Errors
/// [`OnnxError::Io`] if the folder or a file cannot be written, or a file is there that is to stay; [`OnnxError::Unwritable`] if the
/// model is too large for one file and may not or cannot be split, or the data file's name is not a
/// path downwards, is the model's, or is in use by a tensor that stays external.
pub fn write_model_with(
    path: &Path,
    model: &ModelProto,
    options: &WriteOptions,
) -> Result<(), OnnxError> {
    write_within(LARGEST_MESSAGE, path, model, options)
}

/// As [`write_model_with`], for files of at most `limit` bytes.
fn write_within(
    limit: usize,
    path: &Path,
    model: &ModelProto,
    options: &WriteOptions,
) -> Result<(), OnnxError> {
    let length = model.encoded_len();
    match options.external {
        ExternalData::Never if length > limit => {
            let advice = "let its weights go to a data file";
            let reason = format!("{length} bytes; one file holds at most {limit}: {advice}");
            Err(unwritable(path, reason))
        }
        ExternalData::Always => write_split(limit, path, model, options),
        ExternalData::Automatic if length > limit => write_split(limit, path, model, options),
        _ => write_atomically(path, options.existing, |file| {
            file.write_all(&encode_model(model))
        }),
    }
}

/// Bytes of a data file.
struct Extent {
    offset: u64,
    length: usize,
}

/// Writes the data file, then the model that refers to it.
fn write_split(
    limit: usize,
    path: &Path,
    model: &ModelProto,
    options: &WriteOptions,
) -> Result<(), OnnxError> {
    let location = data_location(path, options)?;
    let extents = plan(path, model, &location, options.external_from_bytes)?;
    let mut referring = model.clone();
    visit::tensors_mut(&mut referring, |site, tensor| {
        if let Some(extent) = extents.get(&site.index) {
            refer(tensor, &location, extent);
        }
    });
    let bytes = encode_model(&referring);
    drop(referring);
    if bytes.len() > limit {
        let length = bytes.len();
        let reason = format!(
            "{length} bytes even with the weights in {location:?}; one file holds at most {limit}"
        );
        return Err(unwritable(path, reason));
    }
    let data_path = folder_of(path).join(&location);
    let keep = options.existing == Existing::Keep;
    if let Some(taken) = [path, &data_path].into_iter().find(|p| keep && p.exists()) {
        return Err(unwritable(taken, "it exists already and is to stay".into()));
    }
    write_atomically(&data_path, options.existing, |file| {
        write_data(file, model, &extents)
    })?;
    let written = write_atomically(path, options.existing, |file| file.write_all(&bytes));
    if keep && written.is_err() {
        // Nobody else's, since it was not there before.
        let _ = std::fs::remove_file(&data_path);
    }
    written
}

/// The data file's location, checked.
fn data_location(path: &Path, options: &WriteOptions) -> Result<String, OnnxError> {
    let own_name = path.file_name().and_then(|name| name.to_str());
    let location = match (&options.data_location, own_name) {
        (Some(location), _) => location.clone(),
        (None, Some(name)) => format!("{name}.data"),
        (None, None) => {
            let reason = "its name is not UTF-8, so its data file needs a name: give data_location";
            return Err(unwritable(path, reason.into()));
        }
    };
    let wrong = |reason| unwritable(path, format!("data_location {location:?}: {reason}"));
    let relative = safe_location(&location).map_err(wrong)?;
    if relative.file_name() == path.file_name() {
        return Err(wrong("the model's own name; give another".into()));
    }
    Ok(location)
}

/// Which tensors, by index, go where in the data file.
fn plan(
    path: &Path,
    model: &ModelProto,
    location: &str,
    from_bytes: usize,
) -> Result<BTreeMap<usize, Extent>, OnnxError> {
    let mut extents = BTreeMap::new();
    let (mut end, mut taken_by) = (0u64, None);
    visit::tensors(model, |site, tensor| {
        let mut entries = tensor.external_data.iter();
        if tensor.is_external() && entries.any(|entry| entry.value() == location) {
            taken_by.get_or_insert_with(|| site.place.clone());
        }
        // Strings, and data that do not fit their dims, stay as they are.
        let length = tensor.raw_bytes().map_or(0, |bytes| bytes.len());
        if length > 0 && length >= from_bytes {
            let alignment = if length < LARGE_TENSOR {
                CACHE_LINE
            } else {
                PAGE
            };
            let offset = end.next_multiple_of(alignment);
            end = offset + length as u64;
            extents.insert(site.index, Extent { offset, length });
        }
    });
    match taken_by {
        None => Ok(extents),
        Some(place) => {
            let reason =
                format!("{place} keeps its data in {location:?}; give another data_location");
            Err(unwritable(path, reason))
        }
    }
}

/// Makes a tensor refer to its part of the data file.
fn refer(tensor: &mut TensorProto, location: &str, extent: &Extent) {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value),
        ..StringStringEntryProto::default()
    };
    tensor.set_raw(Vec::new());
    tensor.raw_data = None;
    tensor.data_location = Some(DataLocation::External as i32);
    tensor.external_data = vec![
        entry("location", location.into()),
        entry("offset", extent.offset.to_string()),
        entry("length", extent.length.to_string()),
    ];
}

/// Writes the planned tensors, with zeros between them.
fn write_data(
    file: &mut dyn Write,
    model: &ModelProto,
    extents: &BTreeMap<usize, Extent>,
) -> io::Result<()> {
    let (mut written, mut result) = (0u64, Ok(()));
    visit::tensors(model, |site, tensor| {
        let (Some(extent), Ok(())) = (extents.get(&site.index), &result) else {
            return;
        };
        // The plan holds only tensors whose data could be had.
        let bytes = tensor.raw_bytes().unwrap_or_default();
        let gap = [0u8; PAGE as usize];
        let gap = &gap[..(extent.offset - written) as usize];
        result = file.write_all(gap).and_then(|()| file.write_all(&bytes));
        written = extent.offset + extent.length as u64;
    });
    result
}

/// Writes a file under a temporary name in the same folder, then gives it its own.
fn write_atomically(
    path: &Path,
    existing: Existing,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), OnnxError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tqz-").suffix(".tmp");
    #[cfg(unix)]
    {
        // As any new file: read and write for all whom the user's umask allows.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(folder_of(path));
    let mut file = file.map_err(io_error(path, "make a temporary file beside it"))?;
    content(file.as_file_mut()).map_err(io_error(path, "write"))?;
    let renamed = match existing {
        Existing::Replace => file.persist(path),
        Existing::Keep => file.persist_noclobber(path),
    };
    renamed
        .map_err(|error| error.error)
        .map_err(io_error(path, "rename the finished file to it"))
        .map(|_file| ())
}

fn unwritable(path: &Path, reason: String) -> OnnxError {
    OnnxError::Unwritable {
        path: path.to_path_buf(),
        reason,
    }
}

#[cfg(test)]
mod tests;
