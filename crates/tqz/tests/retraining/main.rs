//! The promises of retraining, on the demo network and seeded random images: nearer to the original at no more bytes, the same
//! bytes whatever the threads and wherever a run was cut, every transform trainable, bad requests refused.

mod subject;

use std::sync::Mutex;

use tqz::{
    Augment, Axis as TransformAxis, CompressedModel, EncoderConfig, Loss, Optimizer, Outcome,
    PaperSpec, RateTarget, RetrainSpec, Silent, StepNote, Target, TeacherView, TqzError,
    TrainingSet, TransformSpec, Watch,
};
use tqz_format::Packing;

use subject::{at, compressed, images, packings, plain, retrained, room, spec, steps_of, subject};

#[test]
fn the_file_comes_nearer_to_the_original_at_no_more_bytes() {
    // At rates that leave training something to gain in few steps.
    let (start, plain) = (compressed(&at(0.5)), compressed(&plain(1.0)));
    for (start, loss) in [
        (&start, Loss::Distill),
        (&start, Loss::Labels),
        (&start, Loss::Both),
        (&plain, Loss::Distill),
    ] {
        let target = room(start);
        let spec = RetrainSpec {
            loss,
            target,
            ..spec()
        };
        let done = retrained(start, &spec);
        assert!(done.bytes.len() * 100 <= start.len() * 101, "{loss:?}");
        assert_eq!(packings(&done.bytes), packings(start));
        let (before, after) = (done.before.loss, done.after.loss);
        assert!(after < 0.97 * before, "{loss:?}: {before} → {after}");
        CompressedModel::decode(&done.bytes)
            .expect("decodes")
            .to_model()
            .expect("fits its graph");
    }
}

#[test]
fn a_mirrored_teacher_makes_another_file() {
    let start = compressed(&at(0.5));
    let done = [TeacherView::Plain, TeacherView::Mirrored].map(|teacher| {
        let target = room(&start);
        let spec = RetrainSpec {
            teacher,
            target,
            ..spec()
        };
        retrained(&start, &spec)
    });
    assert_eq!(done[0].teacher, TeacherView::Plain);
    assert_eq!(done[1].teacher, TeacherView::Mirrored);
    assert_ne!(done[0].bytes, done[1].bytes);
    // It is judged by what it is taught.
    assert!(done[1].after.loss < done[1].before.loss);
    assert_ne!(done[1].before.loss, done[0].before.loss);
}

#[test]
fn momentum_and_trained_steps_work_too() {
    let [start, coarse] = [at(0.5), plain(0.8)].map(|config| compressed(&config));
    for (start, spec) in [
        (
            &start,
            RetrainSpec {
                optimizer: Optimizer::Sgd,
                level_rate: 0.005,
                side_rate: 5e-4,
                ..spec()
            },
        ),
        (
            &start,
            RetrainSpec {
                step_rate: 0.01,
                ..spec()
            },
        ),
        (
            &coarse,
            RetrainSpec {
                augment: Augment {
                    flip: true,
                    shift: 2,
                    ..Augment::default()
                },
                ..spec()
            },
        ),
    ] {
        let target = room(start);
        let done = retrained(start, &RetrainSpec { target, ..spec });
        assert!(done.bytes.len() * 100 <= start.len() * 101);
        let (before, after) = (done.before.loss, done.after.loss);
        assert!(after < before, "{before} → {after} {spec:?}");
        let same = steps_of(start) == steps_of(&done.bytes);
        assert_eq!(same, spec.step_rate == 0.0, "{spec:?}");
    }
}

#[test]
fn a_smaller_size_than_the_start_is_kept() {
    let start = compressed(&at(1.6));
    let limit = (start.len() as f64 * 0.93) as u64;
    let target = Some(RateTarget::Bytes(limit));
    let done = retrained(&start, &RetrainSpec { target, ..spec() });
    assert!(done.bytes.len() as u64 <= limit);
    assert!(done.bytes.len() as f64 > 0.97 * limit as f64);
}

/// Judged every fourth step, where nothing moves.
#[test]
fn a_run_that_comes_no_nearer_ends_early() {
    let start = compressed(&at(1.0));
    let still = RetrainSpec {
        steps: 24,
        check_every: 4,
        level_rate: 0.0,
        basis_rate: 0.0,
        side_rate: 0.0,
        target: room(&start),
        ..spec()
    };
    let done = |patience: usize| retrained(&start, &RetrainSpec { patience, ..still });
    assert_eq!(done(0).steps, 24);
    let early = done(2);
    assert_eq!(early.steps, 8);
    assert_eq!(early.bytes, start);
    assert_eq!(early.before, early.after);
}

/// Layers of T and S in every arrangement: files of fixed widths keep their size, the loss falls.
#[test]
fn every_transform_is_trained() {
    for axis in [
        TransformAxis::Column,
        TransformAxis::Row,
        TransformAxis::Kernel,
        TransformAxis::Both,
    ] {
        let config = EncoderConfig {
            paper: Some(PaperSpec::default()),
            transform: TransformSpec::Elt,
            axis,
            ..at(2.5)
        };
        let start = compressed(&config);
        let done = retrained(&start, &spec());
        assert!(done.bytes.len() <= start.len(), "{axis:?}");
        let (before, after) = (done.before.loss, done.after.loss);
        assert!(after < before, "{axis:?}: {before} → {after}");
    }
    let config = EncoderConfig {
        transform: TransformSpec::Elt,
        ..at(0.7)
    };
    let start = compressed(&config);
    let target = room(&start);
    let done = retrained(&start, &RetrainSpec { target, ..spec() });
    assert!(done.after.loss < done.before.loss);
}

/// Levels that depend on each other in some layers, and not in others.
#[test]
fn both_quantizers_are_trained_in_one_file() {
    let [dependent, plain] = [at(0.7), plain(1.0)].map(|config| compressed(&config));
    let file = |bytes: &[u8]| {
        CompressedModel::decode(bytes)
            .expect("decodes")
            .file()
            .clone()
    };
    let (mut mixed, other) = (file(&dependent), file(&plain));
    let layers = mixed.layers.iter_mut().zip(other.layers);
    for (mine, theirs) in layers.skip(1).step_by(2) {
        *mine = theirs;
    }
    let start = mixed.encode().expect("encodes");
    let kinds = packings(&start);
    assert!(kinds.contains(&Packing::Dependent) && kinds.contains(&Packing::Modelled));
    for spec in [
        spec(),
        RetrainSpec {
            lambda: 1e-3,
            ..spec()
        },
    ] {
        let target = room(&start);
        let done = retrained(&start, &RetrainSpec { target, ..spec });
        assert!(done.bytes.len() * 100 <= start.len() * 101);
        assert_eq!(packings(&done.bytes), kinds);
        let (before, after) = (done.before.loss, done.after.loss);
        assert!(after < before, "{before} → {after}");
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let start = compressed(&at(1.5));
    let spec = RetrainSpec {
        steps: 6,
        // Smaller than the start, so that the start is not given back.
        target: Some(RateTarget::Bytes(start.len() as u64 * 97 / 100)),
        ..spec()
    };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().expect("pool");
        pool.install(|| retrained(&start, &spec).bytes)
    };
    assert!(with(1) == with(2), "the files differ");
}

/// Keeps checkpoints and stops after a number of steps.
struct Stopper {
    after: usize,
    seen: Mutex<usize>,
    kept: Mutex<Vec<u8>>,
}

impl Watch for Stopper {
    fn step(&self, note: &StepNote) {
        *self.seen.lock().expect("not poisoned") = note.step;
    }
    fn checkpoint(&self, bytes: &[u8]) -> Result<(), TqzError> {
        *self.kept.lock().expect("not poisoned") = bytes.to_vec();
        Ok(())
    }
    fn stops(&self) -> bool {
        *self.seen.lock().expect("not poisoned") >= self.after
    }
}

#[test]
fn a_run_that_was_cut_ends_with_the_same_bytes() {
    let (source, _, set) = subject();
    let start = compressed(&at(1.5));
    let spec = RetrainSpec {
        target: Some(RateTarget::Bytes(start.len() as u64 * 97 / 100)),
        step_rate: 0.005,
        augment: Augment {
            flip: true,
            ..Augment::default()
        },
        ..spec()
    };
    let whole = retrained(&start, &spec);
    let stopper = Stopper {
        after: 11,
        seen: Mutex::new(0),
        kept: Mutex::new(Vec::new()),
    };
    let cut = tqz::retrain(source, &start, (set, &spec), None, &stopper).expect("trains");
    assert_eq!(cut, Outcome::Stopped(11));
    let checkpoint = stopper.kept.into_inner().expect("not poisoned");
    let rest = tqz::retrain(source, &start, (set, &spec), Some(&checkpoint), &Silent);
    assert_eq!(rest.expect("goes on"), Outcome::Finished(Box::new(whole)));
    let other = RetrainSpec { seed: 9, ..spec };
    let refused = tqz::retrain(source, &start, (set, &other), Some(&checkpoint), &Silent);
    assert!(
        refused
            .expect_err("other options")
            .to_string()
            .contains("other options")
    );
    let mut images = TrainingSet::new();
    images.add(&self::images(80, 2), Vec::new());
    let refused = tqz::retrain(source, &start, (&images, &spec), Some(&checkpoint), &Silent);
    let told = refused.expect_err("other images").to_string();
    assert!(told.contains("other training images"), "{told}");
    let damaged = &checkpoint[..checkpoint.len() / 2];
    assert!(tqz::retrain(source, &start, (set, &spec), Some(damaged), &Silent).is_err());
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let (source, _, set) = subject();
    let start = compressed(&at(1.5));
    let told = |set: &TrainingSet, spec: RetrainSpec| {
        let outcome = tqz::retrain(source, &start, (set, &spec), None, &Silent);
        outcome.expect_err("refused").to_string()
    };
    let mut unlabelled = TrainingSet::new();
    unlabelled.add(&images(12, 2), Vec::new());
    let labels = RetrainSpec {
        loss: Loss::Labels,
        ..spec()
    };
    assert!(told(&unlabelled, labels).contains("--loss distill"));
    let early = tqz::check_retraining(source, &unlabelled, &labels);
    let early = early.expect_err("no labels").to_string();
    assert!(early.contains("--loss distill"), "{early}");
    let mirrored = RetrainSpec {
        teacher: TeacherView::Mirrored,
        ..labels
    };
    assert!(told(set, mirrored).contains("no effect on labels"));
    let mut wrong = TrainingSet::new();
    wrong.add(&images(12, 2), vec![Target::Label(1000); 12]);
    assert!(told(&wrong, labels).contains("do not fit"));
    assert!(told(&TrainingSet::new(), spec()).contains("no training images"));
    assert!(told(set, RetrainSpec { steps: 0, ..spec() }).contains("steps"));
    let tiny = Some(RateTarget::Bytes(100));
    assert!(
        told(
            set,
            RetrainSpec {
                target: tiny,
                steps: 1,
                ..spec()
            }
        )
        .contains("cannot be made smaller")
    );
    let patch = Augment {
        patch: Some(64),
        ..Augment::default()
    };
    assert!(
        told(
            set,
            RetrainSpec {
                augment: patch,
                ..spec()
            }
        )
        .contains("smaller than the patch")
    );
    let truncated = tqz::retrain(source, &start[..50], (set, &spec()), None, &Silent);
    assert!(truncated.is_err());
}
