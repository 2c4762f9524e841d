//! A whole retraining on one page: steps, judgements on images kept back, checkpoints, and the file in the end.

use serde::Serialize;
use tqz_engine::Network;

use crate::decoder::CompressedModel;
use crate::error::TqzError;
use crate::progress::Silent;
use crate::retrain::checkpoint::{Checkpoint, Position};
use crate::retrain::data::{Order, TrainingSet};
use crate::retrain::digest::digest;
use crate::retrain::fitted::Fitted;
use crate::retrain::loss::{Judge, Score};
use crate::retrain::optimizer::fall;
use crate::retrain::spec::{RetrainSpec, TeacherView};
use crate::retrain::student::{StepRates, Student};
use crate::source::Source;

/// Steps between two looks at the size and at what levels cost.
const RATE_EVERY: usize = 10;
/// Share of the steps in which the size is brought to the one wanted.
const APPROACH: f64 = 0.6;
/// The size is brought to so many times the one allowed. What is too much goes in the end: latents that still stand at their first levels
/// are dear to change for a few bytes.
const AIM: f64 = 1.003;
/// Files larger than this part of the size allowed are not fitted to be judged.
const NEAR: f64 = 1.03;
/// Name of the best file's bytes in a checkpoint.
const BEST_FILE: &str = "best/file";

/// One gradient step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepNote {
    /// Steps done, this one counted.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps of one pass over the images.
    pub steps_of_pass: usize,
    /// On the images of the step, before it.
    pub score: Score,
}

/// One judgement on images kept back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CheckNote {
    /// Steps done.
    pub step: usize,
    /// On the images kept back.
    pub held: Score,
    /// Bytes of the file as it would be now.
    pub file_bytes: u64,
    /// 8 · bytes / weights.
    pub bits_per_weight: f64,
    /// λ by which levels are chosen in training, squared steps of the quantizer per bit.
    pub lambda: f32,
    /// Whether it is the best so far.
    pub best: bool,
}

/// Who follows a training run.
pub trait Watch: Sync {
    /// A step was taken.
    fn step(&self, _note: &StepNote) {}
    /// The run was judged.
    fn check(&self, _note: &CheckNote) {}
    /// A checkpoint to be kept.
    ///
    /// # Errors
    /// Why it cannot be; the run ends with it.
    fn checkpoint(&self, _bytes: &[u8]) -> Result<(), TqzError> {
        Ok(())
    }
    /// Whether to make a checkpoint now and stop.
    fn stops(&self) -> bool {
        false
    }
}

impl Watch for Silent {}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With a file.
    Finished(Box<Retrained>),
    /// Stopped by its watcher after so many steps, a checkpoint made.
    Stopped(usize),
}

/// A retrained network.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrained {
    /// The file.
    pub bytes: Vec<u8>,
    /// The start on the images kept back.
    pub before: Score,
    /// The file on the same images.
    pub after: Score,
    /// Steps done.
    pub steps: usize,
    /// What the original saw of an image: plain or mirrored.
    pub teacher: TeacherView,
    /// λ by which the file's levels were chosen for the size's sake, squared steps of the quantizer per bit.
    pub lambda: f32,
}

/// Everything a run looks at.
struct Run<'a> {
    source: &'a Source,
    judge: Judge<'a>,
    student: Student,
    order: Order,
    position: Position,
    spec: RetrainSpec,
    limit_bytes: u64,
    /// The best file so far that is within the limit.
    best_file: Option<Vec<u8>>,
    watch: &'a dyn Watch,
}

/// Retrains the network of the file `start`, which was made from `source`; `resume` is a checkpoint of the same run.
///
/// # Errors
/// A file of another network, a checkpoint of another run, images that do not fit, a size that cannot be reached.
pub fn retrain(
    source: &Source,
    start: &[u8],
    (set, spec): (&TrainingSet, &RetrainSpec),
    resume: Option<&[u8]>,
    watch: &dyn Watch,
) -> Result<Outcome, TqzError> {
    let file = CompressedModel::decode(start)?.file().clone();
    let checkpoint = resume.map(Checkpoint::decode).transpose()?;
    // What the original saw in an earlier part of the run it goes on to see.
    let teacher = checkpoint.as_ref().map(|c| c.position.teacher);
    let judged_by = RetrainSpec {
        teacher: teacher.unwrap_or(spec.teacher),
        ..*spec
    };
    let judge = Judge::new(source.network(), set, &judged_by)?;
    let sums = [source.checksum(), crc32fast::hash(start), digest(set)];
    let asked = spec.target.and_then(|t| t.limit(source.weight_count()));
    let mut run = Run {
        student: Student::new(source, file, *spec)?,
        order: Order::new(set, spec.batch, spec.augment, spec.seed),
        position: Position::new(sums, (spec, judge.view()), start.len() as u64),
        judge,
        spec: *spec,
        limit_bytes: asked.unwrap_or(start.len() as u64),
        best_file: None,
        source,
        watch,
    };
    if let Some(checkpoint) = checkpoint {
        run.resume(checkpoint)?;
    }
    let before = run.judge.held(&decoded(source, start)?)?;
    if run.position.step == 0 && start.len() as u64 <= run.limit_bytes {
        run.position.best = before.loss;
        run.best_file = Some(start.to_vec());
    }
    while run.position.step < spec.steps {
        run.step()?;
        if run.position.step.is_multiple_of(spec.check_every) && run.check()? {
            break;
        }
        if watch.stops() && run.position.step < spec.steps {
            watch.checkpoint(&run.checkpoint()?)?;
            return Ok(Outcome::Stopped(run.position.step));
        }
        let every = spec.checkpoint_every;
        if every > 0 && run.position.step.is_multiple_of(every) {
            watch.checkpoint(&run.checkpoint()?)?;
        }
    }
    run.finish(before)
}

impl Run<'_> {
    fn resume(&mut self, mut checkpoint: Checkpoint) -> Result<(), TqzError> {
        checkpoint.position.check(&self.position)?;
        let best = checkpoint
            .arrays
            .iter()
            .position(|(name, _)| name == BEST_FILE);
        self.best_file = best.map(|index| {
            let (_, bytes) = checkpoint.arrays.swap_remove(index);
            bytes.into_iter().map(|b| b as u8).collect()
        });
        self.position = checkpoint.position;
        let lambda = self.position.price.lambda;
        self.student.restore(checkpoint.arrays, lambda)?;
        Ok(())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, TqzError> {
        let mut arrays = self.student.arrays();
        if let Some(file) = &self.best_file {
            let bytes = file.iter().map(|&b| f32::from(b)).collect();
            arrays.push((BEST_FILE.to_owned(), bytes));
        }
        let position = self.position.clone();
        Checkpoint { position, arrays }.encode()
    }

    fn step(&mut self) -> Result<(), TqzError> {
        let (step, spec) = (self.position.step, self.spec);
        if step.is_multiple_of(RATE_EVERY) && self.student.is_modelled() {
            let wanted = self.wanted_bytes(step);
            let student = &self.student;
            let size = |lambda: f32| Ok::<_, TqzError>(student.file(lambda)?.len() as u64);
            self.position.price.solve(wanted, size)?;
            self.student.renew(self.lambda());
        }
        let draws = self.order.draws(step);
        let network = self.student.network()?;
        let names = self.student.names();
        let (score, gradients) = self.judge.gradients(&network, &names, &draws)?;
        if !score.loss.is_finite() {
            return Err(TqzError::Request(format!(
                "step {step}: the loss is not a finite number; give smaller rates"
            )));
        }
        let rates = StepRates {
            step,
            fall: fall(step, spec.steps),
            pull: self.position.price.pull(),
        };
        self.student.step(&gradients, rates);
        self.position.step += 1;
        self.watch.step(&StepNote {
            step: self.position.step,
            steps: spec.steps,
            steps_of_pass: self.order.steps_of_pass(),
            score,
        });
        Ok(())
    }

    /// Bytes that the file should have at a step: from the start's along a straight line to a little less than the limit.
    fn wanted_bytes(&self, step: usize) -> f64 {
        let part = (step as f64 / (APPROACH * self.spec.steps as f64)).min(1.0);
        let (from, to) = (
            self.position.start_bytes as f64,
            AIM * self.limit_bytes as f64,
        );
        from.max(to) * (1.0 - part) + to * part
    }

    /// Judges the file as it would be now; true to stop early.
    fn check(&mut self) -> Result<bool, TqzError> {
        let now = Fitted {
            lambda: self.lambda(),
            bytes: self.student.file(self.lambda())?,
        };
        let fitted = match now.bytes.len() as f64 > NEAR * self.limit_bytes as f64 {
            true => now,
            false => self.fitted(now)?,
        };
        let held = self.judge.held(&decoded(self.source, &fitted.bytes)?)?;
        let file_bytes = fitted.bytes.len() as u64;
        let fits = file_bytes <= self.limit_bytes;
        let best = fits && held.loss < self.position.best;
        if best {
            self.position.best = held.loss;
            self.position.best_lambda = fitted.lambda;
            self.best_file = Some(fitted.bytes);
            self.position.stale = 0;
        } else if fits && self.best_file.is_some() {
            self.position.stale += 1;
        }
        self.watch.check(&CheckNote {
            step: self.position.step,
            held,
            file_bytes,
            bits_per_weight: self.source.bits_per_weight(file_bytes),
            lambda: self.lambda(),
            best,
        });
        let patience = self.spec.patience;
        Ok(patience > 0 && self.position.stale >= patience)
    }

    fn finish(self, before: Score) -> Result<Outcome, TqzError> {
        let fitted = self.fitted(Fitted {
            lambda: self.lambda(),
            bytes: self.student.file(self.lambda())?,
        })?;
        let least = fitted.bytes.len() as u64;
        let last = match least <= self.limit_bytes {
            true => Some((
                self.judge.held(&decoded(self.source, &fitted.bytes)?)?,
                fitted,
            )),
            false => None,
        };
        // Where nothing that was trained fits any more, what did is still there.
        let best = match self.best_file {
            Some(bytes) => Some((
                self.judge.held(&decoded(self.source, &bytes)?)?,
                Fitted {
                    lambda: self.position.best_lambda,
                    bytes,
                },
            )),
            None => None,
        };
        let better = last
            .into_iter()
            .chain(best)
            .min_by(|(a, _), (b, _)| a.loss.total_cmp(&b.loss));
        let (after, fitted) = better.ok_or_else(|| {
            TqzError::Request(format!(
                "the file cannot be made smaller than {least} bytes; {} are allowed",
                self.limit_bytes
            ))
        })?;
        Ok(Outcome::Finished(Box::new(Retrained {
            bytes: fitted.bytes,
            before,
            after,
            steps: self.position.step,
            teacher: self.judge.view(),
            lambda: fitted.lambda,
        })))
    }

    /// λ of the choice of levels now.
    fn lambda(&self) -> f32 {
        self.position.price.lambda
    }

    /// The file within its limit, where that can be had.
    fn fitted(&self, now: Fitted) -> Result<Fitted, TqzError> {
        now.within(&self.student, (self.limit_bytes, self.spec.lambda))
    }
}

/// The network that a file decodes to, on the original's graph.
fn decoded(source: &Source, bytes: &[u8]) -> Result<Network, TqzError> {
    let model = CompressedModel::decode(bytes)?;
    let file = model.file();
    let mut weights = source.decoded_vectors(&file.vectors)?;
    for layer in source.layers() {
        let record = source.record_of(layer, file)?;
        weights.extend([source.decoded_by_name(layer, record)?]);
    }
    Ok(source.network().with_weights(&weights)?)
}
