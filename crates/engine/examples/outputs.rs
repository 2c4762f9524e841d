//! Runs a network of one input once and writes its outputs: the engine's side of `tools/check_engine.py`.
//!
//! `outputs MODEL.onnx DIMS INPUT OUTPUT`: DIMS such as `1,3,32,32`; INPUT and OUTPUT hold f32, little-endian, row-major, the
//! outputs one after the other. Prints a line per output: its name and dims.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use tqz_engine::{EngineDevice, Network};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, dims, input, output] = arguments.as_slice() else {
        return Err("usage: outputs MODEL.onnx DIMS INPUT OUTPUT".into());
    };
    let dims = dims
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<usize>, _>>()?;
    let numbers = std::fs::read(input)?
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let input = ArrayD::from_shape_vec(IxDyn(&dims), numbers)?;
    let model = tqz_onnx::read_model(Path::new(model))?;
    let network = Network::from_model(&model, &EngineDevice::cpu())?;
    let mut bytes = Vec::new();
    for (port, values) in network.outputs().iter().zip(network.run(&[input])?) {
        let dims: Vec<String> = values.shape().iter().map(ToString::to_string).collect();
        println!("{}\t{}", port.name, dims.join(","));
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    std::fs::write(output, bytes)?;
    Ok(())
}
