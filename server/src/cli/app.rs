//! `tidegate app`: the apps, their owners, tiers and budgets.

use clap::{Args, Subcommand};
use rollout_rules::ids::{AppKey, EnvKey};
use serde_json::{Map, Value};
use ureq::http::Method;

use super::client::encoded;
use super::environment::NewEnvironmentText;
use super::failure::Failure;
use super::kill::{KillOptions, Target, kill, revive};
use super::output::{Table, Tone, fields};
use super::reading::{items, moment, text};
use super::session::Session;
use super::source::{self, SourceCommand};
use super::when;

/// What can be done with apps.
#[derive(Subcommand, Clone, Debug)]
pub enum AppCommand {
    /// Make an app; without environments it gets `production` and `sandbox`
    Create(CreateApp),
    /// List all apps
    List,
    /// Show one app
    Show {
        /// Which
        key: AppKey,
    },
    /// Change an app's name, owner, tier, budget or sensitive attributes
    Update {
        /// Which
        key: AppKey,
        #[command(flatten)]
        facts: AppFacts,
    },
    /// What an app may be built from, and by whom
    #[command(subcommand)]
    Source(SourceCommand),
    /// Kill every flag of an app: all serve their off variants at once
    Kill {
        /// Which
        key: AppKey,
        /// Only there; without it, in all environments
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
        #[command(flatten)]
        options: KillOptions,
    },
    /// Take an app's kill back; its flags are off then (needs --reason)
    Revive {
        /// Which
        key: AppKey,
        /// Only there; without it, in all environments
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
    },
}

/// A new app.
#[derive(Args, Clone, Debug)]
pub struct CreateApp {
    /// Its key: lower-case letters, digits, `-` and `_`
    pub key: AppKey,
    #[command(flatten)]
    facts: AppFacts,
    /// An environment, KEY=KIND or KEY=preview:END; may be repeated
    #[arg(long = "env", short = 'e', value_name = "KEY=KIND")]
    environments: Vec<NewEnvironmentText>,
}

/// What is known of an app.
#[derive(Args, Clone, Debug)]
pub struct AppFacts {
    /// Its name for people
    #[arg(long)]
    name: Option<String>,
    /// Who answers for it: a mail address, a team
    #[arg(long)]
    owner: Option<String>,
    /// How much it matters: 0 personal, 1 a team depends on it, 2 the organisation does; `policy test --tier` says what another would take down
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    tier: Option<u8>,
    /// What it may cost a month: 50 or 49.90
    #[arg(long, value_name = "AMOUNT", requires = "currency")]
    monthly_budget: Option<Micros>,
    /// The budget's currency: EUR, USD
    #[arg(long, value_name = "ISO 4217")]
    currency: Option<String>,
    /// Attributes whose values no web page may learn, with commas: email,user.phone; '' for none
    #[arg(long, value_name = "NAME,…")]
    sensitive: Option<String>,
}

impl AppFacts {
    fn into_body(self) -> Map<String, Value> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        put("name", self.name.map(Value::from));
        put("owner", self.owner.map(Value::from));
        put("tier", self.tier.map(Value::from));
        put("monthly_budget_micros", self.monthly_budget.map(|budget| budget.0.into()));
        put("currency", self.currency.map(Value::from));
        let named = |all: String| {
            all.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Value::from).collect()
        };
        put("sensitive", self.sensitive.map(named));
        body
    }
}

/// An amount of money in millionths, typed as a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Micros(u64);

/// A text that is no amount.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotAnAmount;

impl std::fmt::Display for NotAnAmount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write an amount with at most six decimals, such as 50 or 49.90")
    }
}

impl std::error::Error for NotAnAmount {}

impl std::str::FromStr for Micros {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Micros, NotAnAmount> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
            return Err(NotAnAmount);
        }
        let whole: u64 = whole.parse().map_err(|_| NotAnAmount)?;
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| NotAnAmount)?;
        whole
            .checked_mul(1_000_000)
            .and_then(|micros| micros.checked_add(fraction))
            .map(Micros)
            .ok_or(NotAnAmount)
    }
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, command: AppCommand) -> Result<(), Failure> {
    match command {
        AppCommand::Create(new) => create(session, new),
        AppCommand::List => list(session),
        AppCommand::Show { key } => {
            let answer = session.client.get(&path(&key))?;
            if session.json {
                return session.print_json(&answer.body);
            }
            show(session, &answer.body)
        }
        AppCommand::Update { key, facts } => {
            let body = facts.into_body();
            if body.is_empty() {
                return Err(Failure::usage(
                    "say what to change: --name, --owner, --tier, --monthly-budget or --sensitive",
                ));
            }
            let body = session.with_reason(Value::Object(body));
            let answer = session.client.change(Method::PATCH, &path(&key), &body, None)?;
            session.answer(&answer.body, format!("updated app {key}"))
        }
        AppCommand::Source(command) => source::run(session, command),
        AppCommand::Kill { key, environment, options } => {
            kill(session, &Target::App(key), environment.as_ref(), &options)
        }
        AppCommand::Revive { key, environment } => revive(session, &Target::App(key), environment.as_ref()),
    }
}

/// The path of an app.
pub(super) fn path(key: &AppKey) -> String {
    format!("/v1/apps/{}", encoded(key.as_str()))
}

fn create(session: &mut Session, new: CreateApp) -> Result<(), Failure> {
    let mut body = new.facts.into_body();
    body.insert("key".to_owned(), new.key.as_str().into());
    if !new.environments.is_empty() {
        let environments = new.environments.iter().map(|text| text.body(session.now)).collect();
        body.insert("environments".to_owned(), Value::Array(environments));
    }
    let body = session.with_reason(Value::Object(body));
    let answer = session.client.create("/v1/apps", &body, None)?;
    let environments: Vec<String> = environments(&answer.body).map(|(key, ..)| key.to_owned()).collect();
    let line = format!("created app {} with {}", new.key, environments.join(" and "));
    session.answer(&answer.body, line)
}

fn list(session: &mut Session) -> Result<(), Failure> {
    let apps = session.client.list("/v1/apps")?;
    if session.json {
        return session.print_json(&apps);
    }
    let mut table = Table::new(["KEY", "NAME", "TIER", "OWNER", "FLAGS", "ENVIRONMENTS", "STATE"]);
    for app in items(&apps) {
        let environments: Vec<&str> = environments(app).map(|(key, ..)| key).collect();
        let killed = killed_where(app);
        table.toned_row(vec![
            (text(app, "key"), Tone::Plain),
            (text(app, "name"), Tone::Plain),
            (text(app, "tier"), Tone::Plain),
            (text(app, "owner"), Tone::Plain),
            (text(app, "flags"), Tone::Plain),
            (environments.join(", "), Tone::Plain),
            (killed, Tone::Alarm),
        ]);
    }
    let none = "no apps yet: `tidegate app create KEY` makes one";
    Ok(table.write(&mut *session.out, session.style, none)?)
}

fn show(session: &mut Session, app: &Value) -> Result<(), Failure> {
    let budget = match app.get("monthly_budget_micros").and_then(Value::as_u64) {
        Some(micros) => format!(
            "{}.{:02} {} a month",
            micros / 1_000_000,
            micros % 1_000_000 / 10_000,
            text(app, "currency")
        ),
        None => String::new(),
    };
    let sensitive: Vec<&str> =
        app["sensitive"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let facts = [
        ("app", text(app, "key")),
        ("name", text(app, "name")),
        ("owner", text(app, "owner")),
        ("tier", text(app, "tier")),
        ("budget", budget),
        ("flags", text(app, "flags")),
        ("sensitive", sensitive.join(", ")),
        ("revision", text(app, "revision")),
        ("state", killed_where(app)),
    ];
    fields(&mut *session.out, session.style, &facts)?;
    session.say("")?;
    let mut table = Table::new(["ENVIRONMENT", "KIND", "ENDS", "STATE"]);
    for (key, kind, environment) in environments(app) {
        let ends = moment(environment, "ends_at").map_or_else(String::new, |at| when::shown(at, session.now));
        let killed = if environment["killed"].is_null() { "" } else { "killed" };
        table.toned_row(vec![
            (key.to_owned(), Tone::Plain),
            (kind.to_owned(), Tone::Plain),
            (ends, Tone::Plain),
            (killed.to_owned(), Tone::Alarm),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "no environments")?)
}

fn killed_where(app: &Value) -> String {
    if !app["killed"].is_null() {
        return "killed".to_owned();
    }
    let killed: Vec<&str> =
        environments(app).filter(|(.., e)| !e["killed"].is_null()).map(|(key, ..)| key).collect();
    if killed.is_empty() { String::new() } else { format!("killed in {}", killed.join(", ")) }
}

fn environments(app: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let list = app["environments"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|e| Some((e["key"].as_str()?, e["kind"].as_str()?, e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_kept_in_millionths() {
        for (typed, micros) in [("50", 50_000_000), ("49.90", 49_900_000), ("0.000001", 1)] {
            assert_eq!(typed.parse::<Micros>().expect("an amount").0, micros);
        }
        for typed in ["", ".5", "1.0000001", "-1", "1e3", "99999999999999999999"] {
            assert!(typed.parse::<Micros>().is_err(), "{typed}");
        }
    }
}
