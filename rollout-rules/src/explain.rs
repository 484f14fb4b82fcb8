//! Why a flag answers as it does: the answer of [`evaluate`](crate::evaluate::evaluate) with every step that led
//! to it, in the order of law 8, told from what people wrote.
//!
//! It is apart from the check and costs it nothing. That both agree is a property that is tested.

mod trace;
mod walk;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::trace::{Found, Trace};
use self::walk::Walk;
use crate::context::Context;
use crate::evaluate::FlagSet;
use crate::flag::{Height, Hold, Kill, Weight};
use crate::ids::{EnvKey, FlagKey, Revision, RuleId, ScheduleId, SplitId, VariantKey};
use crate::percent::Exposure;
use crate::time::UnixMs;

/// Most wanted values of one test that are told; how many more there are is told too.
pub const MAX_SHOWN_VALUES: usize = 10;
/// So much of an attribute's value is told, in bytes; the rest is cut.
pub const MAX_SHOWN_BYTES: usize = 256;
/// Most tests and segments that are told one by one, those of prerequisites included. Of what comes after
/// them only the outcome is told.
pub const MAX_SHOWN_TESTS: usize = 2_000;

/// What a flag answers, and how it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The flag.
    pub flag: FlagKey,
    /// Where it was asked.
    pub environment: EnvKey,
    /// Its answer.
    pub variant: VariantKey,
    /// What the app receives.
    pub value: Value,
    /// Why, by [`Reason::code`](crate::evaluate::Reason::code).
    pub reason: String,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The log revision that last changed the flag there.
    pub revision: Revision,
    /// What was looked at, in order. The last step decided.
    pub steps: Vec<Step>,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What it is.
    #[serde(flatten)]
    pub looked_at: LookedAt,
    /// Whether it decided the answer.
    pub decides: bool,
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum LookedAt {
    /// Whether it is killed at this height.
    Kill {
        /// Where a kill would sit.
        height: Height,
        /// Whether one does.
        killed: bool,
        /// Which; a flag's own is not known here: whoever has the flag's record names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kill: Option<Kill>,
    },
    /// Whether a guardrail or a budget holds it.
    Hold {
        /// The hold.
        held: Option<Hold>,
    },
    /// Whether its life is over.
    Expiry {
        /// When it ends.
        expires_at: UnixMs,
        /// Whether that has come.
        expired: bool,
    },
    /// Whether the life of its preview is over.
    EnvironmentEnd {
        /// When it ends, if ever.
        ends_at: Option<UnixMs>,
        /// Whether that has come.
        ended: bool,
    },
    /// Whether the gate holds it.
    GateHold {
        /// The hold.
        held: Option<Hold>,
    },
    /// Whether people turned it on.
    Switch {
        /// Whether they did.
        on: bool,
        /// A kill that was taken back at this height turned it off since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revived: Option<Height>,
    },
    /// A scheduled change that has come and lowers it.
    Schedule {
        /// Its name.
        id: ScheduleId,
        /// When it came.
        at: UnixMs,
        /// Whether it turns the flag off.
        off: bool,
        /// The exposure that it lowers to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exposure: Option<Exposure>,
    },
    /// A flag that this one depends on.
    Prerequisite {
        /// Which.
        flag: FlagKey,
        /// The answers that satisfy.
        wanted: Vec<VariantKey>,
        /// What it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<VariantKey>,
        /// Why, or why it was not asked: `missing`, `chain_too_long`, `too_many`.
        reason: String,
        /// Whether it is satisfied. An answer for want of a better one never satisfies.
        satisfied: bool,
        /// How it came to its answer.
        steps: Vec<Step>,
    },
    /// The lists of units.
    Targets {
        /// How many units are on them.
        units: usize,
        /// Who was looked for.
        unit: Option<String>,
        /// What the list says that has them.
        variant: Option<VariantKey>,
    },
    /// A rule.
    Rule {
        /// Its place, from 0.
        index: usize,
        /// Its name.
        id: RuleId,
        /// What it is for.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        description: String,
        /// Whether its condition holds.
        holds: bool,
        /// How it came to that; none if it is off.
        when: Option<Trace>,
        /// What of it cannot be used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        problems: Vec<String>,
        /// What it serves, if it holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serves: Option<Served>,
    },
    /// Whether the rollout has reached the unit.
    Exposure {
        /// How far it is.
        exposure: Exposure,
        /// The attribute that holds the unit.
        attribute: String,
        /// The unit, if a bucket had to be found.
        unit: Option<String>,
        /// Its place in thousandths of a percent; reached if it is below the exposure.
        bucket: Option<u32>,
        /// Whether it is reached.
        reached: bool,
    },
    /// What everyone gets whom nothing above caught.
    Serve {
        /// What.
        serves: Served,
    },
    /// What it should serve cannot be used.
    Broken {
        /// Why.
        problems: Vec<String>,
    },
}

/// What a rule or flag serves somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// The variant; none if a split finds no unit.
    pub variant: Option<VariantKey>,
    /// How it was picked, if by a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Box<Picked>>,
}

/// How a split picks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picked {
    /// The split's name.
    pub id: SplitId,
    /// The attribute that holds the unit.
    pub attribute: String,
    /// The unit.
    pub unit: Option<String>,
    /// What is hashed before it, if not the flag's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// Its place among `total`.
    pub bucket: Option<u32>,
    /// The sum of all weights.
    pub total: u32,
    /// The shares, in bucket order.
    pub weights: Vec<Weight>,
}

/// Explains what a flag answers. `None` where [`evaluate`](crate::evaluate::evaluate) has no answer: if there is
/// no flag of this key, or it is archived.
pub fn explain(flags: &FlagSet<'_>, key: &str, context: &Context, now: UnixMs) -> Option<Explanation> {
    let flag = flags.environment.flags.get(key).filter(|flag| flag.answers)?;
    let mut steps = Vec::new();
    let (variant, reason) = Walk::new(flags, context, now).answer(flag, &mut steps);
    let variant = &flag.flag.variants[usize::from(variant)];
    Some(Explanation {
        flag: flag.key.clone(),
        environment: flags.environment.key.clone(),
        variant: variant.key.clone(),
        value: variant.value.clone(),
        reason: reason.code().into(),
        rule: reason
            .rule_index()
            .and_then(|index| flag.state.targeting.rules.get(usize::from(index)))
            .map(|rule| rule.id.clone()),
        revision: flag.revision,
        steps,
    })
}
