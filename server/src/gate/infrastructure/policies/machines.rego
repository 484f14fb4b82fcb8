# How many virtual CPUs a machine has, by the name of its type.
package tidegate.infrastructure.machines

import data.tidegate.infrastructure.plan

# AWS: `t3.micro`, and with more around it `db.t3.micro`, `cache.t3.micro`, `ml.t3.medium`, `kafka.t3.small` and `t3.small.search`.
aws(name) := count_of(family, size) if {
	parts := [part | some part in split(lower(name), "."); not part in {"db", "cache", "ml", "search", "elasticsearch", "dms", "mq", "kafka"}]
	count(parts) >= 2
	family := parts[0]
	size := parts[1]
}

# Counted by the capacity of its cluster.
aws(name) := 0 if lower(name) == "db.serverless"

# Bursting machines of the second generation have fewer; of the later ones, two at least.
bursting := {
	"t1": {"micro": 1},
	"t2": {"nano": 1, "micro": 1, "small": 1, "medium": 2, "large": 2, "xlarge": 4, "2xlarge": 8},
}

sizes := {"nano": 2, "micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4, "xlplus": 4}

# The sizes whose machines have one CPU in families without bursting.
single := {"small", "medium"}

count_of(family, size) := bursting[family][size]

count_of(family, size) := n if {
	not bursting[family]
	not lone(family, size)
	n := sizes[size]
}

count_of(family, size) := 1 if {
	not bursting[family]
	lone(family, size)
}

count_of(family, size) := times * 4 if {
	not bursting[family]
	endswith(size, "xlarge")
	prefix := trim_suffix(size, "xlarge")
	digits(prefix)
	times := to_number(prefix)
}

# Whole machines: as many as the largest of them have, unless they say.
count_of(_, size) := 192 if size == "metal"

count_of(_, size) := times * 4 if {
	startswith(size, "metal-")
	prefix := trim_suffix(trim_prefix(size, "metal-"), "xl")
	digits(prefix)
	times := to_number(prefix)
}

lone(family, size) if {
	size in single
	not startswith(family, "t")
}

# Google: `n1-standard-4`, `e2-medium`, `custom-2-7680`, `db-custom-2-7680`, `a2-highgpu-1g`.
shared := {"f1-micro": 1, "g1-small": 1, "e2-micro": 2, "e2-small": 2, "e2-medium": 2}

google(name) := shared[machine] if machine := trim_prefix(lower(name), "db-")

google(name) := 2 if {
	parts := split(lower(name), "-")
	array.slice(parts, 0, 2) == ["e2", "custom"]
	parts[2] in {"micro", "small", "medium"}
}
	else := n if {
	machine := trim_prefix(lower(name), "db-")
	not shared[machine]
	numbers := [to_number(part) | some part in split(machine, "-"); digits(part)]
	n := numbers[0]
}
	else := n * 26 if {
	# Machines of a GPU: none has more than 26 CPUs for one.
	numbers := [to_number(number) |
		some part in split(lower(name), "-")
		endswith(part, "g")
		number := trim_suffix(part, "g")
		digits(number)
	]
	n := numbers[0]
}

# Azure: `Standard_D2s_v3`, `Standard_B1ms`, `GP_Standard_D4s_v3`, `GP_Gen5_2`.
second_generation := {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 11: 2, 12: 4, 13: 8, 14: 16, 15: 20}

azure(name) := n if {
	parts := split(name, "_")
	some i, word in parts
	word in {"Standard", "Basic"}
	machine := parts[i + 1]
	number := leading(trim_left(machine, letters))
	n := azure_count(machine, number, array.slice(parts, i + 2, count(parts)))
}

azure(name) := to_number(parts[2]) if {
	parts := split(name, "_")
	count(parts) == 3
	startswith(parts[1], "Gen")
	digits(parts[2])
}

azure(name) := to_number(parts[3]) if {
	parts := split(name, "_")
	count(parts) == 4
	parts[1] == "S"
	startswith(parts[2], "Gen")
	digits(parts[3])
}

# Databases: those that are sold by CPUs, those that are sold by units of about as much, and those whose pool is counted.
azure_sql(name) := azure(name) if contains(name, "_Gen")

azure_sql(name) := databases[upper(name)]

databases := {
	"BASIC": 1, "FREE": 1, "ELASTICPOOL": 0, "S0": 1, "S1": 1, "S2": 1, "S3": 1, "S4": 2, "S6": 4, "S7": 8, "S9": 16,
	"S12": 32, "P1": 2, "P2": 3, "P4": 5, "P6": 10, "P11": 18, "P15": 40,
}

# Plans of the app service.
azure(name) := plans[upper(name)]

plans := {
	"F1": 1, "D1": 1, "B1": 1, "B2": 2, "B3": 4, "S1": 1, "S2": 2, "S3": 4,
	"P1V2": 1, "P2V2": 2, "P3V2": 4, "P0V3": 1, "P1V3": 2, "P2V3": 4, "P3V3": 8,
	"P0V4": 1, "P1V4": 2, "P2V4": 4, "P3V4": 8, "P1MV3": 2, "P2MV3": 4, "P3MV3": 8, "P4MV3": 16, "P5MV3": 32,
	"P1MV4": 2, "P2MV4": 4, "P3MV4": 8, "P4MV4": 16, "P5MV4": 32, "I1V2": 2, "I2V2": 4, "I3V2": 8, "I4V2": 16,
	"I5V2": 32, "I6V2": 64, "WS1": 1, "WS2": 2, "WS3": 4, "FC1": 0, "Y1": 0, "EP1": 1, "EP2": 2, "EP3": 4,
}

letters := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# Machines of the first generations: the number is that of the size.
retired := {
	"A0": 1, "A1": 1, "A2": 2, "A3": 4, "A4": 8, "A5": 2, "A6": 4, "A7": 8, "A8": 8, "A9": 16, "A10": 8, "A11": 16,
	"G1": 2, "G2": 4, "G3": 8, "G4": 16, "G5": 32, "GS1": 2, "GS2": 4, "GS3": 8, "GS4": 16, "GS5": 32,
}

azure_count(machine, _, rest) := retired[machine] if count(rest) == 0

azure_count(machine, number, rest) := second_generation[number] if old(machine, rest)

azure_count(machine, number, rest) := number if {
	not old(machine, rest)
	not is_retired(machine, rest)
}

is_retired(machine, rest) if {
	count(rest) == 0
	retired[machine]
}

# In these, the number is not that of the CPUs.
old(machine, rest) if {
	trim_left(machine, letters) == trim_left(machine, "DS")
	count(rest) == 0
}

old(machine, rest) if {
	trim_left(machine, letters) == trim_left(machine, "DS")
	rest[0] in {"v2", "Promo"}
}

# The number that a text starts with.
leading(text) := plan.highest([to_number(start) |
	some n in [1, 2, 3]
	n <= count(text)
	start := substring(text, 0, n)
	digits(start)
])

digits(text) if {
	text != ""
	trim(text, "0123456789") == ""
}
