//! Models from bytes and files, with their external data if wanted.

use std::path::Path;

use prost::Message;
use prost::bytes::{Buf, Bytes};

use crate::error::{OnnxError, in_file, io_error};
use crate::external;
use crate::model::ModelProto;
use crate::wire;

/// Largest model file read whole, in bytes: protobuf's own limit for one message, which is 2 GiB less
/// one byte. Larger models keep their weights in other files.
const LARGEST_MODEL: u64 = i32::MAX as u64;

/// Reads a model from the bytes of an ONNX file. Tensors whose data are in other files stay so.
///
/// # Errors
/// [`OnnxError::Malformed`] with field and byte if the bytes are no ONNX message, if a field number
/// above [`LAST_KEPT_FIELD`](crate::model::LAST_KEPT_FIELD) would be lost, or if the messages would take
/// far more memory than the bytes justify; [`OnnxError::Incomplete`] if there is no IR version,
/// graph or operator set, as in a file cut short between two fields.
pub fn decode_model(bytes: &[u8]) -> Result<ModelProto, OnnxError> {
    wire::scan_model(bytes)?;
    decode_scanned(bytes)
}

/// Decodes what [`wire::scan_model`] has passed.
fn decode_scanned(bytes: impl Buf) -> Result<ModelProto, OnnxError> {
    let length = bytes.remaining();
    let model = ModelProto::decode(bytes).map_err(|error| OnnxError::Malformed {
        place: "ModelProto".into(),
        offset: 0,
        length,
        reason: error.to_string(),
    })?;
    let missing = match &model {
        _ if length == 0 => Some("the file is empty"),
        model if model.ir_version.is_none_or(|version| version < 1) => {
            Some("no ir_version (legal are 1 and up): not an ONNX model, or damaged")
        }
        model if model.graph.is_none() => Some("no graph; the file may be cut short"),
        // Before IR 3 the operator set was version 1 without saying so.
        model if model.ir_version() >= 3 && model.opset_import.is_empty() => {
            Some("no opset_import; the file may be cut short")
        }
        _ => None,
    };
    missing.map_or(Ok(model), |reason| {
        Err(OnnxError::Incomplete { length, reason })
    })
}

/// Reads a model file and pulls all external data into its tensors (`raw_data`), so that the model
/// stands alone.
///
/// External data are only read from regular files in the model's own folder or below: no absolute
/// location, no `..`, no symbolic link that leads outside. Stored checksums are not verified.
///
/// # Errors
/// As [`decode_model`], with the file's name; [`OnnxError::Io`] if a file cannot be read;
/// [`OnnxError::External`] if external data are not where or as long as the tensor says.
pub fn read_model(path: &Path) -> Result<ModelProto, OnnxError> {
    let mut model = read_model_keep_external(path)?;
    external::pull_in(&mut model, folder_of(path)).map_err(in_file(path))?;
    Ok(model)
}

/// Reads a model file and leaves external data where they are.
///
/// # Errors
/// As [`decode_model`], with the file's name; [`OnnxError::Io`] if the file cannot be read.
pub fn read_model_keep_external(path: &Path) -> Result<ModelProto, OnnxError> {
    let read_error = || io_error(path, "read the model");
    let metadata = std::fs::metadata(path).map_err(read_error())?;
    if !metadata.is_file() {
        let no_file = std::io::Error::other("it is no regular file");
        return Err(read_error()(no_file));
    }
    if metadata.len() > LARGEST_MODEL {
        let reason = format!(
            "{} bytes; an ONNX file has at most {LARGEST_MODEL}",
            metadata.len()
        );
        return Err(read_error()(std::io::Error::other(reason)));
    }
    let bytes = std::fs::read(path).map_err(read_error())?;
    wire::scan_model(&bytes).map_err(in_file(path))?;
    // From `Bytes` prost copies a tensor's data once, from a slice twice.
    decode_scanned(Bytes::from(bytes)).map_err(in_file(path))
}

/// The folder a model's external data are relative to.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
