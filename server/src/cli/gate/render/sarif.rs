//! A decision as SARIF 2.1.0, for code scanning and editors.

use std::fmt::Write as _;

use rollout_rules::gate::decision::{Check, CheckName, Excuse, Judged};
use rollout_rules::gate::policy::Level;
use serde_json::{Value, json};

use super::{Shown, beyond, title};
use crate::cli::gate::DRIVER;

/// A decision as a SARIF log with one run: checks are its rules, what they found its results. What is excused is a result that is
/// suppressed.
pub fn sarif(shown: &Shown<'_>) -> Value {
    let decision = shown.decision;
    let checks = &shown.judgement.checks;
    let results: Vec<Value> =
        checks.iter().enumerate().flat_map(|(index, check)| results_of(index, check)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            // First, and with the tool's name: the gate knows its own reports by it.
            "automationDetails": { "id": format!("{DRIVER}/{}/{}/", decision.app, decision.environment) },
            "tool": { "driver": {
                "name": DRIVER,
                "version": env!("CARGO_PKG_VERSION"),
                "rules": checks.iter().map(rule).collect::<Vec<Value>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{ "executionSuccessful": true }],
            "results": results,
            "properties": {
                "verdict": shown.judgement.verdict,
                "decision": decision.id,
                "artifact": decision.artifact,
                "tier": decision.tier,
            },
        }],
    })
}

fn rule(check: &Check) -> Value {
    let help = if check.fix.is_empty() { check.why.as_str() } else { check.fix.as_str() };
    json!({
        "id": check.name,
        "name": pascal(check.name),
        "shortDescription": { "text": title(check.name) },
        "fullDescription": { "text": check.why },
        "help": { "text": help },
        "defaultConfiguration": { "level": level(check.level) },
    })
}

/// `tests_present` as rules are called: `TestsPresent`.
fn pascal(check: CheckName) -> String {
    let capital = |word: &str| {
        word.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(word.chars().skip(1)).collect()
    };
    check.as_str().split('_').map(|word| -> String { capital(word) }).collect()
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Off => "none",
        Level::Note => "note",
        Level::Warn => "warning",
        Level::Deny => "error",
    }
}

/// What a check found. One that did not pass and lists nothing is a result itself.
fn results_of(index: usize, check: &Check) -> Vec<Value> {
    let mut results: Vec<Value> = check
        .findings
        .iter()
        .filter(|judged| judged.level != Level::Off || judged.excused.is_some())
        .map(|judged| result(index, check, judged))
        .collect();
    let whole = |text: String| json!({ "ruleId": check.name, "ruleIndex": index, "level": level(check.level), "message": { "text": text } });
    let counts = check.findings.iter().any(|judged| judged.excused.is_none() && judged.level != Level::Off);
    if super::is_done(check) {
        return results;
    }
    if !counts {
        results.push(whole(with_fix(&check.found, Some(&check.fix))));
    } else {
        let listed =
            check.findings.iter().filter(|judged| judged.excused.is_none() && judged.level != Level::Off);
        let more = beyond(check, listed.count());
        if more > 0 {
            results.push(whole(format!("{more} more of the same kind are not listed.")));
        }
    }
    results
}

fn result(index: usize, check: &Check, judged: &Judged) -> Value {
    let finding = &judged.finding;
    let mut result = json!({
        "ruleId": check.name,
        "ruleIndex": index,
        "level": level(judged.level),
        "message": { "text": with_fix(&finding.title, finding.fix.as_ref()) },
        "partialFingerprints": { "tidegateFinding/v1": finding.fingerprint },
        "properties": { "rule": finding.rule, "severity": finding.severity },
    });
    let mut location = json!({});
    if let Some(file) = &finding.file {
        location["physicalLocation"] = json!({ "artifactLocation": { "uri": uri(file) } });
        if let Some(line) = finding.line.filter(|line| *line > 0) {
            location["physicalLocation"]["region"] = json!({ "startLine": line });
        }
    }
    if let Some(subject) = &finding.subject {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": subject }]);
    }
    if location.as_object().is_some_and(|location| !location.is_empty()) {
        result["locations"] = json!([location]);
    }
    if let Some(excuse) = &judged.excused {
        let why = match excuse {
            Excuse::Waiver(id) => format!("waiver {id}"),
            Excuse::Signed(signer) => format!("statement signed by {signer}"),
        };
        result["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": why }]);
    }
    result
}

fn with_fix(text: &str, fix: Option<&String>) -> String {
    match fix.filter(|fix| !fix.is_empty()) {
        Some(fix) => format!("{text}\n\nTo mend it: {fix}"),
        None => text.to_owned(),
    }
}

/// A path as a relative URI: what means something else in URIs is written by its bytes.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(byte))
            }
            other => {
                // Writing to a string cannot fail.
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}
