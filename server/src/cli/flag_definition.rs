//! What is the same of a flag in every environment: making, editing, extending and archiving it.

use clap::Args;
use rollout_rules::change::{BrowserMark, Command};
use rollout_rules::flag::{FlagKind, Variant};
use rollout_rules::ids::{AppKey, FlagKey, VariantKey};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use ureq::http::Method;

use super::confirm::Sure;
use super::failure::Failure;
use super::flag::{Place, Seen, path, read};
use super::reading::moment;
use super::session::Session;
use super::view::FlagView;
use super::when::{self, When};
use super::{app, proposal};

/// A new flag.
#[derive(Args, Clone, Debug)]
pub struct CreateFlag {
    /// Its key: letters, digits, `.`, `_`, `-`, `/` and `:`
    key: FlagKey,
    /// What its values are: boolean, string, number or object
    #[arg(long = "type", value_name = "TYPE", default_value = "boolean", value_parser = kind)]
    kind: FlagKind,
    /// An answer it can give: KEY=VALUE, JSON or text; may be repeated. A boolean needs none
    #[arg(long = "variant", value_name = "KEY=VALUE")]
    variants: Vec<String>,
    /// Its answer while off; the last variant if none is named
    #[arg(long, value_name = "VARIANT")]
    off_variant: Option<VariantKey>,
    /// What it is for
    #[arg(long, default_value = "")]
    description: String,
    /// Who answers for it; the app's owner if nobody is named
    #[arg(long, default_value = "")]
    owner: String,
    /// Keep it when a budget disables the rest
    #[arg(long)]
    critical: bool,
    /// How it travels to web pages, where everybody can read it: none, values or rules
    #[arg(long, value_name = "HOW", value_parser = browser)]
    browser: Option<BrowserMark>,
    /// When it expires: 14d, or a date; without it, as its tier says
    #[arg(long, value_name = "WHEN")]
    expires: Option<When>,
    /// Store it as a proposal instead of doing it
    #[arg(long)]
    propose: bool,
}

/// What to change of a flag's definition.
#[derive(Args, Clone, Debug)]
pub struct EditFlag {
    /// Which
    key: FlagKey,
    /// Add a variant or change its value: KEY=VALUE; may be repeated
    #[arg(long = "variant", value_name = "KEY=VALUE")]
    variants: Vec<String>,
    /// Remove a variant that nothing serves; may be repeated
    #[arg(long = "remove-variant", value_name = "VARIANT")]
    remove_variants: Vec<VariantKey>,
    /// Its answer while off
    #[arg(long, value_name = "VARIANT")]
    off_variant: Option<VariantKey>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// Whether it stays when a budget disables the rest: true or false
    #[arg(long, value_name = "BOOL")]
    critical: Option<bool>,
    /// How it travels to web pages, where everybody can read it: none, values or rules
    #[arg(long, value_name = "HOW", value_parser = browser)]
    browser: Option<BrowserMark>,
    #[command(flatten)]
    seen: Seen,
}

fn kind(text: &str) -> Result<FlagKind, &'static str> {
    serde_json::from_value(text.into()).map_err(|_| "write boolean, string, number or object")
}

fn browser(text: &str) -> Result<BrowserMark, &'static str> {
    serde_json::from_value(text.into()).map_err(|_| "write none, values or rules")
}

/// `KEY=VALUE` as a variant of a flag of this type; the value is text for strings, else JSON.
fn variant(typed: &str, kind: FlagKind) -> Result<Variant, Failure> {
    let wrong = |problem: &str| Failure::usage(format!("--variant `{typed}`: {problem}"));
    let (key, value) = typed.split_once('=').ok_or_else(|| wrong("write KEY=VALUE"))?;
    let key = VariantKey::new(key).map_err(|error| wrong(&error.to_string()))?;
    let value = match kind {
        FlagKind::String => {
            serde_json::from_str::<Value>(value).ok().filter(Value::is_string).unwrap_or_else(|| value.into())
        }
        _ => serde_json::from_str(value).map_err(|error| wrong(&format!("the value is no JSON: {error}")))?,
    };
    if !kind.admits(&value) {
        return Err(wrong("the value is not of the flag's type"));
    }
    Ok(Variant { key, value })
}

/// Makes a flag.
pub(super) fn create(session: &mut Session, app: &AppKey, new: CreateFlag) -> Result<(), Failure> {
    let variants: Result<Vec<Variant>, Failure> =
        new.variants.iter().map(|typed| variant(typed, new.kind)).collect();
    let command = Command::CreateFlag {
        app: app.clone(),
        key: new.key.clone(),
        kind: new.kind,
        variants: variants?,
        off_variant: new.off_variant,
        description: new.description,
        owner: new.owner,
        critical: new.critical,
        expires_at: new.expires.map(|when| when.from(session.now)),
        browser: new.browser,
    };
    if new.propose {
        return proposal::propose(session, &command, None);
    }
    let body = session.with_reason(body_of(&command));
    let answer = session.client.create(&format!("{}/flags", app::path(app)), &body, None)?;
    if session.json {
        return session.print_json(&answer.body);
    }
    let flag = FlagView::read(&answer.body, session)?;
    session.say(format_args!("created flag {} of {app}, off everywhere", new.key))?;
    for (environment, state) in &flag.environments {
        say_expiry(session, environment, state.expires_at, &answer.body)?;
    }
    Ok(())
}

/// When a flag expires in an environment, and whether that is sooner than was asked for.
fn say_expiry(session: &mut Session, environment: &str, at: UnixMs, answer: &Value) -> Result<(), Failure> {
    let cut = if answer["expiry_cut"].get(environment).is_some() {
        ": sooner than asked, since it is the latest allowed there now"
    } else {
        ""
    };
    session.say(format_args!("  {environment}: expires {}{cut}", when::shown(at, session.now)))
}

/// A command's members as the body of its own request: without its name, the app, and what says nothing.
fn body_of(command: &Command) -> Value {
    let mut value = serde_json::to_value(command).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        for name in ["do", "app", "flag", "environment"] {
            members.remove(name);
        }
        let says_nothing = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        members.retain(|_, value| !says_nothing(value));
    }
    value
}

/// Changes a flag's definition.
pub(super) fn edit(session: &mut Session, app: &AppKey, edit: EditFlag) -> Result<(), Failure> {
    let flag = read(session, app, &edit.key)?;
    let variants = if edit.variants.is_empty() && edit.remove_variants.is_empty() {
        None
    } else {
        let mut all = flag.variants.clone();
        all.retain(|variant| !edit.remove_variants.contains(&variant.key));
        for typed in &edit.variants {
            let typed = variant(typed, flag.kind)?;
            match all.iter_mut().find(|old| old.key == typed.key) {
                Some(old) => *old = typed,
                None => all.push(typed),
            }
        }
        Some(all)
    };
    let command = Command::UpdateFlag {
        app: app.clone(),
        flag: edit.key.clone(),
        variants,
        off_variant: edit.off_variant,
        description: edit.description,
        owner: edit.owner,
        critical: edit.critical,
        browser: edit.browser,
    };
    let mut body = serde_json::to_value(&command).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, value| !value.is_null() && !matches!(name.as_str(), "do" | "app" | "flag"));
        if members.is_empty() {
            return Err(Failure::usage(
                "say what to change; `tidegate flag edit --help` lists what there is",
            ));
        }
    }
    let seen = edit.seen.if_revision.unwrap_or(flag.revision);
    if edit.seen.propose {
        return proposal::propose(session, &command, Some(seen));
    }
    let body = session.with_reason(body);
    let answer = session.client.change(Method::PATCH, &path(app, &edit.key), &body, Some(seen))?;
    let line = format!("changed flag {} of {app}; now revision {}", edit.key, answer.body["revision"]);
    session.answer(&answer.body, line)?;
    if !session.json && edit.browser == Some(BrowserMark::Rules) {
        for (environment, state) in &FlagView::read(&answer.body, session)?.environments {
            if let Some(why) = &state.browser_kept_back {
                session.say(format_args!("  in {environment}: {why}"))?;
            }
        }
    }
    Ok(())
}

/// Gives a flag a longer life.
pub(super) fn extend(
    session: &mut Session,
    app: &AppKey,
    place: &Place,
    expires: Option<When>,
) -> Result<(), Failure> {
    if session.reason.is_none() {
        return Err(Failure::usage("a longer life needs --reason: why is the flag still there?"));
    }
    let seen = match place.seen.if_revision {
        Some(revision) => revision,
        None => read(session, app, &place.key)?.revision,
    };
    let expires_at = expires.map(|when| when.from(session.now));
    if place.seen.propose {
        let command = Command::ExtendFlag {
            app: app.clone(),
            flag: place.key.clone(),
            environment: place.environment.clone(),
            expires_at,
        };
        return proposal::propose(session, &command, Some(seen));
    }
    let mut body = json!({});
    if let Some(environment) = &place.environment {
        body["environment"] = environment.as_str().into();
    }
    if let Some(at) = expires_at {
        body["expires_at"] = at.to_string().into();
    }
    let body = session.with_reason(body);
    let path = format!("{}/extend", path(app, &place.key));
    let answer = session.client.change(Method::POST, &path, &body, Some(seen))?;
    if session.json {
        return session.print_json(&answer.body);
    }
    session.say(format_args!("extended {} of {app}", place.key))?;
    let states = answer.body["environments"].as_object().cloned().unwrap_or_default();
    for (environment, state) in &states {
        if let Some(at) = moment(state, "expires_at") {
            say_expiry(session, environment, at, &answer.body)?;
        }
    }
    Ok(())
}

/// Ends a flag.
pub(super) fn archive(
    session: &mut Session,
    app: &AppKey,
    key: FlagKey,
    sure: Sure,
    seen: &Seen,
) -> Result<(), Failure> {
    let revision = match seen.if_revision {
        Some(revision) => revision,
        None => read(session, app, &key)?.revision,
    };
    if seen.propose {
        let command = Command::ArchiveFlag { app: app.clone(), flag: key };
        return proposal::propose(session, &command, Some(revision));
    }
    sure.or_ask(&format!("{key} of {app} is no flag any more, and apps get the default in their code"))?;
    let body = session.with_reason(json!({}));
    let path = format!("{}/archive", path(app, &key));
    let answer = session.client.change(Method::POST, &path, &body, Some(revision))?;
    session.answer(&answer.body, format!("archived {key} of {app}; checks answer that there is no such flag"))
}
