//! The `[preprocess]` table of a card, its legal values, and its last step: from 8-bit samples to a
//! network's numbers. The steps before are in `geometry`.

use crate::picture::Picture;
use crate::resample::Filter;
use ndarray::Array3;
use serde::Deserialize;

/// Largest side that may be asked for.
pub(crate) const MAX_SIDE: usize = 8192;

/// The `[preprocess]` table of a card, in the order in which it is applied.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Which channels, in which order.
    pub channels: Channels,
    /// Change of size.
    pub resize: Resize,
    /// Cut after the change of size.
    pub crop: Crop,
    /// Factor for the samples 0..255, a number or a fraction such as `"1/255"`.
    pub scale: Scale,
    /// Subtracted after scaling: one number, or one a channel (in the order of `channels`).
    pub mean: PerChannel,
    /// Divisor after subtracting: one number, or one a channel.
    pub std: PerChannel,
    /// Order of the input's axes.
    pub layout: Layout,
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            channels: Channels::default(),
            resize: Resize::default(),
            crop: Crop::default(),
            scale: Scale(1.0),
            mean: PerChannel(vec![0.0]),
            std: PerChannel(vec![1.0]),
            layout: Layout::default(),
        }
    }
}

/// Channels of a network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Luma alone (ITU-R 601, rounded to 8 bits).
    Grey,
}

/// Order of the input's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, height, width.
    #[default]
    Nchw,
    /// Batch, height, width, channel.
    Nhwc,
}

/// One side or `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a size is one whole number or [height, width]")]
pub enum Size {
    /// Both sides alike.
    Side(usize),
    /// Height and width.
    Sides([usize; 2]),
}

/// Change of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// What the size is the size of.
    pub mode: ResizeMode,
    /// The size S; needed by every mode but `none`.
    #[serde(default)]
    pub size: Option<Size>,
    /// The filter.
    #[serde(default)]
    pub filter: Filter,
}

/// What a size is the size of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeMode {
    /// Pictures keep their size.
    #[default]
    None,
    /// The shorter side becomes S, the other in proportion (rounded half to even).
    Shorter,
    /// Both sides, whatever the proportions.
    Exact,
    /// The central square of side `int(S / (S + 32) * min(w, h))` becomes S x S.
    EfficientNet,
}

/// Cut of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Which part.
    pub mode: CropMode,
    /// Its size; needed by every mode but `none`.
    #[serde(default)]
    pub size: Option<Size>,
    /// Seed of random positions.
    #[serde(default)]
    pub seed: u64,
}

/// Which part is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropMode {
    /// Nothing is cut.
    #[default]
    None,
    /// The middle: left = (w - size) / 2 rounded down, top likewise. The picture must be large enough.
    Central,
    /// A place drawn for each image: with numpy's `default_rng([seed, index])`,
    /// left = `int(random() * (w - size + 1))`, then top likewise. Smaller pictures stay whole.
    Random,
}

/// A factor: a number, or a fraction such as `"1/255"`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "ScaleToml")]
pub struct Scale(
    /// Its value; finite and not 0.
    pub f64,
);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "scale is a number or a fraction such as \"1/255\""
)]
enum ScaleToml {
    Number(f64),
    Fraction(String),
}

impl TryFrom<ScaleToml> for Scale {
    type Error = String;

    fn try_from(toml: ScaleToml) -> Result<Self, String> {
        let value = match &toml {
            ScaleToml::Number(value) => Some(*value),
            ScaleToml::Fraction(text) => text.split_once('/').and_then(|(above, below)| {
                let above: f64 = above.trim().parse().ok()?;
                let below: f64 = below.trim().parse().ok()?;
                Some(above / below)
            }),
        };
        value
            .filter(|v| v.is_finite() && *v != 0.0)
            .map(Self)
            .ok_or_else(|| {
                "scale must be a number other than 0 or a fraction such as \"1/255\"".to_string()
            })
    }
}

/// One number for all channels, or one for each.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "PerChannelToml")]
pub struct PerChannel(
    /// 1 number, or as many as there are channels.
    pub Vec<f64>,
);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "mean and std are one number, or a list of one number a channel"
)]
enum PerChannelToml {
    One(f64),
    Each(Vec<f64>),
}

impl From<PerChannelToml> for PerChannel {
    fn from(toml: PerChannelToml) -> Self {
        Self(match toml {
            PerChannelToml::One(value) => vec![value],
            PerChannelToml::Each(values) => values,
        })
    }
}

impl PerChannel {
    fn get(&self, channel: usize) -> f32 {
        (if self.0.len() == 1 {
            self.0[0]
        } else {
            self.0[channel]
        }) as f32
    }
}

impl Size {
    pub(crate) fn height_width(self) -> (usize, usize) {
        match self {
            Self::Side(side) => (side, side),
            Self::Sides([height, width]) => (height, width),
        }
    }

    fn check(self, field: &str) -> Result<(), String> {
        let (height, width) = self.height_width();
        let legal = 1..=MAX_SIDE;
        if legal.contains(&height) && legal.contains(&width) {
            return Ok(());
        }
        Err(format!(
            "the size of {field} is {height} x {width}; legal are 1 to {MAX_SIDE} a side"
        ))
    }
}

impl Preprocess {
    pub(crate) fn check(&self) -> Result<(), String> {
        match (self.resize.mode, self.resize.size) {
            (ResizeMode::None, None) => {}
            (ResizeMode::None, Some(_)) => {
                return Err("resize has a size but mode = \"none\"".to_string());
            }
            (ResizeMode::Exact, Some(size)) | (_, Some(size @ Size::Side(_))) => {
                size.check("resize")?;
            }
            (_, Some(_)) => return Err("resize of this mode takes one size".to_string()),
            (_, None) => return Err("resize needs a size".to_string()),
        }
        match (self.crop.mode, self.crop.size) {
            (CropMode::None, None) => {}
            (CropMode::None, Some(_)) => {
                return Err("crop has a size but mode = \"none\"".to_string());
            }
            (_, Some(size)) => size.check("crop")?,
            (_, None) => return Err("crop needs a size".to_string()),
        }
        let channels = self.channel_count();
        for (name, values) in [("mean", &self.mean.0), ("std", &self.std.0)] {
            if values.len() != 1 && values.len() != channels {
                return Err(format!(
                    "{name} has {} numbers; legal are 1 or {channels}",
                    values.len()
                ));
            }
            if values.iter().any(|v| !(*v as f32).is_finite()) {
                return Err(format!("{name} holds a number that is not finite"));
            }
        }
        if self.std.0.iter().any(|v| *v as f32 == 0.0) {
            return Err("std holds 0, by which nothing can be divided".to_string());
        }
        Ok(())
    }

    /// Channels of the input.
    pub(crate) fn channel_count(&self) -> usize {
        match self.channels {
            Channels::Grey => 1,
            Channels::Rgb | Channels::Bgr => 3,
        }
    }

    /// Whether samples become v / 255 and nothing else.
    pub(crate) fn gives_unit_range(&self) -> bool {
        self.scale.0 == 1.0 / 255.0
            && self.mean.0.iter().all(|&m| m == 0.0)
            && self.std.0.iter().all(|&s| s == 1.0)
    }

    /// The numbers: `(v * scale - mean) / std` in f32, in the card's order of channels and axes.
    pub(crate) fn tensor(&self, picture: &Picture) -> Array3<f32> {
        let channels = picture.channels;
        let tables: Vec<[f32; 256]> = (0..channels).map(|c| self.table(c)).collect();
        let value = |c: usize, y: usize, x: usize| {
            let source = if self.channels == Channels::Bgr {
                channels - 1 - c
            } else {
                c
            };
            let sample = picture.data[(y * picture.width + x) * channels + source];
            tables[c][usize::from(sample)]
        };
        let (height, width) = (picture.height, picture.width);
        match self.layout {
            Layout::Nchw => {
                Array3::from_shape_fn((channels, height, width), |(c, y, x)| value(c, y, x))
            }
            Layout::Nhwc => {
                Array3::from_shape_fn((height, width, channels), |(y, x, c)| value(c, y, x))
            }
        }
    }

    fn table(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.mean.get(channel), self.std.get(channel));
        std::array::from_fn(|v| ((v as f64 * self.scale.0) as f32 - mean) / std)
    }
}

#[cfg(test)]
impl Preprocess {
    /// Grey in 0..1, sizes as they are.
    pub(crate) fn unit_range() -> Self {
        Self {
            channels: Channels::Grey,
            scale: Scale(1.0 / 255.0),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
