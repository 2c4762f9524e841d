//! The only room that writes to the terminal: tables and JSON to stdout, errors and notes to stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use tqz_onnx::{Existing, WriteOptions};

/// Digits of a loss that are always seen.
const LEAST_DIGITS: usize = 4;

/// Where results and notes go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    json: bool,
    verbose: u8,
}

impl Console {
    pub(crate) fn new(json: bool, verbose: u8) -> Self {
        Self { json, verbose }
    }

    /// Prints `value` as JSON where JSON was asked for, else the text.
    pub(crate) fn result(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let shown = if self.json {
            serde_json::to_string_pretty(value)?
        } else {
            printable(&text())
        };
        match writeln!(std::io::stdout(), "{shown}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A remark for the user, on stderr; `level` 0 always, 1 with -v, 2 with -vv. With --json only what is always said.
    pub(crate) fn note(&self, level: u8, text: &str) {
        if level == 0 || (!self.json && self.verbose >= level) {
            eprintln!("{}", printable(text));
        }
    }

    /// An error with its causes, on stderr.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let mut text = printable(&causes(error));
        if let Some((end, _)) = text.char_indices().nth(LONGEST_ERROR) {
            text.truncate(end);
            text.push('…');
        }
        eprintln!("error: {text}");
    }

    /// Whether progress bars may be drawn.
    pub(crate) fn interactive(&self) -> bool {
        std::io::stderr().is_terminal()
    }
}

/// Narrowest terminal that tables are fitted to.
const NARROWEST: u16 = 70;
/// Longest text of an error; names in hostile files may be megabytes.
const LONGEST_ERROR: usize = 4000;

/// A value on the command line that is not legal: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// What is wrong and what is legal, in the user's words.
    pub(crate) fn new(told: impl Into<String>) -> Self {
        Self(told.into())
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Long work was stopped by the user and can go on: exit code 130, as shells have it for Ctrl-C.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) String);

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stopped {}

/// Makes an error one of usage.
pub(crate) fn usage(error: impl std::error::Error) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// An error and its causes, without those whose text the error above them ends with.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// A number that may be absent, for a table.
pub(crate) fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.digits$}"))
}

/// A loss with so many decimals, and with more where it is so small that fewer than four digits of it would be seen (squared errors of
/// pictures are some 1e-5).
pub(crate) fn shown_loss(value: f64, decimals: usize) -> String {
    let zeros = match value == 0.0 || !value.is_finite() {
        true => 0.0,
        false => (-value.abs().log10().floor() - 1.0).clamp(0.0, 20.0),
    };
    let decimals = decimals.max(zeros as usize + LEAST_DIGITS);
    format!("{value:.decimals$}")
}

/// A text without what would steer the terminal: names in files may hold escape sequences.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// A table with right-aligned columns but the first ones.
pub(crate) fn table(header: &[&str], left_columns: usize, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    // Cells are wrapped to a terminal's width, but not where that leaves a few letters a line.
    let arrangement = match table.width() {
        Some(width) if width >= NARROWEST => ContentArrangement::Dynamic,
        _ => ContentArrangement::Disabled,
    };
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(arrangement)
        .set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if index >= left_columns {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `1234567` → `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Refuses, before any work is done, what could not be written in the end: an existing file unless forced, or a file in a
/// folder that is not there.
pub(crate) fn check_free(path: &Path, force: bool) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("{} is a folder; name a file in it", path.display());
    }
    if path.exists() && !force {
        bail!(
            "{} exists; give --force to replace it, or another name",
            path.display()
        );
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        bail!(
            "{}: there is no folder {}; make it first",
            path.display(),
            folder.display()
        );
    }
    Ok(())
}

/// A path from the root on, however it is spelt: links and steps back are followed as far as they lead to something.
pub(crate) fn whole(path: &Path) -> PathBuf {
    if let Ok(whole) = path.canonicalize() {
        return whole;
    }
    match (folder_of(path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

/// Refuses one name for two files that a command reads or writes, however it is spelt; `roles` says which.
pub(crate) fn check_apart(paths: Vec<&Path>, roles: &str) -> anyhow::Result<()> {
    let mut paths: Vec<PathBuf> = paths.into_iter().map(whole).collect();
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(twice) => Err(Usage::new(format!(
            "{} is named for two of {roles}; each needs a name of its own",
            twice[0].display()
        ))
        .into()),
    }
}

/// Writes bytes to a temporary file beside `path` and renames it when complete.
pub(crate) fn write_file(path: &Path, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    check_free(path, force)?;
    let shown = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path)).with_context(shown)?;
    file.write_all(bytes).with_context(shown)?;
    file.as_file().sync_all().with_context(shown)?;
    make_readable(&file).with_context(shown)?;
    if force {
        file.persist(path)
            .map_err(|e| e.error)
            .with_context(shown)?;
    } else {
        file.persist_noclobber(path)
            .map_err(|e| e.error)
            .with_context(shown)?;
    }
    Ok(())
}

/// Writes a network; a file that came there while it was made stays, unless `force` is set.
pub(crate) fn write_network(
    path: &Path,
    model: &tqz_onnx::model::ModelProto,
    force: bool,
) -> anyhow::Result<()> {
    check_free(path, force)?;
    let existing = if force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let options = WriteOptions {
        existing,
        ..WriteOptions::default()
    };
    Ok(tqz_onnx::write_model_with(path, model, &options)?)
}

/// Temporary files are private; outputs have the usual permissions.
#[cfg(unix)]
fn make_readable(file: &tempfile::NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &tempfile::NamedTempFile) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(123_456), "123,456");
    }

    #[test]
    fn small_losses_keep_their_digits() {
        assert_eq!(shown_loss(1.25, 4), "1.2500");
        assert_eq!(shown_loss(0.0000324567, 4), "0.00003246");
        assert_eq!(shown_loss(0.0000324567, 10), "0.0000324567");
        assert_eq!(shown_loss(0.0, 5), "0.00000");
        assert_eq!(shown_loss(f64::NAN, 4), "NaN");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc\r"), "a\u{fffd}[31mb\nc\u{fffd}");
    }

    #[test]
    fn causes_are_told_once() {
        let inner = Usage("b".to_owned());
        let error = anyhow::Error::new(inner).context("in a: b").context("c");
        assert_eq!(causes(&error), "c: in a: b");
    }

    #[cfg(unix)]
    #[test]
    fn one_file_has_one_name_however_it_is_spelt() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).expect("made");
        std::fs::write(at("a"), b"a").expect("written");
        std::os::unix::fs::symlink(at("a"), at("link")).expect("made");
        for other in ["a", "sub/../a", "link"] {
            let told = check_apart(vec![&at("a"), &at(other)], "both");
            assert!(told.is_err(), "{other}");
        }
        let new = [at("new"), at("sub/../new")];
        assert!(check_apart(vec![&new[0], &new[1]], "both").is_err());
        assert!(check_apart(vec![&at("a"), &at("b")], "both").is_ok());
        assert!(check_free(&at("sub"), true).is_err());
    }

    #[test]
    fn existing_files_are_kept_unless_forced() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        write_file(&path, b"one", false).expect("written");
        assert!(write_file(&path, b"two", false).is_err());
        assert_eq!(std::fs::read(&path).expect("readable"), b"one");
        write_file(&path, b"two", true).expect("replaced");
        assert_eq!(std::fs::read(&path).expect("readable"), b"two");
    }
}
