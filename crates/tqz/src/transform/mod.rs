//! Statistics → transform: the bases in which a layer's weights are quantized (theory: paper §3, Theorems 1–3).

mod column;
mod dual;
mod subject;
#[cfg(test)]
mod theorems;

pub(crate) use column::{ColumnBasis, column_basis};
pub(crate) use dual::{CodingGain, Cosine, Covariances, Dual, cosine, quadratic_diagonal};
pub(crate) use subject::{SINGULAR, Subject, Transform, analysed, by_component, column_of};
