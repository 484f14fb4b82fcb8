//! SARIF 2.1.0. Results are read one at a time, so that ten megabytes of them cost little memory, and no snippet is ever taken.
//!
//! Format: OASIS SARIF 2.1.0: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::collections::BTreeMap;

use rollout_rules::gate::facts::{
    Facts, Finding, Problem, ProblemCode, Proof, Scan, ScanKind, Severity, Tool,
};
use rollout_rules::ids::Digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem;
use super::sarif_rules::{Level, Properties, Reference, Rules, Words};
use super::text::{fingerprint, name, one_line, path, without_quoted_secrets};
use super::worst::Worst;
use crate::gate::json::{Count, Fold, Folded, Scalar, each, parse};

/// The only version that is taken.
const VERSION: &str = "2.1.0";
/// Most runs of one log.
const MAX_RUNS: usize = 100;

/// Reads a log: one scan for each tool in it. A scan has its proof only if every run of the tool has.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let log: Log<'_> = parse(bytes)?;
    if log.version.as_deref() != Some(VERSION) {
        let detail =
            format!("It is SARIF of another version than {VERSION}. Let the tool write SARIF {VERSION}.");
        return Err(problem(ProblemCode::UnsupportedVersion, detail));
    }
    let mut scans: BTreeMap<(ScanKind, String), Gathered> = BTreeMap::new();
    let mut runs = 0;
    if let Some(list) = log.runs {
        each(list, |run: Run<'_>| {
            runs += 1;
            if runs > MAX_RUNS {
                let detail = format!("It has more than {MAX_RUNS} runs. Send them as several files.");
                return Err(problem(ProblemCode::TooLarge, detail));
            }
            gather(&run, &mut scans)
        })?;
    }
    if runs == 0 {
        scans.insert(
            (ScanKind::Code, String::new()),
            Gathered {
                missing: Some(
                    "It has no run in it: nothing was scanned. Run the scanner, and send what it writes."
                        .to_owned(),
                ),
                ..Gathered::default()
            },
        );
    }
    let scans = scans.into_iter().map(|((kind, _), gathered)| gathered.scan(piece, kind)).collect();
    Ok(Facts { scans, ..Facts::default() })
}

#[derive(Deserialize)]
struct Log<'a> {
    version: Option<String>,
    #[serde(borrow)]
    runs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Run<'a> {
    #[serde(borrow)]
    tool: Option<ToolOf<'a>>,
    #[serde(default)]
    invocations: Folded<Invocations>,
    #[serde(default)]
    artifacts: Folded<Count>,
    #[serde(borrow)]
    results: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolOf<'a> {
    #[serde(borrow)]
    driver: Option<Driver<'a>>,
    #[serde(borrow)]
    extensions: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: Option<String>,
    version: Option<String>,
    semantic_version: Option<String>,
    #[serde(borrow)]
    rules: Option<&'a RawValue>,
}

#[derive(Default)]
struct Invocations {
    succeeded: bool,
    failed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: Option<bool>,
}

impl Fold for Invocations {
    type Item<'de> = Invocation;

    fn add(&mut self, invocation: Invocation) -> bool {
        self.succeeded |= invocation.execution_successful == Some(true);
        // The field has to be there; without it nothing is said of success.
        self.failed |= invocation.execution_successful == Some(false);
        true
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    rule_id: Option<String>,
    rule_index: Option<i64>,
    rule: Option<Reference>,
    level: Option<String>,
    kind: Option<String>,
    message: Option<Words>,
    baseline_state: Option<String>,
    #[serde(default)]
    locations: Folded<First>,
    #[serde(default)]
    suppressions: Folded<Suppressions>,
    partial_fingerprints: Option<PartialFingerprints>,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialFingerprints {
    primary_location_line_hash: Option<Scalar>,
}

/// The first location: where the thing is. Others only explain it.
#[derive(Default)]
struct First {
    taken: bool,
    uri: Option<String>,
    line: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Option<Physical>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Option<Artifact>,
    region: Option<Region>,
}

#[derive(Deserialize)]
struct Artifact {
    uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: Option<i64>,
}

impl Fold for First {
    type Item<'de> = Location;

    fn add(&mut self, location: Location) -> bool {
        if !core::mem::replace(&mut self.taken, true)
            && let Some(physical) = location.physical_location
        {
            self.uri = physical.artifact_location.and_then(|artifact| artifact.uri);
            let line = physical.region.and_then(|region| region.start_line);
            self.line = line.and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0);
        }
        true
    }
}

/// What suppressions come down to.
#[derive(Default)]
struct Suppressions {
    any: bool,
    /// One of them is not accepted, or says something that is not known.
    open: bool,
}

#[derive(Deserialize)]
struct Suppression {
    status: Option<String>,
}

impl Fold for Suppressions {
    type Item<'de> = Suppression;

    fn add(&mut self, suppression: Suppression) -> bool {
        self.any = true;
        // One without a status is accepted; that is how the format has it.
        self.open |= !matches!(suppression.status.as_deref(), None | Some("accepted"));
        true
    }
}

/// What the runs of one tool come to.
#[derive(Default)]
struct Gathered {
    tool: Tool,
    runs: u64,
    rules: u64,
    artifacts: u64,
    missing: Option<String>,
    found: Worst,
}

impl Gathered {
    fn scan(self, piece: Digest, kind: ScanKind) -> Scan {
        let (total, findings) = self.found.finish();
        let counted =
            |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
        let over = if self.artifacts > 0 {
            format!(" over {}", counted(self.artifacts, "file", "files"))
        } else {
            String::new()
        };
        let with = if self.rules > 0 {
            format!("{} in ", counted(self.rules, "rule", "rules"))
        } else {
            String::new()
        };
        let proof = match self.missing {
            Some(why) => Proof::Missing(why),
            None => {
                Proof::Given(format!("{with}{}{over}", counted(self.runs, "finished run", "finished runs")))
            }
        };
        Scan { piece, kind, tool: self.tool, proof, total, findings }
    }
}

fn gather(run: &Run<'_>, scans: &mut BTreeMap<(ScanKind, String), Gathered>) -> Result<(), Problem> {
    let driver = run.tool.as_ref().and_then(|tool| tool.driver.as_ref());
    let title = name(&driver.and_then(|driver| driver.name.as_deref()).unwrap_or_default().to_lowercase());
    let rules = Rules::read(
        driver.and_then(|driver| driver.rules),
        run.tool.as_ref().and_then(|tool| tool.extensions),
    )?;
    let kind = kind_of(&title, &rules);
    let gathered = scans.entry((kind, title.clone())).or_default();
    let version = driver.and_then(|driver| driver.version.as_deref().or(driver.semantic_version.as_deref()));
    gathered.tool = Tool { name: title.clone(), version: version.map(name).or(gathered.tool.version.take()) };
    gathered.runs += 1;
    gathered.rules += rules.total;
    gathered.artifacts += run.artifacts.0.0;
    let mut listed = 0_u64;
    if let Some(results) = run.results {
        each(results, |found: Found| {
            listed += 1;
            gathered.found.add_if(finding(found, kind, &rules));
            Ok(())
        })?;
    }
    let ran = &run.invocations.0;
    let shows = rules.total > 0 || run.artifacts.0.0 > 0 || listed > 0 || ran.succeeded;
    let missing = if ran.failed {
        Some("says that its run failed. Look at what it printed, mend it, and run it again.")
    } else if run.results.is_none() {
        Some("lists no results, not even none: its run did not come to an end. Run it again.")
    } else if !shows {
        Some(
            "names no rule, no file and no finished run, so it shows nothing that it looked at. Let it \
            write a report that lists its rules or what passed too (Checkov: its JSON).",
        )
    } else {
        None
    };
    if let Some(why) = missing {
        let who = if title.is_empty() { "the scanner" } else { &title };
        gathered.missing.get_or_insert_with(|| format!("{who} {why}"));
    }
    Ok(())
}

/// What a tool looks for, by its name, and what Trivy does by its rules. One that is not known looks for faults in code.
fn kind_of(tool: &str, rules: &Rules) -> ScanKind {
    let any = |names: &[&str]| names.iter().any(|name| tool.contains(name));
    let only = |rule: &str| any(&["trivy"]) && rules.are_all(rule);
    if any(&["gitleaks", "detect-secrets", "trufflehog"]) || only("Secret") {
        ScanKind::Secrets
    } else if any(&["checkov", "tfsec", "kics", "trivy-config", "terrascan", "snyk iac"])
        || only("Misconfiguration")
    {
        ScanKind::Infrastructure
    } else if any(&["trivy", "grype", "osv-scanner", "snyk"]) && !any(&["snyk code", "snykcode"]) {
        ScanKind::Vulnerabilities
    } else {
        ScanKind::Code
    }
}

/// A result as a finding; none if it says that all is well, that the thing is gone, or that somebody accepted it.
fn finding(found: Found, kind: ScanKind, rules: &Rules) -> Option<Finding> {
    if found.kind.as_deref().is_some_and(|kind| kind != "fail")
        || found.baseline_state.as_deref() == Some("absent")
    {
        return None;
    }
    let suppressed = found.suppressions.0;
    let accepted = suppressed.any && !suppressed.open;
    // Whoever writes a secret, a package or a bucket into code can write the comment beside it too, or the list of what is passed over.
    // The JSON of the same tools counts it as well.
    if accepted && kind == ScanKind::Code {
        return None;
    }
    let reference = found.rule.unwrap_or_default();
    let index = found.rule_index.or(reference.index);
    let id = found.rule_id.or(reference.id);
    let rule =
        rules.find(id.as_deref(), index, reference.tool_component.and_then(|component| component.index));
    let level =
        found.level.as_deref().map(Level::of).or(rule.and_then(|rule| rule.level)).unwrap_or(Level::Warning);
    let scored =
        found.properties.and_then(|properties| properties.severity()).or(rule.and_then(|rule| rule.severity));
    let said = found.message.and_then(Words::into_text).unwrap_or_default();
    let id = id.or(rule.map(|rule| rule.id.clone())).map(|id| name(&id)).filter(|id| !id.is_empty());
    let rule_id = id.unwrap_or_else(|| "unnamed".to_owned());
    let described = rule.map(|rule| rule.title.clone()).filter(|title| !title.is_empty());
    let title = match kind {
        // What a scanner for secrets says of a finding may quote it.
        ScanKind::Secrets => described.unwrap_or_else(|| format!("A secret, by the rule {rule_id}")),
        _ => Some(one_line(&without_quoted_secrets(&said)))
            .filter(|said| !said.is_empty())
            .or(described)
            .unwrap_or_else(|| rule_id.clone()),
    };
    let file = found.locations.0.uri.as_deref().map(path).filter(|file| !file.is_empty());
    let hash =
        found.partial_fingerprints.and_then(|prints| prints.primary_location_line_hash).map(|hash| hash.0);
    let what = hash.unwrap_or_else(|| said.chars().filter(|c| !c.is_ascii_digit()).collect());
    Some(Finding {
        fingerprint: fingerprint(&[&rule_id, file.as_deref().unwrap_or_default(), &what]),
        rule: rule_id,
        title,
        severity: level.severity().max(scored.unwrap_or(Severity::Unknown)),
        file,
        line: found.locations.0.line,
        disputed: accepted,
        ..Finding::default()
    })
}
