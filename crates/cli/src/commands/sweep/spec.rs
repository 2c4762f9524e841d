//! What a sweep is asked for: the TOML file.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use tqz_data::{DataSet, OpenOptions};

use crate::commands::names::{AxisName, Preset, StepByName, TransformName};
use crate::commands::read;

/// A sweep: every network at every combination of preset, transform and rate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// What the page is called.
    pub(crate) title: String,
    /// Bits per weight.
    pub(crate) bits: Vec<f64>,
    /// Presets; balanced where absent.
    #[serde(default = "balanced")]
    pub(crate) presets: Vec<Preset>,
    /// Bases; the encoder's choice where absent.
    #[serde(default = "auto")]
    pub(crate) transforms: Vec<TransformName>,
    /// What transforms mix; output channels where absent.
    #[serde(default = "column")]
    pub(crate) axes: Vec<AxisName>,
    /// How the paper's quantizer chooses steps; by the output's error where absent.
    #[serde(default = "output")]
    pub(crate) step_by: Vec<StepByName>,
    /// Multiply–accumulates at most, as parts of the dense network's; 1: no limit, as where absent.
    #[serde(default = "unlimited")]
    pub(crate) macs: Vec<f64>,
    /// Test images on which every layer is also measured alone (layers.csv); 0 where absent: not done.
    #[serde(default)]
    pub(crate) layer_images: usize,
    /// Whether coding gains of all layers are wanted too (gains.csv).
    #[serde(default)]
    pub(crate) gains: bool,
    /// The networks.
    #[serde(rename = "network")]
    pub(crate) networks: Vec<NetworkSpec>,
}

/// One network with its images; paths are relative to the sweep's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkSpec {
    /// Name in tables and plots.
    pub(crate) name: String,
    /// ONNX file.
    pub(crate) model: PathBuf,
    /// Images that everything is decided by.
    pub(crate) calib: Set,
    /// Images that are reported on.
    pub(crate) test: Set,
    /// Another number of images for layers alone than the sweep's.
    pub(crate) layer_images: Option<usize>,
    /// Other rates than the sweep's.
    pub(crate) bits: Option<Vec<f64>>,
}

/// A data set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    card: PathBuf,
    source: Option<PathBuf>,
    images: Option<usize>,
}

fn balanced() -> Vec<Preset> {
    vec![Preset::Balanced]
}

fn auto() -> Vec<TransformName> {
    vec![TransformName::Auto]
}

fn column() -> Vec<AxisName> {
    vec![AxisName::Column]
}

fn output() -> Vec<StepByName> {
    vec![StepByName::Output]
}

fn unlimited() -> Vec<f64> {
    vec![1.0]
}

impl Spec {
    /// Reads and checks a sweep's file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let spec: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let rates = spec.networks.iter().filter_map(|n| n.bits.as_ref());
        for bits in rates.chain([&spec.bits]).flatten() {
            if !(0.01..=32.0).contains(bits) {
                bail!("{}: bits = {bits}; legal are 0.01 to 32", path.display());
            }
        }
        if let Some(part) = spec.macs.iter().find(|p| !(0.01..=1.0).contains(*p)) {
            bail!("{}: macs = {part}; legal are 0.01 to 1", path.display());
        }
        let mut names: Vec<&str> = spec.networks.iter().map(|n| n.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|w| w[0] == w[1]) {
            bail!("{}: two networks have one name", path.display());
        }
        Ok(spec)
    }
}

impl NetworkSpec {
    /// Checksum of the network and of what says which images are taken: rows of one network in a table must share it.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn setting(&self, base: &Path, seed: u64) -> anyhow::Result<String> {
        let mut of = crc32fast::Hasher::new();
        of.update(&read(&base.join(&self.model))?);
        for set in [&self.calib, &self.test] {
            of.update(&read(&base.join(&set.card))?);
            let source = set.source.as_ref().map(|path| base.join(path));
            let known = source.and_then(|path| std::fs::metadata(path).ok());
            let bytes = known.filter(std::fs::Metadata::is_file).map(|m| m.len());
            of.update(format!("{:?} {:?}", set.images, bytes).as_bytes());
        }
        of.update(&seed.to_le_bytes());
        Ok(format!("{:08x}", of.finalize()))
    }
}

impl Set {
    /// Opens the set; paths are relative to `base`.
    pub(crate) fn open(&self, base: &Path, seed: u64) -> anyhow::Result<DataSet> {
        let options = OpenOptions {
            source: self.source.as_ref().map(|path| base.join(path)),
            images: self.images,
            seed,
        };
        Ok(DataSet::open_card(&base.join(&self.card), &options)?)
    }
}
