//! `tidegate flag history`, `diff` and `revert`: what became of a flag, what differs, and back to what it was.

use clap::Args;
use rollout_rules::ids::{AppKey, FlagKey};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::with_query;
use super::failure::Failure;
use super::flag::{Place, path, read};
use super::output::Table;
use super::proposal;
use super::reading::{actor, items, moment, text};
use super::session::Session;
use super::view::FlagView;
use super::when;

/// How many entries are shown if nobody says.
const DEFAULT_LAST: usize = 50;
/// Most entries asked for at once.
const PAGE: usize = 500;

/// Whose history, and how much of it.
#[derive(Args, Clone, Debug)]
pub struct HistoryOptions {
    /// Which flag
    key: FlagKey,
    /// So many of the newest
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LAST)]
    last: usize,
}

/// Between which moments.
#[derive(Args, Clone, Debug)]
pub struct DiffOptions {
    /// Which flag
    key: FlagKey,
    /// From what it was after this revision
    #[arg(long, value_name = "REVISION")]
    from: u64,
    /// To what it was after this one; without it, to what it is
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
}

/// Where, and back to when.
#[derive(Args, Clone, Debug)]
pub struct RevertOptions {
    #[command(flatten)]
    place: Place,
    /// Back to what it did after this revision
    #[arg(long, value_name = "REVISION")]
    to: u64,
}

/// Prints the entries about a flag, newest first.
pub(super) fn history(session: &mut Session, app: &AppKey, options: &HistoryOptions) -> Result<(), Failure> {
    let all = format!("{}/history", path(app, &options.key));
    let mut found: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    while found.len() < options.last {
        let wanted = (options.last - found.len()).min(PAGE);
        let mut page = with_query(&all, "limit", &wanted.to_string());
        if let Some(cursor) = &cursor {
            page = with_query(&page, "cursor", cursor);
        }
        let answer = session.client.get(&page)?.body;
        found.extend_from_slice(items(&answer));
        match answer["next_cursor"].as_str() {
            Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
            _ => break,
        }
    }
    if session.json {
        return session.print_json(&json!({ "items": found }));
    }
    let mut table = Table::new(["REVISION", "AT (UTC)", "WHO", "WHAT", "WHY"]);
    for item in &found {
        table.row([
            text(item, "revision"),
            moment(item, "at").map_or_else(String::new, when::second),
            actor(&item["actor"]),
            text(item, "what"),
            text(item, "reason"),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "nothing yet")?)
}

/// Prints what differs.
pub(super) fn diff(session: &mut Session, app: &AppKey, options: &DiffOptions) -> Result<(), Failure> {
    let mut asked =
        with_query(&format!("{}/diff", path(app, &options.key)), "from", &options.from.to_string());
    if let Some(to) = options.to {
        asked = with_query(&asked, "to", &to.to_string());
    }
    let answer = session.client.get(&asked)?.body;
    if session.json {
        return session.print_json(&answer);
    }
    let end = |end: &Value| {
        let at = moment(end, "at").map_or_else(String::new, when::second);
        format!("revision {} ({at})", text(end, "revision"))
    };
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (from, to) = (end(&answer["from"]), end(&answer["to"]));
    if changes.is_empty() {
        return session.say(format_args!("{} is the same at {from} and {to}", options.key));
    }
    session.say(format_args!("{} from {from} to {to}:", options.key))?;
    changes.iter().try_for_each(|change| difference(session, change))
}

fn difference(session: &mut Session, change: &Value) -> Result<(), Failure> {
    let path = match text(change, "path") {
        path if path.is_empty() => "the flag".to_owned(),
        path => path,
    };
    match (&change["before"], &change["after"]) {
        (Value::Array(before), Value::Array(after)) => {
            let only = |one: &[Value], other: &[Value]| -> Vec<String> {
                one.iter().filter(|item| !other.contains(item)).map(Value::to_string).collect()
            };
            let (gone, come) = (only(before, after), only(after, before));
            if gone.is_empty() && come.is_empty() {
                session.say(format_args!("  {path}: in another order"))?;
            }
            for (sign, items) in [('-', gone), ('+', come)] {
                if !items.is_empty() {
                    session.say(format_args!("  {path}: {sign} {}", items.join(", ")))?;
                }
            }
            Ok(())
        }
        (Value::Null, after) => session.say(format_args!("  {path}: + {after}")),
        (before, Value::Null) => session.say(format_args!("  {path}: - {before}")),
        (before, after) => session.say(format_args!("  {path}: {before} -> {after}")),
    }
}

/// Goes back, based on the state that was read.
pub(super) fn revert(session: &mut Session, app: &AppKey, options: &RevertOptions) -> Result<(), Failure> {
    let place = &options.place;
    let flag = read(session, app, &place.key)?;
    let (environment, state) = flag.state(place.environment.as_ref())?;
    let seen = place.seen.if_revision.unwrap_or(flag.revision);
    let mut body = session.with_reason(json!({ "to": options.to }));
    if place.seen.propose {
        body["propose"] = true.into();
    }
    let path = format!("{}/environments/{environment}/revert", path(app, &place.key));
    if place.seen.propose {
        // Sent again with the same key it makes no second one.
        let answer = session.client.create(&path, &body, Some(seen))?;
        return proposal::say_proposed(session, &answer.body);
    }
    let answer = session.client.change(Method::POST, &path, &body, Some(seen))?;
    if session.json {
        return session.print_json(&answer.body);
    }
    let now = FlagView::read(&answer.body, session)?;
    let (before, after) = (&state.serving, now.serving(environment));
    let (key, to) = (&place.key, options.to);
    if now.revision == flag.revision {
        return session
            .say(format_args!("{key} in {environment} is set as at revision {to} already: {after}"));
    }
    session.say(format_args!(
        "{key} in {environment} is set as at revision {to}: {after} (was: {before}); now revision {}",
        now.revision
    ))
}
