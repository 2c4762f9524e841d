//! The page of the paper's quantizer: distortion against bit-depth of every layer's parts, by the closed form and, where the network
//! was run for them, as measured.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use tqz::BlockCurve;

use crate::page::page;
use crate::plot::{Plot, Series, range};

/// What the layers' plots show on their axes.
const AXES: [&str; 2] = ["bits per level", "log10 of distortion"];

/// The page of a network's curves: `predicted` by the closed form, the same blocks as `measured`.
///
/// # Errors
/// A plot that cannot be drawn.
pub(crate) fn curve_page(
    title: &str,
    predicted: &[BlockCurve],
    measured: Option<&[BlockCurve]>,
) -> anyhow::Result<String> {
    let names = names(predicted);
    let with_bases = with_bases(predicted);
    let mut sections = Vec::new();
    if let Some(measured) = measured {
        sections.push(comparison(predicted, measured, &with_bases)?);
    }
    for name in &names {
        sections.push(layer(name, (predicted, measured), &with_bases)?);
    }
    Ok(page(
        title,
        html! {
            h1 { (title) }
            p {
                "Distortion that each layer's matrices cause when their blocks are quantized to so many bits a level, the error of every "
                "block alone, summed: for classes half the squared error in the metric of the output (close to nats), for pictures the squared "
                "error of a picture, as the closed form has it"
                @if measured.is_some() { ", and by running the network with the block quantized" }
                "."
            }
            @for section in sections { (section) }
        },
    ))
}

/// Layers in their order.
fn names(curves: &[BlockCurve]) -> Vec<&str> {
    let mut names: Vec<&str> = curves.iter().map(|curve| curve.layer.as_str()).collect();
    names.dedup();
    names
}

/// Layers that have a basis.
fn with_bases(curves: &[BlockCurve]) -> BTreeSet<&str> {
    let bases = curves.iter().filter(|curve| curve.part > 0);
    bases.map(|curve| curve.layer.as_str()).collect()
}

/// Every block at every bit-depth, measured against predicted.
fn comparison(
    predicted: &[BlockCurve],
    measured: &[BlockCurve],
    with_bases: &BTreeSet<&str>,
) -> anyhow::Result<Markup> {
    let mut series = Series::new();
    for (p, m) in predicted.iter().zip(measured) {
        let pairs = p.distortions.iter().zip(&m.distortions).skip(1);
        let pairs = pairs.filter(|(p, m)| **p > 0.0 && **m > 0.0);
        series
            .entry(part_name(&p.layer, p.part, with_bases).to_owned())
            .or_default()
            .extend(pairs.map(|(p, m)| (p.log10(), m.log10())));
    }
    let points = || series.values().flatten();
    let both = range(points().flat_map(|p| [p.0, p.1]));
    let plot = Plot {
        height: 520,
        labels: [
            "log10 of distortion, closed form",
            "log10 of distortion, measured",
        ],
        dashed: Some([(both.start, both.start), (both.end, both.end)]),
        x: both.clone(),
        y: both,
        line: None,
        radius: 2,
    };
    Ok(html! {
        h2 { "Every block at 1 to 8 bits" }
        (plot.figure(&series)?)
    })
}

/// One layer's parts.
fn layer(
    name: &str,
    (predicted, measured): (&[BlockCurve], Option<&[BlockCurve]>),
    with_bases: &BTreeSet<&str>,
) -> anyhow::Result<Markup> {
    let mut series = Series::new();
    let given = [("closed form", Some(predicted)), ("measured", measured)];
    for (how, curves) in given {
        for (part, sums) in by_part(name, curves.unwrap_or_default()) {
            let points = sums.into_iter().enumerate().filter(|(_, sum)| *sum > 0.0);
            let points = points.map(|(bits, sum)| (bits as f64, sum.log10()));
            series.insert(
                format!("{}, {how}", part_name(name, part, with_bases)),
                points.collect(),
            );
        }
    }
    let plot = Plot {
        height: 300,
        labels: AXES,
        x: -0.2..8.2,
        y: range(series.values().flatten().map(|p| p.1)),
        dashed: None,
        line: Some(2),
        radius: 3,
    };
    Ok(html! {
        h3 { (name) }
        (plot.figure(&series)?)
    })
}

/// Distortions of a layer's parts by bit-depth, their blocks summed.
fn by_part(name: &str, curves: &[BlockCurve]) -> BTreeMap<usize, Vec<f64>> {
    let mut sums: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for curve in curves.iter().filter(|curve| curve.layer == name) {
        let sum = sums
            .entry(curve.part)
            .or_insert_with(|| vec![0.0; curve.distortions.len()]);
        for (sum, distortion) in sum.iter_mut().zip(&curve.distortions) {
            *sum += distortion;
        }
    }
    sums
}

/// What a layer's part is called.
fn part_name(layer: &str, part: usize, with_bases: &BTreeSet<&str>) -> &'static str {
    match part {
        0 if !with_bases.contains(layer) => "weights",
        0 => "T",
        1 => "S",
        _ => "V",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(part: usize, block: usize, distortions: [f64; 3]) -> BlockCurve {
        BlockCurve {
            layer: "conv <1>".to_owned(),
            part,
            block,
            distortions: distortions.to_vec(),
        }
    }

    #[test]
    fn blocks_of_a_part_are_summed_and_both_ways_are_shown() {
        let predicted = [
            curve(0, 0, [4.0, 1.0, 0.25]),
            curve(0, 1, [2.0, 1.0, 0.0]),
            curve(1, 0, [1.0, 0.5, 0.1]),
        ];
        let sums = by_part("conv <1>", &predicted);
        assert_eq!(sums[&0], [6.0, 2.0, 0.25]);
        assert_eq!(sums[&1], [1.0, 0.5, 0.1]);
        let alone = curve_page("curves", &predicted, None).expect("drawn");
        assert!(alone.contains("T, closed form") && !alone.contains("T, measured"));
        assert!(alone.contains("conv &lt;1&gt;"));
        let both = curve_page("curves", &predicted, Some(&predicted)).expect("drawn");
        assert!(both.contains("S, measured") && both.contains("Every block"));
        assert!(both.contains("> T</li>"), "legend of the first plot");
        let plain = curve_page("curves", &predicted[..2], Some(&predicted[..2])).expect("drawn");
        assert!(plain.contains("weights, measured") && !plain.contains("> T</li>"));
    }
}
