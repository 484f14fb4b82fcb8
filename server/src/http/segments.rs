//! Segments of an app, and shared ones: the same handlers, told apart by whether the path names an app.

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use rollout_rules::change::Command;
use rollout_rules::condition::Condition;
use rollout_rules::flag::{Segment, SegmentScope};
use rollout_rules::ids::{AppKey, SegmentKey};
use rollout_rules::snapshot::{SegmentRecord, Snapshot};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::future::{Ready, ready};

use super::apps::{OnlyReason, missing_app};
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::Asking;
use super::etag;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
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
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentBody {
    /// The key in the path, or left out.
    #[serde(default)]
    key: Option<SegmentKey>,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Who belongs besides the members.
    #[serde(default)]
    when: Option<Box<Condition>>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// Members that come and go.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MembersBody {
    /// Who comes.
    add: Vec<Arc<str>>,
    /// Who leaves.
    remove: Vec<Arc<str>>,
    /// Why, for the log.
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
    HttpResponse::Ok().insert_header(etag::header(record.revision())).json(views::segment(record))
}

fn answer_changed(
    applied: &Applied,
    scope: &SegmentScope,
    key: &SegmentKey,
) -> Result<HttpResponse, Problem> {
    find(&applied.published.snapshot, scope, key).map(answer)
}

/// `GET …/segments`.
pub async fn list(reading: Reading, place: In) -> Result<HttpResponse, Problem> {
    place.readable_by(&reading.who)?;
    let page: Page<SegmentKey> = Page::of(&reading.query, &[])?;
    let name = |record: &&SegmentRecord| record.segment().key.to_string();
    let snapshot = &reading.published.snapshot;
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
pub async fn get(reading: Reading, place: In, path: web::Path<Named>) -> Result<HttpResponse, Problem> {
    place.readable_by(&reading.who)?;
    find(&reading.published.snapshot, &place.0, &path.segment).map(answer)
}

/// `PUT …/segments/{segment}`; its members stay.
pub async fn put(
    asking: Asking,
    place: In,
    path: web::Path<Named>,
    Json(body): Json<SegmentBody>,
) -> Result<HttpResponse, Problem> {
    let key = path.into_inner().segment;
    if body.key.as_ref().is_some_and(|given| *given != key) {
        let detail = "`key` has to be the one in the path, or left out";
        return Err(Problem::new(problem::INVALID_BODY, detail).with("field", "key"));
    }
    let segment = Segment { key: key.clone(), description: body.description, when: body.when };
    let command = Command::PutSegment { scope: place.0.clone(), segment };
    let applied = asking.submit(command, body.reason).await?;
    answer_changed(&applied, &place.0, &key)
}

/// `DELETE …/segments/{segment}`.
pub async fn remove(
    asking: Asking,
    place: In,
    path: web::Path<Named>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let reason = body.or_in_query(&asking.request)?;
    let command = Command::RemoveSegment { scope: place.0, segment: path.into_inner().segment };
    asking.submit(command, reason).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET …/segments/{segment}/members`.
pub async fn members(reading: Reading, place: In, path: web::Path<Named>) -> Result<HttpResponse, Problem> {
    place.readable_by(&reading.who)?;
    let page: Page<String> = Page::of(&reading.query, &[])?;
    let record = find(&reading.published.snapshot, &place.0, &path.segment)?;
    let rest = record.members(page.cursor.as_deref());
    Ok(page.answer(rest, |member| member.to_string(), |member| Value::from(&**member)))
}

/// `POST …/segments/{segment}/members`.
pub async fn change_members(
    asking: Asking,
    place: In,
    path: web::Path<Named>,
    Json(body): Json<MembersBody>,
) -> Result<HttpResponse, Problem> {
    let key = path.into_inner().segment;
    let command = Command::ChangeSegmentMembers {
        scope: place.0.clone(),
        segment: key.clone(),
        add: body.add,
        remove: body.remove,
    };
    let applied = asking.submit(command, body.reason).await?;
    answer_changed(&applied, &place.0, &key)
}
