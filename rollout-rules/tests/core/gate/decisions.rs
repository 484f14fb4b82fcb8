//! Keeping what the gate said, and saying by what it says it: policy, sources, roles.

use rollout_rules::change::{Change, Command, GateCommand};
use rollout_rules::decide::{Refusal, Verdict as Decided};
use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::{Decision, Occasion, Verdict};
use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::policy::{Level, Policy, Role, RoleGrant};
use rollout_rules::gate::trust::Source;
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{Digest, Revision};
use rollout_rules::time::{DAY, HOUR};
use serde_json::json;

use super::waivers::waiver;
use crate::world::{World, admin, agent, app, caller, ci, command, env, evaluator, human, timer};

pub(super) fn gate(command: GateCommand) -> Command {
    Command::Gate(command)
}

pub(super) fn decide(decision: Decision) -> Command {
    gate(GateCommand::Decide { decision: Box::new(decision) })
}

pub(super) fn grant(role: Role, person: &str) -> Command {
    let (person, app) = (person.into(), Some(app("shop")));
    gate(GateCommand::GrantRole { grant: RoleGrant { role, person, app, tier: None } })
}

pub(super) fn revoke(role: Role, person: &str) -> Command {
    let (person, app) = (person.into(), Some(app("shop")));
    gate(GateCommand::RevokeRole { grant: RoleGrant { role, person, app, tier: None } })
}

pub(super) fn set_policy(policy: Policy) -> Command {
    gate(GateCommand::SetPolicy { policy: Box::new(policy) })
}

pub(super) fn stricter() -> Policy {
    let mut policy = Policy::default();
    policy.tiers.tier0.code = Level::Deny;
    policy.tiers.tier1.code = Level::Deny;
    policy
}

fn passing(world: &World) -> Decision {
    world.decision('a', Verdict::Pass, world.now.plus(DAY))
}

fn with_scope(scope: Scope) -> Caller {
    caller(Actor::Human { name: "someone".into() }, scope, "someone")
}

#[test]
fn people_and_pipelines_ask_and_agents_only_in_trials() {
    let world = World::shop(0);
    for who in [human("ann"), admin(), ci()] {
        assert!(world.ask(&who, decide(passing(&world))).is_ok(), "{who:?}");
    }
    assert_eq!(world.refused(&agent(), decide(passing(&world))), "not_allowed");
    let trial = Decision { environment: env("sandbox"), ..passing(&world) };
    assert!(world.ask(&agent(), decide(trial)).is_ok());
    for scope in [Scope::Viewer, Scope::SdkServer, Scope::SdkBrowser] {
        assert_eq!(world.refused(&with_scope(scope), decide(passing(&world))), "not_allowed", "{scope:?}");
    }
    let mut bound = ci();
    bound.environment = Some(env("sandbox"));
    assert_eq!(world.refused(&bound, decide(passing(&world))), "not_allowed");
    for occasion in [Occasion::PolicyChanged, Occasion::WaiverChanged] {
        let again = Decision { occasion, ..passing(&world) };
        assert_eq!(world.refused(&ci(), decide(again.clone())), "not_allowed", "{occasion:?}");
        for who in [timer(), evaluator()] {
            assert!(world.ask(&who, decide(again.clone())).is_ok(), "{occasion:?}");
        }
    }
}

#[test]
fn a_decision_by_what_does_not_hold_any_more_is_refused() {
    let mut world = World::shop(1);
    let first = passing(&world);
    world.done(&admin(), set_policy(stricter()));
    assert_eq!(world.refused(&ci(), decide(first)), "stale", "the policy changed");
    let second = passing(&world);
    world.done(&admin(), command(json!({"do": "update_app", "app": "shop", "tier": 2})));
    assert_eq!(world.refused(&ci(), decide(second)), "stale", "the tier changed");
    let third = passing(&world);
    let source = Source { repository_id: Some("1".into()), ..Source::default() };
    world.done(&admin(), gate(GateCommand::SetSource { app: app("shop"), source }));
    assert_eq!(world.refused(&ci(), decide(third)), "stale", "the source changed");
    let finding = super::build::finding("CVE-1", rollout_rules::gate::facts::Severity::High);
    let waiver =
        waiver(rollout_rules::gate::decision::CheckName::Vulnerabilities, &finding, world.now.plus(HOUR));
    let on_waiver = Decision { waivers: vec![waiver.id.clone()], ..passing(&world) };
    assert_eq!(world.refused(&ci(), decide(on_waiver.clone())), "stale", "there is no such waiver");
    world.append_change(Change::WaiverPut(Box::new(waiver)));
    assert!(world.ask(&ci(), decide(on_waiver.clone())).is_ok());
    world.now = world.now.plus(HOUR);
    assert_eq!(world.refused(&ci(), decide(on_waiver)), "stale", "it lapsed");
}

#[test]
fn what_was_found_meanwhile_is_not_written_over() {
    let mut world = World::shop(0);
    let seen = world.done(&ci(), decide(passing(&world)));
    let ask = |world: &World, who: &Caller, occasion| {
        let decision = decide(Decision { occasion, ..passing(world) });
        world.ask_seen(who, decision, Some(seen)).map(|_| ()).map_err(|refusal| refusal.code())
    };
    let all = [
        // Also who hands in everything: what was added since they looked stays, whoever asks.
        (ci(), Occasion::Asked),
        (ci(), Occasion::NewEvidence),
        (timer(), Occasion::PolicyChanged),
        (timer(), Occasion::WaiverChanged),
    ];
    for (who, occasion) in &all {
        assert_eq!(ask(&world, who, *occasion), Ok(()), "{occasion:?}");
    }
    let worse = world.decision('a', Verdict::Deny, world.now.plus(DAY));
    world.done(&ci(), decide(Decision { occasion: Occasion::NewEvidence, ..worse }));
    for (who, occasion) in &all {
        assert_eq!(ask(&world, who, *occasion), Err("stale"), "{occasion:?}");
    }
}

#[test]
fn a_pipelines_token_counts_once() {
    let mut world = World::shop(0);
    let expires_at = world.now.plus(HOUR);
    let identity =
        PipelineIdentity { token_id: Digest::of(b"jti"), expires_at, ..PipelineIdentity::default() };
    let with =
        |world: &World, occasion| Decision { identity: Some(identity.clone()), occasion, ..passing(world) };
    world.done(&ci(), decide(with(&world, Occasion::Asked)));
    assert_eq!(world.refused(&ci(), decide(with(&world, Occasion::Asked))), "invalid");
    // What is judged again by Tidegate names the pipeline that asked first.
    for (who, occasion) in [(timer(), Occasion::PolicyChanged), (ci(), Occasion::NewEvidence)] {
        assert!(world.ask(&who, decide(with(&world, occasion))).is_ok(), "{occasion:?}");
        let elsewhere = Decision { artifact: crate::world::artifact_of('b'), ..with(&world, occasion) };
        assert_eq!(world.refused(&who, decide(elsewhere)), "invalid", "{occasion:?} on another build");
    }
    // Who shows nothing but the token asks with it, whatever for.
    let pipeline = Caller { token: None, ..ci() };
    assert_eq!(world.refused(&pipeline, decide(with(&world, Occasion::NewEvidence))), "invalid");
    // It is forgotten a minute after its end, since clocks differ.
    world.now = expires_at.plus(rollout_rules::snapshot::TOKEN_SKEW);
    assert!(world.snapshot.pipeline_token_used(&Digest::of(b"jti")));
    let next = PipelineIdentity {
        token_id: Digest::of(b"the next"),
        expires_at: world.now,
        ..PipelineIdentity::default()
    };
    world.done(&ci(), decide(Decision { identity: Some(next), ..passing(&world) }));
    assert!(!world.snapshot.pipeline_token_used(&Digest::of(b"jti")));
}

#[test]
fn who_runs_everything_sets_the_policy_with_a_reason_and_no_agent_does() {
    let mut world = World::shop(0);
    for who in [ci(), with_scope(Scope::Editor), with_scope(Scope::Viewer), timer(), evaluator()] {
        assert_eq!(world.refused(&who, set_policy(stricter())), "not_allowed", "{who:?}");
    }
    let mut bound = human("ann");
    bound.app = Some(app("shop"));
    assert_eq!(world.refused(&bound, set_policy(stricter())), "not_allowed");
    assert_eq!(world.refused(&agent(), set_policy(stricter())), "agents_only_propose");
    let silent = world.decide(&world.request(&admin(), set_policy(stricter()), None));
    assert!(matches!(silent, Err(Refusal::ReasonRequired { .. })));
    let mut wrong = stricter();
    wrong.tiers.tier2.coverage.deny_below_percent = Some(101);
    let refusal = world.ask(&admin(), set_policy(wrong)).expect_err("101 %");
    assert!(refusal.to_string().contains("tiers.tier2.coverage"), "{refusal}");
    let same = world.ask(&admin(), set_policy(Policy::default()));
    assert!(matches!(same, Ok(Decided::AlreadyDone { revision: Revision::ZERO })));
    let revision = world.done(&human("ann"), set_policy(stricter()));
    assert_eq!(world.snapshot.policy_revision(), revision);
    assert_eq!(world.snapshot.policy_digest(), stricter().digest());
    let stale = world.ask_seen(&admin(), set_policy(Policy::default()), Some(Revision::ZERO));
    assert!(matches!(stale, Err(Refusal::Stale { .. })), "somebody set it meanwhile");
}

/// What is wrong with a policy, and where.
type Case = (fn(&mut Policy), &'static str);

#[test]
fn each_part_of_a_policy_that_is_wrong_is_named() {
    let wrong: [Case; 10] = [
        (|it| it.tiers.tier1.coverage.warn_below_percent = Some(30), "tiers.tier1.coverage"),
        (|it| it.tiers.tier0.secrets.scanners = 0, "tiers.tier0.secrets.scanners"),
        (|it| it.tiers.tier0.secrets.scanners = 5, "tiers.tier0.secrets.scanners"),
        (
            |it| it.tiers.tier2.infrastructure.required_tags = vec!["a\nb".into()],
            "tiers.tier2.infrastructure.required_tags",
        ),
        (|it| it.tiers.tier2.decision_life_ms.0 = 1, "tiers.tier2.decision_life_ms"),
        (|it| it.tiers.tier2.decision_life_ms.0 = 91 * DAY.0, "tiers.tier2.decision_life_ms"),
        (|it| it.tiers.tier0.waivers.longest_ms.0 = 181 * DAY.0, "tiers.tier0.waivers.longest_ms"),
        (|it| it.tiers.tier2.approvers = vec![Role::Security, Role::Security], "tiers.tier2.approvers"),
        (|it| it.checklist = vec![String::new()], "checklist"),
        (|it| it.checklist = vec!["x".into(); 21], "checklist"),
    ];
    for (change, field) in wrong {
        let mut policy = Policy::default();
        change(&mut policy);
        let fields: Vec<String> = policy.check().into_iter().map(|bad| bad.field).collect();
        assert_eq!(fields, [field]);
    }
    let mut long = Policy::default();
    let module = |nth: usize| rollout_rules::gate::policy::Module {
        name: nth.to_string(),
        text: "x".repeat(16 * 1024),
    };
    long.modules = (0..3).map(module).collect();
    assert_eq!(long.check().into_iter().map(|bad| bad.field).collect::<Vec<_>>(), ["policy"]);
}

#[test]
fn who_governs_an_app_says_what_it_may_be_built_from() {
    let mut world = World::shop(0);
    let set = |source: Source| gate(GateCommand::SetSource { app: app("shop"), source });
    let source = Source { repository_id: Some("1".into()), ..Source::default() };
    for who in [ci(), with_scope(Scope::Editor), timer()] {
        assert_eq!(world.refused(&who, set(source.clone())), "not_allowed", "{who:?}");
    }
    assert_eq!(world.refused(&agent(), set(source.clone())), "agents_only_propose");
    for wrong in [
        Source { repository: Some(" ".into()), ..source.clone() },
        Source { builders: vec!["x".repeat(501)], ..source.clone() },
        Source { workflows: vec!["x".into(); 65], ..source.clone() },
        Source { signers: vec!["a\u{7}".into()], ..source.clone() },
    ] {
        assert_eq!(world.refused(&admin(), set(wrong.clone())), "invalid", "{wrong:?}");
    }
    let mut bound = human("ann");
    bound.app = Some(app("shop"));
    world.done(&bound, set(source.clone()));
    let shop = world.snapshot.app(&app("shop")).expect("the app");
    assert_eq!((shop.source(), shop.source_digest()), (Some(&source), Some(source.digest())));
    assert!(matches!(world.ask(&bound, set(source)), Ok(Decided::AlreadyDone { .. })));
}

#[test]
fn a_human_admin_grants_roles_and_takes_them_however_names_are_written() {
    let mut world = World::shop(0);
    for who in
        [human("ann"), ci(), agent(), timer(), caller(Actor::Service { name: "s".into() }, Scope::Admin, "s")]
    {
        assert_eq!(world.refused(&who, grant(Role::Platform, "bob")), "not_allowed", "{who:?}");
    }
    let nowhere = RoleGrant { role: Role::Platform, person: "bob".into(), app: None, tier: None };
    let both = RoleGrant { app: Some(app("shop")), tier: Some(Tier::One), ..nowhere.clone() };
    for wrong in [nowhere.clone(), both] {
        assert_eq!(world.refused(&admin(), gate(GateCommand::GrantRole { grant: wrong })), "invalid");
    }
    assert_eq!(world.refused(&admin(), grant(Role::Platform, " ")), "invalid");
    world.done(&admin(), grant(Role::Platform, "Bob"));
    let again = world.ask(&admin(), grant(Role::Platform, " bob "));
    assert!(matches!(again, Ok(Decided::AlreadyDone { .. })), "the same person");
    let has = |world: &World, actor: &Actor, role| {
        world.snapshot.has_role(actor, role, world.snapshot.app(&app("shop")).expect("the app"))
    };
    let bob = Actor::Human { name: "bob".into() };
    assert!(has(&world, &bob, Role::Platform) && !has(&world, &bob, Role::Security));
    assert!(!has(&world, &Actor::Service { name: "bob".into() }, Role::Platform), "only people have roles");
    let for_bob =
        Actor::Agent { model: "m".into(), tool: "t".into(), on_behalf_of: "bob".into(), work: None };
    assert!(!has(&world, &for_bob, Role::Platform));
    assert_eq!(world.refused(&admin(), revoke(Role::Security, "bob")), "not_found");
    world.done(&admin(), revoke(Role::Platform, "bob"));
    assert!(!has(&world, &bob, Role::Platform));
    // By tier: of whichever apps have it.
    world.done(
        &admin(),
        gate(GateCommand::GrantRole { grant: RoleGrant { tier: Some(Tier::One), ..nowhere } }),
    );
    assert!(!has(&world, &bob, Role::Platform));
    world.done(&admin(), command(json!({"do": "update_app", "app": "shop", "tier": 1})));
    assert!(has(&world, &bob, Role::Platform));
}
