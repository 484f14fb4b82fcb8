//! What a snapshot knows of the gate: policy, roles, sources, waivers, decisions; and how a build stands.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::app::{App, EnvironmentRecord};
use super::apply::Stamp;
use super::runbook::Kept;
use crate::change::{Change, PolicySet, SourceSet};
use crate::flag::{EnvironmentKind, MAX_ENVIRONMENTS};
use crate::gate::decision::{CheckState, Decided, Decision, Verdict};
use crate::gate::glass::MAX_GLASSES;
use crate::gate::policy::{Level, Policy, Role, RoleGrant};
use crate::gate::trust::Source;
use crate::gate::waiver::{MAX_WAIVERS, Waiver, WaiverState};
use crate::governance::{Actor, GateStanding};
use crate::ids::{AppKey, ChannelName, Digest, EnvKey, FlagKey, Revision, WaiverId};
use crate::release::{ArtifactDigest, Release, Releases};
use crate::runbook::{Act, Cause, OWNER};
use crate::sli::guardrail::Action;
use crate::time::{DurationMs, UnixMs};

/// Most decisions of an app environment that are remembered, with what they were made from. For one more the oldest goes, but never the
/// last on the release that runs, nor on the one to go back to.
pub const KEPT_DECISIONS: usize = 64;
/// Most grants of roles.
pub const MAX_GRANTS: usize = 1_000;
/// Most tokens of pipelines that are remembered until they end, so that each counts once.
pub const KEPT_PIPELINE_TOKENS: usize = 10_000;
/// How long after its end a pipeline's token may still be taken, since clocks differ.
pub const TOKEN_SKEW: DurationMs = DurationMs(60_000);

/// What all apps share of the gate.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Gate {
    policy: Arc<Policy>,
    digest: Digest,
    /// The entry of the policy; none: it is the one that comes with the program.
    revision: Revision,
    grants: Vec<RoleGrant>,
    /// Tokens of pipelines that were used, and when they end.
    used: BTreeMap<Digest, UnixMs>,
}

impl Default for Gate {
    fn default() -> Gate {
        let policy = Policy::default();
        let digest = policy.digest();
        Gate {
            policy: Arc::new(policy),
            digest,
            revision: Revision::ZERO,
            grants: Vec::new(),
            used: BTreeMap::new(),
        }
    }
}

impl Gate {
    pub(super) fn is_default(&self) -> bool {
        self.revision == Revision::ZERO && self.grants.is_empty() && self.used.is_empty()
    }
}

/// What an app has of its own.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AppGate {
    source: Option<Arc<Source>>,
    source_digest: Option<Digest>,
    waivers: BTreeMap<WaiverId, Arc<Kept<Waiver>>>,
    /// Keys of environments that were production and are gone: SDKs that serve users still ask by them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    once_production: BTreeSet<EnvKey>,
}

impl AppGate {
    /// Those that are over go first. Broken glass stays while it counts against what may be broken next, whatever else is asked for.
    fn forget_waivers(&mut self, now: UnixMs) {
        for (glass, most) in [(false, MAX_WAIVERS), (true, MAX_GLASSES)] {
            let mut alike: Vec<_> = self.waivers.iter().collect();
            alike.retain(|(_, kept)| kept.value.is_recent_glass(now) == glass);
            let over = alike.len().saturating_sub(most);
            alike.sort_by_key(|(_, kept)| {
                (kept.value.state(now).is_open(), kept.value.expires_at, kept.revision)
            });
            let gone: Vec<WaiverId> = alike.into_iter().take(over).map(|(id, _)| id.clone()).collect();
            gone.iter().for_each(|id| {
                self.waivers.remove(id);
            });
        }
    }
}

/// The last decisions, in the order in which they were made. Of several on one build the last counts; the others are kept to be
/// looked at.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Decisions(Vec<Arc<Decided>>);

impl Decisions {
    fn put(&mut self, new: Decided, releases: &Releases) {
        self.0.push(Arc::new(new));
        while self.0.len() > KEPT_DECISIONS {
            let stays = [releases.current(), releases.previous_good()].map(|it| it.map(|it| it.artifact));
            let last_of = |artifact| self.0.iter().rposition(|kept| Some(kept.decision.artifact) == artifact);
            let stays = stays.map(last_of);
            let oldest = (0..self.0.len()).find(|place| !stays.contains(&Some(*place)));
            self.0.remove(oldest.unwrap_or(0));
        }
    }
}

impl Snapshot {
    /// The policy in effect.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.gate.policy
    }

    /// Names the policy in effect by its content.
    pub fn policy_digest(&self) -> Digest {
        self.gate.digest
    }

    /// The entry of the policy in effect; zero: it is the one that comes with the program.
    pub fn policy_revision(&self) -> Revision {
        self.gate.revision
    }

    /// Who has which role.
    pub fn grants(&self) -> &[RoleGrant] {
        &self.gate.grants
    }

    /// Whether somebody has a role for an app. Only people have roles.
    pub fn has_role(&self, actor: &Actor, role: Role, app: &App) -> bool {
        let Actor::Human { name } = actor else { return false };
        let info = app.info();
        self.gate.grants.iter().any(|grant| {
            grant.role == role
                && grant.is_of(name)
                && (grant.app.as_ref() == Some(&info.key) || grant.tier == Some(info.tier))
        })
    }

    /// Whether a pipeline's token was used.
    pub fn pipeline_token_used(&self, token: &Digest) -> bool {
        self.gate.used.contains_key(token)
    }

    /// The last decisions on builds for an environment, the newest first; of several on one build the first counts.
    pub fn decisions(&self, app: &AppKey, environment: &EnvKey) -> impl Iterator<Item = &Arc<Decided>> {
        let record = self.app(app).and_then(|app| app.environment(environment));
        let decisions = record.and_then(|record| record.decisions.as_deref());
        decisions.into_iter().flat_map(|decisions| decisions.0.iter().rev())
    }

    /// The last decision on a build for an environment.
    pub fn decision(
        &self,
        app: &AppKey,
        environment: &EnvKey,
        artifact: &ArtifactDigest,
    ) -> Option<&Arc<Decided>> {
        self.decisions(app, environment).find(|decided| decided.decision.artifact == *artifact)
    }

    /// What the gate says of what runs in an environment.
    pub fn gate_standing(&self, app: &AppKey, environment: &EnvKey, now: UnixMs) -> GateStanding {
        let Some(found) = self.app(app) else { return GateStanding::Missing(Vec::new()) };
        let Some(record) = found.environment(environment) else { return GateStanding::Missing(Vec::new()) };
        if record.environment().kind != EnvironmentKind::Production {
            return GateStanding::NotRequired;
        }
        let Some(current) = record.releases().current() else {
            return GateStanding::Missing(vec![format!(
                "nobody told which artifact runs there: check it with `tidegate gate check --app {app} --env {environment} --artifact \
                 FILE`, deploy it, and tell of it with `tidegate release deployed FILE --app {app} --env {environment}`"
            )]);
        };
        let check =
            format!("`tidegate gate check --app {app} --env {environment} --artifact {}`", current.artifact);
        let Some(decided) = self.decision(app, environment, &current.artifact) else {
            return GateStanding::Missing(vec![format!(
                "the artifact that runs there was never judged: run {check} in the app's folder"
            )]);
        };
        let decision = &decided.decision;
        if decision.verdict == Verdict::Deny {
            return GateStanding::Missing(denied(decision));
        }
        if let Some(stale) = self.stale(decision, found, now) {
            return GateStanding::Missing(vec![format!(
                "{stale} since the artifact was judged: Tidegate judges it again by itself within moments, or run {check}"
            )]);
        }
        if decision.valid_until <= now {
            return GateStanding::Missing(vec![format!(
                "the decision {} lapsed at {}: run {check} with new evidence",
                decision.id, decision.valid_until
            )]);
        }
        GateStanding::PassingUntil(decision.valid_until)
    }

    /// The last entry that may have changed how the gate stands to what runs in an environment: a policy, a change of the app, a deployment,
    /// a decision.
    pub fn gate_changed_at(&self, app: &AppKey, environment: &EnvKey) -> Revision {
        let decided = self.decisions(app, environment).next().map(|decided| decided.revision);
        let deployed = self.releases(app, environment).and_then(|it| Some(it.current()?.revision));
        let changed = self.app(app).map(App::revision);
        self.gate.revision.max(decided.max(deployed).max(changed).unwrap_or_default())
    }

    /// The flags of an app that serve, or will by schedule, something else than their off variant in an environment, and are not held:
    /// what the gate takes back where it denies what runs.
    pub fn live_flags(&self, app: &AppKey, environment: &EnvKey) -> Vec<FlagKey> {
        self.app(app).map(|app| app.live_flags(environment)).unwrap_or_default()
    }

    /// What changed of what a decision was made by.
    pub fn stale(&self, decision: &Decision, app: &App, now: UnixMs) -> Option<&'static str> {
        if decision.policy != self.gate.digest {
            return Some("the policy changed");
        }
        if decision.tier != app.info().tier {
            return Some("the app's tier changed");
        }
        if decision.source != app.source_digest() {
            return Some("what the app may be built from changed");
        }
        let active =
            |id: &WaiverId| app.waiver(id).is_some_and(|waiver| waiver.state(now) == WaiverState::Active);
        (!decision.waivers.iter().all(active)).then_some("a waiver that it stands on ended")
    }

    /// That somebody broke the glass is told to the app's owner: it is an effect of the same entry.
    fn tell_of_glass(&mut self, waiver: &Waiver, stamp: &Stamp<'_>) {
        let is_new = self.app(&waiver.app).is_some_and(|app| app.waiver(&waiver.id).is_none());
        let Ok(owner) = ChannelName::new(OWNER) else { return };
        if waiver.break_glass && is_new {
            let act = Act {
                app: waiver.app.clone(),
                flag: None,
                environment: waiver.environment.clone(),
                guardrail: None,
                variant: None,
                cause: Cause::GlassBroken,
                measured: Some(stamp.revision()),
                evidence: None,
                lowered: Vec::new(),
                effects: vec![Action::Notify(owner)],
                release: None,
            };
            self.guardrail_acted(&act, stamp);
        }
    }

    /// Where no entry set a policy it is the program's, whichever program wrote the checkpoint.
    pub(super) fn take_policy_of_program(&mut self) {
        if self.gate.revision == Revision::ZERO && !self.gate.is_default() {
            let Gate { policy, digest, .. } = Gate::default();
            let gate = Arc::make_mut(&mut self.gate);
            (gate.policy, gate.digest) = (policy, digest);
        }
    }

    /// Decisions, policy, sources, waivers and roles.
    pub(super) fn fold_gate(&mut self, stamp: &Stamp<'_>) {
        let revision = stamp.revision();
        match &stamp.entry.change {
            Change::GateDecided(decision) => self.gate_decided(decision, stamp),
            Change::PolicySet(PolicySet { policy }) => {
                let gate = Arc::make_mut(&mut self.gate);
                gate.policy = Arc::new(Policy::clone(policy));
                gate.digest = policy.digest();
                gate.revision = stamp.revision();
            }
            Change::SourceSet(SourceSet { app, source }) => self.change_gate_of(app, |own| {
                own.source_digest = Some(source.digest());
                own.source = Some(Arc::new(source.clone()));
            }),
            Change::WaiverPut(waiver) => {
                self.tell_of_glass(waiver, stamp);
                self.change_gate_of(&waiver.app, |own| {
                    let kept = Kept { value: Waiver::clone(waiver), revision };
                    own.waivers.insert(waiver.id.clone(), Arc::new(kept));
                    own.forget_waivers(stamp.entry.at);
                });
            }
            Change::RoleGranted(grant) => {
                let grants = &mut Arc::make_mut(&mut self.gate).grants;
                if grants.len() < MAX_GRANTS && !grants.iter().any(|kept| kept.is_same(grant)) {
                    grants.push(grant.clone());
                    grants.sort();
                }
            }
            Change::RoleRevoked(grant) => {
                Arc::make_mut(&mut self.gate).grants.retain(|kept| !kept.is_same(grant));
            }
            // Everything else is folded elsewhere.
            _ => {}
        }
    }

    fn gate_decided(&mut self, decision: &Decision, stamp: &Stamp<'_>) {
        if let Some(identity) = &decision.identity {
            let used = &mut Arc::make_mut(&mut self.gate).used;
            used.retain(|_, ends| ends.plus(TOKEN_SKEW) > stamp.entry.at);
            while used.len() >= KEPT_PIPELINE_TOKENS {
                let first_to_end = used.iter().min_by_key(|(_, ends)| **ends).map(|(token, _)| *token);
                let Some(token) = first_to_end else { break };
                used.remove(&token);
            }
            used.insert(identity.token_id, identity.expires_at);
        }
        let (app, environment) = (&decision.app, &decision.environment);
        let is_there = self.app(app).is_some_and(|app| app.environment(environment).is_some());
        if let Some(app) = self.apps.get_mut(app).filter(|_| is_there)
            && let Some(record) = Arc::make_mut(app).environments.get_mut(environment)
        {
            let record = Arc::make_mut(record);
            let mut decisions = record.decisions.take().map(Arc::unwrap_or_clone).unwrap_or_default();
            let decided = Decided {
                decision: decision.clone(),
                revision: stamp.revision(),
                at: stamp.entry.at,
                by: stamp.entry.actor.clone(),
            };
            decisions.put(decided, record.releases());
            record.decisions = Some(Arc::new(decisions));
        }
    }

    /// Remembers that a key was production's.
    pub(super) fn production_removed(&mut self, app: &AppKey, environment: &EnvKey) {
        self.change_gate_of(app, |own| {
            if own.once_production.len() < MAX_ENVIRONMENTS {
                own.once_production.insert(environment.clone());
            }
        });
    }

    /// Nothing is served otherwise by it.
    fn change_gate_of(&mut self, app: &AppKey, change: impl FnOnce(&mut AppGate)) {
        if let Some(app) = self.apps.get_mut(app) {
            let own = &mut Arc::make_mut(app).gate;
            let mut changed = own.take().map(Arc::unwrap_or_clone).unwrap_or_default();
            change(&mut changed);
            *own = Some(Arc::new(changed));
        }
    }
}

impl EnvironmentRecord {
    /// Whether the gate denies a build.
    pub fn denies(&self, artifact: &ArtifactDigest) -> bool {
        let decisions = self.decisions.iter().flat_map(|decisions| decisions.0.iter().rev());
        let mut last = decisions.filter(|decided| decided.decision.artifact == *artifact);
        last.next().is_some_and(|decided| decided.decision.verdict == Verdict::Deny)
    }

    /// The release to go back to: the newest before the current one that neither a guardrail had reverted nor the gate denies.
    pub fn previous_good(&self) -> Option<&Release> {
        self.releases().previous_good_but(|release| self.denies(&release.artifact))
    }
}

impl App {
    /// What it may be built from; none: nobody said.
    pub fn source(&self) -> Option<&Source> {
        self.gate.as_ref()?.source.as_deref()
    }

    /// Names what it may be built from by its content.
    pub fn source_digest(&self) -> Option<Digest> {
        self.gate.as_ref()?.source_digest
    }

    /// Whether a key was that of a production environment that is gone.
    pub fn was_production(&self, environment: &EnvKey) -> bool {
        self.gate.as_ref().is_some_and(|own| own.once_production.contains(environment))
    }

    /// Its waivers by id, those included that are over and still kept.
    pub fn waivers(&self) -> impl Iterator<Item = &Waiver> {
        self.gate.iter().flat_map(|own| own.waivers.values()).map(|kept| &kept.value)
    }

    /// One waiver.
    pub fn waiver(&self, id: &WaiverId) -> Option<&Waiver> {
        self.gate.as_ref()?.waivers.get(id).map(|kept| &kept.value)
    }

    /// The last change of a waiver.
    pub fn waiver_revision(&self, id: &WaiverId) -> Revision {
        let kept = self.gate.as_ref().and_then(|own| own.waivers.get(id));
        kept.map_or(Revision::ZERO, |kept| kept.revision)
    }
}

/// What a build is denied for.
fn denied(decision: &Decision) -> Vec<String> {
    let checks = decision.checks.iter().filter(|check| check.level == Level::Deny);
    let mut missing: Vec<String> = checks
        .map(|check| match check.state {
            CheckState::NoProof => format!("{}: nothing shows it", check.name),
            _ => format!("{}: failed", check.name),
        })
        .collect();
    missing
        .push(format!("what to do about it: `tidegate gate explain {} --app {}`", decision.id, decision.app));
    missing
}
