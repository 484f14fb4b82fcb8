//! From which file a name comes: how Python and JavaScript find modules, as far as they lie in the app's folder.

use std::collections::{BTreeMap, BTreeSet};

use super::alias::Alias;
use super::module::{Import, Module, is_test_path};

/// Folders in which projects keep their packages, beside the folder that a test stands in and those above it.
const PACKAGE_ROOTS: [&str; 4] = ["", "src", "lib", "app"];
/// What JavaScript and TypeScript add to a path that names no file.
const ENDINGS: [&str; 8] = [".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts"];

/// All modules that were read, by their paths.
pub(super) struct Modules {
    by_path: BTreeMap<String, Module>,
    aliases: Vec<Alias>,
    /// Paths of Python's modules, by the last part of what they are imported by.
    by_name: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Of these modules, where JavaScript's may be imported by these names.
    pub(super) fn new(modules: Vec<Module>, aliases: Vec<Alias>) -> Modules {
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let of_python = modules.iter().map(|module| &module.path).filter(|path| !is_test_path(path));
        for path in of_python {
            let stem = path.strip_suffix("/__init__.py").or_else(|| path.strip_suffix(".py"));
            if let Some(name) = stem.and_then(|stem| stem.rsplit('/').next()) {
                by_name.entry(name.to_owned()).or_default().push(path.clone());
            }
        }
        let by_path = modules.into_iter().map(|module| (module.path.clone(), module)).collect();
        Modules { by_path, aliases, by_name }
    }

    /// The module at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Module> {
        self.by_path.get(path)
    }

    /// All of them, in the order of their paths.
    pub(super) fn all(&self) -> impl Iterator<Item = &Module> {
        self.by_path.values()
    }

    /// The files that a used name comes from by this import: the file that gives the name its meaning, which may stand one
    /// step behind the file that is imported.
    pub(super) fn origin(&self, from: &Module, import: &Import, used: &str) -> Option<&str> {
        let rest = match used.strip_prefix(import.local.as_str())? {
            "" => None,
            rest => Some(rest.strip_prefix('.')?),
        };
        let Some(module) = self.find(from, &import.module) else {
            // `from . import discount` names a module by a folder without an `__init__.py`.
            let name = import.name.as_deref()?;
            return self.find(from, &below(&import.module, name)).map(|module| module.path.as_str());
        };
        let name = import.name.as_deref().or(rest.and_then(|rest| rest.split('.').next()));
        Some(self.behind(module, name, rest))
    }

    /// The file that gives a name of a module its meaning: the module, what it passes on, or a module of its package.
    fn behind<'m>(&'m self, module: &'m Module, name: Option<&str>, rest: Option<&str>) -> &'m str {
        let Some(name) = name else { return &module.path };
        if module.defines.contains(name) {
            return &module.path;
        }
        if let Some(passed) = module.imports.iter().find(|import| import.local == name) {
            let behind = self
                .find(module, &passed.module)
                .or_else(|| self.find(module, &below(&passed.module, passed.name.as_deref()?)));
            if let Some(behind) = behind {
                return self.part_of_package(behind, passed.name.as_deref()).unwrap_or(&behind.path);
            }
        }
        let starred = module.stars.iter().filter_map(|star| self.find(module, star));
        if let Some(starred) = starred.into_iter().find(|starred| starred.defines.contains(name)) {
            return &starred.path;
        }
        let own = self.part_of_package(module, Some(name));
        let through = rest
            .and_then(|rest| rest.split('.').next())
            .and_then(|next| self.part_of_package(module, Some(next)));
        own.or(through).unwrap_or(&module.path)
    }

    /// A module of a Python package, by its name in it.
    fn part_of_package(&self, package: &Module, name: Option<&str>) -> Option<&str> {
        let folder = package.path.strip_suffix("__init__.py")?;
        let name = name.filter(|name| !package.defines.contains(*name))?;
        self.python_file(&format!("{folder}{name}")).map(|module| module.path.as_str())
    }

    /// The module that an import means.
    pub(super) fn find(&self, from: &Module, module: &str) -> Option<&Module> {
        match from.path.ends_with(".py") {
            true => self.find_python(&from.path, module),
            false => self.find_javascript(&from.path, module),
        }
    }

    /// What a file imports as a part of the app, and is not there, as it is written.
    pub(super) fn not_found<'m>(&'m self, from: &'m Module) -> impl Iterator<Item = &'m str> {
        let is_own = |module: &&str| match from.path.ends_with(".py") {
            true => module.starts_with('.') && module.chars().any(|c| c != '.'),
            false => {
                let starts = ["./", "../", "#", "@/", "~/", "$lib/"];
                let name = module.rsplit('/').next().unwrap_or(module);
                // Styles, pictures and data have no tests.
                let is_code = name.rsplit_once('.').is_none_or(|(_, end)| {
                    ENDINGS.iter().any(|ending| ending.strip_prefix('.') == Some(end))
                });
                is_code && starts.iter().any(|start| module.starts_with(start))
            }
        };
        let is_there = |import: &Import| {
            let of_folder = || import.name.as_deref().map(|name| below(&import.module, name));
            self.find(from, &import.module).is_some()
                || of_folder().is_some_and(|module| self.find(from, &module).is_some())
        };
        let missing = from.imports.iter().filter(move |import| !is_there(import));
        let own: BTreeSet<&str> = missing.map(|import| import.module.as_str()).filter(is_own).collect();
        own.into_iter()
    }

    fn find_python(&self, from: &str, module: &str) -> Option<&Module> {
        let name = module.trim_start_matches('.');
        let dots = module.len() - name.len();
        let below = name.replace('.', "/");
        if dots > 0 {
            let folder = ancestors(from).nth(dots - 1)?;
            return self.python_file(&joined(folder, &below));
        }
        ancestors(from)
            .flat_map(|folder| PACKAGE_ROOTS.map(|root| joined(&joined(folder, root), &below)))
            .find_map(|path| self.python_file(&path).filter(|module| module.path != from))
            .or_else(|| self.elsewhere(&below))
    }

    /// The only module of that name in a folder that is no package: tests put such folders on `sys.path`.
    fn elsewhere(&self, below: &str) -> Option<&Module> {
        let name = below.rsplit('/').next()?;
        let mut found = self.by_name.get(name)?.iter().filter(|path| {
            let stem = path.strip_suffix("/__init__.py").or_else(|| path.strip_suffix(".py"));
            let root = stem.and_then(|stem| stem.strip_suffix(below)?.strip_suffix('/'));
            root.is_some_and(|root| self.get(&joined(root, "__init__.py")).is_none())
        });
        let only = found.next().filter(|_| found.next().is_none())?;
        self.get(only)
    }

    fn python_file(&self, path: &str) -> Option<&Module> {
        let path = path.trim_end_matches('/');
        self.get(&format!("{path}.py")).or_else(|| self.get(joined(path, "__init__.py").as_str()))
    }

    fn find_javascript(&self, from: &str, module: &str) -> Option<&Module> {
        if module.starts_with("./") || module.starts_with("../") || matches!(module, "." | "..") {
            let folder = ancestors(from).next()?;
            return self.javascript_file(&normal(&joined(folder, module))?);
        }
        let by_alias = self.aliases.iter().filter_map(|alias| alias.path(from, module));
        if let Some(found) = by_alias.filter_map(|path| self.javascript_file(&path)).next() {
            return Some(found);
        }
        // What SvelteKit sets up.
        if let Some(below) = module.strip_prefix("$lib/") {
            let folders = ancestors(from).map(|folder| joined(&joined(folder, "src/lib"), below));
            return folders.into_iter().find_map(|path| self.javascript_file(&path));
        }
        // The aliases that starters of projects set up: `@/x` and `~/x`.
        let below = module.strip_prefix("@/").or_else(|| module.strip_prefix("~/"))?;
        ancestors(from)
            .flat_map(|folder| PACKAGE_ROOTS.map(|root| joined(&joined(folder, root), below)))
            .find_map(|path| self.javascript_file(&path))
    }

    fn javascript_file(&self, path: &str) -> Option<&Module> {
        if let Some(module) = self.get(path) {
            return Some(module);
        }
        let added = ENDINGS.iter().find_map(|ending| self.get(&format!("{path}{ending}")));
        // TypeScript names the file that it will be: `./x.js` for `x.ts`.
        let compiled = || {
            let (stem, ending) = path.rsplit_once('.')?;
            let sources: &[&str] = match ending {
                "js" => &[".ts", ".tsx"],
                "jsx" => &[".tsx"],
                "mjs" => &[".mts"],
                "cjs" => &[".cts"],
                _ => return None,
            };
            sources.iter().find_map(|source| self.get(&format!("{stem}{source}")))
        };
        let index = || ENDINGS.iter().find_map(|ending| self.get(&joined(path, &format!("index{ending}"))));
        added.or_else(compiled).or_else(index)
    }
}

/// The folders that a file lies in, the nearest first and the app's own, an empty path, last.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let above = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).len();
    let mut at = Some(path);
    std::iter::from_fn(move || {
        let path = at.filter(|path| !path.is_empty())?;
        let folder = &path[..above(path)];
        at = Some(folder);
        Some(folder)
    })
}

/// A path below a folder.
pub(super) fn joined(folder: &str, below: &str) -> String {
    match (folder.is_empty(), below.is_empty()) {
        (true, _) => below.to_owned(),
        (_, true) => folder.to_owned(),
        _ => format!("{folder}/{below}"),
    }
}

/// A module of a package: `.` and `discount` make `.discount`.
fn below(module: &str, name: &str) -> String {
    if module.ends_with('.') { format!("{module}{name}") } else { format!("{module}.{name}") }
}

/// A path without `.` and `..`; none if it leads out of the app's folder.
pub(super) fn normal(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
