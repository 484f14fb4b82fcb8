//! JUnit XML, as pytest, Node's own reporter, Jest and most others write it. Cases are counted here; totals that a report
//! claims are only compared.
//!
//! Format: no standard; what tools have in common is collected at <https://github.com/testmoapp/junitxml>.

use rollout_rules::gate::facts::{Facts, Finding, Problem, ProblemCode, Severity, TestRun};
use rollout_rules::ids::Digest;

use super::problem;
use super::ran_names::RanNames;
use super::text::{fingerprint, has_word, name, one_line, path};
use super::worst::Worst;
use super::xml::{Element, Node, Xml};

/// The words by which a suite or class says that its cases are contract tests.
const CONTRACT: [&str; 3] = ["contract", "contracts", "pact"];
/// Longest title of a case with those of its suites, in bytes.
const MAX_TITLE_BYTES: usize = 1_000;
/// Most of a failure's text that is looked at for its first line, in bytes.
const MAX_BODY_BYTES: usize = 4_096;

/// Reads a report. One without a case that ran is read too: judging refuses it.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let mut xml = Xml::new(bytes)?;
    let mut report = Report::default();
    while let Some(node) = xml.next()? {
        match node {
            Node::Open(element) => report.open(&element)?,
            Node::Close(name) => report.close(&name)?,
            Node::Text(text) => report.text(&text),
        }
    }
    let (_, failures) = report.failures.finish();
    let tests = TestRun {
        piece,
        passed: report.passed,
        failed: report.failed,
        skipped: report.skipped,
        contract: report.contract,
        failures,
        unnamed: report.ran.unnamed,
        ran: report.ran.kept,
    };
    Ok(Facts { tests: vec![tests], ..Facts::default() })
}

#[derive(Default)]
struct Report {
    suites: Vec<Suite>,
    case: Option<Case>,
    in_body: bool,
    passed: u64,
    failed: u64,
    skipped: u64,
    contract: bool,
    failures: Worst,
    ran: RanNames,
}

/// The class of every case of Node's own reporter.
const NODE_CLASS: &str = "test";

/// A suite, or the root, that is still open: what it claims, and what was counted.
#[derive(Default)]
struct Suite {
    name: String,
    claims: Claims,
    /// Everything in it, suites in it included.
    within: Counted,
    /// What stands right in it, each suite as one: Node counts so.
    children: Counted,
}

#[derive(Clone, Copy, Default)]
struct Claims {
    tests: Option<u64>,
    failures: Option<u64>,
    errors: Option<u64>,
    skipped: Option<u64>,
    disabled: Option<u64>,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
}

impl Counted {
    fn add(&mut self, other: Counted) {
        self.tests += other.tests;
        self.failures += other.failures;
        self.errors += other.errors;
        self.skipped += other.skipped;
    }
}

#[derive(Default)]
struct Case {
    class: String,
    title: String,
    file: Option<String>,
    line: Option<u32>,
    failures: u64,
    errors: u64,
    skipped: bool,
    message: String,
    body: String,
}

impl Report {
    fn open(&mut self, element: &Element) -> Result<(), Problem> {
        match element.name.as_str() {
            "testsuites" | "testsuite" => {
                let claims = Claims {
                    tests: element.count("tests")?,
                    failures: element.count("failures")?,
                    errors: element.count("errors")?,
                    skipped: element.count("skipped")?,
                    disabled: element.count("disabled")?,
                };
                let name = name(element.get("name").unwrap_or_default());
                self.suites.push(Suite { name, claims, ..Suite::default() });
            }
            "testcase" => {
                if self.case.is_some() {
                    return Err(problem(
                        ProblemCode::Malformed,
                        "A test case stands within another. Write the report again with the tool itself.",
                    ));
                }
                // Google's runner marks cases that did not run by an attribute.
                let skipped = matches!(element.get("status"), Some("notrun" | "skipped" | "disabled"));
                self.case = Some(Case {
                    class: name(element.get("classname").unwrap_or_default()),
                    title: name(element.get("name").unwrap_or_default()),
                    file: element.get("file").map(path).filter(|file| !file.is_empty()),
                    line: element.get("line").and_then(|line| line.parse().ok()),
                    skipped,
                    ..Case::default()
                });
            }
            kind @ ("failure" | "error" | "skipped") => {
                let Some(case) = &mut self.case else { return Ok(()) };
                match kind {
                    "failure" => case.failures += 1,
                    "error" => case.errors += 1,
                    _ => case.skipped = true,
                }
                if kind != "skipped" && case.message.is_empty() {
                    case.message = one_line(element.get("message").unwrap_or_default());
                    self.in_body = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let Some(case) = self.case.as_mut().filter(|case| self.in_body && case.body.len() < MAX_BODY_BYTES)
        else {
            return;
        };
        case.body.extend(text.chars().take(MAX_BODY_BYTES));
    }

    fn close(&mut self, name: &str) -> Result<(), Problem> {
        match name {
            "failure" | "error" => self.in_body = false,
            "testcase" => {
                if let Some(case) = self.case.take() {
                    self.count(case);
                }
            }
            "testsuites" | "testsuite" => {
                let Some(suite) = self.suites.pop() else { return Ok(()) };
                suite.compare()?;
                if let Some(parent) = self.suites.last_mut() {
                    parent.within.add(suite.within);
                    let failed = u64::from(suite.within.failures + suite.within.errors > 0);
                    let skipped = u64::from(suite.within.skipped > 0);
                    parent.children.add(Counted { tests: 1, failures: failed, errors: 0, skipped });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, case: Case) {
        let failed = case.failures + case.errors > 0;
        let one = Counted {
            tests: 1,
            // A case that failed and then broke while it was taken down counts as both.
            failures: u64::from(case.failures > 0),
            errors: u64::from(case.errors > 0),
            skipped: u64::from(case.skipped),
        };
        if let Some(suite) = self.suites.last_mut() {
            suite.within.add(one);
            suite.children.add(one);
        }
        let runs = failed || !case.skipped;
        if !runs {
            self.skipped += 1;
            return;
        }
        let suites = self.suites.iter().map(|suite| suite.name.as_str());
        self.contract |= suites.chain([case.class.as_str()]).any(|name| has_word(name, &CONTRACT));
        let suite = self.suites.last().map(|suite| suite.name.as_str()).unwrap_or_default();
        let full = match (case.class.as_str(), suite) {
            ("", "") => case.title.clone(),
            ("", suite) => format!("{suite}::{}", case.title),
            // Node writes the same class everywhere, and makes suites of what tests are described by.
            (NODE_CLASS, _) => self.described(&case.title),
            (class, _) => format!("{class}.{}", case.title),
        };
        if failed {
            self.failed += 1;
            self.failures.add(failure(&case, &full));
        } else {
            self.passed += 1;
        }
        self.ran.add(full);
    }
}

impl Report {
    /// The whole title of a case, with those of the suites that it stands in. Of more than [`MAX_TITLE_BYTES`] the outermost are left
    /// out: a few suites with long names, within each other, would make much of each of many cases.
    fn described(&self, title: &str) -> String {
        let mut left = MAX_TITLE_BYTES.saturating_sub(title.len());
        let names = self.suites.iter().rev().map(|suite| suite.name.as_str()).filter(|name| !name.is_empty());
        let near = names.take_while(|name| {
            let fits = name.len() < left;
            left = left.saturating_sub(name.len() + 1);
            fits
        });
        let mut parts: Vec<&str> = near.collect();
        parts.reverse();
        parts.push(title);
        parts.join(" ")
    }
}

fn failure(case: &Case, full: &str) -> Finding {
    let said = if case.message.is_empty() { one_line(&case.body) } else { case.message.clone() };
    Finding {
        rule: "test".to_owned(),
        fingerprint: fingerprint(&["test", full]),
        title: if said.is_empty() { "The test failed and does not say why.".to_owned() } else { said },
        severity: Severity::High,
        file: case.file.clone(),
        line: case.line,
        subject: Some(name(full)),
        ..Finding::default()
    }
}

impl Suite {
    /// Whether what it claims is one of the ways in which its cases can be counted.
    fn compare(&self) -> Result<(), Problem> {
        let agrees = |claimed: Option<u64>, counted: &dyn Fn(&Counted) -> (u64, u64)| {
            let ways = [&self.within, &self.children];
            claimed.is_none_or(|claimed| {
                ways.into_iter().any(|way| {
                    let (least, most) = counted(way);
                    (least..=most).contains(&claimed)
                })
            })
        };
        // pytest counts a case that passed and then broke as two, and one that failed and then broke as one, written twice.
        let tests = |c: &Counted| (c.tests.saturating_sub(c.errors), c.tests + c.errors);
        let failures =
            |c: &Counted| (c.failures, c.failures + if self.claims.errors.is_none() { c.errors } else { 0 });
        let errors = |c: &Counted| (c.errors, c.errors);
        let skipped = |c: &Counted| (c.skipped.saturating_sub(self.claims.disabled.unwrap_or(0)), c.skipped);
        let lie = [
            ("tests", agrees(self.claims.tests, &tests)),
            ("failures", agrees(self.claims.failures, &failures)),
            ("errors", agrees(self.claims.errors, &errors)),
            ("skipped", agrees(self.claims.skipped, &skipped)),
        ];
        match lie.into_iter().find(|(_, agrees)| !agrees) {
            None => Ok(()),
            Some((what, _)) => {
                let detail = format!(
                    "Its `{what}` of a suite are not the cases that it lists ({} in all). Run the tests \
                    again, and send the report as the runner writes it.",
                    self.within.tests
                );
                Err(problem(ProblemCode::Contradictory, detail))
            }
        }
    }
}
