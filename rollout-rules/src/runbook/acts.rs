//! What a guardrail did: what it lowered at once, and what it asked to be done outside.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::flag::{Hold, Targeting};
use crate::governance::Actor;
use crate::ids::{AppKey, EnvKey, EvidenceId, FlagKey, InvalidKey, Revision, VariantKey};
use crate::release::{ArtifactDigest, Reversal};
use crate::sli::guardrail::{Action, Guardrail, Sli, Test};
use crate::snapshot::Claim;
use crate::time::UnixMs;

/// How often automation acts on one app within 24 hours, before it leaves what comes to people. Telling somebody
/// does not count.
pub const MAX_AUTOMATIC_A_DAY: usize = 3;
/// Of how many acts of automation an app remembers that they were made, so that none is made twice.
pub const KEPT_ACTED: usize = 64;
/// How many effects are remembered after they ended, delivered or dead. The oldest goes for one more.
pub const KEPT_CLOSED_RUNS: usize = 2_000;

/// Why automation acts. For one cause it acts once on one revision of a flag, by each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A rule on this holds.
    Regressed(Sli),
    /// Much speaks for it that one soon will.
    Suspect(Sli),
    /// It holds for everything that is watched at the same time.
    CommonMode(Sli),
    /// The split does not serve what was planned.
    Invalid,
    /// What was taken back is served all the same.
    StillServed,
    /// Automation has acted as often as it may within a day.
    LeftToPeople,
    /// What a rule asks for is refused.
    Refused,
    /// A person tries the runbook out.
    Drill,
    /// The gate denies the build that runs.
    GateDenied,
    /// Somebody took a risk upon themselves that the gate denies.
    GlassBroken,
    /// The gate bars a scheduled step, which waits for it.
    StepWaits,
}

/// What automation asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Acting {
    /// The app.
    pub app: AppKey,
    /// The flag; none: the whole app.
    #[serde(default)]
    pub flag: Option<FlagKey>,
    /// Where; none: everywhere.
    #[serde(default)]
    pub environment: Option<EnvKey>,
    /// The rule, if somebody wrote one.
    #[serde(default)]
    pub guardrail: Option<Guardrail>,
    /// The variant that does harm.
    #[serde(default)]
    pub variant: Option<VariantKey>,
    /// Why.
    pub cause: Cause,
    /// The last change of the flag in the environment, which was measured.
    #[serde(default)]
    pub measured: Option<Revision>,
    /// The artifact that ran while it was measured; none: it is not known which did.
    #[serde(default)]
    pub artifact: Option<ArtifactDigest>,
    /// Where the numbers are kept.
    #[serde(default)]
    pub evidence: Option<EvidenceId>,
    /// When it was found; none: just now.
    #[serde(default)]
    pub found: Option<UnixMs>,
    /// What to do, in this order.
    pub actions: Vec<Action>,
}

/// What an act lowered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lowered {
    /// The flag is held at its off variant.
    Held {
        /// The hold.
        hold: Hold,
    },
    /// The flag has no exposure any more.
    Targeted {
        /// As it is now.
        targeting: Box<Targeting>,
    },
    /// Every flag of the app that is on, or will be on schedule, and neither critical nor held is held, in the environment of the
    /// act or in all.
    NonCritical {
        /// The hold.
        hold: Hold,
    },
    /// Every flag of the app that is on, or will be on schedule, and not held is held, critical ones too, in the environment of the
    /// act.
    All {
        /// The hold.
        hold: Hold,
    },
}

/// What a guardrail, or a drill of it, did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The app.
    pub app: AppKey,
    /// The flag; none: the whole app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<FlagKey>,
    /// The environment; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvKey>,
    /// The rule; none: nobody wrote one, as for a split that serves what was not planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrail: Option<Guardrail>,
    /// The variant that did harm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
    /// Why.
    pub cause: Cause,
    /// The last change of the flag in the environment, which was measured. Of a whole app: the deployment of the release that
    /// was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Revision>,
    /// Where the numbers are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceId>,
    /// What it lowered at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lowered: Vec<Lowered>,
    /// What it asked to be done outside, in this order. The revision of the entry and the place here, from 0, name
    /// each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Action>,
    /// What is to be reverted and what to go back to, if it asks for that and it is known what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Box<Reversal>>,
}

impl Act {
    /// In words, for who knows what it is about: `GUARDRAIL error_rate > 3% for 5m: held, run rollback`.
    pub fn words(&self) -> String {
        let head = match self.cause {
            Cause::Drill => "drill of guardrail",
            Cause::GateDenied => "GATE",
            Cause::GlassBroken => "GLASS BROKEN",
            Cause::StepWaits => "SCHEDULE WAITS",
            _ => "GUARDRAIL",
        };
        let rule = self.guardrail.as_ref().map_or_else(String::new, |rule| format!(" {}", rule.when()));
        let lowered = self.lowered.iter().map(|lowered| match lowered {
            Lowered::Held { .. } => "held".to_string(),
            Lowered::Targeted { .. } => "rollout to 0".to_string(),
            Lowered::NonCritical { .. } => "held all that is not critical".to_string(),
            Lowered::All { .. } => "held all that was on".to_string(),
        });
        let done: Vec<String> = lowered.chain(self.effects.iter().map(ToString::to_string)).collect();
        format!("{head}{rule}: {}", done.join(", "))
    }

    /// Whether it does more than tell somebody. That a budget holds what is not critical does not count: it is judged in every
    /// environment, and would leave nothing of a day for what does harm. What the gate denies is no matter of measuring.
    pub fn is_action(&self) -> bool {
        if self.cause == Cause::GateDenied {
            return false;
        }
        let of_budget = self.cause == Cause::Regressed(Sli::MonthlySpend);
        let counts = |lowered: &Lowered| !of_budget || !matches!(lowered, Lowered::NonCritical { .. });
        self.lowered.iter().any(counts)
            || self.effects.iter().any(|effect| !matches!(effect, Action::Notify(_)))
    }
}

/// That automation acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// The entry.
    pub revision: Revision,
    /// When.
    pub at: UnixMs,
    /// On which flag.
    pub flag: Option<FlagKey>,
    /// Where.
    pub environment: Option<EnvKey>,
    /// On which revision of the flag. Of a whole app: on which deployment.
    pub measured: Option<Revision>,
    /// Why.
    pub cause: Cause,
    /// By which rule; none: by none, or it was not noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Test>,
    /// Whether it did more than tell somebody, as far as that counts.
    pub is_action: bool,
}

/// Names what an act asked to be done outside: `45.0` is the first thing that the entry of revision 45 asked for. Whoever
/// is called is given it as the idempotency key, and it stays the same however often they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId {
    /// The entry of the act.
    pub request: Revision,
    /// The place among what it asked for, from 0.
    pub nth: u8,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.request, self.nth)
    }
}

impl FromStr for EffectId {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<EffectId, InvalidKey> {
        let read = || {
            let (request, nth) = text.split_once('.')?;
            let id = EffectId { request: Revision(request.parse().ok()?), nth: nth.parse().ok()? };
            // One name for one thing: no zeros or signs in front.
            (id.to_string() == text).then_some(id)
        };
        read().ok_or_else(|| InvalidKey {
            kind: "effect id",
            expected: "a revision and a place such as 45.0",
            found: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for EffectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EffectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for EffectId {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "EffectId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": r"^[0-9]{1,20}\.[0-9]{1,3}$",
            "description": "Names what a guardrail asked to be done outside: the revision of its entry, and the place \
                            among what that asked for."
        })
    }
}

/// Something that is to be done outside, or was, or was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What it is a part of.
    pub act: Arc<Act>,
    /// Its place among what that asked for.
    pub nth: u8,
    /// Who acted.
    pub actor: Actor,
    /// Why, in their words.
    pub reason: String,
    /// When it was asked for.
    pub at: UnixMs,
    /// Who does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// How it stands.
    pub state: RunState,
}

impl Run {
    /// What is to be done.
    pub fn action(&self) -> Option<&Action> {
        self.act.effects.get(usize::from(self.nth))
    }

    /// Whether it is still to be done.
    pub fn is_open(&self) -> bool {
        matches!(self.state, RunState::Waiting { .. })
    }
}

/// How something stands that is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is to be done.
    Waiting {
        /// The entry that asked for it, the first time or again.
        since: Revision,
    },
    /// It ended.
    Ended {
        /// The entry that says so.
        revision: Revision,
        /// When.
        at: UnixMs,
        /// Whether it was done; else it was given up.
        succeeded: bool,
        /// What came back.
        outcome: String,
    },
}
