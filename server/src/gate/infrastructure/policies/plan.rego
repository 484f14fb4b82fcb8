# What the other packages look at a plan with.
package tidegate.infrastructure.plan

# Where the resources of a type stand in the list. What is only read is in it too.
at[type] contains i if {
	some i, resource in input.resources
	type := resource.type
}

list(value) := value if is_array(value)

list(value) := [value] if {
	not is_array(value)
	not value == null
}

list(value) := [] if value == null

# A switch that was turned off, or never on.
off(value) if value == false

off(value) if value == null

# The highest of a few numbers. Interpreters differ in what `max` makes of 8 and 12.
highest(numbers) := n if {
	some n in numbers
	every other in numbers {
		other <= n
	}
}

found(rule, concern, resource, title, fix) := {
	"rule": rule,
	"concern": concern,
	"resource": resource.address,
	"title": title,
	"fix": fix,
}

# A plan cannot be judged by what it does not say.
note contains {
	"rule": "plan-not-whole",
	"title": "The plan is not whole: it ended in an error, or covers only a part of what is described",
	"fix": "Run `terraform plan` without `-target` until it ends without an error, and hand that plan in.",
} if {
	input.complete == false
}
