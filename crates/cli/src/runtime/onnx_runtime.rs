//! ONNX Runtime in this process, from a library that the user names.

use std::path::Path;

use anyhow::{Context, anyhow};
use ndarray::{ArrayD, IxDyn};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;

use super::Runner;

/// A loaded network.
pub(super) struct Loaded {
    session: Session,
}

impl Loaded {
    /// # Errors
    /// No such library, or a model that it refuses.
    pub(super) fn new(library: &Path, model: &[u8], threads: usize) -> anyhow::Result<Self> {
        let told = || format!("cannot load ONNX Runtime from {}", library.display());
        if !library.is_file() {
            return Err(anyhow!("there is no such file")).with_context(told);
        }
        // Later calls find the library loaded already.
        let _ = ort::init_from(library).map_err(plain).with_context(told)?.commit();
        let session = Session::builder()
            .map_err(plain)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(plain)?
            .with_intra_threads(threads)
            .map_err(plain)?
            .with_inter_threads(1)
            .map_err(plain)?
            .commit_from_memory(model)
            .map_err(plain)
            .context("ONNX Runtime refuses the network")?;
        Ok(Self { session })
    }
}

/// The library's errors may hold what cannot be sent between threads.
fn plain(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

impl Runner for Loaded {
    fn run(&mut self, inputs: &[ArrayD<f32>]) -> anyhow::Result<Vec<(String, ArrayD<f32>)>> {
        let mut values: Vec<SessionInputValue<'_>> = Vec::new();
        for input in inputs {
            let data: Vec<f32> = input.iter().copied().collect();
            let tensor = Tensor::from_array((input.shape().to_vec(), data)).map_err(plain)?;
            values.push(tensor.into());
        }
        let outputs = self.session.run(&values[..]).map_err(plain)?;
        let mut named = Vec::new();
        for (name, value) in &outputs {
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(plain)?;
            let dims: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
            named.push((name.to_owned(), ArrayD::from_shape_vec(IxDyn(&dims), data.to_vec())?));
        }
        Ok(named)
    }
}
