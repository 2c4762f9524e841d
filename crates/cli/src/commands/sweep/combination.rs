//! What a sweep tries: one combination of preset, transform, axis, choice of steps and rate at a time.

use clap::ValueEnum;
use tqz::{EncoderConfig, PaperSpec, RateTarget};

use crate::commands::names::{AxisName, Preset, StepByName, TransformName};
use crate::commands::sweep::rows::{Key, key};
use crate::commands::sweep::spec::Spec;

/// One combination to try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Combination {
    preset: Preset,
    transform: TransformName,
    axis: AxisName,
    step_by: StepByName,
    /// Limit of multiply–accumulates; absent: none.
    pub(super) macs: Option<f64>,
    pub(super) bits: f64,
}

impl Combination {
    /// Every combination that exists, in the order of the specification.
    pub(super) fn all(spec: &Spec, bits: &[f64]) -> Vec<Self> {
        let mut codings = Vec::new();
        for &preset in &spec.presets {
            for &step_by in &spec.step_by {
                for &axis in &spec.axes {
                    codings.extend(spec.transforms.iter().map(|&transform| Self {
                        preset,
                        transform,
                        axis,
                        step_by,
                        macs: None,
                        bits: 1.0,
                    }));
                }
            }
        }
        let limits = spec.macs.iter().map(|&part| (part < 1.0).then_some(part));
        let limits: Vec<Option<f64>> = limits.collect();
        let limited = codings
            .into_iter()
            .flat_map(|coding| limits.iter().map(move |&macs| Self { macs, ..coding }));
        let rated =
            limited.flat_map(|coding| bits.iter().map(move |&bits| Self { bits, ..coding }));
        rated.filter(|coding| coding.exists()).collect()
    }

    /// Whether it is one of its own: no transform has no axis, cosines are for kernels, both sides and other choices of steps
    /// for the paper's quantizer alone, limits of multiply–accumulates for column transforms of the others.
    fn exists(self) -> bool {
        let column = matches!(self.axis, AxisName::Column);
        let kernel = matches!(self.axis, AxisName::Kernel);
        let output = matches!(self.step_by, StepByName::Output);
        let suits = match self.transform {
            TransformName::Identity => column,
            TransformName::Dct1 | TransformName::Dct2 => kernel,
            _ => true,
        };
        let both = matches!(self.axis, AxisName::Both);
        let paper = matches!(self.preset, Preset::Paper);
        let identity = matches!(self.transform, TransformName::Identity);
        let limitable = column && !identity && !paper;
        suits && (paper || (!both && output)) && (self.macs.is_none() || limitable)
    }

    /// What the encoder is asked for.
    pub(super) fn config(self, seed: u64) -> EncoderConfig {
        EncoderConfig {
            transform: self.transform.into(),
            axis: self.axis.into(),
            paper: self.preset.paper(PaperSpec {
                step_by: self.step_by.into(),
                ..PaperSpec::default()
            }),
            macs: self.macs,
            effort: self.preset.into(),
            seed,
            ..EncoderConfig::new(RateTarget::BitsPerWeight(self.bits))
        }
    }

    /// Preset, transform, axis and choice of steps by name.
    pub(super) fn names(self) -> [String; 4] {
        [
            value_name(&self.preset),
            value_name(&self.transform),
            value_name(&self.axis),
            value_name(&self.step_by),
        ]
    }

    /// What a row of the table says of it.
    pub(super) fn key(self, network: &str) -> Key {
        let names = self.names();
        let names = names.each_ref().map(String::as_str);
        key(network, names, (self.macs, self.bits))
    }
}

/// A value as it is written on the command line.
fn value_name(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or(String::new(), |v| v.get_name().to_owned())
}
