//! Statistics → transform: the bases in which a layer's weights are quantized (theory: paper §3, Theorems 1–3).

mod column;

pub(crate) use column::{ColumnBasis, column_basis};
