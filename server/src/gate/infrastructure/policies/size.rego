# How many virtual CPUs all machines of the plan have together. What runs only when it is called is not counted.
package tidegate.infrastructure.size

import data.tidegate.infrastructure.machines
import data.tidegate.infrastructure.plan

# Where the resources of a type stand that the plan makes. What is only read is there already, and is somebody's else.
managed[type] contains i if {
	some type, places in plan.at
	some i in places
	input.resources[i].mode == "managed"
}

# Where the type of a machine stands, and how many there are of it.
single := [
	{"cloud": "aws", "type": "aws_instance", "of": "instance_type", "times": []},
	{"cloud": "aws", "type": "aws_spot_instance_request", "of": "instance_type", "times": []},
	{"cloud": "aws", "type": "aws_db_instance", "of": "instance_class", "times": []},
	{"cloud": "aws", "type": "aws_rds_cluster_instance", "of": "instance_class", "times": []},
	{"cloud": "aws", "type": "aws_docdb_cluster_instance", "of": "instance_class", "times": []},
	{"cloud": "aws", "type": "aws_neptune_cluster_instance", "of": "instance_class", "times": []},
	{"cloud": "aws", "type": "aws_elasticache_cluster", "of": "node_type", "times": ["num_cache_nodes"]},
	{"cloud": "aws", "type": "aws_redshift_cluster", "of": "node_type", "times": ["number_of_nodes"]},
	{"cloud": "aws", "type": "aws_dms_replication_instance", "of": "replication_instance_class", "times": []},
	{"cloud": "aws", "type": "aws_mq_broker", "of": "host_instance_type", "times": []},
	{"cloud": "aws", "type": "aws_emr_instance_group", "of": "instance_type", "times": ["instance_count"]},
	{"cloud": "aws", "type": "aws_sagemaker_notebook_instance", "of": "instance_type", "times": []},
	{"cloud": "google", "type": "google_compute_instance", "of": "machine_type", "times": []},
	{"cloud": "azure", "type": "azurerm_linux_virtual_machine", "of": "size", "times": []},
	{"cloud": "azure", "type": "azurerm_windows_virtual_machine", "of": "size", "times": []},
	{"cloud": "azure", "type": "azurerm_virtual_machine", "of": "vm_size", "times": []},
	{"cloud": "azure", "type": "azurerm_linux_virtual_machine_scale_set", "of": "sku", "times": ["instances"]},
	{"cloud": "azure", "type": "azurerm_windows_virtual_machine_scale_set", "of": "sku", "times": ["instances"]},
	{"cloud": "azure", "type": "azurerm_orchestrated_virtual_machine_scale_set", "of": "sku_name", "times": ["instances"]},
	{"cloud": "azure", "type": "azurerm_kubernetes_cluster_node_pool", "of": "vm_size", "times": ["max_count", "node_count"]},
	{"cloud": "azure", "type": "azurerm_service_plan", "of": "sku_name", "times": ["worker_count"]},
	{"cloud": "azure", "type": "azurerm_postgresql_flexible_server", "of": "sku_name", "times": []},
	{"cloud": "azure", "type": "azurerm_mysql_flexible_server", "of": "sku_name", "times": []},
]

# The same in a block of the resource.
nested := [
	{"cloud": "aws", "type": "aws_opensearch_domain", "block": "cluster_config", "of": "instance_type", "times": ["instance_count"]},
	{"cloud": "aws", "type": "aws_elasticsearch_domain", "block": "cluster_config", "of": "instance_type", "times": ["instance_count"]},
	{"cloud": "aws", "type": "aws_emr_cluster", "block": "master_instance_group", "of": "instance_type", "times": ["instance_count"]},
	{"cloud": "aws", "type": "aws_emr_cluster", "block": "core_instance_group", "of": "instance_type", "times": ["instance_count"]},
	{"cloud": "google", "type": "google_sql_database_instance", "block": "settings", "of": "tier", "times": []},
	{"cloud": "azure", "type": "azurerm_kubernetes_cluster", "block": "default_node_pool", "of": "vm_size", "times": ["max_count", "node_count"]},
]

# Each: where the resource stands, what the type is called, and how many of it there are.
machine contains [i, row.cloud, name, times] if {
	some row in single
	some i in managed[row.type]
	values := input.resources[i].values
	name := object.get(values, row.of, null)
	times := doubled(values) * most(values, row.times)
}

machine contains [i, row.cloud, name, times] if {
	some row in nested
	some i in managed[row.type]
	some block in plan.list(object.get(input.resources[i].values, row.block, null))
	name := object.get(block, row.of, null)
	times := most(block, row.times)
}

machine contains [i, "aws", name, times] if {
	some i in managed.aws_eks_node_group
	values := input.resources[i].values
	times := plan.highest({1} | {most(scaling, ["max_size"]) | some scaling in plan.list(object.get(values, "scaling_config", null))})
	some name in alternatives(object.get(values, "instance_types", null))
}

machine contains [i, "aws", name, times] if {
	some i in managed.aws_elasticache_replication_group
	values := input.resources[i].values
	copies := number(object.get(values, "replicas_per_node_group", 0), 0) + 1
	times := plan.highest([most(values, ["num_cache_clusters"]), most(values, ["num_node_groups"]) * copies])
	name := object.get(values, "node_type", null)
}

machine contains [i, "aws", name, 3] if {
	some i in managed.aws_rds_cluster
	name := object.get(input.resources[i].values, "db_cluster_instance_class", null)
	is_string(name)
	name != ""
}

# Several types to choose from: the largest counts. None at all is a type that is not known.
alternatives(names) := names if {
	is_array(names)
	count(names) > 0
}

alternatives(names) := [null] if names == null

alternatives(names) := [null] if names == []

# The largest of some attributes; 1 if none is a number.
most(values, attributes) := plan.highest(numbers) if {
	numbers := [value | some attribute in attributes; value := values[attribute]; is_number(value)]
	count(numbers) > 0
}

most(values, attributes) := 1 if {
	numbers := [attribute | some attribute in attributes; is_number(values[attribute])]
	count(numbers) == 0
}

number(value, _) := value if is_number(value)

number(value, otherwise) := otherwise if not is_number(value)

# A database that stands by in a second place.
doubled(values) := 2 if values.multi_az == true

doubled(values) := 1 if not values.multi_az == true

vcpus("aws", name) := machines.aws(name)

vcpus("google", name) := machines.google(name)

vcpus("azure_sql", name) := machines.azure_sql(name)

vcpus("azure", name) := machines.azure(name)

known(cloud, name) if {
	is_string(name)
	vcpus(cloud, name) >= 0
}

sized[i] contains n if {
	some [i, cloud, name, times] in machine
	is_string(name)
	n := vcpus(cloud, name) * times
}

# Capacity that grows by itself: four units have about as much memory as one CPU comes with.
sized[i] contains n if {
	some i in managed.aws_rds_cluster
	some scaling in plan.list(object.get(input.resources[i].values, "serverlessv2_scaling_configuration", null))
	n := ceil(scaling.max_capacity / 4)
}

# Groups of machines that are made from a template. Which one cannot be seen in a plan, so the largest of the plan counts,
# and two CPUs at least.
groups := [
	{"cloud": "aws", "type": "aws_autoscaling_group", "times": ["max_size"]},
]

templates := [
	{"cloud": "aws", "type": "aws_launch_template", "of": "instance_type"},
	{"cloud": "aws", "type": "aws_launch_configuration", "of": "instance_type"},
	{"cloud": "google", "type": "google_compute_instance_template", "of": "machine_type"},
	{"cloud": "google", "type": "google_compute_region_instance_template", "of": "machine_type"},
]

template contains [i, row.cloud, name] if {
	some row in templates
	some i in managed[row.type]
	name := object.get(input.resources[i].values, row.of, null)
}

template contains [i, "aws", name] if {
	some i in managed.aws_autoscaling_group
	some mixed in plan.list(object.get(input.resources[i].values, "mixed_instances_policy", null))
	some launch in plan.list(object.get(mixed, "launch_template", null))
	some override in plan.list(object.get(launch, "override", null))
	name := override.instance_type
}

template_vcpus[cloud] contains n if {
	some [_, cloud, name] in template
	is_string(name)
	n := vcpus(cloud, name)
}

grouped contains [i, row.cloud, times] if {
	some row in groups
	some i in managed[row.type]
	times := most(input.resources[i].values, row.times)
}

sized[i] contains n if {
	some [i, cloud, times] in grouped
	n := plan.highest({2} | {size | some size in template_vcpus[cloud]}) * times
}

# Of several types to choose from, the largest.
weights[i] := plan.highest(sizes) if some i, sizes in sized

total := sum([n | some n in weights])

largest := plan.highest({n | some n in weights})

heaviest contains input.resources[i].address if {
	some i, n in weights
	n == largest
}

deny contains {
	"rule": "size-cap",
	"concern": "size",
	"title": title,
	"fix": fix,
} if {
	total > input.limits.max_vcpus
	title := concat("", [
		"All machines and databases together have ", format_int(total, 10),
		" virtual CPUs; this app may have ", format_int(input.limits.max_vcpus, 10),
	])
	fix := concat("", [
		"Take smaller types or fewer of them, such as `t3.micro`, `e2-small` or `Standard_B1ms`. The largest is `",
		min(heaviest), "` with ", format_int(largest, 10), ". If the app needs more, ask for a larger tier.",
	])
}

deny contains plan.found("size-unknown", "size", resource, title, fix) if {
	some [i, cloud, name, _] in machine
	not known(cloud, name)
	resource := input.resources[i]
	title := concat("", ["How many virtual CPUs it has is not known: ", shown(name)])
	fix := advice
}

deny contains plan.found("size-unknown", "size", resource, title, fix) if {
	some [i, cloud, name] in template
	not known(cloud, name)
	name != null
	resource := input.resources[i]
	title := concat("", ["How many virtual CPUs it has is not known: ", shown(name)])
	fix := advice
}

warn contains plan.found("size-not-seen", "size", resource, title, fix) if {
	some [i, cloud, _] in grouped
	not template_vcpus[cloud]
	resource := input.resources[i]
	title := "How large its machines are is not in this plan: two virtual CPUs were counted for each"
	fix := "Describe the template that it starts its machines from in the same place."
}

advice := "Write the type of the machine itself, such as `t3.micro`, `e2-small` or `Standard_B1ms`, where the plan can show it: not secret, not taken from what the cloud will answer."

shown(name) := concat("", ["the type is `", name, "`"]) if is_string(name)

shown(name) := "the plan names no type" if not is_string(name)
