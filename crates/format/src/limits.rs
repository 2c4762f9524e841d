//! Every limit of the format in one place: what a writer may not exceed and a reader must reject, and the
//! limits a caller may tighten. docs/format.md has the same table.

/// Newest format version, the one written.
pub const VERSION: u16 = 1;
/// Bits of a level of fixed width: what [`MAX_LEVEL`] takes, less its positive end.
pub const MAX_DEPTH: u8 = 21;
/// Largest magnitude of a level of a matrix.
pub const MAX_LEVEL: i32 = 1 << 20;
/// Largest magnitude of a level of a side vector.
pub const MAX_VECTOR_LEVEL: i32 = 1 << 24;
/// Largest magnitude of the base exponent of a matrix, in 1/64 octave (steps from 2^-100 to 2^100).
pub const MAX_BASE_EXPONENT: i32 = 6400;
/// Largest magnitude of a row's or column's exponent, in 1/64 octave (factors from 2^-64 to 2^64).
pub const MAX_SCALE_EXPONENT: i32 = 4096;
/// Largest granularity of scale exponents: units of `2^shift` / 64 octave.
pub const MAX_SCALE_SHIFT: u8 = 6;
/// Largest magnitude of a side vector's step exponent (a power of two).
pub const MAX_VECTOR_EXPONENT: i32 = 160;
/// Largest number of dimensions of a tensor.
pub const MAX_RANK: usize = 8;
/// Largest number of rows or columns of a matrix, and of elements along one dimension.
pub const MAX_EXTENT: u64 = 1 << 28;
/// Largest number of active rows of a matrix whose levels the level model codes: it keeps probabilities of every row.
pub const MAX_MODEL_ROWS: u64 = 1 << 20;
/// Largest number of sections in a file.
pub const MAX_SECTIONS: u64 = 1 << 16;
/// Largest number of elements of a tensor.
pub const MAX_ELEMENTS: u64 = 1 << 40;
/// Largest number of blocks of a layer.
pub const MAX_BLOCKS: u64 = 1 << 16;
/// Largest number of side vectors, and of raw tensors.
pub const MAX_TENSORS: u64 = 1 << 16;
/// Largest number of key/value pairs in META.
pub const MAX_META_PAIRS: u64 = 256;
/// Largest length of a META key or value, in bytes.
pub const MAX_META_TEXT: u64 = 1 << 16;
/// Largest site index.
pub const MAX_SITE: u64 = u32::MAX as u64;

/// Limits chosen by the reader. The default suits networks up to some hundred million weights; a server
/// that accepts strangers' files will want less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most elements (weights) in one layer, whether coded or all zero.
    pub layer_elements: u64,
    /// Most bytes of the graph after expansion.
    pub graph_bytes: u64,
    /// Most bytes of all raw tensors together after expansion.
    pub raw_bytes: u64,
    /// Most elements of all side vectors together.
    pub vector_elements: u64,
    /// Most levels (coded ones, each of 4 bytes in memory, and for every row a few hundred more) in one layer.
    pub layer_levels: u64,
}

impl DecodeLimits {
    /// Only the format's own limits: for writing and counting.
    pub(crate) const UNLIMITED: Self = Self {
        layer_elements: u64::MAX,
        graph_bytes: u64::MAX,
        raw_bytes: u64::MAX,
        vector_elements: u64::MAX,
        layer_levels: u64::MAX,
    };
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            layer_elements: 1 << 30,
            graph_bytes: 1 << 28,
            raw_bytes: 1 << 30,
            vector_elements: 1 << 28,
            layer_levels: 1 << 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_the_same_limits() {
        let document = include_str!("../../../docs/format.md");
        let limits: [(&str, u64); 16] = [
            ("MAX_LEVEL", MAX_LEVEL as u64),
            ("MAX_VECTOR_LEVEL", MAX_VECTOR_LEVEL as u64),
            ("MAX_BASE_EXPONENT", MAX_BASE_EXPONENT as u64),
            ("MAX_SCALE_EXPONENT", MAX_SCALE_EXPONENT as u64),
            ("MAX_SCALE_SHIFT", MAX_SCALE_SHIFT.into()),
            ("MAX_VECTOR_EXPONENT", MAX_VECTOR_EXPONENT as u64),
            ("MAX_RANK", MAX_RANK as u64),
            ("MAX_EXTENT", MAX_EXTENT),
            ("MAX_MODEL_ROWS", MAX_MODEL_ROWS),
            ("MAX_ELEMENTS", MAX_ELEMENTS),
            ("MAX_BLOCKS", MAX_BLOCKS),
            ("MAX_TENSORS", MAX_TENSORS),
            ("MAX_SECTIONS", MAX_SECTIONS),
            ("MAX_META_PAIRS", MAX_META_PAIRS),
            ("MAX_META_TEXT", MAX_META_TEXT),
            ("MAX_SITE", MAX_SITE),
        ];
        for (name, limit) in limits {
            let line = document
                .lines()
                .find(|line| line.ends_with(&format!("| `{name}` |")));
            let cell = line
                .and_then(|line| line.split('|').nth(2))
                .unwrap_or_default();
            assert_eq!(
                cell.trim().trim_start_matches('±'),
                limit.to_string(),
                "{name}"
            );
        }
        assert!(document.starts_with(&format!("# The .tqz file, version {VERSION}\n")));
    }
}
