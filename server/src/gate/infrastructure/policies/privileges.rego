# Rights to everything.
package tidegate.infrastructure.privileges

import data.tidegate.infrastructure.documents
import data.tidegate.infrastructure.plan

# `*`, and other ways to write the same.
star(pattern) if {
	pattern != ""
	trim(pattern, "*?:") == ""
}

star_resource(pattern) if star(pattern)

star_resource(pattern) if {
	startswith(pattern, "arn:")
	parts := array.slice(split(pattern, ":"), 2, 100)
	count(parts) > 0
	open := [part | some part in parts; trim(part, "*?/") == ""]
	count(open) == count(parts)
}

on_everything(statement) if {
	some pattern in statement.resources
	star_resource(pattern)
}

on_everything(statement) if count(statement.all_resources_but) > 0

# Whoever may hand out rights has them all.
keys_of_the_house := {"iam:*", "organizations:*", "sts:*"}

everything(statement) if {
	some action in statement.actions
	star(action)
}

everything(statement) if {
	some action in statement.actions
	lower(action) in keys_of_the_house
}

everything(statement) if count(statement.all_actions_but) > 0

# The policy of an organisation only bounds others.
bounding := {"aws_organizations_policy"}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i, stated in documents.statements
	resource := input.resources[i]
	not resource.type in bounding
	some statement in stated
	statement.effect == "Allow"
	on_everything(statement)
	everything(statement)
	title := "It may do everything to everything: whoever gets into the app owns the whole account"
	fix := "Write down what the app does, such as `s3:GetObject`, and on what, such as `arn:aws:s3:::my-bucket/*`, instead of `*`."
}

warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, fix) if {
	some i, stated in documents.statements
	resource := input.resources[i]
	not resource.type in bounding
	some statement in stated
	statement.effect == "Allow"
	on_everything(statement)
	not everything(statement)
	some action in statement.actions
	endswith(action, ":*")
	title := concat("", ["It may do everything with a whole service: `", action, "` on every resource"])
	fix := "Write down the actions that the app needs, and the names of what it needs them on."
}

deny contains plan.found("role-for-everybody", "wildcard_privileges", resource, title, fix) if {
	some i in plan.at.aws_iam_role
	resource := input.resources[i]
	some statement in documents.statements[i]
	statement.effect == "Allow"
	"*" in statement.principals
	not statement.conditions
	title := "Everybody with an AWS account can take on this role: its trust policy has the `Principal` `*`"
	fix := "Name who may take it on, such as `{ Service = \"lambda.amazonaws.com\" }`."
}

attached[i] contains arn if {
	some type in [
		"aws_iam_policy_attachment",
		"aws_iam_role_policy_attachment",
		"aws_iam_user_policy_attachment",
		"aws_iam_group_policy_attachment",
		"aws_ssoadmin_managed_policy_attachment",
	]
	some i in plan.at[type]
	some attribute in ["policy_arn", "managed_policy_arn"]
	arn := input.resources[i].values[attribute]
	is_string(arn)
}

attached[i] contains arn if {
	some i in plan.at.aws_iam_role
	some arn in plan.list(object.get(input.resources[i].values, "managed_policy_arns", null))
	is_string(arn)
}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i, arns in attached
	some arn in arns
	parts := split(arn, "/")
	name := parts[count(parts) - 1]
	name in {"AdministratorAccess", "IAMFullAccess"}
	startswith(arn, "arn:")
	contains(arn, ":aws:policy/")
	resource := input.resources[i]
	title := concat("", ["It gets `", name, "`: whoever gets into the app owns the whole account"])
	fix := "Attach a policy of your own that names what the app does, and on what."
}

warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, fix) if {
	some i, arns in attached
	some arn in arns
	endswith(arn, ":aws:policy/PowerUserAccess")
	resource := input.resources[i]
	title := "It gets `PowerUserAccess`: whoever gets into the app can do almost everything in the account"
	fix := "Attach a policy of your own that names what the app does, and on what."
}

# Google: a role on a project, folder or organisation, by itself or in a whole policy.
roles[i] contains role if {
	some kind in ["project", "folder", "organization"]
	some grant in ["member", "binding"]
	some i in plan.at[concat("", ["google_", kind, "_iam_", grant])]
	role := input.resources[i].values.role
}

roles[i] contains role if {
	some kind in ["project", "folder", "organization"]
	some i in plan.at[concat("", ["google_", kind, "_iam_policy"])]
	text := input.resources[i].values.policy_data
	json.is_valid(text)
	some binding in plan.list(json.unmarshal(text).bindings)
	role := binding.role
}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i, named in roles
	some role in named
	role in {"roles/owner", "roles/resourcemanager.organizationAdmin", "roles/iam.securityAdmin", "roles/resourcemanager.projectIamAdmin"}
	resource := input.resources[i]
	title := concat("", ["`", role, "` is a right to everything: whoever gets into the app owns the whole project"])
	fix := "Give the roles that the app needs, such as `roles/storage.objectViewer`, and on the bucket rather than the project."
}

warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, fix) if {
	some i, named in roles
	some role in named
	role == "roles/editor"
	resource := input.resources[i]
	title := "`roles/editor` may change almost everything in the project"
	fix := "Give the roles that the app needs, such as `roles/storage.objectAdmin`, and on the bucket rather than the project."
}

# Azure: a role over a whole subscription or more.
masters := {"owner", "user access administrator", "role based access control administrator"}

whole(scope) if {
	parts := [part | some part in split(lower(scope), "/"); part != ""]
	parts[0] == "subscriptions"
	count(parts) <= 2
}

whole(scope) if startswith(lower(scope), "/providers/microsoft.management/managementgroups/")

whole(scope) if scope == "/"

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i in plan.at.azurerm_role_assignment
	resource := input.resources[i]
	lower(resource.values.role_definition_name) in masters
	whole(resource.values.scope)
	title := concat("", ["`", resource.values.role_definition_name, "` over the whole subscription: whoever gets into the app owns it"])
	fix := "Give a role that the app needs, such as `Storage Blob Data Reader`, with the resource itself as `scope`."
}

warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, fix) if {
	some i in plan.at.azurerm_role_assignment
	resource := input.resources[i]
	lower(resource.values.role_definition_name) in (masters | {"contributor"})
	not master_of_all(resource.values)
	title := concat("", ["`", resource.values.role_definition_name, "` may change everything in its scope"])
	fix := "Give a role that the app needs, such as `Storage Blob Data Reader`, with the resource itself as `scope`."
}

master_of_all(values) if {
	lower(values.role_definition_name) in masters
	whole(values.scope)
}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i in plan.at.azurerm_role_definition
	resource := input.resources[i]
	some permission in plan.list(object.get(resource.values, "permissions", null))
	some action in plan.list(object.get(permission, "actions", null))
	star(action)
	title := "This role may do everything: its `actions` hold `*`"
	fix := "Write down the actions that the app needs, such as `Microsoft.Storage/storageAccounts/read`."
}
