//! What is told of a finished run.

use std::path::Path;

use serde::Serialize;
use tqz::{Retrained, Score, Source, TeacherView};

use crate::output::{optional, shown_loss, table, thousands};

/// A finished run.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) output: String,
    pub(super) file_bytes: u64,
    pub(super) weights: u64,
    pub(super) bits_per_weight: f64,
    pub(super) start_bytes: u64,
    pub(super) training_images: usize,
    pub(super) steps: usize,
    pub(super) teacher: TeacherView,
    pub(super) held_before: Score,
    pub(super) held_after: Score,
    pub(super) lambda: f32,
    pub(super) start_seconds: f64,
    pub(super) seconds: f64,
}

impl Outcome {
    /// Of a file that was written; the bytes of its start and the images there were; the seconds before the first step, and all.
    pub(super) fn new(
        output: &Path,
        (source, retrained): (&Source, &Retrained),
        (start_bytes, training_images): (u64, usize),
        (start_seconds, seconds): (f64, f64),
    ) -> Self {
        let file_bytes = retrained.bytes.len() as u64;
        Self {
            output: output.display().to_string(),
            file_bytes,
            weights: source.weight_count(),
            bits_per_weight: source.bits_per_weight(file_bytes),
            start_bytes,
            training_images,
            steps: retrained.steps,
            teacher: retrained.teacher,
            held_before: retrained.before,
            held_after: retrained.after,
            lambda: retrained.lambda,
            start_seconds,
            seconds,
        }
    }
}

/// As a table.
pub(super) fn text(outcome: &Outcome, retrained: &Retrained) -> String {
    let row = |what: &str, bytes: u64, score: Score| {
        vec![
            what.to_owned(),
            thousands(bytes),
            format!("{:.3}", 8.0 * bytes as f64 / outcome.weights.max(1) as f64),
            shown_loss(score.loss, 5),
            optional(score.accuracy_percent, 2),
        ]
    };
    let rows = vec![
        row("start", outcome.start_bytes, retrained.before),
        row("retrained", outcome.file_bytes, retrained.after),
    ];
    let header = [
        "file",
        "bytes",
        "bits/weight",
        "loss (kept back)",
        "accuracy %",
    ];
    let toward = match outcome.teacher {
        TeacherView::Mirrored => " toward means over images and their mirror images",
        _ => "",
    };
    format!(
        "{}\n{}: {} bytes, {:.3} bits/weight, {} steps{toward}; {:.1} s, {:.1} s of them before the first step",
        table(&header, 1, rows),
        outcome.output,
        thousands(outcome.file_bytes),
        outcome.bits_per_weight,
        outcome.steps,
        outcome.seconds,
        outcome.start_seconds
    )
}
