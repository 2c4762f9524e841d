//! Image sets in numpy's `.npz`: a zip of the arrays `x` (uint8 pictures, NHWC or grey NHW) and,
//! if there are labels, `y` (one integer a picture).

use crate::error::DataError;
use crate::numpy::{Held, NumpyHeader};
use crate::picture::Picture;
use std::io::{Read, Seek};
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

const MAX_SIDE: usize = 32_768;

/// Pictures of one size, and their labels.
#[derive(Debug)]
pub(crate) struct Npz {
    pub(crate) len: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    channels: usize,
    data: Vec<u8>,
    pub(crate) labels: Option<Vec<usize>>,
}

impl Npz {
    /// Reads both arrays; `path` is for messages.
    pub(crate) fn read(file: impl Read + Seek, path: &Path) -> Result<Self, DataError> {
        let mut archive = ZipArchive::new(file)
            .map_err(|e| DataError::source(path, format!("it is not a .npz file: {e}")))?;
        let pictures = |header: &NumpyHeader| picture_shape(header).map(drop);
        let Some((header, data)) = read_array(&mut archive, ("x", path), &pictures)? else {
            return Err(DataError::source(
                path,
                "it holds no array `x` (uint8 pictures, NHWC or NHW)",
            ));
        };
        let (height, width, channels) =
            picture_shape(&header).map_err(|reason| DataError::array(path, "x", reason))?;
        let len = header.dims[0];
        let of_all = |header: &NumpyHeader| check_labels(header, len);
        let labels = match read_array(&mut archive, ("y", path), &of_all)? {
            None => None,
            Some((header, data)) => {
                Some(labels(&header, &data).map_err(|reason| DataError::array(path, "y", reason))?)
            }
        };
        Ok(Self {
            len,
            width,
            height,
            channels,
            data,
            labels,
        })
    }

    /// Picture `index`, which must be below `len`.
    pub(crate) fn picture(&self, index: usize) -> Picture {
        let size = self.width * self.height * self.channels;
        Picture {
            width: self.width,
            height: self.height,
            channels: self.channels,
            data: self.data[index * size..(index + 1) * size].to_vec(),
        }
    }
}

fn picture_shape(header: &NumpyHeader) -> Result<(usize, usize, usize), String> {
    if !matches!(header.dtype.as_str(), "|u1" | "u1" | "<u1" | ">u1") {
        return Err(format!(
            "its type is `{}`; pictures are uint8 (`|u1`)",
            header.dtype
        ));
    }
    let (height, width, channels) = match header.dims[..] {
        [_, height, width] => (height, width, 1),
        [_, height, width, channels @ (1 | 3)] => (height, width, channels),
        _ => {
            return Err(format!(
                "its shape is {:?}; pictures are [N, H, W] or [N, H, W, C] with C of 1 or 3",
                header.dims
            ));
        }
    };
    let side = 1..=MAX_SIDE;
    if !side.contains(&height) || !side.contains(&width) {
        return Err(format!(
            "its pictures are of {width} x {height} pixels; legal are 1 to {MAX_SIDE} a side"
        ));
    }
    Ok((height, width, channels))
}

fn check_labels(header: &NumpyHeader, pictures: usize) -> Result<(), String> {
    if header.dims != [pictures] {
        return Err(format!(
            "its shape is {:?}; there are {pictures} pictures, so it must be [{pictures}]",
            header.dims
        ));
    }
    if !matches!(header.dtype.get(1..2), Some("i" | "u")) {
        let dtype = &header.dtype;
        return Err(format!("its type is `{dtype}`; labels are integers"));
    }
    Ok(())
}

fn labels(header: &NumpyHeader, data: &[u8]) -> Result<Vec<usize>, String> {
    let signed = header.dtype.get(1..2) == Some("i");
    let width = header.item_bytes()?;
    data.chunks_exact(width)
        .enumerate()
        .map(|(i, bytes)| {
            let mut wide = [0_u8; 8];
            wide[..width].copy_from_slice(bytes);
            let value = u64::from_le_bytes(wide);
            let negative = signed && value >> (8 * width - 1) & 1 == 1;
            match usize::try_from(value) {
                Ok(label) if !negative => Ok(label),
                _ => Err(format!("label {i} is negative; labels count from 0")),
            }
        })
        .collect()
}

/// What no array of a set may be, told before its bytes are read.
fn check_layout(header: &NumpyHeader) -> Result<(), String> {
    if header.fortran_order {
        return Err("it is in Fortran order; save it with numpy.ascontiguousarray".to_string());
    }
    let dims = header.dims.len();
    if !(1..=4).contains(&dims) {
        return Err(format!("it has {dims} dimensions; legal are 1 to 4"));
    }
    Ok(())
}

/// The array's header and its bytes, where the header is `legal`; `None` when the archive has no such array.
fn read_array<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    (name, path): (&str, &Path),
    legal: &dyn Fn(&NumpyHeader) -> Result<(), String>,
) -> Result<Option<(NumpyHeader, Vec<u8>)>, DataError> {
    let fail = |reason: String| DataError::array(path, name, reason);
    let mut entry = match archive.by_name(&format!("{name}.npy")) {
        Ok(entry) => entry,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(e) => return Err(fail(e.to_string())),
    };
    let header = NumpyHeader::read(&mut entry).map_err(fail)?;
    check_layout(&header)
        .and_then(|()| legal(&header))
        .map_err(fail)?;
    let held = Held::Packed(entry.compressed_size());
    let data = header.data(entry, held).map_err(fail)?;
    Ok(Some((header, data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{flip_bits, npy, npz};
    use std::io::Cursor;

    fn read(bytes: &[u8]) -> Result<Npz, DataError> {
        Npz::read(Cursor::new(bytes), Path::new("set.npz"))
    }

    fn small() -> Vec<u8> {
        let x = npy("|u1", "(2, 2, 3, 3)", &(0..36).collect::<Vec<u8>>());
        let y = npy(
            "<i8",
            "(2,)",
            &[[7, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]].concat(),
        );
        npz(&[("x", x), ("y", y)])
    }

    #[test]
    fn pictures_and_labels_come_back() {
        let set = read(&small()).unwrap();
        assert_eq!((set.len, set.width, set.height), (2, 3, 2));
        assert_eq!(set.picture(1).data, (18..36).collect::<Vec<u8>>());
        assert_eq!(set.labels, Some(vec![7, 257]));
        let grey = read(&npz(&[("x", npy("|u1", "(1, 2, 1)", &[4, 5]))])).unwrap();
        assert_eq!((grey.picture(0).channels, grey.labels), (1, None));
        let big = npz(&[
            ("x", npy("|u1", "(1, 1, 1)", &[4])),
            ("y", npy(">i2", "(1,)", &[1, 2])),
        ]);
        assert_eq!(read(&big).unwrap().labels, Some(vec![258]));
    }

    #[test]
    fn wrong_arrays_are_named_with_their_fault() {
        let cases = [
            (npy("<f4", "(1, 1, 1, 1)", &[0; 4]), "type is `<f4`"),
            // Told before the numbers are asked for.
            (npy("<f4", "(1000, 1, 1, 1)", &[0; 4]), "type is `<f4`"),
            (npy("|b1", "(1, 1, 1)", &[0]), "pictures are uint8"),
            (npy("|u1", "(2, 2)", &[0; 4]), "shape is [2, 2]"),
            (npy("|u1", "(1, 1, 1, 4)", &[0; 4]), "C of 1 or 3"),
            (npy("|u1", "(1, 0, 4)", &[]), "legal are 1 to"),
            (npy("|u1", "(5, 1, 1)", &[0; 4]), "fewer"),
            (npy("|u1", "(3, 1, 1)", &[0; 4]), "more than"),
            (
                npy("|u1", "(1099511627776, 16, 16)", &[0; 4]),
                "asks for more",
            ),
            (
                npy("|u1", "(18446744073709551615, 9, 9)", &[0; 4]),
                "asks for more",
            ),
            (
                npy("|u1", "(184467440737095516150, 9, 9)", &[0; 4]),
                "dimension",
            ),
            (npy("|u1", "(-1, 2, 2)", &[0; 4]), "dimension"),
            (b"not an array".to_vec(), "numpy's mark"),
        ];
        for (x, reason) in cases {
            let error = read(&npz(&[("x", x)])).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let mut fortran = npy("|u1", "(1, 2, 2)", &[0; 4]);
        let at = fortran.windows(5).position(|w| w == b"False").unwrap();
        fortran[at..at + 5].copy_from_slice(b"True ");
        let error = read(&npz(&[("x", fortran)])).unwrap_err().to_string();
        assert!(error.contains("Fortran"), "{error}");
        let negative = npy("<i4", "(1,)", &[255; 4]);
        let set = npz(&[("x", npy("|u1", "(1, 1, 1)", &[4])), ("y", negative)]);
        assert!(read(&set).unwrap_err().to_string().contains("negative"));
        let count = npz(&[
            ("x", npy("|u1", "(1, 1, 1)", &[4])),
            ("y", npy("|u1", "(2,)", &[1, 2])),
        ]);
        assert!(read(&count).unwrap_err().to_string().contains("1 pictures"));
        let floats = npy("<f8", "(1,)", &[0]);
        let set = npz(&[("x", npy("|u1", "(1, 1, 1)", &[4])), ("y", floats)]);
        let told = read(&set).unwrap_err().to_string();
        assert!(told.contains("labels are integers"), "{told}");
        assert!(read(b"PK").is_err());
    }

    #[test]
    fn arrays_that_unpack_to_far_more_than_is_there_are_refused() {
        let side = 8192;
        let header = format!("(1, {side}, {side})");
        let bomb = npz(&[("x", npy("|u1", &header, &vec![0; side * side]))]);
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        let error = read(&bomb).unwrap_err().to_string();
        assert!(error.contains("times as many"), "{error}");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = small();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn flipped_bits_never_panic() {
        let bytes = small();
        for seed in 0..2000 {
            if let Ok(set) = read(&flip_bits(&bytes, seed, 1 + seed as usize % 3)) {
                (0..set.len).for_each(|i| {
                    set.picture(i);
                });
            }
        }
    }
}
