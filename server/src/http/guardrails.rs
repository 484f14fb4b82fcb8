//! Guardrails: what is written for a flag or as an app's defaults, what holds where, and the drill.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Change, Command};
use rollout_rules::decide::{Verdict, decide};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use rollout_rules::runbook::{Act, EffectId, Guardrails, InForce, Lowered};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::snapshot::{App, Runbook, Snapshot};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::Shared;
use super::audience::Query;
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::{self, Asking};
use super::etag;
use super::flags::missing_flag;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::effects::Target;
use crate::state::Request;

/// A rule as it is written: its short text, or its parts.
pub(super) enum Written {
    Text(String),
    Parts(Box<Guardrail>),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Written::Text(text)),
            parts => Guardrail::deserialize(parts)
                .map(|rule| Written::Parts(Box::new(rule)))
                .map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for Written {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WrittenGuardrail".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let parts = generator.subschema_for::<Guardrail>();
        json_schema!({
            "description": "A rule: in its short form, such as `error_rate > 3% for 5m -> flag off, run rollback`, or \
                            in its parts.",
            "anyOf": [{ "type": "string", "maxLength": rollout_rules::sli::guardrail::MAX_RULE_BYTES }, parts]
        })
    }
}

/// The guardrails of a flag or an app, anew.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGuardrails {
    /// All of them; an empty list: nothing is watched.
    guardrails: Vec<Written>,
    /// Only in this environment; none: in all that have no list of their own.
    #[serde(default)]
    environment: Option<EnvKey>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// What is to be tried out.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drill {
    /// Which of the rules that hold, from 1; may be left out where there is one.
    rule: Option<usize>,
    /// Only say what would be done, and to whom.
    dry_run: bool,
    /// Why, for the log.
    reason: String,
}

/// Reads rules that are written as text; a mistake is told with its place.
fn rules(written: Vec<Written>) -> Result<Vec<Guardrail>, Problem> {
    let read = |(nth, written): (usize, Written)| match written {
        Written::Parts(rule) => Ok(*rule),
        Written::Text(text) => text.parse::<Guardrail>().map_err(|wrong| {
            let field = format!("guardrails[{nth}]");
            Problem::new(problem::INVALID, format!("`{field}`: {wrong}"))
                .with("field", field)
                .with("at", wrong.at)
                .with("expected", wrong.expected)
                .with("shown", wrong.pointed_at(&text))
        }),
    };
    written.into_iter().enumerate().map(read).collect()
}

/// A rule in all its forms.
fn rule_view(rule: &Guardrail) -> Value {
    json!({ "rule": rule.to_string(), "when": rule.when(), "then": rule.then() })
}

fn list_view(rules: &[Guardrail]) -> Value {
    rules.iter().map(rule_view).collect()
}

/// What is written, and what holds in each environment that the reader may see.
fn view(app: &App, flag: Option<&FlagKey>, revision: Revision, who: &Principal) -> Value {
    let only = who.environment.as_ref();
    let runbook = app.runbook();
    let nothing = Guardrails::default();
    let sets = match flag {
        Some(flag) => runbook.and_then(|runbook| runbook.of_flag(flag)),
        None => runbook.map(Runbook::defaults),
    };
    let sets = sets.unwrap_or(&nothing);
    let shows = |environment: &EnvKey| views::shows(only, environment);
    let written = sets.environments.iter().filter(|(environment, _)| shows(environment));
    let written: Map<String, Value> =
        written.map(|(environment, rules)| (environment.to_string(), list_view(rules))).collect();
    let environments = app.environments().map(|record| &record.environment().key);
    let in_force = environments.filter(|environment| shows(environment)).map(|environment| {
        let InForce { rules, source } = app.guardrails(flag, environment);
        let view = json!({ "from": source, "guardrails": list_view(&rules) });
        (environment.to_string(), view)
    });
    let in_force: Map<String, Value> = in_force.collect();
    let mut body = json!({
        "app": app.info().key, "revision": revision, "environments": written, "in_force": in_force,
    });
    if let Some(everywhere) = &sets.everywhere {
        body["everywhere"] = list_view(everywhere);
    }
    if let Some(flag) = flag {
        body["flag"] = flag.as_str().into();
    }
    body
}

fn show(
    snapshot: &Snapshot,
    who: &Principal,
    app: &AppKey,
    flag: Option<&FlagKey>,
) -> Result<HttpResponse, Problem> {
    let found = snapshot.app(app).ok_or_else(|| super::apps::missing_app(app))?;
    let revision = match flag {
        None => found.revision(),
        Some(key) => {
            let view = snapshot.flag(app, key).filter(|view| !view.record().is_archived());
            view.ok_or_else(|| missing_flag(app, key))?.revision()
        }
    };
    Ok(HttpResponse::Ok().insert_header(etag::header(revision)).json(view(found, flag, revision, who)))
}

/// `GET /v1/apps/{app}/guardrails`: the app's defaults.
pub async fn of_app(reading: Reading, app: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    reading.who.reads_app(&app)?;
    reading.query.only(&[])?;
    show(&reading.published.folded, &reading.who, &app, None)
}

/// `GET /v1/apps/{app}/flags/{flag}/guardrails`.
pub async fn of_flag(reading: Reading, path: web::Path<(AppKey, FlagKey)>) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    reading.who.reads_app(&app)?;
    reading.query.only(&[])?;
    show(&reading.published.folded, &reading.who, &app, Some(&flag))
}

/// `PUT /v1/apps/{app}/guardrails`.
pub(super) async fn set_of_app(
    asking: Asking,
    app: web::Path<AppKey>,
    Json(body): Json<NewGuardrails>,
) -> Result<HttpResponse, Problem> {
    set(&asking, &app, None, body).await
}

/// `PUT /v1/apps/{app}/flags/{flag}/guardrails`.
pub(super) async fn set_of_flag(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey)>,
    Json(body): Json<NewGuardrails>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    set(&asking, &app, Some(&flag), body).await
}

async fn set(
    asking: &Asking,
    app: &AppKey,
    flag: Option<&FlagKey>,
    body: NewGuardrails,
) -> Result<HttpResponse, Problem> {
    asking.who.changes()?;
    asking.who.reads_app(app)?;
    let guardrails = Some(rules(body.guardrails)?);
    let (environment, flag) = (body.environment, flag.cloned());
    let command = Command::SetGuardrails { app: app.clone(), flag: flag.clone(), environment, guardrails };
    let applied = asking.submit(command, body.reason).await?;
    show(&applied.published.folded, &asking.who, app, flag.as_ref())
}

/// `DELETE /v1/apps/{app}/guardrails?environment=&reason=`: what stands above holds again.
pub async fn clear_of_app(asking: Asking, app: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    clear(&asking, &app, None).await
}

/// `DELETE /v1/apps/{app}/flags/{flag}/guardrails?environment=&reason=`.
pub async fn clear_of_flag(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    clear(&asking, &app, Some(flag)).await
}

async fn clear(asking: &Asking, app: &AppKey, flag: Option<FlagKey>) -> Result<HttpResponse, Problem> {
    let query = Query::of(&asking.request)?;
    query.only(&["environment", "reason"])?;
    let environment = query.parse("environment")?;
    let reason = query.get("reason").unwrap_or("").to_owned();
    let command =
        Command::SetGuardrails { app: app.clone(), flag: flag.clone(), environment, guardrails: None };
    let applied = asking.submit(command, reason).await?;
    show(&applied.published.folded, &asking.who, app, flag.as_ref())
}

/// `POST /v1/apps/{app}/flags/{flag}/environments/{environment}/drill`: does for real what a rule does, so that
/// people see that it works; or only says what it would do, and to whom.
pub async fn drill(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
    OptionalJson(body): OptionalJson<Drill>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    asking.who.changes()?;
    asking.who.reads_environment(&app, &environment)?;
    let published = asking.shared.published_full();
    let found = published.folded.app(&app).ok_or_else(|| super::apps::missing_app(&app))?;
    let guardrail = one_of(&found.guardrails(Some(&flag), &environment), body.rule)?;
    let command = Command::Drill {
        app: app.clone(),
        flag: flag.clone(),
        environment: environment.clone(),
        guardrail: guardrail.clone(),
    };
    let request = Request {
        caller: asking.who.caller(),
        command: command.clone(),
        seen: commands::Terms::of(&asking.request)?.seen,
        reason: body.reason.clone(),
        idempotency_key: None,
        plan: None,
    };
    let planned = planned(&published.folded, &asking.shared, &request)?;
    if body.dry_run {
        return Ok(HttpResponse::Ok().json(told(
            &asking.shared,
            found,
            &guardrail,
            planned.as_deref(),
            Done::Planned,
        )));
    }
    let applied = asking.submit(command, body.reason).await?;
    let folded = &applied.published.folded;
    let found = folded.app(&app).ok_or_else(|| super::apps::missing_app(&app))?;
    // What was decided, if it asked for something outside; else what was to be decided a moment before.
    let run = folded.run(EffectId { request: applied.revision, nth: 0 });
    let done = run.map(|run| &*run.act).filter(|act| act.guardrail.as_ref() == Some(&guardrail));
    let act = done.or(planned.as_deref().filter(|_| !applied.already));
    let done = if act.is_some() { Done::As(applied.revision) } else { Done::Nothing };
    Ok(HttpResponse::Ok().json(told(&asking.shared, found, &guardrail, act, done)))
}

/// What a drill would do now; none if nothing is left to do.
fn planned(folded: &Snapshot, shared: &Shared, request: &Request) -> Result<Option<Box<Act>>, Problem> {
    let verdict = decide(folded, &shared.rules, request, shared.clock.now());
    Ok(match verdict.map_err(|refusal| commands::refused(&refusal))? {
        Verdict::Change(draft) => match draft.change() {
            Change::GuardrailActed { act } => Some(act.clone()),
            _ => None,
        },
        Verdict::AlreadyDone { .. } => None,
    })
}

fn one_of(in_force: &InForce<'_>, rule: Option<usize>) -> Result<Guardrail, Problem> {
    let rules = &in_force.rules;
    let place = match rule {
        Some(place) => place.checked_sub(1),
        None if rules.len() == 1 => Some(0),
        None => None,
    };
    place.and_then(|place| rules.get(place)).cloned().ok_or_else(|| {
        let all: Vec<String> = rules.iter().map(ToString::to_string).collect();
        let detail = match all.len() {
            0 => "no rule holds for the flag there: nothing is watched".to_owned(),
            count => format!("say which rule with `rule`, from 1 to {count}: {}", all.join("; ")),
        };
        Problem::new(problem::INVALID, detail).with("field", "rule").with("guardrails", json!(all))
    })
}

fn lowered_words(lowered: &Lowered) -> &'static str {
    match lowered {
        Lowered::Held { .. } => "the flag is held at its off variant",
        Lowered::Targeted { .. } => "the flag has no exposure",
        Lowered::NonCritical { .. } => "every flag that is not critical is held at its off variant",
        Lowered::All { .. } => "every flag is held at its off variant",
    }
}

/// Whether a drill was done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It was only asked what it would do.
    Planned,
    /// Nothing was left to do.
    Nothing,
    /// As this entry.
    As(Revision),
}

/// What a drill did, or would do, and to whom. What is low already is not lowered again.
fn told(shared: &Shared, app: &App, guardrail: &Guardrail, act: Option<&Act>, done: Done) -> Value {
    let lowered: Vec<&str> = act.iter().flat_map(|act| &act.lowered).map(lowered_words).collect();
    let effects = act.iter().flat_map(|act| act.effects.iter().enumerate()).map(|(nth, action)| {
        let mut view = json!({ "action": action.to_string() });
        match Target::of(app, action) {
            Ok(target) => {
                view["target"] = target.words().into();
                if let Some(problem) = shared.webhooks.unreachable(&target) {
                    view["problem"] = problem.into();
                }
            }
            Err(nobody) => view["problem"] = nobody.to_string().into(),
        }
        if let (Done::As(request), Ok(nth)) = (done, u8::try_from(nth)) {
            view["id"] = EffectId { request, nth }.to_string().into();
        }
        view
    });
    let effects: Vec<Value> = effects.collect();
    let mut body = json!({
        "guardrail": guardrail.to_string(), "dry_run": done == Done::Planned, "lowered": lowered, "effects": effects,
    });
    if let Done::As(revision) = done {
        body["revision"] = revision.0.into();
    }
    body
}
