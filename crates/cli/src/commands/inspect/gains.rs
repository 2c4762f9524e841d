//! `tqz inspect --gain`: what each transform gains on each layer, from saved statistics.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use tqz::{Axis, Gain, LayerGains, Source, TransformSpec};
use tqz_engine::EngineDevice;

use crate::commands::calibrate::read_statistics;
use crate::output::{Console, table};

/// Gains of all layers.
#[derive(Debug, Serialize)]
struct Gains {
    model: String,
    layers: Vec<LayerGains>,
}

/// Prints coding gains.
pub(super) fn show(model: &Path, statistics: &Path, console: &Console) -> anyhow::Result<()> {
    let source = Source::read(model, &EngineDevice::cpu())?;
    let statistics = read_statistics(statistics)?;
    let found = Gains {
        model: model.display().to_string(),
        layers: tqz::coding_gains(&source, &statistics)?,
    };
    console.result(&found, || gain_table(&found.layers))
}

/// One row a layer: total gain of each transform in decibel, with the weights' part; the ELT's in bits.
fn gain_table(layers: &[LayerGains]) -> String {
    let header = [
        "layer",
        "shape",
        "KLT column dB",
        "ELT column dB",
        "bits",
        "KLT row dB",
        "ELT row dB",
        "bits",
        "KLT both dB",
        "ELT both dB",
        "DCT-I dB",
        "DCT-II dB",
        "KLT kernel dB",
        "ELT kernel dB",
        "condition of Cγγ",
    ];
    let rows = layers.iter().map(|layer| {
        let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
        let find = |transform, axis| {
            let mut gains = layer.gains.iter();
            gains.find(|g| (g.transform, g.axis) == (transform, axis))
        };
        let db = |transform, axis| {
            find(transform, axis).map_or("–".to_owned(), |g: &Gain| {
                format!("{:.2} ({:.2})", g.total_db, g.weights_db)
            })
        };
        let bits = |axis| {
            find(TransformSpec::Elt, axis)
                .map_or("–".to_owned(), |g| format!("{:.2}", g.bits_per_weight))
        };
        let condition = find(TransformSpec::Elt, Axis::Column)
            .map_or("–".to_owned(), |g| format!("{:.1e}", g.condition));
        vec![
            layer.name.clone(),
            shape.join("×"),
            db(TransformSpec::Klt, Axis::Column),
            db(TransformSpec::Elt, Axis::Column),
            bits(Axis::Column),
            db(TransformSpec::Klt, Axis::Row),
            db(TransformSpec::Elt, Axis::Row),
            bits(Axis::Row),
            db(TransformSpec::Klt, Axis::Both),
            db(TransformSpec::Elt, Axis::Both),
            db(TransformSpec::Dct1, Axis::Kernel),
            db(TransformSpec::Dct2, Axis::Kernel),
            db(TransformSpec::Klt, Axis::Kernel),
            db(TransformSpec::Elt, Axis::Kernel),
            condition,
        ]
    });
    let problems = problems(layers);
    format!(
        "{}{problems}\nIn brackets: the part that comes from decorrelating the weights. Bits per weight are saved at high rate, S not counted.",
        table(&header, 2, rows.collect())
    )
}

/// What has no gain, by reason: whole layers, then single transforms.
fn problems(layers: &[LayerGains]) -> String {
    let mut whole: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut single: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for layer in layers {
        if let Some(problem) = &layer.problem {
            whole.entry(problem).or_default().push(&layer.name);
        }
        for missing in &layer.missing {
            let axis = match missing.axis {
                Axis::Column => "columns",
                Axis::Row => "rows",
                Axis::Kernel => "kernels",
                Axis::Both => "both sides",
            };
            let names = single.entry((axis, missing.reason)).or_default();
            if names.last() != Some(&layer.name.as_str()) {
                names.push(&layer.name);
            }
        }
    }
    let whole = whole
        .iter()
        .map(|(problem, names)| format!("\nNot transformed, {problem}: {}", names.join(", ")));
    let single = single.iter().map(|((axis, reason), names)| {
        format!("\nNo gain of {axis}, {reason}: {}", names.join(", "))
    });
    whole.chain(single).collect()
}
