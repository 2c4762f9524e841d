//! PSNR of denoised and enlarged images, with the published protocols' rounding and colour.

use crate::picture::Picture;
use crate::resample::{Filter, resize};
use crate::task::{DenoiseOutput, SuperResolveInput, Task, luma_plane, planes};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, s};

/// PSNR in dB of a network's output for a task on images.
pub(super) fn psnr_of(
    task: &Task,
    truth: &Array3<f32>,
    input: ArrayView3<'_, f32>,
    output: &Array3<f32>,
) -> Result<f64, String> {
    match *task {
        Task::Denoise { output: kind, .. } => {
            if output.dim() != truth.dim() || input.dim() != truth.dim() {
                return Err(wrong_shape(output.shape(), truth.shape()));
            }
            let result = match kind {
                DenoiseOutput::Noise => &input - output,
                DenoiseOutput::Image => output.clone(),
            };
            let result = result.mapv(|v| v.clamp(0.0, 1.0));
            let pairs = result.iter().zip(truth);
            Ok(psnr_db(
                pairs.map(|(&a, &b)| (f64::from(a), f64::from(b))),
                1.0,
            ))
        }
        Task::SuperResolve { border, .. } => {
            let (_, height, width) = truth.dim();
            let (channels, ..) = output.dim();
            if !matches!(channels, 1 | 3) || output.dim() != (channels, height, width) {
                return Err(wrong_shape(
                    output.shape(),
                    &[channels.min(3), height, width],
                ));
            }
            let bytes = output.mapv(|v| (v * 255.0).clamp(0.0, 255.0).round_ties_even());
            let luma = match channels {
                3 => luma_plane(&bytes),
                _ => bytes.index_axis(Axis(0), 0).mapv(f64::from),
            };
            luma_psnr(&luma, truth, border)
        }
        Task::Classify => Err("the task is classification".to_string()),
    }
}

fn wrong_shape(found: &[usize], needed: &[usize]) -> String {
    format!("its shape is {found:?} without the batch axis; the picture's is {needed:?}")
}

/// PSNR of the input itself: noisy, or enlarged by the bicubic filter.
pub(super) fn input_psnr(
    task: &Task,
    truth: &Array3<f32>,
    input: ArrayView3<'_, f32>,
) -> Result<f64, String> {
    match *task {
        Task::Denoise { .. } => {
            if input.dim() != truth.dim() {
                return Err(wrong_shape(input.shape(), truth.shape()));
            }
            let pairs = input.iter().zip(truth);
            Ok(psnr_db(
                pairs.map(|(&a, &b)| (f64::from(a), f64::from(b))),
                1.0,
            ))
        }
        Task::SuperResolve {
            input: SuperResolveInput::Luma,
            border,
            ..
        } => {
            let plane = input.index_axis(Axis(0), 0).mapv(|v| f64::from(v) * 255.0);
            luma_psnr(&plane, truth, border)
        }
        Task::SuperResolve { border, .. } => {
            let small = picture_of(input);
            let (_, height, width) = truth.dim();
            let large = resize(&small, width, height, Filter::Bicubic);
            luma_psnr(&luma_plane(&planes(&large)), truth, border)
        }
        Task::Classify => Err("the task is classification".to_string()),
    }
}

/// The 8-bit picture whose planes over 255 are the input.
fn picture_of(input: ArrayView3<'_, f32>) -> Picture {
    let (channels, height, width) = input.dim();
    let mut data = Vec::with_capacity(input.len());
    for y in 0..height {
        for x in 0..width {
            data.extend((0..channels).map(|c| (input[[c, y, x]] * 255.0).round() as u8));
        }
    }
    Picture {
        width,
        height,
        channels,
        data,
    }
}

/// PSNR (peak 255) of luma against the true picture's, without the border.
fn luma_psnr(luma: &Array2<f64>, truth: &Array3<f32>, border: usize) -> Result<f64, String> {
    let truth = luma_plane(truth);
    let (height, width) = truth.dim();
    if luma.dim() != truth.dim() {
        return Err(wrong_shape(luma.shape(), truth.shape()));
    }
    if height <= 2 * border || width <= 2 * border {
        return Err(format!(
            "the picture of {width} x {height} pixels is all border ({border} pixels a side)"
        ));
    }
    let inner = s![border..height - border, border..width - border];
    let (a, b): (ArrayView2<'_, f64>, ArrayView2<'_, f64>) =
        (luma.slice(inner), truth.slice(inner));
    Ok(psnr_db(a.iter().copied().zip(b.iter().copied()), 255.0))
}

fn psnr_db(pairs: impl Iterator<Item = (f64, f64)>, peak: f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for (a, b) in pairs {
        sum += (a - b) * (a - b);
        count += 1;
    }
    10.0 * (peak * peak / (sum / count as f64)).log10()
}
