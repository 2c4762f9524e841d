//! Every kind of source gives the same files; hostile archives give errors.

use super::*;
use crate::test_support::{flat_png, flip_bits, tar_of, xz_of, zip_of};
use std::fs;
use tempfile::TempDir;

fn sample_files() -> Vec<(String, Vec<u8>)> {
    vec![
        ("cat/1.png".to_string(), flat_png(3, 2, 7)),
        ("cat/2.PNG".to_string(), flat_png(3, 2, 8)),
        ("dog/1.png".to_string(), flat_png(3, 2, 9)),
        ("notes.txt".to_string(), b"no picture".to_vec()),
        (".hidden/1.png".to_string(), flat_png(1, 1, 1)),
        (
            "labels.csv".to_string(),
            b"file,label\ncat/1.png,0\n".to_vec(),
        ),
    ]
}

fn archive(folder: &TempDir, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn read_all(path: &Path) -> Result<Vec<(String, Vec<u8>)>, DataError> {
    let mut files = Files::open(path)?;
    let names = files.names().clone();
    files.prepare(&names)?;
    names
        .into_iter()
        .map(|n| Ok((n.clone(), files.read(&n, MAX_FILE_BYTES)?.into_owned())))
        .collect()
}

#[test]
fn every_kind_of_source_gives_the_same_files() {
    let folder = TempDir::new().unwrap();
    let files = sample_files();
    let plain = folder.path().join("plain");
    for (name, data) in &files {
        let path = plain.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
    let mut expected: Vec<_> = files
        .iter()
        .filter(|(n, _)| !n.ends_with(".txt") && !n.starts_with('.'))
        .cloned()
        .collect();
    expected.sort();
    assert_eq!(read_all(&plain).unwrap(), expected);
    let tar = tar_of(&files);
    for (name, bytes) in [
        ("a.zip", zip_of(&files)),
        ("a.tar", tar.clone()),
        ("a.tar.xz", xz_of(&tar)),
        ("a.txz", xz_of(&tar)),
    ] {
        assert_eq!(
            read_all(&archive(&folder, name, &bytes)).unwrap(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn names_that_lead_outside_are_refused() {
    let folder = TempDir::new().unwrap();
    for name in [
        "../x.png",
        "/etc/x.png",
        "a/../../x.png",
        "C:/x.png",
        "..\\x.png",
    ] {
        let files = [(name.to_string(), flat_png(1, 1, 1))];
        for (kind, bytes) in [
            ("h.zip", zip_of(&files)),
            ("h.tar", tar_of(&files)),
            ("h.tar.xz", xz_of(&tar_of(&files))),
        ] {
            let error = read_all(&archive(&folder, kind, &bytes))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("leads outside") || error.contains("not relative"),
                "{error}"
            );
        }
    }
    let outside = Files::open(folder.path())
        .unwrap()
        .read("../x.png", 10)
        .unwrap_err();
    assert!(outside.to_string().contains("leads outside"));
}

#[test]
fn archives_cut_short_are_errors() {
    let folder = TempDir::new().unwrap();
    let tar = tar_of(&sample_files());
    for (name, bytes) in [
        ("c.zip", zip_of(&sample_files())),
        ("c.tar.xz", xz_of(&tar)),
    ] {
        for length in (0..bytes.len()).step_by(11) {
            let cut = archive(&folder, name, &bytes[..length]);
            assert!(read_all(&cut).is_err(), "{name} cut to {length}");
        }
    }
    for length in (1..5600).step_by(97).filter(|l| l % 512 != 0) {
        // A tar without its end mark is legal; one that ends inside a block is not.
        if let Ok(files) = read_all(&archive(&folder, "c.tar", &tar[..length])) {
            assert!(files.len() < 4, "cut to {length}");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let folder = TempDir::new().unwrap();
    let tar = tar_of(&sample_files());
    let kinds = [
        ("f.zip", zip_of(&sample_files())),
        ("f.tar", tar.clone()),
        ("f.tar.xz", xz_of(&tar)),
    ];
    for (name, bytes) in kinds {
        for seed in 0..150 {
            let damaged = flip_bits(&bytes, seed, 1 + seed as usize % 4);
            // Damage of a plain tar's contents shows only when the picture is decoded.
            let result = read_all(&archive(&folder, name, &damaged));
            assert!(name != "f.tar.xz" || result.is_err(), "{name} {seed}");
        }
    }
}

#[test]
fn a_bomb_is_stopped_early() {
    let folder = TempDir::new().unwrap();
    let files = [("zeros.png".to_string(), vec![0; 6 << 20])];
    let bomb = archive(&folder, "b.tar.xz", &xz_of(&tar_of(&files)));
    let error = read_all(&bomb).unwrap_err().to_string();
    assert!(error.contains("times its size"), "{error}");
    let zip = Files::open(&archive(&folder, "b.zip", &zip_of(&files))).unwrap();
    let error = zip.read("zeros.png", 1 << 20).unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}

#[test]
fn a_huge_size_in_a_tar_header_is_an_error() {
    let folder = TempDir::new().unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("x.png").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend([0; 1024]);
    assert!(read_all(&archive(&folder, "s.tar", &bytes)).is_err());
    assert!(read_all(&archive(&folder, "s.tar.xz", &xz_of(&bytes))).is_err());
}

#[test]
fn other_files_are_no_source() {
    let folder = TempDir::new().unwrap();
    let error = Files::open(&archive(&folder, "a.rar", b"Rar!"))
        .unwrap_err()
        .to_string();
    assert!(error.contains(".tar.xz"), "{error}");
    assert!(Files::open(&folder.path().join("absent")).is_err());
}
