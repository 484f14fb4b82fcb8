# Rights to everything on AWS, and to whole services.
package tidegate.infrastructure.privileges

import data.tidegate.infrastructure.documents
import data.tidegate.infrastructure.plan

# `*`, and other ways to write the same.
star(pattern) if {
	pattern != ""
	trim(pattern, "*?:") == ""
}

# Whether a pattern with `*` and `?` takes in a name, both in lower case.
takes_in(pattern, name) if fits(pieces(pattern), name)

# `?` counts as `*`, and the order of what stands between two of them does not count: it takes in rather too much than too little.
pieces(pattern) := split(replace(pattern, "?", "*"), "*")

fits(parts, name) if parts == [name]

fits(parts, name) if {
	last := count(parts) - 1
	last > 0
	startswith(name, parts[0])
	endswith(name, parts[last])
	every part in parts {
		contains(name, part)
	}
}

# Statements that say what whoever has them may do. What names a `Principal` says who may get at one thing, and `*` is that thing.
own contains [i, statement] if {
	some i, stated in documents.statements
	some statement in stated
	statement.effect == "Allow"
	is_own(input.resources[i].type, statement)
}

is_own(type, _) if documents.identities[type]

is_own(type, statement) if {
	type in {"aws_iam_policy_document", "aws_iam_role"}
	count(statement.principals) == 0
}

# Of each service something that only its owner does.
samples := {
	"iam:putrolepolicy", "s3:deletebucket", "ec2:runinstances", "lambda:updatefunctioncode", "dynamodb:deletetable",
	"rds:deletedbinstance", "kms:schedulekeydeletion", "secretsmanager:getsecretvalue", "sqs:deletequeue",
}

# Whoever may do one of these can give themselves every right.
keys := {
	"iam:addusertogroup", "iam:attachgrouppolicy", "iam:attachrolepolicy", "iam:attachuserpolicy",
	"iam:createaccesskey", "iam:createloginprofile", "iam:createpolicyversion", "iam:putgrouppolicy",
	"iam:putrolepolicy", "iam:putuserpolicy", "iam:setdefaultpolicyversion", "iam:updateassumerolepolicy",
	"iam:updateloginprofile", "organizations:attachpolicy", "organizations:createaccount",
}

# Whoever may do one of these on every role has what all roles have.
roles := {"iam:passrole", "sts:assumerole"}

probed := (samples | keys) | roles

# Resources as they are written that are all there is of a service, with the service, and what is probed of it. Whose account it
# is, and where, narrows nothing: it is the app's own.
broad[pattern] := {"service": service, "names": names} if {
	some [_, statement] in own
	some pattern in statement.resources
	service := service_of(lower(pattern))
	parts := pieces(service)
	names := {name | some name in probed; fits(parts, split(name, ":")[0])}
}

service_of(pattern) := "*" if star(pattern)

service_of(pattern) := "*" if {
	startswith(pattern, "arn:")
	star(substring(pattern, 4, -1))
}

service_of(pattern) := parts[2] if {
	parts := split(pattern, ":")
	count(parts) > 2
	parts[0] == "arn"
	not star(substring(pattern, 4, -1))
	whole(parts[2], concat("/", array.slice(parts, 5, count(parts))))
}

whole(_, rest) if trim(rest, "*?/") == ""

whole("iam", rest) if {
	words := split(rest, "/")
	words[0] in {"role", "user", "group", "policy"}
	trim(concat("", array.slice(words, 1, count(words))), "*?") == ""
}

# What is probed that an action as it is written takes in.
reach[action] := names if {
	some [_, statement] in own
	some action in array.concat(statement.actions, statement.all_actions_but)
	parts := pieces(lower(action))
	names := {name | some name in probed; fits(parts, name)}
}

services(statement) := {broad[pattern].service | some pattern in statement.resources} |
	{"*" | some _ in statement.all_resources_but}

covered(statement) := {name | some pattern in statement.resources; some name in broad[pattern].names} |
	{name | some name in probed; count(statement.all_resources_but) > 0}

permitted(statement) := {name | some action in statement.actions; some name in reach[action]} if {
	count(statement.all_actions_but) == 0
}

permitted(statement) := probed - {name | some action in statement.all_actions_but; some name in reach[action]} if {
	count(statement.all_actions_but) > 0
}

granted[i] contains name if {
	some [i, statement] in own
	some name in covered(statement) & permitted(statement)
}

# Everything but a few things is everything.
everything contains i if {
	some [i, statement] in own
	count(statement.all_actions_but) > 0
	count(services(statement)) > 0
}

everything contains i if {
	some i, names in granted
	count(samples - names) == 0
}

# To do all that gives roles.
everything contains i if {
	some [i, statement] in own
	some action in statement.actions
	lower(action) != "sts:assumerole"
	"sts:assumerole" in reach[action]
	"sts:assumerole" in covered(statement)
}

owner contains i if some i in everything

owner contains i if {
	some i, names in granted
	count(names & keys) > 0
}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i in everything
	resource := input.resources[i]
	title := "It may do everything to everything: whoever gets into the app owns the whole account"
	fix := "Write down what the app does, such as `s3:GetObject`, and on what, such as `arn:aws:s3:::my-bucket/*`, instead of `*`."
}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, fix) if {
	some i in owner
	not i in everything
	resource := input.resources[i]
	named := sort([name | some name in granted[i]; name in keys])
	title := concat("", ["It may give itself every right there is (`", named[0], "` on everything): whoever gets into the app owns the whole account"])
	fix := "Leave rights over IAM to whoever deploys the app. If it has to pass on one role, allow `iam:PassRole` with that role as `Resource`."
}

# What is written and read there is records of the app itself.
records := {"logs", "cloudwatch", "xray"}

# A whole service: all its actions on all that it has.
wide[i] contains [action, service] if {
	some [i, statement] in own
	not i in owner
	some action in statement.actions
	endswith(action, "*")
	parts := split(lower(action), ":")
	count(parts) == 2
	service := parts[0]
	trim(parts[1], "*?") == ""
	some open in services(statement)
	takes_in(open, service)
}

# Every action on all that one service has.
wide[i] contains [action, service] if {
	some [i, statement] in own
	not i in owner
	some action in statement.actions
	star(action)
	some service in services(statement)
	not star(service)
}

wide_title(action, service) := concat("", ["It may do everything with a whole service: `", action, "` on everything in `", service, "`"])

deny contains plan.found("privileges-wide", "wildcard_privileges", resource, title, narrower) if {
	some i, found in wide
	some [action, service] in found
	not service in records
	resource := input.resources[i]
	title := wide_title(action, service)
}

warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, narrower) if {
	some i, found in wide
	some [action, service] in found
	service in records
	resource := input.resources[i]
	title := wide_title(action, service)
}

narrower := "Write down the actions that the app needs, such as `s3:GetObject`, and the names of what it needs them on."

# To pass on or take on any role leads as far as the roles that there are.
warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, narrower_role) if {
	some i, names in granted
	not i in owner
	some name in names & roles
	resource := input.resources[i]
	title := concat("", ["It may use every role there is: `", name, "` on every role"])
}

narrower_role := "Name the one role that it needs in `Resource`, such as `aws_iam_role.app.arn`."

deny contains plan.found("role-for-everybody", "wildcard_privileges", resource, title, fix) if {
	some i in plan.at.aws_iam_role
	resource := input.resources[i]
	some statement in documents.statements[i]
	statement.effect == "Allow"
	"*" in statement.principals
	not statement.narrowed
	title := "Everybody with an AWS account can take on this role: its trust policy has the `Principal` `*`"
	fix := "Name who may take it on, such as `{ Service = \"lambda.amazonaws.com\" }`. Of conditions only such count that say who, as `aws:PrincipalOrgID` does."
}

attached[i] contains arn if {
	some type in [
		"aws_iam_policy_attachment",
		"aws_iam_role_policy_attachment",
		"aws_iam_user_policy_attachment",
		"aws_iam_group_policy_attachment",
		"aws_ssoadmin_managed_policy_attachment",
		"aws_iam_role_policy_attachments_exclusive",
		"aws_iam_user_policy_attachments_exclusive",
		"aws_iam_group_policy_attachments_exclusive",
		"aws_iam_role",
	]
	some i in plan.at[type]
	some attribute in ["policy_arn", "managed_policy_arn", "policy_arns", "managed_policy_arns"]
	some arn in plan.list(object.get(input.resources[i].values, attribute, null))
	is_string(arn)
}

# AWS's own policies, by their names.
given[i] contains name if {
	some i, arns in attached
	some arn in arns
	contains(arn, ":aws:policy/")
	parts := split(arn, "/")
	name := parts[count(parts) - 1]
}

masters := {"AdministratorAccess", "IAMFullAccess"}

almost := {"PowerUserAccess", "AWSOrganizationsFullAccess", "SystemAdministrator", "DatabaseAdministrator", "NetworkAdministrator"}

own_records := {"CloudWatchLogsFullAccess", "CloudWatchFullAccess", "CloudWatchFullAccessV2", "AWSXrayFullAccess", "AWSXRayFullAccess"}

deny contains plan.found("privileges-wildcard", "wildcard_privileges", resource, title, narrower_policy) if {
	some i, names in given
	some name in names & masters
	resource := input.resources[i]
	title := concat("", ["It gets `", name, "`: whoever gets into the app owns the whole account"])
}

deny contains plan.found("privileges-wide", "wildcard_privileges", resource, title, narrower_policy) if {
	some i, names in given
	some name in (names - masters) - own_records
	wide_name(name)
	resource := input.resources[i]
	title := concat("", ["It gets `", name, "`: whoever gets into the app can change everything that it is about"])
}

warn contains plan.found("privileges-wide", "wildcard_privileges", resource, title, narrower_policy) if {
	some i, names in given
	some name in names & own_records
	resource := input.resources[i]
	title := concat("", ["It gets `", name, "`: whoever gets into the app can take the traces away that it leaves"])
}

wide_name(name) if name in almost

wide_name(name) if contains(name, "FullAccess")

narrower_policy := "Attach a policy of your own that names what the app does, such as `s3:GetObject`, and on what. Those that end in `ReadOnlyAccess` are no matter."
