//! What several rooms' tests share: goldens in hexadecimal and seeded damage.

use crate::random::Generator;
use serde::Deserialize;
use std::io::{Cursor, Write as _};

/// Resizing goldens: 8-bit pictures and float planes.
#[derive(Deserialize)]
pub(crate) struct Golden<T> {
    pub(crate) bytes: Vec<T>,
    pub(crate) floats: Vec<T>,
}

pub(crate) fn hex_bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// The bytes with `count` seeded bits turned.
pub(crate) fn flip_bits(bytes: &[u8], seed: u64, count: usize) -> Vec<u8> {
    let mut generator = Generator::new(&[seed]);
    let mut damaged = bytes.to_vec();
    for _ in 0..count {
        let bit = generator.below(8 * damaged.len());
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    damaged
}

/// A `.npy` file of version 1.
pub(crate) fn npy(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// A zip of `name.npy` for each array, deflated.
pub(crate) fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let named: Vec<(String, Vec<u8>)> = arrays
        .iter()
        .map(|(name, data)| (format!("{name}.npy"), data.clone()))
        .collect();
    zip_of(&named)
}

/// A zip of files, deflated.
pub(crate) fn zip_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in files {
        writer
            .start_file(name.as_str(), zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A tar of files.
pub(crate) fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        // Written directly, so that hostile names can be made too.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, data.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn xz_of(data: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A grey PNG with one value.
pub(crate) fn flat_png(width: u32, height: u32, value: u8) -> Vec<u8> {
    let pixels = image::GrayImage::from_pixel(width, height, image::Luma([value]));
    let mut png = Cursor::new(Vec::new());
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}
