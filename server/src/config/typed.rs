//! Settings as they were typed: in a file, in the environment, as flags. Nothing is understood yet, and
//! every value knows where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::setting::{SETTINGS, find, nearest};
use super::{ConfigProblem, Warning};

/// Where a value was typed. Later ones win.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody typed it.
    Default,
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
    },
    /// In the environment, under this name.
    Env(String),
    /// As this flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the default"),
            Origin::File { path, line } => write!(f, "{} line {line}", path.display()),
            Origin::Env(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One value as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub origin: Origin,
}

/// What was typed, by the setting's path; the winner of each.
#[derive(Debug, Default)]
pub struct Typed {
    values: BTreeMap<&'static str, Value>,
}

/// Variables that begin with `TIDEGATE_` and are not settings of the server: the tool's, the tests'.
const OTHER_VARIABLES: [&str; 12] = [
    "TIDEGATE_CONFIG",
    "TIDEGATE_URL",
    "TIDEGATE_TOKEN",
    "TIDEGATE_CACERT",
    "TIDEGATE_CERT",
    "TIDEGATE_KEY",
    "TIDEGATE_APP",
    "TIDEGATE_AGENT",
    "TIDEGATE_AGENT_PROMPT",
    "TIDEGATE_AGENT_FILES",
    "TIDEGATE_AGENT_REVIEWER",
    "TIDEGATE_SHARED",
];

impl Typed {
    /// What was typed for a setting.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.values.get(path)
    }

    /// Takes a value; it stands in for one of an earlier origin.
    pub fn set(&mut self, path: &'static str, text: String, origin: Origin) {
        let newer = self.values.get(path).is_none_or(|old| old.origin <= origin);
        if newer {
            self.values.insert(path, Value { text, origin });
        }
    }

    /// Takes a TOML text. Keys that name no setting are problems.
    pub fn read_toml(&mut self, path: &Path, text: &str, problems: &mut Vec<ConfigProblem>) {
        let line = |offset: usize| text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count() + 1;
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            problems.push(ConfigProblem::NotToml {
                origin: Origin::File {
                    path: path.to_owned(),
                    line: line(error.span().map_or(0, |span| span.start).min(text.len())),
                },
                problem: error.message().to_owned(),
            });
        }
        let mut found = Vec::new();
        flatten("", table.get_ref(), &mut found);
        for (key, offset, value) in found {
            let origin = Origin::File { path: path.to_owned(), line: line(offset.min(text.len())) };
            match (find(&key), value) {
                (Some(setting), Some(text)) => self.set(setting.path, text, origin),
                (Some(setting), None) => problems.push(ConfigProblem::NotAValue { setting, origin }),
                (None, _) => problems.push(ConfigProblem::Unknown {
                    nearest: nearest_path(&key).map(str::to_owned),
                    name: key,
                    origin,
                }),
            }
        }
    }

    /// Takes environment variables. A name that nearly is a setting's is a problem; one that is not
    /// like any is only warned of, since it may belong to something else that runs here.
    pub fn read_env(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        problems: &mut Vec<ConfigProblem>,
        warnings: &mut Vec<Warning>,
    ) {
        let names: Vec<(String, &'static str)> = SETTINGS.iter().map(|s| (s.env_name(), s.path)).collect();
        for (name, text) in variables {
            if !name.starts_with("TIDEGATE_") || is_for_others(&name) {
                continue;
            }
            if let Some((_, path)) = names.iter().find(|(known, _)| *known == name) {
                self.set(path, text, Origin::Env(name));
            } else if let Some(known) = nearest(&name, names.iter().map(|(known, _)| known.as_str())) {
                let nearest = Some(known.to_owned());
                problems.push(ConfigProblem::Unknown {
                    name: name.clone(),
                    origin: Origin::Env(name),
                    nearest,
                });
            } else {
                warnings.push(Warning::UnknownVariable(name));
            }
        }
    }
}

/// Whether a variable belongs to the tool or to an orchestrator, which announces a service named
/// `tidegate` as TIDEGATE_SERVICE_HOST, TIDEGATE_PORT_8080_TCP and so on.
fn is_for_others(name: &str) -> bool {
    OTHER_VARIABLES.contains(&name)
        || name == "TIDEGATE_PORT"
        || ["TIDEGATE_SERVICE_", "TIDEGATE_PORT_", "TIDEGATE_SDK_", "TIDEGATE_TEST_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The setting most like a mistyped path: as a whole, or by its last part in the wrong table.
fn nearest_path(typed: &str) -> Option<&'static str> {
    nearest(typed, SETTINGS.iter().map(|s| s.path)).or_else(|| {
        let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
        let typed_last = typed.rsplit('.').next().unwrap_or(typed);
        SETTINGS.iter().map(|s| s.path).find(|path| last(path) == typed_last)
    })
}

/// Every value of a table with its dotted path and its place; `None` for what is no scalar or list.
fn flatten(prefix: &str, table: &DeTable<'_>, found: &mut Vec<(String, usize, Option<String>)>) {
    for (key, value) in table {
        let path =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) if find(&path).is_none() => flatten(&path, inner, found),
            other => found.push((path, key.span().start, scalar(other))),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| scalar(item.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
