//! A `.zip`: its central directory is the index; an entry is unpacked when it is read.

use super::{clean_name, is_wanted, missing, note, too_large};
use crate::error::DataError;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zip::ZipArchive;

#[derive(Debug)]
pub(crate) struct Zip {
    pub(super) path: PathBuf,
    pub(super) names: BTreeSet<String>,
    entries: HashMap<String, usize>,
    archive: Mutex<ZipArchive<BufReader<File>>>,
}

impl Zip {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|e| DataError::io(path, e))?;
        let damaged = |e: zip::result::ZipError| {
            DataError::source(path, format!("it is not a readable .zip file: {e}"))
        };
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
        let mut names = BTreeSet::new();
        let mut entries = HashMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(damaged)?;
            if !entry.is_file() {
                continue;
            }
            let name = entry.name().map_err(damaged)?;
            let name = clean_name(&name).map_err(|r| DataError::source(path, r))?;
            if is_wanted(&name) {
                entries.insert(name.clone(), index);
                note(&mut names, name, path)?;
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            names,
            entries,
            archive: Mutex::new(archive),
        })
    }

    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, DataError> {
        let index = *self
            .entries
            .get(name)
            .ok_or_else(|| missing(&self.path, name))?;
        let damaged = |reason: String| DataError::image(&self.path, name, reason);
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = archive
            .by_index(index)
            .map_err(|e| damaged(e.to_string()))?;
        let mut bytes = Vec::new();
        entry
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| damaged(format!("its data are damaged: {e}")))?;
        if bytes.len() as u64 > limit {
            return Err(too_large(&self.path, name, limit));
        }
        Ok(bytes)
    }
}
