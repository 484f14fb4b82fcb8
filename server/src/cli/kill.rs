//! Killing and reviving, at every height. A kill is sent under one id until a server acknowledges it, and is
//! then followed until the SDKs have it.

use std::time::{Duration, Instant};

use clap::Args;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId};
use rollout_rules::time::DurationMs;
use serde_json::json;
use ureq::http::Method;

use super::app;
use super::client::{Answer, Call, encoded, random_name};
use super::delivery::{FollowOptions, follow, length};
use super::failure::Failure;
use super::output::note;
use super::session::Session;

/// How long one attempt may take before the next is made.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The last attempt before the end gets at least so long.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);
/// Pause after the first failed attempt; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How hard to try.
#[derive(Args, Clone, Debug)]
pub struct KillOptions {
    /// Name the act; repeated under the same id it is the same kill
    #[arg(long, value_name = "ID")]
    kill_id: Option<KillId>,
    /// How long to go on trying while no server acknowledges it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = length)]
    give_up_after: DurationMs,
    #[command(flatten)]
    follow: FollowOptions,
}

/// What is killed or revived.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Every flag of every app.
    Everything,
    /// Every flag of an app.
    App(AppKey),
    /// One flag.
    Flag(AppKey, FlagKey),
}

impl Target {
    fn path(&self, verb: &str) -> String {
        match self {
            Target::Everything => format!("/v1/{verb}"),
            Target::App(key) => format!("{}/{verb}", app::path(key)),
            Target::Flag(key, flag) => {
                format!("{}/flags/{}/{verb}", app::path(key), encoded(flag.as_str()))
            }
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Everything => f.write_str("everything"),
            Target::App(app) => write!(f, "every flag of {app}"),
            Target::Flag(app, flag) => write!(f, "{flag} of {app}"),
        }
    }
}

fn place(environment: Option<&EnvKey>) -> String {
    environment.map_or_else(|| "in all environments".to_owned(), |key| format!("in {key}"))
}

/// Kills; says how long it took, whether the log has it, and who has it.
pub(super) fn kill(
    session: &mut Session,
    target: &Target,
    environment: Option<&EnvKey>,
    options: &KillOptions,
) -> Result<(), Failure> {
    let id = options.kill_id.as_ref().map_or_else(|| random_name("kill"), ToString::to_string);
    let mut body = json!({"kill_id": id});
    if let Some(environment) = environment {
        body["environment"] = environment.as_str().into();
    }
    let body = session.with_reason(body);
    let begun = Instant::now();
    let patience = Duration::from_millis(options.give_up_after.0);
    let sent = until_acknowledged(session, &target.path("kill"), &body, begun, patience);
    let answer = sent.map_err(|failure| match failure {
        // Nobody knows whether it is in effect; under its id it can be sent again without harm.
        failure if failure.is_passing() => {
            Failure::Unacknowledged { kill_id: id.clone(), last: Box::new(failure) }
        }
        failure => failure,
    })?;
    let took_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let durable = answer.body["durable"].as_bool().unwrap_or(answer.status == 200);
    let already = answer.body["already"].as_bool().unwrap_or(false);
    // An older server does not say.
    let in_effect = answer.body["in_effect"].as_bool().unwrap_or(true);
    if session.json {
        let mut body = answer.body.clone();
        body["took_ms"] = ((took_ms * 1000.0).round() / 1000.0).into();
        if in_effect && let Some(followed) = follow(session, &id, &options.follow)? {
            followed.add_to(&mut body);
        }
        session.print_json(&body)?;
    }
    if !in_effect {
        let place = place(environment);
        let problem = format!(
            "{target} is NOT killed {place}: the kill {id} was made before and has been taken back since. \
             To kill again, use a new kill id"
        );
        return Err(Failure::TakenBack { problem });
    }
    if session.json {
        return Ok(());
    }
    let done = if already { "was killed already" } else { "is killed" };
    session.say(format_args!("{target} {done} {} ({took_ms:.1} ms, kill id {id})", place(environment)))?;
    session.say(kept(&answer.body, durable))?;
    follow(session, &id, &options.follow)?.map_or(Ok(()), |followed| followed.tell(session))
}

/// Where a kill is kept.
fn kept(answer: &serde_json::Value, durable: bool) -> String {
    if durable {
        return format!("it is in the log at revision {}", answer["revision"]);
    }
    let where_else = if answer["journaled"].as_bool().unwrap_or(true) {
        "it is in effect on the server that answered and in its journal, but not yet in the log: \
         the log cannot take it now, and the server writes it as soon as it can"
    } else {
        "it is in effect on the server that answered, but neither in its journal nor yet in the log: \
         do not restart that server before `tidegate log` shows the kill, or kill again afterwards"
    };
    where_else.to_owned()
}

fn until_acknowledged(
    session: &Session,
    path: &str,
    body: &serde_json::Value,
    begun: Instant,
    patience: Duration,
) -> Result<Answer, Failure> {
    let mut pause = FIRST_PAUSE;
    loop {
        let left = patience.saturating_sub(begun.elapsed()).max(SHORTEST_ATTEMPT);
        let call = Call { body: Some(body), timeout: Some(ATTEMPT_TIMEOUT.min(left)), ..Call::default() };
        let failure = match session.client.call(Method::POST, path, &call) {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        if !failure.is_passing() || begun.elapsed() + pause > patience {
            return Err(failure);
        }
        if pause == FIRST_PAUSE && !session.json {
            let id = body["kill_id"].as_str().unwrap_or_default();
            let seconds = patience.as_secs_f64().ceil();
            note(format_args!("{failure}; trying again under the same kill id, {id}, for up to {seconds} s"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Takes a kill back.
pub(super) fn revive(
    session: &mut Session,
    target: &Target,
    environment: Option<&EnvKey>,
) -> Result<(), Failure> {
    if session.reason.is_none() {
        return Err(Failure::usage("taking a kill back needs --reason: why is it safe now?"));
    }
    let mut body = json!({});
    if let Some(environment) = environment {
        body["environment"] = environment.as_str().into();
    }
    let body = session.with_reason(body);
    let answer = session.client.change(Method::POST, &target.path("revive"), &body, None)?;
    let line = format!(
        "the kill of {target} is taken back {}; what it killed is off until someone turns it on",
        place(environment)
    );
    session.answer(&answer.body, line)
}
