//! What a test reaches: the files whose names it uses, by itself and by what it calls in its own file.

use std::collections::{BTreeMap, BTreeSet};

use super::module::{Body, Import, Module, Test};
use super::origin::{Modules, ancestors};

/// Most functions and fixtures that one test is followed through. What comes after is not looked at.
const MAX_FOLLOWED: usize = 1_000;

/// What a test was found to do.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Paths of the files whose names it uses.
    pub(super) files: BTreeSet<String>,
    /// Whether it asserts something that can fail.
    pub(super) asserts: bool,
}

/// Follows a test of a module.
pub(super) fn reach<'m>(modules: &'m Modules, module: &'m Module, test: &'m Test) -> Reached {
    let mut follow =
        Follow { modules, reached: Reached::default(), seen: BTreeSet::new(), waiting: Vec::new() };
    follow.reached.asserts = test.body.can_fail(&module.imports);
    let around = test.around.iter().map(|around| &**around);
    let of_class = module.lineage(&test.class).into_iter().map(|(_, class)| &class.around);
    for body in [&test.body, &module.around].into_iter().chain(around).chain(of_class) {
        follow.body(module, body, &test.class, &BTreeMap::new());
    }
    for above in conftests(modules, module) {
        follow.body(above, &above.around, "", &BTreeMap::new());
    }
    while let Some(step) = follow.waiting.pop() {
        if follow.seen.len() >= MAX_FOLLOWED {
            break;
        }
        // Of a fixture only the names count: a test that asserts nothing itself stays one.
        follow.reached.asserts |= step.called && step.body.can_fail(&step.module.imports);
        follow.body(step.module, step.body, &test.class, &step.inner);
    }
    follow.reached
}

/// The files in which pytest looks for fixtures that a test file does not have, the nearest first.
fn conftests<'m>(modules: &'m Modules, module: &'m Module) -> impl Iterator<Item = &'m Module> {
    let folders = ancestors(&module.path).filter(|_| module.path.ends_with(".py"));
    let path = |folder: &str| {
        if folder.is_empty() { "conftest.py".to_owned() } else { format!("{folder}/conftest.py") }
    };
    folders.filter_map(move |folder| modules.get(&path(folder)))
}

/// A function or fixture to be followed.
struct Step<'m> {
    module: &'m Module,
    body: &'m Body,
    /// Whether it is called, and not asked for as a fixture.
    called: bool,
    /// Functions that can be called where it stands.
    inner: BTreeMap<&'m str, &'m Body>,
}

struct Follow<'m> {
    modules: &'m Modules,
    reached: Reached,
    /// What was followed: the file, and the function's or fixture's name.
    seen: BTreeSet<(&'m str, String)>,
    waiting: Vec<Step<'m>>,
}

impl<'m> Follow<'m> {
    fn body(
        &mut self,
        module: &'m Module,
        body: &'m Body,
        class: &str,
        around: &BTreeMap<&'m str, &'m Body>,
    ) {
        let mut inner = around.clone();
        inner.extend(body.inner.iter().map(|(name, body)| (name.as_str(), body)));
        for used in &body.uses {
            // A function inside has taken the name.
            if !inner.contains_key(used.split('.').next().unwrap_or(used)) {
                self.name(module, body, used);
            }
            self.call(module, used, class, &inner);
        }
        for fixture in &body.fixtures {
            self.fixture(module, fixture);
        }
    }

    /// A name that comes from elsewhere reaches the file that it comes from.
    fn name(&mut self, module: &'m Module, body: &'m Body, used: &str) {
        // A longer chain says more: of `src.price` the beginning `src` names nothing but the way.
        let is_beginning = || {
            let longer = format!("{used}.");
            body.uses.range(longer.clone()..).next().is_some_and(|next| next.starts_with(&longer))
        };
        for import in
            body.imports.iter().chain(&module.imports).filter(|import| used.starts_with(&import.local))
        {
            let is_whole = import.name.is_none() && import.local == used && is_beginning();
            self.note(if is_whole { None } else { self.modules.origin(module, import, used) });
        }
        for star in &module.stars {
            let import = Import { local: used.to_owned(), module: star.clone(), name: Some(used.to_owned()) };
            let is_there = self.modules.find(module, star).is_some_and(|starred| {
                starred.defines.contains(used) || starred.imports.iter().any(|passed| passed.local == used)
            });
            self.note(if is_there { self.modules.origin(module, &import, used) } else { None });
        }
    }

    fn note(&mut self, file: Option<&str>) {
        self.reached.files.extend(file.map(str::to_owned));
    }

    /// A name of the same file is followed.
    fn call(&mut self, module: &'m Module, used: &str, class: &str, inner: &BTreeMap<&'m str, &'m Body>) {
        let (key, body) = match used.strip_prefix("self.").or_else(|| used.strip_prefix("cls.")) {
            Some(method) => {
                let keys = module.lineage(class).into_iter().map(|(class, _)| format!("{class}.{method}"));
                let found = keys.into_iter().find_map(|key| module.named.get(&key).map(|body| (key, body)));
                let Some((key, body)) = found else { return };
                (key, Some(body))
            }
            None => (used.to_owned(), inner.get(used).copied().or_else(|| module.named.get(used))),
        };
        if let Some(body) = body {
            self.follow(module, key, Step { module, body, called: true, inner: inner.clone() });
        }
    }

    fn fixture(&mut self, module: &'m Module, asked: &str) {
        let found = std::iter::once(module).chain(conftests(self.modules, module)).find_map(|at| {
            let key = at.fixtures.get(asked)?;
            Some((at, key.clone(), at.named.get(key)?))
        });
        if let Some((at, key, body)) = found {
            self.follow(at, key, Step { module: at, body, called: false, inner: BTreeMap::new() });
        }
    }

    fn follow(&mut self, module: &'m Module, key: String, step: Step<'m>) {
        if self.seen.insert((module.path.as_str(), key)) {
            self.waiting.push(step);
        }
    }
}
