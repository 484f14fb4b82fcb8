//! Trivy's JSON: vulnerabilities of packages, faults of infrastructure and secrets, each a scan of its own.
//!
//! What Trivy was told to leave out counts as found where the report shows it, and bars the proof where it only says how much
//! it was: whether it may be left out, the gate decides by a waiver. The text around a secret is never taken.
//!
//! Format: Trivy's JSON, schema version 2: <https://github.com/aquasecurity/trivy/blob/main/pkg/types/report.go>.

use std::fmt;

use rollout_rules::gate::facts::{
    Facts, Finding, Problem, ProblemCode, Proof, Scan, ScanKind, Severity, Tool,
};
use rollout_rules::ids::Digest;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lists::{Few, Listed, or_none};
use super::text;
use super::vulnerability::{self, Vulnerability, severity_of_score, severity_of_vector, severity_of_word};
use super::words::{count, malformed, some_line, some_name, unsupported};
use super::worst::Worst;
use crate::gate::json::{Count, Fold, Folded, parse};

/// The version of the layout that is taken.
const SCHEMA: u64 = 2;
/// What to do about a secret.
const SECRET_FIX: &str =
    "have whoever issued it replace it, and read the new one from the environment instead of a file";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    schema_version: Option<u64>,
    trivy: Option<Program>,
    artifact_name: Option<String>,
    results: Option<Folded<Found>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Program {
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
    target: Option<String>,
    class: Option<String>,
    packages: Option<Folded<Count>>,
    vulnerabilities: Option<Folded<Listed<Raw>>>,
    misconfigurations: Option<Folded<Listed<Raw>>>,
    misconf_summary: Option<Summary>,
    secrets: Option<Folded<Listed<Raw>>>,
    #[serde(rename = "ExperimentalModifiedFindings")]
    left_out: Option<Folded<Listed<LeftOut>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Summary {
    successes: u64,
    failures: u64,
    exceptions: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LeftOut {
    r#type: Option<String>,
    finding: Option<Raw>,
}

/// A finding of any kind. Of a secret neither the match nor the code around it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    #[serde(rename = "VulnerabilityID")]
    vulnerability: Option<String>,
    #[serde(rename = "VendorIDs")]
    vendor_ids: Option<Folded<Few>>,
    pkg_name: Option<String>,
    pkg_path: Option<String>,
    pkg_identifier: Option<Identifier>,
    installed_version: Option<String>,
    fixed_version: Option<String>,
    #[serde(rename = "CVSS")]
    cvss: Option<Scores>,
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "RuleID")]
    rule: Option<String>,
    title: Option<String>,
    severity: Option<String>,
    status: Option<IgnoreOrText>,
    resolution: Option<String>,
    cause_metadata: Option<Cause>,
    start_line: Option<u32>,
}

/// A status is a word, except in old reports, where some are numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum IgnoreOrText {
    Text(String),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(rename = "PURL")]
    purl: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cvss {
    v40_score: Option<f64>,
    v40_vector: Option<String>,
    v3_score: Option<f64>,
    v3_vector: Option<String>,
    v2_score: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cause {
    resource: Option<String>,
    start_line: Option<u32>,
}

/// What was scanned of a kind, and found.
#[derive(Default)]
struct Kind {
    targets: u64,
    looked_at: u64,
    left_out: u64,
    found: u64,
    findings: Worst,
}

/// What all targets come to.
#[derive(Default)]
struct Found {
    packages: Kind,
    infrastructure: Kind,
    secrets: Kind,
    problem: Option<Problem>,
}

impl Fold for Found {
    type Item<'de> = Target;

    fn add(&mut self, target: Target) -> bool {
        if let Err(problem) = self.look_at(target) {
            self.problem.get_or_insert(problem);
        }
        true
    }
}

impl Found {
    fn look_at(&mut self, target: Target) -> Result<(), Problem> {
        let name = target.target.unwrap_or_default();
        let vulnerabilities = or_none(target.vulnerabilities).0;
        let faults = or_none(target.misconfigurations).0;
        let secrets = or_none(target.secrets).0;
        let left_out = or_none(target.left_out).0;
        match target.class.as_deref().unwrap_or_default() {
            "os-pkgs" | "lang-pkgs" => self.packages.targets += 1,
            "config" => self.infrastructure.targets += 1,
            "secret" => self.secrets.targets += 1,
            _ => {}
        }
        self.packages.looked_at += or_none(target.packages).0;
        let failed: Vec<_> = faults.iter().filter(|fault| fault.is_fault()).collect();
        if let Some(summary) = target.misconf_summary {
            if summary.failures != failed.len() as u64 {
                let detail = format!(
                    "It counts {} faults in `{}` and lists {}. Send the report as Trivy wrote it.",
                    summary.failures,
                    text::name(&name),
                    failed.len()
                );
                return Err(Problem { code: ProblemCode::Contradictory, detail });
            }
            let shown = left_out.iter().filter(|left| left.kind() == "misconfiguration").count() as u64;
            let infrastructure = &mut self.infrastructure;
            let looked_at = summary.successes.saturating_add(summary.failures);
            infrastructure.looked_at = infrastructure.looked_at.saturating_add(looked_at);
            let hidden = summary.exceptions.saturating_sub(shown);
            infrastructure.left_out = infrastructure.left_out.saturating_add(hidden);
        }
        vulnerabilities.iter().for_each(|raw| self.packages.find(raw.as_vulnerability(&name)));
        failed.iter().for_each(|raw| self.infrastructure.find(raw.as_fault(&name)));
        secrets.iter().for_each(|raw| self.secrets.find(raw.as_secret(&name)));
        for left in &left_out {
            match (left.kind(), &left.finding) {
                ("vulnerability", Some(raw)) => self.packages.find(raw.as_vulnerability(&name)),
                ("misconfiguration", Some(raw)) => self.infrastructure.find(raw.as_fault(&name)),
                ("secret", Some(raw)) => {
                    self.secrets.find(Finding { disputed: true, ..raw.as_secret(&name) });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl LeftOut {
    fn kind(&self) -> &str {
        self.r#type.as_deref().unwrap_or_default()
    }
}

impl Raw {
    fn is_fault(&self) -> bool {
        !matches!(&self.status, Some(IgnoreOrText::Text(status)) if matches!(status.as_str(), "PASS" | "EXCEPTION"))
    }

    fn word(&self) -> Severity {
        self.severity.as_deref().map(severity_of_word).unwrap_or_default()
    }

    fn as_vulnerability(&self, target: &str) -> Finding {
        let scores = self.cvss.as_ref().map(|scores| scores.0).unwrap_or_default();
        let word = self.word();
        let fixes = self.fixed_version.as_deref().unwrap_or_default();
        let fixes: Vec<String> = fixes.split(',').map(|fix| fix.trim().to_owned()).collect();
        let purl = self.pkg_identifier.as_ref().and_then(|identifier| identifier.purl.as_deref());
        let path = self.pkg_path.as_deref().filter(|path| !path.is_empty());
        vulnerability::finding(&Vulnerability {
            id: self.vulnerability.as_deref().unwrap_or_default(),
            aliases: self.vendor_ids.as_ref().map_or(&[], |ids| &ids.0.0),
            package: self.pkg_name.as_deref().unwrap_or_default(),
            version: self.installed_version.as_deref().unwrap_or_default(),
            purl: purl.filter(|purl| !purl.is_empty()),
            severity: if word == Severity::Unknown { scores } else { word },
            about: self.title.as_deref(),
            fixes: &fixes,
            file: path.or(Some(target)),
        })
    }

    fn as_fault(&self, target: &str) -> Finding {
        let rule = text::name(self.id.as_deref().unwrap_or_default());
        let cause = self.cause_metadata.as_ref();
        let resource = cause.and_then(|cause| some_name(cause.resource.as_deref()));
        let named = resource.as_deref().unwrap_or_default();
        Finding {
            fingerprint: text::fingerprint(&["infrastructure", &rule, target, named]),
            title: some_line(self.title.as_deref()).unwrap_or_else(|| rule.clone()),
            severity: self.word(),
            file: some_name(Some(target)),
            line: cause.and_then(|cause| cause.start_line).filter(|line| *line > 0),
            subject: resource,
            fix: some_line(self.resolution.as_deref()),
            rule,
            ..Finding::default()
        }
    }

    fn as_secret(&self, target: &str) -> Finding {
        let rule = text::name(self.rule.as_deref().unwrap_or_default());
        Finding {
            fingerprint: text::fingerprint(&["secret", &rule, target]),
            title: some_line(self.title.as_deref()).unwrap_or_else(|| rule.clone()),
            severity: self.word(),
            file: some_name(Some(target)),
            line: self.start_line.filter(|line| *line > 0),
            fix: Some(SECRET_FIX.to_owned()),
            rule,
            ..Finding::default()
        }
    }
}

/// The worst of the scores that databases give, by their names.
struct Scores(Severity);

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ScoresVisitor)
    }
}

struct ScoresVisitor;

impl<'de> Visitor<'de> for ScoresVisitor {
    type Value = Scores;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scores by database")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scores, A::Error> {
        let mut worst = Severity::Unknown;
        while let Some((_, cvss)) = map.next_entry::<IgnoredAny, Cvss>()? {
            worst = worst.max(cvss.severity());
        }
        Ok(Scores(worst))
    }
}

impl Cvss {
    fn severity(&self) -> Severity {
        let score = self.v40_score.or(self.v3_score).map(severity_of_score);
        let vector = || self.v40_vector.as_deref().or(self.v3_vector.as_deref()).map(severity_of_vector);
        score.or_else(vector).or_else(|| self.v2_score.map(severity_of_score)).unwrap_or_default()
    }
}

/// Reads a report.
///
/// # Errors
/// It is not one of Trivy's, is of another version, or counts other than it lists.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let report: Report = parse(bytes)?;
    match report.schema_version {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(unsupported(format!(
                "Its layout is of version {other}, and Trivy's reports are read in version {SCHEMA}. Use a release of Trivy since 0.20."
            )));
        }
        None => {
            return Err(malformed(
                "It has no `SchemaVersion`. Send the file that `trivy --format json` writes.",
            ));
        }
    }
    let found = or_none(report.results);
    if let Some(problem) = found.problem {
        return Err(problem);
    }
    let tool = Tool {
        name: "trivy".to_owned(),
        version: report.trivy.and_then(|program| some_name(program.version.as_deref())),
    };
    let artifact = some_name(report.artifact_name.as_deref()).unwrap_or_else(|| "it".to_owned());
    let scan = |kind, proof, findings: Worst| {
        let (total, findings) = findings.finish();
        Scan { piece, kind, tool: tool.clone(), proof, total, findings }
    };
    let mut scans = Vec::new();
    let Found { packages, infrastructure, secrets, .. } = found;
    let others = infrastructure.is_there() || secrets.is_there();
    if packages.is_there() || !others {
        scans.push(scan(ScanKind::Vulnerabilities, packages.proof_of_packages(&artifact), packages.findings));
    }
    if infrastructure.is_there() {
        scans.push(scan(ScanKind::Infrastructure, infrastructure.proof_of_checks(), infrastructure.findings));
    }
    if secrets.is_there() {
        // Trivy lists files with secrets only: a report without one does not say that any file was looked at.
        let proof = Proof::Given(count(secrets.targets, "file with secrets", "files with secrets"));
        scans.push(scan(ScanKind::Secrets, proof, secrets.findings));
    }
    Ok(Facts { scans, ..Facts::default() })
}

impl Kind {
    fn find(&mut self, finding: Finding) {
        self.found += 1;
        self.findings.add(finding);
    }

    fn is_there(&self) -> bool {
        self.targets > 0 || self.found > 0
    }

    fn proof_of_packages(&self, artifact: &str) -> Proof {
        if self.targets == 0 {
            return Proof::Missing(text::name(&format!(
                "Trivy found no list of packages in `{artifact}`, so it looked nothing up. Run `trivy fs --scanners vuln --list-all-pkgs \
                 --format json .` where the app's lock file is."
            )));
        }
        let targets = count(self.targets, "list of packages", "lists of packages");
        Proof::Given(match self.looked_at {
            0 => targets,
            packages => format!("{} in {targets}", count(packages, "package", "packages")),
        })
    }

    fn proof_of_checks(&self) -> Proof {
        if self.left_out > 0 {
            return Proof::Missing(format!(
                "Trivy was told to leave out {}. Take the exception out of `.trivyignore` or the code and ask for a waiver, or run it with \
                 `--show-suppressed`.",
                count(self.left_out, "fault", "faults")
            ));
        }
        if self.looked_at == 0 && self.found == 0 {
            return Proof::Missing(
                "Trivy's report does not say that a check ran. Run `trivy config --format json .` where the infrastructure is \
                 described."
                    .to_owned(),
            );
        }
        let files = count(self.targets, "file", "files");
        Proof::Given(format!("{} of {files}", count(self.looked_at, "check", "checks")))
    }
}
