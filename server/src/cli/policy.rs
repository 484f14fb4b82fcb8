//! `tidegate policy`: what the gate asks of each tier.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rollout_rules::gate::policy::Policy;
use rollout_rules::ids::AppKey;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::failure::{Failure, Problem};
use super::output::{Table, Tone, fields, note};
use super::policy_view::{differences, rows};
use super::reading::{text, typed_file};
use super::session::{Given, Session};
use super::source;

const PATH: &str = "/v1/gate/policy";

/// What can be done with the policy.
#[derive(Subcommand, Clone, Debug)]
pub enum PolicyCommand {
    /// Show what the gate asks of each tier; with --json it is the file to begin with: policy show --json > policy.json
    Show {
        /// Only of this tier
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
        tier: Option<u8>,
    },
    /// Show what a file would change; ends with 8 if it would change anything
    Diff {
        /// The file, JSON; - is standard input
        file: PathBuf,
    },
    /// Judge what runs by the policy of a file, without setting it: which builds it would deny, and which live flags it would take down
    ///
    /// The same for an app in another tier, or built from something else: policy test --app shop --tier 2
    Test(TestPolicy),
    /// Judge by the policy of a file from now on (needs --reason, and an admin's or operator's token)
    ///
    /// What runs is judged again at once, and what is denied then is taken back: `policy test` says before what that would be.
    /// A file that was made by `policy show --json` is refused if the policy was changed since.
    Set {
        /// The file, JSON; - is standard input
        file: PathBuf,
    },
}

/// What is tried.
#[derive(Args, Clone, Debug)]
pub struct TestPolicy {
    /// The file, JSON; - is standard input. Without it, the policy in effect
    #[arg(required_unless_present_any = ["tier", "source"])]
    file: Option<PathBuf>,
    /// The app whose tier or source is tried; a policy alone is tried on all apps
    #[arg(long, short = 'a', env = "TIDEGATE_APP", value_name = "APP")]
    app: Option<Given<AppKey>>,
    /// The app in this tier
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    tier: Option<u8>,
    /// The app built from what this file says, as `app source show --json` prints it
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Show { tier } => show(session, tier),
        PolicyCommand::Diff { file } => diff(session, &file),
        PolicyCommand::Test(tried) => test(session, tried),
        PolicyCommand::Set { file } => set(session, &file),
    }
}

/// A policy that was written into a file.
#[derive(Debug)]
struct Written {
    policy: Policy,
    /// The revision of the policy that it was made from, if the file says so.
    revision: Option<u64>,
}

/// Where a file stops being JSON, and what is mostly the matter.
fn no_json(error: &serde_json::Error) -> String {
    let at = format!("line {}, column {}", error.line(), error.column());
    match error.is_eof() {
        true => format!("the file is no JSON: it ends at {at} before everything in it is closed"),
        false => format!(
            "the file is no JSON from {at} on: look for a comma, a quote or a bracket that is missing there, or too many"
        ),
    }
}

/// Reads a policy: itself, or what `policy show --json` prints.
fn written(text: &str) -> Result<Written, Failure> {
    let value: Value = serde_json::from_str(text).map_err(|error| Failure::misread(no_json(&error)))?;
    let (inner, revision) = match value.get("policy") {
        Some(policy) => (policy, value["revision"].as_u64()),
        None => (&value, None),
    };
    let wrong = match crate::gate::written::read(inner) {
        Ok(policy) => return Ok(Written { policy, revision }),
        Err(wrong) => wrong,
    };
    let problems: Vec<Value> =
        wrong.iter().map(|one| json!({ "field": one.field, "problem": one.problem })).collect();
    let detail = "the policy cannot be used as it is";
    let body = json!({ "code": "invalid", "detail": detail, "problems": problems });
    Err(Failure::Refused(Box::new(Problem {
        code: "invalid".to_owned(),
        detail: detail.to_owned(),
        body: body.as_object().cloned().unwrap_or_default(),
        ..Problem::default()
    })))
}

fn current(session: &Session) -> Result<(Policy, Value), Failure> {
    let body = session.client.get(PATH)?.body;
    let policy = Policy::deserialize(&body["policy"])
        .map_err(|error| session.client.strange(&format!("a policy that is none ({error})")))?;
    Ok((policy, body))
}

fn show(session: &mut Session, tier: Option<u8>) -> Result<(), Failure> {
    let (policy, body) = current(session)?;
    if session.json {
        return session.print_json(&body);
    }
    let all =
        [("TIER 0", &policy.tiers.tier0), ("TIER 1", &policy.tiers.tier1), ("TIER 2", &policy.tiers.tier2)];
    let shown: Vec<_> =
        all.iter().enumerate().filter(|(nth, _)| tier.is_none_or(|tier| usize::from(tier) == *nth)).collect();
    let mut table = Table::new(["ASKED"].into_iter().chain(shown.iter().map(|(_, (name, _))| *name)));
    let columns: Vec<_> = shown.iter().map(|(_, (_, asks))| rows(asks)).collect();
    for (nth, (name, _)) in rows(all[0].1).into_iter().enumerate() {
        let cells = columns.iter().map(|column| column[nth].1.clone());
        table.row([name.to_owned()].into_iter().chain(cells));
    }
    table.write(&mut *session.out, session.style, "")?;
    session.say("")?;
    let names = |list: &mut dyn Iterator<Item = &String>| list.cloned().collect::<Vec<_>>().join(", ");
    let trust = &policy.trust;
    let facts = [
        ("keys", names(&mut trust.keys.iter().map(|key| &key.name))),
        ("authorities", names(&mut trust.authorities.iter().map(|authority| &authority.name))),
        ("issuers", names(&mut trust.issuers.iter().map(|issuer| &issuer.name))),
        ("modules", names(&mut policy.modules.iter().map(|module| &module.name))),
        ("checklist", names(&mut policy.checklist.iter())),
        ("digest", text(&body, "digest")),
        ("revision", text(&body, "revision")),
    ];
    Ok(fields(&mut *session.out, session.style, &facts)?)
}

fn diff(session: &mut Session, file: &Path) -> Result<(), Failure> {
    let wanted = written(&typed_file(file)?)?;
    let (policy, _) = current(session)?;
    let changes = differences(&json!(policy), &json!(wanted.policy));
    if session.json {
        let listed: Vec<Value> = changes
            .iter()
            .map(|change| json!({ "field": change.field, "before": change.before, "after": change.after }))
            .collect();
        session.print_json(&json!({ "changes": listed }))?;
    } else if changes.is_empty() {
        session.say("the file says what the gate judges by already")?;
    } else {
        changes.iter().try_for_each(|change| session.say(change))?;
    }
    if changes.is_empty() { Ok(()) } else { Err(Failure::Differs { changes: changes.len() }) }
}

fn test(session: &mut Session, tried: TestPolicy) -> Result<(), Failure> {
    let mut body = Map::new();
    if let Some(file) = &tried.file {
        body.insert("policy".to_owned(), json!(written(&typed_file(file)?)?.policy));
    }
    if tried.tier.is_some() || tried.source.is_some() {
        let app = Given::named(tried.app);
        let app = app.ok_or_else(|| {
            Failure::usage("say of which app the tier or source is, with --app, or set TIDEGATE_APP")
        })?;
        body.insert("app".to_owned(), json!(app));
    }
    if let Some(tier) = tried.tier {
        body.insert("tier".to_owned(), tier.into());
    }
    if let Some(file) = &tried.source {
        body.insert("source".to_owned(), json!(source::written(&typed_file(file)?)?));
    }
    let path = format!("{PATH}/test");
    let tried = session.client.change(Method::POST, &path, &Value::Object(body), None)?.body;
    let wrong = list(&tried, "problems").len();
    if session.json {
        session.print_json(&tried)?;
    } else {
        for problem in list(&tried, "problems") {
            session.say(format_args!("{}: {}", text(problem, "field"), text(problem, "problem")))?;
        }
        if wrong == 0 {
            tried_builds(session, list(&tried, "builds"))?;
        }
    }
    if wrong > 0 { Err(Failure::misread("the policy cannot be used as it is")) } else { Ok(()) }
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn words(value: &Value, name: &str) -> String {
    let words: Vec<&str> = list(value, name).iter().filter_map(Value::as_str).collect();
    words.join(", ")
}

fn tried_builds(session: &mut Session, builds: &[Value]) -> Result<(), Failure> {
    let mut table =
        Table::new(["APP", "ENVIRONMENT", "BEFORE", "AFTER", "NEWLY DENIED BY", "LIVE FLAGS TAKEN DOWN"]);
    for build in
        builds.iter().filter(|build| build["before"] != build["after"] || !list(build, "flags").is_empty())
    {
        let (mut after, problem) = (text(build, "after"), text(build, "problem"));
        let tone = super::gate::tone_of(&after);
        if !problem.is_empty() {
            after = format!("not judged: {problem}");
        }
        table.toned_row(vec![
            (text(build, "app"), Tone::Plain),
            (text(build, "environment"), Tone::Plain),
            (text(build, "before"), Tone::Plain),
            (after, tone),
            (words(build, "checks"), Tone::Plain),
            (words(build, "flags"), Tone::Alarm),
        ]);
    }
    let none = "nothing that runs would be judged otherwise";
    table.write(&mut *session.out, session.style, none)?;
    let flags: usize = builds.iter().map(|build| list(build, "flags").len()).sum();
    match flags {
        0 => session.say("no live flag would be taken down"),
        1 => session.say("1 live flag would be taken down"),
        n => session.say(format_args!("{n} live flags would be taken down")),
    }
}

fn set(session: &mut Session, file: &Path) -> Result<(), Failure> {
    if session.reason.is_none() {
        return Err(Failure::usage("say why with --reason: everybody's builds are judged by it"));
    }
    let wanted = written(&typed_file(file)?)?;
    let body = session.with_reason(json!({ "policy": wanted.policy }));
    let answer = session.client.change(Method::PUT, PATH, &body, wanted.revision)?.body;
    let (digest, revision) = (text(&answer, "digest"), text(&answer, "revision"));
    session.answer(&answer, format!("the gate judges by policy {digest} from revision {revision} on"))?;
    if !session.json {
        note("what runs is judged again by it: `tidegate gate list` shows how that ends");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_show_prints_is_a_file_to_set_and_knows_what_it_was_made_from() {
        let policy = Policy::default();
        let shown = json!({ "policy": policy, "digest": policy.digest(), "revision": 7 });
        let read = written(&shown.to_string()).expect("a policy");
        assert_eq!((read.policy, read.revision), (policy.clone(), Some(7)));
        let read = written(&json!(policy).to_string()).expect("a policy");
        assert_eq!((read.policy, read.revision), (policy, None));
    }

    #[test]
    fn a_policy_that_cannot_be_used_is_refused_with_every_place_that_is_wrong() {
        let mut policy = Policy::default();
        policy.tiers.tier1.coverage.deny_below_percent = Some(101);
        policy.tiers.tier2.secrets.scanners = 0;
        let failure = written(&json!(policy).to_string()).expect_err("wrong");
        let Failure::Refused(problem) = failure else { panic!("{failure:?}") };
        let lines = problem.lines().join("\n");
        assert!(
            lines.contains("tiers.tier1.coverage: ") && lines.contains("tiers.tier2.secrets.scanners: "),
            "{lines}"
        );
        let mut unknown = json!(Policy::default());
        unknown["tiers"]["tier0"]["tests_pass"] = "maybe".into();
        unknown["tiers"]["tier2"]["code"] = 3.into();
        let failure = written(&unknown.to_string()).expect_err("a word that is none");
        let Failure::Refused(problem) = failure else { panic!("{failure:?}") };
        assert_eq!(
            problem.lines(),
            [
                "tiers.tier0.tests_pass: it has to be `off`, `note`, `warn` or `deny`, and is the text `maybe`",
                "tiers.tier2.code: it has to be `off`, `note`, `warn` or `deny`, and is 3",
            ]
        );
    }
}
