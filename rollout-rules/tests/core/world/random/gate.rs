//! Random commands and changes about the gate, about what is there or not.

use rollout_rules::change::{GateCommand, PolicySet, SourceSet};
use rollout_rules::gate::decision::{CheckName, Decision, Occasion, Verdict};
use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::policy::{Level, Policy, Role, RoleGrant};
use rollout_rules::gate::trust::Source;
use rollout_rules::gate::waiver::{Waiver, WaiverApproval, WaiverRevoked};
use rollout_rules::ids::{ChannelName, DecisionId, WaiverId};
use rollout_rules::runbook::{Act, Lowered};
use rollout_rules::sli::guardrail::Action;

use super::*;

fn roles() -> impl Strategy<Value = Role> {
    proptest::sample::select(&[Role::Platform, Role::Security, Role::BusinessOwner][..])
}

fn policies() -> impl Strategy<Value = Policy> {
    any::<bool>().prop_map(|stricter| {
        let mut policy = Policy::default();
        if stricter {
            policy.tiers.tier0.code = Level::Deny;
        }
        policy
    })
}

fn sources() -> impl Strategy<Value = Source> {
    any::<bool>().prop_map(|said| Source { repository_id: said.then(|| "1".into()), ..Source::default() })
}

fn waiver_ids() -> impl Strategy<Value = WaiverId> {
    (0..4).prop_map(|nth| WaiverId::new(&format!("w{nth}")).expect("an id"))
}

fn grants() -> impl Strategy<Value = RoleGrant> {
    let people = proptest::sample::select(&["ann", "bob", "Bob "][..]);
    (roles(), people, proptest::option::of(apps()), tiers()).prop_map(|(role, person, app, tier)| {
        let tier = app.is_none().then_some(tier);
        RoleGrant { role, person: person.into(), app, tier }
    })
}

fn waivers() -> impl Strategy<Value = Waiver> {
    let checks = proptest::sample::select(&CheckName::ALL[..]);
    let ends = (any::<bool>(), any::<bool>(), any::<bool>());
    (waiver_ids(), apps(), proptest::option::of(environments()), checks, moments(), ends).prop_map(
        |(id, app, environment, check, expires_at, (break_glass, approved, revoked))| Waiver {
            id,
            app,
            environment,
            check,
            fingerprint: (!break_glass).then(Digest::default),
            risk: "CVE-1".into(),
            reason: "The parser never sees what users send".into(),
            requested_by: Actor::Human { name: "ann".into() },
            token: None,
            requested_at: START,
            expires_at,
            break_glass,
            approval: approved.then_some(WaiverApproval {
                actor: Actor::Timer,
                at: START,
                role: Role::Platform,
            }),
            revoked: revoked.then_some(WaiverRevoked { actor: Actor::Timer, at: START }),
        },
    )
}

fn decisions() -> impl Strategy<Value = Decision> {
    let verdicts = proptest::sample::select(&[Verdict::Pass, Verdict::Warn, Verdict::Deny][..]);
    let occasions =
        proptest::sample::select(&[Occasion::Asked, Occasion::NewEvidence, Occasion::PolicyChanged][..]);
    let identity = proptest::option::weighted(0.3, (0_u8..3, moments()));
    let by =
        (policies(), proptest::option::of(sources()), tiers(), proptest::collection::vec(waiver_ids(), 0..2));
    (apps(), environments(), 0_u8..3, verdicts, occasions, moments(), identity, by).prop_map(
        |(
            app,
            environment,
            nth,
            verdict,
            occasion,
            valid_until,
            identity,
            (policy, source, tier, waivers),
        )| Decision {
            id: DecisionId::new(&format!("d{nth}")).expect("an id"),
            app,
            environment,
            artifact: format!("sha256:{nth:064x}").parse().expect("a digest"),
            version: None,
            verdict,
            occasion,
            tier,
            policy: policy.digest(),
            source: source.map(|source| source.digest()),
            checks: Vec::new(),
            valid_until,
            waivers,
            signers: Vec::new(),
            evidence: Vec::new(),
            facts: Digest::default(),
            judgement: Digest::default(),
            receipt: Digest::default(),
            identity: identity.map(|(token, expires_at)| PipelineIdentity {
                token_id: Digest::of(&[token]),
                expires_at,
                ..PipelineIdentity::default()
            }),
            agents: Vec::new(),
        },
    )
}

/// Commands about the gate.
pub fn gate_commands() -> BoxedStrategy<Command> {
    let places = || (apps(), environments());
    prop_oneof![
        6 => decisions().prop_map(|decision| GateCommand::Decide { decision: Box::new(decision) }),
        3 => places().prop_map(|(app, environment)| GateCommand::Enforce { app, environment }),
        1 => policies().prop_map(|policy| GateCommand::SetPolicy { policy: Box::new(policy) }),
        1 => (apps(), sources()).prop_map(|(app, source)| GateCommand::SetSource { app, source }),
        3 => waivers().prop_map(|waiver| GateCommand::RequestWaiver { waiver: Box::new(waiver), listed: None }),
        2 => (apps(), waiver_ids(), roles()).prop_map(|(app, id, role)| GateCommand::ApproveWaiver { app, id, role, listed: None }),
        1 => (apps(), waiver_ids()).prop_map(|(app, id)| GateCommand::RevokeWaiver { app, id }),
        2 => grants().prop_map(|grant| GateCommand::GrantRole { grant }),
        1 => grants().prop_map(|grant| GateCommand::RevokeRole { grant }),
    ]
    .prop_map(Command::Gate)
    .boxed()
}

/// What the log may hold about the gate, whoever decided it.
pub fn gate_changes() -> BoxedStrategy<Change> {
    let acted = (apps(), proptest::option::of(environments()), any::<bool>()).prop_map(
        |(app, environment, denied)| {
            let hold = Hold { cause: HoldCause::Gate, at: START, reason: String::new() };
            let act = Act {
                app,
                flag: None,
                environment,
                guardrail: None,
                variant: None,
                cause: if denied { Cause::GateDenied } else { Cause::GlassBroken },
                measured: None,
                evidence: None,
                lowered: if denied { vec![Lowered::All { hold }] } else { Vec::new() },
                effects: vec![Action::Notify(ChannelName::new("owner").expect("a name"))],
                release: None,
            };
            Change::GuardrailActed { act: Box::new(act) }
        },
    );
    prop_oneof![
        4 => decisions().prop_map(|decision| Change::GateDecided(Box::new(decision))),
        1 => policies().prop_map(|policy| Change::PolicySet(PolicySet { policy: Box::new(policy) })),
        1 => (apps(), sources()).prop_map(|(app, source)| Change::SourceSet(SourceSet { app, source })),
        3 => waivers().prop_map(|waiver| Change::WaiverPut(Box::new(waiver))),
        2 => grants().prop_map(Change::RoleGranted),
        1 => grants().prop_map(Change::RoleRevoked),
        3 => acted,
    ]
    .boxed()
}
