//! Every card in `examples/cards` is valid and named after its file; the manual's example is valid.

use std::path::PathBuf;
use tqz_data::{Card, Task};

#[test]
fn all_example_cards_are_valid_and_named_after_their_file() {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = 0;
    for entry in std::fs::read_dir(workspace.join("examples/cards")).unwrap() {
        let path = entry.unwrap().path();
        let card = Card::read(&path).unwrap();
        assert_eq!(
            Some(card.name.as_str()),
            path.file_stem().and_then(|s| s.to_str())
        );
        let classifies = card.name.starts_with("cifar10") || card.name.starts_with("imagenet");
        assert_eq!(card.task == Task::Classify, classifies, "{}", card.name);
        found += 1;
    }
    assert!(found >= 16, "only {found} cards");
}

#[test]
fn the_manuals_example_is_a_valid_card() {
    let manual = include_str!("../../../docs/cards.md");
    let (_, rest) = manual.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let card = Card::from_toml(text, &PathBuf::from("cards.md")).unwrap();
    assert_eq!(card.source.rows.step, 2);
}
