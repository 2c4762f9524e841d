//! From the bytes of a picture file to pixels. JPEG goes through a decoder that gives libjpeg-turbo's
//! very numbers (the protocols' scores were measured with them); PNG, BMP and WebP leave no choice but
//! for samples of 16 bits, of which the high byte is taken.
//! Sizes are checked against the file's length before anything of that size is allocated.

use crate::picture::Picture;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use libjpeg_turbo_rs::{ComponentInfo, DecodeLimits, Decoder, PixelFormat};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Endings of file names that are taken for pictures (compared in lower case).
pub(crate) const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

/// Most pixels of one picture.
const MAX_PIXELS: u64 = 1 << 26;
/// Most pixels that a byte of a JPEG file may stand for: a block of 64 takes at least a bit.
const MAX_PIXELS_PER_JPEG_BYTE: u64 = 600;
/// The same of other files: above deflate's densest code at one bit a pixel, 8256.
const MAX_PIXELS_PER_BYTE: u64 = 10_000;
const MAX_SIDE: usize = 32_768;
/// Real progressive files have about ten; each costs a pass over the picture.
const MAX_SCANS: usize = 100;

/// Width and height from the header alone.
pub(crate) fn size(bytes: &[u8]) -> Result<(usize, usize), String> {
    if is_jpeg(bytes) {
        let decoder = jpeg_decoder(bytes)?;
        Ok((decoder.header().width(), decoder.header().height()))
    } else {
        let (width, height) = other_decoder(bytes)?.dimensions();
        check_size((width as usize, height as usize), bytes)?;
        Ok((width as usize, height as usize))
    }
}

/// All pixels: one channel if the file is grey, else three; transparency is dropped, orientation
/// notes are ignored, as Pillow's conversion does.
pub(crate) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    if is_jpeg(bytes) {
        decode_jpeg(bytes)
    } else {
        decode_other(bytes)
    }
}

fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8])
}

fn check_size((width, height): (usize, usize), bytes: &[u8]) -> Result<(), String> {
    let pixels = width as u64 * height as u64;
    if pixels == 0 || width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(format!(
            "its size is {width} x {height}; legal are 1 to {MAX_SIDE} a side and up to {MAX_PIXELS} pixels"
        ));
    }
    let densest = if is_jpeg(bytes) {
        MAX_PIXELS_PER_JPEG_BYTE
    } else {
        MAX_PIXELS_PER_BYTE
    };
    if pixels > densest * bytes.len() as u64 {
        return Err(format!(
            "{} bytes cannot hold the {width} x {height} pixels its header claims",
            bytes.len()
        ));
    }
    Ok(())
}

fn jpeg_decoder(bytes: &[u8]) -> Result<Decoder<'_>, String> {
    let limits = DecodeLimits {
        max_width: MAX_SIDE,
        max_height: MAX_SIDE,
        max_pixels: MAX_PIXELS,
        max_scans: MAX_SCANS,
        max_memory: None,
    };
    let decoder = Decoder::new_with_limits(bytes, limits).map_err(|e| format!("JPEG: {e}"))?;
    let header = decoder.header();
    if header.precision != 8 || header.is_lossless {
        return Err("JPEG: only 8 bits per sample, not lossless, can be read".to_string());
    }
    if !matches!(header.components.len(), 1 | 3 | 4) {
        return Err(format!(
            "JPEG: it has {} components; legal are 1, 3 and 4",
            header.components.len()
        ));
    }
    check_sampling(&header.components)?;
    check_size((header.width(), header.height()), bytes)?;
    Ok(decoder)
}

/// Real files sample the first component (and the fourth, black) fully and the two of colour at full,
/// half or a quarter of it; the decoder is not made for much else.
fn check_sampling(components: &[ComponentInfo]) -> Result<(), String> {
    let factors = |c: &ComponentInfo| (c.horizontal_sampling, c.vertical_sampling);
    let all: Vec<(u8, u8)> = components.iter().map(factors).collect();
    let full = all[0];
    let divides = |&(h, v): &(u8, u8)| {
        let legal = |f| matches!(f, 1 | 2 | 4);
        legal(h) && legal(v) && h <= full.0 && v <= full.1
    };
    let legal = match all[..] {
        [_] => true,
        [_, _, _, black] => {
            all.iter().all(|f| *f == (1, 1))
                || all == [(2, 2), (1, 1), (1, 1), black] && black == full
        }
        _ => all.iter().all(divides),
    };
    if legal {
        Ok(())
    } else {
        Err(format!(
            "JPEG: the sampling factors {all:?} of its components cannot be read"
        ))
    }
}

/// A file cut inside its last scan has no end marker behind the scan's start; the decoder would fill
/// in what is missing.
fn check_jpeg_end(bytes: &[u8]) -> Result<(), String> {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    if last(0xd9) > last(0xda) {
        Ok(())
    } else {
        Err("JPEG: the end marker is missing, the file was cut short".to_string())
    }
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let decoder = jpeg_decoder(bytes)?;
    check_jpeg_end(bytes)?;
    let (format, channels) = match decoder.header().components.len() {
        1 => (PixelFormat::Grayscale, 1),
        3 => (PixelFormat::Rgb, 3),
        _ => (PixelFormat::Cmyk, 4),
    };
    let decoder = decoder
        .with_output_format(format)
        // Only together do these report data that ends early; alone, the strict mode fills in grey.
        .with_lenient(true)
        .with_stop_on_warning(true);
    // The decoder is sound but young: damage that it has not been made for must not end the program.
    let image = catch_unwind(AssertUnwindSafe(|| decoder.decode_image()))
        .map_err(|_| "JPEG: the data are damaged beyond decoding".to_string())?
        .map_err(|e| format!("JPEG: {e}"))?;
    let picture = Picture {
        width: image.width,
        height: image.height,
        channels,
        data: image.data,
    };
    if picture.data.len() != picture.width * picture.height * channels {
        return Err("JPEG: the decoder gave another number of samples than pixels".to_string());
    }
    Ok(if channels == 4 {
        inks_to_rgb(&picture)
    } else {
        picture
    })
}

/// Cyan, magenta, yellow and black as JPEG files hold them (255 is no ink) to red, green and blue,
/// in Pillow's arithmetic: the product is rounded as `(p + 128 + (p + 128 >> 8)) >> 8`.
fn inks_to_rgb(picture: &Picture) -> Picture {
    let mut data = Vec::with_capacity(picture.data.len() / 4 * 3);
    for pixel in picture.data.chunks_exact(4) {
        let light = i32::from(pixel[3]);
        for &ink in &pixel[..3] {
            let product = (255 - i32::from(ink)) * light + 128;
            data.push((light - ((product + (product >> 8)) >> 8)).clamp(0, 255) as u8);
        }
    }
    Picture {
        channels: 3,
        data,
        ..*picture
    }
}

fn other_decoder(bytes: &[u8]) -> Result<impl ImageDecoder + '_, String> {
    let unknown = || "it is not a JPEG, PNG, BMP or WebP file".to_string();
    let format = image::guess_format(bytes).map_err(|_| unknown())?;
    if !matches!(
        format,
        ImageFormat::Png | ImageFormat::Bmp | ImageFormat::WebP
    ) {
        return Err(unknown());
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    reader.into_decoder().map_err(|e| e.to_string())
}

fn decode_other(bytes: &[u8]) -> Result<Picture, String> {
    let decoder = other_decoder(bytes)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size((width, height), bytes)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    image.apply_orientation(Orientation::NoTransforms);
    let high = |samples: &[u16]| samples.iter().map(|v| (v >> 8) as u8).collect::<Vec<u8>>();
    let (channels, data) = match image {
        DynamicImage::ImageLuma8(i) => (1, i.into_raw()),
        DynamicImage::ImageLumaA8(i) => (1, without_last(&i.into_raw(), 2)),
        DynamicImage::ImageRgb8(i) => (3, i.into_raw()),
        DynamicImage::ImageRgba8(i) => (3, without_last(&i.into_raw(), 4)),
        DynamicImage::ImageLuma16(i) => (1, high(i.as_raw())),
        DynamicImage::ImageLumaA16(i) => (1, without_last(&high(i.as_raw()), 2)),
        DynamicImage::ImageRgb16(i) => (3, high(i.as_raw())),
        DynamicImage::ImageRgba16(i) => (3, without_last(&high(i.as_raw()), 4)),
        _ => return Err("its samples are not integers of 8 or 16 bits".to_string()),
    };
    Ok(Picture {
        width,
        height,
        channels,
        data,
    })
}

/// Drops the last of every `channels` samples (the transparency).
fn without_last(samples: &[u8], channels: usize) -> Vec<u8> {
    samples
        .chunks_exact(channels)
        .flat_map(|pixel| &pixel[..channels - 1])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{flip_bits, hex_bytes};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        name: String,
        file: String,
        width: usize,
        height: usize,
        rgb: String,
        grey: String,
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str(include_str!("../tests/goldens/pillow_decode.json")).unwrap()
    }

    #[test]
    fn pixels_equal_pillows() {
        let cases = cases();
        assert!(cases.len() >= 14);
        for case in cases {
            let bytes = hex_bytes(&case.file);
            assert_eq!(size(&bytes).unwrap(), (case.width, case.height));
            let picture = decode(&bytes).unwrap();
            assert_eq!((picture.width, picture.height), (case.width, case.height));
            let rgb = picture.clone().into_rgb().data;
            assert!(rgb == hex_bytes(&case.rgb), "{}: colours differ", case.name);
            let grey = picture.into_grey().data;
            assert!(grey == hex_bytes(&case.grey), "{}: greys differ", case.name);
        }
    }

    #[test]
    fn sixteen_bit_samples_give_their_high_byte() {
        let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_vec(3, 1, vec![255, 256, 65535]);
        let mut png = Vec::new();
        DynamicImage::from(deep.unwrap())
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
            .unwrap();
        assert_eq!(decode(&png).unwrap().data, [0, 1, 255]);
    }

    #[test]
    fn truncated_pictures_are_errors() {
        for case in cases() {
            let bytes = hex_bytes(&case.file);
            for length in (0..bytes.len() * 3 / 4).step_by(7) {
                assert!(
                    decode(&bytes[..length]).is_err(),
                    "{} cut to {length} of {} bytes was accepted",
                    case.name,
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn flipped_bits_never_panic() {
        for (seed, case) in cases().iter().enumerate() {
            let bytes = hex_bytes(&case.file);
            for round in 0..150 {
                let damaged = flip_bits(&bytes, seed as u64 * 1000 + round, 1 + round as usize % 8);
                // Damage inside the samples may go unnoticed; what is accepted must be consistent.
                if let Ok(picture) = decode(&damaged) {
                    assert_eq!(
                        picture.data.len(),
                        picture.width * picture.height * picture.channels
                    );
                }
                let _ = size(&damaged);
            }
        }
    }

    #[test]
    fn headers_that_claim_more_than_the_file_holds_are_errors() {
        let bytes = hex_bytes(&cases()[0].file);
        let sof = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        let mut huge = bytes.clone();
        huge[sof + 5..sof + 9].copy_from_slice(&[0x7f, 0xff, 0x07, 0xff]);
        assert!(decode(&huge).unwrap_err().contains("cannot hold"));
        huge[sof + 5..sof + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
        assert!(decode(&huge).is_err());
        let mut sampled = bytes.clone();
        sampled[sof + 11] = 0x13;
        assert!(decode(&sampled).unwrap_err().contains("sampling"));
        assert!(decode(b"GIF89a").is_err());
        assert!(decode(&[]).is_err());
    }
}
