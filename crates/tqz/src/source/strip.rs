//! What of a network goes into a file beside its layers: side values and large tensors out of the model, the rest as the graph.

use std::collections::BTreeMap;

use tqz_engine::Network;
use tqz_format::{RawTensor, TqzFile, Vector};
use tqz_onnx::model::{ModelProto, TensorProto};
use tqz_onnx::visit;

use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::side::{Role, code_side_values, roles};

/// Tensors of at least this many bytes that are kept as they are get a section of their own; smaller ones stay in the graph.
const RAW_BYTES: usize = 2048;

/// Moves every number that has its own place in the file out of the model and encodes what is left as the graph.
pub(super) fn strip(
    model: &mut ModelProto,
    network: &Network,
    layers: &[WeightLayer],
    names: &BTreeMap<String, usize>,
) -> Result<TqzFile, TqzError> {
    let roles = roles(network, names);
    let mut file = TqzFile::default();
    let mut failure = None;
    visit::tensors_mut(model, |site, tensor| {
        if layers.iter().any(|l| l.site == site.index) {
            clear(tensor);
            return;
        }
        let role = roles.get(&site.index).copied().unwrap_or(Role::Other);
        match side_record(site.index, tensor, role) {
            Ok(Some(Side::Vector(vector))) => {
                file.vectors.push(vector);
                clear(tensor);
            }
            Ok(Some(Side::Raw(raw))) => {
                file.raw.push(raw);
                clear(tensor);
            }
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    file.meta.weights = layers.iter().map(|l| l.weights() as u64).sum();
    file.graph = tqz_onnx::encode_model(model);
    Ok(file)
}

enum Side {
    Vector(Vector),
    Raw(RawTensor),
}

/// Where a tensor that is not a weight goes: quantized, verbatim in a section of its own, or left in the graph.
fn side_record(site: usize, tensor: &TensorProto, role: Role) -> Result<Option<Side>, TqzError> {
    if let Some(vector) = code_side_values(site, tensor, role)? {
        return Ok(Some(Side::Vector(vector)));
    }
    match &tensor.raw_data {
        Some(bytes) if bytes.len() >= RAW_BYTES => {
            let bits = tensor.element_type()?.bits().unwrap_or(8);
            Ok(Some(Side::Raw(RawTensor {
                site: site as u32,
                width: (bits / 8).clamp(1, 8) as u8,
                bytes: bytes.clone(),
            })))
        }
        _ => Ok(None),
    }
}

/// Removes a tensor's numbers; shape, type and name stay.
fn clear(tensor: &mut TensorProto) {
    tensor.raw_data = None;
    tensor.float_data.clear();
    tensor.double_data.clear();
    tensor.int32_data.clear();
    tensor.int64_data.clear();
    tensor.uint64_data.clear();
}
