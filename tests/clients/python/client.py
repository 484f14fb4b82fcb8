"""A line in, a line out: evaluates flags through the OpenFeature Python SDK and its OFREP provider.

Reads BASE_URL and TOKEN from the environment, then one question a line from standard input
({"key", "type", "context"}), and answers each with one line of what the SDK handed back.
"""

import json
import os
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

DEFAULTS = {"boolean": False, "string": "code default", "integer": -1, "float": -1.5, "object": {"code": "default"}}


def connect():
    bearer = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    api.set_provider(OFREPProvider(os.environ["BASE_URL"], headers_factory=lambda: bearer))
    return api.get_client()


def answer(client, question):
    attributes = dict(question.get("context", {}))
    context = EvaluationContext(attributes.pop("targetingKey", None), attributes)
    ask = getattr(client, f"get_{question['type']}_details")
    details = ask(question["key"], DEFAULTS[question["type"]], context)
    return {
        "value": details.value,
        "variant": details.variant,
        "reason": text(details.reason),
        "errorCode": text(details.error_code),
        "errorMessage": details.error_message,
        "metadata": dict(details.flag_metadata),
    }


def text(item):
    return None if item is None else str(getattr(item, "value", item))


def say(line):
    print(json.dumps(line), flush=True)


def main():
    client = connect()
    say({"event": "ready"})
    for line in sys.stdin:
        say(answer(client, json.loads(line)))


main()
