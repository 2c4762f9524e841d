//! What running a network costs, as `tqz inspect` shows it.

use serde::Serialize;
use tqz::{CompressedModel, Costs};

use crate::commands::check_elements;
use crate::output::{Console, table, thousands};

/// Costs of running the network, dense and in the transform domain.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    macs_dense: u64,
    macs: u64,
    weight_bytes_dense: u64,
    weight_bytes: u64,
    #[serde(flatten)]
    costs: Costs,
}

/// Costs for an input of this shape; for the network's own where none is given, and then none if it does not run on that.
///
/// # Errors
/// A network that does not run on the shape asked for.
pub(super) fn of(
    compressed: &CompressedModel,
    input: &[usize],
    console: &Console,
) -> anyhow::Result<Option<Totals>> {
    check_elements(input)?;
    let shape = (!input.is_empty()).then_some(input);
    let costs = match compressed.costs(shape) {
        Ok(costs) => costs,
        Err(error) if shape.is_some() => return Err(error.into()),
        Err(error) => {
            console.note(0, &format!("warning: costs are not known: {error}"));
            return Ok(None);
        }
    };
    Ok(Some(Totals {
        macs_dense: costs.macs_dense(),
        macs: costs.macs(),
        weight_bytes_dense: costs.weight_bytes_dense(),
        weight_bytes: costs.weight_bytes(),
        costs,
    }))
}

/// A line per layer and one for all.
pub(super) fn table_of(totals: &Totals) -> String {
    let header = [
        "layer",
        "MACs dense",
        "MACs",
        "%",
        "weight bytes dense",
        "weight bytes",
    ];
    let row = |name: &str, macs: (u64, u64), bytes: (u64, u64)| {
        vec![
            name.to_owned(),
            thousands(macs.0),
            thousands(macs.1),
            format!("{:.1}", 100.0 * macs.1 as f64 / macs.0.max(1) as f64),
            thousands(bytes.0),
            thousands(bytes.1),
        ]
    };
    let layers = totals.costs.layers.iter().map(|layer| {
        row(
            &layer.weight,
            (layer.macs_dense, layer.macs),
            (layer.weight_bytes_dense, layer.weight_bytes),
        )
    });
    let all = row(
        "all",
        (totals.macs_dense, totals.macs),
        (totals.weight_bytes_dense, totals.weight_bytes),
    );
    let shape: Vec<String> = totals.costs.input.iter().map(usize::to_string).collect();
    format!(
        "{}\nmultiply–accumulates (MACs) of one sample of an input of {}: dense, and as the form transform runs",
        table(&header, 1, layers.chain([all]).collect()),
        shape.join("×")
    )
}
