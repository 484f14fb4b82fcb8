//! `tidegate log`: who changed what, when and why.

use std::io::BufRead;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Args;
use rollout_rules::ids::AppKey;
use serde_json::Value;

use super::client::with_query;
use super::describe;
use super::failure::Failure;
use super::output::Table;
use super::reading::{actor, items, moment, text};
use super::session::Session;
use super::when;

/// How many entries are shown if nobody says.
const DEFAULT_LAST: u64 = 50;
/// Entries asked for at once.
const PAGE: u64 = 500;
/// A stream that says nothing for so long, not even its heartbeat, is given up.
const SILENCE: Duration = Duration::from_secs(45);
/// Pause before a stream is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Which part of the log.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// Go on and print what comes, until stopped
    #[arg(long, short = 'f')]
    follow: bool,
    /// From the entry after this revision on
    #[arg(long, value_name = "REVISION")]
    after: Option<u64>,
    /// So many of the newest
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LAST, conflicts_with = "after")]
    last: u64,
    /// Only what concerns this app
    #[arg(long, short = 'a', value_name = "APP")]
    app: Option<AppKey>,
}

/// Prints the log. As JSON it is one entry a line.
pub(super) fn run(session: &mut Session, options: &LogOptions) -> Result<(), Failure> {
    let after = match options.after {
        Some(after) => after,
        None => head(session)?.saturating_sub(options.last),
    };
    let seen = page_through(session, after, options)?;
    if options.follow { follow(session, seen, options) } else { Ok(()) }
}

/// The newest revision.
fn head(session: &Session) -> Result<u64, Failure> {
    let ready = session.client.get("/readyz")?;
    ready.body["revision"].as_u64().ok_or_else(|| session.client.strange("/readyz without a revision"))
}

/// Prints what is there; answers with the last revision seen.
fn page_through(session: &mut Session, mut after: u64, options: &LogOptions) -> Result<u64, Failure> {
    let mut table = Table::new(["REVISION", "AT (UTC)", "WHO", "WHAT", "WHY"]);
    loop {
        let mut path = with_query("/v1/log", "after", &after.to_string());
        path = with_query(&path, "limit", &PAGE.to_string());
        if let Some(app) = &options.app {
            path = with_query(&path, "app", app.as_str());
        }
        let page = session.client.get(&path)?.body;
        for entry in items(&page) {
            after = after.max(entry["revision"].as_u64().unwrap_or(0));
            if session.json || options.follow {
                print(session, entry)?;
            } else {
                table.row(cells(entry));
            }
        }
        match page["next_after"].as_u64() {
            Some(next) if next > after || (next == after && !items(&page).is_empty()) => after = next,
            _ => break,
        }
    }
    if !session.json && !options.follow {
        table.write(&mut *session.out, session.style, "nothing yet")?;
    }
    session.out.flush()?;
    Ok(after)
}

fn cells(entry: &Value) -> [String; 5] {
    [
        text(entry, "revision"),
        moment(entry, "at").map_or_else(String::new, when::second),
        actor(&entry["actor"]),
        describe::change(&entry["change"]),
        text(entry, "reason"),
    ]
}

fn print(session: &mut Session, entry: &Value) -> Result<(), Failure> {
    if session.json {
        session.say(entry)?;
    } else {
        let [revision, at, who, what, why] = cells(entry);
        let why = if why.is_empty() { String::new() } else { format!("  ({why})") };
        session.say(format_args!("{revision:>8}  {at}  {who}  {what}{why}"))?;
    }
    Ok(session.out.flush()?)
}

/// Prints what comes; a stream that ends or falls silent is opened again where it ended.
fn follow(session: &mut Session, mut after: u64, options: &LogOptions) -> Result<(), Failure> {
    loop {
        let mut path = with_query("/v1/log/stream", "after", &after.to_string());
        if let Some(app) = &options.app {
            path = with_query(&path, "app", app.as_str());
        }
        match session.client.stream(&path) {
            Ok(stream) => follow_one(session, stream, &mut after)?,
            Err(failure) if failure.is_passing() => eprintln!("{failure}; trying again"),
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(PAUSE);
    }
}

fn follow_one(
    session: &mut Session,
    stream: Box<dyn BufRead + Send>,
    after: &mut u64,
) -> Result<(), Failure> {
    let (sender, lines) = mpsc::sync_channel::<String>(1024);
    std::thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut data = String::new();
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) if line.is_empty() => {
                if let Ok(entry) = serde_json::from_str::<Value>(&std::mem::take(&mut data)) {
                    let revision = entry["revision"].as_u64().unwrap_or(0);
                    if revision > *after {
                        *after = revision;
                        print(session, &entry)?;
                    }
                }
            }
            Ok(line) => {
                if let Some(text) = line.strip_prefix("data:") {
                    data.push_str(text.strip_prefix(' ').unwrap_or(text));
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
