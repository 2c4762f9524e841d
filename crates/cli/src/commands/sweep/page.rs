//! The page of a sweep: per network a plot of accuracy and one of distortion against rate, and the table.

use maud::{Markup, html};

use crate::commands::sweep::gains::GainRow;
use crate::commands::sweep::rows::{LayerRow, Row};
use crate::commands::sweep::{Tables, closed_form, frontier, gains};
use crate::output::{optional, thousands};
use crate::page::page;
use crate::plot::{Plot, Series, range};

/// What a plot shows on its vertical axis.
pub(super) struct Quantity {
    pub(super) name: &'static str,
    pub(super) of: fn(&Row) -> Option<f64>,
    pub(super) reference: fn(&Row) -> Option<f64>,
}

/// Accuracy, whichever the task has.
pub(super) const ACCURACY: Quantity = Quantity {
    name: "top-1 % or PSNR dB",
    of: |row| row.top1_percent.or(row.psnr_db),
    reference: |row| row.reference_top1_percent.or(row.reference_psnr_db),
};
/// Distance from the original, as a power of ten.
const DISTORTION: Quantity = Quantity {
    name: "log10 of KL (nats) or MSE",
    of: |row| Some(distance(row).max(1e-12).log10()),
    reference: |_| None,
};

/// What the bases take of a file (paper Fig. 5).
const SHARE_OF_BASES: Quantity = Quantity {
    name: "bases, % of the file",
    of: |row| Some(row.basis_percent).filter(|percent| *percent > 0.0),
    reference: |_| None,
};

/// Distance from the original; nats where the task has classes, squared error elsewhere.
pub(super) fn distance(row: &Row) -> f64 {
    row.kl_nats.unwrap_or(row.mse)
}

/// The page.
pub(crate) fn sweep_page(title: &str, tables: &Tables) -> anyhow::Result<String> {
    let rows = &tables.points.rows;
    let of_points = rows.iter().map(|row| row.network.as_str());
    let of_gains = tables.gains.rows.iter().map(|row| row.network.as_str());
    let mut networks: Vec<&str> = Vec::new();
    for name in of_points.chain(of_gains) {
        if !networks.contains(&name) {
            networks.push(name);
        }
    }
    let mut sections = Vec::new();
    for name in networks {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.network == name).collect();
        sections.push(section(name, &rows)?);
        let layers = tables.layers.rows.iter();
        let layers: Vec<&LayerRow> = layers.filter(|row| row.network == name).collect();
        if !layers.is_empty() {
            sections.push(closed_form::section(&layers)?);
        }
        let gains = tables.gains.rows.iter();
        let gains: Vec<&GainRow> = gains.filter(|row| row.network == name).collect();
        if !gains.is_empty() {
            sections.push(gains::section(&gains)?);
        }
    }
    Ok(page(
        title,
        html! {
            h1 { (title) }
            @for section in sections { (section) }
        },
    ))
}

fn section(name: &str, rows: &[&Row]) -> anyhow::Result<Markup> {
    if rows.is_empty() {
        return Ok(html! { h2 { (name) } });
    }
    let mut plots = vec![plot(rows, &ACCURACY)?, plot(rows, &DISTORTION)?];
    if rows.iter().any(|row| row.basis_percent > 0.0) {
        plots.push(plot(rows, &SHARE_OF_BASES)?);
    }
    Ok(html! {
        h2 { (name) }
        @for plot in plots { (plot) }
        @if let Some(plot) = frontier::plot(rows)? { (plot) }
        table {
            tr {
                th { "coded with" } th { "bytes" } th { "bits/weight" } th { "top-1 %" } th { "PSNR dB" }
                th { "agreement %" } th { "KL nats" } th { "MSE" } th { "bases %" } th { "MACs %" } th { "frontier" } th { "seconds" }
            }
            @for row in rows {
                tr {
                    td { (row.series()) }
                    td { (thousands(row.file_bytes)) }
                    td { (format!("{:.3}", row.rate_bpw)) }
                    td { (optional(row.top1_percent, 2)) }
                    td { (optional(row.psnr_db, 3)) }
                    td { (optional(row.agreement_percent, 2)) }
                    td { (optional(row.kl_nats, 4)) }
                    td { (format!("{:.3e}", row.mse)) }
                    td { (format!("{:.1}", row.basis_percent)) }
                    td { (optional(row.macs_percent, 1)) }
                    td { @if frontier::has(rows, row) { "●" } }
                    td { (format!("{:.0}", row.seconds)) }
                }
            }
        }
    })
}

/// Points of each series, by rate.
fn series(rows: &[&Row], quantity: &Quantity) -> Series {
    let mut series = Series::new();
    for row in rows {
        if let Some(value) = (quantity.of)(row).filter(|v| v.is_finite()) {
            series
                .entry(row.series())
                .or_default()
                .push((row.rate_bpw, value));
        }
    }
    for points in series.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    series
}

fn plot(rows: &[&Row], quantity: &Quantity) -> anyhow::Result<Markup> {
    let series = series(rows, quantity);
    let reference = rows.first().and_then(|row| (quantity.reference)(row));
    let points = || series.values().flatten();
    let widest = points().map(|p| p.0).fold(0.1, f64::max) * 1.05;
    let plot = Plot {
        height: 380,
        labels: ["bits per weight (whole file)", quantity.name],
        x: 0.0..widest,
        y: range(points().map(|p| p.1).chain(reference)),
        dashed: reference.map(|value| [(0.0, value), (widest, value)]),
        line: Some(2),
        radius: 4,
    };
    plot.figure(&series)
}
