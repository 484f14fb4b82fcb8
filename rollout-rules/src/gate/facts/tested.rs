//! What is known of an app's own code: which tests ran, which lines and files they reach, and what its folder holds.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Finding;
#[cfg(doc)]
use super::{MAX_COMPONENTS, MAX_FINDINGS};
use crate::ids::Digest;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

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
    /// Names of cases that ran, at most [`MAX_COMPONENTS`]: what presence of tests is checked against. Of more, cases of one parametrised
    /// test are kept as one.
    pub ran: Vec<String>,
    /// How many cases ran whose names were not kept, those aside of which another case of the same test was.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unnamed: u64,
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
    /// How it fits the app's source files; none: it is not known which the app has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_app: Option<OfApp>,
}

/// How a report of coverage fits those source files of the app that hold functions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfApp {
    /// How many of them it has lines of.
    pub measured: u64,
    /// It has lines of none, and the app is mostly in languages of which it is known which files hold functions: it is of other code.
    pub is_foreign: bool,
    /// How many of them no report has lines of; of those in a language that only other reports have, none.
    pub left_out: u64,
    /// Lines that are counted for those, of which none ran: as many for each function as functions have on average in the files that
    /// were measured.
    pub lines: u64,
    /// Lines of those that the build changed.
    pub changed_lines: u64,
    /// Their paths, at most 100, in order.
    pub named: Vec<String>,
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
    /// How many source files were looked at, those without a function too; none: a report that does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
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
    /// What those among them declare that Terraform reads, at most 100; empty: a report that does not say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<Declared>,
    /// Files that name dependencies, at most 100.
    pub manifests: Vec<String>,
}

/// What a file of Terraform declares, as plans name it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Its path in the app's folder.
    pub path: String,
    /// Resources and modules, such as `aws_s3_bucket.data` and `module.network`, at most 100.
    pub names: Vec<String>,
}

/// A case's name without its parameters: `test_sum[1-2]` is one of `test_sum`.
pub fn test_of(case: &str) -> &str {
    case.split_once('[').filter(|_| case.ends_with(']')).map_or(case, |(test, _)| test)
}
