//! What acts ask to be done outside: claimed for a while, called as often as it takes, and then written down.

use std::collections::BTreeMap;

use rollout_rules::change::Command;
use rollout_rules::runbook::EffectId;
use rollout_rules::time::{DurationMs, UnixMs};

use super::Node;
use crate::simulation::cast::{Who, node_name};
use crate::simulation::history::{Answer, Call};
use crate::simulation::mutation::Mutation;
use crate::simulation::outside::{Outside, Wish};

/// How long a claim lasts.
const LEASE: DurationMs = DurationMs(30_000);
/// What is left of a claim when it is not relied on any more.
const RENEW_BEFORE: DurationMs = DurationMs(5_000);
/// The longest pause after a call that failed.
const LONGEST_PAUSE_MS: u64 = 8_000;

/// What a node remembers of its calls until it stops.
pub(super) type Jobs = BTreeMap<EffectId, Calling>;

/// How far one has come.
#[derive(Clone, Copy)]
pub(super) enum Calling {
    Claiming { ask: usize },
    Due { at: UnixMs },
    Finishing { ask: usize },
}

impl Node {
    pub(super) fn do_jobs(&mut self, outside: &mut Outside) {
        let waiting: Vec<EffectId> = self.folded.waiting_runs().collect();
        self.jobs.retain(|id, _| waiting.contains(id));
        for id in waiting {
            match self.jobs.get(&id).copied() {
                None => self.take_on(id, outside),
                Some(Calling::Claiming { ask }) => match &outside.history.asks[ask].answer {
                    None => {}
                    Some(Answer::Done { .. }) => self.is_due(id, outside.now),
                    Some(_) => drop(self.jobs.remove(&id)),
                },
                Some(Calling::Due { at }) if at <= outside.now => self.call(id, outside),
                Some(Calling::Due { .. }) => {}
                // Still open, so it is not known to be written down: it is done again, under its key.
                Some(Calling::Finishing { ask }) if outside.history.asks[ask].answer.is_some() => {
                    self.jobs.remove(&id);
                }
                Some(Calling::Finishing { .. }) => {}
            }
        }
    }

    fn is_due(&mut self, id: EffectId, at: UnixMs) {
        self.jobs.insert(id, Calling::Due { at });
    }

    /// Whether it has it, for long enough: its own claim of an earlier life counts.
    fn has(&self, id: EffectId, outside: &Outside) -> bool {
        let claim = self.folded.run(id).and_then(|run| run.claim.as_ref());
        let until = self.clock(outside.now).plus(RENEW_BEFORE);
        claim.is_some_and(|claim| claim.node == node_name(self.index) && claim.lease_until > until)
    }

    fn take_on(&mut self, id: EffectId, outside: &mut Outside) {
        if self.has(id, outside) {
            return self.is_due(id, outside.now);
        }
        let now = self.clock(outside.now);
        let claim = self.folded.run(id).and_then(|run| run.claim.as_ref());
        if claim.is_some_and(|claim| !claim.allows(&node_name(self.index), now)) {
            return;
        }
        let (node, lease_until) = (node_name(self.index), now.plus(LEASE));
        let command = Command::ClaimEffect { request: id.request, nth: Some(id.nth), node, lease_until };
        let ask = self.wants(command, outside);
        self.jobs.insert(id, Calling::Claiming { ask });
    }

    fn call(&mut self, id: EffectId, outside: &mut Outside) {
        if !self.has(id, outside) {
            self.jobs.remove(&id);
            return;
        }
        if outside.errs(Mutation::FinishBeforeCalling) {
            return self.finish(id, outside);
        }
        let mut key = id.to_string();
        if outside.errs(Mutation::KeyOfTheAttempt) {
            key = format!("{key}-{}", outside.history.calls.len());
        }
        let done = outside.mended || outside.dice.chance(70);
        let heard = done && (outside.mended || outside.dice.chance(80));
        outside
            .note(|| format!("node {} calls {key}: {}", self.index, if heard { "done" } else { "failed" }));
        outside.history.count(if heard { "jobs called" } else { "jobs called in vain" });
        let after_asks = outside.history.asks.len();
        outside.history.calls.push(Call { id, key, done, after_asks });
        if heard {
            return self.finish(id, outside);
        }
        let pause = DurationMs(outside.dice.up_to(LONGEST_PAUSE_MS));
        self.is_due(id, outside.now.plus(pause));
    }

    fn finish(&mut self, id: EffectId, outside: &mut Outside) {
        let (node, outcome) = (node_name(self.index), "200".to_owned());
        let (request, nth) = (id.request, Some(id.nth));
        let command = Command::FinishEffect { request, nth, node, succeeded: true, outcome };
        let ask = self.wants(command, outside);
        self.jobs.insert(id, Calling::Finishing { ask });
    }

    fn wants(&mut self, command: Command, outside: &mut Outside) -> usize {
        let ask = outside.ask(Wish::new(Who::Evaluator, command, None));
        self.submit(ask, outside);
        ask
    }
}
