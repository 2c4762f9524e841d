//! What is told of a finished run.

use serde::Serialize;
use tqz::{Retrained, Score, TeacherView};

use crate::output::{optional, table, thousands};

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

/// As a table.
pub(super) fn text(outcome: &Outcome, retrained: &Retrained) -> String {
    let row = |what: &str, bytes: u64, score: Score| {
        vec![
            what.to_owned(),
            thousands(bytes),
            format!("{:.3}", 8.0 * bytes as f64 / outcome.weights.max(1) as f64),
            format!("{:.5}", score.loss),
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
