//! An explanation tells how the check came to its answer, and never another answer.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::world;

use proptest::prelude::*;
use proptest::sample::select;
use rollout_rules::bucketing::{is_exposed, split_bucket};
use rollout_rules::change::Change;
use rollout_rules::context::Context;
use rollout_rules::evaluate::{FlagSet, evaluate};
use rollout_rules::explain::{
    Explanation, Found, LookedAt, MAX_SHOWN_BYTES, MAX_SHOWN_TESTS, MAX_SHOWN_VALUES, Step, Trace, explain,
};
use rollout_rules::percent::Exposure;
use rollout_rules::snapshot::{Checkpoint, Snapshot};
use rollout_rules::time::{DurationMs, UnixMs};
use rollout_rules_tests::random::{NOW, UNITS, attribute, condition};
use serde_json::{Value, json};
use world::random::changes::changes;
use world::random::{APPS, ENVIRONMENTS, FLAGS, USERS, commands};
use world::{World, app, env};

/// Whether an explanation and the check say the same, and the steps lead to it. `Err` says what differs.
fn agrees(set: &FlagSet<'_>, key: &str, context: &Context, now: UnixMs) -> Result<(), TestCaseError> {
    let (answer, told) = (evaluate(set, key, context, now), explain(set, key, context, now));
    prop_assert_eq!(answer.is_some(), told.is_some());
    let (Some(answer), Some(told)) = (answer, told) else { return Ok(()) };
    prop_assert_eq!(&told.variant, answer.variant());
    prop_assert_eq!(&told.value, answer.value());
    prop_assert_eq!(told.reason.as_str(), answer.reason.code(), "{:?}", told.steps);
    prop_assert_eq!(told.rule.as_ref(), answer.rule());
    prop_assert_eq!(told.revision, answer.revision());
    // One step decides, and it is the last: whatever came before let the check go on.
    let deciding: Vec<usize> =
        told.steps.iter().enumerate().filter(|(_, step)| step.decides).map(|(at, _)| at).collect();
    prop_assert_eq!(deciding, vec![told.steps.len() - 1]);
    for step in &told.steps {
        buckets_are_those_of_the_golden_vectors(key, step)?;
    }
    let read: Explanation = serde_json::from_value(serde_json::to_value(&told).unwrap()).unwrap();
    prop_assert_eq!(read, told);
    Ok(())
}

fn buckets_are_those_of_the_golden_vectors(flag: &str, step: &Step) -> Result<(), TestCaseError> {
    let served = match &step.looked_at {
        LookedAt::Exposure { exposure, unit: Some(unit), bucket: Some(bucket), reached, .. } => {
            prop_assert_eq!(*reached, is_exposed(flag, unit, *exposure));
            prop_assert_eq!(*reached, *bucket < exposure.milli_percent());
            return Ok(());
        }
        LookedAt::Serve { serves } | LookedAt::Rule { serves: Some(serves), .. } => serves,
        _ => return Ok(()),
    };
    let Some(picked) = &served.split else { return Ok(()) };
    if let (Some(unit), Some(bucket)) = (&picked.unit, picked.bucket) {
        let seed = picked.seed.as_deref().unwrap_or(flag);
        prop_assert_eq!(bucket, split_bucket(seed, unit, picked.total));
        let mut end = 0;
        let share = picked.weights.iter().find(|share| {
            end += share.weight;
            bucket < end
        });
        prop_assert_eq!(share.map(|share| &share.variant), served.variant.as_ref());
    }
    Ok(())
}

fn everything_agrees(snapshot: &Snapshot, now: UnixMs) -> Result<(), TestCaseError> {
    for (key, environment) in APPS.iter().flat_map(|app| ENVIRONMENTS.map(|env| (*app, env))) {
        let Some(set) = snapshot.flag_set(&app(key), &env(environment)) else { continue };
        for flag in FLAGS {
            for user in &USERS[..3] {
                agrees(&set, flag, &Context::new(user), now)?;
            }
            agrees(&set, flag, &Context::anonymous(), now)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_says_what_the_check_says(
        world in rollout_rules_tests::random::world(),
        conditions in prop::collection::vec(condition(), 6),
        unit in prop::option::of(select(&UNITS[..])),
        a in attribute(), b in attribute(),
    ) {
        let mut world = world;
        let rules = world.flags.iter_mut().flat_map(|entry| &mut entry.state.targeting.rules);
        for (at, (rule, when)) in rules.zip(conditions).enumerate() {
            // Some keep the test that they have, which holds more often.
            if at % 3 > 0 {
                rule.when = serde_json::from_value(when).unwrap();
            }
        }
        let segment = json!({"segment": {"key": "beta", "when": {"attribute": "a", "op": "exists"}}, "members": ["ann"]});
        world.segments.app = vec![serde_json::from_value(segment).unwrap()];
        let built = world.build();
        let mut written = json!({"a": a, "b": b});
        if let Some(unit) = unit {
            written["targetingKey"] = unit.into();
        }
        let context: Context = serde_json::from_value(written).unwrap();
        for key in ["f", "g", "none"] {
            agrees(&built.set(), key, &context, NOW)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_so_at_every_revision_of_a_log(
        changes in prop::collection::vec(changes(), 1..40), days in 0_u64..40,
    ) {
        let mut world = World::shop(0);
        world.wait_days(days);
        for change in changes {
            world.append_change(change);
            everything_agrees(&world.snapshot, world.now)?;
        }
    }

    #[test]
    fn it_does_so_at_past_revisions_folded_again_from_a_checkpoint(
        commands in prop::collection::vec(commands(), 1..40), from in 0_usize..40,
    ) {
        let mut world = World::shop(0).without_approvals();
        let mut past = vec![(world.snapshot.clone(), world.now)];
        for command in commands {
            world.now = world.now.plus(DurationMs(3_600_000));
            if world.ask(&world::admin(), command.clone()).is_ok() {
                world.done(&world::admin(), command);
                past.push((world.snapshot.clone(), world.now));
            }
        }
        let (start, _) = &past[from % past.len()];
        let stored = Checkpoint::decode(&start.to_checkpoint().encode()).unwrap();
        let mut folded = Snapshot::from_checkpoint(stored);
        for (then, now) in past.iter().filter(|(then, _)| then.revision() >= folded.revision()).cloned().collect::<Vec<_>>() {
            while folded.revision() < then.revision() {
                let entry = &world.entries[usize::try_from(folded.revision().0).unwrap()];
                let hash = folded.hash().chain(&entry.encode());
                folded = folded.apply(folded.revision().next(), hash, entry);
            }
            everything_agrees(&folded, now)?;
            let told = |snapshot: &Snapshot| {
                let set = snapshot.flag_set(&app("shop"), &env("sandbox"))?;
                explain(&set, "f", &Context::new("ann"), now)
            };
            prop_assert_eq!(told(&folded), told(&then));
        }
    }
}

fn flag(key: &str, targeting: &Value) -> Value {
    json!({
        "flag": {"key": key, "type": "boolean", "off_variant": "off", "created_at": 0,
                 "variants": [{"key": "on", "value": true}, {"key": "off", "value": false}]},
        "state": {"expires_at": NOW.0 + 1, "targeting": targeting},
        "revision": 7,
    })
}

fn told(flags: &[Value], key: &str, context: &Value) -> Explanation {
    let world: rollout_rules_tests::World =
        serde_json::from_value(json!({"environment": {"key": "production"}, "flags": flags})).unwrap();
    let context: Context = serde_json::from_value(context.clone()).unwrap();
    explain(&world.build().set(), key, &context, NOW).unwrap()
}

#[test]
fn steps_are_told_in_the_order_of_the_law_with_what_each_found() {
    let base = flag("base", &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}));
    let staff = json!({"all": [
        {"attribute": "mail", "op": "ends_with", "values": ["@tide.example"]},
        {"not": {"attribute": "user.plan", "op": "in", "values": ["free"]}},
    ]});
    let checkout = flag(
        "checkout",
        &json!({
            "on": true, "exposure": 30, "serve": {"variant": "on"},
            "targets": [{"variant": "on", "units": ["ann", "bob"]}],
            "rules": [{"id": "staff", "description": "who works here", "when": staff, "serve": {"variant": "on"}}],
            "prerequisites": [{"flag": "base", "variants": ["on"]}],
        }),
    );
    let context = json!({"targetingKey": "joe", "mail": "joe@sea.example", "user": {"plan": "pro"}});
    let told = told(&[base, checkout], "checkout", &context);
    let steps = serde_json::to_value(&told.steps).unwrap();
    let names: Vec<&str> =
        steps.as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    let expected =
        "kill kill kill hold expiry environment_end gate_hold switch prerequisite targets rule exposure";
    let reached = is_exposed("checkout", "joe", Exposure::from_milli_percent(30_000).unwrap());
    assert_eq!(names.join(" "), if reached { format!("{expected} serve") } else { expected.to_owned() });
    assert_eq!(
        [&steps[0]["height"], &steps[1]["height"], &steps[2]["height"]],
        ["everything", "app", "flag"]
    );
    assert_eq!((&steps[8]["variant"], &steps[8]["satisfied"]), (&json!("on"), &json!(true)));
    assert_eq!(steps[8]["steps"].as_array().unwrap().len(), 10, "{}", steps[8]);
    assert_eq!(
        (&steps[9]["units"], &steps[9]["unit"], &steps[9]["variant"]),
        (&json!(2), &json!("joe"), &Value::Null)
    );
    let rule = &steps[10];
    assert_eq!((&rule["id"], &rule["holds"]), (&json!("staff"), &json!(false)));
    let parts = &rule["when"]["parts"];
    assert_eq!(
        (&parts[0]["holds"], &parts[0]["attribute"], &parts[0]["op"]),
        (&json!(false), &json!("mail"), &json!("ends_with"))
    );
    assert_eq!(
        (&parts[0]["found"], &parts[0]["values"]),
        (&json!({"value": "joe@sea.example"}), &json!(["@tide.example"]))
    );
    assert_eq!((&parts[1]["holds"], &parts[1]["part"]["found"]), (&json!(true), &json!({"value": "pro"})));
    assert_eq!((&steps[11]["unit"], &steps[11]["reached"]), (&json!("joe"), &json!(reached)));
}

#[test]
fn a_missing_attribute_is_told_from_one_that_does_not_pass() {
    let rule = |when: Value| json!({"id": "r", "when": when, "serve": {"variant": "on"}});
    let test = json!({"attribute": "plan", "op": "in", "values": ["pro"]});
    let targeting = json!({"on": true, "exposure": 0, "serve": {"variant": "on"}, "rules": [rule(test)]});
    let found = |context: &Value| {
        let told = told(&[flag("f", &targeting)], "f", context);
        let trace = told.steps.iter().find_map(|step| match &step.looked_at {
            LookedAt::Rule { when: Some(Trace::Test { found, .. }), .. } => Some(found.clone()),
            _ => None,
        });
        trace.unwrap()
    };
    assert_eq!(found(&json!({})), Found::Missing);
    assert_eq!(found(&json!({"plan": null})), Found::Missing);
    assert_eq!(found(&json!({"plan": 7})), Found::Value(json!(7)));
    assert_eq!(
        found(&json!({"plan": ["a", 1.5, {"b": true}]})),
        Found::Value(json!(["a", 1.5, {"b": true}]))
    );
}

#[test]
fn what_is_told_is_bounded() {
    let values: Vec<String> = (0..1_000).map(|n| format!("v{n}")).collect();
    let long = json!({"attribute": "a", "op": "in", "values": values});
    let tests: Vec<Value> = (0..256).map(|_| json!({"attribute": "a", "op": "exists"})).collect();
    let mut rules = vec![json!({"id": "long", "when": long, "serve": {"variant": "on"}})];
    rules.extend((0..12).map(
        |n| json!({"id": format!("r{n}"), "when": {"not": {"all": tests}}, "serve": {"variant": "on"}}),
    ));
    let targeting = json!({"on": true, "exposure": 0, "serve": {"variant": "on"}, "rules": rules});
    let context = json!({"targetingKey": "ann", "a": "é".repeat(5_000)});
    let told = told(&[flag("f", &targeting)], "f", &context);
    assert_eq!(told.reason, "not_exposed");
    let rules = told.steps.iter().filter_map(|step| match &step.looked_at {
        LookedAt::Rule { when, .. } => when.as_ref(),
        _ => None,
    });
    let traces: Vec<&Trace> = rules.collect();
    let Trace::Test { found: Found::Cut(Value::String(text)), values, more_values, .. } = traces[0] else {
        panic!("{:?}", traces[0])
    };
    assert!(text.len() <= MAX_SHOWN_BYTES && text.starts_with("éé"), "{text}");
    assert_eq!((values.len(), *more_values), (MAX_SHOWN_VALUES, 1_000 - MAX_SHOWN_VALUES));
    let text = serde_json::to_string(&told).unwrap();
    assert_eq!(text.matches("\"kind\":\"test\"").count(), MAX_SHOWN_TESTS);
    assert_eq!(text.matches("\"kind\":\"left_out\"").count(), 1 + 12 * 256 - MAX_SHOWN_TESTS);
    let huge: Vec<Value> = (0..900).map(|n| json!(n)).collect();
    let context = json!({"a": huge});
    let told = serde_json::to_string(&told_again(&targeting, &context)).unwrap();
    assert!(told.contains("\"cut\":[0,1,2,"), "{}", &told[..2_000]);
}

fn told_again(targeting: &Value, context: &Value) -> Explanation {
    told(&[flag("f", targeting)], "f", context)
}

#[test]
fn what_cannot_be_used_says_why_it_is_off() {
    let when = json!({"attribute": "a", "op": "num_gt", "values": ["many"]});
    let rule = json!({"id": "r", "when": when, "serve": {"variant": "on"}});
    let targeting = json!({"on": true, "exposure": 100, "serve": {"variant": "gone"}, "rules": [rule]});
    let told = told(&[flag("f", &targeting)], "f", &json!({"a": 7}));
    assert_eq!(told.reason, "broken");
    let text = serde_json::to_string(&told.steps).unwrap();
    assert!(text.contains("cannot be used") && text.contains("no variant `gone`"), "{text}");
    let archived = Change::FlagArchived { app: app("shop"), flag: world::flag("f") };
    let mut world = World::shop(0);
    world.append_change(archived);
    let set = world.snapshot.flag_set(&app("shop"), &env("sandbox")).unwrap();
    assert!(explain(&set, "f", &Context::new("ann"), world.now).is_none());
}
