# Rights to everything on Google Cloud and Azure, and to most of it.
package tidegate.infrastructure.privileges_clouds

import data.tidegate.infrastructure.plan
import data.tidegate.infrastructure.privileges

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

# Whoever has one of these can give themselves, or act as somebody who has, every right.
owners := {
	"roles/owner",
	"roles/admin",
	"roles/resourcemanager.organizationAdmin",
	"roles/resourcemanager.folderAdmin",
	"roles/resourcemanager.projectIamAdmin",
	"roles/resourcemanager.folderIamAdmin",
	"roles/iam.securityAdmin",
	"roles/iam.organizationRoleAdmin",
	"roles/iam.roleAdmin",
	"roles/iam.serviceAccountAdmin",
	"roles/iam.serviceAccountKeyAdmin",
	"roles/iam.serviceAccountTokenCreator",
}

editors := {"roles/editor", "roles/writer"}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i, named in roles
	some role in named & owners
	resource := input.resources[i]
	title := concat("", ["`", role, "` is a right to everything: whoever gets into the app owns the whole project"])
	fix := "Give the roles that the app needs, such as `roles/storage.objectViewer`, and on the bucket or the service account rather than the project."
}

deny contains plan.found("privileges-wide", "wildcard_privileges", resource, title, fix) if {
	some i, named in roles
	some role in named & editors
	resource := input.resources[i]
	title := concat("", ["`", role, "` may change almost everything in the project"])
	fix := "Give the roles that the app needs, such as `roles/storage.objectAdmin`, and on the bucket rather than the project."
}

# Azure: a role over a whole subscription or more, by its name or its number.
assignments := {
	"azurerm_role_assignment",
	"azurerm_pim_active_role_assignment",
	"azurerm_pim_eligible_role_assignment",
}

numbers := {
	"8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
	"18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
	"f58310d9-a9f6-439a-8ee7-f62e7b41a168": "Role Based Access Control Administrator",
	"b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
}

masters := {"owner", "user access administrator", "role based access control administrator"}

assigned[i] contains name if {
	some type in assignments
	some i in plan.at[type]
	name := input.resources[i].values.role_definition_name
	lower(name) in masters | {"contributor"}
}

assigned[i] contains name if {
	some type in assignments
	some i in plan.at[type]
	some attribute in ["role_definition_id", "role_definition_name"]
	some number, name in numbers
	endswith(lower(input.resources[i].values[attribute]), number)
}

whole(scope) if {
	parts := [part | some part in split(lower(scope), "/"); part != ""]
	parts[0] == "subscriptions"
	count(parts) <= 2
}

whole(scope) if startswith(lower(scope), "/providers/microsoft.management/managementgroups/")

whole(scope) if scope == "/"

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, needed) if {
	some i, names in assigned
	some name in names
	lower(name) in masters
	resource := input.resources[i]
	whole(resource.values.scope)
	title := concat("", ["`", name, "` over the whole subscription: whoever gets into the app owns it"])
}

deny contains plan.found("privileges-wide", "wildcard_privileges", resource, title, needed) if {
	some i, names in assigned
	some name in names
	not lower(name) in masters
	resource := input.resources[i]
	whole(resource.values.scope)
	title := concat("", ["`", name, "` may change everything in the whole subscription"])
}

warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, needed) if {
	some i, names in assigned
	some name in names
	resource := input.resources[i]
	not whole(resource.values.scope)
	title := concat("", ["`", name, "` may change everything in its scope"])
}

needed := "Give a role that the app needs, such as `Storage Blob Data Reader`, with the resource itself as `scope`."

# To change everything, or to give rights to oneself.
powers := {"microsoft.authorization/roleassignments/write", "microsoft.authorization/roledefinitions/write"}

empowered[i] contains action if {
	some i in plan.at.azurerm_role_definition
	some permission in plan.list(object.get(input.resources[i].values, "permissions", null))
	some action in plan.list(object.get(permission, "actions", null))
	some power in powers
	privileges.takes_in(lower(action), power)
	but := [not_action |
		some not_action in plan.list(object.get(permission, "not_actions", null))
		privileges.takes_in(lower(not_action), power)
	]
	count(but) == 0
}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fewer) if {
	some i, actions in empowered
	resource := input.resources[i]
	named := sort([action | some action in actions])
	title := concat("", ["This role may give itself every right: its `actions` hold `", named[0], "`"])
}

deny contains plan.found("privileges-wide", "wildcard_privileges", resource, title, fewer) if {
	some i in plan.at.azurerm_role_definition
	not empowered[i]
	resource := input.resources[i]
	some permission in plan.list(object.get(resource.values, "permissions", null))
	some attribute in ["actions", "data_actions"]
	some action in plan.list(object.get(permission, attribute, null))
	trim(lower(action), "*/") in {"", "write", "action", "delete"}
	title := concat("", ["This role may do so with everything: its `", attribute, "` hold `", action, "`"])
}

fewer := "Write down the actions that the app needs, such as `Microsoft.Storage/storageAccounts/read`."
