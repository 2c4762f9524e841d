//! Image sets in numpy's `.npz`: a zip of the arrays `x` (uint8 pictures, NHWC or grey NHW) and,
//! if there are labels, `y` (one integer a picture). The header's shape is believed only as far as
//! bytes follow it.

use crate::error::DataError;
use crate::picture::Picture;
use std::io::{Read, Seek};
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

/// Most bytes of one array, unpacked.
const MAX_ARRAY_BYTES: u64 = 4 << 30;
/// Largest ratio of an array's bytes to the packed ones, as for archives.
const MAX_RATIO: u64 = 256;
/// Arrays of up to this many bytes may be packed as tightly as they like (labels that are all the same).
const FREE_BYTES: u64 = 16 << 20;
/// Longest header of an array; numpy's own are of 128 bytes.
const MAX_HEADER_BYTES: usize = 4096;
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

/// An array's header: numpy's type string such as `|u1`, and its dimensions.
#[derive(Debug, PartialEq)]
struct Header {
    dtype: String,
    dims: Vec<usize>,
}

impl Npz {
    /// Reads both arrays; `path` is for messages.
    pub(crate) fn read(file: impl Read + Seek, path: &Path) -> Result<Self, DataError> {
        let mut archive = ZipArchive::new(file)
            .map_err(|e| DataError::source(path, format!("it is not a .npz file: {e}")))?;
        let Some((header, data)) = read_array(&mut archive, "x", path)? else {
            return Err(DataError::source(
                path,
                "it holds no array `x` (uint8 pictures, NHWC or NHW)",
            ));
        };
        let (height, width, channels) =
            picture_shape(&header).map_err(|reason| DataError::array(path, "x", reason))?;
        let len = header.dims[0];
        let labels = match read_array(&mut archive, "y", path)? {
            None => None,
            Some((header, data)) => Some(
                labels(&header, &data, len)
                    .map_err(|reason| DataError::array(path, "y", reason))?,
            ),
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

fn picture_shape(header: &Header) -> Result<(usize, usize, usize), String> {
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

fn labels(header: &Header, data: &[u8], pictures: usize) -> Result<Vec<usize>, String> {
    if header.dims != [pictures] {
        return Err(format!(
            "its shape is {:?}; there are {pictures} pictures, so it must be [{pictures}]",
            header.dims
        ));
    }
    let (order, kind) = header.dtype.split_at(1);
    let width = match kind {
        "i1" | "u1" => 1,
        "i2" | "u2" => 2,
        "i4" | "u4" => 4,
        "i8" | "u8" => 8,
        _ => {
            return Err(format!(
                "its type is `{}`; labels are integers",
                header.dtype
            ));
        }
    };
    data.chunks_exact(width)
        .enumerate()
        .map(|(i, bytes)| {
            let mut wide = [0_u8; 8];
            for (k, &b) in bytes.iter().enumerate() {
                wide[if order == ">" { width - 1 - k } else { k }] = b;
            }
            let value = u64::from_le_bytes(wide);
            let negative = kind.starts_with('i') && value >> (8 * width - 1) & 1 == 1;
            match usize::try_from(value) {
                Ok(label) if !negative => Ok(label),
                _ => Err(format!("label {i} is negative; labels count from 0")),
            }
        })
        .collect()
}

/// The array's header and its bytes; `None` when the archive has no such array.
fn read_array<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    name: &str,
    path: &Path,
) -> Result<Option<(Header, Vec<u8>)>, DataError> {
    let fail = |reason: String| DataError::array(path, name, reason);
    let mut entry = match archive.by_name(&format!("{name}.npy")) {
        Ok(entry) => entry,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(e) => return Err(fail(e.to_string())),
    };
    let header = read_header(&mut entry).map_err(fail)?;
    let item = item_bytes(&header.dtype).map_err(fail)?;
    let bytes = header
        .dims
        .iter()
        .try_fold(item, |product, &dim| product.checked_mul(dim as u64))
        .filter(|&bytes| bytes <= MAX_ARRAY_BYTES)
        .ok_or_else(|| {
            fail(format!(
                "its shape {:?} asks for more than {MAX_ARRAY_BYTES} bytes",
                header.dims
            ))
        })?;
    let packed = entry.compressed_size();
    if bytes > FREE_BYTES && bytes / MAX_RATIO > packed {
        return Err(fail(format!(
            "its {packed} bytes unpack to {bytes}, more than {MAX_RATIO} times as many, so it holds no pictures"
        )));
    }
    let mut data = Vec::new();
    // One byte more than announced, so that a longer array shows; the buffer grows with what comes.
    entry
        .take(bytes + 1)
        .read_to_end(&mut data)
        .map_err(|e| fail(format!("its data are damaged: {e}")))?;
    if data.len() as u64 != bytes {
        let there = match data.len() as u64 > bytes {
            true => "more than these",
            false => "fewer",
        };
        return Err(fail(format!(
            "its shape {:?} asks for {bytes} bytes, but {there} are there",
            header.dims
        )));
    }
    Ok(Some((header, data)))
}

fn item_bytes(dtype: &str) -> Result<u64, String> {
    let known = dtype.is_ascii() && dtype.len() == 3 && "|<>=".contains(&dtype[..1]);
    match (known, dtype.get(1..2), dtype.get(2..)) {
        (true, Some("i" | "u"), Some("1")) => Ok(1),
        (true, Some("i" | "u"), Some("2")) => Ok(2),
        (true, Some("i" | "u"), Some("4")) => Ok(4),
        (true, Some("i" | "u"), Some("8")) => Ok(8),
        _ => Err(format!(
            "its type is `{dtype}`; pictures are uint8 (`|u1`) and labels integers"
        )),
    }
}

/// The `.npy` header (NEP 1, versions 1 to 3).
fn read_header(entry: &mut impl Read) -> Result<Header, String> {
    let short = |e: std::io::Error| format!("its header is damaged: {e}");
    let mut start = [0_u8; 8];
    entry.read_exact(&mut start).map_err(short)?;
    if start[..6] != *b"\x93NUMPY" {
        return Err("it does not start with numpy's mark".to_string());
    }
    let length_bytes = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => {
            return Err(format!(
                "its header is of version {version}; legal are 1 to 3"
            ));
        }
    };
    let mut length = [0_u8; 4];
    entry
        .read_exact(&mut length[..length_bytes])
        .map_err(short)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER_BYTES {
        return Err(format!(
            "its header is of {length} bytes; legal are up to {MAX_HEADER_BYTES}"
        ));
    }
    let mut text = vec![0_u8; length];
    entry.read_exact(&mut text).map_err(short)?;
    let text = String::from_utf8(text).map_err(|_| "its header is no text".to_string())?;
    parse_header(&text)
}

/// The dictionary of the header, as numpy writes it: `{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse_header(text: &str) -> Result<Header, String> {
    let value = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let missing = |key: &str| format!("its header `{}` lacks `{key}`", text.trim_end());
    let dtype = value("descr")
        .and_then(|rest| rest.strip_prefix('\''))
        .and_then(|rest| rest.split_once('\''))
        .map(|(dtype, _)| dtype.to_string())
        .ok_or_else(|| missing("descr"))?;
    let fortran = value("fortran_order").ok_or_else(|| missing("fortran_order"))?;
    if !fortran.starts_with("False") {
        return Err("it is in Fortran order; save it with numpy.ascontiguousarray".to_string());
    }
    let dims = value("shape")
        .and_then(|rest| rest.strip_prefix('('))
        .and_then(|rest| rest.split_once(')'))
        .map(|(dims, _)| dims)
        .ok_or_else(|| missing("shape"))?;
    let dims = dims
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| {
            dim.parse()
                .map_err(|_| format!("its header has the dimension `{dim}`"))
        })
        .collect::<Result<Vec<usize>, String>>()?;
    if dims.is_empty() || dims.len() > 4 {
        return Err(format!(
            "it has {} dimensions; legal are 1 to 4",
            dims.len()
        ));
    }
    Ok(Header { dtype, dims })
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
