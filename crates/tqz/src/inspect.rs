//! What a file or a network holds, layer by layer and byte by byte, read back from the records themselves.

use tqz_format::{BlockCoding, LayerRecord, LevelMatrix, SizeReport, TqzFile, count_layer};

#[cfg(feature = "encoder")]
use crate::layout::WeightLayer;
use crate::report::{LayerReport, Share, bits_per_weight};

/// One report per layer record, without names.
pub(crate) fn record_reports(file: &TqzFile, sizes: &SizeReport) -> Vec<LayerReport> {
    reports(file, sizes, nameless_report)
}

/// The same with the names that the network's layers give.
#[cfg(feature = "encoder")]
pub(crate) fn layer_reports(
    file: &TqzFile,
    sizes: &SizeReport,
    layers: &[WeightLayer],
) -> Vec<LayerReport> {
    reports(file, sizes, |record| {
        let layer = layers.iter().find(|l| l.site == record.site as usize);
        layer.map_or_else(|| nameless_report(record), plain_report)
    })
}

fn reports(
    file: &TqzFile,
    sizes: &SizeReport,
    begin: impl Fn(&LayerRecord) -> LayerReport,
) -> Vec<LayerReport> {
    let records = file.layers.iter().zip(&sizes.layers);
    records
        .map(|(record, size)| {
            let mut report = begin(record);
            describe(record, size.bytes as u64, &mut report);
            report
        })
        .collect()
}

/// A layer that is not compressed yet.
#[cfg(feature = "encoder")]
pub(crate) fn plain_report(layer: &WeightLayer) -> LayerReport {
    LayerReport {
        name: layer.name.clone(),
        node: layer.node.clone(),
        op: layer.op.to_owned(),
        shape: layer.dims.clone(),
        weights: layer.weights() as u64,
        transform: None,
        bits_per_weight: None,
        bytes: None,
        basis_bits: None,
        zeros_percent: None,
        rows_kept: None,
        predicted_distortion: None,
        distortion_factor: None,
    }
}

fn nameless_report(record: &LayerRecord) -> LayerReport {
    LayerReport {
        name: format!("tensor {}", record.site),
        node: String::new(),
        op: String::new(),
        shape: record.dims.clone(),
        weights: record.elements(),
        transform: None,
        bits_per_weight: None,
        bytes: None,
        basis_bits: None,
        zeros_percent: None,
        rows_kept: None,
        predicted_distortion: None,
        distortion_factor: None,
    }
}

/// Fills in what the record says.
fn describe(record: &LayerRecord, bytes: u64, report: &mut LayerReport) {
    report.bytes = Some(bytes);
    report.bits_per_weight = Some(bits_per_weight(bytes, record.elements()));
    let mut names: Vec<&str> = Vec::new();
    let (mut zeros, mut levels, mut kept, mut rows) = (0, 0, 0, 0);
    for block in &record.blocks {
        let (name, kernels, transformed_rows) = match &block.coding {
            BlockCoding::Identity { weights } => (
                "identity",
                weights,
                (weights.active_rows().len(), block.rows),
            ),
            BlockCoding::Column { t, .. } => ("column", t, (t.active_rows().len(), block.rows)),
            BlockCoding::Row { t, s } => ("row", t, (s.spec().rows, s.spec().cols)),
            BlockCoding::Kernel { t, s } => ("kernel", t, (s.spec().rows, s.spec().cols)),
            BlockCoding::Both { t, .. } => ("both", t, (t.active_rows().len(), block.rows)),
        };
        let (found, all) = zeros_of(kernels);
        // Rows of T that left the file are zeros as well.
        let missing = match &block.coding {
            BlockCoding::Column { t, .. } | BlockCoding::Both { t, .. } => {
                block.rows.saturating_sub(t.spec().rows) * t.spec().cols
            }
            BlockCoding::Row { s, .. } | BlockCoding::Kernel { s, .. } => {
                let components = s.spec().cols;
                let in_block = block.rows * record.shape().map_or(0, |shape| shape.cols);
                let of_one = in_block / components.max(1);
                components.saturating_sub(s.spec().rows) * of_one
            }
            BlockCoding::Identity { .. } => 0,
        };
        zeros += found + missing;
        levels += all + missing;
        kept += transformed_rows.0;
        rows += transformed_rows.1;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.iter().any(|&name| name != "identity") {
        report.basis_bits = count_layer(record).ok().map(|bits| bits.basis.total_bits());
    }
    report.transform = Some(names.join("+"));
    report.zeros_percent = Some(100.0 * zeros as f64 / levels.max(1) as f64);
    report.rows_kept = Some((kept, rows));
}

fn zeros_of(matrix: &LevelMatrix) -> (usize, usize) {
    (matrix.zeros(), matrix.spec().rows * matrix.spec().cols)
}

/// Where the file's bytes are.
pub(crate) fn shares(sizes: &SizeReport) -> Vec<Share> {
    let layers: usize = sizes.layers.iter().map(|l| l.bytes).sum();
    let parts = [
        ("layers", layers),
        ("biases and normalisation", sizes.vector_bytes),
        ("other tensors", sizes.raw_bytes),
        ("graph", sizes.graph_bytes),
        (
            "header and checksums",
            sizes.header_bytes + sizes.meta_bytes,
        ),
    ];
    let covered: usize = parts.iter().map(|(_, bytes)| bytes).sum();
    parts
        .into_iter()
        .chain([(
            "section checksums",
            sizes.file_bytes.saturating_sub(covered),
        )])
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(part, bytes)| Share {
            part: part.to_owned(),
            bytes: bytes as u64,
        })
        .collect()
}
