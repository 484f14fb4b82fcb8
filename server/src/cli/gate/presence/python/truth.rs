//! Which assertions of Python can fail.

use tree_sitter::Node;

use super::super::syntax::{bare_text, holds, part, parts, text_of};

/// What is known of an expression without running it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    /// It is true, whatever the code under test does.
    True,
    /// It is false, whatever the code under test does.
    False,
    /// It is made of literals alone, and nobody cares what it is.
    Literal,
    /// It depends on something.
    Varies,
}

/// Kinds of nodes through which an expression depends on something.
const VARYING: [&str; 5] = ["identifier", "attribute", "call", "subscript", "await"];

/// What an expression is without running it.
pub(super) fn constant(node: Node<'_>, text: &str) -> Constant {
    let inside = parts(node);
    match node.kind() {
        "true" => Constant::True,
        "false" | "none" => Constant::False,
        "integer" | "float" => match text_of(node, text).chars().all(|c| matches!(c, '0' | '.' | '_')) {
            true => Constant::False,
            false => Constant::True,
        },
        "parenthesized_expression" => inside.first().map_or(Constant::Varies, |inner| constant(*inner, text)),
        // `assert (x == 1, "why")` asserts that a pair is not empty.
        "tuple" | "list" | "set" | "dictionary" => match inside.is_empty() {
            true => Constant::False,
            false if holds(node, &["list_splat", "dictionary_splat"]) => Constant::Varies,
            false => Constant::True,
        },
        "lambda" => Constant::True,
        "not_operator" => match part(node, "argument").map(|inner| constant(inner, text)) {
            Some(Constant::True) => Constant::False,
            Some(Constant::False) => Constant::True,
            Some(other) => other,
            None => Constant::Varies,
        },
        "boolean_operator" => of_both(node, text),
        "comparison_operator" => of_comparison(node, &inside, text),
        "named_expression" => part(node, "value").map_or(Constant::Varies, |value| constant(value, text)),
        _ if !holds(node, &VARYING) => Constant::Literal,
        _ => Constant::Varies,
    }
}

fn of_both(node: Node<'_>, text: &str) -> Constant {
    let side = |field| part(node, field).map_or(Constant::Varies, |side| constant(side, text));
    let sides = [side("left"), side("right")];
    let is_or = part(node, "operator").is_some_and(|operator| text_of(operator, text) == "or");
    let (wins, needs) =
        if is_or { (Constant::True, Constant::False) } else { (Constant::False, Constant::True) };
    match sides {
        _ if sides.contains(&wins) => wins,
        [one, other] if one == needs && other == needs => needs,
        [Constant::Varies, _] | [_, Constant::Varies] => Constant::Varies,
        _ => Constant::Literal,
    }
}

fn of_comparison(node: Node<'_>, sides: &[Node<'_>], text: &str) -> Constant {
    if !holds(node, &VARYING) {
        return Constant::Literal;
    }
    let [left, right] = sides else { return Constant::Varies };
    let mut cursor = node.walk();
    let operator: String =
        node.children_by_field_name("operators", &mut cursor).map(|word| text_of(word, text)).collect();
    let same = bare_text(*left, text) == bare_text(*right, text);
    match operator.as_str() {
        "==" | "is" | "<=" | ">=" if same => Constant::True,
        // A length is never less than nothing.
        ">=" if bare_text(*left, text).starts_with("len(") && text_of(*right, text) == "0" => Constant::True,
        _ => Constant::Varies,
    }
}

/// Whether an `assert` statement can fail. `assert False` can: it stands where nothing should come by.
pub(super) fn statement_can_fail(statement: Node<'_>, text: &str) -> bool {
    let condition = parts(statement).into_iter().next();
    condition.is_some_and(|condition| match constant(condition, text) {
        Constant::Varies | Constant::False => true,
        Constant::True | Constant::Literal => false,
    })
}

/// Whether a call is an assertion that can fail: `pytest.raises`, `self.assertEqual`, `np.testing.assert_allclose` and so on.
pub(super) fn call_can_fail(call: Node<'_>, text: &str) -> bool {
    let Some(function) = part(call, "function") else { return false };
    let name = match function.kind() {
        "attribute" => part(function, "attribute").map_or("", |name| text_of(name, text)),
        "identifier" => text_of(function, text),
        _ => return false,
    };
    let object = part(function, "object");
    let arguments: Vec<Node<'_>> = part(call, "arguments").map(parts).unwrap_or_default();
    let by_pytest = object.is_none_or(|object| text_of(object, text) == "pytest");
    match name {
        "raises" | "warns" | "deprecated_call" | "fail" if by_pytest => true,
        "fail" => object.is_some_and(|object| matches!(text_of(object, text), "self" | "cls")),
        // Browser tests: `expect(page).to_have_title(…)`.
        _ if name.starts_with("to_") || name.starts_with("not_to_") => object.is_some_and(|object| {
            object.kind() == "call"
                && part(object, "function").is_some_and(|root| text_of(root, text) == "expect")
        }),
        _ if is_assertion_name(name) => arguments_can_fail(name, object, &arguments, text),
        _ => false,
    }
}

/// `assertEqual`, `assert_called_once`, and not `assertion_count` or `assertive`.
fn is_assertion_name(name: &str) -> bool {
    let rest = name.strip_prefix("assert");
    rest.and_then(|rest| rest.chars().next()).is_some_and(|next| next == '_' || next.is_ascii_uppercase())
}

fn arguments_can_fail(name: &str, object: Option<Node<'_>>, arguments: &[Node<'_>], text: &str) -> bool {
    let values: Vec<Node<'_>> =
        arguments.iter().copied().filter(|argument| argument.kind() != "keyword_argument").collect();
    let is_raising =
        ["assertRaises", "assertWarns", "assertLogs", "assertNoLogs"].iter().any(|of| name.starts_with(of));
    // Of a mock, what was called is the object's own: `notify.assert_called_once()`, `notify.assert_called_with(1)`.
    let of_mock = object.is_some_and(|object| !matches!(text_of(object, text), "self" | "cls"))
        && ["assert_called", "assert_any", "assert_has", "assert_not", "assert_await"]
            .iter()
            .any(|of| name.starts_with(of));
    if is_raising || of_mock {
        return true;
    }
    let Some(first) = values.first() else { return arguments.iter().any(|value| holds(*value, &VARYING)) };
    match name {
        "assertTrue" | "assertFalse" | "assert_" => constant(*first, text) == Constant::Varies,
        // Only what is asserted counts; the message may hold anything.
        "assertIsNone" | "assertIsNotNone" => holds(*first, &VARYING),
        _ => {
            let asserted = &values[..values.len().min(2)];
            let varies = asserted.iter().any(|value| holds(*value, &VARYING));
            let same = asserted.len() == 2 && bare_text(asserted[0], text) == bare_text(asserted[1], text);
            varies && !same
        }
    }
}
