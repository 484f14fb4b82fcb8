//! What a piece of JavaScript or TypeScript does: the names it uses, what it imports, and whether it asserts something.

use tree_sitter::Node;

use super::super::module::{Body, Import};
use super::super::syntax::{holds, part, parts, text_of};
use super::truth::{Asserters, asserted_name, call_can_fail, forgets_errors, is_promised, property_can_fail};

/// Kinds of nodes that are functions.
pub(super) const FUNCTIONS: [&str; 6] = [
    "function_declaration",
    "generator_function_declaration",
    "function_expression",
    "generator_function",
    "arrow_function",
    "method_definition",
];

/// What a function does, its parameters included.
pub(super) fn of_function(function: Node<'_>, text: &str, asserters: &Asserters) -> Body {
    let mut body = Body::default();
    visit_function(function, text, &mut body, asserters, false);
    body.settle();
    body
}

/// What a statement or an expression does, wherever it stands.
pub(super) fn of_node(node: Node<'_>, text: &str, asserters: &Asserters) -> Body {
    let mut body = Body::default();
    visit(node, text, &mut body, asserters, false);
    body
}

/// The names that a pattern gives a meaning: `a` and `c` of `{ a, b: c }`.
pub(super) fn bound_names(pattern: Node<'_>, text: &str, into: &mut Vec<String>) {
    match pattern.kind() {
        "identifier" | "shorthand_property_identifier_pattern" => {
            into.push(text_of(pattern, text).to_owned())
        }
        "pair_pattern" => part(pattern, "value").into_iter().for_each(|value| bound_names(value, text, into)),
        "assignment_pattern" | "object_assignment_pattern" => {
            part(pattern, "left").into_iter().for_each(|left| bound_names(left, text, into));
        }
        "required_parameter" | "optional_parameter" => {
            part(pattern, "pattern").into_iter().for_each(|inside| bound_names(inside, text, into));
        }
        "object_pattern" | "array_pattern" | "rest_pattern" | "formal_parameters" => {
            parts(pattern).into_iter().for_each(|inside| bound_names(inside, text, into));
        }
        _ => {}
    }
}

/// The text of a string without its quotes; none if a part of it is only known when it runs.
pub(super) fn plain_string(node: Node<'_>, text: &str) -> Option<String> {
    match node.kind() {
        "string" => Some(parts(node).into_iter().map(|piece| unescaped(piece, text)).collect()),
        "template_string" if !holds(node, &["template_substitution"]) => {
            Some(text_of(node, text).trim_matches('`').to_owned())
        }
        _ => None,
    }
}

/// A piece of a string: `\'` means `'`.
fn unescaped(piece: Node<'_>, text: &str) -> String {
    let written = text_of(piece, text);
    match (piece.kind(), written.strip_prefix('\\')) {
        ("escape_sequence", Some("n")) => "\n".to_owned(),
        ("escape_sequence", Some("t")) => "\t".to_owned(),
        ("escape_sequence", Some(quoted)) if quoted.chars().count() == 1 => quoted.to_owned(),
        _ => written.to_owned(),
    }
}

/// The module that an expression loads, and the name taken of it: `require('./x')`, `await import('./x')`,
/// `require('./x').price`.
pub(super) fn loaded(node: Node<'_>, text: &str) -> Option<(String, Option<String>)> {
    match node.kind() {
        "await_expression" | "parenthesized_expression" => {
            parts(node).first().and_then(|inside| loaded(*inside, text))
        }
        "member_expression" => {
            let (module, name) = loaded(part(node, "object")?, text)?;
            let property = text_of(part(node, "property")?, text).to_owned();
            name.is_none().then_some((module, Some(property)))
        }
        "call_expression" => {
            let function = text_of(part(node, "function")?, text);
            let loads = matches!(
                function,
                "require"
                    | "import"
                    | "jest.requireActual"
                    | "vi.importActual"
                    | "jest.requireMock"
                    | "proxyquire"
            );
            let first = parts(part(node, "arguments")?).first().copied()?;
            plain_string(first, text).filter(|_| loads).map(|module| (module, None))
        }
        _ => None,
    }
}

/// What `const … = require(…)` brings.
pub(super) fn declared_imports(declarator: Node<'_>, text: &str) -> Vec<Import> {
    let sides =
        part(declarator, "name").and_then(|name| Some((name, loaded(part(declarator, "value")?, text)?)));
    let Some((pattern, (module, name))) = sides else { return Vec::new() };
    let import =
        |local: &str, name: Option<String>| Import { local: local.to_owned(), module: module.clone(), name };
    match pattern.kind() {
        "identifier" => vec![import(text_of(pattern, text), name)],
        "object_pattern" => parts(pattern)
            .into_iter()
            .filter_map(|inside| match inside.kind() {
                "shorthand_property_identifier_pattern" => {
                    let local = text_of(inside, text);
                    Some(import(local, Some(local.to_owned())))
                }
                "pair_pattern" => {
                    let key = text_of(part(inside, "key")?, text);
                    Some(import(text_of(part(inside, "value")?, text), Some(key.to_owned())))
                }
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn visit_function(function: Node<'_>, text: &str, body: &mut Body, asserters: &Asserters, swallowed: bool) {
    let parameters = part(function, "parameters").or_else(|| part(function, "parameter"));
    if let Some(parameters) = parameters {
        let mut names = Vec::new();
        bound_names(parameters, text, &mut names);
        body.locals.extend(names);
    }
    let Some(inside) = part(function, "body") else { return };
    if inside.kind() != "statement_block" {
        return visit(inside, text, body, asserters, swallowed);
    }
    for statement in parts(inside) {
        visit(statement, text, body, asserters, swallowed);
        // Nothing after it is ever reached, but for functions, which are there from the start.
        if matches!(statement.kind(), "return_statement" | "throw_statement") {
            break;
        }
    }
}

/// Visits code; `swallowed`: what fails here is caught and forgotten, so it asserts nothing.
fn visit(node: Node<'_>, text: &str, body: &mut Body, asserters: &Asserters, swallowed: bool) {
    match node.kind() {
        "function_declaration" | "generator_function_declaration" => {
            return inner(node, part(node, "name"), text, body, asserters);
        }
        "variable_declarator" => return visit_declarator(node, text, body, asserters, swallowed),
        "arrow_function" | "function_expression" | "generator_function" | "method_definition" => {
            let mut inside = Body::default();
            visit_function(node, text, &mut inside, asserters, swallowed);
            inside.settle();
            body.absorb(&inside);
            // Its own names are none of those that the whole imports.
            let own = std::mem::take(&mut inside.asserted_names);
            body.asserts |= inside.asserts || own.iter().any(|name| inside.locals.contains(name));
            body.asserted_names.extend(own.into_iter().filter(|name| !inside.locals.contains(name)));
            return;
        }
        "identifier" | "shorthand_property_identifier" => {
            body.use_name(text_of(node, text));
        }
        "member_expression" if is_chain(node) => {
            let chain: String = text_of(node, text).split_whitespace().collect();
            return body.use_chain(&chain.replace('?', ""));
        }
        // Nobody waits for it: it fails, if at all, when the test is long over.
        "expression_statement" if parts(node).into_iter().any(|inside| is_promised(inside, text)) => {
            return parts(node).into_iter().for_each(|inside| visit(inside, text, body, asserters, true));
        }
        "expression_statement" if !swallowed => {
            let member = parts(node).into_iter().next().filter(|inside| inside.kind() == "member_expression");
            body.asserts |= member.is_some_and(|member| property_can_fail(member, text));
        }
        "call_expression" if forgets_errors(node, text) => {
            return parts(node).into_iter().for_each(|inside| visit(inside, text, body, asserters, true));
        }
        "call_expression" => {
            match asserted_name(node, text) {
                Some(name) if !swallowed => {
                    body.asserted_names.insert(name.to_owned());
                }
                _ => body.asserts |= !swallowed && call_can_fail(node, text, asserters),
            }
            if let Some((module, name)) = loaded(node, text) {
                let local = format!("require({module})");
                body.use_name(&local);
                body.imports.push(Import { local, module, name });
            }
        }
        // A test without a library throws by itself.
        "if_statement" if !swallowed => body.asserts |= holds(node, &["throw_statement"]),
        "try_statement" => return visit_try(node, text, body, asserters, swallowed),
        "type_annotation" | "type_arguments" => return,
        _ => {}
    }
    for inside in parts(node) {
        visit(inside, text, body, asserters, swallowed);
    }
}

fn visit_declarator(node: Node<'_>, text: &str, body: &mut Body, asserters: &Asserters, swallowed: bool) {
    let imports = declared_imports(node, text);
    if !imports.is_empty() {
        return body.imports.extend(imports);
    }
    let name = part(node, "name");
    let value = part(node, "value");
    match value.filter(|value| FUNCTIONS.contains(&value.kind())) {
        Some(function) => inner(function, name, text, body, asserters),
        None => {
            let mut names = Vec::new();
            name.into_iter().for_each(|name| bound_names(name, text, &mut names));
            body.locals.extend(names);
            value.into_iter().for_each(|value| visit(value, text, body, asserters, swallowed));
        }
    }
}

/// Notes a function that does something only when it is called.
fn inner(function: Node<'_>, name: Option<Node<'_>>, text: &str, body: &mut Body, asserters: &Asserters) {
    if let Some(name) = name {
        body.inner.insert(text_of(name, text).to_owned(), of_function(function, text, asserters));
    }
}

/// A `catch` that says nothing swallows the assertions before it.
fn visit_try(node: Node<'_>, text: &str, body: &mut Body, asserters: &Asserters, swallowed: bool) {
    let tried = part(node, "body");
    let mut swallows = false;
    if let Some(handler) = part(node, "handler") {
        let mut caught = Body::default();
        visit(handler, text, &mut caught, asserters, swallowed);
        swallows = !caught.asserts && !holds(handler, &["throw_statement"]);
        body.join(&caught);
    }
    if let Some(tried) = tried {
        visit(tried, text, body, asserters, swallowed || swallows);
    }
    if let Some(last) = part(node, "finalizer") {
        visit(last, text, body, asserters, swallowed);
    }
}

/// Whether it is names and dots alone: `a.b?.c`.
fn is_chain(member: Node<'_>) -> bool {
    part(member, "object").is_some_and(|object| match object.kind() {
        "identifier" => true,
        "member_expression" => is_chain(object),
        _ => false,
    })
}
