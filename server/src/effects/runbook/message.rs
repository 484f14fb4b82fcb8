//! What jobs and people are told, in the form that each asks for.

use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::release::{Release, Reversal};
use rollout_rules::runbook::{Act, Cause, Job, Lowered, Payload, Run, job_of};
use rollout_rules::sli::guardrail::{Action, Sli};
use rollout_rules::time::UnixMs;
use serde_json::{Map, Value, json};

use super::super::sender::Call;

/// What is told, whoever it is told.
pub(crate) struct Message {
    /// The idempotency key.
    pub(crate) id: String,
    /// When it was asked for.
    pub(crate) at: UnixMs,
    /// What is to be done: `run_job`, `revert_release`, `notify`, `test`.
    pub(crate) kind: &'static str,
    /// Everything that is known, by name.
    facts: Vec<(&'static str, Value)>,
    /// What is to be reverted and to what; asked for and not known: nothing of both.
    release: Option<Option<Reversal>>,
    /// In a line, for people.
    pub(crate) subject: String,
    /// In a few lines, for people.
    pub(crate) text: String,
}

impl Message {
    /// Of something that a guardrail asked for.
    pub(crate) fn of(run: &Run, id: String) -> Message {
        let act = &*run.act;
        let action = run.action();
        let job = action.and_then(job_of);
        let kind = match action {
            Some(Action::RevertRelease) => "revert_release",
            Some(Action::Notify(_)) => "notify",
            _ => "run_job",
        };
        let rule = act.guardrail.as_ref().map(ToString::to_string);
        let facts = vec![
            ("id", id.clone().into()),
            ("action", kind.into()),
            ("job", json!(job)),
            ("app", json!(act.app)),
            ("flag", json!(act.flag)),
            ("environment", json!(act.environment)),
            ("variant", json!(act.variant)),
            ("guardrail", json!(rule)),
            ("evidence", json!(act.evidence)),
            ("drill", (act.cause == Cause::Drill).into()),
            ("cause", json!(act.cause)),
            ("measured", json!(act.measured)),
            ("reason", run.reason.clone().into()),
        ];
        let reverts = matches!(action, Some(Action::RevertRelease));
        let release = reverts.then(|| act.release.as_deref().cloned());
        Message { id, at: run.at, kind, facts, release, subject: subject(act), text: text(run) }
    }

    /// That tells nothing but that it arrives.
    pub(crate) fn test(app: &AppKey, id: String, now: UnixMs) -> Message {
        let facts = vec![
            ("id", id.clone().into()),
            ("action", "test".into()),
            ("app", json!(app)),
            ("drill", true.into()),
        ];
        let text = format!(
            "Tidegate tests that {app} can tell you something when a guardrail acts. Nothing is wrong."
        );
        let subject = format!("[tidegate] a test for {app}");
        Message { id, at: now, kind: "test", facts, release: None, subject, text }
    }

    fn known(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.facts.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (*name, value))
    }

    /// The releases of a reversal by what they are to it; null where none is known.
    fn releases(&self) -> Option<Value> {
        let release = self.release.as_ref()?;
        let back_to = release.as_ref().and_then(|reversal| reversal.back_to.as_ref());
        let of = |release: &Release| json!({ "artifact": release.artifact, "version": release.version });
        let current = release.as_ref().map(|reversal| &reversal.current);
        Some(json!({ "current": current.map(of), "back_to": back_to.map(of) }))
    }

    /// The same for who takes only texts; empty where none is known.
    fn releases_as_texts(&self) -> Vec<(String, Value)> {
        let Some(releases) = self.releases() else { return Vec::new() };
        let names = [
            ("ARTIFACT", "/current/artifact"),
            ("VERSION", "/current/version"),
            ("BACK_TO", "/back_to/artifact"),
            ("BACK_TO_VERSION", "/back_to/version"),
        ];
        let text = |place: &str| releases.pointer(place).and_then(Value::as_str).unwrap_or_default().into();
        names.into_iter().map(|(name, place)| (format!("TIDEGATE_{name}"), text(place))).collect()
    }

    /// The call of a job.
    pub(crate) fn to_job(&self, job: &Job) -> Call {
        let mut more = vec![("idempotency-key", self.id.clone())];
        let body = match &job.payload {
            Payload::Plain => {
                let mut data: Map<String, Value> =
                    self.known().map(|(name, value)| (name.to_owned(), value.clone())).collect();
                data.extend(self.releases().map(|releases| ("release".to_owned(), releases)));
                json!({ "type": self.kind, "timestamp": self.at, "data": data })
            }
            Payload::RepositoryDispatch { event_type } => {
                more.push(("accept", "application/vnd.github+json".to_owned()));
                // GitHub takes ten members. Which job it is, is said by the action where a release is reverted.
                let releases = self.releases();
                let told = self.known().filter(|(name, _)| {
                    let is_said = *name == "job" && releases.is_some();
                    !is_said && !matches!(*name, "cause" | "measured" | "reason")
                });
                let mut told: Map<String, Value> =
                    told.map(|(name, value)| (name.to_owned(), value.clone())).collect();
                told.extend(releases.map(|releases| ("release".to_owned(), releases)));
                json!({ "event_type": event_type, "client_payload": told })
            }
            Payload::PipelineTrigger { git_ref } => {
                let variable = |(name, value): (&str, &Value)| {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    (format!("TIDEGATE_{}", name.to_uppercase()), text.into())
                };
                let variables: Map<String, Value> =
                    self.known().map(variable).chain(self.releases_as_texts()).collect();
                let token = job.credential.as_ref().map_or("", |credential| credential.reveal());
                json!({ "token": token, "ref": git_ref, "variables": variables })
            }
        };
        if let (Some(credential), false) =
            (&job.credential, matches!(job.payload, Payload::PipelineTrigger { .. }))
        {
            more.push(("authorization", format!("Bearer {}", credential.reveal())));
        }
        Call {
            url: job.url.clone(),
            secrets: job.secrets.clone(),
            id: self.id.clone(),
            more,
            body: body.to_string().into_bytes(),
        }
    }

    /// The call of a chat. What people wrote is not taken for commands of the chat.
    pub(crate) fn to_chat(&self, url: &str) -> Call {
        let mut text = String::with_capacity(self.text.len());
        for c in self.text.chars() {
            match c {
                '&' => text.push_str("&amp;"),
                '<' => text.push_str("&lt;"),
                '>' => text.push_str("&gt;"),
                c => text.push(c),
            }
        }
        let body = json!({ "text": text }).to_string().into_bytes();
        Call { url: url.to_owned(), secrets: Vec::new(), id: self.id.clone(), more: Vec::new(), body }
    }
}

fn subject(act: &Act) -> String {
    let drill = if act.cause == Cause::Drill { "drill: " } else { "" };
    format!("[tidegate] {drill}{}: {}", place(act), headline(act))
}

/// What an act is about: `checkout of shop in production`.
fn place(act: &Act) -> String {
    let flag = act.flag.as_ref().map(FlagKey::as_str);
    let environment = act.environment.as_ref().map(EnvKey::as_str);
    let what = flag.map_or_else(|| act.app.to_string(), |flag| format!("{flag} of {}", act.app));
    environment.map_or_else(|| what.clone(), |environment| format!("{what} in {environment}"))
}

/// What was done, in a few words.
fn headline(act: &Act) -> &'static str {
    match (act.lowered.first(), act.cause) {
        (Some(Lowered::Held { .. }), _) => "turned off",
        (Some(Lowered::Targeted { .. }), _) => "rollout taken back to 0 %",
        (Some(Lowered::NonCritical { .. }), _) => "everything that is not critical turned off",
        (Some(Lowered::All { .. }), _) => "everything turned off, since the gate denies what runs",
        (None, Cause::StepWaits) => "a scheduled step waits for the gate",
        (None, Cause::GlassBroken) => "somebody took a risk upon themselves that the gate denies",
        (None, Cause::Suspect(Sli::MonthlySpend)) => "the month is going to cost nearly all that it may",
        (None, Cause::Suspect(_)) if act.flag.is_none() => "the app itself does badly",
        (None, Cause::Suspect(_)) => "looks worse; the rollout is held",
        (None, Cause::CommonMode(_)) => "worse everywhere at the same time",
        (None, Cause::Invalid) => "the split does not serve what was planned",
        (None, Cause::StillServed) => "what was taken back is still served",
        (None, Cause::LeftToPeople) => "automation has acted as often as it may in a day",
        (None, Cause::Refused) => "what a guardrail asks for is refused",
        (None, Cause::Regressed(_)) if act.effects.contains(&Action::RevertRelease) => {
            "its release is to be reverted"
        }
        (None, _) => "a guardrail acted",
    }
}

fn text(run: &Run) -> String {
    let act = &*run.act;
    let mut lines = vec![format!("{}: {}.", place(act), headline(act))];
    if act.cause == Cause::Drill {
        lines.push("This is a drill: a person tries what the guardrail does.".to_owned());
    }
    if let Some(rule) = &act.guardrail {
        lines.push(format!("Rule: {rule}"));
    }
    if let Some(variant) = &act.variant {
        lines.push(format!("Variant: {variant}"));
    }
    let sli = match act.cause {
        Cause::Regressed(sli) | Cause::Suspect(sli) | Cause::CommonMode(sli) => Some(sli),
        Cause::Invalid
        | Cause::StillServed
        | Cause::LeftToPeople
        | Cause::Refused
        | Cause::Drill
        | Cause::GateDenied
        | Cause::GlassBroken
        | Cause::StepWaits => None,
    };
    if let Some(sli) = sli.map(Sli::name) {
        lines.push(format!("What was seen: {sli}"));
    }
    if act.effects.contains(&Action::RevertRelease) {
        lines.push(release_line(act.release.as_deref()));
    }
    if let Some(evidence) = &act.evidence {
        lines.push(format!("Evidence: tidegate evidence show {evidence}"));
    }
    if !run.reason.is_empty() {
        lines.push(format!("Why: {}", run.reason));
    }
    if !act.lowered.is_empty() {
        lines.push("Nothing comes back by itself: a person turns it on again.".to_owned());
    }
    lines.join("\n")
}

/// What is to be reverted, and what to go back to.
fn release_line(release: Option<&Reversal>) -> String {
    match release {
        Some(Reversal { current, back_to: Some(back_to) }) => {
            format!("Release: {current}. To go back to: {back_to}")
        }
        Some(Reversal { current, back_to: None }) => {
            format!("Release: {current}. No earlier one is known that no guardrail had reverted")
        }
        None => {
            "Release: not known. Have your pipeline tell what it deploys: tidegate release deployed DIGEST --app APP --env ENV"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject_of(flag: Option<&str>, cause: Cause) -> String {
        subject(&act_of(flag, cause))
    }

    fn act_of(flag: Option<&str>, cause: Cause) -> Act {
        Act {
            app: AppKey::new("shop").expect("a key"),
            flag: flag.map(|flag| FlagKey::new(flag).expect("a key")),
            environment: None,
            guardrail: None,
            variant: None,
            cause,
            measured: None,
            evidence: None,
            lowered: Vec::new(),
            release: None,
            effects: Vec::new(),
        }
    }

    #[test]
    fn a_subject_says_what_is_wrong_of_the_app_or_of_a_flag() {
        let of_app = |cause| subject_of(None, cause);
        assert_eq!(
            subject_of(Some("checkout"), Cause::Suspect(Sli::ErrorRate)),
            "[tidegate] checkout of shop: looks worse; the rollout is held"
        );
        assert_eq!(
            of_app(Cause::Suspect(Sli::MonthlySpend)),
            "[tidegate] shop: the month is going to cost nearly all that it may"
        );
        assert_eq!(of_app(Cause::Suspect(Sli::Availability)), "[tidegate] shop: the app itself does badly");
        let mut act = act_of(None, Cause::Regressed(Sli::ErrorRate));
        act.effects = vec![Action::RevertRelease];
        assert_eq!(subject(&act), "[tidegate] shop: its release is to be reverted");
        assert_eq!(of_app(Cause::Refused), "[tidegate] shop: what a guardrail asks for is refused");
    }
}
