//! Rules as people write them.

use proptest::collection::vec;
use proptest::prelude::*;
use rollout_rules::ids::{ChannelName, JobName};
use rollout_rules::sli::guardrail::{Action, Bound, Guardrail, MAX_RULE_BYTES, Operator, Sli, Test};
use rollout_rules::sli::{Measured, Rate, Reason};
use rollout_rules::time::DurationMs;
use serde_json::json;

fn read(text: &str) -> Guardrail {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn rules_are_read_as_people_write_them() {
    let run = |name: &str| Action::Run(JobName::new(name).unwrap());
    let owner = Action::Notify(ChannelName::new("owner").unwrap());
    let over = |sli, bound, minutes: Option<u64>| {
        let sustained_ms = minutes.map(|minutes| DurationMs(minutes * 60_000));
        Test::Threshold { sli, operator: Operator::Above, bound, sustained_ms }
    };
    for (text, when, then) in [
        (
            "error_rate > 3% for 5m -> flag off, run rollback",
            over(Sli::ErrorRate, Bound::Millionths(30_000), Some(5)),
            vec![Action::FlagOff, run("rollback")],
        ),
        (
            "latency_p95 > 2x baseline for 3m -> revert release",
            over(Sli::LatencyP95, Bound::TimesBaseline(2_000), Some(3)),
            vec![Action::RevertRelease],
        ),
        (
            "monthly_spend > budget -> disable non-critical, notify owner",
            over(Sli::MonthlySpend, Bound::OfBudget(1_000_000), None),
            vec![Action::DisableNonCritical, owner.clone()],
        ),
        (
            "error_rate worse than control -> flag off",
            Test::WorseThanControl { sli: Sli::ErrorRate, by_thousandths: 2_000 },
            vec![Action::FlagOff],
        ),
        (
            "latency_p99 worse than control by 1.5x -> rollout to 0",
            Test::WorseThanControl { sli: Sli::LatencyP99, by_thousandths: 1_500 },
            vec![Action::RolloutToZero],
        ),
        (
            "monthly_spend > 80% of budget -> notify owner",
            over(Sli::MonthlySpend, Bound::OfBudget(800_000), None),
            vec![owner.clone()],
        ),
        (
            "latency_p99 > 750ms -> flag off",
            over(Sli::LatencyP99, Bound::Microseconds(750_000), None),
            vec![Action::FlagOff],
        ),
        (
            "cost_per_success > 0.0125 for 1h -> notify owner",
            over(Sli::CostPerSuccess, Bound::Micros(12_500), Some(60)),
            vec![owner],
        ),
    ] {
        let rule = read(text);
        assert_eq!((rule.when(), rule.then()), (when, &then[..]), "{text}");
        assert_eq!(rule.to_string(), text, "it is printed as it was written");
    }
}

#[test]
fn spaces_and_other_spellings_do_not_matter() {
    for (text, printed) in [
        (
            "  error_rate>3% for 300s->flag off ,run  rollback ",
            "error_rate > 3% for 5m -> flag off, run rollback",
        ),
        ("availability<=99.50% for 90m -> rollout to 0%", "availability <= 99.5% for 1h30m -> rollout to 0"),
        ("latency_p95 >= 1.5s for 10s -> run a->b", ""),
        ("latency_p95 >= 1.5s for 10s -> run a-b", "latency_p95 >= 1500ms for 10s -> run a-b"),
        ("error_rate worse than control by 2x -> flag off", "error_rate worse than control -> flag off"),
    ] {
        match text.parse::<Guardrail>() {
            Ok(rule) => assert_eq!(rule.to_string(), printed, "{text}"),
            Err(error) => assert_eq!((printed, error.found.as_str()), ("", "->"), "{text}: {error}"),
        }
    }
}

#[test]
fn errors_point_at_the_place() {
    for (text, at, found, expected) in [
        ("", 0, "", "error_rate, availability"),
        ("errors > 3% -> flag off", 0, "errors", "error_rate, availability"),
        ("error_rate = 3% -> flag off", 11, "=", "`>`, `>=`, `<`, `<=` or `worse than control`"),
        ("error_rate > three -> flag off", 13, "three", "a bound"),
        ("error_rate > 3.00001% -> flag off", 13, "3.00001%", "a bound"),
        ("error_rate > -3% -> flag off", 13, "-3%", "a bound"),
        ("error_rate > 103% -> flag off", 13, "103%", "a percentage up to 100%"),
        ("error_rate > 250ms -> flag off", 13, "250ms", "a percentage up to 100%"),
        ("error_rate < 3% -> flag off", 11, "<", "> or >=: here much is bad"),
        ("availability > 99% -> flag off", 13, ">", "< or <=: low availability is bad"),
        ("latency_p95 > 2x control for 3m -> flag off", 17, "control", "`baseline`"),
        ("latency_p95 > 2x baseline -> flag off", 26, "->", "`for` and a duration"),
        ("latency_p95 > 3% for 5m -> flag off", 14, "3%", "a duration such as 250ms"),
        ("error_rate > 3% for 5 -> flag off", 20, "5", "a duration such as 5m"),
        ("error_rate > 3% for 5s -> flag off", 20, "5s", "from 10s to 24h"),
        ("error_rate > 3% for 2d -> flag off", 20, "2d", "from 10s to 24h"),
        ("monthly_spend > budget for 5m -> notify owner", 27, "5m", "no duration"),
        ("cpu worse than control -> flag off", 0, "cpu", "error_rate, latency_p95 or latency_p99"),
        ("error_rate worse than baseline -> flag off", 22, "baseline", "`control`"),
        ("error_rate worse than control by 1x -> flag off", 33, "1x", "more than 1x"),
        ("error_rate > 3% for 5m", 22, "", "`->` and what is done"),
        ("error_rate > 3% for 5m flag off", 23, "flag", "`->` and what is done"),
        ("error_rate > 3% for 5m ->", 25, "", "an action: `flag off`"),
        ("error_rate > 3% for 5m -> flag on", 31, "on", "`off`"),
        ("error_rate > 3% for 5m -> rollout to 50%", 37, "50%", "a guardrail only lowers"),
        ("error_rate > 3% for 5m -> flag off run x", 35, "run", "a comma and a further action"),
        ("error_rate > 3% for 5m -> flag off,", 35, "", "an action"),
        ("error_rate > 3% for 5m -> run ä", 30, "ä", "the name of a job"),
        ("error_rate > 3% → flag off", 16, "→", "`->` and what is done"),
    ] {
        let error = text.parse::<Guardrail>().expect_err(text);
        assert_eq!((error.at, error.found.as_str()), (at, found), "{text}: {error}");
        assert!(error.expected.contains(expected), "{text}: {error}");
        assert!(error.to_string().contains(&format!("byte {at}")), "{error}");
    }
    let text = "error_rate > 3% for 5m -> run ä!";
    let pointed = text.parse::<Guardrail>().unwrap_err().pointed_at(text);
    assert_eq!(pointed, format!("{text}\n{}^^", " ".repeat(30)));
    let long = format!("error_rate > 3% -> {}flag off", "flag off, ".repeat(200));
    assert_eq!(long.parse::<Guardrail>().unwrap_err().at, MAX_RULE_BYTES);
    let many = format!("error_rate > 3% -> {}flag off", "flag off, ".repeat(8));
    assert!(many.parse::<Guardrail>().unwrap_err().expected.contains("at most eight"));
}

#[test]
fn the_json_form_says_the_same_and_is_checked_alike() {
    let rule = read("error_rate > 3% for 5m -> flag off, run rollback");
    let value = json!({
        "when": { "threshold": {
            "sli": "error_rate", "operator": ">", "bound": { "millionths": 30_000 }, "sustained_ms": 300_000,
        } },
        "then": ["flag_off", { "run": "rollback" }],
    });
    assert_eq!(serde_json::to_value(&rule).unwrap(), value);
    assert_eq!(serde_json::from_value::<Guardrail>(value).unwrap(), rule);
    for (value, said) in [
        (
            json!({ "when": { "worse_than_control": { "sli": "cpu" } }, "then": ["flag_off"] }),
            "the sli does not fit",
        ),
        (
            json!({ "when": { "worse_than_control": { "sli": "error_rate" } }, "then": [] }),
            "one to eight actions",
        ),
        (
            json!({ "when": { "worse_than_control": { "sli": "error_rate" } }, "then": ["flag_on"] }),
            "unknown variant `flag_on`",
        ),
        (
            json!({ "when": { "worse_than_control": { "sli": "error_rate" } }, "then": ["flag_off"], "or": 1 }),
            "unknown field `or`",
        ),
    ] {
        let error = serde_json::from_value::<Guardrail>(value).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

fn some_rule() -> impl Strategy<Value = Guardrail> {
    use Sli::{Availability, CostPerSuccess, Cpu, ErrorRate, LatencyP95, LatencyP99, Memory, MonthlySpend};
    let sli = prop::sample::select(vec![
        ErrorRate,
        Availability,
        LatencyP95,
        LatencyP99,
        Cpu,
        Memory,
        CostPerSuccess,
        MonthlySpend,
    ]);
    let operator =
        prop::sample::select(vec![Operator::Above, Operator::AtLeast, Operator::Below, Operator::AtMost]);
    let number = prop_oneof![0..2_000_000_u64, any::<u64>()];
    let bound = (0..5_usize, number).prop_map(|(kind, number)| match kind {
        0 => Bound::Millionths(number),
        1 => Bound::Microseconds(number),
        2 => Bound::Micros(number),
        3 => Bound::TimesBaseline(number),
        _ => Bound::OfBudget(number),
    });
    let compared = (sli.clone(), 1_001..9_000_u64)
        .prop_map(|(sli, by_thousandths)| Test::WorseThanControl { sli, by_thousandths });
    let sustained = prop::option::of((10_000..90_000_000_u64).prop_map(DurationMs));
    let threshold = (sli, operator, bound, sustained).prop_map(|(sli, operator, bound, sustained_ms)| {
        Test::Threshold { sli, operator, bound, sustained_ms }
    });
    let action = (0..6_usize, "[a-zA-Z0-9._-]{1,12}").prop_map(|(kind, name)| match kind {
        0 => Action::FlagOff,
        1 => Action::RolloutToZero,
        2 => Action::RevertRelease,
        3 => Action::DisableNonCritical,
        4 => Action::Notify(ChannelName::new(&name).unwrap()),
        _ => Action::Run(JobName::new(&name).unwrap()),
    });
    (prop_oneof![1 => compared, 4 => threshold], vec(action, 1..5))
        .prop_filter_map("the parts fit", |(when, then)| Guardrail::new(when, then).ok())
}

#[test]
fn what_was_measured_is_said_as_it_is() {
    let said = |sli, value, bound, seconds: u64, requests| {
        let (passed, counted) = (DurationMs(seconds * 1_000), Rate { requests, bad: requests / 10 });
        Reason::Threshold { sli, measured: Measured { value, bound, passed, counted } }.to_string()
    };
    let spend = |value| said(Sli::MonthlySpend, value, 100_000_000, 0, 0);
    assert_eq!(spend(85_000_000), ": monthly_spend 85 of 100");
    assert_eq!(spend(120_000_000), ": monthly_spend 120 past 100");
    assert_eq!(said(Sli::Cpu, 900_000, 800_000, 60, 0), ": cpu 90% past 80% for 60 s");
    let errors = |value, seconds, requests| said(Sli::ErrorRate, value, 30_000, seconds, requests);
    assert_eq!(errors(100_000, 300, 50), ": error_rate 10% past 3% for 300 s, in 50 requests (5 bad)");
    assert_eq!(errors(10_000, 0, 0), ": error_rate 1% of 3%");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_back(rule in some_rule()) {
        let printed = rule.to_string();
        prop_assert_eq!(printed.parse::<Guardrail>(), Ok(rule.clone()), "{}", printed);
        let written = serde_json::to_string(&rule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Guardrail>(&written).unwrap(), rule);
    }

    #[test]
    fn no_text_is_too_strange_to_be_refused(text in "(error_rate|latency_p95|[a-zé>< ,%-]{0,9}) ?(>|->|worse)? ?[0-9a-zé%.,>< -]{0,30}") {
        if let Err(error) = text.parse::<Guardrail>() {
            prop_assert!(text.is_char_boundary(error.at), "{}", error);
            prop_assert!(error.pointed_at(&text).starts_with(&text));
        }
    }
}
