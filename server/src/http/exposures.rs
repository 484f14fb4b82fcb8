//! How often flags gave which answer, and which of them have become stale.

use std::fmt;
use std::str::FromStr;

use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::governance::Scope;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, VariantKey};
use rollout_rules::snapshot::{App, Snapshot};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use super::Shared;
use super::apps::missing_app;
use super::audience;
use super::auth::Principal;
use super::body::Json;
use super::flags::find;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::exposures::batch::{Batch, MAX_COUNT, MAX_COUNTS};
use crate::exposures::stale::{Finding, Reason, StaleCounts};
use crate::exposures::{AnswerSums, FlagSums, Place, place};

/// Most flags that are looked at for one page. After so many the page ends, short or empty as it may be, and
/// says where to go on.
pub const MAX_SCANNED: usize = 2_000;

/// Whether a token may say what was counted: a server's SDK, or whoever may change things anyway. One that only
/// reads would else decide which flags look stale.
fn may_count(who: &Principal) -> Result<(), Problem> {
    if who.scope == Scope::SdkServer || who.changes().is_ok() {
        return Ok(());
    }
    Err(Problem::new(
        problem::NOT_ALLOWED,
        "counts are taken from a token with the scope sdk-server, or one that may change things",
    ))
}

/// Does something that waits for the sums on a thread where that delays nobody else: this one serves kills, too.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    web::block(work).await.map_err(Problem::internal)
}

/// `POST /v1/exposures`: what an SDK counted.
pub async fn take(
    who: Principal,
    request: HttpRequest,
    shared: web::Data<Shared>,
    Json(batch): Json<Batch>,
) -> Result<HttpResponse, Problem> {
    may_count(&who)?;
    if batch.counts.len() > MAX_COUNTS {
        let detail =
            format!("`counts` may have at most {MAX_COUNTS} items; send the rest in a batch of its own");
        return Err(Problem::new(problem::TOO_MANY, detail)
            .with("field", "counts")
            .with("limit", MAX_COUNTS));
    }
    let wrong = |one: &crate::exposures::batch::Count| !(1..=MAX_COUNT).contains(&one.count);
    if let Some(at) = batch.counts.iter().position(wrong) {
        let field = format!("counts[{at}].count");
        let detail = format!("`{field}` has to be from 1 to {MAX_COUNT}");
        return Err(Problem::new(problem::INVALID_BODY, detail).with("field", field));
    }
    if batch.uncounted > MAX_COUNT {
        let detail = format!("`uncounted` has to be at most {MAX_COUNT}");
        return Err(Problem::new(problem::INVALID_BODY, detail).with("field", "uncounted"));
    }
    let published = shared.published_full();
    let bound =
        (who.app.as_ref().or(batch.app.as_ref()), who.environment.as_ref().or(batch.environment.as_ref()));
    let (app, environment) = audience::reported(bound, &request, &published.snapshot)?;
    let take = move || shared.exposures.take(&app, &environment, &batch, &published.snapshot, &shared.clock);
    let outcome = aside(take).await?;
    Ok(HttpResponse::Ok().json(json!({
        "counted": outcome.counted,
        "unknown": outcome.unknown,
        "too_old": outcome.too_old,
        "dropped": outcome.dropped,
        "repeated": outcome.repeated,
    })))
}

/// `GET /v1/apps/{app}/flags/{flag}/environments/{environment}/exposures`: by variant and hour.
pub async fn show(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&[])?;
    let snapshot = &reading.published.snapshot;
    if find(snapshot, &app, &flag)?.record().state(&environment).is_none() {
        let detail = format!("flag `{flag}` has no environment `{environment}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    }
    let place = place(&app, &environment, &flag);
    let look = move || {
        shared.exposures.collect(Some(&place.app), &reading.published.snapshot, &shared.clock);
        let (sums, since) = shared.exposures.read(&place, |sums, since| (sums.cloned(), since));
        shown(&place, sums.as_ref(), since, shared.clock.now())
    };
    Ok(HttpResponse::Ok().json(aside(look).await?))
}

fn shown(place: &Place, sums: Option<&FlagSums>, counting_since: UnixMs, now: UnixMs) -> Value {
    let answers = sums.map_or(&[][..], FlagSums::answers);
    json!({
        "app": place.app,
        "flag": place.flag,
        "environment": place.environment,
        "counting_since": counting_since,
        "last_asked_at": sums.and_then(FlagSums::last_asked_at),
        "variants": answers.iter().map(|answer| json!({
            "variant": answer.variant,
            "first_at": answer.first_at,
            "last_at": answer.last_at,
        })).collect::<Vec<Value>>(),
        "hours": by_time(answers, |answer| answer.hours(now).collect(), "hour"),
        "days": by_time(answers, |answer| answer.days(now).collect(), "day"),
    })
}

/// The counts of all answers, by time; times without any are left out.
fn by_time(
    answers: &[AnswerSums],
    sums: impl Fn(&AnswerSums) -> Vec<(UnixMs, u64)>,
    name: &str,
) -> Vec<Value> {
    let mut all: Vec<(UnixMs, Option<&VariantKey>, u64)> = answers
        .iter()
        .flat_map(|answer| {
            let variant = answer.variant.as_ref();
            sums(answer).into_iter().map(move |(at, count)| (at, variant, count))
        })
        .collect();
    all.sort_by_key(|(at, ..)| *at);
    all.chunk_by(|(one, ..), (other, ..)| one == other)
        .map(|counts| {
            let each = counts.iter().map(|(_, variant, count)| json!({ "variant": variant, "count": count }));
            json!({ name: counts[0].0, "counts": each.collect::<Vec<Value>>() })
        })
        .collect()
}

/// The flag that a page goes on after: `app/flag`.
struct After(AppKey, FlagKey);

impl FromStr for After {
    type Err = NoFlag;

    fn from_str(text: &str) -> Result<After, NoFlag> {
        // Keys of apps hold no slash; those of flags may.
        let (app, flag) = text.split_once('/').ok_or(NoFlag)?;
        Ok(After(AppKey::new(app).map_err(|_| NoFlag)?, FlagKey::new(flag).map_err(|_| NoFlag)?))
    }
}

/// A text that names no flag.
struct NoFlag;

impl fmt::Display for NoFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give `next_cursor` back as it came")
    }
}

/// `GET /v1/stale-flags?app=&environment=&reason=&limit=&cursor=`.
pub async fn stale(reading: Reading, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let who = &reading.who;
    who.reads()?;
    let page: Page<After> = Page::of(&reading.query, &["app", "environment", "reason"])?;
    let app: Option<AppKey> = reading.query.parse("app")?;
    if let Some(app) = &app {
        who.reads_app(app)?;
    }
    let environment: Option<EnvKey> = reading.query.parse("environment")?;
    let app = app.or_else(|| who.app.clone());
    if let (Some(app), Some(environment)) = (&app, &environment) {
        who.reads_environment(app, environment)?;
    }
    let environment = environment.or_else(|| who.environment.clone());
    let reason: Option<Reason> = reading.query.parse("reason")?;
    if let Some(app) = &app
        && reading.published.snapshot.app(app).is_none()
    {
        return Err(missing_app(app));
    }
    let asked = Asked { app, environment, reason, limit: page.limit, after: page.cursor };
    let scan = aside(move || asked.scan(&shared, &reading.published.snapshot)).await?;
    let mut body = json!({ "items": scan.items });
    if let Some(next) = scan.next {
        body["next_cursor"] = next.into();
    }
    Ok(HttpResponse::Ok().json(body))
}

/// Which stale flags are asked for.
struct Asked {
    app: Option<AppKey>,
    environment: Option<EnvKey>,
    reason: Option<Reason>,
    limit: usize,
    after: Option<After>,
}

impl Asked {
    fn scan(&self, shared: &Shared, snapshot: &Snapshot) -> Scan {
        if self.app.is_some() {
            // Of all apps it may take a while, and is done every few seconds anyway.
            shared.exposures.collect(self.app.as_ref(), snapshot, &shared.clock);
        }
        let now = shared.clock.now();
        let mut scan = Scan { limit: self.limit, items: Vec::new(), seen: 0, next: None };
        let after = self.after.as_ref();
        for app in apps(snapshot, self.app.as_ref(), after) {
            let key = &app.info().key;
            let cursor = after.filter(|After(app, _)| app == key).map(|After(_, flag)| flag);
            for record in app.flags(cursor) {
                if scan.is_full() {
                    return scan;
                }
                let only = |key: &EnvKey| views::shows(self.environment.as_ref(), key);
                // One flag at a time, so that whoever has something to sum does not wait for all of them.
                let mut found = shared.exposures.findings(app, record, only, now);
                found.retain(|one| self.reason.is_none_or(|reason| one.reason == reason));
                scan.add(key, record.flag(), &found);
            }
        }
        scan.next = None;
        scan
    }
}

/// The apps that a question is about, from that of the cursor on.
fn apps<'s>(
    snapshot: &'s Snapshot,
    only: Option<&'s AppKey>,
    after: Option<&'s After>,
) -> Box<dyn Iterator<Item = &'s App> + 's> {
    match (only, after) {
        (Some(only), _) => Box::new(snapshot.app(only).into_iter()),
        (None, None) => Box::new(snapshot.apps(None)),
        (None, Some(After(app, _))) => {
            Box::new(snapshot.app(app).into_iter().chain(snapshot.apps(Some(app))))
        }
    }
}

/// A page in the making.
struct Scan {
    limit: usize,
    items: Vec<Value>,
    seen: usize,
    /// The last flag that was looked at.
    next: Option<String>,
}

impl Scan {
    fn is_full(&self) -> bool {
        self.items.len() >= self.limit || self.seen >= MAX_SCANNED
    }

    fn add(&mut self, app: &AppKey, flag: &rollout_rules::flag::Flag, found: &[Finding]) {
        self.seen += 1;
        self.next = Some(format!("{app}/{}", flag.key));
        if !found.is_empty() {
            self.items.push(json!({
                "app": app, "flag": flag.key, "owner": flag.owner, "created_at": flag.created_at, "reasons": found,
            }));
        }
    }
}

impl Shared {
    /// Brings the gauges of stale flags up to date, at most once a minute: every flag is looked at.
    pub(super) fn refresh_stale_gauges(&self) {
        let now = self.clock.now();
        {
            let mut last = self.stale_counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.is_some_and(|last| last <= now && now.since(last) < STALE_COUNTED_EVERY) {
                return;
            }
            *last = Some(now);
        }
        let published = self.published_full();
        let mut counts = StaleCounts::default();
        for app in published.snapshot.apps(None) {
            for record in app.flags(None) {
                counts.add(&self.exposures.findings(app, record, |_| true, now));
            }
        }
        for (reason, count) in counts.each() {
            metrics::gauge!("tidegate_stale_flags", "reason" => reason.as_str()).set(count as f64);
        }
    }
}

/// How long the gauges of stale flags may lag behind.
const STALE_COUNTED_EVERY: rollout_rules::time::DurationMs = rollout_rules::time::DurationMs(60_000);
