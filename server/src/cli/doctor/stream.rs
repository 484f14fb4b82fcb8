//! Whether what the server streams passes whatever stands in between as it is sent.

use std::io::BufRead as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Finding;
use crate::cli::client::{Client, with_query};
use crate::cli::reading::text;

/// How long the first bytes may take: the server sends them at once.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(5);
/// From here on the first bytes were held back, if not for ever: kills would arrive as late.
const SLOW_FIRST_BYTES: Duration = Duration::from_secs(1);
const HELD_BACK: &str = "something in between holds streams back: switch response buffering off there for event \
                         streams (nginx: `proxy_buffering off`), or kills arrive late";

/// Opens a stream that the token may follow and waits for its first line.
pub(super) fn examine(client: &Client, who: &Value) -> Finding {
    let path = match (text(who, "scope").as_str(), who.get("app"), who.get("environment")) {
        ("sdk-browser", ..) => {
            let advice = "run it with the token of a server-side SDK or of a viewer to see";
            return Finding::skipped(
                "stream",
                "a browser's token opens none that could be looked at",
                advice,
            );
        }
        ("sdk-server", Some(_), Some(_)) => "/v1/feed",
        ("sdk-server", ..) => {
            let advice = "run it with a token for one app and environment to see";
            return Finding::skipped("stream", "this token has to say which feed it means", advice);
        }
        _ => "/v1/log/stream",
    };
    // From the end of the log: it is the first heartbeat that is waited for.
    let end = client.get("/readyz").ok().and_then(|ready| ready.body["revision"].as_u64());
    let path = match (path, end) {
        ("/v1/log/stream", Some(end)) => with_query(path, "after", &end.to_string()),
        _ => path.to_owned(),
    };
    let begun = Instant::now();
    let stream = match client.stream(&path) {
        Ok(stream) => stream,
        Err(failure) => {
            let held = failure.is_timeout();
            let advice = if held { HELD_BACK.to_owned() } else { failure.advice().unwrap_or_default() };
            return Finding::failed("stream", failure.to_string(), advice);
        }
    };
    let (sender, first) = mpsc::sync_channel(1);
    // A read that has no bound of its own can only be left behind.
    std::thread::spawn(move || {
        let mut stream = stream;
        let mut line = String::new();
        let read = stream.read_line(&mut line);
        // Whoever asked may have gone on by now.
        let _ = sender.send(read.is_ok_and(|length| length > 0));
    });
    match first.recv_timeout(FIRST_BYTES_TIMEOUT) {
        Ok(true) => arrived(begun.elapsed()),
        Ok(false) => Finding::failed(
            "stream",
            "the stream ended before its first event",
            "something in between cuts streams off: let them last, at least a minute without data",
        ),
        Err(_) => Finding::failed("stream", "nothing of the stream arrived within 5 s", HELD_BACK),
    }
}

/// What it means that the first bytes took so long. The server sends them with the head of its answer.
fn arrived(took: Duration) -> Finding {
    let found = format!("events arrive as they are sent, the first within {} ms", took.as_millis());
    if took < SLOW_FIRST_BYTES {
        return Finding::ok("stream", found);
    }
    Finding::warning("stream", format!("the first event took {} ms", took.as_millis()), HELD_BACK)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_comes_late_was_held_back_for_a_while() {
        assert_eq!(arrived(Duration::from_millis(999)).verdict, Verdict::Ok);
        let late = arrived(SLOW_FIRST_BYTES);
        assert_eq!(late.verdict, Verdict::Warning);
        assert!(late.found.contains("1000 ms") && late.advice.contains("buffering"), "{}", late.found);
    }
}
