//! What our own rules say of resources on Google Cloud and Azure.

use serde_json::{Value, json};

use super::check_table;

#[test]
fn data_on_google_cloud_that_everybody_can_read_is_denied() {
    let sql = |network: &str| {
        json!({ "settings": [{ "tier": "db-f1-micro",
            "ip_configuration": [{ "authorized_networks": [{ "value": network }] }] }] })
    };
    check_table(&[
        (
            "google_storage_bucket_iam_member.m",
            json!({ "role": "roles/storage.objectViewer", "member": "allUsers" }),
            &["deny members-public"],
        ),
        (
            "google_storage_bucket_iam_member.m",
            json!({ "role": "roles/storage.objectViewer", "member": "user:a@b.c" }),
            &[],
        ),
        (
            "google_storage_bucket_iam_binding.m",
            json!({ "role": "roles/storage.objectViewer", "members": ["user:a@b.c", "allAuthenticatedUsers"] }),
            &["deny members-public"],
        ),
        (
            "google_cloud_run_service_iam_member.m",
            json!({ "role": "roles/run.invoker", "member": "allUsers" }),
            &["warn service-public"],
        ),
        (
            "google_storage_bucket_acl.a",
            json!({ "predefined_acl": "publicRead" }),
            &["deny bucket-acl-public"],
        ),
        (
            "google_storage_bucket_acl.a",
            json!({ "role_entity": ["READER:allUsers"] }),
            &["deny bucket-acl-public"],
        ),
        ("google_storage_bucket_acl.a", json!({ "role_entity": ["READER:user-a@b.c"] }), &[]),
        (
            "google_storage_bucket_access_control.a",
            json!({ "entity": "allUsers" }),
            &["deny bucket-acl-public"],
        ),
        (
            "google_bigquery_dataset.d",
            json!({ "access": [{ "special_group": "allAuthenticatedUsers" }] }),
            &["deny dataset-public"],
        ),
        ("google_sql_database_instance.d", sql("0.0.0.0/0"), &["deny database-public"]),
        ("google_sql_database_instance.d", sql("192.0.2.0/24"), &[]),
    ]);
}

#[test]
fn data_on_azure_that_everybody_can_read_is_denied() {
    let firewall = |from: &str, to: &str| json!({ "start_ip_address": from, "end_ip_address": to });
    check_table(&[
        (
            "azurerm_storage_container.c",
            json!({ "container_access_type": "blob" }),
            &["deny container-public"],
        ),
        ("azurerm_storage_container.c", json!({ "container_access_type": "private" }), &[]),
        (
            "azurerm_storage_account.a",
            json!({ "allow_nested_items_to_be_public": true }),
            &["warn storage-may-be-public"],
        ),
        ("azurerm_storage_account.a", json!({ "allow_nested_items_to_be_public": false }), &[]),
        ("azurerm_mssql_firewall_rule.f", firewall("0.0.0.0", "255.255.255.255"), &["deny database-public"]),
        ("azurerm_mssql_firewall_rule.f", firewall("0.0.0.0", "0.0.0.0"), &[]),
        ("azurerm_mssql_firewall_rule.f", firewall("192.0.2.1", "192.0.2.9"), &[]),
    ]);
}

#[test]
fn rights_to_everything_on_google_cloud_and_azure_are_denied() {
    let whole = "/subscriptions/00000000-0000-0000-0000-000000000000";
    let group = format!("{whole}/resourceGroups/shop");
    let role = |name: &str, scope: &str| json!({ "role_definition_name": name, "scope": scope });
    let everything = &["deny privileges-wildcard"];
    let wide = &["warn privileges-wide"];
    let most = &["deny privileges-wide"];
    check_table(&[
        ("google_project_iam_member.m", json!({ "role": "roles/owner", "member": "user:a@b.c" }), everything),
        ("google_project_iam_binding.m", json!({ "role": "roles/editor", "members": ["user:a@b.c"] }), most),
        (
            "google_project_iam_member.m",
            json!({ "role": "roles/storage.objectViewer", "member": "user:a@b.c" }),
            &[],
        ),
        (
            "google_project_iam_policy.m",
            json!({ "policy_data": json!({ "bindings": [{ "role": "roles/owner", "members": ["user:a@b.c"] }] }).to_string() }),
            everything,
        ),
        ("azurerm_role_assignment.r", role("Owner", whole), everything),
        ("azurerm_role_assignment.r", role("Owner", &group), wide),
        ("azurerm_role_assignment.r", role("Contributor", whole), most),
        (
            "azurerm_role_assignment.r",
            role("Owner", "/providers/Microsoft.Management/managementGroups/all"),
            everything,
        ),
        ("azurerm_role_assignment.r", role("Storage Blob Data Reader", whole), &[]),
        ("azurerm_role_definition.r", json!({ "permissions": [{ "actions": ["*"] }] }), everything),
        (
            "azurerm_role_definition.r",
            json!({ "permissions": [{ "actions": ["Microsoft.Storage/*/read"] }] }),
            &[],
        ),
    ]);
}

#[test]
fn rights_to_everything_by_other_names_are_denied_too() {
    let whole = "/subscriptions/00000000-0000-0000-0000-000000000000";
    let owner = format!(
        "{whole}/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
    );
    let by_number = |scope: &str| json!({ "role_definition_id": owner, "scope": scope });
    let site = format!("{whole}/resourceGroups/shop/providers/Microsoft.Web/sites/a");
    let member = |role: &str| json!({ "role": role, "member": "user:a@b.c" });
    let actions = |actions: &[&str], but: &[&str]| json!({ "permissions": [{ "actions": actions, "not_actions": but }] });
    let everything = &["deny privileges-wildcard"];
    check_table(&[
        ("azurerm_role_assignment.r", by_number(whole), everything),
        ("azurerm_pim_active_role_assignment.r", by_number(whole), everything),
        (
            "azurerm_role_assignment.r",
            json!({ "role_definition_name": "Contributor", "scope": site }),
            &["warn privileges-wide"],
        ),
        ("azurerm_role_definition.r", actions(&["*/write", "*/read"], &[]), everything),
        ("azurerm_role_definition.r", actions(&["Microsoft.Authorization/*"], &[]), everything),
        (
            "azurerm_role_definition.r",
            actions(&["*"], &["Microsoft.Authorization/*"]),
            &["deny privileges-wide"],
        ),
        ("azurerm_role_definition.r", actions(&["*/read"], &[]), &[]),
        ("google_project_iam_member.m", member("roles/iam.serviceAccountTokenCreator"), everything),
        ("google_project_iam_member.m", member("roles/admin"), everything),
        ("google_project_iam_member.m", member("roles/writer"), &["deny privileges-wide"]),
        ("google_service_account_iam_member.m", member("roles/iam.serviceAccountTokenCreator"), &[]),
    ]);
}

#[test]
fn data_that_is_public_by_other_names_is_denied_too() {
    let binding = json!({ "role": "roles/storage.objectViewer", "members": ["allUsers"] });
    let sql = |network: &str| {
        json!({ "settings": [{ "tier": "db-f1-micro",
            "ip_configuration": [{ "authorized_networks": [{ "value": network }] }] }] })
    };
    let quarter = json!({ "start_ip_address": "64.0.0.0", "end_ip_address": "127.255.255.255" });
    check_table(&[
        (
            "google_storage_bucket_iam_policy.p",
            json!({ "policy_data": json!({ "bindings": [binding] }).to_string() }),
            &["deny members-public"],
        ),
        ("data.google_iam_policy.p", json!({ "binding": [binding] }), &["deny members-public"]),
        (
            "google_bigquery_dataset_access.a",
            json!({ "special_group": "allAuthenticatedUsers" }),
            &["deny dataset-public"],
        ),
        (
            "google_storage_object_acl.a",
            json!({ "predefined_acl": "publicRead" }),
            &["deny bucket-acl-public"],
        ),
        ("google_storage_bucket_acl.a", json!({ "default_acl": "publicRead" }), &["deny bucket-acl-public"]),
        ("google_sql_database_instance.d", sql("128.0.0.0/1"), &["deny database-public"]),
        ("azurerm_mssql_firewall_rule.f", quarter.clone(), &["deny database-public"]),
        ("azurerm_synapse_firewall_rule.f", quarter, &["deny database-public"]),
    ]);
}

#[test]
fn what_no_rule_can_look_at_is_warned_of() {
    check_table(&[
        ("awscc_s3_bucket.b", json!({ "access_control": "PublicRead" }), &["warn not-looked-at"]),
        ("azapi_resource.c", json!({ "body": {} }), &["warn not-looked-at"]),
        ("aws_cloudformation_stack.s", json!({ "template_body": "{}" }), &["warn not-looked-at"]),
        ("terraform_data.x", json!({ "input": null }), &[]),
        ("random_id.x", json!({ "byte_length": 4 }), &[]),
        ("data.kubernetes_service.x", json!({}), &[]),
    ]);
}

#[test]
fn ports_for_administration_that_the_world_can_reach_are_denied() {
    let firewall = |source: &str, ports: Value, direction: &str| json!({ "direction": direction, "source_ranges": [source], "allow": [{ "protocol": "tcp", "ports": ports }] });
    let rule = |source: &str, ports: &str, access: &str| {
        json!({ "direction": "Inbound", "access": access, "protocol": "Tcp", "source_address_prefix": source,
            "destination_port_range": ports })
    };
    let open = &["deny port-open"];
    check_table(&[
        ("google_compute_firewall.f", firewall("0.0.0.0/0", json!(["22"]), "INGRESS"), open),
        (
            "google_compute_firewall.f",
            firewall("0.0.0.0/0", json!(["20-25"]), "INGRESS"),
            &["deny port-open", "deny port-open"],
        ),
        ("google_compute_firewall.f", firewall("0.0.0.0/0", json!(["443"]), "INGRESS"), &[]),
        ("google_compute_firewall.f", firewall("0.0.0.0/0", json!(["22"]), "EGRESS"), &[]),
        ("google_compute_firewall.f", firewall("10.0.0.0/8", json!(["22"]), "INGRESS"), &[]),
        ("azurerm_network_security_rule.r", rule("*", "3389", "Allow"), open),
        ("azurerm_network_security_rule.r", rule("Internet", "22", "Allow"), open),
        ("azurerm_network_security_rule.r", rule("*", "443", "Allow"), &[]),
        ("azurerm_network_security_rule.r", rule("*", "22", "Deny"), &[]),
        ("azurerm_network_security_rule.r", rule("VirtualNetwork", "22", "Allow"), &[]),
        (
            "azurerm_network_security_group.g",
            json!({ "security_rule": [rule("0.0.0.0/0", "22", "Allow")] }),
            open,
        ),
    ]);
}
