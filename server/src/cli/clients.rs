//! `tidegate clients`: which SDKs are connected, what they serve and how stale it is.

use clap::Args;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::time::UnixMs;
use serde_json::Value;

use super::client::with_query;
use super::delivery::{grouped, sdk};
use super::failure::Failure;
use super::output::{Table, Tone};
use super::reading::{items, moment, text};
use super::session::Session;
use super::when;

/// Which clients.
#[derive(Args, Clone, Debug)]
pub struct ClientsOptions {
    /// Only of this app
    #[arg(long, short = 'a', value_name = "APP")]
    app: Option<AppKey>,
    /// Only in environments of this name
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
    /// Only those that have not said that they serve the newest
    #[arg(long)]
    behind: bool,
}

/// Lists them.
pub(super) fn run(session: &mut Session, options: &ClientsOptions) -> Result<(), Failure> {
    let mut path = "/v1/clients".to_owned();
    if let Some(app) = &options.app {
        path = with_query(&path, "app", app.as_str());
    }
    if let Some(environment) = &options.environment {
        path = with_query(&path, "environment", environment.as_str());
    }
    if options.behind {
        path = with_query(&path, "behind", "true");
    }
    let list = session.client.list(&path)?;
    if session.json {
        return session.print_json(&list);
    }
    session.say(counted(&list["counts"]))?;
    if items(&list).is_empty() {
        return Ok(());
    }
    let heads = ["CLIENT", "APP", "ENVIRONMENT", "SDK", "SERVES", "CONNECTED", "LAST HEARD", "STATE"];
    let mut table = Table::new(heads);
    for client in items(&list) {
        let ago = |name| moment(client, name).map_or_else(String::new, |at| when::ago(at, session.now));
        let (state, tone) = state(client, session.now);
        let mut cells: Vec<(String, Tone)> = [
            text(client, "instance"),
            text(client, "app"),
            text(client, "environment"),
            sdk(client),
            text(client, "revision"),
            ago("connected_at"),
            ago("last_heard_at"),
        ]
        .map(|cell| (cell, Tone::Plain))
        .into();
        cells.push((state, tone));
        table.toned_row(cells);
    }
    Ok(table.write(&mut *session.out, session.style, "")?)
}

/// The counts in one line.
fn counted(counts: &Value) -> String {
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    let connected = count("connected");
    let mut line = match connected {
        1 => "1 client is connected".to_owned(),
        many => format!("{} clients are connected", grouped(many)),
    };
    if connected > 0 {
        line.push_str(&format!(": {} up to date", grouped(count("current"))));
        for (name, what) in [("behind", "behind"), ("unconfirmed", "yet to say what they serve")] {
            if count(name) > 0 {
                line.push_str(&format!(", {} {what}", grouped(count(name))));
            }
        }
    }
    for (name, what) in [
        ("gone", "whose connection ended in the last 10 minutes and that have not come back"),
        ("unnamed", "feeds without a name, which cannot say what they serve"),
        ("event_streams", "OFREP event streams, which are only told to fetch again"),
        ("pages", "web pages, which are told what changes and acknowledge nothing"),
    ] {
        if count(name) > 0 {
            line.push_str(&format!("; besides {} {what}", grouped(count(name))));
        }
    }
    line
}

/// How stale a client is.
fn state(client: &Value, now: UnixMs) -> (String, Tone) {
    let more = if client["behind_by_more"] == true { "more than " } else { "" };
    match (client["state"].as_str(), client["behind_by"].as_u64(), moment(client, "behind_since")) {
        (Some("behind"), Some(by), Some(since)) => {
            let changes = if by == 1 { "change" } else { "changes" };
            (format!("behind by {more}{by} {changes} since {}", when::ago(since, now)), Tone::Alarm)
        }
        (Some("current"), ..) => ("up to date".to_owned(), Tone::Live),
        (Some("unconfirmed"), ..) => ("has not said yet".to_owned(), Tone::Faint),
        (Some(other), ..) => (other.to_owned(), Tone::Alarm),
        (None, ..) => (String::new(), Tone::Plain),
    }
}
