# Statements of AWS policies, wherever they stand, in one shape.
package tidegate.infrastructure.documents

import data.tidegate.infrastructure.plan

# Attributes that hold a policy as a text of JSON.
texts := {
	"aws_iam_policy": "policy",
	"aws_iam_role_policy": "policy",
	"aws_iam_user_policy": "policy",
	"aws_iam_group_policy": "policy",
	"aws_iam_role": "assume_role_policy",
	"aws_s3_bucket": "policy",
	"aws_s3_bucket_policy": "policy",
	"aws_s3_access_point": "policy",
	"aws_sqs_queue": "policy",
	"aws_sqs_queue_policy": "policy",
	"aws_sns_topic": "policy",
	"aws_sns_topic_policy": "policy",
	"aws_kms_key": "policy",
	"aws_ecr_repository_policy": "policy",
	"aws_secretsmanager_secret": "policy",
	"aws_secretsmanager_secret_policy": "policy",
	"aws_efs_file_system_policy": "policy",
	"aws_opensearch_domain": "access_policies",
	"aws_elasticsearch_domain": "access_policies",
	"aws_backup_vault_policy": "policy",
	"aws_organizations_policy": "content",
	"aws_ssoadmin_permission_set_inline_policy": "inline_policy",
}

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

# Of each resource, by where it stands in the list.
statements[i] contains statement if {
	some i, documents in written
	some text in documents
	json.is_valid(text)
	some raw in plan.list(json.unmarshal(text).Statement)
	statement := {
		"effect": object.get(raw, "Effect", "Allow"),
		"actions": plan.list(object.get(raw, "Action", null)),
		"all_actions_but": plan.list(object.get(raw, "NotAction", null)),
		"resources": plan.list(object.get(raw, "Resource", null)),
		"all_resources_but": plan.list(object.get(raw, "NotResource", null)),
		"principals": principals(object.get(raw, "Principal", null)),
		"conditions": object.get(raw, "Condition", {}) != {},
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
	statement := {
		"effect": effect(object.get(raw, "effect", null)),
		"actions": plan.list(object.get(raw, "actions", null)),
		"all_actions_but": plan.list(object.get(raw, "not_actions", null)),
		"resources": plan.list(object.get(raw, "resources", null)),
		"all_resources_but": plan.list(object.get(raw, "not_resources", null)),
		"principals": named,
		"conditions": count(plan.list(object.get(raw, "condition", null))) > 0,
	}
}

effect(named) := "Allow" if named == null

effect(named) := named if is_string(named)

principals(named) := [] if named == null

principals(named) := [named] if is_string(named)

principals(named) := [name | some names in named; some name in plan.list(names)] if is_object(named)

# A policy that nobody can look at may hold anything.
deny contains plan.found("policy-hidden", "wildcard_privileges", resource, title, fix) if {
	some type, attribute in texts
	some i in plan.at[type]
	resource := input.resources[i]
	attribute in resource.sensitive
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

note contains plan.found("policy-unknown", "wildcard_privileges", resource, title, fix) if {
	some type, attribute in texts
	some i in plan.at[type]
	resource := input.resources[i]
	attribute in resource.unknown
	title := concat("", ["The policy in `", attribute, "` is known only after the plan is applied, and was not looked at"])
	fix := "Name resources in it by names that you give, not by what the cloud will call them; or look at it after it is applied."
}
