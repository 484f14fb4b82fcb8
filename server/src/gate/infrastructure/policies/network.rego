# Ports for administration and databases that are open to the world.
package tidegate.infrastructure.network

import data.tidegate.infrastructure.plan

# Ports, and what listens there.
services := {
	22: "SSH",
	23: "Telnet",
	445: "file sharing",
	1433: "SQL Server",
	1521: "Oracle",
	2375: "Docker",
	2376: "Docker",
	3306: "MySQL",
	3389: "Remote Desktop",
	5432: "PostgreSQL",
	5900: "VNC",
	5984: "CouchDB",
	5985: "WinRM",
	6379: "Redis",
	9042: "Cassandra",
	9200: "Elasticsearch",
	11211: "memcached",
	27017: "MongoDB",
}

# The whole internet, or a large piece of it: it can be cut in two to look like less.
world(cidr) if {
	to_number(split(cidr, "/")[1]) < 8
	not startswith(lower(cidr), "fc")
	not startswith(lower(cidr), "fd")
	not startswith(lower(cidr), "fe")
}

world(cidr) if lower(cidr) in {"*", "any", "internet", "0.0.0.0", "::"}

# What is let in: which resource, from where, and which ports.
openings contains [i, from, to] if {
	some type in ["aws_security_group", "aws_default_security_group"]
	some i in plan.at[type]
	some rule in plan.list(object.get(input.resources[i].values, "ingress", null))
	from_world(rule)
	[from, to] := aws_ports(rule, object.get(rule, "protocol", null))
}

openings contains [i, from, to] if {
	some i in plan.at.aws_security_group_rule
	rule := input.resources[i].values
	rule.type == "ingress"
	from_world(rule)
	[from, to] := aws_ports(rule, object.get(rule, "protocol", null))
}

openings contains [i, from, to] if {
	some i in plan.at.aws_vpc_security_group_ingress_rule
	rule := input.resources[i].values
	from_world(rule)
	[from, to] := aws_ports(rule, object.get(rule, "ip_protocol", null))
}

openings contains [i, from, to] if {
	some i in plan.at.google_compute_firewall
	firewall := input.resources[i].values
	not firewall.direction == "EGRESS"
	not firewall.disabled == true
	some source in plan.list(object.get(firewall, "source_ranges", null))
	world(source)
	some allow in plan.list(object.get(firewall, "allow", null))
	lower(allow.protocol) in {"tcp", "udp", "all", "6", "17"}
	some ports in ranges(plan.list(object.get(allow, "ports", null)))
	[from, to] := ports
}

openings contains [i, from, to] if {
	some i in plan.at.azurerm_network_security_rule
	[from, to] := azure_ports(input.resources[i].values)[_]
}

openings contains [i, from, to] if {
	some i in plan.at.azurerm_network_security_group
	some rule in plan.list(object.get(input.resources[i].values, "security_rule", null))
	[from, to] := azure_ports(rule)[_]
}

sources := ["cidr_blocks", "ipv6_cidr_blocks", "cidr_ipv4", "cidr_ipv6"]

from_world(rule) if {
	some attribute in sources
	some cidr in plan.list(object.get(rule, attribute, null))
	world(cidr)
}

aws_ports(_, protocol) := [0, 65535] if lower(concat("", [protocol])) in {"-1", "all"}

aws_ports(rule, protocol) := [rule.from_port, rule.to_port] if {
	lower(protocol) in {"tcp", "udp", "6", "17"}
	rule.from_port != null
}

azure_ports(rule) := found if {
	lower(rule.direction) == "inbound"
	lower(rule.access) == "allow"
	lower(object.get(rule, "protocol", "*")) in {"tcp", "udp", "*"}
	prefixes := array.concat(
		plan.list(object.get(rule, "source_address_prefix", null)),
		plan.list(object.get(rule, "source_address_prefixes", null)),
	)
	some prefix in prefixes
	world(prefix)
	found := ranges(array.concat(
		plan.list(object.get(rule, "destination_port_range", null)),
		plan.list(object.get(rule, "destination_port_ranges", null)),
	))
}

# Texts such as `22`, `20-25` and `*`; none at all is every port.
ranges(texts) := [[0, 65535]] if count(texts) == 0

ranges(texts) := [range(text) | some text in texts] if count(texts) > 0

range(text) := [0, 65535] if text == "*"

range(text) := [to_number(text), to_number(text)] if {
	text != "*"
	not contains(text, "-")
}

range(text) := [to_number(parts[0]), to_number(parts[1])] if {
	contains(text, "-")
	parts := split(text, "-")
}

deny contains plan.found("port-open", "public_data", resource, title, fix) if {
	some [i, from, to] in openings
	some port, service in services
	from <= port
	port <= to
	resource := input.resources[i]
	title := concat("", ["The whole internet can reach ", service, " (port ", format_int(port, 10), "): anybody can try passwords on it"])
	fix := "Let only the addresses in that need it, such as your office's or the app's own network, instead of `0.0.0.0/0` or `*`."
}
