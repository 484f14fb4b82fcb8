# Data that is not encrypted where it lies.
package tidegate.infrastructure.encryption

import data.tidegate.infrastructure.plan

# Switches that have to be on. Google Cloud encrypts everything.
switches := {
	"aws_db_instance": "storage_encrypted",
	"aws_rds_cluster": "storage_encrypted",
	"aws_docdb_cluster": "storage_encrypted",
	"aws_neptune_cluster": "storage_encrypted",
	"aws_ebs_volume": "encrypted",
	"aws_efs_file_system": "encrypted",
	"aws_redshift_cluster": "encrypted",
	"aws_elasticache_replication_group": "at_rest_encryption_enabled",
	"azurerm_mssql_database": "transparent_data_encryption_enabled",
}

bare[i] contains attribute if {
	some type, attribute in switches
	some i in plan.at[type]
	plan.off(input.resources[i].values[attribute])
}

bare[i] contains concat("", [block, ".encrypted"]) if {
	some type in ["aws_instance", "aws_launch_configuration"]
	some i in plan.at[type]
	some block in ["root_block_device", "ebs_block_device"]
	some disk in plan.list(object.get(input.resources[i].values, block, null))
	disk.encrypted == false
}

bare[i] contains "encrypt_at_rest.enabled" if {
	some type in ["aws_opensearch_domain", "aws_elasticsearch_domain"]
	some i in plan.at[type]
	some rest in plan.list(object.get(input.resources[i].values, "encrypt_at_rest", null))
	plan.off(rest.enabled)
}

bare[i] contains attribute if {
	some i in plan.at.azurerm_storage_account
	some attribute in ["https_traffic_only_enabled", "enable_https_traffic_only"]
	input.resources[i].values[attribute] == false
}

findings contains plan.found("encryption-off", "encryption", resource, title, fix) if {
	some i, attributes in bare
	some attribute in attributes
	resource := input.resources[i]
	title := concat("", ["Its data is not encrypted: whoever gets hold of a disk or a copy can read it (`", attribute, "`)"])
	fix := concat("", ["Set `", attribute, "` to true. It costs nothing, and the app does not notice."])
}

deny contains finding if {
	input.tier >= 2
	some finding in findings
}

warn contains finding if {
	input.tier < 2
	some finding in findings
}
