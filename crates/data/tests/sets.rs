//! Sets through the public interface: selection, batches, other sources, damaged pictures.

use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tqz_data::{Batch, Card, DataError, DataSet, OpenOptions, Scorer, Truth};

fn png(width: u32, height: u32, value: u8) -> Vec<u8> {
    let pixels = image::GrayImage::from_fn(width, height, |x, y| {
        image::Luma([value.wrapping_add((x * 3 + y * 7) as u8)])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn card(text: &str) -> Card {
    Card::from_toml(text, Path::new("test.toml")).unwrap()
}

fn options(images: Option<usize>, seed: u64) -> OpenOptions {
    OpenOptions {
        source: None,
        images,
        seed,
    }
}

/// Three classes of 20 pictures each; the first sample is unique to each picture.
fn class_folders() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (class, name) in ["ant", "bee", "cow"].iter().enumerate() {
        for i in 0..20 {
            let value = (class * 20 + i) as u8;
            write(
                folder.path(),
                &format!("set/{name}/{i:02}.png"),
                &png(4, 3, value),
            );
        }
    }
    folder
}

fn labels(set: &DataSet) -> Vec<usize> {
    (0..set.len())
        .map(|i| match set.sample(i).unwrap().truth {
            Truth::Label(label) => label,
            truth => panic!("{truth:?}"),
        })
        .collect()
}

#[test]
fn few_images_of_class_folders_are_a_seeded_shuffle() {
    let folder = class_folders();
    let card = card("source = { path = \"set\" }");
    let open = |images, seed| DataSet::open(&card, folder.path(), &options(images, seed)).unwrap();
    let all = labels(&open(None, 0));
    assert_eq!(all, [[0; 20], [1; 20], [2; 20]].concat());
    let few = open(Some(15), 0);
    assert_eq!(few.len(), 15);
    let drawn = labels(&few);
    assert!((0..3).all(|class| drawn.contains(&class)), "{drawn:?}");
    let more = open(Some(30), 0);
    for i in 0..15 {
        assert_eq!(few.sample(i).unwrap(), more.sample(i).unwrap());
    }
    assert_ne!(drawn, labels(&open(Some(15), 1)));
    assert_eq!(open(Some(1000), 0).len(), 60);
}

#[test]
fn rows_select_before_images() {
    let folder = class_folders();
    let table: String = (0..20).map(|i| format!("ant/{i:02}.png,{i}\n")).collect();
    write(
        folder.path(),
        "set/labels.csv",
        format!("file,label\n{table}").as_bytes(),
    );
    let text = "source = { path = \"set\", rows = \"odd\", images = 4 }";
    let set = DataSet::open(&card(text), folder.path(), &options(None, 9)).unwrap();
    assert_eq!(labels(&set), [1, 3, 5, 7]);
    let set = DataSet::open(&card(text), folder.path(), &options(Some(2), 9)).unwrap();
    assert_eq!(labels(&set), [1, 3]);
    let none = card("source = { path = \"set\", rows = { start = 20 } }");
    let error = DataSet::open(&none, folder.path(), &options(None, 0)).unwrap_err();
    assert!(
        error.to_string().contains("none of its 20 images"),
        "{error}"
    );
}

#[test]
fn another_source_takes_the_cards_place() {
    let folder = class_folders();
    let card = card("source = { path = \"absent.npz\", kind = \"npz\" }");
    assert!(DataSet::open(&card, folder.path(), &options(None, 0)).is_err());
    let other = OpenOptions {
        source: Some(folder.path().join("set")),
        ..OpenOptions::default()
    };
    let set = DataSet::open(&card, folder.path(), &other).unwrap();
    assert_eq!(labels(&set).len(), 60);
}

fn batches(set: &DataSet, size: usize) -> Vec<Batch> {
    set.batches(size).collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_hold_neighbours_of_one_shape_in_order() {
    let folder = TempDir::new().unwrap();
    let widths = [4, 4, 5, 5, 5, 5, 5, 4, 6, 6];
    for (i, &width) in widths.iter().enumerate() {
        write(folder.path(), &format!("{i}.png"), &png(width, 3, i as u8));
    }
    let card = card(
        "source = { path = \"\" }\npreprocess = { channels = \"grey\", scale = \"1/255\" }\n\
         task = { kind = \"denoise\", sigma = 10, seed = 4 }",
    );
    let set = DataSet::open(&card, folder.path(), &options(None, 0)).unwrap();
    let found = batches(&set, 4);
    let shapes: Vec<_> = found
        .iter()
        .map(|b| (b.first, b.truths.len(), b.input.dim().3))
        .collect();
    assert_eq!(
        shapes,
        [(0, 2, 4), (2, 4, 5), (6, 1, 5), (7, 1, 4), (8, 2, 6)]
    );
    for batch in &found {
        for k in 0..batch.truths.len() {
            let sample = set.sample(batch.first + k).unwrap();
            assert_eq!(batch.input.index_axis(ndarray::Axis(0), k), sample.input);
            assert_eq!(batch.truths[k], sample.truth);
        }
    }
    let error = set.sample(10).unwrap_err();
    assert!(matches!(error, DataError::Index { index: 10, len: 10 }));
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let folder = class_folders();
    let card = card(
        "source = { path = \"set\", kind = \"images\" }\npreprocess = { channels = \"grey\", scale = \"1/255\" }\n\
         task = { kind = \"denoise\", sigma = 10 }",
    );
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let set = DataSet::open(&card, folder.path(), &options(None, 0)).unwrap();
        pool.install(|| batches(&set, 7))
    };
    assert_eq!(with_threads(1), with_threads(3));
}

#[test]
fn a_damaged_picture_stops_the_batches_with_its_name() {
    let folder = class_folders();
    let mut bytes = png(4, 3, 1);
    bytes.truncate(40);
    write(folder.path(), "set/bee/07.png", &bytes);
    let card = card("source = { path = \"set\" }");
    let set = DataSet::open(&card, folder.path(), &options(None, 0)).unwrap();
    let mut batches = set.batches(10);
    assert!(batches.by_ref().take(2).all(|b| b.is_ok()));
    let error = batches.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("bee/07.png"), "{error}");
    assert!(batches.next().is_none());
}

#[test]
fn a_picture_too_small_for_the_crop_is_an_error_with_its_name() {
    let folder = class_folders();
    let card = card(
        "source = { path = \"set\" }\npreprocess = { crop = { mode = \"central\", size = 9 } }",
    );
    let set = DataSet::open(&card, folder.path(), &options(None, 0)).unwrap();
    let error = set.sample(0).unwrap_err().to_string();
    assert!(
        error.contains("ant/00.png") && error.contains("9 x 9"),
        "{error}"
    );
}

#[test]
fn a_perfect_classifier_scores_a_hundred() {
    let folder = class_folders();
    let card = card("source = { path = \"set\" }");
    let set = DataSet::open(&card, folder.path(), &options(Some(33), 2)).unwrap();
    let mut scorer = Scorer::new(set.task());
    for batch in batches(&set, 8) {
        let output = ndarray::Array2::from_shape_fn((batch.truths.len(), 10), |(i, class)| {
            f32::from(u8::from(batch.truths[i] == Truth::Label(class)))
        });
        let output = output.into_dyn();
        scorer
            .add_batch(&batch, output.view(), Some(output.view()))
            .unwrap();
    }
    let scores = scorer.finish();
    assert_eq!((scores.images, scores.top1_percent), (33, Some(100.0)));
    let reference = scores.reference.unwrap();
    assert_eq!(
        (reference.agreement_percent, reference.mse),
        (Some(100.0), 0.0)
    );
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_refused_before_they_are_opened() {
    let folder = TempDir::new().unwrap();
    for name in ["a.npz", "a.zip", "a.tar", "a.txz"] {
        std::os::unix::fs::symlink("/dev/null", folder.path().join(name)).unwrap();
        let card = card(&format!("[source]\npath = \"{name}\""));
        let error = DataSet::open(&card, folder.path(), &options(None, 0)).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("regular file") && told.contains(name),
            "{told}"
        );
    }
}

#[test]
fn samples_have_the_names_of_their_pictures() {
    let folder = class_folders();
    let card = card("[source]\npath = \"set\"\nrows = \"odd\"");
    let set = DataSet::open(&card, folder.path(), &options(None, 0)).unwrap();
    assert_eq!(set.name(0).unwrap(), "ant/01.png");
    assert!(set.name(set.len()).is_err());
}
