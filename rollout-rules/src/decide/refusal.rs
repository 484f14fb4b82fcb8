//! Why a command is refused: what is wrong, and what to do about it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Moved, What};
use crate::flag::{Height, HoldCause, Tier};
use crate::gate::policy::{Reach, Role};
use crate::gate::waiver::WaiverState;
use crate::ids::{FlagKey, KillId, ProposalId, Revision, WaiverId};
use crate::proposal::ProposalState;
use crate::rollout::RolloutEnd;
use crate::runbook::MAX_AUTOMATIC_A_DAY;
use crate::snapshot::Touch;
use crate::time::UnixMs;

/// Why a command is refused. Each has a stable [`code`](Refusal::code).
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// It is not there.
    NotFound {
        /// What was named.
        what: What,
    },
    /// It is there already; keys of archived flags stay taken.
    AlreadyExists {
        /// What was named.
        what: What,
    },
    /// Something in the command is not as it must be.
    Invalid {
        /// Where: `rules[2].serve.split.weights`.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The flag changed since the caller looked.
    Stale {
        /// What the caller saw.
        seen: Revision,
        /// What it is now.
        current: Revision,
        /// What changed since, as far as it is remembered.
        changed: Vec<Touch>,
    },
    /// A change that does more than lower must name the revision that was seen.
    RevisionRequired {
        /// What it is now.
        current: Revision,
    },
    /// The caller may not do this.
    NotAllowed {
        /// Who may.
        who_may: &'static str,
    },
    /// An agent asks for what it may only propose.
    AgentsOnlyPropose,
    /// Too few people approved.
    ApprovalsNeeded {
        /// How many it takes.
        needed: u8,
        /// How many valid ones there are.
        have: u8,
        /// Roles that are asked for, and in which nobody approved.
        roles: Vec<Role>,
    },
    /// Nobody approved in these roles.
    RolesMissing {
        /// Which.
        roles: Vec<Role>,
    },
    /// It takes a role that the caller has not, or did not name.
    RoleNeeded {
        /// Which.
        role: Role,
    },
    /// The waiver is over.
    WaiverOver {
        /// Which.
        id: WaiverId,
        /// How it ended.
        state: WaiverState,
    },
    /// The glass was broken for as long as it may be within a day.
    GlassSpent {
        /// From when on it may be broken for so long again.
        again: UnixMs,
    },
    /// The gate does not stand.
    GateMissing {
        /// What it misses, in words.
        missing: Vec<String>,
        /// The approvals that are missing besides.
        besides: Option<Box<Refusal>>,
    },
    /// It takes a flag further in production than the app's tier lets the caller.
    TierLimit {
        /// The app's tier.
        tier: Tier,
        /// Whom it is that the tier limits.
        who: &'static str,
        /// How far they may go.
        reach: Reach,
    },
    /// A bound was reached.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The change would not fit one entry of the log.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The largest.
        limit: usize,
    },
    /// It would live longer than it may.
    ExpiryBeyondCap {
        /// What was asked for.
        asked: UnixMs,
        /// The latest that is allowed now.
        cap: UnixMs,
    },
    /// It needs a reason.
    ReasonRequired {
        /// For what.
        act: &'static str,
    },
    /// Flags refer to it.
    InUse {
        /// What was to go.
        what: What,
        /// Some of those that refer to it.
        by: Vec<FlagKey>,
    },
    /// A flag would be its own prerequisite.
    PrerequisiteCycle {
        /// From the flag, by its prerequisites, back to it.
        path: Vec<FlagKey>,
    },
    /// A kill is in effect.
    Killed {
        /// How high.
        height: Height,
        /// Which.
        kill_id: KillId,
    },
    /// There is no such kill to take back.
    NotKilled {
        /// The kill that is in effect elsewhere, and has to be revived there.
        elsewhere: Option<Height>,
    },
    /// Everything is killed in all environments, and cannot be revived in one.
    KilledEverywhere,
    /// The kill id names another act.
    KillIdTaken {
        /// Which.
        kill_id: KillId,
        /// The revision of that act.
        revision: Revision,
    },
    /// The flag's time is over.
    Expired {
        /// Since when.
        at: UnixMs,
    },
    /// The preview's time is over.
    EnvironmentEnded {
        /// Since when.
        at: UnixMs,
    },
    /// Automation holds the flag at its off variant.
    Held {
        /// On whose account.
        cause: HoldCause,
    },
    /// The idempotency key names another request.
    IdempotencyKeyTaken {
        /// The revision that the other request made.
        revision: Revision,
    },
    /// The proposal is not the one that was shown.
    ProposalChanged {
        /// Which.
        id: ProposalId,
    },
    /// What the gate stood on when it was proposed is no longer so.
    ProposalOutdated {
        /// Which.
        id: ProposalId,
        /// What.
        moved: Moved,
    },
    /// The proposal waits for nobody any more.
    ProposalClosed {
        /// Which.
        id: ProposalId,
        /// What became of it.
        state: ProposalState,
    },
    /// People approve for others, not for themselves.
    OwnApproval,
    /// Such a command cannot be proposed.
    NotProposable,
    /// Another node does the effect.
    EffectClaimed {
        /// Until when.
        until: UnixMs,
    },
    /// Automation has acted on the app as often as it may within a day.
    LeftToPeople {
        /// Until when it leaves what comes to people.
        until: UnixMs,
    },
    /// The scheduled change, or the next stage of a rollout, is not due yet.
    NotDue {
        /// When it is.
        at: UnixMs,
    },
    /// A rollout runs there already.
    RolloutRuns {
        /// What it does.
        status: &'static str,
        /// The number of its stage, from one.
        stage: usize,
        /// How many it has.
        stages: usize,
    },
    /// No rollout runs there.
    NoRollout {
        /// How the last one ended, if there was one.
        ended: Option<RolloutEnd>,
    },
    /// The rollout is not paused, so it cannot go on.
    RolloutNotPaused {
        /// What it does.
        status: &'static str,
    },
}

impl Refusal {
    /// A stable name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotFound { .. } => "not_found",
            Refusal::AlreadyExists { .. } => "already_exists",
            Refusal::Invalid { .. } => "invalid",
            Refusal::Stale { .. } => "stale",
            Refusal::RevisionRequired { .. } => "revision_required",
            Refusal::NotAllowed { .. } => "not_allowed",
            Refusal::AgentsOnlyPropose => "agents_only_propose",
            Refusal::ApprovalsNeeded { .. } => "approvals_needed",
            Refusal::RolesMissing { .. } => "roles_missing",
            Refusal::RoleNeeded { .. } => "role_needed",
            Refusal::WaiverOver { .. } => "waiver_over",
            Refusal::GlassSpent { .. } => "glass_spent",
            Refusal::GateMissing { .. } => "gate_missing",
            Refusal::TierLimit { .. } => "tier_limit",
            Refusal::TooMany { .. } => "too_many",
            Refusal::TooLarge { .. } => "too_large",
            Refusal::ExpiryBeyondCap { .. } => "expiry_beyond_cap",
            Refusal::ReasonRequired { .. } => "reason_required",
            Refusal::InUse { .. } => "in_use",
            Refusal::PrerequisiteCycle { .. } => "prerequisite_cycle",
            Refusal::Killed { .. } => "killed",
            Refusal::NotKilled { .. } => "not_killed",
            Refusal::KilledEverywhere => "killed_everywhere",
            Refusal::KillIdTaken { .. } => "kill_id_taken",
            Refusal::Expired { .. } => "expired",
            Refusal::EnvironmentEnded { .. } => "environment_ended",
            Refusal::Held { .. } => "held",
            Refusal::IdempotencyKeyTaken { .. } => "idempotency_key_taken",
            Refusal::ProposalChanged { .. } => "proposal_changed",
            Refusal::ProposalOutdated { .. } => "proposal_outdated",
            Refusal::ProposalClosed { .. } => "proposal_closed",
            Refusal::OwnApproval => "own_approval",
            Refusal::NotProposable => "not_proposable",
            Refusal::EffectClaimed { .. } => "effect_claimed",
            Refusal::LeftToPeople { .. } => "left_to_people",
            Refusal::NotDue { .. } => "not_due",
            Refusal::RolloutRuns { .. } => "rollout_runs",
            Refusal::NoRollout { .. } => "no_rollout",
            Refusal::RolloutNotPaused { .. } => "rollout_not_paused",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotFound { what } => write!(f, "there is no {what}"),
            Refusal::AlreadyExists { what } => {
                write!(f, "{what} exists already, or did and its key stays taken: choose another key")
            }
            Refusal::Invalid { field, problem } => write!(f, "{field}: {problem}"),
            Refusal::Stale { seen, current, .. } => write!(
                f,
                "it changed since you looked: you saw revision {seen}, it is at {current}; look again, then decide"
            ),
            Refusal::RevisionRequired { current } => write!(
                f,
                "this change does more than lower: name the revision that you saw (it is at {current})"
            ),
            Refusal::NotAllowed { who_may } => write!(f, "you may not do this; {who_may} may"),
            Refusal::AgentsOnlyPropose => f.write_str(
                "an agent may not change what production serves, save to lower it: propose the change, and a human applies it",
            ),
            Refusal::RoleNeeded { role } => write!(
                f,
                "it takes a person with the role {role} for this app: `tidegate role list` says who has it"
            ),
            Refusal::WaiverOver { id, state } => {
                write!(f, "waiver `{id}` is {}: ask for another one", state.as_str())
            }
            Refusal::ApprovalsNeeded { .. } | Refusal::RolesMissing { .. } | Refusal::GateMissing { .. } => {
                self.fmt_awaited(f)
            }
            Refusal::TierLimit { tier, who, reach } => write!(
                f,
                "in production {who} may {reach}, for a flag of a tier {} app: {}",
                *tier as u8,
                if *who == "a pipeline" { "a person does the rest" } else { "further goes what is of a higher tier" }
            ),
            Refusal::TooMany { what, limit } => write!(f, "there may be at most {limit} {what}"),
            Refusal::TooLarge { bytes, limit } => write!(
                f,
                "the change takes {bytes} bytes and one change may take {limit}: put long lists into segments, and change them in chunks"
            ),
            Refusal::ExpiryBeyondCap { asked, cap } => {
                write!(f, "{asked} is too far: the latest allowed now is {cap}; it can be extended later")
            }
            Refusal::ReasonRequired { act } => write!(f, "{act} needs a reason"),
            Refusal::InUse { what, by } => {
                write!(f, "{what} is in use by ")?;
                by.iter().enumerate().try_for_each(|(nth, flag)| {
                    if nth > 0 { write!(f, ", `{flag}`") } else { write!(f, "`{flag}`") }
                })?;
                f.write_str(": change those first")
            }
            Refusal::PrerequisiteCycle { path } => {
                f.write_str("the flag would depend on itself: ")?;
                path.iter().enumerate().try_for_each(|(nth, flag)| {
                    if nth > 0 { write!(f, " -> `{flag}`") } else { write!(f, "`{flag}`") }
                })
            }
            _ => self.fmt_state(f),
        }
    }
}

impl Refusal {
    /// The refusals that come from the state that something is in.
    fn fmt_state(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Killed { height, kill_id } => write!(
                f,
                "kill `{kill_id}` ({height}) is in effect: revive it first; the flag is off then, and can be turned on"
            ),
            Refusal::NotKilled { elsewhere: None } => f.write_str("nothing is killed there: there is nothing to revive"),
            Refusal::NotKilled { elsewhere: Some(height) } => {
                write!(f, "nothing is killed there; the kill in effect is at the height of {height}: revive it there")
            }
            Refusal::KilledEverywhere => f.write_str(
                "everything is killed in all environments, also in those made later: revive it in all, then kill what must stay dead",
            ),
            Refusal::KillIdTaken { kill_id, revision } => write!(
                f,
                "kill id `{kill_id}` names another kill, made at revision {revision}: use a new id for a new act"
            ),
            Refusal::Expired { at } => {
                write!(f, "the flag expired at {at}: extend it first, with a reason")
            }
            Refusal::EnvironmentEnded { at } => {
                write!(f, "the preview ended at {at}: extend it first, or make a new one")
            }
            Refusal::Held { cause } => write!(
                f,
                "automation ({}) holds the flag at its off variant: a human or pipeline turns it on again, with `on: true`",
                match cause {
                    HoldCause::Guardrail => "guardrail",
                    HoldCause::Budget => "budget",
                    HoldCause::Gate => "gate",
                }
            ),
            Refusal::IdempotencyKeyTaken { revision } => write!(
                f,
                "the idempotency key was used for another request, which made revision {revision}: use a new key"
            ),
            Refusal::ProposalChanged { id } => {
                write!(f, "proposal `{id}` is not the one you were shown: look at it again")
            }
            Refusal::ProposalOutdated { id, moved } => {
                write!(f, "proposal `{id}` cannot be approved or applied any more: {moved}; propose it again")
            }
            Refusal::ProposalClosed { id, state } => {
                write!(f, "proposal `{id}` is {}: make a new one", state.as_str())
            }
            Refusal::OwnApproval => f.write_str("nobody approves their own proposal or waiver: ask somebody else"),
            Refusal::NotProposable => f.write_str(
                "only changes of apps, environments, flags and segments can be proposed",
            ),
            Refusal::EffectClaimed { until } => write!(f, "another node does this until {until}"),
            Refusal::GlassSpent { again } => write!(
                f,
                "the glass may be broken for 8 hours within any 24, and for so long again from {again} on: mend what the gate denies, turn \
                 the flags off, or break it for a shorter time"
            ),
            Refusal::LeftToPeople { until } => write!(
                f,
                "automation has acted on this app {MAX_AUTOMATIC_A_DAY} times within a day, and leaves what comes until {until} to people"
            ),
            Refusal::NotDue { at } => write!(f, "it is due at {at}, and not before"),
            Refusal::RolloutRuns { status, stage, stages } => write!(
                f,
                "a rollout is {status} there, at stage {stage} of {stages}: advance or resume it, or abort it before another is started"
            ),
            Refusal::NoRollout { ended: None } => {
                f.write_str("no rollout runs there, and none ever did: start one")
            }
            Refusal::NoRollout { ended: Some(how) } => {
                let how = how.in_words();
                write!(f, "no rollout runs there any more: the last one {how}; start another one")
            }
            Refusal::RolloutNotPaused { status } => write!(
                f,
                "the rollout is {status}, not paused: `advance` brings it to its next stage, `abort` takes it to 0 %"
            ),
            other => f.write_str(other.code()),
        }
    }
}

impl core::error::Error for Refusal {}
