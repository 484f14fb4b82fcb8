//! `tidegate export`: an app in one readable file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use rollout_rules::change::BrowserMark;
use rollout_rules::flag::EnvironmentKind;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, SegmentKey, VariantKey};
use rollout_rules::runbook::{OWNER, job_of};
use rollout_rules::sli::guardrail::Action;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::app;
use super::app_file::{
    AppFile, AppPart, EnvironmentPart, FORMAT, FlagPart, GuardrailsPart, RuleText, SegmentPart, StatePart,
};
use super::client::encoded;
use super::failure::Failure;
use super::output::note;
use super::reading::{items, text};
use super::session::Session;
use super::view::{FlagView, StateView};
use super::whole_file::{Readers, write_whole};

/// Where the file goes.
#[derive(Args, Clone, Debug)]
pub struct ExportOptions {
    /// The file, which is replaced as a whole; without it, or with -, standard output
    file: Option<PathBuf>,
}

/// Writes an app.
pub(super) fn run(session: &mut Session, app: &AppKey, options: &ExportOptions) -> Result<(), Failure> {
    let (file, left_out) = read(session, app)?;
    let text = file.text();
    match options.file.as_deref().filter(|path| *path != Path::new("-")) {
        None => {
            session.out.write_all(text.as_bytes())?;
            session.out.flush()?;
        }
        Some(path) => {
            write_whole(path, Readers::AsBefore, |out| Ok(out.write_all(text.as_bytes())?))?;
            let (flags, segments) = (file.flags.len(), file.segments.len());
            let answer = serde_json::json!({
                "file": path.to_string_lossy(), "app": app, "flags": flags, "segments": segments,
            });
            let noun =
                |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
            let said = format!(
                "app {app} with {} and {} is in {}",
                noun(flags, "flag"),
                noun(segments, "segment"),
                path.display()
            );
            session.answer(&answer, said)?;
        }
    }
    if !session.json {
        left_out.say();
    }
    Ok(())
}

/// What the app uses and its file leaves out.
#[derive(Default)]
struct LeftOut {
    /// Segments that all apps share.
    shared: BTreeSet<String>,
    /// Jobs and channels that its rules name: they hold secrets and addresses.
    called: BTreeSet<String>,
}

impl LeftOut {
    fn say(&self) {
        let listed =
            |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        if !self.shared.is_empty() {
            let keys = listed(&self.shared);
            note(format_args!("it uses segments that all apps share, which are not in it: {keys}"));
        }
        if !self.called.is_empty() {
            let names = listed(&self.called);
            note(format_args!(
                "its rules name jobs and channels, which are not in it since they hold secrets and addresses: {names}"
            ));
        }
    }

    fn note_called(&mut self, part: &GuardrailsPart) {
        let lists = part.everywhere.iter().chain(part.environments.values());
        for action in lists.flatten().flat_map(|RuleText(rule)| rule.then()) {
            self.called.extend(called(action));
        }
    }
}

/// The job or channel that an action names: `job rollback`. Every app has the channel that is its owner.
pub(super) fn called(action: &Action) -> Option<String> {
    match action {
        Action::Notify(channel) if channel.as_str() != OWNER => Some(format!("channel {channel}")),
        other => job_of(other).map(|job| format!("job {job}")),
    }
}

/// What is written for a flag or an app, as the server shows it.
pub(super) fn guardrails_part(session: &Session, shown: &Value) -> Result<GuardrailsPart, Failure> {
    let list = |shown: &Value| -> Result<Vec<RuleText>, Failure> {
        let rules = shown.as_array().into_iter().flatten();
        rules.map(|rule| member(session, rule, "rule")).collect()
    };
    let mut part = GuardrailsPart::default();
    if let Some(everywhere) = shown.get("everywhere") {
        part.everywhere = Some(list(everywhere)?);
    }
    for (environment, rules) in shown["environments"].as_object().into_iter().flatten() {
        let strange = |_| session.client.strange("guardrails of an environment whose key is none");
        part.environments.insert(EnvKey::new(environment).map_err(strange)?, list(rules)?);
    }
    Ok(part)
}

/// Reads an app as the server has it, and what it uses that is left out.
fn read(session: &Session, app: &AppKey) -> Result<(AppFile, LeftOut), Failure> {
    let path = app::path(app);
    let shown = session.client.get(&path)?.body;
    let mut environments: BTreeMap<EnvKey, EnvironmentPart> = BTreeMap::new();
    for environment in shown["environments"].as_array().into_iter().flatten() {
        let part = EnvironmentPart { kind: member(session, environment, "kind")?, ends_at: None };
        // They come and go with what is under review.
        if part.kind != EnvironmentKind::Preview {
            environments.insert(member(session, environment, "key")?, part);
        }
    }
    let mut segments = BTreeMap::new();
    for segment in items(&session.client.list(&format!("{path}/segments"))?) {
        let key: SegmentKey = member(session, segment, "key")?;
        let members = session.client.list(&format!("{path}/segments/{}/members", encoded(key.as_str())))?;
        let part = SegmentPart {
            description: text(segment, "description"),
            when: member(session, segment, "when")?,
            members: Some(member(session, &members, "items")?),
        };
        segments.insert(key, part);
    }
    let mut flags = BTreeMap::new();
    let mut left_out = LeftOut::default();
    let mut guardrails = |path: &str| {
        let mut part = guardrails_part(session, &session.client.get(&format!("{path}/guardrails"))?.body)?;
        // As the environments themselves.
        part.environments.retain(|key, _| environments.contains_key(key));
        left_out.note_called(&part);
        Ok::<_, Failure>(part)
    };
    let of_app = guardrails(&path)?;
    let mut shared = BTreeSet::new();
    for flag in items(&session.client.list(&format!("{path}/flags"))?) {
        collect_shared(&flag["environments"], &mut shared);
        let view = FlagView::read(flag, session)?;
        let states = view
            .environments
            .iter()
            .filter_map(|(key, state)| {
                let (key, _) = environments.get_key_value(key.as_str())?;
                Some((key.clone(), state_part(state)))
            })
            .collect();
        let strange = |_| session.client.strange("a flag with keys that are none");
        let part = FlagPart {
            kind: view.kind,
            off_variant: Some(VariantKey::new(&view.off_variant).map_err(strange)?),
            variants: Some(view.variants),
            description: Some(view.description),
            owner: Some(view.owner),
            critical: Some(view.critical),
            browser: Some(
                member(session, flag, "browser").map(|mark: Option<_>| mark.unwrap_or(BrowserMark::None))?,
            ),
            guardrails: Some(guardrails(&format!("{path}/flags/{}", encoded(&view.key)))?),
            environments: states,
        };
        flags.insert(FlagKey::new(&view.key).map_err(strange)?, part);
    }
    let app = AppPart {
        key: app.clone(),
        name: Some(text(&shown, "name")),
        owner: Some(text(&shown, "owner")),
        tier: Some(member(session, &shown, "tier")?),
        monthly_budget_micros: member(session, &shown, "monthly_budget_micros")?,
        currency: member(session, &shown, "currency")?,
        sensitive: Some(member::<Option<_>>(session, &shown, "sensitive")?.unwrap_or_default()),
    };
    left_out.shared = shared;
    let (format, guardrails) = (FORMAT.to_owned(), Some(of_app));
    Ok((AppFile { format, app, guardrails, environments, segments, flags }, left_out))
}

fn state_part(state: &StateView) -> StatePart {
    StatePart {
        on: Some(state.on),
        exposure: Some(state.exposure),
        serve: Some(state.serve.clone()),
        targets: Some(state.targets.clone()),
        rules: Some(state.rules.clone()),
        prerequisites: Some(state.prerequisites.clone()),
        schedule: Some(state.schedule.clone()),
        expires_at: Some(state.expires_at),
    }
}

/// A member of an answer; one that is absent reads as null.
fn member<T: DeserializeOwned>(session: &Session, value: &Value, name: &str) -> Result<T, Failure> {
    let part = value.get(name).unwrap_or(&Value::Null);
    T::deserialize(part).map_err(|error| session.client.strange(&format!("`{name}` that says: {error}")))
}

/// Which shared segments are named anywhere in a flag's conditions.
fn collect_shared(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let named = members.get("segment").and_then(Value::as_str);
            if let Some(key) = named.and_then(|named| named.strip_prefix("shared:")) {
                found.insert(key.to_owned());
            }
            members.values().for_each(|value| collect_shared(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_shared(value, found)),
        _ => {}
    }
}
