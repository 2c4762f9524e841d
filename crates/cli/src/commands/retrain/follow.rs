//! Follows a training run: the progress bar, the log, checkpoints, and Ctrl-C.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use tqz::{CheckNote, Progress, RetrainSpec, Score, StepNote, TqzError, Watch};

use crate::output::{Console, optional, shown_loss, write_file};
use crate::progress::Bars;

/// Columns of the log.
const COLUMNS: [&str; 10] = [
    "step",
    "epoch",
    "seconds",
    "loss",
    "accuracy_percent",
    "held_loss",
    "held_accuracy_percent",
    "file_bytes",
    "bits_per_weight",
    "lambda",
];

/// What is told of a run, and where its checkpoints go.
pub(super) struct Follower<'a> {
    bars: &'a Bars,
    console: &'a Console,
    checkpoint: PathBuf,
    log: Option<Mutex<csv::Writer<File>>>,
    /// Whether Ctrl-C was pressed.
    stop: Arc<AtomicBool>,
    start: Instant,
    /// Loss and accuracy, smoothed over about twenty steps.
    smooth: Mutex<Option<Score>>,
    per_epoch: Mutex<usize>,
}

impl<'a> Follower<'a> {
    /// Opens the log and listens for Ctrl-C.
    pub(super) fn new(
        bars: &'a Bars,
        console: &'a Console,
        (checkpoint, log): (&Path, Option<&Path>),
        spec: &RetrainSpec,
        resumed: bool,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // Registered first, so that it acts on the second Ctrl-C: that one ends the program at once.
        flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop))?;
        flag::register(SIGINT, Arc::clone(&stop))?;
        let log = log.map(|path| open_log(path, resumed)).transpose()?;
        bars.begin("retraining", spec.steps as u64);
        Ok(Self {
            bars,
            console,
            checkpoint: checkpoint.to_path_buf(),
            log: log.map(Mutex::new),
            stop,
            start: Instant::now(),
            smooth: Mutex::new(None),
            per_epoch: Mutex::new(1),
        })
    }

    fn write(&self, fields: [String; 10]) {
        if let Some(Ok(mut log)) = self.log.as_ref().map(Mutex::lock) {
            // A log that cannot be written is no reason to lose hours of training.
            let _ = log.write_record(fields);
            let _ = log.flush();
        }
    }

    fn smoothed(&self, score: Score) -> Score {
        let Ok(mut smooth) = self.smooth.lock() else {
            return score;
        };
        let mixed = match *smooth {
            None => score,
            Some(old) => Score {
                loss: 0.95 * old.loss + 0.05 * score.loss,
                accuracy_percent: old
                    .accuracy_percent
                    .zip(score.accuracy_percent)
                    .map(|(a, b)| 0.95 * a + 0.05 * b),
            },
        };
        *smooth = Some(mixed);
        mixed
    }

    fn epoch(&self, step: usize) -> String {
        let per_epoch = self.per_epoch.lock().map_or(1, |p| *p);
        format!("{:.3}", step as f64 / per_epoch as f64)
    }

    fn seconds(&self) -> String {
        format!("{:.1}", self.start.elapsed().as_secs_f64())
    }
}

/// The log, with its header; at the end of an existing one where a run goes on, or would if it had been begun.
fn open_log(path: &Path, resumed: bool) -> anyhow::Result<csv::Writer<File>> {
    let shown = || format!("cannot write {}", path.display());
    let mut options = std::fs::OpenOptions::new();
    options
        .create(true)
        .append(resumed)
        .write(true)
        .truncate(!resumed);
    let file = options.open(path).with_context(shown)?;
    let empty = file.metadata().with_context(shown)?.len() == 0;
    let mut log = csv::Writer::from_writer(file);
    if empty {
        log.write_record(COLUMNS).with_context(shown)?;
    }
    Ok(log)
}

impl Watch for Follower<'_> {
    fn step(&self, note: &StepNote) {
        if let Ok(mut per_epoch) = self.per_epoch.lock() {
            *per_epoch = note.steps_of_pass;
        }
        let smooth = self.smoothed(note.score);
        let accuracy = smooth
            .accuracy_percent
            .map_or(String::new(), |a| format!(" {a:.1} %"));
        self.bars
            .say(format!("loss {}{accuracy}", shown_loss(smooth.loss, 4)));
        self.bars.advance(1);
        let none = String::new;
        self.write([
            note.step.to_string(),
            self.epoch(note.step),
            self.seconds(),
            shown_loss(note.score.loss, 6),
            note.score
                .accuracy_percent
                .map_or_else(none, |a| format!("{a:.3}")),
            none(),
            none(),
            none(),
            none(),
            none(),
        ]);
    }

    fn check(&self, note: &CheckNote) {
        let accuracy = note.held.accuracy_percent;
        self.console.note(
            1,
            &format!(
                "step {}: kept back: loss {}, accuracy {} %; {:.4} bits/weight{}",
                note.step,
                shown_loss(note.held.loss, 5),
                optional(accuracy, 2),
                note.bits_per_weight,
                if note.best { ", best so far" } else { "" }
            ),
        );
        self.write([
            note.step.to_string(),
            self.epoch(note.step),
            self.seconds(),
            String::new(),
            String::new(),
            shown_loss(note.held.loss, 6),
            accuracy.map_or_else(String::new, |a| format!("{a:.3}")),
            note.file_bytes.to_string(),
            format!("{:.5}", note.bits_per_weight),
            format!("{:.5}", note.lambda),
        ]);
    }

    fn checkpoint(&self, bytes: &[u8]) -> Result<(), TqzError> {
        write_file(&self.checkpoint, bytes, true)
            .map_err(|error| TqzError::Request(format!("{error:#}")))
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
