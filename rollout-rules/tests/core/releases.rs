//! Releases of an app: which artifact runs, which one to go back to, and what guardrails have reverted.

use crate::world;

use rollout_rules::change::{Change, Command};
use rollout_rules::decide::{Refusal, Verdict};
use rollout_rules::ids::Revision;
use rollout_rules::release::{ArtifactDigest, Deployed, KEPT_RELEASES, MAX_VERSION_BYTES, Release, Releases};
use rollout_rules::runbook::{Acting, Cause};
use rollout_rules::sli::guardrail::{Action, Guardrail, Sli};
use rollout_rules::snapshot::Snapshot;
use serde_json::json;
use world::{World, admin, agent, app, ci, command, env, evaluator, flag, human, set, timer};

fn artifact(nth: u8) -> ArtifactDigest {
    format!("sha256:{nth:064x}").parse().expect("a digest")
}

fn deployed(environment: &str, nth: u8, version: Option<&str>) -> Command {
    Command::ReportRelease(Deployed {
        app: app("shop"),
        environment: env(environment),
        artifact: artifact(nth),
        version: version.map(ToOwned::to_owned),
    })
}

fn shop() -> World {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("production", json!({"on": true})));
    world
}

fn deploy(world: &mut World, nth: u8) -> Revision {
    world.done(&ci(), deployed("production", nth, None))
}

fn releases(world: &World) -> &Releases {
    world.snapshot.releases(&app("shop"), &env("production")).expect("an environment")
}

/// The current release and the one to go back to, by number.
fn standing(world: &World) -> (Option<u8>, Option<u8>) {
    let number = |found: ArtifactDigest| (0..=u8::MAX).find(|nth| artifact(*nth) == found);
    let releases = releases(world);
    let of = |release: Option<&Release>| release.and_then(|it| number(it.artifact));
    (of(releases.current()), of(releases.previous_good()))
}

/// What the evaluator asks for where a rule of the app holds, measured while an artifact ran.
fn acting(nth: Option<u8>, then: &str, cause: Cause) -> Command {
    let guardrail: Guardrail = format!("error_rate > 3% for 5m -> {then}").parse().expect("a rule");
    let acting = Acting {
        app: app("shop"),
        flag: None,
        environment: Some(env("production")),
        actions: guardrail.then().to_vec(),
        guardrail: Some(guardrail),
        variant: None,
        cause,
        measured: None,
        artifact: nth.map(artifact),
        evidence: None,
        found: None,
    };
    Command::Act { acting: Box::new(acting) }
}

const BAD: Cause = Cause::Regressed(Sli::ErrorRate);
const SLOW: Cause = Cause::Regressed(Sli::LatencyP95);

/// What the last entry had done outside.
fn effects(world: &World) -> Vec<Action> {
    match &world.entries.last().expect("an entry").change {
        Change::GuardrailActed { act } => act.effects.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_digest_is_sha256_and_64_digits_in_lower_case_and_nothing_else() {
    let digits = "0f".repeat(32);
    let whole = format!("sha256:{digits}");
    assert_eq!(whole.parse::<ArtifactDigest>().expect("a digest").to_string(), whole);
    let stored = serde_json::to_string(&artifact(7)).expect("JSON");
    assert_eq!(serde_json::from_str::<ArtifactDigest>(&stored).expect("a digest"), artifact(7));
    for wrong in [
        String::new(),
        digits.clone(),
        format!("sha512:{digits}"),
        format!("SHA256:{digits}"),
        format!("sha256:{}", digits.to_uppercase()),
        format!("sha256:{}", &digits[1..]),
        format!("sha256:{digits}0"),
        format!("sha256: {}", &digits[1..]),
        format!("sha256:+{}", &digits[1..]),
        format!("sha256:{}é", &digits[2..]),
        "shop:1.4.2".to_owned(),
    ] {
        let error = wrong.parse::<ArtifactDigest>().expect_err("it is none");
        assert!(
            error.to_string().contains("use `sha256:` and 64 hexadecimal digits in lower case"),
            "{error}"
        );
    }
}

#[test]
fn the_last_that_was_told_is_current_and_the_same_again_is_nothing_new() {
    let mut world = shop();
    assert_eq!(standing(&world), (None, None));
    let before = (world.snapshot.feed_revision(&app("shop"), &env("production")), world.revision());
    let first = world.done(&ci(), deployed("production", 1, Some("1.0")));
    assert_eq!(standing(&world), (Some(1), None));
    let again = world.ask(&ci(), deployed("production", 1, Some("another name")));
    assert!(matches!(again, Ok(Verdict::AlreadyDone { revision }) if revision == first));
    let second = deploy(&mut world, 2);
    assert_eq!(standing(&world), (Some(2), Some(1)));
    assert_eq!(releases(&world).get(&artifact(1)).and_then(|it| it.version.as_deref()), Some("1.0"));
    // One that is deployed again keeps its name, and is the newest.
    deploy(&mut world, 1);
    assert_eq!(standing(&world), (Some(1), Some(2)));
    assert_eq!(releases(&world).current().and_then(|it| it.version.as_deref()), Some("1.0"));
    assert_eq!(releases(&world).newest_first().len(), 2);
    // Nothing is served otherwise, and nobody's copy of the app or its flags is out of date.
    assert_eq!(world.snapshot.feed_revision(&app("shop"), &env("production")), before.0);
    assert!(world.snapshot.app(&app("shop")).expect("the app").revision() <= before.1);
    // Who says what they saw is refused if it changed.
    let stale = world.ask_seen(&ci(), deployed("production", 3, None), Some(second));
    assert!(matches!(stale, Err(Refusal::Stale { .. })), "{stale:?}");
    assert_eq!(world.snapshot.releases(&app("shop"), &env("sandbox")).map(Releases::is_empty), Some(true));
}

#[test]
fn people_and_pipelines_tell_of_deployments_and_agents_only_outside_production() {
    let mut world = shop();
    let mut viewer = human("ben");
    viewer.scope = rollout_rules::governance::Scope::Viewer;
    let mut sdk = ci();
    sdk.scope = rollout_rules::governance::Scope::SdkServer;
    let mut elsewhere = ci();
    elsewhere.app = Some(app("other"));
    let mut bound = ci();
    bound.environment = Some(env("sandbox"));
    for caller in [viewer, sdk, elsewhere, bound.clone(), agent(), timer(), evaluator()] {
        let refused = world.refused(&caller, deployed("production", 1, None));
        assert_eq!(refused, "not_allowed", "{caller:?}");
    }
    for (nth, caller) in (1..).zip([human("ann"), admin(), ci()]) {
        world.done(&caller, deployed("production", nth, None));
    }
    world.done(&agent(), deployed("sandbox", 1, None));
    world.done(&bound, deployed("sandbox", 2, None));
    let propose = json!({"do": "propose", "id": "p", "command":
        serde_json::to_value(deployed("production", 9, None)).expect("JSON")});
    assert_eq!(world.refused(&agent(), command(propose)), "not_proposable");
}

#[test]
fn what_cannot_be_told_is_refused_with_what_would_be_right() {
    let mut world = shop();
    let long = "v".repeat(MAX_VERSION_BYTES + 1);
    for version in ["", "  ", "1.4\n2", "1.4\u{7f}", &long] {
        assert_eq!(world.refused(&ci(), deployed("production", 1, Some(version))), "invalid", "{version:?}");
    }
    world.done(&ci(), deployed("production", 1, Some(&long[1..])));
    assert_eq!(world.refused(&ci(), deployed("nowhere", 1, None)), "not_found");
    let preview = json!({"do": "create_environment", "app": "shop", "key": "pr-7", "kind": "preview"});
    world.done(&ci(), command(preview));
    world.done(&agent(), deployed("pr-7", 4, None));
    world.wait_days(30);
    assert_eq!(world.refused(&ci(), deployed("pr-7", 5, None)), "environment_ended");
}

#[test]
fn the_oldest_go_but_never_the_current_nor_the_one_to_go_back_to() {
    let mut world = shop();
    deploy(&mut world, 200);
    deploy(&mut world, 201);
    // All that follow are bad.
    for nth in 0..20 {
        deploy(&mut world, nth);
        world.done(&evaluator(), acting(Some(nth), "revert release", BAD));
        world.wait_days(1);
        assert_eq!(
            standing(&world),
            (Some(nth), Some(201)),
            "what a guardrail acted on is nothing to go back to"
        );
        assert!(releases(&world).newest_first().len() <= KEPT_RELEASES);
    }
    let kept: Vec<ArtifactDigest> = releases(&world).newest_first().map(|it| it.artifact).collect();
    let expected: Vec<ArtifactDigest> = (5..20).rev().chain([201]).map(artifact).collect();
    assert_eq!(kept, expected);
    deploy(&mut world, 100);
    assert_eq!(standing(&world), (Some(100), Some(201)));
    // Bad once is bad: it is nothing to go back to after it was tried again.
    deploy(&mut world, 19);
    deploy(&mut world, 101);
    assert_eq!(standing(&world), (Some(101), Some(100)));
    let stored = Snapshot::from_checkpoint(world.snapshot.to_checkpoint());
    assert_eq!(stored.to_checkpoint().encode(), world.snapshot.to_checkpoint().encode());
    assert_eq!(stored.releases(&app("shop"), &env("production")), Some(releases(&world)));
}

#[test]
fn an_act_names_what_runs_and_what_to_go_back_to_as_of_then() {
    let mut world = shop();
    world.done(&evaluator(), acting(None, "revert release", SLOW));
    let named = |world: &World| match &world.entries.last().expect("an entry").change {
        Change::GuardrailActed { act } => act.release.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(named(&world), None, "nobody told");
    world.done(&ci(), deployed("production", 1, Some("1.0")));
    world.done(&ci(), deployed("production", 2, Some("1.1")));
    let act = world.done(&evaluator(), acting(Some(2), "revert release, notify owner", BAD));
    let release = named(&world).expect("a release");
    assert_eq!((release.current.artifact, release.current.version.as_deref()), (artifact(2), Some("1.1")));
    assert_eq!(release.back_to.as_ref().map(|it| it.artifact), Some(artifact(1)));
    assert_eq!(releases(&world).current().and_then(|it| it.acted_on), Some(act));
    // What is told does not change with what comes.
    deploy(&mut world, 3);
    let run = world.snapshot.runs(None).last().expect("a run").1;
    assert_eq!(run.act.release, Some(release));
    // A rule that reverts nothing names nothing, and marks nothing.
    world.done(&evaluator(), acting(Some(3), "notify owner", BAD));
    assert_eq!((named(&world), releases(&world).current().and_then(|it| it.acted_on)), (None, None));
}

#[test]
fn a_rule_of_an_app_reverts_a_release_once_and_the_next_release_again() {
    let mut world = shop();
    deploy(&mut world, 1);
    deploy(&mut world, 2);
    let then = "revert release, notify owner";
    let first = world.done(&evaluator(), acting(Some(2), then, BAD));
    assert_eq!(effects(&world).len(), 2);
    assert_eq!(
        world.done(&evaluator(), acting(Some(2), then, BAD)),
        first,
        "within a day it is done already"
    );
    // On a later day people are told, and it is not reverted a second time.
    world.wait_days(2);
    world.done(&evaluator(), acting(Some(2), then, BAD));
    assert_eq!(effects(&world), [Action::Notify("owner".parse().expect("a name"))]);
    let alone = world.done(&evaluator(), acting(Some(2), "revert release", BAD));
    world.wait_days(2);
    let count = world.entries.len();
    world.done(&evaluator(), acting(Some(2), "revert release", BAD));
    assert_eq!((world.entries.len(), alone.0 > first.0), (count, true), "nothing is left to do");
    // Another cause is another matter, and so is another release on the same day.
    world.done(&evaluator(), acting(Some(2), then, SLOW));
    assert!(effects(&world).contains(&Action::RevertRelease));
    deploy(&mut world, 3);
    world.done(&evaluator(), acting(Some(3), then, SLOW));
    assert!(effects(&world).contains(&Action::RevertRelease));
    assert_eq!(standing(&world), (Some(3), Some(1)));
}

#[test]
fn what_was_measured_of_one_release_reverts_no_other() {
    let mut world = shop();
    assert_eq!(
        world.refused(&evaluator(), acting(Some(1), "revert release", BAD)),
        "stale",
        "nobody told of it"
    );
    deploy(&mut world, 1);
    assert_eq!(world.refused(&evaluator(), acting(None, "revert release", BAD)), "stale");
    deploy(&mut world, 2);
    let refused = world.ask(&evaluator(), acting(Some(1), "revert release", BAD));
    let Err(Refusal::Stale { seen, current, .. }) = refused else { panic!("{refused:?}") };
    assert!(Revision::ZERO < seen && seen < current, "{seen} {current}");
    // To tell somebody harms no release.
    world.done(&evaluator(), acting(Some(1), "notify owner", BAD));
    world.done(&evaluator(), acting(Some(2), "revert release", SLOW));
}

#[test]
fn a_rule_of_a_flag_that_reverts_marks_the_release_and_a_drill_does_not() {
    let mut world = shop();
    deploy(&mut world, 1);
    deploy(&mut world, 2);
    let rule: Guardrail = "error_rate > 3% -> flag off, revert release".parse().expect("a rule");
    let job = json!({"do": "runbook", "app": "shop", "change": {"create_job": {"job": {
        "name": "revert-release", "url": "https://ci.example.org/run", "payload": "plain",
        "secrets": ["whsec_c2VjcmV0"], "created_at": 0}}}});
    world.done(&admin(), command(job));
    let set = json!({"do": "set_guardrails", "app": "shop", "flag": "f", "guardrails": [rule]});
    world.done(&human("ann"), command(set));
    let drill =
        json!({"do": "drill", "app": "shop", "flag": "f", "environment": "production", "guardrail": rule});
    world.done(&human("ann"), command(drill));
    let Change::GuardrailActed { act } = &world.entries.last().expect("an entry").change else { panic!() };
    assert_eq!(act.release.as_ref().map(|it| it.current.artifact), Some(artifact(2)), "a drill is told all");
    assert_eq!(releases(&world).current().and_then(|it| it.acted_on), None, "and holds nothing against it");
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let measured = view.record().state(&env("production")).expect("a state").revision();
    let Command::Act { acting } = acting(Some(2), "flag off, revert release", BAD) else { panic!() };
    let acting = Acting { flag: Some(flag("f")), measured: Some(measured), ..*acting };
    let act = world.done(&evaluator(), Command::Act { acting: Box::new(acting) });
    assert_eq!(releases(&world).current().and_then(|it| it.acted_on), Some(act));
}

/// What the evaluator asks for where a rule of a flag holds, measured as it is while an artifact ran.
fn of_flag(world: &World, nth: u8, then: &str) -> Command {
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let measured = view.record().state(&env("production")).expect("a state").revision();
    let Command::Act { acting } = acting(Some(nth), then, BAD) else { panic!() };
    let acting =
        Acting { flag: Some(flag("f")), measured: Some(measured), found: Some(world.now), ..*acting };
    Command::Act { acting: Box::new(acting) }
}

#[test]
fn what_a_flag_did_on_one_release_reverts_no_other_and_turns_the_flag_off_all_the_same() {
    let mut world = shop();
    deploy(&mut world, 1);
    deploy(&mut world, 2);
    let alone = of_flag(&world, 1, "revert release");
    assert_eq!(world.refused(&evaluator(), alone), "stale");
    let both = of_flag(&world, 1, "flag off, revert release, notify owner");
    world.done(&evaluator(), both);
    assert_eq!(effects(&world), [Action::Notify("owner".parse().expect("a name"))]);
    let Change::GuardrailActed { act } = &world.entries.last().expect("an entry").change else { panic!() };
    assert_eq!((act.lowered.len(), &act.release), (1, &None));
    assert_eq!(releases(&world).current().and_then(|it| it.acted_on), None);
}

#[test]
fn a_rule_of_a_flag_that_lowers_nothing_acts_again_on_another_release() {
    let mut world = shop();
    deploy(&mut world, 1);
    let first = of_flag(&world, 1, "revert release");
    let act = world.done(&evaluator(), first.clone());
    world.wait_days(1);
    deploy(&mut world, 2);
    assert_eq!(world.done(&evaluator(), first), act, "what was found before is done already");
    let next = of_flag(&world, 2, "revert release");
    assert!(world.done(&evaluator(), next.clone()) > act);
    assert_eq!(effects(&world), [Action::RevertRelease]);
    let count = world.entries.len();
    world.done(&evaluator(), next);
    assert_eq!(world.entries.len(), count, "once for a release");
}

#[test]
fn what_was_done_for_a_whole_app_is_not_done_twice_because_something_was_deployed_since() {
    let mut world = shop();
    deploy(&mut world, 1);
    let first = world.done(&evaluator(), acting(Some(1), "notify owner", BAD));
    deploy(&mut world, 2);
    assert_eq!(world.done(&evaluator(), acting(Some(1), "notify owner", BAD)), first);
    assert!(world.done(&evaluator(), acting(Some(2), "notify owner", BAD)) > first);
}

#[test]
fn with_an_environment_go_its_releases() {
    let mut world = shop();
    world.done(&ci(), deployed("sandbox", 1, None));
    let remove = json!({"do": "remove_environment", "app": "shop", "environment": "sandbox"});
    world.done(&admin(), command(remove));
    let make = json!({"do": "create_environment", "app": "shop", "key": "sandbox", "kind": "sandbox"});
    world.done(&admin(), command(make));
    assert_eq!(world.snapshot.releases(&app("shop"), &env("sandbox")).map(Releases::is_empty), Some(true));
}
