//! Segments of an app, and shared ones: the same handlers, told apart by whether the path names an app.

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use rollout_rules::change::Command;
use rollout_rules::condition::Condition;
use rollout_rules::flag::{Segment, SegmentScope};
use rollout_rules::ids::{AppKey, SegmentKey};
use rollout_rules::snapshot::{SegmentRecord, Snapshot};
use serde::Deserialize;
use serde_json::Value;
use std::future::{Ready, ready};

use super::Shared;
use super::apps::{OnlyReason, missing_app};
use super::audience::Query;
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::{self, Terms};
use super::paging::Page;
use super::problem::{self, Problem};
use super::views;
use crate::state::Applied;

/// Where the segments of a request live.
pub struct In(SegmentScope);

impl FromRequest for In {
    type Error = Problem;
    type Future = Ready<Result<In, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let scope = match request.match_info().get("app") {
            None => Ok(SegmentScope::Shared),
            Some(text) => AppKey::new(text).map(SegmentScope::App),
        };
        ready(scope.map(In).map_err(|error| Problem::new(problem::NOT_FOUND, error.to_string())))
    }
}

impl In {
    fn readable_by(&self, who: &Principal) -> Result<(), Problem> {
        match &self.0 {
            // Every app may use the shared ones, so whoever reads an app may read them.
            SegmentScope::Shared => who.reads(),
            SegmentScope::App(app) => who.reads_app(app),
        }
    }
}

/// The last part of a path that names a segment.
#[derive(Deserialize)]
pub struct Named {
    segment: SegmentKey,
}

/// A segment as it is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentBody {
    #[serde(default)]
    key: Option<SegmentKey>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    when: Option<Box<Condition>>,
    #[serde(default)]
    reason: String,
}

/// Members that come and go.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MembersBody {
    add: Vec<Arc<str>>,
    remove: Vec<Arc<str>>,
    reason: String,
}

fn find<'s>(
    snapshot: &'s Snapshot,
    scope: &SegmentScope,
    key: &SegmentKey,
) -> Result<&'s SegmentRecord, Problem> {
    snapshot
        .segment(scope, key)
        .ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("there is no segment `{key}` here")))
}

fn answer(record: &SegmentRecord) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("etag", format!("\"{}\"", record.revision())))
        .json(views::segment(record))
}

fn answer_changed(
    applied: &Applied,
    scope: &SegmentScope,
    key: &SegmentKey,
) -> Result<HttpResponse, Problem> {
    find(&applied.published.snapshot, scope, key).map(answer)
}

/// `GET …/segments`.
pub async fn list(
    who: Principal,
    place: In,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    place.readable_by(&who)?;
    let page: Page<SegmentKey> = Page::of(&Query::of(&request)?, &[])?;
    let name = |record: &&SegmentRecord| record.segment().key.to_string();
    let published = shared.published();
    let snapshot = &published.snapshot;
    Ok(match &place.0 {
        SegmentScope::Shared => {
            page.answer(snapshot.shared_segments(page.cursor.as_ref()), name, views::segment)
        }
        SegmentScope::App(app) => {
            let app = snapshot.app(app).ok_or_else(|| missing_app(app))?;
            page.answer(app.segments(page.cursor.as_ref()), name, views::segment)
        }
    })
}

/// `GET …/segments/{segment}`.
pub async fn get(
    who: Principal,
    place: In,
    path: web::Path<Named>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    place.readable_by(&who)?;
    find(&shared.published().snapshot, &place.0, &path.segment).map(answer)
}

/// `PUT …/segments/{segment}`; its members stay.
pub async fn put(
    who: Principal,
    place: In,
    request: HttpRequest,
    path: web::Path<Named>,
    shared: web::Data<Shared>,
    Json(body): Json<SegmentBody>,
) -> Result<HttpResponse, Problem> {
    let key = path.into_inner().segment;
    if body.key.as_ref().is_some_and(|given| *given != key) {
        let detail = "`key` has to be the one in the path, or left out";
        return Err(Problem::new(problem::INVALID_BODY, detail).with("field", "key"));
    }
    let segment = Segment { key: key.clone(), description: body.description, when: body.when };
    let command = Command::PutSegment { scope: place.0.clone(), segment };
    let applied = commands::submit(&shared, &who, command, Terms::of(&request)?, body.reason).await?;
    answer_changed(&applied, &place.0, &key)
}

/// `DELETE …/segments/{segment}`.
pub async fn remove(
    who: Principal,
    place: In,
    request: HttpRequest,
    path: web::Path<Named>,
    shared: web::Data<Shared>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let reason = body.or_in_query(&request)?;
    let command = Command::RemoveSegment { scope: place.0, segment: path.into_inner().segment };
    commands::submit(&shared, &who, command, Terms::of(&request)?, reason).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET …/segments/{segment}/members`.
pub async fn members(
    who: Principal,
    place: In,
    request: HttpRequest,
    path: web::Path<Named>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    place.readable_by(&who)?;
    let page: Page<String> = Page::of(&Query::of(&request)?, &[])?;
    let published = shared.published();
    let record = find(&published.snapshot, &place.0, &path.segment)?;
    let rest = record.members(page.cursor.as_deref());
    Ok(page.answer(rest, |member| member.to_string(), |member| Value::from(&**member)))
}

/// `POST …/segments/{segment}/members`.
pub async fn change_members(
    who: Principal,
    place: In,
    request: HttpRequest,
    path: web::Path<Named>,
    shared: web::Data<Shared>,
    Json(body): Json<MembersBody>,
) -> Result<HttpResponse, Problem> {
    let key = path.into_inner().segment;
    let command = Command::ChangeSegmentMembers {
        scope: place.0.clone(),
        segment: key.clone(),
        add: body.add,
        remove: body.remove,
    };
    let applied = commands::submit(&shared, &who, command, Terms::of(&request)?, body.reason).await?;
    answer_changed(&applied, &place.0, &key)
}
