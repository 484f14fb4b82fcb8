//! Whether what the server streams passes whatever stands in between as it is sent.

use std::io::BufRead as _;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::Finding;
use crate::cli::client::{Client, with_query};
use crate::cli::reading::text;

/// How long the first bytes may take: the server sends them at once.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(5);
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
        Ok(true) => Finding::ok("stream", "events arrive as they are sent"),
        Ok(false) => Finding::failed(
            "stream",
            "the stream ended before its first event",
            "something in between cuts streams off: let them last, at least a minute without data",
        ),
        Err(_) => Finding::failed("stream", "nothing of the stream arrived within 5 s", HELD_BACK),
    }
}
