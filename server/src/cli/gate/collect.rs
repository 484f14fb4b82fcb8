//! What is shown to the gate: the reports that the app's folder holds, and what the tool sees itself.

use std::path::{Path, PathBuf};

use clap::Args;
use rollout_rules::gate::facts::MAX_PIECES;
use serde::Serialize;

use super::diff::{self, Reduced};
use super::discover::{Discovery, EvidenceError, Found, discover, given};
use super::inventory::inventory;
use super::presence::presence;
use crate::cli::failure::Failure;
use crate::gate::read::recognise;

/// What the tool calls what it saw itself.
const PRESENCE_NAME: &str = "tidegate-test-presence.json";
const INVENTORY_NAME: &str = "tidegate-inventory.json";
const DIFF_NAME: &str = "tidegate-changes.diff";
/// Most bytes of all pieces together; the server takes no more.
const MAX_ALL_BYTES: usize = 64 * 1024 * 1024;
/// Most files that cannot be read as source and are told of by name.
const MAX_TOLD: usize = 10;

/// Where evidence comes from.
#[derive(Args, Clone, Debug)]
pub(super) struct EvidenceOptions {
    /// The app's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) folder: PathBuf,
    /// A report besides those that are found; may be repeated, and takes several
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) evidence: Vec<PathBuf>,
    /// Look for no reports: only those that --evidence names are sent; with --add, the folder is not looked at at all, nor is it where --add comes with --evidence
    #[arg(long)]
    pub(super) no_discover: bool,
    /// What the build changed, as `git diff BASE...HEAD` writes it: coverage is asked of the changed lines alone
    #[arg(long, value_name = "FILE")]
    pub(super) diff: Option<PathBuf>,
    /// The same, made by Git here: what changed since the branch left this one, such as origin/main
    #[arg(long, value_name = "REF", conflicts_with = "diff")]
    pub(super) diff_base: Option<String>,
}

/// A piece of evidence, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// What it is called.
    pub(super) name: String,
    /// What it holds.
    pub(super) bytes: Vec<u8>,
}

/// All that is sent, and what to tell whoever asks.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The pieces, at most [`MAX_PIECES`].
    pub(super) pieces: Vec<Piece>,
    /// What was left out and why, a line each.
    pub(super) notes: Vec<String>,
}

/// Collects what is sent. What is named has to be there and readable; of what is found, what cannot be read is left out and told.
pub(super) fn collect(
    options: &EvidenceOptions,
    artifact: Option<&Path>,
    adds: bool,
) -> Result<Collected, Failure> {
    let mut collected = Collected::default();
    // Whoever adds a file that they name means that one: the folder may be of another state than the build.
    let only_named = options.no_discover || (adds && !options.evidence.is_empty());
    if !(only_named && adds) {
        collected.look(&options.folder)?;
    }
    if let Some(changes) = changes(options)? {
        match diff::without_code(&changes) {
            Reduced::Changes(bytes) => collected.add(DIFF_NAME, bytes),
            Reduced::Nothing => {
                collected.notes.push("nothing changed since then: coverage is asked of all lines".to_owned())
            }
            Reduced::NoDiff => return Err(no_diff(options)),
        }
    }
    let named = given(&options.evidence, &recognise).map_err(|error| unusable(&error))?;
    let found = match only_named {
        true => Discovery::default(),
        false => discover(&options.folder, artifact, &recognise)
            .map_err(|error| Failure::no_evidence(error.to_string()))?,
    };
    let first = named.len();
    let Discovery { taken, left_out } = found.with(named);
    collected.notes.extend(left_out.iter().map(ToString::to_string));
    collected.take(&taken, first)?;
    if collected.pieces.is_empty() {
        return Err(Failure::no_evidence("there is nothing to show the gate: name a report with --evidence"));
    }
    Ok(collected)
}

impl Collected {
    /// Adds what only the tool sees.
    fn look(&mut self, folder: &Path) -> Result<(), Failure> {
        let seen = presence(folder).map_err(|error| Failure::no_evidence(error.to_string()))?;
        self.notes.extend(seen.problems.iter().take(MAX_TOLD).map(ToString::to_string));
        if let Some(more) = seen.problems.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
            let files = if more == 1 { "file" } else { "files" };
            self.notes.push(format!("and {more} more {files} that cannot be read as source"));
        }
        self.notes.extend(seen.not_found.iter().take(MAX_TOLD).map(ToString::to_string));
        self.add(PRESENCE_NAME, as_json(&seen.report));
        let listed = inventory(folder).map_err(|error| Failure::no_evidence(error.to_string()))?;
        self.add(INVENTORY_NAME, as_json(&listed));
        Ok(())
    }

    fn add(&mut self, name: &str, bytes: Vec<u8>) {
        self.pieces.push(Piece { name: name.to_owned(), bytes });
    }

    /// Adds reports while there is room. Those that were named come first, and each of them has to be sent.
    fn take(&mut self, reports: &[Found], named: usize) -> Result<(), Failure> {
        let mut all_bytes: usize = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        for (nth, report) in reports.iter().enumerate() {
            let why = match report.read() {
                _ if self.pieces.len() == MAX_PIECES => {
                    format!("the gate takes {MAX_PIECES} pieces of evidence")
                }
                Ok(bytes) if all_bytes + bytes.len() > MAX_ALL_BYTES => {
                    format!("all evidence together is larger than {MAX_ALL_BYTES} bytes")
                }
                Ok(bytes) => {
                    all_bytes += bytes.len();
                    self.add(&report.name, bytes);
                    continue;
                }
                Err(error) => error.to_string(),
            };
            if nth < named {
                return Err(Failure::no_evidence(format!("{} cannot be sent: {why}", report.name)));
            }
            self.notes.push(format!(
                "{} is left out: {why}. Delete old reports, or name those that count with --evidence and --no-discover",
                report.name
            ));
        }
        Ok(())
    }
}

fn as_json(report: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(report).expect("texts and numbers are all JSON")
}

/// The diff that is named, or that Git makes.
fn changes(options: &EvidenceOptions) -> Result<Option<Vec<u8>>, Failure> {
    match (&options.diff, &options.diff_base) {
        (Some(file), _) => std::fs::read(file)
            .map(Some)
            .map_err(|error| Failure::no_evidence(format!("the diff {}: {error}", file.display()))),
        (None, Some(base)) => diff::since(&options.folder, base).map(Some),
        (None, None) => Ok(None),
    }
}

/// What was named as a diff is none.
fn no_diff(options: &EvidenceOptions) -> Failure {
    let file = options.diff.as_deref().map_or_else(|| "what Git says".into(), Path::to_string_lossy);
    Failure::no_evidence(format!(
        "{file} is no unified diff: make one with `git diff origin/main...HEAD > changes.diff` and pass --diff changes.diff, or pass \
         --diff-base origin/main, and Git is asked here"
    ))
}

/// Says what is wrong with a report, and why if the system knows.
fn unusable(error: &EvidenceError) -> Failure {
    let why = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    Failure::no_evidence(format!("{error}{why}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const JUNIT: &str = r#"<testsuite name="t" tests="1"><testcase classname="a" name="b"/></testsuite>"#;

    fn options(folder: &Path) -> EvidenceOptions {
        EvidenceOptions {
            folder: folder.to_owned(),
            evidence: Vec::new(),
            no_discover: false,
            diff: None,
            diff_base: None,
        }
    }

    fn names(collected: &Collected) -> Vec<&str> {
        collected.pieces.iter().map(|piece| piece.name.as_str()).collect()
    }

    #[test]
    fn what_the_tool_sees_itself_goes_with_what_it_finds() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("app.py"), "def f():\n    return 1\n").expect("written");
        fs::write(folder.path().join("report"), JUNIT).expect("written");
        let collected = collect(&options(folder.path()), None, false).expect("all there");
        assert_eq!(names(&collected), [PRESENCE_NAME, INVENTORY_NAME, "report"]);
        assert_eq!(collected.pieces[2].bytes, JUNIT.as_bytes());
    }

    #[test]
    fn what_is_named_has_to_be_there_and_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = |file: &str| EvidenceOptions {
            evidence: vec![folder.path().join(file)],
            ..options(folder.path())
        };
        let told = |file: &str| {
            let failure = collect(&named(file), None, false).expect_err(file);
            (failure.exit_code() as u8, failure.to_string())
        };
        assert_eq!(told("not-there.xml").0, 3);
        fs::write(folder.path().join("notes.txt"), "nothing much").expect("written");
        let (code, text) = told("notes.txt");
        assert_eq!(code, 3);
        assert!(text.contains("no report that the gate knows"), "{text}");
    }

    #[test]
    fn a_diff_that_is_none_is_refused_with_the_command_that_makes_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("report.json");
        fs::write(&file, "{}").expect("written");
        let named = EvidenceOptions { diff: Some(file), ..options(folder.path()) };
        let failure = collect(&named, None, false).expect_err("no diff");
        assert_eq!(failure.exit_code() as u8, 3);
        let text = failure.to_string();
        assert!(
            text.contains("report.json is no unified diff") && text.contains("git diff origin/main"),
            "{text}"
        );
    }

    #[test]
    fn what_is_named_is_sent_before_what_is_found_and_the_rest_is_told() {
        let (folder, elsewhere) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for nth in 0..MAX_PIECES {
            let report = JUNIT.replace("name=\"b\"", &format!("name=\"{nth}\""));
            fs::write(folder.path().join(format!("{nth:02}.xml")), report).expect("written");
        }
        let report = elsewhere.path().join("named.xml");
        fs::write(&report, JUNIT).expect("written");
        let asked = EvidenceOptions { evidence: vec![report], ..options(folder.path()) };
        let collected = collect(&asked, None, false).expect("as much as fits");
        assert_eq!(collected.pieces.len(), MAX_PIECES);
        assert_eq!(names(&collected)[..3], [PRESENCE_NAME, INVENTORY_NAME, "named.xml"]);
        let told = collected.notes.iter().filter(|note| note.contains("is left out")).count();
        assert_eq!(told, 3, "{:?}", collected.notes);
    }

    #[test]
    fn a_report_that_is_added_goes_alone() {
        let (folder, elsewhere) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::write(folder.path().join("old.xml"), JUNIT).expect("written");
        let report = elsewhere.path().join("new.xml");
        fs::write(&report, JUNIT.replace("name=\"b\"", "name=\"c\"")).expect("written");
        let alone = EvidenceOptions { evidence: vec![report], no_discover: true, ..options(folder.path()) };
        assert_eq!(names(&collect(&alone, None, true).expect("one")), ["new.xml"]);
        let with_looks = collect(&alone, None, false).expect("three");
        assert_eq!(names(&with_looks), [PRESENCE_NAME, INVENTORY_NAME, "new.xml"]);
        let nothing = EvidenceOptions { evidence: Vec::new(), ..alone };
        assert_eq!(collect(&nothing, None, true).expect_err("nothing").exit_code() as u8, 3);
    }
}
