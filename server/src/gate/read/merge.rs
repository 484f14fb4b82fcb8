//! All that was read, as one: in an order that does not hang on how it came, with changed lines joined to coverage.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{ChangedLines, Facts, Proof, ScanKind};
use rollout_rules::ids::Digest;

use super::Reading;
use super::coverage::CoveredFile;
use super::diff::Changed;
use super::of_app::AppFiles;
use super::words;

/// All shares together. The same bytes handed in twice count once. In what order readings come never matters.
pub fn merge(mut readings: Vec<Reading>) -> Facts {
    // Of the same bytes those come first whose name says what they are.
    let place = |reading: &Reading| (reading.piece.digest, !reading.lists_findings_only);
    readings.sort_by(|one, other| {
        place(one).cmp(&place(other)).then_with(|| one.piece.name.cmp(&other.piece.name))
    });
    readings.dedup_by_key(|reading| reading.piece.digest);
    let mut changed: Option<Changed> = None;
    for reading in &mut readings {
        if let Some(more) = reading.changed.take() {
            changed.get_or_insert_default().add(more);
        }
    }
    let seen = Seen::in_all(&readings);
    let app = AppFiles::in_all(&readings);
    let mut facts = Facts::default();
    for mut reading in readings {
        let of_app = app.fit(&reading.lines, changed.as_ref());
        reading.facts.coverage.iter_mut().for_each(|coverage| coverage.of_app.clone_from(&of_app));
        if let Some(changed) = &changed {
            let joined = joined(&reading.lines, changed);
            reading.facts.coverage.iter_mut().for_each(|coverage| coverage.changed = Some(joined));
        }
        if reading.lists_findings_only {
            prove(&mut reading.facts, &seen);
        }
        take(&mut facts, reading);
    }
    facts
}

fn take(facts: &mut Facts, reading: Reading) {
    let mut share = reading.facts;
    facts.pieces.push(reading.piece);
    facts.tests.append(&mut share.tests);
    facts.coverage.append(&mut share.coverage);
    facts.presence.append(&mut share.presence);
    facts.inventory.append(&mut share.inventory);
    facts.scans.append(&mut share.scans);
    facts.plans.append(&mut share.plans);
    facts.sboms.append(&mut share.sboms);
    facts.exploitability.append(&mut share.exploitability);
    facts.attestations.append(&mut share.attestations);
    facts.agents.append(&mut share.agents);
    facts.identity = facts.identity.take().or(share.identity);
}

/// What else in the evidence shows that the app's folder holds something.
#[derive(Default)]
struct Seen {
    files: u64,
    components: u64,
    measured: BTreeSet<Digest>,
}

impl Seen {
    fn in_all(readings: &[Reading]) -> Seen {
        let mut seen = Seen::default();
        for Reading { facts, piece, .. } in readings {
            seen.files = facts.inventory.iter().map(|inventory| inventory.files).fold(seen.files, u64::max);
            seen.components = facts.sboms.iter().map(|sbom| sbom.total).fold(seen.components, u64::max);
            let measured = facts.coverage.iter().any(|coverage| coverage.lines > 0);
            if measured || facts.presence.iter().any(|presence| !presence.files.is_empty()) {
                seen.measured.insert(piece.digest);
            }
        }
        seen
    }
}

/// A report that lists findings and nothing else says the same of a whole folder and of an empty one. That there was something
/// to look at has to be shown by another piece: the inventory of the folder, coverage of its files, or their tests; of packages, an SBOM.
fn prove(facts: &mut Facts, seen: &Seen) {
    for scan in &mut facts.scans {
        if scan.kind == ScanKind::Vulnerabilities {
            if seen.components > 0 {
                let components = words::count(seen.components, "component", "components");
                scan.proof =
                    Proof::Given(format!("an app of {components}, and it lists what it found there"));
            }
            continue;
        }
        scan.proof = if seen.files > 0 {
            Proof::Given(format!(
                "{} in the app's folder, and it lists what it found there",
                words::count(seen.files, "file", "files")
            ))
        } else if seen.measured.is_empty() {
            continue;
        } else {
            Proof::Given("source files that other evidence measured, and it lists what it found".to_owned())
        };
    }
}

/// Counts changed lines that coverage knows, and those of them that ran. Lines that it does not know cannot run: blank ones, comments.
fn joined(lines: &[CoveredFile], changed: &Changed) -> ChangedLines {
    let by_end = ByEnd::of(lines.iter().map(|file| file.path.as_str()));
    let mut sum = ChangedLines::default();
    for (path, numbers) in &changed.files {
        let Some(file) = by_end.find(path).and_then(|index| lines.get(index)) else { continue };
        let count =
            |among: &[u32]| numbers.iter().filter(|line| among.binary_search(line).is_ok()).count() as u64;
        let covered = count(&file.covered);
        sum.covered += covered;
        sum.lines += covered + count(&file.missed);
    }
    sum
}

/// Files by their paths read from the end, folder by folder: coverage may start at a source folder and a diff at the repository.
pub(super) struct ByEnd {
    files: BTreeMap<String, usize>,
}

impl ByEnd {
    /// Of paths, each known by its place among them.
    pub(super) fn of<'p>(paths: impl Iterator<Item = &'p str>) -> ByEnd {
        ByEnd { files: paths.enumerate().map(|(index, path)| (from_end(path), index)).collect() }
    }

    /// The file of that path: the same, or else the longest that the path ends with, or else the only one that ends with it.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        let wanted = from_end(path);
        let ends = wanted.match_indices('/').map(|(at, mark)| at + mark.len());
        let mut shorter: Vec<usize> = ends.collect();
        while let Some(end) = shorter.pop() {
            if let Some(index) = wanted.get(..end).and_then(|part| self.files.get(part)) {
                return Some(*index);
            }
        }
        let mut longer = self.files.range(wanted.clone()..).take_while(|(path, _)| path.starts_with(&wanted));
        match (longer.next(), longer.next()) {
            (Some((_, index)), None) => Some(*index),
            _ => None,
        }
    }
}

/// `src/app.py` as `app.py/src/`.
fn from_end(path: &str) -> String {
    let mut reversed = String::with_capacity(path.len() + 1);
    for part in path.rsplit('/').filter(|part| !part.is_empty()) {
        reversed.push_str(part);
        reversed.push('/');
    }
    reversed
}
