//! `tidegate release`: which artifact runs, and which one to go back to.

use clap::{Args, Subcommand};
use rollout_rules::ids::{AppKey, EnvKey};
use serde_json::{Value, json};
use ureq::http::Method;

use super::app;
use super::client::{encoded, with_query};
use super::failure::Failure;
use super::gate::{artifact, decisions_path, tone_of};
use super::output::{Table, Tone};
use super::reading::{items, moment, text};
use super::session::Session;
use super::when;

/// Fewer digits than this name no release, however few there are.
const LEAST_DIGITS: usize = 4;
/// So many digits of a digest are shown in a table.
const SHOWN_DIGITS: usize = 12;
/// So many decisions of the gate are looked at; a release that was judged before them is shown without.
const SAID: usize = 200;

/// What can be done with releases.
#[derive(Subcommand, Clone, Debug)]
pub enum ReleaseCommand {
    /// Tell that an artifact was deployed: it is what the app runs there from now on
    ///
    /// For the last step of a pipeline. Jobs of `revert release` are told what runs and what to go back to, and each release is
    /// judged by itself. The current one again changes nothing.
    #[command(disable_version_flag = true)]
    Deployed {
        /// Which: its file, or sha256: and 64 hexadecimal digits as the registry names it
        #[arg(value_name = "FILE|DIGEST")]
        artifact: String,
        #[command(flatten)]
        place: Place,
        /// What people call it: 1.4.2
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
    },
    /// List what was deployed, the newest first: of an environment, or of all
    List {
        /// Only there; without it, in all environments
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
    },
    /// Show one release
    Show {
        /// Its digest, or as much of it as names no other
        digest: String,
        #[command(flatten)]
        place: Live,
    },
    /// Print the digest of what runs; ends with 3 if nobody told
    Current {
        #[command(flatten)]
        place: Live,
    },
    /// Print the digest of what to go back to: the newest earlier release that no guardrail had reverted; ends with 3 if there is none
    PreviousGood {
        #[command(flatten)]
        place: Live,
    },
}

/// Where.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The environment
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: EnvKey,
}

/// Where, of what runs.
#[derive(Args, Clone, Debug)]
pub struct Live {
    /// The environment; it can be left out where the app has one production environment alone
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
}

impl Live {
    /// The environment that is named, or else the app's only production environment.
    fn place(self, session: &Session, app: &AppKey) -> Result<Place, Failure> {
        if let Some(environment) = self.environment {
            return Ok(Place { environment });
        }
        let all = places(session, app)?;
        match &all.iter().filter(|(_, is_live)| *is_live).collect::<Vec<_>>()[..] {
            [(place, _)] => Ok(place.clone()),
            live => {
                let live = if live.is_empty() { all.iter().collect() } else { live.to_vec() };
                let names: Vec<String> =
                    live.iter().map(|(place, _)| format!("--env {}", place.environment)).collect();
                Err(Failure::usage(format!("say which environment of {app}: {}", names.join(" or "))))
            }
        }
    }
}

/// The environments of an app, and whether each is for production.
fn places(session: &Session, app: &AppKey) -> Result<Vec<(Place, bool)>, Failure> {
    let all = session.client.list(&format!("{}/environments", app::path(app)))?;
    let places = items(&all).iter().filter_map(|environment| {
        let place = Place { environment: EnvKey::new(&text(environment, "key")).ok()? };
        Some((place, text(environment, "kind") == "production"))
    });
    Ok(places.collect())
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, app: &AppKey, command: ReleaseCommand) -> Result<(), Failure> {
    match command {
        ReleaseCommand::Deployed { artifact, place, version } => {
            let digest = digest(&artifact)?;
            let body = session.with_reason(json!({ "artifact": digest, "version": version }));
            let answer = session.client.change(Method::POST, &path(app, &place), &body, None)?.body;
            let runs = if answer["already"] == true { "runs already" } else { "runs" };
            let line = format!("{} {runs} in {} of {app}", name(&answer), place.environment);
            session.answer(&answer, line)
        }
        ReleaseCommand::List { environment: Some(environment) } => {
            list(session, app, &[Place { environment }], false)
        }
        ReleaseCommand::List { environment: None } => {
            let all: Vec<Place> = places(session, app)?.into_iter().map(|(place, _)| place).collect();
            list(session, app, &all, true)
        }
        ReleaseCommand::Show { digest, place } => {
            let place = place.place(session, app)?;
            let all = session.client.get(&path(app, &place))?.body;
            let mut found = named(&all, &digest, &place)?.clone();
            let said = said(session, app, &place);
            if let Some(decision) = decided(&said, &found) {
                found["decision"] = json!({ "id": decision["id"], "verdict": decision["verdict"] });
            }
            show(session, &found)
        }
        ReleaseCommand::Current { place } => {
            let place = place.place(session, app)?;
            let missing = format!("nobody told what runs in {} of {app}", place.environment);
            one(session, app, &place, "current", missing)
        }
        ReleaseCommand::PreviousGood { place } => {
            let place = place.place(session, app)?;
            let missing = format!(
                "no earlier release is known that no guardrail had reverted, in {} of {app}",
                place.environment
            );
            one(session, app, &place, "previous_good", missing)
        }
    }
}

/// The digest of what was deployed.
fn digest(artifact: &str) -> Result<String, Failure> {
    let digest = artifact::digest_of(artifact).map_err(|error| {
        Failure::usage(format!("{error}; a digest is `sha256:` and 64 hexadecimal digits in lower case"))
    })?;
    Ok(digest.to_string())
}

/// What the gate said of builds there, the newest first. Nothing if it does not say now: releases are shown all the same.
fn said(session: &Session, app: &AppKey, place: &Place) -> Value {
    let path = with_query(&decisions_path(app), "environment", place.environment.as_str());
    let path = with_query(&path, "limit", &SAID.to_string());
    session.client.get(&path).map(|answer| answer.body).unwrap_or_default()
}

/// The newest decision on a release.
fn decided<'a>(said: &'a Value, release: &Value) -> Option<&'a Value> {
    let decisions = items(said).iter().map(|item| &item["decision"]);
    decisions.into_iter().find(|decision| decision["artifact"] == release["artifact"])
}

fn path(app: &AppKey, place: &Place) -> String {
    format!("{}/environments/{}/releases", app::path(app), encoded(place.environment.as_str()))
}

/// What people call a release, with its digest.
fn name(release: &Value) -> String {
    let (artifact, version) = (text(release, "artifact"), text(release, "version"));
    if version.is_empty() { artifact } else { format!("{version} ({artifact})") }
}

fn list(session: &mut Session, app: &AppKey, places: &[Place], all: bool) -> Result<(), Failure> {
    let mut found = Vec::new();
    for place in places {
        let releases = session.client.get(&path(app, place))?.body;
        if session.json && !all {
            return session.print_json(&releases);
        }
        found.extend(items(&releases).iter().map(|release| (place, release.clone())));
    }
    if session.json {
        let with_place = |(place, mut release): (&Place, Value)| {
            release["environment"] = place.environment.as_str().into();
            release
        };
        let items: Vec<Value> = found.into_iter().map(with_place).collect();
        return session.print_json(&json!({ "items": items }));
    }
    let place = if all { Some("ENVIRONMENT") } else { None };
    let heads = ["ARTIFACT", "VERSION", "DEPLOYED", "REVISION", "GATE", "IS"];
    let mut table = Table::new(place.into_iter().chain(heads));
    let mut said_there: Option<(&EnvKey, Value)> = None;
    for (place, release) in &found {
        if said_there.as_ref().is_none_or(|(there, _)| **there != place.environment) {
            said_there = Some((&place.environment, said(session, app, place)));
        }
        let said = said_there.as_ref().and_then(|(_, said)| decided(said, release));
        let verdict = said.map_or_else(String::new, |decision| text(decision, "verdict"));
        let tone_of_gate = tone_of(&verdict);
        let (is, tone) = standing(release);
        let short: String = text(release, "artifact").chars().take("sha256:".len() + SHOWN_DIGITS).collect();
        let place = all.then(|| (place.environment.to_string(), Tone::Plain));
        let cells = [
            (short, Tone::Plain),
            (text(release, "version"), Tone::Plain),
            (moment(release, "deployed_at").map_or_else(String::new, when::minute), Tone::Plain),
            (text(release, "revision"), Tone::Plain),
            (verdict, tone_of_gate),
            (is, tone),
        ];
        table.toned_row(place.into_iter().chain(cells).collect());
    }
    let nothing = "nobody told of a deployment: tidegate release deployed DIGEST --app APP --env ENV";
    Ok(table.write(&mut *session.out, session.style, nothing)?)
}

/// What a release is to the others, in words.
fn standing(release: &Value) -> (String, Tone) {
    let acted = text(release, "acted_on");
    let mut words = Vec::new();
    if release["current"] == true {
        words.push("current".to_owned());
    }
    if release["previous_good"] == true {
        words.push("previous good".to_owned());
    }
    if !acted.is_empty() {
        words.push(format!("a guardrail had it reverted (revision {acted})"));
    }
    let tone = match (acted.is_empty(), release["current"] == true) {
        (false, _) => Tone::Alarm,
        (true, true) => Tone::Live,
        (true, false) => Tone::Plain,
    };
    (words.join("; "), tone)
}

/// The release of a digest, or of the only one that begins so.
fn named<'a>(all: &'a Value, typed: &str, place: &Place) -> Result<&'a Value, Failure> {
    let digits = typed.strip_prefix("sha256:").unwrap_or(typed).to_ascii_lowercase();
    if digits.len() < LEAST_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "`{typed}` is no part of a digest: write at least {LEAST_DIGITS} of its hexadecimal digits, from the first on"
        )));
    }
    let is_it =
        |release: &&Value| text(release, "artifact").trim_start_matches("sha256:").starts_with(&digits);
    let mut found = items(all).iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Failure::missing(format!(
            "no release `{typed}` is remembered in {}: `tidegate release list` shows those that are",
            place.environment
        ))),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("`{typed}` begins more than one digest: write more of it")))
        }
    }
}

fn show(session: &mut Session, release: &Value) -> Result<(), Failure> {
    if session.json {
        return session.print_json(release);
    }
    let (is, _) = standing(release);
    let deployed = moment(release, "deployed_at").map_or_else(String::new, when::second);
    let decision = &release["decision"];
    let gate = match text(decision, "verdict") {
        verdict if verdict.is_empty() => verdict,
        verdict => format!("{verdict}, decision {}", text(decision, "id")),
    };
    let lines = [
        ("artifact", text(release, "artifact")),
        ("version", text(release, "version")),
        ("deployed", format!("{deployed}, revision {}", text(release, "revision"))),
        ("gate", gate),
        ("is", is),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        session.say(format_args!("{name:<9} {value}"))?;
    }
    Ok(())
}

/// Prints the digest alone, for scripts.
fn one(
    session: &mut Session,
    app: &AppKey,
    place: &Place,
    which: &str,
    missing: String,
) -> Result<(), Failure> {
    let all = session.client.get(&path(app, place))?.body;
    let found = items(&all).iter().find(|release| release[which] == true);
    let found = found.ok_or_else(|| Failure::missing(missing))?;
    session.answer(found, text(found, "artifact"))
}
