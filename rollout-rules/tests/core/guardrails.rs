//! Guardrails of flags and apps, whom they call, and acting on them.

mod acts;

use crate::world;

use proptest::prelude::*;
use rollout_rules::change::{Command, RunbookCommand};
use rollout_rules::context::Context;
use rollout_rules::decide::{Refusal, is_address};
use rollout_rules::evaluate::evaluate;
use rollout_rules::governance::Caller;
use rollout_rules::ids::{FlagKey, NodeId, Revision};
use rollout_rules::runbook::{Acting, Cause, EffectId, KEPT_CLOSED_RUNS, RunState, Source, tier_defaults};
use rollout_rules::sli::guardrail::{Action, Guardrail, Sli};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DAY, DurationMs, HOUR, UnixMs};
use serde_json::{Value, json};
use world::{World, admin, agent, app, ci, command, env, evaluator, flag, human, set, timer};

const WORSE: &str = "error_rate > 3% for 5m -> flag off, run rollback";

fn rule(text: &str) -> Guardrail {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn guard(flag: Option<&str>, environment: Option<&str>, rules: Option<&[&str]>) -> Command {
    let guardrails = rules.map(|rules| rules.iter().map(|text| rule(text)).collect());
    let (flag, environment) = (flag.map(world::flag), environment.map(env));
    Command::SetGuardrails { app: app("shop"), flag, environment, guardrails }
}

fn runbook(change: Value) -> Command {
    command(json!({"do": "runbook", "app": "shop", "change": change}))
}

fn job(name: &str) -> Command {
    runbook(json!({"create_job": {"job": {
        "name": name, "url": "https://ci.example.org/run", "payload": "plain",
        "secrets": ["whsec_c2VjcmV0"], "created_at": 0}}}))
}

fn channel(name: &str) -> Command {
    runbook(json!({"create_channel": {"channel": {
        "name": name, "target": {"mail": {"to": ["ann@example.org"]}}, "created_at": 0}}}))
}

/// A shop whose flag `f` is on in production, with two jobs and a channel.
fn shop() -> World {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("production", json!({"on": true})));
    for made in [job("rollback"), job("revert-release"), channel("on-call")] {
        world.done(&admin(), made);
    }
    world
}

fn acting(world: &World, actions: &[&str], cause: Cause) -> Command {
    let text = format!("error_rate > 3% -> {}", actions.join(", "));
    let guardrail = rule(&text);
    let acting = Acting {
        app: app("shop"),
        flag: Some(flag("f")),
        environment: Some(env("production")),
        variant: None,
        cause,
        measured: Some(served(world, "f")),
        artifact: None,
        evidence: None,
        found: None,
        actions: guardrail.then().to_vec(),
        guardrail: Some(guardrail),
    };
    Command::Act { acting: Box::new(acting) }
}

/// What the evaluator asks for where the month costs too much.
fn out_of_budget() -> Command {
    let acting = Acting {
        app: app("shop"),
        flag: None,
        environment: None,
        guardrail: None,
        variant: None,
        cause: Cause::Regressed(Sli::MonthlySpend),
        measured: None,
        artifact: None,
        evidence: None,
        found: None,
        actions: vec![Action::DisableNonCritical],
    };
    Command::Act { acting: Box::new(acting) }
}

fn served(world: &World, key: &str) -> Revision {
    let view = world.snapshot.flag(&app("shop"), &flag(key)).expect("the flag");
    view.record().state(&env("production")).expect("its state").revision()
}

fn in_force(world: &World, key: Option<&str>, environment: &str) -> (Vec<String>, Source) {
    let key = key.map(flag);
    let found =
        world.snapshot.app(&app("shop")).expect("the app").guardrails(key.as_ref(), &env(environment));
    (found.rules.iter().map(ToString::to_string).collect(), found.source)
}

fn exposure(world: &World) -> f64 {
    let set = world.snapshot.flag_set(&app("shop"), &env("production")).expect("it is served");
    let on = |user: u32| {
        let context = Context::new(&format!("user-{user}"));
        evaluate(&set, "f", &context, world.now).is_some_and(|answer| *answer.value() == json!(true))
    };
    f64::from((0..200).map(|user| u32::from(on(user))).sum::<u32>()) / 200.0
}

#[test]
fn the_list_that_is_written_nearest_holds_and_without_one_the_tier_has_its_own() {
    let mut world = shop();
    let tier: Vec<String> =
        tier_defaults(rollout_rules::flag::Tier::Zero).iter().map(ToString::to_string).collect();
    assert_eq!(tier, ["error_rate worse than control -> flag off"]);
    assert_eq!(in_force(&world, Some("f"), "production"), (tier.clone(), Source::Tier));
    let ann = human("ann");
    let lists: [(Option<&str>, Option<&str>, &str, Source); 4] = [
        (None, None, "latency_p95 > 1s for 1m -> flag off", Source::App),
        (None, Some("production"), "latency_p95 > 2s for 1m -> flag off", Source::AppInEnvironment),
        (Some("f"), None, "latency_p95 > 3s for 1m -> flag off", Source::Flag),
        (Some("f"), Some("production"), "latency_p95 > 4s for 1m -> flag off", Source::FlagInEnvironment),
    ];
    for (key, environment, text, source) in lists {
        let seen = key.map(|_| world.revision());
        let verdict = world.ask_seen(&ann, guard(key, environment, Some(&[text])), seen).expect("may");
        let rollout_rules::decide::Verdict::Change(draft) = verdict else { panic!("nothing changed") };
        world.append(draft.into_entry(world.anchor()));
        assert_eq!(in_force(&world, Some("f"), "production"), (vec![text.to_owned()], source));
    }
    assert_eq!(in_force(&world, Some("f"), "sandbox").1, Source::Flag);
    assert_eq!(in_force(&world, None, "sandbox").1, Source::App);
    // An empty list is one: nothing is watched.
    let none = guard(Some("f"), Some("sandbox"), Some(&[]));
    let seen = Some(world.revision());
    assert!(world.ask_seen(&ann, none, seen).is_ok());
    let stored = Snapshot::from_checkpoint(world.snapshot.to_checkpoint());
    let kept = stored.guardrails(&app("shop"), &flag("f"), &env("production")).expect("an app");
    assert_eq!(kept.source, Source::FlagInEnvironment);
}

#[test]
fn writing_guardrails_names_the_flags_revision_and_resets_nothing_that_was_measured() {
    let mut world = shop();
    let ann = human("ann");
    let (served_before, seen) = (served(&world, "f"), world.revision());
    let write = || guard(Some("f"), None, Some(&[WORSE]));
    assert_eq!(world.ask_seen(&ann, write(), None).expect_err("unseen").code(), "revision_required");
    assert_eq!(world.ask_seen(&ann, write(), Some(Revision(1))).expect_err("old").code(), "stale");
    let feed = world.snapshot.feed_revision(&app("shop"), &env("production"));
    let verdict = world.ask_seen(&ann, write(), Some(seen)).expect("may");
    let rollout_rules::decide::Verdict::Change(draft) = verdict else { panic!("nothing changed") };
    world.append(draft.into_entry(world.anchor()));
    assert_eq!(served(&world, "f"), served_before, "slots are keyed by it");
    assert_eq!(world.snapshot.feed_revision(&app("shop"), &env("production")), feed, "SDKs are told nothing");
    assert!(world.revision() > seen, "whoever wrote before looks again");
    assert!(matches!(
        world.ask_seen(&ann, write(), Some(world.revision())),
        Ok(rollout_rules::decide::Verdict::AlreadyDone { .. })
    ));
}

#[test]
fn rules_call_only_whom_the_app_has_and_whoever_is_called_stays() {
    let mut world = shop();
    let refused = |world: &World, rules: &[&str]| {
        let refusal = world.ask(&human("ann"), guard(None, None, Some(rules))).expect_err("refused");
        let Refusal::Invalid { field, problem } = refusal else { panic!("{refusal}") };
        (field, problem)
    };
    let (field, problem) = refused(&world, &[WORSE, "latency_p95 > 1s for 1m -> flag off, run nothing"]);
    assert_eq!(field, "guardrails[1].then[1]");
    assert!(problem.contains("no job `nothing`"), "{problem}");
    assert_eq!(refused(&world, &["error_rate > 3% -> notify nobody"]).0, "guardrails[0].then[0]");
    assert_eq!(refused(&world, &["monthly_spend > budget -> notify owner"]).0, "guardrails[0].when");
    assert_eq!(refused(&world, &[WORSE, WORSE]).0, "guardrails[1]");
    let many: Vec<String> = (1..=17).map(|nth| format!("latency_p95 > {nth}ms for 1m -> flag off")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(world.refused(&human("ann"), guard(None, None, Some(&many))), "too_many");

    let seen = Some(world.revision());
    let verdict = world.ask_seen(&human("ann"), guard(Some("f"), None, Some(&[WORSE])), seen).expect("may");
    let rollout_rules::decide::Verdict::Change(draft) = verdict else { panic!("nothing changed") };
    world.append(draft.into_entry(world.anchor()));
    let remove = || runbook(json!({"remove_job": {"job": "rollback"}}));
    assert_eq!(world.refused(&admin(), remove()), "in_use");
    world.done(&human("ann"), command(json!({"do": "archive_flag", "app": "shop", "flag": "f"})));
    world.done(&admin(), remove());
    world.done(&human("ann"), guard(None, None, Some(&["error_rate > 3% -> notify on-call, notify owner"])));
    let remove = runbook(json!({"remove_channel": {"channel": "on-call"}}));
    assert_eq!(world.refused(&admin(), remove), "invalid");
}

#[test]
fn whoever_may_set_a_flag_may_guard_it_and_agents_in_production_only_propose() {
    let world = shop();
    let seen = Some(world.revision());
    let code =
        |caller: Caller, command| world.ask_seen(&caller, command, seen).err().map(|refusal| refusal.code());
    let flags = |environment| guard(Some("f"), environment, Some(&["error_rate > 3% -> flag off"]));
    assert_eq!(code(ci(), flags(None)), None);
    assert_eq!(code(agent(), flags(Some("sandbox"))), None);
    assert_eq!(code(agent(), flags(Some("production"))), Some("agents_only_propose"));
    assert_eq!(code(agent(), flags(None)), Some("agents_only_propose"));
    let id = rollout_rules::ids::ProposalId::new("p").expect("an id");
    let proposed = Command::Propose { id, command: Box::new(flags(None)) };
    assert_eq!(code(agent(), proposed), None);
    let app = || guard(None, None, Some(&[]));
    assert_eq!(world.ask(&ci(), app()).err().map(|refusal| refusal.code()), Some("not_allowed"));
    assert_eq!(world.ask(&human("ann"), app()).err().map(|refusal| refusal.code()), None);
    for caller in [ci(), agent(), timer(), evaluator()] {
        assert_eq!(world.refused(&caller, job("other")), "not_allowed", "{:?}", caller.actor);
    }
    assert_eq!(code(evaluator(), flags(None)), Some("not_allowed"));
}

/// A drill of a rule that is written for the flag.
fn drill(world: &mut World, actions: &[&str]) -> Command {
    let text = format!("error_rate > 3% for 5m -> {}", actions.join(", "));
    let seen = Some(world.revision());
    let verdict = world.ask_seen(&human("ann"), guard(Some("f"), None, Some(&[&text])), seen).expect("may");
    if let rollout_rules::decide::Verdict::Change(draft) = verdict {
        world.append(draft.into_entry(world.anchor()));
    }
    Command::Drill {
        app: app("shop"),
        flag: flag("f"),
        environment: env("production"),
        guardrail: rule(&text),
    }
}

#[test]
fn a_drill_does_for_real_what_a_rule_that_holds_says_and_is_called_one() {
    let mut world = shop();
    let drill = drill(&mut world, &["flag off", "run rollback"]);
    for caller in [ci(), timer(), evaluator()] {
        assert_eq!(world.refused(&caller, drill.clone()), "not_allowed", "{:?}", caller.actor);
    }
    assert_eq!(world.refused(&agent(), drill.clone()), "agents_only_propose");
    let Command::Drill { app, flag, environment, .. } = drill.clone() else { panic!() };
    let other = Command::Drill { app, flag, environment, guardrail: rule("error_rate > 1% -> flag off") };
    assert_eq!(world.refused(&human("ann"), other), "invalid");
    let revision = world.done(&human("ann"), drill.clone());
    assert!(!world.is_on("production"));
    let entry = world.entries.last().expect("an entry");
    assert_eq!(entry.reason, "drill: a test");
    let run = world.snapshot.run(EffectId { request: revision, nth: 0 }).expect("asked for");
    assert_eq!((run.act.cause, &run.actor), (Cause::Drill, &human("ann").actor));
    assert!(world.done(&human("ann"), drill) > revision, "it is held already, and the job is called again");
}

#[test]
fn what_is_not_critical_goes_off_everywhere_at_once_and_what_is_stays() {
    let mut world = shop();
    for (key, critical) in [("g", true), ("h", false), ("off", false)] {
        let make = json!({"do": "create_flag", "app": "shop", "key": key, "critical": critical});
        world.done(&admin(), command(make));
    }
    for key in ["g", "h"] {
        let on = json!({"do": "set_targeting", "app": "shop", "flag": key, "environment": "production", "on": true});
        world.done(&human("ann"), command(on));
    }
    world.done(&evaluator(), out_of_budget());
    let answer = |key: &str| world.answer("production", key, "ann") == Some(json!(true));
    assert_eq!((answer("f"), answer("g"), answer("h")), (false, true, false));
    let held = |key: &str| {
        let view = world.snapshot.flag(&app("shop"), &FlagKey::new(key).expect("a key")).expect("a flag");
        view.record().state(&env("production")).expect("a state").state().hold.is_some()
    };
    assert!(held("f") && held("h") && !held("g") && !held("off"));
}

#[test]
fn an_effect_is_done_by_who_claimed_it_and_what_was_given_up_is_tried_again_under_its_id() {
    let mut world = shop();
    let request =
        world.done(&evaluator(), acting(&world, &["run rollback", "notify on-call"], Cause::Invalid));
    let (id, nth) = (EffectId { request, nth: 1 }, Some(1));
    let node = |name: &str| NodeId::new(name).expect("a name");
    let claim = |by: &str, until| Command::ClaimEffect { request, nth, node: node(by), lease_until: until };
    let finish = |by: &str, succeeded| {
        let (node, outcome) = (node(by), "503".to_owned());
        Command::FinishEffect { request, nth, node, succeeded, outcome }
    };
    let soon = world.now.plus(DurationMs(60_000));
    world.done(&timer(), claim("a", soon));
    assert_eq!(world.refused(&timer(), claim("b", soon)), "effect_claimed");
    assert_eq!(world.refused(&timer(), finish("b", true)), "effect_claimed");
    assert_eq!(world.refused(&human("ann"), finish("a", true)), "not_allowed");
    world.done(&timer(), finish("a", false));
    assert!(!world.snapshot.run(id).expect("kept").is_open());
    assert_eq!(world.snapshot.waiting_run_count(), 1, "the other one still waits");
    assert_eq!(world.refused(&timer(), claim("a", soon)), "not_found");
    let replay =
        |id: EffectId| Command::Runbook { app: app("shop"), change: RunbookCommand::ReplayEffect { id } };
    assert_eq!(world.refused(&ci(), replay(id)), "not_allowed");
    assert_eq!(world.refused(&human("ann"), replay(EffectId { request, nth: 7 })), "not_found");
    let again = world.done(&human("ann"), replay(id));
    assert_eq!(world.snapshot.run(id).expect("kept").state, RunState::Waiting { since: again });
    world.done(&timer(), claim("b", soon));
    world.done(&timer(), finish("b", true));
    assert!(world.done(&human("ann"), replay(id)) > again, "it is done: nothing is left to do");
    assert_eq!(world.snapshot.waiting_run_count(), 1);
}

#[test]
fn of_what_ended_only_the_last_is_kept() {
    let mut world = shop();
    let act = json!({"app": "shop", "cause": "drill", "effects": [{"run": "rollback"}]});
    let read = |json: Value| serde_json::from_value(json).expect("a change");
    let first = world.snapshot.revision().0 + 1;
    for _ in 0..=KEPT_CLOSED_RUNS {
        world.append_change(read(json!({"kind": "guardrail_acted", "act": act})));
        let request = world.snapshot.revision();
        let done = json!({"kind": "effect_done", "request": request, "nth": 0, "succeeded": false});
        world.append_change(read(done));
    }
    assert_eq!(world.snapshot.runs(None).count(), KEPT_CLOSED_RUNS);
    assert!(world.snapshot.run(EffectId { request: Revision(first), nth: 0 }).is_none());
}

#[test]
fn a_mail_address_reaches_into_no_header() {
    for good in ["ann@example.org", "a.b+c@mail.example.co.uk", "root@localhost"] {
        assert!(is_address(good), "{good}");
    }
    let long = format!("{}@example.org", "a".repeat(250));
    let bad = [
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@.org",
        "a b@example.org",
        "ann@example.org\r\nBcc: x@y.z",
        "ann@exa mple.org",
        "<ann@example.org>",
        "ann@example.org,bob@example.org",
        "ann@example..org",
        &long,
    ];
    for bad in bad {
        assert!(!is_address(bad), "{bad:?}");
    }
}

fn actions() -> impl Strategy<Value = Vec<&'static str>> {
    let all = &["flag off", "rollout to 0", "disable non-critical", "revert release", "notify owner"][..];
    proptest::collection::vec(proptest::sample::select(all), 1..4)
}

proptest! {
    #[test]
    fn automation_never_raises_exposure(
        exposure_before in 0_u32..=100,
        on in any::<bool>(),
        steps in proptest::collection::vec((0_u32..=100, 1_u64..48), 0..3),
        actions in actions(),
        later in 0_u64..72,
    ) {
        let mut world = World::shop(0);
        let schedule: Vec<Value> = steps
            .iter()
            .enumerate()
            .map(|(nth, (to, hours))| {
                json!({"id": format!("s{nth}"), "at": world.now.plus(DurationMs(hours * 3_600_000)).0, "exposure": to})
            })
            .collect();
        let patch = json!({"on": on, "exposure": exposure_before, "schedule": schedule});
        world.done(&human("ann"), set("production", patch));
        let before = exposure(&world);
        let act = acting(&world, &actions, Cause::Regressed(Sli::ErrorRate));
        world.done(&evaluator(), act);
        prop_assert!(exposure(&world) <= before);
        if actions.contains(&"flag off") || actions.contains(&"rollout to 0") {
            prop_assert_eq!(exposure(&world), 0.0);
            // Nor do the steps that were planned before.
            world.now = world.now.plus(DurationMs(later * 3_600_000));
            let due: Vec<_> = world.snapshot.due(world.now).cloned().collect();
            for due in due {
                let (app, flag, environment, schedule) = (due.app, due.flag, due.environment, due.schedule);
                let apply = Command::ApplySchedule { app, flag, environment, schedule };
                let _ = world.ask(&timer(), apply.clone()).map(|_| world.done(&timer(), apply));
            }
            prop_assert_eq!(exposure(&world), 0.0);
        }
    }
}
