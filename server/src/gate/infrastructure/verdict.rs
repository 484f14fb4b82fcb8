//! What the policy found, from Rego into findings.

use std::collections::BTreeMap;

use regorus::Value;
use rollout_rules::gate::facts::{Concern, Finding, MAX_FINDINGS, PolicyEffect, PolicyFinding, Severity};
use rollout_rules::ids::Digest;

use super::policy::PolicyError;
use crate::gate::read::cut;

/// How many parts a policy has: each may have a line for what is not listed.
const CONCERNS: usize = 6;
/// What a finding may have.
const MEMBERS: [&str; 6] = ["rule", "concern", "title", "resource", "severity", "fix"];

/// Reads the answer: a list of package, set, and the set itself if it is defined.
pub(super) fn read(found: &Value) -> Result<Vec<PolicyFinding>, PolicyError> {
    let mut findings = Vec::new();
    for asked in items(found) {
        let text = |index: usize| asked[index].as_string().map(|text| text.to_string()).unwrap_or_default();
        let (package, set) = (text(0), text(1));
        let wrong = |problem: &str| PolicyError::Finding {
            package: package.clone(),
            set: set.clone(),
            problem: problem.to_owned(),
        };
        let effect = match set.as_str() {
            "deny" => PolicyEffect::Deny,
            "warn" => PolicyEffect::Warn,
            _ => PolicyEffect::Note,
        };
        for defined in items(&asked[2]) {
            let Value::Set(members) = defined else {
                return Err(wrong(&format!("it is not a set. Write `{set} contains {{…}} if {{…}}`")));
            };
            for member in members.iter_sorted() {
                findings.push(finding(effect, member).map_err(|problem| wrong(&problem))?);
            }
        }
    }
    findings.sort_by(|a: &PolicyFinding, b| order(b).cmp(&order(a)).then_with(|| name(a).cmp(&name(b))));
    Ok(cut_down(findings))
}

/// What nobody may waive first: whatever else there is, it is never among what is not listed.
fn order(finding: &PolicyFinding) -> (bool, PolicyEffect, Severity) {
    let is_hard = finding.concern == Concern::WildcardPrivileges && finding.effect == PolicyEffect::Deny;
    (is_hard, finding.effect, finding.finding.severity)
}

/// Keeps the worst. What is not listed is told of once for each part of the policy, as bad as the worst of it.
fn cut_down(mut findings: Vec<PolicyFinding>) -> Vec<PolicyFinding> {
    if findings.len() <= MAX_FINDINGS {
        return findings;
    }
    let mut unlisted: BTreeMap<Concern, Vec<PolicyFinding>> = BTreeMap::new();
    for found in findings.split_off(MAX_FINDINGS - CONCERNS) {
        unlisted.entry(found.concern).or_default().push(found);
    }
    findings.extend(unlisted.into_iter().map(|(concern, unlisted)| {
        // Of all that it stands for: a waiver for it is not one for others.
        let named: Vec<u8> = unlisted.iter().flat_map(|found| found.finding.fingerprint.0).collect();
        let effect = unlisted.iter().map(|found| found.effect).max().unwrap_or(PolicyEffect::Deny);
        let finding = Finding {
            fingerprint: Digest::of(&named),
            rule: "not-listed".to_owned(),
            title: format!("{} more of the same kind were found, and are not listed", unlisted.len()),
            severity: unlisted.iter().map(|found| found.finding.severity).max().unwrap_or(Severity::High),
            fix: Some("Mend what is listed, and make the plan again: it shows the next ones.".to_owned()),
            ..Finding::default()
        };
        PolicyFinding { effect, concern, finding }
    }));
    findings
}

fn name(finding: &PolicyFinding) -> (&str, Option<&str>, &str) {
    (&finding.finding.rule, finding.finding.subject.as_deref(), &finding.finding.title)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().ok().into_iter().flat_map(|items| items.iter())
}

fn finding(effect: PolicyEffect, found: &Value) -> Result<PolicyFinding, String> {
    let Ok(members) = found.as_object() else {
        return Err(
            "it holds something that is not an object. Write `{\"rule\": …, \"title\": …}`".to_owned()
        );
    };
    for (key, _) in members.iter() {
        if !key.as_string().is_ok_and(|key| MEMBERS.contains(&key.as_ref())) {
            let key: String = key.to_string().chars().take(60).collect();
            return Err(format!(
                "a finding has {key}, which is not known. It can have {}",
                MEMBERS.join(", ")
            ));
        }
    }
    let member = |name: &str| match &found[name] {
        Value::Undefined | Value::Null => Ok(None),
        Value::String(text) => Ok(Some(cut(text))),
        _ => Err(format!("`{name}` of a finding is not a text")),
    };
    let needed = |name: &str| {
        let text = member(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| format!("a finding has no `{name}`"))
    };
    let (rule, title, resource) = (needed("rule")?, needed("title")?, member("resource")?);
    let severity = match member("severity")?.as_deref() {
        None => match effect {
            PolicyEffect::Deny => Severity::High,
            PolicyEffect::Warn => Severity::Medium,
            PolicyEffect::Note => Severity::Low,
        },
        Some("low") => Severity::Low,
        Some("medium") => Severity::Medium,
        Some("high") => Severity::High,
        Some("critical") => Severity::Critical,
        Some(_) => return Err("`severity` is one of low, medium, high, critical".to_owned()),
    };
    // The resource and what is wrong with it, not where it stands: this outlives lines and files that move.
    let named = format!("infrastructure\0{rule}\0{}\0{title}", resource.as_deref().unwrap_or_default());
    Ok(PolicyFinding {
        effect,
        concern: concern(member("concern")?.as_deref())?,
        finding: Finding {
            fingerprint: Digest::of(named.as_bytes()),
            rule,
            title,
            severity,
            subject: resource,
            fix: member("fix")?,
            ..Finding::default()
        },
    })
}

fn concern(named: Option<&str>) -> Result<Concern, String> {
    match named {
        Some("public_data") => Ok(Concern::PublicData),
        Some("wildcard_privileges") => Ok(Concern::WildcardPrivileges),
        Some("tags") => Ok(Concern::Tags),
        Some("size") => Ok(Concern::Size),
        Some("encryption") => Ok(Concern::Encryption),
        None | Some("custom") => Ok(Concern::Custom),
        Some(_) => {
            Err("`concern` is one of public_data, wildcard_privileges, tags, size, encryption, custom"
                .to_owned())
        }
    }
}
