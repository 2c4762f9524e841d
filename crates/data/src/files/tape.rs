//! `.tar`, read by position, and `.tar.xz`, which can only be read from front to back: one pass for
//! the names, a second that keeps the files wanted in memory.

use super::{
    MAX_FILE_BYTES, MAX_NPZ_BYTES, clean_name, has_ending, is_wanted, missing, note, too_large,
};
use crate::error::DataError;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tar::{Archive, Entry};

/// Most bytes kept of one `.tar.xz`.
const MAX_KEPT_BYTES: u64 = 4 << 30;
/// Memory the unpacker may take: `xz -9` needs 65 MiB.
const UNPACKER_BYTES: u64 = 192 << 20;
/// Most unpacked bytes for one packed byte, beyond a first MiB: a tar of small files packs its
/// headers well, but pictures hardly at all.
const MAX_RATIO: u64 = 256;

#[derive(Debug)]
pub(crate) struct Tar {
    pub(super) path: PathBuf,
    pub(super) names: BTreeSet<String>,
    /// Position and length of each file's bytes.
    places: HashMap<String, (u64, u64)>,
    file: Mutex<File>,
}

impl Tar {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let io = |e| DataError::io(path, e);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut archive = Archive::new(BufReader::new(file));
        let mut names = BTreeSet::new();
        let mut places = HashMap::new();
        let entries = archive.entries_with_seek().map_err(|e| damaged(path, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| damaged(path, &e))?;
            let (start, size) = (entry.raw_file_position(), entry.size());
            let Some(name) = file_name(&entry, path)? else {
                continue;
            };
            if start.checked_add(size).is_none_or(|end| end > length) {
                return Err(DataError::image(
                    path,
                    &name,
                    format!(
                        "the archive ends at byte {length}, inside this file: it was cut short"
                    ),
                ));
            }
            // As when unpacking, the last file of a name counts.
            places.insert(name.clone(), (start, size));
            note(&mut names, name, path)?;
        }
        if names.is_empty() && length < 512 {
            return Err(DataError::source(path, "it is too short for a .tar file"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            names,
            places,
            file: Mutex::new(archive.into_inner().into_inner()),
        })
    }

    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, DataError> {
        let &(start, size) = self
            .places
            .get(name)
            .ok_or_else(|| missing(&self.path, name))?;
        if size > limit {
            return Err(too_large(&self.path, name, limit));
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| (&mut *file).take(size).read_to_end(&mut bytes))
            .map_err(|e| DataError::io(&self.path, e))?;
        if bytes.len() as u64 != size {
            return Err(DataError::image(
                &self.path,
                name,
                "the archive ends inside it",
            ));
        }
        Ok(bytes)
    }
}

#[derive(Debug)]
pub(crate) struct TarXz {
    pub(super) path: PathBuf,
    pub(super) names: BTreeSet<String>,
    kept: HashMap<String, Vec<u8>>,
}

impl TarXz {
    /// First pass: the names; tables are kept at once, since they say what else is wanted.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let mut set = Self {
            path: path.to_path_buf(),
            names: BTreeSet::new(),
            kept: HashMap::new(),
        };
        let (mut names, mut kept) = (BTreeSet::new(), HashMap::new());
        each_file(path, |name, entry| {
            if has_ending(&name, "csv") {
                let bytes = read_entry(entry, &name, path)?;
                kept.insert(name.clone(), bytes);
            }
            note(&mut names, name, path)
        })?;
        (set.names, set.kept) = (names, kept);
        Ok(set)
    }

    /// Second pass: keeps the files of these names in memory.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<String>) -> Result<(), DataError> {
        let path = self.path.clone();
        let mut total: u64 = self.kept.values().map(|b| b.len() as u64).sum();
        each_file(&path, |name, entry| {
            if !wanted.contains(&name) {
                return Ok(());
            }
            total += entry.size();
            if total > MAX_KEPT_BYTES {
                return Err(DataError::source(
                    &path,
                    format!(
                        "the pictures wanted take more than {MAX_KEPT_BYTES} bytes, and a .tar.xz must \
                         be held in memory: unpack it into a folder, or take fewer images"
                    ),
                ));
            }
            let bytes = read_entry(entry, &name, &path)?;
            self.kept.insert(name, bytes);
            Ok(())
        })
    }

    pub(super) fn read(&self, name: &str, limit: u64) -> Result<&[u8], DataError> {
        let bytes = self
            .kept
            .get(name)
            .ok_or_else(|| missing(&self.path, name))?;
        if bytes.len() as u64 > limit {
            return Err(too_large(&self.path, name, limit));
        }
        Ok(bytes)
    }
}

type XzReader = Ratio<XzDecoder<Counted<BufReader<File>>>>;

/// Calls `visit` for every wanted file, then reads on to the end, where the checksum is.
fn each_file(
    path: &Path,
    mut visit: impl FnMut(String, &mut Entry<'_, XzReader>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut archive = Archive::new(open_xz(path)?);
    for entry in archive.entries().map_err(|e| damaged(path, &e))? {
        let mut entry = entry.map_err(|e| damaged(path, &e))?;
        if let Some(name) = file_name(&entry, path)? {
            visit(name, &mut entry)?;
        }
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|e| damaged(path, &e))?;
    Ok(())
}

fn open_xz(path: &Path) -> Result<XzReader, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    let stream = Stream::new_stream_decoder(UNPACKER_BYTES, CONCATENATED)
        .map_err(|e| DataError::source(path, e.to_string()))?;
    let counted = Counted {
        inner: BufReader::new(file),
        bytes: 0,
    };
    Ok(Ratio {
        inner: XzDecoder::new_stream(counted, stream),
        bytes: 0,
    })
}

fn read_entry(
    entry: &mut Entry<'_, XzReader>,
    name: &str,
    path: &Path,
) -> Result<Vec<u8>, DataError> {
    let limit = match has_ending(name, "npz") {
        true => MAX_NPZ_BYTES,
        false => MAX_FILE_BYTES,
    };
    let size = entry.size();
    if size > limit {
        return Err(too_large(path, name, limit));
    }
    let mut bytes = Vec::new();
    entry
        .read_to_end(&mut bytes)
        .map_err(|e| damaged(path, &e))?;
    if bytes.len() as u64 != size {
        return Err(DataError::image(path, name, "the archive ends inside it"));
    }
    Ok(bytes)
}

/// The entry's name when it is a plain file that can matter.
fn file_name<R: Read>(entry: &Entry<'_, R>, path: &Path) -> Result<Option<String>, DataError> {
    let kind = entry.header().entry_type();
    if !kind.is_file() && !kind.is_contiguous() {
        return Ok(None);
    }
    let raw = entry.path_bytes();
    let name = String::from_utf8_lossy(&raw);
    let name = clean_name(&name).map_err(|r| DataError::source(path, r))?;
    Ok(is_wanted(&name).then_some(name))
}

fn damaged(path: &Path, error: &io::Error) -> DataError {
    let told = error.to_string();
    // The reader quotes the bytes it could not understand.
    let told = match told.chars().all(|c| c.is_ascii() && !c.is_control()) {
        true => told,
        false => "its headers make no sense".to_owned(),
    };
    DataError::source(path, format!("the archive is damaged or cut short: {told}"))
}

/// Counts the packed bytes taken.
#[derive(Debug)]
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<R: io::BufRead> io::BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.bytes += count as u64;
        self.inner.consume(count);
    }
}

/// Stops an unpacking that yields far more than went in.
#[derive(Debug)]
struct Ratio<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Ratio<XzDecoder<Counted<R>>>
where
    XzDecoder<Counted<R>>: Read,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        let packed = self.inner.get_ref().bytes;
        if self.bytes > (1 << 20) + MAX_RATIO * packed {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "it unpacks to more than {MAX_RATIO} times its size, so it is no image set"
                ),
            ));
        }
        Ok(count)
    }
}
