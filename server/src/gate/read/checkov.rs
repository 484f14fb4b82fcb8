//! Reports of Checkov as JSON, in its three shapes: of one framework, a list of several, and a summary alone when it scanned nothing.
//!
//! Format: the JSON of Checkov 2 and 3, which only its program writes down: <https://www.checkov.io/2.Basics/Reviewing%20Scan%20Results.html>.

use std::collections::BTreeMap;

use rollout_rules::gate::facts::{
    Facts, Finding, Problem, ProblemCode, Proof, Scan, ScanKind, Severity, Tool,
};
use rollout_rules::ids::Digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem;
use super::text::{fingerprint, name, one_line, path};
use super::words;
use super::worst::Worst;
use crate::gate::json::{Count, Fold, Folded, each, parse};

/// Most frameworks of one report.
const MAX_FRAMEWORKS: usize = 100;

/// Reads a report: one scan for each kind of thing that its frameworks look for.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let whole: &RawValue = parse(bytes)?;
    let mut scans: BTreeMap<ScanKind, Gathered> = BTreeMap::new();
    if whole.get().starts_with('[') {
        let mut frameworks = 0;
        each(whole, |framework: Framework<'_>| {
            frameworks += 1;
            if frameworks > MAX_FRAMEWORKS {
                let detail = format!("It has more than {MAX_FRAMEWORKS} frameworks, which Checkov has not.");
                return Err(problem(ProblemCode::TooLarge, detail));
            }
            gather(framework, &mut scans)
        })?;
    } else {
        gather(parse(whole.get().as_bytes())?, &mut scans)?;
    }
    let scans = scans.into_iter().map(|(kind, gathered)| gathered.scan(piece, kind)).collect();
    Ok(Facts { scans, ..Facts::default() })
}

#[derive(Deserialize)]
struct Framework<'a> {
    check_type: Option<String>,
    #[serde(borrow)]
    results: Option<Results<'a>>,
    summary: Option<Summary>,
    // A summary alone stands at the top itself.
    passed: Option<u64>,
    failed: Option<u64>,
    skipped: Option<u64>,
    parsing_errors: Option<u64>,
    resource_count: Option<u64>,
    checkov_version: Option<String>,
}

#[derive(Deserialize)]
struct Results<'a> {
    passed_checks: Option<Folded<Count>>,
    #[serde(borrow)]
    failed_checks: Option<&'a RawValue>,
    #[serde(borrow)]
    skipped_checks: Option<&'a RawValue>,
    parsing_errors: Option<Folded<Count>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    passed: Option<u64>,
    failed: Option<u64>,
    skipped: Option<u64>,
    parsing_errors: Option<u64>,
    resource_count: Option<u64>,
    checkov_version: Option<String>,
}

/// A check that failed or was skipped. The lines of code that it quotes are never taken.
#[derive(Deserialize)]
struct Record {
    check_id: String,
    check_name: Option<String>,
    severity: Option<String>,
    file_path: Option<String>,
    repo_file_path: Option<String>,
    #[serde(default)]
    file_line_range: Folded<FirstLine>,
    resource: Option<String>,
    guideline: Option<String>,
}

#[derive(Default)]
struct FirstLine {
    line: Option<u32>,
    taken: bool,
}

impl Fold for FirstLine {
    type Item<'de> = i64;

    fn add(&mut self, line: i64) -> bool {
        if !core::mem::replace(&mut self.taken, true) {
            self.line = u32::try_from(line).ok().filter(|line| *line > 0);
        }
        true
    }
}

/// What the frameworks of one kind come to.
#[derive(Default)]
struct Gathered {
    version: Option<String>,
    passed: u64,
    failed: u64,
    skipped: u64,
    resources: u64,
    missing: Option<&'static str>,
    found: Worst,
}

const NOT_PARSED: &str = "Checkov could not read some files, so it did not check them. Mend the files that \
    it names under `parsing_errors`, and run it again.";
const HIDDEN: &str = "Checks were skipped by comments in the code, and the report leaves them out. Run \
    Checkov without `--quiet`.";
const NOTHING: &str = "Checkov found nothing to check. Run it on the folder that holds the infrastructure: \
    `checkov -d infra -o json`.";

impl Gathered {
    fn scan(self, piece: Digest, kind: ScanKind) -> Scan {
        let checked = self.passed.saturating_add(self.failed).saturating_add(self.skipped);
        let proof = match self.missing {
            Some(why) => Proof::Missing(why.to_owned()),
            None if checked == 0 => Proof::Missing(NOTHING.to_owned()),
            None => {
                let on = words::count(self.resources, "resource", "resources");
                Proof::Given(format!("{} on {on}", words::count(checked, "check", "checks")))
            }
        };
        let (total, findings) = self.found.finish();
        let tool = Tool { name: "checkov".to_owned(), version: self.version };
        Scan { piece, kind, tool, proof, total, findings }
    }
}

fn gather(framework: Framework<'_>, scans: &mut BTreeMap<ScanKind, Gathered>) -> Result<(), Problem> {
    let kind = kind_of(framework.check_type.as_deref().unwrap_or_default());
    let gathered = scans.entry(kind).or_default();
    let top = Summary {
        passed: framework.passed,
        failed: framework.failed,
        skipped: framework.skipped,
        parsing_errors: framework.parsing_errors,
        resource_count: framework.resource_count,
        checkov_version: framework.checkov_version,
    };
    let summary = framework.summary.unwrap_or(top);
    let (mut failed, mut skipped) = (0, None);
    let (mut passed, mut not_parsed) = (None, None);
    if let Some(results) = framework.results {
        failed = list(results.failed_checks, false, &mut gathered.found)?.unwrap_or(0);
        skipped = list(results.skipped_checks, true, &mut gathered.found)?;
        passed = results.passed_checks.map(|count| count.0.0);
        not_parsed = results.parsing_errors.map(|count| count.0.0);
    }
    // Failed checks are in every report. Passed and skipped ones are left out by `--quiet`: then only the summary knows them.
    let differs = |claim: Option<u64>, listed: Option<u64>| {
        claim.zip(listed).is_some_and(|(claim, listed)| claim != listed)
    };
    let lies = differs(summary.failed, Some(failed))
        || differs(summary.passed, passed)
        || differs(summary.skipped, skipped)
        || differs(summary.parsing_errors, not_parsed);
    if lies {
        let detail =
            "Its summary is not what it lists. Run Checkov again, and send the report as it writes it.";
        return Err(problem(ProblemCode::Contradictory, detail));
    }
    if summary.parsing_errors.or(not_parsed).unwrap_or(0) > 0 {
        gathered.missing.get_or_insert(NOT_PARSED);
    }
    if skipped.is_none() && summary.skipped.unwrap_or(0) > 0 {
        gathered.missing.get_or_insert(HIDDEN);
    }
    gathered.failed += failed;
    gathered.passed = gathered.passed.saturating_add(passed.or(summary.passed).unwrap_or(0));
    gathered.skipped = gathered.skipped.saturating_add(skipped.or(summary.skipped).unwrap_or(0));
    gathered.resources = gathered.resources.saturating_add(summary.resource_count.unwrap_or(0));
    gathered.version = summary.checkov_version.as_deref().map(name).or(gathered.version.take());
    Ok(())
}

/// Takes a list of checks as findings: how many there are; none if there is no list.
fn list(records: Option<&RawValue>, skipped: bool, found: &mut Worst) -> Result<Option<u64>, Problem> {
    let Some(records) = records else { return Ok(None) };
    let mut count = 0;
    each(records, |record: Record| {
        count += 1;
        found.add(finding(&record, skipped));
        Ok(())
    })?;
    Ok(Some(count))
}

/// What a framework of Checkov looks for.
fn kind_of(framework: &str) -> ScanKind {
    match framework {
        "secrets" => ScanKind::Secrets,
        _ if framework.starts_with("sca_") => ScanKind::Vulnerabilities,
        _ => ScanKind::Infrastructure,
    }
}

/// A check that was skipped by a comment is a finding too, and the same one: a comment beside the fault does not mend it.
fn finding(record: &Record, skipped: bool) -> Finding {
    let rule = name(&record.check_id);
    let file = record.repo_file_path.as_deref().or(record.file_path.as_deref()).map(path);
    let file = file.map(|file| file.trim_start_matches('/').to_owned()).filter(|file| !file.is_empty());
    let subject = record.resource.as_deref().map(name).filter(|resource| !resource.is_empty());
    let said = one_line(record.check_name.as_deref().unwrap_or(&rule));
    Finding {
        fingerprint: fingerprint(&[
            &rule,
            file.as_deref().unwrap_or_default(),
            subject.as_deref().unwrap_or_default(),
        ]),
        title: if skipped { one_line(&format!("Skipped by a comment in the code: {said}")) } else { said },
        rule,
        severity: severity(record.severity.as_deref()),
        file,
        line: record.file_line_range.0.line,
        subject,
        fix: record.guideline.as_deref().map(one_line).filter(|fix| !fix.is_empty()),
        ..Finding::default()
    }
}

/// Without its makers' platform Checkov knows no severities; in SARIF it then calls every failed check an error, which is `High`.
fn severity(said: Option<&str>) -> Severity {
    match said.map(str::to_ascii_uppercase).as_deref() {
        Some("CRITICAL") => Severity::Critical,
        Some("MEDIUM" | "MODERATE") => Severity::Medium,
        Some("LOW" | "INFO" | "NONE") => Severity::Low,
        _ => Severity::High,
    }
}
