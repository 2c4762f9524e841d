//! Files appear whole, models come back equal, and weights beside the model are found again.

use super::*;
use crate::test_support::small_model;
use crate::{read_model, read_model_keep_external};

fn split_all() -> WriteOptions {
    WriteOptions {
        external: ExternalData::Always,
        external_from_bytes: 0,
        ..WriteOptions::default()
    }
}

/// The numbers of every tensor, in order.
fn numbers(model: &ModelProto) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    visit::tensors(model, |_site, tensor| {
        all.push(tensor.raw_bytes().expect("whole").into_owned());
    });
    all
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_written_model_is_one_file_and_reads_back_equal() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, "something older").expect("written");
    write_model(&path, &small_model()).expect("writable");
    assert_eq!(read_model(&path).expect("readable"), small_model());
    assert_eq!(names_in(folder.path()), ["m.onnx"]);
}

#[test]
fn split_models_come_back_with_the_same_numbers() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    let mut model = small_model();
    // One tensor large enough to be aligned to a page.
    let large = TensorProto::from_f32("large", &[1 << 18], &vec![0.5; 1 << 18]).expect("fits");
    model.graph.as_mut().expect("graph").initializer.push(large);
    write_model_with(&path, &model, &split_all()).expect("writable");
    assert_eq!(names_in(folder.path()), ["m.onnx", "m.onnx.data"]);
    let inline = read_model(&path).expect("readable");
    assert_eq!(numbers(&inline), numbers(&model));
    let kept = read_model_keep_external(&path).expect("readable");
    visit::tensors(&kept, |site, tensor| {
        assert!(
            tensor.is_external() && tensor.raw_data.is_none(),
            "{}",
            site.place
        );
        let offset: u64 = tensor.external_data[1].value().parse().expect("a number");
        let alignment = if tensor.name() == "large" {
            PAGE
        } else {
            CACHE_LINE
        };
        assert_eq!(offset % alignment, 0, "{}", site.place);
    });
    // What is kept external is written as it is, and still finds its data.
    let second = folder.path().join("second.onnx");
    write_model(&second, &kept).expect("writable");
    assert_eq!(
        numbers(&read_model(&second).expect("readable")),
        numbers(&model)
    );
}

#[test]
fn models_too_large_for_one_file_are_split_or_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    let mut model = small_model();
    let large = TensorProto::from_f32("large", &[1000], &[0.5; 1000]).expect("fits");
    model.graph.as_mut().expect("graph").initializer.push(large);
    let write = |external, limit| {
        let options = WriteOptions {
            external,
            ..WriteOptions::default()
        };
        write_within(limit, &path, &model, &options).map_err(|error| error.to_string())
    };
    let refused = write(ExternalData::Never, 4000);
    assert!(refused.is_err_and(|e| e.contains("at most 4000") && e.contains("data file")));
    let refused = write(ExternalData::Automatic, 100);
    assert!(refused.is_err_and(|e| e.contains("even with the weights")));
    assert_eq!(names_in(folder.path()), [""; 0]);
    write(ExternalData::Automatic, 4000).expect("splits");
    assert_eq!(names_in(folder.path()), ["m.onnx", "m.onnx.data"]);
    assert_eq!(
        numbers(&read_model(&path).expect("readable")),
        numbers(&model)
    );
    write(ExternalData::Automatic, 8000).expect("fits in one file");
    assert_eq!(read_model(&path).expect("readable"), model);
}

#[test]
fn a_file_that_is_to_stay_is_kept_whole() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, b"another's").expect("writable");
    for external in [ExternalData::Never, ExternalData::Always] {
        let options = WriteOptions {
            external,
            existing: Existing::Keep,
            ..split_all()
        };
        let error = write_model_with(&path, &small_model(), &options).expect_err("taken");
        assert!(error.to_string().contains("m.onnx"), "{error}");
        assert_eq!(std::fs::read(&path).expect("still there"), b"another's");
    }
    assert_eq!(names_in(folder.path()), ["m.onnx"]);
}

#[test]
fn small_tensors_stay_inline() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    let options = WriteOptions {
        external_from_bytes: 1 << 20,
        data_location: Some("weights.bin".into()),
        ..split_all()
    };
    write_model_with(&path, &small_model(), &options).expect("writable");
    assert_eq!(
        read_model_keep_external(&path).expect("readable"),
        small_model()
    );
}

#[test]
fn unsafe_or_taken_data_locations_are_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("m.onnx");
    let refused = |location: &str, model: &ModelProto| {
        let data_location = Some(location.to_string());
        let options = WriteOptions {
            data_location,
            ..split_all()
        };
        let error = write_model_with(&path, model, &options).expect_err(location);
        error.to_string()
    };
    let model = small_model();
    assert!(refused("../w.bin", &model).contains("`..`"));
    assert!(refused("/tmp/w.bin", &model).contains("absolute"));
    assert!(refused("m.onnx", &model).contains("own name"));
    assert!(refused("missing/w.bin", &model).contains("temporary file"));
    assert_eq!(names_in(folder.path()), [""; 0]);
    write_model_with(&path, &model, &split_all()).expect("writable");
    let kept = read_model_keep_external(&path).expect("readable");
    assert!(refused("m.onnx.data", &kept).contains("keeps its data"));
    assert_eq!(
        numbers(&read_model(&path).expect("unharmed")),
        numbers(&model)
    );
}

#[cfg(unix)]
#[test]
fn written_files_have_the_rights_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("temporary folder");
    let mode = |name: &str| {
        let metadata = std::fs::metadata(folder.path().join(name)).expect("there");
        metadata.permissions().mode()
    };
    std::fs::write(folder.path().join("plain"), "").expect("written");
    write_model(&folder.path().join("m.onnx"), &small_model()).expect("writable");
    assert_eq!(mode("m.onnx"), mode("plain"));
}
