//! Reads Python: what a module holds, and the tests of pytest and unittest in it.

mod body;
mod marks;
mod truth;

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::module::{Body, Class, Module, Test, is_test_path};
use super::syntax::{ProblemKind, Tongue, bare_text, holds, parse, part, parts, text_of};
use body::{imports, of_function, of_node, reached};
use marks::{is_skip_statement, skips};

/// Methods that run around each test of a class.
const AROUND_TESTS: [&str; 6] = ["setUp", "setUpClass", "asyncSetUp", "setup_method", "setup_class", "setup"];
/// Functions that run around each test of a file.
const AROUND_FILE: [&str; 3] = ["setUpModule", "setup_module", "setup_function"];

/// Reads one file.
pub(super) fn read(path: &str, text: &str) -> Result<Module, ProblemKind> {
    let tree = parse(Tongue::Python, text)?;
    let mut reader = Reader {
        text,
        module: Module { path: path.to_owned(), ..Module::default() },
        prefix: path.strip_suffix(".py").unwrap_or(path).replace('/', "."),
        is_test: is_test_path(path),
        skip_marks: BTreeSet::new(),
        skipped: false,
    };
    reader.module.functions = count_functions(tree.root_node(), text);
    reader.statements(tree.root_node());
    if reader.skipped {
        reader.module.tests.clear();
    }
    Ok(reader.module)
}

struct Reader<'t> {
    text: &'t str,
    module: Module,
    /// What names of tests begin with: `tests.test_discount`.
    prefix: String,
    is_test: bool,
    /// Names of marks of this file that skip: `slow = pytest.mark.skip`.
    skip_marks: BTreeSet<String>,
    /// Whether the whole file is skipped.
    skipped: bool,
}

impl<'t> Reader<'t> {
    /// Statements of the module. Those under `if` and `try` count as well: imports often stand there.
    fn statements(&mut self, block: Node<'t>) {
        for statement in parts(block) {
            match statement.kind() {
                "import_statement" | "import_from_statement" => {
                    let (names, stars) = imports(statement, self.text);
                    self.module.imports.extend(names);
                    self.module.stars.extend(stars);
                }
                "function_definition" | "class_definition" | "decorated_definition" => {
                    let definition = Definition::of(statement);
                    match definition.node.kind() {
                        "function_definition" => self.function(&definition),
                        _ => self.class(&definition),
                    }
                }
                "if_statement" | "try_statement" | "with_statement" | "block" | "else_clause"
                | "elif_clause" | "except_clause" | "finally_clause" => self.statements(statement),
                "expression_statement" => self.expression(statement, block),
                "raise_statement" if block.kind() == "module" => {
                    self.skipped |= is_skip_statement(statement, self.text);
                }
                _ => {}
            }
        }
    }

    /// An assignment gives a name a meaning; a call may skip the file.
    fn expression(&mut self, statement: Node<'t>, block: Node<'t>) {
        self.skipped |= block.kind() == "module" && is_skip_statement(statement, self.text);
        let Some(assignment) = parts(statement).into_iter().find(|inside| inside.kind() == "assignment")
        else {
            return;
        };
        let (Some(left), Some(right)) = (part(assignment, "left"), part(assignment, "right")) else { return };
        let skips = skips(right, self.text, &self.skip_marks);
        let body = of_node(right, self.text);
        let targets = if left.kind() == "identifier" { vec![left] } else { parts(left) };
        for target in targets.into_iter().filter(|target| target.kind() == "identifier") {
            let name = text_of(target, self.text).to_owned();
            if skips {
                self.skip_marks.insert(name.clone());
                self.skipped |= name == "pytestmark";
            }
            self.module.defines.insert(name.clone());
            self.module.named.insert(name, body.clone());
        }
    }

    fn function(&mut self, function: &Definition<'t>) {
        let Some(name) = function.name(self.text).map(str::to_owned) else { return };
        let body = of_function(function.node, &function.decorators, self.text);
        if self.fixture(function, &name) || AROUND_FILE.contains(&name.as_str()) {
            self.module.around.absorb(&body);
        }
        if self.is_test && name.starts_with("test") && !self.is_skipped(function) {
            let name = format!("{}.{name}", self.prefix);
            self.module.add_test(Test { name, body: body.clone(), around: Vec::new(), class: String::new() });
        }
        self.module.defines.insert(name.clone());
        self.module.named.insert(name, body);
    }

    /// Notes a function that is a fixture, under the parameter that asks for it, and says whether every test asks for it.
    fn fixture(&mut self, function: &Definition<'t>, key: &str) -> bool {
        let Some(mark) = function.decorators.iter().find(|mark| is_fixture(**mark, self.text)) else {
            return false;
        };
        let asked_as =
            keyword(*mark, "name", self.text).map(|name| name.trim_matches(['"', '\'']).to_owned());
        let own = key.rsplit('.').next().unwrap_or(key).to_owned();
        self.module.fixtures.insert(asked_as.unwrap_or(own), key.to_owned());
        keyword(*mark, "autouse", self.text) == Some("True")
    }

    fn class(&mut self, class: &Definition<'t>) {
        let Some(name) = class.name(self.text).map(str::to_owned) else { return };
        self.module.defines.insert(name.clone());
        let mut body = of_node(class.node, self.text);
        // Whoever makes an object of it may call any of its methods.
        let methods = std::mem::take(&mut body.inner);
        methods.values().for_each(|method| body.absorb(method));
        self.module.named.insert(name.clone(), body);
        if self.is_test {
            self.class_of_tests(class, &name);
        }
    }

    /// The methods of a class, and of the classes in it, whose tests are called `TestOuter.TestInner.test_x`.
    fn class_of_tests(&mut self, class: &Definition<'t>, name: &str) {
        let bases = part(class.node, "superclasses").map(parts).unwrap_or_default();
        let bases: Vec<String> = bases.into_iter().map(|base| text_of(base, self.text).to_owned()).collect();
        let is_known = |base: &String| self.module.classes.get(base).is_some_and(|known| known.is_case);
        let is_case = bases.iter().any(|base| base.ends_with("TestCase") || is_known(base));
        let last = name.rsplit('.').next().unwrap_or(name);
        let members = part(class.node, "body").map(parts).unwrap_or_default();
        let skipped = self.is_skipped(class) || members.iter().any(|member| self.skips_class(*member));
        let counts = !skipped && (is_case || last.starts_with("Test"));
        let mut around = Body::default();
        for member in members.into_iter().map(Definition::of) {
            let Some(own) = member.name(self.text) else { continue };
            let key = format!("{name}.{own}");
            match member.node.kind() {
                "function_definition" => {
                    let body = of_function(member.node, &member.decorators, self.text);
                    if self.fixture(&member, &key) || AROUND_TESTS.contains(&own) {
                        around.absorb(&body);
                    }
                    if counts && own.starts_with("test") && !self.is_skipped(&member) {
                        let (name, class) = (format!("{}.{key}", self.prefix), name.to_owned());
                        self.module.add_test(Test { name, body: body.clone(), around: Vec::new(), class });
                    }
                    self.module.named.insert(key, body);
                }
                "class_definition" if !skipped => self.class_of_tests(&member, &key),
                _ => {}
            }
        }
        self.module.classes.insert(name.to_owned(), Class { bases, around, is_case });
    }

    /// `pytestmark = pytest.mark.skip` or `__test__ = False` in a class.
    fn skips_class(&self, member: Node<'t>) -> bool {
        let assigned = parts(member).into_iter().find(|inside| inside.kind() == "assignment");
        let sides = assigned.and_then(|assigned| Some((part(assigned, "left")?, part(assigned, "right")?)));
        sides.is_some_and(|(left, right)| match text_of(left, self.text) {
            "pytestmark" => skips(right, self.text, &self.skip_marks),
            "__test__" => text_of(right, self.text) == "False",
            _ => false,
        })
    }

    fn is_skipped(&self, definition: &Definition<'t>) -> bool {
        let node = definition.node;
        definition.decorators.iter().any(|mark| skips(*mark, self.text, &self.skip_marks))
            || (node.kind() == "function_definition"
                && reached(node).into_iter().any(|statement| is_skip_statement(statement, self.text)))
    }
}

/// A function or class with what is written above it.
struct Definition<'t> {
    node: Node<'t>,
    decorators: Vec<Node<'t>>,
}

impl<'t> Definition<'t> {
    fn of(statement: Node<'t>) -> Definition<'t> {
        match part(statement, "definition") {
            Some(node) => {
                let decorators = parts(statement).into_iter().filter(|part| part.kind() == "decorator");
                Definition { node, decorators: decorators.collect() }
            }
            None => Definition { node: statement, decorators: Vec::new() },
        }
    }

    fn name<'s>(&self, text: &'s str) -> Option<&'s str> {
        part(self.node, "name").map(|name| text_of(name, text))
    }
}

/// Whether a decorator makes a fixture of its function.
fn is_fixture(decorator: Node<'_>, text: &str) -> bool {
    let mark = bare_text(decorator, text);
    let called = mark.trim_start_matches('@').split('(').next().unwrap_or_default().to_owned();
    called == "fixture" || called.ends_with(".fixture")
}

/// What a decorator's call gives for a keyword.
fn keyword<'t>(decorator: Node<'_>, name: &str, text: &'t str) -> Option<&'t str> {
    let call = parts(decorator).into_iter().find(|call| call.kind() == "call")?;
    parts(part(call, "arguments")?).into_iter().find_map(|argument| {
        let is_it = part(argument, "name").is_some_and(|key| text_of(key, text) == name);
        part(argument, "value").filter(|_| is_it).map(|value| text_of(value, text))
    })
}

/// Counts functions: methods, functions in functions and lambdas that have a name as well. An empty `__init__` and a
/// body of `...` alone do nothing.
fn count_functions(node: Node<'_>, text: &str) -> u32 {
    let own = match node.kind() {
        "function_definition" => u32::from(!is_hollow(node, text)),
        "assignment" => u32::from(part(node, "right").is_some_and(|right| right.kind() == "lambda")),
        _ => 0,
    };
    parts(node).into_iter().map(|inside| count_functions(inside, text)).fold(own, u32::saturating_add)
}

fn is_hollow(function: Node<'_>, text: &str) -> bool {
    let is_init = part(function, "name").is_some_and(|name| text_of(name, text) == "__init__");
    let does_nothing = |statement: &Node<'_>| match statement.kind() {
        "pass_statement" => is_init,
        "expression_statement" => {
            !holds(*statement, &["call", "assignment", "augmented_assignment", "await", "yield"])
                && parts(*statement).iter().all(|it| it.kind() == "ellipsis" || it.kind() == "string")
        }
        _ => false,
    };
    let statements = part(function, "body").map(parts).unwrap_or_default();
    let says_more = statements.iter().any(|statement| {
        statement.kind() == "pass_statement" || parts(*statement).iter().any(|it| it.kind() == "ellipsis")
    });
    statements.iter().all(does_nothing) && (is_init || says_more)
}
