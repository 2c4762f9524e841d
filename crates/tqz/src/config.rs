//! What the caller asks of the encoder. Nothing here is decided yet: rates become steps in `allocate`, transforms are
//! chosen per layer in `encoder`.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::error::TqzError;
use crate::outputs::TEMPERATURE;

/// How small the file is to be. Exactly one of the three.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateTarget {
    /// At most so many bits per weight of the whole file, everything counted. Legal: 0.01 to 32.
    BitsPerWeight(f64),
    /// At most so many bytes.
    Bytes(u64),
    /// The step constant c itself: every coefficient gets `step² · sensitivity = c²`.
    Step(f64),
}

impl RateTarget {
    /// Bytes that a file of so many weights may have; none where the step is given.
    pub(crate) fn limit(self, weights: u64) -> Option<u64> {
        match self {
            Self::BitsPerWeight(bits) => Some((bits * weights as f64 / 8.0) as u64),
            Self::Bytes(bytes) => Some(bytes),
            Self::Step(_) => None,
        }
    }
}

/// Which bases a layer's weights may be quantized in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum TransformSpec {
    /// The encoder chooses per layer.
    #[default]
    Auto,
    /// The weights themselves.
    Identity,
    /// Karhunen–Loève column transform on every layer wide enough, identity elsewhere.
    Klt,
    /// End-to-end Learned Transform on every layer wide enough, identity elsewhere.
    Elt,
    /// Cosine transform of the first kind; inside kernels only.
    Dct1,
    /// Cosine transform of the second kind; inside kernels only.
    Dct2,
}

/// What a transform mixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Output channels: `W = S·T`.
    #[default]
    Column,
    /// Input channels: `W = T·S` at every kernel position.
    Row,
    /// The positions inside a kernel (paper 7.2).
    Kernel,
    /// Output and input channels (paper 7.1).
    Both,
}

/// By which error the paper's quantizer chooses its steps (Algorithm 2, Fig. 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum StepBy {
    /// Of the network's output.
    #[default]
    Output,
    /// Of the weights.
    Weights,
}

/// How components without a transform – rows of the weights – are put in order before they are cut into blocks (paper 5.2); those of a
/// transform are in its own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum RowOrder {
    /// By falling energy at the network's output.
    #[default]
    Energy,
    /// By falling mean square of the weights.
    Variance,
    /// As the network has them.
    Stored,
}

/// The paper's quantizer: blocks of one whole bit-depth and one step each, no entropy coding (paper 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperSpec {
    /// Blocks of T, and of each basis, of one layer at most. Legal: 1 to 4096.
    pub blocks: usize,
    /// How steps are chosen.
    pub step_by: StepBy,
    /// How rows without a transform are put in order.
    pub order: RowOrder,
}

impl Default for PaperSpec {
    fn default() -> Self {
        Self {
            blocks: 16,
            step_by: StepBy::default(),
            order: RowOrder::default(),
        }
    }
}

/// A decorrelating basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Eigenvectors of the weights' covariance.
    Klt,
    /// Joint diagonaliser of weights' and gradients' covariances.
    Elt,
}

/// The quantizer of the levels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantizerSpec {
    /// Push each column's error into the columns after it (and each row's into the rows below).
    pub feedback: bool,
    /// Weight of a bit against squared error in units of the step's square; 0 is plain rounding. Legal: 0 to 1.
    pub lambda: f64,
    /// Whether two quantizers, shifted against each other, take turns as the levels before say (trellis-coded quantization): a tenth of the
    /// bits for twice the time. Absent: as the effort suggests, everywhere but at [`Effort::Fast`].
    pub dependent: Option<bool>,
}

impl QuantizerSpec {
    /// The slope of distortion over bits at which levels are chosen, in units of the step's square; where rounding is plain, that at which
    /// a uniform quantizer works.
    pub(crate) fn slope(self) -> f64 {
        if self.lambda > 0.0 {
            self.lambda
        } else {
            Self::default().lambda
        }
    }
}

impl Default for QuantizerSpec {
    fn default() -> Self {
        Self {
            feedback: true,
            lambda: 0.12,
            dependent: None,
        }
    }
}

/// Damping of the statistics, as fractions of their mean diagonal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Damping {
    /// Added to the diagonal of A. Legal: 1e-6 to 10.
    pub input: f64,
    /// Added to the diagonal of G. Legal: 1e-6 to 10.
    pub output: f64,
}

/// How much work goes into a smaller loss at the same size. The bytes depend on it, their format does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// One pass with standard damping; the network is run for the statistics alone.
    Fast,
    /// Weights of layers and damping chosen by runs on images kept back, side values matched and tuned for a few dozen steps.
    #[default]
    Balanced,
    /// As balanced, with finer choices and several hundred steps.
    Best,
}

/// Everything the encoder is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Size of the file.
    pub target: RateTarget,
    /// Bases to use.
    pub transform: TransformSpec,
    /// What they mix.
    pub axis: Axis,
    /// The paper's quantizer in place of the adaptive one.
    pub paper: Option<PaperSpec>,
    /// Multiply–accumulates of the network in the transform domain, at most, as a part of the dense network's. Legal: 0.01 to 1.
    pub macs: Option<f64>,
    /// Rounding of coefficients.
    pub quantizer: QuantizerSpec,
    /// Damping of all layers; chosen by the encoder where absent.
    pub damping: Option<Damping>,
    /// How much work is done.
    pub effort: Effort,
    /// Seed of the order of images.
    pub seed: u64,
}

impl EncoderConfig {
    /// The defaults with a target.
    pub fn new(target: RateTarget) -> Self {
        Self {
            target,
            transform: TransformSpec::default(),
            axis: Axis::default(),
            paper: None,
            macs: None,
            quantizer: QuantizerSpec::default(),
            damping: None,
            effort: Effort::default(),
            seed: 0,
        }
    }

    /// The same with dependent quantization or without, whatever the effort suggests.
    pub(crate) fn with_dependent(&self, dependent: bool) -> Self {
        let mut config = *self;
        config.quantizer.dependent = Some(dependent);
        config
    }

    /// Whether quantization is dependent.
    pub(crate) fn is_dependent(&self) -> bool {
        let asked = self.quantizer.dependent;
        asked.unwrap_or(self.effort != Effort::Fast)
    }

    fn check_macs(&self) -> Result<(), TqzError> {
        let Some(part) = self.macs else { return Ok(()) };
        check("the part of multiply–accumulates", part, 0.01..=1.0)?;
        let column = matches!(
            self.transform,
            TransformSpec::Auto | TransformSpec::Klt | TransformSpec::Elt
        );
        if self.paper.is_some() || self.axis != Axis::Column || !column {
            return Err(TqzError::Request(
                "multiply–accumulates are saved by column transforms: use them with --transform auto, klt or elt, --axis column, and \
                 not with --preset paper"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Checks every number against its legal range.
    ///
    /// # Errors
    /// Names the first one outside.
    pub fn check(&self) -> Result<(), TqzError> {
        match self.target {
            RateTarget::BitsPerWeight(bits) => check("bits per weight", bits, 0.01..=64.0)?,
            RateTarget::Step(step) => check("the step constant", step, 1e-12..=1e12)?,
            RateTarget::Bytes(0) => {
                return Err(TqzError::Request(
                    "a size of at least 1 byte is needed".to_owned(),
                ));
            }
            RateTarget::Bytes(_) => {}
        }
        if self.paper.is_some() && self.quantizer.dependent == Some(true) {
            return Err(TqzError::Request(
                "the paper's quantizer is not a dependent one: leave out --dependent".to_owned(),
            ));
        }
        if let Some(paper) = self.paper {
            check("blocks of a layer", paper.blocks as f64, 1.0..=4096.0)?;
        }
        if self.paper.is_none() && self.axis == Axis::Both {
            return Err(TqzError::Request(
                "both sides are transformed with --preset paper only".to_owned(),
            ));
        }
        let cosine = matches!(self.transform, TransformSpec::Dct1 | TransformSpec::Dct2);
        if cosine && self.axis != Axis::Kernel {
            return Err(TqzError::Request(
                "dct1 and dct2 are transforms inside kernels: use them with --axis kernel"
                    .to_owned(),
            ));
        }
        self.check_macs()?;
        check("lambda", self.quantizer.lambda, 0.0..=1.0)?;
        if let Some(damping) = self.damping {
            check("damping of A", damping.input, 1e-6..=10.0)?;
            check("damping of G", damping.output, 1e-6..=10.0)?;
        }
        Ok(())
    }
}

fn check(what: &str, value: f64, legal: RangeInclusive<f64>) -> Result<(), TqzError> {
    if legal.contains(&value) {
        return Ok(());
    }
    let (low, high) = (legal.start(), legal.end());
    Err(TqzError::Request(format!(
        "{what} is {value}; it must lie between {low} and {high}"
    )))
}

/// Which second moment of the output's derivatives measures distortion (theory §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Squared error of the outputs: random directions `v ~ N(0, I)`.
    OutputNoise,
    /// Kullback–Leibler divergence of a classifier's predictions: directions of covariance
    /// `diag(p) − ppᵗ`, `p = softmax(y)`.
    Fisher,
    /// The divergence of predictions from halved scores, `p = softmax(y/2)`: the probabilities of classes that are not the image's count for
    /// more, as they do once errors are large.
    TemperedFisher,
    /// Fisher for classifiers (one output vector per image), tempered where they have up to 100 classes; output noise otherwise.
    #[default]
    Auto,
}

impl Metric {
    /// What scores are divided by before softmax; none where predictions are not what is measured.
    pub(crate) fn temperature(self) -> Option<f64> {
        match self {
            Self::Fisher => Some(1.0),
            Self::TemperedFisher => Some(TEMPERATURE),
            Self::OutputNoise | Self::Auto => None,
        }
    }
}

/// The word by which users ask for it.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutputNoise => "noise",
            Self::Fisher => "fisher",
            Self::TemperedFisher => "tempered",
            Self::Auto => "auto",
        })
    }
}
