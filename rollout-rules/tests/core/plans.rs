//! Plans of rollouts in their short form: what is read, what is printed, and where a mistake stands.

use proptest::prelude::*;
use rollout_rules::flag::{EnvironmentKind, Tier};
use rollout_rules::percent::Exposure;
use rollout_rules::plan::{MAX_HOLD, MAX_STAGES, MIN_HOLD, RolloutPlan, Stage};
use rollout_rules::time::DurationMs;

fn plan(text: &str) -> RolloutPlan {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_plan_is_read_as_people_write_it() {
    let minute = 60_000;
    let read = plan(" 1%/30m, 5% / 1h,approve, 25/1h30m,100% ");
    let stage = |exposure: &str, hold_ms: u64, approval| Stage {
        exposure: exposure.parse().expect("an exposure"),
        hold_ms: DurationMs(hold_ms),
        approval,
    };
    assert_eq!(
        read.stages,
        [
            stage("1", 30 * minute, false),
            stage("5", 60 * minute, false),
            stage("25", 90 * minute, true),
            stage("100", 0, false)
        ]
    );
    assert_eq!(read.to_string(), "1%/30m,5%/1h,approve,25%/1h30m,100%");
    assert_eq!(plan("0.5%/10s,12.125%/1d,98%/30d").to_string(), "0.5%/10s,12.125%/1d,98%/30d");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    for (text, at, found, says) in [
        ("", 0, "", "a stage such as"),
        ("1%/30m,,100%", 7, "", "a stage such as"),
        ("1%/30m,5x%/1h,100%", 7, "5x%", "a stage such as"),
        ("1%/30m,5%/1,100%", 10, "1", "how long"),
        ("1%/30m,5%/,100%", 10, "", "how long"),
        ("1%/0s,100%", 3, "0s", "how long"),
        ("1%/30m,5%/1h,3%/1h,100%", 13, "3%", "more than the one before"),
        ("1%/30m,1%/1h,100%", 7, "1%", "more than the one before"),
        ("0%/30m,100%", 0, "0%", "more than the one before"),
        ("1%,100%", 0, "1%", "10s to 30d"),
        ("1%/9s,100%", 3, "9s", "10s to 30d"),
        ("1%/31d,100%", 3, "31d", "10s to 30d"),
        ("1%/30m,50%", 7, "50%", "95% to 99%"),
        ("1%/30m,99.5%", 7, "99.5%", "95% to 99%"),
        ("1%/30m,94%/1h", 7, "94%", "95% to 99%"),
        ("approve,1%/30m,100%", 0, "approve", "begin with an exposure"),
        ("1%/30m,approve,approve,100%", 7, "approve", "is enough"),
        ("1%/30m,100%,approve", 12, "approve", "a stage has to follow"),
        ("1%/30m,101%", 7, "101%", "a stage such as"),
        ("é%/30m,100%", 0, "é%", "a stage such as"),
    ] {
        let error = text.parse::<RolloutPlan>().expect_err(text);
        assert_eq!((error.at, error.found.as_str()), (at, found), "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    let error = "1%/30m,5x%,100%".parse::<RolloutPlan>().expect_err("wrong");
    assert_eq!(error.pointed_at("1%/30m,5x%,100%"), "1%/30m,5x%,100%\n       ^^^");
}

#[test]
fn a_plan_has_bounds() {
    let stages: Vec<String> = (1..=MAX_STAGES).map(|nth| format!("{nth}%/1m")).collect();
    let long = format!("{},100%", stages.join(","));
    assert!(long.parse::<RolloutPlan>().expect_err("too long").to_string().contains("1 to 20 stages"));
    let just = format!("{},100%", stages[1..].join(","));
    assert_eq!(plan(&just).stages.len(), MAX_STAGES);
    assert!(
        "1%/1h,".repeat(300).parse::<RolloutPlan>().expect_err("long").to_string().contains("1000 bytes")
    );
    let none = RolloutPlan { stages: Vec::new() };
    assert_eq!(none.check().expect_err("nothing").field(), "stages");
    let hold = |hold_ms| RolloutPlan {
        stages: vec![
            Stage { exposure: percent(1), hold_ms, approval: false },
            Stage { exposure: Exposure::ALL, hold_ms: DurationMs(0), approval: false },
        ],
    };
    assert!(hold(MIN_HOLD).check().is_ok() && hold(MAX_HOLD).check().is_ok());
    for outside in [DurationMs(MIN_HOLD.0 - 1), DurationMs(MAX_HOLD.0 + 1)] {
        assert_eq!(hold(outside).check().expect_err("outside").field(), "stages[0].hold_ms");
    }
}

fn percent(whole: u32) -> Exposure {
    Exposure::from_milli_percent(whole * 1000).expect("an exposure")
}

#[test]
fn some_units_can_be_held_back_for_good() {
    let held = plan("50%/1h,97%/1h,100%").holding_back(percent(5)).expect("five percent");
    assert_eq!(held.to_string(), "50%/1h,95%");
    assert_eq!(held.highest(), percent(95));
    for part in [percent(6), Exposure::from_milli_percent(999).expect("an exposure")] {
        assert!(plan("50%/1h,100%").holding_back(part).is_err(), "{part:?}");
    }
}

#[test]
fn every_tier_has_a_plan_and_the_highest_asks_before_the_larger_stages_of_production() {
    for tier in [Tier::Zero, Tier::One, Tier::Two] {
        for kind in [EnvironmentKind::Preview, EnvironmentKind::Sandbox, EnvironmentKind::Production] {
            let plan = RolloutPlan::default_for(tier, kind);
            plan.check().expect("it can be followed");
            let asks = tier == Tier::Two && kind == EnvironmentKind::Production;
            for stage in &plan.stages {
                assert_eq!(
                    stage.approval,
                    asks && stage.exposure >= percent(25),
                    "{tier:?} {kind:?}: {plan}"
                );
            }
        }
    }
}

/// Any plan that can be followed.
fn plans() -> impl Strategy<Value = RolloutPlan> {
    let hold = prop_oneof![(MIN_HOLD.0..=MAX_HOLD.0), (10_u64..2_000_000).prop_map(|seconds| seconds * 1000)];
    let stage = (1_u32..95_000, hold, any::<bool>());
    let last =
        (prop_oneof![Just(100_000_u32), 95_000_u32..=99_000], proptest::option::of(MIN_HOLD.0..=MAX_HOLD.0));
    (proptest::collection::vec(stage, 0..MAX_STAGES), last, any::<bool>()).prop_map(
        |(mut stages, last, asks)| {
            stages.sort_by_key(|(exposure, ..)| *exposure);
            stages.dedup_by_key(|(exposure, ..)| *exposure);
            stages.push((last.0, last.1.unwrap_or(0), asks));
            let stages = stages.into_iter().enumerate().map(|(nth, (exposure, hold_ms, approval))| Stage {
                exposure: Exposure::from_milli_percent(exposure).expect("an exposure"),
                hold_ms: DurationMs(hold_ms),
                approval: approval && nth > 0,
            });
            RolloutPlan { stages: stages.collect() }
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(plan in plans()) {
        prop_assert_eq!(plan.check(), Ok(()));
        prop_assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
        let json = serde_json::to_string(&plan).expect("json");
        prop_assert_eq!(serde_json::from_str::<RolloutPlan>(&json).expect("a plan"), plan);
    }

    #[test]
    fn any_text_is_a_plan_or_a_mistake_within_it(text in "[0-9a-z%/., é]{0,60}|[0-9]{1,3}%/[0-9]{1,20}[dhms]{1,2},100%") {
        match text.parse::<RolloutPlan>() {
            Ok(plan) => prop_assert_eq!(plan.check(), Ok(())),
            Err(error) => {
                prop_assert!(text[error.at..].starts_with(&error.found), "{}: {:?}", text, error);
                prop_assert!(!error.pointed_at(&text).is_empty());
            }
        }
    }
}

#[test]
fn holding_back_removes_no_approval() {
    for (whole, part, expected) in [
        ("5%/1h,approve,50%/4h,100%", 2, "5%/1h,approve,50%/4h,98%"),
        ("5%/1h,approve,97%/4h,100%", 5, "5%/1h,approve,95%"),
        ("5%/1h,approve,96%/1h,97%/4h,100%/2h", 5, "5%/1h,approve,95%/2h"),
        ("5%/1h,97%/1h,approve,98%/4h,100%", 5, "5%/1h,approve,95%"),
        ("5%/1h,97%/4h,100%", 5, "5%/1h,95%"),
        // Whoever starts it brings it there.
        ("96%/1h,approve,98%/4h,100%", 5, "95%"),
    ] {
        let held_back = plan(whole).holding_back(percent(part)).expect("a plan");
        assert_eq!(held_back.to_string(), expected, "{whole}");
    }
}
