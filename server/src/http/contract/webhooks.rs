//! Webhooks, and what became of their messages.

use actix_web::http::Method;
use rollout_rules::ids::{AppKey, EnvKey, Revision, WebhookId};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{OPERATORS, Operation};
use super::views::{Page, Time};
use crate::http::apps::OnlyReason;
use crate::http::problem;
use crate::http::webhooks::{NewWebhook, Patch, Replay, Rotation};

const ONE: &str = "/v1/webhooks/{webhook}";

/// A webhook, without its secrets.
#[derive(JsonSchema)]
#[schemars(rename = "Webhook")]
#[allow(dead_code, reason = "only its schema is used")]
struct WebhookView {
    id: WebhookId,
    /// Where messages are sent.
    url: String,
    description: String,
    /// Only what concerns this app.
    app: Option<AppKey>,
    /// Only what concerns this environment.
    environment: Option<EnvKey>,
    /// Only these kinds of change; none: all.
    kinds: Vec<String>,
    enabled: bool,
    /// How many secrets sign.
    secrets: u64,
    created_at: Time,
    /// For `If-Match`.
    revision: Revision,
    /// After it was made or rotated: what signs, shown this once.
    secret: Option<String>,
}

/// What became of one message.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct Attempt {
    delivered: bool,
    took_ms: u64,
    /// The status that the receiver answered with, if it took the message.
    status: Option<u16>,
    /// Why it was not delivered.
    problem: Option<String>,
}

/// How far a webhook has come.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Deliveries {
    /// The revision up to which it is done.
    cursor: Revision,
    /// How many revisions are after it.
    behind: u64,
    enabled: bool,
    /// The entry that could not be told yet. Those after it wait.
    waiting: Option<WaitingView>,
    /// The last attempts since the server started, newest first, at most a hundred.
    recent: Vec<AttemptView>,
    /// Dead letters: what was given up, and can be replayed, oldest first, at most a thousand.
    dead: Vec<DeadLetterView>,
}

/// An entry that is tried again.
#[derive(JsonSchema)]
#[schemars(rename = "WaitingDelivery")]
#[allow(dead_code, reason = "only its schema is used")]
struct WaitingView {
    revision: Revision,
    /// How often it was sent.
    attempts: u32,
    /// When it is sent again.
    next_at: Time,
    /// Why the last attempt failed.
    problem: String,
}

/// An attempt to tell of an entry.
#[derive(JsonSchema)]
#[schemars(rename = "DeliveryAttempt")]
#[allow(dead_code, reason = "only its schema is used")]
struct AttemptView {
    revision: Revision,
    at: Time,
    /// The how many-th of this entry.
    attempt: u32,
    delivered: bool,
    took_ms: u64,
    /// The status that the receiver answered with, if it took the message.
    status: Option<u16>,
    /// Why it was not delivered.
    problem: Option<String>,
}

/// An entry that was given up.
#[derive(JsonSchema)]
#[schemars(rename = "DeadLetter")]
#[allow(dead_code, reason = "only its schema is used")]
struct DeadLetterView {
    revision: Revision,
    /// When it was given up, or last sent again in vain.
    at: Time,
    /// How often it was sent.
    attempts: u32,
    /// Why the last attempt failed.
    problem: String,
}

/// How much is sent again.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Replaying {
    replaying: u64,
}

fn webhook() -> Value {
    json!({
        "id": "w7k2m9x4q3va", "url": "https://hooks.example.org/tidegate", "description": "To the chat", "kinds": ["killed"],
        "enabled": true, "secrets": 1, "created_at": "2027-01-17T18:00:00.000Z", "revision": 45,
    })
}

/// All of them.
pub(super) fn webhooks() -> Vec<Operation> {
    let mut with_secret = webhook();
    with_secret["secret"] = "whsec_…".into();
    vec![
        Operation::new(Method::GET, "/v1/webhooks", "list_webhooks")
            .title("List webhooks, without secrets")
            .by(OPERATORS)
            .page()
            .answers::<Page<WebhookView>>(200, "A page of webhooks, by id.", json!({ "items": [webhook()] })),
        Operation::new(Method::POST, "/v1/webhooks", "create_webhook")
            .title("Have changes told to an address")
            .about("Standard Webhooks: the answer holds the secret that signs, this once.")
            .by(OPERATORS)
            .change()
            .body::<NewWebhook>(json!({ "url": "https://hooks.example.org/tidegate", "kinds": ["killed"] }))
            .refused(&[problem::ALREADY_EXISTS])
            .answers::<WebhookView>(201, "The webhook, with its secret.", with_secret.clone())
            .with_header("Location")
            .with_header("ETag")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::GET, ONE, "get_webhook")
            .title("Show a webhook")
            .by(OPERATORS)
            .answers::<WebhookView>(200, "The webhook.", webhook())
            .with_header("ETag"),
        Operation::new(Method::PATCH, ONE, "update_webhook")
            .title("Change a webhook, enable or disable it")
            .about("Absent members stay as they are.")
            .by(OPERATORS)
            .change()
            .body::<Patch>(json!({ "enabled": true }))
            .answers::<WebhookView>(200, "The webhook as it is now.", webhook())
            .with_header("ETag"),
        Operation::new(Method::DELETE, ONE, "remove_webhook")
            .title("Remove a webhook")
            .about("What was not delivered is not delivered any more.")
            .by(OPERATORS)
            .change()
            .optional_body::<OnlyReason>(json!({ "reason": "The chat is gone" }))
            .query::<String>("reason", "Why, if there is no body.")
            .answers_nothing(204, "It is gone."),
        Operation::new(Method::POST, format!("{ONE}/rotate"), "rotate_webhook")
            .title("Draw a new secret")
            .about("The one so far signs beside it until the next rotation, unless `keep_old` is false.")
            .by(OPERATORS)
            .change()
            .body::<Rotation>(json!({ "keep_old": true }))
            .answers::<WebhookView>(201, "The webhook, with its new secret.", with_secret)
            .with_header("Location")
            .with_header("ETag")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::POST, format!("{ONE}/test"), "test_webhook")
            .title("Send a test message, and see what becomes of it")
            .by(OPERATORS)
            .answers::<Attempt>(
                200,
                "What became of it.",
                json!({ "delivered": true, "took_ms": 12, "status": 204 }),
            ),
        Operation::new(Method::GET, format!("{ONE}/deliveries"), "list_webhook_deliveries")
            .title("Show how far a webhook has come, and its dead letters")
            .by(OPERATORS)
            .answers::<Deliveries>(
                200,
                "How far it has come.",
                json!({
                    "cursor": 45, "behind": 1, "enabled": true,
                    "waiting": {
                        "revision": 46, "attempts": 1, "next_at": "2027-01-17T18:00:02.000Z",
                        "problem": "the receiver answered 503",
                    },
                    "recent": [{
                        "revision": 46, "at": "2027-01-17T18:00:01.000Z", "attempt": 1, "delivered": false,
                        "took_ms": 31, "problem": "the receiver answered 503",
                    }],
                    "dead": [{
                        "revision": 12, "at": "2027-01-16T03:10:00.000Z", "attempts": 20,
                        "problem": "no answer within 15 s (connect)",
                    }],
                }),
            ),
        Operation::new(Method::POST, format!("{ONE}/replay"), "replay_webhook")
            .title("Send dead letters again, one or all")
            .about("What waits is tried at once. Three in a row that fail end it: the rest stays dead.")
            .by(OPERATORS)
            .optional_body::<Replay>(json!({}))
            .refused(&[problem::WEBHOOK_DISABLED])
            .answers::<Replaying>(202, "They are being sent.", json!({ "replaying": 1 })),
    ]
}
