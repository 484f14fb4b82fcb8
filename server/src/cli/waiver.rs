//! `tidegate waiver`: one finding that does not count until a date, for a reason and with somebody's approval.

use clap::{Args, Subcommand};
use rollout_rules::gate::decision::CheckName;
use rollout_rules::gate::policy::Role;
use rollout_rules::ids::{AppKey, Digest, EnvKey, WaiverId};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use ureq::http::Method;

use super::app;
use super::client::{encoded, with_query};
use super::failure::Failure;
use super::gate::{decisions_path, newest, texts};
use super::output::{Table, Tone, note};
use super::reading::{actor, items, moment, text};
use super::role::role;
use super::session::Session;
use super::when::{self, When};

/// Fewer digits than this name no finding, however few there are.
const LEAST_DIGITS: usize = 8;

/// What can be done with waivers.
#[derive(Subcommand, Clone, Debug)]
pub enum WaiverCommand {
    /// Ask for one finding to be waived until a date; another person approves it (needs --reason of at least 20 characters)
    Request(RequestWaiver),
    /// Take a whole check upon yourself in an emergency, for an hour (needs --reason); it counts at once, is recorded, and others are told
    ///
    /// For people with an admin's or operator's token, or with the role platform or security. Never for secrets, nor for evidence that
    /// cannot be read.
    BreakGlass(BreakGlass),
    /// Approve a waiver that another person asked for
    Approve {
        /// Which
        id: WaiverId,
        /// In which role: platform, security or business_owner
        #[arg(long, value_parser = role)]
        role: Role,
    },
    /// End a waiver early; what stands on it is judged again
    Revoke {
        /// Which
        id: WaiverId,
    },
    /// List waivers
    List {
        /// Only these: requested, active, lapsed or revoked
        #[arg(long, value_name = "STATE", value_parser = ["requested", "active", "lapsed", "revoked"])]
        state: Option<String>,
    },
}

/// A waiver that is asked for.
#[derive(Args, Clone, Debug)]
pub struct RequestWaiver {
    /// From which check, such as vulnerabilities
    #[arg(long, value_parser = check)]
    check: CheckName,
    /// For which finding of the newest decision: its rule, such as CVE-2020-14343, or its fingerprint
    #[arg(long, value_name = "RULE|FINGERPRINT")]
    finding: String,
    /// The risk that is taken, by its name: the rule of the finding
    #[arg(long, value_name = "NAME")]
    risk: String,
    /// When it ends: 30d, or a date such as 2026-12-01
    #[arg(long, value_name = "WHEN")]
    expires: When,
    /// Only there; without it, in all environments
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
}

/// An emergency.
#[derive(Args, Clone, Debug)]
pub struct BreakGlass {
    /// Which check
    #[arg(long, value_parser = check)]
    check: CheckName,
    /// For how long, at most 8h; an hour if nothing is said
    #[arg(long = "for", value_name = "LENGTH")]
    length: Option<When>,
    /// The risk that is taken, by its name; the check's name if nothing is said
    #[arg(long, value_name = "NAME")]
    risk: Option<String>,
    /// Only there; without it, in all environments
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
}

/// A check by its name; `-` and `_` are the same.
fn check(text: &str) -> Result<CheckName, String> {
    let name = text.replace('-', "_");
    CheckName::ALL.into_iter().find(|check| check.as_str() == name).ok_or_else(|| {
        let all: Vec<&str> = CheckName::ALL.iter().map(|check| check.as_str()).collect();
        format!("write one of {}", all.join(", "))
    })
}

fn path(app: &AppKey) -> String {
    format!("{}/waivers", app::path(app))
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, app: &AppKey, command: WaiverCommand) -> Result<(), Failure> {
    match command {
        WaiverCommand::Request(asked) => request(session, app, &asked),
        WaiverCommand::BreakGlass(taken) => break_glass(session, app, &taken),
        WaiverCommand::Approve { id, role } => {
            let body = session.with_reason(json!({ "role": role }));
            let path = format!("{}/{}/approve", path(app), encoded(id.as_str()));
            let answer = session.client.change(Method::POST, &path, &body, None)?.body;
            let until = until(&answer["waiver"], session.now);
            session.answer(&answer, format!("waiver {id} counts until {until}"))
        }
        WaiverCommand::Revoke { id } => {
            let body = session.with_reason(json!({}));
            let path = format!("{}/{}/revoke", path(app), encoded(id.as_str()));
            let answer = session.client.change(Method::POST, &path, &body, None)?.body;
            session.answer(&answer, format!("waiver {id} is over; what stood on it is judged again"))
        }
        WaiverCommand::List { state } => list(session, app, state.as_deref()),
    }
}

fn until(waiver: &Value, now: UnixMs) -> String {
    moment(waiver, "expires_at").map_or_else(String::new, |at| when::shown(at, now))
}

fn with_place(mut body: Value, environment: Option<&EnvKey>) -> Value {
    if let Some(environment) = environment {
        body["environment"] = environment.as_str().into();
    }
    body
}

fn needs_reason(session: &Session) -> Result<(), Failure> {
    match session.reason {
        Some(_) => Ok(()),
        None => Err(Failure::usage("say why the risk can be taken, with --reason: at least 20 characters")),
    }
}

fn request(session: &mut Session, app: &AppKey, asked: &RequestWaiver) -> Result<(), Failure> {
    needs_reason(session)?;
    let role = approver(session, app);
    let found = match asked.finding.parse::<Digest>() {
        // A fingerprint is its own name, also of a finding that the newest decision no longer lists.
        Ok(fingerprint) => {
            let one = || vec![fingerprint.to_string()];
            look_up(session, app, asked).unwrap_or_else(|_| one())
        }
        Err(_) => look_up(session, app, asked)?,
    };
    if found.len() > 1 && !session.json {
        let reports = "several reports tell of it, each by a fingerprint of its own: each takes a waiver";
        note(format_args!("{reports} ({})", found.len()));
    }
    found.into_iter().try_for_each(|fingerprint| ask(session, app, asked, &fingerprint, &role))
}

/// In which role the app's tier has waivers approved; a word in its place where the server does not say.
fn approver(session: &Session, app: &AppKey) -> String {
    let answer = |path: &str| session.client.get(path).map(|answer| answer.body).unwrap_or_default();
    let tier = text(&answer(&app::path(app)), "tier");
    let policy = answer("/v1/gate/policy");
    let role = text(&policy["policy"]["tiers"][format!("tier{tier}")]["waivers"], "approver");
    if role.is_empty() { "ROLE".to_owned() } else { role }
}

/// Asks for a waiver of one fingerprint.
fn ask(
    session: &mut Session,
    app: &AppKey,
    asked: &RequestWaiver,
    fingerprint: &str,
    role: &str,
) -> Result<(), Failure> {
    let body = json!({
        "check": asked.check,
        "fingerprint": fingerprint,
        "risk": asked.risk,
        "expires_at": asked.expires.from(session.now),
    });
    let body = session.with_reason(with_place(body, asked.environment.as_ref()));
    let answer = session.client.create(&path(app), &body, None)?.body;
    let waiver = &answer["waiver"];
    let (id, end) = (text(waiver, "id"), until(waiver, session.now));
    session.answer(&answer, format!("waiver {id} waits for approval; it would count until {end}"))?;
    if !session.json {
        session.say(format_args!("  tidegate waiver approve {id} --app {app} --role {role}"))?;
    }
    Ok(())
}

/// The fingerprints of the finding that is named, in the newest decision: one for each report that calls it otherwise.
fn look_up(session: &Session, app: &AppKey, asked: &RequestWaiver) -> Result<Vec<String>, Failure> {
    let mut decisions = decisions_path(app);
    if let Some(environment) = &asked.environment {
        decisions = with_query(&decisions, "environment", environment.as_str());
    }
    let newest = newest(session, &decisions)?.ok_or_else(|| {
        Failure::missing(format!("the gate found nothing for {app} yet: `tidegate gate check` asks it"))
    })?;
    let id = text(&newest, "id");
    let answer = session.client.get(&format!("{}/{}", decisions_path(app), encoded(&id)))?.body;
    let judged = named(&answer, asked.check, &asked.finding, &id)?;
    let found = &judged["finding"];
    let rule = text(found, "rule");
    if rule != asked.risk {
        return Err(Failure::usage(format!(
            "the risk of this finding is called `{rule}`: take it by that name, with --risk {rule}"
        )));
    }
    if asked.check == CheckName::Vulnerabilities && !text(found, "fix").is_empty() {
        let said = format!(
            "it can be mended, and a waiver counts only until then: {}. In an emergency: \
             `tidegate waiver break-glass --check vulnerabilities --app {app} --reason WHY`",
            text(found, "fix")
        );
        return Err(Failure::usage(&said));
    }
    Ok([text(found, "fingerprint")].into_iter().chain(texts(&judged["also"])).collect())
}

/// The one finding of a check that goes by a name.
fn named<'a>(answer: &'a Value, check: CheckName, name: &str, id: &str) -> Result<&'a Value, Failure> {
    let checks = answer["judgement"]["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_check = checks.iter().filter(|found| found["name"] == check.as_str());
    let listed =
        of_check.flat_map(|check| check["findings"].as_array().map(Vec::as_slice).unwrap_or_default());
    let mut found: Vec<&Value> = Vec::new();
    for judged in listed.filter(|judged| goes_by(&judged["finding"], name)) {
        if !found.iter().any(|known| known["finding"]["fingerprint"] == judged["finding"]["fingerprint"]) {
            found.push(judged);
        }
    }
    match found[..] {
        [only] => Ok(only),
        [] => Err(Failure::missing(format!(
            "decision {id} lists no finding `{name}` of {check}: `tidegate gate explain {id} --json` shows those that it lists"
        ))),
        _ => {
            found.iter().for_each(|judged| note(format_args!("  {}", candidate(&judged["finding"]))));
            Err(Failure::usage(format!(
                "`{name}` names {} findings: say which with --finding and the fingerprint above",
                found.len()
            )))
        }
    }
}

fn goes_by(finding: &Value, name: &str) -> bool {
    let aliases = finding["aliases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_digits = name.len() >= LEAST_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    finding["rule"] == name
        || aliases.iter().any(|alias| alias == name)
        || (is_digits && text(finding, "fingerprint").starts_with(&name.to_ascii_lowercase()))
}

fn candidate(finding: &Value) -> String {
    let file = text(finding, "file");
    let place = if file.is_empty() { text(finding, "subject") } else { file };
    let line = text(finding, "line");
    let line = if line.is_empty() { line } else { format!(":{line}") };
    format!(
        "{} {} {place}{line}: {}",
        text(finding, "fingerprint"),
        text(finding, "rule"),
        text(finding, "title")
    )
}

fn break_glass(session: &mut Session, app: &AppKey, taken: &BreakGlass) -> Result<(), Failure> {
    needs_reason(session)?;
    let risk = taken.risk.as_deref().unwrap_or(taken.check.as_str());
    let mut body = json!({ "check": taken.check, "risk": risk, "break_glass": true });
    if let Some(length) = taken.length {
        body["expires_at"] = json!(length.from(session.now));
    }
    let body = session.with_reason(with_place(body, taken.environment.as_ref()));
    let answer = session.client.create(&path(app), &body, None)?.body;
    let waiver = &answer["waiver"];
    let line = format!(
        "what {} finds for {app} does not count until {} (waiver {})",
        taken.check,
        until(waiver, session.now),
        text(waiver, "id")
    );
    session.answer(&answer, line)?;
    if session.json {
        return Ok(());
    }
    let (to, problem) = (text(&answer["notice"], "to"), text(&answer["notice"], "problem"));
    match (to.is_empty(), problem.is_empty()) {
        (false, _) => session.say(format_args!("{app}'s owner is told: {to}")),
        (true, false) => {
            note(format_args!("nobody is told of it now, so tell them yourself: {problem}"));
            Ok(())
        }
        (true, true) => Ok(()),
    }
}

fn list(session: &mut Session, app: &AppKey, state: Option<&str>) -> Result<(), Failure> {
    let path = state.map_or_else(|| path(app), |state| with_query(&path(app), "state", state));
    let all = session.client.list(&path)?;
    if session.json {
        return session.print_json(&all);
    }
    let mut table = Table::new([
        "WAIVER",
        "STATE",
        "CHECK",
        "RISK",
        "ENVIRONMENT",
        "ENDS",
        "ASKED BY",
        "APPROVED BY",
        "WHY",
    ]);
    for item in items(&all) {
        let (waiver, state) = (&item["waiver"], text(item, "state"));
        let approved = match waiver["break_glass"] == true {
            true => "nobody: the glass was broken".to_owned(),
            false => actor(&waiver["approval"]["actor"]),
        };
        let tone = if state == "active" { Tone::Live } else { Tone::Faint };
        table.toned_row(vec![
            (text(waiver, "id"), Tone::Plain),
            (state, tone),
            (text(waiver, "check"), Tone::Plain),
            (text(waiver, "risk"), Tone::Plain),
            (text(waiver, "environment"), Tone::Plain),
            (until(waiver, session.now), Tone::Plain),
            (actor(&waiver["requested_by"]), Tone::Plain),
            (approved, Tone::Plain),
            (text(waiver, "reason"), Tone::Plain),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, &format!("no waivers for {app}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: &str, fingerprint: char, subject: &str) -> Value {
        let fingerprint = fingerprint.to_string().repeat(64);
        json!({ "finding": {
            "rule": rule, "fingerprint": fingerprint, "title": "bad", "severity": "high", "subject": subject,
            "aliases": ["GHSA-1"],
        }, "level": "deny" })
    }

    fn answer(findings: &[Value]) -> Value {
        json!({ "judgement": { "checks": [
            { "name": "code", "findings": [finding("CVE-1", 'f', "elsewhere")] },
            { "name": "vulnerabilities", "findings": findings },
        ] } })
    }

    fn looked_up(answer: &Value, name: &str) -> Result<String, u8> {
        let found = named(answer, CheckName::Vulnerabilities, name, "d1");
        found
            .map(|judged| text(&judged["finding"], "fingerprint"))
            .map_err(|failure| failure.exit_code() as u8)
    }

    #[test]
    fn a_finding_goes_by_its_rule_its_other_names_and_the_start_of_its_fingerprint() {
        let answer = answer(&[finding("CVE-1", 'a', "pkg:pypi/pyyaml"), finding("CVE-2", 'b', "pkg:pypi/x")]);
        assert_eq!(looked_up(&answer, "CVE-1"), Ok("a".repeat(64)), "of this check, not of another");
        assert_eq!(looked_up(&answer, "bbbbbbbb"), Ok("b".repeat(64)));
        assert_eq!(looked_up(&answer, "bbbb"), Err(3), "too little of it");
        assert_eq!(looked_up(&answer, "CVE-3"), Err(3));
        assert_eq!(looked_up(&answer, "GHSA-1"), Err(2), "both are called so");
    }

    #[test]
    fn one_finding_that_is_listed_twice_is_one() {
        let twice = answer(&[finding("CVE-1", 'a', "x"), finding("CVE-1", 'a', "x")]);
        assert_eq!(looked_up(&twice, "CVE-1"), Ok("a".repeat(64)));
        let two = answer(&[finding("CVE-1", 'a', "x"), finding("CVE-1", 'b', "y")]);
        assert_eq!(looked_up(&two, "CVE-1"), Err(2), "which of them is taken is for a person to say");
    }

    #[test]
    fn checks_go_by_their_names() {
        assert_eq!(check("tests-present"), Ok(CheckName::TestsPresent));
        assert_eq!(check("vulnerabilities"), Ok(CheckName::Vulnerabilities));
        assert!(check("everything").expect_err("none").contains("vulnerabilities, signature"));
    }
}
