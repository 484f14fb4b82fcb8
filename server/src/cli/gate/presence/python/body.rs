//! What a piece of Python does: the names it uses, what it imports, and whether it asserts something.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::super::module::{Body, Import};
use super::super::syntax::{holds, part, parts, text_of};
use super::truth::{call_can_fail, statement_can_fail};

/// What a function does, its parameters and decorators included.
pub(super) fn of_function(function: Node<'_>, decorators: &[Node<'_>], text: &str) -> Body {
    let mut body = Body::default();
    let parameters = part(function, "parameters").map(parts).unwrap_or_default();
    for parameter in parameters {
        if let Some(name) = parameter_name(parameter, text) {
            body.fixtures.insert(name.to_owned());
            // What a test calls on itself is followed in its class.
            if !matches!(name, "self" | "cls") {
                body.locals.insert(name.to_owned());
            }
        }
        if let Some(value) = part(parameter, "value") {
            visit(value, text, &mut body, false);
        }
    }
    for statement in reached(function) {
        visit(statement, text, &mut body, false);
    }
    body.settle();
    for decorator in decorators {
        visit(*decorator, text, &mut body, true);
        if text_of(*decorator, text).contains("usefixtures") {
            strings(*decorator, text, &mut body.fixtures);
        }
    }
    body
}

/// The strings in a node, without their quotes.
fn strings(node: Node<'_>, text: &str, into: &mut BTreeSet<String>) {
    match node.kind() {
        "string_content" => {
            into.insert(text_of(node, text).to_owned());
        }
        _ => parts(node).into_iter().for_each(|inside| strings(inside, text, into)),
    }
}

/// What a statement, a class or an expression does, wherever it stands.
pub(super) fn of_node(node: Node<'_>, text: &str) -> Body {
    let mut body = Body::default();
    visit(node, text, &mut body, false);
    body
}

/// The statements of a function up to the first that always leaves it.
pub(super) fn reached<'t>(function: Node<'t>) -> Vec<Node<'t>> {
    let mut statements = part(function, "body").map(parts).unwrap_or_default();
    if let Some(last) =
        statements.iter().position(|it| matches!(it.kind(), "return_statement" | "raise_statement"))
    {
        statements.truncate(last + 1);
    }
    statements
}

/// What an import statement brings, and the modules from which it brings everything.
pub(super) fn imports(statement: Node<'_>, text: &str) -> (Vec<Import>, Vec<String>) {
    let mut cursor = statement.walk();
    let names: Vec<Node<'_>> = statement.children_by_field_name("name", &mut cursor).collect();
    let bare = |node: Node<'_>| -> String { text_of(node, text).split_whitespace().collect() };
    let named = |node: Node<'_>| match (part(node, "name"), part(node, "alias")) {
        (Some(name), Some(alias)) => (bare(name), bare(alias)),
        _ => (bare(node), bare(node)),
    };
    match part(statement, "module_name").map(bare) {
        None => {
            let whole = |node| {
                let (module, local) = named(node);
                Import { local, module, name: None }
            };
            (names.into_iter().map(whole).collect(), Vec::new())
        }
        Some(module) => {
            let star = parts(statement).iter().any(|part| part.kind() == "wildcard_import");
            let one = |node| {
                let (name, local) = named(node);
                Import { local, module: module.clone(), name: Some(name) }
            };
            (names.into_iter().map(one).collect(), star.then(|| module.clone()).into_iter().collect())
        }
    }
}

/// Visits code; `swallowed`: what fails here is caught and forgotten, so it asserts nothing.
fn visit(node: Node<'_>, text: &str, body: &mut Body, swallowed: bool) {
    match node.kind() {
        "function_definition" => {
            let inner = of_function(node, &[], text);
            if let Some(name) = part(node, "name") {
                body.inner.insert(text_of(name, text).to_owned(), inner);
            }
            return;
        }
        "import_statement" | "import_from_statement" => {
            body.imports.extend(imports(node, text).0);
            return;
        }
        "assert_statement" if !swallowed => match asserted_name(node, text) {
            Some(name) if name.chars().any(char::is_lowercase) => {
                body.asserted_names.insert(name.to_owned());
            }
            _ => body.asserts |= statement_can_fail(node, text),
        },
        "with_statement" if suppresses(node, text) => {
            return parts(node).into_iter().for_each(|inside| visit(inside, text, body, true));
        }
        "call" if !swallowed => body.asserts |= call_can_fail(node, text),
        "raise_statement" if !swallowed => {
            let raised = parts(node).into_iter().next().map_or("", |raised| text_of(raised, text));
            body.asserts |= raised.starts_with("AssertionError");
        }
        "try_statement" => return visit_try(node, text, body, swallowed),
        "attribute" => {
            if !holds_more_than_names(node) {
                let chain: String = text_of(node, text).split_whitespace().collect();
                return body.use_chain(&chain);
            }
            // Of `price(1).value` the name after the dot says nothing.
            if let Some(object) = part(node, "object") {
                visit(object, text, body, swallowed);
            }
            return;
        }
        "identifier" => {
            body.use_name(text_of(node, text));
            return;
        }
        "keyword_argument" => {
            if let Some(value) = part(node, "value") {
                visit(value, text, body, swallowed);
            }
            return;
        }
        "assignment" => {
            if let Some(left) = part(node, "left").filter(|left| left.kind() == "identifier") {
                body.locals.insert(text_of(left, text).to_owned());
            }
        }
        _ => {}
    }
    for inside in parts(node) {
        visit(inside, text, body, swallowed);
    }
}

/// A `try` whose handler takes every error and says nothing swallows the assertions before it.
fn visit_try(node: Node<'_>, text: &str, body: &mut Body, swallowed: bool) {
    let mut swallows = false;
    for clause in parts(node).into_iter().filter(|part| part.kind() == "except_clause") {
        let mut handler = Body::default();
        parts(clause).into_iter().for_each(|inside| visit(inside, text, &mut handler, swallowed));
        let caught = parts(clause).into_iter().next().filter(|first| first.kind() != "block");
        // `MyException` may be anything, so it is held for what takes all.
        let takes_all = caught.is_none_or(|caught| {
            let caught = text_of(caught, text);
            ["AssertionError", "Exception", "BaseException"].iter().any(|all| caught.contains(all))
        });
        swallows |= takes_all && !handler.asserts && !holds(clause, &["raise_statement", "assert_statement"]);
        body.join(&handler);
    }
    // A `return` in it forgets the error that is on its way.
    let ends = parts(node).into_iter().filter(|part| part.kind() == "finally_clause");
    swallows |= ends.into_iter().flat_map(parts).flat_map(parts).any(|it| it.kind() == "return_statement");
    for inside in parts(node).into_iter().filter(|part| part.kind() != "except_clause") {
        visit(inside, text, body, swallowed || (swallows && inside.kind() == "block"));
    }
}

/// Whether a `with` forgets every error in it: `contextlib.suppress(Exception)`.
fn suppresses(with: Node<'_>, text: &str) -> bool {
    let clause = parts(with).into_iter().find(|inside| inside.kind() == "with_clause");
    clause.map(parts).unwrap_or_default().into_iter().any(|item| {
        let written: String = text_of(item, text).split_whitespace().collect();
        let caught =
            written.split_once("suppress(").filter(|(before, _)| before.is_empty() || before.ends_with('.'));
        caught.is_some_and(|(_, caught)| {
            ["AssertionError", "Exception", "BaseException"]
                .iter()
                .any(|all| caught.split([',', ')', '.']).any(|one| one == *all))
        })
    })
}

/// The name of which an `assert` says no more than that it stands for something: `assert price`, `assert price is not None`,
/// `assert callable(price)`.
fn asserted_name<'t>(statement: Node<'_>, text: &'t str) -> Option<&'t str> {
    let condition = parts(statement).into_iter().next()?;
    let named = |node: Node<'_>| (node.kind() == "identifier").then(|| text_of(node, text));
    match condition.kind() {
        "identifier" => named(condition),
        "call" => {
            let callable = part(condition, "function").is_some_and(|it| text_of(it, text) == "callable");
            let first = part(condition, "arguments").map(parts).and_then(|all| all.first().copied());
            first.filter(|_| callable).and_then(named)
        }
        "comparison_operator" => {
            let words: Vec<&str> = text_of(condition, text).split_whitespace().collect();
            parts(condition)
                .first()
                .copied()
                .filter(|_| words.ends_with(&["is", "not", "None"]))
                .and_then(named)
        }
        _ => None,
    }
}

/// Whether a chain has anything but names and dots in it.
fn holds_more_than_names(chain: Node<'_>) -> bool {
    parts(chain).into_iter().any(|part| match part.kind() {
        "identifier" => false,
        "attribute" => holds_more_than_names(part),
        _ => true,
    })
}

fn parameter_name<'t>(parameter: Node<'_>, text: &'t str) -> Option<&'t str> {
    match parameter.kind() {
        "identifier" => Some(text_of(parameter, text)),
        "default_parameter" | "typed_default_parameter" => {
            part(parameter, "name").map(|name| text_of(name, text))
        }
        "typed_parameter" => parts(parameter).first().map(|name| text_of(*name, text)),
        _ => None,
    }
}
