//! What may be written: revisions that were seen, bounds, references, and requests that come twice.

use crate::world;

use rollout_rules::change::Command;
use rollout_rules::condition::MAX_REGEXES;
use rollout_rules::decide::{Refusal, Request, Verdict};
use rollout_rules::flag::{MAX_PREREQUISITES, MAX_RULES, MAX_TARGETS, MAX_VARIANTS};
use rollout_rules::ids::{IdempotencyKey, Revision};
use serde_json::{Value, json};
use world::{World, admin, agent, app, command, flag, human, set};

fn ann() -> rollout_rules::governance::Caller {
    human("ann")
}

fn update(patch: &Value) -> Command {
    let mut json = json!({"do": "update_flag", "app": "shop", "flag": "f"});
    json.as_object_mut().expect("an object").extend(patch.as_object().expect("an object").clone());
    command(json)
}

fn make(key: &str) -> Command {
    command(json!({"do": "create_flag", "app": "shop", "key": key}))
}

fn put_segment(key: &str, when: Value) -> Command {
    command(json!({"do": "put_segment", "scope": {"app": "shop"}, "segment": {"key": key, "when": when}}))
}

fn members(key: &str, add: &[&str], remove: &[&str]) -> Command {
    command(
        json!({"do": "change_segment_members", "scope": {"app": "shop"}, "segment": key, "add": add, "remove": remove}),
    )
}

fn rule(when: &Value) -> Value {
    json!([{"id": "r", "when": when, "serve": {"variant": "on"}}])
}

#[test]
fn a_change_that_does_more_than_lower_names_the_revision_that_was_seen() {
    let mut world = World::shop(0);
    let bare = |world: &World, command: Command| {
        world.ask_seen(&ann(), command, None).map_or_else(|refusal| refusal.code(), |_| "yes")
    };
    assert_eq!(bare(&world, set("sandbox", json!({"on": true}))), "revision_required");
    assert_eq!(bare(&world, set("sandbox", json!({"exposure": 5}))), "revision_required");
    assert_eq!(bare(&world, update(&json!({"description": "x"}))), "revision_required");
    world.done(&ann(), set("sandbox", json!({"on": true, "exposure": 50})));
    assert_eq!(bare(&world, set("sandbox", json!({"exposure": 5}))), "yes");
    assert_eq!(bare(&world, set("sandbox", json!({"on": false}))), "yes");
    let more = json!({"on": false, "targets": [{"variant": "on", "units": ["u"]}]});
    assert_eq!(bare(&world, set("sandbox", more)), "revision_required", "it writes something besides");
    assert_eq!(bare(&world, command(json!({"do": "archive_flag", "app": "shop", "flag": "f"}))), "yes");
    assert_eq!(bare(&world, make("g")), "yes");
}

#[test]
fn a_revision_that_is_not_the_flags_is_stale_whatever_is_asked() {
    let mut world = World::shop(0);
    let seen = world.revision();
    world.done(&human("bob"), set("sandbox", json!({"on": true})));
    for wrong in [seen, Revision(0), Revision(u64::MAX)] {
        for patch in [json!({"on": false}), json!({"exposure": 1}), json!({"on": true})] {
            let refusal = world.ask_seen(&ann(), set("sandbox", patch), Some(wrong)).expect_err("stale");
            let Refusal::Stale { current, .. } = refusal else { panic!("{refusal}") };
            assert_eq!(current, world.revision());
        }
    }
    let Err(Refusal::Stale { changed, .. }) =
        world.ask_seen(&ann(), set("sandbox", json!({"on": true})), Some(seen))
    else {
        panic!("stale");
    };
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].change.as_str(), "targeting_changed");
    assert_eq!(*changed[0].actor, human("bob").actor);
}

#[test]
fn asking_for_what_is_writes_nothing() {
    let mut world = World::shop(0);
    world.done(&ann(), set("sandbox", json!({"on": true})));
    let revision = world.revision();
    for patch in [json!({}), json!({"on": true}), json!({"exposure": 100, "rules": []})] {
        assert_eq!(world.ask(&ann(), set("sandbox", patch)), Ok(Verdict::AlreadyDone { revision }));
    }
    assert_eq!(world.ask(&ann(), update(&json!({"critical": false}))), Ok(Verdict::AlreadyDone { revision }));
}

#[test]
fn a_request_that_comes_twice_acts_once_and_its_key_stands_for_no_other() {
    let mut world = World::shop(0);
    let keyed = |world: &World, command: Command| Request {
        idempotency_key: Some(IdempotencyKey::new("once").expect("a key")),
        ..world.request(&ann(), command, None)
    };
    let Ok(Verdict::Change(draft)) = world.decide(&keyed(&world, make("g"))) else { panic!("made") };
    world.append(draft.into_entry(world.anchor()));
    let revision = world.snapshot.revision();
    assert_eq!(world.decide(&keyed(&world, make("g"))), Ok(Verdict::AlreadyDone { revision }));
    let other = world.decide(&keyed(&world, make("h")));
    assert_eq!(other, Err(Refusal::IdempotencyKeyTaken { revision }));
    let mut of_bob = keyed(&world, make("h"));
    of_bob.caller = human("bob");
    assert!(matches!(world.decide(&of_bob), Ok(Verdict::Change(_))), "keys belong to their tokens");
}

#[test]
fn a_flag_is_made_with_answers_of_its_type() {
    let world = World::shop(0);
    let make = |extra: Value| {
        let mut json = json!({"do": "create_flag", "app": "shop", "key": "g"});
        json.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        world.ask(&ann(), command(json)).map_or_else(|refusal| refusal.to_string(), |_| "made".into())
    };
    assert_eq!(make(json!({})), "made");
    assert_eq!(make(json!({"type": "number", "variants": [{"key": "a", "value": 1.5}]})), "made");
    assert!(make(json!({"type": "string"})).contains("at least one answer"));
    assert!(
        make(json!({"type": "string", "variants": [{"key": "a", "value": 1}]}))
            .starts_with("variants[0].value")
    );
    let twice = json!({"variants": [{"key": "a", "value": true}, {"key": "a", "value": false}]});
    assert!(make(twice).starts_with("variants[1].key"));
    assert!(make(json!({"off_variant": "nope"})).starts_with("off_variant"));
    let large = json!({"type": "string", "variants": [{"key": "a", "value": "x".repeat(8 * 1024)}]});
    assert!(make(large).contains("8192 are allowed"));
    let many: Vec<Value> =
        (0..=MAX_VARIANTS).map(|nth| json!({"key": format!("v{nth}"), "value": true})).collect();
    assert!(make(json!({"variants": many})).contains("at most 64 variants"));
    assert!(make(json!({"description": "x".repeat(1_001)})).starts_with("description"));
}

#[test]
fn a_key_stays_taken_after_its_flag_is_archived() {
    let mut world = World::shop(0);
    assert_eq!(world.refused(&ann(), make("f")), "already_exists");
    world.done(&ann(), command(json!({"do": "archive_flag", "app": "shop", "flag": "f"})));
    assert_eq!(world.answer("production", "f", "u"), None);
    assert_eq!(world.refused(&ann(), make("f")), "already_exists");
    assert_eq!(world.refused(&ann(), set("sandbox", json!({"on": true}))), "not_found");
}

#[test]
fn targeting_names_only_what_is_there_and_says_where_it_does_not() {
    let world = World::shop(0);
    let wrong = |patch: Value, place: &str| {
        let refusal = world.ask(&ann(), set("sandbox", patch.clone())).expect_err(place);
        assert!(refusal.to_string().starts_with(place), "{patch}: {refusal}");
    };
    wrong(json!({"serve": {"variant": "nope"}}), "serve.variant");
    wrong(json!({"targets": [{"variant": "nope", "units": []}]}), "targets[0].variant");
    wrong(json!({"targets": [{"variant": "on", "units": [""]}]}), "targets[0].units");
    wrong(
        json!({"rules": [{"id": "r", "when": {"all": []}, "serve": {"variant": "nope"}}]}),
        "rules[0].serve.variant",
    );
    wrong(json!({"rules": rule(&json!({"segment": "nope"}))}), "rules[0].when");
    wrong(json!({"rules": rule(&json!({"segment": "shared:nope"}))}), "rules[0].when");
    wrong(
        json!({"rules": rule(&json!({"attribute": "v", "op": "semver_gt", "values": ["not a version"]}))}),
        "rules[0].when",
    );
    let twice = json!([rule(&json!({"all": []}))[0], rule(&json!({"any": []}))[0]]);
    wrong(json!({"rules": twice}), "rules[1].id");
    wrong(json!({"prerequisites": [{"flag": "nope", "variants": ["on"]}]}), "prerequisites[0].flag");
    wrong(json!({"prerequisites": [{"flag": "f", "variants": ["nope"]}]}), "prerequisites[0].variants");
    let split =
        |weights: Value| json!({"serve": {"split": {"id": "s", "weights": weights, "control": "on"}}});
    wrong(split(json!([{"variant": "on", "weight": 0}])), "serve.split.weights");
    wrong(split(json!([{"variant": "on", "weight": u32::MAX}])), "serve.split.weights");
    wrong(split(json!([{"variant": "off", "weight": 1}])), "serve.split.control");
    let named =
        |id: &str| json!({"serve": {"split": {"id": id, "weights": [{"variant": "on", "weight": 1}]}}});
    wrong(named(".exposure"), "serve.split.id");
    wrong(json!({"schedule": [{"id": "s", "at": world.now.0 + 1}]}), "schedule[0]");
}

#[test]
fn lists_are_bounded_and_so_is_a_change() {
    let world = World::shop(0);
    let units = |count: usize, length: usize| -> Vec<String> {
        (0..count).map(|nth| format!("{nth:0length$}")).collect()
    };
    let target = |units: Vec<String>| set("sandbox", json!({"targets": [{"variant": "on", "units": units}]}));
    assert!(world.ask(&ann(), target(units(MAX_TARGETS, 8))).is_ok());
    assert_eq!(world.refused(&ann(), target(units(MAX_TARGETS + 1, 8))), "too_many");
    assert_eq!(world.refused(&ann(), target(units(MAX_TARGETS, 100))), "too_large");
    let rules: Vec<Value> = (0..=MAX_RULES)
        .map(|nth| json!({"id": format!("r{nth}"), "when": {"all": []}, "serve": {"variant": "on"}}))
        .collect();
    assert_eq!(world.refused(&ann(), set("sandbox", json!({"rules": rules}))), "too_many");
    let request = Request { reason: "x".repeat(1_001), ..world.request(&ann(), make("g"), None) };
    assert_eq!(world.decide(&request).expect_err("too long").code(), "invalid");
}

#[test]
fn no_flag_is_its_own_prerequisite_by_any_way() {
    let mut world = World::shop(0);
    for key in ["g", "h"] {
        world.done(&ann(), make(key));
    }
    let needs = |key: &str, other: &str| {
        command(json!({"do": "set_targeting", "app": "shop", "flag": key, "environment": "sandbox",
            "prerequisites": [{"flag": other, "variants": ["on"]}]}))
    };
    assert_eq!(world.refused(&ann(), needs("f", "f")), "prerequisite_cycle");
    world.done(&ann(), needs("f", "g"));
    world.done(&ann(), needs("g", "h"));
    let Err(Refusal::PrerequisiteCycle { path }) = world.ask(&ann(), needs("h", "f")) else {
        panic!("a cycle")
    };
    let path: Vec<&str> = path.iter().map(|key| key.as_str()).collect();
    assert_eq!(path, ["h", "f", "g", "h"]);
    let archive = command(json!({"do": "archive_flag", "app": "shop", "flag": "h"}));
    assert_eq!(world.refused(&ann(), archive), "in_use");
    let lose = command(
        json!({"do": "update_flag", "app": "shop", "flag": "h", "variants": [{"key": "off", "value": false}], "off_variant": "off"}),
    );
    assert_eq!(
        world.ask(&ann(), lose).expect_err("g names `on`").code(),
        "invalid",
        "its own state names it too"
    );
}

#[test]
fn a_definition_that_changes_what_production_serves_is_a_raise() {
    let mut world = World::shop(1);
    let variants =
        |on: bool| json!({"variants": [{"key": "on", "value": on}, {"key": "off", "value": false}]});
    world.done(&ann(), update(&variants(false)));
    world.done(&ann(), update(&variants(true)));
    assert_eq!(
        world.refused(&ann(), update(&json!({"off_variant": "on"}))),
        "approvals_needed",
        "everybody gets it at once"
    );
    world.rules.approvals.tier1 = 0;
    world.done(&ann(), set("production", json!({"on": true})));
    world.rules.approvals.tier1 = 1;
    assert_eq!(world.refused(&ann(), update(&variants(false))), "approvals_needed", "production serves `on`");
    world.done(&ann(), update(&json!({"description": "what it is for"})));
    let more = json!({"variants": [{"key": "on", "value": true}, {"key": "off", "value": false}, {"key": "new", "value": true}]});
    world.done(&ann(), update(&more));
    let fewer = json!({"variants": [{"key": "off", "value": false}]});
    assert_eq!(world.refused(&ann(), update(&fewer)), "invalid", "states name what would go");
}

#[test]
fn members_come_and_go_and_a_segment_in_use_stays() {
    let mut world = World::shop(0);
    world.done(&ann(), put_segment("beta", json!(null)));
    assert_eq!(world.refused(&ann(), members("nope", &["u"], &[])), "not_found");
    world.done(
        &ann(),
        set("production", json!({"on": true, "exposure": 0, "rules": rule(&json!({"segment": "beta"}))})),
    );
    let answer = |world: &World| world.answer("production", "f", "u");
    assert_eq!(answer(&world), Some(json!(false)));
    world.done(&ann(), members("beta", &["u", "v"], &[]));
    assert_eq!(answer(&world), Some(json!(true)), "no flag was compiled again");
    let revision = world.snapshot.revision();
    assert_eq!(world.ask(&ann(), members("beta", &["u"], &["w"])), Ok(Verdict::AlreadyDone { revision }));
    world.done(&ann(), put_segment("beta", json!({"attribute": "plan", "op": "in", "values": ["pro"]})));
    assert_eq!(answer(&world), Some(json!(true)), "members stay");
    world.done(&ann(), members("beta", &[], &["u"]));
    assert_eq!(answer(&world), Some(json!(false)));
    let remove = command(json!({"do": "remove_segment", "scope": {"app": "shop"}, "segment": "beta"}));
    assert_eq!(world.refused(&ann(), remove.clone()), "in_use");
    world.done(&ann(), set("production", json!({"rules": []})));
    world.done(&ann(), remove);
    assert_eq!(
        world.refused(&ann(), put_segment("s", json!({"segment": "beta"}))),
        "invalid",
        "segments name no segments"
    );
    assert_eq!(world.refused(&ann(), members("beta", &["u"], &[])), "not_found");
}

#[test]
fn a_segment_that_production_serves_takes_what_a_raise_takes() {
    let mut world = World::shop(1).without_approvals();
    let shared = |extra: Value| {
        let mut json = json!({"scope": "shared"});
        json.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        command(json)
    };
    let join =
        |unit: &str| shared(json!({"do": "change_segment_members", "segment": "staff", "add": [unit]}));
    world.done(&ann(), shared(json!({"do": "put_segment", "segment": {"key": "staff"}})));
    world.done(
        &ann(),
        set("production", json!({"on": true, "rules": rule(&json!({"not": {"segment": "shared:staff"}}))})),
    );
    world.rules.approvals.tier1 = 1;
    assert_eq!(world.refused(&ann(), join("u")), "approvals_needed");
    assert_eq!(world.refused(&agent(), join("u")), "agents_only_propose");
    world.rules.approvals.tier1 = 0;
    world.gated();
    assert_eq!(world.refused(&ann(), join("u")), "gate_missing");
    world.done(&ann(), set("production", json!({"on": false})));
    world.done(&ann(), join("u"));
    let bound = rollout_rules::governance::Caller { app: Some(app("shop")), ..ann() };
    assert_eq!(world.refused(&bound, join("v")), "not_allowed", "what all apps share is above one app");
}

#[test]
fn an_app_is_made_with_environments_and_its_tier_is_not_lowered_lightly() {
    let mut world = World::empty();
    world.done(&admin(), command(json!({"do": "create_app", "key": "a", "tier": 2, "owner": "team"})));
    let keys: Vec<String> = world
        .snapshot
        .app(&app("a"))
        .expect("the app")
        .environments()
        .map(|it| it.environment().key.to_string())
        .collect();
    assert_eq!(keys, ["production", "sandbox"]);
    let again = command(json!({"do": "create_app", "key": "a"}));
    assert_eq!(world.refused(&admin(), again), "already_exists");
    let tier = |tier: u8| command(json!({"do": "update_app", "app": "a", "tier": tier}));
    assert_eq!(
        world.refused(&ann(), tier(0)),
        "approvals_needed",
        "it would spare every later raise its approvals"
    );
    let budget = command(json!({"do": "update_app", "app": "a", "monthly_budget_micros": 5}));
    assert_eq!(world.refused(&ann(), budget), "invalid");
    let currency = command(json!({"do": "create_app", "key": "b", "currency": "euro"}));
    assert_eq!(world.refused(&admin(), currency), "invalid");
    world.done(&ann(), command(json!({"do": "create_flag", "app": "a", "key": "f"})));
    let view = world.snapshot.flag(&app("a"), &flag("f")).expect("the flag");
    assert_eq!(view.record().flag().owner, "team");
}

#[test]
fn an_environment_made_later_has_every_flag_off_and_takes_them_along_when_it_goes() {
    let mut world = World::shop(0);
    world.done(&ann(), set("production", json!({"on": true})));
    world.done(
        &ann(),
        command(json!({"do": "create_environment", "app": "shop", "key": "pr-2", "kind": "preview"})),
    );
    assert!(!world.is_on("pr-2") && world.answer("pr-2", "f", "u").is_some());
    world.done(&ann(), set("pr-2", json!({"on": true})));
    assert!(world.is_on("pr-2"));
    let remove = command(json!({"do": "remove_environment", "app": "shop", "environment": "pr-2"}));
    world.done(&world::ci(), remove.clone());
    assert_eq!(world.refused(&ann(), remove), "not_found");
    assert_eq!(world.answer("pr-2", "f", "u"), None);
    world.done(
        &ann(),
        command(json!({"do": "create_environment", "app": "shop", "key": "pr-2", "kind": "preview"})),
    );
    assert!(!world.is_on("pr-2"), "it is a new one");
    let production = command(json!({"do": "remove_environment", "app": "shop", "environment": "production"}));
    assert_eq!(world.refused(&world::ci(), production.clone()), "not_allowed");
    assert_eq!(world.refused(&agent(), production), "agents_only_propose");
}

#[test]
fn a_chain_of_prerequisites_is_bounded_whichever_end_is_written_first() {
    let needs = |nth: usize| {
        command(
            json!({"do": "set_targeting", "app": "shop", "flag": format!("c{nth}"), "environment": "sandbox",
            "prerequisites": [{"flag": format!("c{}", nth + 1), "variants": ["on"]}]}),
        )
    };
    let chain = || {
        let mut world = World::shop(0);
        (0..=MAX_PREREQUISITES + 1).for_each(|nth| {
            world.done(&ann(), make(&format!("c{nth}")));
        });
        world
    };
    let mut down = chain();
    (0..MAX_PREREQUISITES).for_each(|nth| {
        down.done(&ann(), needs(nth));
    });
    assert_eq!(down.refused(&ann(), needs(MAX_PREREQUISITES)), "too_many");
    let mut up = chain();
    (1..=MAX_PREREQUISITES).rev().for_each(|nth| {
        up.done(&ann(), needs(nth));
    });
    assert_eq!(up.refused(&ann(), needs(0)), "too_many");
    let mut middle = chain();
    (0..=MAX_PREREQUISITES).filter(|nth| *nth != 8).for_each(|nth| {
        middle.done(&ann(), needs(nth));
    });
    assert_eq!(middle.refused(&ann(), needs(8)), "too_many", "two halves are not joined either");
}

#[test]
fn regular_expressions_are_bounded_in_number_and_size_over_all_rules_and_in_a_segment() {
    let mut world = World::shop(0);
    let regex = |values: Vec<String>| json!({"attribute": "a", "op": "regex", "values": values});
    let few = |count: usize| regex((0..count).map(|nth| format!("^u{nth}$")).collect());
    let rules = |conditions: &[Value]| -> Value {
        conditions
            .iter()
            .enumerate()
            .map(|(nth, when)| json!({"id": format!("r{nth}"), "when": when, "serve": {"variant": "on"}}))
            .collect()
    };
    let said = |world: &World, command: Command| world.ask(&ann(), command).expect_err("refused").to_string();
    let with = |conditions: &[Value]| set("sandbox", json!({"rules": rules(conditions)}));
    let said_many = said(&world, with(&[few(MAX_REGEXES), few(1)]));
    assert!(said_many.contains("33 regular expressions") && said_many.contains("at most 32"), "{said_many}");
    let segment =
        world.ask(&admin(), put_segment("s", few(MAX_REGEXES + 1))).expect_err("refused").to_string();
    assert!(segment.contains("33 regular expressions"), "{segment}");
    world.done(&ann(), with(&[few(MAX_REGEXES - 1), few(1)]));
    world.done(&admin(), put_segment("s", few(MAX_REGEXES)));
    // Each is allowed alone; not so many of them together, over two rules.
    let large = |count: usize| regex((0..count).map(|nth| format!("{nth}\\p{{L}}")).collect());
    world.done(&ann(), with(&[large(1)]));
    let size = said(&world, with(&[large(1), large(31)]));
    assert!(size.contains("rules[1].when") && size.contains("at most 262144"), "{size}");
}

#[test]
fn the_first_value_that_cannot_be_used_ends_the_check_of_a_condition() {
    let world = World::shop(0);
    let wrong = json!({"attribute": "a", "op": "regex", "values": ["(", "a{1000}{1000}", ")"]});
    let said = world.ask(&ann(), set("sandbox", json!({"rules": rule(&wrong)}))).expect_err("refused");
    assert!(said.to_string().contains("values[0]"), "{said}");
}

#[test]
fn what_does_not_fit_an_entry_is_refused_before_its_expressions_are_compiled() {
    let mut world = World::shop(0);
    let wrong = json!({"attribute": "a", "op": "regex", "values": ["("]});
    let long = "v".repeat(1_000);
    let large = |values: usize| json!({"attribute": "a", "op": "in", "values": vec![&long; values]});
    let both = |values: usize| json!({"all": [wrong, large(values)]});
    assert_eq!(world.refused(&ann(), set("sandbox", json!({"rules": rule(&both(70))}))), "too_large");
    assert_eq!(world.refused(&ann(), put_segment("s", both(70))), "too_large");
    assert_eq!(world.refused(&ann(), set("sandbox", json!({"rules": rule(&both(30))}))), "invalid");
    let units: Vec<String> = (0..250).map(|nth| format!("{nth:0>200}")).collect();
    world.done(&ann(), set("sandbox", json!({"targets": [{"variant": "on", "units": units}]})));
    let rules = json!({"rules": rule(&both(30))});
    assert_eq!(world.refused(&ann(), set("sandbox", rules)), "too_large", "with what is there already");
}
