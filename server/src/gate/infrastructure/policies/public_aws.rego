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
	some type in ["aws_s3_bucket", "aws_s3_bucket_acl", "aws_s3_object", "aws_s3_bucket_object", "aws_s3_object_copy"]
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
	fix := grants
}

deny contains plan.found("bucket-acl-public", "public_data", resource, title, grants) if {
	some type in ["aws_s3_bucket", "aws_s3_object_copy"]
	some i in plan.at[type]
	resource := input.resources[i]
	some grant in plan.list(object.get(resource.values, "grant", null))
	grant.uri in everybody
	title := "Everybody on the internet can get at what is in this bucket: it has a grant for all users"
}

grants := "Take the `grant` for `AllUsers` and `AuthenticatedUsers` away."

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
	"aws_lightsail_database",
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

deny contains plan.found("database-public", "public_data", resource, title, fix) if {
	some type in ["aws_msk_cluster", "aws_msk_serverless_cluster"]
	some i in plan.at[type]
	resource := input.resources[i]
	some nodes in plan.list(object.get(resource.values, "broker_node_group_info", null))
	some connectivity in plan.list(object.get(nodes, "connectivity_info", null))
	some access in plan.list(object.get(connectivity, "public_access", null))
	access.type == "SERVICE_PROVIDED_EIPS"
	title := "These message brokers have addresses on the internet: anybody can try passwords on them"
	fix := "Leave `public_access` away, and let the app reach them inside the same network."
}

deny contains plan.found("snapshot-public", "public_data", resource, title, fix) if {
	some type in ["aws_db_snapshot", "aws_db_cluster_snapshot", "aws_db_snapshot_copy", "aws_rds_cluster_snapshot_copy"]
	some i in plan.at[type]
	resource := input.resources[i]
	"all" in plan.list(object.get(resource.values, "shared_accounts", null))
	title := "Everybody with an AWS account can make a database of their own from this copy, and read it"
	fix := "Name the accounts that need it in `shared_accounts` instead of `all`."
}

# What carries a policy of who may get at it. A role's is looked at with rights.
carries(type) if {
	documents.things[type]
	type != "aws_iam_role"
}

carries(type) if type == "aws_iam_policy_document"

open_to_all(statement) if {
	statement.effect == "Allow"
	some name in statement.principals
	name in {"*", "arn:aws:iam::*:root"}
}

deny contains plan.found("policy-public", "public_data", resource, title, fix) if {
	some i, stated in documents.statements
	resource := input.resources[i]
	carries(resource.type)
	some statement in stated
	open_to_all(statement)
	not statement.narrowed
	title := "Its policy lets everybody in: the `Principal` is `*`"
	fix := "Name who may get at it, such as the role of the app (`aws_iam_role.app.arn`), instead of `*`. Of conditions only such count that say who, as `aws:SourceArn` and `aws:PrincipalOrgID` do."
}

warn contains plan.found("policy-public-with-conditions", "public_data", resource, title, fix) if {
	some i, stated in documents.statements
	resource := input.resources[i]
	carries(resource.type)
	some statement in stated
	open_to_all(statement)
	statement.narrowed
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

warn contains plan.found("function-public", "public_data", resource, title, fix) if {
	some i in plan.at.aws_lambda_permission
	resource := input.resources[i]
	resource.values.principal == "*"
	resource.values.function_url_auth_type == "NONE"
	title := "Everybody on the internet can call this function by its address without signing in"
	fix := "Set `authorization_type = \"AWS_IAM\"` for its address, or make sure that the function itself asks who is calling."
}

deny contains plan.found("function-public", "public_data", resource, title, fix) if {
	some i in plan.at.aws_lambda_permission
	resource := input.resources[i]
	resource.values.principal == "*"
	not resource.values.function_url_auth_type == "NONE"
	not said_who(resource)
	title := "Everybody with an AWS account can call this function: its `principal` is `*`"
	fix := "Name the service or account that calls it as `principal`, and what it calls from as `source_arn`."
}

said_who(resource) if {
	some attribute in ["source_arn", "source_account", "principal_org_id"]
	is_string(resource.values[attribute])
	not documents.anything(resource.values[attribute])
}

said_who(resource) if {
	some attribute in ["source_arn", "source_account", "principal_org_id"]
	resource.awaited[attribute]
}
