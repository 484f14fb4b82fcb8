//! Names by which JavaScript and TypeScript import the app's own files without saying where they lie, as `package.json` and
//! `tsconfig.json` set them up.

use serde_json::{Map, Value};

use super::origin::{ancestors, joined, normal};

/// Most names of one file of settings.
const MAX_ALIASES: usize = 200;

/// Whether a file sets up such names.
pub(super) fn is_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "package.json"
        || ((name.starts_with("tsconfig") || name == "jsconfig.json") && name.ends_with(".json"))
}

/// A name, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    /// The folder whose files may use it, and those below.
    scope: String,
    /// What an import has before and after the part that is filled in; nothing after: the whole import.
    written: (String, Option<String>),
    /// The same of the path in the app's folder.
    path: (String, Option<String>),
}

impl Alias {
    /// The path that an import in a file stands for.
    pub(super) fn path(&self, from: &str, module: &str) -> Option<String> {
        if !ancestors(from).any(|folder| folder == self.scope) {
            return None;
        }
        let (before, after) = &self.written;
        let Some(after) = after else {
            return (module == before).then(|| self.path.0.clone()).and_then(|path| normal(&path));
        };
        let filled = module.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
        let (path, end) = &self.path;
        normal(&format!("{path}{filled}{}", end.as_deref().unwrap_or_default()))
    }
}

/// What a file of settings sets up. One that is no JSON sets up nothing.
pub(super) fn aliases(path: &str, text: &str) -> Vec<Alias> {
    let scope = ancestors(path).next().unwrap_or_default();
    let settings: Map<String, Value> = serde_json::from_str(&without_comments(text)).unwrap_or_default();
    let alias = |written: &str, path: &str| Alias {
        scope: scope.to_owned(),
        written: parted(written),
        path: parted(&joined(scope, path)),
    };
    let mut aliases = Vec::new();
    if path.ends_with("package.json") {
        for (written, target) in settings.get("imports").and_then(Value::as_object).into_iter().flatten() {
            aliases.extend(first_path(target).map(|path| alias(written, path)));
        }
        if let Some(own) = settings.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
            let main = settings.get("main").and_then(Value::as_str).unwrap_or_default();
            let whole = [main, "index", "src/index"].into_iter().filter(|path| !path.is_empty());
            aliases.extend(whole.map(|path| alias(own, path)));
            aliases.extend(["*", "src/*"].map(|path| alias(&format!("{own}/*"), path)));
        }
    } else if let Some(options) = settings.get("compilerOptions") {
        let base = options.get("baseUrl").and_then(Value::as_str);
        for (written, targets) in options.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let targets = targets.as_array().into_iter().flatten().filter_map(Value::as_str);
            aliases.extend(targets.map(|target| alias(written, &joined(base.unwrap_or_default(), target))));
        }
        aliases.extend(base.map(|base| alias("*", &joined(base, "*"))));
    }
    aliases.truncate(MAX_ALIASES);
    aliases
}

fn parted(pattern: &str) -> (String, Option<String>) {
    match pattern.split_once('*') {
        Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
        None => (pattern.to_owned(), None),
    }
}

/// The first path of a target, which may hang on conditions: `{ "types": …, "default": "./src/*.js" }`.
fn first_path(target: &Value) -> Option<&str> {
    match target {
        Value::String(path) => Some(path),
        Value::Object(conditions) => {
            conditions.get("default").or_else(|| conditions.values().next()).and_then(Value::as_str)
        }
        _ => None,
    }
}

/// JSON without the comments and last commas that TypeScript lets stand in its settings.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', _) if in_string => {
                kept.push(c);
                kept.extend(rest.next());
                continue;
            }
            ('"', _) => in_string = !in_string,
            ('/', Some('/')) if !in_string => {
                rest.by_ref().find(|c| *c == '\n');
                continue;
            }
            ('/', Some('*')) if !in_string => {
                let mut before = ' ';
                rest.by_ref().skip(1).find(|c| std::mem::replace(&mut before, *c) == '*' && *c == '/');
                continue;
            }
            ('}' | ']', _) if !in_string && kept.trim_end().ends_with(',') => {
                kept.truncate(kept.trim_end().len() - 1);
            }
            _ => {}
        }
        kept.push(c);
    }
    kept
}
