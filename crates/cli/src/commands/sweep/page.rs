//! The page of a sweep: per network a plot of accuracy and one of distortion against rate, and the table.

use std::collections::BTreeMap;

use anyhow::anyhow;
use maud::{Markup, PreEscaped, html};
use plotters::prelude::{
    ChartBuilder, Circle, Color, DashedLineSeries, IntoDrawingArea, IntoFont, LineSeries,
    PathElement, RGBColor, SVGBackend, WHITE,
};

use crate::commands::sweep::gains::GainRow;
use crate::commands::sweep::rows::{LayerRow, Row};
use crate::commands::sweep::{Tables, closed_form, gains};
use crate::output::{optional, thousands};
use crate::page::{INK, REFERENCE, page};

/// Colours of series, in order.
pub(crate) const COLOURS: [RGBColor; 8] = [
    RGBColor(37, 99, 235),
    RGBColor(220, 80, 40),
    RGBColor(22, 140, 90),
    RGBColor(150, 80, 190),
    RGBColor(200, 150, 20),
    RGBColor(20, 150, 170),
    RGBColor(200, 60, 120),
    RGBColor(90, 100, 120),
];

/// What a plot shows on its vertical axis.
struct Quantity {
    name: &'static str,
    of: fn(&Row) -> Option<f64>,
    reference: fn(&Row) -> Option<f64>,
}

/// Accuracy, whichever the task has.
const ACCURACY: Quantity = Quantity {
    name: "top-1 % or PSNR dB",
    of: |row| row.top1_percent.or(row.psnr_db),
    reference: |row| row.reference_top1_percent.or(row.reference_psnr_db),
};
/// Distance from the original, as a power of ten.
const DISTORTION: Quantity = Quantity {
    name: "log10 of KL (nats) or MSE",
    of: |row| Some(row.kl_nats.unwrap_or(row.mse).max(1e-12).log10()),
    reference: |_| None,
};

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
    let plots = [plot(rows, &ACCURACY)?, plot(rows, &DISTORTION)?];
    Ok(html! {
        h2 { (name) }
        @for plot in plots { figure { (PreEscaped(plot)) } }
        table {
            tr {
                th { "coded with" } th { "bytes" } th { "bits/weight" } th { "top-1 %" } th { "PSNR dB" }
                th { "agreement %" } th { "KL nats" } th { "MSE" } th { "seconds" }
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
                    td { (format!("{:.0}", row.seconds)) }
                }
            }
        }
    })
}

fn plot(rows: &[&Row], quantity: &Quantity) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw(rows, quantity, &mut svg).map_err(|e| anyhow!("a plot could not be drawn: {e}"))?;
    Ok(svg)
}

/// Points of each series, by rate.
fn series(rows: &[&Row], quantity: &Quantity) -> BTreeMap<String, Vec<(f64, f64)>> {
    let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
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

fn draw(
    rows: &[&Row],
    quantity: &Quantity,
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let series = series(rows, quantity);
    let reference = rows.first().and_then(|row| (quantity.reference)(row));
    let points = || series.values().flatten();
    let widest = points().map(|p| p.0).fold(0.1, f64::max) * 1.05;
    let values = || points().map(|p| p.1).chain(reference);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let room = ((high - low) * 0.08).max(1e-3);
    let area = SVGBackend::with_string(svg, (820, 380)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..widest, low - room..high + room)?;
    let font = || ("sans-serif", 15).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_desc("bits per weight (whole file)")
        .y_desc(quantity.name)
        .label_style(font())
        .light_line_style(WHITE)
        .draw()?;
    if let Some(value) = reference {
        let line = [(0.0, value), (widest, value)];
        chart.draw_series(DashedLineSeries::new(line, 6, 5, REFERENCE.stroke_width(2)))?;
    }
    for ((name, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line)?
            .label(name.clone())
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
            });
        chart.draw_series(points.iter().map(|&p| Circle::new(p, 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(plotters::prelude::SeriesLabelPosition::MiddleRight)
        .label_font(font())
        .border_style(REFERENCE)
        .background_style(WHITE.filled())
        .draw()?;
    area.present()?;
    drop(chart);
    Ok(())
}
