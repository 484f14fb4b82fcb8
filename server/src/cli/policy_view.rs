//! A policy for people: what each tier asks, and what differs between two.

use std::collections::BTreeMap;
use std::fmt;

use rollout_rules::gate::policy::{CoveragePolicy, InfrastructurePolicy, Level, Reach, Role, TierPolicy};
use rollout_rules::time::DurationMs;
use serde_json::Value;

use crate::duration;

/// Longest value that is shown of a difference, in characters.
const MAX_VALUE_CHARS: usize = 80;

/// What a tier asks, a line each, in a fixed order.
pub(super) fn rows(tier: &TierPolicy) -> Vec<(&'static str, String)> {
    let infrastructure = &tier.infrastructure;
    vec![
        ("not asked with the pipeline's own token", level(tier.identity)),
        ("secrets", secrets(tier)),
        ("tests present", level(tier.tests_present)),
        ("tests pass", level(tier.tests_pass)),
        ("contract tests", level(tier.contract_tests)),
        ("coverage", coverage(&tier.coverage)),
        ("no coverage report", level(tier.coverage.missing)),
        ("code", level(tier.code)),
        ("infrastructure not looked at", level(infrastructure.missing)),
        ("public data", level(infrastructure.public_data)),
        ("data not encrypted", level(infrastructure.encryption)),
        ("tags", tags(infrastructure)),
        ("size", size(infrastructure)),
        ("other findings in infrastructure", level(infrastructure.findings)),
        ("no SBOM", level(tier.sbom.missing)),
        ("SBOM not signed", level(tier.sbom.unsigned)),
        ("licence unknown", level(tier.licences.unknown)),
        ("licence of strong copyleft", level(tier.licences.strong_copyleft)),
        ("vulnerability, critical", level(tier.vulnerabilities.critical)),
        ("vulnerability, high", level(tier.vulnerabilities.high)),
        ("vulnerabilities not looked for", level(tier.vulnerabilities.missing)),
        ("signature", level(tier.signature)),
        ("provenance", level(tier.provenance)),
        ("approvals", roles(&tier.approvers)),
        ("flags, by pipelines", reach(tier.flags.pipelines)),
        ("flags, by people", reach(tier.flags.people)),
        (
            "flags live",
            tier.flags.longest_life_ms.map_or("as the setting expiry.longest says".to_owned(), |life| {
                format!("{} at most", time(life))
            }),
        ),
        ("waivers", format!("{} at most, by {}", time(tier.waivers.longest_ms), role(tier.waivers.approver))),
        ("a decision stands", time(tier.decision_life_ms)),
    ]
}

fn level(level: Level) -> String {
    match level {
        Level::Off => "off",
        Level::Note => "note",
        Level::Warn => "warn",
        Level::Deny => "deny",
    }
    .to_owned()
}

fn secrets(tier: &TierPolicy) -> String {
    match tier.secrets.scanners {
        0 | 1 => level(tier.secrets.level),
        scanners => format!("{}, {scanners} scanners", level(tier.secrets.level)),
    }
}

fn coverage(coverage: &CoveragePolicy) -> String {
    let parts: Vec<String> = [("warn", coverage.warn_below_percent), ("deny", coverage.deny_below_percent)]
        .into_iter()
        .filter_map(|(word, below)| below.map(|below| format!("{word} < {below}%")))
        .collect();
    if parts.is_empty() { "off".to_owned() } else { parts.join(", ") }
}

fn tags(infrastructure: &InfrastructurePolicy) -> String {
    let asked = &infrastructure.required_tags;
    if asked.is_empty() {
        level(infrastructure.tags)
    } else {
        format!("{}: {}", level(infrastructure.tags), asked.join(", "))
    }
}

fn size(infrastructure: &InfrastructurePolicy) -> String {
    let by_app = if infrastructure.cap_by_app { ", or the app's own cap" } else { "" };
    format!("{} > {} vCPU{by_app}", level(infrastructure.size), infrastructure.max_vcpus)
}

fn role(role: Role) -> String {
    role.as_str().replace('_', " ")
}

fn roles(all: &[Role]) -> String {
    let names: Vec<String> = all.iter().map(|one| role(*one)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" and ") }
}

fn reach(reach: Reach) -> String {
    match reach {
        Reach::OneList => "one list of users".to_owned(),
        Reach::UpTo(cap) => format!("up to {cap}%"),
        Reach::Staged => "to 100%, in stages".to_owned(),
        Reach::Everyone => "to 100%".to_owned(),
    }
}

fn time(length: DurationMs) -> String {
    duration::exact(length)
}

/// A member that differs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// Where: `tiers.tier1.coverage.deny_below_percent`, `trust.keys[ci-2027].pem`.
    pub(super) field: String,
    /// What it is; None: it is not there.
    pub(super) before: Option<Value>,
    /// What it would be; None: it would not be there.
    pub(super) after: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {} -> {}", self.field, shown(before), shown(after)),
            (None, Some(after)) => write!(f, "{}: added, {}", self.field, shown(after)),
            (Some(before), None) => write!(f, "{}: gone, was {}", self.field, shown(before)),
            (None, None) => f.write_str(&self.field),
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut cut: String = text.chars().take(MAX_VALUE_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// What differs between two policies, by place.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let (mut one, mut other) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), before, &mut one);
    flatten(String::new(), after, &mut other);
    let mut fields: Vec<&String> = one.keys().chain(other.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
        .into_iter()
        .filter(|field| one.get(*field) != other.get(*field))
        .map(|field| Difference {
            field: field.clone(),
            before: one.get(field).cloned(),
            after: other.get(field).cloned(),
        })
        .collect()
}

/// The members of members, by path. Parts of lists that have a name go by it, so that one more in front moves none; lists of words are
/// one value.
fn flatten(path: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let joint = if path.is_empty() { "" } else { "." };
                flatten(format!("{path}{joint}{name}"), member, into);
            }
        }
        Value::Array(parts) if parts.iter().any(Value::is_object) => {
            for (nth, part) in parts.iter().enumerate() {
                let name = part["name"].as_str().map_or_else(|| nth.to_string(), str::to_owned);
                flatten(format!("{path}[{name}]"), part, into);
            }
        }
        Value::Array(parts) if parts.is_empty() => {}
        other => {
            into.insert(path, other.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::gate::policy::{Module, Policy};
    use serde_json::json;

    use super::*;

    fn lines(before: &Policy, after: &Policy) -> Vec<String> {
        differences(&json!(before), &json!(after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_is_told_by_its_place_with_what_it_was() {
        let before = Policy::default();
        assert!(lines(&before, &before).is_empty());
        let mut after = before.clone();
        after.tiers.tier1.coverage.deny_below_percent = Some(50);
        after.tiers.tier0.tests_pass = Level::Warn;
        after.tiers.tier2.approvers.pop();
        assert_eq!(
            lines(&before, &after),
            [
                "tiers.tier0.tests_pass: deny -> warn",
                "tiers.tier1.coverage.deny_below_percent: 40 -> 50",
                "tiers.tier2.approvers: [\"security\",\"business_owner\"] -> [\"security\"]",
            ]
        );
    }

    #[test]
    fn a_module_in_front_of_another_is_one_change() {
        let module = |name: &str| Module { name: name.to_owned(), text: "package a".to_owned() };
        let before = Policy { modules: vec![module("b.rego")], ..Policy::default() };
        let after = Policy { modules: vec![module("a.rego"), module("b.rego")], ..Policy::default() };
        let lines = lines(&before, &after);
        assert_eq!(lines, ["modules[a.rego].name: added, a.rego", "modules[a.rego].text: added, package a"]);
    }

    #[test]
    fn every_tier_is_told_in_the_same_lines() {
        let policy = Policy::default();
        let of = |tier: &TierPolicy, name: &str| {
            rows(tier).into_iter().find(|(row, _)| *row == name).map(|(_, asked)| asked).expect("a row")
        };
        assert_eq!(of(&policy.tiers.tier2, "secrets"), "deny, 2 scanners");
        assert_eq!(of(&policy.tiers.tier1, "coverage"), "warn < 60%, deny < 40%");
        assert_eq!(of(&policy.tiers.tier0, "coverage"), "off");
        assert_eq!(of(&policy.tiers.tier1, "tags"), "deny: app, owner");
        assert_eq!(of(&policy.tiers.tier2, "approvals"), "security and business owner");
        assert_eq!(of(&policy.tiers.tier0, "flags, by pipelines"), "one list of users");
        assert_eq!(of(&policy.tiers.tier2, "flags, by pipelines"), "to 100%, in stages");
        assert_eq!(of(&policy.tiers.tier0, "waivers"), "30d at most, by platform");
        let names = |tier: &TierPolicy| rows(tier).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&policy.tiers.tier0), names(&policy.tiers.tier2));
    }
}
