//! The committed files decode to the committed numbers, which an independent decoder in Python, written from
//! docs/format.md, has listed; and this writer still writes those files, byte for byte.

mod common;

use std::path::PathBuf;

use common::goldens::goldens;
use tqz_format::{
    BlockCoding, DecodeLimits, Directory, LayerRecord, Layout, LevelMatrix, Packing, SectionKind,
    TqzFile,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.tqz"))).unwrap()
}

/// A line as tools/decode_tqz.py prints it: section, site, shape, CRC-32 of the numbers, the first twelve of them.
fn line(kind: SectionKind, site: u64, shape: &[usize], (bytes, width): (&[u8], usize)) -> String {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let mut line = format!(
        "{} {site} {} {:08x}",
        kind.name(),
        shape.join("x"),
        crc32fast::hash(bytes)
    );
    for number in bytes.chunks_exact(width).take(12) {
        line.push(' ');
        line.extend(number.iter().rev().map(|byte| format!("{byte:02x}")));
    }
    line
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Everything a file holds, line by line.
fn listing(bytes: &[u8]) -> String {
    let file = TqzFile::decode(bytes, &DecodeLimits::default()).unwrap();
    let directory = Directory::read(bytes).unwrap();
    let mut lines = Vec::new();
    if let Some((_, meta)) = directory.of_kind(SectionKind::Meta).next() {
        let bytes = &bytes[meta.range.clone()];
        lines.push(line(
            SectionKind::Meta,
            file.meta.weights,
            &[bytes.len()],
            (bytes, 1),
        ));
    }
    if !file.graph.is_empty() {
        lines.push(line(
            SectionKind::Graph,
            0,
            &[file.graph.len()],
            (&file.graph, 1),
        ));
    }
    for vector in &file.vectors {
        let bytes = floats(&vector.reconstruct().unwrap());
        let (site, shape) = (vector.site.into(), [vector.levels.len()]);
        lines.push(line(SectionKind::Vectors, site, &shape, (&bytes, 4)));
    }
    for raw in &file.raw {
        let shape = [raw.bytes.len()];
        lines.push(line(
            SectionKind::Raw,
            raw.site.into(),
            &shape,
            (&raw.bytes, 1),
        ));
    }
    for layer in &file.layers {
        let bytes = floats(&layer.reconstruct().unwrap());
        lines.push(line(
            SectionKind::Layer,
            layer.site.into(),
            &layer.dims,
            (&bytes, 4),
        ));
    }
    lines.iter().map(|line| line.clone() + "\n").collect()
}

#[test]
fn goldens_decode_to_the_listed_numbers() {
    for (name, _) in goldens() {
        let listed = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
        assert_eq!(listing(&read(name)), listed, "{name}");
    }
}

#[test]
fn goldens_are_written_byte_for_byte() {
    for (name, file) in goldens() {
        assert!(file.encode().unwrap() == read(name), "{name}");
        assert_eq!(
            TqzFile::decode(&read(name), &DecodeLimits::default()),
            Ok(file),
            "{name}"
        );
    }
    let mut stored: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tqz"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut defined: Vec<_> = goldens()
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    stored.sort();
    defined.sort();
    assert_eq!(stored, defined);
}

#[test]
fn a_layer_is_read_alone_and_in_parallel() {
    for (name, file) in goldens() {
        let bytes = read(name);
        let limits = DecodeLimits::default();
        let directory = Directory::read(&bytes).unwrap();
        let alone = |index: usize| {
            // Nothing else of the file is there.
            let (_, section) = directory.of_kind(SectionKind::Layer).nth(index).unwrap();
            let mut only = vec![0xff; bytes.len()];
            only[section.range.clone()].copy_from_slice(&bytes[section.range.clone()]);
            directory.read_layer(&only, index, &limits).unwrap()
        };
        let layers: Vec<LayerRecord> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..directory.layers())
                .map(|index| scope.spawn(move || alone(index)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(layers, file.layers, "{name}");
    }
}

/// What the goldens must have between them.
#[test]
fn goldens_cover_every_kind() {
    let files: Vec<TqzFile> = goldens().into_iter().map(|(_, file)| file).collect();
    let mut found: Vec<&str> = Vec::new();
    for layer in files.iter().flat_map(|file| &file.layers) {
        found.push(match layer.layout {
            Layout::RowsFirst => "rows first",
            Layout::ColumnsFirst => "columns first",
            Layout::Transposed { .. } => "transposed",
        });
        if layer.blocks.len() > 1 {
            found.push("blocks");
        }
        for block in &layer.blocks {
            let (kind, matrices) = describe(&block.coding);
            found.push(kind);
            for matrix in matrices {
                found.push(match matrix.packing() {
                    Packing::Modelled => "modelled",
                    Packing::RowDepths(_) => "row depths",
                    Packing::ColumnDepths(_) => "column depths",
                    Packing::Dependent => "dependent",
                });
                let scale = matrix.scale();
                found.extend(scale.rows.is_some().then_some("row exponents"));
                found.extend(scale.cols.is_some().then_some("column exponents"));
                let active = matrix.active_rows().len();
                found.extend((active < matrix.spec().rows).then_some("inactive rows"));
            }
        }
    }
    found.extend(
        files
            .iter()
            .any(|file| !file.graph.is_empty())
            .then_some("graph"),
    );
    found.extend(
        files
            .iter()
            .any(|file| !file.meta.pairs.is_empty())
            .then_some("pairs"),
    );
    for width in [1, 2, 4, 8] {
        let has = |file: &TqzFile| file.raw.iter().any(|raw| raw.width == width);
        found.extend(files.iter().any(has).then_some("width"));
    }
    found.sort_unstable();
    assert_eq!(found.iter().filter(|&&f| f == "width").count(), 4);
    found.dedup();
    let mut all = vec![
        "blocks",
        "both",
        "column",
        "column depths",
        "column exponents",
        "columns first",
        "dependent",
        "graph",
        "identity",
        "inactive rows",
        "kernel",
        "modelled",
        "pairs",
        "row",
        "row depths",
        "row exponents",
        "rows first",
        "transposed",
        "width",
    ];
    all.sort_unstable();
    assert_eq!(found, all);
}

fn describe(coding: &BlockCoding) -> (&'static str, Vec<&LevelMatrix>) {
    match coding {
        BlockCoding::Identity { weights } => ("identity", vec![weights]),
        BlockCoding::Column { t, s } => ("column", vec![t, s]),
        BlockCoding::Row { t, s } => ("row", vec![t, s]),
        BlockCoding::Kernel { t, s } => ("kernel", vec![t, s]),
        BlockCoding::Both { t, s, v } => ("both", vec![t, s, v]),
    }
}
