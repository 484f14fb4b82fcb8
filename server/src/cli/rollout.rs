//! `tidegate rollout`: a flag raised stage by stage.

use clap::{Args, Subcommand};
use rollout_rules::change::Command;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::percent::Exposure;
use rollout_rules::plan::RolloutPlan;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::with_query;
use super::failure::Failure;
use super::flag::{Place, path, read};
use super::output::Table;
use super::reading::{items, moment, text};
use super::rollout_view::{self, RolloutView, StateView};
use super::session::Session;
use super::{app, proposal, rollout_watch, verdicts, when};

/// What can be done with rollouts.
#[derive(Subcommand, Clone, Debug)]
pub enum RolloutCommand {
    /// Start a rollout: the flag is on at the first stage's exposure, and goes on by the plan
    ///
    /// A plan is stages in order, each an exposure and how long it is held: 1%/30m,5%/1h,approve,25%/4h,50%/12h,100%.
    /// `approve` before a stage has it wait for `rollout advance`. The last stage is 100%, or 95% to 99% to hold the rest
    /// back; with a length, it is watched for so long. Without --plan the tier of the app decides.
    ///
    /// Turning the flag on or off, setting its exposure, what it serves or its schedule by hand ends the rollout, as do
    /// a kill, a hold by automation and the flag's end. Nothing goes on by itself after that.
    Start(Start),
    /// Show the rollout of a flag, and what outcomes say of its variants
    Show(Where),
    /// Follow a rollout until it is over; ends with 0 if it was completed
    Watch(Where),
    /// Stop the clock of a rollout; its exposure stays
    Pause {
        #[command(flatten)]
        place: Where,
    },
    /// Let a rollout that is paused go on
    Resume {
        #[command(flatten)]
        place: Place,
    },
    /// End a rollout at 0 %
    Abort {
        #[command(flatten)]
        place: Where,
    },
    /// Bring a rollout to its next stage: before its time, or since it waits for approval
    Advance {
        #[command(flatten)]
        place: Place,
    },
    /// List the rollouts of an app
    List {
        /// Those that are over too
        #[arg(long)]
        all: bool,
        /// Only in this environment
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
    },
}

/// How a rollout is started.
#[derive(Args, Clone, Debug)]
pub struct Start {
    #[command(flatten)]
    place: Place,
    /// The stages: 1%/30m,5%/1h,approve,25%/4h,50%/12h,100%
    #[arg(long, value_name = "PLAN", conflicts_with = "default")]
    plan: Option<String>,
    /// The plan of the app's tier, which is also taken if none is named
    #[arg(long)]
    default: bool,
    /// Hold so much back at the last stage: 1% to 5%
    #[arg(long, value_name = "PERCENT")]
    holdback: Option<Exposure>,
}

/// A flag in an environment, whatever state it is in.
#[derive(Args, Clone, Debug)]
pub struct Where {
    /// Which flag
    key: FlagKey,
    /// In which environment; may be left out where there is only one
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, app: &AppKey, command: RolloutCommand) -> Result<(), Failure> {
    match command {
        RolloutCommand::Start(options) => start(session, app, &options),
        RolloutCommand::Show(place) => {
            let path = place.path(session, app)?;
            let answer = session.client.get(&path)?.body;
            if session.json {
                return session.print_json(&answer);
            }
            rollout_view::show(session, &answer)?;
            show_verdicts(session, &path, &answer)
        }
        RolloutCommand::Watch(place) => {
            let path = place.path(session, app)?;
            rollout_watch::run(session, &path)
        }
        RolloutCommand::Pause { place } => lower(session, app, &place, "pause"),
        RolloutCommand::Abort { place } => lower(session, app, &place, "abort"),
        RolloutCommand::Resume { place } => go_on(session, app, &place, "resume"),
        RolloutCommand::Advance { place } => go_on(session, app, &place, "advance"),
        RolloutCommand::List { all, environment } => list(session, app, all, environment.as_ref()),
    }
}

impl Where {
    /// The path of the rollout there.
    fn path(&self, session: &Session, app: &AppKey) -> Result<String, Failure> {
        let environment = match &self.environment {
            Some(named) => named.to_string(),
            None => read(session, app, &self.key)?.state(None)?.0.to_owned(),
        };
        Ok(rollout_path(app, &self.key, &environment))
    }
}

/// What outcomes say of its variants, where the server knows.
fn show_verdicts(session: &mut Session, path: &str, answer: &Value) -> Result<(), Failure> {
    let Some(seen) = verdicts::read(session, path) else { return Ok(()) };
    let rollout = StateView::read(answer, session)?.rollout;
    let lines = seen.lines(rollout.as_ref(), session.style);
    lines.iter().try_for_each(|line| Ok(writeln!(session.out, "{line}")?))
}

fn rollout_path(app: &AppKey, flag: &FlagKey, environment: &str) -> String {
    format!("{}/environments/{environment}/rollout", path(app, flag))
}

fn start(session: &mut Session, app: &AppKey, options: &Start) -> Result<(), Failure> {
    let place = &options.place;
    // Before anything is asked of the server.
    let typed = options.plan.as_deref().map(|text| typed_plan(session, text)).transpose()?;
    let flag = read(session, app, &place.key)?;
    let environment = key_of(session, flag.state(place.environment.as_ref())?.0)?;
    let path = rollout_path(app, &place.key, environment.as_str());
    let mut plan = match typed {
        Some(plan) => plan,
        None => {
            let answer = session.client.get(&path)?.body;
            let default = StateView::read(&answer, session)?.default_plan;
            default.parse().map_err(|_| session.client.strange("a plan that this version does not know"))?
        }
    };
    if let Some(part) = options.holdback {
        let unfit = |_| Failure::usage(format!("--holdback {part}%: from 1% to 5% can be held back"));
        plan = plan.holding_back(part).map_err(unfit)?;
    }
    let seen = place.seen.if_revision.unwrap_or(flag.revision);
    if place.seen.propose {
        let (app, flag) = (app.clone(), place.key.clone());
        return proposal::propose(
            session,
            &Command::StartRollout { app, flag, environment, plan },
            Some(seen),
        );
    }
    let body = session.with_reason(json!({ "stages": plan.stages }));
    let answer = session.client.change(Method::POST, &path, &body, Some(seen))?;
    if session.json {
        return session.print_json(&answer.body);
    }
    rollout_view::show(session, &answer.body)?;
    session.say(format_args!(
        "`tidegate rollout watch {} --env {environment}` follows it; `abort` in its place takes it to 0%",
        place.key
    ))
}

/// The plan that was typed; a mistake in it is shown where it stands.
fn typed_plan(session: &Session, text: &str) -> Result<RolloutPlan, Failure> {
    text.parse().map_err(|error: rollout_rules::plan::NotAPlan| {
        if !session.json {
            error.pointed_at(text).lines().for_each(super::output::note);
        }
        Failure::usage(format!("--plan: {error}"))
    })
}

fn key_of(session: &Session, environment: &str) -> Result<EnvKey, Failure> {
    EnvKey::new(environment).map_err(|error| session.client.strange(&error.to_string()))
}

/// Pausing and aborting are right whatever happened meanwhile.
fn lower(session: &mut Session, app: &AppKey, place: &Where, verb: &str) -> Result<(), Failure> {
    let path = format!("{}/{verb}", place.path(session, app)?);
    let body = session.with_reason(json!({}));
    let answer = session.client.change(Method::POST, &path, &body, None)?.body;
    if session.json { session.print_json(&answer) } else { rollout_view::show(session, &answer) }
}

fn go_on(session: &mut Session, app: &AppKey, place: &Place, verb: &str) -> Result<(), Failure> {
    let flag = read(session, app, &place.key)?;
    let environment = key_of(session, flag.state(place.environment.as_ref())?.0)?;
    let seen = place.seen.if_revision.unwrap_or(flag.revision);
    if place.seen.propose {
        let (app, flag) = (app.clone(), place.key.clone());
        let command = match verb {
            "resume" => Command::ResumeRollout { app, flag, environment },
            _ => Command::AdvanceRollout { app, flag, environment },
        };
        return proposal::propose(session, &command, Some(seen));
    }
    let path = format!("{}/{verb}", rollout_path(app, &place.key, environment.as_str()));
    let body = session.with_reason(json!({}));
    let answer = session.client.change(Method::POST, &path, &body, Some(seen))?.body;
    if session.json { session.print_json(&answer) } else { rollout_view::show(session, &answer) }
}

fn list(session: &mut Session, app: &AppKey, all: bool, environment: Option<&EnvKey>) -> Result<(), Failure> {
    let mut path = format!("{}/rollouts", app::path(app));
    if !all {
        path = with_query(&path, "active", "true");
    }
    if let Some(environment) = environment {
        path = with_query(&path, "environment", environment.as_str());
    }
    let list = session.client.list(&path)?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["FLAG", "ENVIRONMENT", "STATUS", "STAGE", "NEXT", "PLAN"]);
    for item in items(&list) {
        table.toned_row(row(session, item)?);
    }
    let none = if all { "no rollouts yet" } else { "no rollout runs; --all lists those that are over" };
    Ok(table.write(&mut *session.out, session.style, none)?)
}

fn row(session: &Session, item: &Value) -> Result<Vec<(String, super::output::Tone)>, Failure> {
    use super::output::Tone::Plain;
    let rollout = RolloutView::read(&item["rollout"], session)?;
    let next = match moment(&item["rollout"], "due_at") {
        Some(due) if due > session.now => when::distance(due, session.now),
        Some(_) => "now".to_owned(),
        None => rollout.waits_for(),
    };
    Ok(vec![
        (text(item, "flag"), Plain),
        (text(item, "environment"), Plain),
        (rollout.status_in_words(), rollout.tone()),
        (rollout.stage_in_words(), Plain),
        (next, Plain),
        (rollout.plan.clone(), Plain),
    ])
}
