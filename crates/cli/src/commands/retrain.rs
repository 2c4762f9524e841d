//! `tqz retrain`: a trained network and images → a small .tqz file whose levels were trained; goes on where it was stopped.

mod asked;
mod follow;
mod images;
mod names;
mod start;
#[cfg(test)]
mod testing;
mod told;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use tqz::{Progress, RetrainSpec, Retrained, Source, TrainingSet};
use tqz_data::Layout;

use crate::Common;
use crate::commands::names::Preset;
use crate::commands::network_files::check_apart_from_tensors;
use crate::data::{DataArgs, open};
use crate::output::{Console, Stopped, Usage, check_apart, check_free, usage, whole, write_file};
use crate::progress::Bars;

use asked::{Cut, spec};
use follow::Follower;
use images::training_set;
use names::{DistanceName, LossName, OptimizerName, TeacherName};
use start::{kept_start, start_file};
use told::{Outcome, text};

/// Arguments of `tqz retrain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trained network in full precision
    #[arg(value_name = "M.onnx")]
    model: PathBuf,
    /// Card of the training images
    #[arg(long, value_name = "CARD")]
    data: PathBuf,
    /// Begin from this file, made from the network by any preset (default: compress first, with --preset)
    #[arg(long, value_name = "M.tqz")]
    from: Option<PathBuf>,
    /// Choose bases, steps and levels of --from anew for the weights that it holds (bits move to where trained weights need them), then train
    #[arg(long, requires = "from")]
    reallocate: bool,
    /// How the start is compressed where none is given, or --reallocate is [default: balanced]
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Bits per weight of the whole file, at most (default with --from: its size)
    #[arg(long, value_name = "B", allow_negative_numbers = true, required_unless_present_any = ["from", "size"], conflicts_with = "size")]
    bits: Option<f64>,
    /// Bytes of the file, at most
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// File to write (default: the network's name with .tqz)
    #[arg(short, long, value_name = "M.tqz")]
    output: Option<PathBuf>,
    /// What the network is trained toward
    #[arg(long, value_enum, default_value_t = LossName::Distill)]
    loss: LossName,
    /// How outputs are compared
    #[arg(long, value_enum, default_value_t = DistanceName::Auto)]
    distance: DistanceName,
    /// What a classifier's scores are divided by before they are compared with the original's (default: 2 up to 100 classes, otherwise 1)
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Which outputs of the full-precision network are trained toward
    #[arg(long, value_enum, default_value_t = TeacherName::Auto)]
    teacher: TeacherName,
    /// Passes over the training images (default: as many as --steps makes)
    #[arg(long, value_name = "E", conflicts_with = "steps")]
    epochs: Option<f64>,
    /// Gradient steps
    #[arg(long, value_name = "N", default_value_t = RetrainSpec::default().steps)]
    steps: usize,
    /// Images per step (default: 64, squares of pictures to be restored 16)
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// How gradients become steps
    #[arg(long, value_enum, default_value_t = OptimizerName::Adam)]
    optimizer: OptimizerName,
    /// Rate of levels, in steps of the quantizer; falls along a cosine (default: 0.02; 0.01 where --patch has a default)
    #[arg(long, value_name = "R")]
    rate: Option<f32>,
    /// Rate of the levels of synthesis bases (default: --rate)
    #[arg(long, value_name = "R")]
    basis_rate: Option<f32>,
    /// Rate of biases and normalisation, relative to their size
    #[arg(long, value_name = "R", default_value_t = RetrainSpec::default().side_rate)]
    side_rate: f32,
    /// Rate of the quantizer's steps themselves, in octaves (0: they stay)
    #[arg(long, value_name = "R", default_value_t = RetrainSpec::default().step_rate)]
    step_rate: f32,
    /// Least λ of the choice of levels, squared steps of the quantizer per bit; rises as the size demands
    #[arg(long, value_name = "L", default_value_t = RetrainSpec::default().lambda)]
    lambda: f32,
    /// Do not turn images around at random
    #[arg(long)]
    no_flip: bool,
    /// Move images by up to so many pixels at random
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    shift: usize,
    /// Train on random squares of this side, judge on the middle ones; 0: whole images (default: 48 where pictures are restored and the
    /// network takes it)
    #[arg(long, value_name = "PIXELS")]
    patch: Option<usize>,
    /// Judge on images kept back every so many steps (default: ten times)
    #[arg(long, value_name = "N")]
    check_every: Option<usize>,
    /// Stop after so many judgements without a better one (0: never)
    #[arg(long, value_name = "N", default_value_t = RetrainSpec::default().patience)]
    patience: usize,
    /// Where checkpoints are kept (default: the output's name with .checkpoint)
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint, or from the beginning where there is none yet
    #[arg(long)]
    resume: bool,
    /// A line for every step and judgement, as CSV
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    images: DataArgs,
}

impl Args {
    /// Whether the file that training begins from is compressed here.
    fn makes_start(&self) -> bool {
        self.from.is_none() || self.reallocate
    }
}

pub(crate) fn run(args: &Args, common: &Common, console: &Console) -> anyhow::Result<()> {
    let begin = Instant::now();
    let output = named(args.output.as_ref(), &args.model, "tqz");
    check_free(&output, common.force)?;
    let device = super::device(common)?;
    let bars = Bars::new(console);
    if args.preset.is_some() && !args.makes_start() {
        let told = "--preset is how a start is compressed, and --from is one: leave one out, or give --reallocate";
        return Err(Usage::new(told.to_owned()).into());
    }
    let data = open(&args.data, &args.images, common.seed)?;
    let source = Source::read(&args.model, &device)?;
    let set = training_set(&data, &bars)?;
    let channels_last = data.card().preprocess.layout == Layout::Nhwc;
    let cut = Cut::new(args, (&source, &set), channels_last);
    tell(args, (&set, data.len()), cut, console);
    let spec = spec(args, (&set, cut), common.seed)?;
    spec.check().map_err(usage)?;
    let checkpoint = named(args.checkpoint.as_ref(), &output, "checkpoint");
    let kept = kept_start(args, &checkpoint, common.seed)?;
    let kept = kept.as_deref();
    check_own_files(args, (&checkpoint, kept, &output), common.force)?;
    let resume = earlier(args, &checkpoint, kept)?;
    // Before minutes go into a start.
    tqz::check_retraining(&source, &set, &spec).with_context(|| doing(args, None))?;
    let start = start_file(args, (&source, &set), (kept, common.seed), &bars)?;
    let start_seconds = begin.elapsed().as_secs_f64();
    let files = (checkpoint.as_path(), args.log.as_deref());
    let follower = Follower::new(&bars, console, files, &spec, args.resume)?;
    let outcome = tqz::retrain(&source, &start, (&set, &spec), resume.as_deref(), &follower)
        .with_context(|| doing(args, resume.is_some().then_some(&checkpoint)))?;
    bars.finish();
    let retrained = finished(outcome, &checkpoint)?;
    write_file(&output, &retrained.bytes, common.force)?;
    // They are of no more use; a file that cannot be removed does no harm. A start that the user gave is the user's.
    for file in [Some(checkpoint.as_path()), kept].into_iter().flatten() {
        let _ = std::fs::remove_file(file);
    }
    let sizes = (start.len() as u64, set.len());
    let seconds = (start_seconds, begin.elapsed().as_secs_f64());
    let outcome = Outcome::new(&output, (&source, &retrained), sizes, seconds);
    console.result(&outcome, || text(&outcome, &retrained))
}

/// The checkpoint of an earlier run that is to go on.
fn earlier(
    args: &Args,
    checkpoint: &Path,
    kept_start: Option<&Path>,
) -> anyhow::Result<Option<Vec<u8>>> {
    if !args.resume || !checkpoint.exists() {
        return Ok(None);
    }
    if kept_start.is_some_and(|kept| !kept.exists()) {
        let shown = checkpoint.display();
        let told = format!(
            "{shown} was made by other options, another network or card: give these again, or another --checkpoint"
        );
        return Err(Usage::new(told).into());
    }
    Ok(Some(super::read(checkpoint)?))
}

/// What was retrained; a run that was stopped says how it goes on.
fn finished(outcome: tqz::Outcome, checkpoint: &Path) -> anyhow::Result<Retrained> {
    match outcome {
        tqz::Outcome::Finished(retrained) => Ok(*retrained),
        tqz::Outcome::Stopped(step) => Err(Stopped(format!(
            "stopped after {step} steps; the same command with --resume goes on from {}",
            checkpoint.display()
        ))
        .into()),
    }
}

/// What is done with which files, for errors.
fn doing(args: &Args, checkpoint: Option<&PathBuf>) -> String {
    let from = args.from.as_ref().filter(|_| !args.reallocate);
    let from = from.map(|from| format!(" from {}", from.display()));
    let on = checkpoint.map(|path| format!(", going on from {}", path.display()));
    format!(
        "retraining {}{}{}",
        args.model.display(),
        from.unwrap_or_default(),
        on.unwrap_or_default()
    )
}

/// What a user may not expect: images left out, squares instead of images.
fn tell(args: &Args, (set, images): (&TrainingSet, usize), cut: Cut, console: &Console) {
    if set.len() < images {
        let fit = set.len();
        let told = format!("warning: only the first {fit} of {images} images fit into memory");
        console.note(0, &told);
    }
    if let (None, Some(side)) = (args.patch, cut.patch) {
        let batch = cut.batch;
        let told = format!(
            "a step sees {batch} squares of {side} pixels (--patch 0: whole images) and moves levels at a rate of {}",
            cut.rate
        );
        console.note(0, &told);
    }
}

/// Refuses to write over files of an earlier run that is not gone on with.
fn check_own_files(
    args: &Args,
    (checkpoint, kept_start, output): (&Path, Option<&Path>, &Path),
    force: bool,
) -> anyhow::Result<()> {
    let mut written = vec![checkpoint];
    written.extend(args.log.as_deref());
    written.extend(kept_start);
    let mut names: Vec<&Path> = written.iter().copied().chain([output]).collect();
    let from = args.from.as_deref();
    names.extend(from.filter(|from| whole(from) != whole(output)));
    names.extend([args.model.as_path(), args.data.as_path()]);
    names.extend(args.images.source.as_deref());
    check_apart(
        names,
        "network, card, images, output, start, checkpoint and log",
    )?;
    let all: Vec<&Path> = written.iter().copied().chain([output]).collect();
    check_apart_from_tensors(&args.model, &all)?;
    for path in written {
        check_free(path, force || args.resume)
            .context("give --resume to go on with an earlier run")?;
    }
    Ok(())
}

/// A path given, or another's name with this ending.
fn named(given: Option<&PathBuf>, other: &Path, ending: &str) -> PathBuf {
    given
        .cloned()
        .unwrap_or_else(|| other.with_extension(ending))
}
