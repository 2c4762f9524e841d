//! Arrays that a network is run on, from .npy and .npz files.

use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use tqz_data::{Held, NumpyHeader};

use crate::commands::open;

/// The array of an .npy file.
///
/// # Errors
/// What is no regular file, or no array of numbers.
pub(super) fn npy(path: &Path) -> anyhow::Result<ArrayD<f32>> {
    let file = open(path)?;
    let shown = || format!("cannot read {}", path.display());
    let held = Held::File(file.metadata().with_context(shown)?.len());
    array(BufReader::new(file), held).with_context(shown)
}

/// The arrays of an .npz file: those named like the inputs, else all in their order.
///
/// # Errors
/// What is no regular file or no archive, arrays that are not the network's, or hold no numbers.
pub(super) fn npz(path: &Path, names: &[String]) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let file = BufReader::new(open(path)?);
    archive(file, names).with_context(|| format!("cannot read {}", path.display()))
}

fn archive(file: impl Read + std::io::Seek, names: &[String]) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let mut archive = zip::ZipArchive::new(file)?;
    let held: Vec<String> = archive
        .file_names()
        .map(|name| name.map(|name| name.into_owned()))
        .collect::<Result<_, _>>()?;
    let of_input = |name: &String| format!("{name}.npy");
    let wanted: Vec<String> = if names.iter().all(|name| held.contains(&of_input(name))) {
        names.iter().map(of_input).collect()
    } else {
        held
    };
    if wanted.len() != names.len() {
        bail!(
            "it holds {} arrays, the network has {} inputs: {}",
            wanted.len(),
            names.len(),
            names.join(", ")
        );
    }
    let mut arrays = Vec::new();
    for name in wanted {
        let entry = archive.by_name(&name).with_context(|| name.clone())?;
        let packed = Held::Packed(entry.compressed_size());
        arrays.push(array(entry, packed).with_context(|| name)?);
    }
    Ok(arrays)
}

/// An array of floats, or of doubles, bytes or whole numbers as floats.
fn array(mut file: impl Read, held: Held) -> anyhow::Result<ArrayD<f32>> {
    let header = NumpyHeader::read(&mut file).map_err(anyhow::Error::msg)?;
    let to_floats = to_floats(&header.dtype)?;
    let data = header.data(file, held).map_err(anyhow::Error::msg)?;
    let order = IxDyn(&header.dims).set_f(header.fortran_order);
    Ok(ArrayD::from_shape_vec(order, to_floats(&data))?)
}

/// All numbers as floats, from their bytes with the smallest of each first.
type ToFloats = fn(&[u8]) -> Vec<f32>;

/// How numbers of a type become floats.
///
/// # Errors
/// Another type than one of those read here.
fn to_floats(dtype: &str) -> anyhow::Result<ToFloats> {
    Ok(match dtype.get(1..) {
        Some("f4") => |data| each(data, f32::from_le_bytes),
        Some("f8") => |data| each(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Some("u1") => |data| each(data, |[byte]| f32::from(byte)),
        Some("i8") => |data| each(data, |bytes| i64::from_le_bytes(bytes) as f32),
        _ => bail!(
            "its type is {dtype}; float32 (<f4), float64 (<f8), uint8 (|u1) and int64 (<i8) are legal: convert it with astype"
        ),
    })
}

/// Every number of `N` bytes.
fn each<const N: usize>(data: &[u8], number: fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = data.as_chunks::<N>();
    chunks.iter().map(|chunk| number(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray_npy::WriteNpyExt;
    use std::io::{Cursor, Write};

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16 + 1).to_le_bytes());
        bytes.extend(header.bytes().chain([b'\n']));
        bytes.extend(data);
        bytes
    }

    fn described(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}");
        file(&header, data)
    }

    fn read(bytes: &[u8]) -> anyhow::Result<ArrayD<f32>> {
        array(bytes, Held::File(bytes.len() as u64))
    }

    #[test]
    fn arrays_of_any_legal_type_and_order_come_back() {
        let wanted = ArrayD::from_shape_fn(IxDyn(&[2, 3]), |at| (10 * at[0] + at[1]) as f32);
        let mut floats = Vec::new();
        wanted.write_npy(&mut floats).expect("written");
        let mut fortran = Vec::new();
        let turned = wanted.t().as_standard_layout().into_owned();
        turned.t().write_npy(&mut fortran).expect("written");
        let mut doubles = Vec::new();
        let wide = wanted.mapv(f64::from);
        wide.write_npy(&mut doubles).expect("written");
        let mut whole = Vec::new();
        wanted
            .mapv(|v| v as i64)
            .write_npy(&mut whole)
            .expect("written");
        let bytes = described("'|u1'", "(2, 3)", &[0, 1, 2, 10, 11, 12]);
        let big: Vec<u8> = wanted.iter().flat_map(|v| v.to_be_bytes()).collect();
        for stored in [
            floats,
            fortran,
            doubles,
            whole,
            bytes,
            described("'>f4'", "(2, 3)", &big),
        ] {
            assert_eq!(read(&stored).expect("readable"), wanted);
        }
    }

    #[test]
    fn what_a_header_announces_must_be_there() {
        let cases = [
            (
                described("'<f4'", "(1099511627776, 16)", &[0; 4]),
                "asks for more",
            ),
            (
                described("'<f8'", "(4294967296, 4294967296)", &[0; 4]),
                "asks for more",
            ),
            (described("'<f4'", "(268435456,)", &[0; 4]), "4 follow it"),
            (described("'<f4'", "(1,)", &[0; 5]), "5 follow it"),
            (described("'<f2'", "(1,)", &[0; 2]), "its type is <f2"),
            (described("[('a', '<f4')]", "(1,)", &[0; 4]), "a structure"),
            (file("{}", &[]), "header is damaged"),
            (
                b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
                "legal are up to",
            ),
            (b"no array".to_vec(), "numpy's mark"),
        ];
        for (bytes, reason) in cases {
            let told = format!("{:#}", read(&bytes).expect_err("refused"));
            assert!(told.contains(reason), "{told}");
        }
    }

    #[test]
    fn archives_that_unpack_to_far_more_than_is_there_are_refused() {
        let zeros = vec![0; 1 << 25];
        let data = described("'|u1'", "(33554432,)", &zeros);
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file("x.npy", options).expect("begun");
        writer.write_all(&data).expect("written");
        let packed = writer.finish().expect("finished");
        let told = archive(packed, &["x".to_owned()]).expect_err("refused");
        assert!(format!("{told:#}").contains("times as many"), "{told:#}");
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_no_arrays() {
        for told in [
            npy(Path::new("/dev/zero")).err(),
            npz(Path::new("/dev/zero"), &[]).err(),
        ] {
            assert!(told.is_some_and(|told| format!("{told:#}").contains("regular file")));
        }
    }
}
