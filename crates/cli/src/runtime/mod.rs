//! Runtimes that networks are run in: the program's own engine, and ONNX Runtime where the program was built for it.

mod engine;
#[cfg(feature = "ort")]
mod onnx_runtime;

use std::path::PathBuf;

use clap::ValueEnum;
use ndarray::ArrayD;
use serde::Serialize;
use tqz_engine::{EngineDevice, Network, Port};
use tqz_onnx::model::ModelProto;

use crate::output::Usage;

/// A network loaded into a runtime.
pub(crate) trait Runner {
    /// Runs it once; outputs with their names, in the model's order.
    fn run(&mut self, inputs: &[ArrayD<f32>]) -> anyhow::Result<Vec<(String, ArrayD<f32>)>>;
}

/// Runtimes by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RuntimeName {
    /// The program's own: every operator it can compress, no integer arithmetic
    Engine,
    /// ONNX Runtime in process: needs a build with --features ort, and its library
    Ort,
}

/// Which runtime, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RuntimeArgs {
    /// What runs the networks (default: ort where its library is given, else engine)
    #[arg(long, value_enum)]
    runtime: Option<RuntimeName>,
    /// ONNX Runtime's library, as in libonnxruntime.so (default: the environment's ORT_DYLIB_PATH)
    #[arg(long, value_name = "LIBRARY")]
    ort_library: Option<PathBuf>,
}

impl RuntimeArgs {
    /// The runtime to use.
    ///
    /// # Errors
    /// One that this program was not built for, or whose library is not given.
    pub(crate) fn chosen(&self) -> anyhow::Result<RuntimeName> {
        let library = self.library();
        let chosen = match (self.runtime, &library) {
            (Some(runtime), _) => runtime,
            (None, Some(_)) if cfg!(feature = "ort") => RuntimeName::Ort,
            _ => RuntimeName::Engine,
        };
        if chosen == RuntimeName::Ort {
            if !cfg!(feature = "ort") {
                let told =
                    "this program was built without ONNX Runtime: build it with --features ort";
                return Err(Usage::new(told).into());
            }
            if library.is_none() {
                let told = "ONNX Runtime's library is needed: give --ort-library PATH or set ORT_DYLIB_PATH";
                return Err(Usage::new(told).into());
            }
        }
        Ok(chosen)
    }

    fn library(&self) -> Option<PathBuf> {
        let given = self.ort_library.clone();
        given.or_else(|| std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from))
    }

    /// Loads a model into the chosen runtime, to be run by so many threads.
    ///
    /// # Errors
    /// A model that the runtime refuses.
    pub(crate) fn load(
        &self,
        model: &ModelProto,
        (device, threads): (&EngineDevice, usize),
    ) -> anyhow::Result<Box<dyn Runner>> {
        match self.chosen()? {
            RuntimeName::Engine => {
                let network = Network::from_model(model, device)?;
                Ok(Box::new(engine::Engine::new(network, threads)?))
            }
            #[cfg(feature = "ort")]
            RuntimeName::Ort => {
                let library = self.library().unwrap_or_default();
                let bytes = tqz_onnx::encode_model(model);
                Ok(Box::new(onnx_runtime::Loaded::new(
                    &library, &bytes, threads,
                )?))
            }
            #[cfg(not(feature = "ort"))]
            RuntimeName::Ort => {
                Err(Usage::new("this program was built without ONNX Runtime").into())
            }
        }
    }
}

/// The shape of an input with a batch of so many; other free extents become `extent`.
pub(crate) fn input_shape(port: &Port, batch: usize, extent: usize) -> Vec<usize> {
    use tqz_engine::Dim;
    let of = |(axis, dim): (usize, &Dim)| match (axis, dim) {
        (_, Dim::Fixed(size)) => *size,
        (0, Dim::Dynamic(_)) => batch,
        (_, Dim::Dynamic(_)) => extent,
    };
    port.dims.iter().enumerate().map(of).collect()
}
