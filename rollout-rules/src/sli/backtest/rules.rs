//! Which rules are tried, on what.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ids::FlagKey;
use crate::sli::app::MAX_APP_RULES;
use crate::sli::guardrail::Guardrail;
use crate::sli::recorded::RulesInForce;
use crate::sli::watch::MAX_TESTS;

/// The rules that are tried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Those of the app itself.
    app: Vec<Guardrail>,
    flags: OfFlags,
}

#[derive(Clone, Debug, PartialEq)]
enum OfFlags {
    /// The same for each.
    All(Vec<Guardrail>),
    Each(BTreeMap<FlagKey, Vec<Guardrail>>),
}

impl Default for OfFlags {
    fn default() -> OfFlags {
        OfFlags::All(Vec::new())
    }
}

/// One rule that is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// The rule.
    pub rule: Guardrail,
    /// Whether it judges the app itself, and no variant.
    pub of_app: bool,
}

impl Rules {
    /// These rules, as if they were written for a flag; without a flag, as the app's defaults: those that lower no
    /// flag judge the app itself, and no flag.  At most [`MAX_TESTS`]; further ones are left out.
    pub fn given(rules: &[Guardrail], flag: Option<FlagKey>) -> Rules {
        let of_app = |rule: &&Guardrail| flag.is_none() || rule.when().sli().is_of_app();
        let app: Vec<_> = rules.iter().filter(of_app).filter_map(Guardrail::of_the_app).collect();
        let flags = match flag {
            Some(flag) => OfFlags::Each(BTreeMap::from([(flag, of_flags(rules))])),
            None => {
                // What is judged for the whole app is not judged for each flag as well.
                let left = rules.iter().filter(|rule| rule.of_the_app().is_none());
                OfFlags::All(of_flags(&left.cloned().collect::<Vec<_>>()))
            }
        };
        Rules { app: first(app, MAX_APP_RULES), flags }
    }

    /// The rules that were in force when a recording was made; of one flag alone, if one is named.
    pub fn in_force(rules: &RulesInForce, flag: Option<&FlagKey>) -> Rules {
        let wanted = |one: &FlagKey| flag.is_none_or(|flag| flag == one);
        let flags = rules.flags.iter().filter(|(flag, _)| wanted(flag));
        Rules {
            app: if flag.is_none() { first(rules.app.clone(), MAX_APP_RULES) } else { Vec::new() },
            flags: OfFlags::Each(flags.map(|(flag, rules)| (flag.clone(), of_flags(rules))).collect()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tried().is_empty()
    }

    pub(super) fn app(&self) -> &[Guardrail] {
        &self.app
    }

    pub(super) fn flag(&self, flag: &FlagKey) -> &[Guardrail] {
        match &self.flags {
            OfFlags::All(rules) => rules,
            OfFlags::Each(flags) => flags.get(flag).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    /// Each rule once: those of flags, then those of the app.
    pub(super) fn tried(&self) -> Vec<Tried> {
        let mut tried: Vec<Tried> = Vec::new();
        let mut add = |rule: &Guardrail, of_app: bool| {
            if !tried.iter().any(|known| known.of_app == of_app && known.rule == *rule) {
                tried.push(Tried { rule: rule.clone(), of_app });
            }
        };
        match &self.flags {
            OfFlags::All(rules) => rules.iter().for_each(|rule| add(rule, false)),
            OfFlags::Each(flags) => flags.values().flatten().for_each(|rule| add(rule, false)),
        }
        self.app.iter().for_each(|rule| add(rule, true));
        tried
    }

    /// One of them, and no other.
    pub(super) fn only(&self, one: &Tried) -> Rules {
        let is_it = |rule: &&Guardrail| **rule == one.rule;
        let left = |rules: &[Guardrail], here: bool| -> Vec<Guardrail> {
            rules.iter().filter(is_it).filter(|_| here).cloned().collect()
        };
        let flags = match &self.flags {
            OfFlags::All(rules) => OfFlags::All(left(rules, !one.of_app)),
            OfFlags::Each(flags) => {
                let each = flags.iter().map(|(flag, rules)| (flag.clone(), left(rules, !one.of_app)));
                OfFlags::Each(each.filter(|(_, rules)| !rules.is_empty()).collect())
            }
        };
        Rules { app: left(&self.app, one.of_app), flags }
    }
}

fn of_flags(rules: &[Guardrail]) -> Vec<Guardrail> {
    first(rules.iter().filter(|rule| !rule.when().sli().is_of_app()).cloned().collect(), MAX_TESTS)
}

fn first(mut rules: Vec<Guardrail>, most: usize) -> Vec<Guardrail> {
    rules.truncate(most);
    rules
}
