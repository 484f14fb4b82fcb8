//! What Cobertura and LCOV reports have in common: lines by file, each counted once, files that are tests left out.

use std::collections::BTreeMap;

use rollout_rules::gate::facts::{Coverage, Facts, FileCoverage, MAX_COMPONENTS, Problem, ProblemCode};
use rollout_rules::ids::Digest;

use super::problem;
use super::text::path;

/// Most files of one report, and of one diff.
pub(super) const MAX_FILES: usize = 100_000;

/// Lines of one file in one coverage report, to be joined with what a diff changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoveredFile {
    /// Its path as the report knows it; joined with the report's source folder, if it names one.
    pub path: String,
    /// Lines that ran, in order.
    pub covered: Vec<u32>,
    /// Lines that could have run and did not, in order.
    pub missed: Vec<u32>,
}

/// Gathers lines by file.
#[derive(Default)]
pub(super) struct Lines {
    files: BTreeMap<String, Vec<(u32, bool)>>,
}

impl Lines {
    /// The lines of a file, to add to.
    pub(super) fn file(&mut self, name: &str) -> Result<&mut Vec<(u32, bool)>, Problem> {
        if self.files.len() > MAX_FILES {
            let detail = format!("It covers more than {MAX_FILES} files. Leave out those of libraries.");
            return Err(problem(ProblemCode::TooLarge, detail));
        }
        Ok(self.files.entry(path(name)).or_default())
    }

    /// All lines of all files, tests too, each once: how many there are, and how many ran.
    pub(super) fn totals(&mut self) -> (u64, u64) {
        self.files.values_mut().map(settle).fold((0, 0), |sum, file| (sum.0 + file.0, sum.1 + file.1))
    }

    /// The facts, and the lines by file. `root` is the folder that paths are relative to.
    pub(super) fn finish(self, piece: Digest, root: &str) -> (Facts, Vec<CoveredFile>) {
        let mut coverage = Coverage { piece, ..Coverage::default() };
        let mut by_line = Vec::new();
        let above = common_folder(self.files.keys().map(String::as_str)).to_owned();
        for (name, mut lines) in self.files {
            let full = joined(root, &name);
            // A folder of the machine that ran the tests says nothing to a reader, nor whether a file is a test.
            let shown = if is_absolute(&full) { name } else { full.clone() };
            // That all of them lie below a folder `test` says nothing of any.
            let below =
                if is_absolute(&shown) { shown.strip_prefix(&above).unwrap_or(&shown) } else { &shown };
            if is_test(below) {
                continue;
            }
            let (all, covered) = settle(&mut lines);
            coverage.lines += all;
            coverage.covered += covered;
            if all > 0 {
                coverage.files.push(FileCoverage { path: shown, lines: all, covered });
            }
            if coverage.files.len() >= 2 * MAX_COMPONENTS {
                keep_least_covered(&mut coverage.files);
            }
            let of = |ran: bool| lines.iter().filter(|line| line.1 == ran).map(|line| line.0).collect();
            by_line.push(CoveredFile { path: full, covered: of(true), missed: of(false) });
        }
        keep_least_covered(&mut coverage.files);
        (Facts { coverage: vec![coverage], ..Facts::default() }, by_line)
    }
}

/// Leaves the [`MAX_COMPONENTS`] files of which the least ran, in that order.
fn keep_least_covered(files: &mut Vec<FileCoverage>) {
    // The share that ran, in whole numbers: `a/b < c/d` is `a·d < c·b`.
    let share = |one: &FileCoverage, other: &FileCoverage| u128::from(one.covered) * u128::from(other.lines);
    files.sort_by(|one, other| {
        share(one, other).cmp(&share(other, one)).then_with(|| one.path.cmp(&other.path))
    });
    files.truncate(MAX_COMPONENTS);
}

/// Brings lines in order, each once: it ran if any mention of it did. How many there are, and how many ran.
pub(super) fn settle(lines: &mut Vec<(u32, bool)>) -> (u64, u64) {
    lines.sort_unstable_by_key(|(number, ran)| (*number, !ran));
    lines.dedup_by_key(|(number, _)| *number);
    (lines.len() as u64, lines.iter().filter(|(_, ran)| *ran).count() as u64)
}

/// Whether a path, with `/` between its parts, is one of a machine: from its root, or from a drive of Windows.
fn is_absolute(path: &str) -> bool {
    let has_drive = || matches!(path.as_bytes(), [letter, b':', b'/', ..] if letter.is_ascii_alphabetic());
    path.starts_with('/') || has_drive()
}

/// The folders that all paths of a machine begin with, up to and with the last `/`.
fn common_folder<'p>(paths: impl Iterator<Item = &'p str>) -> &'p str {
    let mut absolute = paths.filter(|path| is_absolute(path));
    let folder = |path: &'p str| path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or_default();
    let first = absolute.next().map(folder).unwrap_or_default();
    absolute.fold(first, |common, path| {
        let same = common.bytes().zip(path.bytes()).take_while(|(one, other)| one == other).count();
        let within = common.as_bytes().get(..same).unwrap_or_default();
        let end = within.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        common.get(..end).unwrap_or_default()
    })
}

fn joined(root: &str, name: &str) -> String {
    let root = path(root);
    let root = root.trim_end_matches('/');
    if root.is_empty() || root == "." || is_absolute(name) {
        name.to_owned()
    } else {
        format!("{root}/{name}")
    }
}

/// Whether a file is a test, by the names that runners look for, or lies where what only tests use does.
pub(super) fn is_test(path: &str) -> bool {
    const FOLDERS: [&str; 8] = ["test", "tests", "__tests__", "__mocks__", "spec", "specs", "e2e", "cypress"];
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    folders.split('/').any(|folder| FOLDERS.contains(&folder))
        || file.starts_with("test_")
        || file.starts_with("conftest.")
        || ["_test.", ".test.", ".spec."].iter().any(|mark| file.contains(mark))
}
