//! `tidegate webhook`: who outside is told of changes, and how that goes.

use clap::{Args, Subcommand};
use rollout_rules::change::ChangeKind;
use rollout_rules::ids::{AppKey, EnvKey, WebhookId};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Call, encoded, with_query};
use super::confirm::Sure;
use super::failure::Failure;
use super::output::{Table, Tone};
use super::reading::{items, moment, text};
use super::session::{Given, Session};
use super::when;

/// What can be done with webhooks.
#[derive(Subcommand, Clone, Debug)]
pub enum WebhookCommand {
    /// Tell an address of changes from now on; its secret is shown once
    Create(CreateWebhook),
    /// List all webhooks, without secrets
    List,
    /// Change where one leads or what it is told of, or turn it on or off
    Update(UpdateWebhook),
    /// Remove a webhook with what it was not told of (asks, or needs --yes)
    Remove {
        /// Which
        id: WebhookId,
        #[command(flatten)]
        sure: Sure,
    },
    /// Draw a new secret, shown once; the one so far signs beside it until the next
    Rotate {
        /// Which
        id: WebhookId,
        /// The secrets so far stop signing at once: they leaked
        #[arg(long)]
        drop_old: bool,
    },
    /// Send one message of the type `test` and say what became of it
    Test {
        /// Which
        id: WebhookId,
    },
    /// Show how far one has come, what waits, the last attempts and the dead letters
    Deliveries {
        /// Which
        id: WebhookId,
    },
    /// Send dead letters again until three in a row fail, and try at once what waits
    Replay {
        /// Which
        id: WebhookId,
        /// Only the dead letter of this revision
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
}

/// A new webhook.
#[derive(Args, Clone, Debug)]
pub struct CreateWebhook {
    /// Where to send to: https://hooks.example.org/tidegate
    #[arg(value_name = "URL")]
    to: String,
    /// Only of this kind of entry, such as killed or effect_requested; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<ChangeKind>,
    /// Only of what concerns this app
    #[arg(long, short = 'a', env = "TIDEGATE_APP", value_name = "APP")]
    app: Option<Given<AppKey>>,
    /// Of every app, even if TIDEGATE_APP names one
    #[arg(long)]
    all_apps: bool,
    /// Only of what concerns this environment of the app
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
}

/// What changes of a webhook.
#[derive(Args, Clone, Debug)]
pub struct UpdateWebhook {
    /// Which
    id: WebhookId,
    /// Where to send to
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Only of this kind of entry; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<ChangeKind>,
    /// Of every kind of entry
    #[arg(long, conflicts_with = "kinds")]
    all_kinds: bool,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Send again, from where it stopped
    #[arg(long)]
    enable: bool,
    /// Send nothing until it is enabled; what comes meanwhile waits
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
}

fn kind(text: &str) -> Result<ChangeKind, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|_| {
        let all: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("write one of {}", all.join(", "))
    })
}

fn path(id: &WebhookId) -> String {
    format!("/v1/webhooks/{}", encoded(id.as_str()))
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, command: WebhookCommand) -> Result<(), Failure> {
    match command {
        WebhookCommand::Create(new) => create(session, new),
        WebhookCommand::List => list(session),
        WebhookCommand::Update(update) => change(session, update),
        WebhookCommand::Remove { id, sure } => remove(session, &id, sure),
        WebhookCommand::Rotate { id, drop_old } => {
            let body = session.with_reason(json!({ "keep_old": !drop_old }));
            let answer = session.client.create(&format!("{}/rotate", path(&id)), &body, None)?;
            show_secret(session, &answer.body)
        }
        WebhookCommand::Test { id } => test(session, &id),
        WebhookCommand::Deliveries { id } => deliveries(session, &id),
        WebhookCommand::Replay { id, revision } => {
            let body = revision.map_or_else(|| json!({}), |revision| json!({ "revision": revision }));
            let path = format!("{}/replay", path(&id));
            let answer = session.client.change(Method::POST, &path, &body, None)?;
            let count = text(&answer.body, "replaying");
            let line = format!(
                "{count} dead letters are sent again, until three in a row fail; `tidegate webhook deliveries {id}` shows \
                 what is left"
            );
            session.answer(&answer.body, line)
        }
    }
}

fn create(session: &mut Session, new: CreateWebhook) -> Result<(), Failure> {
    let app = Given::named(new.app).filter(|_| !new.all_apps);
    if new.environment.is_some() && app.is_none() {
        return Err(Failure::usage("an environment belongs to an app: name it with --app"));
    }
    let mut body = json!({ "url": new.to, "kinds": new.kinds, "description": new.description });
    if let Some(app) = &app {
        body["app"] = app.as_str().into();
    }
    if let Some(environment) = &new.environment {
        body["environment"] = environment.as_str().into();
    }
    let body = session.with_reason(body);
    let answer = session.client.create("/v1/webhooks", &body, None)?;
    show_secret(session, &answer.body)
}

fn show_secret(session: &mut Session, body: &Value) -> Result<(), Failure> {
    if session.json {
        return session.print_json(body);
    }
    session.say(format_args!("webhook {} to {}, {}", text(body, "id"), text(body, "url"), told_of(body)))?;
    session.say(text(body, "secret"))?;
    session
        .say("keep it now, it is not shown again: the receiver checks signatures with it (Standard Webhooks)")
}

/// What a webhook is told of: `killed, revived of shop/production`.
fn told_of(webhook: &Value) -> String {
    let kinds: Vec<&str> =
        webhook["kinds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let what = if kinds.is_empty() { "every change".to_owned() } else { kinds.join(", ") };
    let (app, environment) = (text(webhook, "app"), text(webhook, "environment"));
    match (app.is_empty(), environment.is_empty()) {
        (true, _) => what,
        (false, true) => format!("{what} of {app}"),
        (false, false) => format!("{what} of {app}/{environment}"),
    }
}

fn list(session: &mut Session) -> Result<(), Failure> {
    let list = session.client.list("/v1/webhooks")?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["ID", "URL", "TOLD OF", "FOR", "STATE"]);
    for webhook in items(&list) {
        let state = if webhook["enabled"] == true { "" } else { "disabled" };
        table.toned_row(vec![
            (text(webhook, "id"), Tone::Plain),
            (text(webhook, "url"), Tone::Plain),
            (told_of(webhook), Tone::Plain),
            (text(webhook, "description"), Tone::Faint),
            (state.to_owned(), Tone::Alarm),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "no webhooks")?)
}

fn change(session: &mut Session, update: UpdateWebhook) -> Result<(), Failure> {
    let mut body = json!({});
    if let Some(url) = update.to {
        body["url"] = url.into();
    }
    if let Some(description) = update.description {
        body["description"] = description.into();
    }
    if update.all_kinds || !update.kinds.is_empty() {
        body["kinds"] = json!(update.kinds);
    }
    if update.enable || update.disable {
        body["enabled"] = update.enable.into();
    }
    if body.as_object().is_some_and(serde_json::Map::is_empty) {
        return Err(Failure::usage("say what to change: --to, --kind, --description, --enable or --disable"));
    }
    let body = session.with_reason(body);
    let answer = session.client.change(Method::PATCH, &path(&update.id), &body, None)?;
    let state = if answer.body["enabled"] == true { "" } else { ", disabled" };
    let line =
        format!("webhook {} to {}, {}{state}", update.id, text(&answer.body, "url"), told_of(&answer.body));
    session.answer(&answer.body, line)
}

fn remove(session: &mut Session, id: &WebhookId, sure: Sure) -> Result<(), Failure> {
    let url = text(&session.client.get(&path(id))?.body, "url");
    sure.or_ask(&format!("the webhook {id} to {url} goes, with what it was not told of"))?;
    let mut path = path(id);
    if let Some(reason) = &session.reason {
        path = with_query(&path, "reason", reason);
    }
    let answer = session.client.call(Method::DELETE, &path, &Call::default())?;
    session.answer(&answer.body, format!("removed webhook {id} to {url}"))
}

fn test(session: &mut Session, id: &WebhookId) -> Result<(), Failure> {
    let answer = session.client.change(Method::POST, &format!("{}/test", path(id)), &json!({}), None)?.body;
    if answer["delivered"] == true {
        let line = format!("delivered: {} after {} ms", text(&answer, "status"), text(&answer, "took_ms"));
        return session.answer(&answer, line);
    }
    if session.json {
        session.print_json(&answer)?;
    }
    Err(Failure::undelivered(text(&answer, "problem")))
}

fn deliveries(session: &mut Session, id: &WebhookId) -> Result<(), Failure> {
    let all = session.client.get(&format!("{}/deliveries", path(id)))?.body;
    if session.json {
        return session.print_json(&all);
    }
    session.say(format_args!(
        "webhook {id} is done up to revision {}, {} entries behind{}",
        text(&all, "cursor"),
        text(&all, "behind"),
        if all["enabled"] == true { "" } else { "; it is disabled, and what comes waits" }
    ))?;
    let waiting = &all["waiting"];
    if !waiting.is_null() {
        let next = moment(waiting, "next_at").map_or_else(String::new, |at| when::shown(at, session.now));
        session.say(format_args!(
            "revision {} failed {} times and is tried again {next}: {}",
            text(waiting, "revision"),
            text(waiting, "attempts"),
            text(waiting, "problem")
        ))?;
    }
    let mut table = Table::new(["REVISION", "WHEN", "ATTEMPT", "MS", "OUTCOME"]);
    for delivery in all["recent"].as_array().into_iter().flatten() {
        let (outcome, tone) = match delivery["delivered"] == true {
            true => (format!("delivered ({})", text(delivery, "status")), Tone::Live),
            false => (text(delivery, "problem"), Tone::Alarm),
        };
        table.toned_row(vec![
            (text(delivery, "revision"), Tone::Plain),
            (moment(delivery, "at").map_or_else(String::new, when::minute), Tone::Plain),
            (text(delivery, "attempt"), Tone::Plain),
            (text(delivery, "took_ms"), Tone::Plain),
            (outcome, tone),
        ]);
    }
    table.write(&mut *session.out, session.style, "nothing was sent since the server started")?;
    let mut table = Table::new(["DEAD LETTER", "GIVEN UP", "ATTEMPTS", "WHY"]);
    for letter in all["dead"].as_array().into_iter().flatten() {
        table.row([
            text(letter, "revision"),
            moment(letter, "at").map_or_else(String::new, when::minute),
            text(letter, "attempts"),
            text(letter, "problem"),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "no dead letters")?)
}
