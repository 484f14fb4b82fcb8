//! Which source files have tests, as only the tool that runs in the app's folder can see: for Python, JavaScript and TypeScript.
//!
//! A test counts for a file if it uses a name of that file, by itself or through functions, fixtures and variables of its own
//! file (and fixtures of a `conftest.py`), asserts something that can fail, and is not skipped. What it reaches indirectly does
//! not count: a test of `app.py` is no test of what `app.py` uses. Whether it ran is for the server to match with the JUnit
//! report. Not seen: an assertion in a branch that is never taken, and a module that is replaced by a mock.

mod alias;
mod javascript;
mod module;
mod origin;
mod python;
mod reach;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::walk::{Listed, WalkError, own_files};
use alias::{Alias, aliases, is_settings};
use module::Module;
pub(super) use module::{is_test_path, is_tool_settings};
use origin::Modules;
pub use syntax::ProblemKind;
use syntax::{MAX_SOURCE_BYTES, Tongue};

/// What a report of test presence says it is.
pub const PRESENCE_FORMAT: &str = "tidegate.test-presence/1";
/// Most source files that are read, tests included.
pub const MAX_SOURCE_FILES: usize = 20_000;
/// Most files of settings that are read for the names by which sources import each other.
const MAX_SETTINGS: usize = 100;
/// Most tests that are named for one file; more would say nothing new.
pub const MAX_TESTS_PER_FILE: usize = 100;

/// Most imports that lead nowhere and are told of.
pub const MAX_NOT_FOUND: usize = 100;

/// The report that goes to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceReport {
    /// [`PRESENCE_FORMAT`].
    pub format: String,
    /// How many source files were looked at, tests and settings of tools aside.
    pub read: u64,
    /// Those that hold a function, in the order of their paths.
    pub files: Vec<TestedFile>,
}

/// A source file that holds at least one function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestedFile {
    /// Its path in the app's folder.
    pub path: String,
    /// How many functions it holds.
    pub functions: u32,
    /// The tests that count for it, in order, at most [`MAX_TESTS_PER_FILE`]: as pytest writes them in JUnit reports
    /// (`tests.test_discount.TestRounding.test_down`), or the titles of groups and test with spaces between, after the
    /// file's name if they begin with what is only known when it runs (`price.test.js ${row.title}`).
    pub tests: Vec<String>,
}

/// What was found in the app's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// What goes to the server.
    pub report: PresenceReport,
    /// Files that could not be read as source, for people. A source file among them counts as one without tests.
    pub problems: Vec<SourceProblem>,
    /// What tests import as a part of the app, and is not there, for people; the first [`MAX_NOT_FOUND`].
    pub not_found: Vec<NotFound>,
}

/// An import of a test that leads to no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// The test's path in the app's folder.
    pub path: String,
    /// What it imports, as it is written.
    pub module: String,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotFound { path, module } = self;
        write!(
            f,
            "{path} imports `{module}`, and no source file of that name was found: its tests do not count for it. Write \
             the path to the file, such as ../src/price"
        )
    }
}

/// A file that could not be read as source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceProblem {
    /// Its path in the app's folder.
    pub path: String,
    /// What is wrong.
    pub kind: ProblemKind,
}

impl fmt::Display for SourceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match self.kind {
            ProblemKind::Unreadable => write!(f, "{path} cannot be read; give its user the right to"),
            ProblemKind::TooLarge => {
                write!(f, "{path} is larger than 1 MiB; split it, or keep generated files out of Git")
            }
            ProblemKind::NotText => write!(f, "{path} is not UTF-8 text; save it as UTF-8"),
            ProblemKind::Syntax { line } => {
                write!(
                    f,
                    "{path} is not valid source from line {line} on; run it once, and mend what it complains about"
                )
            }
            ProblemKind::TooDeep => {
                write!(f, "{path} is nested too deeply to be read; split its longest expressions")
            }
            ProblemKind::TooSlow => write!(f, "{path} takes too long to be read; split it"),
        }
    }
}

/// Why nothing can be said of the tests of a folder.
#[derive(Debug)]
#[non_exhaustive]
pub enum PresenceError {
    /// The folder cannot be looked through.
    Walk(WalkError),
    /// It holds more source files than [`MAX_SOURCE_FILES`].
    TooManySources {
        /// How many.
        found: usize,
    },
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PresenceError::Walk(source) => fmt::Display::fmt(source, f),
            PresenceError::TooManySources { found } => write!(
                f,
                "there are {found} source files, and at most {MAX_SOURCE_FILES} are read; run the command in the app's own \
                 folder, and let .gitignore name what tools made"
            ),
        }
    }
}

impl std::error::Error for PresenceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PresenceError::Walk(source) => Some(source),
            PresenceError::TooManySources { .. } => None,
        }
    }
}

/// A file with its text, for [`presence_of`].
#[derive(Clone, Debug)]
pub struct SourceText {
    /// Its path in the app's folder, with `/` between the parts.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Looks through an app's folder.
pub fn presence(folder: &Path) -> Result<Presence, PresenceError> {
    let files = own_files(folder).map_err(PresenceError::Walk)?;
    let settings = files.iter().filter(|file| is_settings(&file.path)).take(MAX_SETTINGS);
    // Settings that cannot be read set up nothing.
    let names = settings.filter_map(|file| Some(aliases(&file.path, &text(file).ok()?))).flatten().collect();
    let sources: Vec<Listed> = files
        .into_iter()
        .filter(|file| Tongue::of(&file.path).is_some() && !is_tool_settings(&file.path))
        .collect();
    if sources.len() > MAX_SOURCE_FILES {
        return Err(PresenceError::TooManySources { found: sources.len() });
    }
    let read = sources.into_iter().map(|file| {
        let module = text(&file).and_then(|text| module(&file.path, &text));
        (file.path, module)
    });
    Ok(of_modules(read, names))
}

/// Looks through texts as if they were the files of an app. Files of other languages are passed over.
pub fn presence_of(sources: &[SourceText]) -> Presence {
    let settings = sources.iter().filter(|source| is_settings(&source.path)).take(MAX_SETTINGS);
    let names = settings.flat_map(|source| aliases(&source.path, &source.text)).collect();
    let sources =
        sources.iter().filter(|source| Tongue::of(&source.path).is_some() && !is_tool_settings(&source.path));
    of_modules(sources.map(|source| (source.path.clone(), module(&source.path, &source.text))), names)
}

fn text(file: &Listed) -> Result<String, ProblemKind> {
    if file.bytes > MAX_SOURCE_BYTES {
        return Err(ProblemKind::TooLarge);
    }
    let opened = std::fs::File::open(&file.full).map_err(|_| ProblemKind::Unreadable)?;
    let mut bytes = Vec::new();
    // It may have grown since it was listed.
    let limit = MAX_SOURCE_BYTES.saturating_add(1);
    opened.take(limit).read_to_end(&mut bytes).map_err(|_| ProblemKind::Unreadable)?;
    String::from_utf8(bytes).map_err(|_| ProblemKind::NotText)
}

fn module(path: &str, text: &str) -> Result<Module, ProblemKind> {
    if text.len() as u64 > MAX_SOURCE_BYTES {
        return Err(ProblemKind::TooLarge);
    }
    match Tongue::of(path) {
        None => Ok(Module { path: path.to_owned(), ..Module::default() }),
        Some(Tongue::Python) => python::read(path, text),
        Some(tongue) => javascript::read(path, text, tongue),
    }
}

fn of_modules(
    read: impl Iterator<Item = (String, Result<Module, ProblemKind>)>,
    names: Vec<Alias>,
) -> Presence {
    let mut problems = Vec::new();
    let mut modules = Vec::new();
    for (path, module) in read {
        let module = module.unwrap_or_else(|kind| {
            problems.push(SourceProblem { path: path.clone(), kind });
            // What cannot be read may hold anything, and no test is known to use it.
            Module { path, functions: 1, ..Module::default() }
        });
        modules.push(module);
    }
    problems.sort();
    let modules = Modules::new(modules, names);
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in modules.all() {
        for test in &module.tests {
            let reached = reach::reach(&modules, module, test);
            for file in reached.files.into_iter().filter(|_| reached.asserts) {
                tests.entry(file).or_default().insert(test.name.clone());
            }
        }
    }
    let unread: BTreeSet<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let read = modules.all().filter(|module| !is_test_path(&module.path)).count() as u64;
    let files =
        modules.all().filter(|module| module.functions > 0 && !is_test_path(&module.path)).map(|module| {
            let named = tests
                .remove(&module.path)
                .filter(|_| !unread.contains(module.path.as_str()))
                .unwrap_or_default();
            TestedFile {
                path: module.path.clone(),
                functions: module.functions,
                tests: named.into_iter().take(MAX_TESTS_PER_FILE).collect(),
            }
        });
    let report = PresenceReport { format: PRESENCE_FORMAT.to_owned(), read, files: files.collect() };
    let tests = modules.all().filter(|module| !module.tests.is_empty());
    let not_found = tests.flat_map(|test| {
        let missing = modules.not_found(test);
        missing.map(|module| NotFound { path: test.path.clone(), module: module.to_owned() })
    });
    let not_found = not_found.take(MAX_NOT_FOUND).collect();
    Presence { report, problems, not_found }
}
