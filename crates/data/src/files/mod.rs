//! The files of a source by name, alike for a folder, `.zip`, `.tar` and `.tar.xz`. Archives are
//! indexed and read in place: nothing is unpacked to disk, names that lead outside are refused, links
//! are not followed inside archives, sizes are limited before memory is taken.

mod folder;
mod tape;
mod zipped;

use crate::codec;
use crate::error::DataError;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

/// Most files of one source.
const MAX_FILES: usize = 5_000_000;
/// Most bytes of one picture file or table.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most bytes of a `.npz` inside an archive.
pub(crate) const MAX_NPZ_BYTES: u64 = 4 << 30;

/// Random access to a source's files. Names use `/` and are relative.
#[derive(Debug)]
pub(crate) enum Files {
    Folder(folder::Folder),
    Zip(zipped::Zip),
    Tar(tape::Tar),
    TarXz(tape::TarXz),
}

impl Files {
    /// Indexes what lies at `path`; the kind of archive follows from its ending.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let about = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
        if about.is_dir() {
            return folder::Folder::open(path).map(Self::Folder);
        }
        check_regular(path)?;
        let name = path.to_string_lossy().to_lowercase();
        if name.ends_with(".zip") {
            zipped::Zip::open(path).map(Self::Zip)
        } else if name.ends_with(".tar") {
            tape::Tar::open(path).map(Self::Tar)
        } else if name.ends_with(".tar.xz") || name.ends_with(".txz") {
            tape::TarXz::open(path).map(Self::TarXz)
        } else {
            Err(DataError::source(
                path,
                "it is neither a folder nor a file ending in .npz, .zip, .tar, .tar.xz or .txz",
            ))
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Folder(s) => &s.path,
            Self::Zip(s) => &s.path,
            Self::Tar(s) => &s.path,
            Self::TarXz(s) => &s.path,
        }
    }

    /// Names of all pictures, tables and `.npz` files, in byte order.
    pub(crate) fn names(&self) -> &BTreeSet<String> {
        match self {
            Self::Folder(s) => &s.names,
            Self::Zip(s) => &s.names,
            Self::Tar(s) => &s.names,
            Self::TarXz(s) => &s.names,
        }
    }

    /// Makes ready what will be read; needed for `.tar.xz` alone, which has no random access.
    pub(crate) fn prepare(&mut self, wanted: &BTreeSet<String>) -> Result<(), DataError> {
        match self {
            Self::TarXz(s) => s.keep(wanted),
            _ => Ok(()),
        }
    }

    /// The bytes of one file; refused beyond `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Cow<'_, [u8]>, DataError> {
        match self {
            Self::Folder(s) => s.read(name, limit).map(Cow::Owned),
            Self::Zip(s) => s.read(name, limit).map(Cow::Owned),
            Self::Tar(s) => s.read(name, limit).map(Cow::Owned),
            Self::TarXz(s) => s.read(name, limit).map(Cow::Borrowed),
        }
    }
}

/// Refuses what cannot be read like a file: devices have no end, and pipes wait for a writer.
pub(crate) fn check_regular(path: &Path) -> Result<(), DataError> {
    let about = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    match about.is_file() {
        true => Ok(()),
        false => Err(DataError::source(
            path,
            "it is no regular file; name a folder, or a file ending in .npz, .zip, .tar, .tar.xz or .txz",
        )),
    }
}

/// Whether a file of this name can matter: a picture, a table or a `.npz`, not hidden.
fn is_wanted(name: &str) -> bool {
    let hidden = |part: &str| part.starts_with('.') || part == "__MACOSX";
    !name.split('/').any(hidden)
        && (is_picture(name) || has_ending(name, "csv") || has_ending(name, "npz"))
}

pub(crate) fn is_picture(name: &str) -> bool {
    codec::EXTENSIONS.iter().any(|e| has_ending(name, e))
}

pub(crate) fn has_ending(name: &str, ending: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, e)| e.eq_ignore_ascii_case(ending))
}

/// A name from an archive or a table as a relative path with `/`; an error when it leads outside.
pub(crate) fn clean_name(name: &str) -> Result<String, String> {
    let unified = name.replace('\\', "/");
    let drive = unified.as_bytes().get(1) == Some(&b':');
    if unified.starts_with('/') || drive || unified.contains('\0') {
        return Err(format!(
            "the name `{}` is not relative",
            name.escape_debug()
        ));
    }
    let mut parts = Vec::new();
    for part in unified.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                return Err(format!(
                    "the name `{}` leads outside with `..`",
                    name.escape_debug()
                ));
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Notes a name while indexing; an error when there are too many.
fn note(names: &mut BTreeSet<String>, name: String, path: &Path) -> Result<(), DataError> {
    names.insert(name);
    if names.len() > MAX_FILES {
        return Err(DataError::source(
            path,
            format!("it holds more than {MAX_FILES} files"),
        ));
    }
    Ok(())
}

fn too_large(path: &Path, name: &str, limit: u64) -> DataError {
    DataError::image(path, name, format!("it is larger than {limit} bytes"))
}

fn missing(path: &Path, name: &str) -> DataError {
    DataError::image(path, name, "there is no such file")
}

#[cfg(test)]
mod tests;
