//! Is the closed form true? Per network and series: predicted distortion against measured, layer by layer and as a whole.

use std::collections::BTreeMap;

use anyhow::anyhow;
use maud::{Markup, PreEscaped, html};
use plotters::prelude::{
    ChartBuilder, Circle, Color, DashedLineSeries, IntoDrawingArea, IntoFont, SVGBackend, WHITE,
};

use crate::commands::sweep::page::COLOURS;
use crate::commands::sweep::rows::LayerRow;
use crate::page::{INK, REFERENCE};

/// Distortions below this (nats, or squared error) are lost in rounding and not compared.
const LEAST: f64 = 1e-9;

/// How well the closed form predicts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Agreement {
    /// Layers at all rates that were compared.
    pub(crate) layers: usize,
    /// Correlation of the logarithms, layer by layer.
    pub(crate) correlation: Option<f64>,
    /// Quartiles of measured over predicted, layer by layer.
    pub(crate) ratio: Option<[f64; 3]>,
    /// The same at each rate alone, by falling rate: pooled over rates it hides where it breaks.
    pub(crate) by_rate: Vec<(f64, Option<f64>)>,
    /// Measured over predicted of the whole network: rate asked for and ratio, by falling rate.
    pub(crate) whole: Vec<(f64, f64)>,
}

impl Agreement {
    /// Of the rows of one series.
    pub(crate) fn of(rows: &[&LayerRow]) -> Self {
        let comparable =
            |row: &&&LayerRow| row.predicted_distortion > LEAST && row.measured_distortion > LEAST;
        let layers: Vec<&&LayerRow> = rows
            .iter()
            .filter(|row| row.layer.is_some())
            .filter(comparable)
            .collect();
        let logs: Vec<(f64, f64)> = layers.iter().map(|row| decades(row)).collect();
        let mut rates: Vec<f64> = layers.iter().map(|row| row.asked_bpw).collect();
        rates.sort_by(|a, b| b.total_cmp(a));
        rates.dedup();
        let at_rate = |rate: f64| {
            let rows = layers.iter().filter(|row| row.asked_bpw == rate);
            let logs: Vec<(f64, f64)> = rows.map(|row| decades(row)).collect();
            (rate, correlation(&logs))
        };
        let mut ratios: Vec<f64> = logs.iter().map(|(p, m)| 10_f64.powf(m - p)).collect();
        ratios.sort_by(f64::total_cmp);
        let quantile = |q: usize| ratios[(ratios.len() - 1) * q / 4];
        let whole = rows.iter().filter(|row| row.layer.is_none());
        let whole = whole.filter(comparable);
        let mut whole: Vec<(f64, f64)> = whole
            .map(|row| {
                let (p, m) = decades(row);
                (row.asked_bpw, 10_f64.powf(m - p))
            })
            .collect();
        whole.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self {
            layers: layers.len(),
            correlation: correlation(&logs),
            by_rate: rates.into_iter().map(at_rate).collect(),
            ratio: (!ratios.is_empty()).then(|| [1, 2, 3].map(quantile)),
            whole,
        }
    }
}

fn decades(row: &LayerRow) -> (f64, f64) {
    (
        row.predicted_distortion.log10(),
        row.measured_distortion.log10(),
    )
}

/// Pearson's, of at least three points that are not all alike.
fn correlation(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        let terms = points.iter().map(|p| of(p.0 - x, p.1 - y));
        terms.sum::<f64>()
    };
    let (xx, yy, xy) = (sum(&|a, _| a * a), sum(&|_, b| b * b), sum(&|a, b| a * b));
    let known = points.len() >= 3 && xx * yy > 0.0;
    known.then(|| xy / (xx * yy).sqrt())
}

/// Rows of a network by what they were coded with.
pub(crate) fn by_series<'a>(rows: &[&'a LayerRow]) -> BTreeMap<String, Vec<&'a LayerRow>> {
    let mut series: BTreeMap<String, Vec<&LayerRow>> = BTreeMap::new();
    for row in rows {
        series.entry(row.series()).or_default().push(row);
    }
    series
}

/// Plot and table of a network.
pub(crate) fn section(rows: &[&LayerRow]) -> anyhow::Result<Markup> {
    let series = by_series(rows);
    let mut svg = String::new();
    draw(&series, &mut svg).map_err(|e| anyhow!("a plot could not be drawn: {e}"))?;
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
    Ok(html! {
        h3 { "Closed form against measurement, one layer at a time" }
        figure { (PreEscaped(svg)) }
        table {
            tr {
                th { "coded with" } th { "layers × rates" } th { "correlation of logarithms" } th { "by rate" }
                th { "measured / predicted: quartiles" } th { "whole network, by rate" }
            }
            @for (name, rows) in &series {
                @let found = Agreement::of(rows);
                tr {
                    td { (name) }
                    td { (found.layers) }
                    td { (number(found.correlation)) }
                    td {
                        @for (bits, correlation) in &found.by_rate {
                            (format!("{bits} b: {}  ", number(*correlation)))
                        }
                    }
                    td {
                        @if let Some([low, middle, high]) = found.ratio {
                            (format!("{low:.2} · {middle:.2} · {high:.2}"))
                        }
                    }
                    td {
                        @for (bits, ratio) in &found.whole {
                            (format!("{bits} b: {ratio:.2}  "))
                        }
                    }
                }
            }
        }
    })
}

fn draw(
    series: &BTreeMap<String, Vec<&LayerRow>>,
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = |rows: &[&LayerRow]| -> Vec<(f64, f64)> {
        let layers = rows.iter().filter(|row| row.layer.is_some());
        let logs = layers.map(|row| decades(row));
        logs.filter(|p| p.0 > LEAST.log10() && p.1 > LEAST.log10())
            .collect()
    };
    let all: Vec<f64> = series
        .values()
        .flat_map(|rows| points(rows))
        .flat_map(|(x, y)| [x, y])
        .collect();
    let low = all.iter().copied().fold(0.0, f64::min) - 0.3;
    let high = all.iter().copied().fold(low + 1.0, f64::max) + 0.3;
    let area = SVGBackend::with_string(svg, (820, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(low..high, low..high)?;
    let font = || ("sans-serif", 15).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_desc("log10 of the closed form's distortion")
        .y_desc("log10 of the measured one")
        .label_style(font())
        .light_line_style(WHITE)
        .draw()?;
    let diagonal = [(low, low), (high, high)];
    chart.draw_series(DashedLineSeries::new(
        diagonal,
        6,
        5,
        REFERENCE.stroke_width(2),
    ))?;
    for ((name, rows), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let circles = points(rows).into_iter();
        chart
            .draw_series(circles.map(|p| Circle::new(p, 3, colour.mix(0.7).filled())))?
            .label(name.clone())
            .legend(move |(x, y)| Circle::new((x + 9, y), 4, colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(plotters::prelude::SeriesLabelPosition::UpperLeft)
        .label_font(font())
        .border_style(REFERENCE)
        .background_style(WHITE.filled())
        .draw()?;
    area.present()?;
    drop(chart);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(layer: Option<&str>, predicted: f64, measured: f64) -> LayerRow {
        LayerRow {
            network: "n".to_owned(),
            preset: "fast".to_owned(),
            transform: "auto".to_owned(),
            axis: "column".to_owned(),
            step_by: "output".to_owned(),
            asked_bpw: 2.0,
            layer: layer.map(str::to_owned),
            op: None,
            weights: None,
            predicted_distortion: predicted,
            measured_distortion: measured,
        }
    }

    #[test]
    fn a_constant_factor_correlates_wholly_and_dead_layers_are_not_compared() {
        let rows = [
            row(Some("a"), 1.0, 2.0),
            row(Some("b"), 0.1, 0.2),
            row(Some("c"), 0.01, 0.02),
            row(Some("dead"), 0.0, 0.0),
            row(None, 1.11, 3.33),
        ];
        let found = Agreement::of(&rows.iter().collect::<Vec<_>>());
        assert_eq!(found.layers, 3);
        assert!((found.correlation.expect("known") - 1.0).abs() < 1e-9);
        assert!((found.ratio.expect("known")[1] - 2.0).abs() < 1e-9);
        assert_eq!(found.by_rate.len(), 1);
        assert!((found.whole[0].1 - 3.0).abs() < 1e-9);
        assert_eq!(correlation(&[(1.0, 1.0), (2.0, 2.0)]), None);
    }
}
