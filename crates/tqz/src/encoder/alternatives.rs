//! Mode decision: a layer that could be coded in more than one way is, and the way with the least distortion + λ·bits stays (wide layers: less than λ).
//! Bits are those of the encoded record, the basis S included; distortion is the closed form under one and the same damping.

use ndarray::Array2;

use crate::config::{Axis, Basis, EncoderConfig, QuantizerSpec, TransformSpec};
use crate::encoder::column::{Rows, closed_form};
use crate::encoder::guess::{Spread, spreads};
use crate::encoder::layer::{CodedLayer, code_layer};
use crate::encoder::prepared::PreparedLayer;
use crate::encoder::speed::Limit;
use crate::encoder::trust::LayerTrust;
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::report::bits_per_weight;
use crate::statistics::LayerStatistics;

/// Layers with fewer rows or columns than this are quantized as they are: a basis S would cost more than it saves (theory §9).
const NARROW: usize = 64;
/// Wider layers are always transformed at rates below [`MIDDLE_RATE`]: the decision would cost time and gain nothing.
const WIDE: usize = 128;
/// Bits per weight of the whole file from which on wide layers are decided upon, too: a layer of about a bit a weight is better off as it is, and
/// while the widest vanish others are coded at that (AlexNet at .32 bits, `fast`: .0195 → .0112 nats; at .2 bits .0388 → .0329; at .15 bits .0585 →
/// .0629). Each way is coded under its own damping, and judged by the first's. Where a step is asked for instead of a rate, any rate may come of it.
const MIDDLE_RATE: f64 = 0.19;
/// Part of the quantizer's slope at which bits are weighed between the ways of a wide layer. The slope (.12 squared steps a bit) is that of levels at high
/// rates; what a network really pays for a bit when its step changes is .07 to .1 where layers take a third of a bit to a bit a weight. Ways of nearly
/// the same cost by the slope differ by a quarter of AlexNet's divergence (`fast`, .2, .22, .27 bits, decided by λ and by this: .0391 → .0329, .0343 → .0254, .0230 → .0170; .32 and .4
/// the same). ResNet-18 at .28 to 1 bit is within its noise (+.5 to +8 %), DenseNet-40 the same.
const EXCHANGE: f64 = 0.67;
/// Bits per weight of the whole file from which on no layer is transformed unless that is asked for: few rows of T vanish, and the
/// closed form, which would decide, does not see that more is learnt by heart from few images.
const HIGH_RATE: f64 = 2.0;

/// Which of the ways a layer is coded in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    /// To be decided when it is coded next.
    Undecided,
    /// The first, with these rows of T where it has a transform of its outputs.
    First(Rows),
    /// The second.
    Second,
}

/// What to say where a transform was asked for and layers are better off without.
pub(crate) fn untransformed(layers: &[Alternatives], config: &EncoderConfig) -> Option<String> {
    if matches!(
        config.transform,
        TransformSpec::Auto | TransformSpec::Identity
    ) {
        return None;
    }
    let without = layers.iter().filter(|p| !p.is_transformed()).count();
    let why = match config.axis {
        Axis::Kernel => "or their kernels are single weights".to_owned(),
        Axis::Row => "or their patches are too long for one second moment".to_owned(),
        _ => format!(
            "or a basis would cost more than it saves (fewer than {NARROW} rows or columns; --preset paper transforms these too)"
        ),
    };
    (without > 0).then(|| {
        format!(
            "{without} of {} layers are not transformed: their channels are in groups, {why}",
            layers.len()
        )
    })
}

/// A layer with the ways in which it may be coded.
#[derive(Debug, Clone)]
pub(crate) struct Alternatives {
    /// The first choice; its statistics judge.
    first: PreparedLayer,
    /// Another way.
    second: Option<PreparedLayer>,
}

impl Alternatives {
    /// Prepares every way that the configuration allows and the layer's shape suggests.
    ///
    /// # Errors
    /// Statistics that stay singular or are not finite.
    pub(crate) fn new(
        layer: &WeightLayer,
        weights: Array2<f32>,
        statistics: &LayerStatistics,
        (config, trust): (&EncoderConfig, LayerTrust),
        (unmeasured, total_weights): (f64, u64),
    ) -> Result<Self, TqzError> {
        let suggested = suggested(layer, config, total_weights);
        let prepare = |basis: Option<Basis>| {
            let how = (basis, config, trust);
            PreparedLayer::new(layer, weights.clone(), statistics, how, unmeasured)
        };
        let first = prepare(suggested.basis())?;
        // A basis that could not be had leaves nothing to decide.
        let undecided = matches!(suggested, Suggested::Either(_)) && first.transformed.is_some();
        Ok(Self {
            second: undecided.then(|| prepare(None)).transpose()?,
            first,
        })
    }

    /// The tensor.
    pub(crate) fn layer(&self) -> &WeightLayer {
        &self.first.layer
    }

    /// How its coefficients spread in the first way.
    pub(crate) fn spreads(&self) -> Vec<Spread> {
        spreads(&self.first)
    }

    /// What had to be done to make the numbers work.
    pub(crate) fn warning(&self) -> Option<&String> {
        self.first.warning.as_ref()
    }

    /// Whether the first way is a transform.
    pub(crate) fn is_transformed(&self) -> bool {
        self.first.transformed.is_some() || self.first.mixed.is_some()
    }

    /// Distortion without each row of T of the first way; empty where that is no transform.
    pub(crate) fn energy(&self) -> &[f64] {
        let transformed = self.first.transformed.as_ref();
        transformed.map_or(&[], |transformed| &transformed.basis.energy)
    }

    /// Codes the layer with the constant `c`: in the first way with at most so many rows of T, in the way given, or in the better one; which way
    /// and which rows is noted.
    ///
    /// # Errors
    /// Numbers that cannot be solved for, or that the format cannot hold.
    pub(crate) fn code(
        &self,
        way: &mut Way,
        quantizer: QuantizerSpec,
        (c, limit): (f64, Limit),
    ) -> Result<CodedLayer, TqzError> {
        let in_second = |second| -> Result<CodedLayer, TqzError> {
            self.judged(code_layer(
                second,
                quantizer,
                (c, None),
                &mut Rows::Undecided,
            )?)
        };
        // A limit of rows is met in the first way only.
        let second = self.second.as_ref().filter(|_| limit.is_none());
        let (second, mut rows) = match (second, *way) {
            (Some(second), Way::Second) => return in_second(second),
            (_, Way::First(rows)) => (None, rows),
            (second, _) => (second, Rows::Undecided),
        };
        let first = code_layer(&self.first, quantizer, (c, limit), &mut rows)?;
        *way = Way::First(rows);
        let Some(second) = second else {
            return Ok(first);
        };
        let other = in_second(second)?;
        let bits = self.bits_between_ways(quantizer);
        if other.cost(bits, c)? < first.cost(bits, c)? {
            *way = Way::Second;
            return Ok(other);
        }
        Ok(first)
    }

    /// The quantizer with the weight of bits at which ways are compared.
    fn bits_between_ways(&self, quantizer: QuantizerSpec) -> QuantizerSpec {
        let part = if is_wide(self.layer()) { EXCHANGE } else { 1.0 };
        QuantizerSpec {
            lambda: quantizer.slope() * part,
            ..quantizer
        }
    }

    /// A layer coded in the second way with the distortion that the first one's statistics see.
    fn judged(&self, mut coded: CodedLayer) -> Result<CodedLayer, TqzError> {
        let values = self.layer().to_matrix(&coded.record.reconstruct()?);
        coded.distortion = closed_form(&self.first, &(values - &self.first.weights));
        Ok(coded)
    }
}

/// How a layer may be coded by what is asked for and its shape.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Suggested {
    /// As it is.
    Plain,
    /// In a basis.
    Within(Basis),
    /// In a basis, or as it is where that costs less.
    Either(Basis),
}

impl Suggested {
    /// The basis of the first way.
    fn basis(self) -> Option<Basis> {
        match self {
            Self::Plain => None,
            Self::Within(basis) | Self::Either(basis) => Some(basis),
        }
    }
}

/// Whether a layer has more than [`WIDE`] rows and columns.
pub(crate) fn is_wide(layer: &WeightLayer) -> bool {
    layer.rows.min(layer.cols) > WIDE
}

/// How this layer may be coded.
fn suggested(layer: &WeightLayer, config: &EncoderConfig, total_weights: u64) -> Suggested {
    let narrowest = layer.rows.min(layer.cols);
    let asked = config.target.limit(total_weights);
    let asked = asked.map(|bytes| bits_per_weight(bytes, total_weights));
    let free = config.macs.is_none();
    let basis = match config.transform {
        TransformSpec::Identity | TransformSpec::Dct1 | TransformSpec::Dct2 => None,
        TransformSpec::Klt => Some(Basis::Klt),
        TransformSpec::Elt => Some(Basis::Elt),
        TransformSpec::Auto => {
            Some(Basis::Elt).filter(|_| !free || asked.is_none_or(|asked| asked < HIGH_RATE))
        }
    };
    let transformable = layer.groups == 1 && narrowest >= NARROW && config.axis == Axis::Column;
    let Some(basis) = basis.filter(|_| transformable) else {
        return Suggested::Plain;
    };
    let weighed = !is_wide(layer) || (free && asked.is_none_or(|asked| asked >= MIDDLE_RATE));
    match config.transform {
        TransformSpec::Auto if weighed => Suggested::Either(basis),
        _ => Suggested::Within(basis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateTarget;
    use crate::encoder::testing::dense;
    use crate::encoder::trust::Trust;

    const WEIGHTS: u64 = 1 << 20;

    fn at(rate_bpw: f64) -> EncoderConfig {
        EncoderConfig::new(RateTarget::BitsPerWeight(rate_bpw))
    }

    #[test]
    fn a_basis_is_weighed_against_none_where_either_may_be_better() {
        let of =
            |size: usize, config: &EncoderConfig| suggested(&dense(size, 512), config, WEIGHTS);
        let (within, either) = (Suggested::Within(Basis::Elt), Suggested::Either(Basis::Elt));
        assert_eq!(of(32, &at(0.3)), Suggested::Plain);
        for (rate_bpw, wide) in [(0.15, within), (0.2, either), (1.9, either)] {
            assert_eq!(of(128, &at(rate_bpw)), either, "{rate_bpw}");
            assert_eq!(of(256, &at(rate_bpw)), wide, "{rate_bpw}");
        }
        assert_eq!(of(256, &at(2.0)), Suggested::Plain);
        let step = EncoderConfig::new(RateTarget::Step(1e-3));
        assert_eq!(of(256, &step), either);
    }

    /// The weight of bits between the ways of a layer of so many rows.
    fn lambda_of(rows: usize) -> f64 {
        let layer = dense(rows, 512);
        let statistics = LayerStatistics::empty(&layer);
        let weights = Array2::from_shape_fn((rows, 512), |(r, c)| ((r * 7 + c) % 5) as f32 - 2.0);
        let how = (&at(0.3), Trust::standard().of(0));
        let layer = Alternatives::new(&layer, weights, &statistics, how, (1.0, WEIGHTS));
        let layer = layer.expect("its factors are there");
        layer.bits_between_ways(QuantizerSpec::default()).lambda
    }

    #[test]
    fn bits_weigh_less_between_the_ways_of_wide_layers() {
        let lambda = QuantizerSpec::default().lambda;
        assert_eq!(lambda_of(WIDE), lambda);
        assert_eq!(lambda_of(WIDE + 1), EXCHANGE * lambda);
    }

    #[test]
    fn what_is_asked_for_is_not_weighed() {
        let asked = |transform| EncoderConfig {
            transform,
            ..at(1.0)
        };
        let of = |config: &EncoderConfig| suggested(&dense(256, 512), config, WEIGHTS);
        assert_eq!(
            of(&asked(TransformSpec::Klt)),
            Suggested::Within(Basis::Klt)
        );
        assert_eq!(of(&asked(TransformSpec::Identity)), Suggested::Plain);
        // A limit of work is met by rows of T.
        let limited = EncoderConfig {
            macs: Some(0.5),
            ..at(2.5)
        };
        assert_eq!(of(&limited), Suggested::Within(Basis::Elt));
    }
}
