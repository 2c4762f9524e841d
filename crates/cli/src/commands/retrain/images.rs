//! Training images in memory, with what the network should give for each.

use ndarray::Axis;
use tqz::{Progress, Target, TrainingSet};
use tqz_data::{Batch, DataSet, DenoiseOutput, Task, Truth};

/// Training images beyond this many bytes are not read.
const MEMORY_BYTES: usize = 2 << 30;
/// All images of a set with what is right for them, as many as memory holds.
pub(super) fn training_set(data: &DataSet, progress: &dyn Progress) -> anyhow::Result<TrainingSet> {
    let mut set = TrainingSet::new();
    progress.begin("reading images", data.len() as u64);
    for batch in data.batches(64) {
        let batch = batch?;
        let targets = (0..batch.truths.len()).map(|index| target(data.task(), &batch, index));
        let targets: Vec<Target> = targets.collect();
        progress.advance(targets.len() as u64);
        set.add(&batch.input.into_dyn(), targets);
        if set.bytes() > MEMORY_BYTES {
            break;
        }
    }
    progress.finish();
    Ok(set)
}

/// What the network should give for one image of a batch.
fn target(task: &Task, batch: &Batch, index: usize) -> Target {
    let image = batch.input.index_axis(Axis(0), index);
    match (&batch.truths[index], task) {
        (Truth::Label(class), _) => Target::Label(*class),
        (
            Truth::Image(clean),
            Task::Denoise {
                output: DenoiseOutput::Noise,
                ..
            },
        ) => Target::Output((&image - clean).into_dyn()),
        (Truth::Image(clean), Task::Denoise { .. }) => Target::Output(clean.clone().into_dyn()),
        (Truth::Image(picture), Task::SuperResolve { .. })
            if picture.len_of(Axis(0)) == image.len_of(Axis(0)) =>
        {
            Target::Output(picture.mapv(|v| v / 255.0).into_dyn())
        }
        _ => Target::Unknown,
    }
}
