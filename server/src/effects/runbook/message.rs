//! What jobs and people are told, in the form that each asks for.

use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
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
        Message { id, at: run.at, kind, facts, subject: subject(act), text: text(run) }
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
        Message { id, at: now, kind: "test", facts, subject: format!("[tidegate] a test for {app}"), text }
    }

    fn known(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.facts.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (*name, value))
    }

    /// The call of a job.
    pub(crate) fn to_job(&self, job: &Job) -> Call {
        let mut more = vec![("idempotency-key", self.id.clone())];
        let body = match &job.payload {
            Payload::Plain => {
                let data: Map<String, Value> =
                    self.known().map(|(name, value)| (name.to_owned(), value.clone())).collect();
                json!({ "type": self.kind, "timestamp": self.at, "data": data })
            }
            Payload::RepositoryDispatch { event_type } => {
                more.push(("accept", "application/vnd.github+json".to_owned()));
                // GitHub takes ten members.
                let told = self.known().filter(|(name, _)| !matches!(*name, "cause" | "measured" | "reason"));
                let told: Map<String, Value> =
                    told.map(|(name, value)| (name.to_owned(), value.clone())).collect();
                json!({ "event_type": event_type, "client_payload": told })
            }
            Payload::PipelineTrigger { git_ref } => {
                let variable = |(name, value): (&str, &Value)| {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    (format!("TIDEGATE_{}", name.to_uppercase()), text.into())
                };
                let variables: Map<String, Value> = self.known().map(variable).collect();
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
        (None, Cause::Suspect(Sli::MonthlySpend)) => "the month is going to cost nearly all that it may",
        (None, Cause::Suspect(_)) if act.flag.is_none() => "the app itself does badly",
        (None, Cause::Suspect(_)) => "looks worse; the rollout is held",
        (None, Cause::CommonMode(_)) => "worse everywhere at the same time",
        (None, Cause::Invalid) => "the split does not serve what was planned",
        (None, Cause::StillServed) => "what was taken back is still served",
        (None, Cause::LeftToPeople) => "automation has acted as often as it may in a day",
        (None, Cause::Refused) => "what a guardrail asks for is refused",
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
        Cause::Invalid | Cause::StillServed | Cause::LeftToPeople | Cause::Refused | Cause::Drill => None,
    };
    if let Some(sli) = sli.map(Sli::name) {
        lines.push(format!("What was seen: {sli}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn subject_of(flag: Option<&str>, cause: Cause) -> String {
        let act = Act {
            app: AppKey::new("shop").expect("a key"),
            flag: flag.map(|flag| FlagKey::new(flag).expect("a key")),
            environment: None,
            guardrail: None,
            variant: None,
            cause,
            measured: None,
            evidence: None,
            lowered: Vec::new(),
            effects: Vec::new(),
        };
        subject(&act)
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
        assert_eq!(of_app(Cause::Refused), "[tidegate] shop: what a guardrail asks for is refused");
    }
}
