//! The .tqz file: bytes to levels to weights and back. Everything a decoder needs and nothing about
//! networks; docs/format.md is the exact description.

mod dependent;
pub mod dequantize;
pub mod entropy;
mod error;
mod header;
mod layer_code;
mod level_matrix;
pub mod limits;
mod matrix_code;
mod raw_code;
mod reader;
mod record;
mod scale_code;
mod synthesis;
mod vector_code;
mod writer;

pub use dependent::TrellisState;
pub use entropy::{
    BitIo, CandidateCosts, ColumnPath, Counter, KnownRow, LevelContext, LevelModel, MatrixSpec,
};
pub use error::FormatError;
pub use header::{Directory, SIGNATURE, SectionEntry, SectionKind};
pub use layer_code::{LayerBits, count_layer};
pub use level_matrix::{LevelMatrix, Packing, ScaleVector, StepScale};
pub use limits::DecodeLimits;
pub use matrix_code::count_matrix;
pub use record::{
    Block, BlockCoding, LayerRecord, Layout, MatrixShape, Meta, RawTensor, TqzFile, Vector,
};
pub use writer::{LayerSize, SizeReport};

/// Property tests draw the same cases every time.
#[cfg(test)]
fn seeded(cases: u32) -> proptest::prelude::ProptestConfig {
    use proptest::test_runner::RngSeed;
    let rng_seed = RngSeed::Fixed(0x7471_7a31);
    proptest::prelude::ProptestConfig {
        cases,
        rng_seed,
        failure_persistence: None,
        ..Default::default()
    }
}
