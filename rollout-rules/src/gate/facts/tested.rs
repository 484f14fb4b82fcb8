//! What is known of an app's own code: which tests ran, which lines and files they reach, and what its folder holds.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Finding;
#[cfg(doc)]
use super::{MAX_COMPONENTS, MAX_FINDINGS};
use crate::ids::Digest;

/// A run of tests, every case counted anew from the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRun {
    /// The piece it was read from.
    pub piece: Digest,
    /// Cases that ran and passed.
    pub passed: u64,
    /// Cases that failed, or broke before they could.
    pub failed: u64,
    /// Cases that did not run.
    pub skipped: u64,
    /// Whether the suite says that it holds contract tests: its name or a case's class has the word `contract` or `pact`.
    pub contract: bool,
    /// The cases that failed, at most [`MAX_FINDINGS`].
    pub failures: Vec<Finding>,
    /// Names of cases that ran, at most [`MAX_COMPONENTS`]: what presence of tests is checked against.
    pub ran: Vec<String>,
}

/// Which lines of which files were run by tests. Files that are tests are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The piece it was read from.
    pub piece: Digest,
    /// Lines that could run.
    pub lines: u64,
    /// Lines that did.
    pub covered: u64,
    /// The same of lines that the build changed, if it said which: a diff was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<ChangedLines>,
    /// By file, at most [`MAX_COMPONENTS`]: the least covered first.
    pub files: Vec<FileCoverage>,
}

/// Lines that a build changed, and which of them tests ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedLines {
    /// Changed lines that could run.
    pub lines: u64,
    /// Those that did.
    pub covered: u64,
}

/// Coverage of one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCoverage {
    /// Its path in the app's folder.
    pub path: String,
    /// Lines that could run.
    pub lines: u64,
    /// Lines that did.
    pub covered: u64,
}

/// Which source files with functions have a test that names them, asserts something, and can be matched with one that ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// The piece it was read from.
    pub piece: Digest,
    /// The files, at most [`MAX_COMPONENTS`].
    pub files: Vec<SourceFile>,
}

/// A source file that holds at least one function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Its path in the app's folder.
    pub path: String,
    /// How many functions it holds.
    pub functions: u32,
    /// Names of tests that name the file or a function of it and assert something, at most 100.
    pub tests: Vec<String>,
}

/// What an app's folder holds, as only the tool that runs in it can see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The piece it was read from.
    pub piece: Digest,
    /// Files in it, those that Git ignores aside.
    pub files: u64,
    /// Source files of a language that is known, tests aside.
    pub sources: u64,
    /// Files that describe infrastructure, at most 100.
    pub infrastructure: Vec<String>,
    /// Files that name dependencies, at most 100.
    pub manifests: Vec<String>,
}
