//! Apps, environments and segments.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::operation::{CHANGERS, OPERATORS, Operation, READERS, SHAPERS};
use super::views::{App, EnvironmentView, Member, Page, SegmentView};
use crate::http::apps::{AppPatch, EnvironmentPatch, NewApp, NewEnvironmentBody, OnlyReason};
use crate::http::problem;
use crate::http::segments::{MembersBody, SegmentBody};

const APP: &str = "/v1/apps/{app}";
const ENVIRONMENTS: &str = "/v1/apps/{app}/environments";
const ENVIRONMENT: &str = "/v1/apps/{app}/environments/{environment}";

fn environment() -> Value {
    json!({
        "key": "pr-7", "kind": "preview", "created_at": "2027-01-17T18:00:00.000Z",
        "ends_at": "2027-01-19T18:00:00.000Z", "killed": null, "ended": false,
    })
}

fn app() -> Value {
    json!({
        "key": "shop", "name": "The shop", "owner": "ada@example.org", "tier": 0,
        "created_at": "2027-01-17T18:00:00.000Z", "revision": 2, "killed": null, "flags": 1,
        "environments": [environment()],
    })
}

/// Apps.
pub(super) fn apps() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, "/v1/apps", "list_apps")
            .title("List the apps that the token may see")
            .by(READERS)
            .page()
            .answers::<Page<App>>(200, "A page of apps, by key.", json!({ "items": [app()] })),
        Operation::new(Method::POST, "/v1/apps", "create_app")
            .title("Make an app")
            .by(OPERATORS)
            .change()
            .body::<NewApp>(json!({
                "key": "shop-2", "name": "The other shop", "owner": "ada@example.org", "tier": 0,
                "environments": [
                    { "key": "production", "kind": "production" }, { "key": "sandbox", "kind": "sandbox" },
                ],
            }))
            .refused(&[problem::ALREADY_EXISTS, problem::AGENTS_ONLY_PROPOSE, problem::EXPIRY_BEYOND_CAP])
            .answers::<App>(201, "The app.", app())
            .with_header("Location")
            .with_header("ETag")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::GET, APP, "get_app")
            .title("Show an app")
            .by(READERS)
            .refused(&[problem::NOT_FOUND])
            .answers::<App>(200, "The app.", app())
            .with_header("ETag"),
        Operation::new(Method::PATCH, APP, "update_app")
            .title("Change what is known of an app")
            .about("Absent members stay as they are. An editor may not change the tier.")
            .by(SHAPERS)
            .change()
            .body::<AppPatch>(json!({ "owner": "ben@example.org" }))
            .refused(&[problem::AGENTS_ONLY_PROPOSE, problem::REASON_REQUIRED])
            .answers::<App>(200, "The app as it is now.", app())
            .with_header("ETag"),
    ]
}

/// Environments.
pub(super) fn environments() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, ENVIRONMENTS, "list_environments")
            .title("List the environments of an app")
            .by(READERS)
            .page()
            .refused(&[problem::NOT_FOUND])
            .answers::<Page<EnvironmentView>>(
                200,
                "A page of environments, by key.",
                json!({ "items": [environment()] }),
            ),
        Operation::new(Method::POST, ENVIRONMENTS, "create_environment")
            .title("Make an environment")
            .about("Pipelines make previews only.")
            .by(CHANGERS)
            .change()
            .body::<NewEnvironmentBody>(json!({ "key": "pr-8", "kind": "preview" }))
            .refused(&[problem::ALREADY_EXISTS, problem::EXPIRY_BEYOND_CAP, problem::AGENTS_ONLY_PROPOSE])
            .answers::<EnvironmentView>(201, "The environment.", environment())
            .with_header("Location")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::GET, ENVIRONMENT, "get_environment")
            .title("Show an environment")
            .by(READERS)
            .refused(&[problem::NOT_FOUND])
            .answers::<EnvironmentView>(200, "The environment.", environment()),
        Operation::new(Method::PATCH, ENVIRONMENT, "extend_environment")
            .title("Move the end of a preview")
            .about("Pipelines move the ends of previews only; other environments have none.")
            .by(CHANGERS)
            .change()
            .body::<EnvironmentPatch>(
                json!({ "ends_at": "2027-01-20T18:00:00Z", "reason": "The review takes longer" }),
            )
            .refused(&[problem::EXPIRY_BEYOND_CAP, problem::ENVIRONMENT_ENDED, problem::AGENTS_ONLY_PROPOSE])
            .answers::<EnvironmentView>(200, "The environment as it is now.", environment()),
        Operation::new(Method::DELETE, ENVIRONMENT, "remove_environment")
            .title("Remove an environment with all flag states in it")
            .about(
                "Pipelines remove previews only. Of a preview, an `effect_requested` entry follows that asks who keeps \
                 what belongs to it to destroy it, as when it ends by itself.",
            )
            .by(CHANGERS)
            .change()
            .optional_body::<OnlyReason>(json!({ "reason": "Merged" }))
            .query::<String>("reason", "Why, if there is no body.")
            .refused(&[problem::REASON_REQUIRED, problem::AGENTS_ONLY_PROPOSE, problem::IN_USE])
            .answers_nothing(204, "It is gone."),
    ]
}

fn segment() -> Value {
    json!({
        "key": "staff", "description": "Who works here", "revision": 7, "members": 2,
        "when": { "attribute": "email", "op": "ends_with", "values": ["@example.org"] },
    })
}

/// Segments, of an app or shared by all.
pub(super) fn segments() -> Vec<Operation> {
    let mut all = Vec::new();
    for (under, shared, words, by) in [
        ("/v1/apps/{app}/segments", "", "of an app", SHAPERS),
        ("/v1/segments", "_shared", "that all apps share", OPERATORS),
    ] {
        let one = format!("{under}/{{segment}}");
        all.extend([
            Operation::new(Method::GET, under, format!("list{shared}_segments"))
                .title(format!("List the segments {words}"))
                .by(READERS)
                .page()
                .refused(&[problem::NOT_FOUND])
                .answers::<Page<SegmentView>>(
                    200,
                    "A page of segments, by key.",
                    json!({ "items": [segment()] }),
                ),
            Operation::new(Method::GET, &*one, format!("get{shared}_segment"))
                .title(format!("Show a segment {words}"))
                .by(READERS)
                .refused(&[problem::NOT_FOUND])
                .answers::<SegmentView>(200, "The segment.", segment())
                .with_header("ETag"),
            Operation::new(Method::PUT, &*one, format!("put{shared}_segment"))
                .title(format!("Make or change a segment {words}"))
                .about("Its members stay.")
                .by(by)
                .change()
                .body::<SegmentBody>(json!({
                    "description": "Who works here",
                    "when": { "attribute": "email", "op": "ends_with", "values": ["@example.org"] },
                }))
                .refused(&[
                    problem::AGENTS_ONLY_PROPOSE,
                    problem::APPROVALS_NEEDED,
                    problem::ROLES_MISSING,
                    problem::GATE_MISSING,
                ])
                .refused(&[problem::REVISION_REQUIRED])
                .answers::<SegmentView>(200, "The segment as it is now.", segment())
                .with_header("ETag"),
            Operation::new(Method::DELETE, &*one, format!("remove{shared}_segment"))
                .title(format!("Remove a segment {words}"))
                .by(by)
                .change()
                .optional_body::<OnlyReason>(json!({ "reason": "Nobody uses it" }))
                .query::<String>("reason", "Why, if there is no body.")
                .refused(&[problem::IN_USE, problem::AGENTS_ONLY_PROPOSE])
                .answers_nothing(204, "It is gone."),
            Operation::new(Method::GET, format!("{one}/members"), format!("list{shared}_segment_members"))
                .title(format!("List the members of a segment {words}"))
                .by(READERS)
                .page()
                .refused(&[problem::NOT_FOUND])
                .answers::<Page<Member>>(200, "A page of members.", json!({ "items": ["user-17"] })),
            Operation::new(Method::POST, format!("{one}/members"), format!("change{shared}_segment_members"))
                .title(format!("Add members to a segment {words}, or remove some"))
                .by(by)
                .change()
                .body::<MembersBody>(json!({ "add": ["user-17"], "remove": ["user-4"] }))
                .refused(&[
                    problem::AGENTS_ONLY_PROPOSE,
                    problem::APPROVALS_NEEDED,
                    problem::ROLES_MISSING,
                    problem::GATE_MISSING,
                ])
                .refused(&[problem::REVISION_REQUIRED])
                .answers::<SegmentView>(200, "The segment as it is now.", segment())
                .with_header("ETag"),
        ]);
    }
    all
}
