//! What came of trying rules, for people.

use rollout_rules::sli::backtest::{
    Account, Amount, Fired, Near, Outcome, Report, Resolution, RuleReport, WhyNot,
};
use rollout_rules::sli::guardrail::Sli;
use rollout_rules::sli::{Reason, State};

use super::draw::drawing;
use super::{Tested, program};
use crate::cli::delivery::grouped;
use crate::cli::failure::Failure;
use crate::cli::output::{Tone, redraws};
use crate::cli::session::Session;
use crate::cli::when;
use crate::duration;

/// So many times are shown for each rule; of further ones how many there are.
const MAX_SHOWN: usize = 20;

pub(super) fn show(session: &mut Session, tested: &Tested) -> Result<(), Failure> {
    let report = &tested.report;
    let of = match (&tested.about, &tested.file) {
        (Some(about), _) => format!("{} in {}", about.app, about.environment),
        (None, Some(file)) => file.clone(),
        (None, None) => String::new(),
    };
    session.say(format_args!("tried on what was recorded of {of} (times are UTC)"))?;
    spans(session, tested)?;
    if redraws() {
        for line in drawing(report) {
            session.say(line)?;
        }
    }
    for (nth, rule) in report.rules.iter().enumerate() {
        session.say("")?;
        show_rule(session, nth, rule, report)?;
    }
    unforeseen(session, report)
}

fn spans(session: &mut Session, tested: &Tested) -> Result<(), Failure> {
    let since = tested.about.as_ref().map(|about| about.since);
    let begins = tested.report.spans.first().map(|span| span.times().0);
    match (since, begins) {
        (_, None) => return session.say("  nothing was recorded in this time"),
        // Slots begin every ten seconds, sums every five minutes.
        (Some(since), Some(begins)) if begins.since(since).0 > 300_000 => session.say(format_args!(
            "  asked from {} on; nothing is known before {}",
            when::second(since),
            when::second(begins)
        ))?,
        _ => {}
    }
    for span in &tested.report.spans {
        let (from, until) = span.times();
        let resolution = match span.resolution {
            Resolution::Slots => "slots of ten seconds",
            Resolution::Sums => "sums of five minutes",
            Resolution::Both => "some flags by slots of ten seconds, others by sums of five minutes",
        };
        session.say(format_args!("  {} to {}: {resolution}", when::second(from), when::second(until)))?;
    }
    Ok(())
}

fn show_rule(session: &mut Session, nth: usize, rule: &RuleReport, report: &Report) -> Result<(), Failure> {
    let of_app = if rule.tried.of_app { " (of the app itself)" } else { "" };
    let head = format!("rule {}: {}{of_app}", nth + 1, rule.tried.rule);
    session.say(session.style.paint(&head, Tone::Head))?;
    let (line, tone) = match rule.outcome() {
        Outcome::Fired => (times("would have acted", rule.fired.len()), Tone::Alarm),
        Outcome::FiredAlone => {
            let words = "would have acted, had no other rule acted before:";
            (times(words, rule.alone.len()), Tone::Alarm)
        }
        Outcome::NotFired => ("would not have acted".to_owned(), Tone::Live),
        Outcome::NotJudged => ("not judged".to_owned(), Tone::Faint),
    };
    session.say(format!("  {}", session.style.paint(&line, tone)))?;
    for fired in rule.fired.iter().take(MAX_SHOWN) {
        show_fired(session, fired, report)?;
    }
    if rule.outcome() == Outcome::FiredAlone {
        for fired in rule.alone.iter().take(MAX_SHOWN) {
            show_fired(session, fired, report)?;
        }
    }
    let more = rule.fired.len().max(rule.alone.len()).saturating_sub(MAX_SHOWN);
    if more > 0 {
        session.say(format_args!("  and {more} more times; --json has all"))?;
    }
    if let Some(near) = rule.nearest.as_ref().filter(|_| rule.outcome() == Outcome::NotFired) {
        show_nearest(session, near)?;
    }
    if rule.tried.rule.when().sli() == Sli::MonthlySpend {
        session.say("  what the app's other environments cost is not in it")?;
    }
    show_account(session, &rule.account)
}

fn times(words: &str, count: usize) -> String {
    if count == 1 { format!("{words} once") } else { format!("{words} {count} times") }
}

fn show_fired(session: &mut Session, fired: &Fired, report: &Report) -> Result<(), Failure> {
    let at = fired.found.at();
    let of = fired.measured.as_ref().map_or_else(
        || "the app itself".to_owned(),
        |of| format!("{}: {} at revision {}", of.flag, of.variant, of.revision),
    );
    let served = fired.served.first.map_or_else(String::new, |first| {
        format!(
            ", {} after its first request, {} requests of it of {} in all",
            duration::rough(at.since(first)),
            grouped(fired.served.requests),
            grouped(fired.served.all)
        )
    });
    session.say(format_args!("  {} {of}{served}", when::second(at)))?;
    session.say(format_args!("    {}", program::words(&fired.found.reason)))?;
    let really = match fired.really.and_then(|really| report.acted.get(really)) {
        None => "nothing was done".to_owned(),
        Some(act) => {
            let distance = if act.at >= at {
                format!("{} later", duration::rough(act.at.since(at)))
            } else {
                format!("{} before", duration::rough(at.since(act.at)))
            };
            let why = if act.reason.is_empty() { String::new() } else { format!(" ({})", act.reason) };
            format!("{distance}, as revision {}: {}{why}", act.revision, act.words)
        }
    };
    session.say(format_args!("    really: {really}"))
}

fn show_nearest(session: &mut Session, near: &Near) -> Result<(), Failure> {
    if near.found.reason == Reason::Nothing {
        return Ok(());
    }
    let of = near
        .of
        .as_ref()
        .map_or_else(|| "the app itself".to_owned(), |(flag, _, variant)| format!("{flag}: {variant}"));
    let state = match near.state {
        State::Suspect => ", which would have held the rollout",
        State::CommonMode => ", and others did badly at the same time",
        _ => "",
    };
    session.say(format_args!("  nearest at {} {of}{state}", when::second(near.found.at())))?;
    session.say(format_args!("    {}", program::words(&near.found.reason)))
}

fn show_account(session: &mut Session, account: &Account) -> Result<(), Failure> {
    if account.is_judged() {
        session.say(format_args!("  judged: {}", amount(&account.judged)))?;
    }
    if account.judged.sums > 0 {
        session.say(
            "    by sums a bound is passed for all of five minutes or for none: measured and counted by them",
        )?;
    }
    for (why, left) in &account.not_judged {
        session.say(format_args!("  not judged: {}, since {}", amount(left), reason(*why)))?;
    }
    if !account.is_judged() && account.not_judged.is_empty() {
        session.say("  not judged: nothing was recorded that it is about")?;
    }
    Ok(())
}

fn amount(amount: &Amount) -> String {
    let slots = (amount.slots > 0).then(|| format!("{} slots", grouped(amount.slots)));
    let sums = (amount.sums > 0).then(|| format!("{} sums", grouped(amount.sums)));
    let parts: Vec<String> = slots.into_iter().chain(sums).collect();
    let range = amount.range.map_or_else(String::new, |(from, until)| {
        format!(", {} to {}", when::second(from.starts_at()), when::second(until.starts_at()))
    });
    format!("{} with {} requests{range}", parts.join(" and "), grouped(amount.requests))
}

/// Why something was not judged, in words.
pub(super) fn reason(why: WhyNot) -> &'static str {
    match why {
        WhyNot::SumsHaveNoUnits => "sums have no units, which it counts",
        WhyNot::NoUnits => "the app did not say which units failed or were slow",
        WhyNot::NoControl => {
            "no variant is the control, or nobody was to get it or another (in a file of batches --control and --shares say which)"
        }
        WhyNot::NoBaseline => "its bound is relative to a control, and there is none",
        WhyNot::NoReleases => "its bound is relative to the release before, and no releases are recorded",
        WhyNot::NotDivided => "the split divided nobody: the flag was off, or on for all without a rollout",
        WhyNot::NotReported => "the app did not say how much of it it used",
        WhyNot::NotKept => "how much of it the app used is kept for two days",
        WhyNot::MonthNotWhole => "the month began before what is known",
        WhyNot::NoBudget => "the app has no budget",
    }
}

/// What guardrails did that none of these rules would have.
fn unforeseen(session: &mut Session, report: &Report) -> Result<(), Failure> {
    let foreseen = |place: usize| {
        report.rules.iter().flat_map(|rule| &rule.fired).any(|fired| fired.really == Some(place))
    };
    let others: Vec<_> = report
        .acted
        .iter()
        .enumerate()
        .filter(|(place, act)| act.is_action && !foreseen(*place))
        .map(|(_, act)| act)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    session.say("")?;
    session.say("what guardrails did that none of these rules would have:")?;
    for act in others.iter().take(MAX_SHOWN) {
        let of = act.flag.as_ref().map_or("the app itself".to_owned(), ToString::to_string);
        session.say(format_args!(
            "  {} {of}, revision {}: {}",
            when::second(act.at),
            act.revision,
            act.words
        ))?;
    }
    if others.len() > MAX_SHOWN {
        session.say(format_args!("  and {} more; --json has all", others.len() - MAX_SHOWN))?;
    }
    Ok(())
}
