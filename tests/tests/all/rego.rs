//! Our policies of infrastructure do not hang on one interpreter of Rego: another, with which it shares nothing, finds the same.

use std::process::Command;

use rollout_rules::gate::facts::Plan;
use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::infrastructure::{Limits, compile, read, shipped};
use tidegate_tests::discount::fixtures;
use tidegate_tests::prerequisites::repository;

/// A plan that creates resources, each an address and its values.
fn plan_of(resources: &[(&str, Value)]) -> Plan {
    let (mut planned, mut changes) = (Vec::new(), Vec::new());
    for (address, values) in resources {
        let (kind, name) = address.split_once('.').expect("a type and a name");
        planned.push(json!({
            "address": address, "mode": "managed", "type": kind, "name": name, "values": values, "sensitive_values": {},
        }));
        let change = json!({
            "actions": ["create"], "before": null, "after": values, "after_unknown": {"id": true}, "after_sensitive": {},
        });
        changes.push(json!({
            "address": address, "mode": "managed", "type": kind, "name": name, "change": change,
        }));
    }
    let root = json!({ "root_module": { "resources": planned } });
    let plan = json!({
        "format_version": "1.2", "planned_values": root, "resource_changes": changes, "complete": true,
    });
    read(Digest([0; 32]), plan.to_string().as_bytes()).expect("a plan")
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

fn plans() -> Vec<Plan> {
    let read = |path: &str| {
        let bytes = std::fs::read(fixtures().join(path)).expect("a plan of the fixtures");
        read(Digest([0; 32]), &bytes).expect("a plan")
    };
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

/// The same in other words, and what a plan hides.
fn more_plans() -> Vec<Plan> {
    let policy = |statement: Value| json!({ "policy": json!({ "Statement": statement }).to_string() });
    let allowed = |action: &str, resource: &str| {
        policy(json!({ "Effect": "Allow", "Action": [action], "Resource": resource }))
    };
    let opened = |conditions: Value| {
        policy(json!({ "Effect": "Allow", "NotPrincipal": { "AWS": "x" }, "Action": "*", "Resource": "*",
            "Condition": conditions }))
    };
    let machine = |name: &str| json!([{ "machine_type": name }]);
    vec![
        plan_of(&[
            ("aws_iam_policy.a", allowed("iam:?*", "arn:aws:iam::*:*")),
            ("aws_iam_policy.b", allowed("s3:**", "arn:aws:s3:::*")),
            ("aws_iam_policy.c", allowed("logs:*", "*")),
            ("aws_iam_policy.d", allowed("iam:PassRole", "*")),
            ("aws_iam_policy.e", policy(json!({ "NotAction": "iam:*", "Resource": "*" }))),
            ("aws_sns_topic_policy.a", opened(json!({ "Bool": { "aws:SecureTransport": "true" } }))),
            ("aws_sns_topic_policy.b", opened(json!({ "IpAddress": { "aws:SourceIp": ["192.0.2.0/24"] } }))),
            ("aws_sns_topic_policy.c", opened(json!({ "IpAddress": { "aws:SourceIp": ["0.0.0.0/1"] } }))),
            ("aws_lambda_permission.p", json!({ "principal": "*" })),
            ("aws_batch_compute_environment.b", json!({ "compute_resources": [{ "max_vcpus": 100 }] })),
            ("aws_ecs_task_definition.t", json!({ "cpu": "2 vCPU" })),
            ("aws_ecs_service.s", json!({ "desired_count": 4 })),
            ("helm_release.h", json!({})),
        ]),
        plan_of(&[
            (
                "google_container_cluster.c",
                json!({ "location": "europe-west1", "node_pool": [{ "node_count": 2, "node_config": machine("e2-custom-8-4096") }] }),
            ),
            (
                "google_container_node_pool.n",
                json!({ "location": "europe-west1", "node_count": 1, "autoscaling": [{ "total_max_node_count": 9 }],
                    "node_config": machine("e2-small") }),
            ),
            ("google_compute_autoscaler.a", json!({ "autoscaling_policy": [{ "max_replicas": 7 }] })),
            (
                "google_storage_bucket_iam_policy.p",
                json!({ "policy_data": "{\"bindings\":[{\"role\":\"r\",\"members\":[\"allUsers\"]}]}" }),
            ),
            (
                "azurerm_role_definition.r",
                json!({ "permissions": [{ "actions": ["*/write"], "not_actions": [] }] }),
            ),
            (
                "azurerm_role_definition.s",
                json!({ "permissions": [{ "actions": ["*"], "not_actions": ["*"] }] }),
            ),
            (
                "azurerm_synapse_firewall_rule.f",
                json!({ "start_ip_address": "0.0.0.0", "end_ip_address": "63.0.0.0" }),
            ),
            ("azurerm_mssql_database.d", json!({ "sku_name": "GP_Gen5_4" })),
            ("azurerm_linux_virtual_machine.v", json!({ "size": "Standard_A4" })),
        ]),
        hiding(),
    ]
}

/// Values that are marked as secret or not known yet, without a configuration to look them up in.
fn hiding() -> Plan {
    let kinds = ["aws_s3_bucket_acl", "aws_iam_policy", "aws_s3_bucket_policy", "google_project_iam_member"];
    let (mut planned, mut changes) = (Vec::new(), Vec::new());
    for kind in kinds {
        for (name, member) in [("secret", "after_sensitive"), ("later", "after_unknown")] {
            let address = format!("{kind}.{name}");
            let mut change = json!({ "actions": ["create"], "after": { "name": "x" } });
            change[member] = json!({ "acl": true, "policy": true, "role": true });
            let resource = json!({ "address": address, "mode": "managed", "type": kind, "name": name });
            let mut here = resource.clone();
            here["values"] = json!({ "name": "x" });
            planned.push(here);
            let mut there = resource;
            there["change"] = change;
            changes.push(there);
        }
    }
    let root = json!({ "root_module": { "resources": planned } });
    let plan = json!({
        "format_version": "1.2", "planned_values": root, "resource_changes": changes, "complete": true,
    });
    read(Digest([0; 32]), plan.to_string().as_bytes()).expect("a plan")
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
#[cfg_attr(not(has_gate_clients), ignore = "needs the clients of the gate: make clients")]
fn another_interpreter_of_rego_finds_the_same() {
    let (policies, mut cases) = (compile(&[]).expect("our own rules"), Vec::new());
    for plan in plans().into_iter().chain(more_plans()) {
        for tier in 0..=2 {
            let limits = limits(tier);
            let findings = policies.judge(&plan, &limits).expect("a judgement");
            cases.push(json!({ "input": input(&plan, &limits), "expected": findings }));
        }
    }
    let found = |case: &Value| case["expected"].as_array().map_or(0, Vec::len);
    assert!(cases.iter().filter(|case| found(case) > 5).count() >= 12, "the cases say much");
    let modules: Vec<Value> =
        shipped().iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
    assert_eq!(modules.len(), 14);
    assert!(same(&json!({ "modules": modules, "cases": cases })), "it finds something else");

    // It would be noticed if it did.
    cases[3]["expected"].as_array_mut().expect("findings").pop();
    assert!(!same(&json!({ "modules": modules, "cases": cases })), "it finds one more, and nobody says so");
}

/// Whether the other interpreter finds what is expected; what it does not is printed.
fn same(cases: &Value) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cases.json");
    std::fs::write(&file, cases.to_string()).expect("a file");
    let ended = Command::new(repository().join("target/clients/gate/bin/python"))
        .arg(repository().join("tests/clients/rego/compare.py"))
        .arg(&file)
        .output()
        .expect("python runs");
    println!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    ended.status.success()
}
