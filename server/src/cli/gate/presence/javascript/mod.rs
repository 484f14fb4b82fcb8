//! Reads JavaScript and TypeScript: what a module holds, and the tests of node:test, Jest, Vitest, Mocha and AVA in it.

mod body;
mod calls;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tree_sitter::Node;

use super::module::{Body, Import, Module, Test, is_test_path};
use super::syntax::{ProblemKind, Tongue, holds, parse, part, parts, text_of};
use body::{FUNCTIONS, bound_names, declared_imports, of_function, of_node, plain_string};
use calls::{Declared, Role, declared, is_skip_statement, name_in_reports, runner_names};
use truth::{Asserters, is_assertion_module};

/// Deepest nesting of groups and tests; deeper ones are not read.
const MAX_GROUP_DEPTH: usize = 20;

/// Reads one file.
pub(super) fn read(path: &str, text: &str, tongue: Tongue) -> Result<Module, ProblemKind> {
    let tree = parse(tongue, text)?;
    let root = tree.root_node();
    let mut reader = Reader {
        text,
        module: Module { path: path.to_owned(), ..Module::default() },
        asserters: Asserters { names: BTreeSet::from(["assert".to_owned()]), objects: BTreeSet::new() },
        runners: BTreeMap::new(),
    };
    reader.module.functions = count_functions(root, text, "", false);
    parts(root).into_iter().for_each(|statement| reader.imports(statement));
    reader.note_asserters();
    parts(root).into_iter().for_each(|statement| reader.meanings(statement));
    if is_test_path(path) {
        reader.group(root, &Group::default());
    }
    Ok(reader.module)
}

struct Reader<'t> {
    text: &'t str,
    module: Module,
    asserters: Asserters,
    /// The runner's functions, by what the file calls them.
    runners: BTreeMap<String, String>,
}

/// Where a test stands.
#[derive(Clone, Default)]
struct Group {
    titles: Vec<String>,
    skipped: bool,
    around: Vec<Rc<Body>>,
    objects: BTreeSet<String>,
}

impl<'t> Reader<'t> {
    /// What a statement imports, or passes on.
    fn imports(&mut self, statement: Node<'t>) {
        match statement.kind() {
            "import_statement" => self.import_statement(statement),
            "export_statement" => {
                match part(statement, "source").and_then(|it| plain_string(it, self.text)) {
                    Some(module) => self.passed_on(statement, &module),
                    None => parts(statement).into_iter().for_each(|inside| self.imports(inside)),
                }
            }
            "lexical_declaration" | "variable_declaration" => {
                for declarator in parts(statement) {
                    self.module.imports.extend(declared_imports(declarator, self.text));
                }
            }
            _ => {}
        }
    }

    fn import_statement(&mut self, statement: Node<'t>) {
        let clause = parts(statement)
            .into_iter()
            .find(|it| matches!(it.kind(), "import_clause" | "import_require_clause"));
        let Some(clause) = clause else { return };
        let source = part(statement, "source").or_else(|| part(clause, "source"));
        let Some(module) = source.and_then(|source| plain_string(source, self.text)) else { return };
        let whole = clause.kind() == "import_require_clause";
        for inside in parts(clause) {
            match inside.kind() {
                "identifier" => {
                    let name = if whole { None } else { Some("default".to_owned()) };
                    self.import(text_of(inside, self.text), &module, name);
                }
                "namespace_import" => {
                    if let Some(local) = parts(inside).first() {
                        self.import(text_of(*local, self.text), &module, None);
                    }
                }
                "named_imports" => self.specifiers(inside, &module),
                _ => {}
            }
        }
    }

    /// `{ a, b as c }` of imports and exports.
    fn specifiers(&mut self, list: Node<'t>, module: &str) {
        for specifier in parts(list) {
            let Some(name) = part(specifier, "name").map(|name| text_of(name, self.text)) else { continue };
            let local = part(specifier, "alias").map_or(name, |alias| text_of(alias, self.text));
            self.import(local, module, Some(name.to_owned()));
        }
    }

    /// `export … from './x'`.
    fn passed_on(&mut self, statement: Node<'t>, module: &str) {
        let mut star = true;
        for inside in parts(statement) {
            match inside.kind() {
                "export_clause" => {
                    star = false;
                    self.specifiers(inside, module);
                }
                "namespace_export" => {
                    star = false;
                    if let Some(local) = parts(inside).first() {
                        self.import(text_of(*local, self.text), module, None);
                    }
                }
                _ => {}
            }
        }
        if star {
            self.module.stars.push(module.to_owned());
        }
    }

    fn import(&mut self, local: &str, module: &str, name: Option<String>) {
        self.module.imports.push(Import { local: local.to_owned(), module: module.to_owned(), name });
    }

    /// Which names assert, and which declare tests.
    fn note_asserters(&mut self) {
        let asserting = self.module.imports.iter().filter(|import| is_assertion_module(&import.module));
        let names = asserting.map(|import| import.local.clone());
        // These assert nothing by themselves: `expect(x)` waits for `.toBe(1)`.
        self.asserters
            .names
            .extend(names.filter(|name| !matches!(name.as_str(), "expect" | "should" | "use")));
        self.runners = runner_names(&self.module.imports);
    }

    /// Which names a statement gives a meaning, and what is behind them.
    fn meanings(&mut self, statement: Node<'t>) {
        match statement.kind() {
            "function_declaration" | "generator_function_declaration" => {
                let body = of_function(statement, self.text, &self.asserters);
                self.meaning(part(statement, "name"), body);
            }
            "class_declaration" | "abstract_class_declaration" => {
                let body = of_node(statement, self.text, &self.asserters);
                self.meaning(part(statement, "name"), body);
            }
            "lexical_declaration" | "variable_declaration" => {
                parts(statement).into_iter().for_each(|declarator| self.declarator(declarator));
            }
            "export_statement" | "if_statement" | "statement_block" => {
                parts(statement).into_iter().for_each(|inside| self.meanings(inside));
            }
            "expression_statement" => {
                let assignment = parts(statement).into_iter().find(|it| it.kind() == "assignment_expression");
                let Some(left) = assignment.and_then(|assignment| part(assignment, "left")) else { return };
                // `exports.price = …`, `module.exports.price = …`
                if left.kind() == "member_expression" && text_of(left, self.text).contains("exports.") {
                    let name = part(left, "property").map(|name| text_of(name, self.text).to_owned());
                    self.module.defines.extend(name);
                }
            }
            _ => {}
        }
    }

    fn declarator(&mut self, declarator: Node<'t>) {
        if !declared_imports(declarator, self.text).is_empty() {
            return;
        }
        let Some(name) = part(declarator, "name") else { return };
        let body = match part(declarator, "value") {
            Some(function) if FUNCTIONS.contains(&function.kind()) => {
                of_function(function, self.text, &self.asserters)
            }
            Some(value) => of_node(value, self.text, &self.asserters),
            None => Body::default(),
        };
        let mut names = Vec::new();
        bound_names(name, self.text, &mut names);
        for name in names {
            self.module.defines.insert(name.clone());
            self.add(name, &body);
        }
    }

    fn meaning(&mut self, name: Option<Node<'t>>, body: Body) {
        let Some(name) = name.map(|name| text_of(name, self.text).to_owned()) else { return };
        self.module.defines.insert(name.clone());
        self.add(name, &body);
    }

    /// Groups may use a name each: what is behind it is then everything that is behind any of them.
    fn add(&mut self, name: String, body: &Body) {
        let known = self.module.named.entry(name).or_default();
        known.absorb(body);
        known.take_asserts(body);
    }

    /// Reads the tests in a file, or in the callback of a group or test.
    fn group(&mut self, node: Node<'t>, group: &Group) {
        if group.titles.len() > MAX_GROUP_DEPTH {
            return;
        }
        let mut calls = Vec::new();
        self.declarations(node, &group.objects, &mut calls);
        let mut group = group.clone();
        for around in calls.iter().filter(|call| call.role == Role::Around).filter_map(|call| call.callback) {
            let body = self.body_of(around, &self.asserters);
            group.around.push(Rc::new(body));
        }
        for call in calls {
            let Some(callback) = call.callback else { continue };
            let mut inside = group.clone();
            inside.skipped |= call.skipped;
            inside.titles.push(call.title);
            match call.role {
                Role::Around => {}
                Role::Group => {
                    let block = part(callback, "body").unwrap_or(callback);
                    for statement in parts(block) {
                        self.imports(statement);
                        self.meanings(statement);
                    }
                    self.group(block, &inside);
                }
                Role::Test => self.test(callback, inside),
            }
        }
    }

    fn test(&mut self, callback: Node<'t>, mut group: Group) {
        let parameters = part(callback, "parameters").or_else(|| part(callback, "parameter"));
        let mut names = Vec::new();
        parameters.into_iter().for_each(|parameters| bound_names(parameters, self.text, &mut names));
        let first = names.first().cloned();
        group.objects.extend(first);
        let asserters = Asserters { objects: group.objects.clone(), ..self.asserters.clone() };
        let block = part(callback, "body").unwrap_or(callback);
        let skipped = group.skipped || parts(block).into_iter().any(|it| is_skip_statement(it, self.text));
        if !skipped {
            let body = self.body_of(callback, &asserters);
            let name = name_in_reports(&self.module.path, &group.titles);
            self.module.add_test(Test { name, body, around: group.around.clone(), class: String::new() });
            self.group(block, &group);
        }
    }

    fn body_of(&self, callback: Node<'t>, asserters: &Asserters) -> Body {
        match FUNCTIONS.contains(&callback.kind()) {
            true => of_function(callback, self.text, asserters),
            false => of_node(callback, self.text, asserters),
        }
    }

    /// The calls in a node that declare something, without those inside them.
    fn declarations(&self, node: Node<'t>, objects: &BTreeSet<String>, into: &mut Vec<Declared<'t>>) {
        if node.kind() == "call_expression"
            && let Some(call) = declared(node, self.text, &self.runners, objects)
        {
            return into.push(call);
        }
        parts(node).into_iter().for_each(|inside| self.declarations(inside, objects, into));
    }
}

/// Counts functions: declarations, methods, those that get a name by what they are assigned to, and nameless ones with a
/// body of statements outside any other function, such as the handlers of routes. An empty constructor does nothing.
fn count_functions(node: Node<'_>, text: &str, parent: &str, in_function: bool) -> u32 {
    let is_function = FUNCTIONS.contains(&node.kind());
    let counts = is_function
        && match node.kind() {
            "method_definition" => !is_empty_constructor(node, text),
            "arrow_function" | "function_expression" | "generator_function" => {
                let named_by = [
                    "variable_declarator",
                    "assignment_expression",
                    "pair",
                    "public_field_definition",
                    "field_definition",
                    "export_statement",
                ];
                let has_statements = part(node, "body").is_some_and(|body| body.kind() == "statement_block");
                let does_more =
                    || part(node, "body").is_some_and(|body| calls_something(body) || holds(body, &JSX));
                named_by.contains(&parent)
                    || (!in_function && (has_statements || (parent == "arguments" && does_more())))
            }
            _ => true,
        };
    let inside = in_function || is_function;
    parts(node)
        .into_iter()
        .map(|it| count_functions(it, text, node.kind(), inside))
        .fold(u32::from(counts), u32::saturating_add)
}

/// Elements of pages.
const JSX: [&str; 2] = ["jsx_element", "jsx_self_closing_element"];

/// Whether an expression calls anything; what it only loads, as `import('./page')` does, is code of another file.
fn calls_something(node: Node<'_>) -> bool {
    let loads = || part(node, "function").is_some_and(|function| function.kind() == "import");
    (node.kind() == "call_expression" && !loads()) || parts(node).into_iter().any(calls_something)
}

fn is_empty_constructor(method: Node<'_>, text: &str) -> bool {
    let is_constructor = part(method, "name").is_some_and(|name| text_of(name, text) == "constructor");
    is_constructor && part(method, "body").is_some_and(|body| parts(body).is_empty())
}
