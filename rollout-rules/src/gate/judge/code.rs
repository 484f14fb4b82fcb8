//! What is judged of the code itself: tests, coverage, and what analysers find.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::ran::Ran;
use super::same::once;
use super::words::counted;
use super::{Bench, Outcome};
use crate::gate::decision::{CheckName, Excuse, Judged};
use crate::gate::facts::{Coverage, Finding, Proof, Scan, ScanKind, Severity, TestRun};
use crate::gate::policy::Level;
use crate::ids::Digest;

/// How many files or tests a sentence names.
const NAMED: usize = 5;
/// What to do where no test is known to have run.
const RUN_THEM: &str = "Run the tests in the pipeline and hand in the report: `pytest --junitxml=junit.xml`, or `node --test \
                        --test-reporter=junit`.";

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
        // No function in any file proves nothing, unless it is known that there is no file.
        let no_sources = self.facts.inventory.iter().any(|it| it.files > 0)
            && self.facts.inventory.iter().all(|it| it.sources == 0);
        if self.facts.presence.iter().all(|presence| presence.files.is_empty()) && !no_sources {
            return self.no_known_source(level);
        }
        if no_sources {
            return Outcome::passed("there is no source file to test");
        }
        let ran = Ran::of(self.facts.tests.iter().flat_map(|run| &run.ran).map(String::as_str));
        let files = self.facts.presence.iter().flat_map(|presence| &presence.files);
        let untried: Vec<_> = files.filter(|file| !file.tests.iter().any(|test| ran.has(test))).collect();
        // Every file has its tests, and nothing says whether they ran.
        let only_unreported =
            self.facts.tests.is_empty() && untried.iter().all(|file| !file.tests.is_empty());
        let mut bare: Vec<Finding> = untried
            .into_iter()
            .map(|file| Finding {
                rule: "untested".into(),
                fingerprint: Digest::of(format!("untested\n{}", file.path).as_bytes()),
                title: if file.tests.is_empty() {
                    let functions = counted(file.functions.into(), "function", "functions");
                    format!("no test names it and asserts something ({functions})")
                } else {
                    match file.tests.len() {
                        1 => "its test did not run".into(),
                        tests => format!("none of its {tests} tests ran"),
                    }
                },
                severity: Severity::Medium,
                file: Some(file.path.clone()),
                ..Finding::default()
            })
            .collect();
        bare.sort_by(|one, other| (&one.file, one).cmp(&(&other.file, other)));
        bare.dedup();
        if bare.is_empty() {
            let count: usize = self.facts.presence.iter().map(|presence| presence.files.len()).sum();
            return Outcome::passed(format!("{}, each with a test that ran", source_files(len_of(count))));
        }
        let mut worst = Level::Off;
        let mut findings = Vec::new();
        let total = u64::try_from(bare.len()).unwrap_or(u64::MAX);
        for finding in bare {
            let waiver = self.waiver(CheckName::TestsPresent, Some(&finding), false);
            let level = if waiver.is_some() { Level::Note } else { level };
            worst = worst.max(level);
            let excused = waiver.map(Excuse::Waiver);
            findings.push(Judged::new(finding, level, excused));
        }
        let names: Vec<&str> =
            findings.iter().filter_map(|it| it.finding.file.as_deref()).take(NAMED).collect();
        if only_unreported {
            let text = format!("no report says that the tests of {} ran", source_files(total));
            return Outcome { findings, total, ..Outcome::no_proof(worst, text).fix(RUN_THEM) };
        }
        let text = format!("{} without a test that ran, such as {}", source_files(total), names.join(", "));
        Outcome { findings, total, ..Outcome::failed(worst, text) }
    }

    /// No source file of a language that is looked at: it can be waived, since other languages are there to stay.
    fn no_known_source(&mut self, level: Level) -> Outcome {
        let finding = Finding {
            rule: "not_looked_at".into(),
            fingerprint: Digest::of(b"not_looked_at"),
            title: "no source file in Python, JavaScript or TypeScript was found".into(),
            severity: Severity::Medium,
            ..Finding::default()
        };
        let waiver = self.waiver(CheckName::TestsPresent, Some(&finding), false);
        let level = if waiver.is_some() { level.min(Level::Note) } else { level };
        let excused = waiver.map(Excuse::Waiver);
        let judged = Judged::new(finding, level, excused);
        let text = "it was not looked at which files have tests: none is in Python, JavaScript or TypeScript";
        let outcome = Outcome { findings: vec![judged], ..Outcome::no_proof(level, text) };
        outcome.fix(
            "Run `tidegate gate check` in the folder that holds the app's code. Of other languages it is not seen which files have tests: \
             have that looked at by a person, and ask for a waiver.",
        )
    }

    /// The worst report counts: that another one is added never makes it better.
    pub(super) fn coverage(&mut self) -> Outcome {
        let asked = self.policy.coverage;
        let worst_level = if asked.deny_below_percent.is_some() {
            Level::Deny
        } else if asked.warn_below_percent.is_some() {
            Level::Warn
        } else {
            Level::Note
        };
        if self.facts.coverage.is_empty() {
            if asked.missing == Level::Off {
                return Outcome::not_asked();
            }
            return Outcome::no_proof(asked.missing, "no report of coverage was handed in").fix(
                "Have the tests write one: `pytest --cov=src --cov-report=xml`, or `node --test --experimental-test-coverage \
                 --test-reporter=lcov`.",
            );
        }
        let measured = |report: &Coverage| match report.changed {
            // A diff that touches no line of the report says nothing of it.
            Some(changed) if changed.lines > 0 => (changed.lines, changed.covered, "changed lines"),
            _ => (report.lines, report.covered, "lines"),
        };
        let reports = self.facts.coverage.iter().map(measured);
        let judged = reports.filter(|(lines, _, _)| *lines >= u64::from(asked.ignored_below_lines));
        // Hundredths of a percent, rounded down: what is below a bound by anything is below it.
        let share = |lines: u64, covered: u64| covered.min(lines).saturating_mul(10_000) / lines.max(1);
        let worst =
            judged.min_by_key(|(lines, covered, what)| (share(*lines, *covered), *what, *lines, *covered));
        let Some((lines, covered, what)) = worst else {
            if self.facts.coverage.iter().all(|report| report.lines == 0) {
                return Outcome::no_proof(
                    asked.missing.max(worst_level),
                    "the report of coverage lists no line",
                );
            }
            return Outcome::passed(format!(
                "fewer than {} lines: too few to judge",
                asked.ignored_below_lines
            ));
        };
        let share = share(lines, covered);
        let text = format!("tests run {}.{:02} % of {lines} {what}", share / 100, share % 100);
        let below = |percent: Option<u8>| percent.is_some_and(|percent| share < u64::from(percent) * 100);
        let level = match (below(asked.deny_below_percent), below(asked.warn_below_percent)) {
            (true, _) => Level::Deny,
            (false, true) => Level::Warn,
            (false, false) if worst_level == Level::Note => Level::Note,
            (false, false) => return Outcome::passed(text),
        };
        if level == Level::Note {
            return Outcome { level, ..Outcome::passed(text) };
        }
        let asks = if level == Level::Deny { asked.deny_below_percent } else { asked.warn_below_percent };
        Outcome::failed(level, format!("{text}; {} % are asked", asks.unwrap_or(0)))
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

fn source_files(count: u64) -> String {
    counted(count, "source file", "source files")
}

/// Names in order, each once.
pub(super) fn joined<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
