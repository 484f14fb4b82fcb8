//! The server itself: whether it answers, what time it has, its version, and the room that is left for its log.

use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::Value;

use super::Finding;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::reading::{moment, text};
use crate::cli::when;
use crate::clock::Clock;

/// From here on clocks differ by more than a slow answer explains.
const SKEW_WARNING: DurationMs = DurationMs(5_000);
/// From here on schedules, previews' ends and expiries visibly come early or late.
const SKEW_FAILURE: DurationMs = DurationMs(60_000);
/// With less space than this the log may be full before somebody looks again.
const LITTLE_SPACE_BYTES: u64 = 1024 * 1024 * 1024;
/// With less than this it is about to be full: changes will be refused, kills go on.
const NO_SPACE_BYTES: u64 = 100 * 1024 * 1024;

/// An answer, and between which moments of this machine it was made.
pub(super) struct Reached {
    asked: UnixMs,
    answered: UnixMs,
    /// The header `Date`, which whatever stands before the server may have written.
    date: Option<String>,
}

impl Reached {
    /// How long the answer took.
    pub(super) fn took(&self) -> DurationMs {
        self.answered.since(self.asked)
    }
}

/// Whether something answers like Tidegate.
pub(super) fn reach(client: &Client) -> Result<Reached, Failure> {
    let asked = Clock::system().now();
    let health = client.get("/healthz")?;
    if health.body["status"] != "ok" {
        return Err(client.strange("/healthz without a status"));
    }
    Ok(Reached { asked, answered: Clock::system().now(), date: health.date })
}

/// What the server says of itself to whoever has a token.
pub(super) struct Told {
    body: Value,
    asked: UnixMs,
    answered: UnixMs,
}

impl Told {
    /// Asks for it. Servers from before there was such an answer say nothing.
    pub(super) fn ask(client: &Client) -> Result<Told, Failure> {
        let asked = Clock::system().now();
        let body = match client.get("/v1/server") {
            Ok(told) => told.body,
            Err(Failure::Refused(problem)) if problem.status == 404 => Value::Null,
            Err(failure) => return Err(failure),
        };
        Ok(Told { body, asked, answered: Clock::system().now() })
    }

    /// Whether the tool is of the server's version.
    pub(super) fn version(&self) -> Finding {
        let ours = env!("CARGO_PKG_VERSION");
        match self.body["version"].as_str() {
            Some(version) if version == ours => Finding::ok("version", format!("{version}, as this tool")),
            Some(version) => Finding::warning(
                "version",
                format!("the server has {version}, this tool {ours}"),
                "use the tool of the server's version: an older one may lack what the newer one needs",
            ),
            None => {
                Finding::warning("version", "the server does not tell its version", "bring it up to date")
            }
        }
    }

    /// The room for the log. That nobody looked is said too: silence would read as sound.
    pub(super) fn disk(&self, who: &Value) -> Finding {
        let operates =
            matches!(text(who, "scope").as_str(), "admin" | "operator") && who.get("app").is_none();
        let Some(free) = self.body["disk"]["free_bytes"].as_u64() else {
            return match self.body.get("disk") {
                Some(_) => Finding::warning(
                    "disk",
                    "the server cannot tell how much room is left",
                    "look at the file system of its data_dir: it does not answer",
                ),
                None if operates => Finding::skipped(
                    "disk",
                    "the server tells of none",
                    "a log in memory needs no room on one",
                ),
                None => Finding::skipped(
                    "disk",
                    "this token is not told",
                    "run it with the token of an admin or operator of all apps to see",
                ),
            };
        };
        let found = format!("{} MiB are free on the server", free / (1024 * 1024));
        let advice = "make room or a larger disk: a full one refuses changes, though never kills";
        match free {
            free if free < NO_SPACE_BYTES => Finding::failed("disk", found, advice),
            free if free < LITTLE_SPACE_BYTES => Finding::warning("disk", found, advice),
            _ => Finding::ok("disk", found),
        }
    }
}

/// Whether the server hands out the browser SDK. Not every server has to.
pub(super) fn sdk(client: &Client) -> Finding {
    match client.get("/sdk") {
        Ok(told) => Finding::ok(
            "sdk",
            format!("the browser SDK is handed out at /sdk, build {}", text(&told.body, "release")),
        ),
        Err(Failure::Refused(problem)) if problem.code == "sdk_not_built" => Finding::skipped(
            "sdk",
            "the server was built without the browser SDK",
            "pages that load it from the server need it: run `make wasm`, then build the server again",
        ),
        Err(Failure::Refused(problem)) if problem.status == 404 => {
            Finding::skipped("sdk", "the server is of a time before the browser SDK", "bring it up to date")
        }
        Err(failure) => Finding::of_failure("sdk", &failure),
    }
}

/// Whether the server's clock agrees with this machine's: by what the server itself says, or else by the header
/// `Date`, which proxies write anew by clocks of their own.
pub(super) fn clock(told: Option<&Told>, reached: &Reached) -> Finding {
    let own = told.and_then(|told| Some((moment(&told.body, "now")?, told)));
    if let Some((now, told)) = own {
        return judged((now, now), (told.asked, told.answered));
    }
    match reached.date.as_deref().and_then(when::http_date) {
        // It is the second that had begun.
        Some(second) => {
            let span = (second, second.plus(DurationMs(1_000)));
            let mut finding = judged(span, (reached.asked, reached.answered));
            finding.found.push_str(", by the header Date");
            finding
        }
        None => Finding::skipped(
            "clock",
            "the answer does not say what time the server has",
            "with a valid token the server tells it itself",
        ),
    }
}

/// Compares the time that the server has, which lies between two moments, with the time that it took to tell it.
fn judged(server: (UnixMs, UnixMs), here: (UnixMs, UnixMs)) -> Finding {
    let (earliest, latest) = server;
    let (asked, answered) = here;
    let (behind, ahead) = (asked.since(latest), earliest.since(answered));
    let (skew, way) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
    let found = format!("the server's clock is {} s {way} this machine's", skew.0 / 1_000);
    let advice =
        "let both keep their time with NTP: expiries, previews' ends and schedules go by these clocks";
    match skew {
        skew if skew >= SKEW_FAILURE => Finding::failed("clock", found, advice),
        skew if skew >= SKEW_WARNING => Finding::warning("clock", found, advice),
        _ => Finding::ok("clock", "the server's clock agrees with this machine's"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::*;

    const ASKED: &str = "2026-11-25T10:00:00.900Z";

    fn reached(date: Option<&str>, took: u64) -> Reached {
        let asked = UnixMs::parse_rfc3339(ASKED).expect("a date");
        Reached { asked, answered: asked.plus(DurationMs(took)), date: date.map(str::to_owned) }
    }

    fn told(body: Value) -> Told {
        let Reached { asked, answered, .. } = reached(None, 1);
        Told { body, asked, answered }
    }

    #[test]
    fn clocks_may_differ_by_what_a_slow_answer_explains() {
        let verdict = |date: &str, took: u64| clock(None, &reached(Some(date), took)).verdict;
        assert_eq!(verdict("Wed, 25 Nov 2026 10:00:00 GMT", 1), Verdict::Ok);
        assert_eq!(verdict("Wed, 25 Nov 2026 10:00:20 GMT", 25_000), Verdict::Ok);
        assert_eq!(verdict("Wed, 25 Nov 2026 10:00:20 GMT", 1), Verdict::Warning);
        assert_eq!(verdict("Wed, 25 Nov 2026 09:59:50 GMT", 1), Verdict::Warning);
        assert_eq!(verdict("Wed, 25 Nov 2026 08:59:50 GMT", 1), Verdict::Failed);
        assert_eq!(verdict("yesterday", 1), Verdict::Skipped);
    }

    #[test]
    fn what_the_server_says_of_its_clock_counts_more_than_what_a_proxy_says() {
        let by = |now: &str, date: &str| {
            clock(Some(&told(json!({ "now": now }))), &reached(Some(date), 1)).verdict
        };
        assert_eq!(by("2026-11-25T09:00:00.900Z", "Wed, 25 Nov 2026 10:00:00 GMT"), Verdict::Failed);
        assert_eq!(by(ASKED, "Wed, 25 Nov 2026 09:00:00 GMT"), Verdict::Ok);
    }

    #[test]
    fn a_disk_that_nobody_looked_at_is_not_called_sound() {
        let verdict = |disk: Value, who: Value| told(disk).disk(&who).verdict;
        let free = |bytes: u64| json!({ "disk": { "free_bytes": bytes } });
        let admin = json!({ "scope": "admin" });
        assert_eq!(verdict(free(LITTLE_SPACE_BYTES), admin.clone()), Verdict::Ok);
        assert_eq!(verdict(free(LITTLE_SPACE_BYTES - 1), admin.clone()), Verdict::Warning);
        assert_eq!(verdict(free(NO_SPACE_BYTES - 1), admin.clone()), Verdict::Failed);
        assert_eq!(verdict(json!({ "disk": null }), admin.clone()), Verdict::Warning);
        assert_eq!(verdict(json!({}), admin), Verdict::Skipped);
        assert_eq!(verdict(json!({}), json!({ "scope": "admin", "app": "shop" })), Verdict::Skipped);
    }
}
