//! What can be wrong with a .tqz file or with records that shall become one: each message names the place,
//! what was found and what is legal.

use thiserror::Error;

/// An error of reading, writing or reconstructing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The first eight bytes are not the signature.
    #[error(
        "not a .tqz file: the signature is missing (a file that was sent as text is damaged as well)"
    )]
    NotTqz,
    /// The file's version is unknown.
    #[error("format version {found} is not known; this program reads versions 1 to {newest}")]
    Version {
        /// Version in the file.
        found: u16,
        /// Newest version this crate reads.
        newest: u16,
    },
    /// The bytes end too early.
    #[error("{what} ends too early: the file is cut short or damaged")]
    Truncated {
        /// The part that was being read.
        what: &'static str,
    },
    /// Bytes remain after the end of a part.
    #[error("{bytes} bytes too many after {what}")]
    Trailing {
        /// The part that had ended.
        what: &'static str,
        /// How many bytes are left over.
        bytes: u64,
    },
    /// A checksum differs.
    #[error("checksum of {what} is {found:08x}, should be {expected:08x}: the file is damaged")]
    Checksum {
        /// The part whose checksum differs.
        what: &'static str,
        /// Checksum of the bytes as they are.
        found: u32,
        /// Checksum as stored.
        expected: u32,
    },
    /// A field holds a value outside its legal range.
    #[error("{what} is {found}, legal: {legal}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// The value found.
        found: i64,
        /// The legal values.
        legal: &'static str,
    },
    /// A size exceeds a limit, of the format or of the caller.
    #[error("{what} is {found}, more than the limit of {limit}")]
    Limit {
        /// The field.
        what: &'static str,
        /// The size found.
        found: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// Two parts of a record contradict each other.
    #[error("{what} should be {expected}, is {found}")]
    Mismatch {
        /// What was compared.
        what: &'static str,
        /// The value that the other part asks for.
        expected: u64,
        /// The value found.
        found: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} is not valid UTF-8")]
    Text {
        /// The field.
        what: &'static str,
    },
    /// A reconstructed weight is too large for `f32`.
    #[error("weight {index} is not finite after reconstruction: its levels or steps are too large")]
    NotFinite {
        /// Index of the weight in the tensor.
        index: u64,
    },
    /// There is not enough memory for a result.
    #[error("not enough memory for {bytes} bytes of {what}")]
    Memory {
        /// What was to be stored.
        what: &'static str,
        /// Bytes asked for.
        bytes: u64,
    },
    /// An error inside one section.
    #[error("section {index} ({kind}): {source}")]
    Section {
        /// Position in the directory, from 0.
        index: u64,
        /// Kind of the section.
        kind: &'static str,
        /// What was wrong there.
        source: Box<FormatError>,
    },
}

impl FormatError {
    /// Says in which section it happened.
    #[must_use]
    pub fn in_section(self, index: usize, kind: &'static str) -> Self {
        Self::Section {
            index: index as u64,
            kind,
            source: Box::new(self),
        }
    }
}

/// Errors if `found` exceeds `limit`.
pub(crate) fn check_limit(what: &'static str, found: u64, limit: u64) -> Result<(), FormatError> {
    if found > limit {
        Err(FormatError::Limit { what, found, limit })
    } else {
        Ok(())
    }
}

/// Errors if `found` differs from what another part asks for.
pub(crate) fn check_equal(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), FormatError> {
    if found == expected {
        Ok(())
    } else {
        Err(FormatError::Mismatch {
            what,
            expected: expected as u64,
            found: found as u64,
        })
    }
}
