//! The plan's part about guardrails: an app's defaults, and the rules of its flags.

use rollout_rules::ids::{EnvKey, FlagKey};
use serde_json::json;
use ureq::http::Method;

use super::plan::{Act, Maker, Phase, Thing};
use crate::cli::app_file::{GuardrailsPart, RuleText};
use crate::cli::client::with_query;
use crate::cli::export::called;
use crate::cli::flag;
use crate::cli::reading::text;

/// What is written in one place: for all environments, or for one.
type Written<'a> = Option<&'a Vec<RuleText>>;

impl Maker<'_> {
    /// Rows and steps for all rules. What a file says nothing of stays.
    pub(super) fn guardrails(&mut self) {
        let file = self.file;
        if let Some(part) = &file.guardrails {
            self.lists(None, part);
        }
        for (key, flag) in &file.flags {
            // Its key stays taken; that is said already.
            if let Some(part) =
                flag.guardrails.as_ref().filter(|_| !self.seen.archived.contains(key.as_str()))
            {
                self.lists(Some(key), part);
            }
        }
    }

    fn lists(&mut self, flag: Option<&FlagKey>, part: &GuardrailsPart) {
        let seen = self.seen;
        let nothing = GuardrailsPart::default();
        let server = seen.guardrails.get(&flag.map(ToString::to_string)).unwrap_or(&nothing);
        self.list(flag, None, part.everywhere.as_ref(), server.everywhere.as_ref());
        let mut environments: Vec<&EnvKey> =
            part.environments.keys().chain(server.environments.keys()).collect();
        environments.sort_unstable();
        environments.dedup();
        for key in environments {
            let (wanted, standing) = (part.environments.get(key), server.environments.get(key));
            self.list(flag, Some(key), wanted, standing);
        }
    }

    fn list(
        &mut self,
        flag: Option<&FlagKey>,
        environment: Option<&EnvKey>,
        wanted: Written<'_>,
        standing: Written<'_>,
    ) {
        let what = match flag {
            Some(flag) => format!("guardrails of flag {flag}"),
            None => "guardrails of the app".to_owned(),
        };
        let place = environment.map(ToString::to_string).unwrap_or_default();
        match (wanted, standing) {
            (None, None) => {}
            (Some(wanted), standing) if Some(wanted) == standing => {
                self.row(what, &place, Act::Unchanged, "");
            }
            (Some(wanted), standing) => self.put(what, flag, environment, wanted, standing),
            (None, Some(standing)) if !self.prune => {
                let details = format!("not in the file: {}", shown(standing));
                self.row(what, &place, Act::LeftAlone, details);
            }
            (None, Some(_)) if environment.is_some_and(|key| self.is_others_preview(key)) => {
                self.row(what, &place, Act::LeftAlone, "previews are no part of an export");
            }
            (None, Some(standing)) => self.clear(what, flag, environment, standing),
        }
    }

    /// Whether an environment is a preview that the file knows nothing of.
    fn is_others_preview(&self, key: &EnvKey) -> bool {
        let known = self.seen.environments.get(key.as_str());
        !self.file.environments.contains_key(key)
            && known.is_some_and(|known| text(known, "kind") == "preview")
    }

    fn put(
        &mut self,
        what: String,
        flag: Option<&FlagKey>,
        environment: Option<&EnvKey>,
        wanted: &[RuleText],
        standing: Written<'_>,
    ) {
        let place = environment.map(ToString::to_string).unwrap_or_default();
        let thing = Thing::Guardrails(flag.cloned(), environment.cloned());
        if let Some(problem) = self.problem(environment, wanted) {
            self.row(what, &place, Act::Impossible, problem);
            self.plan.missing.insert(thing);
            return;
        }
        let details = match standing {
            None => shown(wanted),
            Some(standing) => format!("{} -> {}", shown(standing), shown(wanted)),
        };
        let act = if standing.is_none() { Act::Create } else { Act::Change };
        let row = self.row(what, &place, act, details);
        let rules: Vec<_> = wanted.iter().map(|RuleText(rule)| rule).collect();
        let mut body = json!({ "guardrails": rules });
        if let Some(environment) = environment {
            body["environment"] = json!(environment);
        }
        let path = self.guardrails_path(flag);
        let command = flag.map(|flag| self.command("set_guardrails", flag, environment, &body));
        let step = self.step(row, Phase::Guardrails, Method::PUT, path, body);
        step.command = command;
        step.seen = flag.cloned().map(Thing::Flag);
        step.makes = Some(thing);
        step.needs.extend(flag.cloned().map(Thing::Flag));
        step.needs.extend(environment.cloned().map(Thing::Environment));
    }

    /// Why rules cannot be written, if that is known.
    fn problem(&self, environment: Option<&EnvKey>, wanted: &[RuleText]) -> Option<String> {
        let is_there = |key: &&EnvKey| {
            self.file.environments.contains_key(*key) || self.seen.environments.contains_key(key.as_str())
        };
        if environment.is_some_and(|key| !is_there(&key)) {
            return Some("there is no such environment, and the file makes none".to_owned());
        }
        let mut named = wanted.iter().flat_map(|RuleText(rule)| rule.then()).filter_map(called);
        let missing = named.find(|name| !self.seen.called.contains(name))?;
        let (app, (kind, name)) = (&self.file.app.key, missing.split_once(' ')?);
        let to = if kind == "job" { "URL" } else { "--chat URL" };
        let first = if self.seen.app.is_none() { "once the app is there, " } else { "" };
        Some(format!(
            "a rule names the {kind} `{name}`, which is not here, and files hold none: {first}make it with \
             `tidegate {kind} create {name} {to} --app {app}`, and import again"
        ))
    }

    fn clear(
        &mut self,
        what: String,
        flag: Option<&FlagKey>,
        environment: Option<&EnvKey>,
        standing: &[RuleText],
    ) {
        let place = environment.map(ToString::to_string).unwrap_or_default();
        let row = self.row(what, &place, Act::Delete, format!("not in the file: {}", shown(standing)));
        let reason = self.session.reason.clone().unwrap_or_default();
        let mut path = with_query(&self.guardrails_path(flag), "reason", &reason);
        if let Some(environment) = environment {
            path = with_query(&path, "environment", environment.as_str());
        }
        let command = flag.map(|flag| self.command("set_guardrails", flag, environment, &json!({})));
        let step = self.step(row, Phase::Guardrails, Method::DELETE, path, json!({}));
        (step.body, step.command) = (None, command);
        step.seen = flag.cloned().map(Thing::Flag);
    }

    fn guardrails_path(&self, flag: Option<&FlagKey>) -> String {
        match flag {
            Some(flag) => format!("{}/guardrails", flag::path(&self.file.app.key, flag)),
            None => format!("{}/guardrails", self.path()),
        }
    }
}

fn shown(rules: &[RuleText]) -> String {
    let texts: Vec<String> = rules.iter().map(|RuleText(rule)| format!("'{rule}'")).collect();
    if texts.is_empty() { "nothing is watched".to_owned() } else { texts.join(", ") }
}
