//! Checks over HTTP, the feed of SDKs, and the server itself.

use actix_web::http::Method;
use rollout_rules::ids::InstanceId;
use serde_json::{Value, json};

use super::operation::{ADMINS, ALL, FOLLOWERS, Operation, READERS};
use super::views::{Evaluation, EvaluationBody, Evaluations, Health, ProblemPage, Ready, ServerView};
use crate::http::feed::AckBody;
use crate::http::problem;

const EVALUATE: &str = "/ofrep/v1/evaluate/flags";

fn evaluation() -> Value {
    json!({
        "key": "checkout", "value": true, "variant": "on", "reason": "SPLIT",
        "metadata": { "tidegate.revision": 42, "tidegate.reason": "exposure" },
    })
}

/// OFREP.
pub(super) fn checks() -> Vec<Operation> {
    let context = json!({ "context": { "targetingKey": "user-17", "email": "ada@example.org" } });
    let event = "event: refetchEvaluation\ndata: {\"type\":\"refetchEvaluation\"}\n\n";
    vec![
        Operation::new(Method::POST, EVALUATE, "evaluate_flags")
            .title("Evaluate every flag of an environment")
            .about("OFREP 0.3. The app and the environment may also stand in `Tidegate-App` and `Tidegate-Environment`.")
            .checking()
            .header("If-None-Match", false, "The ETag of the evaluation that is held")
            .query::<String>("flagConfigLastModified", "What an event stream said; accepted and not needed.")
            .body::<EvaluationBody>(context.clone())
            .refused(&[problem::INVALID_CONTEXT, problem::TARGETING_KEY_MISSING, problem::NOT_FOUND])
            .answers::<Evaluations>(200, "The flags, and where changes are told.", json!({
                "flags": [evaluation()],
                "eventStreams": [{
                    "type": "sse", "url": "https://flags.example.org/ofrep/v1/events?token=…", "inactivityDelaySec": 120,
                }],
                "metadata": { "tidegate.revision": 42 },
            }))
            .with_header("ETag")
            .answers_nothing(304, "What is held is still right.")
            .with_header("ETag"),
        Operation::new(Method::POST, format!("{EVALUATE}/{{key}}"), "evaluate_flag")
            .title("Evaluate a flag")
            .about("OFREP 0.3. Slashes in the key may be escaped or not.")
            .checking()
            .body::<EvaluationBody>(context)
            .refused(&[problem::INVALID_CONTEXT, problem::TARGETING_KEY_MISSING, problem::FLAG_NOT_FOUND])
            .answers::<Evaluation>(200, "The answer.", evaluation()),
        Operation::new(Method::GET, "/ofrep/v1/events", "follow_evaluations")
            .title("Hear when to evaluate again")
            .about("Server-sent events. The address comes with a bulk evaluation, and holds a token that lives for minutes.")
            .signed()
            .refused(&[problem::TOO_MANY_STREAMS, problem::NOT_FOUND])
            .header("Last-Event-ID", false, "The right to come back, as the stream gave it last")
            .answers_text("Events.", "text/event-stream", event),
    ]
}

/// The feed.
pub(super) fn sdks() -> Vec<Operation> {
    let event = "event: snapshot\nid: main:42\ndata: {\"flags\":[]}\n\n";
    vec![
        Operation::new(Method::GET, "/v1/feed", "follow_feed")
            .title("Follow the flags of an environment")
            .about(
                "Server-sent events for SDKs that evaluate locally: a `snapshot`, then a `change` for each change as it \
                 becomes durable, and `overlay` for kills that the log does not have yet. A comment comes at least every 15 s.",
            )
            .by(FOLLOWERS)
            .audience()
            .query::<InstanceId>("instance", "The SDK's own name for itself, under which it acknowledges.")
            .query::<String>("sdk", "The SDK's name and version, such as `tidegate-rust/0.1.0`.")
            .header("Last-Event-ID", false, "Go on after this event; opaque")
            .refused(&[problem::NOT_FOUND, problem::TOO_MANY_STREAMS, problem::LOG_UNAVAILABLE])
            .answers_text("Frames.", "text/event-stream", event),
        Operation::new(Method::POST, "/v1/feed/ack", "acknowledge_feed")
            .title("Say which revision is served")
            .by(FOLLOWERS)
            .audience()
            .body::<AckBody>(json!({ "instance": "web-1", "revision": 7, "kill_ids": ["incident-7"] }))
            .refused(&[problem::NOT_FOUND, problem::TOO_MANY, problem::INVALID])
            .answers_nothing(204, "Noted."),
    ]
}

/// Health and the description itself.
pub(super) fn server() -> Vec<Operation> {
    let mut all = Vec::new();
    for (method, verb) in [(Method::GET, "get"), (Method::HEAD, "head")] {
        let health = Operation::new(method.clone(), "/healthz", format!("{verb}_health"))
            .title("Whether the process runs")
            .open()
            .answers::<Health>(200, "It does.", json!({ "status": "ok" }));
        let ready = Operation::new(method, "/readyz", format!("{verb}_readiness"))
            .title("Whether the server can answer")
            .about("503 until the log is read, when it cannot be read any more, and when the server stops.")
            .open()
            .answers::<Ready>(200, "It can.", json!({ "ready": true, "revision": 42 }));
        all.extend([health, ready]);
    }
    all.extend([
        Operation::new(Method::GET, "/metrics", "get_metrics")
            .title("Metrics, in Prometheus' text format")
            .open_or(READERS)
            .answers_text("The metrics.", "text/plain", "tidegate_ready 1\n"),
        Operation::new(Method::GET, "/v1/server", "get_server")
            .title("Which server this is, and what time it has")
            .about("Operators of the whole server also see how much room is left for the log.")
            .by(ALL)
            .answers::<ServerView>(200, "The server.", json!({
                "version": "0.1.0", "revision": 42, "now": "2027-01-17T18:00:00.000Z",
                "disk": { "free_bytes": 50_000_000_000_u64, "total_bytes": 100_000_000_000_u64 },
            })),
        Operation::new(Method::GET, "/v1/backup", "get_backup")
            .title("Copy the whole log, and what the gate keeps, while the server runs")
            .about(
                "Everything up to the revision that was published when the request came, the kills in effect that the \
                 log had not taken, the evidence, judgements and receipts of the decisions at that revision, and the key that signs \
                 receipts. Only for an admin's token that is bound to no app: it holds the hashes of all tokens, \
                 the signing secrets of all webhooks and that key, and is not encrypted. Each entry is JSON after a line with its \
                 revision, chain hash and length, each file comes after a line with its SHA-256 and length; a last line with a \
                 checksum says that it is whole. `tidegate verify` checks it, `tidegate restore` makes a server of it.",
            )
            .by(ADMINS)
            .refused(&[problem::LOG_UNAVAILABLE, problem::INVALID_PARAMETER])
            .answers_text("The copy.", "application/octet-stream", "…")
            .with_header("Content-Disposition"),
        Operation::new(Method::GET, "/openapi.json", "get_openapi")
            .title("This description")
            .open()
            .answers::<Value>(200, "OpenAPI 3.1.", json!({ "openapi": "3.1.0" })),
        Operation::new(Method::GET, "/problems/{code}", "get_problem")
            .title("What a problem means, and what to do about it")
            .about("Every `type` of an error is such an address. HTML for browsers, JSON otherwise.")
            .open()
            .refused(&[problem::NOT_FOUND])
            .answers::<ProblemPage>(200, "The problem.", json!({
                "type": "/problems/stale", "code": "stale", "title": "It changed since it was seen", "status": 412,
                "means": "Somebody changed it.", "remedy": "Read it again.",
            }))
            .also_as("text/html"),
    ]);
    for (path, id, title, media) in [
        ("/docs", "get_docs", "This description, to be read and searched", "text/html"),
        ("/docs/script.js", "get_docs_script", "The script of that page", "text/javascript"),
        ("/docs/style.css", "get_docs_style", "The style of the pages", "text/css"),
    ] {
        let page = Operation::new(Method::GET, path, id).title(title).open();
        all.push(page.answers_text("Works without a network.", media, "…"));
    }
    all
}

impl Operation {
    /// A check: any token, for the environment that it is bound to or that the request names.
    fn checking(self) -> Operation {
        self.by(ALL).audience().without_agents()
    }
}
