//! Carrying a plan out, one ordinary change after another.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::ids::{FlagKey, SegmentKey};
use ureq::http::Method;

use super::plan::{Phase, Plan, Step, Thing};
use super::seen::Seen;
use crate::cli::client::{Answer, Call};
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::output::note;
use crate::cli::session::Session;

/// What became of a row of the plan.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done,
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
            Outcome::Refused { code: ExitCode::NeedsApproval, .. } => "needs_approval",
            Outcome::Refused { .. } => "refused",
            Outcome::NotTried { .. } | Outcome::Stopped { .. } => "not_done",
        }
    }

    /// What a shell sees of it; nothing of what is done, or follows from another.
    pub(super) fn exit_code(&self) -> Option<ExitCode> {
        match self {
            Outcome::Done | Outcome::NotTried { .. } => None,
            Outcome::Refused { code, .. } | Outcome::Stopped { code } => Some(*code),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Outcome::Done)
    }
}

/// What became of a plan.
pub(super) struct Made {
    /// By row; of rows that nothing was done for, none.
    pub outcomes: Vec<Option<Outcome>>,
    /// Why it was not gone through to its end.
    pub stopped: Option<Failure>,
}

/// Carries a plan out, and says of each row how it went. A refusal stops only what needs the refused; where the
/// outcome of a request is not known, nothing more is sent.
pub(super) fn perform(session: &mut Session, plan: &Plan, seen: &Seen) -> Result<Made, Failure> {
    let mut performer = Performer { revisions: revisions(seen), missing: BTreeSet::new() };
    let mut made = Made { outcomes: vec![None; plan.rows.len()], stopped: None };
    let mut waiting: Vec<&Step> = plan.steps.iter().collect();
    // What is in use by something that goes later in the same plan gets another chance.
    while !waiting.is_empty() {
        let (mut again, mut progress) = (Vec::new(), false);
        for step in std::mem::take(&mut waiting) {
            match performer.perform(session, step) {
                Ok(Ok(())) => {
                    progress |= step.phase == Phase::Prune;
                    for row in std::iter::once(&step.row).chain(&step.also) {
                        made.outcomes[*row].get_or_insert(Outcome::Done);
                    }
                }
                Ok(Err((outcome, in_use))) => {
                    if in_use && step.phase == Phase::Prune {
                        again.push((step, outcome));
                    } else {
                        made.outcomes[step.row] = Some(outcome);
                    }
                }
                Err(failure) => {
                    made.outcomes[step.row] = Some(Outcome::Stopped { code: failure.exit_code() });
                    made.stopped = Some(failure);
                    say(session, plan, &made)?;
                    return Ok(made);
                }
            }
        }
        for (step, outcome) in again {
            if progress {
                waiting.push(step);
            } else {
                made.outcomes[step.row] = Some(outcome);
            }
        }
    }
    say(session, plan, &made)?;
    Ok(made)
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

/// Why a step was not done, and whether something still uses what it was to remove.
type Undone = (Outcome, bool);

impl Performer {
    /// Sends one request; an error means that nothing more is to be sent.
    fn perform(&mut self, session: &Session, step: &Step) -> Result<Result<(), Undone>, Failure> {
        if let Some(thing) = step.needs.iter().find(|thing| self.missing.contains(thing)) {
            self.missing.extend(step.makes.clone());
            return Ok(Err((Outcome::NotTried { because: format!("{} is not there", named(thing)) }, false)));
        }
        match self.send(session, step) {
            Ok(answer) => {
                let thing = step.seen.as_ref().or(step.makes.as_ref());
                if let (Some(thing), Some(revision)) = (thing, answer.body["revision"].as_u64()) {
                    self.revisions.insert(thing.clone(), revision);
                }
                Ok(Ok(()))
            }
            Err(failure) if failure.leaves_outcome_unknown() || failure.is_passing() => Err(failure),
            Err(Failure::Refused(problem)) if problem.status != 401 => {
                self.missing.extend(step.makes.clone());
                let in_use = problem.code == "in_use";
                let failure = Failure::Refused(problem);
                let code = failure.exit_code();
                Ok(Err((Outcome::Refused { problem: failure.to_string(), code }, in_use)))
            }
            Err(failure) => Err(failure),
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

fn named(thing: &Thing) -> String {
    match thing {
        Thing::App => "the app".to_owned(),
        Thing::Environment(key) => format!("environment {key}"),
        Thing::Segment(key) => format!("segment {key}"),
        Thing::Flag(key) => format!("flag {key}"),
    }
}

fn say(session: &mut Session, plan: &Plan, made: &Made) -> Result<(), Failure> {
    if session.json {
        return Ok(());
    }
    let mut done = 0;
    for (row, outcome) in plan.rows.iter().zip(&made.outcomes) {
        let place =
            if row.environment.is_empty() { String::new() } else { format!(" in {}", row.environment) };
        let what = format!("{} {}{place}", row.act.words(), row.what);
        match outcome {
            None => {}
            Some(Outcome::Done) => done += 1,
            Some(Outcome::Refused { problem, code: ExitCode::NeedsApproval }) => {
                note(format_args!("waits for approval: {what}: {problem}"));
            }
            Some(Outcome::Refused { problem, .. }) => note(format_args!("refused: {what}: {problem}")),
            Some(Outcome::NotTried { because }) => note(format_args!("not tried: {what}: {because}")),
            Some(Outcome::Stopped { .. }) => note(format_args!("stopped at: {what}")),
        }
    }
    let noun = if done == 1 { "change is" } else { "changes are" };
    session.say(format_args!("{done} {noun} made"))
}
