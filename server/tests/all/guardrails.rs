//! Guardrails over HTTP: what is written, what is refused and where, and what becomes of what they ask for.

use crate::receiver;
use crate::served;

use receiver::{Does, Receiver};
use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use served::Served;

const OF_FLAG: &str = "/v1/apps/shop/flags/f/guardrails";
const DRILL: &str = "/v1/apps/shop/flags/f/environments/live/drill";

/// A shop with a flag that is on.
fn shop() -> Served {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    served
}

fn job(served: &Served, name: &str, receiver: &Receiver) -> String {
    let made = served.post("/v1/apps/shop/jobs", &json!({"name": name, "url": receiver.url})).expect(201);
    made["secret"].as_str().expect("shown once").to_owned()
}

fn write(served: &Served, rules: &Value) -> served::Reply {
    let seen = served.get(OF_FLAG).header("etag").to_owned();
    let body = json!({ "guardrails": rules });
    served.call(&served.admin, "PUT", OF_FLAG, &[("If-Match", seen.as_str())], &body)
}

fn effects(served: &Served) -> Vec<Value> {
    served.get("/v1/apps/shop/effects").expect(200)["items"].as_array().expect("a list").clone()
}

/// Asks until all effects stand so.
#[track_caller]
fn until_all(served: &Served, state: &str, mut passing: impl FnMut()) -> Vec<Value> {
    for _ in 0..20_000 {
        let all = effects(served);
        if !all.is_empty() && all.iter().all(|effect| effect["state"] == state) {
            return all;
        }
        passing();
        std::thread::yield_now();
    }
    panic!("they never do: {:?}", effects(served));
}

#[test]
fn what_is_written_is_read_back_in_both_forms_and_shown_where_it_holds() {
    let served = shop();
    let before = served.get(OF_FLAG).expect(200);
    assert_eq!(before["in_force"]["live"]["from"], "tier");
    let worse = "error_rate worse than control -> flag off";
    assert_eq!(before["in_force"]["live"]["guardrails"][0]["rule"], worse);
    let parts = before["in_force"]["live"]["guardrails"][0].clone();
    let parts = json!({"when": parts["when"], "then": parts["then"]});
    let written = write(&served, &json!([parts, "latency_p95 > 1s for 1m -> rollout to 0"])).expect(200);
    assert_eq!(
        (&written["everywhere"][0]["rule"], &written["in_force"]["trial"]["from"]),
        (&json!(worse), &json!("flag"))
    );
    let revision = written["revision"].to_string();
    let body = json!({"guardrails": [], "environment": "trial"});
    let tag = format!("\"{revision}\"");
    let set = served.call(&served.admin, "PUT", OF_FLAG, &[("If-Match", tag.as_str())], &body);
    assert_eq!(
        set.expect(200)["in_force"]["trial"],
        json!({"from": "flag_in_environment", "guardrails": []})
    );
    served.call(&served.admin, "PUT", OF_FLAG, &[("If-Match", "\"1\"")], &body).refused(412, "stale");
    let seen = served.get(OF_FLAG).header("etag").to_owned();
    let path = format!("{OF_FLAG}?environment=trial&reason=enough");
    let cleared =
        served.call(&served.admin, "DELETE", &path, &[("If-Match", seen.as_str())], &Value::Null).expect(200);
    assert_eq!(cleared["in_force"]["trial"]["from"], "flag");
    let history = served.get("/v1/apps/shop/flags/f/history").expect(200);
    let what: Vec<&str> =
        history["items"].as_array().expect("items").iter().filter_map(|item| item["what"].as_str()).collect();
    assert_eq!(what[0], "guardrails cleared in trial");
    assert!(what[2].starts_with(&format!("guardrails: {worse}; latency_p95")), "{what:?}");
    let shown = served.get("/v1/apps/shop/flags/f").expect(200);
    assert_eq!(shown["guardrails"]["everywhere"], json!([worse, "latency_p95 > 1s for 1m -> rollout to 0"]));
    let since = served.get("/v1/apps/shop/flags/f/diff?from=4").expect(200);
    let paths: Vec<&str> =
        since["changes"].as_array().expect("changes").iter().filter_map(|one| one["path"].as_str()).collect();
    assert!(paths.iter().any(|path| path.starts_with("guardrails")), "{paths:?}");
}

#[test]
fn hostile_rules_are_refused_with_the_place_and_change_nothing() {
    let served = shop();
    let long = format!("error_rate > 3% -> {}", "flag off, ".repeat(200));
    let deep = format!("error_rate > {}", "9".repeat(900));
    for text in [
        "",
        " ",
        "->",
        "error_rate",
        "error_rate > -1% -> flag off",
        "error_rate > NaN% -> flag off",
        "error_rate > 1e9% -> flag off",
        "error_rate > 101% for 5m -> flag off",
        "error_rate > 3% for 0s -> flag off",
        "error_rate > 3% for 99999999999999999999h -> flag off",
        "error_rate > 3% for 5m -> flag on",
        "error_rate > 3% for 5m -> rollout to 100",
        "error_rate > 3% for 5m -> run ../../etc/passwd",
        "error_rate > 3% for 5m -> run a\u{0}b",
        "error_rate > 3% for 5m -> notify \u{202e}renwo",
        "error_rate > 3% for 5m → flag off",
        "error_rate > 3% for 5m -> flag off\r\nX: y",
        "ERROR_RATE > 3% for 5m -> flag off",
        &long,
        &deep,
    ] {
        let refused = write(&served, &json!([text])).refused(400, "invalid");
        assert_eq!(refused["field"], "guardrails[0]", "{text}");
        let at = refused["at"].as_u64().expect("a place");
        assert!(at <= text.len() as u64, "{text}: {at}");
        assert!(refused["shown"].as_str().expect("the place").contains('^'), "{refused}");
    }
    for body in [json!([7]), json!([{}]), json!([null]), json!([["error_rate > 3% -> flag off"]]), json!("x")]
    {
        let reply = write(&served, &body);
        assert!(matches!(reply.status, 400 | 422), "{body}: {}", reply.text);
    }
    let many: Vec<String> = (1..=17).map(|nth| format!("latency_p95 > {nth}ms for 1m -> flag off")).collect();
    write(&served, &json!(many)).refused(422, "too_many");
    write(&served, &json!(["error_rate > 3% for 5m -> run nobody"])).refused(400, "invalid");
    assert_eq!(served.get(OF_FLAG).expect(200)["in_force"]["live"]["from"], "tier");
}

#[test]
fn a_job_that_hangs_holds_up_no_other() {
    let served = shop();
    let (hanging, other) = (Receiver::that(Does::Hangs), Receiver::start());
    job(&served, "slow", &hanging);
    job(&served, "quick", &other);
    write(&served, &json!(["error_rate > 3% for 5m -> run slow, run slow, run slow, run quick"])).expect(200);
    served.post(DRILL, &json!({})).expect(200);
    assert_eq!(other.next().json()["data"]["job"], "quick");
    let standing = |action: &str| {
        effects(&served).into_iter().find(|one| one["action"] == action).expect("asked for")["state"].clone()
    };
    for _ in 0..2_000 {
        if standing("run quick") == "done" {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!((standing("run quick"), standing("run slow")), (json!("done"), json!("waiting")));
    hanging.next();
}

#[test]
fn what_is_never_taken_is_given_up_and_taken_under_its_id_when_somebody_asks_again() {
    let served = shop();
    let receiver = Receiver::that(Does::Answers(500));
    let secret = job(&served, "rollback", &receiver);
    write(&served, &json!(["error_rate > 3% for 5m -> flag off, run rollback"])).expect(200);
    let drilled = served.post(DRILL, &json!({"reason": "x"})).expect(200);
    assert_eq!(drilled["lowered"], json!(["the flag is held at its off variant"]));
    let id = drilled["effects"][0]["id"].as_str().expect("an id").to_owned();
    let pass = || served.clock.advance(DurationMs(15 * 60 * 1_000));
    let dead = until_all(&served, "dead", pass);
    assert!(dead[0]["outcome"].as_str().expect("why").contains("500"), "{dead:?}");
    let mut ids: Vec<String> = (0..20).map(|_| receiver.next().id).collect();
    receiver.hears_nothing();
    ids.dedup();
    assert_eq!(ids, [format!("test-log:{id}")]);
    receiver.then(&[], Does::Answers(200));
    let path = format!("/v1/apps/shop/effects/{id}/replay");
    assert_eq!(served.post(&path, &json!({})).expect(202)["state"], "waiting");
    let again = receiver.next();
    assert!(again.id == ids[0] && again.is_signed_with(&secret), "{again:?}");
    until_all(&served, "done", || {});
    served.post(&path, &json!({})).expect(202);
    receiver.hears_nothing();
    served.post("/v1/apps/shop/effects/999.0/replay", &json!({})).refused(404, "not_found");
    served.post("/v1/apps/shop/effects/0x1.0/replay", &json!({})).refused(404, "not_found");
    // Who wants no more is not asked again.
    receiver.then(&[], Does::Answers(410));
    served.post(DRILL, &json!({})).expect(200);
    receiver.next();
    for _ in 0..2_000 {
        if effects(&served)[0]["state"] == "dead" {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(effects(&served)[0]["state"], "dead");
    receiver.hears_nothing();
}

#[test]
fn whom_a_rule_calls_stays_and_no_answer_shows_what_signs_or_opens() {
    let served = shop();
    let receiver = Receiver::start();
    let body = json!({"name": "rollback", "url": receiver.url, "credential": "op3n-sesame",
                      "payload": {"repository_dispatch": {"event_type": "rollback"}}});
    let secret =
        served.post("/v1/apps/shop/jobs", &body).expect(201)["secret"].as_str().expect("once").to_owned();
    served.post("/v1/apps/shop/jobs", &body).refused(409, "already_exists");
    let chat = json!({"name": "chat", "target": {"chat": {"url": format!("{}/s3cret-room", receiver.url)}}});
    served.post("/v1/apps/shop/channels", &chat).expect(201);
    let owner = json!({"name": "owner", "target": {"mail": {"to": ["ann@example.org"]}}});
    served.post("/v1/apps/shop/channels", &owner).refused(400, "invalid");
    let header =
        json!({"name": "x", "target": {"mail": {"to": ["ann@example.org\r\nBcc: eve@example.org"]}}});
    served.post("/v1/apps/shop/channels", &header).refused(400, "invalid");
    write(&served, &json!(["error_rate > 3% for 5m -> run rollback, notify chat"])).expect(200);
    let remove = |path: &str| served.call(&served.admin, "DELETE", path, &[], &Value::Null);
    remove("/v1/apps/shop/jobs/rollback").refused(409, "in_use");
    remove("/v1/apps/shop/channels/chat").refused(409, "in_use");
    served.post(DRILL, &json!({})).expect(200);
    until_all(&served, "done", || {});
    let rotated = served.post("/v1/apps/shop/jobs/rollback/rotate", &json!({})).expect(201);
    let second = rotated["secret"].as_str().expect("once").to_owned();
    for path in
        ["/v1/log", "/v1/apps/shop/jobs", "/v1/apps/shop/effects", OF_FLAG, "/v1/apps/shop/flags/f/history"]
    {
        let text = served.get(path).text;
        for hidden in [&secret, &second, "op3n-sesame", "s3cret-room"] {
            assert!(!text.contains(hidden), "{path} shows {hidden}: {text}");
        }
    }
    assert!(
        served.get("/v1/apps/shop/channels").text.contains("s3cret-room"),
        "who runs it sees where it leads"
    );
    assert_eq!(served.get("/v1/apps/shop/jobs").expect(200)["items"][0]["has_credential"], true);
    served.post("/v1/apps/shop/jobs/rollback/test", &json!({})).expect(200);
    let called: Vec<receiver::Message> = (0..3).map(|_| receiver.next()).collect();
    let test = called.iter().find(|message| message.body.contains("\"test\"")).expect("a test");
    assert!(test.is_signed_with(&second) && test.is_signed_with(&secret), "{test:?}");
    assert_eq!(test.authorization, "Bearer op3n-sesame");
}
