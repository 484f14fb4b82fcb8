//! Parts of commands: an environment to be made, and what changes of a flag's targeting.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::flag::{
    BrowserForm, EnvironmentKind, FlagKind, Prerequisite, Rule, ScheduledChange, Serve, Target,
};
use crate::ids::EnvKey;
use crate::percent::Exposure;
use crate::time::UnixMs;

/// An environment to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewEnvironment {
    /// Its key.
    pub key: EnvKey,
    /// What it is for.
    pub kind: EnvironmentKind,
    /// When a preview ends; what the settings say if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<UnixMs>,
}

/// How a flag is to travel to pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BrowserMark {
    /// Not at all.
    None,
    /// As values.
    Values,
    /// As rules, where they may.
    Rules,
}

impl BrowserMark {
    /// As a flag keeps it.
    pub fn form(self) -> Option<BrowserForm> {
        match self {
            BrowserMark::None => None,
            BrowserMark::Values => Some(BrowserForm::Values),
            BrowserMark::Rules => Some(BrowserForm::Rules),
        }
    }
}

/// What changes of a flag's targeting; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TargetingPatch {
    /// Turn it on or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// How many units get `serve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// What the exposed units get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serve: Option<Serve>,
    /// All target lists anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<Target>>,
    /// All rules anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
    /// All prerequisites anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prerequisites: Option<Vec<Prerequisite>>,
    /// All scheduled changes anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<ScheduledChange>>,
}

/// What a flag's values are if nobody says.
pub(super) fn boolean() -> FlagKind {
    FlagKind::Boolean
}
