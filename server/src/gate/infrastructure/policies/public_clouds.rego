# Data on Google Cloud and Azure that everybody can read.
package tidegate.infrastructure.public_clouds

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
	some i in plan.at.google_storage_bucket_acl
	resource := input.resources[i]
	resource.values.predefined_acl in {"publicRead", "publicReadWrite", "authenticatedRead"}
	title := concat("", ["Everybody on the internet can get at this bucket: its ACL is `", resource.values.predefined_acl, "`"])
	fix := "Set `predefined_acl = \"private\"`, and `uniform_bucket_level_access = true` on the bucket."
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

deny contains plan.found("database-public", "public_data", resource, title, fix) if {
	some i in plan.at.google_sql_database_instance
	resource := input.resources[i]
	some settings in plan.list(resource.values.settings)
	some address in plan.list(settings.ip_configuration)
	some network in plan.list(address.authorized_networks)
	endswith(network.value, "/0")
	title := "The whole internet is let through to this database: anybody can try passwords on it"
	fix := "Take the network that ends in `/0` out of `authorized_networks`, and use a private address or the Cloud SQL proxy."
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

firewalls := {
	"azurerm_mssql_firewall_rule",
	"azurerm_sql_firewall_rule",
	"azurerm_postgresql_firewall_rule",
	"azurerm_postgresql_flexible_server_firewall_rule",
	"azurerm_mysql_firewall_rule",
	"azurerm_mysql_flexible_server_firewall_rule",
	"azurerm_mariadb_firewall_rule",
	"azurerm_redis_firewall_rule",
}

deny contains plan.found("database-public", "public_data", resource, title, fix) if {
	some type in firewalls
	some i in plan.at[type]
	resource := input.resources[i]
	some start in ["start_ip_address", "start_ip"]
	some end in ["end_ip_address", "end_ip"]
	first := to_number(split(resource.values[start], ".")[0])
	last := to_number(split(resource.values[end], ".")[0])

	# From 0.0.0.0 to 0.0.0.0 stands for Azure's own services.
	last - first > 64
	title := "The whole internet, or much of it, is let through to this database: anybody can try passwords on it"
	fix := "Let only the addresses through that the app has, or use a private endpoint and no rule at all."
}
