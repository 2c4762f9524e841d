//! What is refused before any work is done: options that would do nothing, files that must not be written.

use std::path::{Path, PathBuf};

use super::Args;
use crate::commands::names::Preset;
use crate::commands::network_files::check_apart_from_tensors;
use crate::output::{Usage, check_apart, check_free};

/// Refuses options of another quantizer than the preset's, which would do nothing.
pub(super) fn check_quantizer(args: &Args) -> anyhow::Result<()> {
    let paper = matches!(args.preset, Preset::Paper);
    let given = [
        ("--blocks", true, args.blocks.is_some()),
        ("--step-by", true, args.step_by.is_some()),
        ("--order", true, args.order.is_some()),
        ("--lambda", false, args.lambda.is_some()),
        ("--no-feedback", false, args.no_feedback),
    ];
    let idle = |(_, of_paper, given): &&(&str, bool, bool)| *given && *of_paper != paper;
    let Some((option, of_paper, _)) = given.iter().find(idle) else {
        return Ok(());
    };
    let told = match of_paper {
        true => "goes with --preset paper alone",
        false => "does nothing with --preset paper: leave one out",
    };
    Err(Usage::new(format!("{option} {told}")).into())
}

/// Refuses names that could not be written in the end, or would be written over each other.
pub(super) fn check_outputs(args: &Args, output: &Path, force: bool) -> anyhow::Result<()> {
    let others = [
        &args.curves,
        &args.measured_curves,
        &args.stats,
        &args.calib,
    ];
    let others = others.into_iter().flatten().map(PathBuf::as_path);
    let others = others.chain(args.from.source.as_deref());
    let names = [args.model.as_path(), output];
    let names = names.into_iter().chain(others).collect();
    let roles = "network, statistics, card, images, output and files of curves";
    check_apart(names, roles)?;
    let written = [
        Some(output),
        args.curves.as_deref(),
        args.measured_curves.as_deref(),
    ];
    let written: Vec<&Path> = written.into_iter().flatten().collect();
    check_apart_from_tensors(&args.model, &written)?;
    check_free(output, force)?;
    // Points that are there are gone on with.
    let measured = args.measured_curves.as_ref();
    measured.map_or(Ok(()), |curves| check_free(curves, true))?;
    match &args.curves {
        Some(page) => check_free(page, force),
        None => Ok(()),
    }
}
