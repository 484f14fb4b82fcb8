//! The plan's part about flags: their definitions, their lives, and what they do in each environment.

use rollout_rules::ids::{EnvKey, FlagKey};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use ureq::http::Method;

use super::compare::{self, Difference};
use super::plan::{Act, Maker, Phase, Step, Thing};
use crate::cli::app_file::FlagPart;
use crate::cli::client::encoded;
use crate::cli::view::FlagView;
use crate::cli::{flag, when};

impl Maker<'_> {
    /// Rows and steps for all flags.
    pub(super) fn flags(&mut self) {
        let (file, seen) = (self.file, self.seen);
        for (key, part) in &file.flags {
            match seen.flags.get(key.as_str()) {
                Some(server) => self.flag(key, part, server),
                None if seen.archived.contains(key.as_str()) => {
                    let details = "it was archived, and its key stays taken";
                    self.row(format!("flag {key}"), "", Act::Impossible, details);
                }
                None => self.new_flag(key, part),
            }
        }
        for key in seen.flags.keys().filter(|key| !file.flags.contains_key(key.as_str())) {
            let what = format!("flag {key}");
            let Some(named) = FlagKey::new(key).ok().filter(|_| self.prune) else {
                self.row(what, "", Act::LeftAlone, "not in the file");
                continue;
            };
            let row = self.row(what, "", Act::Delete, "not in the file: it is archived, for good");
            let path = format!("{}/archive", flag::path(&file.app.key, &named));
            let command = self.command("archive_flag", &named, None, &json!({}));
            let step = self.step(row, Phase::Prune, Method::POST, path, json!({}));
            (step.seen, step.command) = (Some(Thing::Flag(named)), Some(command));
        }
    }

    fn new_flag(&mut self, key: &FlagKey, part: &FlagPart) {
        let now = self.session.now;
        let word = json!(part.kind).as_str().unwrap_or_default().to_owned();
        let row = self.row(format!("flag {key}"), "", Act::Create, format!("{word}, off everywhere"));
        let mut body = json!(part);
        if let Some(members) = body.as_object_mut() {
            members.remove("environments");
            // Written by themselves, once the flag is there.
            members.remove("guardrails");
            members.insert("key".to_owned(), json!(key));
        }
        // All begin with the shortest life; those that are to live longer are extended.
        let lives = part.environments.values().filter_map(|state| state.expires_at);
        let shortest = lives.filter(|at| *at > now).min();
        if let Some(at) = shortest {
            body["expires_at"] = json!(at);
        }
        let all = format!("{}/flags", self.path());
        let step = self.step(row, Phase::Flags, Method::POST, all, body);
        step.makes = Some(Thing::Flag(key.clone()));
        let variants = part.variants.clone().unwrap_or_default();
        let last = variants.last().map(|variant| variant.key.clone());
        let off = part.off_variant.clone().or(last);
        for (environment, state) in &part.environments {
            if self.nowhere(key, environment) {
                continue;
            }
            if let Some(at) = state.expires_at.filter(|at| *at <= now) {
                let details =
                    format!("born off, and stays so: the file lets it live until {}", when::minute(at));
                self.row(format!("flag {key}"), environment.as_str(), Act::LeftAlone, details);
                continue;
            }
            if let Some(at) = state.expires_at.filter(|at| Some(*at) > shortest) {
                self.extend(key, environment, at);
            }
            let difference = match &off {
                Some(off) => compare::state(state, &compare::born_off(off, &variants), false, now),
                // A boolean flag whose variants nobody named has these.
                None => {
                    let (on, off) = ("on".parse().ok(), "off".parse().ok());
                    let serve = on.map(rollout_rules::flag::Serve::Variant);
                    let mut born = off.map(|off| compare::born_off(&off, &[]));
                    if let (Some(born), Some(serve)) = (&mut born, serve) {
                        born.serve = serve;
                    }
                    born.map_or_else(Difference::default, |born| compare::state(state, &born, false, now))
                }
            };
            self.state(key, environment, difference);
        }
    }

    fn flag(&mut self, key: &FlagKey, part: &FlagPart, server: &FlagView) {
        let now = self.session.now;
        let what = format!("flag {key}");
        if part.kind != server.kind {
            let words = |kind| json!(kind).as_str().unwrap_or_default().to_owned();
            let details =
                format!("it is a {} here, and types stay: {}", words(server.kind), words(part.kind));
            self.row(what, "", Act::Impossible, details);
            return;
        }
        let (first, last) = compare::definition(part, server);
        let act = if first.is_empty() && last.is_empty() { Act::Unchanged } else { Act::Change };
        let words = if first.is_empty() { last.words() } else { first.words() };
        let row = self.row(what, "", act, words);
        let path = flag::path(&self.file.app.key, key);
        for (difference, phase) in [(first, Phase::Flags), (last, Phase::Leftovers)] {
            if !difference.is_empty() {
                let body = Value::Object(difference.body);
                let command = self.command("update_flag", key, None, &body);
                let step = self.step(row, phase, Method::PATCH, path.clone(), body);
                (step.seen, step.command) = (Some(Thing::Flag(key.clone())), Some(command));
            }
        }
        for (environment, state) in &part.environments {
            if self.nowhere(key, environment) {
                continue;
            }
            let Some(standing) = server.environments.get(environment.as_str()) else {
                // The environment comes with this import, and the flag's state in it is born off.
                let off = part.off_variant.clone().or_else(|| server.off_variant.parse().ok());
                let variants = part.variants.as_ref().unwrap_or(&server.variants);
                if let Some(off) = off {
                    let difference = compare::state(state, &compare::born_off(&off, variants), false, now);
                    self.state(key, environment, difference);
                }
                continue;
            };
            self.life(key, environment, state.expires_at, standing.expires_at);
            let difference = compare::state(state, standing, self.raise_stopped, now);
            self.state(key, environment, difference);
        }
    }

    /// Whether neither the file nor the server has an environment; says so.
    fn nowhere(&mut self, key: &FlagKey, environment: &EnvKey) -> bool {
        let nowhere = !self.file.environments.contains_key(environment)
            && !self.seen.environments.contains_key(environment.as_str());
        if nowhere {
            let details = "there is no such environment, and the file makes none";
            self.row(format!("flag {key}"), environment.as_str(), Act::Impossible, details);
        }
        nowhere
    }

    fn life(&mut self, key: &FlagKey, environment: &EnvKey, wanted: Option<UnixMs>, standing: UnixMs) {
        let Some(wanted) = wanted.filter(|at| *at != standing) else { return };
        if wanted > standing && wanted > self.session.now {
            self.extend(key, environment, wanted);
        } else if wanted < standing {
            let details =
                format!("it lives until {} here, and lives are never shortened", when::minute(standing));
            self.row(format!("flag {key}"), environment.as_str(), Act::LeftAlone, details);
        }
    }

    fn extend(&mut self, key: &FlagKey, environment: &EnvKey, at: UnixMs) {
        let details = format!("until {}", when::minute(at));
        let row = self.row(format!("flag {key}"), environment.as_str(), Act::Extend, details);
        let path = format!("{}/extend", flag::path(&self.file.app.key, key));
        let body = json!({"environment": environment, "expires_at": at});
        let command = self.command("extend_flag", key, Some(environment), &body);
        self.of_state(row, Phase::Lives, Method::POST, path, body, command, (key, environment));
    }

    fn state(&mut self, key: &FlagKey, environment: &EnvKey, difference: Difference) {
        if let Some(left) = difference.left_alone() {
            self.row(format!("flag {key}"), environment.as_str(), Act::LeftAlone, left);
            if difference.is_empty() {
                return;
            }
        }
        let act = if difference.is_empty() { Act::Unchanged } else { Act::Change };
        let row = self.row(format!("flag {key}"), environment.as_str(), act, difference.words());
        if act == Act::Change {
            let environments = format!("{}/environments", flag::path(&self.file.app.key, key));
            let path = format!("{environments}/{}", encoded(environment.as_str()));
            let guarded = difference.may_raise();
            let body = Value::Object(difference.body);
            let command = self.command("set_targeting", key, Some(environment), &body);
            let step =
                self.of_state(row, Phase::States, Method::PATCH, path, body, command, (key, environment));
            if guarded {
                for flag in [None, Some(key)] {
                    for place in [None, Some(environment)] {
                        step.needs.push(Thing::Guardrails(flag.cloned(), place.cloned()));
                    }
                }
            }
        }
    }

    /// A request about a flag as the command that it asks for.
    pub(super) fn command(
        &self,
        does: &str,
        key: &FlagKey,
        environment: Option<&EnvKey>,
        body: &Value,
    ) -> Value {
        let mut command = body.clone();
        command["do"] = json!(does);
        command["app"] = json!(self.file.app.key);
        command["flag"] = json!(key);
        if let Some(environment) = environment {
            command["environment"] = json!(environment);
        }
        command
    }

    #[allow(clippy::too_many_arguments, reason = "a request and what it is about")]
    fn of_state(
        &mut self,
        row: usize,
        phase: Phase,
        method: Method,
        path: String,
        body: Value,
        command: Value,
        (key, environment): (&FlagKey, &EnvKey),
    ) -> &mut Step {
        let step = self.step(row, phase, method, path, body);
        (step.seen, step.command) = (Some(Thing::Flag(key.clone())), Some(command));
        step.needs.extend([Thing::Flag(key.clone()), Thing::Environment(environment.clone())]);
        step
    }
}
