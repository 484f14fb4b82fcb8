//! The plan: a row for everything that the file or the server has, and the requests that make them alike.

use std::collections::BTreeSet;

use rollout_rules::flag::EnvironmentKind;
use rollout_rules::ids::{EnvKey, FlagKey, SegmentKey};
use serde_json::{Value, json};
use ureq::http::Method;

use super::ImportOptions;
use super::compare;
use super::seen::{Seen, SeenSegment};
use crate::cli::app_file::{AppFile, SegmentPart};
use crate::cli::client::{encoded, with_query};
use crate::cli::failure::Failure;
use crate::cli::reading::{moment, text};
use crate::cli::segment::in_chunks;
use crate::cli::session::Session;
use crate::cli::{app, when};

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    Change,
    /// It lives longer.
    Extend,
    Delete,
    Unchanged,
    /// The server has it otherwise or in addition, and that is not for an import to change.
    LeftAlone,
    /// The file asks for what cannot be.
    Impossible,
}

impl Act {
    pub(super) fn words(self) -> &'static str {
        match self {
            Act::Create => "create",
            Act::Change => "change",
            Act::Extend => "extend",
            Act::Delete => "delete",
            Act::Unchanged => "unchanged",
            Act::LeftAlone => "left alone",
            Act::Impossible => "cannot be",
        }
    }

    /// For programs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Act::LeftAlone => "left_alone",
            Act::Impossible => "impossible",
            other => other.words(),
        }
    }

    fn does_something(self) -> bool {
        matches!(self, Act::Create | Act::Change | Act::Extend | Act::Delete)
    }
}

/// One line of the plan.
pub(super) struct Row {
    pub what: String,
    pub environment: String,
    pub act: Act,
    pub details: String,
}

/// What steps make and need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    App,
    Environment(EnvKey),
    Segment(SegmentKey),
    Flag(FlagKey),
    /// What is written for a flag, or for the app; everywhere, or in one environment.
    Guardrails(Option<FlagKey>, Option<EnvKey>),
}

/// When a step is done: what others need comes first, what others may still use goes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    App,
    Environments,
    Segments,
    Flags,
    Lives,
    /// Before anything is raised.
    Guardrails,
    States,
    /// Variants that no state names any more.
    Leftovers,
    Prune,
}

/// One request.
pub(super) struct Step {
    /// Whose line of the plan it belongs to.
    pub row: usize,
    /// Other lines that are done with it.
    pub also: Vec<usize>,
    pub phase: Phase,
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    /// Whose revision it names, if that is known.
    pub seen: Option<Thing>,
    /// The same as a command that can be proposed, if it is one.
    pub command: Option<Value>,
    /// What is not there if it fails.
    pub makes: Option<Thing>,
    pub needs: Vec<Thing>,
}

/// What an import would do.
#[derive(Default)]
pub(super) struct Plan {
    pub rows: Vec<Row>,
    pub steps: Vec<Step>,
    /// What the file asks for and cannot be, as far as others need it.
    pub missing: BTreeSet<Thing>,
}

impl Plan {
    /// What it takes to make the server be as the file says.
    pub(super) fn of(
        file: &AppFile,
        seen: &Seen,
        options: &ImportOptions,
        session: &Session,
    ) -> Result<Plan, Failure> {
        let ImportOptions { prune, raise_stopped, .. } = *options;
        let mut maker = Maker { file, seen, prune, raise_stopped, session, plan: Plan::default() };
        maker.app();
        maker.environments();
        maker.segments();
        maker.flags();
        maker.guardrails();
        let mut plan = maker.plan;
        plan.steps.sort_by_key(|step| step.phase);
        Ok(plan)
    }

    /// How many rows are of a kind.
    pub(super) fn count(&self, act: Act) -> usize {
        self.rows.iter().filter(|row| row.act == act).count()
    }

    /// How many rows change something.
    pub(super) fn to_do(&self) -> usize {
        self.rows.iter().filter(|row| row.act.does_something()).count()
    }
}

/// Makes a plan, thing by thing.
pub(super) struct Maker<'a> {
    pub file: &'a AppFile,
    pub seen: &'a Seen,
    pub prune: bool,
    pub raise_stopped: bool,
    pub session: &'a Session,
    pub(super) plan: Plan,
}

impl Maker<'_> {
    pub(super) fn row(
        &mut self,
        what: String,
        environment: &str,
        act: Act,
        details: impl Into<String>,
    ) -> usize {
        let environment = environment.to_owned();
        self.plan.rows.push(Row { what, environment, act, details: details.into() });
        self.plan.rows.len() - 1
    }

    pub(super) fn step(
        &mut self,
        row: usize,
        phase: Phase,
        method: Method,
        path: String,
        body: Value,
    ) -> &mut Step {
        let body = Some(self.session.with_reason(body));
        let needs = vec![Thing::App];
        let (seen, command, makes, also) = (None, None, None, Vec::new());
        self.plan.steps.push(Step { row, also, phase, method, path, body, seen, command, makes, needs });
        let last = self.plan.steps.len() - 1;
        &mut self.plan.steps[last]
    }

    pub(super) fn path(&self) -> String {
        app::path(&self.file.app.key)
    }

    fn app(&mut self) {
        let (part, file) = (&self.file.app, self.file);
        let what = format!("app {}", part.key);
        let Some(server) = &self.seen.app else {
            let row = self.row(what, "", Act::Create, "");
            let mut body = json!(part);
            let environments = file.environments.iter().map(|(key, part)| {
                let mut new = json!(part);
                new["key"] = json!(key);
                new
            });
            body["environments"] = environments.collect();
            let step = self.step(row, Phase::App, Method::POST, "/v1/apps".to_owned(), body);
            (step.makes, step.needs) = (Some(Thing::App), Vec::new());
            return;
        };
        let difference = compare::app(part, server);
        let act = if difference.is_empty() { Act::Unchanged } else { Act::Change };
        let row = self.row(what, "", act, difference.words());
        if act == Act::Change {
            let path = self.path();
            self.step(row, Phase::App, Method::PATCH, path, Value::Object(difference.body));
        }
    }

    fn environments(&mut self) {
        let (file, seen) = (self.file, self.seen);
        let all = format!("{}/environments", self.path());
        for (key, part) in &file.environments {
            let kind = kind_word(part.kind);
            let what = format!("environment {key}");
            let server = seen.environments.get(key.as_str());
            match server {
                // Those of a new app come with it.
                None if seen.app.is_none() => {
                    let row = self.row(what, "", Act::Create, kind);
                    self.plan.steps.iter_mut().for_each(|app| app.also.push(row));
                }
                None => {
                    let row = self.row(what, "", Act::Create, kind);
                    let mut body = json!(part);
                    body["key"] = json!(key);
                    let step = self.step(row, Phase::Environments, Method::POST, all.clone(), body);
                    step.makes = Some(Thing::Environment(key.clone()));
                }
                Some(server) if text(server, "kind") != kind => {
                    let details =
                        format!("it is of kind {} here, and kinds stay: {kind}", text(server, "kind"));
                    self.row(what, "", Act::Impossible, details);
                }
                Some(server) => match part.ends_at.filter(|at| moment(server, "ends_at") != Some(*at)) {
                    None => {
                        self.row(what, "", Act::Unchanged, "");
                    }
                    Some(at) => {
                        let row = self.row(what, "", Act::Change, format!("ends {}", when::minute(at)));
                        let path = format!("{all}/{}", encoded(key.as_str()));
                        let body = json!({"ends_at": at});
                        self.step(row, Phase::Environments, Method::PATCH, path, body);
                    }
                },
            }
        }
        for (key, server) in &seen.environments {
            if !file.environments.contains_key(key.as_str()) {
                let details = match text(server, "kind").as_str() {
                    "preview" => "previews are no part of an export",
                    _ => "not in the file; `tidegate env remove` removes it",
                };
                self.row(format!("environment {key}"), "", Act::LeftAlone, details);
            }
        }
    }

    fn segments(&mut self) {
        let (file, seen) = (self.file, self.seen);
        for (key, part) in &file.segments {
            self.segment(key, part, seen.segments.get(key.as_str()));
        }
        let all = format!("{}/segments", self.path());
        for key in seen.segments.keys().filter(|key| !file.segments.contains_key(key.as_str())) {
            let what = format!("segment {key}");
            if !self.prune {
                self.row(what, "", Act::LeftAlone, "not in the file");
                continue;
            }
            let row = self.row(what, "", Act::Delete, "not in the file");
            let reason = self.session.reason.clone().unwrap_or_default();
            let path = with_query(&format!("{all}/{}", encoded(key)), "reason", &reason);
            let seen = SegmentKey::new(key).ok().map(Thing::Segment);
            let step = self.step(row, Phase::Prune, Method::DELETE, path, Value::Null);
            (step.body, step.seen) = (None, seen);
        }
    }

    fn segment(&mut self, key: &SegmentKey, part: &SegmentPart, server: Option<&SeenSegment>) {
        let path = format!("{}/segments/{}", self.path(), encoded(key.as_str()));
        let wanted: Option<BTreeSet<String>> = part.members.as_ref().map(|all| all.iter().cloned().collect());
        let none = BTreeSet::new();
        let standing = server.map_or(&none, |server| &server.members);
        let difference =
            |from: &BTreeSet<String>, to: &BTreeSet<String>| from.difference(to).cloned().collect();
        let (come, go): (Vec<String>, Vec<String>) = match &wanted {
            Some(wanted) => (difference(wanted, standing), difference(standing, wanted)),
            None => Default::default(),
        };
        let mut words = Vec::new();
        let mut put = server.is_none();
        if let Some(server) = server {
            if text(&server.body, "description") != part.description {
                words.push(format!("description -> {}", part.description));
            }
            if server.body["when"] != json!(part.when) {
                words.push("another condition".to_owned());
            }
            put = !words.is_empty();
        }
        for (members, word) in [(&come, "come"), (&go, "leave")] {
            if !members.is_empty() {
                words.push(match members.len() {
                    1 => format!("1 member {word}s"),
                    many => format!("{many} members {word}"),
                });
            }
        }
        let act = match (server, words.is_empty()) {
            (None, _) => Act::Create,
            (Some(_), true) => Act::Unchanged,
            (Some(_), false) => Act::Change,
        };
        let row = self.row(format!("segment {key}"), "", act, words.join(", "));
        let thing = Thing::Segment(key.clone());
        if put {
            let mut body = json!({"description": part.description});
            if let Some(when) = &part.when {
                body["when"] = json!(when);
            }
            let step = self.step(row, Phase::Segments, Method::PUT, path.clone(), body);
            step.seen = Some(thing.clone());
            step.makes = Some(thing.clone());
        }
        for (members, verb) in [(come, "add"), (go, "remove")] {
            for chunk in in_chunks(&members).into_iter().filter(|chunk| !chunk.is_empty()) {
                let path = format!("{path}/members");
                let step = self.step(row, Phase::Segments, Method::POST, path, json!({ verb: chunk }));
                step.seen = Some(thing.clone());
                step.needs.push(thing.clone());
            }
        }
    }
}

fn kind_word(kind: EnvironmentKind) -> &'static str {
    match kind {
        EnvironmentKind::Preview => "preview",
        EnvironmentKind::Sandbox => "sandbox",
        EnvironmentKind::Production => "production",
    }
}
