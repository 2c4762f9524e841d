//! Measured D(R) curves in a file: a line of text saying what they belong to, then one CSV row a point, appended as soon as it is
//! known, so that a measurement that was cut off goes on where it stopped.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tqz::{CurvePoint, CurveStore};

const COLUMNS: &str = "layer,part,block,depth_bits,log2_step,distortion";

/// The file, open for more points.
pub(crate) struct CurveFile {
    path: PathBuf,
    file: File,
    known: BTreeMap<CurvePoint, f64>,
}

impl CurveFile {
    /// Opens or begins the file of curves that belong to `fingerprint`.
    pub(crate) fn open(path: &Path, fingerprint: &str) -> anyhow::Result<Self> {
        let shown = || path.display().to_string();
        let head = format!("# {fingerprint}\n{COLUMNS}\n");
        // What is but the beginning of a head was cut off as it was made.
        let known = if path.exists() && !starts(&head, path).with_context(shown)? {
            read(path, fingerprint).with_context(shown)?
        } else {
            std::fs::write(path, head).with_context(shown)?;
            BTreeMap::new()
        };
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self {
            path: path.to_owned(),
            file: file.with_context(shown)?,
            known,
        })
    }
}

/// Whether `text` goes on from what the file has.
fn starts(text: &str, path: &Path) -> std::io::Result<bool> {
    let bytes = std::fs::metadata(path)?.len();
    Ok(bytes < text.len() as u64 && text.as_bytes().starts_with(&std::fs::read(path)?))
}

/// The points of a file; a last row that was cut off is taken away.
fn read(path: &Path, fingerprint: &str) -> anyhow::Result<BTreeMap<CurvePoint, f64>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let found = first.trim_end().strip_prefix("# ");
    if found != Some(fingerprint) {
        bail!(
            "holds curves of another setting ({}), not of this one ({fingerprint}); name another file",
            found.unwrap_or("unknown")
        );
    }
    let mut whole = first.len() as u64;
    let mut known = BTreeMap::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        whole += line.len() as u64;
        let row = line.trim_end();
        if row != COLUMNS {
            let parsed = parse(row).with_context(|| format!("{row:?} is not a point of a curve"));
            known.extend([parsed?]);
        }
        line.clear();
    }
    OpenOptions::new().write(true).open(path)?.set_len(whole)?;
    Ok(known)
}

fn parse(row: &str) -> Option<(CurvePoint, f64)> {
    // The layer's name comes first and may hold commas.
    let mut fields = row.rsplitn(6, ',');
    let distortion = fields.next()?.parse().ok()?;
    let log2_step = fields.next()?.parse().ok()?;
    let depth_bits = fields.next()?.parse().ok()?;
    let block = fields.next()?.parse().ok()?;
    let part = fields.next()?.parse().ok()?;
    let layer = fields.next()?.to_owned();
    let point = CurvePoint {
        layer,
        part,
        block,
        depth_bits,
        log2_step,
    };
    Some((point, distortion))
}

impl CurveStore for CurveFile {
    fn get(&self, point: &CurvePoint) -> Option<f64> {
        self.known.get(point).copied()
    }

    fn put(&mut self, point: CurvePoint, distortion: f64) -> Result<(), String> {
        let row = format!(
            "{},{},{},{},{},{distortion:e}\n",
            point.layer, point.part, point.block, point.depth_bits, point.log2_step
        );
        let written = self.file.write_all(row.as_bytes());
        written.map_err(|e| format!("cannot write {}: {e}", self.path.display()))?;
        self.known.insert(point, distortion);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_kept_a_cut_row_is_not_and_other_settings_are_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("curves.csv");
        let point = |block| CurvePoint {
            layer: "conv, 1".to_owned(),
            part: 1,
            block,
            depth_bits: 3,
            log2_step: -5,
        };
        let mut file = CurveFile::open(&path, "a").expect("begins");
        file.put(point(0), 0.125).expect("kept");
        file.put(point(1), 1e-9).expect("kept");
        drop(file);
        let whole = std::fs::read(&path).expect("there");
        std::fs::write(&path, &whole[..whole.len() - 3]).expect("cut");
        let mut file = CurveFile::open(&path, "a").expect("opens");
        assert_eq!(file.get(&point(0)), Some(0.125));
        assert_eq!(file.get(&point(1)), None);
        file.put(point(1), 1e-9).expect("kept again");
        drop(file);
        assert_eq!(std::fs::read(&path).expect("there"), whole);
        assert!(CurveFile::open(&path, "b").is_err());
        std::fs::write(&path, "# another").expect("written");
        assert!(CurveFile::open(&path, "a").is_err());
        std::fs::write(&path, "# a").expect("cut");
        assert_eq!(
            CurveFile::open(&path, "a").expect("begins").get(&point(0)),
            None
        );
    }
}
