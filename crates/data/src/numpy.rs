//! Arrays as numpy stores them (`.npy`, NEP 1, versions 1 to 3): what the header says and the bytes after it. A header is believed
//! only as far as bytes follow it, and no memory is taken for what it merely announces.

use std::io::Read;

/// Most bytes of one array, unpacked.
const MAX_ARRAY_BYTES: u64 = 4 << 30;
/// Largest ratio of an array's bytes to the packed ones, as for archives.
const MAX_RATIO: u64 = 256;
/// Arrays of up to this many bytes may be packed as tightly as they like (labels that are all the same).
const FREE_BYTES: u64 = 16 << 20;
/// Longest header of an array; numpy's own are of 128 bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// What holds an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A file of so many bytes.
    File(u64),
    /// An entry of an archive, packed into so many bytes.
    Packed(u64),
}

/// What stands before an array's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumpyHeader {
    /// Numpy's type string, such as `|u1` or `<f4`.
    pub dtype: String,
    /// Extents, none for a single number.
    pub dims: Vec<usize>,
    /// Whether the first index runs fastest.
    pub fortran_order: bool,
    /// Bytes before the numbers.
    size_bytes: u64,
}

impl NumpyHeader {
    /// Reads everything before the numbers.
    ///
    /// # Errors
    /// What is no array of numpy, another version, too long a header, elements that are structures.
    pub fn read(file: &mut impl Read) -> Result<Self, String> {
        let short = |e: std::io::Error| format!("its header is damaged: {e}");
        let mut start = [0_u8; 8];
        file.read_exact(&mut start).map_err(short)?;
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
        file.read_exact(&mut length[..length_bytes])
            .map_err(short)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_HEADER_BYTES {
            return Err(format!(
                "its header is of {length} bytes; legal are up to {MAX_HEADER_BYTES}"
            ));
        }
        let mut text = vec![0_u8; length];
        file.read_exact(&mut text).map_err(short)?;
        let text = String::from_utf8(text).map_err(|_| "its header is no text".to_string())?;
        let size_bytes = (start.len() + length_bytes + length) as u64;
        parse(&text, size_bytes)
    }

    /// The numbers' bytes, the smallest of each first whatever the file's order, where `file` stands just after the header.
    ///
    /// # Errors
    /// Fewer or more bytes than the header announces, or more than may be believed.
    pub fn data(&self, file: impl Read, held: Held) -> Result<Vec<u8>, String> {
        let bytes = self.data_bytes()?;
        match held {
            Held::File(size) if self.size_bytes + bytes != size => {
                return Err(format!(
                    "its header announces {bytes} bytes of numbers, {} follow it",
                    size.saturating_sub(self.size_bytes)
                ));
            }
            Held::Packed(packed) if bytes > FREE_BYTES && bytes / MAX_RATIO > packed => {
                return Err(format!(
                    "its {packed} bytes unpack to {bytes}, more than {MAX_RATIO} times as many, as neither pictures nor measured numbers do; store it uncompressed (numpy.savez)"
                ));
            }
            _ => {}
        }
        let mut data = Vec::new();
        // One byte more than announced, so that a longer array shows; the buffer grows with what comes.
        file.take(bytes + 1)
            .read_to_end(&mut data)
            .map_err(|e| format!("its data are damaged: {e}"))?;
        if data.len() as u64 != bytes {
            let there = match data.len() as u64 > bytes {
                true => "more than these",
                false => "fewer",
            };
            return Err(format!(
                "its shape {:?} asks for {bytes} bytes, but {there} are there",
                self.dims
            ));
        }
        if self.dtype.starts_with('>') {
            let each = data.chunks_exact_mut(self.item_bytes()?);
            each.for_each(<[u8]>::reverse);
        }
        Ok(data)
    }

    /// Bytes of one number.
    ///
    /// # Errors
    /// Other types than integers and floats of 1 to 8 bytes.
    pub fn item_bytes(&self) -> Result<usize, String> {
        let dtype = self.dtype.as_str();
        let ordered = dtype.is_ascii() && dtype.starts_with(['|', '<', '>', '=']);
        match dtype.get(1..) {
            Some("i1" | "u1") if ordered => Ok(1),
            Some("i2" | "u2" | "f2") if ordered => Ok(2),
            Some("i4" | "u4" | "f4") if ordered => Ok(4),
            Some("i8" | "u8" | "f8") if ordered => Ok(8),
            _ => Err(format!(
                "its type is {dtype}; integers and floats of 1 to 8 bytes are legal"
            )),
        }
    }

    fn data_bytes(&self) -> Result<u64, String> {
        let item = self.item_bytes()? as u64;
        self.dims
            .iter()
            .try_fold(item, |product, &dim| product.checked_mul(dim as u64))
            .filter(|&bytes| bytes <= MAX_ARRAY_BYTES)
            .ok_or_else(|| {
                format!(
                    "its shape {:?} asks for more than {MAX_ARRAY_BYTES} bytes",
                    self.dims
                )
            })
    }
}

/// The dictionary of the header, as numpy writes it: `{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse(text: &str, size_bytes: u64) -> Result<NumpyHeader, String> {
    let value = |key: &str| {
        let mut quoted = ['\'', '"'].into_iter();
        let (_, rest) = quoted.find_map(|q| text.split_once(&format!("{q}{key}{q}")))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let missing = |key: &str| format!("its header is damaged: `{}` lacks `{key}`", text.trim_end());
    let described = value("descr").ok_or_else(|| missing("descr"))?;
    let quote = described.chars().next().filter(|q| ['\'', '"'].contains(q));
    let dtype = quote
        .and_then(|q| described[1..].split_once(q))
        .map(|(dtype, _)| dtype.to_string())
        .ok_or("each of its elements is a structure or an array; single numbers are legal")?;
    let order = value("fortran_order").ok_or_else(|| missing("fortran_order"))?;
    let fortran_order = match order.split([',', '}']).next().map(str::trim_end) {
        Some("True") => true,
        Some("False") => false,
        _ => return Err(missing("fortran_order: True or False")),
    };
    let shape = value("shape")
        .and_then(|rest| rest.strip_prefix('('))
        .and_then(|rest| rest.split_once(')'))
        .map(|(dims, _)| dims)
        .ok_or_else(|| missing("shape"))?;
    let dims = shape
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| {
            dim.parse()
                .map_err(|_| format!("its header has the dimension `{dim}`"))
        })
        .collect::<Result<Vec<usize>, String>>()?;
    Ok(NumpyHeader {
        dtype,
        dims,
        fortran_order,
        size_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::npy;

    fn read(mut bytes: &[u8]) -> Result<(NumpyHeader, Vec<u8>), String> {
        let held = Held::File(bytes.len() as u64);
        let header = NumpyHeader::read(&mut bytes)?;
        let data = header.data(bytes, held)?;
        Ok((header, data))
    }

    fn with_header(header: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes
    }

    #[test]
    fn header_and_bytes_come_back() {
        let (header, data) = read(&npy(">f4", "(1, 2)", &[1, 2, 3, 4, 5, 6, 7, 8])).unwrap();
        assert_eq!(
            (header.dtype.as_str(), header.dims.as_slice()),
            (">f4", &[1, 2][..])
        );
        assert!(!header.fortran_order);
        assert_eq!(data, [4, 3, 2, 1, 8, 7, 6, 5]);
        let (single, data) = read(&npy("|u1", "()", &[9])).unwrap();
        assert_eq!((single.dims.len(), data), (0, vec![9]));
        let spelt = with_header("{ \"shape\" : (1,), \"fortran_order\":False, \"descr\": \"|u1\"}");
        assert_eq!(read(&[spelt, vec![3]].concat()).unwrap().1, [3]);
        let mut turned = npy("|u1", "(1, 1)", &[9]);
        let at = turned.windows(5).position(|w| w == b"False").unwrap();
        turned[at..at + 5].copy_from_slice(b"True ");
        assert!(read(&turned).unwrap().0.fortran_order);
    }

    #[test]
    fn what_a_header_announces_must_be_there() {
        let cases = [
            (npy("<f4", "(268435456,)", &[0; 4]), "4 follow it"),
            (npy("<f4", "(1,)", &[0; 5]), "5 follow it"),
            (npy("<c8", "(1,)", &[0; 8]), "its type is <c8"),
            (npy("\u{df}f4", "(1,)", &[0; 4]), "its type is"),
            (npy("|u1", "(1, x)", &[0; 4]), "the dimension `x`"),
            (with_header("{'descr': [('a', '<f4')], }"), "a structure"),
            (
                b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
                "legal are up to",
            ),
            (
                with_header("{'descr': '|u1', 'fortran_order': 1, 'shape': (1,)}"),
                "True or False",
            ),
            (
                with_header("{'descr': ('<f4', 2), 'fortran_order': False, 'shape': (1,)}"),
                "a structure",
            ),
            (b"\x93NUMPY\x07\x00\x00\x00".to_vec(), "version 7"),
            (b"\x93NUMPY\x01\x00\x02\x00{}".to_vec(), "lacks `descr`"),
        ];
        for (bytes, reason) in cases {
            let told = read(&bytes).unwrap_err();
            assert!(told.contains(reason), "{told}");
        }
    }
}
