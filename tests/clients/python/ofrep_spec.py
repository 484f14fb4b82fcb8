"""Makes OFREP's published specification one that a server can meet, for schemathesis.

    ofrep_spec.py PUBLISHED MENDED KEY...

As published, no server can meet it: `codeDefaultFlag` asks for nothing, so every answer matches it
beside its own type, which `oneOf` forbids; and what its prose and its own examples allow is missing
from its enums.
"""

import sys

import yaml


def mend(spec, keys):
    schemas = spec["components"]["schemas"]
    any_of_instead(schemas["evaluationSuccess"]["allOf"][1])
    any_of_instead(schemas["bulkEvaluationSuccess"]["properties"]["flags"]["items"])
    # The specification's own bulk example answers FLAG_NOT_FOUND; the reason DEFAULT is OpenFeature's.
    schemas["evaluationFailure"]["properties"]["errorCode"]["enum"].append("FLAG_NOT_FOUND")
    schemas["evaluationSuccess"]["allOf"][0]["properties"]["reason"]["enum"].append("DEFAULT")
    # An empty key names nobody, and may be refused.
    schemas["context"]["properties"]["targetingKey"]["minLength"] = 1
    # Keys that exist, so that there are answers to look at, and one that does not.
    single = spec["paths"]["/ofrep/v1/evaluate/flags/{key}"]["post"]
    (key,) = (parameter for parameter in single["parameters"] if parameter["name"] == "key")
    key["schema"]["enum"] = [*keys, "no-such-flag"]
    key["example"] = keys[0]
    # With both schemes on offer a good token is sent beside a junk one of the other kind.
    spec["security"] = [{"BearerAuth": []}]
    # Plain HTTP, which the specification leaves to HTTP.
    for path in spec["paths"].values():
        for status, meaning in {"405": "Method Not Allowed", "413": "Content Too Large", "415": "Unsupported Media Type"}.items():
            path["post"]["responses"].setdefault(status, {"description": meaning})
    return spec


def any_of_instead(schema):
    schema["anyOf"] = schema.pop("oneOf")


published, mended, *flags = sys.argv[1:]
with open(published, encoding="utf-8") as file:
    specification = mend(yaml.safe_load(file), flags)
with open(mended, "w", encoding="utf-8") as file:
    yaml.safe_dump(specification, file, sort_keys=False)
