//! `tidegate doctor`: looks at a set-up from where it runs, a line for each thing, with what to do.

mod connection;
mod stream;

use std::io::Write as _;

use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Tone;
use super::reading::{actor, moment, text};
use super::session::{CallOptions, Session};
use super::when;
use crate::certificate::days_left;
use crate::clock::Clock;

/// With fewer days left than this, a certificate or a token is warned of.
const WARN_DAYS: u64 = 14;
/// From here on clocks differ by more than a slow answer explains. The server's is told in whole seconds.
const SKEW_WARNING: DurationMs = DurationMs(5_000);
/// From here on schedules, previews' ends and expiries visibly come early or late.
const SKEW_FAILURE: DurationMs = DurationMs(60_000);
/// With less space than this the log may be full before somebody looks again.
const LITTLE_SPACE_BYTES: u64 = 1024 * 1024 * 1024;
/// With less than this it is about to be full: changes will be refused, kills go on.
const NO_SPACE_BYTES: u64 = 100 * 1024 * 1024;

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Verdict::Ok => Tone::Live,
            Verdict::Warning => Tone::Head,
            Verdict::Failed => Tone::Alarm,
        }
    }
}

/// One thing that was looked at.
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    advice: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, found: found.into(), advice: String::new() }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Warning, found: found.into(), advice: advice.into() }
    }

    fn failed(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Failed, found: found.into(), advice: advice.into() }
    }

    fn of_failure(check: &'static str, failure: &Failure) -> Finding {
        Finding::failed(check, failure.to_string(), failure.advice().unwrap_or_default())
    }

    fn as_json(&self) -> Value {
        json!({"check": self.check, "verdict": self.verdict.word(), "found": self.found, "advice": self.advice})
    }
}

/// Looks at everything that can be looked at, and fails if anything failed.
pub(super) fn run(session: &mut Session, call: &CallOptions) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let complete = examine(session, call, &mut findings)?;
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    if session.json {
        let checks: Vec<Value> = findings.iter().map(Finding::as_json).collect();
        session.print_json(&json!({"ok": failed == 0, "complete": complete, "checks": checks}))?;
    } else {
        for finding in &findings {
            print(session, finding)?;
        }
        if !complete {
            session.say("The rest can only be looked at once this is mended.")?;
        }
    }
    if failed > 0 { Err(Failure::Unsound { failed }) } else { Ok(()) }
}

fn print(session: &mut Session, finding: &Finding) -> Result<(), Failure> {
    let Finding { check, verdict, found, advice } = finding;
    let shown = session.style.paint(&format!("{:<7}", verdict.word()), verdict.tone());
    let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
    let rest = super::output::harmless(&format!("{check:<11}  {found}{advice}")).into_owned();
    Ok(writeln!(session.out, "{shown}  {rest}")?)
}

/// Whether all of it could be looked at.
fn examine(session: &Session, call: &CallOptions, findings: &mut Vec<Finding>) -> Result<bool, Failure> {
    if !connection::examine(&session.client, call, findings)? {
        return Ok(false);
    }
    let asked = Clock::system().now();
    let health = match session.client.get("/healthz") {
        Ok(health) if health.body["status"] == "ok" => health,
        Ok(_) => {
            findings
                .push(Finding::of_failure("server", &session.client.strange("/healthz without a status")));
            return Ok(false);
        }
        Err(failure) => {
            findings.push(Finding::of_failure("server", &failure));
            return Ok(false);
        }
    };
    let answered = Clock::system().now();
    findings.push(Finding::ok("server", format!("answers within {} ms", answered.since(asked).0)));
    findings.push(clock(health.date.as_deref(), asked, answered));
    findings.push(readiness(session));
    let who = match session.client.get("/v1/whoami") {
        Ok(who) => who.body,
        Err(failure) => {
            findings.push(Finding::of_failure("token", &failure));
            return Ok(false);
        }
    };
    findings.push(token(&who, session.now));
    about_server(session, findings);
    findings.push(stream::examine(&session.client, &who));
    Ok(true)
}

fn clock(date: Option<&str>, asked: UnixMs, answered: UnixMs) -> Finding {
    let Some(told) = date.and_then(when::http_date) else {
        let advice =
            "whatever stands before the server takes the header Date away; it costs nothing but this check";
        return Finding::warning("clock", "the answer does not say what time the server has", advice);
    };
    // What was told is the second that had begun when it was said.
    let ahead = asked.since(told.plus(DurationMs(1_000)));
    let behind = told.since(answered);
    let (skew, way) = if ahead > behind { (ahead, "behind") } else { (behind, "ahead of") };
    let found = || format!("the server's clock is {} s {way} this machine's", skew.0 / 1_000);
    let advice =
        "let both keep their time with NTP: expiries, previews' ends and schedules go by these clocks";
    match skew {
        skew if skew >= SKEW_FAILURE => Finding::failed("clock", found(), advice),
        skew if skew >= SKEW_WARNING => Finding::warning("clock", found(), advice),
        _ => Finding::ok("clock", "the server's clock agrees with this machine's"),
    }
}

fn readiness(session: &Session) -> Finding {
    match session.client.get("/readyz") {
        Ok(ready) => {
            Finding::ok("readiness", format!("ready, at revision {}", text(&ready.body, "revision")))
        }
        Err(failure) => {
            let advice = failure.advice().unwrap_or_else(|| "the server's log says more".to_owned());
            Finding::failed("readiness", failure.to_string(), advice)
        }
    }
}

fn token(who: &Value, now: UnixMs) -> Finding {
    let mut found = format!("{} of {}", text(who, "scope"), actor(&who["actor"]));
    for (word, name) in [("app", "app"), ("environment", "environment")] {
        if who.get(name).is_some() {
            found.push_str(&format!(", only for the {word} {}", text(who, name)));
        }
    }
    match moment(who, "expires_at") {
        None => Finding::ok("token", format!("{found}, without an end")),
        Some(until) => match days_left(until, now) {
            Some(days) if days >= WARN_DAYS => Finding::ok("token", format!("{found}, for {days} days more")),
            left => {
                let advice = "make the next one with `tidegate token create` and hand it out before";
                let found = format!("{found}, for only {} days more", left.unwrap_or(0));
                Finding::warning("token", found, advice)
            }
        },
    }
}

/// The version, and the space on the server's disk if the token may know of it.
fn about_server(session: &Session, findings: &mut Vec<Finding>) {
    let told = match session.client.get("/v1/server") {
        Ok(told) => told.body,
        // From before there was such an answer.
        Err(Failure::Refused(problem)) if problem.status == 404 => Value::Null,
        Err(failure) => {
            findings.push(Finding::of_failure("version", &failure));
            return;
        }
    };
    let ours = env!("CARGO_PKG_VERSION");
    findings.push(match told["version"].as_str() {
        Some(version) if version == ours => Finding::ok("version", format!("{version}, as this tool")),
        Some(version) => Finding::warning(
            "version",
            format!("the server has {version}, this tool {ours}"),
            "use the tool of the server's version: an older one may lack what the newer one needs",
        ),
        None => Finding::warning("version", "the server does not tell its version", "bring it up to date"),
    });
    let Some(free) = told["disk"]["free_bytes"].as_u64() else {
        return;
    };
    let found = format!("{} MiB are free on the server", free / (1024 * 1024));
    let advice = "make room or a larger disk: a full one refuses changes, though never kills";
    findings.push(match free {
        free if free < NO_SPACE_BYTES => Finding::failed("disk", found, advice),
        free if free < LITTLE_SPACE_BYTES => Finding::warning("disk", found, advice),
        _ => Finding::ok("disk", found),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_what_a_slow_answer_explains() {
        let asked = UnixMs::parse_rfc3339("2026-11-25T10:00:00.900Z").expect("a date");
        let verdict = |date: &str, took: u64| clock(Some(date), asked, asked.plus(DurationMs(took))).verdict;
        assert_eq!(verdict("Wed, 25 Nov 2026 10:00:00 GMT", 1), Verdict::Ok);
        assert_eq!(verdict("Wed, 25 Nov 2026 10:00:20 GMT", 25_000), Verdict::Ok);
        assert_eq!(verdict("Wed, 25 Nov 2026 10:00:20 GMT", 1), Verdict::Warning);
        assert_eq!(verdict("Wed, 25 Nov 2026 09:59:50 GMT", 1), Verdict::Warning);
        assert_eq!(verdict("Wed, 25 Nov 2026 08:59:50 GMT", 1), Verdict::Failed);
        assert_eq!(verdict("yesterday", 1), Verdict::Warning);
    }

    #[test]
    fn a_token_that_ends_soon_is_warned_of() {
        let now = UnixMs(1_800_000_000_000);
        let verdict = |days: u64| {
            let until = now.plus(DurationMs::days(days)).plus(DurationMs(1)).to_string();
            token(&json!({"scope": "ci", "expires_at": until}), now).verdict
        };
        assert_eq!((verdict(13), verdict(14)), (Verdict::Warning, Verdict::Ok));
        assert_eq!(token(&json!({"scope": "ci"}), now).verdict, Verdict::Ok);
    }
}
