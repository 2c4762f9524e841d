//! Side values: biases and normalisation vectors, stored with 16 significant bits or better unless fewer were measured to be worth it.

use std::collections::BTreeMap;

use tqz_engine::Network;
use tqz_format::Vector;
use tqz_onnx::model::tensor_proto::DataType;
use tqz_onnx::model::{ModelProto, TensorProto};

use crate::error::TqzError;

/// What a tensor that is not a weight is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Added to a layer's output.
    Bias,
    /// A parameter of a normalisation.
    Normalisation,
    /// Anything else: kept exactly.
    Other,
}

/// Significant bits of the largest value of a vector where nothing was measured.
pub(crate) const PEAK_BITS: i32 = 16;
/// So many fewer has a vector's root mean square at least, where single values stand out.
const RMS_LESS: i32 = 3;
/// Levels the format can hold.
const MAX_LEVEL: f64 = (1_u32 << 24) as f64;

/// How often the main graph's nodes take each value; one that is copied counts twice, since whatever takes the copy takes it, too.
pub(crate) fn uses(model: &ModelProto) -> BTreeMap<String, usize> {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        let each = if node.op_type() == "Identity" { 2 } else { 1 };
        for name in &node.input {
            *uses.entry(name.clone()).or_default() += each;
        }
    }
    uses
}

/// What the named tensors of the graph are for.
pub(crate) fn roles(network: &Network, names: &BTreeMap<String, usize>) -> BTreeMap<usize, Role> {
    let norms = network.batch_norms().iter();
    let of_norms = norms.flat_map(|n| [&n.scale, &n.bias, &n.mean, &n.var]);
    let of_layers = network.layers().iter().filter_map(|l| l.bias.as_ref());
    of_norms
        .map(|name| (name, Role::Normalisation))
        .chain(of_layers.map(|name| (name, Role::Bias)))
        .filter_map(|(name, role)| Some((*names.get(name)?, role)))
        .collect()
}

/// A side tensor in quantized form; nothing for those that must stay exact.
///
/// # Errors
/// Tensors that cannot be read.
pub(crate) fn code_side_values(
    site: usize,
    tensor: &TensorProto,
    role: Role,
) -> Result<Option<Vector>, TqzError> {
    let single = matches!(
        tensor.element_type()?,
        DataType::Float | DataType::Float16 | DataType::Bfloat16
    );
    if role == Role::Other || !single {
        return Ok(None);
    }
    let values = tensor.to_f32()?;
    Ok(
        quantize_vector(&values, PEAK_BITS).map(|(log2_step, levels)| Vector {
            site: site as u32,
            log2_step,
            levels,
        }),
    )
}

/// Levels and step of a vector whose largest value gets so many significant bits; nothing if its range is too wide for them.
pub(crate) fn quantize_vector(values: &[f32], peak_bits: i32) -> Option<(i32, Vec<i32>)> {
    if values.is_empty() || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let peak = values
        .iter()
        .fold(0.0_f64, |m, v| m.max(f64::from(v.abs())));
    if peak == 0.0 {
        return Some((0, vec![0; values.len()]));
    }
    let power = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
    let exponent = |v: f64| v.log2().floor() as i32;
    let log2_step = (exponent(peak) + 1 - peak_bits)
        .min(exponent(power.sqrt()) + 1 + RMS_LESS - peak_bits)
        .clamp(-140, 120);
    let step = f64::from(log2_step).exp2();
    let levels: Vec<f64> = values
        .iter()
        .map(|v| (f64::from(*v) / step).round())
        .collect();
    let constant = values.iter().all(|v| *v == values[0]);
    if constant && values[0].log2().fract() == 0.0 && values[0] > 0.0 {
        return Some((exponent(peak), vec![1; values.len()]));
    }
    let fits = levels.iter().all(|l| l.abs() <= MAX_LEVEL);
    fits.then(|| (log2_step, levels.iter().map(|l| *l as i32).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_keeps_sixteen_bits() {
        let values = [0.7_f32, -0.31, 0.002];
        let (log2_step, levels) = quantize_vector(&values, PEAK_BITS).expect("finite");
        let step = f64::from(log2_step).exp2();
        for (v, l) in values.iter().zip(&levels) {
            assert!((f64::from(*v) - f64::from(*l) * step).abs() <= 0.7 / 65536.0);
        }
        assert!(levels[0] >= 1 << 15);
    }

    #[test]
    fn an_outlier_does_not_cost_the_others_their_precision() {
        let mut values = vec![0.5_f32; 400];
        values[3] = 60.0;
        values[4] = 0.25;
        let (log2_step, _) = quantize_vector(&values, PEAK_BITS).expect("finite");
        assert!(log2_step <= -10, "{log2_step}");
    }

    #[test]
    fn ones_and_zeros_cost_one_level_each() {
        assert_eq!(quantize_vector(&[1.0; 5], 8), Some((0, vec![1; 5])));
        assert_eq!(quantize_vector(&[0.0; 3], 8), Some((0, vec![0; 3])));
        assert_eq!(quantize_vector(&[f32::NAN], 8), None);
    }
}
