//! One file per subcommand: what was typed → library calls → a table or JSON. What several commands need is here.

#[cfg(feature = "encoder")]
pub(crate) mod bench;
#[cfg(feature = "encoder")]
pub(crate) mod calibrate;
#[cfg(feature = "encoder")]
pub(crate) mod compress;
#[cfg(feature = "encoder")]
mod curve_page;
#[cfg(feature = "encoder")]
mod curves;
pub(crate) mod decompress;
#[cfg(feature = "encoder")]
pub(crate) mod demo;
#[cfg(feature = "encoder")]
pub(crate) mod eval;
#[cfg(feature = "encoder")]
pub(crate) mod export;
pub(crate) mod inspect;
#[cfg(feature = "encoder")]
mod judge;
#[cfg(feature = "encoder")]
pub(crate) mod merge;
#[cfg(feature = "encoder")]
mod names;
#[cfg(feature = "encoder")]
mod network_files;
#[cfg(feature = "encoder")]
pub(crate) mod retrain;
#[cfg(feature = "encoder")]
pub(crate) mod run;
#[cfg(feature = "encoder")]
pub(crate) mod sweep;
#[cfg(feature = "encoder")]
mod target;

use std::path::Path;

use anyhow::{Context, anyhow};
use tqz::{CompressedModel, LayerReport, Progress, Share};
#[cfg(feature = "encoder")]
use tqz_engine::{EngineDevice, Network};
#[cfg(feature = "encoder")]
use tqz_onnx::model::ModelProto;

#[cfg(feature = "encoder")]
use crate::Common;
#[cfg(feature = "encoder")]
use crate::output::usage;
use crate::output::{table, thousands};

/// Whether a file is a `.tqz` file, by its first bytes.
pub(crate) fn is_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(&tqz_format::SIGNATURE[..4])
}

/// The device that `--device` names.
#[cfg(feature = "encoder")]
pub(crate) fn device(common: &Common) -> anyhow::Result<EngineDevice> {
    EngineDevice::from_name(&common.device).map_err(usage)
}

/// Most elements of an input that is made up: a gibibyte of floats.
#[cfg(feature = "encoder")]
const MOST_ELEMENTS: usize = 1 << 28;

/// Refuses shapes of inputs that would not fit into memory.
///
/// # Errors
/// More than [`MOST_ELEMENTS`] elements.
#[cfg(feature = "encoder")]
pub(crate) fn check_elements(shape: &[usize]) -> anyhow::Result<()> {
    let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    if elements.is_some_and(|n| n <= MOST_ELEMENTS) {
        return Ok(());
    }
    let told = format!("an input of {shape:?} has more than {MOST_ELEMENTS} elements");
    Err(crate::output::Usage::new(told).into())
}

/// The first image of a set as a batch of one; none of an empty set.
///
/// # Errors
/// An image that cannot be read.
#[cfg(feature = "encoder")]
fn first_input(data: &tqz_data::DataSet) -> anyhow::Result<Option<ndarray::ArrayD<f32>>> {
    let first = data.batches(1).next().transpose()?;
    Ok(first.map(|batch| batch.input.into_dyn()))
}

/// Multiply–accumulates in the transform domain, in per cent of the original's, on the first image of a set: networks with free extents
/// need not run on an input that is made up. Of the network's own extents where there are no images; absent if it does not run on those.
///
/// # Errors
/// An image that cannot be read.
#[cfg(feature = "encoder")]
pub(crate) fn macs_percent(
    compressed: &CompressedModel,
    data: Option<&tqz_data::DataSet>,
) -> anyhow::Result<Option<f64>> {
    let first = data.map(first_input).transpose()?.flatten();
    let costs = compressed.costs(first.as_ref().map(|input| input.shape()));
    // A batch that the network fixes at more than one image is its own.
    let costs = costs.or_else(|_| compressed.costs(None));
    Ok(costs.ok().map(|costs| costs.macs_percent()))
}

/// Opens a regular file: devices have no end, and pipes wait for a writer.
fn open(path: &Path) -> anyhow::Result<std::fs::File> {
    let shown = || format!("cannot read {}", path.display());
    if !std::fs::metadata(path).with_context(shown)?.is_file() {
        return Err(anyhow!("it is no regular file")).with_context(shown);
    }
    std::fs::File::open(path).with_context(shown)
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    open(path)?
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Reads and decodes a `.tqz` file.
pub(crate) fn read_compressed(
    path: &Path,
    progress: &dyn Progress,
) -> anyhow::Result<CompressedModel> {
    CompressedModel::decode_with(&read(path)?, progress).with_context(|| path.display().to_string())
}

/// Reads a network to run from an ONNX or a `.tqz` file.
#[cfg(feature = "encoder")]
pub(crate) fn load_network(
    path: &Path,
    device: &EngineDevice,
    progress: &dyn Progress,
) -> anyhow::Result<Network> {
    let model = load_model(path, progress)?;
    Network::from_model(&model, device).with_context(|| path.display().to_string())
}

/// Reads a model from an ONNX or a `.tqz` file.
#[cfg(feature = "encoder")]
pub(crate) fn load_model(path: &Path, progress: &dyn Progress) -> anyhow::Result<ModelProto> {
    if !starts_compressed(path)? {
        return Ok(tqz_onnx::read_model(path)?);
    }
    let model = read_compressed(path, progress)?.to_model();
    model.with_context(|| path.display().to_string())
}

/// Whether the file at `path` begins like a `.tqz` file.
pub(crate) fn starts_compressed(path: &Path) -> anyhow::Result<bool> {
    Ok(is_compressed(&start_of(path, 8)?))
}

/// The first bytes of a file, fewer where it is shorter.
pub(crate) fn start_of(path: &Path, bytes: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let mut start = Vec::new();
    open(path)?
        .take(bytes)
        .read_to_end(&mut start)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(start)
}

/// A line per layer.
pub(crate) fn layer_table(layers: &[LayerReport]) -> String {
    let header = [
        "layer",
        "operator",
        "shape",
        "transform",
        "weights",
        "bytes",
        "bits/weight",
        "basis %",
        "zeros %",
        "rows",
    ];
    let optional = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let rows = layers.iter().map(|layer| {
        let shape: Vec<String> = layer.shape.iter().map(ToString::to_string).collect();
        vec![
            layer.name.clone(),
            layer.op.clone(),
            shape.join("×"),
            optional(layer.transform.clone()),
            thousands(layer.weights),
            optional(layer.bytes.map(thousands)),
            optional(layer.bits_per_weight.map(|b| format!("{b:.3}"))),
            optional(basis_percent(layer).map(|b| format!("{b:.1}"))),
            optional(layer.zeros_percent.map(|z| format!("{z:.1}"))),
            optional(layer.rows_kept.map(|(kept, all)| format!("{kept}/{all}"))),
        ]
    });
    table(&header, 4, rows.collect())
}

/// Share of a layer's bytes that its bases are, in per cent.
fn basis_percent(layer: &LayerReport) -> Option<f64> {
    let bytes = layer.bytes.filter(|bytes| *bytes > 0)?;
    layer
        .basis_bits
        .map(|bits| 100.0 * bits / (8.0 * bytes as f64))
}

/// A line per part of the file.
pub(crate) fn share_table(shares: &[Share]) -> String {
    let total: u64 = shares.iter().map(|s| s.bytes).sum();
    let rows = shares.iter().map(|share| {
        vec![
            share.part.clone(),
            thousands(share.bytes),
            format!("{:.1}", 100.0 * share.bytes as f64 / total.max(1) as f64),
        ]
    });
    table(&["part", "bytes", "%"], 1, rows.collect())
}
