//! Which lines a build changed, as Git tells it, without the lines themselves.

use std::path::Path;
use std::process::Command;

use crate::cli::failure::Failure;

/// Longest complaint of Git that is shown, in characters.
const MAX_COMPLAINT_CHARS: usize = 300;

/// What changed since a branch left another one, as a diff.
pub(super) fn since(folder: &Path, base: &str) -> Result<Vec<u8>, Failure> {
    if base.is_empty() || base.starts_with('-') {
        return Err(Failure::usage("--diff-base names a branch or commit, such as origin/main"));
    }
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"])
        .args(["--unified=0", "--relative", "--merge-base", base, "--", "."])
        .output()
        .map_err(|error| {
            Failure::no_evidence(format!("git cannot be run ({error}): give the diff with --diff FILE"))
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said: String =
        String::from_utf8_lossy(&output.stderr).trim().chars().take(MAX_COMPLAINT_CHARS).collect();
    Err(Failure::no_evidence(format!(
        "git cannot say what changed since `{base}`: {said}; in a pipeline, fetch the whole history (fetch-depth: 0)"
    )))
}

/// What a diff comes to, without the code in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reduced {
    /// The gate asks only which lines changed: the names of files, the numbers of lines, and nothing that stands in them.
    Changes(Vec<u8>),
    /// It changes no line.
    Nothing,
    /// It is no unified diff.
    NoDiff,
}

/// Lines between hunks that a unified diff has; of others, such as a commit's message, nothing is taken.
const HEADERS: [&[u8]; 13] = [
    b"diff ",
    b"index ",
    b"--- ",
    b"+++ ",
    b"new file ",
    b"deleted file ",
    b"old mode ",
    b"new mode ",
    b"similarity index ",
    b"rename ",
    b"copy ",
    b"Binary files ",
    // Of a merge with several parents: the gate says what to do.
    b"@@@ ",
];

/// A diff without the code in it.
pub(super) fn without_code(diff: &[u8]) -> Reduced {
    let mut kept = Vec::with_capacity(diff.len() / 4);
    // Lines of the old and the new file that the open hunk still holds.
    let mut open = (0, 0);
    let (mut names_a_file, mut changes) = (false, false);
    for line in diff.split_inclusive(|byte| *byte == b'\n') {
        let mark = line.first().copied().unwrap_or(b' ');
        if open == (0, 0) || mark == b'\\' {
            if let Some(counts) = hunk(line).filter(|_| names_a_file) {
                open = counts;
                changes = true;
                // What Git shows after the numbers is a line of code.
                kept.extend(numbers(line));
            } else if HEADERS.iter().any(|header| line.starts_with(header)) {
                names_a_file |= [&b"+++ "[..], b"diff "].iter().any(|name| line.starts_with(name));
                changes |= line.starts_with(b"@@@ ");
                kept.extend(line);
            }
            continue;
        }
        let (old, new) = &mut open;
        match mark {
            b'+' => *new = new.saturating_sub(1),
            b'-' => *old = old.saturating_sub(1),
            _ => (*old, *new) = (old.saturating_sub(1), new.saturating_sub(1)),
        }
        kept.extend(match mark {
            b'+' => b"+\n",
            b'-' => b"-\n",
            _ => b" \n",
        });
    }
    match (changes, names_a_file || diff.trim_ascii().is_empty()) {
        (true, true) => Reduced::Changes(kept),
        (false, true) => Reduced::Nothing,
        (_, false) => Reduced::NoDiff,
    }
}

/// How many lines of the old and the new file a hunk holds: `@@ -1,2 +3 @@`.
fn hunk(line: &[u8]) -> Option<(u32, u32)> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.strip_prefix("@@ ")?.split(' ');
    let mut count = |sign: char| -> Option<u32> {
        let range = words.next()?.strip_prefix(sign)?;
        range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok())
    };
    Some((count('-')?, count('+')?))
}

/// The numbers of a hunk's header, without the code that may follow.
fn numbers(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_whitespace().take(4).collect();
    format!("{}\n", words.join(" ")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_diff_stays_here() {
        let diff = "diff --git a/app.py b/app.py\nindex 1..2 100644\n--- a/app.py\n+++ b/app.py\n\
                    @@ -1,2 +1,3 @@ def secret_name():\n keep\n-password = 'hunter2'\n+x = 1\n+-- not a header\n\
                    \\ No newline at end of file\ndiff --git a/b.py b/b.py\n--- a/b.py\n+++ b/b.py\n@@ -4 +4 @@\n-a\n+b\n";
        let Reduced::Changes(kept) = without_code(diff.as_bytes()) else { panic!("it changes something") };
        let kept = String::from_utf8(kept).expect("text");
        assert_eq!(
            kept,
            "diff --git a/app.py b/app.py\nindex 1..2 100644\n--- a/app.py\n+++ b/app.py\n@@ -1,2 +1,3 @@\n \n-\n+\n+\n\
             diff --git a/b.py b/b.py\n--- a/b.py\n+++ b/b.py\n@@ -4 +4 @@\n-\n+\n"
        );
    }

    #[test]
    fn a_diff_that_changes_no_line_is_none() {
        assert_eq!(without_code(b""), Reduced::Nothing);
        let renamed = b"diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\n";
        assert_eq!(without_code(renamed), Reduced::Nothing);
    }

    #[test]
    fn what_is_no_diff_is_told_from_one_that_changes_nothing_and_is_not_taken() {
        for other in
            [&b"{\"version\": \"2.1.0\"}"[..], b"src/app.py | 3 ++-\n", b"@@ -1 +1 @@\n-a\n+b\n", b"\x00\xff"]
        {
            assert_eq!(without_code(other), Reduced::NoDiff, "{other:?}");
        }
        let mail = b"Subject: the password is hunter2\n\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+b\n";
        let Reduced::Changes(kept) = without_code(mail) else { panic!("it changes something") };
        assert_eq!(
            kept, b"--- a/a\n+++ b/a\n@@ -1 +1 @@\n-\n+\n",
            "what stands around a diff stays here too"
        );
    }

    #[test]
    fn a_base_cannot_be_an_option_of_git() {
        let failure = since(Path::new("."), "--output=/tmp/x").expect_err("an option");
        assert_eq!(failure.exit_code() as u8, 2);
    }
}
