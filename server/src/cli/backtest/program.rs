//! What came of trying rules, for programs.

use rollout_rules::sli::Reason;
use rollout_rules::sli::backtest::{Amount, Fired, Near, Outcome, Report, Resolution, RuleReport, WhyNot};
use serde_json::{Value, json};

use super::{Tested, show};

/// The numbers in words, as verdicts have them.
pub(super) fn words(reason: &Reason) -> String {
    reason.to_string().trim_start_matches(": ").to_owned()
}

/// One object with everything.
pub(super) fn answer(tested: &Tested) -> Value {
    let (report, about) = (&tested.report, tested.about.as_ref());
    let spans = report.spans.iter().map(|span| {
        let (from, until) = span.times();
        let resolution = match span.resolution {
            Resolution::Slots => "slots",
            Resolution::Sums => "sums",
            Resolution::Both => "both",
        };
        json!({ "from": from, "until": until, "resolution": resolution })
    });
    let acted = report.acted.iter().map(|act| json!(act));
    json!({
        "app": about.map(|about| &about.app),
        "environment": about.map(|about| &about.environment),
        "file": tested.file,
        "since": about.map(|about| about.since),
        "known_from": report.spans.first().map(|span| span.times().0),
        "until": tested.until,
        "spans": spans.collect::<Vec<_>>(),
        "rules": report.rules.iter().map(|rule| rule_view(rule, report)).collect::<Vec<_>>(),
        "acted": acted.collect::<Vec<_>>(),
        "bad_lines": tested.bad.told,
        "bad_lines_in_all": tested.bad.lines,
    })
}

fn rule_view(rule: &RuleReport, report: &Report) -> Value {
    let outcome = match rule.outcome() {
        Outcome::Fired => "fired",
        Outcome::FiredAlone => "fired_alone",
        Outcome::NotFired => "not_fired",
        Outcome::NotJudged => "not_judged",
    };
    let not_judged = rule.account.not_judged.iter().map(|(why, amount)| {
        let mut view = amount_view(amount);
        view["why"] = word(*why).into();
        view["detail"] = show::reason(*why).into();
        view
    });
    json!({
        "rule": rule.tried.rule.to_string(),
        "of": if rule.tried.of_app { "app" } else { "flags" },
        "outcome": outcome,
        "fired": rule.fired.iter().map(|fired| fired_view(fired, report)).collect::<Vec<_>>(),
        "fired_alone": rule.alone.iter().map(|fired| fired_view(fired, report)).collect::<Vec<_>>(),
        "nearest": rule.nearest.as_ref().map(near_view),
        "judged": amount_view(&rule.account.judged),
        "not_judged": not_judged.collect::<Vec<_>>(),
    })
}

fn fired_view(fired: &Fired, report: &Report) -> Value {
    let of = fired.measured.as_ref();
    let at = fired.found.at();
    let served = &fired.served;
    json!({
        "at": at,
        "slot": fired.found.slot.starts_at(),
        "slots": fired.found.slots,
        "flag": of.map(|of| &of.flag),
        "split": of.map(|of| &of.split),
        "variant": of.map(|of| &of.variant),
        "flag_revision": of.map(|of| of.revision),
        "why": words(&fired.found.reason),
        "reason": fired.found.reason,
        "first_served_at": served.first,
        "after_ms": served.first.map(|first| at.since(first)),
        "requests": served.requests,
        "requests_of_all": served.all,
        "really": fired.really.and_then(|really| report.acted.get(really)).map(|act| json!(act)),
    })
}

fn near_view(near: &Near) -> Value {
    let of = near.of.as_ref();
    json!({
        "at": near.found.at(),
        "flag": of.map(|(flag, ..)| flag),
        "split": of.map(|(_, split, _)| split),
        "variant": of.map(|(.., variant)| variant),
        "state": near.state,
        "why": words(&near.found.reason),
        "reason": near.found.reason,
    })
}

fn amount_view(amount: &Amount) -> Value {
    json!({
        "slots": amount.slots,
        "sums": amount.sums,
        "requests": amount.requests,
        "from": amount.range.map(|(from, _)| from.starts_at()),
        "until": amount.range.map(|(_, until)| until.starts_at()),
    })
}

/// A word for it that does not change.
fn word(why: WhyNot) -> &'static str {
    match why {
        WhyNot::SumsHaveNoUnits => "sums_have_no_units",
        WhyNot::NoUnits => "no_units",
        WhyNot::NoControl => "no_control",
        WhyNot::NoBaseline => "no_baseline",
        WhyNot::NoReleases => "no_releases",
        WhyNot::NotDivided => "not_divided",
        WhyNot::NotReported => "not_reported",
        WhyNot::NotKept => "not_kept",
        WhyNot::MonthNotWhole => "month_not_whole",
        WhyNot::NoBudget => "no_budget",
    }
}
