//! `tqz sweep`: networks at many rates, presets and transforms → a table of points and a page with plots. Every point is a whole
//! file, decoded again and scored on test images; the sweep can be cut off and goes on where it stopped.

mod closed_form;
mod combination;
mod frontier;
mod gains;
mod page;
mod rows;
mod spec;
mod subject;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use crate::Common;
use crate::output::{Console, Usage, optional, table, write_file};
use crate::progress::Bars;

use combination::Combination;
use gains::GainRow;
use rows::{LayerRow, Row, Rows};
use spec::{NetworkSpec, Spec};
use subject::Subject;

/// Arguments of `tqz sweep`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to try (TOML; docs/sweep.md)
    #[arg(value_name = "SWEEP.toml")]
    spec: PathBuf,
    /// Folder of the results: raw.csv and index.html; points that raw.csv holds are not made again
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Only these networks
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    table: String,
    page: String,
    points: Vec<Row>,
    seconds: f64,
}

/// What the folder of results holds.
struct Tables {
    points: Rows<Row>,
    layers: Rows<LayerRow>,
    gains: Rows<GainRow>,
}

impl Tables {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let points = Rows::open(&folder.join("raw.csv"))?;
        let mut layers = Rows::open(&folder.join("layers.csv"))?;
        layers.retain(|key| points.has(key))?;
        // Points tell which network and images a table is of; gains alone would not.
        let mut gains: Rows<GainRow> = Rows::open(&folder.join("gains.csv"))?;
        let has_points = |network: &str| points.rows.iter().any(|row: &Row| row.network == network);
        gains.retain_rows(|row| has_points(&row.network))?;
        Ok(Self {
            points,
            layers,
            gains,
        })
    }
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let start = Instant::now();
    let spec = Spec::read(&args.spec)?;
    let shown = || format!("cannot make the folder {}", args.output.display());
    std::fs::create_dir_all(&args.output).with_context(shown)?;
    let page = args.output.join("index.html");
    check_page(&args.output, common.force)?;
    let mut tables = Tables::open(&args.output)?;
    let base = args.spec.parent().unwrap_or(Path::new(""));
    let unknown = |name: &&String| !spec.networks.iter().any(|n| n.name == **name);
    if let Some(unknown) = args.only.iter().find(unknown) {
        let names: Vec<&str> = spec.networks.iter().map(|n| n.name.as_str()).collect();
        let told = format!(
            "--only {unknown}: the sweep's networks are {}",
            names.join(", ")
        );
        return Err(Usage::new(told).into());
    }
    let chosen = |n: &&NetworkSpec| args.only.is_empty() || args.only.contains(&n.name);
    for network in spec.networks.iter().filter(chosen) {
        let done = sweep_network((network, &spec), base, common, console, &mut tables);
        // What is known is shown even where a point failed.
        if !tables.points.rows.is_empty() {
            let text = page::sweep_page(&spec.title, &tables)?;
            write_file(&page, text.as_bytes(), true)?;
        }
        done.with_context(|| format!("network {}", network.name))?;
    }
    let outcome = Outcome {
        table: args.output.join("raw.csv").display().to_string(),
        page: page.display().to_string(),
        points: tables.points.rows,
        seconds: start.elapsed().as_secs_f64(),
    };
    console.result(&outcome, || text(&outcome))
}

/// Refuses a folder whose page is not of a sweep: there is no table beside it.
fn check_page(folder: &Path, force: bool) -> anyhow::Result<()> {
    let page = folder.join("index.html");
    anyhow::ensure!(
        force || !page.exists() || folder.join("raw.csv").exists(),
        "{} exists and there is no table of a sweep beside it; name another folder, or give --force to replace it",
        page.display()
    );
    Ok(())
}

/// All points of one network that are not there yet.
fn sweep_network(
    (network, spec): (&NetworkSpec, &Spec),
    base: &Path,
    common: &Common,
    console: &Console,
    tables: &mut Tables,
) -> anyhow::Result<()> {
    let bits = network.bits.as_ref().unwrap_or(&spec.bits);
    let mut missing = Combination::all(spec, bits);
    anyhow::ensure!(
        !missing.is_empty(),
        "none of the sweep's combinations exists: identity goes with the column axis, cosines with kernel"
    );
    missing.retain(|c| !tables.points.has(&c.key(&network.name)));
    let setting = network.setting(base, common.seed)?;
    check_setting(&tables.points.rows, network, &setting)?;
    let mut there = tables.gains.rows.iter();
    let gains = spec.gains && !there.any(|row| row.network == network.name);
    if missing.is_empty() && !gains {
        return Ok(());
    }
    let bars = Bars::new(console);
    let subject = Subject::new(network, base, common)?;
    if gains {
        tables.gains.extend(subject.gains(&bars)?)?;
    }
    let layer_images = network.layer_images.unwrap_or(spec.layer_images);
    for combination in missing {
        let (mut row, layers) = subject.point(combination, layer_images, &bars)?;
        row.setting = Some(setting.clone());
        console.note(
            0,
            &format!(
                "{} {}: {:.3} bits/weight",
                row.network,
                row.series(),
                row.rate_bpw
            ),
        );
        // A point is there when its row is: its layers go first.
        layers
            .into_iter()
            .try_for_each(|layer| tables.layers.push(layer))?;
        tables.points.push(row)?;
    }
    Ok(())
}

/// Refuses to mix points of another network or other images with those that are there.
fn check_setting(rows: &[Row], network: &NetworkSpec, setting: &str) -> anyhow::Result<()> {
    let mut there = rows.iter().filter(|row| row.network == network.name);
    let other = |row: &Row| row.setting.as_deref().is_some_and(|of| of != setting);
    anyhow::ensure!(
        !there.any(other),
        "the table holds points of another file of that name, other cards, images or another seed than this sweep's; name another folder, or take \
         those rows out"
    );
    Ok(())
}

fn text(outcome: &Outcome) -> String {
    let header = [
        "network",
        "coded with",
        "bits/weight",
        "top-1 %",
        "PSNR dB",
        "agreement %",
        "KL nats",
    ];
    let rows = outcome.points.iter().map(|row| {
        vec![
            row.network.clone(),
            row.series(),
            format!("{:.3}", row.rate_bpw),
            optional(row.top1_percent, 2),
            optional(row.psnr_db, 3),
            optional(row.agreement_percent, 2),
            optional(row.kl_nats, 4),
        ]
    });
    format!(
        "{}\n{} points in {}, plots in {}",
        table(&header, 2, rows.collect()),
        outcome.points.len(),
        outcome.table,
        outcome.page
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz::{Axis, TransformSpec};

    #[test]
    fn gains_of_networks_without_points_are_not_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let gain = |network: &str| GainRow {
            network: network.to_owned(),
            layer: "l".to_owned(),
            index: 0,
            weights: 1,
            transform: TransformSpec::Klt,
            axis: Axis::Column,
            weights_db: 1.0,
            gradients_db: 1.0,
            total_db: 2.0,
            bits_per_weight: 0.1,
            condition: 1.0,
        };
        let mut tables = Tables::open(folder.path()).expect("opens");
        let point = rows::tests::row();
        let kept = gain(&point.network);
        tables.points.push(point).expect("written");
        let all = vec![kept.clone(), gain("another")];
        tables.gains.extend(all).expect("written");
        let tables = Tables::open(folder.path()).expect("opens");
        assert_eq!(tables.gains.rows, [kept]);
    }
}
