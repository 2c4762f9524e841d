//! The demo network calibrated on seeded noise, and layers of any size, for tests.

use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tqz_engine::EngineDevice;
use tqz_format::Layout;

use crate::config::{EncoderConfig, Metric, RateTarget};
use crate::encoder::{Budget, Job};
use crate::images::Images;
use crate::layout::WeightLayer;
use crate::progress::Silent;
use crate::source::Source;
use crate::statistics::Statistics;

const DEMO: &[u8] = include_bytes!("../../../../assets/demo.onnx");

/// The demo network.
pub(crate) fn demo() -> Source {
    let model = tqz_onnx::decode_model(DEMO).expect("the demo network is valid");
    Source::new(model, &EngineDevice::cpu()).expect("supported")
}

/// A dense layer of so many rows and columns.
pub(crate) fn dense(rows: usize, cols: usize) -> WeightLayer {
    WeightLayer {
        name: "fc".to_owned(),
        site: 0,
        dims: vec![rows, cols],
        layout: Layout::RowsFirst,
        rows,
        cols,
        period: 1,
        groups: 1,
        uses: vec![0],
        node: "fc".to_owned(),
        op: "Gemm",
    }
}

/// The demo network with all that a job of two bits a weight without dependent levels needs.
pub(crate) struct Calibrated {
    pub(crate) source: Source,
    pub(crate) images: Images,
    statistics: Statistics,
    config: EncoderConfig,
}

impl Calibrated {
    /// On so many images of noise.
    pub(crate) fn on_noise(count: usize) -> Self {
        let source = demo();
        let mut rng = Pcg64::seed_from_u64(6);
        let shape = IxDyn(&[count, 3, 32, 32]);
        let mut images = Images::new();
        images.add(&ArrayD::from_shape_simple_fn(shape, || rng.random::<f32>()));
        let statistics = images.calibrate(&source, (Metric::Auto, 1), &Silent);
        Self {
            statistics: statistics.expect("runs"),
            source,
            images,
            config: EncoderConfig::new(RateTarget::BitsPerWeight(2.0)).with_dependent(false),
        }
    }

    pub(crate) fn job(&self) -> Job<'_> {
        Job {
            source: &self.source,
            statistics: &self.statistics,
            config: &self.config,
            budget: Budget::default(),
            image: None,
            progress: &Silent,
        }
    }
}
