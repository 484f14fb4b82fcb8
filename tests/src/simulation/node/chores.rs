//! What every node does by itself: schedules that are due, harm that its evaluator sees, effects that
//! wait. All nodes are equal, so all of them try.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::change::{Anchor, Change, Command, ENTRY_VERSION, Entry};
use rollout_rules::flag::HoldCause;
use rollout_rules::ids::{IdempotencyKey, Revision};
use rollout_rules::rollout::{Finding, Rollout};
use rollout_rules::snapshot::{Due, RolloutPlace};
use rollout_rules::time::{DurationMs, UnixMs};

use super::commit::Task;
use super::{Node, encode};
use crate::simulation::cast::{Who, node_name};
use crate::simulation::history::{Answer, EffectRun};
use crate::simulation::log::Expect;
use crate::simulation::mutation::Mutation;
use crate::simulation::outside::{Outside, Wish};

/// How long a claim lasts.
const LEASE: DurationMs = DurationMs(30_000);
/// A step that was refused is tried again after so long.
const AGAIN: DurationMs = DurationMs(60_000);
/// A rollout is looked at again after so long.
const SOON: DurationMs = DurationMs(5_000);
/// How far ahead a timer looks that does not look at its clock.
const AHEAD: DurationMs = DurationMs(3_600_000);

/// What a node remembers of its chores until it stops.
#[derive(Default)]
pub(super) struct Chores {
    steps: BTreeMap<Due, UnixMs>,
    rollouts: BTreeMap<RolloutPlace, UnixMs>,
    breaches: BTreeMap<usize, Mending>,
    effects: BTreeMap<Revision, Doing>,
    ran: BTreeSet<usize>,
}

/// How far the reaction to some harm has come.
#[derive(Clone, Copy)]
enum Mending {
    Holding { ask: usize },
    Requesting { ask: usize },
    Over,
}

/// How far an effect has come.
#[derive(Clone, Copy)]
enum Doing {
    Claiming { ask: usize, lease_until: UnixMs },
    Running { until: UnixMs },
    Finishing { ask: usize },
}

impl Node {
    pub(super) fn do_chores(&mut self, outside: &mut Outside) {
        match outside.dice.below(3) {
            0 => {
                self.apply_steps(outside);
                self.step_rollouts(outside);
            }
            1 => {
                self.mend_breaches(outside);
                self.guard(outside);
            }
            _ => self.do_effects(outside),
        }
        // What acts ask for outside takes many turns: it is looked at in each.
        self.do_jobs(outside);
    }

    fn want(&mut self, wish: Wish, outside: &mut Outside) -> usize {
        let ask = outside.ask(wish);
        self.submit(ask, outside);
        ask
    }

    fn apply_steps(&mut self, outside: &mut Outside) {
        let now = self.clock(outside.now);
        self.chores
            .steps
            .retain(|_, tried_at| tried_at.plus(AGAIN) > outside.now && *tried_at <= outside.now);
        let until = if outside.errs(Mutation::TimerAheadOfTime) { now.plus(AHEAD) } else { now };
        let due: Vec<Due> = self.folded.due(until).take(2).cloned().collect();
        for due in due {
            if self.chores.steps.contains_key(&due) {
                continue;
            }
            let Due { app, flag, environment, schedule, .. } = due.clone();
            self.chores.steps.insert(due, outside.now);
            outside.history.count("steps that fell due");
            let command = Command::ApplySchedule { app, flag, environment, schedule };
            self.want(Wish::new(Who::Timer, command, None), outside);
        }
    }

    fn step_rollouts(&mut self, outside: &mut Outside) {
        let now = self.clock(outside.now);
        self.chores
            .rollouts
            .retain(|_, tried_at| tried_at.plus(SOON) > outside.now && *tried_at <= outside.now);
        let until = if outside.errs(Mutation::TimerAheadOfTime) { now.plus(AHEAD) } else { now };
        let due: Vec<RolloutPlace> = self.folded.rollouts_due(until).take(2).cloned().collect();
        for place in due {
            let view = self.folded.flag(&place.app, &place.flag);
            let rollout = view.and_then(|view| view.record().rollout(&place.environment).cloned());
            let Some(rollout) = rollout.filter(|_| !self.chores.rollouts.contains_key(&place)) else {
                continue;
            };
            self.chores.rollouts.insert(place.clone(), outside.now);
            outside.history.count("rollouts that were due");
            let RolloutPlace { app, flag, environment } = place;
            let finding = Finding::NotEnoughData;
            let Rollout { started_at, stage, .. } = rollout;
            let command = Command::StepRollout { app, flag, environment, started_at, stage, finding };
            self.want(Wish::new(Who::Timer, command, None), outside);
        }
    }

    /// Holds the flag first, and then asks for the rollback job outside.
    fn mend_breaches(&mut self, outside: &mut Outside) {
        for number in 0..outside.history.breaches.len() {
            let answer = |ask: usize| outside.history.asks[ask].answer.clone();
            let next = match self.chores.breaches.get(&number).copied() {
                None => self.hold(number, outside),
                Some(Mending::Holding { ask }) => match answer(ask) {
                    None => continue,
                    Some(Answer::Done { .. }) => self.request_rollback(number, None, outside),
                    // The flag is another one by now, or nobody knows: then this node looks again.
                    Some(Answer::Refused(_)) => Mending::Over,
                    Some(_) => self.hold(number, outside),
                },
                Some(Mending::Requesting { ask }) => match answer(ask) {
                    None => continue,
                    Some(Answer::Done { .. } | Answer::Refused(_)) => Mending::Over,
                    Some(_) => self.request_rollback(number, Some(ask), outside),
                },
                Some(Mending::Over) => continue,
            };
            self.chores.breaches.insert(number, next);
        }
    }

    fn hold(&mut self, number: usize, outside: &mut Outside) -> Mending {
        let breach = outside.history.breaches[number].clone();
        let current = self.folded.flag(&breach.app, &breach.flag).map(|view| view.revision());
        if current.is_none_or(|current| current > breach.revision) {
            return Mending::Over;
        }
        let command = Command::Hold {
            app: breach.app,
            flag: breach.flag,
            environment: breach.environment,
            cause: HoldCause::Guardrail,
        };
        let mut wish = Wish::new(Who::Evaluator, command, Some(breach.revision));
        wish.breach = Some(number);
        Mending::Holding { ask: self.want(wish, outside) }
    }

    fn request_rollback(&mut self, number: usize, earlier: Option<usize>, outside: &mut Outside) -> Mending {
        let command = Command::RequestEffect {
            effect: "rollback".to_owned(),
            payload: serde_json::json!({ "breach": number }),
        };
        let mut wish = Wish::new(Who::Evaluator, command, None);
        let fresh = outside.errs(Mutation::RetryUnderNewKey);
        let draw = if fresh { outside.history.asks.len() } else { 0 };
        wish.key = IdempotencyKey::new(&format!("rollback-{number}-{draw}")).ok();
        wish.breach = Some(number);
        wish.repeats = earlier;
        Mending::Requesting { ask: self.want(wish, outside) }
    }

    fn do_effects(&mut self, outside: &mut Outside) {
        let open: Vec<Revision> = self.folded.effects().map(|(revision, _)| revision).collect();
        self.chores.effects.retain(|request, _| open.contains(request));
        for request in open {
            match self.chores.effects.get(&request).copied() {
                None => self.claim(request, outside),
                Some(Doing::Claiming { ask, lease_until }) => {
                    self.run_if_claimed(request, ask, lease_until, outside);
                }
                Some(Doing::Running { until }) if until <= outside.now => {
                    let (node, outcome) = (node_name(self.index), "done".to_owned());
                    let command =
                        Command::FinishEffect { request, nth: None, node, succeeded: true, outcome };
                    let ask = self.want(Wish::new(Who::Evaluator, command, None), outside);
                    self.chores.effects.insert(request, Doing::Finishing { ask });
                }
                Some(Doing::Running { .. }) => {}
                Some(Doing::Finishing { ask }) => match outside.history.asks[ask].answer {
                    None => {}
                    Some(_) => {
                        // Still open, so it is not known to be finished: someone claims it anew in time.
                        self.chores.effects.remove(&request);
                    }
                },
            }
        }
    }

    fn claim(&mut self, request: Revision, outside: &mut Outside) {
        let now = self.clock(outside.now);
        let claim = self.folded.effect(request).and_then(|effect| effect.claim.clone());
        // Its own claim of an earlier life counts too: nobody knows how far that one came.
        let free = claim.is_none_or(|claim| claim.lease_until <= now);
        let blind = outside.errs(Mutation::ClaimWithoutDeciding);
        if !free && !blind {
            return;
        }
        let lease_until = now.plus(LEASE);
        let node = node_name(self.index);
        let command = Command::ClaimEffect { request, nth: None, node: node.clone(), lease_until };
        let ask = if blind {
            let ask = outside.ask(Wish::new(Who::Evaluator, command, None));
            self.claim_blindly(ask, Change::EffectClaimed { request, nth: None, node, lease_until }, outside);
            ask
        } else {
            self.want(Wish::new(Who::Evaluator, command, None), outside)
        };
        self.chores.effects.insert(request, Doing::Claiming { ask, lease_until });
    }

    fn claim_blindly(&mut self, ask: usize, change: Change, outside: &mut Outside) {
        let request = outside.history.asks[ask].request.clone();
        let anchor = Anchor { revision: self.folded.revision(), hash: self.folded.hash() };
        let entry = Entry {
            version: ENTRY_VERSION,
            at: self.clock(outside.now),
            actor: request.caller.actor.clone(),
            token: None,
            reason: String::new(),
            anchor,
            idempotency_key: None,
            request: None,
            proposal: None,
            plan: None,
            change,
        };
        let bytes = encode(&entry);
        self.send(Expect::Any, bytes, Some(ask), outside);
        outside.answer(ask, Answer::Done { revision: anchor.revision, already: true, durable: true });
    }

    /// The claim is in the log: the effect is run, if the fold says that the claim counts.
    fn run_if_claimed(&mut self, request: Revision, ask: usize, lease_until: UnixMs, outside: &mut Outside) {
        let Some(answer) = &outside.history.asks[ask].answer else { return };
        let Answer::Done { revision, .. } = *answer else {
            self.chores.effects.remove(&request);
            return;
        };
        let claim = self.folded.effect(request).and_then(|effect| effect.claim.clone());
        let ours = claim
            .is_some_and(|claim| claim.node == node_name(self.index) && claim.lease_until == lease_until);
        let over = self.clock(outside.now) >= lease_until;
        if (!ours || over) && !outside.errs(Mutation::ClaimWithoutDeciding) {
            self.chores.effects.remove(&request);
            return;
        }
        outside.history.count("effects run");
        outside.note(|| format!("node {} runs effect {request}", self.index));
        let claim = Some((revision, lease_until));
        outside.history.runs.push(EffectRun { node: self.index, request, claim, breach: None });
        let until = outside.now.plus(DurationMs(outside.dice.up_to(20_000)));
        self.chores.effects.insert(request, Doing::Running { until });
    }

    /// What a node must not do: run a rollback because it is about to ask for one.
    pub(super) fn run_before_durable(&mut self, task: &Task, outside: &mut Outside) {
        let wanted = matches!(task.request.command, Command::RequestEffect { .. });
        if !wanted || !outside.errs(Mutation::RunBeforeDurable) || !self.chores.ran.insert(task.ask) {
            return;
        }
        let (node, request) = (self.index, Revision::ZERO);
        let breach = outside.history.asks[task.ask].breach;
        outside.history.runs.push(EffectRun { node, request, claim: None, breach });
    }
}
