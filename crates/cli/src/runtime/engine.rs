//! The program's own engine with a given number of threads.

use ndarray::ArrayD;
use tqz_engine::Network;

use super::Runner;

/// A network and the threads that run it.
pub(super) struct Engine {
    network: Network,
    pool: rayon::ThreadPool,
    names: Vec<String>,
}

impl Engine {
    /// # Errors
    /// Threads that cannot be started.
    pub(super) fn new(network: Network, threads: usize) -> anyhow::Result<Self> {
        let names = network.outputs().iter().map(|port| port.name.clone());
        Ok(Self {
            names: names.collect(),
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()?,
            network,
        })
    }
}

impl Runner for Engine {
    fn run(&mut self, inputs: &[ArrayD<f32>]) -> anyhow::Result<Vec<(String, ArrayD<f32>)>> {
        let threads = self.pool.current_num_threads();
        let outputs = self.pool.install(|| match inputs {
            // One input: the batch is cut between the threads.
            [batch] if batch.ndim() > 0 => {
                let shard = batch.shape()[0].div_ceil(threads).max(1);
                self.network.run_batch(batch, shard)
            }
            _ => self.network.run(inputs),
        })?;
        Ok(self.names.iter().cloned().zip(outputs).collect())
    }
}
