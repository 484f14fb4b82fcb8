//! Whatever happens around a rollout, automation raises nothing but its next stage, in its time.

use crate::world;

use proptest::prelude::*;
use rollout_rules::decide::Verdict;
use rollout_rules::governance::{Actor, Caller};
use rollout_rules::rollout::{RolloutStatus, WaitsFor};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::json;
use world::rolling::{act, exposure, guardrail, no_data, start, step};
use world::{World, app, command, env, evaluator, flag, human, kill, revive, set, the_flag, timer};

/// What happens in a random history.
#[derive(Clone, Debug)]
enum Happens {
    /// The clock moves, also back.
    Clock(i64),
    /// The timer or the evaluator looks, at a stage that stands or does not.
    Looks { evaluator: bool, ahead: i8, finding: u8 },
    /// A person does something.
    Does(&'static str),
    /// A person sets an exposure.
    Sets(u32),
    /// A kill of the flag, or its end.
    Kill(bool),
    /// A person schedules a raise, so many seconds from now.
    Schedules(u32),
    /// The timer applies what was scheduled.
    Applies,
    /// The evaluator holds the flag at its off variant.
    Holds,
    /// A guardrail acts: it holds the flag, takes its exposure, or holds all of the app that is not critical.
    Acts(u8),
    /// A person gives the flag a longer life.
    Extends,
    /// The environment goes, and another of its key comes.
    Recreates,
}

fn happenings() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (-20_000_i64..100_000).prop_map(Happens::Clock),
        1 => (0_i64..10_000_000).prop_map(Happens::Clock),
        6 => (any::<bool>(), -1_i8..=1, 0_u8..6)
            .prop_map(|(evaluator, ahead, finding)| Happens::Looks { evaluator, ahead, finding }),
        2 => prop_oneof![Just("pause"), Just("resume"), Just("advance"), Just("start"), Just("abort")]
            .prop_map(Happens::Does),
        1 => (1_u32..100).prop_map(Happens::Sets),
        1 => any::<bool>().prop_map(Happens::Kill),
        1 => (1_u32..200).prop_map(Happens::Schedules),
        2 => Just(Happens::Applies),
        1 => (0_u8..3).prop_map(Happens::Acts),
        1 => prop_oneof![3 => Just(Happens::Holds), 3 => Just(Happens::Extends), 1 => Just(Happens::Recreates)],
        1 => (0_i64..15 * 86_400_000).prop_map(Happens::Clock),
    ]
}

const RANDOM_PLAN: &str = "1%/10s,5%/30s,approve,25%/1m,50%/20s,98%/10s";

fn happen(world: &mut World, happens: &Happens) -> Option<Caller> {
    let there = |verb: &str| json!({"do": verb, "app": "shop", "flag": "f", "environment": "production"});
    let (caller, asked) = match happens {
        Happens::Schedules(seconds) => {
            let at = world.now.plus(DurationMs(u64::from(*seconds) * 1_000));
            let schedule = json!([{"id": "s", "at": at.0, "on": true, "exposure": 100}]);
            (human("ann"), set("production", json!({"schedule": schedule})))
        }
        Happens::Applies => {
            let mut apply = there("apply_schedule");
            apply["schedule"] = json!("s");
            (timer(), command(apply))
        }
        Happens::Holds => {
            let mut hold = there("hold");
            hold["cause"] = json!("guardrail");
            (evaluator(), command(hold))
        }
        Happens::Acts(what) => {
            let (of_flag, action) =
                [(true, "flag off"), (true, "rollout to 0"), (false, "disable non-critical")]
                    [usize::from(*what)];
            (evaluator(), guardrail(world, of_flag, action))
        }
        Happens::Extends => (human("ann"), command(there("extend_flag"))),
        Happens::Recreates => {
            let gone = json!({"do": "remove_environment", "app": "shop", "environment": "production"});
            world.done(&human("ann"), command(gone));
            let made = json!({"do": "create_environment", "app": "shop", "key": "production",
                "kind": "production"});
            world.done(&human("ann"), command(made));
            return Some(human("ann"));
        }
        Happens::Clock(ms) => {
            world.now = UnixMs(world.now.0.saturating_add_signed(*ms));
            return None;
        }
        Happens::Looks { evaluator: by_evaluator, ahead, finding } => {
            let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
            let stage = view.record().rollout(&env("production")).map_or(0, |rollout| rollout.stage);
            let finding = match finding {
                0 => json!({"finding": "held", "reason": "suspect"}),
                1 | 2 => json!({"finding": "shown_good"}),
                _ => no_data(),
            };
            let caller = if *by_evaluator { evaluator() } else { timer() };
            (caller, step(world, "production", stage.saturating_add_signed(*ahead), finding))
        }
        Happens::Does("start") => (human("ann"), start("production", RANDOM_PLAN)),
        // Not by who started it, so that approvals come.
        Happens::Does("advance") => (human("bob"), act("advance", "production")),
        Happens::Does(verb) => (human("ann"), act(verb, "production")),
        Happens::Sets(exposure) => {
            (human("ann"), set("production", json!({"on": true, "exposure": exposure})))
        }
        Happens::Kill(true) => (human("ann"), kill(&format!("k{}", world.entries.len()), the_flag(), None)),
        Happens::Kill(false) => (human("ann"), revive(the_flag(), None)),
    };
    if let Ok(Verdict::Change(draft)) = world.ask(&caller, asked) {
        world.append(draft.into_entry(world.anchor()));
        return Some(caller);
    }
    None
}

proptest! {
    #[test]
    fn automation_raises_to_the_next_stage_alone_whatever_the_clock_does(
        tier in 0_u8..3,
        history in proptest::collection::vec(happenings(), 1..60),
    ) {
        let mut world = World::shop(tier).without_approvals();
        world.done(&human("ann"), start("production", RANDOM_PLAN));
        let served = |world: &World| {
            let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("there");
            let state = view.record().state(&env("production")).expect("a state").state();
            let off = view.killed(&env("production")).is_some()
                || state.hold.is_some()
                || state.expires_at <= world.now;
            if off { 0 } else { exposure(world, "production") }
        };
        let last = |world: &World| {
            let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("there");
            view.rollout(&env("production"), world.now)
        };
        // Whether a raise is scheduled that no kill and no rollout came after.
        let mut raise_stands = false;
        for happens in &history {
            let (was, before) = (served(&world), last(&world));
            let Some(caller) = happen(&mut world, happens) else { continue };
            let (is, after) = (served(&world), last(&world));
            if matches!(caller.actor, Actor::Human { .. }) {
                raise_stands = match happens {
                    Happens::Schedules(_) => true,
                    Happens::Kill(true) | Happens::Does("start") | Happens::Recreates => false,
                    _ => raise_stands,
                };
                continue;
            }
            if matches!(happens, Happens::Applies) {
                prop_assert!(is <= was || raise_stands, "what a kill cancelled comes back");
                continue;
            }
            if matches!(happens, Happens::Acts(_)) {
                prop_assert_eq!(is, 0, "a guardrail acted, and the flag is served");
                let goes_on = after.as_ref().is_some_and(|rollout| rollout.is_active());
                prop_assert!(!goes_on, "a rollout goes on under a guardrail that acted");
            }
            let (Some(before), Some(after)) = (before, after) else {
                prop_assert!(is <= was, "{happens:?}: nobody started a rollout");
                continue;
            };
            prop_assert!(after.stage == before.stage || after.stage == before.stage + 1, "{happens:?}: a stage is skipped");
            if is > was {
                prop_assert!(before.is_active(), "{happens:?}: a rollout that was over goes on");
                prop_assert_eq!(after.stage, before.stage + 1);
                prop_assert_eq!(is, after.exposure().milli_percent() / 1000);
                match (&before.status, happens) {
                    (RolloutStatus::Running, _) => {
                        prop_assert!(before.due_at().expect("its clock runs") <= world.now, "before its time");
                    }
                    (
                        RolloutStatus::Waiting { why: WaitsFor::Outcomes, .. },
                        Happens::Looks { finding: 1 | 2, .. },
                    ) => {}
                    (other, _) => prop_assert!(false, "{other:?} goes on by {happens:?}"),
                }
                prop_assert!(!before.next().expect("a stage").approval, "nobody approved");
                prop_assert_eq!(after.since, world.now, "it is held for its own time");
            }
        }
        // A fold of the log from its checkpoint is the same.
        let checkpoint = world.snapshot.to_checkpoint();
        let bytes = checkpoint.encode();
        prop_assert_eq!(Snapshot::from_checkpoint(checkpoint).to_checkpoint().encode(), bytes);
    }
}
