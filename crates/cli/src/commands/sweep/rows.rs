//! The points of a sweep as a CSV file: one row per file made and scored, written as soon as it is known, so that a sweep that
//! was cut off goes on where it stopped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tqz::LayerReport;

use crate::output::write_file;

/// One file: what was asked for, what it is, how good it is on the test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) network: String,
    pub(crate) preset: String,
    pub(crate) transform: String,
    pub(crate) axis: String,
    pub(crate) step_by: String,
    /// Multiply–accumulates at most, as a part of the dense network's; absent: no limit.
    #[serde(default)]
    pub(crate) macs_limit: Option<f64>,
    pub(crate) asked_bpw: f64,
    pub(crate) file_bytes: u64,
    pub(crate) rate_bpw: f64,
    pub(crate) basis_percent: f64,
    /// Multiply–accumulates in the transform domain, of the dense network's.
    #[serde(default)]
    pub(crate) macs_percent: Option<f64>,
    pub(crate) images: usize,
    pub(crate) top1_percent: Option<f64>,
    pub(crate) top5_percent: Option<f64>,
    pub(crate) psnr_db: Option<f64>,
    pub(crate) reference_top1_percent: Option<f64>,
    pub(crate) reference_psnr_db: Option<f64>,
    pub(crate) agreement_percent: Option<f64>,
    pub(crate) kl_nats: Option<f64>,
    pub(crate) mse: f64,
    pub(crate) step: f64,
    pub(crate) damping_factor: f64,
    pub(crate) predicted_distortion: f64,
    pub(crate) measured_distortion: Option<f64>,
    /// Checksum of the network and of what says which images are taken; absent in tables that did not keep it.
    #[serde(default)]
    pub(crate) setting: Option<String>,
    pub(crate) seconds: f64,
}

impl Row {
    /// Line in a plot.
    pub(crate) fn series(&self) -> String {
        series(self.names(), self.macs_limit)
    }

    fn names(&self) -> [&str; 4] {
        [&self.preset, &self.transform, &self.axis, &self.step_by]
    }
}

/// How what a file was coded with is called.
fn series([preset, transform, axis, step_by]: [&str; 4], macs_limit: Option<f64>) -> String {
    let mut name = format!("{transform} {preset}");
    if axis != "column" {
        name.push_str(&format!(" {axis}"));
    }
    if step_by != "output" {
        name.push_str(&format!(", steps by {step_by}"));
    }
    if let Some(part) = macs_limit {
        name.push_str(&format!(", MACs ≤ {:.0} %", 100.0 * part));
    }
    name
}

/// One layer of a file (or all): what the closed form says that its errors do alone, and what they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRow {
    pub(crate) network: String,
    pub(crate) preset: String,
    pub(crate) transform: String,
    pub(crate) axis: String,
    pub(crate) step_by: String,
    #[serde(default)]
    pub(crate) macs_limit: Option<f64>,
    pub(crate) asked_bpw: f64,
    /// Absent: all layers together.
    pub(crate) layer: Option<String>,
    pub(crate) op: Option<String>,
    pub(crate) weights: Option<u64>,
    pub(crate) predicted_distortion: f64,
    pub(crate) measured_distortion: f64,
}

impl LayerRow {
    /// Line in a plot.
    pub(crate) fn series(&self) -> String {
        series(self.names(), self.macs_limit)
    }

    fn names(&self) -> [&str; 4] {
        [&self.preset, &self.transform, &self.axis, &self.step_by]
    }

    /// A layer of a point.
    pub(crate) fn new(
        of: &Row,
        layer: Option<&LayerReport>,
        predicted: f64,
        measured: f64,
    ) -> Self {
        Self {
            network: of.network.clone(),
            preset: of.preset.clone(),
            transform: of.transform.clone(),
            axis: of.axis.clone(),
            step_by: of.step_by.clone(),
            macs_limit: of.macs_limit,
            asked_bpw: of.asked_bpw,
            layer: layer.map(|l| l.name.clone()),
            op: layer.map(|l| l.op.clone()),
            weights: layer.map(|l| l.weights),
            predicted_distortion: predicted,
            measured_distortion: measured,
        }
    }
}

/// What tells points apart: network, preset, transform, axis, choice of steps, limit of multiply–accumulates, rate.
pub(crate) type Key = [String; 7];

/// The key of a point of a network, from how it is coded, its limit of multiply–accumulates and its rate.
pub(crate) fn key(
    network: &str,
    names: [&str; 4],
    (macs_limit, asked_bpw): (Option<f64>, f64),
) -> Key {
    let [preset, transform, axis, step_by] = names.map(str::to_owned);
    let network = network.to_owned();
    let macs = macs_limit.map_or(String::new(), |part| part.to_string());
    let bits = asked_bpw.to_string();
    [network, preset, transform, axis, step_by, macs, bits]
}

/// A row that belongs to a point.
pub(crate) trait Keyed {
    /// The point's key.
    fn key(&self) -> Key;
}

impl Keyed for Row {
    fn key(&self) -> Key {
        let numbers = (self.macs_limit, self.asked_bpw);
        key(&self.network, self.names(), numbers)
    }
}

impl Keyed for LayerRow {
    fn key(&self) -> Key {
        let numbers = (self.macs_limit, self.asked_bpw);
        key(&self.network, self.names(), numbers)
    }
}

/// What every table begins with.
const HEAD: &[u8] = b"network,";

/// The CSV file.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    path: PathBuf,
    pub(crate) rows: Vec<T>,
}

impl<T: Serialize + DeserializeOwned> Rows<T> {
    /// Opens the file with the rows that are there.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let rows = match path.exists() {
            true => there(path)?,
            false => Vec::new(),
        };
        let opened = Self {
            path: path.to_owned(),
            rows,
        };
        opened.renew()?;
        Ok(opened)
    }

    /// Writes a table of fewer columns, of an earlier version, again with all.
    fn renew(&self) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let first = |text: &[u8]| text.split(|&byte| byte == b'\n').next().map(<[u8]>::to_vec);
        let there = std::fs::read(&self.path)?;
        if first(&there) == first(&self.text()?) {
            return Ok(());
        }
        self.write()
    }

    fn text(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        self.rows.iter().try_for_each(|row| writer.serialize(row))?;
        Ok(writer.into_inner()?)
    }

    fn write(&self) -> anyhow::Result<()> {
        write_file(&self.path, &self.text()?, true)
    }

    /// Keeps only certain rows, in the file too.
    pub(crate) fn retain_rows(&mut self, keep: impl Fn(&T) -> bool) -> anyhow::Result<()> {
        let before = self.rows.len();
        self.rows.retain(keep);
        if self.rows.len() == before {
            return Ok(());
        }
        self.write()
    }

    /// Adds rows that belong together: all of them or, if that fails, none are in the file.
    pub(crate) fn extend(&mut self, rows: Vec<T>) -> anyhow::Result<()> {
        self.rows.extend(rows);
        self.write()
    }

    /// Adds a row, to the file first.
    pub(crate) fn push(&mut self, row: T) -> anyhow::Result<()> {
        let shown = || format!("cannot write {}", self.path.display());
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path);
        let mut writer = csv::WriterBuilder::new()
            .has_headers(self.rows.is_empty())
            .from_writer(file.with_context(shown)?);
        writer.serialize(&row).with_context(shown)?;
        writer.flush().with_context(shown)?;
        self.rows.push(row);
        Ok(())
    }
}

impl<T: Keyed + Serialize + DeserializeOwned> Rows<T> {
    /// Whether a point is there already.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.rows.iter().any(|row| row.key() == *key)
    }

    /// Keeps only rows of certain keys, in the file too.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Key) -> bool) -> anyhow::Result<()> {
        self.retain_rows(|row| keep(&row.key()))
    }
}

/// The rows of a file; a last one that was cut off is taken away, and so is a head that has no rows.
fn there<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let shown = || format!("cannot read {}", path.display());
    let bytes = crate::commands::read(path)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n');
    let mut kept = whole.map_or(0, |last| last + 1);
    let rows = csv::Reader::from_reader(&bytes[..kept]).into_deserialize();
    let rows: Result<Vec<T>, csv::Error> = rows.collect();
    let told = || format!("{} is not the table of a sweep", path.display());
    let rows = rows.with_context(told)?;
    if rows.is_empty() {
        let head = bytes.starts_with(HEAD) || HEAD.starts_with(&bytes);
        anyhow::ensure!(head, "{}; take it away", told());
        kept = 0;
    }
    if kept < bytes.len() {
        let file = OpenOptions::new().write(true).open(path);
        let cut = file.and_then(|file| file.set_len(kept as u64));
        cut.with_context(shown)?;
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row to change.
    pub(crate) fn row() -> Row {
        Row {
            network: "n".to_owned(),
            preset: "fast".to_owned(),
            transform: "auto".to_owned(),
            axis: "column".to_owned(),
            step_by: "output".to_owned(),
            macs_limit: None,
            asked_bpw: 2.0,
            file_bytes: 100,
            rate_bpw: 2.0,
            basis_percent: 0.0,
            macs_percent: None,
            images: 1,
            top1_percent: None,
            top5_percent: None,
            psnr_db: None,
            reference_top1_percent: None,
            reference_psnr_db: None,
            agreement_percent: None,
            kl_nats: None,
            mse: 0.1,
            step: 1.0,
            damping_factor: 1.0,
            predicted_distortion: 0.1,
            measured_distortion: None,
            setting: None,
            seconds: 1.0,
        }
    }

    #[test]
    fn a_row_that_was_cut_off_is_taken_away_and_other_files_stay() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("raw.csv");
        let open = || Rows::<Row>::open(&path);
        let mut rows = open().expect("opens");
        rows.push(row()).expect("written");
        rows.push(row()).expect("written");
        let whole = std::fs::read(&path).expect("there");
        for cut in [whole.len() - 3, 40, 3] {
            std::fs::write(&path, &whole[..cut]).expect("cut");
            let mut rows = open().expect("opens");
            assert_eq!(rows.rows.len(), usize::from(cut > 40));
            while rows.rows.len() < 2 {
                rows.push(row()).expect("written");
            }
            assert!(std::fs::read(&path).expect("there") == whole);
        }
        for other in ["what,ever\n1,2\n", "a note"] {
            std::fs::write(&path, other).expect("written");
            let told = open().expect_err("no table").to_string();
            assert!(told.contains("raw.csv"), "{told}");
            assert!(std::fs::read(&path).expect("there") == other.as_bytes());
        }
    }

    #[test]
    fn a_table_of_fewer_columns_is_read_and_gets_the_others() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("raw.csv");
        let mut rows = Rows::open(&path).expect("opens");
        rows.push(row()).expect("written");
        let text = std::fs::read_to_string(&path).expect("there");
        // As an earlier version wrote it: without the limit, which is the sixth column.
        let older = text.lines().map(|line| {
            let mut cells: Vec<&str> = line.split(',').collect();
            cells.remove(5);
            cells.join(",") + "\n"
        });
        std::fs::write(&path, older.collect::<String>()).expect("written");
        let opened: Rows<Row> = Rows::open(&path).expect("opens");
        assert_eq!(opened.rows, [row()]);
        assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
    }
}
