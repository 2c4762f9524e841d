//! A folder on disk, walked once in sorted order.

use super::{clean_name, is_wanted, missing, note, too_large};
use crate::error::DataError;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Deepest nesting of folders; also what ends a circle of links.
const MAX_DEPTH: usize = 12;

#[derive(Debug)]
pub(crate) struct Folder {
    pub(super) path: PathBuf,
    pub(super) names: BTreeSet<String>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let mut names = BTreeSet::new();
        walk(path, path, 0, &mut names)?;
        Ok(Self {
            path: path.to_path_buf(),
            names,
        })
    }

    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, DataError> {
        let name = clean_name(name).map_err(|r| DataError::source(&self.path, r))?;
        let path = self.path.join(&name);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing(&self.path, &name));
            }
            Err(e) => return Err(DataError::io(&path, e)),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| DataError::io(&path, e))?;
        if bytes.len() as u64 > limit {
            return Err(too_large(&self.path, &name, limit));
        }
        Ok(bytes)
    }
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: usize,
    names: &mut BTreeSet<String>,
) -> Result<(), DataError> {
    if depth > MAX_DEPTH {
        return Err(DataError::source(
            root,
            format!("its folders are nested deeper than {MAX_DEPTH}, or a link makes a circle"),
        ));
    }
    for entry in fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
        let path = entry.map_err(|e| DataError::io(folder, e))?.path();
        let Ok(relative) = path.strip_prefix(root) else {
            continue;
        };
        let Some(name) = relative.to_str().map(|n| n.replace('\\', "/")) else {
            return Err(DataError::source(
                root,
                format!("the name {relative:?} is not Unicode; rename the file"),
            ));
        };
        // A dangling link is left out: it holds nothing to read.
        match fs::metadata(&path) {
            Ok(about) if about.is_dir() => walk(root, &path, depth + 1, names)?,
            Ok(about) if about.is_file() && is_wanted(&name) => note(names, name, root)?,
            _ => {}
        }
    }
    Ok(())
}
