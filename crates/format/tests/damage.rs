//! Damaged and hostile files: always an error or a well-formed result, never a panic, never more memory or
//! time than the bytes have earned.

mod common;

use common::{seal, seeded};
use proptest::prelude::*;
use tqz_format::{
    Block, BlockCoding, DecodeLimits, Directory, FormatError, LayerRecord, Layout, LevelMatrix,
    MatrixSpec, Meta, RawTensor, ScaleVector, SectionKind, StepScale, TqzFile, Vector,
};

fn small_limits() -> DecodeLimits {
    DecodeLimits {
        layer_elements: 1 << 22,
        graph_bytes: 1 << 14,
        raw_bytes: 1 << 14,
        vector_elements: 1 << 16,
        layer_levels: 1 << 16,
    }
}

fn matrix(rows: usize, cols: usize, period: usize, scaled: bool) -> LevelMatrix {
    let levels: Vec<i32> = (0..rows * cols)
        .map(|i| ((i * i * 7919) >> 3) as i32 % 7 - 3)
        .collect();
    let vector = |count: usize| ScaleVector {
        shift: 3,
        units: (0..count as i32).map(|i| i % 5 - 2).collect(),
    };
    let scale = StepScale {
        base: -300,
        rows: scaled.then(|| vector(rows)),
        cols: scaled.then(|| vector(cols)),
    };
    LevelMatrix::from_row_major(MatrixSpec { rows, cols, period }, scale, &levels).unwrap()
}

/// A small file with every kind of section and block.
fn file() -> TqzFile {
    let identity = LayerRecord {
        site: 0,
        dims: vec![4, 2, 3, 3],
        layout: Layout::RowsFirst,
        blocks: vec![Block {
            rows: 4,
            coding: BlockCoding::Identity {
                weights: matrix(4, 18, 9, true),
            },
        }],
    };
    let column = BlockCoding::Column {
        t: matrix(2, 5, 1, false),
        s: matrix(6, 2, 1, true),
    };
    let gemm = LayerRecord {
        site: 3,
        dims: vec![5, 6],
        layout: Layout::ColumnsFirst,
        blocks: vec![Block {
            rows: 6,
            coding: column,
        }],
    };
    let row = |m| BlockCoding::Row {
        t: matrix(3, 2 * 4, 4, false),
        s: matrix(2, m, 1, false),
    };
    let transposed = LayerRecord {
        site: 9,
        dims: vec![4, 3, 2, 2],
        layout: Layout::Transposed { groups: 2 },
        blocks: vec![
            Block {
                rows: 3,
                coding: row(2),
            },
            Block {
                rows: 3,
                coding: row(2),
            },
        ],
    };
    TqzFile {
        meta: Meta {
            weights: 150,
            pairs: vec![("by".into(), "test".into())],
        },
        graph: b"graph of conv1.weight, conv2.weight and conv3.weight".to_vec(),
        vectors: vec![
            Vector {
                site: 1,
                log2_step: -9,
                levels: (0..20).map(|i| 500 + i * i % 13).collect(),
            },
            Vector {
                site: 2,
                log2_step: -7,
                levels: vec![0, -1, 3],
            },
        ],
        raw: vec![RawTensor {
            site: 5,
            width: 4,
            bytes: (0..40).collect(),
        }],
        layers: vec![identity, gemm, transposed],
    }
}

/// Reads everything there is to read, and reconstructs what came out.
fn exercise(bytes: &[u8]) -> Result<TqzFile, FormatError> {
    let file = TqzFile::decode(bytes, &small_limits())?;
    for layer in &file.layers {
        if layer.elements() < 1 << 16 {
            let _ = layer.reconstruct();
        }
    }
    for vector in &file.vectors {
        let _ = vector.reconstruct();
    }
    // What was read can be written again.
    file.encode()?;
    Ok(file)
}

#[test]
fn the_writer_seals_as_documented() {
    let bytes = file().encode().unwrap();
    let directory = Directory::read(&bytes).unwrap();
    let sections: Vec<_> = directory
        .sections
        .iter()
        .map(|s| (s.kind, &bytes[s.range.clone()]))
        .collect();
    assert_eq!(seal(&sections), bytes);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = file().encode().unwrap();
    assert_eq!(exercise(&bytes).unwrap(), file());
    for length in 0..bytes.len() {
        assert!(exercise(&bytes[..length]).is_err(), "cut to {length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(
        exercise(&longer),
        Err(FormatError::Trailing { .. })
    ));
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = file().encode().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(exercise(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn flipped_bits_under_right_checksums_never_panic() {
    let bytes = file().encode().unwrap();
    let directory = Directory::read(&bytes).unwrap();
    let (mut errors, mut results) = (0, 0);
    for section in &directory.sections {
        for bit in 0..section.range.len() * 8 {
            let mut damaged = bytes[section.range.clone()].to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match exercise(&seal(&[(section.kind, &damaged)])) {
                Ok(_) => results += 1,
                Err(_) => errors += 1,
            }
        }
    }
    assert!(errors > 0 && results > 0, "{errors} {results}");
}

#[test]
fn every_header_byte_under_a_right_checksum_never_panics() {
    // Without a graph, whose model takes long to make.
    let bytes = TqzFile {
        graph: Vec::new(),
        ..file()
    }
    .encode()
    .unwrap();
    let header = Directory::read(&bytes).unwrap().header_bytes(bytes.len());
    for at in 0..header - 4 {
        for value in 0..=255 {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            let crc = crc32fast::hash(&damaged[..header - 4]);
            damaged[header - 4..header].copy_from_slice(&crc.to_le_bytes());
            if value != bytes[at] {
                assert!(exercise(&damaged).is_err(), "byte {at} = {value}");
            }
        }
    }
}

proptest! {
    #![proptest_config(seeded(2000))]

    #[test]
    fn random_sections_never_panic(
        kind in 0usize..5,
        bytes in prop::collection::vec(prop_oneof![2 => any::<u8>(), 1 => Just(0), 1 => Just(255)], 0..120),
    ) {
        use SectionKind::{Graph, Layer, Meta, Raw, Vectors};
        let kind = [Meta, Graph, Vectors, Raw, Layer][kind];
        let _ = exercise(&seal(&[(kind, &bytes)]));
    }

    #[test]
    fn random_tails_of_layers_never_panic(
        keep in 0usize..60,
        tail in prop::collection::vec(any::<u8>(), 0..60),
        layer in 0usize..3,
    ) {
        let mut bytes = file().layers[layer].encode().unwrap();
        bytes.truncate(keep.min(bytes.len()));
        bytes.extend(tail);
        if let Ok(record) = LayerRecord::decode(&bytes, &small_limits()) {
            record.validate().unwrap();
        }
    }
}

#[test]
fn a_few_bytes_cannot_ask_for_much_memory() {
    // One all-zero matrix says it is large: its levels would not fit the bits that are there.
    let rows = 1 << 16;
    let weights = LevelMatrix::from_row_major(
        MatrixSpec {
            rows,
            cols: 4,
            period: 1,
        },
        StepScale::uniform(0),
        &vec![1; rows * 4],
    )
    .unwrap();
    let layer = LayerRecord {
        site: 0,
        dims: vec![rows, 4],
        layout: Layout::RowsFirst,
        blocks: vec![Block {
            rows,
            coding: BlockCoding::Identity { weights },
        }],
    };
    let bytes = layer.encode().unwrap();
    assert_eq!(
        LayerRecord::decode(&bytes, &DecodeLimits::default()).unwrap(),
        layer
    );
    let cut = &bytes[..9];
    let error = LayerRecord::decode(cut, &DecodeLimits::default()).unwrap_err();
    assert!(matches!(error, FormatError::Truncated { .. }), "{error}");
    let limits = DecodeLimits {
        layer_elements: 1000,
        ..DecodeLimits::default()
    };
    let error = LayerRecord::decode(&bytes, &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "elements of a layer is 262144, more than the limit of 1000"
    );
}

#[test]
fn errors_name_the_section() {
    let bytes = file().encode().unwrap();
    let directory = Directory::read(&bytes).unwrap();
    let (place, section) = directory.of_kind(SectionKind::Layer).nth(1).unwrap();
    let mut damaged = bytes.clone();
    damaged[section.range.start] ^= 1;
    let error = exercise(&damaged).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("section {place} (LAYER): checksum of LAYER is ")),
        "{error}"
    );
    assert!(
        directory.read_layer(&damaged, 0, &small_limits()).is_ok(),
        "other layers stay readable"
    );
    assert_eq!(exercise(b"PK\x03\x04"), Err(FormatError::NotTqz));
    let mut newer = bytes;
    newer[8] = 2;
    assert_eq!(
        exercise(&newer),
        Err(FormatError::Version {
            found: 2,
            newest: 1
        })
    );
}

#[test]
fn records_that_contradict_themselves_are_not_written() {
    let good = file().layers.remove(0);
    let change = |edit: fn(&mut LayerRecord)| {
        let mut layer = good.clone();
        edit(&mut layer);
        layer.encode().unwrap_err().to_string()
    };
    assert_eq!(
        change(|l| l.dims[0] = 5),
        "rows of all blocks together should be 5, is 4"
    );
    assert_eq!(
        change(|l| l.dims = vec![4, 19]),
        "columns of a matrix should be 19, is 18"
    );
    assert_eq!(
        change(|l| l.dims = vec![4, 18]),
        "kernel positions of a matrix should be 1, is 9"
    );
    assert_eq!(
        change(|l| l.dims.clear()),
        "tensor rank is 0, legal: 1 to 8 (rows first), 2 (columns first), 2 to 8 (transposed)"
    );
    assert_eq!(
        change(|l| l.blocks[0].rows = 0),
        "rows of a block is 0, legal: at least 1"
    );
    let spec = MatrixSpec {
        rows: 1,
        cols: 1,
        period: 1,
    };
    let error = LevelMatrix::from_row_major(spec, StepScale::uniform(0), &[(1 << 20) + 1]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "level is 1048577, legal: -1048576 to 1048576"
    );
    let error = LevelMatrix::from_row_major(spec, StepScale::uniform(6401), &[1]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "base exponent is 6401, legal: -6400 to 6400 in 1/64 octave"
    );
}
