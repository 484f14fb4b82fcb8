//! How a flag travels to pages: as it is marked, or as values where its rules would tell too much.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::condition::{AttributePath, Condition};
use crate::context::TARGETING_KEY;
use crate::flag::{BrowserForm, MAX_PREREQUISITES, Serve};
use crate::ids::{AppKey, EnvKey, FlagKey, RuleId};
use crate::snapshot::{App, FlagRecord, Snapshot, StateRecord};

/// How a flag travels to the pages of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Travels {
    /// Its rules do.
    Rules,
    /// What the server finds for the page's context does.
    Values {
        /// Why its rules do not, though it is marked so.
        kept_back: Option<KeptBack>,
    },
}

/// Why a flag does not travel as rules, though it is marked so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptBack {
    /// It has lists of units.
    Targets,
    /// A rule names a segment.
    Segment {
        /// Which rule.
        rule: RuleId,
    },
    /// A rule compares the targeting key, or what a split of the flag divides by, and so lists units.
    Unit {
        /// Which rule.
        rule: RuleId,
    },
    /// A rule compares an attribute that the app calls sensitive.
    Sensitive {
        /// Which rule.
        rule: RuleId,
        /// Which attribute.
        attribute: String,
    },
    /// A split divides by an attribute that the app calls sensitive.
    Split {
        /// Which attribute.
        attribute: String,
    },
    /// A flag that it depends on does not travel as rules.
    Prerequisite {
        /// Which.
        flag: FlagKey,
    },
}

impl fmt::Display for KeptBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pages get its values and not its rules, since ")?;
        match self {
            KeptBack::Targets => f.write_str("it has lists of units"),
            KeptBack::Segment { rule } => write!(f, "rule `{rule}` names a segment"),
            KeptBack::Unit { rule } => {
                write!(f, "rule `{rule}` lists units, which are targeting keys or what it splits by")
            }
            KeptBack::Sensitive { rule, attribute } => {
                write!(f, "rule `{rule}` looks at `{attribute}`, which the app calls sensitive")
            }
            KeptBack::Split { attribute } => {
                write!(f, "it splits by `{attribute}`, which the app calls sensitive")
            }
            KeptBack::Prerequisite { flag } => {
                write!(f, "it depends on `{flag}`, which does not travel as rules")
            }
        }
    }
}

/// How a flag travels to the pages of an environment; `None` if they do not get it: it is not marked, archived, or not
/// there.
pub fn browser_form(
    snapshot: &Snapshot,
    app: &AppKey,
    environment: &EnvKey,
    flag: &FlagKey,
) -> Option<Travels> {
    travels(snapshot.app(app)?, environment, flag)
}

/// How a flag of an app travels to the pages of an environment; `None` if they do not get it.
pub fn travels(app: &App, environment: &EnvKey, key: &FlagKey) -> Option<Travels> {
    let (record, state) = served(app, environment, key)?;
    match record.flag().browser? {
        BrowserForm::Values => Some(Travels::Values { kept_back: None }),
        BrowserForm::Rules => {
            let found = keeps_back(app, environment, state, &mut BTreeSet::from([&record.flag().key]), 0);
            Some(found.map_or(Travels::Rules, |why| Travels::Values { kept_back: Some(why) }))
        }
    }
}

/// A flag that can be served in an environment.
fn served<'a>(
    app: &'a App,
    environment: &EnvKey,
    key: &FlagKey,
) -> Option<(&'a FlagRecord, &'a StateRecord)> {
    let record = app.flag(key).filter(|record| !record.is_archived())?;
    let flag = record.flag();
    // A log may hold what nobody can serve.
    let is_whole = flag.variants.iter().any(|variant| variant.key == flag.off_variant);
    Some((record, record.state(environment).filter(|_| is_whole)?))
}

fn keeps_back<'a>(
    app: &'a App,
    environment: &EnvKey,
    state: &'a StateRecord,
    seen: &mut BTreeSet<&'a FlagKey>,
    depth: usize,
) -> Option<KeptBack> {
    let sensitive = &app.info().sensitive;
    let targeting = &state.state().targeting;
    if !targeting.targets.is_empty() {
        return Some(KeptBack::Targets);
    }
    let serves = targeting.rules.iter().map(|rule| &rule.serve).chain([&targeting.serve]);
    let units: Vec<&str> = serves
        .filter_map(|serve| match serve {
            Serve::Split(split) => Some(split.unit.as_deref().unwrap_or(TARGETING_KEY)),
            Serve::Variant(_) => None,
        })
        .collect();
    let telling = Telling { sensitive, units: &units };
    let by_rule = targeting.rules.iter().find_map(|rule| telling.told_by(&rule.when, &rule.id));
    if by_rule.is_some() {
        return by_rule;
    }
    for attribute in units {
        if touches(attribute, sensitive) {
            return Some(KeptBack::Split { attribute: attribute.into() });
        }
    }
    for prerequisite in &targeting.prerequisites {
        let flag = &prerequisite.flag;
        // Whatever leads back to a flag that is looked at already keeps nothing back that it does not.
        if !seen.insert(flag) {
            continue;
        }
        let travels = depth < MAX_PREREQUISITES
            && served(app, environment, flag).is_some_and(|(record, state)| {
                record.flag().browser == Some(BrowserForm::Rules)
                    && keeps_back(app, environment, state, seen, depth + 1).is_none()
            });
        if !travels {
            return Some(KeptBack::Prerequisite { flag: flag.clone() });
        }
    }
    None
}

/// What conditions may not name.
struct Telling<'t> {
    sensitive: &'t [String],
    /// What the flag's splits divide by.
    units: &'t [&'t str],
}

impl Telling<'_> {
    /// What a condition would tell that pages may not know.
    fn told_by(&self, condition: &Condition, rule: &RuleId) -> Option<KeptBack> {
        match condition {
            Condition::All { all: parts } | Condition::Any { any: parts } => {
                parts.iter().find_map(|part| self.told_by(part, rule))
            }
            Condition::Not { not } => self.told_by(not, rule),
            Condition::Segment { .. } => Some(KeptBack::Segment { rule: rule.clone() }),
            Condition::Test(test) => {
                let attribute = match &test.attribute {
                    AttributePath::Dotted(text) => text.clone(),
                    AttributePath::Names(names) => names.join("."),
                };
                if touches(&attribute, &[TARGETING_KEY]) || touches(&attribute, self.units) {
                    return Some(KeptBack::Unit { rule: rule.clone() });
                }
                touches(&attribute, self.sensitive)
                    .then(|| KeptBack::Sensitive { rule: rule.clone(), attribute })
            }
        }
    }
}

/// Whether an attribute is one of those, within one of them, or holds one of them.
fn touches(attribute: &str, names: &[impl AsRef<str>]) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    names.iter().map(AsRef::as_ref).any(|name| within(attribute, name) || within(name, attribute))
}
