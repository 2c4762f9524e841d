//! `tqz inspect` of a statistics file: what was measured, and a line per layer.

use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use tqz::{LayerSummary, Metric};

use crate::commands::calibrate::read_statistics;
use crate::output::{Console, table, thousands};

#[derive(Debug, Serialize)]
struct Outcome {
    file: String,
    kind: &'static str,
    file_bytes: u64,
    metric: Metric,
    seed: u64,
    /// Images seen, as ranges of their numbers, of a set of `total`.
    seen: Vec<Range<u64>>,
    images: u64,
    total: u64,
    layers: Vec<LayerSummary>,
}

/// Whether the file begins like one of statistics: a length, then a description in braces.
pub(super) fn starts_like_it(path: &Path) -> anyhow::Result<bool> {
    let start = crate::commands::start_of(path, 9)?;
    let length = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let plausible = length.is_some_and(|length| (2..1 << 32).contains(&length));
    Ok(plausible && start.get(8) == Some(&b'{'))
}

pub(super) fn show(path: &Path, console: &Console) -> anyhow::Result<()> {
    let statistics = read_statistics(path)?;
    let outcome = Outcome {
        file: path.display().to_string(),
        kind: "statistics",
        file_bytes: std::fs::metadata(path)?.len(),
        metric: statistics.metric,
        seed: statistics.seed,
        images: statistics.images(),
        total: statistics.total,
        layers: statistics.summary(),
        seen: statistics.seen,
    };
    console.result(&outcome, || text(&outcome))
}

fn text(outcome: &Outcome) -> String {
    let header = [
        "layer",
        "groups",
        "K",
        "blocks of A",
        "n",
        "patches",
        "images",
        "energy of inputs",
        "sensitivity of outputs",
        "directions in A",
        "directions in G",
    ];
    let row = |layer: &LayerSummary| {
        vec![
            layer.name.clone(),
            layer.groups.to_string(),
            layer.patch.to_string(),
            layer.blocks.to_string(),
            layer.rows.to_string(),
            thousands(layer.patches as u64),
            thousands(layer.images as u64),
            format!("{:.3e}", layer.mean_input),
            format!("{:.3e}", layer.mean_output),
            format!("{:.1}", layer.input_directions),
            format!("{:.1}", layer.output_directions),
        ]
    };
    let seen: Vec<String> = outcome
        .seen
        .iter()
        .map(|r| format!("{} to {}", r.start, r.end))
        .collect();
    format!(
        "{}\nEnergy and sensitivity: mean diagonals of A and G. Directions: tr²/‖·‖², K or n where all have like energy.\n\
         {}: {} bytes, metric {}, seed {}, {} of {} images ({})",
        table(&header, 1, outcome.layers.iter().map(row).collect()),
        outcome.file,
        thousands(outcome.file_bytes),
        outcome.metric,
        outcome.seed,
        thousands(outcome.images),
        thousands(outcome.total),
        seen.join(", ")
    )
}
