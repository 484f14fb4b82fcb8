//! What one file says, whatever its language: its functions, where its names come from, and its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Most names that are kept of one piece of code. What comes after is not looked at.
const MAX_NAMES: usize = 1_000;
/// Most tests of one file. What comes after does not count.
const MAX_TESTS: usize = 2_000;
/// Most classes that one is derived from, and that are looked at.
const MAX_LINEAGE: usize = 8;

/// What was read from one source or test file.
#[derive(Clone, Debug, Default)]
pub(super) struct Module {
    /// Its path in the app's folder.
    pub(super) path: String,
    /// How many functions it holds.
    pub(super) functions: u32,
    /// Names that it gives a meaning itself.
    pub(super) defines: BTreeSet<String>,
    /// Names that it takes from elsewhere, to use or to pass on.
    pub(super) imports: Vec<Import>,
    /// Modules from which it takes or passes on every name.
    pub(super) stars: Vec<String>,
    /// What its functions, classes and variables do.
    pub(super) named: BTreeMap<String, Body>,
    /// Names, among [`Module::named`], that tests may ask for by a parameter, by that parameter.
    pub(super) fixtures: BTreeMap<String, String>,
    /// Its classes that may hold tests, by name.
    pub(super) classes: BTreeMap<String, Class>,
    /// What happens around each of its tests.
    pub(super) around: Body,
    /// Its tests that are not skipped.
    pub(super) tests: Vec<Test>,
}

/// A class that may hold tests. What its methods do is among [`Module::named`], as `TestPrice.check`.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    /// What it is derived from, as it is written.
    pub(super) bases: Vec<String>,
    /// What happens around each of its tests.
    pub(super) around: Body,
    /// Whether its tests run whatever it is called: it is derived from unittest's `TestCase`.
    pub(super) is_case: bool,
}

/// A name that comes from another module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// What it is called here.
    pub(super) local: String,
    /// The module, as it is written.
    pub(super) module: String,
    /// What it is called there; none: it is the whole module.
    pub(super) name: Option<String>,
}

/// A test that is not skipped.
#[derive(Clone, Debug)]
pub(super) struct Test {
    /// Its name as reports write it.
    pub(super) name: String,
    /// What it does.
    pub(super) body: Body,
    /// What happens around it, beside what happens around every test of its file and class.
    pub(super) around: Vec<Rc<Body>>,
    /// The class that it belongs to, for what it calls on itself; empty: none.
    pub(super) class: String,
}

/// What a piece of code does, as far as presence of tests is concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    /// Names that it uses, and chains such as `src.discount.price` with each of their beginnings.
    pub(super) uses: BTreeSet<String>,
    /// Fixtures that it asks for.
    pub(super) fixtures: BTreeSet<String>,
    /// Names that mean something of its own in it.
    pub(super) locals: BTreeSet<String>,
    /// What it imports itself.
    pub(super) imports: Vec<Import>,
    /// Functions inside it, which do something only when they are called.
    pub(super) inner: BTreeMap<String, Body>,
    /// Whether it asserts something that can fail.
    pub(super) asserts: bool,
    /// Names of which it asserts no more than that they stand for something: of one that is imported, that always holds.
    pub(super) asserted_names: BTreeSet<String>,
}

impl Body {
    /// Takes the names away that mean something of its own, so that they do not pass for imported ones.
    pub(super) fn settle(&mut self) {
        let imported = |name: &str| self.imports.iter().any(|import| import.local == name);
        let is_own = |used: &str| {
            let name = used.split('.').next().unwrap_or(used);
            self.locals.contains(name) && !imported(name)
        };
        let own: Vec<String> = self.uses.iter().filter(|used| is_own(used)).cloned().collect();
        for used in own {
            self.uses.remove(&used);
        }
    }

    /// Takes on all of another body.
    pub(super) fn join(&mut self, other: &Body) {
        self.absorb(other);
        self.locals.extend(other.locals.iter().cloned());
        self.take_asserts(other);
    }

    /// Takes on what another body asserts.
    pub(super) fn take_asserts(&mut self, other: &Body) {
        self.asserts |= other.asserts;
        self.asserted_names.extend(other.asserted_names.iter().cloned());
    }

    /// Whether it asserts something that can fail, where these names are imported besides its own.
    pub(super) fn can_fail(&self, imports: &[Import]) -> bool {
        let is_imported = |name: &String| {
            !self.locals.contains(name)
                && imports.iter().chain(&self.imports).any(|import| import.local == *name)
        };
        self.asserts || !self.asserted_names.iter().all(is_imported)
    }

    /// Takes on what another body uses, but not its assertions.
    pub(super) fn absorb(&mut self, other: &Body) {
        other.uses.iter().for_each(|used| self.use_name(used));
        self.fixtures.extend(other.fixtures.iter().cloned());
        self.imports.extend(other.imports.iter().cloned());
        for (name, body) in &other.inner {
            self.inner.entry(name.clone()).or_insert_with(|| body.clone());
        }
    }

    /// Notes a chain of names such as `a.b.c`: `a`, `a.b` and `a.b.c`.
    pub(super) fn use_chain(&mut self, chain: &str) {
        for (at, _) in chain.match_indices('.') {
            self.use_name(&chain[..at]);
        }
        self.use_name(chain);
    }

    /// Notes a name.
    pub(super) fn use_name(&mut self, name: &str) {
        if self.uses.len() < MAX_NAMES && !self.uses.contains(name) {
            self.uses.insert(name.to_owned());
        }
    }
}

impl Module {
    /// A class and the classes of this file that it is derived from, the nearest first, at most [`MAX_LINEAGE`].
    pub(super) fn lineage(&self, class: &str) -> Vec<(&str, &Class)> {
        let mut lineage: Vec<(&str, &Class)> =
            self.classes.get_key_value(class).map(named).into_iter().collect();
        let mut at = 0;
        while let Some((_, class)) = lineage.get(at) {
            for base in &class.bases {
                let known = self.classes.get_key_value(base).map(named);
                let new = known.filter(|(name, _)| {
                    lineage.len() < MAX_LINEAGE && !lineage.iter().any(|it| it.0 == *name)
                });
                lineage.extend(new);
            }
            at += 1;
        }
        lineage
    }

    /// Adds a test.
    pub(super) fn add_test(&mut self, test: Test) {
        if self.tests.len() < MAX_TESTS {
            self.tests.push(test);
        }
    }
}

fn named<'m>((name, class): (&'m String, &'m Class)) -> (&'m str, &'m Class) {
    (name, class)
}

/// Whether a file is there for tests: tests themselves, or what only they use.
pub(in crate::cli::gate) fn is_test_path(path: &str) -> bool {
    const FOLDERS: [&str; 8] = ["test", "tests", "__tests__", "__mocks__", "spec", "specs", "e2e", "cypress"];
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    if folders.split('/').any(|folder| FOLDERS.contains(&folder)) {
        return true;
    }
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_python = name.ends_with(".py");
    match is_python {
        true => {
            stem.starts_with("test_")
                || stem.ends_with("_test")
                || matches!(stem, "conftest" | "test" | "tests")
        }
        false => {
            let last = stem.rsplit('.').next().filter(|last| *last != stem);
            matches!(last, Some("test" | "spec" | "cy" | "e2e"))
                || stem.ends_with("-test")
                || stem.ends_with("_test")
                || stem.starts_with("test-")
                || stem == "test"
        }
    }
}

/// Whether a file only tells a tool of the build what to do, or was written by one. Nobody writes tests for it.
pub(in crate::cli::gate) fn is_tool_settings(path: &str) -> bool {
    const TOOLS: [&str; 25] = [
        "astro",
        "babel",
        "capacitor",
        "commitlint",
        "cypress",
        "drizzle",
        "eslint",
        "jest",
        "karma",
        "lint-staged",
        "metro",
        "next",
        "nuxt",
        "openapi-ts",
        "playwright",
        "postcss",
        "prettier",
        "rollup",
        "stylelint",
        "svelte",
        "tailwind",
        "tsup",
        "vite",
        "vitest",
        "webpack",
    ];
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_generated = ["_pb2.py", "_pb2_grpc.py", "_pb.js", "_pb.ts", "_grpc_pb.js", ".pb.ts"];
    // Alembic and Django number them, and run each of them once.
    let in_migrations = ["versions/", "migrations/"].iter().any(|folder| {
        path.strip_suffix(name).is_some_and(|above| above.ends_with(folder)) && is_migration(name)
    });
    if in_migrations || is_generated.iter().any(|end| name.ends_with(end)) {
        return true;
    }
    if matches!(
        name,
        "manage.py" | "setup.py" | "noxfile.py" | ".eslintrc.js" | ".eslintrc.cjs" | ".prettierrc.js"
    ) {
        return true;
    }
    let mut parts = name.split('.');
    let tool = parts.next().is_some_and(|tool| TOOLS.contains(&tool));
    tool && parts.next() == Some("config") && parts.count() == 1
}

/// `0001_initial.py` of Django, and `1975ea83b712_add_orders.py` of Alembic.
fn is_migration(name: &str) -> bool {
    let number = name.split('_').next().filter(|number| name.ends_with(".py") && number.len() < name.len());
    number.is_some_and(|number| {
        (number.len() == 4 && number.bytes().all(|c| c.is_ascii_digit()))
            || (number.len() == 12 && number.bytes().all(|c| c.is_ascii_hexdigit()))
    })
}
