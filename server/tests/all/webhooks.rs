//! Webhooks: what receivers are told, how often, in which order, and what nobody is told.

use crate::receiver;
use crate::served;

use receiver::{Does, Message, Receiver};
use rollout_rules::time::{DAY, DurationMs};
use serde_json::{Value, json};
use served::{Reply, START, Served};

/// A webhook and its secret.
struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    fn path(&self, rest: &str) -> String {
        format!("/v1/webhooks/{}{rest}", self.id)
    }
}

#[track_caller]
fn hook(served: &Served, receiver: &Receiver, more: Value) -> Hook {
    let mut body = json!({"url": receiver.url});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = served.post("/v1/webhooks", &body).expect(201);
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    Hook { id: text("id"), secret: text("secret") }
}

fn deliveries(served: &Served, hook: &Hook) -> Value {
    served.get(&hook.path("/deliveries")).expect(200)
}

/// Lets the longest wait pass.
fn wait_out(served: &Served) -> impl FnMut() {
    || served.clock.advance(DurationMs(15 * 60 * 1_000))
}

/// Asks until it holds: what is awaited is announced to nobody.
#[track_caller]
fn until(served: &Served, hook: &Hook, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..2_000 {
        let all = deliveries(served, hook);
        if holds(&all) {
            return all;
        }
        std::thread::yield_now();
    }
    panic!("it never holds: {}", deliveries(served, hook));
}

fn kinds(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::kind).collect()
}

#[test]
fn a_receiver_is_told_of_every_entry_once_in_order_and_signed() {
    let served = Served::start();
    let receiver = Receiver::start();
    let hook = hook(&served, &receiver, json!({}));
    served.shop();
    served.flag_on("f");
    served.post("/v1/apps/shop/flags/f/kill", &json!({"reason": "slow"})).expect(200);
    let told: Vec<Message> = (0..4).map(|_| receiver.next()).collect();
    assert_eq!(kinds(&told), ["app_created", "flag_created", "targeting_changed", "killed"]);
    let revisions: Vec<u64> = told.iter().map(Message::revision).collect();
    assert_eq!(revisions, [3, 4, 5, 6], "not of its own making, and of all that came after it");
    for message in &told {
        assert!(message.is_signed_with(&hook.secret), "{message:?}");
        assert!(message.id.starts_with("test-log:"), "{message:?}");
    }
    let killed = told[3].json();
    assert_eq!((&killed["data"]["revision"], &killed["data"]["reason"]), (&json!(6), &json!("slow")));
    let log = served.get("/v1/log?after=5").expect(200);
    assert_eq!(killed["data"], log["items"][0], "as readers of the log see it");
    receiver.hears_nothing();
}

#[test]
fn a_webhook_is_told_only_of_the_kinds_the_app_and_the_environment_that_it_names() {
    let served = Served::start();
    served.shop();
    served.post("/v1/apps", &json!({"key": "other"})).expect(201);
    let receiver = Receiver::start();
    let wanted = json!({"app": "shop", "environment": "live", "kinds": ["killed", "flag_created"]});
    hook(&served, &receiver, wanted);
    served.post("/v1/apps/other/kill", &json!({"reason": "x"})).expect(200);
    served.post("/v1/apps/shop/flags", &json!({"key": "f"})).expect(201);
    served.post("/v1/apps/shop/flags/f/kill", &json!({"environment": "trial", "reason": "x"})).expect(200);
    served.post("/v1/apps/shop/flags/f/kill", &json!({"environment": "live", "reason": "x"})).expect(200);
    served.post("/v1/kill", &json!({"reason": "x"})).expect(200);
    let told: Vec<Message> = (0..3).map(|_| receiver.next()).collect();
    let about: Vec<Value> = told.iter().map(|message| message.json()["data"]["change"].clone()).collect();
    assert_eq!(kinds(&told), ["flag_created", "killed", "killed"]);
    assert_eq!((&about[1]["environment"], &about[2]["reach"]), (&json!("live"), &json!("everything")));
    receiver.hears_nothing();
}

#[test]
fn what_a_receiver_does_not_take_is_sent_again_under_the_same_id_before_anything_else() {
    let served = Served::start();
    let (receiver, elsewhere) = (Receiver::start(), Receiver::start());
    let troubles = [
        Does::Answers(500),
        Does::Closes,
        Does::Redirects(elsewhere.url.clone()),
        Does::Hangs,
        Does::Dribbles,
        Does::Answers(404),
    ];
    receiver.then(&troubles, Does::Babbles);
    let hook = hook(&served, &receiver, json!({}));
    served.shop();
    served.post("/v1/apps/shop/flags", &json!({"key": "f"})).expect(201);
    let told: Vec<Message> = (0..=troubles.len()).map(|_| receiver.next_while(wait_out(&served))).collect();
    assert!(told.iter().all(|message| message.id == told[0].id && message.body == told[0].body), "{told:?}");
    assert!(told.iter().all(|message| message.is_signed_with(&hook.secret)));
    assert_ne!(told[0].timestamp, told[6].timestamp, "each attempt is signed anew");
    assert_eq!(receiver.next_while(wait_out(&served)).kind(), "flag_created");
    elsewhere.hears_nothing();
    let all = until(&served, &hook, |all| all["behind"] == 0);
    let recent = all["recent"].as_array().expect("attempts");
    let problems: Vec<&str> = recent.iter().rev().filter_map(|one| one["problem"].as_str()).collect();
    let [fails, _closes, redirects, hangs, dribbles, not_found] = problems[..] else {
        panic!("{problems:?}")
    };
    assert!(fails.contains("500") && not_found.contains("404"), "{problems:?}");
    assert!(redirects.contains("302") && redirects.contains("not followed"), "{redirects}");
    assert!(hangs.contains("no answer within 2 s"), "{hangs}");
    assert!(dribbles.contains("no answer within 2 s"), "{dribbles}");
    assert_eq!(all["dead"], json!([]));
}

#[test]
fn a_receiver_that_hangs_holds_up_no_other() {
    let served = Served::start();
    let (hanging, other) = (Receiver::that(Does::Hangs), Receiver::start());
    let slow = hook(&served, &hanging, json!({"kinds": ["app_created", "flag_created"]}));
    hook(&served, &other, json!({"kinds": ["app_created", "flag_created"]}));
    served.shop();
    for nth in 0..20 {
        served.post("/v1/apps/shop/flags", &json!({"key": format!("f{nth}")})).expect(201);
    }
    let told: Vec<u64> = (0..21).map(|_| other.next().revision()).collect();
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(hanging.next().revision(), told[0]);
    assert!(deliveries(&served, &slow)["behind"].as_u64().expect("a number") >= 20);
    let metrics = served.get("/metrics").text;
    assert!(
        metrics.contains(&format!("tidegate_webhook_lag_entries{{webhook=\"{}\"}}", slow.id)),
        "{metrics}"
    );
}

#[test]
fn what_is_never_taken_is_given_up_kept_and_sent_again_when_asked() {
    let served = Served::start();
    let receiver = Receiver::that(Does::Answers(500));
    let hook = hook(&served, &receiver, json!({"kinds": ["app_created", "flag_created"]}));
    served.shop();
    served.post("/v1/apps/shop/flags", &json!({"key": "f"})).expect(201);
    let first = receiver.next_while(wait_out(&served));
    let mut attempts = 1;
    let next = loop {
        let message = receiver.next_while(wait_out(&served));
        if message.id != first.id {
            break message;
        }
        attempts += 1;
    };
    assert_eq!((attempts, next.kind().as_str()), (20, "flag_created"), "the next has its turn");
    let dead = deliveries(&served, &hook)["dead"].clone();
    assert_eq!((&dead[0]["revision"], &dead[0]["attempts"]), (&json!(first.revision()), &json!(20)));
    assert!(dead[0]["problem"].as_str().expect("a text").contains("500"));

    receiver.then(&[], Does::Answers(200));
    served.post(&hook.path("/replay"), &json!({"revision": 999})).refused(404, "not_found");
    let replay = || served.post(&hook.path("/replay"), &json!({}));
    assert_eq!(replay().expect(202)["replaying"], 1);
    let told = [receiver.next(), receiver.next()];
    assert!(told.iter().any(|message| *message.id == first.id && message.body == first.body), "{told:?}");
    assert!(told.iter().any(|message| message.id == next.id), "what waited was tried at once: {told:?}");
    until(&served, &hook, |all| all["dead"] == json!([]) && all["behind"] == 0);
    assert_eq!(replay().expect(202)["replaying"], 0);
}

#[test]
fn a_replay_to_a_receiver_that_is_not_well_yet_ends_soon_and_what_is_new_has_its_turn() {
    let served = Served::start();
    let receiver = Receiver::that(Does::Answers(500));
    let hook = hook(&served, &receiver, json!({"kinds": ["flag_created"]}));
    served.shop();
    let create = |nth: usize| {
        served.post("/v1/apps/shop/flags", &json!({"key": format!("f{nth}")})).expect(201);
    };
    (0..5).for_each(create);
    let mut told = Vec::new();
    while told.len() < 5 * 20 {
        told.push(receiver.next_while(wait_out(&served)).revision());
    }
    until(&served, &hook, |all| all["behind"] == 0);
    told.dedup();
    let dead = |all: &Value| {
        let letters = all["dead"].as_array().expect("letters").iter();
        letters.map(|letter| letter["revision"].as_u64().expect("one")).collect::<Vec<u64>>()
    };
    assert_eq!(dead(&deliveries(&served, &hook)), told);

    let replay = || assert_eq!(served.post(&hook.path("/replay"), &json!({})).expect(202)["replaying"], 5);
    replay();
    let again: Vec<u64> = (0..3).map(|_| receiver.next().revision()).collect();
    assert_eq!(again, told[..3]);
    receiver.hears_nothing();
    assert_eq!(dead(&deliveries(&served, &hook)), told, "nothing is lost by it");
    receiver.then(&[], Does::Answers(200));
    create(9);
    assert_eq!(receiver.next().json()["data"]["change"]["flag"]["key"], "f9");
    replay();
    let again: Vec<u64> = (0..5).map(|_| receiver.next().revision()).collect();
    assert_eq!(again, told);
}

#[test]
fn a_receiver_that_is_gone_is_left_alone_until_somebody_enables_it() {
    let served = Served::start();
    let receiver = Receiver::that(Does::Answers(410));
    let hook = hook(&served, &receiver, json!({"kinds": ["app_created"]}));
    served.shop();
    let refused = receiver.next();
    let listed = |state: bool| move |all: &Value| all["enabled"] == state;
    until(&served, &hook, listed(false));
    served.clock.advance(DurationMs(60 * 60 * 1_000));
    receiver.hears_nothing();
    served.post(&hook.path("/replay"), &json!({})).refused(409, "webhook_disabled");
    let entry = served.get("/v1/log?after=3").expect(200)["items"][0].clone();
    assert_eq!(
        (&entry["actor"]["type"], &entry["change"]["kind"]),
        (&json!("tidegate"), &json!("webhook_put"))
    );

    receiver.then(&[], Does::Answers(200));
    served.patch(&hook.path(""), "", &json!({"enabled": true})).expect(200);
    assert_eq!(receiver.next().id, refused.id, "it goes on where it stopped");
}

#[test]
fn a_new_secret_signs_beside_the_old_one_until_that_is_dropped() {
    let served = Served::start();
    let receiver = Receiver::start();
    let hook = hook(&served, &receiver, json!({"kinds": ["app_created"]}));
    let signed = |key: &str, secrets: &[&str]| {
        served.post("/v1/apps", &json!({"key": key})).expect(201);
        let message = receiver.next();
        secrets.iter().map(|secret| message.is_signed_with(secret)).collect::<Vec<bool>>()
    };
    let rotate = |body: Value| {
        served.post(&hook.path("/rotate"), &body).expect(201)["secret"].as_str().expect("shown").to_owned()
    };
    let first = hook.secret.as_str();
    let second = rotate(json!({}));
    assert_eq!(signed("a", &[first, &second]), [true, true]);
    let third = rotate(json!({}));
    assert_eq!(signed("b", &[first, &second, &third]), [false, true, true]);
    let fourth = rotate(json!({"keep_old": false}));
    assert_eq!(signed("c", &[&second, &third, &fourth]), [false, false, true]);
}

#[test]
fn a_secret_is_shown_once_and_never_after() {
    let served = Served::start();
    let receiver = Receiver::start();
    let hook = hook(&served, &receiver, json!({}));
    let create = || {
        let extra = [("Idempotency-Key", "again")];
        served.call(&served.admin, "POST", &hook.path("/rotate"), &extra, &json!({}))
    };
    let rotated = create().expect(201);
    let second = rotated["secret"].as_str().expect("shown").to_owned();
    assert_eq!(create().expect(201)["secret"], second.as_str(), "the answer was lost on its way");
    served.clock.advance(DurationMs(11 * 60 * 1_000));
    create().refused(409, "idempotency_key_taken");

    let receivers_token = receiver.url.rsplit_once('/').expect("a path").1;
    let listed = served.get(&hook.path("")).expect(200);
    assert_eq!(listed["url"], receiver.url.as_str(), "who runs it sees where it leads");

    let mut stream = served.stream(&served.admin, "/v1/log/stream?after=1", &[]);
    let streamed = [stream.event().data, stream.event().data];
    let shown = [
        served.get("/v1/webhooks").text,
        served.get(&hook.path("")).text,
        served.get("/v1/log").text,
        served.patch(&hook.path(""), "", &json!({"description": "ci"})).text,
        deliveries(&served, &hook).to_string(),
        receiver.next().body,
        streamed.concat(),
    ];
    for text in shown {
        assert!(text.contains(&hook.id) || text.contains("cursor"), "{text}");
        for secret in [&hook.secret, &second] {
            assert!(!text.contains(&secret["whsec_".len()..]), "{text}");
        }
    }
    for text in [served.get("/v1/log").text, streamed.concat(), receiver.next().body] {
        assert!(text.contains(&hook.id) && !text.contains(&format!("/{receivers_token}\"")), "{text}");
    }
}

#[test]
fn webhooks_are_for_admins_and_operators_and_not_for_agents() {
    let served = Served::start();
    served.shop();
    let receiver = Receiver::start();
    let of_all = hook(&served, &receiver, json!({}));
    let of_shop = hook(&served, &receiver, json!({"app": "shop"}));
    let token = |body: Value| {
        served.post("/v1/tokens", &body).expect(201)["secret"].as_str().expect("a secret").to_owned()
    };
    let call = |token: &str, method: &str, path: &str, body: &Value| -> Reply {
        served.call(token, method, path, &[], body)
    };
    let body = json!({"url": receiver.url, "app": "shop"});
    for scope in ["viewer", "editor", "ci"] {
        let low = token(json!({"scope": scope, "app": "shop"}));
        call(&low, "GET", "/v1/webhooks", &Value::Null).refused(403, "not_allowed");
        call(&low, "POST", "/v1/webhooks", &body).refused(403, "not_allowed");
        call(&low, "POST", &of_shop.path("/test"), &json!({})).refused(403, "not_allowed");
    }
    let bound = token(json!({"scope": "operator", "app": "shop"}));
    let seen = call(&bound, "GET", "/v1/webhooks", &Value::Null).expect(200);
    assert_eq!(seen["items"].as_array().map(Vec::len), Some(1), "{seen}");
    call(&bound, "GET", &of_all.path(""), &Value::Null).refused(404, "not_found");
    call(&bound, "POST", "/v1/webhooks", &json!({"url": receiver.url})).refused(403, "not_allowed");
    call(&bound, "POST", "/v1/webhooks", &body).expect(201);
    call(&bound, "DELETE", &of_shop.path(""), &Value::Null).expect(204);
    let agent = [("Tidegate-Agent", "model=m; tool=t; on-behalf-of=ada")];
    served.call(&served.admin, "POST", "/v1/webhooks", &agent, &body).refused(403, "not_allowed");
    for url in ["ftp://a.example/", "https://", "https://a:b@c.example/", "https://a.example/#x", "x"] {
        served.post("/v1/webhooks", &json!({"url": url})).refused(400, "invalid");
    }
}

#[test]
fn a_test_says_what_became_of_it_and_a_removed_webhook_is_told_no_more() {
    let served = Served::start();
    let receiver = Receiver::start();
    let hook = hook(&served, &receiver, json!({}));
    let test = || served.post(&hook.path("/test"), &json!({})).expect(200);
    assert_eq!((&test()["delivered"], &test()["status"]), (&json!(true), &json!(204)));
    assert_eq!(receiver.next().kind(), "test");
    assert!(receiver.next().is_signed_with(&hook.secret));
    receiver.then(&[Does::Answers(503)], Does::Answers(204));
    let failed = test();
    assert_eq!(failed["delivered"], false);
    assert!(failed["problem"].as_str().expect("a text").contains("503"), "{failed}");
    receiver.next();
    served.call(&served.admin, "DELETE", &hook.path(""), &[], &Value::Null).expect(204);
    served.shop();
    receiver.hears_nothing();
    served.get(&hook.path("")).refused(404, "not_found");
}

#[test]
fn a_pipeline_is_told_to_destroy_what_belongs_to_a_preview_that_ended() {
    let served = Served::start();
    served.shop();
    let receiver = Receiver::start();
    for key in ["pr-1", "pr-2"] {
        let preview = json!({"key": key, "kind": "preview", "ends_at": START.plus(DurationMs(60_000))});
        served.post("/v1/apps/shop/environments", &preview).expect(201);
    }
    hook(&served, &receiver, json!({"app": "shop", "environment": "pr-1", "kinds": ["effect_requested"]}));
    served.clock.advance(DurationMs(60_000));
    let path = "/v1/apps/shop/environments/pr-1";
    assert_eq!(served.get(path).expect(200)["ended"], true);
    receiver.hears_nothing();
    served.clock.advance(DAY);
    let data = receiver.next().json()["data"].clone();
    assert_eq!(data["actor"]["type"], "timer");
    let ended_at = json!(START.plus(DurationMs(60_000)));
    let payload = json!({"app": "shop", "environment": "pr-1", "ended_at": ended_at});
    let change = json!({"kind": "effect_requested", "effect": "preview_ended", "payload": payload});
    assert_eq!(data["change"], change);
    receiver.hears_nothing();
    served.get(path).refused(404, "not_found");
}

#[test]
fn a_pipeline_is_told_to_destroy_what_belongs_to_a_preview_that_somebody_removed() {
    let served = Served::start();
    served.shop();
    let receiver = Receiver::start();
    hook(&served, &receiver, json!({"app": "shop", "kinds": ["effect_requested"]}));
    served.post("/v1/apps/shop/environments", &json!({"key": "pr-1", "kind": "preview"})).expect(201);
    for key in ["pr-1", "trial"] {
        let path = format!("/v1/apps/shop/environments/{key}");
        served.call(&served.admin, "DELETE", &path, &[], &Value::Null).expect(204);
    }
    let change = receiver.next().json()["data"]["change"].clone();
    let payload = json!({"app": "shop", "environment": "pr-1", "ended_at": START});
    assert_eq!(change, json!({"kind": "effect_requested", "effect": "preview_ended", "payload": payload}));
    receiver.hears_nothing();
}
