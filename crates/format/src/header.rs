//! Signature, version and directory: where every section lies, with checksums.

use crate::error::{FormatError, check_limit};
use crate::limits::{MAX_SECTIONS, VERSION};
use std::ops::Range;

/// First bytes of every file, in the manner of PNG: not ASCII, name, line ends of both kinds, end of text.
pub const SIGNATURE: [u8; 8] = [0x89, b'T', b'Q', b'Z', 0x0D, 0x0A, 0x1A, 0x0A];

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SectionKind {
    /// Counts and remarks.
    Meta,
    /// The network without its coded numbers.
    Graph,
    /// Side vectors.
    Vectors,
    /// Tensors kept verbatim.
    Raw,
    /// One weight tensor.
    Layer,
}

impl SectionKind {
    const ALL: [Self; 5] = [
        Self::Meta,
        Self::Graph,
        Self::Vectors,
        Self::Raw,
        Self::Layer,
    ];

    /// Name in messages and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "META",
            Self::Graph => "GRAPH",
            Self::Vectors => "VECTORS",
            Self::Raw => "RAW",
            Self::Layer => "LAYER",
        }
    }

    fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Result<Self, FormatError> {
        let found = Self::ALL.into_iter().find(|kind| kind.code() == code);
        found.ok_or(FormatError::Invalid {
            what: "section kind",
            found: code.into(),
            legal: "1 to 5 (a newer program may write others)",
        })
    }
}

/// One section of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionEntry {
    /// What it holds.
    pub kind: SectionKind,
    /// Where its bytes lie in the file.
    pub range: Range<usize>,
    /// CRC-32 of its bytes.
    pub crc: u32,
}

/// The directory of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Sections in the order of the file.
    pub sections: Vec<SectionEntry>,
}

impl Directory {
    /// Reads and checks signature, version, directory and the file's length; sections are not touched.
    ///
    /// # Errors
    /// Says what is wrong with the header.
    pub fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "the header";
        let mut cursor = Cursor::new(bytes, WHAT);
        if bytes.get(..SIGNATURE.len()) != Some(&SIGNATURE) {
            return Err(FormatError::NotTqz);
        }
        cursor.take(SIGNATURE.len())?;
        let found = u16::from_le_bytes(cursor.array()?);
        if found == 0 || found > VERSION {
            return Err(FormatError::Version {
                found,
                newest: VERSION,
            });
        }
        let count = cursor.varint("number of sections", MAX_SECTIONS)?;
        let mut listed = Vec::new();
        for _ in 0..count {
            let [code] = cursor.array()?;
            let kind = SectionKind::from_code(code)?;
            let length = cursor.varint("length of a section", bytes.len() as u64)? as usize;
            listed.push((kind, length, u32::from_le_bytes(cursor.array()?)));
        }
        let crc = crc32fast::hash(&bytes[..cursor.position]);
        let expected = u32::from_le_bytes(cursor.array()?);
        if crc != expected {
            return Err(FormatError::Checksum {
                what: WHAT,
                found: crc,
                expected,
            });
        }
        Self::place(listed, cursor.position, bytes.len())
    }

    fn place(
        listed: Vec<(SectionKind, usize, u32)>,
        mut start: usize,
        length: usize,
    ) -> Result<Self, FormatError> {
        let mut sections: Vec<SectionEntry> = Vec::new();
        for (kind, size, crc) in listed {
            if let Some(last) = sections.last() {
                let again = last.kind == kind && kind != SectionKind::Layer;
                if again || kind < last.kind {
                    return Err(FormatError::Invalid {
                        what: "section kind",
                        found: kind.code().into(),
                        legal: "META, GRAPH, VECTORS, RAW at most once each and in this order, then LAYER",
                    });
                }
            }
            let end = start.saturating_add(size);
            if end > length {
                return Err(FormatError::Truncated { what: kind.name() });
            }
            sections.push(SectionEntry {
                kind,
                range: start..end,
                crc,
            });
            start = end;
        }
        if start < length {
            let bytes = (length - start) as u64;
            return Err(FormatError::Trailing {
                what: "the last section",
                bytes,
            });
        }
        Ok(Self { sections })
    }

    /// Bytes of the header: signature, version, directory, checksum.
    #[must_use]
    pub fn header_bytes(&self, file_bytes: usize) -> usize {
        self.sections
            .first()
            .map_or(file_bytes, |section| section.range.start)
    }

    /// The sections of one kind with their place in the directory.
    pub fn of_kind(&self, kind: SectionKind) -> impl Iterator<Item = (usize, &SectionEntry)> {
        self.sections
            .iter()
            .enumerate()
            .filter(move |(_, section)| section.kind == kind)
    }

    /// Number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.of_kind(SectionKind::Layer).count()
    }
}

impl SectionEntry {
    /// The section's bytes, their checksum verified.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
        let what = self.kind.name();
        let section = bytes
            .get(self.range.clone())
            .ok_or(FormatError::Truncated { what })?;
        let found = crc32fast::hash(section);
        if found != self.crc {
            return Err(FormatError::Checksum {
                what,
                found,
                expected: self.crc,
            });
        }
        Ok(section)
    }
}

/// Writes signature, version, directory and checksum for sections that follow in this order.
pub(crate) fn write_header(sections: &[(SectionKind, Vec<u8>)]) -> Result<Vec<u8>, FormatError> {
    check_limit("number of sections", sections.len() as u64, MAX_SECTIONS)?;
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    write_varint(&mut header, sections.len() as u64);
    for (kind, bytes) in sections {
        header.push(kind.code());
        write_varint(&mut header, bytes.len() as u64);
        header.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    }
    let crc = crc32fast::hash(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    Ok(header)
}

/// Appends a LEB128 integer: seven bits a byte, lowest first, high bit set on all but the last.
pub(crate) fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads plain bytes with checks.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(crate) position: usize,
    what: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self {
            bytes,
            position: 0,
            what,
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let taken = self
            .bytes
            .get(self.position..)
            .and_then(|rest| rest.get(..count));
        let taken = taken.ok_or(FormatError::Truncated { what: self.what })?;
        self.position += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A LEB128 integer of at most nine bytes and at most `limit`; the shortest form is demanded.
    pub(crate) fn varint(&mut self, what: &'static str, limit: u64) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                if byte == 0 && shift > 0 {
                    let legal = "the shortest form";
                    return Err(FormatError::Invalid {
                        what,
                        found: value as i64,
                        legal,
                    });
                }
                check_limit(what, value, limit)?;
                return Ok(value);
            }
        }
        Err(FormatError::Limit {
            what,
            found: u64::MAX,
            limit,
        })
    }

    pub(crate) fn rest(&self) -> usize {
        self.bytes.len() - self.position
    }
}
