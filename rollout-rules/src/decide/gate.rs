//! Decisions of the gate, its policy, what apps may be built from, and roles.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::{Envs, Ground, Right, Row};
use super::validate::{invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::{Change, GateCommand, PolicySet, SourceSet};
use crate::flag::{Hold, HoldCause};
use crate::gate::decision::{Decision, Occasion};
use crate::gate::facts::{MAX_ADDED, MAX_FACT_BYTES, MAX_PIECES};
use crate::gate::policy::{Policy, RoleGrant};
use crate::gate::trust::{MAX_TRUSTED, Source};
use crate::governance::{Actor, Enforcement, GateStanding};
use crate::ids::{AppKey, ChannelName, Digest, EnvKey, Revision};
use crate::runbook::{Act, Cause, Lowered, OWNER};
use crate::sli::guardrail::Action;
use crate::snapshot::{App, MAX_GRANTS};

impl Case<'_> {
    /// Decides a command about the gate.
    pub(super) fn change_gate(&self, change: &GateCommand) -> Result<Decided, Refusal> {
        match change {
            GateCommand::Decide { decision } => self.keep_decision(decision),
            GateCommand::Enforce { app, environment } => self.enforce(app, environment),
            GateCommand::SetPolicy { policy } => self.set_policy(policy),
            GateCommand::SetSource { app, source } => self.set_source(app, source),
            GateCommand::RequestWaiver { waiver, listed } => self.request_waiver(waiver, listed.as_deref()),
            GateCommand::ApproveWaiver { app, id, role, listed } => {
                self.approve_waiver(app, id, *role, listed.as_deref())
            }
            GateCommand::RevokeWaiver { app, id } => self.revoke_waiver(app, id),
            GateCommand::GrantRole { grant } => self.grant_role(grant),
            GateCommand::RevokeRole { grant } => self.revoke_role(grant),
        }
    }

    /// Whether the gate lets somebody raise what an environment serves.
    pub(super) fn gate_stands(&self, app: &AppKey, environment: &EnvKey) -> Result<(), Refusal> {
        if self.rules.gate == Enforcement::Report {
            return Ok(());
        }
        let standing = self.snapshot.gate_standing(app, environment, self.now);
        if standing != GateStanding::NotRequired {
            // Before the gate is asked for: what it says of another build helps nobody here.
            self.still_stands_at(app, environment)?;
        }
        match standing {
            GateStanding::NotRequired | GateStanding::PassingUntil(_) => Ok(()),
            GateStanding::Missing(missing) => Err(Refusal::GateMissing { missing, besides: None }),
        }
    }

    /// Keeps what the gate said, if it was said by what holds now.
    fn keep_decision(&self, decision: &Decision) -> Result<Decided, Refusal> {
        let Decision { app, environment, .. } = decision;
        if decision.occasion == Occasion::Asked || decision.occasion == Occasion::NewEvidence {
            self.may(Right::Flags, Some(app), Envs::One(environment))?;
        } else {
            self.only_tidegate()?;
        }
        let found = self.app(app)?;
        let defined = self.environment(found, environment)?;
        if self.row() == Row::Agent && Ground::of(defined.kind) == Ground::Production {
            let who_may = "a human or pipeline of the app (agents may ask for previews and sandboxes)";
            return Err(Refusal::NotAllowed { who_may });
        }
        too_many("pieces of evidence of one decision", decision.evidence.len(), MAX_PIECES + MAX_ADDED)?;
        if decision.clone().fitted() != *decision {
            return Err(invalid("decision", "it holds more than an entry keeps: fit it first"));
        }
        let latest = self.snapshot.decision(app, environment, &decision.artifact);
        if let Some(latest) = latest {
            // What was found meanwhile is not in it, and may not go away, whoever asks.
            self.not_older(latest.revision)?;
        }
        if self.snapshot.stale(decision, found, self.now).is_some() {
            let current = latest.map_or(self.snapshot.policy_revision(), |decided| decided.revision);
            return Err(Refusal::Stale { seen: Revision::ZERO, current, changed: Vec::new() });
        }
        // What is judged again names the pipeline that asked the first time; who shows nothing but the token asks with it now.
        let is_shown = decision.occasion == Occasion::Asked
            || (decision.occasion == Occasion::NewEvidence && self.caller.token.is_none());
        let names = |token: &Digest| {
            let before = latest.and_then(|decided| decided.decision.identity.as_ref());
            before.is_some_and(|identity| identity.token_id == *token)
        };
        if let Some(identity) = &decision.identity
            && self.snapshot.pipeline_token_used(&identity.token_id)
            && (is_shown || !names(&identity.token_id))
        {
            let problem =
                "this pipeline token was used before: ask the issuer for another one, for each request";
            return Err(invalid("identity", problem));
        }
        Ok(Decided::Change(Change::GateDecided(Box::new(decision.clone()))))
    }

    /// Holds every flag that serves what the gate denies, and tells the owner. Nothing is left to do where none does.
    fn enforce(&self, app: &AppKey, environment: &EnvKey) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        let found = self.app(app)?;
        let defined = self.environment(found, environment)?;
        let nothing = Ok(Decided::Already(found.revision()));
        if self.rules.gate == Enforcement::Report || Ground::of(defined.kind) != Ground::Production {
            return nothing;
        }
        let current = self.snapshot.releases(app, environment).and_then(|releases| releases.current());
        let decided = current.and_then(|current| self.snapshot.decision(app, environment, &current.artifact));
        let Some(decided) = decided.filter(|decided| decided.decision.takes_down()) else {
            return nothing;
        };
        if found.live_flags(environment).is_empty() {
            return nothing;
        }
        let reason = alloc::format!(
            "the gate denies {}: `tidegate gate explain {} --app {app}`",
            decided.decision.artifact,
            decided.decision.id
        );
        let hold = Hold { cause: HoldCause::Gate, at: self.now, reason };
        let owner =
            ChannelName::new(OWNER).map_err(|_| invalid("channel", "the owner's channel has a name"))?;
        let act = Act {
            app: app.clone(),
            flag: None,
            environment: Some(environment.clone()),
            guardrail: None,
            variant: None,
            cause: Cause::GateDenied,
            measured: Some(decided.revision),
            evidence: None,
            lowered: vec![Lowered::All { hold }],
            effects: vec![Action::Notify(owner)],
            release: None,
        };
        Ok(Decided::Change(Change::GuardrailActed { act: Box::new(act) }))
    }

    fn set_policy(&self, policy: &Policy) -> Result<Decided, Refusal> {
        self.may(Right::Whole, None, Envs::All)?;
        self.no_agent()?;
        self.not_older(self.snapshot.policy_revision())?;
        if let Some(wrong) = policy.check().into_iter().next() {
            return Err(invalid(wrong.field, wrong.problem));
        }
        if policy.digest() == self.snapshot.policy_digest() {
            return Ok(Decided::Already(self.snapshot.policy_revision()));
        }
        self.reason_given("a new policy")?;
        Ok(Decided::Change(Change::PolicySet(PolicySet { policy: Box::new(policy.clone()) })))
    }

    fn set_source(&self, app: &AppKey, source: &Source) -> Result<Decided, Refusal> {
        self.may(Right::Governance, Some(app), Envs::All)?;
        self.no_agent()?;
        let found = self.app(app)?;
        check_source(source)?;
        if found.source() == Some(source) {
            return Ok(Decided::Already(found.revision()));
        }
        Ok(Decided::Change(Change::SourceSet(SourceSet { app: app.clone(), source: source.clone() })))
    }

    fn grant_role(&self, grant: &RoleGrant) -> Result<Decided, Refusal> {
        self.may_grant(grant)?;
        if self.snapshot.grants().iter().any(|kept| kept.is_same(grant)) {
            return Ok(Decided::Already(self.snapshot.revision()));
        }
        too_many("grants of roles", self.snapshot.grants().len() + 1, MAX_GRANTS)?;
        Ok(Decided::Change(Change::RoleGranted(grant.clone())))
    }

    fn revoke_role(&self, grant: &RoleGrant) -> Result<Decided, Refusal> {
        self.may_grant(grant)?;
        if !self.snapshot.grants().iter().any(|kept| kept.is_same(grant)) {
            let what = What::Other("grant of a role", alloc::format!("{} to {}", grant.role, grant.person));
            return Err(Refusal::NotFound { what });
        }
        Ok(Decided::Change(Change::RoleRevoked(grant.clone())))
    }

    fn may_grant(&self, grant: &RoleGrant) -> Result<(), Refusal> {
        self.may(Right::Tokens, None, Envs::All)?;
        if !matches!(self.caller.actor, Actor::Human { .. } | Actor::Tidegate) {
            return Err(Refusal::NotAllowed { who_may: "a human admin that is bound to no app" });
        }
        if grant.person.trim().is_empty() || grant.person.len() > MAX_FACT_BYTES {
            return Err(invalid("person", "use the name that the person's token says"));
        }
        match (&grant.app, grant.tier) {
            (Some(app), None) => self.app(app).map(|_| ()),
            (None, Some(_)) => Ok(()),
            _ => Err(invalid("app", "grant a role either for an app or for a tier")),
        }
    }
}

fn check_source(source: &Source) -> Result<(), Refusal> {
    let texts = [
        ("repository", source.repository.as_slice()),
        ("issuer", source.issuer.as_slice()),
        ("repository_id", source.repository_id.as_slice()),
        ("owner_id", source.owner_id.as_slice()),
        ("builders", &source.builders),
        ("build_types", &source.build_types),
        ("signers", &source.signers),
        ("workflows", &source.workflows),
        ("refs", &source.refs),
    ];
    for (field, list) in texts {
        if list.len() > MAX_TRUSTED {
            return Err(invalid(field, "use at most 64"));
        }
        let is_wrong = |text: &alloc::string::String| {
            text.trim().is_empty() || text.len() > MAX_FACT_BYTES || text.chars().any(char::is_control)
        };
        if list.iter().any(is_wrong) {
            return Err(invalid(field, "use one line of 1 to 500 bytes".to_owned().to_string()));
        }
    }
    Ok(())
}

impl App {
    /// The flags that serve, or will by schedule, something else than their off variant in an environment, and are not held.
    pub(crate) fn live_flags(&self, environment: &EnvKey) -> Vec<crate::ids::FlagKey> {
        let flags = self.flags(None).filter(|record| {
            let state = record.state(environment).map(|record| record.state());
            let is_live = state.is_some_and(|state| {
                state.hold.is_none() && (state.targeting.on || !state.targeting.schedule.is_empty())
            });
            is_live && !record.is_archived()
        });
        flags.map(|record| record.flag().key.clone()).collect()
    }
}
