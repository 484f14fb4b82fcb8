# Statements of AWS policies, wherever they stand, in one shape.
package tidegate.infrastructure.documents

import data.tidegate.infrastructure.network
import data.tidegate.infrastructure.plan

# Policies that say what whoever has them may do, by where they stand as a text of JSON.
identities := {
	"aws_iam_policy": "policy",
	"aws_iam_role_policy": "policy",
	"aws_iam_user_policy": "policy",
	"aws_iam_group_policy": "policy",
	"aws_ssoadmin_permission_set_inline_policy": "inline_policy",
}

# Policies that say who may get at a thing.
things := {
	"aws_iam_role": "assume_role_policy",
	"aws_s3_bucket": "policy",
	"aws_s3_bucket_policy": "policy",
	"aws_s3_access_point": "policy",
	"aws_s3control_access_point_policy": "policy",
	"aws_s3control_bucket_policy": "policy",
	"aws_sqs_queue": "policy",
	"aws_sqs_queue_policy": "policy",
	"aws_sns_topic": "policy",
	"aws_sns_topic_policy": "policy",
	"aws_kms_key": "policy",
	"aws_kms_key_policy": "policy",
	"aws_kms_external_key": "policy",
	"aws_kms_replica_key": "policy",
	"aws_ecr_repository_policy": "policy",
	"aws_ecr_registry_policy": "policy",
	"aws_secretsmanager_secret": "policy",
	"aws_secretsmanager_secret_policy": "policy",
	"aws_efs_file_system_policy": "policy",
	"aws_opensearch_domain": "access_policies",
	"aws_opensearch_domain_policy": "access_policies",
	"aws_elasticsearch_domain": "access_policies",
	"aws_elasticsearch_domain_policy": "access_policies",
	"aws_backup_vault_policy": "policy",
	"aws_dynamodb_resource_policy": "policy",
	"aws_kinesis_resource_policy": "policy",
	"aws_msk_cluster_policy": "policy",
	"aws_redshift_resource_policy": "policy",
	"aws_cloudwatch_event_bus_policy": "policy",
	"aws_cloudwatch_log_resource_policy": "policy_document",
	"aws_codeartifact_domain_permissions_policy": "policy_document",
	"aws_codeartifact_repository_permissions_policy": "policy_document",
	"aws_glacier_vault": "access_policy",
	"aws_glue_resource_policy": "policy",
	"aws_ses_identity_policy": "policy",
	"aws_sesv2_email_identity_policy": "policy",
}

texts := object.union_n([identities, things, {"aws_organizations_policy": "content"}])

written[i] contains text if {
	some type, attribute in texts
	some i in plan.at[type]
	text := input.resources[i].values[attribute]
	is_string(text)
	text != ""
}

written[i] contains text if {
	some i in plan.at.aws_iam_role
	some inline in plan.list(input.resources[i].values.inline_policy)
	text := inline.policy
	is_string(text)
}

# Texts that a document takes in as a whole.
written[i] contains text if {
	some i in plan.at.aws_iam_policy_document
	some attribute in ["source_policy_documents", "override_policy_documents"]
	some text in plan.list(object.get(input.resources[i].values, attribute, null))
	is_string(text)
	text != ""
}

# Of each resource, by where it stands in the list.
statements[i] contains statement if {
	some i, documents in written
	some text in documents
	json.is_valid(text)
	some raw in plan.list(json.unmarshal(text).Statement)
	block := object.get(raw, "Condition", {})
	conditions := [condition |
		some test
		some key
		values := block[test][key]
		condition := [test, key, plan.list(values)]
	]
	statement := {
		"effect": object.get(raw, "Effect", "Allow"),
		"actions": plan.list(object.get(raw, "Action", null)),
		"all_actions_but": plan.list(object.get(raw, "NotAction", null)),
		"resources": plan.list(object.get(raw, "Resource", null)),
		"all_resources_but": plan.list(object.get(raw, "NotResource", null)),
		"principals": array.concat(
			principals(object.get(raw, "Principal", null)),
			all_but(object.get(raw, "NotPrincipal", null)),
		),
		"narrowed": narrowed(conditions),
	}
}

# A document that is put together by Terraform, and has parts that are known only after it is applied.
statements[i] contains statement if {
	some i in plan.at.aws_iam_policy_document
	some raw in plan.list(input.resources[i].values.statement)
	named := [name |
		some principal in plan.list(object.get(raw, "principals", null))
		some name in plan.list(object.get(principal, "identifiers", null))
	]
	unnamed := [principal | some principal in plan.list(object.get(raw, "principals", null)); count(named) == 0]
	conditions := [condition |
		some block in plan.list(object.get(raw, "condition", null))
		test := object.get(block, "test", "")
		key := object.get(block, "variable", "")
		condition := [test, key, plan.list(object.get(block, "values", null))]
	]
	statement := {
		"effect": effect(object.get(raw, "effect", null)),
		"actions": plan.list(object.get(raw, "actions", null)),
		"all_actions_but": plan.list(object.get(raw, "not_actions", null)),
		"resources": plan.list(object.get(raw, "resources", null)),
		"all_resources_but": plan.list(object.get(raw, "not_resources", null)),
		"principals": array.concat(
			array.concat(named, unnamed),
			all_but(object.get(raw, "not_principals", null)),
		),
		"narrowed": narrowed(conditions),
	}
}

effect(named) := "Allow" if named == null

effect(named) := named if is_string(named)

principals(named) := [] if named == null

principals(named) := [named] if is_string(named)

principals(named) := [name | some names in named; some name in plan.list(names)] if is_object(named)

# Everybody but a few is everybody.
all_but(named) := [] if named == null

all_but(named) := [] if named == []

all_but(named) := ["*"] if {
	named != null
	named != []
}

# Conditions that say who, or from where; others, such as that the line is encrypted, everybody meets.
narrowing := {
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
	"aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc",
	"aws:sourcevpce", "aws:userid", "aws:vpcsourceip", "elasticfilesystem:accessedviamounttarget",
	"kms:calleraccount", "s3:dataaccesspointaccount",
}

# Those that hold only where the key is there and has such a value.
tests := {
	"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress", "bool",
	"foranyvalue:stringequals", "foranyvalue:stringequalsignorecase", "foranyvalue:stringlike",
	"foranyvalue:arnequals", "foranyvalue:arnlike",
}

narrowed(conditions) := count([key |
	some [test, key, values] in conditions
	lower(test) in tests
	lower(key) in narrowing
	open := [value | some value in values; anything(value)]
	count(open) == 0
]) > 0

# A value that everybody has, or that says it is not so.
anything(value) if {
	is_string(value)
	trim(value, "*?:/") == ""
}

anything(value) if value == false

anything(value) if lower(value) == "false"

anything(value) if {
	not startswith(lower(value), "arn:")
	network.world(value)
}

anything(value) if {
	startswith(lower(value), "arn:")
	parts := split(value, ":")
	count(parts) > 4
	open := [part | some part in array.slice(parts, 3, count(parts)); trim(part, "*?/") == ""]
	count(open) == count(parts) - 3
}

# A policy that nobody can look at may hold anything.
hidden[i] contains attribute if {
	some type, attribute in texts
	some i in plan.at[type]
	attribute in input.resources[i].sensitive
}

hidden[i] contains "statement" if {
	some i in plan.at.aws_iam_policy_document
	"statement" in input.resources[i].sensitive
}

hidden[i] contains "inline_policy" if {
	some i in plan.at.aws_iam_role
	"inline_policy" in input.resources[i].sensitive
}

deny contains plan.found("policy-hidden", "wildcard_privileges", resource, title, fix) if {
	some i, attributes in hidden
	some attribute in attributes
	resource := input.resources[i]
	title := concat("", ["The policy in `", attribute, "` is marked as secret, so nobody can see what it allows"])
	fix := "Take `sensitive` away from what the policy is made of: a policy holds no secrets."
}

deny contains plan.found("policy-unreadable", "wildcard_privileges", resource, title, fix) if {
	some i, documents in written
	some text in documents
	not json.is_valid(text)
	resource := input.resources[i]
	title := "The policy is not JSON, so it cannot be seen what it allows"
	fix := "Write it with `jsonencode({...})` or with an `aws_iam_policy_document`."
}

# What puts policies together, and shows what it can of them.
has_documents if count(plan.at.aws_iam_policy_document) > 0

# An unknown policy that stands in the plan as a document.
shown(resource, attribute) if {
	resource.awaited[attribute] == "documents"
	has_documents
}

# One that may: a module was handed it.
perhaps_shown(resource, attribute) if {
	resource.awaited[attribute] == "elsewhere"
	has_documents
}

unknown[i] contains attribute if {
	some type, attribute in identities
	some i in plan.at[type]
	attribute in input.resources[i].unknown
}

unknown[i] contains "statement.actions" if {
	some i in plan.at.aws_iam_policy_document
	some path in ["statement", "statement.actions", "statement.not_actions"]
	path in input.resources[i].paths.unknown
}

unknown[i] contains "inline_policy" if {
	some i in plan.at.aws_iam_role
	resource := input.resources[i]
	resource.awaited.inline_policy
	some path in ["inline_policy", "inline_policy.policy"]
	path in resource.paths.unknown
}

written_as_document := "Write it as an `aws_iam_policy_document` and use its `json`: then the plan shows what it allows. Or name resources in it by names that you give, not by what the cloud will call them."

deny contains plan.found("policy-unknown", "wildcard_privileges", resource, title, written_as_document) if {
	some i, attributes in unknown
	some attribute in attributes
	resource := input.resources[i]
	not shown(resource, attribute)
	not perhaps_shown(resource, attribute)
	title := concat("", ["The policy in `", attribute, "` is known only after the plan is applied, so it cannot be seen what it allows"])
}

warn contains plan.found("policy-unknown", "wildcard_privileges", resource, title, written_as_document) if {
	some i, attributes in unknown
	some attribute in attributes
	resource := input.resources[i]
	perhaps_shown(resource, attribute)
	title := concat("", ["The policy in `", attribute, "` is known only after the plan is applied: only the documents in the plan were looked at"])
}

# A policy of a thing that nobody wrote is the cloud's own, which lets in nobody from outside.
warn contains plan.found("policy-unknown", "public_data", resource, title, written_as_document) if {
	some type, attribute in things
	some i in plan.at[type]
	resource := input.resources[i]
	attribute in resource.unknown
	resource.awaited[attribute]
	not shown(resource, attribute)
	title := concat("", ["The policy in `", attribute, "` is known only after the plan is applied, so it cannot be seen whom it lets in"])
}
