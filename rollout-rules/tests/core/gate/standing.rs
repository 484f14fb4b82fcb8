//! How a build stands, and what may be raised while it does.

use rollout_rules::change::{Change, Command, GateCommand};
use rollout_rules::decide::Refusal;
use rollout_rules::gate::decision::{CheckName, CheckState, CheckSummary, Decision, Verdict};
use rollout_rules::gate::facts::Severity;
use rollout_rules::gate::policy::Level;
use rollout_rules::gate::trust::Source;
use rollout_rules::governance::GateStanding;
use rollout_rules::ids::EnvKey;
use rollout_rules::time::{DAY, DurationMs, HOUR};
use serde_json::json;

use super::decisions::{decide, gate, set_policy, stricter};
use super::waivers::waiver;
use crate::world::rolling::{self, no_data, step};
use crate::world::{World, admin, app, ci, command, deployed, env, evaluator, human, set, timer};

fn standing(world: &World, environment: &EnvKey) -> GateStanding {
    world.snapshot.gate_standing(&app("shop"), environment, world.now)
}

/// Why the build does not stand; empty: it does.
pub(super) fn missing(world: &World) -> String {
    match standing(world, &env("production")) {
        GateStanding::Missing(missing) => missing.join("\n"),
        _ => String::new(),
    }
}

fn raise() -> Command {
    set("production", json!({"on": true, "exposure": 100}))
}

/// Whether what is missing is named, and nothing is raised for it.
fn is_refused(world: &World, told: &str) {
    let refusal = world.ask(&human("ann"), raise()).expect_err("the gate does not stand");
    assert_eq!(refusal.code(), "gate_missing");
    assert!(refusal.to_string().contains(told), "{refusal}");
    let Refusal::GateMissing { missing: named, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(named.join("\n"), missing(world));
    assert!(
        world.ask(&human("ann"), set("production", json!({"on": false}))).is_ok(),
        "lowering asks nobody"
    );
}

#[test]
fn nothing_is_raised_before_a_build_runs_that_was_judged_and_passed() {
    let mut world = World::shop(0);
    world.gated();
    is_refused(&world, "tidegate release deployed");
    world.done(&ci(), deployed('a'));
    is_refused(&world, "tidegate gate check --app shop --env production --artifact sha256:aaaa");
    let other = world.decision('b', Verdict::Pass, world.now.plus(DAY));
    world.done(&ci(), decide(other));
    is_refused(&world, "was never judged");
    let denied = Decision {
        checks: vec![
            CheckSummary {
                name: CheckName::Secrets,
                state: CheckState::Failed,
                level: Level::Deny,
                total: 2,
            },
            CheckSummary {
                name: CheckName::Coverage,
                state: CheckState::NoProof,
                level: Level::Deny,
                total: 0,
            },
            CheckSummary { name: CheckName::Sbom, state: CheckState::NoProof, level: Level::Warn, total: 0 },
        ],
        ..world.decision('a', Verdict::Deny, world.now.plus(DAY))
    };
    world.done(&ci(), decide(denied));
    is_refused(&world, "secrets: failed");
    assert!(
        missing(&world).contains("coverage: nothing shows it")
            && missing(&world).contains("tidegate gate explain")
    );
    assert!(!missing(&world).contains("sbom"), "what only warns is not what is missing");
    for verdict in [Verdict::Warn, Verdict::Pass] {
        let until = world.now.plus(DAY);
        let decision = world.decision('a', verdict, until);
        world.done(&ci(), decide(decision));
        assert_eq!(standing(&world, &env("production")), GateStanding::PassingUntil(until));
        assert!(world.ask(&human("ann"), raise()).is_ok(), "{verdict}");
    }
    // What runs next has to pass too.
    world.done(&ci(), deployed('c'));
    is_refused(&world, "was never judged");
}

#[test]
fn a_decision_for_one_environment_says_nothing_of_another() {
    let mut world = World::shop(0);
    world.gated();
    world.done(
        &admin(),
        command(json!({"do": "create_environment", "app": "shop", "key": "eu", "kind": "production"})),
    );
    world.judged(Verdict::Pass, world.now.plus(DAY));
    assert!(matches!(standing(&world, &env("eu")), GateStanding::Missing(_)));
    assert_eq!(world.refused(&human("ann"), set("eu", json!({"on": true}))), "gate_missing");
}

#[test]
fn previews_and_sandboxes_never_ask() {
    let mut world = World::shop(2);
    world.gated();
    for environment in ["sandbox", "pr-1"] {
        assert_eq!(standing(&world, &env(environment)), GateStanding::NotRequired);
        world.done(&human("ann"), set(environment, json!({"on": true})));
        assert!(world.is_on(environment));
    }
}

#[test]
fn a_decision_that_lapses_bars_raising_and_lowers_nothing() {
    let mut world = World::shop(0);
    world.judged(Verdict::Pass, world.now.plus(HOUR));
    world.done(&human("ann"), set("production", json!({"on": true, "exposure": 50})));
    world.now = world.now.plus(HOUR);
    is_refused(&world, "lapsed at");
    assert!(world.answer("production", "f", "ann").is_some());
    let held = world.ask(&evaluator(), gate(enforce()));
    assert!(
        matches!(held, Ok(rollout_rules::decide::Verdict::AlreadyDone { .. })),
        "a lapse takes nothing back"
    );
}

pub(super) fn enforce() -> GateCommand {
    GateCommand::Enforce { app: app("shop"), environment: env("production") }
}

/// What is told, and what changes.
type Later = (&'static str, fn(&mut World));

#[test]
fn what_it_was_judged_by_changes_and_it_stands_no_more() {
    let changes: [Later; 3] = [
        ("the policy changed", |world| {
            world.done(&admin(), set_policy(stricter()));
        }),
        ("the app's tier changed", |world| {
            world.done(&admin(), command(json!({"do": "update_app", "app": "shop", "tier": 0})));
        }),
        ("what the app may be built from changed", |world| {
            let source = Source { owner_id: Some("2".into()), ..Source::default() };
            world.done(&admin(), gate(GateCommand::SetSource { app: app("shop"), source }));
        }),
    ];
    for (told, change) in changes {
        let mut world = World::shop(1).without_approvals();
        world.judged(Verdict::Pass, world.now.plus(DAY));
        world.rules.gate = rollout_rules::governance::Enforcement::Report;
        change(&mut world);
        world.gated();
        assert!(missing(&world).contains(told), "{}", missing(&world));
        // Judged again by what holds now, it stands.
        let again = world.decision('a', Verdict::Pass, world.now.plus(DAY));
        world.done(&ci(), decide(again));
        assert_eq!(missing(&world), "");
    }
}

#[test]
fn a_decision_on_a_waiver_stands_no_longer_than_the_waiver() {
    let finding = super::build::vulnerability("CVE-1", Severity::Critical);
    for revoke in [false, true] {
        let mut world = World::shop(0);
        world.gated();
        let waiver = waiver(CheckName::Vulnerabilities, &finding, world.now.plus(HOUR));
        let id = waiver.id.clone();
        world.append_change(Change::WaiverPut(Box::new(waiver)));
        world.done(&ci(), deployed('a'));
        let decision =
            Decision { waivers: vec![id.clone()], ..world.decision('a', Verdict::Pass, world.now.plus(DAY)) };
        world.done(&ci(), decide(decision));
        assert_eq!(missing(&world), "");
        if revoke {
            world.done(&ci(), gate(GateCommand::RevokeWaiver { app: app("shop"), id }));
        } else {
            world.now = world.now.plus(HOUR);
        }
        is_refused(&world, "a waiver that it stands on ended");
    }
}

#[test]
fn a_rollout_goes_no_further_while_the_gate_does_not_stand_and_goes_on_once_it_does() {
    let mut world = World::shop(0);
    let judged_for = |world: &mut World, hours: u64| {
        let decision = world.decision('a', Verdict::Pass, world.now.plus(DurationMs(hours * HOUR.0)));
        world.done(&ci(), decide(decision));
    };
    assert_eq!(
        {
            world.gated();
            world.refused(&human("ann"), rolling::start("production", rolling::PLAN))
        },
        "gate_missing"
    );
    world.done(&ci(), deployed('a'));
    judged_for(&mut world, 1);
    world.done(&human("ann"), rolling::start("production", rolling::PLAN));
    rolling::after(&mut world, 30);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(rolling::exposure(&world, "production"), 50);
    rolling::after(&mut world, 120);
    assert_eq!(world.refused(&timer(), step(&world, "production", 1, no_data())), "gate_missing");
    assert_eq!(world.refused(&human("ann"), rolling::act("advance", "production")), "gate_missing");
    assert_eq!(
        (rolling::exposure(&world, "production"), rolling::status(&world, "production")),
        (50, "running")
    );
    judged_for(&mut world, 1);
    world.done(&timer(), step(&world, "production", 1, no_data()));
    assert_eq!(rolling::exposure(&world, "production"), 100);
}

#[test]
fn what_was_scheduled_is_not_raised_while_the_gate_does_not_stand() {
    let mut world = World::shop(0);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    let at = world.now.plus(HOUR);
    let steps = json!({"schedule": [{"id": "s", "at": at, "on": true}]});
    world.done(&human("ann"), set("production", steps));
    let denied = world.decision('a', Verdict::Deny, world.now.plus(DAY));
    world.done(&ci(), decide(denied));
    world.now = at;
    let apply = command(
        json!({"do": "apply_schedule", "app": "shop", "flag": "f", "environment": "production", "schedule": "s"}),
    );
    world.done(&timer(), apply.clone());
    assert_eq!(world.refused(&timer(), apply.clone()), "gate_missing", "the owner was told");
    assert!(!world.is_on("production"));
    let passing = world.decision('a', Verdict::Pass, world.now.plus(DAY));
    world.done(&ci(), decide(passing));
    world.done(&timer(), apply);
    assert!(world.is_on("production"));
}

#[test]
fn what_was_killed_is_turned_on_again_only_while_the_gate_stands() {
    let mut world = World::shop(0);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    world.done(&human("ann"), raise());
    world.done(&human("ann"), crate::world::kill("k", crate::world::the_flag(), None));
    let denied = world.decision('a', Verdict::Deny, world.now.plus(DAY));
    world.done(&ci(), decide(denied));
    // What is revived is off.
    world.done(&human("ann"), crate::world::revive(crate::world::the_flag(), None));
    assert!(!world.is_on("production"));
    assert_eq!(world.refused(&human("ann"), raise()), "gate_missing");
    let passing = world.decision('a', Verdict::Pass, world.now.plus(DAY));
    world.done(&ci(), decide(passing));
    world.done(&human("ann"), raise());
    assert!(world.is_on("production"));
}
