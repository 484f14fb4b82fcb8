//! A client without a server, for tests of scopes.

use std::sync::Arc;

use rollout_rules::feed::{ClientState, Frame};
use rollout_rules::sli::Slot;
use rollout_rules::time::UnixMs;
use serde_json::json;

use crate::client::Client;

/// The clock of the client stands here.
pub(crate) const NOW: UnixMs = UnixMs(1_800_000_005_000);

/// Serves a flag `checkout` that is on for everybody, one `half` that half of all have, one `staff` whose rule names people, one
/// `words` of another type, and one `arms` that splits half of all accounts; and 100 flags `f-0` and so on, on for everybody.
pub(crate) fn client() -> Client {
    let client = Client::builder("http://127.0.0.1:1", "tg_key").clock(|| NOW).start().expect("starts");
    let flag = |key: &str, exposure: u32, rules: serde_json::Value, kind: &str| {
        let (on, off) =
            if kind == "boolean" { (json!(true), json!(false)) } else { (json!("yes"), json!("no")) };
        json!({
            "key": key, "type": kind, "off_variant": "off", "expires_at": "2100-01-01T00:00:00Z",
            "variants": [{"key": "on", "value": on}, {"key": "off", "value": off}],
            "targeting": {"on": true, "exposure": exposure, "serve": {"variant": "on"}, "rules": rules},
            "targeting_revision": 2, "revision": 3,
        })
    };
    let named = json!([{
        "id": "named", "serve": {"variant": "on"},
        "when": {"attribute": "staff", "op": "in", "values": [true]},
    }]);
    let mut flags = vec![
        flag("checkout", 100, json!([]), "boolean"),
        flag("half", 50, json!([]), "boolean"),
        flag("staff", 100, named, "boolean"),
        flag("words", 100, json!([]), "string"),
    ];
    let mut arms = flag("arms", 50, json!([]), "boolean");
    let (on, off) = (json!({"variant": "on", "weight": 1}), json!({"variant": "off", "weight": 1}));
    arms["targeting"]["serve"] =
        json!({"split": {"id": "arms", "weights": [on, off], "control": "off", "unit": "account"}});
    flags.push(arms);
    flags.extend((0..100).map(|number| flag(&format!("f-{number}"), 100, json!([]), "boolean")));
    let frame = json!({"v": 1, "log": "l", "revision": 7,
        "body": {"snapshot": {"app": "shop", "environment": "live", "flags": flags}}});
    let frame = Frame::decode(frame.to_string().as_bytes()).expect("a frame");
    let (state, _) = ClientState::fold(None, &frame).expect("folds");
    client.shared().state.store(Some(Arc::new(state)));
    client
}

/// What was counted: variant, requests, bad requests and units, by flag and variant.
pub(crate) fn counted(client: &Client) -> Vec<(String, u64, u64, u64)> {
    let summaries = client.shared().outcomes.take_before(Slot(u32::MAX));
    let told = |one: &rollout_rules::sli::Summary| {
        let of = &one.outcomes;
        (one.variant.to_string(), of.requests, of.bad_requests, of.units)
    };
    summaries.iter().map(told).collect()
}
