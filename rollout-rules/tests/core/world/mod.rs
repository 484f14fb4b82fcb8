//! A small world for tests: a snapshot, rules and a clock, and people who ask for things.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses what it needs")]

pub mod random;
pub mod rolling;

use rollout_rules::change::{Anchor, Change, Command, Entry, GateCommand};
use rollout_rules::context::Context;
use rollout_rules::decide::{Refusal, Request, Verdict, decide};
use rollout_rules::evaluate::evaluate;
use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::{
    CheckName, CheckState, CheckSummary, Decision, Occasion, Verdict as GateVerdict,
};
use rollout_rules::gate::policy::{FlagLimits, Level, Policy};
use rollout_rules::governance::{Actor, Caller, Enforcement, Rules, Scope};
use rollout_rules::ids::{AppKey, DecisionId, Digest, EnvKey, FlagKey, ProposalId, Revision, TokenId};
use rollout_rules::proposal::Approving;
use rollout_rules::release::ArtifactDigest;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DAY, DurationMs, UnixMs};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z.
pub const START: UnixMs = UnixMs(1_767_225_600_000);

pub struct World {
    pub snapshot: Snapshot,
    pub entries: Vec<Entry>,
    pub rules: Rules,
    pub now: UnixMs,
}

pub fn human(name: &str) -> Caller {
    caller(Actor::Human { name: name.into() }, Scope::Operator, name)
}

pub fn admin() -> Caller {
    caller(Actor::Human { name: "root".into() }, Scope::Admin, "root")
}

pub fn ci() -> Caller {
    let mut ci = caller(Actor::Service { name: "pipeline".into() }, Scope::Ci, "ci");
    ci.app = Some(app("shop"));
    ci
}

pub fn agent() -> Caller {
    let actor = Actor::Agent { model: "m".into(), tool: "t".into(), on_behalf_of: "ann".into(), work: None };
    caller(actor, Scope::Operator, "agent")
}

pub fn timer() -> Caller {
    Caller { token: None, ..caller(Actor::Timer, Scope::Operator, "timer") }
}

pub fn evaluator() -> Caller {
    Caller { token: None, ..caller(Actor::Evaluator, Scope::Operator, "evaluator") }
}

pub fn caller(actor: Actor, scope: Scope, token: &str) -> Caller {
    Caller { actor, scope, app: None, environment: None, token: Some(TokenId::new(token).expect("an id")) }
}

pub fn app(key: &str) -> AppKey {
    AppKey::new(key).expect("a key")
}

pub fn env(key: &str) -> EnvKey {
    EnvKey::new(key).expect("a key")
}

pub fn flag(key: &str) -> FlagKey {
    FlagKey::new(key).expect("a key")
}

/// A command as the API writes it.
pub fn command(json: Value) -> Command {
    serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// Changes the targeting of flag `f` of app `shop`.
pub fn set(environment: &str, patch: Value) -> Command {
    let mut json = json!({"do": "set_targeting", "app": "shop", "flag": "f", "environment": environment});
    let all = json.as_object_mut().expect("an object");
    all.extend(patch.as_object().expect("an object").clone());
    command(json)
}

pub fn kill(id: &str, reach: Value, environment: Option<&str>) -> Command {
    command(json!({"do": "kill", "kill_id": id, "reach": reach, "environment": environment}))
}

pub fn revive(reach: Value, environment: Option<&str>) -> Command {
    command(json!({"do": "revive", "reach": reach, "environment": environment}))
}

/// What a denial shows to be wrong.
fn shown_wrong(verdict: GateVerdict) -> Vec<CheckSummary> {
    let failed = CheckSummary {
        name: CheckName::Vulnerabilities,
        state: CheckState::Failed,
        level: Level::Deny,
        total: 1,
    };
    if verdict == GateVerdict::Deny { vec![failed] } else { Vec::new() }
}

/// The artifact of one digit.
pub fn artifact_of(digit: char) -> ArtifactDigest {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().expect("a digest")
}

/// Tells that it was deployed to production of `shop`.
pub fn deployed(artifact: char) -> Command {
    let artifact = artifact_of(artifact).to_string();
    command(json!({"do": "report_release", "app": "shop", "environment": "production", "artifact": artifact}))
}

/// Approves a proposal as it was shown, in no role.
pub fn approve(id: ProposalId, hash: Digest) -> Command {
    Command::ApproveProposal(Approving { id, hash, role: None, checked: Vec::new() })
}

/// A token of an operator.
pub fn make_token(id: &str) -> Command {
    let actor = json!({"type": "human", "name": id});
    let token =
        json!({"id": id, "hash": "00".repeat(32), "scope": "operator", "created_at": 0, "actor": actor});
    command(json!({"do": "create_token", "token": token}))
}

pub fn the_flag() -> Value {
    json!({"flag": {"app": "shop", "flag": "f"}})
}

impl World {
    /// Nothing is there.
    pub fn empty() -> World {
        World {
            snapshot: Snapshot::default(),
            entries: Vec::new(),
            rules: Rules { gate: Enforcement::Report, ..Rules::default() },
            now: START,
        }
    }

    /// App `shop` of a tier, with environments `production`, `sandbox` and preview `pr-1`, and the
    /// boolean flag `f`, off.
    pub fn shop(tier: u8) -> World {
        let mut world = World::empty();
        world.done(
            &admin(),
            command(json!({"do": "create_app", "key": "shop", "tier": tier, "environments": [
            {"key": "production", "kind": "production"},
            {"key": "sandbox", "kind": "sandbox"},
            {"key": "pr-1", "kind": "preview"}]})),
        );
        world.done(&admin(), command(json!({"do": "create_flag", "app": "shop", "key": "f"})));
        world
    }

    /// Such an app, and people with tokens, as those have who approve.
    pub fn with_people(tier: u8) -> World {
        let mut world = World::shop(tier);
        for name in ["ann", "bob", "cid", "dan", "zoe"] {
            world.done(&admin(), make_token(name));
        }
        world
    }

    /// The gate binds, and has said nothing yet.
    pub fn gated(&mut self) {
        self.rules.gate = Enforcement::Enforce;
    }

    /// An artifact runs in production of `shop`, and the gate said of it so, until then.
    pub fn judged(&mut self, verdict: GateVerdict, valid_until: UnixMs) -> Revision {
        self.gated();
        self.done(&ci(), deployed('a'));
        let decision = self.decision('a', verdict, valid_until);
        self.done(&ci(), Command::Gate(GateCommand::Decide { decision: Box::new(decision) }))
    }

    /// What the gate says of an artifact for production of `shop`, by what holds now.
    pub fn decision(&self, artifact: char, verdict: GateVerdict, valid_until: UnixMs) -> Decision {
        let shop = self.snapshot.app(&app("shop")).expect("the app");
        Decision {
            id: DecisionId::new(&format!("d-{artifact}-{}", self.entries.len())).expect("an id"),
            app: app("shop"),
            environment: env("production"),
            artifact: artifact_of(artifact),
            version: None,
            verdict,
            occasion: Occasion::Asked,
            tier: shop.info().tier,
            policy: self.snapshot.policy_digest(),
            source: shop.source_digest(),
            checks: shown_wrong(verdict),
            valid_until,
            waivers: Vec::new(),
            signers: Vec::new(),
            evidence: Vec::new(),
            facts: Digest::default(),
            judgement: Digest::default(),
            receipt: Digest::default(),
            identity: None,
            agents: Vec::new(),
        }
    }

    /// No approvals are asked: for tests of other laws.
    pub fn without_approvals(mut self) -> World {
        (self.rules.approvals.tier1, self.rules.approvals.tier2) = (0, 0);
        self
    }

    /// Other limits of flags for the shop's tier.
    pub fn limit(&mut self, change: impl FnOnce(&mut FlagLimits)) {
        let mut policy = Policy::clone(self.snapshot.policy());
        let tiers = &mut policy.tiers;
        change(match self.snapshot.app(&app("shop")).expect("the shop").info().tier {
            Tier::Zero => &mut tiers.tier0.flags,
            Tier::One => &mut tiers.tier1.flags,
            Tier::Two => &mut tiers.tier2.flags,
        });
        self.done(&admin(), Command::Gate(GateCommand::SetPolicy { policy: Box::new(policy) }));
    }

    pub fn request(&self, caller: &Caller, command: Command, seen: Option<Revision>) -> Request {
        Request {
            caller: caller.clone(),
            command,
            seen,
            reason: String::new(),
            idempotency_key: None,
            plan: None,
        }
    }

    /// Asks with what is to be seen now, and a reason.
    pub fn ask(&self, caller: &Caller, command: Command) -> Result<Verdict, Refusal> {
        let seen = self.revision_of(&command);
        self.ask_seen(caller, command, seen)
    }

    pub fn ask_seen(
        &self,
        caller: &Caller,
        command: Command,
        seen: Option<Revision>,
    ) -> Result<Verdict, Refusal> {
        let request = Request { reason: "a test".into(), ..self.request(caller, command, seen) };
        self.decide(&request)
    }

    pub fn decide(&self, request: &Request) -> Result<Verdict, Refusal> {
        decide(&self.snapshot, &self.rules, request, self.now)
    }

    /// Asks, and folds in what comes of it. Panics if it is refused.
    pub fn done(&mut self, caller: &Caller, command: Command) -> Revision {
        let verdict = self.ask(caller, command.clone());
        match verdict.unwrap_or_else(|refusal| panic!("{command:?}: {refusal}")) {
            Verdict::Change(draft) => {
                self.append(draft.into_entry(self.anchor()));
                self.snapshot.revision()
            }
            Verdict::AlreadyDone { revision } => revision,
        }
    }

    /// Asks, and says by which code it is refused.
    pub fn refused(&self, caller: &Caller, command: Command) -> &'static str {
        match self.ask(caller, command.clone()) {
            Err(refusal) => {
                assert!(!refusal.to_string().contains(char::is_control), "a refusal reads well");
                refusal.code()
            }
            Ok(verdict) => panic!("{command:?} was not refused: {verdict:?}"),
        }
    }

    pub fn anchor(&self) -> Anchor {
        Anchor { revision: self.snapshot.revision(), hash: self.snapshot.hash() }
    }

    /// Folds an entry in, through its bytes.
    pub fn append(&mut self, entry: Entry) {
        let bytes = entry.encode();
        let entry = Entry::decode(&bytes).expect("what was written is read");
        let hash = self.snapshot.hash().chain(&bytes);
        self.snapshot = self.snapshot.apply(self.snapshot.revision().next(), hash, &entry);
        self.entries.push(entry);
    }

    /// Folds a change in that nobody decided.
    pub fn append_change(&mut self, change: Change) {
        self.append(Entry {
            version: 1,
            at: self.now,
            actor: Actor::Tidegate,
            token: None,
            reason: String::new(),
            anchor: self.anchor(),
            idempotency_key: None,
            request: None,
            proposal: None,
            plan: None,
            change,
        });
    }

    /// What a careful caller would name: the revision of the flag that the command is about.
    pub fn revision_of(&self, command: &Command) -> Option<Revision> {
        let (app, flag) = match command {
            Command::SetTargeting { app, flag, .. }
            | Command::UpdateFlag { app, flag, .. }
            | Command::ExtendFlag { app, flag, .. }
            | Command::SetGuardrails { app, flag: Some(flag), .. }
            | Command::ArchiveFlag { app, flag }
            | Command::StartRollout { app, flag, .. }
            | Command::ResumeRollout { app, flag, .. }
            | Command::AdvanceRollout { app, flag, .. } => (app, flag),
            Command::Propose { command, .. } => return self.revision_of(command),
            _ => return None,
        };
        Some(self.snapshot.flag(app, flag)?.revision())
    }

    pub fn revision(&self) -> Revision {
        self.snapshot.flag(&app("shop"), &flag("f")).expect("the flag").revision()
    }

    /// The answer of a flag of app `shop`, for a user.
    pub fn answer(&self, environment: &str, key: &str, user: &str) -> Option<Value> {
        let set = self.snapshot.flag_set(&app("shop"), &env(environment))?;
        evaluate(&set, key, &Context::new(user), self.now).map(|answer| answer.value().clone())
    }

    /// Whether flag `f` answers `true` in an environment.
    pub fn is_on(&self, environment: &str) -> bool {
        self.answer(environment, "f", "ann") == Some(json!(true))
    }

    pub fn wait_days(&mut self, days: u64) {
        self.now = self.now.plus(DurationMs(days * DAY.0));
    }
}
