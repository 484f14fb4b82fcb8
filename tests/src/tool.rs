//! The operator's tool, as a person or a pipeline runs it: the real binary, with a token of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Server, tidegate};

/// Somebody at a shell: who they are, which app they work on, and where they stand.
#[derive(Clone, Debug)]
pub struct Tool {
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// What is on standard output.
    pub out: String,
    /// What is on standard error.
    pub err: String,
}

impl Tool {
    /// Somebody with a token, who works on an app and stands in a folder.
    #[must_use]
    pub fn new(server: &Server, token: &str, app: &str, folder: &Path) -> Tool {
        let tool = Tool { folder: folder.to_path_buf(), variables: Vec::new() };
        tool.with("TIDEGATE_URL", server.url()).with("TIDEGATE_TOKEN", token).with("TIDEGATE_APP", app)
    }

    /// The same with one more variable in the environment, or another value of it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Tool {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command. Nothing of the environment of whoever runs the tests is seen by it: a pipeline of theirs is none here.
    ///
    /// # Panics
    /// When the binary does not run, or is killed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Ended {
        let mut command = Command::new(tidegate());
        command.args(words).current_dir(&self.folder).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let ended = command.output().expect("the tool runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = ended.status.code().expect("nobody kills it");
        Ended { code, out: text(&ended.stdout), err: text(&ended.stderr) }
    }

    /// What a command prints as JSON, if it ends well.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let out = self.run(&words).expect(0).out;
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{words:?}: {error}: {out}"))
    }
}

impl Ended {
    /// Itself, if it ended so.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// Asserts that it said something, to whoever reads it or on standard error.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn says(&self, text: &str) {
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(said, "it does not say `{text}`:\n{}\n{}", self.out, self.err);
    }
}
