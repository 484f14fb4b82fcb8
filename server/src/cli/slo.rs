//! `tidegate slo`: how an app stands against what it promises and may cost.

use clap::Args;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::sli::BURN_RULES;
use serde_json::{Value, json};

use super::app;
use super::client::encoded;
use super::delivery::grouped;
use super::failure::Failure;
use super::output::{Tone, harmless};
use super::reading::{moment, text};
use super::session::Session;
use super::when;

/// Marks of a bar.
const BAR: u64 = 10;
/// Names of lines are as wide as the widest.
const NAME_WIDTH: usize = 8;

/// Where.
#[derive(Args, Clone, Debug)]
pub struct SloOptions {
    /// Only in this environment; without it, in all that the token may see
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
}

/// Shows the target, what was spent of it and how fast, and cost against the budget.
pub(super) fn run(session: &mut Session, app: &AppKey, options: &SloOptions) -> Result<(), Failure> {
    let environments = match &options.environment {
        Some(named) => vec![named.to_string()],
        None => {
            let shown = session.client.get(&app::path(app))?.body;
            let all = shown["environments"].as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().map(|environment| text(environment, "key")).collect()
        }
    };
    let mut answers = Vec::new();
    for environment in &environments {
        let path = format!("{}/environments/{}/slo", app::path(app), encoded(environment));
        answers.push(session.client.get(&path)?.body);
    }
    if session.json {
        return match (&options.environment, answers.pop()) {
            (Some(_), Some(only)) => session.print_json(&only),
            (_, last) => {
                answers.extend(last);
                session.print_json(&json!({ "items": answers }))
            }
        };
    }
    for (nth, answer) in answers.iter().enumerate() {
        if nth > 0 {
            writeln!(session.out)?;
        }
        for (line, tone) in lines(answer) {
            writeln!(session.out, "{}", session.style.paint(&harmless(&line), tone))?;
        }
    }
    Ok(())
}

fn lines(slo: &Value) -> Vec<(String, Tone)> {
    let until = moment(slo, "slot").map_or_else(String::new, |at| format!(", until {}", when::second(at)));
    let mut lines =
        vec![(format!("{} in {}{until}", text(slo, "app"), text(slo, "environment")), Tone::Head)];
    if slo["note"].is_string() {
        lines.push((text(slo, "note"), Tone::Faint));
    }
    let mut add = |name: &str, value: String, tone: Tone| {
        lines.push((format!("{name:<NAME_WIDTH$}  {value}"), tone));
    };
    if let Some(silent) = slo["silent_slots"].as_u64().filter(|silent| *silent > 1) {
        add("silent", format!("nobody has reported anything for {} s", silent * 10), Tone::Alarm);
    }
    if let Some(good) = slo["good_millionths"].as_u64() {
        add(
            "target",
            format!("{}% of requests are good, over thirty days", decimal(good, 10_000)),
            Tone::Plain,
        );
    }
    if let Some(spent) = slo["spent_thousandths"].as_u64() {
        let tone = if spent >= 1_000 { Tone::Alarm } else { Tone::Plain };
        let value = format!("{}  {}% of the errors that it allows", bar(spent, 1_000), decimal(spent, 10));
        add("spent", value, tone);
        for window in slo["burn"].as_array().into_iter().flatten() {
            let (value, tone) = burn(window);
            add("burning", value, tone);
        }
    }
    let broken = &slo["broken"];
    if !broken.is_null() {
        let times = decimal(broken["burn_thousandths"].as_u64().unwrap_or(0), 1_000);
        let (long, short) = (text(broken, "long_minutes"), text(broken, "short_minutes"));
        add(
            "ALARM",
            format!("{times} times as fast as allowed, in {long} and in {short} minutes"),
            Tone::Alarm,
        );
    }
    let (value, tone) = cost(slo);
    if !value.is_empty() {
        add("cost", value, tone);
    }
    lines
}

/// `#####.....   5m  7.2 times as fast as allowed`: a whole bar is where people are told.
fn burn(window: &Value) -> (String, Tone) {
    let minutes = window["minutes"].as_u64().unwrap_or(0);
    let of_rule = BURN_RULES.iter().find(|rule| {
        [rule.long_minutes, rule.short_minutes].iter().any(|one| u64::try_from(*one) == Ok(minutes))
    });
    let bound = of_rule.unwrap_or(&BURN_RULES[0]).burn_thousandths;
    let Some(thousandths) = window["thousandths"].as_u64() else {
        return (format!("{}  {minutes:>3}m  no requests", bar(0, bound)), Tone::Faint);
    };
    let tone = if thousandths >= bound { Tone::Alarm } else { Tone::Plain };
    let times = decimal(thousandths, 1_000);
    (format!("{}  {minutes:>3}m  {times} times as fast as allowed", bar(thousandths, bound)), tone)
}

fn cost(slo: &Value) -> (String, Tone) {
    let amount = |name: &str| {
        slo[name]
            .as_u64()
            .map(|micros| format!("{}.{:02}", grouped(micros / 1_000_000), micros % 1_000_000 / 10_000))
    };
    let currency = match text(slo, "currency") {
        none if none.is_empty() => String::new(),
        currency => format!(" {currency}"),
    };
    let spent = amount("spent_micros").zip(amount("expected_micros"));
    let known = spent
        .map(|(spent, expected)| format!("{spent}{currency} this month, {expected} expected by its end"));
    let budget = amount("budget_micros").map(|budget| format!("a budget of {budget}{currency} a month"));
    let (word, tone) = match slo["state"].as_str() {
        Some("over") => (", more than the budget", Tone::Alarm),
        Some("near") => (", near the budget", Tone::Alarm),
        _ => ("", Tone::Plain),
    };
    let parts: Vec<String> = [known, budget].into_iter().flatten().collect();
    (format!("{}{word}", parts.join("; ")), tone)
}

/// Ten marks; all of them from `whole` on, and one at least for anything.
fn bar(part: u64, whole: u64) -> String {
    let marks =
        part.saturating_mul(BAR).checked_div(whole.max(1)).unwrap_or(0).clamp(u64::from(part > 0), BAR);
    (0..BAR).map(|nth| if nth < marks { '#' } else { '.' }).collect()
}

/// A number of parts, so many of one, a power of ten, without zeros at the end: `99.9`.
fn decimal(value: u64, of_one: u64) -> String {
    let digits = of_one.max(1).ilog10() as usize;
    let (whole, rest) = (value / of_one, value % of_one);
    let shown = format!("{}.{rest:0digits$}", grouped(whole));
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(slo: &Value) -> Vec<String> {
        lines(slo).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_whole_bar_is_where_people_are_told() {
        let slo = json!({
            "app": "shop", "environment": "live", "slot": "2027-01-17T18:00:10.000Z", "silent_slots": 0,
            "good_millionths": 999_000, "spent_thousandths": 1_230,
            "burn": [
                { "minutes": 5, "thousandths": 14_400 }, { "minutes": 30, "thousandths": 3_000 },
                { "minutes": 60, "thousandths": 10 }, { "minutes": 360, "thousandths": null },
            ],
            "broken": { "long_minutes": 60, "short_minutes": 5, "burn_thousandths": 14_400 },
            "budget_micros": 500_000_000, "spent_micros": 1_210_000_000_u64, "expected_micros": 2_410_500_000_u64,
            "currency": "EUR", "state": "over",
        });
        let lines = [
            "shop in live, until 2027-01-17 18:00:10",
            "target    99.9% of requests are good, over thirty days",
            "spent     ##########  123% of the errors that it allows",
            "burning   ##########    5m  14.4 times as fast as allowed",
            "burning   #####.....   30m  3 times as fast as allowed",
            "burning   #.........   60m  0.01 times as fast as allowed",
            "burning   ..........  360m  no requests",
            "ALARM     14.4 times as fast as allowed, in 60 and in 5 minutes",
            "cost      1,210.00 EUR this month, 2,410.50 expected by its end; a budget of 500.00 EUR a month, more than \
             the budget",
        ];
        assert_eq!(shown(&slo), lines);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let slo = json!({
            "app": "shop", "environment": "live", "slot": null, "silent_slots": null, "good_millionths": null,
            "spent_thousandths": null, "burn": [{ "minutes": 5, "thousandths": null }], "broken": null,
            "budget_micros": null, "spent_micros": null, "expected_micros": null, "currency": null, "state": null,
            "note": "nothing was reported yet",
        });
        assert_eq!(shown(&slo), ["shop in live", "nothing was reported yet"]);
    }
}
