//! Which assertions of JavaScript and TypeScript can fail, in the words of node:assert, Jest, Vitest, Chai, AVA and supertest.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::super::syntax::{bare_text, holds, part, parts, text_of};

/// Kinds of nodes through which an expression depends on something.
const VARYING: [&str; 8] = [
    "identifier",
    "member_expression",
    "subscript_expression",
    "call_expression",
    "new_expression",
    "await_expression",
    "this",
    "shorthand_property_identifier",
];
/// Properties with which Chai asserts without a call.
const CHAI_PROPERTIES: [&str; 12] = [
    "true",
    "false",
    "null",
    "undefined",
    "ok",
    "empty",
    "exist",
    "NaN",
    "arguments",
    "finite",
    "frozen",
    "sealed",
];
/// Methods with which the object of a test asserts: AVA, tap, tape and node:test.
const TEST_OBJECT: [&str; 30] = [
    "is",
    "not",
    "isNot",
    "equal",
    "equals",
    "notEqual",
    "same",
    "notSame",
    "strictSame",
    "deepEqual",
    "notDeepEqual",
    "strictEqual",
    "like",
    "match",
    "regex",
    "notRegex",
    "true",
    "false",
    "truthy",
    "falsy",
    "ok",
    "notOk",
    "throws",
    "throwsAsync",
    "notThrows",
    "notThrowsAsync",
    "rejects",
    "snapshot",
    "fail",
    "error",
];
/// Assertions of two values.
const EQUALITIES: [&str; 16] = [
    "toBe",
    "toEqual",
    "toStrictEqual",
    "equal",
    "equals",
    "eql",
    "eq",
    "is",
    "same",
    "strictEqual",
    "deepEqual",
    "deepStrictEqual",
    "strictSame",
    "notStrictEqual",
    "notEqual",
    "toMatchObject",
];

/// What stands for assertions in a file or test.
#[derive(Clone, Debug, Default)]
pub(super) struct Asserters {
    /// Names of functions and objects that assert: `assert`, or `strictEqual` of node:assert.
    pub(super) names: BTreeSet<String>,
    /// Names of the objects that tests get: `t`.
    pub(super) objects: BTreeSet<String>,
}

/// Whether modules of this name hold assertions.
pub(super) fn is_assertion_module(module: &str) -> bool {
    matches!(
        module.strip_prefix("node:").unwrap_or(module),
        "assert" | "assert/strict" | "chai" | "power-assert"
    )
}

/// Whether a call is an assertion that can fail.
pub(super) fn call_can_fail(call: Node<'_>, text: &str, asserters: &Asserters) -> bool {
    let Some(function) = part(call, "function") else { return false };
    let arguments = part(call, "arguments").map(parts).unwrap_or_default();
    if function.kind() == "identifier" {
        let name = text_of(function, text);
        return name == "fail" || (asserters.names.contains(name) && can_fail(name, &arguments, text));
    }
    if function.kind() != "member_expression" {
        return false;
    }
    let chain = Chain::of(function, text);
    let Some(last) = chain.names.last().copied() else { return false };
    match chain.root {
        Root::Expect(subject) => can_fail_of(last, subject, &arguments, text),
        Root::Name("expect") => matches!(last, "fail" | "unreachable"),
        Root::Name("cy") | Root::Other if last == "should" => !arguments.is_empty(),
        Root::Name(name) if asserters.names.contains(name) => {
            last == "fail" || can_fail(last, &arguments, text)
        }
        Root::Name(name) if asserters.objects.contains(name) => {
            let by_assert = chain.names.len() > 1 && chain.names[0] == "assert";
            last == "fail" || ((by_assert || TEST_OBJECT.contains(&last)) && can_fail(last, &arguments, text))
        }
        // `request(app).get('/').expect(200)`
        Root::Other if last == "expect" => !arguments.is_empty(),
        // `price.should.equal(1)`, `sinon.assert.calledOnce(spy)`
        Root::Name(_) | Root::Other => {
            chain.names.iter().rev().skip(1).any(|name| matches!(*name, "should" | "assert"))
        }
    }
}

/// Whether a statement is one of Chai's assertions that call nothing: `expect(x).to.be.true`.
pub(super) fn property_can_fail(member: Node<'_>, text: &str) -> bool {
    let chain = Chain::of(member, text);
    let Some(last) = chain.names.last() else { return false };
    CHAI_PROPERTIES.contains(last)
        && match chain.root {
            Root::Expect(subject) => holds(subject, &VARYING),
            _ => chain.names.contains(&"should"),
        }
}

/// The name of which a call asserts no more than that it stands for something: `expect(price).toBeDefined()`,
/// `expect(typeof price).toBe('function')`, `assert(price)`.
pub(super) fn asserted_name<'s>(call: Node<'_>, text: &'s str) -> Option<&'s str> {
    let function = part(call, "function")?;
    let arguments = part(call, "arguments").map(parts).unwrap_or_default();
    let named = |node: Node<'_>| (node.kind() == "identifier").then(|| text_of(node, text));
    let typed = |node: Node<'_>| {
        let is_typeof = node.kind() == "unary_expression" && text_of(node, text).starts_with("typeof");
        part(node, "argument").filter(|_| is_typeof).and_then(named)
    };
    if function.kind() == "identifier" {
        let asserts = matches!(text_of(function, text), "assert" | "ok");
        return arguments.first().copied().filter(|_| asserts).and_then(named);
    }
    let chain = Chain::of(function, text);
    let Root::Expect(subject) = chain.root else {
        let is_ok = matches!(text_of(function, text), "assert.ok" | "t.ok" | "t.truthy");
        return arguments.first().copied().filter(|_| is_ok).and_then(named);
    };
    let nothing = ["toBeNull", "toBeUndefined", "toBeFalsy"];
    match chain.names.as_slice() {
        ["toBeDefined" | "toBeTruthy"] => named(subject),
        ["not", matcher] if nothing.contains(matcher) => named(subject),
        ["toBe" | "toEqual" | "toStrictEqual"] => typed(subject),
        ["toBeInstanceOf"] => {
            let is_function = arguments.first().is_some_and(|of| text_of(*of, text) == "Function");
            named(subject).filter(|_| is_function)
        }
        _ => None,
    }
}

/// Whether a call catches what fails before it and says nothing: `check().catch(() => {})`.
pub(super) fn forgets_errors(call: Node<'_>, text: &str) -> bool {
    let function = part(call, "function");
    let catches = function.and_then(|it| part(it, "property")).is_some_and(|it| text_of(it, text) == "catch");
    let handler = part(call, "arguments").map(parts).and_then(|all| all.first().copied());
    catches
        && handler
            .and_then(|handler| part(handler, "body"))
            .is_some_and(|it| text_of(it, text).split_whitespace().collect::<String>() == "{}")
}

/// Whether a call asserts something of a promise, and gives back one: `expect(price()).resolves.toBe(1)`, `assert.rejects(price())`.
pub(super) fn is_promised(call: Node<'_>, text: &str) -> bool {
    let Some(function) = part(call, "function").filter(|it| it.kind() == "member_expression") else {
        return false;
    };
    let chain = Chain::of(function, text);
    match chain.root {
        Root::Expect(_) => chain.names.iter().any(|name| matches!(*name, "resolves" | "rejects")),
        Root::Name("assert") => chain.names == ["rejects"],
        _ => false,
    }
}

/// What a chain of names and calls begins with.
enum Root<'t, 's> {
    /// `expect(subject)`, and its variants `expect.soft(subject)` and `expect.poll(subject)`.
    Expect(Node<'t>),
    /// A name.
    Name(&'s str),
    /// A call or anything else.
    Other,
}

/// A chain such as `expect(x).not.toBe`: its root, and the names after it.
struct Chain<'t, 's> {
    root: Root<'t, 's>,
    names: Vec<&'s str>,
}

impl<'t, 's> Chain<'t, 's> {
    fn of(member: Node<'t>, text: &'s str) -> Chain<'t, 's> {
        let mut names = Vec::new();
        let mut at = member;
        let mut has_calls = false;
        let root = loop {
            let next = match at.kind() {
                "member_expression" => {
                    names.extend(part(at, "property").map(|property| text_of(property, text)));
                    part(at, "object")
                }
                "non_null_expression" | "parenthesized_expression" => parts(at).first().copied(),
                "identifier" if has_calls => None,
                "identifier" => break Root::Name(text_of(at, text)),
                "call_expression" => {
                    if let Some(subject) = expected(at, text) {
                        break Root::Expect(subject);
                    }
                    // Of Chai: `expect(x).to.have.property('a').that.equals(1)`.
                    has_calls = true;
                    part(at, "function")
                }
                _ => None,
            };
            match next {
                Some(next) => at = next,
                None => break Root::Other,
            }
        };
        names.reverse();
        Chain { root, names }
    }
}

/// The subject of `expect(subject)` and its variants.
fn expected<'t>(call: Node<'t>, text: &str) -> Option<Node<'t>> {
    let function = part(call, "function").map(|function| text_of(function, text))?;
    let expects = matches!(function, "expect" | "expect.soft" | "expect.poll" | "chai.expect" | "should");
    part(call, "arguments").filter(|_| expects).and_then(|all| parts(all).first().copied())
}

/// Whether `expect(subject).matcher(arguments)` can fail.
fn can_fail_of(matcher: &str, subject: Node<'_>, arguments: &[Node<'_>], text: &str) -> bool {
    let same = EQUALITIES.contains(&matcher)
        && arguments.first().is_some_and(|argument| bare_text(*argument, text) == bare_text(subject, text));
    let varies = holds(subject, &VARYING) || arguments.iter().any(|argument| holds(*argument, &VARYING));
    varies && !same && !is_always_true(subject, text)
}

/// Whether an assertion of plain values can fail.
fn can_fail(name: &str, arguments: &[Node<'_>], text: &str) -> bool {
    let is_equality = EQUALITIES.contains(&name) || name.to_ascii_lowercase().ends_with("equal");
    let asserted = &arguments[..arguments.len().min(if is_equality { 2 } else { 1 })];
    let same =
        is_equality && asserted.len() == 2 && bare_text(asserted[0], text) == bare_text(asserted[1], text);
    let varies = asserted.iter().any(|value| holds(*value, &VARYING));
    varies && !same && !asserted.first().is_some_and(|first| !is_equality && is_always_true(*first, text))
}

/// Whether an expression is true, whatever the code under test does: `true`, `x === x`, `x || true`.
fn is_always_true(node: Node<'_>, text: &str) -> bool {
    match node.kind() {
        "true" => true,
        "parenthesized_expression" => parts(node).first().is_some_and(|inside| is_always_true(*inside, text)),
        "number" => text_of(node, text).chars().any(|c| ('1'..='9').contains(&c)),
        "binary_expression" => {
            let (Some(left), Some(right)) = (part(node, "left"), part(node, "right")) else { return false };
            match part(node, "operator").map(|operator| text_of(operator, text)) {
                Some("||") => is_always_true(left, text) || is_always_true(right, text),
                Some("&&") => is_always_true(left, text) && is_always_true(right, text),
                Some("==" | "===" | "<=" | ">=") => bare_text(left, text) == bare_text(right, text),
                _ => false,
            }
        }
        _ => false,
    }
}
