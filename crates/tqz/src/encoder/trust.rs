//! How far the closed form is trusted, network and layer: damping, and how much more or less than predicted a layer's errors do.

/// A layer's ratio and its inverse at most: beyond, something else is measured than the layer's own errors.
const MOST: f64 = 20.0;

/// How far a network's statistics are trusted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trust {
    /// Factor of all damping.
    pub(crate) damping_factor: f64,
    /// Of each layer beside that; empty where nothing is known of them.
    pub(crate) layers: Vec<LayerTrust>,
}

/// How far one layer's statistics are trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LayerTrust {
    /// Factor of its damping.
    pub(crate) damping_factor: f64,
    /// Factor of what its errors do by the closed form, beside that of the typical layer.
    pub(crate) ratio: f64,
}

impl Trust {
    /// The standard damping, distortion as predicted.
    pub(crate) fn standard() -> Self {
        Self {
            damping_factor: 1.0,
            layers: Vec::new(),
        }
    }

    /// Of the layer of this number, all together.
    pub(crate) fn of(&self, index: usize) -> LayerTrust {
        let own = self.own(index);
        LayerTrust {
            damping_factor: self.damping_factor * own.damping_factor,
            ..own
        }
    }

    /// Of the layer of this number, beside the factor of all.
    fn own(&self, index: usize) -> LayerTrust {
        let layer = self.layers.get(index).copied();
        layer.unwrap_or(LayerTrust {
            damping_factor: 1.0,
            ratio: 1.0,
        })
    }

    /// The same with another factor of all damping.
    pub(crate) fn with_damping(&self, damping_factor: f64) -> Self {
        Self {
            damping_factor,
            layers: self.layers.clone(),
        }
    }

    /// The same with each layer's factors multiplied by these, ratios as far as they are believed.
    pub(crate) fn times(&self, factors: &[LayerTrust]) -> Self {
        let times = |(index, by): (usize, &LayerTrust)| {
            let own = self.own(index);
            LayerTrust {
                damping_factor: by.damping_factor * own.damping_factor,
                ratio: (by.ratio * own.ratio).clamp(1.0 / MOST, MOST),
            }
        };
        Self {
            damping_factor: self.damping_factor,
            layers: factors.iter().enumerate().map(times).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_multiply_and_layers_without_any_are_trusted() {
        let by = |damping_factor: f64, ratio: f64| LayerTrust {
            damping_factor,
            ratio,
        };
        let trust = Trust::standard().times(&[by(3.0, 2.0), by(1.0, 0.5)]);
        let trust = trust.times(&[by(3.0, 2.0), by(1.0, 2.0)]).with_damping(0.5);
        assert_eq!(trust.of(0), by(4.5, 4.0));
        assert_eq!(trust.of(1), by(0.5, 1.0));
        assert_eq!(trust.of(5), by(0.5, 1.0));
        let extreme = Trust::standard().times(&[by(1.0, 1e3), by(1.0, 0.1)]);
        let extreme = extreme.times(&[by(1.0, 1.0), by(1.0, 0.1)]);
        assert_eq!(extreme.of(0), by(1.0, MOST));
        assert_eq!(extreme.of(1), by(1.0, 1.0 / MOST));
    }
}
