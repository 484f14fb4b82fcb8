//! What is judged of the code itself: tests, and what analysers find.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::ran::Ran;
use super::same::once;
use super::words::counted;
use super::{Bench, Outcome};
use crate::gate::decision::{CheckName, Judged};
use crate::gate::facts::{Finding, MAX_COMPONENTS, Proof, Scan, ScanKind, Severity, SourceFile, TestRun};
use crate::gate::policy::Level;
use crate::ids::Digest;

/// How many files or tests a sentence names.
pub(super) const NAMED: usize = 5;
/// What to do where tests are there, and no report names them.
const AS_TITLED: &str = "Run it in the pipeline and hand in the JUnit report. If it did run, write its title as a plain text in the code, and \
                         let the reporter write groups and title as they are there.";
/// What to do where no test is known to have run.
const RUN_THEM: &str = "Run the tests in the pipeline and hand in the report: `pytest --junitxml=junit.xml`, or `node --test \
                        --test-reporter=junit --test-reporter-destination=junit.xml`.";

impl<'a> Bench<'a> {
    /// The scans of a kind.
    pub(super) fn scans(&self, kind: ScanKind) -> impl Iterator<Item = &'a Scan> + use<'a> {
        let facts = self.facts;
        facts.scans.iter().filter(move |scan| scan.kind == kind)
    }

    /// The different tools whose scans show that they looked at something.
    pub(super) fn proven(&self, kind: ScanKind) -> BTreeSet<&'a str> {
        let given = self.scans(kind).filter(|scan| matches!(scan.proof, Proof::Given(_)));
        given.map(|scan| scan.tool.name.as_str()).collect()
    }

    /// Why scans of a kind show nothing, one after the other.
    pub(super) fn lacking(&self, kind: ScanKind) -> Vec<String> {
        let missing = self.scans(kind).filter_map(|scan| match &scan.proof {
            Proof::Missing(why) => Some(format!("{}: {why}", scan.tool.name)),
            Proof::Given(_) => None,
        });
        let mut missing: Vec<String> = missing.collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// How many findings of a kind there are beyond those that the scans list.
    pub(super) fn unlisted(&self, kind: ScanKind) -> u64 {
        let beyond = self.scans(kind).map(|scan| scan.total.saturating_sub(count(&scan.findings)));
        beyond.fold(0, u64::saturating_add)
    }

    /// Whether a scan of a kind has findings that it does not list, as far as they can be as bad as `least`: the worst are listed
    /// first. What is not listed cannot have been waived.
    pub(super) fn has_unlisted(&self, kind: ScanKind, least: Severity) -> bool {
        self.scans(kind).any(|scan| {
            let mildest = scan.findings.iter().map(|it| it.severity).min();
            scan.total > count(&scan.findings) && mildest.is_none_or(|mildest| mildest >= least)
        })
    }

    /// The cases of all runs together.
    fn cases(&self) -> (u64, u64, u64) {
        let sum = |of: fn(&TestRun) -> u64| self.facts.tests.iter().map(of).fold(0, u64::saturating_add);
        (sum(|run| run.passed), sum(|run| run.failed), sum(|run| run.skipped))
    }

    pub(super) fn tests_pass(&mut self) -> Outcome {
        let level = self.policy.tests_pass;
        if level == Level::Off {
            return Outcome::not_asked();
        }
        let (passed, failed, skipped) = self.cases();
        if let Some(signer) = self.signed_failure() {
            return Outcome::failed(level, format!("{signer} signed that tests failed"));
        }
        if failed > 0 {
            let failures: Vec<_> = self.facts.tests.iter().flat_map(|run| &run.failures).collect();
            let (worst, findings) =
                self.weigh(CheckName::TestsPass, failures.into_iter().map(|it| (level, it, false)));
            // Failures that are not listed cannot have been waived, and where none passed nothing is shown besides.
            let listed = u64::try_from(findings.len()).unwrap_or(u64::MAX);
            let worst = if listed < failed || passed == 0 { level } else { worst };
            let all = failed.saturating_add(passed);
            let text = match (failed, all) {
                (1, 1) => "the only test fails".into(),
                (1, _) => format!("1 of {all} tests fails"),
                _ => format!("{failed} of {all} tests fail"),
            };
            return Outcome { findings, total: failed, ..Outcome::failed(worst, text) };
        }
        if passed == 0 {
            let text =
                if self.facts.tests.is_empty() { "no report of tests was handed in" } else { "no test ran" };
            return Outcome::no_proof(level, text).fix(RUN_THEM);
        }
        let also = if skipped > 0 { format!(", {skipped} did not run") } else { String::new() };
        Outcome::passed(format!("{}{also}", counted(passed, "test passes", "tests pass")))
    }

    pub(super) fn contract_tests(&mut self) -> Outcome {
        let level = self.policy.contract_tests;
        if level == Level::Off {
            return Outcome::not_asked();
        }
        let runs: Vec<_> = self.facts.tests.iter().filter(|run| run.contract).collect();
        let failed = runs.iter().map(|run| run.failed).fold(0, u64::saturating_add);
        let passed = runs.iter().map(|run| run.passed).fold(0, u64::saturating_add);
        match (failed, passed) {
            (0, 0) => Outcome::no_proof(level, "no contract test ran"),
            (0, passed) => {
                let pass = counted(passed, "test passes", "tests pass");
                Outcome::passed(format!("{pass} in suites with contract tests"))
            }
            (failed, _) => {
                let fail = counted(failed, "test fails", "tests fail");
                Outcome::failed(level, format!("{fail} in suites with contract tests"))
            }
        }
    }

    pub(super) fn tests_present(&mut self) -> Outcome {
        let level = self.policy.tests_present;
        if level == Level::Off {
            return Outcome::not_asked();
        }
        if self.facts.presence.is_empty() {
            return Outcome::no_proof(level, "it was not looked at which files have tests").fix(
                "Run `tidegate gate check` in the app's folder: it looks at the code and tells the server which files have tests.",
            );
        }
        let presence = &self.facts.presence;
        let files = presence.iter().map(|it| len_of(it.files.len())).fold(0, u64::saturating_add);
        let read = presence.iter().filter_map(|it| it.read).reduce(u64::saturating_add);
        let unread = self.sources().map(|sources| sources.saturating_sub(read.unwrap_or(0)));
        if files == 0 {
            return match (unread, read) {
                (Some(0), None | Some(0)) => Outcome::passed("there is no source file to test"),
                (Some(0), Some(read)) => {
                    Outcome::passed(format!("{}, none with a function to test", source_files(read)))
                }
                (unread, _) => self.no_known_source(level, unread),
            };
        }
        let ran = Ran::of(self.facts.tests.iter().flat_map(|run| &run.ran).map(String::as_str));
        let files_seen = self.facts.presence.iter().flat_map(|presence| &presence.files);
        let untried: Vec<_> =
            files_seen.filter(|file| !file.tests.iter().any(|test| ran.has(test))).collect();
        // Every file has its tests, and nothing says whether they ran.
        let only_unreported =
            self.facts.tests.is_empty() && untried.iter().all(|file| !file.tests.is_empty());
        let mut bare: Vec<Finding> = untried.into_iter().map(untested).collect();
        bare.sort_by(|one, other| (&one.file, one).cmp(&(&other.file, other)));
        bare.dedup();
        if bare.is_empty() {
            let also = match unread.filter(|_| read.is_some()) {
                None | Some(0) => String::new(),
                Some(unread) => format!("; {} in other languages not looked at", source_files(unread)),
            };
            return Outcome::passed(format!("{}, each with a test that ran{also}", source_files(files)));
        }
        let total = count(&bare);
        let (worst, findings) = self.weigh_missing(CheckName::TestsPresent, level, bare);
        let names: Vec<&str> =
            findings.iter().filter_map(|it| it.finding.file.as_deref()).take(NAMED).collect();
        if only_unreported {
            let text = format!("no report says that the tests of {} ran", source_files(total));
            return Outcome { findings, total, ..Outcome::no_proof(worst, text).fix(RUN_THEM) };
        }
        let text = format!("{} without a test that ran, such as {}", source_files(total), names.join(", "));
        let unnamed = self.facts.tests.iter().map(|run| run.unnamed).fold(0, u64::saturating_add);
        if unnamed > 0 {
            let text = format!(
                "{text}; a report holds {} more than are looked at, and theirs may be among them",
                counted(unnamed, "test", "tests")
            );
            let fix =
                format!("Hand in the report of the tests in parts, each of at most {MAX_COMPONENTS} tests.");
            return Outcome { findings, total, ..Outcome::failed(worst, text).fix(fix) };
        }
        Outcome { findings, total, ..Outcome::failed(worst, text) }
    }

    /// How many source files the app has; none: not known.
    fn sources(&self) -> Option<u64> {
        // A folder without a file is not the app's: it shows nothing.
        let seen = self.facts.inventory.iter().filter(|inventory| inventory.files > 0);
        seen.map(|inventory| inventory.sources).reduce(u64::saturating_add)
    }

    /// No source file of a language that is looked at: it can be waived, since other languages are there to stay.
    fn no_known_source(&mut self, level: Level, unread: Option<u64>) -> Outcome {
        let title = match unread {
            Some(unread) => format!("{} in languages whose tests are not seen", source_files(unread)),
            None => "no source file in Python, JavaScript or TypeScript with a function was found".into(),
        };
        let finding = Finding {
            rule: "not_looked_at".into(),
            fingerprint: Digest::of(b"not_looked_at"),
            title,
            severity: Severity::Medium,
            ..Finding::default()
        };
        let text = format!("it was not looked at which files have tests: {}", finding.title);
        let (level, findings) = self.weigh_missing(CheckName::TestsPresent, level, vec![finding]);
        let outcome = Outcome { findings, ..Outcome::no_proof(level, text) };
        outcome.fix(
            "Run `tidegate gate check` in the folder that holds the app's code. It sees the tests of Python, JavaScript and TypeScript. Of \
             other languages it is not seen which files have tests: have that looked at by a person, and ask for a waiver.",
        )
    }

    pub(super) fn code(&mut self) -> Outcome {
        let level = self.policy.code;
        if level == Level::Off {
            return Outcome::not_asked();
        }
        let tools = self.proven(ScanKind::Code);
        let found: Vec<_> = self
            .scans(ScanKind::Code)
            .flat_map(|scan| &scan.findings)
            .map(|it| (if it.severity >= Severity::High { level } else { Level::Note }, it, false))
            .collect();
        let unlisted = self.unlisted(ScanKind::Code);
        let lacking = self.lacking(ScanKind::Code);
        let shows_nothing = tools.is_empty() && !lacking.is_empty();
        if unlisted == 0 && found.is_empty() {
            return match (tools.is_empty(), lacking) {
                // No table of tiers asks for an analyser; what one says counts.
                (true, why) if why.is_empty() => Outcome {
                    level: Level::Note,
                    ..Outcome::no_proof(Level::Note, "no analyser of code looked at it")
                },
                (true, why) => Outcome::no_proof(level, format!("a scan shows nothing: {}", why.join("; "))),
                (false, _) => Outcome::passed(format!("nothing found by {}", joined(tools))),
            };
        }
        let (worst, findings) = self.weigh(CheckName::Code, found);
        // That a scan which proves nothing found something mild proves no more.
        let counts = shows_nothing || self.has_unlisted(ScanKind::Code, Severity::High);
        let worst = if counts { worst.max(level) } else { worst };
        let findings = once(findings);
        let total = unlisted.saturating_add(len(&findings));
        let found = counted(total, "finding", "findings");
        let text = format!("{found} by {}", joined(self.scans(ScanKind::Code).map(|it| &*it.tool.name)));
        Outcome { findings, total, ..Outcome::failed(worst, text) }
    }
}

fn count(findings: &[Finding]) -> u64 {
    len_of(findings.len())
}

fn len(findings: &[Judged]) -> u64 {
    len_of(findings.len())
}

pub(super) fn len_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(super) fn source_files(count: u64) -> String {
    counted(count, "source file", "source files")
}

/// Names in order, each once.
pub(super) fn joined<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// What is said of a file without a test that ran, and how to mend it.
fn untested(file: &SourceFile) -> Finding {
    // The first by name, however they came.
    let (title, fix) = match (file.tests.len(), file.tests.iter().min()) {
        (_, None) => {
            let functions = counted(file.functions.into(), "function", "functions");
            (format!("no test uses it and asserts something that can fail ({functions})"), None)
        }
        (1, Some(test)) => (format!("its test did not run: no report names `{test}`"), Some(AS_TITLED)),
        (tests, Some(test)) => {
            (format!("none of its {tests} tests ran: no report names `{test}`, to name one"), Some(AS_TITLED))
        }
    };
    Finding {
        rule: "untested".into(),
        fingerprint: Digest::of(format!("untested\n{}", file.path).as_bytes()),
        title,
        severity: Severity::Medium,
        file: Some(file.path.clone()),
        fix: fix.map(String::from),
        ..Finding::default()
    }
}
