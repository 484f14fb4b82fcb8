//! A rollout of a flag in an environment: which plan it follows, and how far it is.
//!
//! Only the exposure of the stage is served; the rest is for whoever runs it. A rollout ends when it is completed or
//! aborted, and when something else decides what is served:
//!
//! | what happens | what becomes of the rollout |
//! | --- | --- |
//! | somebody turns the flag on or off, sets its exposure, what it serves or its schedule, or archives it; a scheduled change comes | `taken_over` |
//! | a kill of the flag, its app or everything, also one that was taken back since | `killed` |
//! | a guardrail or other automation, or a drill, holds the flag at its off variant or takes its exposure to 0 % | `taken_back` |
//! | the flag's date or its preview's end comes | `expired` |
//!
//! Nothing goes on by itself after that: whoever mended it starts another one. Rules, target lists and
//! prerequisites may change meanwhile. A pause stops the clock of the stage; so does a hold by the evaluator, which
//! only the evaluator ends, or a person who advances the rollout all the same.

use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::governance::Actor;
use crate::percent::Exposure;
use crate::plan::{RolloutPlan, Stage};
use crate::time::UnixMs;

/// A rollout. The last one of a flag in an environment is kept after it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Its stages.
    pub plan: RolloutPlan,
    /// The stage that stands, counted from zero.
    pub stage: u8,
    /// Since when the stage counts; the length of a pause is added to it.
    pub since: UnixMs,
    /// What it does.
    pub status: RolloutStatus,
    /// When it was started.
    pub started_at: UnixMs,
    /// By whom.
    pub started_by: Actor,
    /// When it raised the exposure last.
    pub raised_at: UnixMs,
    /// Whether it turned the flag on: aborting turns it off then.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub turned_on: bool,
}

/// What a rollout does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum RolloutStatus {
    /// It goes on when the stage was held for long enough.
    Running,
    /// Somebody stopped its clock.
    Paused {
        /// When.
        at: UnixMs,
        /// The evaluator had stopped it before, and that stands: it is back with the resumption.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<Suspicion>,
    },
    /// The stage was held, and somebody has to advance it.
    Waiting {
        /// Since when.
        at: UnixMs,
        /// What for.
        why: WaitsFor,
    },
    /// The evaluator stopped its clock.
    Held {
        /// Since when.
        at: UnixMs,
        /// Why, for people.
        reason: String,
    },
    /// It is over.
    Ended {
        /// When, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<UnixMs>,
        /// How.
        how: RolloutEnd,
    },
}

/// Why the evaluator stopped the clock of a rollout that somebody paused since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Suspicion {
    /// Since when.
    pub at: UnixMs,
    /// Why, for people.
    pub reason: String,
}

/// Why a rollout waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The plan asks for approval before the next stage.
    Plan,
    /// Outcomes do not show that the stage went well, and at this tier a person decides then.
    Outcomes,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RolloutEnd {
    /// It went through all stages.
    Completed,
    /// Somebody took it to 0 %.
    Aborted,
    /// Somebody, or a scheduled change, set by hand what it would have set.
    TakenOver,
    /// Automation took it back.
    TakenBack,
    /// A kill ended it.
    Killed,
    /// The flag or its preview did not live long enough.
    Expired,
}

/// What outcomes say of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "finding", rename_all = "snake_case", deny_unknown_fields)]
pub enum Finding {
    /// Too little to tell: the tier decides. Tiers 0 and 1 go on, tier 2 asks a person in production.
    NotEnoughData,
    /// No worse than the control, shown by enough data. What waits for this alone goes on.
    ShownGood,
    /// Something is suspect: go no further until the evaluator finds otherwise.
    Held {
        /// What, for people.
        reason: String,
    },
}

impl RolloutEnd {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            RolloutEnd::Completed => "completed",
            RolloutEnd::Aborted => "aborted",
            RolloutEnd::TakenOver => "taken_over",
            RolloutEnd::TakenBack => "taken_back",
            RolloutEnd::Killed => "killed",
            RolloutEnd::Expired => "expired",
        }
    }

    /// For people, after `it`.
    pub fn in_words(self) -> &'static str {
        match self {
            RolloutEnd::Completed => "was completed",
            RolloutEnd::Aborted => "was aborted",
            RolloutEnd::TakenOver => "was taken over by hand",
            RolloutEnd::TakenBack => "was taken back by automation",
            RolloutEnd::Killed => "was ended by a kill",
            RolloutEnd::Expired => "ended with the flag's life",
        }
    }
}

impl RolloutStatus {
    /// In a word: `running`, `paused`, `waiting`, `held`, or how it ended.
    pub fn as_str(&self) -> &'static str {
        match self {
            RolloutStatus::Running => "running",
            RolloutStatus::Paused { .. } => "paused",
            RolloutStatus::Waiting { .. } => "waiting",
            RolloutStatus::Held { .. } => "held",
            RolloutStatus::Ended { how, .. } => how.as_str(),
        }
    }
}

impl Rollout {
    /// Whether it is not over, as far as itself knows.
    pub fn is_active(&self) -> bool {
        !matches!(self.status, RolloutStatus::Ended { .. })
    }

    /// The stage that stands.
    pub fn current(&self) -> Option<&Stage> {
        self.plan.stages.get(usize::from(self.stage))
    }

    /// The exposure of the stage that stands.
    pub fn exposure(&self) -> Exposure {
        self.current().map_or(Exposure::NONE, |stage| stage.exposure)
    }

    /// The stage after it, if there is one.
    pub fn next(&self) -> Option<&Stage> {
        self.plan.stages.get(usize::from(self.stage) + 1)
    }

    /// The stage that stands: `stage 2 of 5 (5%)`.
    pub fn stage_in_words(&self) -> String {
        let stages = self.plan.stages.len();
        format!("stage {} of {stages} ({}%)", u32::from(self.stage) + 1, self.exposure())
    }

    /// When the stage was held for long enough. None while its clock stands.
    pub fn due_at(&self) -> Option<UnixMs> {
        let hold = self.current()?.hold_ms;
        (self.status == RolloutStatus::Running).then(|| self.since.plus(hold))
    }

    /// When it is completed, if nothing keeps it waiting from now on.
    pub fn completes_at(&self) -> Option<UnixMs> {
        let rest = self.plan.length_from(usize::from(self.stage) + 1);
        self.due_at().map(|due| due.plus(rest))
    }

    /// The same at a stage that begins now; over, if it is the last and not to be watched.
    pub(crate) fn entering(&self, stage: u8, now: UnixMs) -> Rollout {
        let mut entered =
            Rollout { stage, since: now, raised_at: now, status: RolloutStatus::Running, ..self.clone() };
        if entered.next().is_none() && entered.due_at().is_none_or(|due| due <= now) {
            entered.status = RolloutStatus::Ended { at: Some(now), how: RolloutEnd::Completed };
        }
        entered
    }

    /// Whether a person has to bring it to its next stage, by its plan.
    pub fn asks_for_approval(&self) -> bool {
        self.next().is_some_and(|next| next.approval)
    }

    /// The same, paused. That the evaluator held it stands.
    pub(crate) fn paused(&self, now: UnixMs) -> Rollout {
        let held = match &self.status {
            RolloutStatus::Held { at, reason } => Some(Suspicion { at: *at, reason: reason.clone() }),
            _ => None,
        };
        self.with(RolloutStatus::Paused { at: now, held })
    }

    /// The same with its clock going on, where it stood; held, if it was when it was paused.
    pub(crate) fn going_on(&self, now: UnixMs) -> Rollout {
        let stood_from = match &self.status {
            // The clock goes on standing since then.
            RolloutStatus::Paused { held: Some(held), .. } => {
                let reason = held.reason.clone();
                return self.with(RolloutStatus::Held { at: held.at, reason });
            }
            RolloutStatus::Paused { at, held: None } | RolloutStatus::Held { at, .. } => Some(*at),
            _ => None,
        };
        let since = stood_from.map_or(self.since, |from| self.since.plus(now.since(from)));
        Rollout { since, ..self.with(RolloutStatus::Running) }
    }

    /// The same with another status.
    pub(crate) fn with(&self, status: RolloutStatus) -> Rollout {
        Rollout { status, ..self.clone() }
    }

    /// The same, over.
    pub(crate) fn ended(&self, how: RolloutEnd, at: Option<UnixMs>) -> Rollout {
        self.with(RolloutStatus::Ended { at, how })
    }
}
