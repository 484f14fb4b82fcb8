//! Unified diffs, as `git diff BASE...HEAD` writes them: which lines of which files a build changed.
//!
//! Format: unified diffs of POSIX.1-2024, with Git's headers: <https://git-scm.com/docs/diff-format>.

use std::collections::BTreeMap;

use rollout_rules::gate::facts::{Problem, ProblemCode};

use super::coverage::MAX_FILES;
use super::problem;
use super::text::path;

/// Lines that a build added or changed, by file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// By path in the repository, the lines in order, each once.
    pub files: BTreeMap<String, Vec<u32>>,
}

impl Changed {
    /// Takes up another diff.
    pub(super) fn add(&mut self, other: Changed) {
        for (file, mut lines) in other.files {
            let all = self.files.entry(file).or_default();
            all.append(&mut lines);
            all.sort_unstable();
            all.dedup();
        }
    }
}

/// Reads a diff. Lines inside a hunk are told from headers by the hunk's own counts, so that no line of code reads as a header.
pub(super) fn read(bytes: &[u8]) -> Result<Changed, Problem> {
    let mut changed = Changed::default();
    let mut before = String::new();
    let mut file: Option<String> = None;
    let mut hunk: Option<Hunk> = None;
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let at = index + 1;
        if let Some(open) = &mut hunk {
            let added = open.line(raw, at)?;
            if let (Some(line), Some(file)) = (added, &file) {
                changed.files.entry(file.clone()).or_default().push(line);
            }
            if open.old == 0 && open.new == 0 {
                hunk = None;
            }
        } else if let Some(name) = raw.strip_prefix(b"--- ") {
            before = header(name);
        } else if let Some(name) = raw.strip_prefix(b"+++ ") {
            file = file_name(&before, &header(name));
            if changed.files.len() > MAX_FILES {
                let detail = format!("It changes more than {MAX_FILES} files. Leave out those of libraries.");
                return Err(problem(ProblemCode::TooLarge, detail));
            }
        } else if raw.starts_with(b"@@@") {
            return Err(malformed(
                at,
                "is of a merge with several parents: write the diff with `git diff BASE...HEAD`",
            ));
        } else if raw.starts_with(b"@@ ") {
            let open = Hunk::open(raw).ok_or_else(|| malformed(at, "is no header of a hunk"))?;
            hunk = Some(open).filter(|open| open.old > 0 || open.new > 0);
        }
    }
    if hunk.is_some() {
        return Err(problem(
            ProblemCode::Malformed,
            "It is cut off within a hunk. Write it again with `git diff BASE...HEAD`.",
        ));
    }
    let mut all = Changed::default();
    all.add(changed);
    Ok(all)
}

/// A hunk that is still open: how many lines of the old and the new file are to come, and the number of the next new one.
struct Hunk {
    old: u32,
    new: u32,
    next: u32,
}

impl Hunk {
    /// `@@ -1,2 +3,4 @@`; a count of one is left out.
    fn open(raw: &[u8]) -> Option<Hunk> {
        let text = String::from_utf8_lossy(raw);
        let mut words = text.split(' ').skip(1);
        let range = |word: &str, sign: char| -> Option<(u32, u32)> {
            let range = word.strip_prefix(sign)?;
            let (start, count) = range.split_once(',').unwrap_or((range, "1"));
            Some((start.parse().ok()?, count.parse().ok()?))
        };
        let (_, old) = range(words.next()?, '-')?;
        let (next, new) = range(words.next()?, '+')?;
        next.checked_add(new)?;
        Some(Hunk { old, new, next })
    }

    /// One line of it: its number, if it was added.
    fn line(&mut self, raw: &[u8], at: usize) -> Result<Option<u32>, Problem> {
        let too_many = || malformed(at, "is one more than its hunk says");
        match raw.first() {
            Some(b'+') => {
                self.new = self.new.checked_sub(1).ok_or_else(too_many)?;
                self.next += 1;
                Ok(Some(self.next - 1))
            }
            Some(b'-') => {
                self.old = self.old.checked_sub(1).ok_or_else(too_many)?;
                Ok(None)
            }
            Some(b'\\') => Ok(None),
            // Editors and mail cut the blank before an empty line.
            Some(b' ' | b'\r') | None => {
                self.old = self.old.checked_sub(1).ok_or_else(too_many)?;
                self.new = self.new.checked_sub(1).ok_or_else(too_many)?;
                self.next += 1;
                Ok(None)
            }
            Some(_) => Err(malformed(at, "is no line of a hunk")),
        }
    }
}

/// A name as the header has it: up to a tab, and without the quotes and escapes that Git sets around unusual ones.
fn header(raw: &[u8]) -> String {
    let raw = raw.trim_ascii_end();
    let Some(quoted) = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")) else {
        let end = raw.iter().position(|byte| *byte == b'\t').unwrap_or(raw.len());
        return String::from_utf8_lossy(raw.get(..end).unwrap_or_default()).into_owned();
    };
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let octal = rest
            .get(..3)
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = rest.get(3..).unwrap_or_default();
        } else if let Some((escaped, after)) = rest.split_first() {
            bytes.push(if *escaped == b't' { b'\t' } else { *escaped });
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The new file's path. Git sets `a/` and `b/` before old and new, or two other letters if it is told to; or nothing.
fn file_name(before: &str, after: &str) -> Option<String> {
    const NOTHING: &str = "/dev/null";
    if after == NOTHING {
        return None;
    }
    let prefixed = |name: &str| {
        name.as_bytes().get(1) == Some(&b'/') && name.starts_with(['a', 'b', 'c', 'i', 'w', 'o'])
    };
    let strips =
        prefixed(after) && (before == NOTHING || (prefixed(before) && before.get(..1) != after.get(..1)));
    Some(path(if strips { after.get(2..).unwrap_or_default() } else { after }))
}

fn malformed(at: usize, what: &str) -> Problem {
    problem(ProblemCode::Malformed, format!("Line {at} {what}."))
}
