//! Cards: small TOML files that describe an image set, its preprocessing and its task.
//! `docs/cards.md` is their manual; every field is checked here, before any picture is opened.

use crate::error::DataError;
use crate::preprocess::{Channels, Layout, Preprocess};
use crate::task::{SuperResolveInput, Task};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Longest card in bytes.
const MAX_CARD_BYTES: u64 = 1 << 20;

/// An image set's description, as read from TOML.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// A name for tables and reports; may be empty.
    #[serde(default)]
    pub name: String,
    /// Where the pictures are and which of them are taken.
    pub source: SourceCard,
    /// From a picture to a network's input.
    #[serde(default)]
    pub preprocess: Preprocess,
    /// What the network does and how it is scored.
    #[serde(default)]
    pub task: Task,
}

/// The `[source]` table of a card.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceCard {
    /// Folder, archive or `.npz`, relative to the card.
    pub path: PathBuf,
    /// How the source is organised; by default found out from what it holds.
    #[serde(default)]
    pub kind: SourceKind,
    /// Only what lies below this folder of the source.
    #[serde(default)]
    pub folder: String,
    /// Name of the table of labels.
    #[serde(default = "default_labels")]
    pub labels: String,
    /// Class folders in the order of their labels; by default the sorted names.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Which of the listed pictures are taken.
    #[serde(default)]
    pub rows: Rows,
    /// How many pictures are taken at most, after `rows`: the first ones, or for class folders the
    /// first of a seeded shuffle.
    #[serde(default)]
    pub images: Option<usize>,
}

fn default_labels() -> String {
    "labels.csv".to_string()
}

/// How a source is organised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// `.npz` by its ending; else a table of labels if there is one; else class folders if every
    /// picture lies in a folder; else pictures without labels.
    #[default]
    Auto,
    /// numpy arrays `x` and, optionally, `y`.
    Npz,
    /// A folder for each class.
    ClassFolders,
    /// Pictures named in a table with their labels.
    LabelsCsv,
    /// Pictures without labels, in the order of their names.
    Images,
}

/// A selection of rows: `"all"`, `"even"`, `"odd"` or `{ start = 3, step = 5 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RowsToml")]
pub struct Rows {
    /// First row taken, from 0.
    pub start: usize,
    /// Distance to the next row taken, at least 1.
    pub step: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self { start: 0, step: 1 }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "rows are `all`, `even`, `odd` or { start = 0, step = 1 }"
)]
enum RowsToml {
    Name(String),
    Steps(Steps),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    #[serde(default)]
    start: usize,
    #[serde(default = "one")]
    step: usize,
}

fn one() -> usize {
    1
}

impl TryFrom<RowsToml> for Rows {
    type Error = String;

    fn try_from(toml: RowsToml) -> Result<Self, String> {
        let (start, step) = match toml {
            RowsToml::Name(name) => match name.as_str() {
                "all" => (0, 1),
                "even" => (0, 2),
                "odd" => (1, 2),
                _ => {
                    return Err(format!(
                        "rows is \"{name}\"; legal are \"all\", \"even\", \"odd\" or {{ start, step }}"
                    ));
                }
            },
            RowsToml::Steps(Steps { start, step }) => (start, step),
        };
        if step == 0 {
            return Err("the step of rows is 0; legal are 1 and more".to_string());
        }
        Ok(Self { start, step })
    }
}

impl Card {
    /// Reads and checks a card.
    ///
    /// # Errors
    /// [`DataError::Io`] when it cannot be read, [`DataError::Card`] when it is no valid card.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let fail = |reason: String| DataError::Card {
            path: path.to_path_buf(),
            reason,
        };
        let metadata = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
        if !metadata.is_file() {
            return Err(fail("it is no regular file".to_owned()));
        }
        if metadata.len() > MAX_CARD_BYTES {
            return Err(fail(format!(
                "it has {} bytes; cards are TOML of up to {MAX_CARD_BYTES}",
                metadata.len()
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|e| DataError::io(path, e))?;
        Self::from_toml(&text, path)
    }

    /// The card in `text`; `path` is for messages.
    ///
    /// # Errors
    /// [`DataError::Card`] when it is no valid card.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, DataError> {
        let fail = |reason: String| DataError::Card {
            path: path.to_path_buf(),
            reason,
        };
        let card: Self = toml::from_str(text).map_err(|e| fail(e.to_string()))?;
        card.check().map_err(fail)?;
        Ok(card)
    }

    /// Checks that the fields go together.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.preprocess.check()?;
        if !self.source.classes.is_empty()
            && !matches!(
                self.source.kind,
                SourceKind::Auto | SourceKind::ClassFolders
            )
        {
            return Err("classes are of use for kind = \"class-folders\" alone".to_string());
        }
        if self.source.images == Some(0) {
            return Err("images is 0; legal are 1 and more".to_string());
        }
        if matches!(self.task, Task::Classify) {
            return Ok(());
        }
        if !self.preprocess.gives_unit_range() {
            return Err(
                "tasks on images need scale = \"1/255\" and neither mean nor std, so that values lie in 0..1"
                    .to_string(),
            );
        }
        if self.preprocess.layout != Layout::Nchw {
            return Err("tasks on images need layout = \"nchw\"".to_string());
        }
        let channels = self.preprocess.channels;
        match &self.task {
            Task::SuperResolve {
                input: SuperResolveInput::Luma,
                ..
            } if channels != Channels::Rgb => Err(
                "super-resolution of luma computes it from colours: leave channels = \"rgb\""
                    .to_string(),
            ),
            Task::SuperResolve { .. } if channels != Channels::Rgb => Err(
                "super-resolution takes channels = \"rgb\" (or input = \"luma\" in its task)"
                    .to_string(),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Card, String> {
        Card::from_toml(text, Path::new("a.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_short_card_gets_the_defaults() {
        let card = parse("[source]\npath = \"x.npz\"").unwrap();
        assert_eq!(card.source.rows, Rows { start: 0, step: 1 });
        assert_eq!(card.source.labels, "labels.csv");
        assert_eq!(card.task, Task::Classify);
        assert_eq!(card.preprocess, Preprocess::default());
    }

    #[test]
    fn rows_are_names_or_steps() {
        let rows = |text: &str| {
            parse(&format!("[source]\npath = \"x\"\nrows = {text}")).map(|c| c.source.rows)
        };
        assert_eq!(rows("\"odd\"").unwrap(), Rows { start: 1, step: 2 });
        assert_eq!(
            rows("{ start = 3, step = 5 }").unwrap(),
            Rows { start: 3, step: 5 }
        );
        assert!(rows("\"third\"").unwrap_err().contains("\"even\""));
        assert!(rows("{ step = 0 }").unwrap_err().contains("step"));
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_no_cards() {
        let error = Card::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("regular file"), "{error}");
    }

    #[test]
    fn wrong_cards_say_what_is_legal() {
        let source = "[source]\npath = \"x\"\n";
        for (rest, reason) in [
            ("[sauce]\n", "sauce"),
            ("kind = \"pictures\"\n", "class-folders"),
            ("images = 0\n", "1 and more"),
            ("[preprocess]\nscale = 0\n", "scale"),
            ("[preprocess]\nscale = \"1/0\"\n", "scale"),
            ("[preprocess]\nstd = 0\n", "std"),
            ("[preprocess]\nmean = [1, 2]\n", "mean"),
            ("[preprocess]\nresize = { mode = \"exact\" }\n", "size"),
            (
                "[preprocess]\nresize = { mode = \"shorter\", size = [2, 3] }\n",
                "one",
            ),
            (
                "[preprocess]\ncrop = { mode = \"central\", size = 0 }\n",
                "1 to",
            ),
            (
                "[preprocess]\ncrop = { mode = \"central\", size = 99999 }\n",
                "1 to",
            ),
            ("[task]\nkind = \"classify\"\nsigma = 2\n", "sigma"),
            ("[task]\nkind = \"denoise\"\nsigma = -1\n", "sigma"),
            ("[task]\nkind = \"denoise\"\n", "1/255"),
            ("[task]\nkind = \"super-resolve\"\nscale = 0\n", "scale"),
            ("[task]\nkind = \"segment\"\n", "denoise"),
            ("rows = 3\n", "`even`"),
            ("[preprocess]\nscale = [1]\n", "1/255"),
            ("[preprocess]\nmean = \"a\"\n", "one number"),
            (
                "[preprocess]\nresize = { mode = \"exact\", size = [1, 2, 3] }\n",
                "[height, width]",
            ),
            (
                "[preprocess]\nscale = \"1/255\"\nchannels = \"grey\"\n[task]\nkind = \"super-resolve\"\n",
                "rgb",
            ),
            (
                "[preprocess]\nscale = \"1/255\"\nlayout = \"nhwc\"\n[task]\nkind = \"denoise\"\n",
                "nchw",
            ),
        ] {
            let error = parse(&format!("{source}{rest}")).unwrap_err();
            assert!(error.contains(reason), "{rest}: {error}");
            assert!(error.contains("a.toml"), "{error}");
        }
        assert!(parse("").unwrap_err().contains("source"));
    }
}
