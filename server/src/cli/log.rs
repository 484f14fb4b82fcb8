//! `tidegate log`: who changed what, when and why.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Args;
use rollout_rules::ids::AppKey;
use serde_json::Value;

use super::client::with_query;
use super::describe;
use super::failure::Failure;
use super::output::{Table, note};
use super::reading::{actor, moment, text};
use super::session::Session;
use super::when;

/// How many entries are shown if nobody says.
const DEFAULT_LAST: u64 = 50;
/// Entries asked for at once.
const PAGE: u64 = 500;
/// How much further back each look goes that found too few entries.
const LOOK_BACK_FACTOR: u64 = 4;
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
    /// So many of the newest; of the app's, if one is named
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LAST, conflicts_with = "after")]
    last: u64,
    /// Only what concerns this app
    #[arg(long, short = 'a', value_name = "APP")]
    app: Option<AppKey>,
}

/// Prints the log. As JSON it is one entry a line.
pub(super) fn run(session: &mut Session, options: &LogOptions) -> Result<(), Failure> {
    let seen = match options.after {
        Some(after) => {
            let mut shown = Shown::new(session, options);
            let seen = read_on(session, after, options, &mut |session, entry| shown.take(session, entry))?;
            shown.end(session)?;
            seen
        }
        None => newest(session, options)?,
    };
    if options.follow { follow(session, seen, options) } else { Ok(()) }
}

/// Prints the newest entries; answers with the last revision seen. Where only an app's entries are wanted,
/// it looks back as far as it takes to find enough of them.
fn newest(session: &mut Session, options: &LogOptions) -> Result<u64, Failure> {
    let head = head(session)?;
    let wanted = usize::try_from(options.last).unwrap_or(usize::MAX);
    let mut back = options.last;
    loop {
        let after = head.saturating_sub(back);
        let mut entries = VecDeque::new();
        let seen = read_on(session, after, options, &mut |_, entry| {
            if entries.len() == wanted {
                entries.pop_front();
            }
            if wanted > 0 {
                entries.push_back(entry);
            }
            Ok(())
        })?;
        if entries.len() < wanted && after > 0 {
            back = back.saturating_mul(LOOK_BACK_FACTOR);
            continue;
        }
        let mut shown = Shown::new(session, options);
        entries.into_iter().try_for_each(|entry| shown.take(session, entry))?;
        shown.end(session)?;
        return Ok(seen);
    }
}

/// The newest revision, also of a server that is not ready: its log is what somebody wants to see then.
fn head(session: &Session) -> Result<u64, Failure> {
    let strange = || session.client.strange("/readyz without a revision");
    match session.client.get("/readyz") {
        Ok(ready) => ready.body["revision"].as_u64().ok_or_else(strange),
        Err(Failure::Refused(problem)) => match problem.body.get("revision").and_then(Value::as_u64) {
            Some(revision) => Ok(revision),
            None => Err(Failure::Refused(problem)),
        },
        Err(failure) => Err(failure),
    }
}

/// Reads what comes after a revision, to the end; answers with the last revision seen.
fn read_on(
    session: &mut Session,
    mut after: u64,
    options: &LogOptions,
    each: &mut dyn FnMut(&mut Session, Value) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    loop {
        let mut path = with_query("/v1/log", "after", &after.to_string());
        path = with_query(&path, "limit", &PAGE.to_string());
        if let Some(app) = &options.app {
            path = with_query(&path, "app", app.as_str());
        }
        let mut page = session.client.get(&path)?.body;
        let Value::Array(entries) = page["items"].take() else {
            return Err(session.client.strange("a log without `items`"));
        };
        let none = entries.is_empty();
        for entry in entries {
            after = after.max(entry["revision"].as_u64().unwrap_or(0));
            each(session, entry)?;
        }
        match page["next_after"].as_u64() {
            Some(next) if next > after || (next == after && !none) => after = next,
            _ => return Ok(after),
        }
    }
}

/// Entries on their way to standard output: at once where a line is an entry, else as one table at the end.
struct Shown(Option<Table>);

impl Shown {
    fn new(session: &Session, options: &LogOptions) -> Shown {
        let by_line = session.json || options.follow;
        Shown((!by_line).then(|| Table::new(["REVISION", "AT (UTC)", "WHO", "WHAT", "WHY"])))
    }

    fn take(&mut self, session: &mut Session, entry: Value) -> Result<(), Failure> {
        match &mut self.0 {
            Some(table) => table.row(cells(&entry)),
            None => print(session, &entry)?,
        }
        Ok(())
    }

    fn end(self, session: &mut Session) -> Result<(), Failure> {
        if let Some(table) = self.0 {
            table.write(&mut *session.out, session.style, "nothing yet")?;
        }
        Ok(session.out.flush()?)
    }
}

fn cells(entry: &Value) -> [String; 5] {
    [
        text(entry, "revision"),
        moment(entry, "at").map_or_else(String::new, when::second),
        actor(&entry["actor"]),
        describe::change(&entry["change"]),
        match (text(entry, "reason"), text(entry, "plan")) {
            (reason, plan) if plan.is_empty() => reason,
            (reason, plan) => format!("{reason} [{plan}]").trim_start().to_owned(),
        },
    ]
}

fn print(session: &mut Session, entry: &Value) -> Result<(), Failure> {
    if session.json {
        writeln!(session.out, "{entry}")?;
    } else {
        let [revision, at, who, what, why] = cells(entry);
        let why = if why.is_empty() { String::new() } else { format!("  ({why})") };
        session.say(format_args!("{revision:>8}  {at}  {who}  {what}{why}"))?;
    }
    Ok(session.out.flush()?)
}

/// Prints what comes; a stream that ends or falls silent is opened again where it ended.
fn follow(session: &mut Session, mut after: u64, options: &LogOptions) -> Result<(), Failure> {
    let mut said = false;
    loop {
        let mut path = with_query("/v1/log/stream", "after", &after.to_string());
        if let Some(app) = &options.app {
            path = with_query(&path, "app", app.as_str());
        }
        match session.client.stream(&path) {
            Ok(stream) => {
                said = false;
                follow_one(session, stream, &mut after)?;
            }
            // Once for each time that it is away, however long it stays away.
            Err(failure) if failure.is_passing() => {
                if !std::mem::replace(&mut said, true) && !session.json {
                    note(format_args!("{failure}; trying again until it is back"));
                }
            }
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
                let data = std::mem::take(&mut data);
                if data.is_empty() {
                    continue;
                }
                // What cannot be read is not passed over: a trail with a hole is none.
                let entry: Value = serde_json::from_str(&data)
                    .map_err(|_| session.client.strange("a log entry that is no JSON"))?;
                let revision = entry["revision"].as_u64().unwrap_or(0);
                if revision > *after {
                    *after = revision;
                    print(session, &entry)?;
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
