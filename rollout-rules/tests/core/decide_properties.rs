//! The laws of section 3 over random commands by random callers.

use crate::world;

use proptest::prelude::*;
use rollout_rules::change::{Change, Command, Reach};
use rollout_rules::context::Context;
use rollout_rules::decide::{Refusal, Request, Verdict};
use rollout_rules::evaluate::{Reason, evaluate};
use rollout_rules::flag::{Height, HoldCause};
use rollout_rules::gate::decision::Verdict as Judged;
use rollout_rules::governance::{Caller, GateStanding};
use rollout_rules::ids::{EnvKey, FlagKey, Revision};
use rollout_rules::proposal::Approving;
use rollout_rules::rollout::Finding;
use rollout_rules::snapshot::RolloutPlace;
use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use world::random::{
    APPS, ENVIRONMENTS, FLAGS, USERS, commands, commands_that_revive_nothing, kills, revivals,
};
use world::{World, admin, agent, app, ci, command, env, evaluator, flag, human, timer};

/// What a caller says they saw.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Now,
    Nothing,
    Revision(u64),
}

#[derive(Clone, Debug)]
struct Step {
    who: usize,
    command: Command,
    seen: Seen,
    hours: u64,
}

fn callers() -> Vec<Caller> {
    vec![human("ann"), human("bob"), human("cid"), admin(), ci(), agent(), timer(), evaluator()]
}

fn steps(commands: impl Strategy<Value = Command>, most: usize) -> impl Strategy<Value = Vec<Step>> {
    let seen = prop_oneof![8 => Just(Seen::Now), 1 => Just(Seen::Nothing), 1 => (0_u64..60).prop_map(Seen::Revision)];
    let hours = prop_oneof![4 => Just(0), 1 => 1_u64..100];
    let step = (0..callers().len(), commands, seen, hours);
    let step = step.prop_map(|(who, command, seen, hours)| Step { who, command, seen, hours });
    proptest::collection::vec(step, 0..most)
}

/// A shop whose flags are on and off in various ways.
fn busy_shop() -> World {
    let mut world = World::shop(0).without_approvals();
    world.done(&admin(), command(json!({"do": "create_app", "key": "other", "tier": 1})));
    for key in ["g", "h"] {
        world.done(&admin(), command(json!({"do": "create_flag", "app": "shop", "key": key})));
    }
    for scope in [json!({"app": "shop"}), json!("shared")] {
        world.done(&admin(), command(json!({"do": "put_segment", "scope": scope, "segment": {"key": "s"}})));
    }
    let members = json!({"any": [{"segment": "s"}, {"segment": "shared:s"}]});
    let rules = json!([{"id": "r", "when": members, "serve": {"variant": "on"}}]);
    for (key, environment, patch) in [
        // Off in production: there is something to turn on.
        ("f", "sandbox", json!({"on": true})),
        ("g", "production", json!({"on": true, "exposure": 50})),
        ("h", "production", json!({"on": true, "exposure": 0, "rules": rules})),
        ("h", "sandbox", json!({"on": true})),
    ] {
        let mut set = json!({"do": "set_targeting", "app": "shop", "flag": key, "environment": environment});
        set.as_object_mut().expect("an object").extend(patch.as_object().expect("an object").clone());
        world.done(&human("ann"), command(set));
    }
    world
}

/// Fills in the hash of the proposal, as a client that was shown it does.
fn with_hash(world: &World, command: &Command) -> Command {
    let mut command = command.clone();
    if let Command::ApproveProposal(Approving { id, hash, .. }) | Command::ApplyProposal { id, hash } =
        &mut command
        && let Some(proposal) = world.snapshot.proposal(id)
    {
        *hash = proposal.hash;
    }
    command
}

fn request(world: &World, step: &Step, who: &Caller) -> Request {
    let command = with_hash(world, &step.command);
    let seen = match step.seen {
        Seen::Now => world.revision_of(&command),
        Seen::Nothing => None,
        Seen::Revision(revision) => Some(Revision(revision)),
    };
    Request { reason: "a test".into(), ..world.request(who, command, seen) }
}

/// Runs a step as somebody; says what it changed.
fn run(world: &mut World, step: &Step, who: &Caller) -> Option<Change> {
    world.now = world.now.plus(DurationMs(step.hours * 3_600_000));
    match world.decide(&request(world, step, who)) {
        Ok(Verdict::Change(draft)) => {
            let change = draft.change().clone();
            world.append(draft.into_entry(world.anchor()));
            Some(change)
        }
        Ok(Verdict::AlreadyDone { .. }) | Err(_) => None,
    }
}

/// The timer applies what is due.
fn run_timer(world: &mut World) {
    let due: Vec<_> = world.snapshot.due(world.now).cloned().collect();
    for due in due {
        let command = Command::ApplySchedule {
            app: due.app,
            flag: due.flag,
            environment: due.environment,
            schedule: due.schedule,
        };
        run(world, &Step { who: 0, command, seen: Seen::Nothing, hours: 0 }, &timer());
    }
    let due: Vec<_> = world.snapshot.rollouts_due(world.now).cloned().collect();
    for place in due {
        let RolloutPlace { app, flag, environment } = place;
        let rollout =
            world.snapshot.flag(&app, &flag).and_then(|view| view.record().rollout(&environment).cloned());
        let rollout = rollout.expect("it is due");
        let (started_at, stage, finding) = (rollout.started_at, rollout.stage, Finding::NotEnoughData);
        let command = Command::StepRollout { app, flag, environment, started_at, stage, finding };
        run(world, &Step { who: 0, command, seen: Seen::Nothing, hours: 0 }, &timer());
    }
}

/// Everything but the position: what a change must have touched.
fn content(world: &World) -> Value {
    let stored = world.snapshot.to_checkpoint().encode();
    let mut stored: Value = serde_json::from_slice(&stored).expect("json");
    let all = stored.as_object_mut().expect("an object");
    all.remove("revision");
    all.remove("hash");
    stored
}

/// What each user is served in production, beyond off variants.
fn served_in_production(world: &World) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let mut served = Vec::new();
    for name in APPS {
        let Some(set) = world.snapshot.flag_set(&app(name), &env("production")) else { continue };
        for (key, user) in FLAGS.iter().flat_map(|key| USERS.iter().map(move |user| (*key, *user))) {
            let Some(answer) = evaluate(&set, key, &Context::new(user), world.now) else { continue };
            let off = &answer.definition().flag().off_variant;
            if answer.variant() != off {
                served.push((name, key, user, answer.value().clone()));
            }
        }
    }
    served
}

fn off_values(world: &World) -> Vec<Option<Value>> {
    let off = |key: &FlagKey| {
        let view = world.snapshot.flag(&app("shop"), key)?;
        let flag = view.record().flag();
        flag.variants.iter().find(|variant| variant.key == flag.off_variant).map(|it| it.value.clone())
    };
    FLAGS.map(|key| off(&flag(key))).into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decided_applies_and_has_an_effect(steps in steps(commands(), 40)) {
        let mut world = busy_shop();
        for step in steps {
            let before = content(&world);
            let who = callers()[step.who].clone();
            if let Some(change) = run(&mut world, &step, &who) {
                prop_assert!(content(&world) != before, "nothing came of {change:?}");
            }
        }
    }

    #[test]
    fn what_is_stale_never_passes(steps in steps(commands(), 40)) {
        let mut world = busy_shop();
        for step in steps {
            let who = callers()[step.who].clone();
            let request = request(&world, &step, &who);
            let current = world.revision_of(&request.command);
            if let (Some(seen), Some(current)) = (request.seen, current)
                && seen != current
            {
                let verdict = world.decide(&request);
                prop_assert!(verdict.is_err(), "{:?} saw {seen}, and it is at {current}", request.command);
            }
            run(&mut world, &step, &who);
        }
    }

    #[test]
    fn agents_alone_never_raise_in_production(steps in steps(commands(), 40), gap in 0_u64..2_000) {
        let mut world = busy_shop();
        let off = off_values(&world);
        for step in steps {
            world.now = world.now.plus(DurationMs(step.hours * 3_600_000));
            let before = served_in_production(&world);
            run(&mut world, &Step { hours: 0, ..step.clone() }, &agent());
            run_timer(&mut world);
            let after = served_in_production(&world);
            prop_assert!(after.iter().all(|one| before.contains(one)), "{:?} raised {before:?} to {after:?}", step.command);
            // What agents wrote raises nothing later either.
            let now = world.now;
            world.now = now.plus(DurationMs(gap * 3_600_000));
            let later = served_in_production(&world);
            prop_assert!(later.iter().all(|one| after.contains(one)), "{:?} raises later", step.command);
            world.now = now;
            prop_assert_eq!(off_values(&world), off.clone(), "what is off stays the same");
        }
    }

    #[test]
    fn nothing_is_raised_in_production_while_the_gate_does_not_stand(
        steps in steps(commands(), 40),
        verdict in proptest::sample::select(&[Judged::Pass, Judged::Warn, Judged::Deny][..]),
    ) {
        let mut world = busy_shop();
        world.judged(verdict, world.now.plus(DurationMs::days(7)));
        for step in steps {
            world.now = world.now.plus(DurationMs(step.hours * 3_600_000));
            let before = served_in_production(&world);
            let barred = |name: &str| {
                let standing = world.snapshot.gate_standing(&app(name), &env("production"), world.now);
                matches!(standing, GateStanding::Missing(_))
            };
            let barred: Vec<&str> = APPS.into_iter().filter(|name| barred(name)).collect();
            run(&mut world, &Step { hours: 0, ..step.clone() }, &callers()[step.who].clone());
            for one in served_in_production(&world) {
                prop_assert!(before.contains(&one) || !barred.contains(&one.0), "{:?} raised {one:?}", step.command);
            }
        }
    }

    #[test]
    fn a_kill_holds_whatever_is_done_but_to_take_it_back(
        before in steps(commands(), 15),
        kill in kills(),
        after in steps(commands_that_revive_nothing(), 25),
    ) {
        let mut world = busy_shop();
        for step in before {
            run(&mut world, &step, &callers()[step.who].clone());
        }
        let Command::Kill { reach, environment, .. } = kill.clone() else { unreachable!("kills are kills") };
        let kill = Step { who: 0, command: kill, seen: Seen::Nothing, hours: 0 };
        if run(&mut world, &kill, &human("ann")).is_none() {
            return Ok(());
        }
        for step in after {
            run(&mut world, &step, &callers()[step.who].clone());
            run_timer(&mut world);
            for (name, place, key) in all_flags() {
                let reached = match &reach {
                    Reach::Everything => true,
                    Reach::App { app } => app.as_str() == name,
                    Reach::Flag { app, flag } => app.as_str() == name && *flag == key,
                };
                if !reached || environment.as_ref().is_some_and(|one| *one != place) {
                    continue;
                }
                let Some(set) = world.snapshot.flag_set(&app(name), &place) else { continue };
                let Some(answer) = evaluate(&set, key.as_str(), &Context::new("u0"), world.now) else { continue };
                prop_assert!(matches!(answer.reason, Reason::Killed(_)), "{key} in {place} answers {:?}", answer.reason);
                prop_assert_eq!(answer.variant(), &answer.definition().flag().off_variant);
            }
        }
    }

    #[test]
    fn what_is_revived_is_off_until_somebody_turns_it_on(
        before in steps(prop_oneof![commands(), kills()], 20),
        revival in revivals(),
        hours in 0_u64..500,
    ) {
        let mut world = busy_shop();
        for step in before {
            run(&mut world, &step, &callers()[step.who].clone());
        }
        let revival = Step { who: 3, command: revival, seen: Seen::Now, hours: 0 };
        let Some(Change::Revived { reach, environment }) = run(&mut world, &revival, &admin()) else { return Ok(()) };
        world.now = world.now.plus(DurationMs(hours * 3_600_000));
        run_timer(&mut world);
        for (name, place, key) in all_flags() {
            let reached = match &reach {
                Reach::Everything => true,
                Reach::App { app } => app.as_str() == name,
                Reach::Flag { app, flag } => app.as_str() == name && *flag == key,
            };
            if !reached || environment.as_ref().is_some_and(|one| *one != place) {
                continue;
            }
            let Some(set) = world.snapshot.flag_set(&app(name), &place) else { continue };
            let Some(answer) = evaluate(&set, key.as_str(), &Context::new("u0"), world.now) else { continue };
            prop_assert_eq!(answer.variant(), &answer.definition().flag().off_variant);
        }
    }

    #[test]
    fn answers_follow_the_order_of_law_8(steps in steps(prop_oneof![3 => commands(), 1 => kills()], 40)) {
        let mut world = busy_shop();
        for step in steps {
            run(&mut world, &step, &callers()[step.who].clone());
            for (name, place, key) in all_flags() {
                let Some(set) = world.snapshot.flag_set(&app(name), &place) else { continue };
                let answer = evaluate(&set, key.as_str(), &Context::new("u0"), world.now);
                let expected = stopped_by(&world, name, &place, &key);
                match (answer, expected) {
                    (None, None) => {}
                    (Some(answer), Some(Some(expected))) => prop_assert_eq!(answer.reason, expected),
                    (Some(answer), Some(None)) => prop_assert!(!is_stop(answer.reason), "{:?}", answer.reason),
                    (answer, expected) => prop_assert!(false, "{answer:?} {expected:?}"),
                }
            }
        }
    }
}

fn all_flags() -> impl Iterator<Item = (&'static str, EnvKey, FlagKey)> {
    let places = APPS.into_iter().flat_map(|name| ENVIRONMENTS.map(|place| (name, place)));
    places.flat_map(|(name, place)| FLAGS.map(|key| (name, env(place), flag(key))))
}

fn is_stop(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Killed(_) | Reason::Held(_) | Reason::Expired | Reason::EnvironmentEnded | Reason::Off
    )
}

/// Law 8 down to "off", told from what the snapshot holds. `None` without such a flag.
#[allow(clippy::option_option, reason = "no flag, a flag that nothing stops, a flag that something stops")]
fn stopped_by(world: &World, name: &str, place: &EnvKey, key: &FlagKey) -> Option<Option<Reason>> {
    let view = world.snapshot.flag(&app(name), key).filter(|view| !view.record().is_archived())?;
    let state = view.record().state(place)?.state();
    let killed = |kills: &rollout_rules::flag::Kills| kills.in_environment(place).is_some();
    let hold = state.hold.as_ref().map(|hold| hold.cause);
    let ends_at = view.app().environment(place)?.environment().ends_at;
    let in_order = [
        (killed(world.snapshot.kills()), Reason::Killed(Height::Everything)),
        (killed(view.app().kills()), Reason::Killed(Height::App)),
        (killed(view.record().kills()), Reason::Killed(Height::Flag)),
        (hold == Some(HoldCause::Guardrail), Reason::Held(HoldCause::Guardrail)),
        (hold == Some(HoldCause::Budget), Reason::Held(HoldCause::Budget)),
        (state.expires_at <= world.now, Reason::Expired),
        (ends_at.is_some_and(|at| at <= world.now), Reason::EnvironmentEnded),
        (hold == Some(HoldCause::Gate), Reason::Held(HoldCause::Gate)),
        (!view.targeting(place, world.now)?.on, Reason::Off),
    ];
    Some(in_order.into_iter().find_map(|(holds, reason)| holds.then_some(reason)))
}

#[test]
fn the_random_steps_do_what_they_are_for() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kinds = std::collections::BTreeSet::new();
    let mut refusals = std::collections::BTreeSet::new();
    for _ in 0..400 {
        let steps = steps(commands(), 40).new_tree(&mut runner).expect("steps").current();
        let mut world = busy_shop();
        for step in steps {
            let who = callers()[step.who].clone();
            if let Err(refusal) = world.decide(&request(&world, &step, &who)) {
                let refusal: Refusal = refusal;
                refusals.insert(refusal.code());
            }
            if let Some(change) = run(&mut world, &step, &who) {
                kinds.insert(change.kind().as_str());
            }
        }
    }
    assert!(kinds.len() >= 19, "most kinds of changes come up: {kinds:?}");
    assert!(refusals.len() >= 15, "most refusals come up: {refusals:?}");
}
