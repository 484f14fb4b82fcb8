//! Marks and calls that keep a test of Python from running, or from counting when it does.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::super::syntax::{part, parts, text_of};
use super::truth::{Constant, constant};

/// Whether a decorator, or an entry of `pytestmark`, keeps its tests from counting. `skips` are names of marks that the file made
/// for itself.
pub(super) fn skips(mark: Node<'_>, text: &str, skips: &BTreeSet<String>) -> bool {
    match mark.kind() {
        "decorator" => parts(mark).first().is_some_and(|mark| self::skips(*mark, text, skips)),
        "list" | "tuple" | "parenthesized_expression" => {
            parts(mark).into_iter().any(|mark| self::skips(mark, text, skips))
        }
        "call" => {
            let Some(function) = part(mark, "function") else { return false };
            let arguments = part(mark, "arguments").map(parts).unwrap_or_default();
            let condition = arguments.into_iter().find_map(|argument| condition(argument, text));
            // A condition in a string is evaluated when the tests run.
            let condition = condition.filter(|condition| condition.kind() != "string");
            let always = condition.map(|condition| constant(condition, text));
            match last_name(function, text) {
                "skipif" | "skipIf" => matches!(always, Some(Constant::True | Constant::Literal)),
                "skipUnless" => matches!(always, Some(Constant::False | Constant::Literal)),
                _ => self::skips(function, text, skips),
            }
        }
        "attribute" | "identifier" => {
            matches!(last_name(mark, text), "skip" | "xfail" | "expectedFailure")
                || skips.contains(text_of(mark, text))
        }
        _ => false,
    }
}

/// The condition among the arguments of `skipif`: the first without a name, or the one called so.
fn condition<'t>(argument: Node<'t>, text: &str) -> Option<Node<'t>> {
    match argument.kind() {
        "keyword_argument" => part(argument, "value")
            .filter(|_| part(argument, "name").is_some_and(|name| text_of(name, text) == "condition")),
        _ => Some(argument),
    }
}

/// Whether a statement stops the test as skipped: `pytest.skip(…)`, `self.skipTest(…)`, `raise SkipTest`.
pub(super) fn is_skip_statement(statement: Node<'_>, text: &str) -> bool {
    let Some(inner) = parts(statement).into_iter().next() else { return false };
    match (statement.kind(), inner.kind()) {
        ("expression_statement", "call") => part(inner, "function").is_some_and(|function| {
            let name = last_name(function, text);
            let by_pytest = function.kind() == "identifier" || text_of(function, text).starts_with("pytest.");
            name == "skipTest" || (by_pytest && matches!(name, "skip" | "xfail"))
        }),
        ("raise_statement", _) => {
            text_of(inner, text).split('(').next().is_some_and(|raised| raised.ends_with("SkipTest"))
        }
        _ => false,
    }
}

/// The last name of a chain: `skip` of `pytest.mark.skip`.
fn last_name<'t>(node: Node<'_>, text: &'t str) -> &'t str {
    text_of(node, text).rsplit('.').next().unwrap_or_default().trim()
}
