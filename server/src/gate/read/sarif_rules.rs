//! Rules of a SARIF run: what a result does not say itself, its rule says by default.
//!
//! Format: `reportingDescriptor` of OASIS SARIF 2.1.0, section 3.49: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::collections::HashMap;

use rollout_rules::gate::facts::{Problem, ProblemCode, Severity};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem;
use super::text::one_line;
use crate::gate::json::{Scalar, each};

/// Most rules of one run, those of extensions included.
const MAX_RULES: u64 = 20_000;
/// Most extensions of one tool.
const MAX_EXTENSIONS: usize = 1_000;
/// Longest identifier of a rule that a result is matched by, in bytes.
const MAX_RULE_ID_BYTES: usize = 500;

/// Most levels by which a result's rule refines one of the list, its own name counted in.
const MAX_REFINED: usize = 10;

/// How bad a result is, as SARIF says it.
#[derive(Clone, Copy)]
pub(super) enum Level {
    /// `none` and `note`.
    Note,
    /// `warning`, which is what silence means.
    Warning,
    /// `error`, and whatever is not known.
    Error,
}

impl Level {
    /// The level of that name.
    pub(super) fn of(name: &str) -> Level {
        match name {
            "none" | "note" => Level::Note,
            "warning" => Level::Warning,
            _ => Level::Error,
        }
    }

    /// How bad it is, as the gate says it.
    pub(super) fn severity(self) -> Severity {
        match self {
            Level::Note => Severity::Low,
            Level::Warning => Severity::Medium,
            Level::Error => Severity::High,
        }
    }
}

/// A message or description.
#[derive(Deserialize)]
pub(super) struct Words {
    text: Option<String>,
    markdown: Option<String>,
}

impl Words {
    /// Its text.
    pub(super) fn into_text(self) -> Option<String> {
        self.text.or(self.markdown)
    }
}

/// What tools put beside a rule or result.
#[derive(Deserialize)]
pub(super) struct Properties {
    #[serde(rename = "security-severity")]
    security_severity: Option<Scalar>,
}

impl Properties {
    /// How bad it is by its CVSS score.
    pub(super) fn severity(&self) -> Option<Severity> {
        let score: f64 = self.security_severity.as_ref()?.0.trim().parse().ok()?;
        match score {
            _ if score >= 9.0 => Some(Severity::Critical),
            _ if score >= 7.0 => Some(Severity::High),
            _ if score >= 4.0 => Some(Severity::Medium),
            _ => None,
        }
    }
}

/// How a result names its rule.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    /// By name.
    pub(super) id: Option<String>,
    /// By place among the rules of a component.
    pub(super) index: Option<i64>,
    /// Which component; none: the driver.
    pub(super) tool_component: Option<ComponentReference>,
}

/// How a reference names a component.
#[derive(Deserialize)]
pub(super) struct ComponentReference {
    /// By place among the extensions.
    pub(super) index: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: Option<String>,
    name: Option<String>,
    short_description: Option<Words>,
    default_configuration: Option<Configuration>,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
struct Configuration {
    level: Option<String>,
}

#[derive(Deserialize)]
struct Extension<'a> {
    #[serde(borrow)]
    rules: Option<&'a RawValue>,
}

/// What is kept of a rule.
pub(super) struct Rule {
    /// Its name.
    pub(super) id: String,
    /// What it looks for, in one line; empty if it does not say.
    pub(super) title: String,
    /// The level of results that say none.
    pub(super) level: Option<Level>,
    /// How bad its results are at least.
    pub(super) severity: Option<Severity>,
}

/// The rules of a run.
#[derive(Default)]
pub(super) struct Rules {
    /// How many there are.
    pub(super) total: u64,
    /// What all of them are called, if it is the same.
    one_name: Option<String>,
    /// The driver's, then those of each extension.
    components: Vec<Vec<Rule>>,
    by_id: HashMap<String, (usize, usize)>,
}

impl Rules {
    /// Reads those of the driver, and those of extensions.
    pub(super) fn read(driver: Option<&RawValue>, extensions: Option<&RawValue>) -> Result<Rules, Problem> {
        let mut rules = Rules::default();
        rules.component(driver)?;
        if let Some(extensions) = extensions {
            each(extensions, |extension: Extension<'_>| {
                if rules.components.len() > MAX_EXTENSIONS {
                    let detail = format!("A tool has more than {MAX_EXTENSIONS} extensions, which none has.");
                    return Err(problem(ProblemCode::TooLarge, detail));
                }
                rules.component(extension.rules)
            })?;
        }
        Ok(rules)
    }

    /// Whether there are rules and all of them are called so: Trivy calls each after what it looks for.
    pub(super) fn are_all(&self, name: &str) -> bool {
        self.one_name.as_deref() == Some(name)
    }

    fn component(&mut self, list: Option<&RawValue>) -> Result<(), Problem> {
        let place = self.components.len();
        let mut rules = Vec::new();
        if let Some(list) = list {
            each(list, |rule: Descriptor| {
                self.total += 1;
                if self.total > MAX_RULES {
                    let detail = format!(
                        "A run has more than {MAX_RULES} rules. Let the tool list only those that it used."
                    );
                    return Err(problem(ProblemCode::TooLarge, detail));
                }
                let is_same = self.total == 1 || self.one_name == rule.name;
                self.one_name = rule.name.filter(|name| is_same && name.len() <= MAX_RULE_ID_BYTES);
                let id = rule.id.filter(|id| id.len() <= MAX_RULE_ID_BYTES).unwrap_or_default();
                self.by_id.entry(id.clone()).or_insert((place, rules.len()));
                rules.push(Rule {
                    id,
                    title: one_line(&rule.short_description.and_then(Words::into_text).unwrap_or_default()),
                    level: rule.default_configuration.and_then(|set| set.level).as_deref().map(Level::of),
                    severity: rule.properties.and_then(|properties| properties.severity()),
                });
                Ok(())
            })?;
        }
        self.components.push(rules);
        Ok(())
    }

    /// The rule of a result: by its place, or by its name, or by the name that it refines (`CA1000/1` is of `CA1000`).
    pub(super) fn find(&self, id: Option<&str>, index: Option<i64>, extension: Option<i64>) -> Option<&Rule> {
        let place = |index: i64| usize::try_from(index).ok();
        let component = extension.and_then(place).map_or(0, |extension| extension.saturating_add(1));
        let is_meant = |rule: &&Rule| id.is_none_or(|id| refines(id, &rule.id));
        let by_place = index.and_then(place).and_then(|index| self.components.get(component)?.get(index));
        // A place that holds another rule than the one named is wrong: the name counts.
        if let Some(rule) = by_place.filter(is_meant) {
            return Some(rule);
        }
        // A longer name is no rule's: only so long ones are known.
        let mut wanted = id.filter(|id| id.len() <= MAX_RULE_ID_BYTES)?;
        for _ in 0..MAX_REFINED {
            if let Some((component, index)) = self.by_id.get(wanted) {
                return self.components.get(*component)?.get(*index);
            }
            wanted = wanted.rsplit_once('/')?.0;
        }
        None
    }
}

/// Whether a result's rule is that one or a part of it.
fn refines(id: &str, rule: &str) -> bool {
    rule.is_empty() || id.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
