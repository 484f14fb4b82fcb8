//! How often flags gave which answer, and which of them have become stale.

use actix_web::http::Method;
use rollout_rules::governance::Scope;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, VariantKey};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{Operation, READERS};
use super::views::{Page, Time};
use crate::exposures::batch::Batch;
use crate::exposures::stale::Reason;
use crate::http::exposures::MAX_SCANNED;
use crate::http::problem;

/// Those that say what was counted: SDKs on servers, and whoever changes things.
const COUNTERS: &[Scope] = &[Scope::Admin, Scope::Operator, Scope::Editor, Scope::Ci, Scope::SdkServer];

/// What became of a batch, in checks.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ExposuresTaken {
    /// Summed.
    counted: u64,
    /// Of flags or variants that are not there (any more).
    unknown: u64,
    /// Of more than 48 hours ago; not counted.
    too_old: u64,
    /// For which there was no room.
    dropped: u64,
    /// Whether it was the same batch again, of which nothing was counted.
    repeated: bool,
}

/// How often a flag gave an answer in a length of time.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ExposureCount {
    /// Null for checks that asked for the flag and got none of its variants.
    variant: Option<VariantKey>,
    count: u64,
}

/// An hour in which the flag was asked for.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ExposuresOfHour {
    /// Its beginning.
    hour: Time,
    counts: Vec<ExposureCount>,
}

/// A day, in UTC, in which the flag was asked for.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ExposuresOfDay {
    /// Its beginning.
    day: Time,
    counts: Vec<ExposureCount>,
}

/// An answer that was given.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ExposedVariant {
    /// Null for checks that asked for the flag and got none of its variants.
    variant: Option<VariantKey>,
    first_at: Time,
    last_at: Time,
}

/// How often a flag gave which answer in an environment.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Exposures {
    app: AppKey,
    flag: FlagKey,
    environment: EnvKey,
    /// Since when this server counts.
    counting_since: Time,
    /// Null if nobody asked for it by its name since.
    last_asked_at: Option<Time>,
    variants: Vec<ExposedVariant>,
    /// The last 48 hours; those in which nobody asked are left out.
    hours: Vec<ExposuresOfHour>,
    /// The last 35 days; those in which nobody asked are left out.
    days: Vec<ExposuresOfDay>,
}

/// Why a flag is stale. Which of the other members are there depends on the reason.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct StaleFinding {
    reason: Reason,
    /// Absent: everywhere.
    environment: Option<EnvKey>,
    /// When it expires or has expired.
    expires_at: Option<Time>,
    /// Since when nobody asked, or no other answer was given.
    since: Option<Time>,
    /// The only answer that was given.
    variant: Option<VariantKey>,
    last_asked_at: Option<Time>,
}

/// A flag that has become stale.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct StaleFlag {
    app: AppKey,
    flag: FlagKey,
    owner: String,
    created_at: Time,
    reasons: Vec<StaleFinding>,
}

fn example() -> Value {
    let counts = json!([{ "variant": "on", "count": 310 }, { "variant": "off", "count": 702 }]);
    json!({
        "app": "shop", "flag": "checkout", "environment": "production",
        "counting_since": "2027-01-10T09:12:00.000Z", "last_asked_at": "2027-01-17T18:00:00.000Z",
        "variants": [
            { "variant": "on", "first_at": "2027-01-17T17:00:10.000Z", "last_at": "2027-01-17T18:00:00.000Z" },
            { "variant": "off", "first_at": "2027-01-17T17:00:10.000Z", "last_at": "2027-01-17T18:00:00.000Z" },
        ],
        "hours": [{ "hour": "2027-01-17T17:00:00.000Z", "counts": counts }],
        "days": [{ "day": "2027-01-17T00:00:00.000Z", "counts": counts }],
    })
}

/// All of them.
pub(super) fn exposures() -> Vec<Operation> {
    let state = "/v1/apps/{app}/flags/{flag}/environments/{environment}/exposures";
    vec![
        Operation::new(Method::POST, "/v1/exposures", "take_exposures")
            .title("Say how often flags gave which answer")
            .about(
                "For SDKs, which check flags themselves; checks over HTTP are counted as they are answered. Sums are \
                 statistics: a batch is acknowledged once it is summed in memory, and a server that crashes loses the \
                 last minute. The last batch of an instance is known again, so that it may be sent again until it is \
                 acknowledged. Where checks are said not to have been counted, or are too old to be, no flag of the \
                 app is called never asked for, or said to give one answer only, for what was before.",
            )
            .by(COUNTERS)
            .audience()
            .body::<Batch>(json!({
                "instance": "web-1", "batch": "k3f9-17",
                "counts": [{ "flag": "checkout", "variant": "on", "count": 310, "age_s": 60 }],
            }))
            .refused(&[problem::NOT_FOUND, problem::TOO_MANY])
            .answers::<ExposuresTaken>(200, "What became of it.", json!({
                "counted": 310, "unknown": 0, "too_old": 0, "dropped": 0, "repeated": false,
            })),
        Operation::new(Method::GET, state, "get_exposures")
            .title("Show how often a flag gave which answer")
            .about(
                "By variant and hour for 48 hours, and by day for 35. What SDKs count arrives every minute or so. An \
                 evaluation of every flag over OFREP counts an answer of each, though it asked for none by its name; an \
                 answer 304 counts as none.",
            )
            .by(READERS)
            .answers::<Exposures>(200, "The counts.", example()),
        Operation::new(Method::GET, "/v1/stale-flags", "list_stale_flags")
            .title("List flags that have become stale, and why")
            .about(format!(
                "By app and flag. A page looks at {MAX_SCANNED} flags at most: it may have fewer items than asked for, or \
                 none, while `next_cursor` says where to go on. Checks of the last few seconds may not be in it, unless an \
                 app is named.",
            ))
            .by(READERS)
            .page()
            .query::<AppKey>("app", "Only of this app.")
            .query::<EnvKey>("environment", "Only what is so in this environment, or everywhere.")
            .query::<Reason>("reason", "Only for this reason.")
            .refused(&[problem::NOT_FOUND])
            .answers::<Page<StaleFlag>>(200, "A page of flags.", json!({ "items": [{
                "app": "shop", "flag": "checkout", "owner": "ada@example.org", "created_at": "2027-01-01T09:00:00.000Z",
                "reasons": [
                    { "reason": "expires_soon", "environment": "production", "expires_at": "2027-01-31T18:00:00.000Z" },
                    {
                        "reason": "one_variant_only", "environment": "sandbox", "variant": "on",
                        "since": "2026-12-03T10:00:00.000Z", "last_asked_at": "2027-01-17T18:00:00.000Z",
                    },
                ],
            }] })),
    ]
}
