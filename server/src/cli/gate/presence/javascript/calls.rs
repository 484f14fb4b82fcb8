//! Which calls declare tests, groups of tests and what runs around them, and whether they are skipped.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::Node;

use super::super::module::Import;
use super::super::syntax::{part, parts, text_of};
use super::body::{FUNCTIONS, plain_string};

/// What a call declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A test: `test`, `it`.
    Test,
    /// A group: `describe`.
    Group,
    /// What runs around tests: `beforeEach`.
    Around,
}

/// A call that declares something.
pub(super) struct Declared<'t> {
    pub(super) role: Role,
    /// Whether it is skipped, put off, or meant to fail.
    pub(super) skipped: bool,
    /// Its title; empty for what runs around.
    pub(super) title: String,
    /// What is called, if there is anything.
    pub(super) callback: Option<Node<'t>>,
}

/// What the runners' functions are called in a file, by the name it gives them.
pub(super) fn runner_names(imports: &[Import]) -> BTreeMap<String, String> {
    let is_runner = |module: &str| {
        let known = [
            "node:test",
            "test",
            "vitest",
            "@jest/globals",
            "ava",
            "tape",
            "tap",
            "mocha",
            "bun:test",
            "uvu",
            "@playwright/test",
            "@japa/runner",
        ];
        known.contains(&module)
    };
    let named = |import: &Import| match import.name.as_deref() {
        None | Some("default") => "test".to_owned(),
        Some(name) => name.to_owned(),
    };
    imports.iter().filter(|it| is_runner(&it.module)).map(|it| (it.local.clone(), named(it))).collect()
}

/// What a call declares, if it declares something. `objects` are the names of the test's own objects: `t.test(…)`.
pub(super) fn declared<'t>(
    call: Node<'t>,
    text: &str,
    runners: &BTreeMap<String, String>,
    objects: &BTreeSet<String>,
) -> Option<Declared<'t>> {
    let mut names = Vec::new();
    let mut off = false;
    callee(part(call, "function")?, text, &mut names, &mut off);
    let root = names.first().copied()?;
    let root = match objects.contains(root) {
        true if names.get(1) == Some(&"test") => "test",
        true => return None,
        false => runners.get(root).map_or(root, String::as_str),
    };
    let modifiers = &names[1..];
    let has = |words: &[&str]| modifiers.iter().any(|name| words.contains(name));
    let (role, by_root) = match root {
        "test" | "it" | "specify" | "fit" => (Role::Test, false),
        "xit" | "xtest" | "xspecify" => (Role::Test, true),
        "describe" | "suite" | "context" | "fdescribe" => (Role::Group, false),
        "xdescribe" | "xcontext" | "xsuite" => (Role::Group, true),
        "before" | "beforeEach" | "beforeAll" | "setup" | "suiteSetup" => (Role::Around, false),
        _ => return None,
    };
    let role = match role {
        Role::Test if has(&["describe", "suite"]) => Role::Group,
        Role::Test if has(&["before", "beforeEach", "beforeAll"]) => Role::Around,
        Role::Test
            if has(&["after", "afterEach", "afterAll", "step", "use", "extend", "info", "setTimeout"]) =>
        {
            return None;
        }
        role => role,
    };
    let mut arguments = part(call, "arguments").map(parts).unwrap_or_default();
    let skipped = by_root
        || off
        || has(&["skip", "todo", "fails", "failing", "fixme", "fail"])
        || arguments.iter().any(|argument| is_switched_off(*argument, text));
    arguments.retain(|argument| !matches!(argument.kind(), "object" | "number"));
    let title = arguments.first().filter(|_| role != Role::Around).map(|first| title_of(*first, text));
    let at = usize::from(
        role != Role::Around && !arguments.first().is_some_and(|it| FUNCTIONS.contains(&it.kind())),
    );
    // `test.skip()` inside a test declares nothing.
    let title = title.unwrap_or_default();
    Some(Declared { role, skipped, title, callback: arguments.get(at).copied() })
}

/// Whether a statement of a test stops it as skipped: `t.skip()`, `this.skip()`, `test.skip()`.
pub(super) fn is_skip_statement(statement: Node<'_>, text: &str) -> bool {
    let call = parts(statement).into_iter().next().filter(|inside| inside.kind() == "call_expression");
    let function =
        call.and_then(|call| part(call, "function")).filter(|_| statement.kind() == "expression_statement");
    function.is_some_and(|function| {
        let object = part(function, "object");
        let is_plain = object.is_some_and(|object| matches!(object.kind(), "identifier" | "this"));
        let word = part(function, "property").map_or("", |property| text_of(property, text));
        let has_title = call.and_then(|call| part(call, "arguments")).is_some_and(|all| parts(all).len() > 1);
        let by_function = text_of(function, text) == "pending";
        (is_plain && matches!(word, "skip" | "todo" | "fixme") && !has_title) || by_function
    })
}

/// The names of a callee: `test`, `skip` of `test.skip`; `it`, `each` of `it.each(rows)`.
fn callee<'s>(node: Node<'_>, text: &'s str, names: &mut Vec<&'s str>, off: &mut bool) {
    match node.kind() {
        "identifier" => names.push(text_of(node, text)),
        "member_expression" => {
            if let (Some(object), Some(property)) = (part(node, "object"), part(node, "property")) {
                callee(object, text, names, off);
                // Without a root it is something of another object.
                if !names.is_empty() {
                    names.push(text_of(property, text));
                }
            }
        }
        "call_expression" => {
            let Some(function) = part(node, "function") else { return };
            let before = names.len();
            callee(function, text, names, off);
            // Only these give back something that declares: `request(app).test()` does not.
            let gives = ["each", "for", "skipIf", "runIf", "concurrent", "configure"];
            if !names.last().is_some_and(|last| gives.contains(last)) {
                names.truncate(before);
                return;
            }
            let condition = part(node, "arguments").and_then(|all| parts(all).first().copied());
            let condition = condition.map_or("", |condition| text_of(condition, text));
            *off |= matches!(
                (names.last().copied(), condition),
                (Some("skipIf"), "true") | (Some("runIf"), "false")
            );
        }
        _ => {}
    }
}

/// Whether options say `skip` or `todo`: `{ skip: true }`, `{ todo: 'later' }`.
fn is_switched_off(options: Node<'_>, text: &str) -> bool {
    options.kind() == "object"
        && parts(options).into_iter().any(|pair| {
            let key = part(pair, "key").map_or("", |key| text_of(key, text));
            let value = part(pair, "value");
            matches!(key, "skip" | "todo" | "fails")
                && value.is_some_and(|value| value.kind() == "true" || plain_string(value, text).is_some())
        })
}

/// The title as it is written. What is only known when it runs is written as in a template: `${row.title}`.
fn title_of(first: Node<'_>, text: &str) -> String {
    if let Some(title) = plain_string(first, text) {
        return title;
    }
    if FUNCTIONS.contains(&first.kind()) {
        return part(first, "name").map_or("", |name| text_of(name, text)).to_owned();
    }
    let written = text_of(first, text);
    match first.kind() {
        "template_string" => written.trim_matches('`').to_owned(),
        "parenthesized_expression" => parts(first).first().map_or_else(String::new, |it| title_of(*it, text)),
        "binary_expression" => ["left", "right"]
            .into_iter()
            .filter_map(|side| part(first, side))
            .map(|side| title_of(side, text))
            .collect(),
        // Runners call a group of a class by its name: `describe(Cart, …)`, `describe(Cart.name, …)`.
        _ if written.starts_with(char::is_uppercase) => {
            written.strip_suffix(".name").unwrap_or(written).to_owned()
        }
        _ => format!("${{{written}}}"),
    }
}

/// Shortest start of a title that it can be found by, in bytes.
const MIN_START: usize = 3;

/// What a test is called in reports. One whose title begins with what is only known when it runs is found by its file.
pub(super) fn name_in_reports(path: &str, titles: &[String]) -> String {
    let title = titles.join(" ");
    let is_filled_in = |at: &usize| {
        let next = title.as_bytes().get(at + 1);
        next.is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, b'{' | b'#' | b'.'))
    };
    let first = title.match_indices(['%', '$']).map(|(at, _)| at).find(is_filled_in);
    match first {
        Some(at) if title[..at].trim().len() < MIN_START => {
            format!("{} {title}", path.rsplit('/').next().unwrap_or(path))
        }
        _ => title,
    }
}
