//! Side values: biases and normalisation vectors. BatchNormalization's four vectors are first folded into two, then all are
//! stored with 16 significant bits or better.

use std::collections::BTreeMap;

use tqz_engine::{BatchNorm, Network};
use tqz_format::Vector;
use tqz_onnx::model::tensor_proto::DataType;
use tqz_onnx::model::{ModelProto, TensorProto};
use tqz_onnx::visit;

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

/// Folds `scale, bias, mean, var` of every BatchNormalization into `scale', bias', 0, 1`, which computes the same; vectors
/// shared with anything else stay as they are.
///
/// # Errors
/// Tensors that cannot be read.
pub(crate) fn canonical_batch_norms(
    model: &mut ModelProto,
    network: &Network,
    names: &BTreeMap<String, usize>,
) -> Result<(), TqzError> {
    let uses = uses(model);
    let mut replaced: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
    for norm in network.batch_norms() {
        let of_norm = [&norm.scale, &norm.bias, &norm.mean, &norm.var];
        let sites: Vec<usize> = of_norm
            .iter()
            .filter(|name| uses.get(**name) == Some(&1))
            .filter_map(|name| names.get(*name).copied())
            .collect();
        if let (4, Some(folded)) = (sites.len(), fold(norm, network)) {
            replaced.extend(sites.into_iter().zip(folded));
        }
    }
    let mut failure = None;
    visit::tensors_mut(model, |site, tensor| {
        if let Some(values) = replaced.remove(&site.index)
            && let Err(error) = tensor.set_f32(&values)
        {
            failure = Some(error.into());
        }
    });
    failure.map_or(Ok(()), Err)
}

/// How often the main graph's nodes take each value.
pub(crate) fn uses(model: &ModelProto) -> BTreeMap<String, usize> {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        for name in &node.input {
            *uses.entry(name.clone()).or_default() += 1;
        }
    }
    uses
}

/// The four vectors in canonical form, if all are there and finite.
fn fold(norm: &BatchNorm, network: &Network) -> Option<[Vec<f32>; 4]> {
    let get = |name: &str| {
        network
            .weight(name)
            .map(|w| w.mapv(f64::from).into_raw_vec_and_offset().0)
    };
    let (scale, bias) = (get(&norm.scale)?, get(&norm.bias)?);
    let (mean, var) = (get(&norm.mean)?, get(&norm.var)?);
    let n = scale.len();
    if [bias.len(), mean.len(), var.len()] != [n; 3] {
        return None;
    }
    let epsilon = f64::from(norm.epsilon);
    let factor: Vec<f64> = scale
        .iter()
        .zip(&var)
        .map(|(s, v)| s / (v + epsilon).sqrt())
        .collect();
    let offset = (0..n).map(|i| (bias[i] - mean[i] * factor[i]) as f32);
    let offset: Vec<f32> = offset.collect();
    let unit = (1.0 + epsilon).sqrt();
    let scale: Vec<f32> = factor.iter().map(|f| (f * unit) as f32).collect();
    let finite = scale.iter().chain(&offset).all(|v| v.is_finite());
    finite.then(|| [scale, offset, vec![0.0; n], vec![1.0; n]])
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
