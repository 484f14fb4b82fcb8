//! `tidegate flag`: what flags there are, and what they do where.

use clap::{Args, Subcommand};
use rollout_rules::change::{Command, Reach, TargetingPatch};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{encoded, with_query};
use super::confirm::Sure;
use super::explain::ExplainOptions;
use super::exposures::{ExposuresOptions, ListOptions};
use super::failure::Failure;
use super::flag_definition::{CreateFlag, EditFlag};
use super::history::{DiffOptions, HistoryOptions, RevertOptions};
use super::kill::{KillOptions, Target, kill, revive};
use super::outcomes::OutcomesOptions;
use super::output::{Table, Tone, tone_of_serving};
use super::reading::items;
use super::session::Session;
use super::targeting::TargetingOptions;
use super::view::{self, FlagView};
use super::when::{self, When};
use super::{app, explain, exposures, flag_definition, history, outcomes, proposal};

/// What can be done with flags.
#[derive(Subcommand, Clone, Debug)]
pub enum FlagCommand {
    /// Make a flag; it is off everywhere and dies on a date
    Create(CreateFlag),
    /// List the app's flags and what each serves
    List(ListOptions),
    /// Show one flag
    Show {
        /// Which
        key: FlagKey,
    },
    /// Turn a flag on in an environment
    On {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        options: TargetingOptions,
    },
    /// Turn a flag off in an environment
    Off {
        #[command(flatten)]
        place: Place,
    },
    /// Change what a flag serves in an environment
    Set {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        options: TargetingOptions,
    },
    /// Change a flag's variants, owner or description
    Edit(EditFlag),
    /// Kill a flag: it serves its off variant at once, everywhere
    Kill {
        /// Which
        key: FlagKey,
        /// Only there; without it, in all environments
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
        #[command(flatten)]
        options: KillOptions,
    },
    /// Take a kill back; the flag is off then (needs --reason)
    Revive {
        /// Which
        key: FlagKey,
        /// Only there; without it, in all environments
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
        /// Store it as a proposal instead of doing it
        #[arg(long)]
        propose: bool,
    },
    /// Give a flag a longer life (needs --reason)
    Extend {
        #[command(flatten)]
        place: Place,
        /// When it expires: 14d from now, or a date; without it, as late as allowed
        #[arg(long, value_name = "WHEN")]
        expires: Option<When>,
    },
    /// Show how often a flag gave which answer, by hour or day
    Exposures(ExposuresOptions),
    /// Show what a flag's variants did to requests: errors, latency and cost
    Outcomes(OutcomesOptions),
    /// Say why a flag answers somebody so, step by step, now or at a moment that is past
    Explain(ExplainOptions),
    /// Show what became of a flag: who changed what, when and why
    History(HistoryOptions),
    /// Show what differs between what a flag was and what it is
    Diff(DiffOptions),
    /// Set a flag in an environment as it was at an earlier revision
    Revert(RevertOptions),
    /// End a flag for good; its key stays taken (asks, or needs --yes)
    Archive {
        /// Which
        key: FlagKey,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        seen: Seen,
    },
}

/// A flag in an environment.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// Which flag
    pub(super) key: FlagKey,
    /// In which environment; may be left out where there is only one
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    pub(super) environment: Option<EnvKey>,
    #[command(flatten)]
    pub(super) seen: Seen,
}

/// On which state of the flag a change is based.
#[derive(Args, Clone, Debug)]
pub struct Seen {
    /// Only if the flag is still at this revision; without it, at the one read a moment before
    #[arg(long, value_name = "N")]
    pub(super) if_revision: Option<u64>,
    /// Store it as a proposal for others to approve and apply
    #[arg(long)]
    pub(super) propose: bool,
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, app: &AppKey, command: FlagCommand) -> Result<(), Failure> {
    match command {
        FlagCommand::Create(new) => flag_definition::create(session, app, new),
        FlagCommand::List(options) => list(session, app, options.archived),
        FlagCommand::Show { key } => {
            let answer = session.client.get(&path(app, &key))?;
            if session.json {
                return session.print_json(&answer.body);
            }
            let flag = FlagView::read(&answer.body, session)?;
            view::show(session, &flag)
        }
        FlagCommand::On { place, options } => set(session, app, &place, Some(true), &options),
        FlagCommand::Off { place } => set(session, app, &place, Some(false), &TargetingOptions::default()),
        FlagCommand::Set { place, options } => set(session, app, &place, None, &options),
        FlagCommand::Edit(edit) => flag_definition::edit(session, app, edit),
        FlagCommand::Kill { key, environment, options } => {
            kill(session, &Target::Flag(app.clone(), key), environment.as_ref(), &options)
        }
        FlagCommand::Revive { key, environment, propose } => {
            if !propose {
                return revive(session, &Target::Flag(app.clone(), key), environment.as_ref());
            }
            let seen = read(session, app, &key)?.revision;
            let reach = Reach::Flag { app: app.clone(), flag: key };
            proposal::propose(session, &Command::Revive { reach, environment }, Some(seen))
        }
        FlagCommand::Extend { place, expires } => flag_definition::extend(session, app, &place, expires),
        FlagCommand::Exposures(options) => exposures::show(session, app, &options),
        FlagCommand::Outcomes(options) => outcomes::show(session, app, &options),
        FlagCommand::Explain(options) => explain::run(session, app, &options),
        FlagCommand::History(options) => history::history(session, app, &options),
        FlagCommand::Diff(options) => history::diff(session, app, &options),
        FlagCommand::Revert(options) => history::revert(session, app, &options),
        FlagCommand::Archive { key, sure, seen } => flag_definition::archive(session, app, key, sure, &seen),
    }
}

/// The path of a flag.
pub(super) fn path(app: &AppKey, flag: &FlagKey) -> String {
    format!("{}/flags/{}", app::path(app), encoded(flag.as_str()))
}

/// Reads a flag as it is now.
pub(super) fn read(session: &Session, app: &AppKey, flag: &FlagKey) -> Result<FlagView, Failure> {
    let answer = session.client.get(&path(app, flag))?;
    FlagView::read(&answer.body, session)
}

fn list(session: &mut Session, app: &AppKey, archived: bool) -> Result<(), Failure> {
    let mut path = format!("{}/flags", app::path(app));
    if archived {
        path = with_query(&path, "archived", "true");
    }
    let list = session.client.list(&path)?;
    if session.json {
        return session.print_json(&list);
    }
    let flags: Result<Vec<FlagView>, Failure> =
        items(&list).iter().map(|flag| FlagView::read(flag, session)).collect();
    let flags = flags?;
    let mut environments: Vec<&str> =
        flags.iter().flat_map(|flag| flag.environments.keys().map(String::as_str)).collect();
    environments.sort_unstable();
    environments.dedup();
    let heads = ["KEY", "OWNER"].into_iter().map(str::to_owned);
    let heads = heads.chain(environments.iter().map(|key| key.to_uppercase()));
    let mut table = Table::new(heads.chain(["EXPIRES FIRST".to_owned()]));
    for flag in &flags {
        let mut row = vec![(flag.key.clone(), Tone::Plain), (flag.owner.clone(), Tone::Plain)];
        for environment in &environments {
            let serving = if flag.archived_at.is_some() { "archived" } else { flag.serving(environment) };
            row.push((serving.to_owned(), tone_of_serving(serving)));
        }
        let first = flag.environments.values().map(|state| state.expires_at).min();
        row.push((first.map_or_else(String::new, |at| when::distance(at, session.now)), Tone::Plain));
        table.toned_row(row);
    }
    let none = format!("{app} has no flags yet: `tidegate flag create KEY --app {app}` makes one");
    Ok(table.write(&mut *session.out, session.style, &none)?)
}

/// Turns on or off and sets what was typed, based on the state that was read.
fn set(
    session: &mut Session,
    app: &AppKey,
    place: &Place,
    on: Option<bool>,
    options: &TargetingOptions,
) -> Result<(), Failure> {
    let flag = read(session, app, &place.key)?;
    let (environment, state) = flag.state(place.environment.as_ref())?;
    let patch = TargetingPatch { on, ..options.patch(state, session.now)? };
    if patch == TargetingPatch::default() {
        return Err(Failure::usage("say what to change; `tidegate flag set --help` lists what there is"));
    }
    let seen = place.seen.if_revision.unwrap_or(flag.revision);
    let environment_key =
        EnvKey::new(environment).map_err(|error| session.client.strange(&error.to_string()))?;
    let command = Command::SetTargeting {
        app: app.clone(),
        flag: place.key.clone(),
        environment: environment_key,
        patch: Box::new(patch),
    };
    if place.seen.propose {
        return proposal::propose(session, &command, Some(seen));
    }
    let body = session.with_reason(body_of_patch(&command));
    let path = format!("{}/environments/{environment}", path(app, &place.key));
    // Turning off is right whatever happened meanwhile; only whoever says so has it depend on a revision.
    let if_match = if on == Some(false) { place.seen.if_revision } else { Some(seen) };
    let answer = session.client.change(Method::PATCH, &path, &body, if_match)?;
    if session.json {
        return session.print_json(&answer.body);
    }
    let now = FlagView::read(&answer.body, session)?;
    let (before, after) = (&state.serving, now.serving(environment));
    let key = &place.key;
    session.say(format_args!(
        "{key} in {environment}: {after} (was: {before}, revision {seen}); now revision {}",
        now.revision
    ))?;
    let rolls_out = |state: &view::StateView| state.rollout.as_ref().is_some_and(|rollout| rollout.active);
    if rolls_out(state) && !now.environments.get(environment).is_some_and(rolls_out) {
        session.say("the rollout that ran there is taken over by this: it goes on no more")?;
    }
    note_what_stands_above(session, place, now.environments.get(environment))
}

/// The patch alone. An empty list says something here: that the list is to be empty.
fn body_of_patch(command: &Command) -> Value {
    match command {
        Command::SetTargeting { patch, .. } => serde_json::to_value(patch).unwrap_or_else(|_| json!({})),
        _ => json!({}),
    }
}

/// Whoever turns a flag on and sees nothing happen should know why.
fn note_what_stands_above(
    session: &mut Session,
    place: &Place,
    state: Option<&view::StateView>,
) -> Result<(), Failure> {
    let Some(state) = state.filter(|state| state.on) else { return Ok(()) };
    let key = &place.key;
    match state.serving.as_str() {
        "killed" => session.say("a kill stands above it, so it serves its off variant until the kill is taken back"),
        "expired" => session.say(format_args!(
            "its date has passed, so it serves its off variant: `tidegate flag extend {key} --reason …` gives it more time"
        )),
        _ if state.exposure == rollout_rules::percent::Exposure::NONE => {
            session.say("its exposure is 0%, so only targets and rules serve it: add --exposure to widen it")
        }
        _ => Ok(()),
    }
}
