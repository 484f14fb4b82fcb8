//! What apps tell of their requests, and what variants did to them.

use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::flag::Serve;
use rollout_rules::governance::Scope;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::percent::Exposure;
use rollout_rules::sli::Slot;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DAY, DurationMs, UnixMs};
use serde_json::{Value, json};

use super::Shared;
use super::audience;
use super::auth::Principal;
use super::body::Json;
use super::flags::find;
use super::problem::{self, Problem};
use super::reading::{CLOCKS_APART, Reading};
use crate::sli::{Batch, MAX_LOOKED_BACK, MAX_SUMMARIES, Place, Taken, VariantSums, Watched};

/// How far sums look back if nothing is said.
const LOOKED_BACK: DurationMs = DurationMs(3_600_000);

/// Whether a token may say what became of requests: a server's SDK, or whoever may change things anyway. One that only
/// reads would else decide what is taken back.
fn may_tell(who: &Principal) -> Result<(), Problem> {
    if who.scope == Scope::SdkServer || who.changes().is_ok() {
        return Ok(());
    }
    Err(Problem::new(
        problem::NOT_ALLOWED,
        "outcomes are taken from a token with the scope sdk-server, or one that may change things",
    ))
}

/// `POST /v1/outcomes`: what became of an app's requests.
pub async fn take(
    who: Principal,
    request: HttpRequest,
    shared: web::Data<Shared>,
    Json(batch): Json<Batch>,
) -> Result<HttpResponse, Problem> {
    may_tell(&who)?;
    if batch.summaries.len() > MAX_SUMMARIES {
        let detail = format!(
            "`summaries` may have at most {MAX_SUMMARIES} items; send the rest in a batch of its own"
        );
        return Err(Problem::new(problem::TOO_MANY, detail)
            .with("field", "summaries")
            .with("limit", MAX_SUMMARIES));
    }
    let published = shared.published_full();
    let bound =
        (who.app.as_ref().or(batch.app.as_ref()), who.environment.as_ref().or(batch.environment.as_ref()));
    let (app, environment) = audience::reported(bound, &request, &published.snapshot)?;
    // Long lists take a while to read and merge, and this thread answers checks and kills.
    let take = move || {
        let now = shared.clock.now();
        (shared.sli.take(&app, &environment, &batch, &published.snapshot, now), now)
    };
    let (taken, now) = web::block(take).await.map_err(Problem::internal)?;
    Ok(HttpResponse::Accepted().json(told(&taken, now)))
}

fn told(taken: &Taken, now: UnixMs) -> Value {
    let refused = taken.refused.iter().map(
        |(index, refusal)| json!({ "index": index, "code": refusal.code(), "detail": refusal.to_string() }),
    );
    let mut told = json!({
        "added": taken.added,
        "repeated": taken.repeated,
        "refused": refused.collect::<Vec<Value>>(),
        "now": now,
    });
    if let Some(refusal) = &taken.all_refused {
        told["all_refused"] = json!({ "code": refusal.code(), "detail": refusal.to_string() });
    }
    told
}

/// `GET /v1/apps/{app}/flags/{flag}/environments/{environment}/outcomes?since=`: by split and variant.
pub async fn show(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&["since"])?;
    let now = reading.now;
    let since = reading.query.moment("since")?.unwrap_or(UnixMs(now.0.saturating_sub(LOOKED_BACK.0)));
    if since > now || now.since(since).0 > MAX_LOOKED_BACK.0 + CLOCKS_APART.0 {
        let days = MAX_LOOKED_BACK.0 / 86_400_000;
        let detail = format!("the parameter `since` has to be a moment of the last {days} days");
        return Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "since"));
    }
    if find(&reading.published.snapshot, &app, &flag)?.record().state(&environment).is_none() {
        let detail = format!("flag `{flag}` has no environment `{environment}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    }
    let place = Place { app, environment, flag };
    let look = move || {
        let (from, until) = (Slot::at(since), shared.sli.closed_until());
        shared.sli.sums(&place, from, until).map(|sums| shown(&place, &sums, from, until.max(from)))
    };
    let shown = web::block(look).await.map_err(Problem::internal)?.map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().json(shown))
}

fn shown(place: &Place, variants: &[VariantSums], from: Slot, until: Slot) -> Value {
    let variants = variants.iter().map(|one| {
        let sums = &one.sums;
        let errors = (u128::from(sums.rate.bad) * 1_000_000).checked_div(u128::from(sums.rate.requests));
        json!({
            "split": one.split,
            "variant": one.variant,
            "requests": sums.rate.requests,
            "bad_requests": sums.rate.bad,
            "error_rate_millionths": errors.map(|errors| u64::try_from(errors).unwrap_or(u64::MAX)),
            "p50_us": sums.latency.quantile_us(500),
            "p95_us": sums.latency.quantile_us(950),
            "p99_us": sums.latency.quantile_us(990),
            "cost_micros": sums.cost_micros,
        })
    });
    json!({
        "app": place.app,
        "flag": place.flag,
        "environment": place.environment,
        "since": from.starts_at(),
        "until": until.starts_at(),
        "variants": variants.collect::<Vec<Value>>(),
    })
}

/// Whether each slot of a split is wanted for two days: while its flag divides units, and where it serves one variant to all
/// of them while its rollout is watched, which is for a day after it was raised last.
pub(super) fn is_watched(snapshot: &Snapshot, watched: &Watched, now: UnixMs) -> bool {
    let Some(view) = snapshot.flag(&watched.app, &watched.flag) else { return false };
    let Some(state) = view.record().state(&watched.environment) else { return false };
    let targeting = &state.state().targeting;
    let divides = |serve: &Serve| matches!(serve, Serve::Split(_));
    let rollout = view.record().rollout(&watched.environment);
    targeting.exposure < Exposure::ALL
        || divides(&targeting.serve)
        || targeting.rules.iter().any(|rule| divides(&rule.serve))
        || rollout.is_some_and(|rollout| rollout.is_active() || rollout.raised_at.plus(DAY) > now)
}

#[cfg(test)]
mod tests {
    use rollout_rules::change::Command;
    use rollout_rules::governance::{Actor, Caller};
    use rollout_rules::ids::SplitId;

    use super::super::tests::{Node, START};
    use super::*;
    use crate::state::Request;

    #[tokio::test]
    async fn slots_of_a_rollout_that_reached_all_are_wanted_for_a_day() {
        let node = Node::start().await;
        let app = node.shop().await;
        let (flag, environment) =
            (FlagKey::new("f").expect("a key"), EnvKey::new("production").expect("a key"));
        let command = json!({ "do": "create_flag", "app": "shop", "key": "f" });
        node.submit(serde_json::from_value(command).expect("a command")).await;
        let published = node.state.live.load_full();
        let plan = "100%".parse().expect("a plan");
        let (its_flag, its_environment) = (flag.clone(), environment.clone());
        let request = Request {
            caller: Caller {
                actor: Actor::Human { name: "ada".to_owned() },
                scope: Scope::Admin,
                app: None,
                environment: None,
                token: None,
            },
            command: Command::StartRollout {
                app: app.clone(),
                flag: its_flag,
                environment: its_environment,
                plan,
            },
            seen: published.folded.flag(&app, &flag).map(|view| view.revision()),
            reason: String::new(),
            idempotency_key: None,
            plan: None,
        };
        let started = node.state.commands.submit(request).await.expect("started").published;
        let watched = Watched { app, environment, flag, split: SplitId::new(".exposure").expect("an id") };
        let wanted_at = |now| is_watched(&started.folded, &watched, now);
        assert!(wanted_at(START.plus(DurationMs(DAY.0 - 1))));
        assert!(!wanted_at(START.plus(DAY)));
    }
}
