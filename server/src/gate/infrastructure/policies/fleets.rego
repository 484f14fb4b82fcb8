# How many machines clusters, fleets and services come to, for the count of virtual CPUs.
package tidegate.infrastructure.size

import data.tidegate.infrastructure.plan

# Google makes as many nodes as it is told in each zone: those that are named, or three of a region.
zones(values) := count(values.node_locations) if count(values.node_locations) > 0

zones(values) := 3 if {
	not named_zones(values)
	is_region(values)
}

zones(values) := 1 if {
	not named_zones(values)
	not is_region(values)
}

named_zones(values) if count(values.node_locations) > 0

is_region(values) if count(split(values.location, "-")) == 2

nodes(values, pool) := plan.highest(numbers) if {
	scaled := plan.list(object.get(pool, "autoscaling", null))
	each := [n | some scaling in scaled; n := zones(values) * most(scaling, ["max_node_count"])]
	all := [n | some scaling in scaled; n := most(scaling, ["total_max_node_count"])]
	own := zones(values) * most(pool, ["node_count", "initial_node_count"])
	numbers := array.concat([own], array.concat(each, all))
}

machine contains [i, "google", name, times] if {
	some i in managed.google_container_node_pool
	values := input.resources[i].values
	times := nodes(values, values)
	some config in plan.list(object.get(values, "node_config", null))
	name := object.get(config, "machine_type", null)
}

# Pools that stand in the cluster itself. Its own first pool counts if nobody says that it is taken away.
pools[i] contains pool if {
	some i in managed.google_container_cluster
	some pool in plan.list(object.get(input.resources[i].values, "node_pool", null))
}

pools[i] contains pool if {
	some i in managed.google_container_cluster
	pool := input.resources[i].values
	not pool.remove_default_node_pool == true
	not pool.enable_autopilot == true
	count(plan.list(object.get(pool, "node_pool", null))) == 0
}

clustered[i] contains n if {
	some i, found in pools
	n := sum([times |
		some pool in found
		times := nodes(input.resources[i].values, pool) * plan.highest({2} | known_nodes(pool))
	])
}

known_nodes(pool) := {n |
	some config in plan.list(object.get(pool, "node_config", null))
	is_string(config.machine_type)
	n := vcpus("google", config.machine_type)
}

sized[i] contains n if {
	some i, sizes in clustered
	some n in sizes
}

machine contains [i, "google", config.machine_type, 1] if {
	some i, found in pools
	some pool in found
	some config in plan.list(object.get(pool, "node_config", null))
	is_string(config.machine_type)
}

# Groups that an autoscaler sizes leave their own size away.
sized_by_others contains i if {
	some type in ["google_compute_instance_group_manager", "google_compute_region_instance_group_manager"]
	some i in managed[type]
	not is_number(input.resources[i].values.target_size)
	some scaler in ["google_compute_autoscaler", "google_compute_region_autoscaler"]
	count(managed[scaler]) > 0
}

grouped contains [i, "google", times] if {
	some type in ["google_compute_instance_group_manager", "google_compute_region_instance_group_manager"]
	some i in managed[type]
	not i in sized_by_others
	times := most(input.resources[i].values, ["target_size"])
}

grouped contains [i, "google", times] if {
	some type in ["google_compute_autoscaler", "google_compute_region_autoscaler"]
	some i in managed[type]
	some policy in plan.list(object.get(input.resources[i].values, "autoscaling_policy", null))
	times := most(policy, ["max_replicas"])
}

grouped contains [i, "aws", times] if {
	some i in managed.aws_ec2_fleet
	some target in plan.list(object.get(input.resources[i].values, "target_capacity_specification", null))
	times := most(target, ["total_target_capacity"])
}

grouped contains [i, "aws", times] if {
	some i in managed.aws_spot_fleet_request
	values := input.resources[i].values
	count(plan.list(object.get(values, "launch_template_config", null))) > 0
	times := most(values, ["target_capacity"])
}

machine contains [i, "aws", name, times] if {
	some i in managed.aws_spot_fleet_request
	times := most(input.resources[i].values, ["target_capacity"])
	some launched in plan.list(object.get(input.resources[i].values, "launch_specification", null))
	name := object.get(launched, "instance_type", null)
}

machine contains [i, "aws", name, times] if {
	some i in managed.aws_msk_cluster
	values := input.resources[i].values
	times := most(values, ["number_of_broker_nodes"])
	some brokers in plan.list(object.get(values, "broker_node_group_info", null))
	name := object.get(brokers, "instance_type", null)
}

machine contains [i, "aws", name, times] if {
	some i in managed.aws_memorydb_cluster
	values := input.resources[i].values
	times := most(values, ["num_shards"]) * (number(object.get(values, "num_replicas_per_shard", 1), 1) + 1)
	name := object.get(values, "node_type", null)
}

# Of a variant that has no machines of its own, nothing runs until it is called.
variants[i] contains variant if {
	some i in managed.aws_sagemaker_endpoint_configuration
	some variant in plan.list(object.get(input.resources[i].values, "production_variants", null))
	count(plan.list(object.get(variant, "serverless_config", null))) == 0
}

sized[i] contains n if {
	some i, found in variants
	n := sum([times |
		some variant in found
		times := vcpus("aws", variant.instance_type) * most(variant, ["initial_instance_count"])
	])
}

machine contains [i, "aws", name, 1] if {
	some i, found in variants
	some variant in found
	name := object.get(variant, "instance_type", null)
}

sized[i] contains n if {
	some i in managed.aws_batch_compute_environment
	some resources in plan.list(object.get(input.resources[i].values, "compute_resources", null))
	n := resources.max_vcpus
	is_number(n)
}

# CPUs of containers: a number of which 1024 are one, or `16 vCPU`.
units(cpu) := cpu if is_number(cpu)

units(cpu) := to_number(cpu) if {
	is_string(cpu)
	not endswith(lower(cpu), "vcpu")
}

units(cpu) := to_number(trim_space(trim_suffix(lower(cpu), "vcpu"))) * 1024 if endswith(lower(cpu), "vcpu")

task[i] := ceil(units(input.resources[i].values.cpu) / 1024) if some i in managed.aws_ecs_task_definition

sized[i] contains n if some i, n in task

# Of several tasks at once, each is as large as the largest of the plan. The first of them is counted by its definition.
sized[i] contains n if {
	some i in managed.aws_ecs_service
	values := input.resources[i].values
	not values.launch_type in {"EC2", "EXTERNAL"}
	values.desired_count > 1
	largest_task := plan.highest({size | some size in task})
	n := (values.desired_count - 1) * largest_task
}

sized[i] contains n if {
	some i in managed.aws_apprunner_service
	some configuration in plan.list(object.get(input.resources[i].values, "instance_configuration", null))
	n := ceil(units(configuration.cpu) / 1024)
}

sized[i] contains n if {
	some i in managed.azurerm_container_group
	n := ceil(sum([cpu |
		some container in plan.list(object.get(input.resources[i].values, "container", null))
		cpu := container.cpu
		is_number(cpu)
	]))
}

machine contains [i, "azure_sql", name, 1] if {
	some i in managed.azurerm_mssql_database
	name := object.get(input.resources[i].values, "sku_name", null)
	is_string(name)
}

sized[i] contains n if {
	some i in managed.azurerm_mssql_elasticpool
	some sku in plan.list(object.get(input.resources[i].values, "sku", null))
	n := pool_size(sku)
}

pool_size(sku) := sku.capacity if contains(sku.name, "Gen")

# By units of 100, of which one is about as much as a CPU.
pool_size(sku) := ceil(sku.capacity / 100) if not contains(sku.name, "Gen")
