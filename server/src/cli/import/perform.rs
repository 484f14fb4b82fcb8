//! Carrying a plan out, one ordinary change after another.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::ids::{AppKey, FlagKey, SegmentKey};
use ureq::http::Method;

use super::plan::{Plan, Step, Thing};
use super::propose::Proposer;
use super::seen::Seen;
use crate::cli::client::{Answer, Call};
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::output::note;
use crate::cli::session::Session;

/// What became of a row of the plan.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done,
    /// It waits as a proposal.
    Proposed {
        id: String,
        waits_for: String,
    },
    /// The server said no.
    Refused {
        problem: String,
        code: ExitCode,
    },
    /// What it needs is not there.
    NotTried {
        because: String,
    },
    /// The outcome of a request is not known; nothing more was sent.
    Stopped {
        code: ExitCode,
    },
}

impl Outcome {
    /// For programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Proposed { .. } => "proposed",
            Outcome::Refused { code: ExitCode::NeedsApproval, .. } => "needs_approval",
            Outcome::Refused { .. } => "refused",
            Outcome::NotTried { .. } | Outcome::Stopped { .. } => "not_done",
        }
    }

    /// What a shell sees of it; nothing of what is done, or follows from another.
    pub(super) fn exit_code(&self) -> Option<ExitCode> {
        match self {
            Outcome::Done | Outcome::Proposed { .. } | Outcome::NotTried { .. } => None,
            Outcome::Refused { code, .. } | Outcome::Stopped { code } => Some(*code),
        }
    }

    /// Whether what was to be done about it was: with --propose, that is to propose what needs approvals.
    pub(super) fn is_dealt_with(&self) -> bool {
        matches!(self, Outcome::Done | Outcome::Proposed { .. })
    }

    /// What a failed request makes of a row; an error means that nothing more is to be sent.
    pub(super) fn of_failure(failure: Failure) -> Result<Outcome, Failure> {
        let is_refusal = matches!(&failure, Failure::Refused(problem) if problem.status != 401);
        if !is_refusal || failure.leaves_outcome_unknown() || failure.is_passing() {
            return Err(failure);
        }
        Ok(Outcome::Refused { problem: failure.to_string(), code: failure.exit_code() })
    }
}

/// What became of a plan.
pub(super) struct Made {
    /// By row; of rows that nothing was done for, none.
    pub outcomes: Vec<Option<Outcome>>,
    /// Why it was not gone through to its end.
    pub stopped: Option<Failure>,
}

/// What to do with a plan.
pub(super) struct Order<'a> {
    pub plan: &'a Plan,
    pub seen: &'a Seen,
    pub app: &'a AppKey,
    /// Whether what needs approvals is proposed.
    pub propose: bool,
}

/// Carries a plan out, and says of each row how it went. A refusal stops only what needs the refused; where the
/// outcome of a request is not known, nothing more is sent.
pub(super) fn perform(session: &mut Session, order: &Order<'_>) -> Result<Made, Failure> {
    let mut made = Made { outcomes: vec![None; order.plan.rows.len()], stopped: None };
    made.stopped = carry_out(session, order, &mut made.outcomes).err();
    say(session, order.plan, &made)?;
    Ok(made)
}

fn carry_out(session: &Session, order: &Order<'_>, outcomes: &mut [Option<Outcome>]) -> Result<(), Failure> {
    let mut performer = Performer { revisions: revisions(order.seen), missing: order.plan.missing.clone() };
    let mut to_propose: Vec<&Step> = Vec::new();
    let mut waiting: Vec<&Step> = order.plan.steps.iter().collect();
    // What stands in the way of one change may go by another of the same plan: that one gets another chance.
    while !waiting.is_empty() {
        let (mut again, mut progress) = (Vec::new(), false);
        for step in std::mem::take(&mut waiting) {
            match performer.perform(session, step).map_err(|failure| stopped(step, failure, outcomes))? {
                Ok(()) => {
                    progress = true;
                    for row in std::iter::once(&step.row).chain(&step.also) {
                        outcomes[*row].get_or_insert(Outcome::Done);
                    }
                }
                Err((outcome, true)) => again.push((step, outcome)),
                Err((outcome, false)) => {
                    if outcome.exit_code() == Some(ExitCode::NeedsApproval) && step.command.is_some() {
                        to_propose.push(step);
                    }
                    outcomes[step.row] = Some(outcome);
                }
            }
        }
        for (step, outcome) in again {
            if progress {
                waiting.push(step);
            } else {
                outcomes[step.row] = Some(outcome);
            }
        }
    }
    if !order.propose {
        return Ok(());
    }
    // Last, so that no other change of this plan makes them stale.
    let mut proposer = Proposer::default();
    for step in to_propose {
        let seen = step.seen.as_ref().and_then(|thing| performer.revisions.get(thing)).copied();
        let outcome = proposer.propose(session, order.app, step, seen);
        outcomes[step.row] = Some(outcome.map_err(|failure| stopped(step, failure, outcomes))?);
    }
    Ok(())
}

/// Notes where it stopped.
fn stopped(step: &Step, failure: Failure, outcomes: &mut [Option<Outcome>]) -> Failure {
    outcomes[step.row] = Some(Outcome::Stopped { code: failure.exit_code() });
    failure
}

fn revisions(seen: &Seen) -> BTreeMap<Thing, u64> {
    let flags = seen
        .flags
        .iter()
        .filter_map(|(key, flag)| FlagKey::new(key).ok().map(|key| (Thing::Flag(key), flag.revision)));
    let segments = seen
        .segments
        .iter()
        .filter_map(|(key, segment)| Some((Thing::Segment(SegmentKey::new(key).ok()?), segment.revision?)));
    flags.chain(segments).collect()
}

struct Performer {
    /// What was seen last of each thing.
    revisions: BTreeMap<Thing, u64>,
    /// What could not be made.
    missing: BTreeSet<Thing>,
}

/// Why a step was not done, and whether something else of the plan may still clear the way.
type Undone = (Outcome, bool);

impl Performer {
    /// Sends one request; an error means that nothing more is to be sent.
    fn perform(&mut self, session: &Session, step: &Step) -> Result<Result<(), Undone>, Failure> {
        if let Some(thing) = step.needs.iter().find(|thing| self.missing.contains(thing)) {
            self.missing.extend(step.makes.clone());
            return Ok(Err((Outcome::NotTried { because: not_there(thing) }, false)));
        }
        match self.send(session, step) {
            Ok(answer) => {
                let thing = step.seen.as_ref().or(step.makes.as_ref());
                if let (Some(thing), Some(revision)) = (thing, answer.body["revision"].as_u64()) {
                    self.revisions.insert(thing.clone(), revision);
                }
                Ok(Ok(()))
            }
            Err(failure) => {
                let in_the_way = matches!(
                    &failure,
                    Failure::Refused(problem) if matches!(problem.code.as_str(), "in_use" | "prerequisite_cycle")
                );
                let refused = Outcome::of_failure(failure)?;
                self.missing.extend(step.makes.clone());
                Ok(Err((refused, in_the_way)))
            }
        }
    }

    fn send(&self, session: &Session, step: &Step) -> Result<Answer, Failure> {
        let if_match = step.seen.as_ref().and_then(|thing| self.revisions.get(thing)).copied();
        if step.method == Method::POST
            && let (Some(body), Some(_)) = (&step.body, &step.makes)
        {
            return session.client.create(&step.path, body, None);
        }
        let call = Call { body: step.body.as_ref(), if_match, ..Call::default() };
        session.client.call(step.method.clone(), &step.path, &call)
    }
}

fn not_there(thing: &Thing) -> String {
    match thing {
        Thing::App => "the app is not there".to_owned(),
        Thing::Environment(key) => format!("environment {key} is not there"),
        Thing::Segment(key) => format!("segment {key} is not there"),
        Thing::Flag(key) => format!("flag {key} is not there"),
        Thing::Guardrails(..) => "its guardrails are not there".to_owned(),
    }
}

fn say(session: &mut Session, plan: &Plan, made: &Made) -> Result<(), Failure> {
    if session.json {
        return Ok(());
    }
    let (mut done, mut proposed) = (0, 0);
    for (row, outcome) in plan.rows.iter().zip(&made.outcomes) {
        let place =
            if row.environment.is_empty() { String::new() } else { format!(" in {}", row.environment) };
        let what = format!("{} {}{place}", row.act.words(), row.what);
        match outcome {
            None => {}
            Some(Outcome::Done) => done += 1,
            Some(Outcome::Proposed { id, waits_for }) => {
                proposed += 1;
                note(format_args!("proposed: {what}: proposal {id} waits for {waits_for}"));
            }
            Some(Outcome::Refused { problem, code: ExitCode::NeedsApproval }) => {
                note(format_args!("waits for approval: {what}: {problem}"));
            }
            Some(Outcome::Refused { problem, .. }) => note(format_args!("refused: {what}: {problem}")),
            Some(Outcome::NotTried { because }) => note(format_args!("not tried: {what}: {because}")),
            Some(Outcome::Stopped { .. }) => note(format_args!("stopped at: {what}")),
        }
    }
    let noun = if done == 1 { "change is" } else { "changes are" };
    let also = match proposed {
        0 => String::new(),
        1 => ", 1 is proposed".to_owned(),
        many => format!(", {many} are proposed"),
    };
    session.say(format_args!("{done} {noun} made{also}"))
}
