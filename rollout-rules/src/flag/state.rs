//! What stands of a flag in an environment besides its definition: its targeting with its end, and what has
//! stopped it, by a person's kill or by automation.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::Targeting;
use crate::ids::{EnvKey, KillId, Revision};
use crate::time::UnixMs;

/// That something was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// The caller's name for the act.
    pub id: KillId,
    /// When.
    pub at: UnixMs,
}

/// How high a kill sits. A higher one wins over every lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Height {
    /// Every flag of every app.
    Everything,
    /// Every flag of an app.
    App,
    /// One flag.
    Flag,
}

impl Height {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Height::Everything => "everything",
            Height::App => "app",
            Height::Flag => "flag",
        }
    }
}

impl core::fmt::Display for Height {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kills and revivals at one height (everything, an app, a flag).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kills {
    /// Killed in all environments, those made later included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Kill>,
    /// Killed in these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<EnvKey, Kill>,
    /// Revived in all environments at this revision: what was turned on before it is off.
    #[serde(default)]
    pub off_before: Revision,
    /// The same for single environments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub off_before_in: BTreeMap<EnvKey, Revision>,
}

impl Kills {
    /// The kill in effect in an environment, if any.
    pub fn in_environment(&self, environment: &EnvKey) -> Option<&Kill> {
        self.all.as_ref().or_else(|| self.environments.get(environment))
    }

    /// What was turned on at or before this revision is off in the environment.
    pub fn off_before_in(&self, environment: &EnvKey) -> Revision {
        self.off_before.max(self.off_before_in.get(environment).copied().unwrap_or_default())
    }
}

/// Who holds a flag state at its off variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldCause {
    /// A guardrail saw harm.
    Guardrail,
    /// The app's budget is spent.
    Budget,
    /// The gate denies the artifact that is live.
    Gate,
}

/// Automation holds a flag state at its off variant until a human raises it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Who holds.
    pub cause: HoldCause,
    /// Since when.
    pub at: UnixMs,
    /// Why, for people.
    pub reason: String,
}

/// A flag in one environment: what people set, and what happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "StateDefinition"))]
#[serde(deny_unknown_fields)]
pub struct FlagState {
    /// What people set.
    pub targeting: Targeting,
    /// From this moment on it serves its off variant.
    pub expires_at: UnixMs,
    /// The revision that last changed `targeting`.
    #[serde(default)]
    pub targeting_revision: Revision,
    /// Set while automation holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Box<Hold>>,
}
