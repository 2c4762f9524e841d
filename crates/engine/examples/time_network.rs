//! Prints how long a network takes: forward, and forward with one backward pass that taps every
//! layer. Usage: `time_network MODEL.onnx [BATCH] [SIDE] [REPEATS]`.

use std::path::Path;
use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use tqz_engine::{Dim, EngineDevice, Network, TapRequest};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments
        .first()
        .ok_or("usage: time_network MODEL.onnx [BATCH] [SIDE] [REPEATS]")?;
    let number = |index: usize, default: usize| -> Result<usize, std::num::ParseIntError> {
        arguments
            .get(index)
            .map_or(Ok(default), |text| text.parse())
    };
    let (batch, side, repeats) = (number(1, 1)?, number(2, 64)?, number(3, 3)?);
    let started = Instant::now();
    let model = tqz_onnx::decode_model(&std::fs::read(Path::new(path))?)?;
    let network = Network::from_model(&model, &EngineDevice::cpu())?;
    let mut report = format!(
        "{path}: {} layers, loaded in {:.3} s\n",
        network.layers().len(),
        started.elapsed().as_secs_f64()
    );
    let mut inputs = Vec::new();
    for port in network.inputs() {
        let size = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => *size,
            Dim::Dynamic(_) if axis == 0 => batch,
            Dim::Dynamic(_) => side,
        };
        let dims: Vec<usize> = port.dims.iter().enumerate().map(size).collect();
        inputs.push(noise(&dims));
    }
    let every: Vec<usize> = (0..network.layers().len()).collect();
    let taps = TapRequest {
        inputs_of: every.clone(),
        output_grads_of: every,
    };
    for _ in 0..repeats {
        let started = Instant::now();
        let outputs = network.run(&inputs)?;
        let forward = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let ones =
            |outputs: &[ArrayD<f32>]| outputs.iter().map(|y| ArrayD::ones(y.raw_dim())).collect();
        network.forward_backward(&inputs, &taps, &ones)?;
        let both = started.elapsed().as_secs_f64();
        report += &format!(
            "batch {batch}: forward {forward:.4} s, forward and backward with all taps {both:.4} s, mean output {:.6}\n",
            outputs[0].mean().unwrap_or(0.0)
        );
    }
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes())?;
    Ok(())
}

/// Numbers in -1..1 from a linear congruential generator.
fn noise(dims: &[usize]) -> ArrayD<f32> {
    let mut state = 1u64;
    ArrayD::from_shape_simple_fn(IxDyn(dims), || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}
