//! The real binary, run as people run it: a server in a process of its own, and the tool against it.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

pub(crate) mod feed;

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The binary, with no settings of whoever runs the tests.
pub(crate) fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What a finished run of the tool said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Fails unless it ended with this code, and answers with itself.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Said {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Fails unless the output has this part.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Said {
        assert!(self.out.contains(part), "`{part}` is missing in the output: {self:?}");
        self
    }

    /// Fails unless the errors have this part.
    #[track_caller]
    pub(crate) fn complains(self, part: &str) -> Said {
        assert!(self.err.contains(part), "`{part}` is missing in the errors: {self:?}");
        self
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Said {
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the tool writes text");
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// The tool in the background, such as `log --follow`: the lines that it prints. Killed when dropped, also by a
/// test that fails.
pub(crate) struct Following {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    pub(crate) fn start(command: &mut Command) -> Following {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the tool runs");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Following { process, lines }
    }
}

impl Iterator for Following {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.lines.next()?.ok()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder for a server's data.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    process: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) url: String,
    pub(crate) token: String,
    /// What it printed up to the token's commands.
    pub(crate) greeting: String,
    folder: TempDir,
}

impl Server {
    /// Starts one for the first time, on a free port, in a new folder.
    pub(crate) fn first_start() -> Server {
        let mut server = Server::start(folder(), &[]);
        server.read_greeting();
        server
    }

    /// Starts one in a folder and waits until it says where it is.
    pub(crate) fn start(folder: TempDir, more: &[&str]) -> Server {
        Server::start_by(tidegate(), folder, more)
    }

    /// The same by a command that may know more of its surroundings.
    pub(crate) fn start_by(mut tidegate: Command, folder: TempDir, more: &[&str]) -> Server {
        let mut process = tidegate
            .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
            .arg(data(&folder))
            // Tests of everything else need no build that passed; those of the gate set it anew.
            .env("TIDEGATE_GATE_ENFORCEMENT", "report")
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("the server speaks");
        let url = line.strip_prefix("listening on ").expect("its address comes first").trim().to_owned();
        Server { process, lines, url, token: String::new(), greeting: line, folder }
    }

    /// Reads the token, and the commands after it up to an empty line.
    pub(crate) fn read_greeting(&mut self) {
        let mut empty_lines = 0;
        while empty_lines < 2 {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("the server speaks");
            assert!(read > 0, "the server ended; it said: {}", self.greeting);
            if let Some(token) = line.strip_prefix("admin token: ") {
                token.trim().clone_into(&mut self.token);
            }
            empty_lines += usize::from(line.trim().is_empty());
            self.greeting.push_str(&line);
        }
    }

    /// The tool, set up for this server with all rights.
    pub(crate) fn command(&self) -> Command {
        let mut command = tidegate();
        command.env("TIDEGATE_URL", &self.url).env("TIDEGATE_TOKEN", &self.token);
        command
    }

    /// Runs the tool with arguments as a shell would split them.
    #[track_caller]
    pub(crate) fn tool(&self, line: &str) -> Said {
        run(self.command().args(split(line)))
    }

    /// The same with another token.
    #[track_caller]
    pub(crate) fn tool_as(&self, token: &str, line: &str) -> Said {
        run(self.command().env("TIDEGATE_TOKEN", token).args(split(line)))
    }

    /// A new token's secret.
    #[track_caller]
    pub(crate) fn token(&self, options: &str) -> String {
        let made = self.tool(&format!("token create --json {options}")).ends(0).json();
        made["secret"].as_str().expect("the secret is shown once").to_owned()
    }

    /// Asks the server to stop, and answers with its folder and all that it said since.
    pub(crate) fn stop(mut self) -> (TempDir, String) {
        let id = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(asked.success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("it goes on speaking until it ends");
        let status = self.process.wait().expect("our own process ends");
        assert!(status.success(), "a stopped server ends well: {status}");
        (std::mem::replace(&mut self.folder, folder()), rest)
    }

    /// Kills it as a power cut would, and answers with its folder.
    pub(crate) fn kill(mut self) -> TempDir {
        self.process.kill().expect("our own process");
        self.process.wait().expect("our own process ends");
        std::mem::replace(&mut self.folder, folder())
    }

    /// Where its data is.
    pub(crate) fn data_dir(&self) -> PathBuf {
        data(&self.folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder that a server is given.
pub(crate) fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

/// Words, with single quotes around those that hold spaces.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
