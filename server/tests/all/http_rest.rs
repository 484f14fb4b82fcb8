//! Lists, repeated requests, segments, proposals and the log over REST.

use crate::served;

use std::sync::Arc;

use rollout_rules::governance::{ByTier, Rules};
use rollout_rules::ids::{LogId, Revision};
use serde_json::{Value, json};
use served::Served;
use tidegate::http::Settings;
use tidegate::http::log::MAX_LOOKED_AT;
use tidegate::log::memory::MemoryLog;
use tidegate::log::{ChangeLog as _, Expect};

fn keys(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|item| item["key"].as_str().expect("a key").to_owned()).collect()
}

#[test]
fn a_list_is_read_page_by_page_to_its_end() {
    let served = Served::start();
    served.shop();
    for index in 0..5 {
        served.post("/v1/apps/shop/flags", &json!({"key": format!("team/f{index}")})).expect(201);
    }
    let first = served.get("/v1/apps/shop/flags?limit=2").expect(200);
    assert_eq!(keys(&first), ["team/f0", "team/f1"]);
    let cursor = first["next_cursor"].as_str().expect("more").replace('/', "%2F");
    let second = served.get(&format!("/v1/apps/shop/flags?limit=2&cursor={cursor}")).expect(200);
    assert_eq!(keys(&second), ["team/f2", "team/f3"]);
    let last = served.get("/v1/apps/shop/flags?limit=2&cursor=team/f3").expect(200);
    assert_eq!((keys(&last), last.get("next_cursor")), (vec!["team/f4".to_owned()], None));
    served.call(&served.admin, "DELETE", "/v1/apps/shop/flags/team%2Ff0", &[], &Value::Null).expect(200);
    assert_eq!(keys(&served.get("/v1/apps/shop/flags").expect(200)).len(), 4);
    assert_eq!(keys(&served.get("/v1/apps/shop/flags?archived=true").expect(200)), ["team/f0"]);
    let environments = served.get("/v1/apps/shop/environments?limit=1").expect(200);
    assert_eq!(
        (keys(&environments), &environments["next_cursor"]),
        (vec!["live".to_owned()], &json!("live"))
    );
}

#[test]
fn a_repeated_creation_answers_the_first_result_and_creates_once() {
    let served = Served::start();
    served.shop();
    let create = |key: &str, body: &Value| {
        served.call(&served.admin, "POST", "/v1/apps/shop/flags", &[("Idempotency-Key", key)], body)
    };
    let first = create("once-1", &json!({"key": "f"}));
    first.expect(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    served.flag_on("g");
    let again = create("once-1", &json!({"key": "f"}));
    assert_eq!((again.status, &again.text, again.header("etag")), (201, &first.text, first.header("etag")));
    assert_eq!(
        (again.header("idempotency-replayed"), again.header("location")),
        ("true", first.header("location"))
    );
    create("once-1", &json!({"key": "h"})).refused(409, "idempotency_key_taken");
    create("once-2", &json!({"key": "f"})).refused(409, "already_exists");
    create("no good key", &json!({"key": "i"})).refused(400, "invalid_parameter");
    // What the server keeps in memory runs out; the log remembers.
    served.clock.advance(rollout_rules::time::DurationMs(11 * 60 * 1000));
    let late = create("once-1", &json!({"key": "f"}));
    assert_eq!((late.status, late.header("idempotency-replayed")), (201, "true"));
    create("once-1", &json!({"key": "h"})).refused(409, "idempotency_key_taken");
    assert_eq!(keys(&served.get("/v1/apps/shop/flags").expect(200)), ["f", "g"]);
}

#[test]
fn segments_are_put_filled_used_and_removed() {
    let served = Served::start();
    served.shop();
    for (all, name) in [("/v1/segments", "shared:staff"), ("/v1/apps/shop/segments", "staff")] {
        let one = format!("{all}/staff");
        let put = json!({"description": "who works here", "when": {"attribute": "mail", "op": "ends_with", "values": ["@tide.example"]}});
        let made = served.call(&served.admin, "PUT", &one, &[], &put);
        made.expect(200);
        let members = json!({"add": ["ada", "bob", "cy"], "reason": "the first"});
        assert_eq!(served.post(&format!("{one}/members"), &members).expect(200)["members"], 3);
        served.post(&format!("{one}/members"), &json!({"remove": ["bob"]})).expect(200);
        let page = served.get(&format!("{one}/members?limit=1")).expect(200);
        assert_eq!((&page["items"], &page["next_cursor"]), (&json!(["ada"]), &json!("ada")));
        assert_eq!(served.get(&format!("{one}/members?cursor=ada")).expect(200)["items"], json!(["cy"]));

        let flag = format!("for-{}", name.replace(':', "-"));
        let flag = flag.as_str();
        let made = served.post("/v1/apps/shop/flags", &json!({"key": flag}));
        let rules = json!({"on": true, "exposure": 0, "rules": [{"id": "r", "when": {"segment": name}, "serve": {"variant": "on"}}]});
        let state = format!("/v1/apps/shop/flags/{flag}/environments/live");
        served.patch(&state, made.header("etag"), &rules).expect(200);
        let token = served.token("sdk-server");
        assert_eq!(served.check(&token, flag, &json!({"targetingKey": "ada"})).expect(200)["value"], true);
        let bob = served.check(&token, flag, &json!({"targetingKey": "bob"})).expect(200);
        assert_eq!(bob["value"], false, "{bob}");

        let delete = |path: &str| served.call(&served.admin, "DELETE", path, &[], &Value::Null);
        assert!(delete(&one).refused(409, "in_use")["by"].to_string().contains(flag));
        served
            .call(&served.admin, "DELETE", &format!("/v1/apps/shop/flags/{flag}"), &[], &Value::Null)
            .expect(200);
        assert_eq!(delete(&one).status, 204);
        served.get(&one).refused(404, "not_found");
    }
}

#[test]
fn what_a_tier_asks_approvals_for_goes_through_a_proposal() {
    let rules = Rules { approvals: ByTier { tier0: 0, tier1: 1, tier2: 2 }, ..crate::served::ungated() };
    let served = Served::with(Settings { workers: 1, ..Settings::default() }, rules);
    let environments = json!([{"key": "live", "kind": "production"}]);
    served.post("/v1/apps", &json!({"key": "shop", "tier": 1, "environments": environments})).expect(201);
    let made = served.post("/v1/apps/shop/flags", &json!({"key": "f"}));
    let seen = made.header("etag").to_owned();
    let patch = json!({"on": true, "exposure": 10, "serve": {"variant": "on"}});
    let state = "/v1/apps/shop/flags/f/environments/live";
    let refused = served.patch(state, &seen, &patch).refused(403, "approvals_needed");
    assert_eq!((&refused["needed"], &refused["have"]), (&json!(1), &json!(0)));

    let command = json!({"do": "set_targeting", "app": "shop", "flag": "f", "environment": "live",
        "on": true, "exposure": 10, "serve": {"variant": "on"}});
    let proposed = served.call(
        &served.admin,
        "POST",
        "/v1/proposals",
        &[("If-Match", &seen)],
        &json!({"command": command, "reason": "let it go"}),
    );
    let proposal = proposed.expect(201);
    assert_eq!((&proposal["state"], &proposal["needed"]), (&json!("open"), &json!(1)));
    let one = proposed.header("location").to_owned();
    let hash = json!({"hash": proposal["hash"]});
    served.post(&format!("{one}/approve"), &hash).refused(403, "own_approval");
    served.post(&format!("{one}/apply"), &hash).refused(403, "approvals_needed");
    let bob = json!({"scope": "operator", "actor": {"type": "human", "name": "bob"}});
    let bob = served.post("/v1/tokens", &bob).expect(201)["secret"].as_str().expect("a secret").to_owned();
    let zeros = json!({"hash": "0".repeat(64)});
    served.call(&bob, "POST", &format!("{one}/approve"), &[], &zeros).refused(409, "proposal_changed");
    let approved = served.call(&bob, "POST", &format!("{one}/approve"), &[], &hash).expect(200);
    assert_eq!(approved["approvals"][0]["actor"]["name"], "bob");
    let applied = served.post(&format!("{one}/apply"), &hash).expect(200);
    assert_eq!(applied["state"], "applied");
    assert_eq!(
        served.get("/v1/apps/shop/flags/f").expect(200)["environments"]["live"]["serving"],
        "on for 10%"
    );
    served.post(&format!("{one}/apply"), &hash).refused(409, "proposal_closed");
    assert_eq!(
        served.get("/v1/proposals?state=applied&app=shop").expect(200)["items"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(served.get("/v1/proposals?state=open").expect(200)["items"], json!([]));
    served.get("/v1/proposals?state=odd").refused(400, "invalid_parameter");
}

#[test]
fn a_repeated_proposal_is_answered_with_the_first() {
    let served = Served::start();
    served.shop();
    let made = served.post("/v1/apps/shop/flags", &json!({"key": "f"}));
    let command = json!({"do": "set_targeting", "app": "shop", "flag": "f", "environment": "live",
        "on": true, "exposure": 10, "serve": {"variant": "on"}});
    let extra = [("If-Match", made.header("etag")), ("Idempotency-Key", "once")];
    let body = json!({ "command": command });
    let propose = || served.call(&served.admin, "POST", "/v1/proposals", &extra, &body);
    let first = propose().expect(201);
    // What the server keeps in memory runs out; the log remembers.
    served.clock.advance(rollout_rules::time::DurationMs(11 * 60 * 1000));
    let late = propose();
    assert_eq!((&late.expect(201)["id"], late.header("idempotency-replayed")), (&first["id"], "true"));
    let again = [("If-Match", made.header("etag")), ("Idempotency-Key", "twice")];
    let other = served.call(&served.admin, "POST", "/v1/proposals", &again, &body).expect(201);
    assert_ne!(other["id"], first["id"]);
}

#[test]
fn a_page_of_the_log_ends_where_enough_was_looked_at_and_the_next_goes_on_there() {
    let log = MemoryLog::new(LogId::new("test-log").expect("a name"));
    let served =
        Served::on(log.clone(), Settings { workers: 1, ..Settings::default() }, crate::served::ungated());
    served.shop();
    served.stop();
    // Of no app: nothing that a page of the shop shows.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let first = runtime.block_on(async { log.tail(Revision(0)).expect("read").next().await.expect("read") });
    for _ in 0..MAX_LOOKED_AT {
        runtime.block_on(log.append(Expect::Any, Arc::clone(&first[0].bytes))).expect("appended");
    }
    let served = Served::on(log, Settings { workers: 1, ..Settings::default() }, crate::served::ungated());
    served.post("/v1/apps/shop/flags", &json!({"key": "last"})).expect(201);
    let page = served.get("/v1/log?app=shop").expect(200);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["next_after"], MAX_LOOKED_AT);
    let page = served.get(&format!("/v1/log?app=shop&after={MAX_LOOKED_AT}")).expect(200);
    assert_eq!(page["items"][0]["change"]["kind"], "flag_created");
    assert_eq!(page.get("next_after"), None);
}

#[test]
fn an_agent_is_named_in_the_log_and_only_proposes_in_production() {
    let served = Served::start();
    served.shop();
    let agent = [("Tidegate-Agent", "model=m-1; tool=editor; on-behalf-of=eve")];
    let made = served.call(&served.admin, "POST", "/v1/apps/shop/flags", &agent, &json!({"key": "f"}));
    made.expect(201);
    let patch = json!({"on": true, "exposure": 10, "serve": {"variant": "on"}});
    let with_seen = [agent[0], ("If-Match", made.header("etag"))];
    let live = "/v1/apps/shop/flags/f/environments/live";
    served.call(&served.admin, "PATCH", live, &with_seen, &patch).refused(403, "agents_only_propose");
    let trial = "/v1/apps/shop/flags/f/environments/trial";
    served.call(&served.admin, "PATCH", trial, &with_seen, &patch).expect(200);
    let last = served.get("/v1/log?after=3").expect(200);
    let actor = &last["items"][0]["actor"];
    assert_eq!((&actor["type"], &actor["on_behalf_of"]), (&json!("agent"), &json!("eve")));
    let garbled = [("Tidegate-Agent", "me")];
    served
        .call(&served.admin, "POST", "/v1/apps/shop/flags", &garbled, &json!({"key": "g"}))
        .refused(400, "invalid_parameter");
}

#[test]
fn the_log_is_read_in_pages_and_followed_as_it_grows() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let all = served.get("/v1/log").expect(200);
    let items = all["items"].as_array().expect("a list");
    assert_eq!(items.len(), 4);
    assert!(
        items
            .iter()
            .enumerate()
            .all(|(index, item)| item["revision"] == index + 1 && item["hash"].is_string())
    );
    assert_eq!(all.get("next_after"), None);
    let page = served.get("/v1/log?limit=3").expect(200);
    assert_eq!(page["next_after"], 3);
    assert_eq!(served.get("/v1/log?after=3").expect(200)["items"][0], items[3]);
    assert_eq!(served.get("/v1/log?after=99").expect(200)["items"], json!([]));

    let mut stream = served.stream(&served.admin, "/v1/log/stream?after=3&app=shop", &[]);
    let event = stream.event();
    assert_eq!((event.name.as_str(), event.id.as_str(), event.json()), ("entry", "4", items[3].clone()));
    served.post("/v1/apps", &json!({"key": "other"})).expect(201);
    served.post("/v1/kill", &json!({"reason": "all of it"})).expect(200);
    let event = stream.event();
    assert_eq!(
        (&event.json()["change"]["kind"], &event.json()["reason"]),
        (&json!("killed"), &json!("all of it"))
    );
    let mut again = served.stream(&served.admin, "/v1/log/stream", &[("Last-Event-ID", "5")]);
    assert_eq!(again.event().id, "6");
}

#[test]
fn environments_come_and_go_and_an_app_changes() {
    let served = Served::start();
    served.shop();
    let preview = json!({"key": "pr-7", "kind": "preview"});
    let made = served.post("/v1/apps/shop/environments", &preview);
    assert_eq!(made.header("location"), "/v1/apps/shop/environments/pr-7");
    let ends_at = made.expect(201)["ends_at"].as_str().expect("a preview ends").to_owned();
    let one = "/v1/apps/shop/environments/pr-7";
    let moved = served.patch(one, "", &json!({"ends_at": "2027-01-20T00:00:00Z", "reason": "still testing"}));
    assert_ne!(moved.expect(200)["ends_at"], ends_at);
    let removed = served.call(&served.admin, "DELETE", &format!("{one}?reason=merged"), &[], &Value::Null);
    assert_eq!((removed.status, removed.text.as_str()), (204, ""));
    served.get(one).refused(404, "not_found");
    let app = served.get("/v1/apps/shop");
    let renamed =
        served.patch("/v1/apps/shop", app.header("etag"), &json!({"name": "The shop", "owner": "ada"}));
    assert_eq!(renamed.expect(200)["name"], "The shop");
    assert_eq!(served.get("/v1/apps/shop").expect(200)["environments"].as_array().map(Vec::len), Some(2));
}
