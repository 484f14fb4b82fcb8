# What no rule can look at.
package tidegate.infrastructure.unjudged

import data.tidegate.infrastructure.plan

# Providers whose resources rules know, and those that make nothing that could be reached or costs.
known := {
	"aws", "google", "azurerm", "azuread", "terraform", "null", "random", "time", "tls", "local", "archive", "template",
	"external", "http", "cloudinit",
}

provider(type) := split(type, "_")[0]

foreign contains type if {
	some type, places in plan.at
	some i in places
	input.resources[i].mode == "managed"
	not provider(type) in known
}

# What hands a description in another language to the cloud.
envelopes := {
	"aws_cloudformation_stack", "aws_cloudformation_stack_set", "aws_cloudcontrolapi_resource",
	"aws_serverlessapplicationrepository_cloudformation_stack", "google_deployment_manager_deployment",
	"google_infra_manager_deployment", "azurerm_resource_group_template_deployment",
	"azurerm_subscription_template_deployment", "azurerm_management_group_template_deployment",
	"azurerm_tenant_template_deployment", "azurerm_template_deployment", "azurerm_resource_deployment_script_azure_cli",
	"azurerm_resource_deployment_script_azure_power_shell",
}

wrapped contains type if {
	some type in envelopes
	count(plan.at[type]) > 0
}

warn contains plan.found("not-looked-at", "custom", resource, title, fix) if {
	some type in foreign | wrapped
	addresses := [input.resources[i].address | some i in plan.at[type]]
	ordered := sort(addresses)
	resource := {"address": ordered[0]}
	title := concat("", ["No rule looks at `", type, "` (", format_int(count(addresses), 10), " in the plan): what it makes was not judged"])
	fix := "Describe it with resources of the providers `aws`, `google` or `azurerm`, or have somebody who knows it see that nothing in it is public and that it may do no more than it needs."
}

warn contains plan.found("commands-run", "custom", resource, title, fix) if {
	some resource in input.resources
	count(resource.provisioners) > 0
	title := concat("", ["It runs commands that the plan does not show: ", concat(", ", sort(resource.provisioners))])
	fix := "Do what the commands do with resources, or in a step of the pipeline, and take the `provisioner` away."
}
