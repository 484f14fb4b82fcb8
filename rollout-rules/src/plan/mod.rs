//! Plans of rollouts: the stages by which a flag reaches more and more units. The short form is read in `text`.
//!
//! ```text
//! 1%/30m,5%/1h,approve,25%/4h,50%/12h,100%
//! ```
//!
//! One percent for half an hour, five for an hour; then somebody approves, and so on. A last stage of 95 to 99 % holds
//! the rest back for good, to be compared with; one with a length of its own is watched for so long before the rollout is
//! completed.

mod text;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use self::text::{MAX_PLAN_BYTES, NotAPlan};
use crate::flag::{EnvironmentKind, Tier};
use crate::percent::Exposure;
use crate::time::{DurationMs, UnixMs};

/// Most stages of one plan.
pub const MAX_STAGES: usize = 20;
/// Shortest hold of a stage: one slot of outcomes. In less nothing can be seen.
pub const MIN_HOLD: DurationMs = DurationMs(10_000);
/// Longest hold of a stage.
pub const MAX_HOLD: DurationMs = DurationMs::days(30);
/// Least exposure of the last stage; above it whole units of a percent may be held back, one to five.
pub const MIN_LAST: Exposure = percent(95);
/// Highest exposure of a last stage that holds something back.
pub const MAX_HELD_BACK: Exposure = percent(99);

const fn percent(whole: u32) -> Exposure {
    match Exposure::from_milli_percent(whole * 1_000) {
        Some(exposure) => exposure,
        None => Exposure::ALL,
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RolloutStage"))]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How many units get what the flag serves.
    pub exposure: Exposure,
    /// For how long, in milliseconds, before the next; nothing only at the last.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub hold_ms: DurationMs,
    /// Whether a person has to bring the rollout here. Not at the first: whoever starts a plan does.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub approval: bool,
}

fn is_nothing(length: &DurationMs) -> bool {
    *length == DurationMs(0)
}

/// The stages of a rollout. What was read from JSON is yet to be [checked](RolloutPlan::check); what is in the log was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RolloutPlan {
    /// In order: each exposes more than the one before.
    pub stages: Vec<Stage>,
}

/// Why stages are no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Which stage; none: all of them.
    pub stage: Option<usize>,
    /// Which part of it.
    pub part: StagePart,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// A part of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagePart {
    /// How many units.
    Exposure,
    /// For how long.
    Hold,
    /// Whether it asks for approval.
    Approval,
}

impl Unfit {
    /// Where, as a path in the JSON form: `stages[2].hold_ms`.
    pub fn field(&self) -> String {
        let part = match self.part {
            StagePart::Exposure => "exposure",
            StagePart::Hold => "hold_ms",
            StagePart::Approval => "approval",
        };
        self.stage.map_or_else(|| "stages".into(), |stage| format!("stages[{stage}].{part}"))
    }
}

impl RolloutPlan {
    /// What a tier does if nobody says: the more depend on an app, the smaller its steps. Tier 2 asks for
    /// approval before the larger stages of production. In previews and sandboxes nobody waits for long.
    pub fn default_for(tier: Tier, kind: EnvironmentKind) -> RolloutPlan {
        let text = match (kind, tier) {
            (EnvironmentKind::Preview | EnvironmentKind::Sandbox, _) => "10%/5m,50%/5m,100%",
            (EnvironmentKind::Production, Tier::Zero) => "10%/30m,50%/2h,100%",
            (EnvironmentKind::Production, Tier::One) => "1%/30m,5%/1h,25%/4h,50%/12h,100%",
            (EnvironmentKind::Production, Tier::Two) => {
                "1%/1h,5%/4h,approve,25%/12h,approve,50%/1d,approve,100%"
            }
        };
        text.parse().expect("a plan of ours")
    }

    /// Whether it can be followed.
    pub fn check(&self) -> Result<(), Unfit> {
        let unfit = |stage, part, problem: String| Err(Unfit { stage, part, problem });
        if self.stages.is_empty() || self.stages.len() > MAX_STAGES {
            let problem = format!("a plan has 1 to {MAX_STAGES} stages");
            return unfit(
                (self.stages.len() > MAX_STAGES).then_some(MAX_STAGES),
                StagePart::Exposure,
                problem,
            );
        }
        let last = self.stages.len() - 1;
        let mut before = Exposure::NONE;
        for (nth, stage) in self.stages.iter().enumerate() {
            if stage.exposure <= before {
                let problem =
                    format!("each stage has to expose more than the one before, which is {before}%");
                return unfit(Some(nth), StagePart::Exposure, problem);
            }
            before = stage.exposure;
            let free = nth == last && stage.hold_ms == DurationMs(0);
            if !free && !(MIN_HOLD..=MAX_HOLD).contains(&stage.hold_ms) {
                let problem = "a stage is held for 10s to 30d; only the last may have no length";
                return unfit(Some(nth), StagePart::Hold, problem.into());
            }
            if nth == 0 && stage.approval {
                let problem =
                    "starting a rollout asks for what the tier asks already: begin with an exposure";
                return unfit(Some(nth), StagePart::Approval, problem.into());
            }
        }
        let held_back = (MIN_LAST..=MAX_HELD_BACK).contains(&before);
        if before != Exposure::ALL && !held_back {
            let problem = "the last stage is 100%, or 95% to 99% to hold the rest back";
            return unfit(Some(last), StagePart::Exposure, problem.into());
        }
        Ok(())
    }

    /// The same plan with so much held back at its last stage. Stages that would expose as much or more go; if one
    /// of them asked for approval, the last one asks for it, unless it is the only one left.
    pub fn holding_back(&self, part: Exposure) -> Result<RolloutPlan, Unfit> {
        let left = Exposure::SCALE - part.milli_percent();
        let mut plan = self.clone();
        if let (Some(mut last), Some(exposure)) = (plan.stages.pop(), Exposure::from_milli_percent(left)) {
            let goes = |stage: &Stage| stage.exposure >= exposure;
            let asked = plan.stages.iter().any(|stage| goes(stage) && stage.approval);
            plan.stages.retain(|stage| !goes(stage));
            last.exposure = exposure;
            last.approval = (last.approval || asked) && !plan.stages.is_empty();
            plan.stages.push(last);
        }
        plan.check().map(|()| plan)
    }

    /// The exposure that it ends with.
    pub fn highest(&self) -> Exposure {
        self.stages.iter().map(|stage| stage.exposure).max().unwrap_or(Exposure::NONE)
    }

    /// How long it takes from a stage on, if nothing keeps it waiting.
    pub fn length_from(&self, stage: usize) -> DurationMs {
        let holds = self.stages.iter().skip(stage).map(|stage| stage.hold_ms.0);
        DurationMs(holds.fold(0, u64::saturating_add))
    }

    /// When it ends that began now, if nothing keeps it waiting.
    pub fn ends_at(&self, now: UnixMs) -> UnixMs {
        now.plus(self.length_from(0))
    }
}
