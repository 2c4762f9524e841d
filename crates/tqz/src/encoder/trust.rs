//! How far the closed form is trusted, network and layer: damping, and how much more or less than predicted a layer's errors do.

/// A layer's ratio and its inverse at most: beyond, something else is measured than the layer's own errors.
pub(super) const MOST: f64 = 20.0;

/// How far a network's statistics are trusted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trust {
    /// Factor of all damping.
    pub(crate) damping_factor: f64,
    /// What each layer's errors do over what is predicted, beside those of the typical one; empty where that was not measured.
    pub(crate) ratios: Vec<f64>,
}

/// How far one layer's statistics are trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LayerTrust {
    /// Factor of its damping.
    pub(crate) damping_factor: f64,
    /// Factor of what its errors do by the closed form.
    pub(crate) ratio: f64,
}

impl Trust {
    /// The standard damping, distortion as predicted.
    pub(crate) fn standard() -> Self {
        Self {
            damping_factor: 1.0,
            ratios: Vec::new(),
        }
    }

    /// Of the layer of this number.
    pub(crate) fn of(&self, index: usize) -> LayerTrust {
        LayerTrust {
            damping_factor: self.damping_factor,
            ratio: self.ratios.get(index).copied().unwrap_or(1.0),
        }
    }

    /// The same with another factor of all damping.
    pub(crate) fn with_damping(&self, damping_factor: f64) -> Self {
        Self {
            damping_factor,
            ratios: self.ratios.clone(),
        }
    }

    /// The same with each layer's ratio multiplied by one, as far as that is believed.
    pub(crate) fn times(&self, ratios: &[f64]) -> Self {
        let times =
            |(index, by): (usize, &f64)| (by * self.of(index).ratio).clamp(1.0 / MOST, MOST);
        Self {
            damping_factor: self.damping_factor,
            ratios: ratios.iter().enumerate().map(times).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_multiply_and_layers_without_any_are_trusted() {
        let trust = Trust::standard().times(&[2.0, 0.5, 1e3]);
        let trust = trust.times(&[2.0, 2.0, 1.0]).with_damping(0.5);
        let ratios = [0, 1, 2, 5].map(|index| trust.of(index).ratio);
        assert_eq!(ratios, [4.0, 1.0, MOST, 1.0]);
        assert_eq!(trust.of(5).damping_factor, 0.5);
        assert_eq!(trust.times(&[0.1, 0.1, 1e-9]).of(2).ratio, 1.0 / MOST);
    }
}
