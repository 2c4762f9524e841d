//! The real binary in a fresh folder, told by lines as a user types them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A file of the demo.
pub(crate) fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets")
        .join(name)
}

/// The program's JSON.
pub(crate) fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("stdout is one JSON object")
}

/// A folder in which the program runs; it goes with the value.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

#[allow(dead_code, reason = "each test program uses a part")]
impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("temporary folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("written")
    }

    /// Whether there is a file whose name begins so.
    pub(crate) fn holds(&self, start: &str) -> bool {
        let names = std::fs::read_dir(self.folder.path()).expect("a folder");
        let mut names = names.map(|entry| entry.expect("listed").file_name());
        names.any(|name| name.to_string_lossy().starts_with(start))
    }

    /// The program with the words of a line; MODEL, CALIB and TEST are the demo's.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tqz"));
        command.current_dir(self.folder.path());
        for word in line.split_whitespace() {
            match word {
                "MODEL" => command.arg(assets("demo.onnx")),
                "CALIB" => command.arg(assets("demo-calib.toml")),
                "TEST" => command.arg(assets("demo-test.toml")),
                word => command.arg(word),
            };
        }
        command
    }

    /// Runs a line to its end.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("the program starts")
    }

    /// What a line gives as JSON; it must succeed.
    pub(crate) fn json(&self, line: &str) -> Value {
        json(&self.run(&format!("{line} --json")))
    }

    /// What a line that must fail with this exit code says.
    pub(crate) fn refused(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {told}");
        told
    }
}
