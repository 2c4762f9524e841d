//! External data are read only where and as they should be.

use super::*;
use crate::model::{DataLocation, DataType, GraphProto, StringStringEntryProto};
use crate::test_support::small_model;
use crate::{encode_model, read_model};

/// A float tensor of 4 elements whose data are elsewhere.
fn external(entries: &[(&str, &str)]) -> TensorProto {
    let entries = entries.iter().map(|&(key, value)| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
        ..StringStringEntryProto::default()
    });
    TensorProto {
        name: Some("w".into()),
        dims: vec![4],
        data_type: Some(DataType::Float as i32),
        data_location: Some(DataLocation::External as i32),
        external_data: entries.collect(),
        ..TensorProto::default()
    }
}

/// A folder `models` with `w.bin` (20 bytes: 0 to 19), and `secret.bin` beside the folder.
fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("temporary folder");
    std::fs::create_dir(root.path().join("models")).expect("made");
    let bytes: Vec<u8> = (0..20).collect();
    std::fs::write(root.path().join("models/w.bin"), &bytes).expect("written");
    std::fs::write(root.path().join("secret.bin"), &bytes).expect("written");
    root
}

/// Reads a model with these tensors from the folder `models`.
fn read(root: &Path, tensors: Vec<TensorProto>) -> Result<ModelProto, String> {
    let graph = GraphProto {
        initializer: tensors,
        ..GraphProto::default()
    };
    let model = ModelProto {
        graph: Some(graph),
        ..small_model()
    };
    let path = root.join("models/m.onnx");
    std::fs::write(&path, encode_model(&model)).expect("written");
    read_model(&path).map_err(|error| error.to_string())
}

fn refusal(root: &Path, entries: &[(&str, &str)]) -> String {
    let message = read(root, vec![external(entries)]).expect_err("refused");
    assert!(
        message.contains("m.onnx") && message.contains("\"w\""),
        "{message}"
    );
    message
}

#[test]
fn data_come_from_offset_with_the_length_of_the_dims() {
    let root = folder();
    for entries in [
        &[("location", "w.bin"), ("offset", "4"), ("length", "16")][..],
        &[("location", "./w.bin"), ("offset", "4")],
        &[
            ("checksum", "unread"),
            ("offset", "4"),
            ("location", "w.bin"),
        ],
    ] {
        let model = read(root.path(), vec![external(entries)]).expect("legal");
        let tensor = &model.graph.expect("graph").initializer[0];
        let bytes: Vec<u8> = (4..20).collect();
        assert_eq!(tensor.raw_data.as_deref(), Some(&bytes[..]));
        assert!(!tensor.is_external() && tensor.external_data.is_empty());
    }
}

#[test]
fn locations_outside_the_folder_are_refused() {
    let root = folder();
    let outside = root.path().join("secret.bin");
    let at = |location: &str| refusal(root.path(), &[("location", location)]);
    assert!(at("../secret.bin").contains("`..`"));
    assert!(at("x/../../secret.bin").contains("`..`"));
    assert!(at(outside.to_str().expect("UTF-8")).contains("absolute"));
    assert!(at("..\\secret.bin").contains("backslash"));
    assert!(at("C:secret.bin").contains("drive"));
    assert!(at("").contains("no location"));
    assert!(at(".").contains("no regular file"));
    assert!(at("none.bin").contains("none.bin"));
    assert!(refusal(root.path(), &[]).contains("no location"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_only_inside_the_folder() {
    use std::os::unix::fs::symlink;
    let root = folder();
    let models = root.path().join("models");
    symlink("w.bin", models.join("inside")).expect("link");
    symlink("../secret.bin", models.join("outside")).expect("link");
    symlink("..", models.join("up")).expect("link");
    let legal = read(root.path(), vec![external(&[("location", "inside")])]);
    legal.expect("a link within the folder");
    let at = |location: &str| refusal(root.path(), &[("location", location)]);
    assert!(at("outside").contains("leads out"));
    assert!(at("up/secret.bin").contains("leads out"));
}

#[test]
fn extents_must_lie_in_the_file() {
    let root = folder();
    let at = |offset: &str, length: &str| {
        refusal(
            root.path(),
            &[
                ("location", "w.bin"),
                ("offset", offset),
                ("length", length),
            ],
        )
    };
    assert!(at("5", "16").contains("5 to 5 + 16 of a file that has 20"));
    assert!(at("18446744073709551615", "16").contains("of a file that has 20"));
    assert!(at("0", "12").contains("length is 12") && at("0", "12").contains("need 16"));
    assert!(at("-1", "16").contains("offset is \"-1\""));
    assert!(at("0", "many").contains("length is \"many\""));
    let mut huge = external(&[("location", "w.bin")]);
    huge.dims = vec![1 << 50];
    let message = read(root.path(), vec![huge]).expect_err("refused");
    assert!(message.contains("of a file that has 20"), "{message}");
}

#[test]
fn shared_weights_are_legal_and_floods_are_not() {
    let root = folder();
    let tensor = external(&[("location", "w.bin")]);
    read(root.path(), vec![tensor.clone(); 5]).expect("five of 16 bytes are four times 20");
    let message = read(root.path(), vec![tensor; 6]).expect_err("refused");
    assert!(
        message.contains("96 bytes from files that hold 20"),
        "{message}"
    );
}
