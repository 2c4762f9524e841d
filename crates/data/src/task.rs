//! The three tasks: classify, remove noise, enlarge; and how a prepared picture becomes a sample of
//! each. The numbers follow the published protocols operation by operation, in their precision.

use crate::picture::{Picture, Rectangle};
use crate::preprocess::Preprocess;
use crate::random::Generator;
use crate::resample::{Filter, resize, resize_plane};
use ndarray::{Array2, Array3, Axis};
use serde::Deserialize;

/// Largest factor of super-resolution.
const MAX_SCALE: usize = 16;

/// What a network does with a picture.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(try_from = "TaskToml")]
pub enum Task {
    /// Scores for classes; the largest wins.
    #[default]
    Classify,
    /// Takes Gaussian noise away. The input is `x + n * sigma / 255`, not clipped, with `x` in 0..1
    /// and `n` from one numpy generator (`default_rng(seed).standard_normal`) drawn image after image
    /// in the set's order, in the order height, width, channel.
    Denoise {
        /// Standard deviation of the noise in grey levels of 0..255.
        sigma: f64,
        /// Seed of the noise.
        seed: u64,
        /// What the network's output is.
        output: DenoiseOutput,
    },
    /// Enlarges. The truth is the picture, cut at right and bottom to a multiple of `scale`.
    SuperResolve {
        /// Factor of each side, at least 2.
        scale: usize,
        /// What the network is given.
        input: SuperResolveInput,
        /// Pixels left out of the score at each side.
        border: usize,
    },
}

/// What a denoising network's output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenoiseOutput {
    /// The noise, to be taken from the input.
    #[default]
    Noise,
    /// The clean image.
    Image,
}

/// What a super-resolving network is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuperResolveInput {
    /// The picture in red, green and blue, reduced by a bicubic filter and rounded to 8 bits.
    #[default]
    Rgb,
    /// Its luma (BT.601), reduced and enlarged again by a bicubic filter as floats (VDSR).
    Luma,
}

/// The `[task]` table as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskToml {
    kind: Kind,
    sigma: Option<f64>,
    seed: Option<u64>,
    output: Option<DenoiseOutput>,
    scale: Option<usize>,
    input: Option<SuperResolveInput>,
    border: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Classify,
    Denoise,
    SuperResolve,
}

impl TryFrom<TaskToml> for Task {
    type Error = String;

    fn try_from(toml: TaskToml) -> Result<Self, String> {
        let used = [
            ("sigma", toml.sigma.is_some(), Kind::Denoise),
            ("seed", toml.seed.is_some(), Kind::Denoise),
            ("output", toml.output.is_some(), Kind::Denoise),
            ("scale", toml.scale.is_some(), Kind::SuperResolve),
            ("input", toml.input.is_some(), Kind::SuperResolve),
            ("border", toml.border.is_some(), Kind::SuperResolve),
        ];
        if let Some((field, ..)) = used
            .iter()
            .find(|(_, set, kind)| *set && *kind != toml.kind)
        {
            return Err(format!("the task of this kind has no field `{field}`"));
        }
        match toml.kind {
            Kind::Classify => Ok(Self::Classify),
            Kind::Denoise => {
                let sigma = toml.sigma.unwrap_or(25.0);
                if !(0.0..=255.0).contains(&sigma) {
                    return Err(format!("sigma is {sigma}; legal are 0 to 255 grey levels"));
                }
                Ok(Self::Denoise {
                    sigma,
                    seed: toml.seed.unwrap_or(0),
                    output: toml.output.unwrap_or_default(),
                })
            }
            Kind::SuperResolve => {
                let scale = toml.scale.unwrap_or(2);
                if !(2..=MAX_SCALE).contains(&scale) {
                    return Err(format!("scale is {scale}; legal are 2 to {MAX_SCALE}"));
                }
                Ok(Self::SuperResolve {
                    scale,
                    input: toml.input.unwrap_or_default(),
                    border: toml.border.unwrap_or(scale),
                })
            }
        }
    }
}

/// One image as a network sees it, and what its answer is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `[C, H, W]`, or `[H, W, C]` if the card's layout is `nhwc`.
    pub input: Array3<f32>,
    /// What is right.
    pub truth: Truth,
}

/// What a network's answer is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// The class, from 0.
    Label(usize),
    /// The clean picture `[C, H, W]`: values in 0..1 for denoising, red, green and blue in 0..255
    /// (whole numbers) for super-resolution.
    Image(Array3<f32>),
    /// Unknown: only the comparison with a reference is possible.
    None,
}

/// The noisy picture; `noise` stands where this image's draws begin.
pub(crate) fn denoise_sample(
    picture: &Picture,
    preprocess: &Preprocess,
    sigma: f64,
    mut noise: Generator,
) -> Sample {
    let clean = preprocess.tensor(picture);
    let mut input = clean.clone();
    let (channels, height, width) = clean.dim();
    for y in 0..height {
        for x in 0..width {
            for c in 0..channels {
                let shifted = f64::from(clean[[c, y, x]]) + noise.standard_normal() * sigma / 255.0;
                input[[c, y, x]] = shifted as f32;
            }
        }
    }
    Sample {
        input,
        truth: Truth::Image(clean),
    }
}

/// The small picture (or the enlarged luma) and the whole one. The picture has three channels.
pub(crate) fn super_resolve_sample(
    picture: &Picture,
    scale: usize,
    input: SuperResolveInput,
) -> Result<Sample, String> {
    let (width, height) = (
        picture.width / scale * scale,
        picture.height / scale * scale,
    );
    if width == 0 || height == 0 {
        return Err(format!(
            "it is of {} x {} pixels, too small to be reduced by {scale}",
            picture.width, picture.height
        ));
    }
    let picture = picture.crop(Rectangle::whole(width, height));
    let (small_width, small_height) = (width / scale, height / scale);
    let truth = planes(&picture);
    let input = match input {
        SuperResolveInput::Rgb => {
            let small = resize(&picture, small_width, small_height, Filter::Bicubic);
            planes(&small).mapv(|v| v / 255.0)
        }
        SuperResolveInput::Luma => {
            let luma = luma_plane(&truth).mapv(|v| v as f32);
            let small = resize_plane(luma.view(), small_width, small_height, Filter::Bicubic);
            let large = resize_plane(small.view(), width, height, Filter::Bicubic);
            large.mapv(|v| v / 255.0).insert_axis(Axis(0))
        }
    };
    Ok(Sample {
        input,
        truth: Truth::Image(truth),
    })
}

/// Interleaved samples as planes `[C, H, W]` of 0..255.
pub(crate) fn planes(picture: &Picture) -> Array3<f32> {
    let (width, channels) = (picture.width, picture.channels);
    Array3::from_shape_fn((channels, picture.height, width), |(c, y, x)| {
        f32::from(picture.data[(y * width + x) * channels + c])
    })
}

/// Luma in 16..235 (BT.601) of red, green and blue in 0..255, not rounded.
pub(crate) fn luma_plane(rgb: &Array3<f32>) -> Array2<f64> {
    let (_, height, width) = rgb.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let [r, g, b] = [0, 1, 2].map(|c| f64::from(rgb[[c, y, x]]));
        16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey_picture() -> Picture {
        Picture {
            width: 5,
            height: 4,
            channels: 1,
            data: (0..20).map(|v| v * 12).collect(),
        }
    }

    #[test]
    fn noise_is_added_to_the_clean_picture_in_numpys_order() {
        let preprocess = Preprocess::unit_range();
        let picture = grey_picture();
        let sample = denoise_sample(&picture, &preprocess, 25.0, Generator::new(&[0]));
        let Truth::Image(clean) = sample.truth else {
            panic!("no image")
        };
        assert_eq!(clean[[0, 1, 2]], 84.0_f32 / 255.0);
        // numpy.random.default_rng(0).standard_normal((4, 5))[0, 1]
        let expected =
            (f64::from(12.0_f32 / 255.0) + -0.132_104_862_920_239_9 * 25.0 / 255.0) as f32;
        assert_eq!(sample.input[[0, 0, 1]], expected);
    }

    #[test]
    fn super_resolution_cuts_to_a_multiple() {
        let rgb = grey_picture().into_rgb();
        let sample = super_resolve_sample(&rgb, 2, SuperResolveInput::Rgb).unwrap();
        assert_eq!(sample.input.dim(), (3, 2, 2));
        let Truth::Image(truth) = sample.truth else {
            panic!("no image")
        };
        assert_eq!(truth.dim(), (3, 4, 4));
        assert_eq!(truth[[1, 3, 3]], f32::from(18_u8 * 12));
        let luma = super_resolve_sample(&rgb, 2, SuperResolveInput::Luma).unwrap();
        assert_eq!(luma.input.dim(), (1, 4, 4));
        assert!(super_resolve_sample(&rgb, 8, SuperResolveInput::Rgb).is_err());
    }

    #[test]
    fn luma_of_black_and_white_is_16_and_235() {
        let rgb = Array3::from_shape_fn((3, 1, 2), |(_, _, x)| if x == 0 { 0.0 } else { 255.0 });
        let luma = luma_plane(&rgb);
        assert_eq!(luma[[0, 0]], 16.0);
        assert!((luma[[0, 1]] - 235.0).abs() < 1e-9);
    }
}
