//! People, pipelines and agents: they look at what some node shows, think for a while, and ask some
//! node, maybe another one. Whoever hears that nobody knows looks again; nobody repeats blindly, but for
//! what is safe to repeat: kills, and what has an idempotency key.

use std::collections::BTreeMap;

use rollout_rules::change::{Command, Reach, TargetingPatch};
use rollout_rules::flag::ScheduledChange;
use rollout_rules::gate::policy::Role;
use rollout_rules::governance::Enforcement;
use rollout_rules::ids::{
    AppKey, Digest, EnvKey, FlagKey, IdempotencyKey, KillId, ProposalId, Revision, ScheduleId,
};
use rollout_rules::percent::Exposure;
use rollout_rules::proposal::{Approving, Proposal, ProposalState, StoodOn};
use rollout_rules::time::DurationMs;

use super::builds;
use super::cast::{Who, apps, bank, environments, flag_key, production, shop};
use super::history::Answer;
use super::mutation::Mutation;
use super::node::Node;
use super::outside::{Outside, Wish};
use crate::ask::create_flag;

/// Somebody with what they remember.
pub(super) struct Person {
    pub(super) who: Who,
    flags: BTreeMap<(AppKey, FlagKey), SeenFlag>,
    apps: BTreeMap<AppKey, Revision>,
    /// The last kill or revival of everything.
    whole: Option<Revision>,
    proposals: Vec<(ProposalId, Digest)>,
    /// The request they wait for, and the node that has it.
    waits_for: Option<usize>,
    /// What they will ask for next: who approves wants to see it applied, and some who propose try to
    /// approve it themselves.
    next: Option<Command>,
}

#[derive(Clone)]
struct SeenFlag {
    revision: Revision,
    killed: bool,
    expired: bool,
}

impl Person {
    pub(super) fn new(who: Who) -> Person {
        let (flags, apps) = (BTreeMap::new(), BTreeMap::new());
        Person { who, flags, apps, whole: None, proposals: Vec::new(), waits_for: None, next: None }
    }

    /// Does one thing: looks, or asks.
    pub(super) fn act(&mut self, nodes: &mut [Node], outside: &mut Outside) {
        let serving: Vec<usize> = (0..nodes.len()).filter(|index| nodes[*index].up).collect();
        let Some(node) = outside.dice.pick(&serving).copied() else { return };
        if let Some(ask) = self.waits_for {
            if outside.history.asks[ask].answer.is_none() && outside.dice.chance(70) {
                return;
            }
            self.waits_for = None;
            if self.repeat(ask, &mut nodes[node], outside) {
                return;
            }
        }
        if self.flags.is_empty() || outside.dice.chance(35) {
            return self.look(&nodes[node], outside);
        }
        let wish = match self.next.take() {
            Some(command) => Some(about_proposal(self.who, command)),
            None => self.wish(outside),
        };
        if let Some(wish) = wish {
            self.next = next_after(&wish, &nodes[node], outside);
            let ask = outside.ask(wish);
            self.waits_for = Some(ask);
            nodes[node].submit(ask, outside);
        }
    }

    /// What a node shows may be old; it is what they know from now on.
    fn look(&mut self, node: &Node, outside: &mut Outside) {
        let now = node.clock(outside.now);
        let shown = node.published(outside);
        self.whole = Some(node.folded.kills_revision());
        for app in apps() {
            let Some(found) = shown.app(&app) else { continue };
            if let Some(folded) = node.folded.app(&app) {
                self.apps.insert(app.clone(), folded.revision());
            }
            for record in found.flags(None).filter(|record| !record.is_archived()) {
                let key = record.flag().key.clone();
                // Writers compare with the fold of the log; kills ahead of it are shown beside.
                let revision = node.folded.flag(&app, &key).map(|view| view.revision());
                let (Some(view), Some(revision)) = (shown.flag(&app, &key), revision) else { continue };
                let killed = environments().iter().any(|environment| view.killed(environment).is_some());
                let mut states = record.states();
                let expired = states.any(|(_, state)| state.state().expires_at <= now);
                self.flags.insert((app.clone(), key), SeenFlag { revision, killed, expired });
            }
        }
        let open = shown.proposals(None).filter(|proposal| proposal.state(now) == ProposalState::Open);
        self.proposals = open.map(|proposal| (proposal.id.clone(), proposal.hash)).collect();
        outside.history.count("looks");
    }

    /// Asks again for what is safe to repeat, if nobody answered or nobody knows.
    fn repeat(&mut self, ask: usize, node: &mut Node, outside: &mut Outside) -> bool {
        let old = &outside.history.asks[ask];
        let heard_nothing =
            matches!(old.answer, None | Some(Answer::Unknown | Answer::Unavailable | Answer::Busy));
        let is_kill = matches!(old.request.command, Command::Kill { .. });
        if !heard_nothing || !(is_kill || old.request.idempotency_key.is_some()) {
            return false;
        }
        let mut key = old.request.idempotency_key.clone();
        if outside.errs(Mutation::RetryUnderNewKey) && key.is_some() {
            key = IdempotencyKey::new(&format!("new-{}", outside.history.asks.len())).ok();
        }
        let wish = Wish {
            who: self.who,
            command: old.request.command.clone(),
            seen: old.request.seen,
            key,
            shown: old.shown,
            breach: None,
            harm: None,
            repeats: Some(ask),
        };
        outside.history.count("requests repeated");
        let again = outside.ask(wish);
        self.waits_for = Some(again);
        node.submit(again, outside);
        true
    }

    fn wish(&self, outside: &mut Outside) -> Option<Wish> {
        let settles = if self.who.is_human() { 45 } else { 10 };
        if !self.proposals.is_empty() && outside.dice.chance(settles) {
            return self.settle(outside);
        }
        let gated = outside.rules.gate == Enforcement::Enforce;
        if gated && self.who != Who::Agent && outside.dice.chance(15) {
            let command = builds::deploy_or_judge(outside);
            return self.wish_for(command, None);
        }
        match outside.dice.below(100) {
            0..42 => self.targeting(outside),
            42..55 => self.roll_out(outside),
            55..66 => self.kill(outside),
            66..75 => self.revive(outside),
            75..79 => self.extend(outside),
            79..83 => self.create(outside),
            83..94 => self.propose_a_raise(outside),
            94..99 => self.describe(outside),
            _ => self.archive(outside),
        }
    }

    fn pick_flag(&self, outside: &mut Outside) -> Option<(AppKey, FlagKey, SeenFlag)> {
        let known: Vec<_> = self.flags.iter().collect();
        let ((app, flag), seen) = outside.dice.pick(&known)?;
        Some((app.clone(), flag.clone(), (*seen).clone()))
    }

    fn wish_for(&self, command: Command, seen: Option<Revision>) -> Option<Wish> {
        Some(Wish::new(self.who, command, seen))
    }

    fn targeting(&self, outside: &mut Outside) -> Option<Wish> {
        let (app, flag, seen) = self.pick_flag(outside)?;
        let environment = pick_environment(outside);
        let mut patch = TargetingPatch::default();
        let mut revision = Some(seen.revision);
        match outside.dice.below(10) {
            0..4 => {
                patch.on = Some(true);
                patch.exposure = Some(some_exposure(outside));
            }
            4 => patch.exposure = Some(some_exposure(outside)),
            5..8 => {
                patch.on = Some(false);
                // Who lowers need not have looked.
                if outside.dice.chance(50) {
                    revision = None;
                }
            }
            _ => {
                let id = ScheduleId::new(&format!("s{}", outside.history.asks.len())).ok()?;
                let at = outside.now.plus(DurationMs(10_000 + outside.dice.up_to(300_000)));
                let on = Some(outside.dice.chance(70));
                let exposure = Some(some_exposure(outside));
                patch.schedule = Some(vec![ScheduledChange { id, at, on, exposure }]);
            }
        }
        let command = Command::SetTargeting { app, flag, environment, patch: Box::new(patch) };
        if self.who == Who::Agent && outside.dice.chance(60) {
            return self.propose(command, revision, outside);
        }
        self.wish_for(command, revision)
    }

    /// Starts a rollout, or does something to one.
    fn roll_out(&self, outside: &mut Outside) -> Option<Wish> {
        let (app, flag, seen) = self.pick_flag(outside)?;
        let environment = pick_environment(outside);
        let lowers = |outside: &mut Outside| outside.dice.chance(50).then_some(seen.revision);
        let (command, revision) = match outside.dice.below(10) {
            0..6 => {
                let plans = ["10%/30s,50%/20s,100%", "25%/1m,approve,100%", "1%/10s,5%/10s,25%/10s,98%/20s"];
                let plan = outside.dice.pick(&plans)?.parse().ok()?;
                (Command::StartRollout { app, flag, environment, plan }, Some(seen.revision))
            }
            6 => (Command::PauseRollout { app, flag, environment }, lowers(outside)),
            7 => (Command::ResumeRollout { app, flag, environment }, Some(seen.revision)),
            8 => (Command::AbortRollout { app, flag, environment }, lowers(outside)),
            _ => (Command::AdvanceRollout { app, flag, environment }, Some(seen.revision)),
        };
        let proposable = !matches!(command, Command::PauseRollout { .. } | Command::AbortRollout { .. });
        if proposable && outside.dice.chance(40) {
            return self.propose(command, revision, outside);
        }
        self.wish_for(command, revision)
    }

    fn kill(&self, outside: &mut Outside) -> Option<Wish> {
        let (app, flag, _) = self.pick_flag(outside)?;
        let kill_id = KillId::new(&format!("k{}", outside.history.asks.len())).ok()?;
        let reach = match outside.dice.below(10) {
            0 => Reach::Everything,
            1 | 2 => Reach::App { app },
            _ => Reach::Flag { app, flag },
        };
        let environment = outside.dice.chance(40).then(|| pick_environment(outside));
        outside.history.count("kills asked for");
        self.wish_for(Command::Kill { kill_id, reach, environment }, None)
    }

    fn revive(&self, outside: &mut Outside) -> Option<Wish> {
        let killed: Vec<_> = self.flags.iter().filter(|(_, seen)| seen.killed).collect();
        let ((app, flag), seen) = outside.dice.pick(&killed).copied()?;
        let environment = outside.dice.chance(40).then(|| pick_environment(outside));
        let (reach, seen) = match outside.dice.below(10) {
            0..2 => (Reach::Everything, self.whole),
            2..5 => (Reach::App { app: app.clone() }, self.apps.get(app).copied()),
            _ => (Reach::Flag { app: app.clone(), flag: flag.clone() }, Some(seen.revision)),
        };
        self.wish_for(Command::Revive { reach, environment }, seen)
    }

    fn extend(&self, outside: &mut Outside) -> Option<Wish> {
        let expired: Vec<_> = self.flags.iter().filter(|(_, seen)| seen.expired).collect();
        let ((app, flag), seen) = outside.dice.pick(&expired).copied()?;
        let (app, flag) = (app.clone(), flag.clone());
        let command = Command::ExtendFlag { app, flag, environment: None, expires_at: None };
        self.wish_for(command, Some(seen.revision))
    }

    fn create(&self, outside: &mut Outside) -> Option<Wish> {
        let app = if outside.dice.chance(50) { shop() } else { bank() };
        let name = format!("f{}", outside.history.asks.len());
        let mut wish = self.wish_for(create_flag(app, flag_key(&name)), None)?;
        wish.key = IdempotencyKey::new(&name).ok();
        Some(wish)
    }

    fn describe(&self, outside: &mut Outside) -> Option<Wish> {
        let (app, flag, seen) = self.pick_flag(outside)?;
        let command = Command::UpdateFlag {
            app,
            flag,
            variants: None,
            off_variant: None,
            description: Some(format!("as of request {}", outside.history.asks.len())),
            owner: None,
            critical: None,
            browser: None,
        };
        self.wish_for(command, Some(seen.revision))
    }

    fn archive(&self, outside: &mut Outside) -> Option<Wish> {
        let (app, flag, seen) = self.pick_flag(outside)?;
        self.wish_for(Command::ArchiveFlag { app, flag }, Some(seen.revision))
    }

    fn propose(&self, command: Command, seen: Option<Revision>, outside: &mut Outside) -> Option<Wish> {
        let id = ProposalId::new(&format!("p{}", outside.history.asks.len())).ok()?;
        let mut wish = self.wish_for(Command::Propose { id, command: Box::new(command) }, seen)?;
        wish.key = IdempotencyKey::new(&format!("propose-{}", outside.history.asks.len())).ok();
        outside.history.count("proposals asked for");
        Some(wish)
    }

    /// Proposes a raise in production, most often where that takes an approval.
    fn propose_a_raise(&self, outside: &mut Outside) -> Option<Wish> {
        let mut picked = self.pick_flag(outside)?;
        if picked.0 != bank() {
            picked = self.pick_flag(outside)?;
        }
        let (app, flag, seen) = picked;
        let (on, exposure) = (Some(true), Some(some_exposure(outside)));
        let patch = Box::new(TargetingPatch { on, exposure, ..TargetingPatch::default() });
        let command = Command::SetTargeting { app, flag, environment: production(), patch };
        self.propose(command, Some(seen.revision), outside)
    }

    fn settle(&self, outside: &mut Outside) -> Option<Wish> {
        let (id, hash) = outside.dice.pick(&self.proposals)?.clone();
        let command = match outside.dice.below(20) {
            0..11 => approve(id, hash),
            11..19 => Command::ApplyProposal { id, hash },
            _ => Command::RejectProposal { id },
        };
        Some(about_proposal(self.who, command))
    }
}

/// A request about a proposal, from somebody to whom it was shown.
fn about_proposal(who: Who, command: Command) -> Wish {
    let shown = match &command {
        Command::ApproveProposal(Approving { hash, .. }) | Command::ApplyProposal { hash, .. } => Some(*hash),
        _ => None,
    };
    Wish { shown, ..Wish::new(who, command, None) }
}

fn next_after(wish: &Wish, node: &Node, outside: &mut Outside) -> Option<Command> {
    match &wish.command {
        Command::Propose { id, command } if wish.who.is_human() && outside.dice.chance(30) => {
            // What it is bound to is what the node will see, unless somebody else is quicker.
            let stood_on = StoodOn::of(command, &node.published(outside));
            let hash = Proposal::hash_of(command, wish.seen, stood_on.as_ref());
            Some(approve(id.clone(), hash))
        }
        Command::ApproveProposal(Approving { id, hash, .. }) if outside.dice.chance(70) => {
            Some(Command::ApplyProposal { id: id.clone(), hash: *hash })
        }
        _ => None,
    }
}

fn pick_environment(outside: &mut Outside) -> EnvKey {
    let [production, sandbox] = environments();
    if outside.dice.chance(70) { production } else { sandbox }
}

fn some_exposure(outside: &mut Outside) -> Exposure {
    let percent = [1, 10, 25, 50, 100][outside.dice.below(5)];
    Exposure::from_milli_percent(percent * 1_000).unwrap_or(Exposure::ALL)
}

fn approve(id: ProposalId, hash: Digest) -> Command {
    Command::ApproveProposal(Approving { id, hash, role: Some(Role::Platform), checked: Vec::new() })
}
