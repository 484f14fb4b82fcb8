# Tags that say whose a resource is, and what it is for.
package tidegate.infrastructure.tags

import data.tidegate.infrastructure.plan

# On Google Cloud these are labels; what is called tags there is something else.
attributes[type] := ["labels", "effective_labels", "terraform_labels"] if {
	some type, _ in plan.at
	startswith(type, "google_")
}

attributes[type] := ["tags", "tags_all"] if {
	some type, _ in plan.at
	not startswith(type, "google_")
}

# What can have tags shows them, or that there are none.
taggable contains i if {
	some i, resource in input.resources
	resource.mode == "managed"
	some attribute in attributes[resource.type]
	value := object.get(resource.values, attribute, false)
	type_name(value) in {"object", "null"}
}

taggable contains i if some i in plan.at.aws_autoscaling_group

# The names of tags that are not empty, in lower case: labels can have no other.
named[i] contains lower(name) if {
	some i, resource in input.resources
	some attribute in attributes[resource.type]
	tags := object.get(resource.values, attribute, null)
	is_object(tags)
	some name, value in tags
	filled(value)
}

named[i] contains lower(tag.key) if {
	some i in plan.at.aws_autoscaling_group
	some tag in plan.list(object.get(input.resources[i].values, "tag", null))
	filled(tag.value)
}

filled(value) if {
	is_string(value)
	trim_space(value) != ""
}

required := {lower(tag) | some tag in input.limits.required_tags}

findings contains plan.found("tags-missing", "tags", resource, title, fix) if {
	some i in taggable
	missing := required - {name | some name in named[i]}
	count(missing) > 0
	resource := input.resources[i]
	title := concat("", ["It does not say whose it is and what for: it lacks ", concat(", ", sort(missing))])
	fix := "Write the tags (on Google Cloud: labels) into the resource, or once for all of them into the provider's `default_tags`."
}

deny contains finding if {
	input.tier >= 1
	some finding in findings
}

note contains finding if {
	input.tier < 1
	some finding in findings
}

note contains plan.found("tags-unknown", "tags", resource, title, fix) if {
	count(input.limits.required_tags) > 0
	some i, resource in input.resources
	resource.mode == "managed"
	not i in taggable
	some attribute in attributes[resource.type]
	attribute in resource.unknown
	title := "Its tags are known only after the plan is applied, and were not looked at"
	fix := "Write tags that do not hang on what the cloud will answer."
}
