//! Which pictures a source holds, in which order, with which labels: class folders, a table, or plain
//! pictures.

use crate::card::{SourceCard, SourceKind};
use crate::error::DataError;
use crate::files::{self, Files, clean_name, has_ending, is_picture};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// A picture of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) label: Option<usize>,
}

/// What a source turned out to hold.
#[derive(Debug)]
pub(crate) enum Listing {
    /// Pictures; whether they are sorted by class, so that a few must be taken by a shuffle.
    Items { items: Vec<Item>, by_class: bool },
    /// One `.npz` inside a folder or archive.
    Npz(String),
}

/// Finds out what `files` hold, or checks that it is what the card says. `kind` may differ from the
/// card's when another source was given.
pub(crate) fn list(
    files: &Files,
    card: &SourceCard,
    kind: SourceKind,
) -> Result<Listing, DataError> {
    let path = files.path();
    let fail = |reason: String| DataError::source(path, reason);
    let prefix = clean_name(&card.folder).map_err(&fail)?;
    let inside: Vec<&str> = files
        .names()
        .iter()
        .map(String::as_str)
        .filter(|name| prefix.is_empty() || is_below(name, &prefix))
        .collect();
    let pictures: Vec<&str> = inside.iter().copied().filter(|n| is_picture(n)).collect();
    let table = find_table(&inside, &card.labels);
    let archives: Vec<&str> = inside
        .iter()
        .copied()
        .filter(|n| has_ending(n, "npz"))
        .collect();
    let unlabelled_npz = kind == SourceKind::Auto && table.is_none() && pictures.is_empty();
    if kind == SourceKind::Npz || (unlabelled_npz && !archives.is_empty()) {
        return match archives[..] {
            [one] => Ok(Listing::Npz(one.to_string())),
            [] => Err(fail("it holds no .npz file".to_string())),
            _ => Err(fail(format!(
                "it holds {} .npz files; name the one that is meant",
                archives.len()
            ))),
        };
    }
    match (kind, table) {
        (SourceKind::LabelsCsv, None) => Err(fail(format!("it holds no table `{}`", card.labels))),
        (SourceKind::LabelsCsv | SourceKind::Auto, Some(table)) => Ok(Listing::Items {
            items: read_table(files, table)?,
            by_class: false,
        }),
        _ if pictures.is_empty() => Err(fail(
            "it holds no pictures (.jpg, .jpeg, .png, .bmp, .webp)".to_string(),
        )),
        (SourceKind::Auto, None) if !are_in_classes(&pictures, &prefix, card) => {
            Ok(unlabelled(&pictures))
        }
        (SourceKind::Images, _) => Ok(unlabelled(&pictures)),
        _ => by_class(&pictures, &prefix, &card.classes).map_err(fail),
    }
}

/// Whether every picture lies in a folder, or the card names classes.
fn are_in_classes(pictures: &[&str], prefix: &str, card: &SourceCard) -> bool {
    let root = class_root(pictures, prefix);
    !card.classes.is_empty() || pictures.iter().all(|name| name[root..].contains('/'))
}

/// All names a listing will read.
pub(crate) fn names(items: &[Item]) -> BTreeSet<String> {
    items.iter().map(|item| item.name.clone()).collect()
}

fn is_below(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn unlabelled(pictures: &[&str]) -> Listing {
    let items = pictures.iter().map(|name| Item {
        name: name.to_string(),
        label: None,
    });
    Listing::Items {
        items: items.collect(),
        by_class: false,
    }
}

/// The table of this name that lies highest.
fn find_table<'a>(names: &[&'a str], table: &str) -> Option<&'a str> {
    let file = |name: &str| name.rsplit('/').next() == Some(table);
    names
        .iter()
        .copied()
        .filter(|name| file(name))
        .min_by_key(|name| (name.matches('/').count(), *name))
}

/// How much of the names lies above the class folders: the folder asked for, and one more if it is
/// common to all and all lie at least two folders below it.
fn class_root(pictures: &[&str], prefix: &str) -> usize {
    let root = if prefix.is_empty() {
        0
    } else {
        prefix.len() + 1
    };
    let Some((top, _)) = pictures.first().and_then(|n| n[root..].split_once('/')) else {
        return root;
    };
    let wrapped = |name: &&str| {
        name[root..]
            .split_once('/')
            .is_some_and(|(folder, rest)| folder == top && rest.contains('/'))
    };
    if pictures.iter().all(wrapped) {
        root + top.len() + 1
    } else {
        root
    }
}

fn by_class(pictures: &[&str], prefix: &str, classes: &[String]) -> Result<Listing, String> {
    let root = class_root(pictures, prefix);
    let class = |name: &str| {
        name[root..]
            .split_once('/')
            .map(|(class, _)| class.to_string())
    };
    let found: BTreeSet<String> = pictures.iter().filter_map(|name| class(name)).collect();
    let order: Vec<String> = if classes.is_empty() {
        found.iter().cloned().collect()
    } else {
        classes.to_vec()
    };
    if let Some(absent) = order.iter().find(|c| !found.contains(*c)) {
        return Err(format!(
            "it has no folder for the class `{absent}`; it has {}",
            shortened(&found)
        ));
    }
    let labels: HashMap<&str, usize> = order.iter().map(String::as_str).zip(0..).collect();
    if labels.len() != order.len() {
        return Err("a class is named twice".to_string());
    }
    let mut items = Vec::with_capacity(pictures.len());
    for &name in pictures {
        let Some(class) = class(name) else {
            return Err(format!("the picture {name} lies in no class folder"));
        };
        // Folders that are not among the classes asked for are left out.
        if let Some(&label) = labels.get(class.as_str()) {
            items.push(Item {
                name: name.to_string(),
                label: Some(label),
            });
        }
    }
    items.sort_by_key(|item| item.label);
    Ok(Listing::Items {
        items,
        by_class: true,
    })
}

fn shortened(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
    let more = if names.len() > first.len() {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", first.join(", "))
}

/// The rows of `file,label[,…]`; without a column `label` the pictures have none.
fn read_table(files: &Files, table: &str) -> Result<Vec<Item>, DataError> {
    let bytes = files.read(table, files::MAX_FILE_BYTES)?;
    let place = files.path().join(table);
    let folder = table.rsplit_once('/').map_or("", |(folder, _)| folder);
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text);
    let head = reader.headers().map_err(|e| labels_error(&place, &e))?;
    let column = |name: &str| head.iter().position(|h| h == name);
    let (file, label) = (column("file"), column("label"));
    let Some(file) = file else {
        return Err(DataError::Labels {
            path: place,
            line: 1,
            reason: "its first line must name a column `file` (and `label`)".to_string(),
        });
    };
    let mut items = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| labels_error(&place, &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let item = table_item(
            files,
            folder,
            &record[file],
            label.map(|column| &record[column]),
        );
        items.push(item.map_err(|reason| DataError::Labels {
            path: place.clone(),
            line,
            reason,
        })?);
    }
    if items.is_empty() {
        return Err(DataError::Labels {
            path: place,
            line: 1,
            reason: "the table has no rows".to_string(),
        });
    }
    Ok(items)
}

/// A row's picture, which must be there; its name is relative to the table's folder.
fn table_item(
    files: &Files,
    folder: &str,
    name: &str,
    label: Option<&str>,
) -> Result<Item, String> {
    let name = clean_name(name)?;
    let name = match folder {
        "" => name,
        folder => format!("{folder}/{name}"),
    };
    if !files.names().contains(&name) {
        return Err(format!("there is no picture `{name}`"));
    }
    Ok(Item {
        name,
        label: label.map(parse_label).transpose()?,
    })
}

fn parse_label(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| {
        format!(
            "the label `{}` is no whole number from 0",
            text.escape_debug()
        )
    })
}

fn labels_error(path: &Path, error: &csv::Error) -> DataError {
    DataError::Labels {
        path: path.to_path_buf(),
        line: error.position().map_or(0, csv::Position::line),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
