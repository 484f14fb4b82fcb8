//! What the server has of an app, read before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cli::app;
use crate::cli::app_file::{AppFile, GuardrailsPart};
use crate::cli::client::{encoded, with_query};
use crate::cli::export::guardrails_part;
use crate::cli::failure::Failure;
use crate::cli::reading::{items, text};
use crate::cli::session::Session;
use crate::cli::view::FlagView;

/// An app as the server has it.
#[derive(Default)]
pub(super) struct Seen {
    /// None: there is no such app.
    pub app: Option<Value>,
    /// By key.
    pub environments: BTreeMap<String, Value>,
    /// By key.
    pub segments: BTreeMap<String, SeenSegment>,
    /// By key; those that are not archived.
    pub flags: BTreeMap<String, FlagView>,
    /// Keys that stay taken.
    pub archived: BTreeSet<String>,
    /// What is written for flags, by key; for the app, by none. Read only where the file says something of it.
    pub guardrails: BTreeMap<Option<String>, GuardrailsPart>,
    /// Jobs and channels that rules may name: `job rollback`.
    pub called: BTreeSet<String>,
}

/// A segment as the server has it.
pub(super) struct SeenSegment {
    pub revision: Option<u64>,
    pub body: Value,
    /// Read only where the file says which there are to be.
    pub members: BTreeSet<String>,
}

impl Seen {
    /// Reads the app that a file is about.
    pub(super) fn read(session: &Session, file: &AppFile) -> Result<Seen, Failure> {
        let path = app::path(&file.app.key);
        let app = match session.client.get(&path) {
            Ok(answer) => answer.body,
            Err(Failure::Refused(problem)) if problem.status == 404 => return Ok(Seen::default()),
            Err(failure) => return Err(failure),
        };
        let mut seen = Seen::default();
        for environment in app["environments"].as_array().into_iter().flatten() {
            seen.environments.insert(text(environment, "key"), environment.clone());
        }
        seen.app = Some(app);
        for segment in items(&session.client.list(&format!("{path}/segments"))?) {
            let key = text(segment, "key");
            let wanted = file.segments.get(key.as_str()).is_some_and(|part| part.members.is_some());
            let mut members = BTreeSet::new();
            if wanted {
                let list = session.client.list(&format!("{path}/segments/{}/members", encoded(&key)))?;
                members.extend(items(&list).iter().filter_map(|member| member.as_str().map(str::to_owned)));
            }
            let revision = segment["revision"].as_u64();
            seen.segments.insert(key, SeenSegment { revision, body: segment.clone(), members });
        }
        for flag in items(&session.client.list(&format!("{path}/flags"))?) {
            let view = FlagView::read(flag, session)?;
            seen.flags.insert(view.key.clone(), view);
        }
        if file.flags.keys().any(|key| !seen.flags.contains_key(key.as_str())) {
            let archived = session.client.list(&with_query(&format!("{path}/flags"), "archived", "true"))?;
            seen.archived.extend(items(&archived).iter().map(|flag| text(flag, "key")));
        }
        seen.read_guardrails(session, file, &path)?;
        Ok(seen)
    }

    fn read_guardrails(&mut self, session: &Session, file: &AppFile, path: &str) -> Result<(), Failure> {
        let flags = file
            .flags
            .iter()
            .filter(|(key, part)| part.guardrails.is_some() && self.flags.contains_key(key.as_str()));
        let of_flags: Vec<_> = flags.map(|(key, _)| Some(key.to_string())).collect();
        let of_app = file.guardrails.is_some().then_some(None);
        let named: Vec<Option<String>> = of_app.into_iter().chain(of_flags).collect();
        for key in &named {
            let of = key.as_ref().map_or_else(String::new, |key| format!("/flags/{}", encoded(key)));
            let shown = session.client.get(&format!("{path}{of}/guardrails"))?.body;
            self.guardrails.insert(key.clone(), guardrails_part(session, &shown)?);
        }
        let says = file.guardrails.is_some() || file.flags.values().any(|part| part.guardrails.is_some());
        for (kind, list) in [("job", "jobs"), ("channel", "channels")].into_iter().filter(|_| says) {
            let list = session.client.list(&format!("{path}/{list}"))?;
            self.called.extend(items(&list).iter().map(|one| format!("{kind} {}", text(one, "name"))));
        }
        Ok(())
    }
}
