//! Reads an ONNX file and writes it again, for `tools/check_onnx_roundtrip.py` to compare the two.
//!
//! `roundtrip keep|inline|split IN OUT`: external data stay where they are, are pulled into the model,
//! or are all (of any size) written to `OUT.data`.

use std::path::Path;
use std::process::ExitCode;

use tqz_onnx::{
    ExternalData, OnnxError, WriteOptions, read_model, read_model_keep_external, write_model,
    write_model_with,
};

fn round_trip(mode: &str, from: &Path, to: &Path) -> Result<(), OnnxError> {
    match mode {
        "keep" => write_model(to, &read_model_keep_external(from)?),
        "inline" => write_model(to, &read_model(from)?),
        _ => {
            let options = WriteOptions {
                external: ExternalData::Always,
                external_from_bytes: 0,
                ..WriteOptions::default()
            };
            write_model_with(to, &read_model(from)?, &options)
        }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "a program says on stderr what went wrong"
)]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let mode = arguments.first().and_then(|mode| mode.to_str());
    let (Some(mode @ ("keep" | "inline" | "split")), [_, from, to]) = (mode, &arguments[..]) else {
        eprintln!("usage: roundtrip keep|inline|split IN OUT");
        return ExitCode::from(2);
    };
    match round_trip(mode, Path::new(from), Path::new(to)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
