# Data on Google Cloud and Azure that everybody can read.
package tidegate.infrastructure.public_clouds

import data.tidegate.infrastructure.network
import data.tidegate.infrastructure.plan

everybody := {"allUsers", "allAuthenticatedUsers"}

# To call a service is how people use it; to read what is behind it is something else.
callers := {"roles/run.invoker", "roles/cloudfunctions.invoker"}

members(resource) := array.concat(
	plan.list(object.get(resource.values, "member", null)),
	plan.list(object.get(resource.values, "members", null)),
)

granted[i] contains role if {
	some type, places in plan.at
	startswith(type, "google_")
	some i in places
	resource := input.resources[i]
	some member in members(resource)
	member in everybody
	role := object.get(resource.values, "role", "")
}

# Whole policies: a text, or the document that it is made of.
granted[i] contains role if {
	some type, places in plan.at
	startswith(type, "google_")
	endswith(type, "_iam_policy")
	some i in places
	text := input.resources[i].values.policy_data
	json.is_valid(text)
	some binding in plan.list(json.unmarshal(text).bindings)
	some member in plan.list(binding.members)
	member in everybody
	role := object.get(binding, "role", "")
}

granted[i] contains role if {
	some i in plan.at.google_iam_policy
	some binding in plan.list(object.get(input.resources[i].values, "binding", null))
	some member in plan.list(binding.members)
	member in everybody
	role := object.get(binding, "role", "")
}

deny contains plan.found("members-public", "public_data", resource, title, fix) if {
	some i, roles in granted
	some role in roles
	not role in callers
	resource := input.resources[i]
	title := concat("", ["Everybody on the internet has the role `", role, "` on it"])
	fix := "Name the people or the service account that need it, such as `serviceAccount:app@…`, instead of `allUsers`."
}

warn contains plan.found("service-public", "public_data", resource, title, fix) if {
	some i, roles in granted
	some role in roles
	role in callers
	resource := input.resources[i]
	title := "Everybody on the internet can call this service without signing in"
	fix := "Name who may call it instead of `allUsers`, or make sure that the service itself asks who is calling."
}

deny contains plan.found("bucket-acl-public", "public_data", resource, title, fix) if {
	some type in ["google_storage_bucket_acl", "google_storage_object_acl", "google_storage_default_object_acl", "google_storage_bucket_object"]
	some i in plan.at[type]
	resource := input.resources[i]
	some attribute in ["predefined_acl", "default_acl"]
	acl := resource.values[attribute]
	acl in {"publicRead", "publicReadWrite", "authenticatedRead"}
	title := concat("", ["Everybody on the internet can get at this bucket: its `", attribute, "` is `", acl, "`"])
	fix := concat("", ["Set `", attribute, " = \"private\"`, and `uniform_bucket_level_access = true` on the bucket."])
}

deny contains plan.found("bucket-acl-public", "public_data", resource, title, fix) if {
	some type in [
		"google_storage_bucket_access_control",
		"google_storage_default_object_access_control",
		"google_storage_object_access_control",
	]
	some i in plan.at[type]
	resource := input.resources[i]
	resource.values.entity in everybody
	title := "Everybody on the internet can get at what is in this bucket"
	fix := "Give `entity` the name of who needs it, instead of `allUsers`."
}

deny contains plan.found("bucket-acl-public", "public_data", resource, title, fix) if {
	some type in ["google_storage_bucket_acl", "google_storage_object_acl", "google_storage_default_object_acl"]
	some i in plan.at[type]
	resource := input.resources[i]
	some pair in plan.list(object.get(resource.values, "role_entity", null))
	parts := split(pair, ":")
	parts[count(parts) - 1] in everybody
	title := concat("", ["Everybody on the internet can get at what is in this bucket: `", pair, "`"])
	fix := "Take `allUsers` and `allAuthenticatedUsers` out of `role_entity`."
}

deny contains plan.found("dataset-public", "public_data", resource, title, fix) if {
	some i in plan.at.google_bigquery_dataset
	resource := input.resources[i]
	some access in plan.list(object.get(resource.values, "access", null))
	some attribute in ["special_group", "iam_member"]
	access[attribute] in everybody
	title := "Everybody with a Google account can read this dataset"
	fix := "Name groups or people in `access` instead of `allAuthenticatedUsers`."
}

deny contains plan.found("dataset-public", "public_data", resource, title, fix) if {
	some i in plan.at.google_bigquery_dataset_access
	resource := input.resources[i]
	some attribute in ["special_group", "iam_member"]
	resource.values[attribute] in everybody
	title := "Everybody with a Google account can read this dataset"
	fix := "Name a group or a person instead of `allAuthenticatedUsers`."
}

deny contains plan.found("database-public", "public_data", resource, title, fix) if {
	some i in plan.at.google_sql_database_instance
	resource := input.resources[i]
	some settings in plan.list(resource.values.settings)
	some address in plan.list(settings.ip_configuration)
	some let_in in plan.list(address.authorized_networks)
	network.world(let_in.value)
	title := "The whole internet, or much of it, is let through to this database: anybody can try passwords on it"
	fix := "Take networks such as `0.0.0.0/0` out of `authorized_networks`, and use a private address or the Cloud SQL proxy."
}

deny contains plan.found("container-public", "public_data", resource, title, fix) if {
	some i in plan.at.azurerm_storage_container
	resource := input.resources[i]
	resource.values.container_access_type in {"blob", "container"}
	title := "Everybody on the internet can read the files in this container"
	fix := "Set `container_access_type = \"private\"`. Give people a link that ends (a SAS) if they need a file."
}

warn contains plan.found("storage-may-be-public", "public_data", resource, title, fix) if {
	some i in plan.at.azurerm_storage_account
	resource := input.resources[i]
	some attribute in ["allow_nested_items_to_be_public", "allow_blob_public_access"]
	resource.values[attribute] == true
	title := "Containers of this storage account may be made public"
	fix := concat("", ["Set `", attribute, " = false`. It is on unless you say so."])
}

# Of databases, caches and workspaces alike.
firewall(type) if {
	startswith(type, "azurerm_")
	endswith(type, "_firewall_rule")
}

deny contains plan.found("database-public", "public_data", resource, title, fix) if {
	some type, places in plan.at
	firewall(type)
	some i in places
	resource := input.resources[i]
	some start in ["start_ip_address", "start_ip"]
	some end in ["end_ip_address", "end_ip"]
	first := to_number(split(resource.values[start], ".")[0])
	last := to_number(split(resource.values[end], ".")[0])

	# From 0.0.0.0 to 0.0.0.0 stands for Azure's own services. Several rules may cut the world into pieces.
	last > first
	title := "The whole internet, or much of it, is let through to this database: anybody can try passwords on it"
	fix := "Let only the addresses through that the app has, or use a private endpoint and no rule at all."
}
