//! Plans of Terraform, and what the policy in Rego says of them.

use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::infrastructure::{Limits, compile, read};

use super::{features, fixture, short, words};
use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::tree;

const TOKENS: &[&str] = &[
    "\"cidr_blocks\":[\"0.0.0.0/0\"]",
    "\"acl\":\"public-read\"",
    "\"instance_type\":\"m5.24xlarge\"",
    "\"policy\":\"{\\\"Statement\\\":[{\\\"Effect\\\":\\\"Allow\\\",\\\"Action\\\":\\\"*\\\",\\\"Resource\\\":\\\"*\\\"}]}\"",
    "\"actions\":[\"delete\"]",
    "\"after_unknown\":{\"tags\":true}",
    "\"count\":1e9",
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e308",
];

/// A plan with one resource.
fn plan_of(kind: &str, values: &Value) -> Vec<u8> {
    let address = format!("{kind}.one");
    json!({
        "format_version": "1.2",
        "planned_values": {"root_module": {"resources": [
            {"address": address, "mode": "managed", "type": kind, "name": "one", "values": values},
        ]}},
        "resource_changes": [
            {"address": address, "mode": "managed", "type": kind, "name": "one",
             "change": {"actions": ["create"], "before": null, "after": values, "after_unknown": {"id": true}}},
        ],
        "complete": true,
    })
    .to_string()
    .into()
}

fn golden() -> Vec<Vec<u8>> {
    let wild = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": "*"}]});
    let rule = json!({"from_port": 0, "to_port": 65535, "protocol": "-1", "cidr_blocks": ["0.0.0.0/0"], "ipv6_cidr_blocks": ["::/0"]});
    let kinds = [
        ("aws_s3_bucket_acl", json!({"acl": "public-read", "bucket": "b"})),
        ("aws_s3_bucket_public_access_block", json!({"block_public_acls": false, "bucket": "b"})),
        ("aws_s3_bucket_policy", json!({"bucket": "b", "policy": wild.to_string()})),
        ("aws_iam_policy", json!({"policy": wild.to_string()})),
        ("aws_security_group", json!({"ingress": [rule], "tags": {"app": "a"}})),
        ("aws_instance", json!({"instance_type": "m5.4xlarge", "tags": {"app": "a", "owner": "o"}})),
        (
            "aws_db_instance",
            json!({"publicly_accessible": true, "storage_encrypted": false, "instance_class": "db.r5.large"}),
        ),
        (
            "google_storage_bucket_iam_member",
            json!({"member": "allUsers", "role": "roles/storage.objectViewer"}),
        ),
        ("google_compute_instance", json!({"machine_type": "n2-standard-8", "labels": {"app": "a"}})),
        ("azurerm_storage_account", json!({"allow_nested_items_to_be_public": true})),
        ("azurerm_linux_virtual_machine", json!({"size": "Standard_D8s_v3"})),
    ];
    let own = kinds.iter().map(|(kind, values)| plan_of(kind, values));
    let files =
        ["clean/evidence/tfplan.json", "faulty/evidence/tfplan.json"].map(|path| short(fixture(path)));
    own.chain(files).collect()
}

#[test]
fn whatever_a_plan_says_the_policy_comes_to_a_verdict_and_always_to_the_same() {
    let policies = compile(&[]).expect("our own policy");
    let limits = |tier| Limits {
        tier,
        max_vcpus: 2,
        required_tags: vec!["app".to_owned(), "owner".to_owned()],
        app: "discount".to_owned(),
        environment: "production".to_owned(),
    };
    let read = |bytes: &[u8]| {
        let plan = match read(Digest::of(bytes), bytes) {
            Ok(plan) => plan,
            Err(problem) => return Outcome::Refused(format!("{:?} {}", problem.code, problem.detail)),
        };
        let tier = u8::try_from(bytes.len() % 3).expect("a tier");
        let found = policies.judge(&plan, &limits(tier)).expect("a plan that was read is judged");
        if bytes.len().is_multiple_of(8) {
            assert_eq!(policies.judge(&plan, &limits(tier)), Ok(found.clone()), "the verdict");
        }
        let mut features = features("plan", &plan);
        features.extend(found.iter().map(|it| format!("{:?} {}", it.effect, it.finding.rule)));
        Outcome::Taken(features)
    };
    let golden = golden();
    let words = words(&golden);
    let restructure =
        |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| tree::step(bytes, other, &words, chance);
    Target { name: "plan", golden, tokens: TOKENS, restructure: &restructure, inputs: 600, read: &read }
        .run();
}
