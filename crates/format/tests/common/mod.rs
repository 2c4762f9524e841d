//! What the tests of this folder share.
// Each test program uses its part of it.
#![allow(dead_code)]

pub(crate) mod goldens;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;
use tqz_format::{SIGNATURE, SectionKind};

/// So many cases, the same in every run.
pub(crate) fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0x7471_7a31),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A file of these sections with right checksums.
pub(crate) fn seal(sections: &[(SectionKind, &[u8])]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    varint(&mut bytes, sections.len());
    for (kind, section) in sections {
        bytes.push(*kind as u8 + 1);
        varint(&mut bytes, section.len());
        bytes.extend_from_slice(&crc32fast::hash(section).to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    sections
        .iter()
        .for_each(|(_, section)| bytes.extend_from_slice(section));
    bytes
}
