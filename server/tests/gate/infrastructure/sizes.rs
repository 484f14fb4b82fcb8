//! How large machines are, and which tags resources have.

use serde_json::{Value, json};
use tidegate::gate::infrastructure::Limits;

use super::{limits, own_rules, plan_of, said};

/// How many virtual CPUs are counted for resources: the smallest cap under which there is no word of the size.
fn vcpus(resources: &[(&str, Value)]) -> Result<u32, String> {
    let (policies, plan) = (own_rules(), plan_of(resources));
    let limits = |max_vcpus| Limits { max_vcpus, required_tags: Vec::new(), ..limits(0) };
    let findings = policies.judge(&plan, &limits(0)).expect("a judgement");
    if let Some(unknown) = findings.iter().find(|found| found.finding.rule == "size-unknown") {
        return Err(unknown.finding.title.clone());
    }
    let Some(cap) = findings.iter().find(|found| found.finding.rule == "size-cap") else { return Ok(0) };
    let counted = cap.finding.title.split(' ').find_map(|word| word.parse().ok()).expect("a number");
    let under = policies.judge(&plan, &limits(counted)).expect("a judgement");
    assert!(!under.iter().any(|found| found.finding.rule == "size-cap"), "{counted} is enough for {counted}");
    Ok(counted)
}

#[test]
fn the_size_of_a_machine_follows_from_the_name_of_its_type() {
    let table = [
        ("aws_instance.a", "instance_type", "t2.micro", 1),
        ("aws_instance.a", "instance_type", "t2.medium", 2),
        ("aws_instance.a", "instance_type", "t3.nano", 2),
        ("aws_instance.a", "instance_type", "t4g.xlarge", 4),
        ("aws_instance.a", "instance_type", "m6g.medium", 1),
        ("aws_instance.a", "instance_type", "m5.large", 2),
        ("aws_instance.a", "instance_type", "c7i.24xlarge", 96),
        ("aws_instance.a", "instance_type", "m5.metal", 192),
        ("aws_instance.a", "instance_type", "c7i.metal-24xl", 96),
        ("aws_db_instance.a", "instance_class", "db.r5.2xlarge", 8),
        ("aws_db_instance.a", "instance_class", "db.t2.micro", 1),
        ("aws_elasticache_cluster.a", "node_type", "cache.t3.micro", 2),
        ("google_compute_instance.a", "machine_type", "e2-micro", 2),
        ("google_compute_instance.a", "machine_type", "n1-standard-4", 4),
        ("google_compute_instance.a", "machine_type", "n2-custom-6-20480", 6),
        ("google_compute_instance.a", "machine_type", "c3-standard-22-lssd", 22),
        ("google_compute_instance.a", "machine_type", "a2-highgpu-2g", 52),
        ("azurerm_linux_virtual_machine.a", "size", "Standard_B1ms", 1),
        ("azurerm_linux_virtual_machine.a", "size", "Standard_D2s_v3", 2),
        ("azurerm_linux_virtual_machine.a", "size", "Standard_DS3_v2", 8 / 2),
        ("azurerm_linux_virtual_machine.a", "size", "Standard_NC24ads_A100_v4", 24),
        ("azurerm_postgresql_flexible_server.a", "sku_name", "GP_Standard_D4s_v3", 4),
        ("azurerm_service_plan.a", "sku_name", "P1v3", 2),
        ("azurerm_service_plan.a", "sku_name", "P1v4", 2),
        ("azurerm_service_plan.a", "sku_name", "FC1", 0),
        ("google_compute_instance.a", "machine_type", "e2-custom-32-65536", 32),
        ("google_compute_instance.a", "machine_type", "e2-custom-medium-2048", 2),
        ("azurerm_linux_virtual_machine.a", "size", "Standard_A4", 8),
        ("azurerm_linux_virtual_machine.a", "size", "Standard_A4_v2", 4),
        ("azurerm_linux_virtual_machine.a", "size", "Standard_G5", 32),
        ("azurerm_mssql_database.a", "sku_name", "BC_Gen5_128", 128),
        ("azurerm_mssql_database.a", "sku_name", "S0", 1),
        ("aws_dms_replication_instance.a", "replication_instance_class", "dms.t3.medium", 2),
        ("aws_ecs_task_definition.a", "cpu", "16 vCPU", 16),
    ];
    for (address, attribute, name, expected) in table {
        assert_eq!(vcpus(&[(address, json!({ attribute: name }))]), Ok(expected), "{name}");
    }
}

#[test]
fn machines_add_up_with_how_many_there_are_of_them() {
    let micro = json!({ "instance_type": "t3.micro" });
    assert_eq!(vcpus(&[("aws_instance.a", micro.clone()), ("aws_instance.b", micro.clone())]), Ok(4));
    assert_eq!(
        vcpus(&[("aws_db_instance.a", json!({ "instance_class": "db.t3.micro", "multi_az": true }))]),
        Ok(4)
    );
    let nodes = json!({ "instance_types": ["t3.large", "t3.xlarge"], "scaling_config": [{ "max_size": 3, "min_size": 1 }] });
    assert_eq!(vcpus(&[("aws_eks_node_group.a", nodes)]), Ok(12), "the larger of two types, three times");
    let pool = json!({ "node_count": 1, "autoscaling": [{ "max_node_count": 5 }], "node_config": [{ "machine_type": "e2-standard-2" }] });
    assert_eq!(vcpus(&[("google_container_node_pool.a", pool)]), Ok(10));
    let group = ("aws_autoscaling_group.a", json!({ "max_size": 3 }));
    assert_eq!(vcpus(std::slice::from_ref(&group)), Ok(6), "two for each whose size is not seen");
    let template = ("aws_launch_template.a", json!({ "instance_type": "m5.xlarge" }));
    assert_eq!(vcpus(&[group, template]), Ok(12));
    assert_eq!(vcpus(&[("aws_s3_bucket.a", json!({}))]), Ok(0));
}

#[test]
fn clusters_fleets_and_services_count_with_all_that_they_may_run() {
    let pool = |count: u32, machine: &str| json!({ "node_count": count, "node_config": [{ "machine_type": machine }] });
    let cluster = json!({ "node_pool": [pool(50, "n2-standard-80")], "location": "europe-west1-b" });
    assert_eq!(vcpus(&[("google_container_cluster.a", cluster)]), Ok(4_000));
    let bare =
        json!({ "initial_node_count": 1, "remove_default_node_pool": true, "location": "europe-west1" });
    assert_eq!(vcpus(&[("google_container_cluster.a", bare)]), Ok(0));
    let mut regional = pool(1, "e2-small");
    regional["location"] = json!("europe-west1");
    assert_eq!(vcpus(&[("google_container_node_pool.a", regional)]), Ok(6), "in three zones");
    let scaler = json!({ "autoscaling_policy": [{ "max_replicas": 100 }] });
    let template = ("google_compute_instance_template.t", json!({ "machine_type": "e2-small" }));
    let group = ("google_compute_instance_group_manager.m", json!({}));
    assert_eq!(vcpus(&[template, group, ("google_compute_autoscaler.a", scaler)]), Ok(200));
    let task = ("aws_ecs_task_definition.t", json!({ "cpu": "1024" }));
    assert_eq!(vcpus(&[task, ("aws_ecs_service.s", json!({ "desired_count": 100 }))]), Ok(100));
    let fleet =
        json!({ "target_capacity": 10, "launch_specification": [{ "instance_type": "m5.24xlarge" }] });
    assert_eq!(vcpus(&[("aws_spot_fleet_request.f", fleet)]), Ok(960));
    let batch = json!({ "compute_resources": [{ "max_vcpus": 10_000 }] });
    assert_eq!(vcpus(&[("aws_batch_compute_environment.b", batch)]), Ok(10_000));
    let containers = json!({ "container": [{ "cpu": 1.5 }, { "cpu": 1 }] });
    assert_eq!(vcpus(&[("azurerm_container_group.c", containers)]), Ok(3));
}

#[test]
fn what_is_only_read_is_not_counted() {
    assert_eq!(vcpus(&[("data.aws_instance.a", json!({})), ("data.aws_db_instance.b", json!({}))]), Ok(0));
}

#[test]
fn a_machine_of_unknown_size_is_denied() {
    for name in ["t3.gigantic", "", "x"] {
        let why = vcpus(&[("aws_instance.a", json!({ "instance_type": name }))]).expect_err("unknown");
        assert!(why.contains("is not known"), "{why}");
    }
    assert!(vcpus(&[("google_compute_instance.a", json!({ "machine_type": null }))]).is_err());
    assert!(vcpus(&[("azurerm_linux_virtual_machine.a", json!({}))]).is_err());
}

#[test]
fn resources_that_can_have_tags_have_those_that_are_required() {
    let tagged = json!({ "app": "discount", "owner": "sales" });
    let cases: [(&str, Value, bool); 11] = [
        ("aws_s3_bucket.a", json!({ "tags": null }), true),
        ("aws_s3_bucket.a", json!({ "tags": tagged }), false),
        ("aws_s3_bucket.a", json!({ "tags": { "App": "discount", "Owner": "sales" } }), false),
        ("aws_s3_bucket.a", json!({ "tags": { "app": "discount", "owner": " " } }), true),
        ("aws_s3_bucket.a", json!({ "tags": null, "tags_all": tagged }), false),
        ("aws_s3_bucket_acl.a", json!({ "acl": "private" }), false),
        ("google_storage_bucket.a", json!({ "labels": tagged }), false),
        ("google_storage_bucket.a", json!({ "labels": null }), true),
        ("google_compute_network.a", json!({ "tags": ["web"] }), false),
        ("azurerm_storage_account.a", json!({ "tags": { "app": "discount" } }), true),
        ("data.aws_s3_bucket.a", json!({ "tags": null }), false),
    ];
    let policies = own_rules();
    for (address, values, missing) in cases {
        let plan = plan_of(&[(address, values.clone())]);
        for (tier, effect) in [(0, "note"), (1, "deny"), (2, "deny")] {
            let findings = said(&policies.judge(&plan, &limits(tier)).expect("a judgement"));
            let expected =
                if missing { vec![format!("{effect} tags-missing {address}")] } else { Vec::new() };
            assert_eq!(findings, expected, "{address} with {values} in tier {tier}");
        }
    }
}
