//! The goldens, cut and changed: every kind of section and block under damage. Never a panic, and never more memory than
//! the limits and the bytes there are allow.

mod common;

use std::sync::LazyLock;

use common::goldens::goldens;
use common::{seal, seeded};
use proptest::prelude::*;
use tqz_format::{DecodeLimits, Directory, FormatError, SectionKind, TqzFile};

/// Most flips of one section: enough for every field of the small ones.
const FLIPS: usize = 120;
/// What a decoder may hold for a golden, whatever its bytes say: the models' tables (the largest is the byte model's, twelve
/// tables of 2^18 slots), and a few hundred bytes for each of the levels and bytes that [`limits`] allows: a row of one level has the slots of its decisions.
const MOST_BYTES: u64 = (12 << 18) * 8 + 8_000_000;

fn limits() -> DecodeLimits {
    DecodeLimits {
        layer_elements: 1 << 18,
        graph_bytes: 1 << 14,
        raw_bytes: 1 << 14,
        vector_elements: 1 << 16,
        layer_levels: 1 << 16,
    }
}

/// Reads everything and puts the tensors together; says whether the file was legal.
fn exercise(bytes: &[u8]) -> Result<(), FormatError> {
    let mut read = Ok(());
    let held = allocation_counter::measure(|| {
        read = TqzFile::decode(bytes, &limits()).map(|file| {
            let layers = file.layers.iter().map(|layer| layer.reconstruct());
            let vectors = file.vectors.iter().map(|vector| vector.reconstruct());
            layers.chain(vectors).filter(Result::is_ok).count();
        });
    });
    assert!(
        held.bytes_max < MOST_BYTES,
        "{} bytes for {}",
        held.bytes_max,
        bytes.len()
    );
    read
}

/// Every section of every golden.
static SECTIONS: LazyLock<Vec<(SectionKind, Vec<u8>)>> = LazyLock::new(|| {
    let mut sections = Vec::new();
    for (_, file) in goldens() {
        let bytes = file.encode().unwrap();
        for section in Directory::read(&bytes).unwrap().sections {
            sections.push((section.kind, bytes[section.range].to_vec()));
        }
    }
    sections
});

#[test]
fn goldens_are_within_the_limits_of_this_test() {
    for (name, file) in goldens() {
        assert_eq!(exercise(&file.encode().unwrap()), Ok(()), "{name}");
    }
}

#[test]
fn every_cut_and_every_flipped_bit_of_every_golden_is_an_error() {
    for (name, file) in goldens() {
        let bytes = file.encode().unwrap();
        for length in 0..bytes.len() {
            assert!(
                Directory::read(&bytes[..length]).is_err(),
                "{name} cut to {length}"
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(exercise(&damaged).is_err(), "{name}, bit {bit}");
        }
    }
}

#[test]
fn flipped_bits_under_right_checksums_stay_within_memory() {
    let (mut errors, mut results) = (0, 0);
    for (kind, section) in SECTIONS.iter() {
        for bit in (0..section.len() * 8).step_by((section.len() * 8).div_ceil(FLIPS).max(1)) {
            let mut damaged = section.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match exercise(&seal(&[(*kind, &damaged)])) {
                Ok(()) => results += 1,
                Err(_) => errors += 1,
            }
        }
    }
    assert!(errors > 1000 && results > 100, "{errors} {results}");
}

#[test]
fn sections_cut_under_right_checksums_stay_within_memory() {
    let mut errors = 0;
    for (kind, section) in SECTIONS.iter() {
        for length in (0..section.len()).step_by(section.len().div_ceil(FLIPS).max(1)) {
            errors += usize::from(exercise(&seal(&[(*kind, &section[..length])])).is_err());
        }
    }
    assert!(errors > 1000, "{errors}");
}

proptest! {
    #![proptest_config(seeded(1000))]

    #[test]
    fn changed_bytes_and_foreign_kinds_stay_within_memory(
        section in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        tail in prop::collection::vec(any::<u8>(), 0..20),
        other in prop::option::weighted(0.2, 0usize..5),
    ) {
        use SectionKind::{Graph, Layer, Meta, Raw, Vectors};
        let (kind, bytes) = section.get(&SECTIONS);
        let mut bytes = bytes.clone();
        for (at, value) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        bytes.extend(tail);
        let kind = other.map_or(*kind, |other| [Meta, Graph, Vectors, Raw, Layer][other]);
        let _ = exercise(&seal(&[(kind, &bytes)]));
    }
}
