//! What an act of a language model came from: its prompt by a digest, the files it wrote, who looked at them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;

/// Most files that an agent names with an act; of more it says how many.
pub const MAX_WORK_FILES: usize = 20;
/// Longest name of such a file, or of who looked at them, in bytes.
pub const MAX_WORK_NAME_BYTES: usize = 200;

/// So many files are named in a line of text.
const FILES_IN_WORDS: usize = 3;
/// So many digits of a prompt's digest tell it from others where it is not shown whole.
const DIGITS_IN_WORDS: usize = 12;

/// What an agent says that its act came from. It is kept and shown, and nothing is decided by it: nobody has checked it.
///
/// As text it is one line: `prompt sha256:888888888888…, 2 files (a.py, b.py), reviewed by grace`. The alternate form (`{:#}`) has the whole
/// digest. That nobody reviewed it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// SHA-256 of the prompt. The prompt itself has no place here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Digest>,
    /// The files it wrote, at most 20, each of at most 200 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// How many more it wrote than are named.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_files: u32,
    /// Who looked at it, in at most 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
}

/// What is wrong with what an agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkFault {
    /// More files than are taken.
    TooManyFiles {
        /// How many.
        files: usize,
    },
    /// A file's name is none.
    File {
        /// Which, from 1 on.
        nth: usize,
    },
    /// The reviewer's name is none.
    Reviewer,
}

impl Work {
    /// Whether it fits an entry of the log, and stays on its line.
    pub fn check(&self) -> Result<(), WorkFault> {
        if self.files.len() > MAX_WORK_FILES {
            return Err(WorkFault::TooManyFiles { files: self.files.len() });
        }
        if let Some(nth) = self.files.iter().position(|file| !is_name(file)) {
            return Err(WorkFault::File { nth: nth + 1 });
        }
        if self.reviewer.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(WorkFault::Reviewer);
        }
        Ok(())
    }
}

/// JSON writes the signs that are refused as several: so many bytes of names are so many bytes of an entry.
fn is_name(text: &str) -> bool {
    let takes_more = |sign: char| sign.is_control() || matches!(sign, '"' | '\\');
    !text.trim().is_empty() && text.len() <= MAX_WORK_NAME_BYTES && !text.contains(takes_more)
}

impl fmt::Display for WorkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_names =
            format_args!("at most {MAX_WORK_NAME_BYTES} bytes on one line, without quotes and backslashes");
        match self {
            WorkFault::TooManyFiles { files } => write!(
                f,
                "{files} files are named and {MAX_WORK_FILES} are taken: name the first, and say as `more-files` how many more there are"
            ),
            WorkFault::File { nth } => write!(f, "the name of file {nth} has to be {of_names}"),
            WorkFault::Reviewer => write!(f, "the name of the reviewer has to be {of_names}"),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work { prompt, files, more_files, reviewer } = self;
        write_work(f, prompt.as_ref(), (files, *more_files), reviewer.as_deref())
    }
}

/// Whether there are no more files than those that are named.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it by reference")]
pub(crate) fn is_none(more_files: &u32) -> bool {
    *more_files == 0
}

/// The words for what a language model did, here and in a decision of the gate.
pub(crate) fn write_work(
    f: &mut fmt::Formatter<'_>,
    prompt: Option<&Digest>,
    (files, more_files): (&[String], u32),
    reviewer: Option<&str>,
) -> fmt::Result {
    match prompt {
        Some(prompt) if f.alternate() => write!(f, "prompt sha256:{prompt}, ")?,
        Some(prompt) => {
            f.write_str("prompt sha256:")?;
            let digits = alloc::format!("{prompt}");
            write!(f, "{}…, ", &digits[..DIGITS_IN_WORDS])?;
        }
        None => f.write_str("no prompt named, ")?,
    }
    write_files(f, files, more_files)?;
    match reviewer {
        Some(reviewer) => write!(f, ", reviewed by {reviewer}"),
        None => f.write_str(", nobody reviewed it"),
    }
}

fn write_files(f: &mut fmt::Formatter<'_>, files: &[String], more_files: u32) -> fmt::Result {
    match files.len() as u64 + u64::from(more_files) {
        0 => return f.write_str("no files named"),
        1 => f.write_str("1 file")?,
        count => write!(f, "{count} files")?,
    }
    let named = files.len().min(FILES_IN_WORDS);
    if named == 0 {
        return Ok(());
    }
    write!(f, " ({}", files[..named].join(", "))?;
    match (files.len() - named) as u64 + u64::from(more_files) {
        0 => f.write_str(")"),
        more => write!(f, " and {more} more)"),
    }
}
