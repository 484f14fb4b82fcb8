# Data on AWS that everybody can read.
package tidegate.infrastructure.public_aws

import data.tidegate.infrastructure.documents
import data.tidegate.infrastructure.plan

public_acls := {"public-read", "public-read-write", "authenticated-read"}

everybody := {
	"http://acs.amazonaws.com/groups/global/AllUsers",
	"http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
}

deny contains plan.found("bucket-acl-public", "public_data", resource, title, fix) if {
	some type in ["aws_s3_bucket", "aws_s3_bucket_acl", "aws_s3_object"]
	some i in plan.at[type]
	resource := input.resources[i]
	resource.values.acl in public_acls
	title := concat("", ["Everybody on the internet can get at what is in this bucket: its `acl` is `", resource.values.acl, "`"])
	fix := "Set `acl = \"private\"`, or leave the ACL away. Give people a link that ends (a presigned URL) if they need a file."
}

deny contains plan.found("bucket-acl-public", "public_data", resource, title, fix) if {
	some i in plan.at.aws_s3_bucket_acl
	resource := input.resources[i]
	some control in plan.list(resource.values.access_control_policy)
	some grant in plan.list(control.grant)
	some grantee in plan.list(grant.grantee)
	grantee.uri in everybody
	title := "Everybody on the internet can get at what is in this bucket: its ACL has a grant for all users"
	fix := "Take the `grant` for `AllUsers` and `AuthenticatedUsers` away."
}

blocks := ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"]

deny contains plan.found("bucket-block-off", "public_data", resource, title, fix) if {
	some type in ["aws_s3_bucket_public_access_block", "aws_s3_account_public_access_block"]
	some i in plan.at[type]
	resource := input.resources[i]
	open := [block | some block in blocks; plan.off(resource.values[block])]
	count(open) > 0
	title := concat("", ["What keeps a bucket from becoming public by mistake is off: ", concat(", ", open)])
	fix := "Set all four of `block_public_acls`, `block_public_policy`, `ignore_public_acls` and `restrict_public_buckets` to true."
}

reachable := {
	"aws_db_instance",
	"aws_rds_cluster_instance",
	"aws_redshift_cluster",
	"aws_redshiftserverless_workgroup",
	"aws_docdb_cluster_instance",
	"aws_neptune_cluster_instance",
	"aws_dms_replication_instance",
	"aws_mq_broker",
}

deny contains plan.found("database-public", "public_data", resource, title, fix) if {
	some type in reachable
	some i in plan.at[type]
	resource := input.resources[i]
	resource.values.publicly_accessible == true
	title := "This database has an address on the internet: anybody can try passwords on it"
	fix := "Set `publicly_accessible = false`, and let the app reach it inside the same network."
}

deny contains plan.found("image-public", "public_data", resource, title, fix) if {
	some type in ["aws_ami_launch_permission", "aws_ami"]
	some i in plan.at[type]
	resource := input.resources[i]
	resource.values.group == "all"
	title := "Everybody with an AWS account can start this image, and read what is on its disk"
	fix := "Name the accounts that need it by `account_id` instead of `group = \"all\"`."
}

# What carries a policy of who may get at it.
carriers := {
	"aws_s3_bucket",
	"aws_s3_bucket_policy",
	"aws_s3_access_point",
	"aws_sqs_queue",
	"aws_sqs_queue_policy",
	"aws_sns_topic",
	"aws_sns_topic_policy",
	"aws_kms_key",
	"aws_ecr_repository_policy",
	"aws_secretsmanager_secret",
	"aws_secretsmanager_secret_policy",
	"aws_efs_file_system_policy",
	"aws_opensearch_domain",
	"aws_elasticsearch_domain",
	"aws_backup_vault_policy",
	"aws_iam_policy_document",
}

open_to_all(statement) if {
	statement.effect == "Allow"
	some name in statement.principals
	name in {"*", "arn:aws:iam::*:root"}
}

deny contains plan.found("policy-public", "public_data", resource, title, fix) if {
	some i, stated in documents.statements
	resource := input.resources[i]
	resource.type in carriers
	some statement in stated
	open_to_all(statement)
	not statement.conditions
	title := "Its policy lets everybody in: the `Principal` is `*`"
	fix := "Name who may get at it, such as the role of the app (`aws_iam_role.app.arn`), instead of `*`."
}

warn contains plan.found("policy-public-with-conditions", "public_data", resource, title, fix) if {
	some i, stated in documents.statements
	resource := input.resources[i]
	resource.type in carriers
	some statement in stated
	open_to_all(statement)
	statement.conditions
	title := "Its policy lets in everybody who meets its conditions: the `Principal` is `*`"
	fix := "Name who may get at it instead of `*`. If it has to be `*`, have somebody who knows AWS check the conditions."
}

warn contains plan.found("function-public", "public_data", resource, title, fix) if {
	some i in plan.at.aws_lambda_function_url
	resource := input.resources[i]
	resource.values.authorization_type == "NONE"
	title := "Everybody on the internet can call this function without signing in"
	fix := "Set `authorization_type = \"AWS_IAM\"`, or make sure that the function itself asks who is calling."
}
