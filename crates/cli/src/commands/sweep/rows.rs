//! The points of a sweep as a CSV file: one row per file made and scored, written as soon as it is known, so that a sweep that
//! was cut off goes on where it stopped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One file: what was asked for, what it is, how good it is on the test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) network: String,
    pub(crate) preset: String,
    pub(crate) transform: String,
    pub(crate) axis: String,
    pub(crate) step_by: String,
    pub(crate) asked_bpw: f64,
    pub(crate) file_bytes: u64,
    pub(crate) rate_bpw: f64,
    pub(crate) basis_percent: f64,
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
    pub(crate) seconds: f64,
}

impl Row {
    /// What was asked for: network, preset, transform, axis, choice of steps, rate.
    pub(crate) fn key(&self) -> [String; 6] {
        [
            self.network.clone(),
            self.preset.clone(),
            self.transform.clone(),
            self.axis.clone(),
            self.step_by.clone(),
            self.asked_bpw.to_string(),
        ]
    }

    /// Line in a plot.
    pub(crate) fn series(&self) -> String {
        let mut name = format!("{} {}", self.transform, self.preset);
        if self.axis != "column" {
            name.push_str(&format!(" {}", self.axis));
        }
        if self.step_by != "output" {
            name.push_str(&format!(", steps by {}", self.step_by));
        }
        name
    }
}

/// The CSV file.
#[derive(Debug)]
pub(crate) struct Rows {
    path: PathBuf,
    pub(crate) rows: Vec<Row>,
}

impl Rows {
    /// Opens the file with the rows that are there.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut rows = Vec::new();
        if path.exists() {
            let mut reader = csv::Reader::from_path(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for row in reader.deserialize() {
                rows.push(
                    row.with_context(|| format!("{} is not the table of a sweep", path.display()))?,
                );
            }
        }
        Ok(Self {
            path: path.to_owned(),
            rows,
        })
    }

    /// Whether a point is there already.
    pub(crate) fn has(&self, key: &[String; 6]) -> bool {
        self.rows.iter().any(|row| row.key() == *key)
    }

    /// Adds a row, to the file first.
    pub(crate) fn push(&mut self, row: Row) -> anyhow::Result<()> {
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
