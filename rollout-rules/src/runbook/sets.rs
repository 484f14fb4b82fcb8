//! Which guardrails hold where: those of the flag in an environment, of the flag, of the app, or of its tier.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::flag::Tier;
use crate::ids::{ChannelName, EnvKey};
use crate::sli::guardrail::{Action, Guardrail, Sli, TWICE, Test};

/// Most guardrails of one list.
pub const MAX_GUARDRAILS: usize = 16;

/// The lists that are written for a flag, or as an app's defaults. One that is written takes the place of all above
/// it; an empty one means that nothing is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Guardrails {
    /// In every environment that has no list of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<Vec<Guardrail>>,
    /// In single environments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<EnvKey, Vec<Guardrail>>,
}

impl Guardrails {
    /// What is written for an environment, or for all without one.
    pub fn written(&self, environment: Option<&EnvKey>) -> Option<&[Guardrail]> {
        match environment {
            None => self.everywhere.as_deref(),
            Some(environment) => self.environments.get(environment).map(Vec::as_slice),
        }
    }

    /// All rules of all lists.
    pub fn all(&self) -> impl Iterator<Item = &Guardrail> {
        self.everywhere.iter().chain(self.environments.values()).flatten()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.everywhere.is_none() && self.environments.is_empty()
    }

    pub(crate) fn put(&mut self, environment: Option<&EnvKey>, list: Option<Vec<Guardrail>>) {
        match (environment, list) {
            (None, list) => self.everywhere = list,
            (Some(environment), Some(list)) => {
                self.environments.insert(environment.clone(), list);
            }
            (Some(environment), None) => {
                self.environments.remove(environment);
            }
        }
    }
}

/// Where the rules in force are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GuardrailSource"))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// For the flag in this environment.
    FlagInEnvironment,
    /// For the flag.
    Flag,
    /// As the app's default in this environment.
    AppInEnvironment,
    /// As the app's default.
    App,
    /// Nowhere: the app's tier has them.
    Tier,
}

impl Source {
    /// In words: `written for the flag`.
    pub fn words(self) -> &'static str {
        match self {
            Source::FlagInEnvironment => "written for the flag in this environment",
            Source::Flag => "written for the flag",
            Source::AppInEnvironment => "the app's default in this environment",
            Source::App => "the app's default",
            Source::Tier => "the default of the app's tier",
        }
    }
}

/// The rules that hold for a flag in an environment, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce<'a> {
    /// Which.
    pub rules: Cow<'a, [Guardrail]>,
    /// Where they are written.
    pub source: Source,
}

impl<'a> InForce<'a> {
    pub(crate) fn of(
        flag: Option<&'a Guardrails>,
        app: Option<&'a Guardrails>,
        tier: Tier,
        environment: &EnvKey,
    ) -> InForce<'a> {
        let of = |sets: Option<&'a Guardrails>, environment| sets?.written(environment);
        let written = [
            (Source::FlagInEnvironment, of(flag, Some(environment))),
            (Source::Flag, of(flag, None)),
            (Source::AppInEnvironment, of(app, Some(environment))),
            (Source::App, of(app, None)),
        ];
        let found = written.into_iter().find_map(|(source, rules)| Some((source, rules?)));
        match found {
            Some((source, rules)) => InForce { rules: Cow::Borrowed(rules), source },
            None => InForce { rules: Cow::Owned(tier_defaults(tier)), source: Source::Tier },
        }
    }
}

/// What is watched where nobody wrote anything. A variant whose users meet errors that the control's do not is taken
/// back in every tier; where others depend on the app its owner hears of it, and where all do, slow is bad too.
pub fn tier_defaults(tier: Tier) -> Vec<Guardrail> {
    let owner = || Action::Notify(ChannelName::new(super::OWNER).expect("a name of letters"));
    let worse = |sli, then| {
        let when = Test::WorseThanControl { sli, by_thousandths: TWICE };
        Guardrail::new(when, then).expect("its parts fit each other")
    };
    match tier {
        Tier::Zero => vec![worse(Sli::ErrorRate, vec![Action::FlagOff])],
        Tier::One => vec![worse(Sli::ErrorRate, vec![Action::FlagOff, owner()])],
        Tier::Two => vec![
            worse(Sli::ErrorRate, vec![Action::FlagOff, owner()]),
            worse(Sli::LatencyP95, vec![Action::FlagOff, owner()]),
        ],
    }
}
