//! ONNX Runtime in this process, from a library that the user names.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, anyhow};
use ndarray::{ArrayD, IxDyn};
use ort::environment::Environment;
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
        let session = Session::builder(environment(library)?)
            .map_err(plain)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(plain)?
            .with_intra_threads(threads)
            .map_err(plain)?
            .with_inter_threads(1)
            .map_err(plain)?
            // Threads that went on waiting for work after a run would take time from whichever network is measured next.
            .with_config_entry("session.force_spinning_stop", "1")
            .map_err(plain)?
            .commit_from_memory(model)
            .map_err(plain)
            .context("ONNX Runtime refuses the network")?;
        Ok(Self { session })
    }
}

/// The library's environment, of which a process has one: the first library named is the one for all.
fn environment(library: &Path) -> anyhow::Result<&'static Environment> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    let load = || {
        if !library.is_file() {
            return Err("there is no such file".to_owned());
        }
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        builder.build().map_err(|error| error.to_string())
    };
    let loaded = ENVIRONMENT.get_or_init(load).as_ref();
    loaded.map_err(|error| {
        anyhow!(
            "cannot load ONNX Runtime from {}: {error}",
            library.display()
        )
    })
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
            named.push((
                name.to_owned(),
                ArrayD::from_shape_vec(IxDyn(&dims), data.to_vec())?,
            ));
        }
        Ok(named)
    }
}
