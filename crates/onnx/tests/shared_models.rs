//! The real networks in ../shared: written byte for byte as read, every tensor readable.

use std::path::{Path, PathBuf};

use tqz_onnx::model::DataType;
use tqz_onnx::{ExternalData, WriteOptions, decode_model, encode_model, read_model, visit};

fn models() -> Vec<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("TQZ_SHARED")
        .map_or(default, PathBuf::from)
        .join("models");
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut models: Vec<_> = entries
        .map(|entry| entry.expect("entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
        })
        .collect();
    assert!(
        models.len() >= 11,
        "{} models in {}",
        models.len(),
        folder.display()
    );
    models.sort();
    models
}

#[test]
#[ignore = "needs shared/"]
fn shared_models_are_written_byte_for_byte_as_read() {
    for path in models() {
        let bytes = std::fs::read(&path).expect("readable");
        let model = decode_model(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(encode_model(&model) == bytes, "{}", path.display());
    }
}

#[test]
#[ignore = "needs shared/"]
fn shared_models_give_and_take_all_their_numbers() {
    for path in models() {
        let mut model = read_model(&path).expect("readable");
        let mut weights = 0;
        visit::tensors_mut(&mut model, |site, tensor| {
            let at = format!("{}: {}", path.display(), site.place);
            let kind = tensor.element_type().expect(&at);
            let values = tensor.to_f32().expect(&at);
            assert!(values.iter().all(|value| value.is_finite()), "{at}");
            if kind == DataType::Float {
                weights += values.len();
                let before = tensor.raw_bytes().expect(&at).into_owned();
                tensor.set_f32(&values).expect(&at);
                assert!(tensor.raw_bytes().expect(&at)[..] == before[..], "{at}");
            }
        });
        assert!(weights > 100_000, "{}: {weights} weights", path.display());
    }
}

#[test]
#[ignore = "needs shared/"]
fn shared_models_survive_every_kind_of_cut() {
    let path = models()
        .into_iter()
        .min_by_key(|path| path.metadata().expect("there").len());
    let bytes = std::fs::read(path.expect("eleven")).expect("readable");
    let whole = decode_model(&bytes).expect("valid");
    for step in 0..2000 {
        let length = bytes.len() * step / 2000;
        // What still decodes lacks only whole fields behind the graph.
        if let Ok(cut) = decode_model(&bytes[..length]) {
            assert_eq!(cut.graph, whole.graph, "{length}");
        }
    }
}

#[test]
#[ignore = "needs shared/"]
fn shared_models_keep_their_numbers_in_a_data_file() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("split.onnx");
    let options = WriteOptions {
        external: ExternalData::Always,
        ..WriteOptions::default()
    };
    for source in models() {
        let model = read_model(&source).expect("readable");
        tqz_onnx::write_model_with(&path, &model, &options).expect("writable");
        let again = read_model(&path).expect("readable");
        let numbers = |model| {
            let mut all = Vec::new();
            visit::tensors(model, |_site, tensor| {
                all.push(tensor.to_f32().expect("numbers"))
            });
            all
        };
        assert!(numbers(&again) == numbers(&model), "{}", source.display());
        assert!(
            path.metadata().expect("there").len() < 300_000,
            "{}",
            source.display()
        );
    }
}
