//! A bad rollout takes itself back: what apps report is judged slot by slot, and what a guardrail says is done, once.

use crate::receiver;
use crate::served;

use std::time::{Duration, Instant};

use receiver::{Does, Receiver};
use rollout_rules::sli::{GRACE, SLOT, Slot, UnitHash};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use served::{START, Served};

const FLAG: &str = "/v1/apps/shop/flags/checkout";
const LIVE: &str = "/v1/apps/shop/flags/checkout/environments/live";
const PATIENCE: Duration = Duration::from_secs(20);

/// A shop whose flag `checkout` reaches half of its users, and a process that says what becomes of their requests.
struct Shop {
    served: Served,
    sdk: String,
    slot: Slot,
}

/// What becomes of the requests of a slot: of so many users of each variant so many fail.
#[derive(Clone, Copy)]
struct Slots {
    users: u64,
    bad_on: u64,
    bad_off: u64,
}

const HARMLESS: Slots = Slots { users: 200, bad_on: 2, bad_off: 2 };
const HARMFUL: Slots = Slots { users: 200, bad_on: 100, bad_off: 2 };

impl Shop {
    fn open() -> Shop {
        let served = Served::start();
        served.shop();
        served.flag_on("checkout");
        let sdk = served.token("sdk-server");
        let shop = Shop { served, sdk, slot: Slot::at(START) };
        shop.change(&json!({ "exposure": 50 }));
        shop
    }

    fn change(&self, patch: &Value) {
        let seen = self.served.get(FLAG).header("etag").to_owned();
        self.served.patch(LIVE, &seen, patch).expect(200);
    }

    fn guard(&self, rules: &Value) {
        let path = format!("{FLAG}/guardrails");
        let seen = self.served.get(&path).header("etag").to_owned();
        let body = json!({ "guardrails": rules });
        self.served.call(&self.served.admin, "PUT", &path, &[("If-Match", seen.as_str())], &body).expect(200);
    }

    fn state(&self) -> Value {
        self.served.get(FLAG).expect(200)["environments"]["live"].clone()
    }

    /// The revision of the flag that SDKs are served, as their answers name it.
    fn served_revision(&self) -> Value {
        let checked = self.served.check(&self.sdk, "checkout", &json!({"targetingKey": "ann"})).expect(200);
        checked["metadata"]["tidegate.revision"].clone()
    }

    /// Tells of a slot's requests, by users who were there in no slot before, and lets it close.
    fn pass(&mut self, what: Slots) {
        self.tell(what);
        self.close();
    }

    /// Tells of a slot's requests, which is not judged until it closes.
    fn tell(&self, what: Slots) {
        let revision = self.served_revision();
        let mut summaries = Vec::new();
        for (variant, bad) in [("on", what.bad_on), ("off", what.bad_off)] {
            let user = |nth: u64| UnitHash::of(&format!("{variant}-{}-{nth}", self.slot.0)).to_string();
            let listed = |count: u64| {
                let mut users: Vec<String> = (0..count).map(user).collect();
                users.sort();
                users
            };
            summaries.push(json!({
                "flag": "checkout", "flag_revision": revision, "split": ".exposure", "variant": variant,
                "slot": self.slot.starts_at(),
                "outcomes": {
                    "units": what.users, "requests": what.users, "bad_requests": bad, "cost_micros": 0,
                    "latency": [[20_000, what.users]],
                    "served": { "units": listed(what.users) }, "bad": { "units": listed(bad) },
                    "slow": { "units": [] },
                },
            }));
        }
        let batch = self.slot.0.to_string();
        let body = json!({ "instance": "web-1", "batch": batch, "slot": self.slot.starts_at(), "summaries": summaries });
        let told = self.served.call(&self.sdk, "POST", "/v1/outcomes", &[], &body).expect(202);
        assert_eq!(told["added"], 2, "{told}");
    }

    /// Lets the slot close, and waits until it was judged.
    fn close(&mut self) {
        self.served.clock.set(self.slot.ends_at().plus(GRACE));
        let ends = self.slot.ends_at();
        self.until("the slot is judged", |shop| {
            let known = shop.served.get(&format!("{LIVE}/verdicts")).expect(200);
            (known["slot"] == json!(ends)).then_some(())
        });
        self.slot = self.slot.plus(1);
    }

    /// Lets no time of the test pass.
    #[track_caller]
    fn until<T>(&self, what: &str, look: impl Fn(&Shop) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "never: {what}: {} {}", self.verdict(), self.state());
            std::thread::yield_now();
        }
    }

    fn verdict(&self) -> Value {
        let known = self.served.get(&format!("{LIVE}/verdicts")).expect(200);
        known["splits"][0]["verdicts"][0].clone()
    }
}

#[test]
fn a_variant_whose_users_fail_is_turned_off_and_its_job_runs_once_although_the_receiver_fails_twice() {
    let mut shop = Shop::open();
    let receiver = Receiver::start();
    shop.served.post("/v1/apps/shop/jobs", &json!({"name": "rollback", "url": receiver.url})).expect(201);
    shop.guard(&json!(["error_rate worse than control -> flag off, run rollback"]));
    for _ in 0..6 {
        shop.pass(HARMLESS);
    }
    assert_eq!(shop.verdict()["state"], "ok", "{}", shop.verdict());
    assert_eq!(shop.state()["hold"], Value::Null);
    receiver.then(&[Does::Answers(503), Does::Closes], Does::Answers(200));
    shop.pass(HARMFUL);
    let hold = shop
        .until("the flag is held", |shop| shop.state().get("hold").filter(|hold| !hold.is_null()).cloned());
    assert_eq!(hold["cause"], "guardrail");
    let ann = shop.served.check(&shop.sdk, "checkout", &json!({"targetingKey": "ann"})).expect(200);
    assert_eq!(ann["value"], false);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let message = receiver.next_while(|| shop.served.clock.advance(DurationMs(1_000)));
        ids.push(message.id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    shop.until("the job is done", |shop| {
        let effects = shop.served.get("/v1/apps/shop/effects").expect(200);
        (effects["items"][0]["state"] == "done").then_some(())
    });
    receiver.hears_nothing();
    let log = shop.served.get(&format!("{FLAG}/history")).expect(200);
    let acted = log["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|item| item["what"].as_str().is_some_and(|what| what.contains("GUARDRAIL")));
    assert_eq!(acted.count(), 1, "{log}");
    shop.close();
    assert_eq!(shop.verdict(), Value::Null, "what is held is watched no more");
}

#[test]
fn a_harmless_rollout_is_left_alone_and_one_without_a_word_is_held_and_goes_on_when_the_app_speaks_again() {
    let mut shop = Shop::open();
    let seen = shop.served.get(FLAG).header("etag").to_owned();
    let body = json!({ "plan": "50%/30m,100%" });
    let started = format!("{LIVE}/rollout");
    shop.served.call(&shop.served.admin, "POST", &started, &[("If-Match", seen.as_str())], &body).expect(200);
    let status = |shop: &Shop| shop.served.get(&started).expect(200)["rollout"]["status"].clone();
    for _ in 0..6 {
        shop.pass(HARMLESS);
    }
    assert_eq!(status(&shop), "running");
    for _ in 0..3 {
        shop.close();
    }
    shop.until("the rollout is held", |shop| (status(shop) == "held").then_some(()));
    shop.pass(HARMLESS);
    shop.until("it goes on", |shop| (status(shop) == "running").then_some(()));
    assert_eq!(shop.state()["hold"], Value::Null);
}

#[test]
fn a_rollout_that_is_held_is_not_let_go_by_a_watch_that_has_seen_nothing_yet() {
    let mut shop = Shop::open();
    let seen = shop.served.get(FLAG).header("etag").to_owned();
    let started = format!("{LIVE}/rollout");
    let body = json!({ "plan": "50%/30m,100%" });
    shop.served.call(&shop.served.admin, "POST", &started, &[("If-Match", seen.as_str())], &body).expect(200);
    let status = |shop: &Shop| shop.served.get(&started).expect(200)["rollout"]["status"].clone();
    for _ in 0..3 {
        shop.pass(HARMLESS);
    }
    // As few as it takes: the slot after them began before it is held.
    for _ in 0..2 {
        shop.close();
    }
    shop.until("the rollout is held", |shop| (status(shop) == "held").then_some(()));
    // Another rule is another watch, and few requests tell it nothing.
    shop.guard(&json!(["error_rate > 50% -> flag off"]));
    for _ in 0..3 {
        shop.pass(Slots { users: 10, bad_on: 0, bad_off: 0 });
        assert_eq!((&shop.verdict()["state"], status(&shop)), (&json!("warming"), json!("held")));
    }
    shop.pass(HARMLESS);
    shop.until("it goes on", |shop| (status(shop) == "running").then_some(()));
}

#[test]
fn a_release_that_is_reverted_has_the_owner_told_though_nobody_wrote_so() {
    let mut shop = Shop::open();
    // The flag has its own rule: that of the app is about the app alone.
    shop.guard(&json!(["error_rate worse than control -> flag off"]));
    let receiver = Receiver::start();
    let job = json!({"name": "revert-release", "url": receiver.url});
    shop.served.post("/v1/apps/shop/jobs", &job).expect(201);
    let path = "/v1/apps/shop/guardrails";
    let seen = shop.served.get(path).header("etag").to_owned();
    let body = json!({ "guardrails": ["error_rate > 30% for 20s -> revert release"] });
    shop.served.call(&shop.served.admin, "PUT", path, &[("If-Match", seen.as_str())], &body).expect(200);
    for _ in 0..4 {
        shop.pass(Slots { users: 200, bad_on: 100, bad_off: 100 });
    }
    receiver.next();
    let effects = shop.served.get("/v1/apps/shop/effects").expect(200)["items"].clone();
    let actions: Vec<&str> =
        effects.as_array().expect("items").iter().filter_map(|one| one["action"].as_str()).collect();
    assert_eq!(actions.len(), 2, "once: {effects}");
    assert!(actions.contains(&"revert release") && actions.contains(&"notify owner"), "{effects}");
    receiver.hears_nothing();
}

#[test]
fn what_was_taken_back_and_is_served_all_the_same_wakes_somebody() {
    let mut shop = Shop::open();
    for _ in 0..3 {
        shop.pass(HARMLESS);
    }
    let revision = shop.served_revision();
    shop.pass(HARMFUL);
    shop.until("the flag is held", |shop| shop.state().get("hold").filter(|hold| !hold.is_null()).cloned());
    // With the next slot the evaluator knows what became of it, too.
    shop.close();
    // A process that has heard of nothing.
    let later = UnixMs(shop.slot.ends_at().0 + 60_000);
    shop.served.clock.set(later);
    shop.slot = Slot::at(later);
    let body = json!({ "instance": "web-2", "batch": "1", "slot": shop.slot.starts_at(), "summaries": [{
        "flag": "checkout", "flag_revision": revision, "split": ".exposure", "variant": "on",
        "slot": shop.slot.starts_at(), "outcomes": { "units": 1, "requests": 7, "bad_requests": 7 },
    }]});
    shop.served.call(&shop.sdk, "POST", "/v1/outcomes", &[], &body).expect(202);
    shop.close();
    let told = shop.until("somebody is told", |shop| {
        let effects = shop.served.get("/v1/apps/shop/effects").expect(200);
        let items = effects["items"].as_array().expect("items").clone();
        items
            .into_iter()
            .find(|effect| effect["reason"].as_str().is_some_and(|why| why.contains("still served")))
    });
    assert!(told["reason"].as_str().expect("words").contains("7 requests"), "{told}");
}

const _: () = assert!(GRACE.0 < SLOT.0);

#[test]
fn an_app_that_uses_too_much_of_its_cpu_has_its_owner_told_once() {
    let mut shop = Shop::open();
    let path = "/v1/apps/shop/guardrails";
    let seen = shop.served.get(path).header("etag").to_owned();
    let body = json!({ "guardrails": ["cpu > 80% for 1m -> notify owner"] });
    shop.served.call(&shop.served.admin, "PUT", path, &[("If-Match", seen.as_str())], &body).expect(200);
    for nth in 0..9 {
        for (instance, used) in [("web-1", 300_000), ("web-2", 900_000)] {
            let body = json!({
                "instance": instance, "batch": nth.to_string(), "slot": shop.slot.starts_at(), "summaries": [],
                "gauges": { "cpu_millionths": used },
            });
            shop.served.call(&shop.sdk, "POST", "/v1/outcomes", &[], &body).expect(202);
        }
        shop.close();
    }
    let effects = shop.until("the owner is told", |shop| {
        let effects = shop.served.get("/v1/apps/shop/effects").expect(200)["items"].as_array().cloned();
        effects.filter(|effects| !effects.is_empty())
    });
    assert_eq!(effects.len(), 1, "{effects:?}");
    assert_eq!(effects[0]["reason"], "cpu 90% past 80% for 60 s");
}

#[test]
fn an_app_whose_requests_fail_has_its_owner_told_although_no_flag_is_checked_in_them() {
    let mut shop = Shop::open();
    let path = "/v1/apps/shop/guardrails";
    let seen = shop.served.get(path).header("etag").to_owned();
    let body = json!({ "guardrails": ["error_rate > 3% for 1m -> notify owner"] });
    shop.served.call(&shop.served.admin, "PUT", path, &[("If-Match", seen.as_str())], &body).expect(200);
    for nth in 0..9 {
        let all = json!({ "units": 90, "requests": 100, "bad_requests": 10, "latency": [[20_000, 100]] });
        let body = json!({
            "instance": "web-1", "batch": nth.to_string(), "slot": shop.slot.starts_at(), "summaries": [], "all": all,
        });
        // Told twice, it counts once.
        shop.served.call(&shop.sdk, "POST", "/v1/outcomes", &[], &body).expect(202);
        shop.served.call(&shop.sdk, "POST", "/v1/outcomes", &[], &body).expect(202);
        shop.close();
    }
    let effects = shop.until("the owner is told", |shop| {
        let effects = shop.served.get("/v1/apps/shop/effects").expect(200)["items"].as_array().cloned();
        effects.filter(|effects| !effects.is_empty())
    });
    let why = effects[0]["reason"].as_str().expect("a reason");
    assert!(why.contains("error_rate 10% past 3%"), "{why}");
    let requests = why.split("in ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a count");
    assert!(requests.parse::<u64>().is_ok_and(|requests| requests <= 900), "told twice, counted once: {why}");
}

/// Tells that an artifact was deployed.
fn deployed(shop: &Shop, nth: u8) -> String {
    let artifact = format!("sha256:{nth:064x}");
    let body = json!({ "artifact": artifact, "version": format!("1.{nth}") });
    shop.served.post("/v1/apps/shop/environments/live/releases", &body).expect(200);
    artifact
}

#[test]
fn the_same_artifact_tried_again_is_taken_back_with_the_next_slot_and_another_is_judged_by_itself() {
    let mut shop = Shop::open();
    deployed(&shop, 1);
    for _ in 0..4 {
        shop.pass(HARMLESS);
    }
    shop.pass(HARMFUL);
    let held = |shop: &Shop| shop.state().get("hold").filter(|hold| !hold.is_null()).cloned();
    shop.until("the flag is held", held);
    // While it is off nobody watches it.
    shop.close();
    shop.change(&json!({ "on": true }));
    assert_eq!(held(&shop), None);
    shop.pass(HARMLESS);
    let hold = shop.until("the flag is held again", held);
    let why = hold["reason"].as_str().expect("words");
    assert!(why.contains("is of the same artifact, and goes on counting"), "{why}");
    shop.close();
    deployed(&shop, 2);
    shop.change(&json!({ "on": true }));
    for _ in 0..4 {
        shop.pass(HARMLESS);
    }
    assert_eq!((held(&shop), &shop.verdict()["state"]), (None, &json!("ok")), "{}", shop.verdict());
}

#[test]
fn an_app_that_fails_has_its_release_reverted_by_name_and_the_one_it_goes_back_to_is_left_alone() {
    const BROKEN: Slots = Slots { users: 200, bad_on: 100, bad_off: 100 };
    let mut shop = Shop::open();
    let receiver = Receiver::start();
    shop.served
        .post("/v1/apps/shop/jobs", &json!({"name": "revert-release", "url": receiver.url}))
        .expect(201);
    let path = "/v1/apps/shop/guardrails";
    let seen = shop.served.get(path).header("etag").to_owned();
    let body = json!({ "guardrails": ["error_rate > 20% for 1m -> revert release, run revert-release"] });
    shop.served.call(&shop.served.admin, "PUT", path, &[("If-Match", seen.as_str())], &body).expect(200);
    // The flag has none of its own: only the app is judged.
    shop.guard(&json!([]));
    let good = deployed(&shop, 1);
    shop.pass(HARMLESS);
    let bad = deployed(&shop, 2);
    for _ in 0..7 {
        shop.pass(BROKEN);
    }
    let called = receiver.next_while(|| shop.served.clock.advance(DurationMs(1_000)));
    let told = called.json();
    assert_eq!(told["type"], "revert_release", "{told}");
    let release = json!({
        "current": { "artifact": bad, "version": "1.2" }, "back_to": { "artifact": good, "version": "1.1" },
    });
    assert_eq!(told["data"]["release"], release);
    let releases = shop.served.get("/v1/apps/shop/environments/live/releases").expect(200);
    assert_eq!((&releases["current"], &releases["previous_good"]), (&json!(bad), &json!(good)));
    assert!(releases["items"][0]["acted_on"].is_u64(), "{releases}");
    receiver.next_while(|| shop.served.clock.advance(DurationMs(1_000)));
    // The pipeline goes back to what was good, and says so.
    shop.slot = Slot::at(shop.served.clock.clock().now());
    deployed(&shop, 1);
    for _ in 0..9 {
        shop.pass(HARMLESS);
    }
    receiver.hears_nothing();
}

#[test]
fn what_was_served_before_a_deployment_reverts_nothing_though_it_is_judged_after_it() {
    let mut shop = Shop::open();
    let receiver = Receiver::start();
    let job = json!({"name": "revert-release", "url": receiver.url});
    shop.served.post("/v1/apps/shop/jobs", &job).expect(201);
    let path = "/v1/apps/shop/guardrails";
    let seen = shop.served.get(path).header("etag").to_owned();
    let body = json!({ "guardrails": ["error_rate > 20% -> revert release"] });
    shop.served.call(&shop.served.admin, "PUT", path, &[("If-Match", seen.as_str())], &body).expect(200);
    // The flag has none of its own: only the app is judged.
    shop.guard(&json!([]));
    deployed(&shop, 1);
    for _ in 0..3 {
        shop.pass(HARMLESS);
    }
    // What mends it is deployed before the slot in which it broke is judged.
    shop.tell(Slots { users: 200, bad_on: 100, bad_off: 100 });
    shop.served.clock.set(shop.slot.ends_at());
    deployed(&shop, 2);
    shop.close();
    for _ in 0..3 {
        shop.pass(HARMLESS);
    }
    let effects = shop.served.get("/v1/apps/shop/effects").expect(200);
    let items = effects["items"].as_array().expect("items");
    // That errors use up what is promised is told.
    assert!(items.iter().all(|effect| effect["action"] != "revert release"), "{effects}");
    receiver.hears_nothing();
}
