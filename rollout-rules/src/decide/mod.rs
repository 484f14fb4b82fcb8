//! Decisions: what a command becomes, or why not.
//!
//! [`decide`] looks at one snapshot and may refuse; what it answers is written to the log, if no other
//! entry came in between, and [`Snapshot::apply`] then folds it without asking again.

mod apps;
mod authority;
mod awaited;
mod bound;
mod definitions;
mod direction;
mod effects;
mod flags;
mod gate;
mod guardrails;
mod kills;
mod previews;
mod proposals;
mod refusal;
mod releases;
mod rollouts;
mod runbook;
mod segments;
mod targeting;
mod tokens;
mod validate;
mod waits;
mod waivers;
mod webhooks;
mod what;

use alloc::boxed::Box;
use alloc::string::String;

use serde::Serialize;

pub use self::authority::{Authority, Direction, Ground, Row, authority};
pub use self::bound::Moved;
pub use self::effects::MAX_LEASE;
pub use self::previews::{PREVIEW_ENDED, PREVIEW_GRACE};
pub(crate) use self::previews::{is_of, preview_in};
pub use self::refusal::Refusal;
pub use self::runbook::is_address;
pub use self::what::What;
use crate::change::{
    Anchor, Change, Command, ENTRY_VERSION, Entry, GateCommand, MAX_ENTRY_BYTES, Reach, RunbookCommand,
};
use crate::flag::{Environment, MAX_TEXT_BYTES};
use crate::gate::policy::Role;
use crate::governance::{Actor, Caller, Rules};
use crate::ids::{AppKey, Digest, EnvKey, FlagKey, IdempotencyKey, KillId, PlanId, ProposalId, Revision};
use crate::proposal::Proposal;
use crate::runbook::JobPatch;
use crate::snapshot::{App, FlagView, Snapshot, StateRecord};
use crate::time::UnixMs;
use crate::webhook::{WebhookPatch, WebhookSecret};

/// A command with who asks, and what they saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub command: Command,
    /// The revision of the flag (or segment, or app) that they saw.
    pub seen: Option<Revision>,
    /// Why, in their words.
    pub reason: String,
    /// The caller's name for the request.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The import that it is part of.
    pub plan: Option<PlanId>,
}

/// What a command becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// A change to be written to the log.
    Change(Box<Draft>),
    /// Nothing is left to do: the same request or kill came before, or it asks for what is.
    AlreadyDone {
        /// The revision that did it, or of the thing as it is.
        revision: Revision,
    },
}

/// An entry that lacks only its anchor.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    entry: Entry,
}

impl Draft {
    /// What would change.
    pub fn change(&self) -> &Change {
        &self.entry.change
    }

    /// The entry to append; `anchor` is the position and chain hash of an earlier entry that its writer
    /// has seen.
    pub fn into_entry(self, anchor: Anchor) -> Entry {
        Entry { anchor, ..self.entry }
    }
}

/// A kill that is in effect and that the log has not taken yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingKill {
    /// The caller's name for the act.
    pub kill_id: KillId,
    /// What is killed.
    pub reach: Reach,
    /// Only there; none: in all environments.
    pub environment: Option<EnvKey>,
}

/// What a command becomes now, or why it is refused.
pub fn decide(
    snapshot: &Snapshot,
    rules: &Rules,
    request: &Request,
    now: UnixMs,
) -> Result<Verdict, Refusal> {
    decide_under(snapshot, &[], rules, request, now)
}

/// The same where kills are in effect that are not in the snapshot: nothing is raised under them.
pub fn decide_under(
    snapshot: &Snapshot,
    waiting: &[WaitingKill],
    rules: &Rules,
    request: &Request,
    now: UnixMs,
) -> Result<Verdict, Refusal> {
    if request.reason.len() > MAX_TEXT_BYTES {
        let problem = alloc::format!("longer than {MAX_TEXT_BYTES} bytes");
        return Err(Refusal::Invalid { field: "reason".into(), problem });
    }
    if let Actor::Agent { work: Some(work), .. } = &request.caller.actor {
        work.check().map_err(|fault| validate::invalid("actor.work", alloc::format!("{fault}")))?;
    }
    // Before anything in it is looked at: whatever fits an entry has a command that fits one.
    check_size(&request.command)?;
    // A kill has an id of its own to be repeated under: a key neither refuses it nor is used up by it.
    let is_kill = matches!(request.command, Command::Kill { .. });
    let key = request.idempotency_key.as_ref().filter(|_| !is_kill);
    let fingerprint = key.map(|_| fingerprint(&request.command));
    if let Some(key) = key
        && let Some(past) = snapshot.past_request(request.caller.token.as_ref(), key)
    {
        if past.command != fingerprint {
            return Err(Refusal::IdempotencyKeyTaken { revision: past.revision });
        }
        return Ok(Verdict::AlreadyDone { revision: past.revision });
    }
    let case = Case {
        snapshot,
        waiting,
        rules,
        caller: &request.caller,
        seen: request.seen,
        reason: &request.reason,
        mode: Mode::Direct,
        now,
    };
    let (decided, proposal, reason) = case.decide_any(&request.command)?;
    let change = match decided {
        Decided::Change(change) => change,
        Decided::Already(revision) => return Ok(Verdict::AlreadyDone { revision }),
    };
    let entry = Entry {
        version: ENTRY_VERSION,
        at: now,
        actor: request.caller.actor.clone(),
        token: request.caller.token.clone(),
        reason,
        // The size is judged with the longest anchor that there can be.
        anchor: Anchor { revision: Revision(u64::MAX), hash: Digest::default() },
        idempotency_key: key.cloned(),
        request: fingerprint,
        proposal,
        plan: request.plan.clone(),
        change,
    };
    check_size(&entry)?;
    Ok(Verdict::Change(Box::new(Draft { entry })))
}

/// Whether something is no longer than an entry may be, as the log writes it.
fn check_size(written: &impl Serialize) -> Result<(), Refusal> {
    let bytes = serde_json::to_vec(written).expect("nothing here has a map with keys other than text").len();
    if bytes > MAX_ENTRY_BYTES { Err(Refusal::TooLarge { bytes, limit: MAX_ENTRY_BYTES }) } else { Ok(()) }
}

/// Tells commands apart under one idempotency key. What the shell draws anew for each attempt (secrets,
/// names) does not count.
fn fingerprint(command: &Command) -> Digest {
    let mut asked = command.clone();
    match &mut asked {
        Command::CreateToken { token } => {
            token.hash = Digest::default();
            token.created_at = UnixMs::default();
            token.id = crate::ids::TokenId::new("drawn").expect("a name of letters");
        }
        Command::CreateWebhook { webhook } => {
            webhook.secrets.clear();
            webhook.created_at = UnixMs::default();
            webhook.id = crate::ids::WebhookId::new("drawn").expect("a name of letters");
        }
        Command::UpdateWebhook { patch: WebhookPatch { secret: Some(secret), .. }, .. } => {
            *secret = WebhookSecret::new(String::new());
        }
        Command::Runbook { change, .. } => match change {
            RunbookCommand::CreateJob { job } => {
                job.secrets.clear();
                job.created_at = UnixMs::default();
            }
            RunbookCommand::UpdateJob { patch: JobPatch { secret: Some(secret), .. }, .. } => {
                *secret = WebhookSecret::new(String::new());
            }
            RunbookCommand::CreateChannel { channel } => channel.created_at = UnixMs::default(),
            _ => {}
        },
        Command::Gate(GateCommand::RequestWaiver { waiver, listed }) => {
            *listed = None;
            waiver.requested_at = UnixMs::default();
            if waiver.break_glass {
                // The shell says when an emergency ends if nobody does.
                waiver.expires_at = UnixMs::default();
            }
        }
        Command::Gate(GateCommand::ApproveWaiver { listed, .. }) => *listed = None,
        Command::Propose { id, .. } => *id = ProposalId::new("drawn").expect("a name of letters"),
        _ => {}
    }
    Digest::of(&serde_json::to_vec(&asked).expect("a command has no map with keys other than text"))
}

/// What a command becomes, before it is an entry.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it soon becomes an entry; on wasm32 it is smaller"
)]
enum Decided {
    Change(Change),
    /// Nothing is to be done; it was, at this revision.
    Already(Revision),
}

/// The roles in which people approved.
#[derive(Clone, Copy, Debug, Default)]
struct Roles(u8);

impl Roles {
    fn with(self, role: Role) -> Roles {
        Roles(self.0 | 1 << role as u8)
    }

    fn has(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }
}

/// How a command is decided.
#[derive(Clone, Copy, Debug)]
enum Mode<'a> {
    /// To be done now.
    Direct,
    /// To be stored for others: everything is checked but who may raise.
    Proposing,
    /// As a proposal says, with so many valid approvals, in these roles.
    Applying { proposal: &'a Proposal, approvals: u8, roles: Roles },
}

/// Everything that a decision looks at.
#[derive(Clone, Copy)]
struct Case<'a> {
    snapshot: &'a Snapshot,
    /// Kills in effect that are not in the snapshot.
    waiting: &'a [WaitingKill],
    rules: &'a Rules,
    caller: &'a Caller,
    seen: Option<Revision>,
    reason: &'a str,
    mode: Mode<'a>,
    now: UnixMs,
}

impl<'a> Case<'a> {
    /// Decides any command; says which proposal it applied, and the reason to write down.
    fn decide_any(&self, command: &Command) -> Result<(Decided, Option<ProposalId>, String), Refusal> {
        if let Command::ApplyProposal { id, hash } = command {
            return self.apply_proposal(id, *hash);
        }
        let decided = match command {
            Command::Propose { id, command } => self.propose(id, command)?,
            Command::ApproveProposal(approving) => self.approve_proposal(approving)?,
            Command::RejectProposal { id } => self.reject_proposal(id)?,
            Command::Drill { app, flag, environment, guardrail } => {
                let decided = self.drill(app, flag, environment, guardrail)?;
                return Ok((decided, None, self.reason_of_drill()));
            }
            other => self.decide_one(other)?,
        };
        let reason = self.reason_of_step(command, &decided);
        Ok((decided, None, reason))
    }

    /// Decides a command that is not about proposals.
    fn decide_one(&self, command: &Command) -> Result<Decided, Refusal> {
        match command {
            Command::CreateApp { .. } => self.create_app(command),
            Command::UpdateApp { app, .. } => self.update_app(app, command),
            Command::CreateEnvironment { app, environment } => self.create_environment(app, environment),
            Command::ExtendEnvironment { app, environment, ends_at } => {
                self.extend_environment(app, environment, *ends_at)
            }
            Command::RemoveEnvironment { app, environment } => self.remove_environment(app, environment),
            Command::EndPreview { app, environment } => self.end_preview(app, environment),
            Command::CreateFlag { .. } => self.create_flag(command),
            Command::UpdateFlag { app, flag, .. } => self.update_flag(app, flag, command),
            Command::SetTargeting { app, flag, environment, patch } => {
                self.set_targeting(app, flag, environment, patch)
            }
            Command::ExtendFlag { app, flag, environment, expires_at } => {
                self.extend_flag(app, flag, environment.as_ref(), *expires_at)
            }
            Command::ArchiveFlag { app, flag } => self.archive_flag(app, flag),
            Command::Kill { kill_id, reach, environment } => self.kill(kill_id, reach, environment.as_ref()),
            Command::Revive { reach, environment } => self.revive(reach, environment.as_ref()),
            Command::Hold { app, flag, environment, cause } => self.hold(app, flag, environment, *cause),
            Command::PutSegment { scope, segment } => self.put_segment(scope, segment),
            Command::ChangeSegmentMembers { scope, segment, add, remove } => {
                self.change_segment_members(scope, segment, add, remove)
            }
            Command::RemoveSegment { scope, segment } => self.remove_segment(scope, segment),
            Command::CreateToken { token } => self.create_token(token),
            Command::RevokeToken { token } => self.revoke_token(token),
            Command::ApplySchedule { app, flag, environment, schedule } => {
                self.apply_schedule(app, flag, environment, schedule)
            }
            Command::RequestEffect { effect, payload } => self.request_effect(effect, payload),
            Command::ClaimEffect { request, nth, node, lease_until } => {
                self.claim_effect(*request, *nth, node, *lease_until)
            }
            Command::FinishEffect { request, nth, node, succeeded, outcome } => {
                self.finish_effect(*request, *nth, node, *succeeded, outcome)
            }
            Command::CreateWebhook { webhook } => self.create_webhook(webhook),
            Command::UpdateWebhook { id, patch } => self.update_webhook(id, patch),
            Command::RemoveWebhook { id } => self.remove_webhook(id),
            Command::StartRollout { app, flag, environment, plan } => {
                self.start_rollout(app, flag, environment, plan)
            }
            Command::PauseRollout { app, flag, environment } => self.pause_rollout(app, flag, environment),
            Command::ResumeRollout { app, flag, environment } => self.resume_rollout(app, flag, environment),
            Command::AbortRollout { app, flag, environment } => self.abort_rollout(app, flag, environment),
            Command::AdvanceRollout { app, flag, environment } => {
                self.advance_rollout(app, flag, environment)
            }
            Command::StepRollout { app, flag, environment, started_at, stage, finding } => {
                self.step_rollout((app, flag, environment), (*started_at, *stage), finding)
            }
            Command::SetGuardrails { app, flag, environment, guardrails } => {
                self.set_guardrails(app, flag.as_ref(), environment.as_ref(), guardrails.as_ref())
            }
            Command::Act { acting } => self.act(acting),
            Command::ReportRelease(deployed) => self.report_release(deployed),
            Command::Runbook { app, change } => self.change_runbook(app, change),
            Command::Gate(change) => self.change_gate(change),
            Command::Drill { .. }
            | Command::Propose { .. }
            | Command::ApproveProposal(_)
            | Command::RejectProposal { .. }
            | Command::ApplyProposal { .. } => Err(Refusal::NotProposable),
        }
    }

    fn app(&self, key: &AppKey) -> Result<&'a App, Refusal> {
        self.snapshot.app(key).ok_or_else(|| Refusal::NotFound { what: What::App(key.clone()) })
    }

    fn environment(&self, app: &'a App, key: &EnvKey) -> Result<&'a Environment, Refusal> {
        let found = app.environment(key).map(|record| record.environment());
        let what = || What::Environment(app.info().key.clone(), key.clone());
        found.ok_or_else(|| Refusal::NotFound { what: what() })
    }

    /// A flag that is not archived.
    fn flag(&self, app: &AppKey, key: &FlagKey) -> Result<FlagView<'a>, Refusal> {
        self.app(app)?;
        let found = self.snapshot.flag(app, key).filter(|view| !view.record().is_archived());
        found.ok_or_else(|| Refusal::NotFound { what: What::Flag(app.clone(), key.clone()) })
    }

    fn state(&self, view: FlagView<'a>, environment: &EnvKey) -> Result<&'a StateRecord, Refusal> {
        self.environment(view.app(), environment)?;
        let what = || What::Environment(view.app().info().key.clone(), environment.clone());
        view.record().state(environment).ok_or_else(|| Refusal::NotFound { what: what() })
    }

    /// Whether what the caller saw, if they say so, is what is.
    fn not_stale(&self, view: FlagView<'_>) -> Result<(), Refusal> {
        match self.seen {
            Some(seen) if seen != view.revision() => {
                Err(Refusal::Stale { seen, current: view.revision(), changed: view.changed_since(seen) })
            }
            _ => Ok(()),
        }
    }

    /// Whether the caller named what they saw, where a change does more than lower. Tidegate itself
    /// decides on the snapshot and names nothing.
    fn revision_named(&self, view: FlagView<'_>, direction: Direction) -> Result<(), Refusal> {
        let tidegate = matches!(self.row(), Row::Timer | Row::Evaluator);
        if self.seen.is_none() && direction != Direction::Lower && !tidegate {
            return Err(Refusal::RevisionRequired { current: view.revision() });
        }
        Ok(())
    }

    /// The same for things other than flags, which name a revision only if they wish.
    fn not_older(&self, current: Revision) -> Result<(), Refusal> {
        match self.seen {
            Some(seen) if seen != current => {
                Err(Refusal::Stale { seen, current, changed: alloc::vec::Vec::new() })
            }
            _ => Ok(()),
        }
    }

    fn reason_given(&self, act: &'static str) -> Result<(), Refusal> {
        if self.reason.trim().is_empty() { Err(Refusal::ReasonRequired { act }) } else { Ok(()) }
    }
}
