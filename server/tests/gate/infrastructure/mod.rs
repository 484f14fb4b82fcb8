//! Infrastructure: what is read from plans, and what the policy says of them.

mod custom;
mod hidden;
mod monotone;
mod plans;
mod rules_aws;
mod rules_aws_more;
mod rules_clouds;
mod sizes;

use rollout_rules::gate::facts::{Plan, PolicyEffect, PolicyFinding};
use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::infrastructure::{Limits, Policies, compile, read};

/// A plan that creates resources, each an address and its values.
fn plan_of(resources: &[(&str, Value)]) -> Plan {
    let bytes = plan_text(resources).to_string();
    read(Digest::of(bytes.as_bytes()), bytes.as_bytes()).expect("a plan")
}

fn plan_text(resources: &[(&str, Value)]) -> Value {
    let (mut planned, mut changes) = (Vec::new(), Vec::new());
    for (address, values) in resources {
        let mode = if address.starts_with("data.") { "data" } else { "managed" };
        let mut parts = address.trim_start_matches("data.").split('.');
        let (kind, name) = (parts.next().expect("a type"), parts.next().expect("a name"));
        planned.push(json!({
            "address": address, "mode": mode, "type": kind, "name": name, "values": values, "sensitive_values": {},
        }));
        changes.push(json!({
            "address": address, "mode": mode, "type": kind, "name": name,
            "change": {
                "actions": ["create"], "before": null, "after": values, "after_unknown": {"id": true},
                "after_sensitive": {},
            },
        }));
    }
    json!({
        "format_version": "1.2",
        "planned_values": { "root_module": { "resources": planned } },
        "resource_changes": changes,
        "complete": true,
    })
}

fn fixture(path: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/gate/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn limits(tier: u8) -> Limits {
    Limits {
        tier,
        max_vcpus: 2,
        required_tags: vec!["app".to_owned(), "owner".to_owned()],
        app: "discount".to_owned(),
        environment: "production".to_owned(),
    }
}

fn own_rules() -> Policies {
    compile(&[]).expect("our own rules")
}

/// Findings as `deny rule resource`.
fn said(findings: &[PolicyFinding]) -> Vec<String> {
    let one = |found: &PolicyFinding| {
        let effect = match found.effect {
            PolicyEffect::Deny => "deny",
            PolicyEffect::Warn => "warn",
            PolicyEffect::Note => "note",
        };
        format!("{effect} {} {}", found.finding.rule, found.finding.subject.as_deref().unwrap_or("-"))
    };
    let mut said: Vec<String> = findings.iter().map(one).collect();
    said.sort();
    said
}

/// Judges one resource after another, and says where something else was found than what is expected. What no table is
/// about, the size of machines and tags, is left to tables of its own.
fn check_table(table: &[(&str, Value, &[&str])]) {
    let policies = own_rules();
    for (address, values, expected) in table {
        let limits = Limits { max_vcpus: 10_000, required_tags: Vec::new(), ..limits(2) };
        let findings = policies.judge(&plan_of(&[(address, values.clone())]), &limits).expect("a judgement");
        let mut expected: Vec<String> = expected.iter().map(|rule| format!("{rule} {address}")).collect();
        expected.sort();
        assert_eq!(said(&findings), expected, "{address} with {values}");
        for found in &findings {
            let fix = found.finding.fix.as_deref().expect("a way to mend it");
            assert!(fix.ends_with('.') && found.finding.title.len() > 30, "{found:?}");
        }
    }
}
