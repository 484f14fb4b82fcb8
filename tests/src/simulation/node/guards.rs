//! What a node's evaluator asks for when a rule holds. Every node sees the same harm, sooner or later, and asks; one that
//! restarts has forgotten that it did, and one in ten asks again long after it was answered.

use std::collections::BTreeMap;

use rollout_rules::change::{Anchor, Change, Command, ENTRY_VERSION, Entry};
use rollout_rules::decide::Refusal;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use rollout_rules::runbook::{Acting, Cause};
use rollout_rules::snapshot::{Checkpoint, Snapshot};
use serde_json::{Value, json};

use super::{Node, encode};
use crate::simulation::cast::Who;
use crate::simulation::history::{Answer, Harm};
use crate::simulation::log::Expect;
use crate::simulation::mutation::Mutation;
use crate::simulation::outside::{Outside, Wish};

/// What a node remembers of the harm that it saw, until it stops.
pub(super) type Guards = BTreeMap<usize, Guarding>;

/// How far the answer to some harm has come.
#[derive(Clone, Copy)]
pub(super) enum Guarding {
    Asked { ask: usize },
    Over,
}

impl Node {
    pub(super) fn guard(&mut self, outside: &mut Outside) {
        for number in 0..outside.history.harms.len() {
            let next = match self.guards.get(&number).copied() {
                // It finds out later.
                None if outside.dice.chance(40) => continue,
                None => self.ask_to_act(number, outside),
                Some(Guarding::Over) if outside.errs(Mutation::GiveBack) => {
                    self.give_back(number, outside);
                    continue;
                }
                Some(Guarding::Over) => continue,
                Some(Guarding::Asked { ask }) => match outside.history.asks[ask].answer.clone() {
                    None => continue,
                    Some(Answer::Done { .. }) if outside.dice.chance(10) => self.ask_to_act(number, outside),
                    Some(Answer::Done { .. }) => Guarding::Over,
                    Some(Answer::Refused(refusal)) => {
                        if matches!(refusal, Refusal::LeftToPeople { .. }) {
                            self.leave_to_people(number, outside);
                        }
                        Guarding::Over
                    }
                    // The log did not take it, or nobody knows: with the next slot.
                    Some(_) => self.ask_to_act(number, outside),
                },
            };
            self.guards.insert(number, next);
        }
    }

    fn ask_to_act(&mut self, number: usize, outside: &mut Outside) -> Guarding {
        let harm = outside.history.harms[number].clone();
        let mut wish = Wish::new(Who::Evaluator, acting(&harm), None);
        wish.harm = Some(number);
        outside.history.count("acts asked for");
        let ask = outside.ask(wish);
        self.submit(ask, outside);
        Guarding::Asked { ask }
    }

    /// Somebody is told that automation has acted as often as it may.
    fn leave_to_people(&mut self, number: usize, outside: &mut Outside) {
        let harm = outside.history.harms[number].clone();
        let rule = "error_rate worse than control -> notify owner".parse().expect("a rule");
        let told = Harm { measured: None, cause: Cause::LeftToPeople, rule, ..harm };
        if !outside.history.harms.contains(&told) {
            outside.history.harms.push(told);
        }
    }

    /// What an evaluator must not do: take a hold back because nothing speaks against the flag any more.
    fn give_back(&mut self, number: usize, outside: &mut Outside) {
        let Harm { app, measured, environment, .. } = outside.history.harms[number].clone();
        let Some((flag, _)) = measured else { return };
        let state = self.folded.flag(&app, &flag).and_then(|view| view.record().state(&environment));
        if state.is_none_or(|state| state.state().hold.is_none()) || outside.dice.chance(90) {
            return;
        }
        let request = Wish::new(Who::Evaluator, acting(&outside.history.harms[number]), None);
        let ask = outside.ask(request);
        let anchor = Anchor { revision: self.folded.revision(), hash: self.folded.hash() };
        let entry = Entry {
            version: ENTRY_VERSION,
            at: self.clock(outside.now),
            actor: Who::Evaluator.caller().actor,
            token: None,
            reason: String::new(),
            anchor,
            idempotency_key: None,
            request: None,
            proposal: None,
            plan: None,
            change: Change::HoldChanged { app, flag, environment, hold: None },
        };
        self.send(Expect::Any, encode(&entry), Some(ask), outside);
        outside.answer(ask, Answer::Done { revision: anchor.revision, already: true, durable: true });
    }

    /// The fold that a command is decided on, by a node that may have forgotten what automation did.
    pub(super) fn remembered(&self, command: &Command, outside: &Outside) -> Snapshot {
        let snapshot = self.speculation();
        let acts = matches!(command, Command::Act { .. });
        if acts && outside.errs(Mutation::ForgetCauses) {
            return retold(snapshot, |acted| acted["cause"] = json!("drill"));
        }
        if acts && outside.errs(Mutation::ForgetCap) {
            return retold(snapshot, |acted| acted["is_action"] = json!(false));
        }
        snapshot.clone()
    }
}

/// What is asked for because of some harm.
fn acting(harm: &Harm) -> Command {
    let (flag, measured) = harm.measured.clone().unzip();
    Command::Act {
        acting: Box::new(Acting {
            app: harm.app.clone(),
            flag,
            environment: Some(harm.environment.clone()),
            guardrail: Some(harm.rule.clone()),
            variant: None,
            cause: harm.cause,
            measured,
            artifact: None,
            evidence: None,
            found: None,
            actions: harm.rule.then().to_vec(),
        }),
    }
}

/// What an evaluator must not do: take for measured what is served now.
pub(super) fn measured_anew(command: &mut Command, snapshot: &Snapshot) {
    let Command::Act { acting } = command else { return };
    if let (Some(flag), Some(environment)) = (&acting.flag, &acting.environment) {
        acting.measured = served(snapshot, &acting.app, flag, environment).or(acting.measured);
    }
}

/// A snapshot that remembers its acts otherwise.
fn retold(snapshot: &Snapshot, mut retell: impl FnMut(&mut Value)) -> Snapshot {
    changed(&snapshot.to_checkpoint().encode(), |checkpoint| {
        let apps = checkpoint["apps"].as_array_mut().into_iter().flatten();
        let acts = apps.filter_map(|app| app.get_mut("runbook")?.get_mut("acted")?.as_array_mut());
        acts.flatten().for_each(&mut retell);
    })
}

/// A snapshot that was stored without what guardrails did.
pub(super) fn without_acts(stored: &[u8]) -> Snapshot {
    changed(stored, |checkpoint| {
        checkpoint["runs"] = json!([]);
        for app in checkpoint["apps"].as_array_mut().into_iter().flatten() {
            if let Some(runbook) = app.get_mut("runbook") {
                runbook["acted"] = json!([]);
            }
        }
    })
}

fn changed(stored: &[u8], change: impl FnOnce(&mut Value)) -> Snapshot {
    let mut checkpoint: Value = serde_json::from_slice(stored).expect("a checkpoint is JSON");
    change(&mut checkpoint);
    let bytes = checkpoint.to_string().into_bytes();
    Snapshot::from_checkpoint(Checkpoint::decode(&bytes).expect("it is still one"))
}

/// The revision of a flag in an environment that its slots are keyed by.
pub(in crate::simulation) fn served(
    snapshot: &Snapshot,
    app: &AppKey,
    flag: &FlagKey,
    environment: &EnvKey,
) -> Option<Revision> {
    snapshot.flag(app, flag)?.record().state(environment).map(|state| state.revision())
}
