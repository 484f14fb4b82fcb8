//! What apps, environments, flags and segments are: the definitions that people write and the log keeps.
//! What stands of a flag besides, kills and holds among it, is in `state`.

mod state;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::state::{FlagState, Height, Hold, HoldCause, Kill, Kills};
use crate::condition::Condition;
use crate::ids::{AppKey, EnvKey, FlagKey, RuleId, ScheduleId, SegmentKey, SplitId, VariantKey};
use crate::percent::Exposure;
use crate::time::{DAY, DurationMs, UnixMs};

/// Most variants of one flag.
pub const MAX_VARIANTS: usize = 64;
/// Most rules of one flag state.
pub const MAX_RULES: usize = 64;
/// Most units on all target lists of one flag state; longer lists belong in a segment.
pub const MAX_TARGETS: usize = 1_000;
/// Longest unit (targeting key) on a list, in bytes.
pub const MAX_UNIT_BYTES: usize = 256;
/// Most prerequisites of one flag state, and the longest chain of them.
pub const MAX_PREREQUISITES: usize = 16;
/// How long a scheduled step that the gate bars waits for it; then it lapses, and the flag stays as it is.
pub const STEP_WAITS: DurationMs = DAY;
/// Most scheduled changes waiting in one flag state.
pub const MAX_SCHEDULED: usize = 32;
/// Most attributes that an app marks as sensitive.
pub const MAX_SENSITIVE: usize = 64;
/// Most apps.
pub const MAX_APPS: usize = 1_000_000;
/// Most environments that kills and revivals of everything name.
pub const MAX_KILL_ENVIRONMENTS: usize = 1_000;
/// Most environments of one app. Previews that have ended do not count: they go when one that comes needs
/// the place.
pub const MAX_ENVIRONMENTS: usize = 64;
/// Most flags of one app, archived ones included.
pub const MAX_FLAGS: usize = 100_000;
/// Most segments of one app, and most shared ones.
pub const MAX_SEGMENTS: usize = 1_000;
/// Most members of one segment.
pub const MAX_SEGMENT_MEMBERS: usize = 1_000_000;
/// Longest text that people write (descriptions, reasons, owners), in bytes.
pub const MAX_TEXT_BYTES: usize = 1_000;
/// Largest value of one variant as JSON, in bytes.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;

/// How much an app matters. Decides expiry, approvals and what the gate asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Personal: one maker and their friends.
    #[default]
    Zero,
    /// A team depends on it.
    One,
    /// The organisation depends on it.
    Two,
}

impl Serialize for Tier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for Tier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Tier::Zero),
            1 => Ok(Tier::One),
            2 => Ok(Tier::Two),
            other => Err(serde::de::Error::invalid_value(
                serde::de::Unexpected::Unsigned(other.into()),
                &"a tier: 0, 1 or 2",
            )),
        }
    }
}

/// What an environment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// Lives for one change and dies on a date. Never asks for a gate or approvals.
    Preview,
    /// For trying things. Never asks for a gate or approvals.
    Sandbox,
    /// Where users are.
    Production,
}

/// An app's environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "EnvironmentDefinition"))]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Its name within the app.
    pub key: EnvKey,
    /// What it is for.
    pub kind: EnvironmentKind,
    /// When it was made.
    pub created_at: UnixMs,
    /// When it dies with all its flag states. Previews have one, others have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<UnixMs>,
}

/// A micro app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AppInfo {
    /// Its name in the API.
    pub key: AppKey,
    /// Its name for people.
    #[serde(default)]
    pub name: String,
    /// Who answers for it: a mail address, a team.
    #[serde(default)]
    pub owner: String,
    /// How much it matters.
    #[serde(default)]
    pub tier: Tier,
    /// What it may cost a month, in millionths of `currency`. None: no budget is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_budget_micros: Option<u64>,
    /// ISO 4217 code of the budget's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// When it was made.
    pub created_at: UnixMs,
    /// Attributes whose values no page may learn from a rule: `email`, or `user.email` with all below it. A flag that
    /// looks at one never travels to pages as rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
}

/// What a flag's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FlagKind {
    /// `true` or `false`.
    Boolean,
    /// A text.
    String,
    /// A number.
    Number,
    /// A JSON object.
    Object,
}

impl FlagKind {
    /// Whether a value is of this kind.
    pub fn admits(self, value: &Value) -> bool {
        match self {
            FlagKind::Boolean => value.is_boolean(),
            FlagKind::String => value.is_string(),
            FlagKind::Number => value.is_number(),
            FlagKind::Object => value.is_object(),
        }
    }
}

/// How a flag travels to pages, where everyone can read what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BrowserForm {
    /// The server evaluates it for the page's context, and sends what came of it.
    Values,
    /// Its rules travel and the page evaluates them, as far as they hold no lists and look at nothing sensitive; else
    /// its values do.
    Rules,
}

/// One of the answers that a flag can give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name within the flag.
    pub key: VariantKey,
    /// What the app receives.
    pub value: Value,
}

/// A flag's definition: what is the same in every environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "FlagDefinition"))]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// Its name within the app.
    pub key: FlagKey,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: FlagKind,
    /// The answers it can give, in the order that splits count them.
    pub variants: Vec<Variant>,
    /// The answer while it is off, killed or expired.
    pub off_variant: VariantKey,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Critical flags stay when a budget disables the rest.
    #[serde(default)]
    pub critical: bool,
    /// When it was made.
    pub created_at: UnixMs,
    /// How often its life was extended.
    #[serde(default)]
    pub extensions: u32,
    /// Set when it was archived: it answers as not found, and its key stays taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<UnixMs>,
    /// How it travels to pages. None: pages do not get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<BrowserForm>,
}

/// What to answer: one variant, or a split between several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Serve {
    /// This variant for everyone.
    Variant(VariantKey),
    /// Each unit gets one of several, always the same.
    Split(Box<Split>),
}

/// Divides units between variants.
///
/// The bucket is `(murmur3_x86_32(seed + unit) * total_weight) >> 32`, as in flagd's `fractional`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Its name in reports.
    pub id: SplitId,
    /// The shares, in bucket order. At least one weight is above zero.
    pub weights: Vec<Weight>,
    /// The variant that the others are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<VariantKey>,
    /// The attribute that holds the unit; the targeting key if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Hashed before the unit; the flag's key if none is given. Splits with one seed agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
}

/// One share of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// Who gets this share.
    pub variant: VariantKey,
    /// How large it is against the sum of all.
    pub weight: u32,
}

/// Units that always get one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What they get.
    pub variant: VariantKey,
    /// The units, by targeting key.
    pub units: Vec<Arc<str>>,
}

/// If the condition holds, serve this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name; unique in the flag state.
    pub id: RuleId,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// For whom.
    pub when: Condition,
    /// What they get.
    pub serve: Serve,
}

/// Another flag that must serve one of these variants in the same environment.
///
/// Only what the other flag really serves counts: by a target, a rule, a split, its exposure or to everyone. While
/// it is killed, held, expired, off, not exposed to the unit, without a unit, broken, or fails a prerequisite
/// of its own, it satisfies nobody, even where its off variant is listed: lowering one flag never raises
/// another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Prerequisite {
    /// The other flag, of the same app.
    pub flag: FlagKey,
    /// The answers that satisfy it.
    pub variants: Vec<VariantKey>,
}

/// A change that waits for its time. What lowers takes effect at that moment everywhere, even on a
/// machine that is cut off; what raises is decided again by the server when it is due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScheduledChange {
    /// Its name; unique in the flag state.
    pub id: ScheduleId,
    /// When.
    pub at: UnixMs,
    /// Turn the flag on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Set the exposure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

/// What people set for a flag in one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Targeting {
    /// Off: everyone gets the off variant. Flags are born off.
    pub on: bool,
    /// How many of the units that no target and no rule caught get `serve`; the rest get the off variant.
    pub exposure: Exposure,
    /// What the exposed units get.
    pub serve: Serve,
    /// Units that always get one variant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// In order; the first that holds decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// All must be satisfied, or everyone gets the off variant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<Prerequisite>,
    /// Changes that wait for their time, by time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<ScheduledChange>,
}

impl Targeting {
    /// Born off; turned on without more, it serves `variant` to everyone.
    pub fn off(variant: VariantKey) -> Targeting {
        Targeting {
            on: false,
            exposure: Exposure::ALL,
            serve: Serve::Variant(variant),
            targets: Vec::new(),
            rules: Vec::new(),
            prerequisites: Vec::new(),
            schedule: Vec::new(),
        }
    }

    /// On and exposure as they stand now: scheduled steps that have come take effect as far as they
    /// lower; what raises waits for the server.
    pub fn lowered(&self, now: UnixMs) -> (bool, Exposure) {
        let due = self.schedule.iter().filter(|step| step.at <= now);
        due.fold((self.on, self.exposure), |(on, exposure), step| {
            (on && step.on != Some(false), step.exposure.map_or(exposure, |to| exposure.min(to)))
        })
    }

    /// When the steps that are due lapse, if the gate bars them until then: all of them with the last one.
    pub fn step_lapses_at(&self, now: UnixMs) -> Option<UnixMs> {
        self.schedule.iter().map(|step| step.at).filter(|at| *at <= now).max().map(|at| at.plus(STEP_WAITS))
    }

    /// Makes the lowering of scheduled steps that have come part of what is set. The steps stay until
    /// they are applied.
    pub fn lower_until(&mut self, now: UnixMs) {
        (self.on, self.exposure) = self.lowered(now);
    }
}

/// Where a segment lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SegmentScope {
    /// Usable by every app.
    Shared,
    /// Usable by one app.
    App(AppKey),
}

/// A reusable set of units and conditions: a unit belongs if it is a member, or if `when` holds for it.
/// Its members come and go in chunks of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SegmentDefinition"))]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name within its scope.
    pub key: SegmentKey,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who belongs besides its members. May not name other segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Box<Condition>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serve_reads_as_people_write_it() {
        let one: Serve = serde_json::from_str(r#"{"variant":"on"}"#).expect("a variant");
        assert_eq!(one, Serve::Variant(VariantKey::new("on").expect("a key")));
        let split = r#"{"split":{"id":"s","weights":[{"variant":"a","weight":1}],"control":"a"}}"#;
        let read: Serve = serde_json::from_str(split).expect("a split");
        assert_eq!(serde_json::to_string(&read).expect("json"), split);
    }
}
