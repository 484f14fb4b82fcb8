//! Who has a kill: followed from the moment that it is made, until every connected SDK has said so.

use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::Value;
use ureq::http::Method;

use super::client::{Call, encoded};
use super::failure::Failure;
use super::output::{note, redraws};
use super::reading::{moment, text};
use super::session::Session;
use super::when;
use crate::duration;

/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after the first look; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause between looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Most silent clients that are named to a person, and most of those that are gone.
const MAX_NAMED: usize = 10;

/// So long after a server has started, SDKs may be yet to come back to it: they wait for up to 30 s between two tries.
const FLEET_RETURNS: DurationMs = DurationMs(60_000);

/// How long to watch a kill on its way.
#[derive(Args, Clone, Debug)]
pub(super) struct FollowOptions {
    /// How long to watch until every connected SDK has it; the kill itself does not wait
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = length)]
    wait: DurationMs,
    /// Do not ask who has it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

/// A length of time as typed.
pub(super) fn length(text: &str) -> Result<DurationMs, String> {
    duration::parse(text).ok_or_else(|| format!("write {}", duration::EXPECTED))
}

/// What became known of a kill's way.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// What the server said last.
    last: Option<Value>,
    /// Why it said no more.
    failure: Option<Failure>,
}

/// Watches a kill until every connected SDK has it, or the time is over; on a terminal it shows how far it
/// has come. `None`: nobody wants to know.
pub(super) fn follow(
    session: &mut Session,
    kill_id: &str,
    options: &FollowOptions,
) -> Result<Option<Followed>, Failure> {
    if options.no_wait {
        return Ok(None);
    }
    let path = format!("/v1/kills/{}", encoded(kill_id));
    let redraw = !session.json && redraws();
    let (begun, patience) = (Instant::now(), Duration::from_millis(options.wait.0));
    let mut followed = Followed::default();
    let mut pause = FIRST_PAUSE;
    loop {
        let call = Call { timeout: Some(LOOK_TIMEOUT), ..Call::default() };
        match session.client.call(Method::GET, &path, &call) {
            Ok(answer) => followed = Followed { last: Some(answer.body), failure: None },
            Err(failure) => followed.failure = Some(failure),
        }
        if redraw && let Some(delivery) = &followed.last {
            write!(session.out, "\r\u{1b}[K{}", progress(delivery))?;
            session.out.flush()?;
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() || followed.is_settled() {
            break;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    if redraw && followed.last.is_some() {
        write!(session.out, "\r\u{1b}[K")?;
    }
    Ok(Some(followed))
}

impl Followed {
    /// Whether looking again would show nothing new.
    fn is_settled(&self) -> bool {
        match (&self.failure, &self.last) {
            (Some(failure), _) => !failure.is_passing(),
            (None, last) => last.as_ref().is_some_and(|delivery| count(delivery, "silent") == 0),
        }
    }

    /// Adds it to what a program is told of the kill.
    pub(super) fn add_to(&self, kill: &mut Value) {
        kill["delivery"] = self.last.clone().unwrap_or_default();
        if let Some(failure) = &self.failure {
            kill["delivery_error"] = failure.as_json();
        }
    }

    /// Tells a person.
    pub(super) fn tell(&self, session: &mut Session) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            note(format_args!("who has it could not be asked to the end: {failure}"));
        }
        let Some(delivery) = &self.last else { return Ok(()) };
        if let Some(since) = moment(delivery, "counted_since").filter(|since| is_fresh(*since, session.now)) {
            let since = heard(since, session.now);
            session.say(format_args!(
                "the server counts clients since {since}: SDKs that have yet to come back to it are not among them"
            ))?;
        }
        session.say(summary(delivery, session.now))?;
        if name_them(session, delivery, "silent", "last heard of", "last_heard_at")? {
            session.say(
                "the kill itself is done: a client that is silent gets it as soon as it hears from the server \
                 again (`tidegate clients --behind`)",
            )?;
        }
        if name_them(session, delivery, "gone", "connected until", "gone_at")? {
            session.say(
                "a client that is gone may have ended; one that still runs serves what it had until it reaches the \
                 server again",
            )?;
        }
        Ok(())
    }
}

/// Names the clients of a list, with what is known of their last moment, up to a bound; whether there are any.
fn name_them(
    session: &mut Session,
    delivery: &Value,
    list: &str,
    what: &str,
    when: &str,
) -> Result<bool, Failure> {
    let clients = delivery[list].as_array().map(Vec::as_slice).unwrap_or_default();
    for client in clients.iter().take(MAX_NAMED) {
        let last = moment(client, when).map_or_else(String::new, |at| heard(at, session.now));
        session.say(format_args!("  {}: {what} {last}", called(client)))?;
    }
    let more = count(delivery, list).saturating_sub(MAX_NAMED as u64);
    if more > 0 {
        session.say(format_args!("  and {} more", grouped(more)))?;
    }
    Ok(!clients.is_empty())
}

/// Whether a server has started so lately that SDKs may still be on their way back to it.
fn is_fresh(since: UnixMs, now: UnixMs) -> bool {
    now.since(since) < FLEET_RETURNS
}

fn count(delivery: &Value, name: &str) -> u64 {
    delivery["clients"][name].as_u64().unwrap_or(0)
}

/// How many have a kill, and after how long.
fn reached(delivery: &Value) -> String {
    let connected = count(delivery, "connected");
    if connected == 0 {
        return "no SDK is connected that it concerns".to_owned();
    }
    let have = grouped(count(delivery, "acknowledged"));
    let (clients, verb) = if connected == 1 { ("client", "has") } else { ("clients", "have") };
    let after = delivery["last_acknowledged_after_ms"].as_f64();
    let after = after.map_or_else(String::new, |after| format!(" after {}", milliseconds(after)));
    format!("{have} of {} {clients} {verb} it{after}", grouped(connected))
}

/// How far a kill has come, in a line that is short enough to be written over.
fn progress(delivery: &Value) -> String {
    let mut line = reached(delivery);
    let silent = count(delivery, "silent");
    if silent > 0 {
        line.push_str(&format!("; waiting for {}", grouped(silent)));
    }
    line
}

/// How far a kill has come, in one line.
fn summary(delivery: &Value, now: UnixMs) -> String {
    let mut line = reached(delivery);
    let since = moment(&delivery["silent"][0], "last_heard_at");
    let since = since.map_or_else(String::new, |since| format!(" since {}", heard(since, now)));
    match count(delivery, "silent") {
        0 => {}
        1 => line.push_str(&format!("; 1 is silent{since}")),
        silent => line.push_str(&format!("; {} are silent, the longest{since}", grouped(silent))),
    }
    for (name, one, many) in [
        ("gone", "is gone without having said so", "are gone without having said so"),
        ("unnamed", "feed gives no name and cannot say", "feeds give no name and cannot say"),
        ("event_streams", "OFREP stream was told to fetch again", "OFREP streams were told to fetch again"),
        ("pages", "web page was told", "web pages were told"),
    ] {
        match count(delivery, name) {
            0 => {}
            1 => line.push_str(&format!("; 1 {one}")),
            number => line.push_str(&format!("; {} {many}", grouped(number))),
        }
    }
    line
}

/// A client and where it is: `web-1 of shop/production (tidegate-rust 0.1.0)`.
fn called(client: &Value) -> String {
    let sdk = sdk(client);
    let sdk = if sdk.is_empty() { sdk } else { format!(" ({sdk})") };
    let [instance, app, environment] = ["instance", "app", "environment"].map(|name| text(client, name));
    format!("{instance} of {app}/{environment}{sdk}")
}

/// What a client is: `tidegate-rust 0.1.0`.
pub(super) fn sdk(client: &Value) -> String {
    let (name, version) = (text(client, "sdk"), text(client, "version"));
    if version.is_empty() { name } else { format!("{name} {version}") }
}

fn heard(at: UnixMs, now: UnixMs) -> String {
    format!("{} UTC ({})", when::second(at), when::ago(at, now))
}

/// Milliseconds as people read them: `3.2 ms`, `1,310 ms`.
fn milliseconds(length_ms: f64) -> String {
    if length_ms < 10.0 {
        return format!("{length_ms:.1} ms");
    }
    let digits = format!("{length_ms:.0}");
    digits.parse().map_or(format!("{digits} ms"), |whole: u64| format!("{} ms", grouped(whole)))
}

/// A number with its thousands set apart: `10,000`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kill_on_its_way_is_told_in_one_line() {
        let at = UnixMs(1_800_000_000_000);
        let delivery = |connected: u64, silent: u64, after: Value, streams: u64| {
            let clients = json!({"connected": connected, "acknowledged": connected - silent, "silent": silent,
                                 "gone": streams / 2, "unnamed": streams / 3, "event_streams": streams});
            let named = if silent > 0 { json!([{"last_heard_at": at.to_string()}]) } else { json!([]) };
            let told = json!({"clients": clients, "last_acknowledged_after_ms": after, "silent": named});
            summary(&told, at.plus(DurationMs(180_000)))
        };
        assert_eq!(
            delivery(10_000, 2, 310.4.into(), 0),
            "9,998 of 10,000 clients have it after 310 ms; \
             2 are silent, the longest since 2027-01-15 08:00:00 UTC (3m ago)"
        );
        assert_eq!(
            delivery(1, 1, Value::Null, 1),
            "0 of 1 client has it; 1 is silent since 2027-01-15 08:00:00 UTC (3m ago); \
             1 OFREP stream was told to fetch again"
        );
        assert_eq!(
            delivery(1_234_567, 0, 1_310.0.into(), 0),
            "1,234,567 of 1,234,567 clients have it after 1,310 ms"
        );
        assert_eq!(
            delivery(0, 0, Value::Null, 3),
            "no SDK is connected that it concerns; 1 is gone without having said so; \
             1 feed gives no name and cannot say; 3 OFREP streams were told to fetch again"
        );
        assert_eq!(delivery(2, 0, 3.21.into(), 0), "2 of 2 clients have it after 3.2 ms");
    }

    #[test]
    fn a_server_is_fresh_until_its_clients_have_had_time_to_come_back() {
        let since = UnixMs(1_800_000_000_000);
        assert!(is_fresh(since, since) && is_fresh(since, since.plus(DurationMs(59_999))));
        assert!(!is_fresh(since, since.plus(FLEET_RETURNS)));
    }
}
