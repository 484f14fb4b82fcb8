//! How apps, flags and the rest look in answers.

use rollout_rules::flag::{BrowserForm, EnvironmentKind, Serve, Targeting};
use rollout_rules::governance::Token;
use rollout_rules::ids::{EnvKey, Revision};
use rollout_rules::percent::Exposure;
use rollout_rules::project::browser::{Travels, travels};
use rollout_rules::proposal::{Approval, Proposal};
use rollout_rules::runbook::Guardrails;
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::snapshot::{App, EnvironmentRecord, FlagView, SegmentRecord, StateRecord};
use rollout_rules::time::UnixMs;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::rollouts;

/// Any part of the domain as JSON. All of it has text keys and finite numbers.
fn json_of(part: &impl Serialize) -> Value {
    serde_json::to_value(part).unwrap_or(Value::Null)
}

fn object_of(part: &impl Serialize) -> Map<String, Value> {
    match json_of(part) {
        Value::Object(object) => object,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

/// An app with its environments, or the only one that the reader may see.
pub fn app(app: &App, only: Option<&EnvKey>, now: UnixMs) -> Value {
    let mut view = object_of(&**app.info());
    view.insert("revision".into(), json_of(&app.revision()));
    view.insert("killed".into(), json_of(&app.kills().all));
    view.insert("flags".into(), app.flag_count().into());
    let seen = app.environments().filter(|record| shows(only, &record.environment().key));
    let environments = seen.map(|record| environment(app, record, now)).collect();
    view.insert("environments".into(), Value::Array(environments));
    Value::Object(view)
}

/// Whether a reader who may see only one environment sees this one.
pub fn shows(only: Option<&EnvKey>, environment: &EnvKey) -> bool {
    only.is_none_or(|only| only == environment)
}

/// An environment of an app.
pub fn environment(app: &App, record: &EnvironmentRecord, now: UnixMs) -> Value {
    let mut view = object_of(record.environment());
    view.insert("killed".into(), json_of(&app.kills().in_environment(&record.environment().key)));
    if record.environment().kind == EnvironmentKind::Preview {
        view.insert("ended".into(), record.ended(now).into());
    }
    Value::Object(view)
}

/// A flag with its state in every environment, or in the only one that the reader may see, as it is
/// served, and the revision that writers must have seen, which is of the log alone.
pub fn flag(view: &FlagView<'_>, revision: Revision, only: Option<&EnvKey>, now: UnixMs) -> Value {
    let record = view.record();
    let mut shown = object_of(&**record.flag());
    shown.insert("app".into(), json_of(&view.app().info().key));
    shown.insert("revision".into(), json_of(&revision));
    let kills = record.kills();
    let seen = kills.environments.iter().filter(|(environment, _)| shows(only, environment));
    let seen: Map<String, Value> = seen.map(|(key, kill)| (key.to_string(), json_of(kill))).collect();
    shown.insert("killed".into(), json!({ "all": kills.all, "environments": seen }));
    let states = record
        .states()
        .filter(|(environment, _)| shows(only, environment))
        .map(|(environment, state)| (environment.to_string(), flag_state(view, environment, state, now)));
    shown.insert("environments".into(), Value::Object(states.collect()));
    let written = view.app().runbook().and_then(|runbook| runbook.of_flag(&record.flag().key));
    if let Some(written) = written {
        shown.insert("guardrails".into(), guardrails(written, only));
    }
    Value::Object(shown)
}

/// What guardrails are written, in their short form.
fn guardrails(written: &Guardrails, only: Option<&EnvKey>) -> Value {
    let texts = |rules: &[Guardrail]| rules.iter().map(ToString::to_string).collect::<Vec<String>>();
    let seen = written.environments.iter().filter(|(environment, _)| shows(only, environment));
    let seen: Map<String, Value> = seen.map(|(key, rules)| (key.to_string(), json!(texts(rules)))).collect();
    let mut shown = json!({ "environments": seen });
    if let Some(everywhere) = &written.everywhere {
        shown["everywhere"] = json!(texts(everywhere));
    }
    shown
}

/// A flag's state in one environment, as it is in effect now.
pub fn flag_state(view: &FlagView<'_>, environment: &EnvKey, record: &StateRecord, now: UnixMs) -> Value {
    let state = record.state();
    let targeting = view.targeting(environment, now).unwrap_or_else(|| state.targeting.clone());
    let expired = state.expires_at <= now;
    let killed = view.killed(environment);
    let ended = view.app().environment(environment).is_some_and(|record| record.ended(now));
    let serving = match killed {
        Some(_) => "killed".to_owned(),
        None if state.hold.is_some() => "held".to_owned(),
        None if expired => "expired".to_owned(),
        None if ended => "preview ended".to_owned(),
        None => serving(&targeting),
    };
    let mut shown = Map::new();
    let (as_it_travels, kept_back) = match travels(view.app(), environment, &view.record().flag().key) {
        None => (None, None),
        Some(Travels::Rules) => (Some(BrowserForm::Rules), None),
        Some(Travels::Values { kept_back }) => (Some(BrowserForm::Values), kept_back),
    };
    if let Some(form) = as_it_travels {
        shown.insert("browser".into(), json_of(&form));
    }
    if let Some(why) = kept_back {
        shown.insert("browser_kept_back".into(), why.to_string().into());
    }
    shown.insert("on".into(), targeting.on.into());
    shown.insert("exposure".into(), json_of(&targeting.exposure));
    shown.insert("serve".into(), json_of(&targeting.serve));
    shown.insert("targets".into(), json_of(&targeting.targets));
    shown.insert("rules".into(), json_of(&targeting.rules));
    shown.insert("prerequisites".into(), json_of(&targeting.prerequisites));
    shown.insert("schedule".into(), json_of(&targeting.schedule));
    shown.insert("expires_at".into(), json_of(&state.expires_at));
    shown.insert("expired".into(), expired.into());
    shown.insert("hold".into(), json_of(&state.hold));
    shown.insert("killed".into(), json_of(&killed.map(|(height, _)| height)));
    shown.insert("rollout".into(), rollouts::of_state(view, environment, now));
    shown.insert("serving".into(), serving.into());
    Value::Object(shown)
}

/// What a targeting does, in a few words.
pub fn serving(targeting: &Targeting) -> String {
    if !targeting.on {
        return "off".to_owned();
    }
    let how = match &targeting.serve {
        Serve::Variant(_) => "on",
        Serve::Split(_) => "split",
    };
    let listed = !targeting.targets.is_empty() || !targeting.rules.is_empty();
    match targeting.exposure {
        Exposure::ALL => format!("{how} for everyone"),
        Exposure::NONE if listed => "on for targets and rules only".to_owned(),
        Exposure::NONE => "on for nobody yet".to_owned(),
        part => format!("{how} for {part}%"),
    }
}

/// A segment, without its members.
pub fn segment(record: &SegmentRecord) -> Value {
    let mut view = object_of(record.segment());
    view.insert("revision".into(), json_of(&record.revision()));
    view.insert("members".into(), record.member_count().into());
    Value::Object(view)
}

/// A token, without its hash.
pub fn token(token: &Token) -> Value {
    let mut view = object_of(token);
    view.remove("hash");
    Value::Object(view)
}

/// A proposal; `needed` is how many approvals it takes. What of it is there is for who knows the rules to add.
pub fn proposal(proposal: &Proposal, needed: u8, now: UnixMs) -> Value {
    let approvals: Vec<Value> = proposal.approvals.iter().map(approval).collect();
    json!({
        "id": proposal.id,
        "app": proposal.app,
        "command": proposal.command,
        "hash": proposal.hash,
        "seen": proposal.seen,
        "stood_on": proposal.stood_on,
        "proposed_by": proposal.proposed_by,
        "at": proposal.at,
        "reason": proposal.reason,
        "expires_at": proposal.expires_at,
        "state": proposal.state(now).as_str(),
        "approvals": approvals,
        "needed": needed,
    })
}

fn approval(approval: &Approval) -> Value {
    let mut view = json!({ "actor": approval.actor, "at": approval.at, "hash": approval.hash });
    if let Some(role) = approval.role {
        view["role"] = role.as_str().into();
    }
    if !approval.checked.is_empty() {
        view["checked"] = json!(approval.checked);
    }
    view
}
