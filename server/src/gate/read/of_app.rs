//! How coverage fits the app: which of its source files the reports have lines of. A report of other code would otherwise pass for the
//! app's, and so would one of the few files that are well tested.

use std::collections::BTreeSet;

use rollout_rules::gate::facts::{OfApp, SourceFile};

use super::Reading;
use super::coverage::{CoveredFile, is_test};
use super::diff::Changed;
use super::merge::ByEnd;

/// Most files that no report has lines of and that are named.
const MAX_NAMED: usize = 100;
/// Endings of Python, and of JavaScript and TypeScript: of these it is looked at which files hold functions. Their tools for coverage
/// leave out each other's files.
const FAMILIES: [&[&str]; 2] = [&["py", "pyi"], &["js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"]];

/// The source files of the app that hold functions, and what all reports together have of them.
pub(super) struct AppFiles {
    files: Vec<SourceFile>,
    by_end: ByEnd,
    /// Those of which no report has a line, by their place.
    left_out: BTreeSet<usize>,
    /// How many lines a function has on average, where both are known; at least one.
    lines_per_function: u64,
    /// Families of languages that any report has files of.
    families: BTreeSet<usize>,
    /// Most of the app is in other languages, of which it is not seen which files hold functions.
    is_mostly_other: bool,
}

impl AppFiles {
    pub(super) fn in_all(readings: &[Reading]) -> AppFiles {
        let presence = readings.iter().flat_map(|reading| &reading.facts.presence);
        let mut files: Vec<SourceFile> = presence
            .flat_map(|presence| &presence.files)
            .filter(|file| !is_test(&file.path))
            .cloned()
            .collect();
        files.sort_by(|one, other| (&one.path, one.functions).cmp(&(&other.path, other.functions)));
        files.dedup_by(|one, other| one.path == other.path);
        let by_end = ByEnd::of(files.iter().map(|file| file.path.as_str()));
        let sources =
            readings.iter().flat_map(|reading| &reading.facts.inventory).map(|inventory| inventory.sources);
        let is_mostly_other = sources.max().is_some_and(|sources| sources > 2 * files.len() as u64);
        let mut app = AppFiles {
            left_out: (0..files.len()).collect(),
            files,
            by_end,
            lines_per_function: 1,
            families: BTreeSet::new(),
            is_mostly_other,
        };
        let (mut lines, mut functions) = (0_u64, 0_u64);
        for reading in readings {
            app.families.extend(families(&reading.lines));
            for (index, covered) in app.measured(&reading.lines) {
                app.left_out.remove(&index);
                lines += (covered.covered.len() + covered.missed.len()) as u64;
                functions += app.files.get(index).map_or(0, |file| u64::from(file.functions));
            }
        }
        app.lines_per_function = lines.div_ceil(functions.max(1)).max(1);
        app
    }

    /// How the lines of one report fit; none: there is no file to hold them against.
    pub(super) fn fit(&self, lines: &[CoveredFile], changed: Option<&Changed>) -> Option<OfApp> {
        if self.files.is_empty() {
            return None;
        }
        let own = families(lines);
        // What no report has the language of is missing in each.
        let is_missing_here = |file: &SourceFile| {
            family(&file.path).is_none_or(|family| own.contains(&family) || !self.families.contains(&family))
        };
        let left_out: Vec<&SourceFile> = self
            .left_out
            .iter()
            .filter_map(|index| self.files.get(*index))
            .filter(|file| is_missing_here(file))
            .collect();
        let functions: u64 = left_out.iter().map(|file| u64::from(file.functions)).sum();
        let measured: BTreeSet<usize> = self.measured(lines).into_iter().map(|(index, _)| index).collect();
        Some(OfApp {
            measured: measured.len() as u64,
            is_foreign: measured.is_empty() && !self.is_mostly_other,
            left_out: left_out.len() as u64,
            lines: functions.saturating_mul(self.lines_per_function),
            changed_lines: changed.map_or(0, |changed| self.changed_in(&left_out, changed)),
            named: left_out.iter().take(MAX_NAMED).map(|file| file.path.clone()).collect(),
        })
    }

    /// The app's files of which a report has lines, by their place.
    fn measured<'l>(&self, lines: &'l [CoveredFile]) -> Vec<(usize, &'l CoveredFile)> {
        let with_lines = lines.iter().filter(|file| !file.covered.is_empty() || !file.missed.is_empty());
        with_lines.filter_map(|file| Some((self.by_end.find(&file.path)?, file))).collect()
    }

    /// How many lines of these files changed. Which of them can run is not known, so all count.
    fn changed_in(&self, files: &[&SourceFile], changed: &Changed) -> u64 {
        let among: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let of_these = changed.files.iter().filter(|(path, _)| {
            let file = self.by_end.find(path).and_then(|index| self.files.get(index));
            file.is_some_and(|file| among.contains(file.path.as_str()))
        });
        of_these.map(|(_, lines)| lines.len() as u64).sum()
    }
}

/// Families of languages that a report has files of.
fn families(lines: &[CoveredFile]) -> BTreeSet<usize> {
    lines.iter().filter_map(|file| family(&file.path)).collect()
}

fn family(path: &str) -> Option<usize> {
    let (_, ending) = path.rsplit_once('.')?;
    FAMILIES.iter().position(|endings| endings.contains(&ending))
}
