//! Who has the newest flags, and who has a kill.

use actix_web::http::Method;
use rollout_rules::change::Reach;
use rollout_rules::ids::{AppKey, EnvKey, InstanceId, KillId, Revision};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{Operation, READERS};
use super::views::Time;

/// A connected SDK.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Client {
    instance: InstanceId,
    app: AppKey,
    environment: EnvKey,
    /// What it is.
    sdk: Option<String>,
    version: Option<String>,
    connected_at: Time,
    last_heard_at: Time,
    /// The revision that it says it serves.
    revision: Option<Revision>,
    /// How far it has come.
    state: Option<Standing>,
    /// How many changes it lacks.
    behind_by: Option<u64>,
    /// Whether it lacks more than were counted.
    behind_by_more: Option<bool>,
    behind_since: Option<Time>,
    /// When its connection ended.
    gone_at: Option<Time>,
}

/// How far a client has come.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum Standing {
    Current,
    Behind,
    Unconfirmed,
}

/// How many clients there are.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ClientCounts {
    connected: u64,
    current: u64,
    behind: u64,
    /// They have not said yet what they serve.
    unconfirmed: u64,
    /// Their connection ended in the last 10 minutes, and they have not come back; the last 10,000 are known.
    gone: u64,
    /// Feeds without a name, which cannot acknowledge.
    unnamed: u64,
    /// Event streams of OFREP clients, which only promise to fetch again.
    event_streams: u64,
    /// Web pages, which are told what changes and acknowledge nothing.
    pages: u64,
}

/// The SDKs that are connected to this server.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ClientsPage {
    items: Vec<Client>,
    next_cursor: Option<String>,
    revision: Revision,
    /// Of all, whatever the page shows.
    counts: ClientCounts,
}

/// How many of the clients that a kill concerns have it.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct KillCounts {
    connected: u64,
    acknowledged: u64,
    silent: u64,
    /// Their connection ended in the last 10 minutes before they had said so, and they have not come back. One that
    /// still runs serves what it had.
    gone: u64,
    unnamed: u64,
    event_streams: u64,
    /// Web pages, which are told what changes and acknowledge nothing.
    pages: u64,
}

/// What a kill did, and who has it.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct KillDelivery {
    kill_id: KillId,
    reach: Reach,
    environment: Option<EnvKey>,
    at: Option<Time>,
    revision: Option<Revision>,
    /// Whether the log has it.
    durable: bool,
    /// False if it was taken back since.
    in_effect: bool,
    /// After how long it was in effect on this server.
    in_effect_after_ms: Option<f64>,
    /// After how long the last client had it that has it.
    last_acknowledged_after_ms: Option<f64>,
    clients: KillCounts,
    /// When this server began to count them. Who was connected before and has not come back is not among them.
    counted_since: Time,
    /// Some of those that have not said so, the longest silent first.
    silent: Vec<Client>,
    /// Some of those that are gone, the last to go first.
    gone: Vec<Client>,
}

fn client() -> Value {
    json!({
        "instance": "web-1", "app": "shop", "environment": "production", "sdk": "tidegate-rust", "version": "0.1.0",
        "connected_at": "2027-01-17T18:00:00.000Z", "last_heard_at": "2027-01-17T18:00:10.000Z", "revision": 42,
        "state": "current",
    })
}

/// All of them.
pub(super) fn delivery() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, "/v1/clients", "list_clients")
            .title("Show the SDKs that are connected to this server, and what they serve")
            .by(READERS)
            .page()
            .query::<AppKey>("app", "Only of this app.")
            .query::<EnvKey>("environment", "Only of this environment.")
            .query::<bool>("behind", "Only those that do not serve the newest revision.")
            .answers::<ClientsPage>(200, "A page of clients, and how many there are.", json!({
                "items": [client()], "revision": 42, "counts": {
                    "connected": 1, "current": 1, "behind": 0, "unconfirmed": 0, "gone": 0, "unnamed": 0,
                    "event_streams": 0, "pages": 0,
                },
            })),
        Operation::new(Method::GET, "/v1/kills/{kill_id}", "get_kill")
            .title("Show what a kill did, and who has it")
            .by(READERS)
            .answers::<KillDelivery>(200, "The kill.", json!({
                "kill_id": "incident-7", "reach": { "flag": { "app": "shop", "flag": "checkout" } }, "durable": true,
                "in_effect": true, "counted_since": "2027-01-17T18:00:00.000Z", "clients": {
                    "connected": 1, "acknowledged": 1, "silent": 0, "gone": 0, "unnamed": 0, "event_streams": 0, "pages": 0,
                }, "silent": [], "gone": [],
            })),
    ]
}
