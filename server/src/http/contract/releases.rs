//! What was deployed to an environment of an app.

use actix_web::http::Method;
use rollout_rules::ids::{AppKey, EnvKey, Revision};
use rollout_rules::release::ArtifactDigest;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{CHANGERS, Operation, READERS};
use super::views::{OrNull, Time};
use crate::http::problem;
use crate::http::releases::NewDeployment;

const RELEASES: &str = "/v1/apps/{app}/environments/{environment}/releases";

/// A release of an app in an environment.
#[derive(JsonSchema)]
#[schemars(rename = "ReleaseView")]
#[allow(dead_code, reason = "only its schema is used")]
struct ReleaseView {
    /// Which artifact.
    artifact: ArtifactDigest,
    /// What people call it.
    version: OrNull<String>,
    /// The entry that told of its last deployment.
    revision: Revision,
    /// When that was.
    deployed_at: Time,
    /// Whether it runs now.
    current: bool,
    /// Whether it is the one to go back to: the newest before the current one that no guardrail had reverted.
    previous_good: bool,
    /// The first act of a guardrail that asked for it to be reverted while it ran.
    acted_on: OrNull<Revision>,
    /// Whether it was current before, in the answer to who tells of a deployment.
    already: Option<bool>,
}

/// The releases of an app in an environment.
#[derive(JsonSchema)]
#[schemars(rename = "ReleasesOfEnvironment")]
#[allow(dead_code, reason = "only its schema is used")]
struct ReleasesView {
    app: AppKey,
    environment: EnvKey,
    /// Each artifact once, the one deployed last first: at most 16.
    items: Vec<ReleaseView>,
    /// What runs now.
    current: OrNull<ArtifactDigest>,
    /// What to go back to.
    previous_good: OrNull<ArtifactDigest>,
}

const CURRENT: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const BEFORE: &str = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";

fn release(artifact: &str, version: &str, is_current: bool) -> Value {
    json!({
        "artifact": artifact, "version": version, "revision": if is_current { 48 } else { 31 },
        "deployed_at": "2027-01-17T18:00:00.000Z", "current": is_current, "previous_good": !is_current,
        "acted_on": null,
    })
}

/// All of them.
pub(super) fn releases() -> Vec<Operation> {
    let mut told = release(CURRENT, "1.4.2", true);
    told["already"] = false.into();
    vec![
        Operation::new(Method::GET, RELEASES, "list_releases")
            .title("List what was deployed to an environment")
            .about(
                "Which artifact runs, and which one to go back to: this is what the job of `revert release` is told, as of the \
                 moment at which a guardrail asked for it.",
            )
            .by(READERS)
            .answers::<ReleasesView>(
                200,
                "They, the one deployed last first.",
                json!({
                    "app": "shop", "environment": "production",
                    "items": [release(CURRENT, "1.4.2", true), release(BEFORE, "1.4.1", false)],
                    "current": CURRENT, "previous_good": BEFORE,
                }),
            ),
        Operation::new(Method::POST, RELEASES, "tell_deployment")
            .title("Tell that an artifact was deployed")
            .about(
                "It is current from then on, until another is told of; the current one again changes nothing. Rules of the app \
                 may act anew, and what is watched is judged anew for another artifact. One that was deployed before goes on \
                 where it was: what a guardrail found of it counts. Agents tell of previews and sandboxes only.",
            )
            .by(CHANGERS)
            .change()
            .body::<NewDeployment>(json!({ "artifact": CURRENT, "version": "1.4.2" }))
            .refused(&[problem::ENVIRONMENT_ENDED])
            .answers::<ReleaseView>(200, "The release as it is now.", told)
            .with_header("ETag"),
    ]
}
