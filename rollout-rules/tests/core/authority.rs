//! Law 9: who may lower and who may raise, cell by cell.

use crate::world;

use rollout_rules::change::Command;
use rollout_rules::decide::{Authority, Direction, Ground, Row, authority};
use rollout_rules::gate::decision::Verdict;
use rollout_rules::gate::policy::Reach;
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::percent::Exposure;
use rollout_rules::time::DurationMs;
use serde_json::json;
use world::{World, admin, agent, app, caller, ci, command, env, evaluator, human, set, timer};

/// A world in which flag `f` is on for 50 % in every environment, so that it can go both ways.
fn half_on(tier: u8) -> World {
    let mut world = World::shop(tier).without_approvals();
    for environment in ["production", "sandbox", "pr-1"] {
        world.done(&human("ann"), set(environment, json!({"on": true, "exposure": 50})));
    }
    world.rules.approvals = rollout_rules::governance::Rules::default().approvals;
    world
}

fn lower(environment: &str) -> Command {
    set(environment, json!({"exposure": 10}))
}

fn raise(environment: &str) -> Command {
    set(environment, json!({"exposure": 100}))
}

fn neutral(environment: &str) -> Command {
    set(environment, json!({"exposure": 0}))
}

fn code(world: &World, caller: &Caller, command: Command) -> &'static str {
    world.ask(caller, command).map_or_else(|refusal| refusal.code(), |_| "yes")
}

fn editor() -> Caller {
    let mut editor = caller(Actor::Human { name: "eve".into() }, Scope::Editor, "eve");
    editor.app = Some(app("shop"));
    editor
}

fn with_scope(scope: Scope) -> Caller {
    let mut caller = caller(Actor::Human { name: "someone".into() }, scope, "someone");
    caller.app = Some(app("shop"));
    caller
}

#[test]
fn the_table_is_law_9() {
    use Authority::{AsWritten, GateAndApprovals, GateApprovalsAndLimits, No, OnlyPropose, Yes};
    use Direction::{Lower, Raise};
    use Ground::{Production, Trial};
    let table = [
        // row, lower, raise in preview or sandbox, raise in production
        (Row::Person, [Yes, Yes, GateAndApprovals]),
        (Row::Pipeline, [Yes, Yes, GateApprovalsAndLimits]),
        (Row::Timer, [Yes, AsWritten, AsWritten]),
        (Row::Evaluator, [Yes, AsWritten, AsWritten]),
        (Row::Agent, [Yes, Yes, OnlyPropose]),
        (Row::Nobody, [No, No, No]),
    ];
    for (row, [lower, trial, production]) in table {
        assert_eq!(authority(row, Lower, Trial), lower, "{row:?}");
        assert_eq!(authority(row, Lower, Production), lower, "{row:?}");
        assert_eq!(authority(row, Raise, Trial), trial, "{row:?}");
        assert_eq!(authority(row, Raise, Production), production, "{row:?}");
    }
}

#[test]
fn everyone_but_readers_and_sdks_may_lower_everywhere() {
    let world = half_on(2);
    for environment in ["production", "sandbox", "pr-1"] {
        for who in [human("ann"), editor(), ci(), timer(), evaluator(), agent(), admin()] {
            assert_eq!(code(&world, &who, lower(environment)), "yes", "{who:?} in {environment}");
        }
        for scope in [Scope::Viewer, Scope::SdkServer, Scope::SdkBrowser] {
            assert_eq!(code(&world, &with_scope(scope), lower(environment)), "not_allowed", "{scope:?}");
        }
    }
}

#[test]
fn raising_in_a_preview_or_sandbox_asks_for_no_gate_and_no_approvals() {
    let mut world = half_on(2);
    world.gated();
    for environment in ["sandbox", "pr-1"] {
        for who in [human("ann"), editor(), ci(), agent(), admin()] {
            assert_eq!(code(&world, &who, raise(environment)), "yes", "{who:?} in {environment}");
        }
        // What Tidegate's own parts raise was written by somebody, and comes as another command.
        for who in [timer(), evaluator()] {
            assert_eq!(code(&world, &who, raise(environment)), "not_allowed", "{who:?}");
        }
        for scope in [Scope::Viewer, Scope::SdkServer, Scope::SdkBrowser] {
            assert_eq!(code(&world, &with_scope(scope), raise(environment)), "not_allowed", "{scope:?}");
        }
    }
}

#[test]
fn raising_in_production_is_for_people_and_pipelines_alone() {
    let mut world = half_on(0);
    world.limit(|flags| flags.pipelines = Reach::Everyone);
    for who in [human("ann"), editor(), ci(), admin()] {
        assert_eq!(code(&world, &who, raise("production")), "yes", "{who:?}");
    }
    assert_eq!(code(&world, &agent(), raise("production")), "agents_only_propose");
    for who in [timer(), evaluator()] {
        assert_eq!(code(&world, &who, raise("production")), "not_allowed", "{who:?}");
    }
    for scope in [Scope::Viewer, Scope::SdkServer, Scope::SdkBrowser] {
        assert_eq!(code(&world, &with_scope(scope), raise("production")), "not_allowed", "{scope:?}");
    }
}

#[test]
fn an_agent_stays_an_agent_whatever_its_token_may_do() {
    let world = half_on(0);
    for scope in [Scope::Admin, Scope::Operator, Scope::Editor, Scope::Ci] {
        let who = Caller { scope, app: Some(app("shop")), ..agent() };
        assert_eq!(code(&world, &who, raise("production")), "agents_only_propose", "{scope:?}");
        assert_eq!(code(&world, &who, lower("production")), "yes", "{scope:?}");
    }
}

#[test]
fn raising_in_production_needs_the_gate_to_stand() {
    let mut world = half_on(0);
    world.limit(|flags| flags.pipelines = Reach::Everyone);
    assert_eq!(code(&world, &human("ann"), raise("production")), "yes", "the gate binds nobody");
    world.gated();
    assert_eq!(code(&world, &human("ann"), raise("production")), "gate_missing", "nothing was deployed");
    world.done(&ci(), crate::world::deployed('b'));
    assert_eq!(code(&world, &human("ann"), raise("production")), "gate_missing", "nothing was judged");
    let stands = [
        (Verdict::Pass, DurationMs(1), "yes"),
        (Verdict::Warn, DurationMs(1), "yes"),
        (Verdict::Pass, DurationMs(0), "gate_missing"),
        (Verdict::Deny, DurationMs(1), "gate_missing"),
    ];
    for (verdict, life, expected) in stands {
        world.judged(verdict, world.now.plus(life));
        for who in [human("ann"), ci()] {
            assert_eq!(code(&world, &who, raise("production")), expected, "{verdict:?} for {life:?}");
            let lowered = code(&world, &who, lower("production"));
            assert_eq!(lowered, "yes", "a lapse lowers nothing, and bars nothing that lowers");
        }
    }
}

#[test]
fn raising_in_production_needs_the_approvals_of_the_tier() {
    for (tier, expected) in [(0, "yes"), (1, "approvals_needed"), (2, "approvals_needed")] {
        let mut world = half_on(tier);
        world.limit(|flags| flags.pipelines = Reach::UpTo(Exposure::HALF));
        for who in [human("ann"), editor(), ci(), admin()] {
            // To half, as far as a pipeline may go here.
            let mut world = World { entries: Vec::new(), snapshot: world.snapshot.clone(), ..World::empty() };
            world.done(&human("ann"), lower("production"));
            assert_eq!(
                code(&world, &who, set("production", json!({"exposure": 50}))),
                expected,
                "tier {tier}"
            );
            assert_eq!(code(&world, &who, neutral("production")), "yes", "tier {tier}");
        }
    }
}

#[test]
fn a_pipeline_raises_a_tier_1_flag_to_half_and_no_further() {
    let mut world = World::shop(1).without_approvals();
    let half = set("production", json!({"on": true, "exposure": 50}));
    let more = set("production", json!({"on": true, "exposure": 50.001}));
    assert_eq!(code(&world, &ci(), half.clone()), "yes");
    assert_eq!(code(&world, &ci(), more.clone()), "tier_limit");
    assert_eq!(code(&world, &human("ann"), more), "yes");
    let rules = json!({"on": true, "exposure": 0, "rules": [{"id": "all", "when": {"all": []}, "serve": {"variant": "on"}}]});
    assert_eq!(
        code(&world, &ci(), set("production", rules.clone())),
        "tier_limit",
        "rules are not gated by exposure"
    );
    let later =
        json!({"schedule": [{"id": "s", "at": world.now.plus(DurationMs(9)).0, "on": true, "exposure": 60}]});
    assert_eq!(code(&world, &ci(), set("production", later)), "tier_limit");
    // Written while off, rules are as good as written now.
    world.done(&ci(), set("production", json!({"rules": rules["rules"]})));
    assert_eq!(code(&world, &ci(), half), "tier_limit");
    world.limit(|flags| flags.pipelines = Reach::Everyone);
    assert_eq!(code(&world, &ci(), set("production", json!({"on": true, "exposure": 100}))), "yes");
}

#[test]
fn a_pipeline_turns_a_tier_0_flag_on_for_one_list_of_users_and_a_person_does_the_rest() {
    let mut world = World::shop(0);
    let list = |units: &[&str]| json!({"variant": "on", "units": units});
    let on = |with: serde_json::Value| {
        let mut patch = json!({"on": true, "exposure": 0});
        patch.as_object_mut().expect("a patch").extend(with.as_object().expect("members").clone());
        set("production", patch)
    };
    for (asked, expected) in [
        (json!({"targets": [list(&["ann", "bob"])]}), "yes"),
        (json!({}), "yes"),
        (json!({"targets": [list(&["ann"]), {"variant": "off", "units": ["bob"]}]}), "tier_limit"),
        (json!({"targets": [list(&["ann"])], "exposure": 0.001}), "tier_limit"),
        (json!({"rules": [{"id": "all", "when": {"all": []}, "serve": {"variant": "on"}}]}), "tier_limit"),
        (
            json!({"schedule": [{"id": "s", "at": world.now.plus(DurationMs(9)).0, "exposure": 1}]}),
            "tier_limit",
        ),
    ] {
        assert_eq!(code(&world, &ci(), on(asked.clone())), expected, "{asked}");
        assert_eq!(code(&world, &human("ann"), on(asked.clone())), "yes", "{asked}");
        let elsewhere = set("sandbox", json!({"on": true, "exposure": 100}));
        assert_eq!(code(&world, &ci(), elsewhere), "yes", "sandboxes have no limits");
    }
    world.limit(|flags| flags.people = Reach::OneList);
    assert_eq!(
        code(&world, &human("ann"), on(json!({"exposure": 100}))),
        "tier_limit",
        "if the policy says so"
    );
    assert_eq!(code(&world, &human("ann"), on(json!({"targets": [list(&["ann"])]}))), "yes");
}

#[test]
fn a_pipeline_takes_a_tier_2_flag_to_everybody_in_stages_alone() {
    let mut world = World::shop(2).without_approvals();
    let start = |plan: &str| {
        let plan: rollout_rules::plan::RolloutPlan = plan.parse().expect("a plan");
        command(
            json!({"do": "start_rollout", "app": "shop", "flag": "f", "environment": "production", "plan": plan}),
        )
    };
    assert_eq!(code(&world, &ci(), set("production", json!({"on": true, "exposure": 1}))), "tier_limit");
    assert_eq!(code(&world, &ci(), start("100%")), "tier_limit", "one stage is none");
    assert_eq!(code(&world, &ci(), start("10%/30m,100%")), "yes");
    assert_eq!(code(&world, &human("ann"), start("100%")), "yes");
    let list = json!({"on": true, "exposure": 0, "targets": [{"variant": "on", "units": ["ann"]}]});
    assert_eq!(code(&world, &ci(), set("production", list)), "yes", "testers come first");
    world.done(&human("ann"), set("production", json!({"on": true, "exposure": 20})));
    assert_eq!(code(&world, &ci(), set("production", json!({"exposure": 30}))), "tier_limit");
    assert_eq!(code(&world, &ci(), set("production", json!({"exposure": 10}))), "yes", "it may always lower");
}

#[test]
fn an_agent_may_not_even_prepare_production() {
    let mut world = World::shop(0);
    assert_eq!(
        code(&world, &agent(), neutral("production")),
        "agents_only_propose",
        "what it writes while off is served later"
    );
    assert_eq!(code(&world, &agent(), neutral("sandbox")), "yes");
    world.done(&agent(), command(json!({"do": "create_flag", "app": "shop", "key": "new"})));
    let update = json!({"do": "update_flag", "app": "shop", "flag": "f", "off_variant": "on"});
    assert_eq!(code(&world, &agent(), command(update)), "agents_only_propose");
    assert_eq!(
        code(&world, &agent(), command(json!({"do": "archive_flag", "app": "shop", "flag": "f"}))),
        "agents_only_propose"
    );
    let segment = json!({"do": "put_segment", "scope": {"app": "shop"}, "segment": {"key": "beta"}});
    world.done(&agent(), command(segment));
    let rules = json!({"rules": [{"id": "r", "when": {"segment": "beta"}, "serve": {"variant": "on"}}]});
    let members =
        json!({"do": "change_segment_members", "scope": {"app": "shop"}, "segment": "beta", "add": ["u"]});
    assert_eq!(
        code(&world, &agent(), command(members.clone())),
        "yes",
        "no production flag names the segment"
    );
    world.done(&human("ann"), set("production", rules));
    assert_eq!(code(&world, &agent(), command(members)), "agents_only_propose");
}

#[test]
fn nobody_makes_tokens_but_a_human_admin() {
    let world = World::shop(0);
    let token = json!({"do": "create_token", "token": {"id": "new", "hash": "00".repeat(32), "scope": "operator",
        "actor": {"type": "human", "name": "mallory"}, "created_at": 0}});
    assert_eq!(code(&world, &admin(), command(token.clone())), "yes");
    let agent_admin = Caller { scope: Scope::Admin, ..agent() };
    let bound_admin = Caller { app: Some(app("shop")), ..admin() };
    for who in [human("ann"), editor(), ci(), agent(), agent_admin, bound_admin, timer(), evaluator()] {
        assert_eq!(code(&world, &who, command(token.clone())), "not_allowed", "{who:?}");
    }
    let mut tidegates = token;
    tidegates["token"]["actor"] = json!({"type": "timer"});
    assert_eq!(code(&world, &admin(), command(tidegates)), "invalid");
}

#[test]
fn a_token_reaches_its_app_and_environment_and_no_further() {
    let mut world = half_on(0);
    world.done(&admin(), command(json!({"do": "create_app", "key": "other"})));
    let elsewhere = Caller { app: Some(app("other")), ..editor() };
    let in_sandbox = Caller { environment: Some(env("sandbox")), ..editor() };
    let reach = json!({"flag": {"app": "shop", "flag": "f"}});
    let all = |environment: Option<&str>| world::kill("k", reach.clone(), environment);
    assert_eq!(code(&world, &elsewhere, lower("sandbox")), "not_allowed");
    assert_eq!(code(&world, &elsewhere, all(None)), "not_allowed");
    assert_eq!(code(&world, &in_sandbox, lower("sandbox")), "yes");
    assert_eq!(code(&world, &in_sandbox, lower("production")), "not_allowed");
    assert_eq!(code(&world, &in_sandbox, all(Some("sandbox"))), "yes");
    assert_eq!(code(&world, &in_sandbox, all(Some("production"))), "not_allowed");
    assert_eq!(code(&world, &in_sandbox, all(None)), "not_allowed");
    let everything = world::kill("k", json!("everything"), None);
    assert_eq!(code(&world, &human("ann"), everything.clone()), "yes");
    for who in [editor(), ci(), Caller { app: Some(app("shop")), ..human("ann") }, evaluator()] {
        assert_eq!(code(&world, &who, everything.clone()), "not_allowed", "{who:?}");
    }
}

#[test]
fn a_kill_is_taken_back_by_a_person_and_with_a_reason() {
    let mut world = half_on(0);
    world.done(&agent(), world::kill("k", world::the_flag(), None));
    let back = world::revive(world::the_flag(), None);
    assert_eq!(code(&world, &agent(), back.clone()), "agents_only_propose");
    for who in [ci(), timer(), evaluator()] {
        assert_eq!(code(&world, &who, back.clone()), "not_allowed", "{who:?}");
    }
    let silent = world.request(&human("ann"), back.clone(), None);
    assert_eq!(world.decide(&silent).expect_err("no reason").code(), "reason_required");
    assert_eq!(code(&world, &editor(), back), "yes");
}
