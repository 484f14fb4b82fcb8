//! `tidegate token`: who may act, and with which rights.

use clap::{Args, Subcommand};
use rollout_rules::governance::Scope;
use rollout_rules::ids::{AppKey, EnvKey, TokenId};
use serde_json::{Value, json};
use ureq::http::Method;

use super::agent::AgentName;
use super::client::{Call, encoded, with_query};
use super::failure::Failure;
use super::output::{Table, Tone, fields};
use super::reading::{actor, items, moment, text};
use super::session::{Given, Session};
use super::when::{self, When};

/// What can be done with tokens.
#[derive(Subcommand, Clone, Debug)]
pub enum TokenCommand {
    /// Make a token; its secret is shown once
    Create(CreateToken),
    /// List tokens, without secrets; revoked ones for 30 days
    List,
    /// Stop a token at once and for good, without asking
    Revoke {
        /// Which
        id: TokenId,
    },
}

/// A new token.
#[derive(Args, Clone, Debug)]
pub struct CreateToken {
    /// admin, operator, editor, viewer, ci, sdk-server or sdk-browser
    #[arg(long, value_parser = scope)]
    scope: Scope,
    /// The person whose acts it signs
    #[arg(long, value_name = "NAME", conflicts_with_all = ["service", "agent"])]
    human: Option<String>,
    /// The program whose acts it signs
    #[arg(long, value_name = "NAME", conflicts_with = "agent")]
    service: Option<String>,
    /// The agent whose acts it signs
    #[arg(long, value_name = "MODEL,TOOL,FOR")]
    agent: Option<AgentName>,
    /// Only for this app
    #[arg(long, short = 'a', env = "TIDEGATE_APP", value_name = "APP")]
    app: Option<Given<AppKey>>,
    /// For every app, even if TIDEGATE_APP names one
    #[arg(long)]
    all_apps: bool,
    /// Only for this environment of the app
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
    /// A site whose pages may use the key, such as https://shop.example; may be repeated; * for any page
    #[arg(long = "origin", value_name = "URL")]
    origins: Vec<String>,
    /// Its pages may tell what became of requests, and guardrails count that; whoever can load a page can make it up
    #[arg(long)]
    outcomes: bool,
    /// When it stops working: 90d, or a date; without it, never
    #[arg(long, value_name = "WHEN")]
    expires: Option<When>,
}

fn scope(text: &str) -> Result<Scope, &'static str> {
    serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|_| "write admin, operator, editor, viewer, ci, sdk-server or sdk-browser")
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(new) => create(session, new),
        TokenCommand::List => list(session),
        TokenCommand::Revoke { id } => {
            let mut path = format!("/v1/tokens/{}", encoded(id.as_str()));
            if let Some(reason) = &session.reason {
                path = with_query(&path, "reason", reason);
            }
            let answer = session.client.call(Method::DELETE, &path, &Call::default())?;
            session.answer(
                &answer.body,
                format!("token {id} is revoked; whoever used it is refused from now on"),
            )
        }
    }
}

fn create(session: &mut Session, new: CreateToken) -> Result<(), Failure> {
    let app = Given::named(new.app).filter(|_| !new.all_apps);
    if new.environment.is_some() && app.is_none() {
        return Err(Failure::usage("an environment belongs to an app: name it with --app"));
    }
    let mut body = json!({"scope": new.scope});
    if let Some(app) = &app {
        body["app"] = app.as_str().into();
    }
    if let Some(environment) = &new.environment {
        body["environment"] = environment.as_str().into();
    }
    if !new.origins.is_empty() {
        body["origins"] = json!(new.origins);
    }
    if new.outcomes {
        body["outcomes"] = true.into();
    }
    if let Some(expires) = new.expires {
        body["expires_at"] = expires.from(session.now).to_string().into();
    }
    if let Some(name) = new.human {
        body["actor"] = json!({"type": "human", "name": name});
    } else if let Some(name) = new.service {
        body["actor"] = json!({"type": "service", "name": name});
    } else if let Some(agent) = new.agent {
        body["actor"] = agent.actor();
    }
    let body = session.with_reason(body);
    let answer = session.client.create("/v1/tokens", &body, None)?;
    if session.json {
        return session.print_json(&answer.body);
    }
    let secret = text(&answer.body, "secret");
    session.say(format_args!("token {} ({})", text(&answer.body, "id"), bound(&answer.body)))?;
    session.say(&secret)?;
    session.say("keep it now: it is not shown again")
}

fn bound(token: &Value) -> String {
    let (app, environment) = (text(token, "app"), text(token, "environment"));
    let place = match (app.is_empty(), environment.is_empty()) {
        (true, _) => "all apps".to_owned(),
        (false, true) => app,
        (false, false) => format!("{app}/{environment}"),
    };
    let sites: Vec<&str> =
        token["origins"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let pages = match &sites[..] {
        [] => String::new(),
        ["*"] => ", in any page".to_owned(),
        sites => format!(", in pages of {}", sites.join(" and ")),
    };
    format!("{} for {place}{pages}", text(token, "scope"))
}

fn list(session: &mut Session) -> Result<(), Failure> {
    let list = session.client.list("/v1/tokens")?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["ID", "SCOPE", "APP", "ENVIRONMENT", "WHO", "EXPIRES", "STATE"]);
    for token in items(&list) {
        let expires = moment(token, "expires_at");
        let state = if !token["revoked_at"].is_null() {
            "revoked"
        } else if expires.is_some_and(|at| at <= session.now) {
            "expired"
        } else {
            ""
        };
        table.toned_row(vec![
            (text(token, "id"), Tone::Plain),
            (text(token, "scope"), Tone::Plain),
            (text(token, "app"), Tone::Plain),
            (text(token, "environment"), Tone::Plain),
            (actor(&token["actor"]), Tone::Plain),
            (expires.map_or_else(|| "never".to_owned(), |at| when::shown(at, session.now)), Tone::Plain),
            (state.to_owned(), Tone::Faint),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "no tokens")?)
}

/// Shows whose token is used.
pub(super) fn whoami(session: &mut Session) -> Result<(), Failure> {
    let me = session.client.get("/v1/whoami")?.body;
    if session.json {
        return session.print_json(&me);
    }
    let expires = moment(&me, "expires_at");
    let facts = [
        ("who", actor(&me["actor"])),
        ("may", bound(&me)),
        ("token", text(&me, "token")),
        ("expires", expires.map_or_else(|| "never".to_owned(), |at| when::shown(at, session.now))),
    ];
    Ok(fields(&mut *session.out, session.style, &facts)?)
}
