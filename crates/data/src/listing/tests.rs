//! What each kind of source lists, and tables that are wrong.

use super::*;
use crate::test_support::{flat_png, zip_of};
use std::path::PathBuf;
use tempfile::TempDir;

fn card() -> SourceCard {
    SourceCard {
        path: PathBuf::new(),
        kind: SourceKind::Auto,
        folder: String::new(),
        labels: "labels.csv".to_string(),
        classes: Vec::new(),
        rows: crate::card::Rows::default(),
        images: None,
    }
}

fn listing(files: &[(&str, &str)], card: &SourceCard) -> Result<Listing, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("set.zip");
    let content = |text: &str| match text {
        "png" => flat_png(1, 1, 0),
        text => text.as_bytes().to_vec(),
    };
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (name.to_string(), content(text)))
        .collect();
    std::fs::write(&path, zip_of(&files)).unwrap();
    list(&Files::open(&path).unwrap(), card, card.kind).map_err(|e| e.to_string())
}

fn items(files: &[(&str, &str)], card: &SourceCard) -> Vec<(String, Option<usize>)> {
    match listing(files, card).unwrap() {
        Listing::Items { items, .. } => items.into_iter().map(|i| (i.name, i.label)).collect(),
        Listing::Npz(name) => panic!("{name}"),
    }
}

fn expect(list: &[(&str, Option<usize>)]) -> Vec<(String, Option<usize>)> {
    list.iter().map(|(n, l)| (n.to_string(), *l)).collect()
}

#[test]
fn class_folders_get_labels_by_name_or_as_told() {
    let files = [
        ("dog/1.png", "png"),
        ("cat/1.png", "png"),
        ("eel/x/1.png", "png"),
    ];
    assert_eq!(
        items(&files, &card()),
        expect(&[
            ("cat/1.png", Some(0)),
            ("dog/1.png", Some(1)),
            ("eel/x/1.png", Some(2))
        ])
    );
    let told = SourceCard {
        classes: vec!["eel".to_string(), "cat".to_string()],
        ..card()
    };
    assert_eq!(
        items(&files, &told),
        expect(&[("eel/x/1.png", Some(0)), ("cat/1.png", Some(1))])
    );
    let absent = SourceCard {
        classes: vec!["cow".to_string()],
        ..card()
    };
    assert!(
        listing(&files, &absent)
            .unwrap_err()
            .contains("cat, dog, eel")
    );
}

#[test]
fn one_common_folder_above_the_classes_is_stepped_over() {
    let files = [("set/dog/1.png", "png"), ("set/cat/1.png", "png")];
    assert_eq!(
        items(&files, &card()),
        expect(&[("set/cat/1.png", Some(0)), ("set/dog/1.png", Some(1))])
    );
    let one = [("cat/1.png", "png"), ("cat/2.png", "png")];
    assert_eq!(items(&one, &card())[1].1, Some(0));
    let inner = SourceCard {
        folder: "set/cat".to_string(),
        ..card()
    };
    assert_eq!(items(&files, &inner), expect(&[("set/cat/1.png", None)]));
}

#[test]
fn tables_give_their_order_and_labels() {
    let table = "\u{feff}file,label,name\r\nb.png,3,cat\r\na.png,0,\"dog, big\"\r\n";
    let files = [
        ("s/a.png", "png"),
        ("s/b.png", "png"),
        ("s/labels.csv", table),
    ];
    assert_eq!(
        items(&files, &card()),
        expect(&[("s/b.png", Some(3)), ("s/a.png", Some(0))])
    );
    let bare = [("a.png", "png"), ("labels.csv", "file\na.png\n")];
    assert_eq!(items(&bare, &card()), expect(&[("a.png", None)]));
}

#[test]
fn wrong_tables_are_named_with_their_line() {
    for (table, reason) in [
        (
            "file,label\na.png,0\nb.png,1\n",
            "line 3: there is no picture `b.png`",
        ),
        ("file,label\na.png,-1\n", "line 2: the label `-1`"),
        ("file,label\na.png,cat\n", "label `cat`"),
        ("file,label\na.png,1.5\n", "label `1.5`"),
        ("file,label\na.png,99999999999999999999\n", "label"),
        ("file,label\n../a.png,1\n", "leads outside"),
        ("file,label\n/a.png,1\n", "not relative"),
        ("file,label\na.png\n", "line: 2"),
        ("name,label\na.png,0\n", "column `file`"),
        ("file,label\n", "no rows"),
        ("", "column `file`"),
    ] {
        let error = listing(&[("a.png", "png"), ("labels.csv", table)], &card()).unwrap_err();
        assert!(error.contains(reason), "{table}: {error}");
    }
}

#[test]
fn plain_pictures_are_sorted_and_unlabelled() {
    let files = [("b.png", "png"), ("a.jpg", "png"), ("c/d.png", "png")];
    assert_eq!(
        items(&files, &card()),
        expect(&[("a.jpg", None), ("b.png", None), ("c/d.png", None)])
    );
    assert!(
        listing(&[("a.txt", "text")], &card())
            .unwrap_err()
            .contains("no pictures")
    );
    let classes = SourceCard {
        kind: SourceKind::ClassFolders,
        ..card()
    };
    assert!(
        listing(&files, &classes)
            .unwrap_err()
            .contains("no class folder")
    );
    let table = SourceCard {
        kind: SourceKind::LabelsCsv,
        ..card()
    };
    assert!(listing(&files, &table).unwrap_err().contains("labels.csv"));
}

#[test]
fn a_single_npz_inside_is_found() {
    let found = listing(&[("a/x.npz", "zip")], &card()).unwrap();
    assert!(matches!(found, Listing::Npz(name) if name == "a/x.npz"));
    let two = listing(&[("x.npz", "zip"), ("y.npz", "zip")], &card());
    assert!(two.unwrap_err().contains("2 .npz"));
}
