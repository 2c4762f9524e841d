//! Is the closed form true? Per network and series: predicted distortion against measured, layer by layer and as a whole.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::commands::sweep::rows::LayerRow;
use crate::plot::{Plot, Series};

/// Distortions below this (nats, or squared error) are lost in rounding and not compared.
const LEAST: f64 = 1e-9;

/// How well the closed form predicts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Agreement {
    /// Layers at all rates that were compared.
    pub(crate) layers: usize,
    /// Correlation of the logarithms, layer by layer.
    pub(crate) correlation: Option<f64>,
    /// The same at each rate alone, by falling rate: pooled over rates it hides where it breaks.
    pub(crate) by_rate: Vec<(f64, Option<f64>)>,
    /// Quartiles of measured over predicted, layer by layer.
    pub(crate) ratio: Option<[f64; 3]>,
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
    let figure = plot(&series)?;
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
    Ok(html! {
        h3 { "Closed form against measurement, one layer at a time" }
        (figure)
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

fn plot(series: &BTreeMap<String, Vec<&LayerRow>>) -> anyhow::Result<Markup> {
    let points = |rows: &Vec<&LayerRow>| -> Vec<(f64, f64)> {
        let layers = rows.iter().filter(|row| row.layer.is_some());
        let logs = layers.map(|row| decades(row));
        logs.filter(|p| p.0 > LEAST.log10() && p.1 > LEAST.log10())
            .collect()
    };
    let points: Series = series
        .iter()
        .map(|(name, rows)| (name.clone(), points(rows)))
        .collect();
    let all = || points.values().flatten().flat_map(|&(x, y)| [x, y]);
    let low = all().fold(0.0, f64::min) - 0.3;
    let high = all().fold(low + 1.0, f64::max) + 0.3;
    let plot = Plot {
        height: 420,
        labels: [
            "log10 of the closed form's distortion",
            "log10 of the measured one",
        ],
        x: low..high,
        y: low..high,
        dashed: Some([(low, low), (high, high)]),
        line: None,
        radius: 3,
    };
    plot.figure(&points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sweep::rows::tests;

    fn row(layer: Option<&str>, predicted: f64, measured: f64) -> LayerRow {
        LayerRow {
            layer: layer.map(str::to_owned),
            ..LayerRow::new(&tests::row(), None, predicted, measured)
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
