//! What is asked of a run: how much of how many images a step sees, rates, and the whole command line as a specification.

use tqz::{Augment, RateTarget, RetrainSpec, Source, TrainingSet};

use super::Args;
use crate::output::Usage;

/// Images of a step that sees squares of pictures to be restored.
const SQUARES_BATCH: usize = 16;
/// Rate of levels by such a step: at twice as much the loss rises before it falls (DnCNN at 1.4 bits, 700 steps: .086 dB lost; .104 at .02,
/// .097 at .005).
const SQUARES_RATE: f32 = 0.01;

/// How much of how many images a step sees, and how far levels move by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) batch: usize,
    pub(super) rate: f32,
    pub(super) patch: Option<usize>,
    channels_last: bool,
}

impl Cut {
    /// As asked; of pictures to be restored, unless told otherwise, few squares at half the rate.
    pub(super) fn new(
        args: &Args,
        (source, set): (&Source, &TrainingSet),
        channels_last: bool,
    ) -> Self {
        let usual = set.usual_patch(source.network(), channels_last);
        let patch = args.patch.or(usual).filter(|&side| side > 0);
        let (batch, rate) = usual_step(usual.and(patch).is_some());
        Self {
            batch: args.batch.unwrap_or(batch),
            rate: args.rate.unwrap_or(rate),
            patch,
            channels_last,
        }
    }
}

/// Images of a step, and the rate of levels, where it sees squares of pictures to be restored and where not.
fn usual_step(of_squares: bool) -> (usize, f32) {
    let other = RetrainSpec::default();
    match of_squares {
        true => (SQUARES_BATCH, SQUARES_RATE),
        false => (other.batch, other.level_rate),
    }
}

/// Everything that is asked for on the command line.
///
/// # Errors
/// A number of passes that is not legal.
pub(super) fn spec(
    args: &Args,
    (set, cut): (&TrainingSet, Cut),
    seed: u64,
) -> anyhow::Result<RetrainSpec> {
    let per_epoch = (set.learnt_count() / cut.batch.max(1)).max(1);
    let steps = match args.epochs {
        Some(epochs) if epochs > 0.0 && epochs <= 1e6 => {
            (epochs * per_epoch as f64).ceil() as usize
        }
        Some(epochs) => {
            return Err(Usage::new(format!(
                "--epochs {epochs}: more than 0 and at most a million are legal"
            ))
            .into());
        }
        None => args.steps,
    };
    let target = args
        .bits
        .map(RateTarget::BitsPerWeight)
        .or(args.size.map(RateTarget::Bytes));
    let check_every = args.check_every.unwrap_or(steps.div_ceil(10)).max(1);
    Ok(RetrainSpec {
        target,
        loss: args.loss.into(),
        distance: args.distance.into(),
        temperature: args.temperature,
        teacher: args.teacher.into(),
        optimizer: args.optimizer.into(),
        steps,
        batch: cut.batch,
        level_rate: cut.rate,
        basis_rate: args.basis_rate.unwrap_or(cut.rate),
        side_rate: args.side_rate,
        step_rate: args.step_rate,
        lambda: args.lambda,
        check_every,
        patience: args.patience,
        checkpoint_every: per_epoch.min(check_every),
        augment: Augment {
            flip: !args.no_flip,
            shift: args.shift,
            patch: cut.patch,
            channels_last: cut.channels_last,
        },
        seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::retrain::testing::{args, assets};
    use ndarray::{ArrayD, IxDyn};
    use tqz::Target;
    use tqz_engine::EngineDevice;

    /// Images of a step, and rates of levels and bases, on the demo's network and 16 images with this target.
    fn step(more: &str, target: &Target) -> (usize, f32, f32) {
        let model = assets("demo.onnx");
        let shown = model.display().to_string();
        let args = args((&shown, "card.toml"), &format!("--bits 1 {more}"));
        let source = Source::read(&model, &EngineDevice::cpu()).expect("readable");
        let mut set = TrainingSet::new();
        let images = ArrayD::zeros(IxDyn(&[16, 3, 32, 32]));
        set.add(&images, vec![target.clone(); 16]);
        let cut = Cut::new(&args, (&source, &set), false);
        let spec = spec(&args, (&set, cut), 0).expect("legal");
        (spec.batch, spec.level_rate, spec.basis_rate)
    }

    #[test]
    fn squares_of_pictures_are_learnt_from_few_at_a_time_at_half_the_rate() {
        let picture = Target::Output(ArrayD::zeros(IxDyn(&[3, 32, 32])));
        let other = RetrainSpec::default();
        assert_eq!(step("", &picture), (16, 0.01, 0.01));
        assert_eq!(step("--rate .03", &picture), (16, 0.03, 0.03));
        assert_eq!(step("--basis-rate .03", &picture), (16, 0.01, 0.03));
        let usual = (other.batch, other.level_rate, other.level_rate);
        assert_eq!(step("", &Target::Label(0)), usual);
        assert_eq!(step("--patch 0", &picture), usual);
    }
}
