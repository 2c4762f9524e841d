//! Repair of a quantized network's side values (biases, normalisation) without labels and without another bit, and of the scale of output
//! channels that no normalisation follows, for a few bits each: first so that every channel has the mean and spread of the original again, then
//! by gradient steps toward the outputs of the original
//! (theory §8.6–8.7).

mod gains;
mod moments;
mod tune;

use std::collections::BTreeMap;

use ndarray::ArrayD;
use tqz_engine::{LayerOp, Network};

pub(crate) use gains::{Gained, Turnable, exponent, gained_layers};
pub(crate) use moments::{Moments, match_moments};
pub(crate) use tune::{TuneSpec, tune};

/// A place where a channel's mean (and spread) can be set: the output of a normalisation, or of a layer with a bias and no
/// normalisation after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Knob {
    /// Name of the value whose channels (axis 1) are matched.
    pub(crate) output: String,
    /// Factor that multiplies what goes in, if there is one.
    pub(crate) scale: Option<String>,
    /// Offset that is added.
    pub(crate) offset: String,
}

/// Side values by the name of their tensor; where gains are tuned, under the name of a layer's weights the factors of its rows.
pub(crate) type SideValues = BTreeMap<String, ArrayD<f32>>;

/// The knobs of a network, in execution order, of those tensors that `changeable` admits.
pub(crate) fn knobs(network: &Network, changeable: impl Fn(&str) -> bool) -> Vec<Knob> {
    let norms = network.batch_norms();
    let of_norms = norms.iter().filter(|n| changeable(&n.bias)).map(|n| Knob {
        output: n.output.clone(),
        scale: changeable(&n.scale).then(|| n.scale.clone()),
        offset: n.bias.clone(),
    });
    let of_layers = network.layers().iter().filter_map(|layer| {
        let normalised = norms.iter().any(|n| n.input == layer.output);
        let plain = match &layer.op {
            LayerOp::Gemm { beta_bits, .. } => f32::from_bits(*beta_bits) == 1.0,
            _ => true,
        };
        let bias = layer.bias.as_ref().filter(|name| changeable(name));
        bias.filter(|_| plain && !normalised).map(|bias| Knob {
            output: layer.output.clone(),
            scale: None,
            offset: bias.clone(),
        })
    });
    of_norms.chain(of_layers).collect()
}

/// The side values that the knobs turn, as the network has them.
pub(crate) fn side_values(network: &Network, knobs: &[Knob]) -> SideValues {
    let names = knobs.iter().flat_map(|k| k.scale.iter().chain([&k.offset]));
    names
        .filter_map(|name| Some((name.clone(), network.weight(name)?)))
        .collect()
}
