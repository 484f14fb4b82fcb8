//! More resources never make a plan better.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rollout_rules::gate::facts::PolicyEffect;
use serde_json::{Value, json};

use super::{limits, own_rules, plan_of};

/// Resources of every package of our rules, good and bad.
fn pool() -> Vec<(&'static str, Value)> {
    let policy = |action: &str| {
        let statement = json!({ "Effect": "Allow", "Action": action, "Resource": "*", "Principal": "*" });
        json!({ "policy": json!({ "Statement": [statement] }).to_string(), "tags": null })
    };
    vec![
        ("aws_s3_bucket.a", json!({ "bucket": "a", "tags": null })),
        ("aws_s3_bucket.b", json!({ "bucket": "b", "tags": { "app": "a", "owner": "b" } })),
        ("aws_s3_bucket_acl.a", json!({ "acl": "public-read" })),
        ("aws_s3_bucket_acl.b", json!({ "acl": "private" })),
        ("aws_s3_bucket_policy.a", policy("s3:GetObject")),
        ("aws_s3_bucket_public_access_block.a", json!({ "block_public_acls": false })),
        (
            "aws_s3_bucket_public_access_block.b",
            json!({ "block_public_acls": true, "block_public_policy": true,
            "ignore_public_acls": true, "restrict_public_buckets": true }),
        ),
        ("aws_iam_policy.a", policy("*")),
        ("aws_iam_policy.b", policy("s3:*")),
        ("aws_instance.a", json!({ "instance_type": "t3.micro", "tags": null })),
        ("aws_instance.b", json!({ "instance_type": "unheard-of" })),
        ("aws_db_instance.a", json!({ "instance_class": "db.r5.2xlarge", "publicly_accessible": true })),
        ("aws_autoscaling_group.a", json!({ "max_size": 4, "tag": [] })),
        ("aws_launch_template.a", json!({ "instance_type": "t2.micro" })),
        ("aws_launch_template.b", json!({ "instance_type": "unheard-of" })),
        ("aws_security_group.a", json!({ "ingress": [{ "protocol": "-1", "cidr_blocks": ["0.0.0.0/0"] }] })),
        ("google_compute_instance.a", json!({ "machine_type": "e2-micro", "labels": null })),
        ("google_compute_instance_group_manager.a", json!({ "target_size": 1 })),
        ("google_compute_instance_template.a", json!({ "machine_type": "f1-micro" })),
        ("google_project_iam_member.a", json!({ "role": "roles/owner", "member": "allUsers" })),
        (
            "azurerm_role_assignment.a",
            json!({ "role_definition_name": "Owner", "scope": "/subscriptions/1" }),
        ),
        ("azurerm_storage_container.a", json!({ "container_access_type": "blob" })),
        ("unheard_of.a", json!({ "tags": {}, "policy": 7, "ingress": "x" })),
    ]
}

fn denials(resources: &[(&str, Value)], tier: u8) -> BTreeSet<(String, Option<String>)> {
    thread_local!(static RULES: tidegate::gate::infrastructure::Policies = own_rules());
    let findings = RULES.with(|rules| rules.judge(&plan_of(resources), &limits(tier))).expect("a judgement");
    let denied = findings.into_iter().filter(|found| found.effect == PolicyEffect::Deny);
    denied.map(|found| (found.finding.rule, found.finding.subject)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn one_more_resource_never_takes_a_denial_away(
        picked in proptest::sample::subsequence((0..pool().len()).collect::<Vec<_>>(), 0..12),
        more in 0..pool().len(),
        tier in 0..=2u8,
    ) {
        let pool = pool();
        let mut resources: Vec<_> = picked.iter().filter(|at| **at != more).map(|at| pool[*at].clone()).collect();
        let before = denials(&resources, tier);
        resources.insert(resources.len() / 2, pool[more].clone());
        let after = denials(&resources, tier);
        prop_assert!(before.is_subset(&after), "{before:?} and then {after:?}");
    }
}
