//! `tidegate doctor`: looks at a set-up from where it runs, a line for each thing, with what to do.

mod connection;
mod server;
mod stream;
mod token;

use std::io::Write as _;

use rollout_rules::ids::AppKey;
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Tone;
use super::reading::text;
use super::session::{CallOptions, Session};

/// With fewer days left than this, a certificate or a token is warned of.
const WARN_DAYS: u64 = 14;

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
    /// It could not be looked at from here.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Verdict::Ok => Tone::Live,
            Verdict::Warning => Tone::Head,
            Verdict::Failed => Tone::Alarm,
            Verdict::Skipped => Tone::Faint,
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

    fn skipped(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Skipped, found: found.into(), advice: advice.into() }
    }

    fn of_failure(check: &'static str, failure: &Failure) -> Finding {
        Finding::failed(check, failure.to_string(), failure.advice().unwrap_or_default())
    }

    fn as_json(&self) -> Value {
        json!({"check": self.check, "verdict": self.verdict.word(), "found": self.found, "advice": self.advice})
    }
}

/// Looks at everything that can be looked at, and fails if anything failed. An app is looked for if one is named.
pub(super) fn run(session: &mut Session, call: &CallOptions, app: Option<&AppKey>) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let complete = examine(session, call, app, &mut findings)?;
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
fn examine(
    session: &Session,
    call: &CallOptions,
    app: Option<&AppKey>,
    findings: &mut Vec<Finding>,
) -> Result<bool, Failure> {
    let client = &session.client;
    if !connection::examine(client, call, findings)? {
        return Ok(false);
    }
    let reached = match server::reach(client) {
        Ok(reached) => reached,
        Err(failure) => {
            let mut finding = Finding::of_failure("server", &failure);
            if connection::is_tls_taken_for_plain(client, call) {
                finding.advice = "it speaks TLS there: its address begins with https://".to_owned();
            }
            findings.push(finding);
            return Ok(false);
        }
    };
    findings.push(Finding::ok("server", format!("answers within {} ms", reached.took().0)));
    // It tells its time to whoever has a token, and everybody else the second, in a header.
    let told = server::Told::ask(client);
    findings.push(server::clock(told.as_ref().ok(), &reached));
    findings.push(readiness(session));
    let who = match client.get("/v1/whoami") {
        Ok(who) => who.body,
        Err(failure) => {
            findings.push(Finding::of_failure("token", &failure));
            return Ok(false);
        }
    };
    findings.push(token::examine(&who, session.now));
    findings.extend(app.map(|app| token::app(client, &who, app)));
    match told {
        Ok(told) => findings.extend([told.version(), told.disk(&who)]),
        Err(failure) => findings.push(Finding::of_failure("version", &failure)),
    }
    findings.push(stream::examine(client, &who));
    findings.push(server::sdk(client));
    Ok(true)
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
