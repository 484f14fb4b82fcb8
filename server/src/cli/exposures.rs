//! `tidegate flag list --stale` and `tidegate flag exposures`: what became of flags once they were in code.

use std::collections::BTreeMap;

use clap::Args;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::time::UnixMs;
use serde_json::Value;

use super::client::with_query;
use super::delivery::grouped;
use super::failure::Failure;
use super::flag::{path, read};
use super::output::{Table, Tone};
use super::reading::{items, moment, text};
use super::session::Session;
use super::when;

/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Hours and days that a server tells apart.
const MOST_HOURS: u64 = 48;
const MOST_DAYS: u64 = 35;
/// How long the longest bar is, in characters.
const BAR: u64 = 40;
/// What the bars of variants are made of; further variants begin anew.
const MARKS: [char; 4] = ['█', '▒', '░', '▪'];

/// Which flags a list shows.
#[derive(Args, Clone, Debug)]
pub struct ListOptions {
    /// Only those that were archived
    #[arg(long)]
    pub(super) archived: bool,
    /// Only those that have become stale, and why; of every app if none is named
    #[arg(long, conflicts_with = "archived")]
    pub(super) stale: bool,
    /// With --stale: of every app, even if TIDEGATE_APP names one
    #[arg(long, requires = "stale")]
    pub(super) all_apps: bool,
    /// With --stale: only what is so in this environment, or everywhere
    #[arg(long = "env", short = 'e', value_name = "ENV", requires = "stale")]
    environment: Option<EnvKey>,
}

/// Lists stale flags.
pub(super) fn stale(
    session: &mut Session,
    app: Option<&AppKey>,
    options: &ListOptions,
) -> Result<(), Failure> {
    let mut path = "/v1/stale-flags".to_owned();
    if let Some(app) = app {
        path = with_query(&path, "app", app.as_str());
    }
    if let Some(environment) = &options.environment {
        path = with_query(&path, "environment", environment.as_str());
    }
    let list = session.client.list(&path)?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["APP", "FLAG", "OWNER", "ENVIRONMENT", "WHY"]);
    for flag in items(&list) {
        for reason in flag["reasons"].as_array().into_iter().flatten() {
            let (why, tone) = why(reason, session.now);
            let mut row: Vec<(String, Tone)> =
                [text(flag, "app"), text(flag, "flag"), text(flag, "owner"), text(reason, "environment")]
                    .map(|cell| (cell, Tone::Plain))
                    .into();
            row.push((why, tone));
            table.toned_row(row);
        }
    }
    Ok(table.write(&mut *session.out, session.style, "no flag has become stale")?)
}

/// A reason in words.
fn why(reason: &Value, now: UnixMs) -> (String, Tone) {
    let far = |name| moment(reason, name).map_or_else(|| "?".to_owned(), |at| when::distance(at, now));
    match reason["reason"].as_str().unwrap_or("") {
        "expires_soon" => (format!("expires {}", far("expires_at")), Tone::Plain),
        "expired_but_asked" => (
            format!("expired {}, and was asked for {}", far("expires_at"), far("last_asked_at")),
            Tone::Alarm,
        ),
        "never_asked" => (format!("nobody asked for it since it was there, {}", far("since")), Tone::Plain),
        "one_variant_only" => match reason["variant"].as_str() {
            Some(variant) => (format!("gave nothing but `{variant}` since {}", far("since")), Tone::Plain),
            None => (format!("gave none of its variants since {}", far("since")), Tone::Alarm),
        },
        // A newer server may know more.
        other => (other.to_owned(), Tone::Plain),
    }
}

/// Whose exposures, and since when.
#[derive(Args, Clone, Debug)]
pub struct ExposuresOptions {
    /// Which flag
    key: FlagKey,
    /// In which environment; may be left out where there is only one
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
    /// The last so many hours: 1 to 48
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=MOST_HOURS))]
    hours: u64,
    /// The last so many days, by day in UTC: 1 to 35
    #[arg(long, value_name = "N", conflicts_with = "hours", value_parser = clap::value_parser!(u64).range(1..=MOST_DAYS))]
    days: Option<u64>,
}

/// Draws how often a flag gave which answer.
pub(super) fn show(session: &mut Session, app: &AppKey, options: &ExposuresOptions) -> Result<(), Failure> {
    let flag = read(session, app, &options.key)?;
    let (environment, _) = flag.state(options.environment.as_ref())?;
    let path = format!("{}/environments/{environment}/exposures", path(app, &options.key));
    let answer = session.client.get(&path)?.body;
    if session.json {
        return session.print_json(&answer);
    }
    let since = moment(&answer, "counting_since").map_or_else(String::new, when::minute);
    match moment(&answer, "last_asked_at") {
        Some(last) => {
            let last = when::ago(last, session.now);
            session.say(format_args!("asked for last {last}; counted since {since}"))?;
        }
        None => {
            session.say(format_args!("nobody asked for {} in {environment} since {since}", options.key))?;
            if answer["variants"].as_array().is_none_or(Vec::is_empty) {
                return Ok(());
            }
            session.say("it was among all flags that somebody fetched:")?;
        }
    }
    session.say("")?;
    let sums = match options.days {
        Some(days) => Sums::read(&answer["days"], "day", 24 * HOUR_MS, days, session.now),
        None => Sums::read(&answer["hours"], "hour", HOUR_MS, options.hours, session.now),
    };
    Ok(sums.table().write(&mut *session.out, session.style, "")?)
}

/// Counts by time, those without any included.
struct Sums {
    head: &'static str,
    variants: Vec<String>,
    /// Each with its beginning and as many counts as there are variants.
    rows: Vec<(UnixMs, Vec<u64>)>,
    by_day: bool,
}

impl Sums {
    fn read(list: &Value, name: &str, length_ms: u64, most: u64, now: UnixMs) -> Sums {
        let mut variants: Vec<String> = Vec::new();
        let mut times: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
        for one in list.as_array().into_iter().flatten() {
            let Some(at) = moment(one, name) else { continue };
            for count in one["counts"].as_array().into_iter().flatten() {
                let variant = count["variant"].as_str().unwrap_or("(none)");
                let place = variants.iter().position(|known| known == variant).unwrap_or_else(|| {
                    variants.push(variant.to_owned());
                    variants.len() - 1
                });
                let counts = times.entry(at.0 / length_ms).or_default();
                counts.push((place, count["count"].as_u64().unwrap_or(0)));
            }
        }
        // The server's clock may be ahead of this machine's, if not by much.
        let latest = now.0.saturating_add(HOUR_MS) / length_ms;
        let last = times.keys().next_back().copied().unwrap_or(0).clamp(now.0 / length_ms, latest);
        let rows = (last.saturating_sub(most - 1)..=last).map(|at| {
            let mut counts = vec![0; variants.len()];
            times.get(&at).into_iter().flatten().for_each(|(place, count)| counts[*place] += count);
            (UnixMs(at.saturating_mul(length_ms)), counts)
        });
        let by_day = name == "day";
        Sums { head: if by_day { "DAY" } else { "HOUR" }, rows: rows.collect(), variants, by_day }
    }

    fn table(&self) -> Table {
        let marked = |(place, variant): (usize, &String)| format!("{} {variant}", MARKS[place % MARKS.len()]);
        let heads = [self.head.to_owned()].into_iter();
        let mut table =
            Table::new(heads.chain(self.variants.iter().enumerate().map(marked)).chain([String::new()]));
        let most = self.rows.iter().map(|(_, counts)| total(counts)).max().unwrap_or(0);
        for (at, counts) in &self.rows {
            let shown = when::minute(*at);
            let shown = if self.by_day { shown[..10].to_owned() } else { shown };
            let mut row = vec![(shown, Tone::Plain)];
            row.extend(counts.iter().map(|count| {
                let tone = if *count == 0 { Tone::Faint } else { Tone::Plain };
                (grouped(*count), tone)
            }));
            row.push((bar(counts, most), Tone::Live));
            table.toned_row(row);
        }
        table
    }
}

fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// A bar for counts, whose variants have lengths by their shares. What there is at all is seen.
fn bar(counts: &[u64], most: u64) -> String {
    let mut bar = String::new();
    for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let length = u128::from(*count) * u128::from(BAR) / u128::from(most.max(1));
        let length = usize::try_from(length).unwrap_or(0).max(1);
        bar.extend(std::iter::repeat_n(MARKS[place % MARKS.len()], length));
    }
    bar
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::Style;

    #[test]
    fn hours_of_a_clock_that_is_far_ahead_do_not_push_those_of_now_away() {
        let count = json!([{ "variant": "on", "count": 1 }]);
        let list = json!([
            {"hour": "2027-01-17T18:00:00.000Z", "counts": count},
            {"hour": "2035-01-17T18:00:00.000Z", "counts": count},
        ]);
        let now = UnixMs::parse_rfc3339("2027-01-17T18:30:00Z").expect("a date");
        let rows = Sums::read(&list, "hour", HOUR_MS, 2, now).rows;
        assert_eq!(rows.iter().map(|(_, counts)| counts[0]).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn hours_are_drawn_with_their_variants_and_those_without_any() {
        let count = |variant: Value, count: u64| json!({ "variant": variant, "count": count });
        let list = json!([
            {"hour": "2027-01-17T14:00:00.000Z", "counts": [count("on".into(), 9)]},
            {"hour": "2027-01-17T16:00:00.000Z", "counts": [count("on".into(), 3_000), count("off".into(), 1_000)]},
            {"hour": "2027-01-17T18:00:00.000Z", "counts": [count(Value::Null, 1), count("on".into(), 1_999)]},
        ]);
        let now = UnixMs::parse_rfc3339("2027-01-17T18:30:00Z").expect("a date");
        let mut out = Vec::new();
        let table = Sums::read(&list, "hour", HOUR_MS, 4, now).table();
        table.write(&mut out, Style::default(), "").expect("a vector takes everything");
        let shown = String::from_utf8(out).expect("text");
        let bars = |on: usize, off: usize, none: usize| "█".repeat(on) + &"▒".repeat(off) + &"░".repeat(none);
        let lines = [
            "HOUR                  █ on   ▒ off  ░ (none)".to_owned(),
            "2027-01-17 15:00 UTC  0      0      0".to_owned(),
            format!("2027-01-17 16:00 UTC  3,000  1,000  0         {}", bars(30, 10, 0)),
            "2027-01-17 17:00 UTC  0      0      0".to_owned(),
            format!("2027-01-17 18:00 UTC  1,999  0      1         {}", bars(19, 0, 1)),
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), lines);
    }
}
