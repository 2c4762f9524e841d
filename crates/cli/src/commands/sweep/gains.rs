//! Coding gains of a sweep's networks (paper Fig. 3): a row per layer, transform and axis, and a plot over the layers.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use tqz::{Axis, Gain, LayerGains, TransformSpec};

use crate::output::thousands;
use crate::plot::Plot;

/// Gain of one transform on one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GainRow {
    pub(crate) network: String,
    pub(crate) layer: String,
    /// Position in the graph.
    pub(crate) index: usize,
    pub(crate) weights: u64,
    pub(crate) transform: TransformSpec,
    pub(crate) axis: Axis,
    pub(crate) weights_db: f64,
    pub(crate) gradients_db: f64,
    pub(crate) total_db: f64,
    pub(crate) bits_per_weight: f64,
    pub(crate) condition: f64,
}

impl GainRow {
    /// All rows of a network.
    pub(crate) fn of(network: &str, layers: &[LayerGains]) -> Vec<Self> {
        let of_layer = |(index, layer): (usize, &LayerGains)| -> Vec<Self> {
            let row = |gain: &Gain| Self {
                network: network.to_owned(),
                layer: layer.name.clone(),
                index,
                weights: layer.shape.iter().map(|&d| d as u64).product(),
                transform: gain.transform,
                axis: gain.axis,
                weights_db: gain.weights_db,
                gradients_db: gain.gradients_db,
                total_db: gain.total_db,
                bits_per_weight: gain.bits_per_weight,
                condition: gain.condition,
            };
            layer.gains.iter().map(row).collect()
        };
        layers.iter().enumerate().flat_map(of_layer).collect()
    }

    /// Line in a plot.
    fn series(&self) -> String {
        let transform = match self.transform {
            TransformSpec::Klt => "KLT",
            TransformSpec::Elt => "ELT",
            TransformSpec::Dct1 => "DCT-I",
            TransformSpec::Dct2 => "DCT-II",
            TransformSpec::Auto | TransformSpec::Identity => "none",
        };
        let axis = match self.axis {
            Axis::Column => "column",
            Axis::Row => "row",
            Axis::Kernel => "kernel",
            Axis::Both => "both",
        };
        format!("{transform} {axis}")
    }
}

/// Plot over the layers and table of means over all weights.
pub(crate) fn section(rows: &[&GainRow]) -> anyhow::Result<Markup> {
    let mut series: BTreeMap<String, Vec<&GainRow>> = BTreeMap::new();
    for row in rows {
        series.entry(row.series()).or_default().push(row);
    }
    let figure = plot(&series)?;
    Ok(html! {
        h3 { "Coding gain, layer by layer" }
        (figure)
        table {
            tr {
                th { "transform" } th { "layers" } th { "their weights" } th { "least dB" } th { "most dB" }
                th { "mean dB over these (of it by the weights)" } th { "mean bits saved per weight" }
            }
            @for (name, rows) in &series {
                @let all = |of: fn(&GainRow) -> f64| rows.iter().map(move |row| of(row));
                tr {
                    td { (name) }
                    td { (rows.len()) }
                    td { (thousands(rows.iter().map(|row| row.weights).sum())) }
                    td { (format!("{:.2}", all(|r| r.total_db).fold(f64::INFINITY, f64::min))) }
                    td { (format!("{:.2}", all(|r| r.total_db).fold(f64::NEG_INFINITY, f64::max))) }
                    td { (format!("{:.2} ({:.2})", mean(rows, |r| r.total_db), mean(rows, |r| r.weights_db))) }
                    td { (format!("{:.2}", mean(rows, |r| r.bits_per_weight))) }
                }
            }
        }
    })
}

/// Mean over the weights of all layers.
fn mean(rows: &[&GainRow], of: impl Fn(&GainRow) -> f64) -> f64 {
    let sum: f64 = rows.iter().map(|row| row.weights as f64 * of(row)).sum();
    let weights: u64 = rows.iter().map(|row| row.weights).sum();
    sum / weights.max(1) as f64
}

fn plot(series: &BTreeMap<String, Vec<&GainRow>>) -> anyhow::Result<Markup> {
    let all = || series.values().flatten();
    let last = all().map(|row| row.index).max().unwrap_or(0) as f64;
    let low = all().map(|row| row.total_db).fold(0.0, f64::min) - 0.5;
    let high = all().map(|row| row.total_db).fold(1.0, f64::max) + 0.5;
    let points = |rows: &Vec<&GainRow>| -> Vec<(f64, f64)> {
        let points = rows.iter().map(|row| (row.index as f64, row.total_db));
        points.collect()
    };
    let points = series
        .iter()
        .map(|(name, rows)| (name.clone(), points(rows)));
    let plot = Plot {
        height: 380,
        labels: ["layer, in the order of the graph", "coding gain, dB"],
        x: -0.5..last + 0.5,
        y: low..high,
        dashed: None,
        line: Some(1),
        radius: 3,
    };
    plot.figure(&points.collect())
}
