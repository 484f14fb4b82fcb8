"""Runs our policies over the same plans with another interpreter of Rego, and says where it finds something else.

    compare.py CASES.json

The file is written by tests/tests/all/rego.rs. Ends with 1 if anything differs, or nothing was compared."""

import json
import sys

from regopy import Interpreter

CONCERNS = ("public_data", "wildcard_privileges", "tags", "size", "encryption", "custom")
SEVERITIES = {"deny": "high", "warn": "medium", "note": "low"}
LONGEST_TEXT_BYTES = 500


def packages(modules):
    """Which sets each package has, by the lines that add to them."""
    for module in modules:
        lines = module["text"].splitlines()
        package = next(line for line in lines if line.startswith("package ")).split()[1]
        for effect in SEVERITIES:
            if any(line.startswith(f"{effect} contains ") for line in lines):
                yield package, effect


def cut(text):
    return text.encode()[:LONGEST_TEXT_BYTES].decode(errors="ignore")


def key(effect, rule, concern, severity, title, resource, fix):
    assert concern in CONCERNS, concern
    return json.dumps([effect, rule, concern, severity, cut(title), resource, cut(fix or "")])


def expected(findings):
    for entry in findings:
        one = entry["finding"]
        yield key(entry["effect"], one["rule"], entry["concern"], one["severity"], one["title"], one.get("subject"), one.get("fix"))


def found(interpreter, asked):
    # All at once: each query takes the modules apart anew.
    query = "; ".join(f"f{number} := data.{package}.{effect}" for number, (package, effect) in enumerate(asked))
    bindings = json.loads(str(interpreter.query(query)))["bindings"]
    for number, (_, effect) in enumerate(asked):
        for one in bindings[f"f{number}"]:
            severity = one.get("severity", SEVERITIES[effect])
            concern = one.get("concern", "custom")
            yield key(effect, one["rule"], concern, severity, one["title"], one.get("resource"), one.get("fix"))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    asked = list(packages(cases["modules"]))
    interpreter = Interpreter()
    for module in cases["modules"]:
        interpreter.add_module(module["name"], module["text"])
    compared = different = 0
    for number, case in enumerate(cases["cases"]):
        interpreter.set_input(case["input"])
        here, there = sorted(expected(case["expected"])), sorted(found(interpreter, asked))
        compared += len(here)
        for missing in [one for one in here if one not in there]:
            different += 1
            print(f"case {number}: only the server finds {missing}")
        for more in [one for one in there if one not in here]:
            different += 1
            print(f"case {number}: only the other interpreter finds {more}")
    print(f"{len(cases['cases'])} cases, {compared} findings, {different} differences")
    sys.exit(1 if different or not compared else 0)


if __name__ == "__main__":
    main()
