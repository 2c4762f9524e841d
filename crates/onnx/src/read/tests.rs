//! What is no whole model is refused, whatever happened to it.

use super::*;
use crate::model::{DataType, TensorProto};
use crate::test_support::{Noise, small_model};
use crate::{encode_model, visit};

#[test]
fn a_model_comes_back_equal() {
    let model = small_model();
    let bytes = encode_model(&model);
    assert_eq!(decode_model(&bytes).expect("valid"), model);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = encode_model(&small_model());
    for length in 0..bytes.len() {
        let error = decode_model(&bytes[..length]).expect_err("cut short");
        let message = error.to_string();
        assert!(message.contains(&length.to_string()), "{length}: {message}");
    }
}

/// Whatever still decodes must be written and read again without change, and reading its numbers
/// must give values or an error.
fn decode_and_use(bytes: &[u8]) -> bool {
    let Ok(model) = decode_model(bytes) else {
        return false;
    };
    let again = decode_model(&encode_model(&model)).expect("our own bytes");
    assert_eq!(encode_model(&again), encode_model(&model));
    visit::tensors(&model, |_site, tensor| {
        let values = tensor.to_f32().map(|values| values.len());
        assert!(values.is_err() || values.ok() == tensor.element_count().ok());
        let _ = (tensor.to_i64(), tensor.to_f64(), tensor.to_bool());
    });
    true
}

#[test]
fn every_flipped_bit_gives_an_error_or_another_model() {
    let bytes = encode_model(&small_model());
    let mut accepted = 0usize;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        accepted += usize::from(decode_and_use(&damaged));
    }
    // Both happen: names and numbers may change, keys and lengths may not.
    assert!((1..bytes.len() * 8).contains(&accepted), "{accepted}");
}

#[test]
fn random_damage_never_panics() {
    let bytes = encode_model(&small_model());
    let mut noise = Noise(7);
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=noise.below(4) {
            let at = noise.below(damaged.len());
            match noise.below(3) {
                0 => damaged[at] = noise.below(256) as u8,
                1 => {
                    let end = (at + 1 + noise.below(8)).min(damaged.len());
                    damaged.drain(at..end);
                }
                _ => damaged.insert(at, noise.below(256) as u8),
            }
        }
        decode_and_use(&damaged);
    }
    for length in 0..2000 {
        let garbage: Vec<u8> = (0..length % 90).map(|_| noise.below(256) as u8).collect();
        decode_and_use(&garbage);
    }
}

#[test]
fn what_every_model_has_must_be_there() {
    let reason = |change: fn(&mut ModelProto)| {
        let mut model = small_model();
        change(&mut model);
        decode_model(&encode_model(&model)).map_err(|error| error.to_string())
    };
    assert!(reason(|model| model.graph = None).is_err_and(|e| e.contains("no graph")));
    assert!(reason(|model| model.ir_version = None).is_err_and(|e| e.contains("no ir_version")));
    let no_opset = |model: &mut ModelProto| model.opset_import.clear();
    assert!(reason(no_opset).is_err_and(|e| e.contains("no opset_import")));
    let old = reason(|model| (model.opset_import, model.ir_version) = (Vec::new(), Some(2)));
    old.expect("before IR 3 the operator set is implied");
    assert!(decode_model(&[]).is_err_and(|e| e.to_string().contains("empty")));
}

#[test]
fn files_that_are_no_models_are_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("page.onnx");
    std::fs::write(&path, "<!DOCTYPE html><html></html>").expect("written");
    let message = read_model(&path).expect_err("no model").to_string();
    assert!(
        message.contains("page.onnx") && message.contains("at byte 0"),
        "{message}"
    );
    let message = read_model(&folder.path().join("none.onnx"))
        .expect_err("missing")
        .to_string();
    assert!(
        message.contains("none.onnx: cannot read the model"),
        "{message}"
    );
    let message = read_model(folder.path()).expect_err("a folder").to_string();
    assert!(message.contains("no regular file"), "{message}");
}

#[test]
fn a_claim_of_many_elements_allocates_nothing() {
    let tensor = TensorProto {
        dims: vec![1 << 31, 1 << 20],
        data_type: Some(DataType::Float as i32),
        raw_data: Some(vec![0; 16]),
        ..TensorProto::default()
    };
    assert!(
        tensor
            .to_f32()
            .is_err_and(|e| e.to_string().contains("need 9007199254740992"))
    );
}
