//! What is known of an app that is watched: what its flags' variants do, and how it stands against what it promises and
//! may cost.

use actix_web::{HttpResponse, web};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{BURN_RULES, ErrorBudget, Standing, Verdict};
use rollout_rules::snapshot::App;
use serde_json::{Value, json};

use super::Shared;
use super::flags::find;
use super::problem::{self, Problem};
use super::reading::Reading;
use crate::evaluator::{AppView, SplitView};

/// What is said where an app never reported anything.
const NOTHING_REPORTED: &str =
    "nothing was reported yet: outcomes are reported by the SDK's request scopes, or with POST /v1/outcomes";

/// `GET /v1/apps/{app}/flags/{flag}/environments/{environment}/verdicts`: by split and variant.
pub async fn verdicts(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&[])?;
    let found = find(&reading.published.snapshot, &app, &flag)?;
    if found.record().state(&environment).is_none() {
        let detail = format!("flag `{flag}` has no environment `{environment}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    }
    let view = shared.evaluator.view(&app, &environment);
    let splits = view.iter().flat_map(|view| &view.splits).filter(|split| split.flag == flag);
    let splits: Vec<Value> = splits.map(split_view).collect();
    let mut body = json!({
        "app": app,
        "flag": flag,
        "environment": environment,
        "slot": view.as_ref().map(|view| view.slot.ends_at()),
        "splits": splits,
    });
    if view.is_none() {
        body["note"] = NOTHING_REPORTED.into();
    }
    Ok(HttpResponse::Ok().json(body))
}

fn split_view(split: &SplitView) -> Value {
    let verdict_view = |verdict| verdict_view(verdict, &split.rules);
    let verdicts: Vec<Value> = split.verdicts.iter().map(verdict_view).collect();
    let needed = split.needed.map(
        |needed| json!({ "users": needed.users, "bad_users": needed.bad_users, "time_ms": needed.time }),
    );
    json!({
        "split": split.split,
        "standing": { "is": standing_word(&split.standing), "why": split.standing.to_string() },
        "needed": needed,
        "verdicts": verdicts,
    })
}

fn standing_word(standing: &Standing) -> &'static str {
    match standing {
        Standing::ShownGood => "shown_good",
        Standing::NotEnoughData => "not_enough_data",
        Standing::Held(_) => "held",
    }
}

fn verdict_view(verdict: &Verdict, rules: &[Guardrail]) -> Value {
    let test = verdict.test.and_then(|test| rules.get(usize::from(test)));
    json!({
        "variant": verdict.variant,
        "state": verdict.state,
        "test": test.map(ToString::to_string),
        "shown_good": verdict.shown_good,
        "why": verdict.reason.to_string().trim_start_matches(": "),
        "reason": verdict.reason,
    })
}

/// `GET /v1/apps/{app}/environments/{environment}/slo`: against what it promises and may cost.
pub async fn slo(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, EnvKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&[])?;
    let found = reading.published.snapshot.app(&app);
    let Some(found) = found.filter(|found| found.environment(&environment).is_some()) else {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    let view = shared.evaluator.view(&app, &environment);
    let errors = view.as_ref().and_then(|view| view.errors.as_ref());
    let mut body = json!({
        "app": app,
        "environment": environment,
        "slot": view.as_ref().map(|view| view.slot.ends_at()),
        "silent_slots": view.as_ref().map(|view| view.silent_slots),
        "good_millionths": view.as_ref().and_then(|view| view.objectives.good_millionths),
        "spent_thousandths": errors.map(ErrorBudget::spent_thousandths),
        "burn": burn_view(errors),
        "broken": errors.and_then(ErrorBudget::broken),
    });
    add_cost(&mut body, found, view.as_deref());
    if view.is_none() {
        body["note"] = NOTHING_REPORTED.into();
    }
    Ok(HttpResponse::Ok().json(body))
}

/// How fast errors are used up, over the windows of the rules; unknown without requests.
fn burn_view(errors: Option<&ErrorBudget>) -> Vec<Value> {
    let mut windows: Vec<usize> =
        BURN_RULES.iter().flat_map(|rule| [rule.short_minutes, rule.long_minutes]).collect();
    windows.sort_unstable();
    let burn = |minutes: usize| {
        let known = errors.filter(|errors| errors.last(minutes).requests > 0);
        json!({ "minutes": minutes, "thousandths": known.map(|errors| errors.burn_thousandths(minutes)) })
    };
    windows.into_iter().map(burn).collect()
}

fn add_cost(body: &mut Value, app: &App, view: Option<&AppView>) {
    let (info, spend) = (app.info(), view.map(|view| view.spend.plus(view.elsewhere)));
    let state = info.monthly_budget_micros.zip(spend).map(|(budget, spend)| spend.against(budget));
    body["budget_micros"] = json!(info.monthly_budget_micros);
    body["spent_micros"] = json!(spend.map(|spend| spend.spent_micros));
    body["expected_micros"] = json!(spend.map(|spend| spend.expected_micros));
    body["currency"] = json!(info.currency);
    body["state"] = json!(state);
}
