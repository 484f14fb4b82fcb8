# What rules look at and cannot see: values that are marked as secret, or known only after the plan is applied.
package tidegate.infrastructure.hidden

import data.tidegate.infrastructure.plan

# What decides who may get at data. Each: the types, and where the value stands. None of it is a secret.
public := [
	{"types": ["aws_s3_bucket", "aws_s3_bucket_acl", "aws_s3_object", "aws_s3_bucket_object", "aws_s3_object_copy"], "paths": ["acl", "grant", "grant.uri", "access_control_policy", "access_control_policy.grant.grantee.uri"]},
	{"types": ["aws_s3_bucket_public_access_block", "aws_s3_account_public_access_block"], "paths": ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"]},
	{"types": ["aws_db_instance", "aws_rds_cluster_instance", "aws_redshift_cluster", "aws_redshiftserverless_workgroup", "aws_docdb_cluster_instance", "aws_neptune_cluster_instance", "aws_dms_replication_instance", "aws_mq_broker", "aws_lightsail_database"], "paths": ["publicly_accessible"]},
	{"types": ["aws_msk_cluster"], "paths": ["broker_node_group_info", "broker_node_group_info.connectivity_info.public_access.type"]},
	{"types": ["aws_db_snapshot", "aws_db_cluster_snapshot", "aws_db_snapshot_copy", "aws_rds_cluster_snapshot_copy"], "paths": ["shared_accounts"]},
	{"types": ["aws_ami_launch_permission"], "paths": ["group"]},
	{"types": ["aws_lambda_function_url"], "paths": ["authorization_type"]},
	{"types": ["aws_lambda_permission"], "paths": ["principal"]},
	{"types": ["aws_security_group", "aws_default_security_group"], "paths": ["ingress", "ingress.cidr_blocks", "ingress.ipv6_cidr_blocks", "ingress.from_port", "ingress.to_port", "ingress.protocol"]},
	{"types": ["aws_security_group_rule"], "paths": ["type", "cidr_blocks", "ipv6_cidr_blocks", "from_port", "to_port", "protocol"]},
	{"types": ["aws_vpc_security_group_ingress_rule"], "paths": ["cidr_ipv4", "cidr_ipv6", "from_port", "to_port", "ip_protocol"]},
	{"types": ["google_compute_firewall"], "paths": ["source_ranges", "allow", "allow.protocol", "allow.ports", "direction", "disabled"]},
	{"types": ["google_storage_bucket_acl", "google_storage_object_acl", "google_storage_default_object_acl", "google_storage_bucket_object"], "paths": ["predefined_acl", "default_acl", "role_entity"]},
	{"types": ["google_storage_bucket_access_control", "google_storage_default_object_access_control", "google_storage_object_access_control"], "paths": ["entity"]},
	{"types": ["google_bigquery_dataset"], "paths": ["access", "access.special_group", "access.iam_member"]},
	{"types": ["google_bigquery_dataset_access"], "paths": ["special_group", "iam_member"]},
	{"types": ["google_sql_database_instance"], "paths": ["settings", "settings.ip_configuration", "settings.ip_configuration.authorized_networks", "settings.ip_configuration.authorized_networks.value"]},
	{"types": ["azurerm_storage_container"], "paths": ["container_access_type"]},
	{"types": ["azurerm_storage_account"], "paths": ["allow_nested_items_to_be_public", "allow_blob_public_access"]},
	{"types": ["azurerm_network_security_rule"], "paths": ["direction", "access", "protocol", "source_address_prefix", "source_address_prefixes", "destination_port_range", "destination_port_ranges"]},
	{"types": ["azurerm_network_security_group"], "paths": ["security_rule", "security_rule.direction", "security_rule.access", "security_rule.protocol", "security_rule.source_address_prefix", "security_rule.source_address_prefixes", "security_rule.destination_port_range", "security_rule.destination_port_ranges"]},
]

# What decides what it may do.
privileged := [
	{"types": ["aws_iam_policy_attachment", "aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment"], "paths": ["policy_arn"]},
	{"types": ["aws_ssoadmin_managed_policy_attachment"], "paths": ["managed_policy_arn"]},
	{"types": ["aws_iam_role_policy_attachments_exclusive", "aws_iam_user_policy_attachments_exclusive", "aws_iam_group_policy_attachments_exclusive"], "paths": ["policy_arns"]},
	{"types": ["aws_iam_role"], "paths": ["managed_policy_arns"]},
	{"types": ["azurerm_role_assignment", "azurerm_pim_active_role_assignment", "azurerm_pim_eligible_role_assignment"], "paths": ["role_definition_name", "role_definition_id", "scope"]},
	{"types": ["azurerm_role_definition"], "paths": ["permissions", "permissions.actions", "permissions.not_actions", "permissions.data_actions"]},
]

# What decides how large it is.
large := [
	{"types": ["aws_autoscaling_group"], "paths": ["max_size"]},
	{"types": ["aws_elasticache_cluster"], "paths": ["num_cache_nodes"]},
	{"types": ["aws_elasticache_replication_group"], "paths": ["num_cache_clusters", "num_node_groups", "replicas_per_node_group"]},
	{"types": ["aws_redshift_cluster"], "paths": ["number_of_nodes"]},
	{"types": ["aws_opensearch_domain", "aws_elasticsearch_domain"], "paths": ["cluster_config", "cluster_config.instance_count"]},
	{"types": ["aws_eks_node_group"], "paths": ["scaling_config", "scaling_config.max_size"]},
	{"types": ["aws_rds_cluster"], "paths": ["serverlessv2_scaling_configuration", "serverlessv2_scaling_configuration.max_capacity"]},
	{"types": ["aws_db_instance"], "paths": ["multi_az"]},
	{"types": ["aws_ecs_task_definition"], "paths": ["cpu"]},
	{"types": ["aws_ecs_service"], "paths": ["desired_count"]},
	{"types": ["google_compute_instance_group_manager", "google_compute_region_instance_group_manager"], "paths": ["target_size"]},
	{"types": ["google_compute_autoscaler", "google_compute_region_autoscaler"], "paths": ["autoscaling_policy", "autoscaling_policy.max_replicas"]},
	{"types": ["google_container_node_pool"], "paths": ["node_count", "initial_node_count", "autoscaling", "autoscaling.max_node_count", "autoscaling.total_max_node_count"]},
	{"types": ["azurerm_linux_virtual_machine_scale_set", "azurerm_windows_virtual_machine_scale_set"], "paths": ["instances"]},
	{"types": ["azurerm_kubernetes_cluster_node_pool"], "paths": ["max_count", "node_count"]},
	{"types": ["azurerm_kubernetes_cluster"], "paths": ["default_node_pool", "default_node_pool.max_count", "default_node_pool.node_count"]},
	{"types": ["azurerm_service_plan"], "paths": ["worker_count"]},
]

rows contains ["public_data", "who may get at it", row] if some row in public

rows contains ["wildcard_privileges", "what it may do", row] if some row in privileged

rows contains ["size", "how large it becomes", row] if some row in large

# Of a type, what rules look at, with what it decides.
looked_at[type] contains [concern, what, path] if {
	some [concern, what, row] in rows
	some type in row.types
	plan.at[type]
	some path in row.paths
}

# Grants on Google Cloud are of many types.
looked_at[type] contains ["public_data", "who may get at it", path] if {
	some type, _ in plan.at
	startswith(type, "google_")
	contains(type, "_iam_")
	some path in ["member", "members", "role", "policy_data"]
}

looked_at[type] contains ["public_data", "who may get at it", path] if {
	some type, _ in plan.at
	startswith(type, "azurerm_")
	endswith(type, "_firewall_rule")
	some path in ["start_ip_address", "end_ip_address", "start_ip", "end_ip"]
}

deny contains plan.found("value-hidden", concern, resource, title, fix) if {
	some type, looks in looked_at
	some i in plan.at[type]
	resource := input.resources[i]
	resource.mode == "managed"
	count(resource.paths.sensitive) > 0
	some [concern, what, path] in looks
	path in resource.paths.sensitive
	title := concat("", ["`", path, "` is marked as secret, so nobody can see ", what])
	fix := concat("", ["Take `sensitive` away from what `", path, "` is made of: it is no secret."])
}

# What somebody wrote, and nobody knows yet.
open contains [i, concern, what, path] if {
	some type, looks in looked_at
	some i in plan.at[type]
	resource := input.resources[i]
	resource.mode == "managed"
	count(resource.awaited) > 0
	some [concern, what, path] in looks
	path in resource.paths.unknown
	resource.awaited[split(path, ".")[0]]
}

# Whom the cloud will name is no riddle: an account or a resource of the same plan.
expected := {"member", "members", "role", "policy_data", "policy_arn", "policy_arns", "managed_policy_arns", "scope", "role_definition_id"}

warn contains plan.found("value-unknown", concern, resource, title, later) if {
	some [i, concern, what, path] in open
	not path in expected
	resource := input.resources[i]
	title := unseen(path, what)
}

note contains plan.found("value-unknown", concern, resource, title, later) if {
	some [i, concern, what, path] in open
	path in {"members", "role", "policy_data", "policy_arns"}
	resource := input.resources[i]
	title := unseen(path, what)
}

unseen(path, what) := concat("", ["`", path, "` is known only after the plan is applied, so it cannot be seen ", what])

later := "Write the value itself where the plan can show it, not one that hangs on what the cloud will answer; or look at it after it is applied."
