//! Our policies do not hang on one interpreter: what they say of some plans is written down for another to say the same.

use std::fmt::Write as _;

use rollout_rules::gate::facts::Plan;
use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::infrastructure::{Limits, read, shipped};

use super::{fixture, limits, own_rules, plan_of};

/// Where the cases are written, for `tests/clients/rego/compare.py`; only if it is set.
const WRITE_TO: &str = "TIDEGATE_REGO_CASES";

fn plans() -> Vec<Plan> {
    let read = |path: &str| read(Digest([0; 32]), &fixture(path)).expect("a plan");
    let statement =
        json!({ "Effect": "Allow", "Action": ["s3:*", "*"], "Resource": "*", "Principal": { "AWS": "*" } });
    let policy =
        json!({ "policy": json!({ "Statement": statement }).to_string(), "tags_all": { "App": "a" } });
    vec![
        read("clean/evidence/tfplan.json"),
        read("faulty/evidence/tfplan.json"),
        plan_of(&[]),
        plan_of(&[
            ("aws_s3_bucket_policy.p", policy),
            (
                "aws_iam_role.r",
                json!({ "assume_role_policy": "no json", "managed_policy_arns": ["arn:aws:iam::aws:policy/AdministratorAccess"] }),
            ),
            ("aws_autoscaling_group.g", json!({ "max_size": 3, "tag": [{ "key": "owner", "value": "x" }] })),
            ("aws_launch_template.t", json!({ "instance_type": "m5.4xlarge" })),
            (
                "aws_rds_cluster.c",
                json!({ "storage_encrypted": null, "serverlessv2_scaling_configuration": [{ "max_capacity": 17 }] }),
            ),
            (
                "aws_eks_node_group.n",
                json!({ "instance_types": ["t3.large"], "scaling_config": [{ "max_size": 2 }] }),
            ),
            (
                "aws_instance.i",
                json!({ "instance_type": "unheard-of", "root_block_device": [{ "encrypted": false }] }),
            ),
            (
                "aws_security_group.g",
                json!({ "ingress": [{ "from_port": 0, "to_port": 6000, "protocol": "tcp", "cidr_blocks": ["0.0.0.0/1"] }] }),
            ),
        ]),
        plan_of(&[
            (
                "google_compute_firewall.f",
                json!({ "source_ranges": ["::/0"], "allow": [{ "protocol": "all", "ports": null }] }),
            ),
            (
                "google_project_iam_policy.p",
                json!({ "policy_data": "{\"bindings\":[{\"role\":\"roles/owner\"},{\"role\":\"roles/editor\"}]}" }),
            ),
            (
                "google_storage_bucket_iam_binding.b",
                json!({ "role": "roles/storage.admin", "members": ["allUsers"] }),
            ),
            (
                "google_container_node_pool.n",
                json!({ "node_count": 2, "autoscaling": [], "node_config": [{ "machine_type": "n2-custom-6-20480" }] }),
            ),
            (
                "google_compute_instance.i",
                json!({ "machine_type": "a2-highgpu-1g", "labels": { "app": "x" } }),
            ),
        ]),
        plan_of(&[
            (
                "azurerm_role_assignment.r",
                json!({ "role_definition_name": "Owner", "scope": "/subscriptions/1" }),
            ),
            ("azurerm_role_assignment.s", json!({ "role_definition_name": "Owner" })),
            (
                "azurerm_mssql_firewall_rule.f",
                json!({ "start_ip_address": "0.0.0.0", "end_ip_address": "255.255.255.255" }),
            ),
            (
                "azurerm_network_security_rule.n",
                json!({ "direction": "Inbound", "access": "Allow", "protocol": "*",
                "source_address_prefix": "*", "destination_port_range": "1000-4000" }),
            ),
            ("azurerm_linux_virtual_machine.v", json!({ "size": "Standard_DS4_v2", "tags": {} })),
            (
                "azurerm_kubernetes_cluster.k",
                json!({ "default_node_pool": [{ "vm_size": "Standard_D4s_v3", "node_count": 3 }] }),
            ),
        ]),
    ]
}

fn input(plan: &Plan, limits: &Limits) -> Value {
    let mut input = plan.input.clone();
    input["app"] = json!(limits.app);
    input["environment"] = json!(limits.environment);
    input["tier"] = json!(limits.tier);
    input["limits"] = json!({ "max_vcpus": limits.max_vcpus, "required_tags": limits.required_tags });
    input
}

#[test]
fn what_our_policies_say_is_written_down_for_another_interpreter() {
    let (policies, mut cases) = (own_rules(), Vec::new());
    for plan in plans() {
        for tier in 0..=2 {
            let limits = limits(tier);
            let findings = policies.judge(&plan, &limits).expect("a judgement");
            cases.push(json!({ "input": input(&plan, &limits), "expected": findings }));
        }
    }
    let found = |case: &Value| case["expected"].as_array().map_or(0, Vec::len);
    assert!(cases.iter().filter(|case| found(case) > 5).count() >= 12, "the cases say much");
    let mut packages = String::new();
    for (_, text) in shipped() {
        let line = text.lines().find(|line| line.starts_with("package ")).expect("a package");
        writeln!(packages, "{line}").expect("a text");
    }
    assert_eq!(packages.lines().count(), 10);
    if let Some(path) = std::env::var_os(WRITE_TO) {
        let modules: Vec<Value> =
            shipped().iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
        let text = json!({ "modules": modules, "cases": cases }).to_string();
        std::fs::write(path, text).expect("the cases are written");
    }
}
