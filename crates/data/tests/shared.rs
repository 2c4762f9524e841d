//! The cards in `examples/cards` give the inputs that numpy and Pillow give, on the shared data.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tqz_data::{DataSet, OpenOptions, Sample, Truth};

#[derive(Deserialize)]
struct Expected {
    images: usize,
    labels: Option<Vec<usize>>,
    samples: Vec<Digest>,
}

#[derive(Deserialize)]
struct Digest {
    index: usize,
    shape: Vec<usize>,
    sum: f64,
    squares: f64,
    values: Vec<(usize, f64)>,
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The card's set; its data are looked for in `$TQZ_SHARED` if that is given.
fn open(card: &str) -> DataSet {
    let path = workspace().join(format!("examples/cards/{card}.toml"));
    let read = tqz_data::Card::read(&path).unwrap();
    let source = std::env::var_os("TQZ_SHARED").map(|shared| {
        let inside = read.source.path.strip_prefix("../../../shared").unwrap();
        PathBuf::from(shared).join(inside)
    });
    let options = OpenOptions {
        source,
        ..OpenOptions::default()
    };
    DataSet::open_card(&path, &options).unwrap()
}

fn compare(card: &str, sample: &Sample, expected: &Digest) {
    let place = format!("{card}, image {}", expected.index);
    assert_eq!(sample.input.shape(), expected.shape, "{place}");
    let flat: Vec<f32> = sample.input.iter().copied().collect();
    for &(at, value) in &expected.values {
        assert_eq!(f64::from(flat[at]), value, "{place}, element {at}");
    }
    let sums = flat.iter().fold((0.0, 0.0), |(sum, squares), &v| {
        let v = f64::from(v);
        (sum + v, squares + v * v)
    });
    // The order of summation differs; one sample off by one grey level would show.
    for (ours, theirs) in [(sums.0, expected.sum), (sums.1, expected.squares)] {
        assert!(
            (ours - theirs).abs() <= 1e-9 * expected.squares.max(1.0),
            "{place}: {ours} {theirs}"
        );
    }
}

fn check(cards: &[&str]) {
    let goldens = include_str!("goldens/shared_inputs.json");
    let goldens: BTreeMap<String, Expected> = serde_json::from_str(goldens).unwrap();
    for card in cards {
        let (set, expected) = (open(card), &goldens[*card]);
        assert_eq!(set.len(), expected.images, "{card}");
        assert!(set.has_truth(), "{card}");
        for (k, digest) in expected.samples.iter().enumerate() {
            let sample = set.sample(digest.index).unwrap();
            compare(card, &sample, digest);
            match (&sample.truth, &expected.labels) {
                (Truth::Label(label), Some(labels)) => assert_eq!(*label, labels[k], "{card}"),
                (Truth::Image(_), None) => {}
                (truth, _) => panic!("{card}: {truth:?}"),
            }
        }
    }
}

#[test]
#[ignore = "needs shared/"]
fn shared_cifar_inputs_are_numpys() {
    check(&[
        "cifar10-calib",
        "cifar10-test",
        "cifar10-raw-calib",
        "cifar10-raw-test",
    ]);
}

#[test]
#[ignore = "needs shared/"]
fn shared_cifar_training_archive_is_read_in_place() {
    check(&["cifar10-train", "cifar10-raw-train"]);
}

#[test]
#[ignore = "needs shared/"]
fn shared_imagenet_inputs_are_pillows() {
    check(&[
        "imagenet-calib",
        "imagenet-report",
        "imagenet-keras-calib",
        "imagenet-keras-report",
    ]);
}

#[test]
#[ignore = "needs shared/"]
fn shared_denoising_inputs_have_numpys_noise() {
    check(&["denoise-set12", "denoise-calib"]);
}

#[test]
#[ignore = "needs shared/"]
fn shared_super_resolution_inputs_are_pillows() {
    check(&[
        "sr-x2-set12",
        "sr-x2-calib",
        "vdsr-x2-set12",
        "vdsr-x2-calib",
    ]);
}

#[test]
#[ignore = "needs shared/"]
fn shared_noise_does_not_depend_on_the_order_of_asking() {
    let (forward, backward) = (open("denoise-set12"), open("denoise-set12"));
    let last = backward.sample(11).unwrap();
    let all: Vec<Sample> = (0..12).map(|i| forward.sample(i).unwrap()).collect();
    assert_eq!(all[11], last);
    assert_eq!(all[3], backward.sample(3).unwrap());
}
